// Redis is away, or comes back with less than it had: clients stay, and are told; nobody's numbers go back.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { request, until } from '../support/clients.mjs';
import { isPong } from '../support/contract.mjs';
import { BUSY_MS, Cluster, SYMBOLS, freeze, walksOn } from '../support/cluster.mjs';
import { LOG, Redis, freePort } from '../support/redis.mjs';
import { STEPS, epochs, wired } from '../support/wired.mjs';

/** @typedef {import('../support/redis.mjs').Cable} Cable */

/** So much of a silence a source makes up, with some to spare (ms). */
const MADE_UP_MS = 4000;

/** @param {import('../support/server.mjs').Server} server @param {string} where */
async function ask(server, where) {
  const response = await fetch(server.url + where);
  return { code: response.status, body: await response.json() };
}

/** Resolves when a replica has all of its connections to Redis: that ticks come shows only one of them. @param {import('../support/server.mjs').Server} server */
const reconnected = (server) => until(async () => (await ask(server, '/health')).body.bus.redis === 'connected', 'all connections to Redis');

describe('Redis is not there', { concurrency: true }, () => {
  it('a replica that starts without it serves, degraded, and joins when it comes', async (test) => {
    const redis = new Redis({ port: await freePort() });
    const cluster = new Cluster(test, redis);
    test.after(() => cluster.stop());
    await Promise.all([cluster.add('app1'), cluster.add('app2')]);

    for (const server of cluster.replicas.values()) {
      await until(async () => (await ask(server, '/health')).body.status === 'degraded', 'it to be degraded');
      for (const where of ['/health', '/ready']) {
        const { code, body } = await ask(server, where);
        assert.deepEqual([code, body.status, body.bus.state, body.bus.redis], [200, 'degraded', 'degraded', 'away'], where);
        assert.match(body.reason, /Redis/);
        assert.equal(body.bus.epoch, null);
      }
    }
    const watch = await cluster.watch('app1');
    const [answer] = watch.answers;
    assert.deepEqual([answer.ok, answer.state, answer.snapshot], [true, 'degraded', []]);
    assert.deepEqual([answer.symbols, answer.rejected], [SYMBOLS, []]);
    isPong(await request(watch.socket, 'ping', 1), 1);

    await redis.begin();
    const live = await watch.status(({ state }) => state === 'live');
    assert.ok(live.reason);
    await watch.more(10);
    await cluster.roles();
    const [second] = await Promise.all([cluster.watch('app2'), watch.more(5)]);
    await second.more(5);
    await cluster.level();
    for (const server of cluster.replicas.values()) {
      await reconnected(server);
      const { code, body } = await ask(server, '/ready');
      assert.deepEqual([code, body.status, body.bus.redis, body.reason], [200, 'ok', 'connected', undefined]);
    }
    assert.equal(epochs(watch).length, 1);
    await cluster.checkLog();
  });

  it('replicas end in time while it is away', async (test) => {
    const cluster = await Cluster.start(test, { env: { DRAIN_DEADLINE: '30000' } });
    const watches = await Promise.all(['app1', 'app2'].map((id) => cluster.watch(id)));
    await cluster.redis.kill();
    await Promise.all(watches.map((watch) => watch.status(({ state }) => state === 'degraded')));
    const asked = performance.now();
    const ends = await Promise.all(cluster.live().map((id) => cluster.replica(id).stop()));
    for (const end of ends) assert.deepEqual(end, { code: 0, signal: null });
    // They ask it for a moment, and leave it: who waited for it would end at the deadline.
    const took_ms = performance.now() - asked;
    assert.ok(took_ms < 15_000, `${took_ms} ms`);
    cluster.check();
  });

  for (const { title, soon = true, saved = false, flushed = false } of [
    { title: 'comes back at once, empty' },
    { title: 'comes back empty when everybody knows that it was away', soon: false },
    { title: 'comes back with an older state', saved: true },
    { title: 'is emptied while everybody is connected', flushed: true },
  ]) {
    it(`${title}: a new epoch, above all that was sent`, async (test) => {
      const cluster = await Cluster.start(test);
      const watches = await Promise.all(['app1', 'app2'].flatMap((id) => [cluster.watch(id), cluster.watch(id, { mode: 'batch' })]));
      await Promise.all(watches.map((watch) => watch.more(STEPS)));
      if (saved) {
        await cluster.redis.ask('SAVE');
        await watches[0].more(STEPS);
      }
      const [epoch] = epochs(watches[0]);

      const [killed, killed_us] = [performance.now(), Date.now() * 1000];
      if (flushed) await cluster.redis.ask('FLUSHALL');
      else await cluster.redis.kill();
      if (!soon) {
        for (const watch of watches) {
          const { reason } = await watch.status(({ state }) => state === 'degraded');
          assert.match(reason, /Redis/);
        }
        for (const server of cluster.replicas.values()) {
          for (const where of ['/health', '/ready']) {
            const { code, body } = await ask(server, where);
            assert.deepEqual([code, body.status, body.bus.redis], [200, 'degraded', 'away'], where);
          }
        }
      }
      if (!flushed) await cluster.redis.begin();
      await until(() => watches.every((watch) => [...watch.last.values()].every((last) => last.epoch !== epoch)),
        () => `a new epoch:\n${[...cluster.replicas.values()].map((server) => server.tail()).join('\n')}`);
      await Promise.all(watches.map((watch) => watch.more(STEPS)));

      // That a status comes before it, that the first ticks bear it, and that no number goes back, each watch looks at.
      await cluster.level();
      const [second] = epochs(watches[0]).slice(1);
      const highest = Math.max(...watches.flatMap((watch) => watch.ticks.map((tick) => (tick.epoch === epoch ? tick.seq : 0))));
      for (const watch of watches) {
        assert.deepEqual(epochs(watch), [epoch, second], watch.name);
        const lowest = Math.min(...watch.ticks.filter((tick) => tick.epoch === second).map(({ seq }) => seq));
        assert.ok(lowest > highest, `${watch.name}: ${lowest} after ${highest}`);
        assert.ok(lowest >= killed_us, `${watch.name}: ${lowest}, but the clock was at ${killed_us}`);
        assert.equal(watch.statuses.filter((status) => status.epoch).length, 1, JSON.stringify(watch.statuses));
        const last = watch.statuses[watch.statuses.length - 1];
        assert.equal(last.state, 'live', JSON.stringify(watch.statuses));
        // Whoever leads now: prices go on.
        walksOn(watch.ticks, killed);
      }
      const late = await cluster.watch('app1');
      assert.equal(late.answers[0].epoch, second);
      await cluster.roles();
      for (const server of cluster.replicas.values()) {
        await reconnected(server);
        const { body } = await ask(server, '/health');
        assert.deepEqual([body.status, body.bus.redis, body.bus.epoch], ['ok', 'connected', second]);
        const stats = await server.json('/stats');
        assert.deepEqual([stats.epoch_changes, stats.ticks.lost, stats.errors.bus_gaps], [1, 0, 0], JSON.stringify(stats));
      }
      await cluster.checkLog();
    });
  }
});

it('Redis comes back with an older state, and is gone again when a replica has just taken it up: nothing is lost', async (test) => {
  const { cluster, other, mine, theirs, cable } = await wired(test);
  await cluster.redis.ask('SAVE');
  await mine.more(STEPS);
  const [epoch] = epochs(mine);
  const way = cable(other);
  // It hands on what is new, and then asks whether Redis has all that it knows.
  way.hold((data, asks) => asks && data.includes('HKEYS'));
  await cluster.redis.kill();
  await cluster.redis.begin();
  await until(() => way.held > 0 && epochs(theirs).length > 1, 'the new epoch to be taken up');
  await until(() => [...mine.last.values()].every((last) => last.epoch !== epoch), 'the new epoch of the others');
  await mine.more(5);
  const bring = way.strand();
  await Promise.all([mine.more(STEPS), theirs.more(STEPS)]);
  await bring();
  await cluster.level();
  for (const server of cluster.replicas.values()) {
    const stats = await server.json('/stats');
    assert.deepEqual([stats.epoch_changes, stats.ticks.lost, stats.errors.bus_gaps], [1, 0, 0], JSON.stringify(stats));
  }
  await cluster.checkLog();
});

describe('Redis is out of reach for less than LEASE_TTL', { concurrency: true }, () => {
  for (const { title, how } of [
    {
      title: 'Redis ends every connection',
      how: async (/** @type {any} */ { cluster }) => {
        for (const type of ['normal', 'pubsub']) await cluster.redis.ask('CLIENT', 'KILL', 'TYPE', type);
      },
    },
    {
      title: 'the connections are cut for 500 ms',
      how: async (/** @type {{ cables: Cable[] }} */ { cables }) => {
        for (const cable of cables) cable.cut();
        await sleep(500);
        for (const cable of cables) cable.mend();
      },
    },
    {
      title: 'nothing passes for 2 s',
      how: async (/** @type {{ cables: Cable[] }} */ { cables }) => {
        for (const cable of cables) cable.hold();
        await sleep(2000);
        for (const cable of cables) cable.mend();
      },
    },
    {
      title: 'questions pass, their answers are lost with the connection',
      how: async (/** @type {{ cables: Cable[] }} */ { cables }) => {
        for (const cable of cables) cable.hold((_, asks) => !asks);
        await sleep(1200);
        for (const cable of cables) cable.cut();
        for (const cable of cables) cable.mend();
      },
    },
  ]) {
    it(`${title}: nothing is lost`, async (test) => {
      const pair = await wired(test);
      const { cluster, mine, theirs } = pair;
      const cut = performance.now();
      await how(pair);
      await Promise.all([mine.more(STEPS), theirs.more(STEPS)]);
      await cluster.level();
      for (const watch of [mine, theirs]) {
        assert.equal(epochs(watch).length, 1);
        walksOn(watch.ticks, cut);
      }
      for (const server of cluster.replicas.values()) {
        const stats = await server.json('/stats');
        assert.deepEqual([stats.ticks.lost, stats.errors.bus_gaps], [0, 0]);
        // What a source could not say for longer it does not make up.
        if (mine.silence(cut) < MADE_UP_MS) assert.equal(stats.sources.skipped, 0);
        await reconnected(server);
        const { body } = await ask(server, '/health');
        assert.deepEqual([body.status, body.bus.redis], ['ok', 'connected']);
      }
      await cluster.roles();
      await cluster.checkLog();
    });
  }
});

describe('one replica misses what the others see', { concurrency: true }, () => {
  for (const { title, how } of [
    { title: 'cut off from Redis', how: (/** @type {Cable} */ cable) => cable.cut() },
    { title: 'without an answer from Redis', how: (/** @type {Cable} */ cable) => cable.hold() },
  ]) {
    it(`the publisher is ${title} for longer than its lease`, async (test) => {
      const lease_ms = 3000;
      const { cluster, publisher, other, mine, theirs, cable } = await wired(test, { LEASE_TTL: `${lease_ms}` });
      const server = cluster.replica(publisher);
      const cut = performance.now();
      how(cable(publisher));
      await theirs.more(STEPS);
      const { reason } = await mine.status(({ state }) => state === 'degraded');
      assert.match(reason, /Redis/);
      for (const where of ['/health', '/ready']) {
        const { code, body } = await ask(server, where);
        assert.deepEqual([code, body.status, body.bus.state], [200, 'degraded', 'degraded']);
        assert.match(body.reason, /Redis/);
      }
      const late = await cluster.watch(publisher);
      assert.equal(late.answers[0].state, 'degraded');
      assert.equal(late.answers[0].snapshot.length, SYMBOLS.length, 'what it knows');

      cable(publisher).mend();
      await Promise.all([mine, theirs, late].map((watch) => watch.more(STEPS)));
      await mine.status(({ state, at }) => state === 'live' && at > cut);
      const silence_ms = theirs.silence(cut);
      assert.ok(silence_ms < lease_ms + 1000 + BUSY_MS, `${silence_ms} ms of silence`);
      await cluster.level();
      for (const watch of [mine, theirs]) {
        assert.equal(epochs(watch).length, 1);
        walksOn(watch.ticks, cut);
      }
      // A busy machine may keep Redis from answering them, too, but not for as long as the publisher is cut off.
      await until(() => theirs.statuses.length % 2 === 0, () => JSON.stringify(theirs.statuses));
      const told_ms = theirs.statuses.reduce((sum, { state, at }) => sum + (state === 'live' ? at : -at), 0);
      assert.ok(told_ms < lease_ms / 2, JSON.stringify(theirs.statuses));
      assert.deepEqual(await cluster.roles(), { publisher: other, others: [publisher] });
      assert.deepEqual((await cluster.checkLog()).terms, [publisher, other]);
    });
  }

  it('the numbers are lost, and nothing else: they go on where they were', async (test) => {
    const cluster = await Cluster.start(test);
    const watches = await Promise.all(['app1', 'app2'].map((id) => cluster.watch(id)));
    for (let round = 0; round < 3; round += 1) {
      await Promise.all(watches.map((watch) => watch.more(5)));
      assert.equal(await cluster.redis.ask('DEL', 'tickcast:{bus}:seq'), 1);
    }
    // That none is missing and none goes back, each watch looks at.
    await Promise.all(watches.map((watch) => watch.more(STEPS)));
    await cluster.level();
    for (const watch of watches) assert.equal(epochs(watch).length, 1);
    await cluster.checkLog();
  });

  it('the numbers and the last prices are lost: they go on above all that were given', async (test) => {
    const cluster = await Cluster.start(test);
    const watches = await Promise.all(['app1', 'app2'].map((id) => cluster.watch(id)));
    await Promise.all(watches.map((watch) => watch.more(5)));
    for (const watch of watches) watch.whole = false;
    assert.equal(await cluster.redis.ask('DEL', 'tickcast:{bus}:seq', 'tickcast:{bus}:last'), 2);
    await Promise.all(watches.map((watch) => watch.more(STEPS)));
    await cluster.level();
    const ticks = (await cluster.redis.log()).flatMap((entry) => entry.ticks);
    for (const symbol of SYMBOLS) {
      const seqs = ticks.filter((tick) => tick.symbol === symbol).map(({ seq }) => seq);
      assert.deepEqual(seqs, [...new Set(seqs)].sort((one, other) => one - other), symbol);
    }
  });

  it('an append on a connection that ended comes late: it is not appended again', async (test) => {
    const { cluster, publisher, mine, theirs, cable } = await wired(test);
    const way = cable(publisher);
    way.hold((data, asks) => asks && data.includes('tickcast:{bus}:done'));
    await until(() => way.held > 0, 'an append');
    const bring = way.strand();
    await mine.more(5);
    await bring();
    await Promise.all([mine.more(STEPS), theirs.more(STEPS)]);
    await cluster.level();
    await cluster.checkLog();
    assert.deepEqual(await cluster.roles(), { publisher, others: cluster.live().filter((id) => id !== publisher) });
  });

  it('an entry of the log that is none is passed over, and counted', async (test) => {
    const cluster = await Cluster.start(test);
    const watches = await Promise.all(['app1', 'app2'].map((id) => cluster.watch(id)));
    for (const words of [['foo', 'bar'], ['epoch', 'x', 'ticks', '[{"symbol"'], ['epoch', 'x', 'ticks', '[{"symbol":"BTC","price":1,"ts":1}]']]) {
      await cluster.redis.ask('XADD', LOG, '*', ...words);
    }
    await Promise.all(watches.map((watch) => watch.more(10)));
    await cluster.level();
    for (const server of cluster.replicas.values()) {
      await until(async () => (await server.json('/stats')).errors.bus_entries === 3, 'all three to be passed over');
      const { errors, ticks } = await server.json('/stats');
      assert.deepEqual([errors.bus_entries, errors.bus_gaps, ticks.lost], [3, 0, 0]);
    }
  });

  for (const { title, stop } of [
    {
      // Its read has timed out when it wakes, or else was answered before: both must do.
      title: 'while it was stopped',
      stop: async (/** @type {any} */ { cluster, other, mine }) => {
        const server = cluster.replica(other);
        await freeze(server);
        // More than what was on its way already.
        await mine.more(30);
        return () => server.child.kill('SIGCONT');
      },
    },
    {
      // Its read is answered with the first entry that is gone, and goes on from there.
      title: 'while it waited for an answer',
      stop: async (/** @type {any} */ { cable, other, mine }) => {
        cable(other).hold((/** @type {Buffer} */ _, /** @type {boolean} */ asks) => !asks);
        await mine.more(15);
        return () => cable(other).mend();
      },
    },
  ]) {
    it(`the log was trimmed beyond what it had read, ${title}: it says so`, async (test) => {
      const pair = await wired(test);
      const { cluster, other, mine, theirs } = pair;
      theirs.whole = false;
      const goOn = await stop(pair);
      await cluster.redis.ask('XTRIM', LOG, 'MAXLEN', '=', '2');
      goOn();
      await Promise.all([mine.more(5), theirs.more(5)]);
      await cluster.level();

      // That the next number is that of the last one and `n`, each watch looks at.
      const missed = SYMBOLS.map((symbol) => theirs.ticks.reduce((sum, { symbol: of, n = 1 }) => sum + (of === symbol ? n - 1 : 0), 0));
      assert.ok(missed[0] >= 8 && missed.every((count) => count === missed[0]), `${missed} ticks missed`);
      const stats = await cluster.replica(other).json('/stats');
      // Theirs, and those of the symbol that only the publisher has: of one step more or less, where a step was in two
      // entries, and one of them was left.
      const rest = stats.ticks.lost - missed[0] * SYMBOLS.length;
      assert.ok(Math.abs(rest - missed[0]) <= 1, `${stats.ticks.lost} ticks lost, ${missed} missed`);
      assert.equal(stats.errors.bus_gaps, 1);
      assert.deepEqual([...epochs(mine), ...epochs(theirs)], [epochs(mine)[0], epochs(mine)[0]]);
    });
  }
});
