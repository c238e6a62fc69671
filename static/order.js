/** Which rows are shown, and in which order. Pure, so that it can be tested without a page. */

/** @typedef {import('./row.js').Row} Row */
/** @typedef {'own' | 'symbol' | 'price' | 'change' | 'high' | 'low' | 'volume' | 'age'} Sort */
/** @typedef {'all' | 'watched' | 'up' | 'down' | 'stale'} Only */

/**
 * @typedef {object} Arrangement
 * @property {Sort} sort `own`: the reader's order, then the one in which the symbols came
 * @property {boolean} descending
 * @property {Only} only
 * @property {string} search part of a symbol's name
 * @property {ReadonlySet<string>} watched
 * @property {readonly string[]} order the reader's own
 * @property {'day' | 'sinceLoad'} span what change, high and low are over
 */

export const SORTS = /** @type {const} */ (['own', 'symbol', 'price', 'change', 'high', 'low', 'volume', 'age']);
export const FILTERS = /** @type {const} */ (['all', 'watched', 'up', 'down', 'stale']);

const collator = new Intl.Collator('en', { numeric: true, sensitivity: 'base' });

/** Whether prices that come in may change it. @param {Arrangement} arrangement */
export function isLive({ sort, only }) {
  return !['own', 'symbol'].includes(sort) || ['up', 'down', 'stale'].includes(only);
}

/**
 * @param {Row} row
 * @param {Arrangement} arrangement
 */
function isShown(row, { only, search, watched, span }) {
  if (search && !row.symbol.toLowerCase().includes(search.toLowerCase())) return false;
  switch (only) {
    case 'watched':
      return watched.has(row.symbol);
    case 'up':
      return (row.percent(span) ?? 0) > 0;
    case 'down':
      return (row.percent(span) ?? 0) < 0;
    case 'stale':
      return row.stale;
    default:
      return true;
  }
}

/** By what it is sorted; null goes last, whichever way round. @param {Row} row @param {Sort} sort @param {'day' | 'sinceLoad'} span */
function keyOf(row, sort, span) {
  switch (sort) {
    case 'price':
      return row.price;
    case 'change':
      return row.percent(span);
    case 'high':
      return row[span].high;
    case 'low':
      return row[span].low;
    case 'volume':
      return row[span].volume;
    default:
      return -row.ts;
  }
}

/**
 * @param {Iterable<Row>} rows
 * @param {Arrangement} arrangement
 * @returns {Row[]}
 */
export function arrange(rows, arrangement) {
  const { sort, descending, order, span } = arrangement;
  const shown = [...rows].filter((row) => isShown(row, arrangement));
  const way = descending ? -1 : 1;
  if (sort === 'own') {
    const places = new Map(order.map((symbol, place) => [symbol, place]));
    const place = (/** @type {Row} */ row) => places.get(row.symbol) ?? order.length + row.place;
    return shown.sort((a, b) => place(a) - place(b));
  }
  if (sort === 'symbol') return shown.sort((a, b) => way * collator.compare(a.symbol, b.symbol));
  const keyed = shown.map((row) => ({ row, key: keyOf(row, sort, span) }));
  keyed.sort((a, b) => {
    if (a.key === null || b.key === null) return Number(a.key === null) - Number(b.key === null) || a.row.place - b.row.place;
    return way * (a.key - b.key) || a.row.place - b.row.place;
  });
  return keyed.map(({ row }) => row);
}

/**
 * The reader's order with one symbol moved by so many places among those shown. Those that are not shown stay where they
 * are among the others.
 *
 * @param {readonly Row[]} all in the order of now
 * @param {readonly Row[]} shown those of them that are
 * @param {string} symbol
 * @param {number} by
 */
export function moveBy(all, shown, symbol, by) {
  const from = shown.findIndex((row) => row.symbol === symbol);
  const to = Math.min(shown.length - 1, Math.max(0, from + by));
  const neighbour = shown[to];
  if (from < 0 || from === to || !neighbour) return null;
  const order = all.map((row) => row.symbol).filter((name) => name !== symbol);
  order.splice(order.indexOf(neighbour.symbol) + Number(to > from), 0, symbol);
  return order;
}

/**
 * Which places are rendered: those in the window, and some to either side.
 *
 * @param {{count: number, height: number, top: number, bottom: number, overscan: number}} view `top` and `bottom` of the
 *   window, measured from the first row; CSS pixels
 */
export function windowOf({ count, height, top, bottom, overscan }) {
  if (height <= 0 || bottom < 0) return { from: 0, to: Math.min(count, overscan) };
  const from = Math.max(0, Math.min(count, Math.floor(top / height)) - overscan);
  return { from, to: Math.max(from, Math.min(count, Math.ceil(bottom / height) + overscan)) };
}
