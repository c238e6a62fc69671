// SIGTERM and SIGINT end the server in time, whatever its clients do; those who behave notice, and come back.
import assert from 'node:assert/strict';
import net from 'node:net';
import { once } from 'node:events';
import { describe, it } from 'node:test';
import { closeAfter, connect, next, priced, transports, until, versions, within } from '../support/clients.mjs';
import { isSubscribed } from '../support/contract.mjs';
import { Feed } from '../support/feed.mjs';
import { RawPolling, RawWebSocket, fetchRaw } from '../support/raw.mjs';
import { startServer } from '../support/server.mjs';

const DEADLINE_MS = 10_000;
/** What a busy machine may add (ms). */
const MARGIN_MS = 3000;

/**
 * A server that is sure to be gone after the test, and that has prices.
 *
 * @param {any} test
 * @param {Record<string, string>} [env]
 */
async function started(test, env) {
  const server = await startServer({ DRAIN_DEADLINE: `${DEADLINE_MS}`, ...env });
  test.after(() => server.stop('SIGKILL'));
  await priced(server);
  return server;
}

/**
 * Stops a server and returns how it ended and how long that took (ms).
 *
 * @param {import('../support/server.mjs').Server} server
 * @param {NodeJS.Signals} signal
 */
async function stopped(server, signal) {
  const start = performance.now();
  const end = await server.stop(signal);
  const took_ms = performance.now() - start;
  assert.equal(end.signal, null, 'it ended by itself');
  assert.ok(took_ms < DEADLINE_MS + MARGIN_MS, `it took ${took_ms} ms`);
  return { ...end, took_ms };
}

/** A TCP connection that says this and then nothing. @param {any} test @param {string} url @param {string} words */
async function silent(test, url, words) {
  const { hostname, port } = new URL(url);
  const socket = net.connect(Number(port), hostname);
  // It will be cut off, in whichever way.
  socket.on('error', () => {});
  test.after(() => socket.destroy());
  await once(socket, 'connect');
  socket.write(words);
  return socket;
}

describe('shutdown', { concurrency: true }, () => {
  for (const signal of /** @type {NodeJS.Signals[]} */ (['SIGTERM', 'SIGINT'])) {
    it(`${signal}: every kind of client is told, and the exit is clean`, async (test) => {
      const server = await started(test);
      const gone = [];
      for (const version of versions) {
        for (const [name, list] of Object.entries(transports)) {
          const socket = await connect(server.url, { version, transports: list });
          closeAfter(test, socket);
          const feed = new Feed(socket);
          await feed.subscribe('*');
          await feed.ticks(1);
          gone.push(next(socket, 'disconnect').then((reason) => ({ client: `${version} ${name}`, reason })));
        }
      }
      /** @type {(RawWebSocket | RawPolling)[]} */
      const raw = await Promise.all([RawWebSocket.open(server.url), RawPolling.open(server.url)]);
      for (const client of raw) await client.join();
      // Connected, but to no namespace: not yet, and no more.
      raw.push(await RawWebSocket.open(server.url), await RawPolling.open(server.url));
      for (const client of [await RawWebSocket.open(server.url), await RawPolling.open(server.url)]) {
        await client.join();
        client.send('41');
        raw.push(client);
      }

      const { code } = await stopped(server, signal);
      assert.equal(code, 0, server.tail());
      for (const { client, reason } of await Promise.all(gone)) {
        // A disconnect packet would keep clients from coming back.
        assert.match(reason, /^transport (close|error)$/, client);
      }
      await Promise.all(raw.map((client) => within(client.closed, 'the end of a raw client')));
    });
  }

  it('connections that say nothing do not hold it up', async (test) => {
    const server = await started(test);
    // As a browser opens them in advance, and as it keeps them.
    await silent(test, server.url, '');
    const kept = await silent(test, server.url, 'GET /health HTTP/1.1\r\nhost: x\r\n\r\n');
    await once(kept, 'data');
    const { code } = await stopped(server, 'SIGTERM');
    assert.equal(code, 0, server.tail());
  });

  it('clients that are stuck do not hold it up past its deadline', async (test) => {
    const server = await started(test, { UPDATE_INTERVAL: '1' });
    const stuck = await RawWebSocket.open(server.url);
    test.after(() => stuck.close());
    await stuck.join();
    await stuck.request('subscribe', '{"symbols":"*","mode":"both"}');
    // From here on it reads nothing: its window fills, then the server's own buffers.
    stuck.ws.pause();
    await until(async () => (await server.json('/stats')).slow.clients === 1, 'the client to be stuck');
    // One that polls no more.
    const idle = (await fetchRaw(`${server.url}/socket.io/?EIO=4&transport=polling`)).text;
    const { sid } = JSON.parse(idle.slice(1));
    const url = `${server.url}/socket.io/?EIO=4&transport=polling&sid=${sid}`;
    await fetchRaw(url, { method: 'POST', body: '40' });
    await fetchRaw(url, { method: 'POST', body: '42["subscribe","*"]' });
    // One that never ends its request, and one that never ends its message.
    await silent(test, server.url, 'GET /health HTTP/1.1\r\nhost:');
    await silent(test, server.url, `POST ${new URL(url).pathname}?EIO=4&transport=polling&sid=${sid} HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n42[`);
    const good = await connect(server.url);
    closeAfter(test, good);
    const feed = new Feed(good, { gaps: false });
    await feed.subscribe(['BTC']);

    // Nobody else suffers.
    await feed.ticks(20);

    const left = next(good, 'disconnect');
    const ended = stopped(server, 'SIGTERM');
    assert.match(await left, /^transport (close|error)$/);
    // Nobody new, as long as it takes.
    const late = await fetchRaw(`${server.url}/socket.io/?EIO=4&transport=polling`).then(({ status }) => status, () => 0);
    assert.ok(late === 0 || late >= 500, `a handshake while it drains: ${late}`);
    const { code } = await ended;
    assert.ok(Number.isInteger(code));
  });

  for (const [name, list] of Object.entries(transports)) {
    it(`4.x, ${name}: comes back by itself to a server that was restarted`, async (test) => {
      const server = await started(test);
      const socket = await connect(server.url, {
        transports: list,
        reconnection: true,
        reconnectionDelay: 50,
        reconnectionDelayMax: 200,
      });
      closeAfter(test, socket);
      const old = new Feed(socket);
      const first = await old.subscribe('*');
      await old.ticks(5);

      const lost = next(socket, 'disconnect');
      assert.equal((await stopped(server, 'SIGTERM')).code, 0, server.tail());
      await lost;
      const back = next(socket, 'connect');
      const again = await startServer({ PORT: server.port });
      test.after(() => again.stop('SIGKILL'));
      await back;

      socket.off('tick');
      const renewed = new Feed(socket);
      await priced(again);
      const second = await renewed.subscribe('*');
      isSubscribed(second, { symbols: first.symbols });
      await renewed.ticks(5);
      // A restart is a new epoch, above every number of the old one.
      assert.notEqual(second.epoch, first.epoch);
      for (const tick of second.snapshot) {
        const latest = old.highest.get(tick.symbol) ?? 0;
        assert.ok(tick.seq > latest, `${tick.symbol}: ${tick.seq} after ${latest}`);
      }
    });
  }
});
