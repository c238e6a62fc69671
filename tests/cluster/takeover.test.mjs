// The publisher goes, in every way in which it can, and another replica goes on where it was.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { next, until } from '../support/clients.mjs';
import { BUSY_MS, Cluster, freeze, walksOn } from '../support/cluster.mjs';

/** How long the others may take beyond the life of a lease (ms). */
const TAKEN_OVER_MS = 1000;

/** How long a handover may take (ms). */
const HANDED_OVER_MS = 500;

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
      await cluster.checkLog();
      assert.deepEqual(theirs.statuses, [], 'nobody has to know');
    });
  }

  it('the publisher is stopped for longer than its lease, and wakes', async (test) => {
    const { cluster, publisher, other, mine, theirs } = await pair(test, { LEASE_TTL: '1000' });
    const frozen = cluster.replica(publisher);
    const stopped = performance.now();
    await freeze(frozen);
    await theirs.more(STEPS);
    // Long enough that everything in it is late.
    await sleep(3000 - (performance.now() - stopped));
    const woken = performance.now();
    frozen.child.kill('SIGCONT');
    // What it wanted to say when it was stopped, and what it thinks it has to make up, would come now.
    await theirs.more(STEPS);
    await mine.more(STEPS);

    const silence_ms = theirs.silence(stopped);
    assert.ok(silence_ms < 1000 + TAKEN_OVER_MS + BUSY_MS, `${silence_ms} ms of silence`);
    await until(async () => (await cluster.roles()).publisher === other, 'the woken one to know that it is not the publisher');
    await cluster.level();
    const log = await cluster.checkLog();
    // Its own ticks would bear the time of its sleep or a price from before.
    for (const watch of [mine, theirs]) {
      walksOn(watch.ticks, stopped);
      assert.equal(new Set(watch.ticks.map(({ epoch }) => epoch)).size, 1);
    }
    // Nothing came twice, nothing is missing: as many as the clock says, from one source at a time.
    const since = log.filter(({ symbol, ts }) => symbol === 'BTC' && ts > Date.now() - (performance.now() - woken));
    const most = (performance.now() - woken) / 50;
    assert.ok(since.length <= most + BUSY_MS / 50, `${since.length} ticks since it woke, in the time of ${most}`);
    const stats = await frozen.json('/stats');
    assert.deepEqual([stats.ticks.lost, stats.errors.bus_gaps, stats.epoch_changes], [0, 0, 0]);
  });

  for (const signal of /** @type {NodeJS.Signals[]} */ (['SIGTERM', 'SIGINT'])) {
    it(`${signal}: the publisher hands over`, async (test) => {
      const { cluster, publisher, other, mine, theirs } = await pair(test);
      const lost = next(mine.socket, 'disconnect');
      const asked = performance.now();
      const ended = await cluster.replica(publisher).stop(signal);
      await theirs.more(STEPS);

      assert.deepEqual(ended, { code: 0, signal: null });
      assert.match(await lost, /^transport (close|error)$/);
      const silence_ms = theirs.silence(asked);
      test.diagnostic(`${silence_ms.toFixed()} ms of silence`);
      // With what a busy machine adds it is still far below the life of a lease.
      assert.ok(silence_ms < HANDED_OVER_MS + BUSY_MS, `${silence_ms} ms of silence`);
      walksOn(theirs.ticks, asked);
      assert.deepEqual(await cluster.roles(), { publisher: other, others: [] });
      cluster.check();
      await cluster.checkLog();
      assert.deepEqual(theirs.statuses, []);
    });
  }

  it('the publisher is killed again and again, and comes back', async (test) => {
    const { cluster, mine, theirs } = await pair(test, { LEASE_TTL: '300' });
    const [front, stays] = [await cluster.add('front'), new Set([mine, theirs])];
    assert.ok(front);
    const watch = await cluster.watch('front');
    await watch.more(STEPS);
    const began = performance.now();
    for (let round = 0; round < 4; round += 1) {
      const { publisher } = await cluster.roles();
      if (publisher === 'front') break;
      await cluster.replica(publisher).stop('SIGKILL');
      for (const each of stays) if (each.name.includes(publisher)) stays.delete(each);
      await watch.more(5);
      await cluster.add(publisher);
    }
    await watch.more(STEPS);
    await cluster.level([watch, ...stays]);
    walksOn(watch.ticks, began);
    await cluster.checkLog();
  });
});
