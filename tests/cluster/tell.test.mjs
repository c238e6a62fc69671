// What a cluster tells those who do not listen to ticks: other services, operators, and who asks how it is.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { describe, it } from 'node:test';
import { closeAfter, connect, until } from '../support/clients.mjs';
import { Cluster, SYMBOLS } from '../support/cluster.mjs';
import { freePort } from '../support/redis.mjs';
import { binary } from '../support/server.mjs';

const IDS = ['app1', 'app2', 'app3'];

/** How long a price holds for other services (ms). */
const PRICE_MS = 3000;

/** How long a replica that is killed may still be listed (ms): what it said of itself holds for 5 s. */
const LISTED_MS = 10_000;

/**
 * `tickcast nodes`.
 *
 * @param {Record<string, string>} env
 * @returns {Promise<{ code: number, stdout: string, stderr: string }>}
 */
function nodes(env) {
  return new Promise((resolve) => {
    execFile(binary, ['nodes'], { env: { PATH: process.env.PATH, ...env } }, (error, stdout, stderr) => {
      resolve({ code: typeof error?.code === 'number' ? error.code : 0, stdout, stderr });
    });
  });
}

/** The lines of the table, by the names of its columns. @param {string} table */
function rows(table) {
  const [head, ...lines] = table.trimEnd().split('\n').map((line) => line.split(/ {2,}/));
  return lines.map((line) => Object.fromEntries(line.map((cell, column) => [head[column], cell])));
}

describe('tell', { concurrency: true }, () => {
  it('the latest prices stand in Redis, for a moment', async (test) => {
    const cluster = await Cluster.start(test);
    const watch = await cluster.watch('app1');
    // One price is written every so often; each that is read must be one that clients got.
    const seen = new Map(SYMBOLS.map((symbol) => [symbol, new Set()]));
    await until(async () => {
      for (const symbol of SYMBOLS) {
        const key = `tickcast:price:${symbol}`;
        const [text, left_ms] = [await cluster.redis.ask('GET', key), await cluster.redis.ask('PTTL', key)];
        if (text === null) continue;
        assert.ok(left_ms > 0 && left_ms <= PRICE_MS, `${key}: ${left_ms} ms left`);
        const tick = JSON.parse(text);
        assert.deepEqual(Object.keys(tick).sort(), ['price', 'seq', 'symbol', 'ts']);
        assert.equal(tick.symbol, symbol);
        await until(() => (watch.last.get(symbol)?.seq ?? 0) >= tick.seq, `${text} at a client`);
        const noted = cluster.ledger.prices.get(`${watch.answers[0].epoch} ${symbol} ${tick.seq}`);
        if (noted) {
          assert.equal(tick.price, noted.price);
          seen.get(symbol)?.add(tick.seq);
        }
      }
      return [...seen.values()].every((seqs) => seqs.size >= 3);
    }, 'three prices of each symbol');
    cluster.check();

    for (const id of cluster.live()) await cluster.replica(id).stop();
    await until(async () => (await cluster.redis.ask('KEYS', 'tickcast:price:*')).length === 0, 'the prices to be gone');
  });

  it('the live replicas, and how they are', async (test) => {
    const cluster = await Cluster.start(test, { ids: IDS });
    const watch = await cluster.watch('app1');
    const env = { REDIS_URL: cluster.redis.url };

    /** Resolves when everybody lists exactly those that live. @param {number} [limit_ms] */
    const listed = async (limit_ms) => {
      const live = cluster.live().sort();
      const { publisher } = await cluster.roles();
      const expected = live.map((id) => [id, id === publisher ? 'publisher' : 'standby']);
      /** @type {any} */
      let last;
      await until(async () => {
        const lists = await Promise.all(live.map(async (id) => (await cluster.replica(id).json('/stats?scope=cluster')).nodes));
        const { code, stdout, stderr } = await nodes(env);
        if (code !== 0) {
          last = stderr;
          return false;
        }
        last = [
          ...lists.map((list) => list.map((/** @type {any} */ node) => [node.id, node.sources.simulator])),
          rows(stdout).map((row) => [row.ID, /\bsimulator=(\w+)/.exec(row.SOURCES)?.[1]]),
        ];
        return last.every((/** @type {any} */ list) => JSON.stringify(list) === JSON.stringify(expected));
      }, () => `${JSON.stringify(expected)} everywhere, not ${JSON.stringify(last)}`, limit_ms);
    };
    await listed();

    for (const id of IDS) {
      const health = await cluster.replica(id).json('/health');
      const { bus } = health;
      assert.deepEqual([health.status, health.id, health.reason], ['ok', id, undefined]);
      assert.deepEqual([bus.kind, bus.state, bus.redis, bus.epoch], ['redis', 'live', 'connected', watch.answers[0].epoch]);
      assert.ok(Number.isInteger(bus.lag_ms) && bus.lag_ms >= 0 && bus.lag_ms < 5000, `lag: ${bus.lag_ms}`);
      const stats = await cluster.replica(id).json('/stats');
      assert.ok(['publisher', 'standby'].includes(stats.sources.simulator));
      assert.deepEqual([stats.bus.kind, stats.bus.redis], ['redis', 'connected']);
    }
    // What each says of itself, as of a moment ago, at another one.
    await until(async () => {
      const { nodes: list } = await cluster.replica('app3').json('/stats?scope=cluster');
      for (const node of list) {
        for (const field of ['uptime_ms', 'connections', 'lag_ms']) assert.ok(Number.isInteger(node[field]), `${field}: ${node[field]}`);
      }
      const said = list.map((/** @type {any} */ node) => [node.id, node.status, node.epoch, node.connections]);
      const { epoch } = watch.answers[0];
      return JSON.stringify(said) === JSON.stringify(IDS.map((id) => [id, 'ok', epoch, Number(id === 'app1')]));
    }, 'the state and the client of each to be known at app3');

    // And for people.
    const { version } = await cluster.replica('app1').json('/health');
    await until(async () => {
      const table = rows((await nodes(env)).stdout);
      const plain = table.map(({ ID, VERSION, STATUS, CONNECTIONS }) => [ID, VERSION, STATUS, CONNECTIONS]);
      const timed = table.every(({ UPTIME, LAG }) => /^\d/.test(UPTIME) && /^\d/.test(LAG));
      return timed && JSON.stringify(plain) === JSON.stringify(IDS.map((id) => [id, version, 'ok', `${Number(id === 'app1')}`]));
    }, 'the same in the table');

    // One goes in order: at once. One is killed: a moment later. One comes back.
    await cluster.replica('app3').stop();
    await listed();
    await cluster.replica('app2').stop('SIGKILL');
    await listed(LISTED_MS);
    await cluster.add('app3');
    await listed();
  });

  it('a replica that is cut off lists itself as it is, and nobody of whom it does not know any more', async (test) => {
    const cluster = await Cluster.start(test, { env: { ISLAND_AFTER: '300' } });
    const { url } = cluster.replica('app1');
    const listed = async () => (await cluster.replica('app1').json('/stats?scope=cluster')).nodes;
    await until(async () => (await listed()).length === 2, 'both to be listed');
    await cluster.redis.kill();
    closeAfter(test, await connect(url), await connect(url));
    await until(async () => (await cluster.replica('app1').json('/stats')).islands === 1, 'an island');
    const { status, bus: { epoch } } = await cluster.replica('app1').json('/health');
    const itself = (/** @type {any[]} */ all) => {
      const found = all.filter(({ id }) => id === 'app1');
      assert.deepEqual(found.map((node) => [node.status, node.epoch, node.connections]), [[status, epoch, 2]]);
    };
    assert.equal(status, 'degraded');
    itself(await listed());
    itself((await cluster.replica('app1').json('/api/ops')).nodes);
    await until(async () => (await listed()).length === 1, 'the other one not to be listed', LISTED_MS);
    itself(await listed());
    const { cluster: counted } = await cluster.replica('app1').json('/api/stats/connections');
    assert.deepEqual(counted, { active: 2, nodes: { app1: 2 } });
    await cluster.redis.begin();
    await until(async () => (await listed()).length === 2, 'both to be listed again');
  });

  it('tickcast nodes says why it cannot list anybody', async () => {
    const alone = await nodes({});
    assert.equal(alone.code, 1);
    assert.match(alone.stderr, /REDIS_URL/);
    const port = await freePort();
    const away = await nodes({ REDIS_URL: `redis://:secret@127.0.0.1:${port}` });
    assert.equal(away.code, 1);
    assert.ok(away.stderr.includes(`${port}`), away.stderr);
    assert.ok(!away.stderr.includes('secret'), away.stderr);
  });
});
