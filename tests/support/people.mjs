// People who talk: what they hear, and what back ends say to them over HTTP.
import { closeAfter, connect, next, request, until } from './clients.mjs';
import { fetchRaw } from './raw.mjs';

/** How long what must not come is waited for, after something that came behind it (ms). */
export const SILENCE_MS = 50;

/**
 * Somebody who is connected, and every event that came.
 *
 * @param {any} test
 * @param {string} url
 * @param {string | null} user
 * @param {object} [options]
 */
export async function enter(test, url, user, options = {}) {
  const socket = await connect(url, { ...(user && { auth: { user } }), ...options });
  closeAfter(test, socket);
  /** @type {[string, any[]][]} */
  const heard = [];
  // 2.x clients have none.
  socket.onAny?.((/** @type {string} */ event, /** @type {any[]} */ ...args) => heard.push([event, args]));
  return {
    socket,
    heard,
    /** The first arguments of events of one name. @param {string} event */
    of: (event) => heard.filter(([name]) => name === event).map(([, args]) => args[0]),
    /** @param {string} event @param {any[]} args */
    ask: (event, ...args) => request(socket, event, ...args),
    /** @param {string} event */
    next: (event) => next(socket, event),
  };
}

/** @typedef {Awaited<ReturnType<typeof enter>>} Person */

/**
 * A request to the API.
 *
 * @param {string} url
 * @param {string} path
 * @param {object | string} [body] posted, if there is one
 * @param {Record<string, string>} [headers]
 */
export async function api(url, path, body, headers = {}) {
  const { status, text } = await fetchRaw(url.replace(/\/$/, '') + path, {
    ...(body !== undefined && { method: 'POST', body: typeof body === 'string' ? body : JSON.stringify(body) }),
    headers: { ...(body !== undefined && { 'content-type': 'application/json' }), ...headers },
  });
  return { status, text, json: text.startsWith('{') ? JSON.parse(text) : null };
}

/**
 * Resolves when replicas hear each other: when a look at a user from each finds complete answers with so many.
 *
 * @param {string[]} urls
 * @param {string} user
 * @param {number} count
 */
export async function acquainted(urls, user, count) {
  await until(async () => {
    const answers = await Promise.all(urls.map((url) => api(url, `/api/users/${user}`)));
    return answers.every(({ json }) => json?.complete && json.connections.length === count);
  }, `each of ${urls} to find ${count} connections of ${user}`);
}
