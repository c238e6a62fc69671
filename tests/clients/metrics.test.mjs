// What the server counts is what its clients counted: exactly.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { describe, it } from 'node:test';
import { closeAfter, connect, connected, open, request, serve, start, transports, until, versions } from '../support/clients.mjs';
import { Count, metricsOf, promtool, samples } from '../support/metrics.mjs';
import { RawWebSocket } from '../support/raw.mjs';

/** @param {Count[]} counts @param {'packets' | 'ticks' | 'leftOut' | 'sent'} what */
const sum = (counts, what) => counts.reduce((total, count) => total + count[what], 0);

describe('metrics', { concurrency: true }, () => {
  it('agree with what clients of every kind counted', async (test) => {
    const server = await serve(test, { UPDATE_INTERVAL: '20', SYMBOLS: 'BTC,ETH,SOL' });
    // The one that looked whether there are prices has gone.
    await until(async () => (await metricsOf(server.url)).get('socket_connections_active') === 0, 'nobody to be there');
    const before = await metricsOf(server.url);
    /** @param {Map<string, number>} now @param {string} name */
    const rise = (now, name) => (now.get(name) ?? 0) - (before.get(name) ?? 0);

    const counts = [];
    for (const version of versions) {
      for (const list of Object.values(transports)) {
        const socket = open(server.url, { version, transports: list });
        closeAfter(test, socket);
        const count = new Count(socket);
        counts.push(count);
        await connected(socket);
        const options = [{ mode: 'tick' }, { mode: 'batch' }, { mode: 'both' }, { mode: 'tick', maxRate: 5 }][counts.length % 4];
        count.sent += 1;
        await request(socket, 'subscribe', { symbols: ['BTC', 'ETH'], ...options });
        // One that is answered with an error.
        count.sent += 1;
        await request(socket, 'no_such_event', 1);
      }
    }
    await until(() => counts.every(({ ticks }) => ticks > 50), 'ticks for everybody');
    assert.equal(rise(await metricsOf(server.url), 'socket_connections_active'), counts.length);
    for (const count of counts) {
      count.sent += 1;
      await request(count.socket, 'unsubscribe', '*');
    }

    // Nothing is sent any more: what is on its way arrives, and then both have the same.
    /** @type {Map<string, number>} */
    let now = new Map();
    const compare = () => ({
      sent: rise(now, 'socket_messages_sent_total') - sum(counts, 'packets'),
      received: rise(now, 'socket_messages_received_total') - sum(counts, 'sent'),
      deliveries: rise(now, 'tickcast_ticks_delivered_total') - sum(counts, 'ticks'),
      ages: rise(now, 'tickcast_tick_age_seconds_count') - sum(counts, 'ticks'),
      conflated: ['paced', 'behind']
        .reduce((all, reason) => all + rise(now, `tickcast_updates_conflated_total{reason="${reason}"}`), -sum(counts, 'leftOut')),
      connections: rise(now, 'socket_connections_total') - counts.length,
      errors: rise(now, 'socket_errors_total') - counts.length,
      requests: rise(now, 'tickcast_errors_total{kind="request"}') - counts.length,
    });
    await until(async () => {
      now = await metricsOf(server.url);
      return Object.values(compare()).every((difference) => difference === 0);
    }, () => `the same counts: ${JSON.stringify(compare())}`);
    assert.ok(sum(counts, 'leftOut') > 0 && sum(counts, 'ticks') > 500, 'there was something to count');
    const lanes = rise(now, 'tickcast_ticks_delivered_by_lane_total');
    const polled = counts.filter(({ socket }) => socket.io.engine.transport.name === 'polling');
    assert.equal(polled.length, versions.length);
    assert.ok(lanes > 0 && lanes <= sum(counts, 'ticks') - sum(polled, 'ticks'));

    for (const { socket } of counts) socket.close();
    await until(async () => rise(await metricsOf(server.url), 'socket_connections_active') === 0, 'nobody to be there');
  });

  it('count errors, limits and those who fall behind', async (test) => {
    const server = await start(test, { UPDATE_INTERVAL: '1', SLOW_CLIENT_TIMEOUT: '8', MAX_CONNECTIONS: '2' });
    const [stuck, broken] = await Promise.all([RawWebSocket.open(server.url), RawWebSocket.open(server.url)]);
    await broken.join();
    const full = await fetch(`${server.url}/socket.io/?EIO=4&transport=polling`);
    assert.equal(full.status, 503);
    await stuck.join();
    await stuck.request('subscribe', '{"symbols":"*","mode":"both"}');
    stuck.ws.pause();
    await until(async () => (await metricsOf(server.url)).get('tickcast_slow_clients') === 1, 'one to be slow');
    broken.ws.send('42{');
    await broken.closed;
    /** @type {Map<string, number>} */
    let now = new Map();
    await until(async () => {
      now = await metricsOf(server.url);
      return now.get('tickcast_slow_clients_disconnected_total') === 1 && now.get('tickcast_slow_clients') === 0;
    }, 'its end');
    assert.equal(now.get('tickcast_limits_hit_total{limit="connections"}'), 1);
    assert.equal(now.get('tickcast_errors_total{kind="protocol"}'), 1);
    assert.equal(now.get('socket_errors_total'), 1);
    stuck.close();
  });

  it('say how things are, in a form that promtool finds no fault with', async (test) => {
    const server = await serve(test, { SYMBOLS: 'BTC,ETH', APP_ID: 'app1' });
    const text = await (await fetch(`${server.url}/metrics`)).text();
    promtool(['check', 'metrics'], text);
    const now = samples(text);
    for (const [name, value] of Object.entries({
      'tickcast_build_info{version="0.1.0",id="app1",bus="local"}': 1,
      tickcast_ready: 1,
      tickcast_draining: 0,
      tickcast_feed_live: 1,
      tickcast_symbols: 2,
      'tickcast_source_publisher{source="simulator"}': 1,
      'tickcast_subscriptions{symbol="BTC"}': 0,
      'tickcast_queue_capacity{queue="bus"}': 1024,
    })) {
      assert.equal(now.get(name), value, name);
    }
    for (const symbol of ['BTC', 'ETH']) {
      const age = now.get(`tickcast_symbol_age_seconds{symbol="${symbol}"}`);
      assert.ok(age !== undefined && age >= 0 && age < 5, `${symbol} is ${age} s old`);
    }
    assert.ok((now.get('process_resident_memory_bytes') ?? 0) > 1e6);
    // No client has a name here.
    assert.ok(now.size < 250, `${now.size} numbers`);
  });

  it('have a thousand numbers of a name at most, whatever it is that has them', async (test) => {
    const symbols = Array.from({ length: 1100 }, (_, n) => `S${n}`);
    const server = await serve(test, { SYMBOLS: symbols.join(), UPDATE_INTERVAL: '2000', ALLOW_NEW_SYMBOLS: 'true' });
    const socket = await connect(server.url);
    closeAfter(test, socket);
    assert.equal((await request(socket, 'subscribe', '*')).symbols.length, 1100);
    const text = await (await fetch(`${server.url}/metrics`)).text();
    promtool(['check', 'metrics'], text);
    /** @type {Map<string, number>} */
    const families = new Map();
    for (const name of samples(text).keys()) {
      const [family] = name.split('{');
      families.set(family, (families.get(family) ?? 0) + 1);
    }
    const largest = [...families].filter(([, count]) => count > 20).sort();
    assert.deepEqual(largest, [['tickcast_subscriptions', 1000], ['tickcast_symbol_age_seconds', 1000]]);
  });

  it('are at a port of their own, with what needs the scope admin', async (test) => {
    const server = await serve(test, { ADMIN_PORT: '0', API_OPEN: 'true' });
    const { fields } = await server.logged((line) => line.fields?.message === 'listening');
    const admin = fields.admin_url;
    assert.notEqual(new URL(admin).port, server.port);
    const status = async (/** @type {string} */ url, /** @type {RequestInit} */ options = {}) => (await fetch(url, options)).status;
    assert.equal(await status(`${server.url}/metrics`), 404);
    assert.ok((await metricsOf(admin)).size > 50);
    for (const page of ['health', 'ready', 'stats']) {
      assert.deepEqual([await status(`${server.url}/${page}`), await status(`${admin}/${page}`)], [200, 200], page);
    }
    const post = { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"userId":"x"}' };
    assert.ok([404, 405].includes(await status(`${server.url}/api/disconnect`, post)));
    assert.equal(await status(`${admin}/api/disconnect`, post), 200);
    const paths = async (/** @type {string} */ url) => Object.keys((await (await fetch(`${url}/api/openapi.json`)).json()).paths);
    assert.deepEqual((await paths(admin)).sort(), ['/api/disconnect', '/api/drain', '/api/ops']);
    assert.ok(!(await paths(server.url)).includes('/api/drain'));
    // Nothing else is there.
    assert.equal(await status(`${admin}/`), 404);
    assert.equal(await status(`${admin}/socket.io/?EIO=4&transport=polling`), 404);

    const drained = await fetch(`${admin}/api/drain`, { method: 'POST' });
    assert.equal(drained.status, 202);
    assert.equal((await drained.json()).ok, true);
    const [code] = server.child.exitCode === null ? await once(server.child, 'exit') : [server.child.exitCode];
    assert.equal(code, 0);
  });
});
