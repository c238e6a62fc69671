// A cluster whose replicas each have a way of their own to Redis, which can be cut.
import assert from 'node:assert/strict';
import { Cluster } from './cluster.mjs';
import { Cable } from './redis.mjs';

/** Steps of the walk that say what an ordinary one is. */
export const STEPS = 25;

/** The epochs that a client was in, in order. @param {import('./cluster.mjs').Watch} watch */
export const epochs = (watch) => [...new Set(watch.ticks.map(({ epoch }) => epoch))];

/**
 * Two replicas, each with its own way to Redis, and a client of each that knows what an ordinary step is.
 *
 * @param {any} test
 * @param {Record<string, string>} [env]
 * @param {(cluster: Cluster, publisher: string) => Promise<void>} [first] what is done once the clients listen
 * @param {Record<string, string>} [others] settings of the one that does not publish
 */
export async function wired(test, env = {}, first = async () => {}, others = {}) {
  /** @type {Map<string, Cable>} */
  const cables = new Map();
  const each = async (/** @type {string} */ id, /** @type {import('./redis.mjs').Redis} */ redis) => {
    const cable = await Cable.to(redis);
    cables.set(id, cable);
    return { REDIS_URL: cable.url };
  };
  const cluster = await Cluster.start(test, { ids: ['app1'], env, each });
  cluster.undo.push(() => Promise.all([...cables.values()].map((cable) => cable.stop())));
  await cluster.roles();
  await cluster.add('app2', { ...await each('app2', cluster.redis), ...others });
  await cluster.priced('app2');
  const { publisher, others: [other] } = await cluster.roles();
  const [mine, theirs] = await Promise.all([cluster.watch(publisher), cluster.watch(other)]);
  await first(cluster, publisher);
  await Promise.all([mine.more(STEPS), theirs.more(STEPS)]);
  const cable = (/** @type {string} */ id) => {
    const found = cables.get(id);
    assert.ok(found);
    return found;
  };
  return { cluster, publisher, other, mine, theirs, cable, cables: [...cables.values()] };
}
