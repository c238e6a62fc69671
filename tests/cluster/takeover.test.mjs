// The publisher goes, in every way in which it can, and another replica goes on where it was.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { next, until } from '../support/clients.mjs';
import { BUSY_MS, Cluster, freeze, walksOn } from '../support/cluster.mjs';

/** How long the others may take beyond the life of a lease (ms). */
const TAKEN_OVER_MS = 1000;

/** How long a handover may take (ms), and a lease without one. */
const HANDED_OVER_MS = 5_000;
const LONG_LEASE = { LEASE_TTL: '30000' };

/** The life of a lease unless a setting says otherwise (ms). */
const LEASE_MS = 3000;

/** Steps of the walk that say what an ordinary one is. */
const STEPS = 25;

/**
 * Two replicas and a client on each; which of them publishes, and what is seen at the other.
 *
 * @param {any} test
 * @param {Record<string, string>} [env]
 */
async function pair(test, env = {}) {
  const cluster = await Cluster.start(test, { env });
  const { publisher, others: [other] } = await cluster.roles();
  const [mine, theirs] = await Promise.all([cluster.watch(publisher), cluster.watch(other)]);
  await Promise.all([mine.more(STEPS), theirs.more(STEPS)]);
  return { cluster, publisher, other, mine, theirs };
}

describe('takeover', { concurrency: true }, () => {
  for (const lease_ms of [1000, LEASE_MS]) {
    it(`LEASE_TTL=${lease_ms}: the publisher is killed`, async (test) => {
      const { cluster, publisher, other, theirs } = await pair(test, lease_ms === LEASE_MS ? {} : { LEASE_TTL: `${lease_ms}` });
      const killed = performance.now();
      await cluster.replica(publisher).stop('SIGKILL');
      await theirs.more(STEPS);

      const silence_ms = theirs.silence(killed);
      test.diagnostic(`${silence_ms.toFixed()} ms of silence`);
      assert.ok(silence_ms < lease_ms + TAKEN_OVER_MS + BUSY_MS, `${silence_ms} ms of silence`);
      // In the same epoch, with the next numbers (each watch looks at that), and from the last price.
      assert.equal(new Set(theirs.ticks.map(({ epoch }) => epoch)).size, 1);
      walksOn(theirs.ticks, killed);
      assert.deepEqual(await cluster.roles(), { publisher: other, others: [] });
      await cluster.level([theirs]);
      assert.deepEqual((await cluster.checkLog()).terms, [publisher, other]);
      assert.deepEqual(theirs.statuses, [], 'nobody has to know');
    });
  }

  it('the publisher is stopped for longer than its lease, and wakes', async (test) => {
    const { cluster, publisher, other, mine, theirs } = await pair(test, { LEASE_TTL: '3000', ISLAND_AFTER: '2500' });
    const frozen = cluster.replica(publisher);
    const stopped = performance.now();
    await freeze(frozen);
    await theirs.more(STEPS);
    // Long enough that everything in it is late.
    await sleep(6000 - (performance.now() - stopped));
    frozen.child.kill('SIGCONT');
    // What it wanted to say when it was stopped, and what it thinks it has to make up, would come now.
    await theirs.more(STEPS);
    await mine.more(STEPS);

    const silence_ms = theirs.silence(stopped);
    assert.ok(silence_ms < 3000 + TAKEN_OVER_MS + BUSY_MS, `${silence_ms} ms of silence`);
    await until(async () => (await cluster.roles()).publisher === other, 'the woken one to know that it is not the publisher');
    await cluster.level();
    assert.deepEqual((await cluster.checkLog()).terms, [publisher, other], 'none of its ticks entered');
    for (const watch of [mine, theirs]) {
      walksOn(watch.ticks, stopped);
      assert.equal(new Set(watch.ticks.map(({ epoch }) => epoch)).size, 1);
    }
    const stats = await frozen.json('/stats');
    assert.deepEqual([stats.ticks.lost, stats.errors.bus_gaps, stats.epoch_changes], [0, 0, 0]);
  });

  for (const signal of /** @type {NodeJS.Signals[]} */ (['SIGTERM', 'SIGINT'])) {
    it(`${signal}: the publisher hands over`, async (test) => {
      const { cluster, publisher, other, mine, theirs } = await pair(test, LONG_LEASE);
      const lost = next(mine.socket, 'disconnect');
      const asked = performance.now();
      const ended = await cluster.replica(publisher).stop(signal);
      await theirs.more(STEPS);

      assert.deepEqual(ended, { code: 0, signal: null });
      assert.match(await lost, /^transport (close|error)$/);
      const silence_ms = theirs.silence(asked);
      test.diagnostic(`${silence_ms.toFixed()} ms of silence`);
      // With what a busy machine adds it is still far below the life of a lease.
      assert.ok(silence_ms < HANDED_OVER_MS, `${silence_ms} ms of silence`);
      walksOn(theirs.ticks, asked);
      assert.deepEqual(await cluster.roles(), { publisher: other, others: [] });
      cluster.check();
      assert.deepEqual((await cluster.checkLog()).terms, [publisher, other]);
      assert.deepEqual(theirs.statuses, []);
    });
  }

  it('one publisher after the other is killed, and comes back', async (test) => {
    const ids = ['app1', 'app2', 'app3'];
    const cluster = await Cluster.start(test, { ids, env: { LEASE_TTL: '3000' } });
    /** @type {string[]} */
    const killed = [];
    for (let round = 0; round < 3; round += 1) {
      const { publisher, others } = await cluster.roles();
      const watch = await cluster.watch(others[0]);
      await watch.more(STEPS);
      const since = performance.now();
      await cluster.replica(publisher).stop('SIGKILL');
      killed.push(publisher);
      await watch.more(STEPS);
      walksOn(watch.ticks, since);
      watch.close();
      await cluster.add(publisher);
    }
    const { publisher } = await cluster.roles();
    cluster.check();
    const { terms } = await cluster.checkLog();
    assert.deepEqual(terms, [...killed, publisher]);
  });
});
