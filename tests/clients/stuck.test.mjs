// Clients that take nothing, or little: who takes nothing is let go of for good, and costs nobody else anything; who
// takes little stays.
import assert from 'node:assert/strict';
import { readFile, readdir } from 'node:fs/promises';
import http from 'node:http';
import net from 'node:net';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { closeAfter, connect, request, serve, until } from '../support/clients.mjs';
import { Feed, Prices } from '../support/feed.mjs';
import { WITH_WEBSOCKET, byteClient } from '../support/places.mjs';
import { ByteWebSocket } from '../support/bytes.mjs';
import { fetchRaw } from '../support/raw.mjs';

/** How long a client may take nothing (ms). */
const SLOW_MS = 2000;

/** As fast as a slow reader reads (bytes a second). */
const STEADY = 100_000;

const MANY = Array.from({ length: 50 }, (_, index) => `S${index}`).join();

const SMALL = { SYMBOLS: MANY, UPDATE_INTERVAL: '40', HISTORY_SECONDS: '0', CLIENT_SNDBUF_BYTES: '4096', SLOW_CLIENT_TIMEOUT: `${SLOW_MS / 1000}` };

/** @typedef {import('../support/server.mjs').Server} Server */

/** How many descriptors a server has open. @param {Server} server */
const descriptors = async ({ child }) => (await readdir(`/proc/${child.pid}/fd`)).length;

/** What a server says of itself, on a connection that does not stay. @param {Server} server */
const stats = async ({ url }) => JSON.parse((await fetchRaw(`${url}/stats`, { agent: new http.Agent() })).text);

/** The descriptors of a server whose only client has come. @param {Server} server */
async function atRest(server) {
  await onlyHas(server, 1);
  let [count, same] = [0, 0];
  await until(async () => {
    const now = await descriptors(server);
    [count, same] = [now, now === count ? same + 1 : 0];
    return same >= 40;
  }, 'the descriptors to stay as they are');
  return count;
}

/** What of a server is in memory (bytes). @param {Server} server */
async function resident({ child }) {
  const pages = (await readFile(`/proc/${child.pid}/statm`, 'utf8')).split(' ')[1];
  return Number(pages) * 4096;
}

/**
 * A server, and a healthy client that gets every tick and is answered.
 *
 * @param {any} test
 * @param {Record<string, string>} [env]
 */
async function watched(test, env = {}) {
  const server = await serve(test, { ...SMALL, ...env });
  const socket = await connect(server.url);
  closeAfter(test, socket);
  const feed = new Feed(socket);
  await feed.subscribe(['S0', 'S1', 'S2']);
  return { server, socket, feed };
}

/** Resolves when a server has no clients but these. @param {Server} server @param {number} clients */
async function onlyHas(server, clients) {
  let active = -1;
  await until(async () => (active = (await stats(server)).connections.active) === clients, () => `${active} clients to be ${clients}`);
}

/** Resolves when the server has no more descriptors than it had. @param {Server} server @param {number} before */
async function hasLetGo(server, before) {
  let now = -1;
  await until(async () => (now = await descriptors(server)) <= before, () => `${now} descriptors to be ${before}`);
}

/** A way to a server that can fall silent on both sides, as a network does that fails; closes nothing. */
class Silence {
  /** @param {any} test @param {string} url */
  static async before(test, url) {
    const silence = new Silence();
    const { port } = new URL(url);
    const server = net.createServer((here) => {
      const there = net.connect(Number(port), '127.0.0.1');
      for (const [from, to] of [[here, there], [there, here]]) {
        silence.ends.push(from);
        from.on('data', (data) => to.write(data));
        from.on('error', () => {});
        // Nobody is told.
        from.on('close', () => silence.silent || to.destroy());
      }
    });
    server.listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    const address = server.address();
    assert.ok(address && typeof address === 'object');
    silence.url = `http://127.0.0.1:${address.port}`;
    test.after(() => {
      for (const end of silence.ends) end.destroy();
      server.close();
    });
    return silence;
  }

  constructor() {
    this.url = '';
    this.silent = false;
    /** @type {net.Socket[]} */
    this.ends = [];
  }

  fall() {
    this.silent = true;
    for (const end of this.ends) end.pause();
  }
}

describe('stuck', { concurrency: 3 }, () => {
  for (const kind of /** @type {(keyof typeof WITH_WEBSOCKET)[]} */ (Object.keys(WITH_WEBSOCKET))) {
    for (const eio of kind === 'websocket' ? [4, 3] : [4]) {
      it(`EIO=${eio}, ${kind}: subscribed, and never reads`, async (test) => {
        const { server, feed } = await watched(test);
        const before = await atRest(server);
        const client = await byteClient(test, server.url, kind, { eio });
        // Nothing waits for it before.
        const begun = performance.now();
        client.send('421["subscribe",{"symbols":"*","mode":"both"}]');
        await client.answer(1, 'subscribe');
        client.stop();
        const memory = await resident(server);
        await until(async () => (await stats(server)).slow.disconnected === 1, 'it to be disconnected');
        const after_ms = performance.now() - begun;
        assert.ok(after_ms >= SLOW_MS, `${after_ms} ms`);
        await onlyHas(server, 1);
        await hasLetGo(server, before);
        assert.equal((await stats(server)).slow.clients, 0);
        // A client costs about fifty pending ticks; what grows with time would be megabytes.
        assert.ok((await resident(server)) < memory + 16_000_000, 'memory is bounded');
        await feed.ticks(5);
      });
    }
  }

  it('answers pile up for one that never reads', async (test) => {
    const { server, feed } = await watched(test, { CLIENT_BUFFER_BYTES: '65536' });
    const before = await atRest(server);
    const client = await byteClient(test, server.url, 'websocket');
    client.stop();
    // It is closed when there is no room for an answer, or when it has taken nothing for too long.
    for (let turn = 0; turn < 200 && !client.ended; turn += 1) {
      for (let each = 0; each < 20; each += 1) client.send(`42${turn}["ping","${'x'.repeat(400)}"]`);
      await sleep(10);
    }
    await onlyHas(server, 1);
    await hasLetGo(server, before);
    await feed.ticks(5);
  });

  it('a flood of chat for one that never reads', async (test) => {
    const { server, feed, socket } = await watched(test, { CLIENT_BUFFER_BYTES: '65536', CHAT_AUTO_JOIN: 'true' });
    const client = await byteClient(test, server.url, 'websocket');
    client.stop();
    const memory = await resident(server);
    const heard = { count: 0 };
    socket.on('chat-message', () => (heard.count += 1));
    const text = 'x'.repeat(2000);
    let said = 0;
    // Well beyond what may wait for it.
    while (said < 1000) {
      await Promise.all(Array.from({ length: 5 }, async () => {
        assert.deepEqual(await request(socket, 'chat', text), { ok: true });
      }));
      said += 5;
      await until(() => heard.count === said, () => `${heard.count} of ${said} messages`);
      feed.check();
    }
    const { drops, slow } = await stats(server);
    assert.ok(drops.messages > 0 || slow.disconnected > 0, 'what found no room is counted');
    assert.ok((await resident(server)) < memory + 8_000_000, 'memory is bounded');
    await onlyHas(server, 1);
    assert.equal((await stats(server)).slow.disconnected, 1);
    await feed.ticks(5);
  });

  it('in no namespace, and never reads: gone by the heartbeat', async (test) => {
    const { server, feed } = await watched(test, { PING_INTERVAL: '1000', PING_TIMEOUT: '6000' });
    const before = await atRest(server);
    const client = await ByteWebSocket.open(server.url);
    test.after(() => client.close());
    client.stop();
    await until(async () => (await descriptors(server)) > before, 'it to be there');
    await hasLetGo(server, before);
    await feed.ticks(5);
  });

  for (const subscribed of [true, false]) {
    it(`vanished without a word, ${subscribed ? '' : 'not '}subscribed`, async (test) => {
      const { server, feed } = await watched(test, { PING_INTERVAL: '1000', PING_TIMEOUT: subscribed ? '60000' : '6000', SLOW_CLIENT_TIMEOUT: '4' });
      const silence = await Silence.before(test, server.url);
      const before = await atRest(server);
      for (const kind of /** @type {(keyof typeof WITH_WEBSOCKET)[]} */ (Object.keys(WITH_WEBSOCKET))) {
        const client = await byteClient(test, silence.url, kind);
        if (subscribed) {
          client.send('421["subscribe",{"symbols":"*","mode":"both"}]');
          await client.answer(1, 'subscribe');
        }
      }
      // The connections of polls are no more.
      await until(async () => (await descriptors(server)) === before + 2, 'two connections');
      silence.fall();
      await onlyHas(server, 1);
      await hasLetGo(server, before);
      assert.equal((await stats(server)).slow.disconnected, subscribed ? 2 : 0);
      await feed.ticks(5);
    });
  }

  it('a steady slow reader stays, is answered, and is exact', async (test) => {
    const { server } = await watched(test, { SLOW_CLIENT_TIMEOUT: '5', PING_INTERVAL: '500', PING_TIMEOUT: '20000' });
    const prices = new Prices();
    const socket = await connect(server.url);
    closeAfter(test, socket);
    const witness = new Feed(socket, { heard: prices.note });
    await witness.subscribe('*');
    const claims = new Prices();
    claims.known = prices.known;
    const client = await byteClient(test, server.url, 'websocket', { portion: () => 1024 });
    const raw = client.socket();
    const feed = new Feed(raw, { heard: claims.claim });
    await feed.subscribe({ symbols: '*', mode: 'both' });
    // Less than comes; and what its own kernel takes for it is read before the time is over.
    client.pace(STEADY);
    const end = performance.now() + 10_000;
    let asked = 0;
    while (performance.now() < end && !client.ended) {
      asked += 1;
      assert.equal((await request(raw, 'latency', asked)).echo, asked);
    }
    const { slow } = await stats(server);
    assert.deepEqual({ ended: client.ended, disconnected: slow.disconnected }, { ended: false, disconnected: 0 });
    assert.ok(client.pings > 0 && asked > 1);
    client.pace();
    await feed.ticks(3);
    await witness.ticks(3);
    client.check();
    assert.ok(claims.check() > 0 && claims.most > 2);
  });

  it('takes longer than the time for what waits, but takes it', async (test) => {
    const { server } = await watched(test, { PING_TIMEOUT: '20000', SLOW_CLIENT_TIMEOUT: '5' });
    const client = await byteClient(test, server.url, 'websocket', { portion: () => 1024 });
    client.pace(STEADY);
    const count = 100;
    const answers = Array.from({ length: count }, (_, index) => {
      client.send(`42${index}["ping","${'x'.repeat(10_000)}"]`);
      return client.answer(index, 'ping');
    });
    const asked = performance.now();
    for (const answer of answers) assert.equal((await answer)?.echo.length, 10_000);
    const took_ms = performance.now() - asked;
    assert.ok(took_ms > 5000, `${took_ms} ms`);
    client.check();
    assert.equal((await stats(server)).slow.disconnected, 0);
  });

  it('one that fell behind in what it wants every tick of misses nothing of what it wants rarely', async (test) => {
    const { server } = await watched(test, { SLOW_CLIENT_TIMEOUT: '30' });
    const prices = new Prices();
    const socket = await connect(server.url);
    closeAfter(test, socket);
    const witness = new Feed(socket, { heard: prices.note });
    await witness.subscribe('*');
    const claims = new Prices();
    claims.known = prices.known;
    const client = await byteClient(test, server.url, 'websocket', { portion: () => 1024 });
    const feed = new Feed(client.socket(), { heard: claims.claim });
    await feed.subscribe({ symbols: '*', mode: 'both' });
    await feed.subscribe({ symbols: ['S0'], mode: 'tick', maxRate: 0.5 });
    for (let round = 0; round < 3; round += 1) {
      client.pace(STEADY);
      await feed.ticks(1, ['S0']);
      client.pace();
      await feed.ticks(1, ['S0']);
    }
    client.check();
    await witness.ticks(2);
    claims.check();
  });
});
