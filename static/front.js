/**
 * A room to talk in: `/front/{room}`. Who one is stands behind the `#`, which no server sees: `#user=zoe`, or
 * `#token=...` where tokens are asked for. The socket is `window.ws`, to be tried from the console.
 */
import { readConfig, readQuery } from './config.js';

/** How many messages the page keeps. */
const MAX_MESSAGES = 500;

const config = readConfig();
// Where this page is read by itself, it does not know that it lies a folder below.
const socketUrl = new URL(config.socketPath, document.baseURI);
const room = decodeURIComponent(location.pathname.split('/').filter(Boolean).pop() ?? 'chat');
const element = (/** @type {string} */ id) => /** @type {HTMLElement} */ (document.getElementById(id));
const list = element('messages');
const input = /** @type {HTMLInputElement} */ (element('text'));

element('room').textContent = room;
document.title = `${room} · tickcast`;

/** @param {string} phase @param {string} words */
function show(phase, words) {
  document.body.dataset.phase = phase;
  element('phase').textContent = words;
}

/** @param {string} text */
function complain(text) {
  const notice = element('notice');
  notice.textContent = text;
  notice.hidden = text === '';
}

/** @param {string} who @param {string} text */
function add(who, text) {
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
  const item = document.createElement('li');
  const name = document.createElement('span');
  name.className = 'who';
  name.textContent = `${who}  `;
  item.append(name, text);
  list.append(item);
  while (list.childElementCount > MAX_MESSAGES) list.firstElementChild?.remove();
  if (atEnd) list.scrollTop = list.scrollHeight;
}

/** @param {any} answer */
const failed = (answer) => (answer?.ok === false ? `${answer.error.code}: ${answer.error.message}` : '');

const bundle = new URL('socket.io.esm.min.js', socketUrl).href;
const client = await import(bundle).catch(() => null);
if (typeof client?.io === 'function') {
  talk(client.io);
} else {
  show('failed', 'Failed');
  complain(`The Socket.IO client could not be loaded from ${bundle}. Reload the page to try again.`);
}

/** @param {(url: string, options: object) => any} io */
function talk(io) {
  const credentials = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  const { transports } = readQuery(location.search);
  const ws = io(socketUrl.origin, { path: socketUrl.pathname, auth: credentials, ...(transports && { transports }) });
  /** @type {any} */ (window).ws = ws;

  ws.on('connect', () => {
    console.log('ws connected');
    show('live', 'Connected');
    complain('');
    ws.emit('join', { room }, (/** @type {any} */ answer) => complain(failed(answer)));
  });
  ws.on('disconnect', (/** @type {string} */ reason) => show('lost', `Disconnected: ${reason}`));
  ws.on('connect_error', (/** @type {Error} */ error) => show('lost', `Cannot connect: ${error.message}`));
  ws.on('chat-message', (/** @type {any} */ said) => {
    if (said.room === room) add(`${said.from ?? 'somebody'} at ${said.server}`, String(said.text));
  });
  ws.on('message', (/** @type {unknown} */ said) => add('message', typeof said === 'string' ? said : JSON.stringify(said)));
  ws.on('room-users', (/** @type {any} */ { room: of, users, connections }) => {
    if (of === room) element('users').textContent = `${connections} here: ${users.join(', ') || 'nobody with a name'}`;
  });
  ws.on('error', (/** @type {any} */ error) => complain(`${error?.code}: ${error?.message}`));

  element('say').addEventListener('submit', (event) => {
    event.preventDefault();
    const text = input.value;
    if (text === '') return;
    ws.emit('chat', { room, text }, (/** @type {any} */ answer) => {
      const problem = failed(answer);
      complain(problem);
      if (!problem && input.value === text) input.value = '';
    });
  });
}
