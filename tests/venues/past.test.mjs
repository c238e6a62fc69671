// Candles of the time in which nobody listened come from the exchange, and prices wait for none of it.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { candlesOf } from '../support/candles.mjs';
import { connect, request, until } from '../support/clients.mjs';
import { metricsOf } from '../support/metrics.mjs';
import { Redis } from '../support/redis.mjs';
import { NO_ISLANDS, startServer } from '../support/server.mjs';
import { EXCHANGES, settingsFor, start } from '../support/venues/feed.mjs';

/** Kraken allows a request a second, and there are five lengths of candles; failures are tried again after pauses (ms). */
const FILLED_WITHIN_MS = 60_000;

const MINUTE_MS = 60_000;

/** Resolves when a server says how it went. @param {any} server @param {string} [word] */
const past = (server, word = 'here') => server.logged((/** @type {any} */ { fields }) => fields?.message === `the exchange's past is ${word}`);

/** Fails unless a server's minutes before this time are the exchange's. @param {any} server @param {any} venue @param {string} listed @param {number} before_ms */
async function hasPast(server, venue, listed, before_ms, count = 100) {
  const candles = await candlesOf(server, 'BTC', { interval: '1m', limit: 5000 });
  const older = candles.filter(({ ts }) => ts + MINUTE_MS <= before_ms).slice(-count);
  assert.equal(older.length, count, `${candles.length} in all`);
  // Coinbase does not say of how many trades they are.
  const expected = older.map(({ ts, n }) => ({ ...venue.past.candle(listed, MINUTE_MS, ts), n: n && 3 }));
  assert.deepEqual(older, expected);
}

/**
 * A server of an exchange on which nothing is traded, but the first symbol, twenty times until somebody has heard of it.
 *
 * @param {any} test @param {typeof EXCHANGES[number]} exchange @param {string} symbols @param {number} [clockOffset_ms]
 */
async function quietly(test, { name, Stand, btc }, symbols, clockOffset_ms = 0) {
  const venue = await new Stand({}).listen();
  test.after(() => venue.close());
  Object.assign(venue, { paused: true, clockOffset_ms });
  const server = await startServer(settingsFor(name, venue, symbols));
  test.after(() => server.stop());
  await until(async () => {
    venue.tick(btc);
    return [...venue.sessions].some(({ symbols: { size } }) => size === symbols.split(',').length) && (await fetch(`${server.url}/api/prices/BTC`)).status === 200;
  }, 'a price of BTC');
  return { venue, server };
}

for (const exchange of EXCHANGES) {
  const { name, btc } = exchange;
  const symbols = `BTC=${btc}@${name}`;

  describe(`the past of ${name}`, { concurrency: true }, () => {
    it('is there after a start, up to the first price', async (test) => {
      const { server, venue } = await start(test, exchange, { symbols });
      const [{ ts: first }] = venue.sent;
      await past(server);
      await hasPast(server, venue, btc, first);
      for (const interval of ['5m', '15m', '1h', '1d']) {
        const candles = await candlesOf(server, 'BTC', { interval, limit: 5000 });
        assert.ok(candles.length >= 100, `${interval}: ${candles.length}`);
      }
      // The minute that runs has the exchange's open, and our close.
      const minutes = await candlesOf(server, 'BTC', { interval: '1m', limit: 5000 });
      const running = minutes.find(({ ts }) => ts <= first && first < ts + MINUTE_MS);
      assert.equal(running?.open, venue.past.candle(btc, MINUTE_MS, running?.ts).open);
      // Where ticks have no sizes, the volume of the past is none of the present.
      const socket = await connect(server.url);
      const { snapshot: [{ volume24h }] } = await request(socket, 'subscribe', ['BTC']);
      socket.close();
      assert.equal(volume24h > 0, exchange.hasSize, `${volume24h}`);
      const metrics = await metricsOf(server.url);
      assert.ok((metrics.get(`tickcast_exchange_past_candles_total{source="${name}"}`) ?? 0) > 1000);
      assert.equal(metrics.get(`tickcast_exchange_past_failures_total{source="${name}"}`) ?? 0, 0);
    });

    it('Retry-After is kept to, and prices come meanwhile', async (test) => {
      const { server, venue, watched } = await start(test, exchange, { symbols, venue: { past: { limitedFor_ms: 4_000 } } });
      await watched.more('BTC', 5);
      await until(() => venue.past.requests.some((/** @type {any} */ { status }) => status === 429), 'a refusal');
      await until(() => venue.past.requests.some((/** @type {any} */ { status }) => status === 200), 'an answer', FILLED_WITHIN_MS);
      await watched.more('BTC', 5);
      const line = await server.logged(({ fields }) => fields?.message === 'cannot read the exchange\'s past: trying again');
      assert.match(line.fields.why, /429/);
    });

    it('what cannot be read, and what is cut off, is asked for again, and said once', async (test) => {
      const { server, venue } = await start(test, exchange, { symbols, venue: { past: { garbage: 2, cut: 1 } } });
      await past(server);
      await hasPast(server, venue, btc, Date.now() - 2 * MINUTE_MS);
      const said = server.log.filter(({ fields }) => fields?.message === 'cannot read the exchange\'s past: trying again');
      assert.equal(said.length, 1);
      assert.equal((await metricsOf(server.url)).get(`tickcast_exchange_past_failures_total{source="${name}"}`), 3);
    });
  });
}

describe('the past of exchanges', { concurrency: true }, () => {
  const [binance, coinbase] = EXCHANGES;

  it('an API that is down is given up, and prices come', async (test) => {
    const { server, venue, watched } = await start(test, coinbase, { symbols: 'BTC=BTC-USD@coinbase', venue: { past: { cut: Infinity } } });
    await past(server, 'here in part');
    await watched.more('BTC', 5);
    assert.equal(venue.past.requests.length, 15, 'three pages, five times each');
    const metrics = await metricsOf(server.url);
    assert.ok((metrics.get('tickcast_exchange_past_missing_total{source="coinbase"}') ?? 0) > 3);
    assert.equal((await server.json('/health')).status, 'ok');
  });

  it('a symbol that it does not know there costs itself alone', async (test) => {
    const { server, venue } = await quietly(test, binance, 'BTC=BTCUSDT@binance,ETH=ETHUSDT@binance');
    // Its prices come, and its past does not.
    venue.refuse.add('ETHUSDT');
    venue.tick('ETHUSDT');
    const line = await server.logged(({ fields }) => fields?.message === 'the exchange has no past of a symbol');
    assert.equal(line.fields.symbol, 'ETHUSDT');
    assert.match(line.fields.why, /400 Bad Request: Invalid symbol\./);
    await past(server);
    await hasPast(server, venue, 'BTCUSDT', Date.now() - 2 * MINUTE_MS);
    assert.equal((await server.json('/health')).status, 'ok');
  });

  it('a symbol that is rarely traded has its past as soon as it has a price, however late', async (test) => {
    const { server, venue } = await quietly(test, binance, 'BTC=BTCUSDT@binance,RARE=ETHUSDT@binance');
    await past(server);
    const askedFor = (/** @type {string} */ listed) => venue.past.requests.filter((/** @type {any} */ { url }) => url.includes(listed)).length;
    assert.ok(askedFor('BTCUSDT') > 5);
    assert.equal(askedFor('ETHUSDT'), 0);
    assert.deepEqual(await candlesOf(server, 'RARE', { interval: '1h' }), []);
    const { ts } = venue.tick('ETHUSDT');
    await until(async () => (await candlesOf(server, 'RARE', { interval: '1m', limit: 5000 })).length >= 1000, 'its past', FILLED_WITHIN_MS);
    const hours = await candlesOf(server, 'RARE', { interval: '1h', limit: 5000 });
    assert.ok(hours.length > 700, `${hours.length}`);
    const [older] = hours.filter(({ ts: at }) => at + 60 * MINUTE_MS <= ts).slice(-1);
    assert.deepEqual(older, venue.past.candle('ETHUSDT', 60 * MINUTE_MS, older.ts));
    assert.equal((await metricsOf(server.url)).get('tickcast_candles_passed_over_total'), 0);
  });

  it('what an exchange made while it could not be reached is asked for when it is back, and no more', async (test) => {
    // The exchange's clock stands for the time that passes.
    const away_ms = 5 * MINUTE_MS;
    const { server, venue } = await quietly(test, binance, 'BTC=BTCUSDT@binance', -away_ms);
    await past(server);
    const last = () => venue.sent[venue.sent.length - 1];
    const isSeen = async () => (await server.json('/api/prices/BTC')).price === last().price;
    const [asked, attempts] = [venue.past.requests.length, venue.attempts.length];

    // A moment without a connection is none.
    venue.drop();
    await until(() => venue.attempts.length > attempts && venue.sessions.size === 1, 'another connection');
    const before = venue.tick('BTCUSDT');
    await until(isSeen, 'a price', FILLED_WITHIN_MS);
    assert.equal(venue.past.requests.length, asked);

    venue.drop();
    venue.clockOffset_ms = 0;
    await until(() => venue.attempts.length > attempts + 1 && venue.sessions.size === 1 && venue.tick('BTCUSDT') && venue.sent.length > 0 && last().ts > before.ts + away_ms / 2, 'another one');
    const minutes = async () => {
      const candles = await candlesOf(server, 'BTC', { interval: '1m', limit: 5000 });
      return candles.filter(({ ts }) => ts > before.ts && ts + MINUTE_MS < last().ts);
    };
    await until(async () => (await minutes()).filter(({ n }) => n > 0).length >= 3, 'what it made meanwhile', FILLED_WITHIN_MS);
    for (const candle of await minutes()) assert.deepEqual(candle, venue.past.candle('BTCUSDT', MINUTE_MS, candle.ts));
    // A page of each length.
    assert.ok(venue.past.requests.length <= asked + 6, `${venue.past.requests.length - asked} requests`);
  });

  it('an empty address is nobody to ask', async (test) => {
    const { venue, watched } = await start(test, coinbase, { env: { COINBASE_REST_URL: '' } });
    await watched.more('BTC', 20);
    assert.equal(venue.past.requests.length, 0);
  });

  it('one of the replicas asks, and all have it; who takes over asks for what was missed', async (test) => {
    const redis = await Redis.start();
    test.after(() => redis.stop());
    const venue = await new binance.Stand().listen();
    test.after(() => venue.close());
    const env = { ...settingsFor('binance', venue, 'BTC=BTCUSDT@binance'), REDIS_URL: redis.url, LEASE_TTL: '10000', ...NO_ISLANDS };
    const first = await startServer({ ...env, APP_ID: 'app1' });
    test.after(() => first.stop());
    await past(first);
    const asked = venue.past.requests.length;
    const second = await startServer({ ...env, APP_ID: 'app2' });
    test.after(() => second.stop());
    await until(async () => (await candlesOf(second, 'BTC', { interval: '1m', limit: 5000 })).length > 1000, 'its candles');
    // One that runs is another one by the time that the other replica is asked.
    const before_ms = Date.now() - MINUTE_MS;
    const shown = async (/** @type {any} */ server, /** @type {string} */ interval, /** @type {number} */ length_ms) => {
      const candles = await candlesOf(server, 'BTC', { interval, limit: 5000 });
      return candles.filter(({ ts }) => ts + length_ms < before_ms).slice(-300);
    };
    for (const [interval, length_ms] of /** @type {const} */ ([['1m', MINUTE_MS], ['1h', 60 * MINUTE_MS]])) {
      assert.deepEqual(await shown(second, interval, length_ms), await shown(first, interval, length_ms));
    }
    assert.equal(venue.past.requests.length, asked, 'it is asked once');

    const sessions = venue.attempts.length;
    await first.stop();
    await until(() => venue.attempts.length > sessions, 'another connection');
    await past(second);
    // A page of each length: what was missed is no longer than that.
    assert.ok(venue.past.requests.length <= asked + 6, `${venue.past.requests.length - asked} requests`);
    const socket = await connect(second.url);
    socket.close();
    assert.deepEqual(venue.broken, []);
  });
});
