/** The room of a symbol: what is said in it while it is open. */
import { find, make, setText } from '../elements.js';

/** How many messages the page keeps. */
const MAX_MESSAGES = 200;

/** @param {HTMLElement} root @param {import('../../feed.js').Feed} feed */
export function chatView(root, feed) {
  const list = find(root, '.said', HTMLElement);
  const form = find(root, '.say', HTMLFormElement);
  const input = find(form, 'input', HTMLInputElement);
  const note = find(root, '.chat-note', HTMLElement);
  let room = '';

  async function join() {
    const of = room;
    const answer = await feed.request('join', { room: of });
    if (of === room) setText(note, answer.ok || answer.error.code === 'disconnected' ? '' : `No chat here: ${answer.error.message}`);
  }

  feed.listen('chat-message', (raw) => {
    if (typeof raw?.text !== 'string' || raw.room !== room) return;
    const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
    list.append(make('li', {}, make('span', { class: 'who' }, typeof raw.from === 'string' ? raw.from : 'guest'), raw.text));
    while (list.childElementCount > MAX_MESSAGES) list.firstElementChild?.remove();
    if (atEnd) list.scrollTop = list.scrollHeight;
  });

  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    const text = input.value;
    if (text.trim() === '') return;
    const answer = await feed.request('chat', { room, text });
    setText(note, answer.ok ? '' : answer.error.message);
    if (answer.ok && input.value === text) input.value = '';
  });

  return {
    /** @param {string} symbol none with an empty one */
    show(symbol) {
      if (room && room !== symbol) void feed.request('leave', { room });
      room = symbol;
      list.replaceChildren();
      if (room) void join();
    },

    /** The connection is new. */
    again() {
      if (room) void join();
    },
  };
}
