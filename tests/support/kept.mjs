// Candles of a whole log, to hold against what servers have after whatever happened to them.
import assert from 'node:assert/strict';
import { INTERVALS } from './candles.mjs';

/** @typedef {import('./candles.mjs').Candle} Candle */

/**
 * The candles of a symbol of which something came, oldest first, of ticks in the order of the log. What begins an epoch says
 * again what was known, and counts only where it is later than all before.
 *
 * @param {{ symbol: string, epoch: string, price: number, ts: number, size?: number, n?: number }[]} ticks
 * @param {string} symbol
 * @param {string} interval
 * @returns {Candle[]}
 */
export function foldLog(ticks, symbol, interval) {
  const ms = INTERVALS[interval];
  /** @type {Map<number, Candle>} */
  const candles = new Map();
  let [last, epoch] = [-Infinity, ''];
  for (const tick of ticks) {
    if (tick.symbol !== symbol) continue;
    const { price, size = 0, n = 1 } = tick;
    const again = epoch !== '' && tick.epoch !== epoch && tick.ts <= last;
    epoch = tick.epoch;
    if (again) continue;
    const ts = tick.ts - (tick.ts % ms);
    const candle = candles.get(ts);
    if (!candle) {
      candles.set(ts, { ts, open: price, high: price, low: price, close: price, volume: size, n });
    } else {
      candle.high = Math.max(candle.high, price);
      candle.low = Math.min(candle.low, price);
      candle.close = price;
      candle.volume += size;
      candle.n += n;
    }
    last = Math.max(last, tick.ts);
  }
  return [...candles.values()];
}

/**
 * Fails unless a server has these candles: each of them, and between them none of which something came.
 *
 * @param {Candle[]} got @param {Candle[]} expected
 */
export function hasCandles(got, expected) {
  assert.ok(expected.length > 0, 'or it shows nothing');
  const [from, to] = [expected[0].ts, expected[expected.length - 1].ts];
  assert.deepEqual(got.filter(({ ts, n }) => n > 0 && ts >= from && ts <= to), expected);
}
