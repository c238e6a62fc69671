// Candles in Redis: whoever starts has what all others have, tick by tick.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { publishSurely } from '../support/api.mjs';
import { INTERVALS, candlesOf } from '../support/candles.mjs';
import { until } from '../support/clients.mjs';
import { Cluster, SYMBOLS } from '../support/cluster.mjs';
import { foldLog, hasCandles } from '../support/kept.mjs';
import { metricsOf } from '../support/metrics.mjs';
import { Cable, LOG, Redis } from '../support/redis.mjs';

const MARKS = 'tickcast:{bus}:candles';
const ENV = { UPDATE_INTERVAL: '20', LEASE_TTL: '1000' };

/** Prices that a back end publishes, and rarely. */
const QUIET = 'GOLD';

/** How long a client watches before something happens: some closed seconds (ms). */
const SPAN_MS = 4_000;

/** Ticks that are neither stored nor in the log, where a test wants that. */
const MISSING = 50;

/** The next replica takes over the storing within this (ms): the life of its lease. */
const STORED_BY_ANOTHER_MS = 20_000;

/** All ticks of the log, with their epoch. @param {Cluster} cluster */
async function logged(cluster) {
  return (await cluster.redis.log()).flatMap(({ epoch, ticks }) => ticks.map((tick) => ({ ...tick, epoch })));
}

/** Resolves when the log spans so much, and something of it is stored. @param {Cluster} cluster @param {number} [ms] */
async function filled(cluster, ms = SPAN_MS) {
  await until(async () => {
    const [[first], [last]] = await Promise.all([cluster.redis.ask('XRANGE', LOG, '-', '+', 'COUNT', '1'), cluster.redis.ask('XREVRANGE', LOG, '+', '-', 'COUNT', '1')]);
    return parseInt(last[0], 10) - parseInt(first[0], 10) > ms && (await cluster.redis.ask('HLEN', MARKS)) > SYMBOLS.length;
  }, 'a log of some seconds');
}

/** Resolves when a replica has a tick of each symbol that is later than this: all before it are in its candles. @param {Cluster} cluster @param {string} id @param {number} ts */
async function reached(cluster, id, ts) {
  for (const symbol of SYMBOLS) {
    await until(async () => (await cluster.replica(id).json(`/api/prices/${symbol}`)).ts > ts, `ticks of ${symbol} at ${id}`);
  }
}

/** Fails unless a replica has every candle of the log, of every interval, but for what still runs. @param {Cluster} cluster @param {string} id @param {any[]} ticks */
async function hasAll(cluster, id, ticks) {
  const last = Math.max(...ticks.map(({ ts }) => ts));
  await reached(cluster, id, last);
  for (const symbol of SYMBOLS) {
    for (const interval of Object.keys(INTERVALS)) {
      const expected = foldLog(ticks, symbol, interval);
      const got = await candlesOf(cluster.replica(id), symbol, { interval, limit: 5000 });
      const closed = expected.filter(({ ts }) => ts + INTERVALS[interval] <= last);
      if (closed.length > 0) hasCandles(got, closed);
    }
  }
}

/** Fails unless two replicas have the same candles, of all that has closed. @param {Cluster} cluster @param {string} one @param {string} other */
async function same(cluster, one, other) {
  const now = Date.now();
  await Promise.all([one, other].map((id) => reached(cluster, id, now)));
  for (const symbol of SYMBOLS) {
    for (const [interval, ms] of Object.entries(INTERVALS)) {
      const [a, b] = await Promise.all([one, other].map((id) => candlesOf(cluster.replica(id), symbol, { interval, limit: 5000 })));
      const closed = (/** @type {any[]} */ candles) => candles.filter(({ ts }) => ts + ms <= now);
      assert.deepEqual(closed(a), closed(b), `${symbol} ${interval}`);
    }
  }
}

/** Who stores the candles, by its own word. @param {Cluster} cluster @param {string[]} [ids] */
async function storer(cluster, ids = cluster.live(), limit_ms = STORED_BY_ANOTHER_MS) {
  const words = ['this replica stores the candles', 'another replica stores the candles'];
  const stores = (/** @type {string} */ id) => {
    const said = cluster.replica(id).log.map(({ fields }) => words.indexOf(fields?.message)).filter((word) => word >= 0);
    return said[said.length - 1] === 0;
  };
  return until(() => ids.find(stores), 'somebody to store the candles', limit_ms);
}

describe('candles in Redis', { concurrency: 3 }, () => {
  it('all replicas are killed, and those that start have every tick of the log once', async (test) => {
    const cluster = await Cluster.start(test, { env: ENV });
    const watch = await cluster.watch('app1');
    await filled(cluster);
    await watch.more(20);
    await Promise.all(cluster.live().map((id) => cluster.replica(id).stop('SIGKILL')));
    const before = await logged(cluster);
    await Promise.all(['app3', 'app4'].map((id) => cluster.add(id)));
    await Promise.all(['app3', 'app4'].map((id) => cluster.priced(id)));
    // Some more of it, so that what ran at the end has closed.
    await filled(cluster, SPAN_MS + 5_000);
    const ticks = await logged(cluster);
    assert.ok(ticks.length > before.length);
    for (const id of ['app3', 'app4']) {
      await hasAll(cluster, id, ticks);
      const metrics = await metricsOf(cluster.replica(id).url);
      assert.equal(metrics.get('tickcast_candle_ticks_lost_total'), 0);
    }
    await same(cluster, 'app3', 'app4');
    // The client saw every tick of its time: it computes the same.
    const seen = watch.ticks.filter(({ symbol }) => symbol === 'BTC');
    const [first, last] = [seen[0].ts, seen[seen.length - 1].ts];
    const whole = foldLog(seen, 'BTC', '1s').filter(({ ts }) => ts > first && ts + 1000 <= last);
    hasCandles(await candlesOf(cluster.replica('app3'), 'BTC', { interval: '1s', limit: 5000 }), whole);
  });

  it('a replica that starts again under load has what the other has', async (test) => {
    const cluster = await Cluster.start(test, { env: { ...ENV, UPDATE_INTERVAL: '5' } });
    await filled(cluster);
    const stores = await storer(cluster);
    const [other] = cluster.live().filter((id) => id !== stores);
    for (const id of [other, stores]) {
      await cluster.replica(id).stop('SIGKILL');
      await cluster.add(`${id}-again`);
      await cluster.priced(`${id}-again`);
    }
    await filled(cluster, SPAN_MS + 6_000);
    const [one, two] = cluster.live();
    await same(cluster, one, two);
    const ticks = await logged(cluster);
    await hasAll(cluster, one, ticks);
    await hasAll(cluster, two, ticks);
  });

  it('Redis loses everything: the replicas have it, and store it again', async (test) => {
    const cluster = await Cluster.start(test, { env: ENV });
    await filled(cluster);
    const ticks = await logged(cluster);
    await cluster.redis.ask('FLUSHALL');
    await until(async () => (await cluster.redis.ask('HLEN', MARKS)) > SYMBOLS.length, 'it to be stored again');
    await until(async () => (await cluster.redis.ask('LLEN', `${MARKS}:BTC`)) > 2, 'some seconds of it');
    for (const id of cluster.live()) await hasAll(cluster, id, ticks);
    // From Redis alone.
    await Promise.all(cluster.live().map((id) => cluster.replica(id).stop('SIGKILL')));
    await cluster.add('app3');
    await cluster.priced('app3');
    await hasAll(cluster, 'app3', ticks);

    // And with the last replica it is gone.
    const before = await candlesOf(cluster.replica('app3'), 'BTC', { interval: '1s', limit: 5000 });
    await cluster.replica('app3').stop('SIGKILL');
    await cluster.redis.ask('FLUSHALL');
    await cluster.add('app4');
    await cluster.priced('app4');
    const after = await candlesOf(cluster.replica('app4'), 'BTC', { interval: '1s', limit: 5000 });
    assert.ok(after[0].ts >= before[before.length - 1].ts);
  });

  it('Redis loses everything: the candles of a symbol that is quiet are stored again, too', async (test) => {
    // One replica: the same one stores afterwards.
    const cluster = await Cluster.start(test, { ids: ['app1'], env: { ...ENV, SOURCES: 'simulator,http', PUBLISHED_SYMBOLS: QUIET } });
    const [one] = cluster.live();
    for (let price = 101; price <= 105; price += 1) {
      assert.equal((await publishSurely(cluster.replica(one), [{ symbol: QUIET, price, size: 1 }])).json?.accepted, 1);
    }
    const day = async (/** @type {string} */ id) => (await candlesOf(cluster.replica(id), QUIET, { interval: '1d', limit: 5000 })).map(({ n, open, volume }) => ({ n, open, volume }));
    const whole = [{ n: 5, open: 101, volume: 5 }];
    await until(async () => (await day(one))[0]?.n === 5, 'all of them');
    await until(async () => (await cluster.redis.ask('LLEN', `${MARKS}:${QUIET}`)) > 0, 'it to be stored');
    const { bus: { epoch } } = await cluster.replica(one).json('/health');
    await cluster.redis.ask('FLUSHALL');
    await until(async () => {
      const [now, mark] = [(await cluster.replica(one).json('/health')).bus.epoch, await cluster.redis.ask('HGET', MARKS, QUIET)];
      return now !== epoch && mark?.startsWith(`${now} `) && (await cluster.redis.ask('LLEN', `${MARKS}:${QUIET}`)) > 0;
    }, 'it to be stored again', STORED_BY_ANOTHER_MS);
    await cluster.add('app2');
    await cluster.priced('app2');
    await until(async () => (await cluster.replica('app2').json(`/api/prices/${QUIET}`)).price === 105, 'its price');
    for (const id of cluster.live()) assert.deepEqual(await day(id), whole, id);
    // From Redis alone.
    await Promise.all(cluster.live().map((id) => cluster.replica(id).stop('SIGKILL')));
    await cluster.add('app3');
    await cluster.priced('app3');
    assert.deepEqual(await day('app3'), whole);
  });

  it('a new epoch begins while a replica reads what is stored: no tick is in it twice', async (test) => {
    const cluster = await Cluster.start(test, { ids: ['app1'], env: ENV });
    const cables = await Promise.all([0, 1].map(() => Cable.to(cluster.redis)));
    cluster.undo.push(() => Promise.all(cables.map((cable) => cable.stop())));
    const [island, reader] = cables;
    await cluster.add('app3', { REDIS_URL: island.url, ISLAND_AFTER: '300' });
    await cluster.priced('app3');
    await filled(cluster);
    island.cut();
    await until(async () => (await cluster.replica('app3').json('/stats')).islands === 1, 'an island');

    // The newcomer knows up to where what is stored goes, and has nothing of it yet.
    reader.hold((data, asks) => asks && data.includes('LRANGE'));
    const adding = cluster.add('app2', { REDIS_URL: reader.url });
    await until(() => reader.held > 0, 'the newcomer to ask for what is stored');
    const epoch = async () => (await cluster.redis.ask('HGET', MARKS, SYMBOLS[0])).split(' ')[0];
    const before = await epoch();
    island.mend();
    await until(async () => (await epoch()) !== before, 'all to be stored under the epoch of who is back');
    reader.mend();
    await adding;
    await cluster.priced('app2');
    await hasAll(cluster, 'app2', await logged(cluster));
    await same(cluster, 'app1', 'app2');
  });

  it('who stores is killed: another one does, and nothing is missed', async (test) => {
    const cluster = await Cluster.start(test, { env: ENV });
    await filled(cluster);
    const first = await storer(cluster);
    await cluster.replica(first).stop('SIGKILL');
    const second = await storer(cluster);
    assert.notEqual(second, first);
    await filled(cluster, SPAN_MS + 8_000);
    await cluster.replica(second).stop('SIGKILL');
    await cluster.add('app3');
    await cluster.priced('app3');
    await hasAll(cluster, 'app3', await logged(cluster));
  });

  it('while Redis is away nothing is stored, which is counted each second, and nobody says otherwise', async (test) => {
    const cluster = await Cluster.start(test, { env: ENV });
    const [id, other] = [await storer(cluster), 'app1', 'app2'].filter((each, index, all) => all.indexOf(each) === index);
    const said = () => [id, other].map((each) => cluster.replica(each).log.map(({ fields }) => `${fields?.message}`));
    const before = said().map(({ length }) => length);
    await cluster.redis.kill();
    // So many within 5 minutes that somebody is called.
    await until(async () => {
      const failures = await Promise.all([id, other].map(async (each) => (await metricsOf(cluster.replica(each).url)).get('tickcast_candles_store_failures_total')));
      return failures.every((count) => Number(count) > 10);
    }, 'the failures', 60_000);
    for (const [index, lines] of said().entries()) {
      const since = lines.slice(before[index]);
      assert.deepEqual(since.filter((line) => /another replica stores|stored again/.test(line)), []);
      assert.equal(since.filter((line) => line.startsWith('candles cannot be stored')).length, 1, 'said once');
    }
    await cluster.redis.begin();
    await Promise.all([id, other].map((each) => cluster.replica(each).logged(({ fields }) => fields?.message === 'candles are stored again')));
    await until(async () => (await cluster.redis.ask('HLEN', MARKS)) > SYMBOLS.length, 'them to be in Redis again');
  });

  it('what is neither stored nor in the log is a hole, which is said and counted', async (test) => {
    const cluster = await Cluster.start(test, { env: ENV });
    await filled(cluster);
    await Promise.all(cluster.live().map((id) => cluster.replica(id).stop('SIGKILL')));
    // As if it had been stored some ticks earlier, and the log had gone on for long since.
    const [epoch, seq, by] = (await cluster.redis.ask('HGET', MARKS, 'BTC')).split(' ');
    await cluster.redis.ask('HSET', MARKS, 'BTC', `${epoch} ${seq - MISSING} ${by}`);
    await cluster.redis.ask('XTRIM', LOG, 'MAXLEN', '1');
    await cluster.add('app3');
    await cluster.priced('app3');
    const lost = await until(async () => (await metricsOf(cluster.replica('app3').url)).get('tickcast_candle_ticks_lost_total'), 'the count of what is lost');
    assert.ok(lost >= MISSING - 1, `${lost}`);
    await cluster.replica('app3').logged(({ fields }) => fields?.message?.startsWith('candles have a hole'));
  });
});

describe('the script that stores', () => {
  /** @param {any} test */
  async function redisOf(test) {
    const redis = await Redis.start();
    test.after(() => redis.stop());
    const script = readFileSync(new URL('../../src/bus/redis/store.lua', import.meta.url), 'utf8');
    /** @param {string} token @param {...[string, number, number, string]} parts epoch, seq, whole, record */
    const store = (token, ...parts) =>
      redis.ask('EVAL', script, `${3 + parts.length}`, 'lease', 'meta', 'marks', ...parts.map(() => 'list'), token, '60000', ...parts.flatMap(([epoch, seq, whole, record]) => ['BTC', epoch, `${seq}`, `${whole}`, record]));
    const list = () => redis.ask('LRANGE', 'list', '0', '-1');
    await redis.ask('HSET', 'meta', 'epoch', 'now');
    return { redis, store, list };
  }

  it('one at a time', async (test) => {
    const { redis, store, list } = await redisOf(test);
    assert.deepEqual(await store('a'), ['stored']);
    assert.deepEqual(await store('b', ['now', 1, 1, 'x']), ['held']);
    assert.deepEqual(await list(), []);
    await redis.ask('DEL', 'lease');
    assert.deepEqual(await store('b', ['now', 1, 1, 'x']), ['stored', 'stored']);
    assert.deepEqual(await store('a', ['now', 9, 1, 'y']), ['held']);
  });

  it('what is newer is not overwritten by who wakes late, nor by an epoch that has ended or is nobody else\'s', async (test) => {
    const { redis, store, list } = await redisOf(test);
    assert.deepEqual(await store('a', ['now', 9, 1, 'nine']), ['stored', 'stored']);
    await redis.ask('DEL', 'lease');
    assert.deepEqual(await store('b', ['now', 8, 1, 'eight']), ['stored', 'old']);
    assert.deepEqual(await store('b', ['before', 99, 1, 'of before']), ['stored', 'old']);
    assert.deepEqual(await store('b', ['island', 99, 1, 'of an island']), ['stored', 'old']);
    assert.deepEqual(await list(), ['nine']);
    await redis.ask('HSET', 'meta', 'epoch', 'next');
    assert.deepEqual(await store('b', ['next', 5, 1, 'five']), ['stored', 'stored'], 'numbers of another epoch do not compare');
    assert.deepEqual(await list(), ['five']);
    assert.deepEqual(await store('b', ['now', 99, 1, 'late']), ['stored', 'old']);
  });

  it('what only says what changed follows what the same replica stored', async (test) => {
    const { redis, store, list } = await redisOf(test);
    assert.deepEqual(await store('a', ['now', 1, 0, 'change']), ['stored', 'lost'], 'there is nothing');
    assert.deepEqual(await store('a', ['now', 1, 1, 'whole'], ['now', 2, 0, 'change']), ['stored', 'stored', 'stored']);
    assert.deepEqual(await list(), ['whole', 'change']);
    await redis.ask('DEL', 'lease');
    assert.deepEqual(await store('b', ['now', 3, 0, 'change']), ['stored', 'lost'], 'another one\'s');
    assert.deepEqual(await store('b', ['now', 3, 1, 'whole']), ['stored', 'stored']);
    assert.deepEqual(await list(), ['whole'], 'in the place of all before');
    await redis.ask('DEL', 'list');
    assert.deepEqual(await store('b', ['now', 4, 0, 'change']), ['stored', 'lost'], 'Redis has lost it');
  });
});
