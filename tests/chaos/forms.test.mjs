// Redis as a cluster, and behind sentinels: the same one truth, and it goes on when a part of them dies.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { until } from '../support/clients.mjs';
import { BUSY_MS, Cluster } from '../support/cluster.mjs';
import { RedisCluster, RedisSentinels } from '../support/forms.mjs';

const IDS = ['app1', 'app2'];

/** When Redis is back, all have to be on one epoch and one publisher within this (ms). */
const ONE_TRUTH_MS = 5000;

/** How long sentinels may need to agree on a new primary, and a cluster to be whole (ms). */
const FAILED_OVER_MS = 30_000;

/**
 * Two replicas on such a Redis, and two clients of each.
 *
 * @param {any} test
 * @param {import('../support/redis.mjs').Redis} redis
 */
async function around(test, redis) {
  const cluster = new Cluster(test, redis, { LEASE_TTL: '1000', ISLAND_AFTER: '300', CHAT_AUTO_JOIN: 'true' });
  test.after(() => cluster.stop());
  await Promise.all(IDS.map((id) => cluster.add(id)));
  await Promise.all(IDS.map((id) => cluster.priced(id)));
  const watches = await Promise.all(IDS.flatMap((id) => [cluster.watch(id), cluster.watch(id, { mode: 'batch' })]));
  await agree(cluster, watches);
  return { cluster, watches };
}

/** Resolves when all have the same ticks, and hear each other. @param {Cluster} cluster @param {import('../support/cluster.mjs').Watch[]} watches */
async function agree(cluster, watches) {
  await cluster.roles();
  await Promise.all(watches.map((watch) => watch.more(20)));
  await cluster.level();
  const text = `${Math.random()}`;
  const heard = new Set();
  for (const watch of watches) watch.socket.on('chat-message', (/** @type {any} */ message) => message.text === text && heard.add(watch));
  // Again and again: after a failover not everybody may listen yet.
  await until(() => {
    watches[0].socket.emit('chat', text);
    return heard.size === watches.length;
  }, 'what was said on one replica, on all');
}

/** @param {Cluster} cluster */
const healths = (cluster) => Promise.all(IDS.map((id) => cluster.replica(id).json('/health')));

/** Resolves when both follow one log again. @param {Cluster} cluster @param {number} limit_ms */
const followed = (cluster, limit_ms) => until(async () => {
  const [one, two] = await healths(cluster);
  return one.status === 'ok' && two.status === 'ok' && one.bus.epoch === two.bus.epoch;
}, 'one epoch', limit_ms);

describe('forms of Redis', () => {
  it('a cluster of three nodes; the one that has the log dies, and comes back empty', async (test) => {
    const redis = await RedisCluster.start();
    const { cluster, watches } = await around(test, redis);
    const node = await redis.ofLog();
    const since = performance.now();
    await node.kill();
    await Promise.all(watches.map((watch) => watch.status(({ state }) => state === 'degraded')));
    await Promise.all(watches.map((watch) => watch.more(20)));
    for (const { bus, sources } of await healths(cluster)) assert.deepEqual([bus.state, sources.simulator], ['degraded', 'publisher']);
    // Its place in the cluster is all that it has kept.
    await node.begin();
    await redis.whole();
    await followed(cluster, ONE_TRUTH_MS + BUSY_MS);
    await agree(cluster, watches);
    for (const watch of watches) {
      assert.deepEqual(watch.losses, []);
      assert.ok(watch.silence(since) < 2000 + BUSY_MS, `${watch.silence(since)} ms of silence`);
    }
    await cluster.checkLog();
  });

  it('sentinels; the primary dies, and its replica takes over', async (test) => {
    const redis = await RedisSentinels.start();
    const { cluster, watches } = await around(test, redis);
    const primary = await redis.primary();
    const since = performance.now();
    await primary.kill();
    await Promise.all(watches.map((watch) => watch.status(({ state }) => state === 'degraded')));
    await until(async () => (await redis.primary()) !== primary, 'another primary', FAILED_OVER_MS);
    await followed(cluster, ONE_TRUTH_MS + BUSY_MS);
    await agree(cluster, watches);
    for (const watch of watches) {
      assert.deepEqual(watch.losses, []);
      const silence_ms = watch.silence(since);
      test.diagnostic(`${watch.name}: ${silence_ms.toFixed()} ms of silence`);
      assert.ok(silence_ms < 2000 + BUSY_MS, `${silence_ms} ms of silence`);
    }
    await cluster.checkLog();
  });
});
