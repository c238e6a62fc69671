// Candles as docs/protocol.md says they are made, by the simplest means: every tick in the order of its number.
import assert from 'node:assert/strict';

/** The lengths, ms. @type {Record<string, number>} */
export const INTERVALS = { '1s': 1_000, '1m': 60_000, '5m': 300_000, '15m': 900_000, '1h': 3_600_000, '1d': 86_400_000 };

/** @typedef {{ ts: number, open: number, high: number, low: number, close: number, volume: number, n: number }} Candle */

/** @param {number} ts @param {number} price @returns {Candle} */
const quiet = (ts, price) => ({ ts, open: price, high: price, low: price, close: price, volume: 0, n: 0 });

/**
 * The candles of these ticks, up to the one that `until` is in, quiet ones too.
 *
 * @param {{ ts: number, price: number, size?: number, n?: number }[]} ticks of one symbol, in the order of their numbers
 * @param {string} interval
 * @param {number} [until] ms; the last tick's time
 */
export function fold(ticks, interval, until = 0) {
  const length = INTERVALS[interval];
  /** @type {Map<number, Candle>} */
  const candles = new Map();
  let running = -Infinity;
  const before = (/** @type {number} */ ts) => candles.get(Math.max(...[...candles.keys()].filter((key) => key < ts)))?.close;
  for (const { ts: at, price, size = 0, n = 1 } of ticks) {
    const ts = Math.floor(at / length) * length;
    const late = ts < running;
    const known = candles.get(ts) ?? quiet(ts, (late && before(ts)) || price);
    candles.set(ts, {
      ...known,
      high: Math.max(known.high, price),
      low: Math.min(known.low, price),
      close: late ? known.close : price,
      volume: known.volume + size,
      n: known.n + n,
    });
    running = Math.max(running, ts);
  }
  const times = [...candles.keys()].sort((a, b) => a - b);
  /** @type {Candle[]} */
  const all = [];
  const end = Math.max(running, Math.floor(until / length) * length);
  for (let ts = times[0], close = 0; ts <= end; ts += length) {
    const candle = candles.get(ts) ?? quiet(ts, close);
    close = candle.close;
    all.push(candle);
  }
  return all;
}

/** A candle without what only an event has. @param {any} event @returns {Candle} */
export const plain = ({ ts, open, high, low, close, volume, n }) => ({ ts, open, high, low, close, volume, n });

/** Fails unless each field of a candle is what the contract has. @param {any} candle @param {string} interval @param {string[]} [more] other fields */
export function isCandle(candle, interval, more = []) {
  assert.deepEqual(Object.keys(candle).sort(), ['ts', 'open', 'high', 'low', 'close', 'volume', 'n', ...more].sort());
  const { ts, open, high, low, close, volume, n } = candle;
  assert.equal(ts % INTERVALS[interval], 0, `${ts} begins no candle of ${interval}`);
  assert.ok(low <= Math.min(open, close) && Math.max(open, close) <= high, JSON.stringify(candle));
  assert.ok(Number.isInteger(n) && n >= 0 && volume >= 0, JSON.stringify(candle));
}

/** The candles that a replica has. @param {import('./server.mjs').Server} server @param {string} symbol @param {Record<string, string | number>} query @param {Record<string, string>} [headers] */
export async function candlesOf(server, symbol, query, headers = {}) {
  const search = new URLSearchParams(Object.entries(query).map(([name, value]) => [name, `${value}`]));
  const response = await fetch(`${server.url}/api/candles/${encodeURIComponent(symbol)}?${search}`, { headers });
  assert.equal(response.status, 200, await response.clone().text());
  /** @type {Candle[]} */
  const candles = await response.json();
  for (const candle of candles) isCandle(candle, `${query.interval ?? '1m'}`);
  return candles;
}
