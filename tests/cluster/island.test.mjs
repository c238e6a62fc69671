// A replica without Redis goes on by itself, under an epoch of its own, and comes back to one truth.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { isProblem, publish, publishSurely } from '../support/api.mjs';
import { connect, request, until } from '../support/clients.mjs';
import { BUSY_MS, Cluster, SYMBOLS, freeze, walksOn } from '../support/cluster.mjs';
import { metricsOf } from '../support/metrics.mjs';
import { Redis, freePort } from '../support/redis.mjs';
import { NO_ISLANDS } from '../support/server.mjs';
import { STEPS, epochs, wired } from '../support/wired.mjs';

/** @typedef {import('../support/redis.mjs').Cable} Cable */

/** Prices that a back end publishes, and rarely. */
const QUIET = 'GOLD';

const ENV = { LEASE_TTL: '3000', ISLAND_AFTER: '300', PUBLISHED_SYMBOLS: QUIET, UPDATE_INTERVAL: '100' };

/** The longest silence where Redis says that it is gone, and where it says nothing (ms). */
const CLOSED_MS = 500;
const HUNG_MS = 2000;

/** When Redis is back, all have to be on one epoch within this (ms). */
const ONE_TRUTH_MS = 5000;

/** How long Redis takes nothing, where it does not say so (ms): nobody can end that sooner. */
const PAUSED_MS = 8000;

/** Two replicas that can be cut off. @param {any} test @param {Record<string, string>} [env] @param {Record<string, string>} [others] */
const cuttable = (test, env = {}, others = {}) =>
  wired(test, { ...ENV, ...env }, (cluster, publisher) => price(cluster, publisher, 1900), others);

/** Publishes a price of the quiet symbol. @param {Cluster} cluster @param {string} id @param {number} value */
async function price(cluster, id, value) {
  const { json, text } = await publishSurely(cluster.replica(id), [{ symbol: QUIET, price: value }]);
  assert.equal(json?.accepted, 1, text);
}

/** The latest tick of the quiet symbol there. @param {Cluster} cluster @param {string} id */
async function quiet(cluster, id) {
  const socket = await connect(cluster.replica(id).url);
  try {
    const { snapshot } = await request(socket, 'subscribe', [QUIET]);
    return snapshot[0];
  } finally {
    socket.close();
  }
}

/** Resolves with the epoch, when all follow one. @param {Cluster} cluster */
const oneEpoch = (cluster) => until(async () => {
  const healths = await Promise.all(cluster.live().map((id) => cluster.replica(id).json('/health')));
  const [{ bus }] = healths;
  return healths.every((health) => health.status === 'ok' && health.bus.epoch === bus.epoch) && bus.epoch;
}, 'one epoch', ONE_TRUTH_MS + BUSY_MS);

describe('islands', { concurrency: 4 }, () => {
  for (const { title, how, silence_ms } of [
    { title: 'cut off from Redis', how: (/** @type {Cable} */ cable) => cable.cut(), silence_ms: CLOSED_MS },
    { title: 'without an answer from Redis', how: (/** @type {Cable} */ cable) => cable.hold(), silence_ms: HUNG_MS },
  ]) {
    it(`a replica is ${title}: it goes on by itself, and takes what the others have when it is back`, async (test) => {
      const { ISLAND_AFTER } = ENV;
      const { cluster, publisher, other, mine, theirs, cable } = await cuttable(test, NO_ISLANDS, { ISLAND_AFTER });
      const [first] = epochs(theirs);
      const cut = performance.now();
      how(cable(other));
      const { at, reason } = await theirs.status(({ state }) => state === 'degraded');
      assert.ok(at - cut < 3000 + BUSY_MS, `said after ${at - cut} ms`);
      assert.match(reason, /Redis/);
      await theirs.more(STEPS);
      assert.ok(theirs.silence(cut) < silence_ms + BUSY_MS, `${theirs.silence(cut)} ms of silence`);
      const island = await cluster.replica(other).json('/health');
      assert.deepEqual([island.status, island.bus.state, island.sources.simulator], ['degraded', 'degraded', 'publisher']);
      assert.deepEqual(epochs(theirs), [first, island.bus.epoch]);
      assert.notEqual(island.bus.epoch, first);
      const metrics = async () => {
        const all = await metricsOf(cluster.replica(other).url);
        return ['tickcast_alone', 'tickcast_feed_live', 'tickcast_source_publisher{source="simulator"}'].map((name) => all.get(name));
      };
      // It makes prices, but not for all.
      assert.deepEqual(await metrics(), [1, 0, 0]);
      // What is quiet is there under the new numbers, too; and nobody is told that a price was taken that others would
      // never see.
      assert.deepEqual([(await quiet(cluster, other)).price, (await quiet(cluster, other)).epoch], [1900, island.bus.epoch]);
      isProblem(await publish(cluster.replica(other), [{ symbol: QUIET, price: 1 }]), 503, 'unavailable');
      await price(cluster, publisher, 1950);
      assert.deepEqual(epochs(mine), [first], 'the others have nothing to do with it');

      const mended = performance.now();
      // Prices go on at the others: what a busy machine holds up comes afterwards.
      const meanwhile = mine.ticks.filter(({ symbol, at: heard }) => symbol === SYMBOLS[0] && heard > cut).length;
      assert.ok(meanwhile > (mended - cut) / 100 / 2, `${meanwhile} ticks at the others in ${mended - cut} ms`);
      cable(other).mend();
      const epoch = await oneEpoch(cluster);
      test.diagnostic(`one truth after ${(performance.now() - mended).toFixed()} ms`);
      await Promise.all([mine.more(STEPS), theirs.more(STEPS)]);
      await cluster.level();
      assert.deepEqual(epochs(theirs), [first, island.bus.epoch, epoch]);
      assert.deepEqual(epochs(mine), [first, epoch]);
      for (const id of [publisher, other]) assert.deepEqual([(await quiet(cluster, id)).price, (await quiet(cluster, id)).epoch], [1950, epoch]);
      assert.deepEqual([mine.losses, theirs.losses], [[], []]);
      assert.equal(theirs.statuses[theirs.statuses.length - 1].state, 'live');
      assert.deepEqual(await cluster.roles(), { publisher, others: [other] });
      const stats = await cluster.replica(other).json('/stats');
      assert.deepEqual([stats.islands, stats.ticks.lost], [1, 0]);
      assert.deepEqual((await metrics()).slice(0, 2), [0, 1]);
      await cluster.checkLog();
    });
  }

  it('a loss that is shorter changes nothing', async (test) => {
    const { cluster, publisher, other, mine, theirs, cable } = await cuttable(test, { ISLAND_AFTER: '10000' });
    const cut = performance.now();
    for (const id of [publisher, other]) cable(id).cut();
    await sleep(500);
    for (const id of [publisher, other]) cable(id).mend();
    await Promise.all([mine.more(STEPS), theirs.more(STEPS)]);
    await cluster.level();
    for (const watch of [mine, theirs]) {
      assert.deepEqual([epochs(watch).length, watch.statuses.filter(({ epoch }) => epoch)], [1, []]);
      walksOn(watch.ticks, cut);
    }
    for (const id of [publisher, other]) assert.equal((await cluster.replica(id).json('/stats')).islands, 0);
    await cluster.checkLog();
  });

  for (const { title, away, back, silence_ms } of [
    { title: 'is killed and comes back empty', away: (/** @type {Redis} */ redis) => redis.kill(), back: (/** @type {Redis} */ redis) => redis.begin(), silence_ms: CLOSED_MS },
    { title: 'is stopped', away: (/** @type {Redis} */ redis) => freeze(redis), back: (/** @type {Redis} */ redis) => redis.child?.kill('SIGCONT'), silence_ms: HUNG_MS },
    ...['WRITE', 'ALL'].map((what) => ({
      title: `takes nothing (CLIENT PAUSE ${what})`,
      away: (/** @type {Redis} */ redis) => redis.ask('CLIENT', 'PAUSE', `${PAUSED_MS}`, what),
      back: (/** @type {Redis} */ redis) => until(() => redis.ask('SET', 'back', '1'), 'Redis to go on'),
      silence_ms: HUNG_MS,
    })),
  ]) {
    it(`Redis ${title}: every replica goes on, and all come back to one epoch`, async (test) => {
      const { cluster, publisher, other, mine, theirs } = await cuttable(test);
      const gone = performance.now();
      await away(cluster.redis);
      for (const watch of [mine, theirs]) {
        const { at } = await watch.status(({ state }) => state === 'degraded');
        assert.ok(at - gone < 3000 + BUSY_MS, `said after ${at - gone} ms`);
      }
      await Promise.all([mine.more(STEPS), theirs.more(STEPS)]);
      const alone = await Promise.all([publisher, other].map((id) => cluster.replica(id).json('/health')));
      assert.equal(new Set(alone.map(({ bus }) => bus.epoch)).size, 2, 'each has its own');

      const mended = performance.now();
      await back(cluster.redis);
      await oneEpoch(cluster);
      test.diagnostic(`one truth after ${(performance.now() - mended).toFixed()} ms`);
      await Promise.all([mine.more(STEPS), theirs.more(STEPS)]);
      await cluster.level();
      await cluster.roles();
      // A Redis that a busy machine keeps from answering makes islands once more.
      const epoch = await until(async () => {
        const one = await oneEpoch(cluster);
        return [mine, theirs].every((watch) => epochs(watch)[epochs(watch).length - 1] === one) && one;
      }, 'clients to be on it');
      for (const watch of [mine, theirs]) {
        const silence = watch.silence(gone);
        test.diagnostic(`${watch.name}: ${silence.toFixed()} ms of silence`);
        assert.ok(silence < silence_ms + BUSY_MS, `${silence} ms of silence`);
        assert.deepEqual(watch.losses, []);
      }
      for (const id of [publisher, other]) {
        const { islands } = await cluster.replica(id).json('/stats');
        assert.ok(islands > 0 && islands < 4, `${islands} times`);
      }
      // Whatever Redis has lost of it.
      for (const id of [publisher, other]) assert.deepEqual([(await quiet(cluster, id)).price, (await quiet(cluster, id)).epoch], [1900, epoch]);
      await price(cluster, other, 1950);
      await until(async () => (await quiet(cluster, publisher)).price === 1950, 'a price that was published after it');
      await cluster.checkLog();
    });
  }

  it('a replica that starts without Redis is one from the beginning', async (test) => {
    const redis = new Redis({ port: await freePort() });
    const cluster = new Cluster(test, redis, ENV);
    test.after(() => cluster.stop());
    await Promise.all(['app1', 'app2'].map((id) => cluster.add(id)));
    for (const server of cluster.replicas.values()) await until(async () => (await server.json('/health')).status === 'degraded', 'an island');
    const watches = await Promise.all(['app1', 'app2'].map((id) => cluster.watch(id)));
    for (const watch of watches) assert.equal(watch.answers[0].state, 'degraded');
    await Promise.all(watches.map((watch) => watch.more(STEPS)));
    await redis.begin();
    const epoch = await oneEpoch(cluster);
    await Promise.all(watches.map((watch) => watch.more(STEPS)));
    await cluster.level();
    for (const watch of watches) assert.deepEqual([epochs(watch).length, epochs(watch)[1]], [2, epoch]);
    assert.deepEqual(SYMBOLS.filter((symbol) => !watches[0].last.has(symbol)), []);
    await cluster.checkLog();
  });
});
