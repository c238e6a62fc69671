// The store, the painter and what the views compute, without a browser.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { digitsOf, formatAge, formatChange, formatPrice } from '../../static/format.js';
import { CHART_POINTS, CHART_POINT_MS, ROW } from '../../static/row.js';
import { MAX_ROWS, PANEL, startPainting, Store } from '../../static/store.js';
import { range, recent, runs } from '../../static/views/sparkline.js';

const LIVE = { how: 'live', joined: true };
const BROKEN = { how: 'live', joined: false };
const SNAPSHOT = { how: 'snapshot', joined: false };

const tick = (price, more = {}) => ({ symbol: 'BTC', price, ts: 1_000, seq: 1, ...more });

/** A store on clocks that the test sets (ms). */
function start() {
  const clock = { now: 0, wall: 1_000 };
  const store = new Store({ now: () => clock.now, wallClock: () => clock.wall });
  const row = (symbol = 'BTC') => store.rows.get(symbol);
  return { clock, store, row };
}

describe('a row', () => {
  test('keeps its first price, and the direction of the last move', () => {
    const { store, row } = start();
    store.tick(tick(100), SNAPSHOT);
    store.tick(tick(101, { seq: 2, ts: 2_000 }), LIVE);
    store.tick(tick(99.5, { seq: 3 }), LIVE);
    assert.deepEqual([row().first, row().price, row().moved, row().seq], [100, 99.5, -1, 3]);
  });

  test('shows as many digits as the price ever had', () => {
    const { store, row } = start();
    store.tick(tick(64_210.5), SNAPSHOT);
    assert.equal(row().digits, 1);
    store.tick(tick(64_210.55), LIVE);
    store.tick(tick(64_211), LIVE);
    assert.equal(row().digits, 2);
    assert.equal(formatPrice(row().price, row().digits), '64,211.00');
  });

  test('shows as many as its day has, whatever the last price has', () => {
    const { store, row } = start();
    store.tick(tick(12.5, { open24h: 12.55, high24h: 12.55, low24h: 12.5 }), SNAPSHOT);
    assert.equal(row().digits, 2);
    store.takeDirty();
    store.stats([{ symbol: 'BTC', low24h: 12.125 }]);
    assert.equal(row().digits, 3);
    store.tick(tick(12.5, { high: 12.5625, n: 2 }), LIVE);
    assert.equal(row().digits, 4);
    assert.equal(store.takeDirty().rows.get(row()) & (ROW.PRICE | ROW.FIGURES | ROW.MOVED), ROW.PRICE | ROW.FIGURES, 'written again, and it has not moved');
  });

  test('that is gone is there no more, and counts nowhere', () => {
    const { store, row } = start();
    for (const symbol of ['BTC', 'ETH', 'SOL']) store.tick(tick(1, { symbol, stale: symbol === 'ETH' }), SNAPSHOT);
    const gone = row('ETH');
    store.takeDirty();
    store.gone(['ETH', 'unknown']);
    assert.deepEqual([[...store.rows.keys()], store.connection.symbols, store.connection.stale], [['BTC', 'SOL'], 2, 0]);
    assert.deepEqual([...store.takeDirty().rows], [[gone, ROW.REMOVED]]);
    store.tick(tick(2, { symbol: 'ETH' }), LIVE);
    assert.notEqual(row('ETH'), gone);
    assert.equal(new Set([...store.rows.values()].map(({ place }) => place)).size, 3, 'each has a place of its own');
  });

  test('ages by the server\'s clock', () => {
    const { clock, store, row } = start();
    store.tick(tick(1, { ts: 5_000 }), LIVE);
    assert.equal(store.age(row()), 0, 'never negative');
    store.latency({ ms: 10, offsetMs: 60_000 });
    assert.equal(store.age(row()), 56_000);
    clock.wall += 4_000;
    assert.equal(store.age(row()), 60_000);
  });

  test('is stale when the snapshot or a status says so, until it moves', () => {
    const { store, row } = start();
    store.tick(tick(1, { stale: true }), SNAPSHOT);
    store.tick(tick(1, { symbol: 'ETH' }), SNAPSHOT);
    assert.deepEqual([row().stale, row('ETH').stale], [true, false]);
    store.status({ state: 'stale', reason: 'quiet', symbols: ['ETH', 'unknown'] });
    assert.equal(row('ETH').stale, true);
    store.tick(tick(2), LIVE);
    assert.equal(row().stale, false);
    const { connection } = store;
    assert.deepEqual([connection.market.state, connection.stale, connection.symbols], ['live', 1, 2]);
    // One that is about the whole feed, as with every answer to a subscription, says nothing of one symbol.
    store.status({ state: 'live', reason: '', symbols: null });
    assert.deepEqual([row('ETH').stale, connection.stale], [true, 1]);
    store.status({ state: 'degraded', reason: 'alone', symbols: null });
    store.status({ state: 'degraded', reason: '', symbols: null });
    assert.deepEqual(connection.market, { state: 'degraded', reason: 'alone' });
    store.status({ state: 'live', reason: '', symbols: ['ETH'] });
    assert.deepEqual([row('ETH').stale, connection.stale, connection.market.state], [false, 0, 'degraded']);
  });

  test('beyond the limit is not shown, and counted', () => {
    const { store } = start();
    for (let i = 0; i < MAX_ROWS + 2; i += 1) store.tick(tick(1, { symbol: `S${i}` }), SNAPSHOT);
    store.tick(tick(2, { symbol: `S${MAX_ROWS}` }), LIVE);
    assert.deepEqual([store.rows.size, store.notShown.size], [MAX_ROWS, 2]);
  });
});

describe('the figures', () => {
  test('are those since the page was loaded, until the server knows 24 hours', () => {
    const { store, row } = start();
    store.tick(tick(100), SNAPSHOT);
    store.tick(tick(100), SNAPSHOT);
    store.tick(tick(104, { high: 110, low: 99, n: 3 }), LIVE);
    store.tick(tick(50, { symbol: 'ETH' }), SNAPSHOT);
    assert.equal(store.span, 'sinceLoad');
    assert.deepEqual(row().sinceLoad, { open: 100, high: 110, low: 99, volume: null });
    assert.equal(row().percent('sinceLoad'), 4);
    store.stats([{ symbol: 'BTC', open24h: 80, high24h: 105, low24h: 70, volume24h: 5_000 }, { symbol: 'unknown', open24h: 1 }]);
    assert.equal(store.span, 'day', 'a column means the same in every row');
    assert.deepEqual(row().day, { open: 80, high: 105, low: 70, volume: 5_000 });
    assert.deepEqual([row().percent('day'), row('ETH').percent('day')], [30, null]);
  });

  test('of 24 hours grow with a price beyond them at once', () => {
    const { store, row } = start();
    store.tick(tick(100, { open24h: 90, high24h: 110, low24h: 80, volume24h: 7 }), SNAPSHOT);
    store.tick(tick(100, { high: 120, low: 95, n: 2 }), LIVE);
    assert.deepEqual(row().day, { open: 90, high: 120, low: 80, volume: 7 });
  });
});

describe('the chart', () => {
  test('holds a bounded number of points, each for a span of time with its extremes', () => {
    const { clock, store, row } = start();
    store.tick(tick(100), SNAPSHOT);
    clock.now = CHART_POINT_MS - 1;
    store.tick(tick(102, { high: 105, low: 99, n: 4 }), LIVE);
    store.tick(tick(101), LIVE);
    assert.equal(row().points.length, 1);
    assert.deepEqual(row().points.newest(), { at: 0, low: 99, high: 105, last: 101, joined: false });
    for (let i = 1; i <= 3 * CHART_POINTS; i += 1) {
      clock.now = i * CHART_POINT_MS;
      store.tick(tick(i), LIVE);
    }
    const { points } = row();
    assert.equal(points.length, CHART_POINTS);
    assert.equal(points.newest().last, 3 * CHART_POINTS);
    assert.equal(points.at(0).last, 2 * CHART_POINTS + 1);
  });

  test('is not drawn across what was missed', () => {
    const { clock, store, row } = start();
    for (const [at, info] of [[0, SNAPSHOT], [600, LIVE], [1_200, BROKEN], [1_300, LIVE], [1_800, LIVE]]) {
      clock.now = at;
      store.tick(tick(at + 1), info);
    }
    const drawn = runs(recent(row().points));
    assert.deepEqual(drawn.map((run) => run.map(({ at }) => at)), [[0, 600], [1_200, 1_800]]);
  });

  test('shows the last minute, with the price that held when it began', () => {
    const { clock, store, row } = start();
    for (const at of [0, 10_000, 65_000, 90_000]) {
      clock.now = at;
      store.tick(tick(at), LIVE);
    }
    const shown = recent(row().points);
    assert.deepEqual(shown.map(({ at, last }) => [at, last]), [[30_000, 10_000], [65_000, 65_000], [90_000, 90_000]]);
    assert.deepEqual(range(shown), { low: 10_000, high: 90_000 });
  });
});

describe('the counters', () => {
  test('tell lost in a gap from missed while away from unknown', () => {
    const { store } = start();
    store.gap({ symbol: 'BTC', missed: 3, after: 1, seq: 5, cause: 'stream' });
    store.gap({ symbol: 'BTC', missed: 40, after: 5, seq: 46, cause: 'away' });
    store.gap({ symbol: 'BTC', missed: 2, after: 46, seq: 49, cause: 'snapshot' });
    store.epoch({ epoch: 'e1', previous: '' });
    store.epoch({ epoch: 'e2', previous: 'e1' });
    const { gaps, missedInGaps, missedAway, resets } = store.counters;
    assert.deepEqual({ gaps, missedInGaps, missedAway, resets }, { gaps: 1, missedInGaps: 3, missedAway: 42, resets: 1 });
  });

  test('tell what a resumed connection brought', () => {
    const { store } = start();
    store.tick(tick(1), SNAPSHOT);
    store.tick(tick(2, { seq: 2 }), { how: 'replay', joined: true });
    store.tick(tick(3, { seq: 7, n: 5 }), { how: 'replay', joined: true });
    assert.deepEqual([store.counters.caughtUp, store.counters.updates], [6, 0]);
  });

  test('count live updates, merged ones apart, and their rate', () => {
    const { clock, store } = start();
    store.tick(tick(1), SNAPSHOT);
    for (let i = 0; i < 10; i += 1) store.tick(tick(2 + i, { n: 3 }), LIVE);
    clock.now = 2_000;
    store.clockTick();
    const { updates, merged, perSecond } = store.counters;
    assert.deepEqual({ updates, merged, perSecond }, { updates: 10, merged: 20, perSecond: 5 });
    clock.now = 3_000;
    store.clockTick();
    assert.equal(store.counters.perSecond, 0);
  });
});

describe('the connection', () => {
  test('has no latency while it is not live', () => {
    const { store } = start();
    store.state({ phase: 'live', attempt: 0, reason: '', transport: 'websocket', server: 'app1' });
    store.latency({ ms: 12, offsetMs: 5 });
    assert.deepEqual([store.connection.latencyMs, store.connection.server], [12, 'app1']);
    store.state({ phase: 'reconnecting', attempt: 1, reason: 'transport close', transport: '', server: 'app1' });
    assert.deepEqual([store.connection.latencyMs, store.connection.offsetMs], [null, 5]);
  });
});

describe('painting', () => {
  test('happens once a frame, with all marks merged', () => {
    const { store, row } = start();
    const frames = [];
    const painted = [];
    startPainting(store, [{ paint: (changes) => painted.push(changes) }], (paint) => frames.push(paint));
    store.tick(tick(1), SNAPSHOT);
    store.tick(tick(2), LIVE);
    store.tick(tick(3), LIVE);
    store.status({ state: 'live', reason: '', symbols: null });
    assert.deepEqual([frames.length, painted.length], [1, 0]);
    frames.shift()();
    assert.equal(painted.length, 1);
    assert.deepEqual([...painted[0].rows], [[row(), ROW.ADDED | ROW.PRICE | ROW.MOVED | ROW.CHART | ROW.AGE | ROW.STALE | ROW.FIGURES]]);
    assert.equal(painted[0].panels, PANEL.CONNECTION | PANEL.COUNTERS);
    assert.equal(frames.length, 0, 'nothing changed, so no frame is asked for');
    store.tick(tick(3), LIVE);
    assert.equal(frames.length, 1);
    frames.shift()();
    assert.deepEqual([...painted[1].rows], [[row(), ROW.CHART | ROW.AGE]], 'the same price is not painted again');
    store.stats([{ symbol: 'BTC', open24h: 3, volume24h: 8 }]);
    frames.shift()();
    assert.equal(painted[2].rows.get(row()) & ROW.MOVED, 0, 'other figures are no other price');
  });
});

describe('formats', () => {
  test('digits as written', () => {
    const cases = [[1, 0], [1.5, 1], [64_210.55, 2], [1e-7, 7], [1.25e-9, 11], [1e21, 0], [-0.125, 3], [1e-300, 12]];
    for (const [value, digits] of cases) assert.equal(digitsOf(value), digits, String(value));
  });

  test('a change is readable without colour', () => {
    assert.deepEqual(formatChange(101, 100, 2), { direction: 'up', arrow: '▲', percent: '+1.00%', amount: '+1.00' });
    assert.deepEqual(formatChange(99.5, 100, 2), { direction: 'down', arrow: '▼', percent: '−0.50%', amount: '−0.50' });
    assert.deepEqual(formatChange(100, 100, 0), { direction: 'flat', arrow: '•', percent: '0.00%', amount: '0' });
    assert.deepEqual(formatChange(0.3, 0.1 + 0.2, 1), { direction: 'flat', arrow: '•', percent: '0.00%', amount: '0.0' }, 'binary dust is no change');
    assert.deepEqual(formatChange(12.5, 12.55, 2), { direction: 'down', arrow: '▼', percent: '−0.40%', amount: '−0.05' });
    assert.equal(formatChange(1, 0.9996, 4).percent, '+0.04%');
    assert.equal(formatChange(12.5, 12.55, 1).percent, '−0.40%', 'of the numbers themselves, not of what is shown of them');
    assert.equal(formatChange(1, 0, 0).percent, '–');
  });

  test('an age is coarse', () => {
    const cases = [[-5, 'now'], [1_999, 'now'], [2_000, '2 s'], [59_999, '59 s'], [60_000, '1 min'], [7_200_000, '2 h'], [86_400_000, '1 d']];
    for (const [ms, text] of cases) assert.equal(formatAge(ms), text);
  });
});
