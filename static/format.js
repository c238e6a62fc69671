/** Numbers as people read them. Always the same locale as the page's text, so that a column lines up. */

const LOCALE = 'en-US';
/** Beyond this a price is noise, and a column too wide for a phone. */
const MAX_DIGITS = 12;
/** As a part of a number: as much as it may be off after a step or two of arithmetic. */
const DUST = 4 * Number.EPSILON;

/** Arrow and sign say the same as the colour. The minus is the typographic one, as wide as the plus. */
const ARROWS = { up: '▲', down: '▼', flat: '•' };
const SIGNS = { up: '+', down: '−', flat: '' };

/** @typedef {'up' | 'down' | 'flat'} Direction */

/** @type {Map<number, Intl.NumberFormat>} */
const formats = new Map();

const compact = new Intl.NumberFormat(LOCALE, { notation: 'compact', maximumSignificantDigits: 4 });

/** @param {number} value @param {number} digits */
function fixed(value, digits) {
  let format = formats.get(digits);
  if (!format) {
    format = new Intl.NumberFormat(LOCALE, { minimumFractionDigits: digits, maximumFractionDigits: digits });
    formats.set(digits, format);
  }
  return format.format(value);
}

/**
 * How many decimals a number was written with (trailing zeros are lost on the wire).
 *
 * @param {number} value
 */
export function digitsOf(value) {
  const [mantissa, exponent = '0'] = String(value).split('e');
  const decimals = (mantissa?.split('.')[1] ?? '').length - Number(exponent);
  return Math.min(MAX_DIGITS, Math.max(0, decimals));
}

/** @param {number | null} price @param {number} digits */
export function formatPrice(price, digits) {
  return price === null ? '–' : fixed(price, digits);
}

/**
 * How far a price is from another one. What binary fractions make of equal decimals (0.1 + 0.2 and 0.3) is no distance.
 *
 * @param {number} price
 * @param {number} first
 */
export function difference(price, first) {
  const amount = price - first;
  return Math.abs(amount) <= DUST * Math.max(Math.abs(price), Math.abs(first)) ? 0 : amount;
}

/**
 * @param {number} price
 * @param {number} first what it is compared with
 * @param {number} digits as many as the longer of both has
 */
export function formatChange(price, first, digits) {
  const amount = difference(price, first);
  const direction = /** @type {Direction} */ (amount > 0 ? 'up' : amount < 0 ? 'down' : 'flat');
  const sign = SIGNS[direction];
  const percent = first === 0 ? null : Math.abs((amount / first) * 100);
  return {
    direction,
    arrow: ARROWS[direction],
    percent: percent === null ? '–' : `${sign}${fixed(percent, 2)}%`,
    amount: `${sign}${fixed(Math.abs(amount), digits)}`,
  };
}

/** Coarse on purpose: a figure that changes with every tick cannot be read. @param {number} ms */
export function formatAge(ms) {
  const seconds = Math.floor(Math.max(0, ms) / 1000);
  if (seconds < 2) return 'now';
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86_400)} d`;
}

/** @param {number} value */
export function formatCount(value) {
  return fixed(value, 0);
}

/** @param {number} count @param {string} one @param {string} [many] */
export function plural(count, one, many = `${one}s`) {
  return `${formatCount(count)} ${count === 1 ? one : many}`;
}

/** Short, for a narrow column: a volume is read by its size. None is what a source without sizes has. @param {number | null} value */
export function formatVolume(value) {
  return value === null || value === 0 ? '–' : compact.format(value);
}
