// Replicas around one Redis are one feed: the same ticks everywhere, each once, and one that comes later has them too.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { publishSurely } from '../support/api.mjs';
import { candlesOf } from '../support/candles.mjs';
import { transports, until } from '../support/clients.mjs';
import { Cluster, INTERVAL_MS, SYMBOLS, freeze } from '../support/cluster.mjs';
import { metricsOf } from '../support/metrics.mjs';
import { Cable, Redis } from '../support/redis.mjs';
import { startServer } from '../support/server.mjs';

/** How many ticks of each symbol are compared. */
const TICKS = 160;

describe('agree', { concurrency: true }, () => {
  it('every client of every replica gets the same ticks, from one publisher, at its pace', async (test) => {
    const cluster = await Cluster.start(test, { env: { LEASE_TTL: '30000' } });
    const watches = await Promise.all(['app1', 'app2'].flatMap((id) => [
      cluster.watch(id, { transports: transports.upgrade }),
      cluster.watch(id, { transports: transports.websocket }),
      cluster.watch(id, { mode: 'batch' }),
    ]));
    const epochs = new Set(watches.map(({ answers }) => answers[0].epoch));
    assert.equal(epochs.size, 1, `${[...epochs]}`);

    await Promise.all(watches.map((watch) => watch.more(TICKS)));
    await cluster.level();
    // Each watch knows that its own ticks have no hole, and the ledger that one number has one price; both were checked
    // by `level`. What is left: they are of the same time, and the log has them all.
    const inAll = new Map();
    for (const { ticks } of watches) for (const { symbol, seq } of ticks) inAll.set(`${symbol} ${seq}`, (inAll.get(`${symbol} ${seq}`) ?? 0) + 1);
    const shared = [...inAll.values()].filter((count) => count === watches.length).length;
    assert.ok(shared >= (TICKS / 2) * SYMBOLS.length, `${shared} ticks came to everybody`);
    const noted = [...cluster.ledger.prices.keys()];
    const { ticks: log, terms } = await cluster.checkLog();
    const logged = new Set(log.map(({ epoch, symbol, seq }) => `${epoch} ${symbol} ${seq}`));
    assert.deepEqual(noted.filter((name) => !logged.has(name)), []);

    const { publisher } = await cluster.roles();
    assert.deepEqual(terms, [publisher], 'nobody else ever was');
    // By the source's clock, and with all that a stall may have changed: two publishers would be at half of it.
    for (const { name, ticks } of watches) for (const symbol of SYMBOLS) {
      const times = ticks.filter((tick) => tick.symbol === symbol).map(({ ts }) => ts);
      const pace = (times[times.length - 1] - times[0]) / (times.length - 1);
      assert.ok(pace > INTERVAL_MS * 0.65 && pace < INTERVAL_MS * 2, `${name}: ${symbol} every ${pace} ms`);
    }
  });

  it('a third replica joins with the prices and the history of the others, and is not ready before', async (test) => {
    const cluster = await Cluster.start(test);
    const first = await cluster.watch('app1');
    await first.more(10);

    // The newcomer can reach Redis, but reads nothing yet.
    const cable = await Cable.to(cluster.redis);
    cluster.undo.push(() => cable.stop());
    cable.hold((data, asks) => asks && data.includes('XRANGE'));
    const adding = cluster.add('app3', { REDIS_URL: cable.url });
    const ready = async () => {
      const response = await fetch(`${cluster.replica('app3').url}/ready`);
      return { code: response.status, body: await response.json() };
    };
    await adding;
    const { code, body } = await ready();
    assert.deepEqual([code, body.status, body.bus.state], [503, 'starting', 'starting'], JSON.stringify(body));
    assert.equal((await fetch(`${cluster.replica('app3').url}/health`)).status, 200);
    assert.ok(body.reason);
    await until(() => cable.held > 0, 'the newcomer to ask for history');
    assert.equal((await ready()).code, 503);

    cable.mend();
    await until(async () => {
      const now = await ready();
      if (now.code === 503) assert.equal(now.body.status, 'starting');
      return now.code === 200 && assert.equal(now.body.status, 'ok') === undefined;
    }, 'the newcomer to be ready');
    // At once, in the first answer.
    const [third, stats] = await Promise.all([cluster.watch('app3'), cluster.replica('app3').json('/stats')]);
    const [answer] = third.answers;
    assert.deepEqual([answer.state, answer.snapshot.length, answer.server.id], ['live', SYMBOLS.length, 'app3']);
    assert.equal(answer.epoch, first.answers[0].epoch);
    // Ten ticks of each symbol had been before it came.
    assert.ok(stats.ticks.history >= 10 * SYMBOLS.length, `${stats.ticks.history} ticks of history`);
    assert.equal(stats.ticks.lost, 0);

    await third.more(10);
    // Its first prices are the others': the ledger compares them, once the others have these numbers too.
    await cluster.level();
    for (const { symbol, seq, price, epoch } of answer.snapshot) {
      const noted = cluster.ledger.prices.get(`${epoch} ${symbol} ${seq}`);
      assert.equal(noted?.price, price);
      assert.deepEqual([...noted?.by ?? []].sort(), [first.name, third.name]);
    }
    const { publisher } = await cluster.roles();
    assert.notEqual(publisher, 'app3');
    await cluster.checkLog();
  });

  it('one that comes in a quiet time takes nothing old for new, not even of an epoch before', async (test) => {
    const redis = await Redis.start();
    test.after(() => redis.stop());
    // Nothing is recent.
    const env = { REDIS_URL: redis.url, SYMBOLS: '', PUBLISHED_SYMBOLS: 'GOLD', HISTORY_SECONDS: '0', ISLAND_AFTER: '100' };
    const start = async (/** @type {string} */ id) => {
      const server = await startServer({ ...env, APP_ID: id });
      test.after(() => server.stop());
      return server;
    };
    const price = async (/** @type {any} */ server, /** @type {number} */ value) => {
      const { json, text } = await publishSurely(server, [{ symbol: 'GOLD', price: value, size: 1 }]);
      assert.equal(json?.accepted, 1, text);
    };
    const day = async (/** @type {any} */ server) => {
      const [{ open, high, low, close, volume, n }] = (await candlesOf(server, 'GOLD', { interval: '1d' })).slice(-1);
      return { open, high, low, close, volume, n };
    };
    const status = async (/** @type {any} */ server) => (await server.json('/health')).status;

    const first = await start('app1');
    for (let value = 101; value <= 110; value += 1) await price(first, value);
    const { epoch } = await first.json('/api/prices/GOLD');
    await freeze(redis);
    await until(async () => await status(first) === 'degraded', 'an island');
    redis.child?.kill('SIGCONT');
    await until(async () => await status(first) === 'ok', 'it to be back');
    await until(async () => (await first.json('/api/prices/GOLD')).epoch !== epoch, 'another epoch');

    const second = await start('app2');
    await until(async () => await status(second) === 'ok', 'the second to be there');
    // Behind all that there was.
    await price(first, 111);
    await until(async () => (await second.json('/api/prices/GOLD')).price === 111, 'the last price at the second');
    assert.deepEqual(await day(second), { open: 101, high: 111, low: 101, close: 111, volume: 11, n: 11 });
    assert.deepEqual(await day(first), await day(second));
    assert.equal((await metricsOf(second.url)).get('tickcast_epoch_changes_total') ?? 0, 0);
  });

  it('one without Redis is alone', async (test) => {
    const server = await startServer({ APP_ID: 'alone' });
    test.after(() => server.stop());
    const { nodes } = await server.json('/stats?scope=cluster');
    assert.deepEqual(nodes.map((/** @type {any} */ { id }) => id), ['alone']);
    const { bus } = await server.json('/health');
    assert.equal(bus.kind, 'local');
    assert.equal(bus.redis, undefined);
  });
});
