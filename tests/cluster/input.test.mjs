// Other services publish through Redis: each entry is taken once, whatever is in it and whoever dies.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { until } from '../support/clients.mjs';
import { Cluster } from '../support/cluster.mjs';
import { Cable } from '../support/redis.mjs';

const IN = 'tickcast:in';
const ENV = { PUBLISHED_SYMBOLS: 'PUB,OTHER', LEASE_TTL: '1000' };

/** @param {Cluster} cluster @param {Record<string, string>} fields @returns {Promise<string>} its id */
const add = (cluster, fields) => cluster.redis.ask('XADD', IN, '*', ...Object.entries(fields).flat());

/** The prices of a symbol in the log. @param {Cluster} cluster @returns {Promise<any[]>} */
const prices = async (cluster, symbol = 'PUB') =>
  (await cluster.redis.log()).flatMap(({ ticks }) => ticks).filter((tick) => tick.symbol === symbol);

/** The replica that reads the stream, and another. @param {Cluster} cluster */
async function reader(cluster) {
  return until(async () => {
    const all = await Promise.all(cluster.live().map(async (id) => ({ id, role: (await cluster.replica(id).json('/health')).sources.input })));
    const publishers = all.filter(({ role }) => role === 'publisher');
    return publishers.length === 1 && { reader: publishers[0].id, other: all.find(({ role }) => role === 'standby')?.id };
  }, 'exactly one reader');
}

describe('input', { concurrency: true }, () => {
  it('good entries are published, bad ones are told, and hold up nobody', async (test) => {
    // Who reads them counts them: it stays the same one.
    const cluster = await Cluster.start(test, { env: { ...ENV, LEASE_TTL: '30000' } });
    const ts = Date.now() - 5000;
    await add(cluster, { symbol: 'PUB', price: '12.50', ts: `${ts}`, bid: '12.49', ask: '12.51', size: '3', note: 'ignored' });
    const bad = [];
    for (const fields of /** @type {Record<string, string>[]} */ ([
      { price: '1' },
      { symbol: 'PUB' },
      { symbol: 'PUB', price: 'dear' },
      { symbol: 'P U B', price: '1' },
      { symbol: '', price: '' },
      { symbol: 'PUB', price: '1', ts: 'now' },
      { '': '' },
      { '\u0001': '💥' },
      { symbol: 'BTC', price: '1' },
      { symbol: 'NOPE', price: '1' },
      { symbol: 'PUB', price: '1', ts: `${ts - 1}` },
    ])) bad.push(await add(cluster, fields));
    // Bytes that are no text.
    await cluster.redis.ask('EVAL', String.raw`return redis.call('XADD', KEYS[1], '*', 'symbol', '\255\254', '\128', '\0')`, '1', IN);
    await add(cluster, { symbol: 'PUB', price: '13', ts: `${ts}` });
    const ticks = await until(async () => {
      const found = await prices(cluster);
      return found.length === 2 && found;
    }, 'the prices');
    const { seq } = ticks[0];
    assert.deepEqual(ticks, [
      { symbol: 'PUB', price: 12.5, ts, bid: 12.49, ask: 12.51, size: 3, seq },
      { symbol: 'PUB', price: 13, ts, seq: seq + 1 },
    ]);
    const { reader: id } = await reader(cluster);
    const server = cluster.replica(id);
    const { input } = await until(async () => {
      const { published } = await server.json('/stats');
      return published.input.accepted === 2 && published;
    }, 'the counts');
    assert.deepEqual(input, { accepted: 2, forbidden: 1, invalid_payload: 9, stale: 1, unknown_symbol: 1 });
    for (const entry of bad) {
      const line = await server.logged(({ fields }) => fields?.id === entry);
      assert.ok(line.level === 'WARN' && line.fields.code && line.fields.reason, JSON.stringify(line));
    }
  });

  it('what came before anybody read is published', async (test) => {
    const cluster = await Cluster.start(test, { ids: [], env: ENV });
    for (let price = 1; price <= 50; price += 1) await add(cluster, { symbol: 'PUB', price: `${price}` });
    await cluster.add('app1');
    await until(async () => (await prices(cluster)).length === 50, 'the prices');
    assert.deepEqual((await prices(cluster)).map(({ price }) => price), [...Array(50).keys()].map((index) => index + 1));
  });

  it('the reader dies again and again: nothing is lost, and nothing comes twice', async (test) => {
    const cluster = await Cluster.start(test, { env: ENV });
    let last = 0;
    const writing = new AbortController();
    const write = (async () => {
      while (!writing.signal.aborted) {
        last += 1;
        await add(cluster, { symbol: 'PUB', price: `${last}` });
      }
    })();
    for (let round = 0; round < 3; round += 1) {
      const { reader: id } = await reader(cluster);
      const before = (await prices(cluster)).length;
      await until(async () => (await prices(cluster)).length > before + 20, 'it to read');
      await cluster.replica(id).stop('SIGKILL');
      await cluster.add(id);
    }
    // One more that goes in order.
    const { reader: id } = await reader(cluster);
    await cluster.replica(id).stop();
    await sleep(100);
    writing.abort();
    await write;
    await until(async () => (await prices(cluster)).length >= last, () => `${last} prices`);
    const found = await prices(cluster);
    assert.deepEqual(found.map(({ price }) => price), [...Array(last).keys()].map((index) => index + 1));
    assert.deepEqual(found.map(({ seq }) => seq), found.map((_, index) => found[0].seq + index));
    test.diagnostic(`${last} entries, ${await cluster.redis.ask('XLEN', IN)} left`);
  });

  it('what was asked on a connection that ended comes late: nothing comes twice', async (test) => {
    /** @type {Cable[]} */
    const cables = [];
    const cluster = await Cluster.start(test, {
      ids: ['app1'],
      env: ENV,
      each: async (_, redis) => {
        cables.push(await Cable.to(redis));
        return { REDIS_URL: cables[0].url };
      },
    });
    const [cable] = cables;
    cluster.undo.push(() => cable.stop());
    await reader(cluster);
    cable.hold((data, asks) => asks && data.includes('tickcast:{bus}:in:answer'));
    await add(cluster, { symbol: 'PUB', price: '1' });
    await until(() => cable.held > 0, 'it to be taken');
    const bring = cable.strand();
    await until(async () => (await prices(cluster)).length === 1, 'the price');
    await add(cluster, { symbol: 'PUB', price: '2' });
    await until(async () => (await prices(cluster)).length === 2, 'the next price');
    await bring();
    await add(cluster, { symbol: 'PUB', price: '3' });
    await until(async () => (await prices(cluster)).some(({ price }) => price === 3), 'the last price');
    assert.deepEqual((await prices(cluster)).map(({ price }) => price), [1, 2, 3]);
  });

  it('one that is trimmed by others shows that', async (test) => {
    const cluster = await Cluster.start(test, { ids: ['app1'], env: ENV });
    const server = cluster.replica('app1');
    await add(cluster, { symbol: 'PUB', price: '1' });
    await until(async () => (await prices(cluster)).length === 1, 'the price');
    await cluster.redis.ask('XTRIM', IN, 'MAXLEN', '0');
    await add(cluster, { symbol: 'PUB', price: '2' });
    await until(async () => (await prices(cluster)).length === 2, 'the next price');
    await until(async () => (await server.json('/stats')).published.input_gaps === 1, 'the gap');
  });

  it('something else in its place is waited out', async (test) => {
    const cluster = await Cluster.start(test, { ids: ['app1'], env: ENV });
    await cluster.redis.ask('SET', IN, 'text');
    await until(async () => (await cluster.replica('app1').json('/stats')).errors.redis > 0, 'an error');
    await cluster.redis.ask('DEL', IN);
    await add(cluster, { symbol: 'PUB', price: '1' });
    await until(async () => (await prices(cluster)).length === 1, 'the price');
  });
});
