// Candles and what a day came to: over the socket and over HTTP they are what a client makes of the ticks that it got.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { ask, isProblem, publish } from '../support/api.mjs';
import { INTERVALS, candlesOf, fold, isCandle, plain } from '../support/candles.mjs';
import { closeAfter, connect, next, request, start, transports, until } from '../support/clients.mjs';
import { isErrorEvent, isRefused } from '../support/contract.mjs';
import { good, hs256, now, SECRET } from '../support/tokens.mjs';

const DAY_MS = 86_400_000;
const KEY = 'the-key-that-may-do-everything';

/** Numbers that are the same on each run. @param {number} seed */
function numbers(seed) {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

/**
 * Ticks that lie over two days, as irregular as it gets: bursts, silences of seconds, of minutes and of hours, and the same ms
 * twice.
 */
function trades() {
  const random = numbers(7);
  const end = Date.now() - 1000;
  const all = [];
  let [ts, price] = [end - 2 * DAY_MS, 1000];
  while (ts < end) {
    price = Math.max(1, price + Math.round(random() * 20 - 10));
    all.push({ price, ts, size: Math.ceil(random() * 9) });
    const step = random();
    ts += Math.floor(step < 0.5 ? random() * 1500 : step < 0.8 ? random() * 60_000 : step < 0.98 ? random() * 600_000 : random() * 2 * 3_600_000);
    if (step > 0.495 && step < 0.5) all.push({ price: price + 1, ts: all[all.length - 1].ts, size: 1 });
  }
  return all;
}

describe('candles over HTTP', () => {
  /** @type {import('../support/server.mjs').Server} */
  let server;
  /** @type {(() => Promise<void>)[]} */
  const undo = [];
  const ticks = trades();

  before(async () => {
    const test = { after: (/** @type {() => Promise<void>} */ each) => undo.push(each) };
    server = await start(test, { SYMBOLS: '', PUBLISHED_SYMBOLS: 'OLD,NONE,A/B', PUBLISH_RATE: '100000', HISTORY_SECONDS: '86400' });
    for (let from = 0; from < ticks.length; from += 1000) {
      const { json, text } = await publish(server, ticks.slice(from, from + 1000).map((tick) => ({ symbol: 'OLD', ...tick })));
      assert.equal(json?.rejected, 0, text);
    }
    await until(async () => (await candlesOf(server, 'OLD', { interval: '1d', limit: 5 })).reduce((sum, { n }) => sum + n, 0) === ticks.length, 'every tick');
  });
  after(() => Promise.all(undo.map((each) => each())));

  for (const [interval, length] of Object.entries(INTERVALS)) {
    it(`${interval}: what a client makes of every tick`, async () => {
      const asked = Date.now();
      const candles = await candlesOf(server, 'OLD', { interval, limit: 5000 });
      const all = fold(ticks, interval, candles[candles.length - 1].ts);
      assert.ok(candles[candles.length - 1].ts >= Math.floor(asked / length) * length, 'the one that runs is there');
      assert.deepEqual(candles, all.slice(-candles.length));
      const kept = { '1s': 600, '1m': 1500, '5m': 600, '15m': 700, '1h': 750, '1d': 400 }[interval] ?? 0;
      assert.equal(candles.length, Math.min(all.length, kept));
      assert.ok(candles.some(({ n }) => n === 0) || interval === '1d', 'quiet ones, too');

      // Not the oldest: those may be gone before they are asked for again.
      const [from, to] = [candles[Math.min(60, Math.floor(candles.length / 4))]?.ts ?? 0, candles[candles.length - 2].ts];
      const some = candles.filter(({ ts }) => from <= ts && ts <= to);
      assert.deepEqual(await candlesOf(server, 'OLD', { interval, from, to, limit: 5000 }), some);
      assert.deepEqual(await candlesOf(server, 'OLD', { interval, from: Math.max(0, from - 1), to: to + 1, limit: 5000 }), some, 'those that begin there');
      assert.deepEqual(await candlesOf(server, 'OLD', { interval, to, limit: 2 }), some.slice(-2), 'the newest of them');
    });
  }

  it('a minute where nothing else is said, and 500 of them', async () => {
    const candles = await candlesOf(server, 'OLD', {});
    assert.equal(candles.length, 500);
    assert.equal(candles[1].ts - candles[0].ts, 60_000);
    assert.deepEqual(await candlesOf(server, 'NONE', {}), [], 'no price yet');
    assert.deepEqual(await candlesOf(server, 'A/B', {}), []);
  });

  it('what is wrong is named', async () => {
    for (const [query, named] of [['interval=2m', 'interval is "2m"'], ['from=x', 'from is "x"'], ['to=-1', 'to is "-1"'], ['limit=0', 'limit is "0"'], ['limit=5001', 'limit is "5001"'], ['limit=', 'limit is ""']]) {
      const response = await ask(server, 'GET', `/api/candles/OLD?${query}`);
      isProblem(response, 400, 'invalid_payload');
      assert.ok(response.json.detail.startsWith(named), response.text);
      if (!query.startsWith('interval')) isProblem(await ask(server, 'GET', `/api/history/OLD?${query}`), 400, 'invalid_payload');
    }
    isProblem(await ask(server, 'GET', '/api/candles/NOPE'), 404, 'unknown_symbol');
    isProblem(await ask(server, 'GET', '/api/history/NOPE'), 404, 'unknown_symbol');
  });

  it('the latest ticks', async () => {
    const { json } = await ask(server, 'GET', '/api/history/OLD?limit=3');
    assert.deepEqual(json.map((/** @type {any} */ tick) => ({ price: tick.price, ts: tick.ts, size: tick.size })), ticks.slice(-3));
    assert.deepEqual([json[1].seq, json[2].seq], [json[0].seq + 1, json[0].seq + 2]);
    assert.ok(json.every((/** @type {any} */ tick) => tick.symbol === 'OLD' && tick.epoch === json[0].epoch));
    const [from, to] = [json[0].ts, json[1].ts];
    const some = (await ask(server, 'GET', `/api/history/OLD?from=${from}&to=${to}`)).json;
    assert.deepEqual(some.map((/** @type {any} */ { ts }) => ts), ticks.filter(({ ts }) => from <= ts && ts <= to).map(({ ts }) => ts));
    assert.deepEqual((await ask(server, 'GET', '/api/history/NONE')).json, []);
  });

  it('a snapshot has what the last 24 hours came to', async (test) => {
    const socket = await connect(server.url);
    closeAfter(test, socket);
    const { snapshot: [tick], server: { time } } = await request(socket, 'subscribe', ['OLD']);
    const { open24h, high24h, low24h, volume24h } = tick;
    const of = (/** @type {number} */ at) => {
      const from = Math.floor(at / 60_000) * 60_000 - DAY_MS;
      const minutes = fold(ticks, '1m', at).filter(({ ts }) => ts >= from);
      const sum = minutes.reduce((total, { volume }) => total + volume, 0);
      return { open24h: minutes[0].open, high24h: Math.max(...minutes.map(({ high }) => high)), low24h: Math.min(...minutes.map(({ low }) => low)), volume24h: sum };
    };
    // It may be as old as a second.
    const told = JSON.stringify({ open24h, high24h, low24h, volume24h });
    assert.ok([of(time), of(time - 1000)].some((day) => JSON.stringify(day) === told), `${told}, ${JSON.stringify(of(time))}`);
  });
});

/**
 * Whoever follows candles: what came, checked as it comes.
 *
 * @param {any} socket
 */
function followed(socket) {
  /** @type {any[]} */
  const events = [];
  socket.on('candle', (/** @type {any} */ candle) => events.push({ ...candle, at: performance.now() }));
  const closes = (/** @type {string} */ symbol, /** @type {string} */ interval) =>
    events.filter((event) => event.symbol === symbol && event.interval === interval && event.closed);
  return { events, closes };
}

describe('candles over the socket', { concurrency: true }, () => {
  /** @type {import('../support/server.mjs').Server} */
  let server;
  /** @type {(() => Promise<void>)[]} */
  const undo = [];
  before(async () => {
    const test = { after: (/** @type {() => Promise<void>} */ each) => undo.push(each) };
    server = await start(test, { SYMBOLS: 'BTC,ETH', PUBLISHED_SYMBOLS: 'QUIET,LATER', UPDATE_INTERVAL: '20', MAX_CANDLE_SUBSCRIPTIONS: '3' });
    await until(async () => (await ask(server, 'GET', '/api/prices/ETH')).status === 200, 'a price');
  });
  after(() => Promise.all(undo.map((each) => each())));

  for (const [name, list] of Object.entries(transports)) {
    it(`${name}: each close once, in order, and what the ticks come to`, async (test) => {
      const socket = await connect(server.url, { transports: list });
      // Of what comes between two polls the prices are not all told: who polls compares with what another got.
      const witness = await connect(server.url);
      closeAfter(test, socket, witness);
      /** @type {any[]} */
      const ticks = [];
      witness.on('tick', (/** @type {any} */ tick) => ticks.push(tick));
      ticks.push(...(await request(witness, 'subscribe', ['BTC'])).snapshot);
      const { events, closes } = followed(socket);
      const asked = performance.now();
      const answer = await request(socket, 'candles', { symbol: 'BTC', interval: '1s' });
      assert.deepEqual(Object.keys(answer).sort(), ['candles', 'interval', 'ok', 'symbol']);
      assert.deepEqual([answer.ok, answer.symbol, answer.interval], [true, 'BTC', '1s']);
      for (const candle of answer.candles) isCandle(candle, '1s');
      await request(socket, 'candles', { symbol: 'BTC', interval: '1m' });
      const minute = () => events.filter(({ interval, closed }) => interval === '1m' && !closed);
      await until(() => closes('BTC', '1s').length >= 4 && minute().length > 4, 'four seconds');

      const seconds = closes('BTC', '1s');
      const [last] = answer.candles.slice(-1);
      assert.equal(seconds[0].ts, last.ts, 'the first close is that of the last one of the answer');
      seconds.forEach((second, index) => assert.equal(second.ts, seconds[0].ts + index * 1000, 'no hole, no repeat'));
      for (const event of events) isCandle(plain(event), event.interval);
      const whole = fold(ticks, '1s').slice(1, -1);
      const compared = seconds.filter(({ ts }) => whole.some((candle) => candle.ts === ts));
      assert.ok(compared.length >= 2, `${compared.length}`);
      for (const second of compared) assert.deepEqual(plain(second), whole.find(({ ts }) => ts === second.ts));
      const served = await candlesOf(server, 'BTC', { interval: '1s', from: seconds[0].ts, to: seconds[seconds.length - 1].ts });
      assert.deepEqual(served, seconds.map(plain), 'the same over HTTP');

      const running = minute();
      const took_ms = running[running.length - 1].at - asked;
      assert.ok(running.length <= 2 + (took_ms / 1000) * 4.5, `${running.length} in ${took_ms} ms`);
      // In order: a close, and then nothing of that candle any more.
      for (const interval of ['1s', '1m']) {
        const times = events.filter((event) => event.interval === interval).map(({ ts, closed }) => ts + (closed ? 0.5 : 0));
        assert.deepEqual(times, [...times].sort((a, b) => a - b));
      }
      assert.deepEqual(await request(socket, 'uncandles', { symbol: 'BTC', interval: '1s' }), { ok: true });
      const count = closes('BTC', '1s').length;
      const goal = events.length + 5;
      await until(() => events.length >= goal, 'more of the minute');
      assert.equal(closes('BTC', '1s').length, count);
    });
  }

  it('a quiet symbol closes by the clock, and its price holds on', async (test) => {
    const socket = await connect(server.url);
    closeAfter(test, socket);
    const { closes } = followed(socket);
    assert.deepEqual((await request(socket, 'candles', { symbol: 'QUIET', interval: '1s' })).candles, []);
    const ts = Date.now();
    await publish(server, [{ symbol: 'QUIET', price: 7, ts, size: 2 }, { symbol: 'QUIET', price: 5, ts, size: 1 }]);
    await until(() => closes('QUIET', '1s').length >= 3, 'three seconds');
    const [first, ...rest] = closes('QUIET', '1s').map(plain);
    const began = Math.floor(ts / 1000) * 1000;
    assert.deepEqual(first, { ts: began, open: 7, high: 7, low: 5, close: 5, volume: 3, n: 2 });
    rest.forEach((candle, index) => assert.deepEqual(candle, { ts: began + (index + 1) * 1000, open: 5, high: 5, low: 5, close: 5, volume: 0, n: 0 }));
  });

  it('what is wrong is named, and changes nothing', async (test) => {
    const socket = await connect(server.url);
    closeAfter(test, socket);
    for (const [event, payload, code, ...named] of /** @type {[string, any, string, ...string[]][]} */ ([
      ['candles', undefined, 'invalid_payload', 'payload'],
      ['candles', 'BTC', 'invalid_payload', 'payload', 'BTC'],
      ['candles', { interval: '1m' }, 'invalid_payload', 'symbol'],
      ['candles', { symbol: 'BTC' }, 'invalid_payload', 'interval', '1s, 1m, 5m, 15m, 1h or 1d'],
      ['candles', { symbol: 'BTC', interval: '2m' }, 'invalid_payload', 'interval', '2m'],
      ['candles', { symbol: 'BTC', interval: '1m', limit: 1001 }, 'invalid_payload', 'limit', '1001'],
      ['candles', { symbol: 'NOPE', interval: '1m' }, 'unknown_symbol', 'NOPE'],
      ['uncandles', { symbol: 'NOPE', interval: '1m' }, 'unknown_symbol', 'NOPE'],
      ['uncandles', { symbol: 'ETH', interval: '1m' }, 'not_subscribed', 'ETH', '1m'],
      ['uncandles', { symbol: 'ETH', interval: 5 }, 'invalid_payload', 'interval'],
    ])) {
      const args = payload === undefined ? [] : [payload];
      isRefused(await request(socket, event, ...args), code, ...named);
      const refused = next(socket, 'error');
      socket.emit(event, ...args);
      isErrorEvent(await refused, event, code, ...named);
    }
    for (const interval of ['1s', '1m', '5m']) assert.ok((await request(socket, 'candles', { symbol: 'ETH', interval, limit: 1 })).ok);
    isRefused(await request(socket, 'candles', { symbol: 'ETH', interval: '1d' }), 'too_many_symbols', '3');
    assert.equal((await request(socket, 'candles', { symbol: 'ETH', interval: '5m', limit: 1 })).candles.length, 1, 'one that it has');
  });

  it('without a callback, in silence', async (test) => {
    const socket = await connect(server.url);
    closeAfter(test, socket);
    const { events } = followed(socket);
    socket.emit('candles', { symbol: 'BTC', interval: '1d' });
    await until(() => events.length > 1, 'candles');
    assert.ok(events.every(({ symbol, interval, closed }) => symbol === 'BTC' && interval === '1d' && !closed));
  });

  it('stats come to who asks, at most once a second, of what has changed', async (test) => {
    const socket = await connect(server.url);
    const other = await connect(server.url);
    closeAfter(test, socket, other);
    await publish(server, [{ symbol: 'LATER', price: 3, size: 2 }]);
    /** @type {{ at: number, stats: any[] }[]} */
    const came = [];
    socket.on('stats', (/** @type {any[]} */ stats) => came.push({ at: performance.now(), stats }));
    let others = 0;
    other.on('stats', () => (others += 1));
    const asked = performance.now();
    await request(socket, 'subscribe', { symbols: ['BTC', 'LATER'], mode: 'batch', stats: true });
    await request(other, 'subscribe', { symbols: '*', stats: false });
    await until(() => came.length >= 3, 'three of them');
    const [first, ...rest] = came;
    assert.deepEqual(first.stats.map(({ symbol }) => symbol), ['BTC', 'LATER']);
    assert.deepEqual(first.stats[1], { symbol: 'LATER', open24h: 3, high24h: 3, low24h: 3, volume24h: 2 });
    for (const { stats } of rest) assert.deepEqual(stats.map(({ symbol }) => symbol), ['BTC'], 'LATER has not changed');
    for (const { symbol, ...day } of came.flatMap(({ stats }) => stats)) {
      const names = Object.keys(day);
      // The simulator says no sizes.
      assert.deepEqual(names, ['open24h', 'high24h', 'low24h', ...(symbol === 'LATER' ? ['volume24h'] : [])]);
      assert.ok(day.low24h <= day.open24h && day.open24h <= day.high24h);
    }
    assert.ok(came[2].at - asked > 1800, `${came[2].at - asked} ms`);
    assert.equal(others, 0);
  });
});

describe('rights to candles', () => {
  /** @type {import('../support/server.mjs').Server} */
  let server;
  /** @type {(() => Promise<void>)[]} */
  const undo = [];
  before(async () => {
    const test = { after: (/** @type {() => Promise<void>} */ each) => undo.push(each) };
    server = await start(test, { SYMBOLS: 'BTC,ETH', JWT_SECRET: SECRET, API_KEY: KEY });
    await until(async () => (await ask(server, 'GET', '/api/prices/ETH', undefined, { 'x-api-key': KEY })).status === 200, 'a price');
  });
  after(() => Promise.all(undo.map((each) => each())));

  it('over HTTP they are those of the token', async () => {
    const bearer = (/** @type {string} */ token) => ({ authorization: `Bearer ${token}` });
    const some = bearer(hs256(good({ symbols: ['BTC'] })));
    for (const path of ['/api/candles', '/api/history']) {
      const get = (/** @type {string} */ symbol, /** @type {Record<string, string>} */ headers = {}) => ask(server, 'GET', `${path}/${symbol}`, undefined, headers);
      isProblem(await get('BTC'), 401, 'unauthorized');
      isProblem(await get('BTC', bearer('nonsense')), 401, 'unauthorized');
      isProblem(await get('BTC', bearer(hs256(good({ exp: Math.floor(now()) - 600 })))), 401, 'token_expired');
      assert.equal((await get('BTC', some)).status, 200);
      isProblem(await get('ETH', some), 403, 'forbidden');
      isProblem(await get('NOPE', some), 403, 'forbidden');
      assert.equal((await get('ETH', bearer(hs256(good())))).status, 200);
      isProblem(await get('NOPE', bearer(hs256(good()))), 404, 'unknown_symbol');
      assert.equal((await get('ETH', { 'x-api-key': KEY })).status, 200);
      isProblem(await get('ETH', { 'x-api-key': 'wrong' }), 401, 'unauthorized');
      isProblem(await get('ETH', { ...some, 'x-api-key': 'wrong' }), 401, 'unauthorized');
    }
  });

  it('over the socket, too, and they end with them', async (test) => {
    const socket = await connect(server.url, { auth: { token: hs256(good({ symbols: ['BTC'] })) } });
    closeAfter(test, socket);
    const { events } = followed(socket);
    for (const symbol of ['ETH', 'NOPE']) isRefused(await request(socket, 'candles', { symbol, interval: '1s' }), 'forbidden', symbol);
    assert.equal((await request(socket, 'candles', { symbol: 'BTC', interval: '1s' })).ok, true);
    await until(() => events.length > 0, 'a candle');
    const { ended } = await request(socket, 'refresh', { token: hs256(good({ symbols: ['ETH'] })) });
    assert.deepEqual(ended, ['BTC']);
    const count = events.length;
    assert.equal((await request(socket, 'candles', { symbol: 'ETH', interval: '1s' })).ok, true);
    await until(() => events.length > count + 3, 'candles of the other');
    assert.ok(events.slice(count).every(({ symbol }) => symbol === 'ETH'));
  });
});
