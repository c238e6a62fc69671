// Several sources at once, recordings, and who may make a symbol.
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { publish } from '../support/api.mjs';
import { connect, request, serve, start, until } from '../support/clients.mjs';
import { startDemo } from '../support/demo.mjs';
import { Redis } from '../support/redis.mjs';
import { NO_ISLANDS, binary, startServer } from '../support/server.mjs';
import { EXCHANGES, settingsFor, Watched } from '../support/venues/feed.mjs';

const run = promisify(execFile);

/** @param {any} test */
function folder(test) {
  const path = mkdtempSync(join(tmpdir(), 'tickcast-feeds-'));
  test.after(() => rmSync(path, { recursive: true }));
  return path;
}

/** A stand-in that ends with the test. @param {any} test @param {typeof EXCHANGES[number]} exchange @param {any} [options] */
async function standIn(test, exchange, options) {
  const venue = await new exchange.Stand(options).listen();
  test.after(async () => {
    await venue.close();
    assert.deepEqual(venue.broken, []);
  });
  return venue;
}

/** Ticks of a server's client. @param {any} test @param {any} server @param {any} symbols */
async function watch(test, server, symbols) {
  const watched = new Watched(await connect(server.url));
  test.after(() => watched.socket.close());
  await request(watched.socket, 'subscribe', symbols);
  return watched;
}

describe('sources', { concurrency: true }, () => {
  it('several at once, each with its symbols', async (test) => {
    const venues = await Promise.all(EXCHANGES.map((exchange) => standIn(test, exchange)));
    const env = Object.assign({}, ...EXCHANGES.map(({ name }, i) => settingsFor(name, venues[i], '')));
    const server = await serve(test, {
      ...env,
      SOURCES: 'simulator,binance,coinbase,kraken',
      SYMBOLS: 'SIM@simulator,BTC=BTCUSDT@binance,BTC-USD@coinbase,ETH=ETH/USD@kraken',
    });
    const watched = await watch(test, server, '*');
    for (const symbol of ['SIM', 'BTC', 'BTC-USD', 'ETH']) await watched.more(symbol, 3);
    const { symbols } = await server.json('/api/symbols');
    assert.deepEqual(
      symbols.map((/** @type {any} */ { symbol, source }) => `${symbol} ${source}`),
      ['SIM simulator', 'BTC binance', 'BTC-USD coinbase', 'ETH kraken'],
    );
    const { sources } = await server.json('/health');
    assert.deepEqual(sources, { simulator: 'publisher', binance: 'publisher', coinbase: 'publisher', kraken: 'publisher' });
    const response = await fetch(`${server.url}/api/prices`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: '{"prices":[{"symbol":"BTC","price":1}]}',
    });
    assert.equal(response.status, 405, 'SOURCES does not name http');
  });

  it('what an exchange makes nobody else publishes', async (test) => {
    const [, coinbase] = EXCHANGES;
    const venue = await standIn(test, coinbase);
    const server = await serve(test, {
      ...settingsFor('coinbase', venue, 'BTC=BTC-USD@coinbase'),
      SOURCES: 'coinbase,http',
    });
    const response = await fetch(`${server.url}/api/prices`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: '{"prices":[{"symbol":"BTC","price":1}]}',
    });
    const { results } = await response.json();
    assert.equal(results[0].code, 'forbidden');
    assert.match(results[0].message, /coinbase/);
  });

  it('a symbol that was another source\'s is free when nobody runs that any more', async (test) => {
    const redis = await Redis.start();
    test.after(() => redis.stop());
    const before = await startServer({ REDIS_URL: redis.url, SYMBOLS: 'BTC,ETH', LEASE_TTL: '500', ...NO_ISLANDS });
    const old = await watch(test, before, ['BTC']);
    await old.more('BTC', 1);
    await before.stop();
    const venue = await standIn(test, EXCHANGES[1]);
    const env = { ...settingsFor('coinbase', venue, 'BTC=BTC-USD@coinbase'), REDIS_URL: redis.url, ...NO_ISLANDS };
    const server = await serve(test, env);
    const watched = await watch(test, server, ['BTC']);
    await watched.more('BTC', 3);
    assert.ok(watched.ticks.every(({ bid }) => bid > 0), 'it is the exchange\'s');
  });

  it('and so it is for back ends', async (test) => {
    const redis = await Redis.start();
    test.after(() => redis.stop());
    const before = await startServer({ REDIS_URL: redis.url, SYMBOLS: 'BTC,ETH', LEASE_TTL: '5000', ...NO_ISLANDS });
    test.after(() => before.stop());
    const old = await watch(test, before, ['BTC']);
    await old.more('BTC', 1);
    // A source that nobody runs would never say that it has given a symbol up.
    const server = await start(test, { REDIS_URL: redis.url, SOURCES: 'http', PUBLISHED_SYMBOLS: 'BTC', ...NO_ISLANDS });
    const prices = [{ symbol: 'BTC', price: 5 }];
    const { json } = await until(async () => {
      const answer = await publish(server, prices);
      return answer.status === 200 && answer;
    }, 'the bus');
    assert.deepEqual([json.results[0].code, json.accepted], ['forbidden', 0], 'while somebody simulates it');
    assert.match(json.results[0].message, /"simulator"/);
    await before.stop('SIGKILL');
    const watched = await watch(test, server, ['BTC']);
    await until(async () => (await publish(server, prices)).json.accepted === 1, 'its lease to end');
    await until(() => watched.of('BTC').some(({ price }) => price === 5), 'the price');
    assert.deepEqual(watched.wrong, []);
  });

  it('a recording whose writer was killed is played as far as it goes, moved to now, and then falls silent', async (test) => {
    const venue = await standIn(test, EXCHANGES[1], { everyMs: 20 });
    const file = join(folder(test), 'ticks');
    const env = { PATH: process.env.PATH, ...settingsFor('coinbase', venue, 'BTC=BTC-USD@coinbase,ETH-USD@coinbase') };
    const recorder = spawn(binary, ['record', file], { env, stdio: 'ignore' });
    const ended = once(recorder, 'close');
    await until(() => statSync(file, { throwIfNoEntry: false })?.size > 5000, 'some ticks in the file');
    recorder.kill('SIGKILL');
    await ended;
    // In the middle of a write.
    const bytes = readFileSync(file);
    writeFileSync(file, bytes.subarray(0, bytes.length - 3));

    const server = await startServer({ SOURCES: `replay:${file}`, STALE_AFTER: '300', LOG_LEVEL: 'info' });
    test.after(() => server.stop());
    await server.logged(({ fields }) => fields?.message?.startsWith('the recording is cut off or damaged'));
    const watched = await watch(test, server, '*');
    await watched.more('BTC', 20);
    const prices = watched.of('BTC').map(({ price }) => price);
    const sent = venue.sent.filter(({ symbol }) => symbol === 'BTC-USD').map(({ price }) => price);
    const from = sent.indexOf(prices[0]);
    assert.deepEqual(prices, sent.slice(from, from + prices.length));
    assert.ok(watched.ticks.every(({ ts, bid, size }) => Math.abs(ts - Date.now()) < 20_000 && bid > 0 && size > 0));
    await server.logged(({ fields }) => fields?.message === 'the recording has ended');
    // Each falls silent in its own time.
    await watched.status(({ state, symbols }) => state === 'stale' && symbols.includes('BTC'));
    assert.equal((await server.json('/health')).status, 'ok');
  });

  it('a recorder of replicas listens, and makes nothing', async (test) => {
    const redis = await Redis.start();
    test.after(() => redis.stop());
    const server = await startServer({ REDIS_URL: redis.url, SYMBOLS: 'BTC', PUBLISHED_SYMBOLS: 'QUIET', UPDATE_INTERVAL: '20', APP_ID: 'app1', ...NO_ISLANDS });
    test.after(() => server.stop());
    // It was there before: a replay would begin with the silence after it.
    await until(async () => (await publish(server, [{ symbol: 'QUIET', price: 1 }])).json.accepted === 1, 'the bus');
    const watched = await watch(test, server, ['BTC']);
    await watched.more('BTC', 1);
    const file = join(folder(test), 'ticks');
    const env = { PATH: process.env.PATH, REDIS_URL: redis.url, SYMBOLS: 'OTHER', APP_ID: 'recorder' };
    const recorder = spawn(binary, ['record', file], { env, stdio: ['ignore', 'pipe', 'inherit'] });
    let said = '';
    recorder.stdout.on('data', (text) => (said += text));
    const ended = once(recorder, 'close');
    await until(async () => (await server.json('/stats?scope=cluster')).nodes.some((/** @type {any} */ node) => node.id === 'recorder' && node.status === 'recording'), 'it to be listed');
    const first = watched.of('BTC').length;
    await watched.more('BTC', 50);
    await until(() => statSync(file).size > 300, 'some ticks in the file');
    // It waits for a Redis that goes away, for as long as that takes, and goes on.
    await redis.kill();
    await watched.status(({ state }) => state === 'degraded');
    await sleep(1000);
    assert.equal(recorder.exitCode, null);
    await redis.begin();
    await watched.more('BTC', 50);
    const { size } = statSync(file);
    await until(() => statSync(file).size > size + 300, 'more of them');
    recorder.kill('SIGTERM');
    assert.deepEqual(await ended, [0, null]);
    assert.match(said, /^\d+ ticks in \d+ bytes: /);
    // It has said so: for 5 s it would be taken for one that is silent.
    await until(async () => (await server.json('/stats?scope=cluster')).nodes.length === 1, 'it to be listed no more', 4000);
    assert.ok(watched.of('BTC').length > first);
    const bytes = readFileSync(file);
    assert.deepEqual([bytes.includes('BTC'), bytes.includes('QUIET')], [true, false]);

    // Played at full speed, with its times: they are those that the client saw.
    const again = `${file}-again`;
    const replay = { PATH: process.env.PATH, SOURCES: `replay:${file}`, REPLAY_SPEED: 'max', REPLAY_KEEP_TS: 'true' };
    await run(binary, ['record', again], { env: replay });
    assert.deepEqual(readFileSync(again), readFileSync(file));
    await assert.rejects(run(binary, ['record', again], { env: replay }), /it must be a file that does not exist yet/);
    assert.deepEqual((await server.json('/health')).sources.simulator, 'publisher');
  });
});

describe('demo', () => {
  it('runs stand-ins for the exchanges that SOURCES names', async (test) => {
    const { proxy } = await startDemo(test, { SOURCES: 'coinbase', SYMBOLS: 'BTC=BTC-USD@coinbase' });
    const prices = async () => (await (await fetch(`${proxy.url}api/prices`)).json()).prices;
    await until(async () => (await prices())[0]?.bid > 0, 'a price of the stand-in');
  });
});
