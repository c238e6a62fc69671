/** Signing in with a token. It is held for this visit only: a token is no thing to leave behind on a device. */
import { find, setText } from './elements.js';

const KEY = 'tickcast-token';
/** Refusals that another token may mend. */
const REFUSALS = ['unauthorized', 'token_expired', 'forbidden'];

/** Those of a token that is no good, whoever it is of. */
const BAD = ['unauthorized', 'token_expired'];

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

/** What the form says of a token that was not taken. */
const NOT_TAKEN = new Map([['token_expired', 'expired']]);

/**
 * @param {import('../feed.js').Feed} feed
 * @param {import('../store.js').Store} store
 */
export function signInView(feed, store) {
  const form = find(document, '#sign-in', HTMLFormElement);
  const input = find(form, '#token', HTMLInputElement);
  const who = find(form, '#signed-in', HTMLElement);
  let token = keptToken();

  function paint() {
    const { phase, reason } = feed.state;
    const name = subjectOf(token);
    const isRefused = phase !== 'live' && asksForToken(reason);
    setText(who, token === '' ? 'not signed in' : isRefused ? NOT_TAKEN.get(reason) ?? 'refused' : name ? `of ${name}` : 'given');
  }

  /** @param {string} next */
  function take(next) {
    token = next;
    keep(token);
    store.setConnection({ hasToken: token !== '', tokenEndsAt: null });
    paint();
  }

  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    const given = input.value.trim();
    input.value = '';
    if (given && token && feed.state.phase === 'live') {
      // Without a break; and one that is no good does not cost the connection.
      const answer = await feed.refresh(given);
      if (answer.ok) return take(given);
      if (BAD.includes(answer.error.code)) return setText(who, 'refused, the one before still holds');
    }
    // Of somebody else, or on a server that knows no other way.
    take(given);
    feed.signIn(given ? { token: given } : {});
  });
  feed.on('state', paint);
  take(token);
}
