// A replica that is told to go: the others take over, its clients are told, go one after the other, and miss nothing.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { describe, it } from 'node:test';
import { Resuming } from '../../demo/resuming.mjs';
import { connected, open, transports, until, versions } from '../support/clients.mjs';
import { BUSY_MS, Cluster, SYMBOLS } from '../support/cluster.mjs';
import { Proxy } from '../support/proxy.mjs';
import { RawPolling, RawWebSocket, fetchRaw } from '../support/raw.mjs';

const IDS = ['app1', 'app2'];

/** How clients of this test come back: quickly. */
const COMES_BACK = { reconnection: true, reconnectionDelay: 50, reconnectionDelayMax: 500 };

const SPREAD_MS = 5000;
const DEADLINE_MS = 15_000;

/** So long that a busy machine, too, sends ticks to whoever goes last. */
const LONG_SPREAD_MS = 5000;

/** So long that a client has seconds left on an island, and Redis may come back meanwhile. */
const ISLAND_SPREAD_MS = 10_000;

/** So long that nobody takes over because it has ended. */
const DRAINS = { DRAIN_SPREAD: `${SPREAD_MS}`, DRAIN_DEADLINE: `${DEADLINE_MS}`, LEASE_TTL: '30000', API_OPEN: 'true' };

/** How long clients may need to be back (ms). */
const BACK_MS = 30_000;

/** Asks for a drain by HTTP. @param {string} url @param {string} [id] of a replica; the one that answers without it */
async function askToDrain(url, id) {
  const named = id === undefined ? {} : { headers: { 'content-type': 'application/json' }, body: JSON.stringify({ id }) };
  const response = await fetch(`${url}/api/drain`, { method: 'POST', ...named });
  return { status: response.status, body: await response.json() };
}

/** Asks a replica to go, in each of the ways there are. @type {Record<string, (cluster: Cluster, gone: string, other: string) => Promise<void>>} */
const ways = {
  SIGTERM: async (cluster, gone) => {
    cluster.replica(gone).child.kill('SIGTERM');
  },
  'POST /api/drain at another replica': async (cluster, gone, other) => {
    const { status, body } = await askToDrain(cluster.replica(other).url, gone);
    assert.deepEqual([status, body.ok, body.id], [202, true, gone], JSON.stringify(body));
    assert.ok(Number.isInteger(body.connections));
  },
};

describe('drain', { concurrency: true }, () => {
  for (const [way, ask] of Object.entries(ways)) {
    it(`${way}: every kind of client comes back through nginx at the other replica, and misses nothing`, async (test) => {
      const cluster = await Cluster.start(test, { ids: IDS, env: DRAINS });
      const proxy = await Proxy.start(IDS.map((id) => cluster.replica(id)));
      cluster.undo.push(() => proxy.stop());
      const { publisher: gone, others: [other] } = await cluster.roles();
      const agent = (await proxy.agentsTo([gone])).get(gone);
      const clients = await Promise.all(versions.flatMap((version) => Object.entries(transports).map(async ([name, list]) => {
        const client = new Resuming(open(proxy.url, { version, transports: list, agent, ...COMES_BACK }), SYMBOLS);
        cluster.undo.push(() => client.socket.close());
        await connected(client.socket);
        return { kind: `${version} ${name}`, polls: list === transports.polling, client };
      })));
      await until(() => clients.every(({ client }) => client.server === gone && client.ticks >= 30), `ticks from ${gone}`);
      // Nothing is left to come but ticks: those who upgrade have.
      await until(() => clients.every(({ client, polls }) => polls || client.socket.io.engine.transport.name === 'websocket'), 'WebSockets');

      const server = cluster.replica(gone);
      const begun = performance.now();
      await ask(cluster, gone, other);
      // Who does not poll in time is cut off untold.
      await until(() => clients.every(({ client, polls }) => client.drains.length === 1 || (polls && client.cuts.length > 0)), 'everybody to be told');
      const ready = await fetch(`${server.url}/ready`);
      assert.deepEqual([ready.status, (await ready.json()).status], [503, 'draining']);
      await cluster.roles([other]);
      assert.ok(performance.now() - begun < 10_000, 'the lease was handed over, and did not run out');

      // The slots lie evenly over the time.
      const slots = clients.flatMap(({ client }) => client.drains.map(({ reconnectInMs }) => reconnectInMs));
      const numbers = slots.map((slot) => Math.round((slot * clients.length) / SPREAD_MS));
      assert.equal(new Set(numbers).size, slots.length, `one each: ${slots}`);
      for (const [index, slot] of slots.entries()) {
        assert.ok(Math.abs(slot - (numbers[index] * SPREAD_MS) / clients.length) <= 1, `slot ${numbers[index]} of ${slots}`);
      }

      await until(() => clients.every(({ client }) => client.server === other),
        () => `all to be at ${other}: ${JSON.stringify(clients.map(({ kind, client }) => [kind, client.servers, client.cuts]))}`, BACK_MS);
      assert.deepEqual(await server.exited, { code: 0, signal: null }, server.tail());
      assert.ok(performance.now() - begun < DEADLINE_MS + BUSY_MS);
      const seen = clients.map(({ client }) => client.ticks);
      await until(() => clients.every(({ client }, index) => client.ticks > seen[index] + 20), 'more ticks');
      for (const { kind, client } of clients) {
        const { missed, repeated, epochChanges, refusals, drains: [told], cuts: [cut] } = client;
        assert.deepEqual({ kind, missed, repeated, epochChanges, refusals }, { kind, missed: 0, repeated: 0, epochChanges: 0, refusals: [] });
        assert.match(cut.reason, /^transport (close|error)$/, kind);
        // It may be told late.
        const slot = told?.reconnectInMs ?? 0;
        assert.ok(cut.at - begun > slot - 1, `${kind} was cut off before its slot: ${cut.at - begun} of ${slot} ms`);
      }
      const late = clients.filter(({ client }) => client.drains[0]?.reconnectInMs > SPREAD_MS / 2);
      assert.ok(late.length > 0);
    });
  }

  it('through a proxy the replica that is named drains, wherever the request arrives, and no other', async (test) => {
    const cluster = await Cluster.start(test, { ids: [...IDS, 'app3'], env: DRAINS });
    const proxy = await Proxy.start([cluster.replica('app1')]);
    cluster.undo.push(() => proxy.stop());
    // Names those that are there, as soon as they have said so.
    const wanted = JSON.stringify([404, 'id is "app4": no replica has it; must be one of app1, app2, app3']);
    await until(async () => {
      const { status, body } = await askToDrain(proxy.url, 'app4');
      return JSON.stringify([status, body.detail]) === wanted;
    }, wanted);
    assert.deepEqual(cluster.live().sort(), [...IDS, 'app3'], 'nobody has gone');
    assert.equal((await askToDrain(proxy.url, 'app2')).status, 202);
    assert.deepEqual(await cluster.replica('app2').exited, { code: 0, signal: null });
    // Without an id, or with its own, the one that answers.
    assert.deepEqual(await askToDrain(cluster.replica('app3').url), { status: 202, body: { ok: true, id: 'app3', connections: 0 } });
    assert.deepEqual(await cluster.replica('app3').exited, { code: 0, signal: null });
    assert.equal((await askToDrain(proxy.url, 'app1')).body.id, 'app1');
    assert.deepEqual(await cluster.replica('app1').exited, { code: 0, signal: null });
  });

  it('a replica cut off from Redis does not know whether another one drains, and says so', async (test) => {
    const cluster = await Cluster.start(test, { ids: IDS, env: DRAINS });
    await cluster.redis.kill();
    const { status, body } = await askToDrain(cluster.replica('app1').url, 'app2');
    assert.deepEqual([status, body.code], [503, 'unavailable'], JSON.stringify(body));
  });

  it('on an island, too, ticks go on until the slot; the source goes to another replica when Redis is back', async (test) => {
    const spread = { DRAIN_SPREAD: `${ISLAND_SPREAD_MS}`, DRAIN_DEADLINE: `${2 * ISLAND_SPREAD_MS}`, LEASE_TTL: '1000', ISLAND_AFTER: '300' };
    const cluster = await Cluster.start(test, { ids: IDS, env: { ...DRAINS, ...spread } });
    const { publisher: gone, others: [other] } = await cluster.roles();
    const server = cluster.replica(gone);
    const watches = await Promise.all(Array.from({ length: 4 }, () => cluster.watch(gone, { transports: transports.websocket })));
    /** @type {Map<any, number>} */
    const slots = new Map();
    for (const watch of watches) watch.socket.on('drain', ({ reconnectInMs }) => slots.set(watch, reconnectInMs));
    await cluster.redis.kill();
    await until(async () => (await server.json('/stats')).islands === 1, 'an island');
    server.child.kill('SIGTERM');
    await until(() => slots.size === watches.length, 'all to be told');
    const last = [...slots].sort(([, one], [, two]) => two - one)[0][0];
    await last.more(20);
    assert.equal(last.losses.length, 0, 'before its slot');
    // Ours goes on as an island, and the lease to who stays.
    await cluster.redis.begin();
    await until(async () => {
      const { bus, sources } = await cluster.replica(other).json('/health');
      return bus.state === 'live' && sources.simulator === 'publisher';
    }, 'the other to publish for all');
    await until(() => last.losses.length > 0 || last.statuses.at(-1)?.state === 'live', 'the last one to be live, or gone');
    assert.deepEqual(await server.exited, { code: 0, signal: null }, server.tail());
  });

  it('ticks go on until the slot, a WebSocket ends with 1012, and a session that polls with its close packet', async (test) => {
    const cluster = await Cluster.start(test, { ids: IDS, env: { ...DRAINS, DRAIN_SPREAD: `${LONG_SPREAD_MS}`, DRAIN_DEADLINE: `${2 * LONG_SPREAD_MS}` } });
    const { publisher: gone } = await cluster.roles();
    const server = cluster.replica(gone);
    // More than half: at least one of them has a slot in the second half.
    const sockets = await Promise.all(Array.from({ length: 6 }, () => RawWebSocket.open(server.url)));
    const polls = await Promise.all(Array.from({ length: 4 }, () => RawPolling.open(server.url)));
    // Their polls wait for something all the time, and for nothing but the end in their slots.
    const quiet = await Promise.all(Array.from({ length: 4 }, () => RawPolling.open(server.url)));
    const closed = sockets.map(async ({ ws }) => (await once(ws, 'close'))[0]);
    for (const client of [...sockets, ...polls]) {
      await client.join();
      await client.request('subscribe', '"*"');
    }
    await Promise.all(quiet.map((client) => client.join()));
    /** Whatever came from when the drain began. @type {Map<any, string[]>} */
    const got = new Map(sockets.map((client) => [client, []]));
    for (const client of sockets) client.ws.on('message', (/** @type {any} */ data) => got.get(client)?.push(String(data)));
    server.child.kill('SIGTERM');
    await server.logged((line) => line.fields?.message === 'draining');

    // Nobody new, and nobody whom it does not know: each with what a proxy asks elsewhere for.
    const endpoint = `${server.url}/socket.io/?EIO=4&transport=`;
    const upgrade = { connection: 'upgrade', upgrade: 'websocket', 'sec-websocket-version': '13', 'sec-websocket-key': 'AAAAAAAAAAAAAAAAAAAAAA==' };
    for (const [query, options] of /** @type {[string, any][]} */ ([
      ['polling', {}],
      ['polling&sid=AAAAAAAAAAAAAAAA', {}],
      ['polling&sid=AAAAAAAAAAAAAAAA', { method: 'POST', body: '40' }],
      ['polling&sid=no-session-at-all', {}],
      ['websocket', { headers: upgrade }],
      ['websocket&sid=AAAAAAAAAAAAAAAA', { headers: upgrade }],
    ])) {
      const { status, text } = await fetchRaw(endpoint + query, options);
      assert.deepEqual([status, JSON.parse(text).code], [503, 'unavailable'], `${options.method ?? 'GET'} ${query}`);
    }

    assert.deepEqual(await Promise.all(closed), sockets.map(() => 1012));
    /** How long each had, and what it got meanwhile. */
    const meanwhile = [...got.values()].map((packets) => {
      const drain = packets.findIndex((packet) => packet.startsWith('42["drain",'));
      const [, { reconnectInMs }] = JSON.parse(packets[drain].slice(2));
      const symbols = packets.slice(drain + 1).filter((packet) => packet.startsWith('42["tick",')).map((packet) => JSON.parse(packet.slice(2))[1].symbol);
      return { reconnectInMs, symbols };
    });
    // A machine that is busy keeps whoever goes at once from getting any; nobody who has seconds left.
    const later = meanwhile.filter(({ reconnectInMs }) => reconnectInMs >= LONG_SPREAD_MS / 2);
    assert.ok(later.length >= 1, `slots ${meanwhile.map(({ reconnectInMs }) => reconnectInMs)}`);
    for (const { reconnectInMs, symbols } of later) {
      for (const symbol of SYMBOLS) {
        const ticks = symbols.filter((each) => each === symbol).length;
        assert.ok(ticks >= 2, `${ticks} ticks of ${symbol} in ${reconnectInMs} ms`);
      }
    }
    // Who polls late finds nobody any more.
    await Promise.all([...polls, ...quiet].map((client) => client.closed));
    for (const { received } of [...polls, ...quiet]) assert.equal(received.at(-1), '1', `${received.slice(-3)}`);
    assert.deepEqual(await server.exited, { code: 0, signal: null }, server.tail());
  });

  it('who takes nothing is cut in its slot, and holds nobody up', async (test) => {
    const cluster = await Cluster.start(test, { ids: IDS, env: { ...DRAINS, UPDATE_INTERVAL: '1' } });
    const { publisher: gone } = await cluster.roles();
    const server = cluster.replica(gone);
    const stuck = await RawWebSocket.open(server.url);
    cluster.undo.push(() => stuck.close());
    await stuck.join();
    await stuck.request('subscribe', '{"symbols":"*","mode":"both"}');
    stuck.ws.pause();
    await until(async () => (await server.json('/stats')).slow.clients === 1, 'it to be slow');
    const begun = performance.now();
    server.child.kill('SIGTERM');
    assert.deepEqual(await server.exited, { code: 0, signal: null }, server.tail());
    assert.ok(performance.now() - begun < DEADLINE_MS);
  });
});
