// The way to Redis is slow: what there is to read takes longer, and that is all. Nobody else notices.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Resuming } from '../../demo/resuming.mjs';
import { open, until } from '../support/clients.mjs';
import { Cluster, SYMBOLS } from '../support/cluster.mjs';
import { Cable, LOG } from '../support/redis.mjs';
import { STEPS, epochs } from '../support/wired.mjs';

/** What passes in a second (bytes): enough for what comes, and not for many old entries. */
const RATE = 200_000;

/** Entries that take seconds to read, how large they are (bytes), and how long all may take (ms). */
const ENTRIES = 600;
const ENTRY_BYTES = 2000;
const READ_MS = ((ENTRIES * ENTRY_BYTES) / RATE) * 1000;

/** Puts a lot into the log that takes its time. @param {Cluster} cluster */
const fill = (cluster) => cluster.redis.ask(
  'EVAL',
  `local epoch = redis.call('HGET', KEYS[2], 'epoch')
  for _ = 1, ARGV[1] do redis.call('XADD', KEYS[1], '*', 'epoch', epoch, 'ticks', '[]', 'more', string.rep('x', ARGV[2])) end
  return 1`,
  '2', LOG, 'tickcast:{bus}:meta', `${ENTRIES}`, `${ENTRY_BYTES}`,
);

/** @param {Cluster} cluster @param {string} id */
const isFollowing = (cluster, id) => until(
  async () => (await cluster.replica(id).json('/health')).status === 'ok',
  () => `${id} to follow the log: ${cluster.replica(id).tail()}`,
  READ_MS * 3 + 20_000,
);

describe('a slow way to Redis', { concurrency: true }, () => {
  it('a replica that starts takes its time, and is no island', async (test) => {
    const cluster = await Cluster.start(test, { ids: ['app1'] });
    const cable = await Cable.to(cluster.redis);
    cluster.undo.push(() => cable.stop());
    const watch = await cluster.watch('app1');
    await fill(cluster);
    cable.slow(RATE);
    const { url } = await cluster.add('app2', { REDIS_URL: cable.url, ISLAND_AFTER: '300' });
    // Who comes meanwhile, as after a rolling restart, is not told that there is no epoch: it would forget how far it has come.
    const response = await fetch(`${url}/socket.io/?EIO=4&transport=polling`);
    const { code, message } = await response.json();
    assert.deepEqual([response.status, response.headers.get('retry-after'), code], [503, '1', 'unavailable']);
    assert.match(message, /has not found its feed yet/);
    const early = new Resuming(open(url, { reconnection: true, reconnectionDelay: 100 }), SYMBOLS);
    test.after(() => early.socket.close());
    early.epoch = watch.answers[0].epoch;
    for (const [symbol, { seq }] of watch.last) early.last.set(symbol, seq);
    await isFollowing(cluster, 'app2');
    await until(() => early.server === 'app2' && early.ticks > 0, 'who came early');
    assert.deepEqual([early.epochChanges, early.missed, early.refusals], [0, 0, []]);
    assert.ok(early.replayed > 0);
    const late = await cluster.watch('app2');
    await Promise.all([watch.more(STEPS), late.more(STEPS)]);
    assert.equal((await cluster.replica('app2').json('/stats')).islands, 0);
    assert.deepEqual(epochs(watch).length, 1);
  });

  it('an island reads first, and then ends once', async (test) => {
    const cluster = await Cluster.start(test, { ids: ['app1'] });
    const cable = await Cable.to(cluster.redis);
    cluster.undo.push(() => cable.stop());
    await cluster.add('app2', { REDIS_URL: cable.url, ISLAND_AFTER: '2000' });
    await isFollowing(cluster, 'app2');
    const [watch, theirs] = await Promise.all(['app1', 'app2'].map((id) => cluster.watch(id)));
    await Promise.all([watch.more(5), theirs.more(5)]);
    cable.cut();
    await until(async () => (await cluster.replica('app2').json('/stats')).islands === 1, 'an island');
    await fill(cluster);
    cable.slow(RATE);
    cable.mend();
    await isFollowing(cluster, 'app2');
    await Promise.all([watch.more(STEPS), theirs.more(STEPS)]);
    await cluster.level();
    assert.equal((await cluster.replica('app2').json('/stats')).islands, 1);
    assert.deepEqual([epochs(watch).length, epochs(theirs).length], [2, 3]);
  });
});
