/** The room of a symbol: what is said in it while it is open. */
import { find, make, setText } from '../elements.js';

/** How many messages the page keeps. */
const MAX_MESSAGES = 200;
/** In how many rooms it keeps what is not sent yet. */
const MAX_DRAFTS = 50;

/** @param {HTMLElement} root @param {import('../../feed.js').Feed} feed */
export function chatView(root, feed) {
  const list = find(root, '.said', HTMLElement);
  const form = find(root, '.say', HTMLFormElement);
  const input = find(form, 'input', HTMLInputElement);
  const note = find(root, '.chat-note', HTMLElement);
  let room = '';
  /** What was begun in other rooms, the latest last. @type {Map<string, string>} */
  const drafts = new Map();

  /** What was meant for one room must not be said in another. @param {string} next */
  function changeDraft(next) {
    drafts.delete(room);
    if (room && input.value.trim() !== '') drafts.set(room, input.value);
    for (const oldest of drafts.keys()) if (drafts.size > MAX_DRAFTS) drafts.delete(oldest);
    input.value = drafts.get(next) ?? '';
    setText(note, '');
  }

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
    const of = room;
    const answer = await feed.request('chat', { room: of, text });
    if (of !== room) {
      if (answer.ok && drafts.get(of) === text) drafts.delete(of);
      return;
    }
    setText(note, answer.ok ? '' : answer.error.message);
    if (answer.ok && input.value === text) input.value = '';
  });

  return {
    /** @param {string} symbol none with an empty one */
    show(symbol) {
      if (room && room !== symbol) void feed.request('leave', { room });
      if (room !== symbol) changeDraft(symbol);
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
