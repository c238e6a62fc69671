/** What the reader chose, kept on this device and nowhere else. */
import { FILTERS, SORTS } from './order.js';

const KEY = 'tickcast-choices';
/** As many symbols as are kept, of the watchlist and of the order. */
const MAX_KEPT = 2_000;

export const THEMES = /** @type {const} */ (['auto', 'dark', 'light']);
export const PALETTES = /** @type {const} */ (['green-red', 'blue-orange']);
export const DENSITIES = /** @type {const} */ (['comfortable', 'compact']);

/**
 * @typedef {object} Values
 * @property {import('./order.js').Sort} sort
 * @property {boolean} descending
 * @property {import('./order.js').Only} only
 * @property {ReadonlySet<string>} watched
 * @property {readonly string[]} order
 * @property {typeof THEMES[number]} theme
 * @property {typeof PALETTES[number]} palette
 * @property {typeof DENSITIES[number]} density
 * @property {string} interval of the candles
 */

/**
 * @template {string} T
 * @param {readonly T[]} allowed the first is the default
 * @param {unknown} value
 * @returns {T}
 */
function oneOf(allowed, value) {
  return allowed.find((name) => name === value) ?? /** @type {T} */ (allowed[0]);
}

/** @param {unknown} value @returns {string[]} */
function names(value) {
  return Array.isArray(value) ? value.filter((name) => typeof name === 'string').slice(0, MAX_KEPT) : [];
}

/** Whatever is stored, the page can start from it. @param {any} kept @returns {Values} */
export function readValues(kept) {
  return {
    sort: oneOf(SORTS, kept?.sort),
    descending: kept?.descending === true,
    only: oneOf(FILTERS, kept?.only),
    watched: new Set(names(kept?.watched)),
    order: names(kept?.order),
    theme: oneOf(THEMES, kept?.theme),
    palette: oneOf(PALETTES, kept?.palette),
    density: oneOf(DENSITIES, kept?.density),
    interval: typeof kept?.interval === 'string' ? kept.interval : '1m',
  };
}

/** @typedef {Pick<Storage, 'getItem' | 'setItem'>} Kept */

export class Choices {
  /** @param {Kept | null} [storage] */
  constructor(storage = ownStorage()) {
    this.storage = storage;
    /** @type {Set<(values: Values) => void>} */
    this.listeners = new Set();
    let kept = null;
    try {
      kept = JSON.parse(storage?.getItem(KEY) ?? 'null');
    } catch (error) {
      console.warn('what was chosen earlier cannot be read', error);
    }
    this.values = readValues(kept);
  }

  /** @param {Partial<Values>} change */
  set(change) {
    this.values = { ...this.values, ...change };
    try {
      const { watched, ...rest } = this.values;
      this.storage?.setItem(KEY, JSON.stringify({ ...rest, watched: [...watched] }));
    } catch (error) {
      // A full or forbidden storage costs the memory of it, not the choice.
      console.warn('what was chosen cannot be kept', error);
    }
    for (const listener of this.listeners) listener(this.values);
  }

  /** @param {string} symbol */
  toggleWatched(symbol) {
    const watched = new Set(this.values.watched);
    if (!watched.delete(symbol)) watched.add(symbol);
    this.set({ watched });
  }

  /** Called now and with every change. @param {(values: Values) => void} listener */
  follow(listener) {
    this.listeners.add(listener);
    listener(this.values);
  }
}

/** @returns {Storage | null} null where the browser forbids it */
function ownStorage() {
  try {
    return globalThis.localStorage ?? null;
  } catch {
    return null;
  }
}
