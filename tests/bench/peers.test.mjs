// The servers that tickcast is measured against serve real clients: else their figures would mean nothing.
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

import { io } from 'socket.io-client';

import { load } from '../../bench/load.mjs';
import { root, start, symbols } from '../../bench/servers.mjs';

/** Where the peers in Rust are. */
const built = process.env.TICKCAST_PEERS ?? join(root, 'target/debug');
const node = join(root, 'loadtest/peers/node');
const peers = {
  floor: { command: join(built, 'tickcast-peer-floor'), args: [], env: {} },
  rooms: { command: join(built, 'tickcast-peer-rooms'), args: [], env: {} },
  node: { command: process.execPath, args: [join(node, 'index.js')], env: {} },
};

/** How long a client waits before a test fails (ms); generous, for a busy machine. */
const DEADLINE_MS = 30_000;

const FEED = { symbols: symbols(5), interval_ms: 20 };

/** A server for one test. */
async function run(t, name, feed) {
  const server = await start(name, peers[name], feed, t.signal);
  t.after(() => server.stop());
  return server;
}

/** A server for one test, and clients of it. */
async function serve(t, name, feed = FEED) {
  const server = await run(t, name, feed);
  return () => {
    const socket = io(server.url, { transports: ['websocket'], reconnection: false, forceNew: true });
    t.after(() => socket.close());
    return socket;
  };
}

/** Resolves with the first event for which `wanted` holds. */
function event(socket, name, wanted = () => true) {
  return new Promise((done, fail) => {
    const timer = setTimeout(() => fail(new Error(`no ${name}`)), DEADLINE_MS);
    const end = (finish, value) => {
      clearTimeout(timer);
      socket.off(name, look);
      finish(value);
    };
    const look = (body) => wanted(body) && end(done, body);
    socket.on(name, look);
    socket.once('disconnect', (reason) => end(fail, new Error(`disconnected: ${reason}`)));
    socket.once('connect_error', (error) => end(fail, error));
  });
}

/** Checks a tick of one of these symbols. */
function isTick(tick, wanted, numbered) {
  assert.ok(wanted.includes(tick.symbol), JSON.stringify(tick));
  assert.ok(tick.price > 0 && Math.abs(tick.ts - Date.now()) < DEADLINE_MS, JSON.stringify(tick));
  assert.deepEqual(Object.keys(tick), ['symbol', 'price', 'ts', ...(numbered ? ['seq'] : [])]);
}

for (const name of Object.keys(peers)) {
  const skip = name === 'node' && !existsSync(join(node, 'node_modules')) && 'run `npm ci` in loadtest/peers/node';

  test(`${name} sends ticks of what was subscribed`, { skip }, async (t) => {
    const socket = (await serve(t, name))();
    assert.deepEqual(await socket.timeout(DEADLINE_MS).emitWithAck('subscribe', ['BTC', 'XRP']), { ok: true });
    for (const symbol of ['BTC', 'XRP']) {
      isTick(await event(socket, 'tick', (tick) => tick.symbol === symbol), ['BTC', 'XRP'], name !== 'node');
    }
  });

  test(`the load tester gets what it wants from ${name}, and its report has what is taken`, { skip }, async (t) => {
    const server = await run(t, name, FEED);
    const work = { clients: 4, symbols: 5, interval_ms: FEED.interval_ms, mode: 'tick' };
    const times = { ramp_s: 0.1, settle_s: 0.5, measured_s: 2, signal: t.signal };
    const { why, ...figures } = await load(join(built, 'tickcast-loadtest'), server, work, times);
    assert.deepEqual([figures.failed, figures.lost], [0, 0], why);
    assert.ok(figures.updates_per_s > 0 && figures.rss_idle_kb > 0);
    for (const [figure, value] of Object.entries(figures)) {
      assert.ok(figure === 'bottleneck' ? typeof value === 'boolean' : Number.isFinite(value), `${figure}: ${value}`);
    }
  });

  if (name !== 'node') {
    test(`${name} sends arrays of ticks`, async (t) => {
      const socket = (await serve(t, name))();
      const all = symbols(5);
      await socket.timeout(DEADLINE_MS).emitWithAck('subscribe', { symbols: all, mode: 'batch' });
      const ticks = await event(socket, 'ticks');
      assert.deepEqual(ticks.map((tick) => tick.symbol), all);
      for (const tick of ticks) isTick(tick, all, true);
    });
  }
}

test('the floor drops for a client that does not read, whole frames only, and serves the others', async (t) => {
  const connect = await serve(t, 'floor', { symbols: symbols(500), interval_ms: 1 });
  const stalled = connect();
  await stalled.timeout(DEADLINE_MS).emitWithAck('subscribe', { symbols: '*', mode: 'batch' });
  await event(stalled, 'ticks');
  stalled.io.engine.transport.ws._socket.pause();

  const reader = connect();
  await reader.timeout(DEADLINE_MS).emitWithAck('subscribe', ['BTC']);
  // Some 46 kB each: more than the kernel holds for one connection.
  let first, before;
  await event(reader, 'tick', ({ seq }) => {
    first ??= seq;
    assert.equal(seq, (before ?? seq - 1) + 1);
    before = seq;
    return seq > first + 1000;
  });

  let last;
  const gap = event(stalled, 'ticks', ([{ seq }]) => {
    const missed = last !== undefined && seq !== last + 1;
    last = seq;
    return missed;
  });
  stalled.io.engine.transport.ws._socket.resume();
  await gap;
});
