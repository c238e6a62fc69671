// Many clients come and go, and many requests come at once: those who stay miss nothing, and nothing is left behind.
import assert from 'node:assert/strict';
import { readFile, readdir } from 'node:fs/promises';
import http from 'node:http';
import { describe, it } from 'node:test';
import { closeAfter, connect, open, serve, transports, until } from '../support/clients.mjs';
import { Feed } from '../support/feed.mjs';
import { WAYS, serveBothWays } from '../support/places.mjs';
import { RawPolling, RawWebSocket, fetchRaw } from '../support/raw.mjs';

const ALL = ['BTC', 'ETH', 'SOL'];

/** How many come at once. */
const AT_ONCE = 25;

/** @typedef {import('../support/server.mjs').Server} Server */

/** How many descriptors a server has open. @param {Server} server */
const descriptors = async ({ child }) => (await readdir(`/proc/${child.pid}/fd`)).length;

/** What a server says of itself, on a connection that does not stay. @param {Server} server */
const stats = async ({ url }) => JSON.parse((await fetchRaw(`${url}/stats`, { agent: new http.Agent() })).text);

/** What of a server is in memory (bytes). @param {Server} server */
async function resident({ child }) {
  return Number((await readFile(`/proc/${child.pid}/statm`, 'utf8')).split(' ')[1]) * 4096;
}

/** A client comes, asks for ticks or not, and goes in one way or another. @param {string} url @param {number} number */
async function comeAndGo(url, number) {
  if (number % 10 === 9) {
    const client = await RawPolling.open(url, { reads: false });
    await client.joinUnread();
    client.send('42["subscribe","*"]', '1');
    await client.posting;
    client.agent.destroy();
    return;
  }
  const client = await RawWebSocket.open(url);
  // The engine keeps who never joins for a while after it has gone.
  if (number % 50 > 0) await client.join();
  if (number % 50 > 0 && number % 5 > 1) client.send('421["subscribe","*"]');
  if (number % 50 > 0 && number % 5 > 2) await client.answer(1, 'subscribe');
  if (number % 2) client.ws.close();
  else client.vanish();
  await client.closed;
}

/** @param {string} url @param {number} count */
async function storm(url, count) {
  for (let number = 0; number < count; number += AT_ONCE) {
    await Promise.all(Array.from({ length: AT_ONCE }, (_, each) => comeAndGo(url, number + each)));
  }
}

describe('storms', { concurrency: 2 }, () => {
  it('clients come and go, and nobody who watches misses a tick', async (test) => {
    const server = await serve(test, { SYMBOLS: ALL.join(), UPDATE_INTERVAL: '100', HISTORY_SECONDS: '1' });
    await until(async () => (await stats(server)).connections.active === 0, 'nobody');
    const idle = await descriptors(server);
    const watchers = await Promise.all(Array.from({ length: 50 }, async () => {
      const socket = await connect(server.url);
      closeAfter(test, socket);
      const feed = new Feed(socket);
      await feed.subscribe({ symbols: '*', mode: 'both' });
      return feed;
    }));
    const stay = async () => {
      /** @type {any} */
      let now;
      await until(async () => {
        now = await stats(server);
        return now.connections.active === watchers.length && ALL.every((symbol) => now.subscriptions[symbol] === watchers.length);
      }, () => `those who stay: ${JSON.stringify([now?.connections, now?.subscriptions])}`);
    };
    await storm(server.url, 500);
    await stay();
    const first = await resident(server);
    for (let round = 0; round < 3; round += 1) await storm(server.url, 500);
    await stay();
    let now = -1;
    await until(async () => (now = await descriptors(server)) <= idle + watchers.length, () => `${now} descriptors to be ${idle} and ${watchers.length}`);
    const ratio = (await resident(server)) / first;
    test.diagnostic(`memory: ${ratio.toFixed(3)} of what it was`);
    assert.ok(ratio < 1.1, `${ratio} of the memory`);
    for (const watcher of watchers) await watcher.ticks(1);
  });

  for (const way of WAYS) {
    for (const [kind, list] of Object.entries(transports)) {
      it(`${kind}, ${way}: no tick before its answer, and none missing after it`, async (test) => {
        const { urls } = await serveBothWays(test, { SYMBOLS: ALL.join(), UPDATE_INTERVAL: kind === 'polling' ? '10' : '2' });
        const pairs = kind === 'polling' ? 100 : 400;
        await Promise.all(Array.from({ length: 4 }, async (_, index) => {
          const socket = open(urls[way], { transports: list });
          closeAfter(test, socket);
          const feed = new Feed(socket);
          for (let pair = 0; pair < pairs; pair += 1) {
            const symbols = pair % 3 ? [ALL[(pair + index) % 3]] : ALL;
            const mode = ['tick', 'batch', 'both'][pair % 3];
            const answers = [feed.subscribe({ symbols, mode }), feed.unsubscribe(symbols)];
            // Some at once, some one after the other.
            if (pair % 4 === 0) await Promise.all(answers);
            feed.check();
          }
          await feed.subscribe({ symbols: ALL, mode: 'both' });
          await feed.ticks(10);
          socket.close();
        }));
      });
    }
  }
});
