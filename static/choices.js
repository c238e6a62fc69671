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

/**
 * What is the same on all pages of this device, at once. How a page sorts and filters, and how long its candles are, is its
 * own: two of them beside each other may show two things. The next visit begins with what was chosen last.
 */
const SHARED = /** @type {const} */ (['watched', 'order', 'theme', 'palette', 'density']);

/** @typedef {Pick<Storage, 'getItem' | 'setItem'>} Kept */

export class Choices {
  /** @param {Kept | null} [storage] */
  constructor(storage = ownStorage()) {
    this.storage = storage;
    /** @type {Set<(values: Values) => void>} */
    this.listeners = new Set();
    /** As it was last read or written here: if it is another one, another page has written. */
    this.text = this.read();
    this.kept = parse(this.text);
    this.values = this.kept;
    globalThis.addEventListener?.('storage', ({ key }) => {
      if ((key === KEY || key === null) && this.catchUp()) this.tell();
    });
  }

  /** @returns {string | null} */
  read() {
    try {
      return this.storage?.getItem(KEY) ?? null;
    } catch {
      return null;
    }
  }

  /** Takes over what another page has chosen for all, and says whether there was anything. */
  catchUp() {
    const text = this.read();
    if (text === this.text) return false;
    this.text = text;
    this.kept = parse(text);
    this.values = { ...this.values, ...Object.fromEntries(SHARED.map((name) => [name, this.kept[name]])) };
    return true;
  }

  tell() {
    for (const listener of this.listeners) listener(this.values);
  }

  /** @param {Partial<Values>} change */
  set(change) {
    this.catchUp();
    this.values = { ...this.values, ...change };
    // Only what is changed here: the rest is as the last page has left it.
    this.kept = { ...this.kept, ...change };
    try {
      const { watched, ...rest } = this.kept;
      const text = JSON.stringify({ ...rest, watched: [...watched] });
      this.storage?.setItem(KEY, text);
      this.text = text;
    } catch (error) {
      // A full or forbidden storage costs the memory of it, not the choice.
      console.warn('what was chosen cannot be kept', error);
    }
    this.tell();
  }

  /** @param {string} symbol */
  toggleWatched(symbol) {
    this.catchUp();
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

/** @param {string | null} text @returns {Values} */
function parse(text) {
  try {
    return readValues(JSON.parse(text ?? 'null'));
  } catch (error) {
    console.warn('what was chosen earlier cannot be read', error);
    return readValues(null);
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
