// Every replica has the same candles, over takeovers and islands: they are made of the one log.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { candlesOf, fold, INTERVALS, plain } from '../support/candles.mjs';
import { connect, request, until } from '../support/clients.mjs';
import { Cluster } from '../support/cluster.mjs';
import { Cable, LOG } from '../support/redis.mjs';
import { wired } from '../support/wired.mjs';

const STEPS = 25;

/** The candles of a replica that nothing can change any more: but for the first and the last. @param {Cluster} cluster @param {string} id @param {string} interval */
async function settled(cluster, id, interval) {
  // Of what came before this tick nothing is on its way.
  const { ts: reached } = await cluster.replica(id).json('/api/prices/BTC');
  const candles = await candlesOf(cluster.replica(id), 'BTC', { interval, limit: 5000 });
  return candles.slice(1).filter(({ n, ts }) => n > 0 && ts + INTERVALS[interval] <= reached);
}

/** Fails unless a replica has the candles of these ticks, as far as they go. @param {any[]} ticks @param {any[]} candles */
function areMadeOf(ticks, candles, interval = '1s') {
  const all = fold(ticks, interval).slice(1, -1);
  const compared = all.filter(({ ts }) => candles.some((candle) => candle.ts === ts));
  assert.ok(compared.length >= 2, `${compared.length} of ${all.length} candles, ${candles.length} there`);
  for (const candle of compared) assert.deepEqual(candles.find(({ ts }) => ts === candle.ts), candle);
}

/** The ticks of one symbol, in the order of the log. @param {any[]} ticks */
const of = (ticks) => ticks.filter(({ symbol }) => symbol === 'BTC');

describe('candles of a cluster', { concurrency: 2 }, () => {
  it('are the same everywhere, and go on where the publisher is killed', async (test) => {
    const cluster = await Cluster.start(test, { env: { LEASE_TTL: '1000' } });
    const { publisher, others: [other] } = await cluster.roles();
    const [mine, theirs] = await Promise.all([cluster.watch(publisher), cluster.watch(other)]);
    /** @type {any[]} */
    const closes = [];
    const follower = await connect(cluster.replica(other).url);
    test.after(() => follower.close());
    follower.on('candle', (/** @type {any} */ candle) => candle.closed && closes.push(candle));
    await request(follower, 'candles', { symbol: 'BTC', interval: '1s' });
    await until(() => closes.length >= 3, 'three seconds');
    await Promise.all([mine.more(STEPS), theirs.more(STEPS)]);
    const [here, there] = [await settled(cluster, publisher, '1s'), await settled(cluster, other, '1s')];
    const both = there.filter(({ ts }) => here.some((candle) => candle.ts === ts));
    assert.ok(both.length >= 2, `${both.length}`);
    assert.deepEqual(both, here.filter(({ ts }) => there.some((candle) => candle.ts === ts)));

    await cluster.replica(publisher).stop('SIGKILL');
    const count = closes.length;
    await theirs.more(STEPS);
    await until(() => closes.length >= count + 4, 'four seconds more');
    closes.forEach(({ ts }, index) => assert.equal(ts, closes[0].ts + index * 1000, 'no hole, no repeat'));
    const served = await settled(cluster, other, '1s');
    areMadeOf(of(theirs.ticks), served);
    for (const close of closes) {
      const candle = served.find(({ ts }) => ts === close.ts);
      if (candle) assert.deepEqual(plain(close), candle);
    }
    areMadeOf(of((await cluster.checkLog()).ticks), served);
    const days = await candlesOf(cluster.replica(other), 'BTC', { interval: '1d' });
    assert.ok(days.reduce((sum, { n }) => sum + n, 0) >= of(theirs.ticks).length);
  });

  it('a replica that was an island has those of the others when it is back', async (test) => {
    /** @type {Map<string, Cable>} */
    const cables = new Map();
    const cluster = await Cluster.start(test, {
      env: { LEASE_TTL: '1000', ISLAND_AFTER: '300', UPDATE_INTERVAL: '100' },
      each: async (id, redis) => {
        const cable = await Cable.to(redis);
        cables.set(id, cable);
        return { REDIS_URL: cable.url };
      },
    });
    cluster.undo.push(() => Promise.all([...cables.values()].map((cable) => cable.stop())));
    const { publisher, others: [other] } = await cluster.roles();
    const [mine, theirs] = await Promise.all([cluster.watch(publisher), cluster.watch(other)]);
    /** @type {any[]} */
    const events = [];
    const follower = await connect(cluster.replica(other).url);
    test.after(() => follower.close());
    follower.on('candle', (/** @type {any} */ candle) => candle.closed && events.push(candle));
    await request(follower, 'candles', { symbol: 'BTC', interval: '1s' });
    await Promise.all([mine.more(STEPS), theirs.more(STEPS)]);

    cables.get(other)?.cut();
    await theirs.status(({ state }) => state === 'degraded');
    await theirs.more(STEPS);
    const alone = Date.now();
    cables.get(other)?.mend();
    await until(async () => {
      const [here, there] = await Promise.all([publisher, other].map((id) => cluster.replica(id).json('/health')));
      return there.status === 'ok' && here.bus.epoch === there.bus.epoch;
    }, 'one epoch');
    await Promise.all([mine.more(STEPS), theirs.more(STEPS)]);
    await cluster.level();

    const [here, there] = [await settled(cluster, publisher, '1s'), await settled(cluster, other, '1s')];
    const common = there.filter(({ ts }) => here.some((candle) => candle.ts === ts));
    assert.ok(common.filter(({ ts }) => ts < alone).length >= 2, 'of before, and of meanwhile');
    assert.deepEqual(common, here.filter(({ ts }) => there.some((candle) => candle.ts === ts)));
    // One of the two was asked later.
    const times = [here, there].map((all) => all.map(({ ts }) => ts));
    const [first, last] = [Math.max(...times.map((all) => all[0])), Math.min(...times.map((all) => all[all.length - 1]))];
    const [ours, others_] = times.map((all) => all.filter((ts) => first <= ts && ts <= last));
    assert.deepEqual(others_, ours, 'none is missing');
    const [days, others] = await Promise.all([other, publisher].map((id) => candlesOf(cluster.replica(id), 'BTC', { interval: '1d' })));
    assert.equal(days.length, others.length);

    // Who followed them hears of those that were made alone again, as they are now.
    const lastOf = new Map(events.map((event) => [event.ts, plain(event)]));
    const compared = there.filter(({ ts }) => lastOf.has(ts));
    assert.ok(compared.length >= 2);
    for (const candle of compared) assert.deepEqual(lastOf.get(candle.ts), candle);
  });

  it('after an island whose log was trimmed, none that had closed before it closes again', async (test) => {
    const { cluster, publisher, other, mine, theirs, cable } = await wired(test, { LEASE_TTL: '1000', ISLAND_AFTER: '300', UPDATE_INTERVAL: '100' });
    /** @type {any[]} */
    const closes = [];
    const follower = await connect(cluster.replica(other).url);
    test.after(() => follower.close());
    follower.on('candle', (/** @type {any} */ candle) => candle.closed && closes.push(candle));
    await request(follower, 'candles', { symbol: 'BTC', interval: '1s' });
    await until(() => closes.length >= 6, 'six seconds');

    cable(other).cut();
    await theirs.status(({ state }) => state === 'degraded');
    const island = theirs.ticks.length;
    await theirs.more(STEPS);
    const [{ ts: cut }] = theirs.ticks.slice(island);
    const before = closes.filter(({ ts }) => ts + 1000 <= cut);
    // Of what passed meanwhile the last is left; all of it is stored.
    await mine.more(STEPS);
    await cluster.redis.ask('XTRIM', LOG, 'MAXLEN', '5');
    const alone = Date.now();
    cable(other).mend();
    await until(async () => {
      const [here, there] = await Promise.all([publisher, other].map((id) => cluster.replica(id).json('/health')));
      return there.status === 'ok' && here.bus.epoch === there.bus.epoch;
    }, 'one epoch');
    await until(() => closes[closes.length - 1].ts > alone + 2000, 'closes of what came after it');
    assert.ok(before.length >= 6, `${before.length}`);
    for (const { ts } of before.slice(0, -2)) {
      assert.equal(closes.filter((close) => close.ts === ts).length, 1, `${ts} of ${closes.map((close) => close.ts)}`);
    }
    // Who followed them has been told of each as it is now.
    const [here, there] = [await settled(cluster, publisher, '1s'), await settled(cluster, other, '1s')];
    const common = there.filter(({ ts }) => here.some((candle) => candle.ts === ts));
    assert.deepEqual(common, here.filter(({ ts }) => there.some((candle) => candle.ts === ts)));
    const lastOf = new Map(closes.map((close) => [close.ts, plain(close)]));
    const compared = there.filter(({ ts }) => lastOf.has(ts));
    assert.ok(compared.filter(({ ts }) => cut <= ts && ts < alone).length >= 1, 'some of meanwhile');
    for (const candle of compared) assert.deepEqual(lastOf.get(candle.ts), candle);
  });
});
