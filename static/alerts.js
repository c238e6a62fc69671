/** Alerts as the server has them, and in words. */
import { formatPrice } from './format.js';

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

/** @param {Rule} rule @param {number} digits decimals of a price */
export function describe({ above, below, changePct, windowMs = 0 }, digits) {
  if (above !== undefined) return `above ${formatPrice(above, digits)}`;
  if (below !== undefined) return `below ${formatPrice(below, digits)}`;
  const minutes = Math.round(windowMs / 60_000);
  return `±${changePct ?? '?'}% within ${minutes > 0 ? `${minutes} min` : `${Math.round(windowMs / 1_000)} s`}`;
}

/** Whether both say the same. @param {Rule} one @param {Rule} other */
export function sameRule(one, other) {
  return one.above === other.above && one.below === other.below && one.changePct === other.changePct && one.windowMs === other.windowMs;
}
