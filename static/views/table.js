/** The table of prices: one row per symbol, in the order in which they came. */
import { ROW } from '../store.js';
import { formatAge, formatChange, formatCount, formatPrice, plural } from '../format.js';
import { find, setText } from './elements.js';
import { colours } from './palette.js';
import { range, recent, Sparkline } from './sparkline.js';

/** @typedef {import('../store.js').Store} Store */
/** @typedef {import('../store.js').Row} Row */
/** @typedef {import('../format.js').Direction} Direction */

/** Flashing more often is a flicker, and harms some people. */
const FLASH_EVERY_MS = 300;
const FLASH_MS = 450;
/** Charts this far outside the window are kept ready for scrolling, CSS pixels. */
const NEARLY_VISIBLE = '200px';

/** What stands where the rows will be. @type {Record<string, string>} */
const EMPTY = { live: 'Connected. No symbol has a price yet.', failed: 'No prices.' };

const reducedMotion = matchMedia('(prefers-reduced-motion: reduce)');

/** @param {Store} store */
export function tableView(store) {
  const table = find(document, '#prices', HTMLTableElement);
  const body = find(table, 'tbody', HTMLTableSectionElement);
  const detail = find(document, '#prices-detail', HTMLElement);
  const empty = find(document, '#empty', HTMLElement);
  const template = find(document, '#row', HTMLTemplateElement);

  /** @type {Map<Row, RowView>} */
  const views = new Map();
  /** @type {WeakMap<Element, RowView>} */
  const byCanvas = new WeakMap();

  const sizes = new ResizeObserver((entries) => {
    for (const { target, contentRect } of entries) {
      const view = byCanvas.get(target);
      view?.sparkline.resize(contentRect.width, contentRect.height);
      if (view) store.mark(view.row, ROW.CHART);
    }
  });
  const sight = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      const view = byCanvas.get(target);
      if (!view) continue;
      view.inSight = isIntersecting;
      if (isIntersecting) store.mark(view.row, ROW.CHART);
    }
  }, { rootMargin: NEARLY_VISIBLE });

  /** @param {Row} row */
  function add(row) {
    const element = find(template.content, 'tr', HTMLTableRowElement);
    const view = new RowView(row, /** @type {HTMLTableRowElement} */ (document.importNode(element, true)));
    views.set(row, view);
    byCanvas.set(view.canvas, view);
    sizes.observe(view.canvas);
    sight.observe(view.canvas);
    body.append(view.element);
  }

  return {
    /** @param {import('../store.js').Changes} changes */
    paint({ rows, panels }) {
      const before = views.size;
      for (const [row, mask] of rows) {
        if (mask & ROW.ADDED) add(row);
        views.get(row)?.paint(mask, store);
      }
      if (views.size !== before) table.removeAttribute('data-empty');
      if (panels === 0 && views.size === before) return;
      const more = store.notShown.size > 0 ? `, ${formatCount(store.notShown.size)} more not shown` : '';
      setText(detail, views.size > 0 ? `${plural(views.size, 'symbol')}${more}` : '');
      empty.hidden = views.size > 0;
      setText(empty, EMPTY[store.connection.phase] ?? 'Waiting for the first prices…');
    },
  };
}

class RowView {
  /** @param {Row} row @param {HTMLTableRowElement} element */
  constructor(row, element) {
    this.row = row;
    this.element = element;
    this.price = find(element, '.price .value', HTMLElement);
    this.change = find(element, '.change', HTMLElement);
    this.arrow = find(element, '.arrow', HTMLElement);
    this.percent = find(element, '.percent', HTMLElement);
    this.amount = find(element, '.amount', HTMLElement);
    this.canvas = find(element, 'canvas', HTMLCanvasElement);
    this.age = find(element, '.age', HTMLElement);
    this.badge = find(element, '.badge', HTMLElement);
    this.sparkline = new Sparkline(this.canvas);
    this.inSight = true;
    this.flashedAt = -Infinity;
    /** @type {Animation | null} */
    this.flash = null;
    /** @type {Direction} */
    this.direction = 'flat';

    const name = find(element, '.name', HTMLElement);
    name.textContent = row.symbol;
    name.title = row.symbol;
    element.dataset.symbol = row.symbol;
  }

  /** @param {number} mask @param {Store} store */
  paint(mask, store) {
    if (mask & ROW.PRICE) this.paintPrice(!(mask & ROW.ADDED));
    if (mask & ROW.CHART && this.inSight) this.sparkline.draw(recent(this.row.points), colours()[this.direction]);
    if (mask & ROW.STALE) {
      this.badge.hidden = !this.row.stale;
      this.element.classList.toggle('stale', this.row.stale);
    }
    if (mask & ROW.AGE) setText(this.age, formatAge(store.age(this.row)));
  }

  /** @param {boolean} moved */
  paintPrice(moved) {
    const { price, first, digits } = this.row;
    const change = formatChange(price, first, digits);
    this.direction = change.direction;
    setText(this.price, formatPrice(price, digits));
    setText(this.arrow, change.arrow);
    setText(this.percent, change.percent);
    setText(this.amount, change.amount);
    this.change.dataset.direction = change.direction;
    if (moved) this.flashPrice();
    const { low, high } = range(recent(this.row.points));
    this.canvas.ariaLabel = `Between ${formatPrice(low, digits)} and ${formatPrice(high, digits)}`;
  }

  flashPrice() {
    const now = performance.now();
    if (reducedMotion.matches || now - this.flashedAt < FLASH_EVERY_MS) return;
    this.flashedAt = now;
    this.flash?.cancel();
    const colour = colours()[this.row.moved < 0 ? 'flash-down' : 'flash-up'];
    this.flash = this.price.animate(
      [{ backgroundColor: colour }, { backgroundColor: 'transparent' }],
      { duration: FLASH_MS, easing: 'ease-out', id: 'flash' },
    );
  }
}
