/** One row of the table. There are as many as are in sight: each shows one symbol now and another one later. */
import { ROW } from '../row.js';
import { formatAge, formatChange, formatPrice, formatVolume } from '../format.js';
import { find, writer } from './elements.js';
import { colours } from './palette.js';
import { range, recent, Sparkline } from './sparkline.js';

/** @typedef {import('../store.js').Store} Store */
/** @typedef {import('../row.js').Row} Row */
/** @typedef {import('../format.js').Direction} Direction */

/** Flashing more often is a flicker, and harms some people. */
const FLASH_EVERY_MS = 300;
const FLASH_MS = 450;

/** Prices of so many characters and more have places of their own size, and amounts a smaller type. */
const LONG = 10;
/** An amount that is longer is said roughly: it has no more room beside its percentage. */
const MAX_AMOUNT = 13;

const EVERYTHING = Object.values(ROW).reduce((mask, bit) => mask | bit, 0);
const UNKNOWN = { direction: /** @type {Direction} */ ('flat'), arrow: '', percent: '–', amount: '' };

/** @param {string} amount as it is written in full @param {number} moved the same as a number */
function short(amount, moved) {
  if (amount.length <= MAX_AMOUNT) return amount;
  const rough = `${amount.slice(0, 1)}${formatVolume(Math.abs(moved))}`;
  return rough.length <= MAX_AMOUNT ? rough : '';
}

/** Where the line has gone; what a longer span says may be another thing. @param {import('../row.js').Point[]} points */
function directionOf(points) {
  const moved = (points.at(-1)?.last ?? 0) - (points[0]?.last ?? 0);
  return moved > 0 ? 'up' : moved < 0 ? 'down' : 'flat';
}

const reducedMotion = matchMedia('(prefers-reduced-motion: reduce)');

export class RowView {
  /** @param {HTMLTableRowElement} element */
  constructor(element) {
    this.element = element;
    /** @type {Row | null} */
    this.row = null;
    this.star = find(element, '.star', HTMLButtonElement);
    this.name = find(element, '.name', HTMLAnchorElement);
    this.badge = find(element, '.badge', HTMLElement);
    this.price = find(element, '.price .value', HTMLElement);
    this.change = find(element, '.change', HTMLElement);
    this.canvas = find(element, 'canvas', HTMLCanvasElement);
    this.sparkline = new Sparkline(this.canvas);
    this.write = {
      price: writer(this.price),
      arrow: writer(find(element, '.arrow', HTMLElement)),
      percent: writer(find(element, '.percent', HTMLElement)),
      amount: writer(find(element, '.amount', HTMLElement)),
      high: writer(find(element, '.high', HTMLElement)),
      low: writer(find(element, '.low', HTMLElement)),
      volume: writer(find(element, '.volume', HTMLElement)),
      age: writer(find(element, '.age', HTMLElement)),
    };
    this.place = -1;
    this.height = 0;
    this.label = '';
    this.drawnAt = -Infinity;
    this.flashedAt = -Infinity;
    /** @type {Animation | null} */
    this.flash = null;
    /** @type {Direction | ''} */
    this.direction = '';
    /** How many characters they have. */
    this.length = { price: 0, amount: 0 };
  }

  /** Shows another symbol. @param {Row} row @param {Store} store @param {boolean} watched */
  show(row, store, watched) {
    this.row = row;
    this.flash?.cancel();
    this.flashedAt = -Infinity;
    this.drawnAt = -Infinity;
    this.label = '';
    this.name.textContent = row.symbol;
    this.name.title = row.symbol;
    this.name.href = `#/${encodeURIComponent(row.symbol)}`;
    this.element.dataset.symbol = row.symbol;
    this.setWatched(watched);
    this.paint(EVERYTHING & ~ROW.CHART, store);
  }

  /** @param {number} place among the rows @param {number} height CSS pixels */
  put(place, height) {
    if (place === this.place && height === this.height) return;
    this.place = place;
    this.height = height;
    this.element.style.transform = `translateY(${place * height}px)`;
    // The heading is the first.
    this.element.ariaRowIndex = String(place + 2);
    this.element.classList.toggle('odd', place % 2 === 1);
  }

  /** @param {boolean} watched */
  setWatched(watched) {
    this.star.ariaPressed = String(watched);
    this.star.ariaLabel = `Watch ${this.row?.symbol ?? ''}`;
  }

  /** @param {boolean} open whether it is shown in full beside the table */
  setOpen(open) {
    this.element.toggleAttribute('data-open', open);
    this.name.ariaCurrent = open ? 'true' : null;
  }

  /** @param {number} mask @param {Store} store */
  paint(mask, store) {
    if (!this.row) return;
    if (mask & ROW.PRICE) this.paintPrice(this.row, store);
    // The first one that is shown comes from nowhere.
    if (mask & ROW.MOVED && !(mask & ROW.ADDED)) this.flashPrice(this.row.moved);
    if (mask & ROW.FIGURES) this.paintFigures(this.row, store);
    if (mask & ROW.STALE) {
      this.badge.hidden = !this.row.stale;
      this.element.classList.toggle('stale', this.row.stale);
    }
    if (mask & ROW.AGE) this.write.age(formatAge(store.age(this.row)));
  }

  /** @param {Row} row @param {Store} store */
  paintPrice(row, store) {
    const { price, digits } = row;
    const { open } = row[store.span];
    const change = open === null ? UNKNOWN : formatChange(price, open, digits);
    const text = formatPrice(price, digits);
    const amount = short(change.amount, price - (open ?? price));
    this.write.price(text);
    this.write.arrow(change.arrow);
    this.write.percent(change.percent);
    this.write.amount(amount);
    this.fit(text.length, amount.length);
    if (this.direction !== change.direction) {
      this.direction = change.direction;
      this.change.dataset.direction = change.direction;
    }
  }

  /** Makes room for long figures; by their characters, for what they measure would have to be laid out first. @param {number} price @param {number} amount */
  fit(price, amount) {
    if (price !== this.length.price) {
      this.element.classList.toggle('long', price >= LONG);
      this.element.style.setProperty('--characters', String(price));
    }
    if (amount !== this.length.amount) this.change.classList.toggle('long', amount >= LONG);
    this.length.price = price;
    this.length.amount = amount;
  }

  /** @param {Row} row @param {Store} store */
  paintFigures(row, store) {
    const { high, low, volume } = row[store.span];
    this.write.high(formatPrice(high, row.digits));
    this.write.low(formatPrice(low, row.digits));
    this.write.volume(formatVolume(volume));
  }

  /** @param {number} now ms */
  draw(now) {
    if (!this.row) return;
    this.drawnAt = now;
    const points = recent(this.row.points);
    this.sparkline.draw(points, colours()[directionOf(points)]);
    const { low, high } = range(points);
    const label = `Between ${formatPrice(low, this.row.digits)} and ${formatPrice(high, this.row.digits)}`;
    if (label === this.label) return;
    this.label = label;
    this.canvas.ariaLabel = label;
  }

  /** @param {number} moved */
  flashPrice(moved) {
    if (reducedMotion.matches || performance.now() - this.flashedAt < FLASH_EVERY_MS) return;
    this.flash?.cancel();
    this.flash = this.price.animate(
      [{ backgroundColor: `${colours()[moved < 0 ? 'down' : 'up']}48` }, { backgroundColor: 'transparent' }],
      { duration: FLASH_MS, easing: 'ease-out', id: 'flash' },
    );
    this.flashedAt = performance.now();
  }
}
