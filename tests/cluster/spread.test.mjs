// Many sources over the replicas: who holds a lease leaves a free one to those who hold none.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { until } from '../support/clients.mjs';
import { Cluster } from '../support/cluster.mjs';
import { EXCHANGES } from '../support/venues/feed.mjs';

/** Each is a source of its own, with a lease of its own. */
const SOURCES = ['simulator', ...EXCHANGES.map(({ name }) => name)];

/** How many sources each of these publishes; nothing where one is nobody's, or somebody does not know yet. @param {Cluster} cluster @param {string[]} ids */
async function held(cluster, ids) {
  const roles = await Promise.all(ids.map(async (id) => (await cluster.replica(id).json('/health')).sources));
  const publishers = SOURCES.map((source) => roles.filter((each) => each[source] === 'publisher').length);
  if (publishers.some((count) => count !== 1)) return undefined;
  return roles.map((each) => SOURCES.filter((source) => each[source] === 'publisher').length);
}

/** @param {any} test */
async function venues(test) {
  const stands = await Promise.all(EXCHANGES.map(({ Stand }) => new Stand({ everyMs: 200 }).listen()));
  test.after(async () => {
    await Promise.all(stands.map((venue) => venue.close()));
    for (const { broken } of stands) assert.deepEqual(broken, []);
  });
  return {
    SOURCES: SOURCES.join(),
    LEASE_TTL: '5000',
    SYMBOLS: ['BTC', 'ETH', 'SOL'].map((symbol) => `${symbol}@simulator`).concat(EXCHANGES.map(({ name, btc }) => `${name}=${btc}@${name}`)).join(),
    ...Object.fromEntries(EXCHANGES.map(({ name }, index) => [`${name.toUpperCase()}_URL`, stands[index].url])),
  };
}

describe('many sources', () => {
  for (const signal of /** @type {NodeJS.Signals[]} */ (['SIGTERM', 'SIGKILL'])) {
    it(`of one that has them all (${signal}) are spread over the others`, async (test) => {
      const env = await venues(test);
      const cluster = await Cluster.start(test, { ids: ['app1'], env });
      let [one, others] = ['app1', ['app2', 'app3']];
      let isSpread = false;
      // A busy machine may keep one of them from looking until the other one has all: then once more, with that one.
      for (let round = 0; round < 3 && !isSpread; round += 1) {
        // Alone it takes one after the other.
        await until(async () => (await held(cluster, [one]))?.[0] === SOURCES.length, 'it to have all');
        await Promise.all(others.filter((id) => !cluster.live().includes(id)).map((id) => cluster.add(id, env)));
        await Promise.all(others.map((id) => cluster.priced(id)));
        assert.deepEqual(await held(cluster, [one, ...others]), [SOURCES.length, 0, 0], 'who has them keeps them');

        await cluster.replica(one).stop(signal);
        const spread = await until(() => held(cluster, others), 'each source to be somebody\'s');
        test.diagnostic(`${spread}`);
        isSpread = spread.every((/** @type {number} */ count) => count >= 1);
        const all = others[spread.indexOf(Math.max(...spread))];
        [one, others] = [all, [one, ...others.filter((id) => id !== all)]];
      }
      assert.ok(isSpread, 'one of them took all, each time');
    });
  }
});
