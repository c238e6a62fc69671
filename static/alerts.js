/** Alerts as the server has them, and in words. */
import { digitsOf, formatPrice } from './format.js';

/** @typedef {{above?: number, below?: number, changePct?: number, windowMs?: number}} Rule */
/** @typedef {{id: string, symbol: string, rule: Rule}} Alert */

/** @param {any} raw an entry of the list, or an alert that fired @returns {Alert | null} */
export function readAlert(raw) {
  const { id, symbol, rule } = raw ?? {};
  if (typeof id !== 'string' || typeof symbol !== 'string') return null;
  /** @type {Rule} */
  const read = {};
  for (const name of /** @type {const} */ (['above', 'below', 'changePct', 'windowMs'])) {
    if (Number.isFinite(rule?.[name])) read[name] = rule[name];
  }
  return { id, symbol, rule: read };
}

/** Those that can be read. @param {unknown} raw @returns {Alert[]} */
export function readAlerts(raw) {
  return (Array.isArray(raw) ? raw : []).flatMap((entry) => readAlert(entry) ?? []);
}

/** At which price it fires; null where that moves. @param {Rule} rule */
export function levelOf({ above, below }) {
  return above ?? below ?? null;
}

/** A level as it was set: it may be finer than any price was so far. @param {number} level @param {number} digits decimals of a price */
export function formatLevel(level, digits) {
  return formatPrice(level, Math.max(digits, digitsOf(level)));
}

/** @param {Rule} rule @param {number} digits decimals of a price */
export function describe({ above, below, changePct, windowMs = 0 }, digits) {
  if (above !== undefined) return `above ${formatLevel(above, digits)}`;
  if (below !== undefined) return `below ${formatLevel(below, digits)}`;
  const minutes = Math.round(windowMs / 60_000);
  return `±${changePct ?? '?'}% within ${minutes > 0 ? `${minutes} min` : `${Math.round(windowMs / 1_000)} s`}`;
}

/** Whether both say the same. @param {Rule} one @param {Rule} other */
export function sameRule(one, other) {
  return one.above === other.above && one.below === other.below && one.changePct === other.changePct && one.windowMs === other.windowMs;
}

/**
 * The rule of a line that was put at a price: the side on which it lies, and one step from the last price at least. At that
 * price itself it would not say which way.
 *
 * @param {number} price
 * @param {number} last
 * @param {number} digits decimals of a price
 * @returns {Rule}
 */
export function ruleAt(price, last, digits) {
  const round = (/** @type {number} */ value) => Number(value.toFixed(digits));
  const step = 10 ** -digits;
  return price > last ? { above: Math.max(round(price), round(last + step)) } : { below: Math.min(round(price), round(last - step)) };
}

/** As the page itself writes a number: commas between thousands, and only there, a point before the decimals. */
const NUMBER = /^[-−]?([1-9]\d{0,2}(,\d{3})+(\.\d+)?|\d+(\.\d+)?|\.\d+)$/;
/** So many digits JavaScript keeps exactly. */
const MAX_DIGITS = 15;

/**
 * A number that somebody typed; null where it is none, or may mean more than one.
 *
 * @param {string} text
 * @returns {number | null}
 */
export function readNumber(text) {
  const typed = text.trim();
  if (!NUMBER.test(typed) || typed.replace(/\D/g, '').replace(/^0+/, '').length > MAX_DIGITS) return null;
  return Number(typed.replace('−', '-').replaceAll(',', ''));
}
