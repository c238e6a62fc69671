/** Signing in with a token. It is held for this visit only: a token is no thing to leave behind on a device. */
import { find, setText } from './elements.js';

const KEY = 'tickcast-token';
/** Refusals that another token may mend. */
const REFUSALS = ['unauthorized', 'token_expired', 'forbidden'];

/** @returns {string} */
export function keptToken() {
  try {
    return sessionStorage.getItem(KEY) ?? '';
  } catch {
    return '';
  }
}

/** @param {string} token */
function keep(token) {
  try {
    if (token) sessionStorage.setItem(KEY, token);
    else sessionStorage.removeItem(KEY);
  } catch {
    // A browser that keeps nothing asks again at the next visit.
  }
}

/** Who a token says it is for; nothing is checked here, the server does that. @param {string} token */
export function subjectOf(token) {
  try {
    const part = (token.split('.')[1] ?? '').replaceAll('-', '+').replaceAll('_', '/');
    const bytes = Uint8Array.from(atob(part), (character) => character.charCodeAt(0));
    const { sub } = JSON.parse(new TextDecoder().decode(bytes));
    return typeof sub === 'string' ? sub : '';
  } catch {
    return '';
  }
}

/** Whether a connection was refused for want of a good token. @param {string} reason */
export function asksForToken(reason) {
  return REFUSALS.includes(reason);
}

/** @param {import('../feed.js').Feed} feed */
export function signInView(feed) {
  const form = find(document, '#sign-in', HTMLFormElement);
  const input = find(form, '#token', HTMLInputElement);
  const who = find(form, '#signed-in', HTMLElement);
  let token = keptToken();

  function paint() {
    const name = subjectOf(token);
    setText(who, token === '' ? 'not signed in' : name ? `of ${name}` : 'given');
  }

  form.addEventListener('submit', (event) => {
    event.preventDefault();
    token = input.value.trim();
    input.value = '';
    keep(token);
    paint();
    feed.signIn(token ? { token } : {});
  });
  paint();
}
