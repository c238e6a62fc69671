/** Candles as the page holds them. Where the server keeps none, they are folded here from the ticks that come in. */

/** Their lengths, ms. */
export const INTERVALS = new Map([['1s', 1_000], ['1m', 60_000], ['5m', 300_000], ['15m', 900_000], ['1h', 3_600_000], ['1d', 86_400_000]]);

/** As many as are asked for at once, and as many as the page holds. */
export const ASKED = 500;
export const MAX_CANDLES = 5_000;

/** `ts` is the time at which it began, ms. @typedef {{ts: number, open: number, high: number, low: number, close: number, volume: number}} Candle */

/** @param {any} raw @returns {Candle | null} */
export function readCandle(raw) {
  const { ts, open, high, low, close, volume = 0 } = raw ?? {};
  return [ts, open, high, low, close, volume].every(Number.isFinite) ? { ts, open, high, low, close, volume } : null;
}

/** Those that can be read, oldest first, one for each time. @param {unknown} raw @returns {Candle[]} */
export function readCandles(raw) {
  /** @type {Map<number, Candle>} */
  const byTime = new Map();
  for (const entry of Array.isArray(raw) ? raw : []) {
    const candle = readCandle(entry);
    if (candle) byTime.set(candle.ts, candle);
  }
  return [...byTime.values()].sort((a, b) => a.ts - b.ts);
}

/**
 * The candle that a tick makes of the last one, by the source's time: the same, grown, or the next. Null where the tick is
 * older than the last candle.
 *
 * @param {Candle | undefined} last
 * @param {import('./feed.js').Tick} tick
 * @param {number} length ms
 * @returns {Candle | null}
 */
export function fold(last, tick, length) {
  const ts = Math.floor(tick.ts / length) * length;
  if (last && ts < last.ts) return null;
  const high = Math.max(tick.price, tick.high ?? tick.price);
  const low = Math.min(tick.price, tick.low ?? tick.price);
  const volume = tick.size ?? 0;
  if (!last || ts > last.ts) return { ts, open: tick.price, high, low, close: tick.price, volume };
  return { ...last, high: Math.max(last.high, high), low: Math.min(last.low, low), close: tick.price, volume: last.volume + volume };
}
