// What a server that runs alone keeps in DATA_DIR: its candles, through whatever ends it. Its users' alerts are in
// keep-alerts.test.mjs.
import assert from 'node:assert/strict';
import { appendFileSync, existsSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { publish } from '../support/api.mjs';
import { candlesOf } from '../support/candles.mjs';
import { connect, request, until } from '../support/clients.mjs';
import { folder, startFull } from '../support/data.mjs';
import { foldLog, hasCandles } from '../support/kept.mjs';
import { metricsOf } from '../support/metrics.mjs';
import { startServer } from '../support/server.mjs';

/** What a kill may cost: a second, and what a busy machine takes to write (ms). */
const LOST_MS = 3_000;

/** Closed seconds that make a test worth something. */
const SECONDS = 3;

/** A server that keeps its candles, and every tick of it that a client saw. @param {any} test @param {string} data @param {Record<string, string>} [env] */
async function keeping(test, data, env = {}) {
  const server = await startServer({ DATA_DIR: data, SYMBOLS: 'BTC', UPDATE_INTERVAL: '20', ...env });
  test.after(() => server.stop());
  const socket = await connect(server.url);
  test.after(() => socket.close());
  /** @type {any[]} */
  const ticks = [];
  socket.on('tick', (/** @type {any} */ tick) => ticks.push({ epoch: 'one', ...tick }));
  await request(socket, 'subscribe', ['BTC']);
  /** Waits for ticks of so many ms, by their own time. @param {number} ms */
  const spans = (ms) => until(() => ticks.length > 0 && ticks[ticks.length - 1].ts - ticks[0].ts > ms, `ticks of ${ms} ms`);
  return { server, ticks, spans };
}

/** A file with candles in it, of a server that was killed; and its ticks. @param {any} test @param {string} data */
async function killed(test, data) {
  const { server, ticks, spans } = await keeping(test, data);
  await spans(LOST_MS + SECONDS * 1000 + 1000);
  await server.stop('SIGKILL');
  return ticks;
}

/** The seconds that a client saw whole, and that ended so long before its last tick. @param {any[]} ticks @param {number} before_ms */
function wholeSeconds(ticks, before_ms) {
  const [first, last] = [ticks[0].ts, ticks[ticks.length - 1].ts];
  return foldLog(ticks, 'BTC', '1s').filter(({ ts }) => ts > first && ts + 1000 <= last - before_ms);
}

describe('DATA_DIR', { concurrency: true }, () => {
  it('kill -9 costs about a second of candles, and no more', async (test) => {
    const data = folder(test);
    const { server: first, ticks, spans: firstSpans } = await keeping(test, data);
    await firstSpans(LOST_MS);
    await until(() => wholeSeconds(ticks, LOST_MS).length >= SECONDS, 'whole seconds');
    const [day] = await candlesOf(first, 'BTC', { interval: '1d', limit: 5000 });
    await first.stop('SIGKILL');
    const whole = wholeSeconds(ticks, LOST_MS);
    assert.ok(whole.length >= SECONDS, `${whole.length}`);
    const { server, spans } = await keeping(test, data);
    hasCandles(await candlesOf(server, 'BTC', { interval: '1s', limit: 5000 }), whole);
    await spans(1000);
    // It goes on where it was: the day has both.
    const days = await candlesOf(server, 'BTC', { interval: '1d', limit: 5000 });
    const count = ticks.filter(({ ts }) => ts < whole[whole.length - 1].ts + 1000).length;
    assert.ok(days.reduce((sum, { n }) => sum + n, 0) > count, JSON.stringify(days));
    assert.equal(days[0].open, day.open);
  });

  it('SIGTERM costs nothing', async (test) => {
    const data = folder(test);
    const { server, ticks, spans } = await keeping(test, data);
    await spans(1000);
    await until(() => wholeSeconds(ticks, 0).length > 0, 'a whole second');
    assert.deepEqual(await server.stop(), { code: 0, signal: null });
    const { server: again, ticks: after, spans: more } = await keeping(test, data);
    hasCandles(await candlesOf(again, 'BTC', { interval: '1s', limit: 5000 }), wholeSeconds(ticks, 0));
    // Prices walk on from where they were, and do not begin anew.
    await more(100);
    const [last, next] = [ticks[ticks.length - 1].price, after[0].price];
    assert.ok(Math.abs(next / last - 1) < 0.001, `${next} after ${last}`);
    const total = (await candlesOf(again, 'BTC', { interval: '1d', limit: 5000 })).reduce((sum, { n }) => sum + n, 0);
    assert.ok(total > ticks.length, `${total} of ${ticks.length}`);
  });

  it('a symbol that the settings do not name any more is none, until somebody says a price of it', async (test) => {
    const data = folder(test);
    const env = { SOURCES: 'simulator,http', ALLOW_NEW_SYMBOLS: 'true' };
    const { server: first } = await keeping(test, data, { ...env, SYMBOLS: 'BTC,ETH' });
    const minutes = async (/** @type {any} */ server) => (await candlesOf(server, 'ETH', { interval: '1d', limit: 5000 })).reduce((sum, { n }) => sum + n, 0);
    await until(async () => (await minutes(first)) > 10, 'ticks of ETH');
    const before = await minutes(first);
    await first.stop();
    // It stays in the file, however often that is made anew.
    for (let times = 0; times < 2; times += 1) {
      const { server, spans } = await keeping(test, data, { ...env, STALE_AFTER: '500' });
      await server.logged(({ fields }) => fields?.message === 'candles are here' && fields?.symbols === 2);
      await spans(2000);
      const { symbols } = await server.json('/api/symbols');
      assert.deepEqual(symbols.map((/** @type {any} */ { symbol }) => symbol), ['BTC']);
      const socket = await connect(server.url);
      const { rejected } = await request(socket, 'subscribe', ['ETH']);
      socket.close();
      assert.equal(rejected[0]?.code, 'unknown_symbol');
      await until(async () => (await metricsOf(server.url)).get('tickcast_symbols_stale') === 0, 'nothing to be stale');
      assert.equal((await fetch(`${server.url}/api/candles/ETH`)).status, 404);
      await server.stop();
    }
    const { server } = await keeping(test, data, env);
    assert.equal((await publish(server, [{ symbol: 'ETH', price: 1900 }])).json?.accepted, 1);
    await until(async () => (await server.json('/api/symbols')).symbols.length === 2, 'it to be known');
    assert.ok((await minutes(server)) > before, `${await minutes(server)} after ${before}: what there was, and one more`);
  });

  it('without it nothing is kept', async (test) => {
    const server = await startServer({ SYMBOLS: 'BTC', UPDATE_INTERVAL: '20' });
    test.after(() => server.stop());
    await until(async () => (await candlesOf(server, 'BTC', { interval: '1s', limit: 5000 })).length > 1, 'candles');
    const before = await candlesOf(server, 'BTC', { interval: '1s', limit: 5000 });
    await server.stop();
    const again = await startServer({ SYMBOLS: 'BTC', UPDATE_INTERVAL: '20' });
    test.after(() => again.stop());
    await until(async () => (await candlesOf(again, 'BTC', { interval: '1s', limit: 5000 })).length > 1, 'candles');
    assert.ok((await candlesOf(again, 'BTC', { interval: '1s', limit: 5000 }))[0].ts >= before[before.length - 1].ts);
  });

  it('a write that was cut off is cut off, said and counted', async (test) => {
    const data = folder(test);
    const ticks = await killed(test, data);
    const file = join(data, 'candles');
    const { size } = statSync(file);
    appendFileSync(file, readFileSync(file).subarray(8, 30));
    const { server } = await keeping(test, data);
    const line = await server.logged(({ fields }) => fields?.message === 'the last write never came to its end: cut off');
    assert.equal(line.fields.torn_bytes, 22);
    assert.equal((await metricsOf(server.url)).get('tickcast_data_lost_bytes_total'), 22);
    hasCandles(await candlesOf(server, 'BTC', { interval: '1s', limit: 5000 }), wholeSeconds(ticks, LOST_MS));
    assert.ok(size > 0);
  });

  it('damage in the middle is said, and costs what it touches', async (test) => {
    const data = folder(test);
    const ticks = await killed(test, data);
    const file = join(data, 'candles');
    const content = readFileSync(file);
    // The first record is small: there was next to nothing then.
    content[20] ^= 1;
    writeFileSync(file, content);
    const { server } = await keeping(test, data);
    const line = await server.logged(({ fields }) => fields?.message?.startsWith('the file is damaged in the middle'));
    assert.equal(line.level, 'ERROR');
    assert.deepEqual(readFileSync(join(data, 'candles.damaged')), content, 'as it was');
    const whole = wholeSeconds(ticks, LOST_MS);
    hasCandles(await candlesOf(server, 'BTC', { interval: '1s', limit: 5000 }), whole.slice(-2));
    await until(() => !readFileSync(file).equals(content) && statSync(file).size < content.length, 'it to be rewritten');
  });

  it('a folder that is in use, or no folder, or another file, stops the start', async (test) => {
    const data = folder(test);
    const { server } = await keeping(test, data);
    const second = startServer({ DATA_DIR: data });
    await assert.rejects(second, (/** @type {Error} */ error) => /DATA_DIR/.test(error.message) && /is in use: another server writes there/.test(error.message));
    await server.stop();
    writeFileSync(join(data, 'candles'), 'something else');
    await assert.rejects(startServer({ DATA_DIR: data }), /DATA_DIR.*candles: it is no journal, or one of another version/);
    assert.equal(readFileSync(join(data, 'candles'), 'utf8'), 'something else', 'it is left alone');
  });

  it('a disk that is full is said and counted, and prices go on', async (test) => {
    const data = folder(test);
    const full = await startFull(test, { DATA_DIR: data, SYMBOLS: 'BTC', UPDATE_INTERVAL: '20' }, 4);
    const failures = async () => (await metricsOf(full.url)).get('tickcast_candles_store_failures_total') ?? 0;
    await until(async () => (await failures()) >= 2, () => `failures:\n${full.said()}`);
    assert.equal(full.said().split('candles cannot be stored: trying again, prices go on').length, 2, 'it is said once');
    const socket = await connect(full.url);
    test.after(() => socket.close());
    let ticks = 0;
    socket.on('tick', () => (ticks += 1));
    await request(socket, 'subscribe', ['BTC']);
    await until(() => ticks > 10, 'ticks');
    assert.ok(statSync(join(data, 'candles')).size <= 4 * 512);
    assert.ok(existsSync(join(data, 'lock')), `${readdirSync(data)}`);
  });
});
