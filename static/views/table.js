/**
 * The table of prices. Only the rows in the window, and some around it, are in the page: 500 symbols cost as much as a
 * screenful of them.
 */
import { PANEL } from '../store.js';
import { CHART_POINT_MS, ROW } from '../row.js';
import { arrange, isLive, moveBy, windowOf } from '../order.js';
import { formatCount, plural } from '../format.js';
import { dragView } from './drag.js';
import { find, setText } from './elements.js';
import { onColoursChange } from './palette.js';
import { RowView } from './row.js';
import { asksForToken } from './signin.js';
import { sortingView } from './sorting.js';

/** @typedef {import('../store.js').Store} Store */
/** @typedef {import('../row.js').Row} Row */
/** @typedef {import('../choices.js').Choices} Choices */

/** So many rows are kept ready above and below the window. */
const OVERSCAN = 6;
/** Prices change the order at most so often: what jumps more often cannot be read. */
const ARRANGE_EVERY_MS = 1_000;
/** So many rows and charts are painted in one frame; the others have the next ones, what changed meanwhile merged. */
const ROWS_PER_FRAME = 20;
const CHARTS_PER_FRAME = 5;

/** What stands where the rows will be. @type {Record<string, string>} */
const EMPTY = { live: 'Connected. No symbol has a price yet.', failed: 'No prices.' };

/** @param {import('../store.js').Connection} connection */
function nothingYet({ phase, reason, hasToken }) {
  if (phase !== 'live' && asksForToken(reason)) return hasToken ? 'No prices without another token.' : 'No prices without a token.';
  return EMPTY[phase] ?? 'Waiting for the first prices…';
}

/**
 * @param {Store} store
 * @param {Choices} choices
 */
export function tableView(store, choices) {
  const table = find(document, '#prices', HTMLTableElement);
  const body = find(table, 'tbody', HTMLTableSectionElement);
  const detail = find(document, '#prices-detail', HTMLElement);
  const empty = find(document, '#empty', HTMLElement);
  const announce = find(document, '#announce', HTMLElement);
  const template = find(find(document, '#row', HTMLTemplateElement).content, 'tr', HTMLTableRowElement);
  const sorting = sortingView(table, choices);

  /** In the order in which they are shown. @type {Row[]} */
  let shown = [];
  /** @type {Map<Row, RowView>} */
  const views = new Map();
  /** @type {RowView[]} */
  const spare = [];
  /** @type {WeakMap<Element, RowView>} */
  const byCanvas = new WeakMap();
  /** What changed in them and is not painted yet. @type {Map<RowView, number>} */
  const behind = new Map();
  /** Those whose chart is behind. @type {Set<RowView>} */
  const charts = new Set();
  let search = '';
  let height = 0;
  /** Of the first row, in the document. */
  let top = 0;
  let arrangedAt = -Infinity;
  let fill = () => {};
  /** Once there are rows, and the table is as high as they are. @type {Promise<void>} */
  const filled = new Promise((resolve) => (fill = resolve));
  const due = { order: true, rows: true };
  const held = { pointer: false, focus: false };
  /** The one row that the Tab key stops at. */
  let current = '';
  /** The one that is shown in full beside the table. */
  let open = '';

  function arrangement() {
    return { ...choices.values, search, span: store.span };
  }

  /** Something else than a price calls for a new frame. @param {Partial<typeof due>} what */
  function renew(what) {
    Object.assign(due, what);
    store.markPanel(PANEL.CHOICES);
  }

  // --- what is where

  function measure() {
    height = parseFloat(getComputedStyle(table).getPropertyValue('--row-height'));
    top = body.getBoundingClientRect().top + scrollY;
    sorting.measure();
    renew({ rows: true });
  }

  const sizes = new ResizeObserver((entries) => {
    for (const { target, contentRect } of entries) {
      const view = byCanvas.get(target);
      view?.sparkline.resize(contentRect.width, contentRect.height);
      if (!view) continue;
      view.drawnAt = -Infinity;
      charts.add(view);
    }
    renew({});
  });

  /** @returns {RowView} */
  function newView() {
    const view = new RowView(/** @type {HTMLTableRowElement} */ (document.importNode(template, true)));
    byCanvas.set(view.canvas, view);
    sizes.observe(view.canvas);
    return view;
  }

  function order() {
    due.order = false;
    due.rows = true;
    arrangedAt = store.now();
    shown = arrange(store.rows.values(), arrangement());
    const heights = `${shown.length * height}px`;
    if (body.style.height !== heights) body.style.height = heights;
    if (shown.length > 0) fill();
    table.ariaRowCount = String(shown.length + 1);
    if (!shown.some((row) => row.symbol === current)) current = shown[0]?.symbol ?? '';
  }

  /** Puts the rows of the window into the page, and takes the others out. */
  function place() {
    due.rows = false;
    const { from, to } = windowOf({ count: shown.length, height, top: scrollY - top, bottom: scrollY + innerHeight - top, overscan: OVERSCAN });
    const wanted = new Map(shown.slice(from, to).map((row, i) => [row, from + i]));
    // Taken out of the page it would lose the focus.
    const focused = focusedRow();
    const active = /** @type {HTMLElement | null} */ (focused && document.activeElement);
    const at = focused ? shown.indexOf(focused) : -1;
    if (focused && at >= 0 && !wanted.has(focused)) wanted.set(focused, at);
    for (const [row, view] of views) {
      if (wanted.has(row)) continue;
      view.element.remove();
      views.delete(row);
      charts.delete(view);
      behind.delete(view);
      spare.push(view);
    }
    /** @type {HTMLTableRowElement | null} */
    let last = null;
    for (const [row, i] of [...wanted].sort(([, a], [, b]) => a - b)) {
      let view = views.get(row);
      if (!view) {
        view = spare.pop() ?? newView();
        view.show(row, store, choices.values.watched.has(row.symbol));
        view.setOpen(row.symbol === open);
        views.set(row, view);
        charts.add(view);
      }
      view.put(i, height);
      view.name.tabIndex = row.symbol === current ? 0 : -1;
      // Read in the order in which they are seen; where it is right already, nothing moves.
      /** @type {Element | null} */
      const after = last ? last.nextElementSibling : body.firstElementChild;
      if (after !== view.element) body.insertBefore(view.element, after);
      last = view.element;
    }
    // One that was moved has lost it, too.
    if (active && active !== document.activeElement) active.focus({ preventScroll: true });
  }

  /** @returns {Row | undefined} */
  function focusedRow() {
    if (!body.contains(document.activeElement)) return undefined;
    const symbol = /** @type {HTMLElement | null} */ (document.activeElement?.closest('tr'))?.dataset.symbol;
    return symbol === undefined ? undefined : store.rows.get(symbol);
  }

  function catchUp() {
    let left = ROWS_PER_FRAME;
    for (const [view, mask] of behind) {
      if (left === 0) return renew({});
      left -= 1;
      behind.delete(view);
      view.paint(mask, store);
      if (mask & ROW.CHART) charts.add(view);
    }
  }

  function draw() {
    const now = store.now();
    let left = CHARTS_PER_FRAME;
    for (const view of charts) {
      // Between two points there is nothing new to see.
      if (now - view.drawnAt < CHART_POINT_MS) continue;
      if (left === 0) return renew({});
      left -= 1;
      charts.delete(view);
      view.draw(now);
    }
  }

  // --- what the reader does

  /** @param {number} step */
  function focusBy(step) {
    const at = shown.findIndex((row) => row.symbol === current);
    const to = Math.min(shown.length - 1, Math.max(0, at + step));
    const row = shown[to];
    if (!row) return;
    current = row.symbol;
    const y = top + to * height;
    const heading = table.tHead?.offsetHeight ?? 0;
    if (y - heading < scrollY) scrollTo({ top: y - heading });
    else if (y + height > scrollY + innerHeight) scrollTo({ top: Math.ceil(y + height - innerHeight) });
    place();
    views.get(row)?.name.focus({ preventScroll: true });
  }

  /** @param {string} symbol @param {number} by so many places */
  function move(symbol, by) {
    // Moved among others that stand in the order of a column, it would make that order the reader's own.
    if (choices.values.sort !== 'own') return announce.replaceChildren('Rows can be moved where the table is not sorted.');
    choices.catchUp();
    const all = arrange(store.rows.values(), { ...arrangement(), only: 'all', search: '' });
    const moved = moveBy(all, shown, symbol, by);
    if (!moved) return;
    choices.set({ order: moved });
    // At once: the next press may come before the next frame.
    order();
  }

  dragView(body, (symbol, clientY) => {
    const to = Math.floor((clientY + scrollY - top) / height);
    move(symbol, to - shown.findIndex((row) => row.symbol === symbol));
  });

  body.addEventListener('keydown', (event) => {
    const page = Math.max(1, Math.floor(innerHeight / height) - 3);
    const steps = new Map([['ArrowDown', 1], ['ArrowUp', -1], ['PageDown', page], ['PageUp', -page], ['Home', -Infinity], ['End', Infinity]]);
    const step = steps.get(event.key);
    if (step !== undefined && event.altKey && Number.isFinite(step)) {
      move(current, step);
    } else if (step !== undefined) {
      focusBy(step);
    } else if (event.key === 'w' && !event.ctrlKey && !event.metaKey) {
      choices.toggleWatched(current);
    } else {
      return;
    }
    event.preventDefault();
  });

  body.addEventListener('click', (event) => {
    const target = /** @type {Element} */ (event.target);
    const symbol = /** @type {HTMLElement | null} */ (target.closest('tr'))?.dataset.symbol;
    if (symbol === undefined || target.closest('.grip')) return;
    current = symbol;
    if (target.closest('.star')) choices.toggleWatched(symbol);
    else if (!target.closest('a')) location.hash = `#/${encodeURIComponent(symbol)}`;
    renew({ rows: true });
  });

  // Rows must not move away from under the pointer, nor from under the focus.
  /** @param {keyof typeof held} how @param {boolean} now */
  function hold(how, now) {
    held[how] = now;
    table.toggleAttribute('data-held', held.pointer || held.focus);
    renew({});
  }
  body.addEventListener('pointerenter', () => hold('pointer', true));
  body.addEventListener('pointerleave', () => hold('pointer', false));
  body.addEventListener('focusin', () => {
    current = focusedRow()?.symbol ?? current;
    // Not what a click left there: nobody would see why the order stands still.
    hold('focus', body.querySelector(':focus-visible') !== null);
  });
  body.addEventListener('focusout', () => hold('focus', false));

  addEventListener('scroll', () => renew({ rows: true }), { passive: true });
  addEventListener('resize', measure);
  // What is above the table grows and shrinks, too.
  const room = new ResizeObserver(measure);
  room.observe(document.body);
  room.observe(table);
  onColoursChange(() => {
    for (const view of views.values()) {
      view.drawnAt = -Infinity;
      charts.add(view);
    }
    renew({});
  });
  choices.follow(({ sort, watched }) => {
    table.toggleAttribute('data-own', sort === 'own');
    for (const [row, view] of views) view.setWatched(watched.has(row.symbol));
    measure();
    renew({ order: true });
  });

  /** @type {Store['span'] | ''} */
  let titled = '';
  function paintHeadings() {
    if (titled === store.span) return;
    titled = store.span;
    sorting.paint(store.span);
  }

  function paintWords() {
    const all = store.rows.size;
    const more = store.notShown.size > 0 ? `, ${formatCount(store.notShown.size)} more not shown` : '';
    const some = shown.length === all ? plural(all, 'symbol') : `${formatCount(shown.length)} of ${plural(all, 'symbol')}`;
    const isHeld = table.hasAttribute('data-held') && isLive(arrangement()) ? ' · order held' : '';
    setText(detail, all > 0 ? `${some}${more}${isHeld}` : '');
    empty.hidden = shown.length > 0;
    table.toggleAttribute('data-empty', all === 0);
    setText(empty, all > 0 ? 'No symbol fits. Change the search or the filter.' : nothingYet(store.connection));
  }

  return {
    filled,

    /** @param {string} text */
    search(text) {
      search = text;
      renew({ order: true });
    },

    /** @param {string} symbol none with an empty one */
    setOpen(symbol) {
      open = symbol;
      for (const [row, view] of views) view.setOpen(row.symbol === open);
    },

    /** To the first row, for who came from the search. */
    focusFirst() {
      current = shown[0]?.symbol ?? '';
      focusBy(0);
    },

    /** @param {import('../store.js').Changes} changes */
    paint({ rows, panels }) {
      for (const mask of rows.values()) if (mask & (ROW.ADDED | ROW.REMOVED)) due.order = true;
      const late = store.now() - arrangedAt >= ARRANGE_EVERY_MS;
      if (due.order || (late && isLive(arrangement()) && !held.pointer && !held.focus)) order();
      for (const [row, view] of views) {
        const mask = rows.get(row);
        if (mask !== undefined) behind.set(view, (behind.get(view) ?? 0) | mask);
      }
      if (due.rows) place();
      catchUp();
      draw();
      if (panels) {
        paintHeadings();
        paintWords();
      }
    },
  };
}
