// The official JavaScript clients, and what every test asks of them: connect, request, wait for a condition.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { setTimeout as sleep } from 'node:timers/promises';
import { startServer } from './server.mjs';

// Through require, because the older versions carry no types that fit.
const require = createRequire(import.meta.url);

/** The `io` function of each version of the client. @type {Record<string, any>} */
const io = {
  '4.x': require('socket.io-client').io,
  '3.x': require('socket.io-client-3').io,
  '2.x': require('socket.io-client-2'),
};

/** The versions of the client under test. */
export const versions = Object.keys(io);

/** How a client may connect; `upgrade` is what a browser does that is told nothing. @type {Record<string, string[]>} */
export const transports = {
  polling: ['polling'],
  websocket: ['websocket'],
  upgrade: ['polling', 'websocket'],
};

/** How long any one thing may take before a test fails (ms); generous, for a busy machine. */
export const DEADLINE_MS = 20_000;

/** How often a condition is looked at that announces itself by no event (ms). */
const LOOK_MS = 5;

/**
 * Starts a server, and stops it when the test is over. It need not have a price for every symbol, nor a place for who
 * asks whether it has.
 *
 * @param {{ after: (undo: () => Promise<void>) => void }} test
 * @param {Record<string, string>} [env]
 */
export async function start(test, env = {}) {
  const server = await startServer(env);
  test.after(async () => {
    // However clients went and whatever they sent: it ends by itself, and in order.
    assert.deepEqual(await server.stop(), { code: 0, signal: null }, server.tail());
  });
  return server;
}

/** As `start`, and waits until every symbol has a price. @param {Parameters<typeof start>[0]} test @param {Record<string, string>} [env] */
export async function serve(test, env = {}) {
  const server = await start(test, env);
  await priced(server, `${env.BASE_PATH ?? ''}${env.SOCKET_PATH ?? '/socket.io'}/`);
  return server;
}

/**
 * Resolves when every symbol of a server has a price.
 *
 * @param {import('./server.mjs').Server} server
 * @param {string} [path] where Socket.IO is
 */
export async function priced(server, path = '/socket.io/') {
  const asker = await connect(new URL(server.url).origin, { path });
  try {
    await until(async () => {
      const answer = await request(asker, 'subscribe', '*');
      return answer.symbols?.length > 0 && answer.snapshot.length === answer.symbols.length;
    }, 'a price for every symbol');
    // Before it has gone it is one that ticks are delivered to.
    await request(asker, 'unsubscribe', '*');
  } finally {
    asker.close();
  }
}

/**
 * A client, not yet connected.
 *
 * @param {string} url
 * @param {{ version?: string, transports?: string[], [option: string]: any }} [options] the client's own options besides
 * @returns {any}
 */
export function open(url, { version = '4.x', ...options } = {}) {
  return io[version](url, { forceNew: true, reconnection: false, transports: transports.websocket, ...options });
}

/**
 * A connected client.
 *
 * @param {string} url
 * @param {Parameters<typeof open>[1]} [options]
 */
export async function connect(url, options) {
  const socket = open(url, options);
  await connected(socket);
  return socket;
}

/** Resolves when a client is connected. @param {any} socket */
export async function connected(socket) {
  if (socket.connected) return;
  await within(
    new Promise((resolve, reject) => {
      socket.once('connect', resolve);
      // 2.x reports a failed connection under either name.
      for (const name of ['connect_error', 'error']) {
        socket.once(name, (/** @type {any} */ error) => reject(new Error(`${name}: ${error?.message ?? error}`)));
      }
    }),
    'a connection',
  );
}

/** Closes clients when the test is over. @param {{ after: (undo: () => void) => void }} test @param {any[]} sockets */
export function closeAfter(test, ...sockets) {
  test.after(() => {
    for (const socket of sockets) socket.close();
  });
}

/**
 * Sends an event with an acknowledgement callback and resolves with the answer.
 *
 * @param {any} socket
 * @param {string} event
 * @param {any[]} args
 * @returns {Promise<any>}
 */
export function request(socket, event, ...args) {
  let lost = () => {};
  return within(
    new Promise((resolve, reject) => {
      lost = () => reject(new Error(`disconnected before the answer to ${event}`));
      socket.once('disconnect', lost);
      socket.emit(event, ...args, resolve);
    }),
    `the answer to ${event}`,
  ).finally(() => socket.off('disconnect', lost));
}

/**
 * Resolves with the payload of the next event of a name. Ask before the event can come.
 *
 * @param {any} socket
 * @param {string} event
 * @returns {Promise<any>}
 */
export function next(socket, event) {
  return within(new Promise((resolve) => socket.once(event, resolve)), `the event ${event}`);
}

/**
 * Fails what takes longer than it may.
 *
 * @template T
 * @param {Promise<T>} promise
 * @param {string} what
 * @param {number} [limit_ms]
 * @returns {Promise<T>}
 */
export async function within(promise, what, limit_ms = DEADLINE_MS) {
  /** @type {NodeJS.Timeout | undefined} */
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${limit_ms} ms for ${what}`)), limit_ms);
  });
  try {
    return /** @type {T} */ (await Promise.race([promise, late]));
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Resolves with the first truthy result of `look`.
 *
 * @template T
 * @param {() => T | Promise<T>} look
 * @param {string | (() => string)} what for the message of a failure
 * @param {number} [limit_ms]
 * @returns {Promise<NonNullable<Awaited<T>>>}
 */
export async function until(look, what, limit_ms = DEADLINE_MS) {
  const end = performance.now() + limit_ms;
  for (;;) {
    const found = await look();
    if (found) return /** @type {NonNullable<Awaited<T>>} */ (found);
    if (performance.now() > end) {
      assert.fail(`waited ${limit_ms} ms for ${typeof what === 'string' ? what : what()}`);
    }
    await sleep(LOOK_MS);
  }
}
