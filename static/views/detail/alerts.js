/** The reader's alerts: the list, the form, and the lines on the chart. */
import { describe, levelOf, readAlert, readAlerts, readNumber, ruleAt, sameRule } from '../../alerts.js';
import { formatPrice } from '../../format.js';
import { find, make, setText } from '../elements.js';
import { REACH } from './chart.js';

/** @typedef {import('../../alerts.js').Alert} Alert */
/** @typedef {import('../../alerts.js').Rule} Rule */

/** Over which time a change in percent is taken, ms. */
const WINDOW_MS = 300_000;
const CLOCK = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit', second: '2-digit' });

/**
 * @param {HTMLElement} root
 * @param {import('../../feed.js').Feed} feed
 * @param {import('../../store.js').Store} store
 * @param {object} page
 * @param {(levels: import('./chart.js').Level[]) => void} page.draw
 * @param {() => number | null} page.above a price above the last one that is in sight on the chart
 * @param {() => boolean} page.isGuest then an alert is the connection's, and ends with it
 */
export function alertsView(root, feed, store, { draw, above, isGuest }) {
  const form = find(root, '.alert-form', HTMLFormElement);
  const kind = find(form, 'select', HTMLSelectElement);
  const value = find(form, 'input', HTMLInputElement);
  const line = find(form, '.alert-line', HTMLButtonElement);
  const list = find(root, '.alerts', HTMLElement);
  const note = find(root, '.alert-note', HTMLElement);
  let symbol = '';
  /** Of all symbols, by id. @type {Map<string, Alert>} */
  const alerts = new Map();
  /** When each fired last, and at which price. @type {Map<string, {ts: number, price: number}>} */
  const fired = new Map();

  const digits = (/** @type {string} */ of) => store.rows.get(of)?.digits ?? 2;

  /** @param {Alert} alert */
  function item(alert) {
    const says = describe(alert.rule, digits(alert.symbol));
    const remove = make('button', { type: 'button', 'aria-label': `Remove the alert ${alert.symbol} ${says}` }, 'Remove');
    remove.addEventListener('click', () => void drop(alert));
    const at = fired.get(alert.id);
    const parts = [
      ...(alert.symbol === symbol ? [] : [make('a', { href: `#/${encodeURIComponent(alert.symbol)}` }, alert.symbol), ' ']),
      says,
      ...(at ? [' ', make('span', { class: 'fired' }, `fired ${CLOCK.format(at.ts)} at ${formatPrice(at.price, digits(alert.symbol))}`)] : []),
    ];
    return make('li', {}, make('span', {}, ...parts), remove);
  }

  function paint() {
    const all = [...alerts.values()];
    const own = all.filter((alert) => alert.symbol === symbol);
    list.replaceChildren(...own.map(item), ...all.filter((alert) => alert.symbol !== symbol).map(item));
    draw(own.flatMap(({ id, rule }) => {
      const price = levelOf(rule);
      return price === null ? [] : [{ id, price, title: rule.above === undefined ? 'alert ▼' : 'alert ▲' }];
    }));
  }

  /** Says what went wrong, if anything did. @param {import('../../feed.js').Answer} answer */
  function report(answer) {
    const missing = !answer.ok && answer.error.code === 'unknown_event';
    const fine = isGuest() ? 'Without a token they end when this page is closed.' : '';
    setText(note, answer.ok ? fine : missing ? 'This server has no alerts.' : answer.error.message);
    for (const control of form.elements) /** @type {HTMLInputElement} */ (control).disabled = missing;
  }

  async function load() {
    const answer = await feed.request('alerts', {});
    report(answer);
    if (!answer.ok) return;
    alerts.clear();
    for (const alert of readAlerts(answer.alerts)) alerts.set(alert.id, alert);
    paint();
  }

  /** @param {string} of @param {Rule} rule */
  async function set(of, rule) {
    const answer = await feed.request('alert', { symbol: of, ...rule });
    report(answer);
    if (!answer.ok) return false;
    const id = String(answer.id);
    alerts.set(id, { id, symbol: of, rule });
    paint();
    return true;
  }

  /** @param {Alert} alert */
  async function drop({ id }) {
    const answer = await feed.request('unalert', { id });
    report(answer);
    if (!answer.ok && answer.error.code === 'disconnected') return;
    alerts.delete(id);
    fired.delete(id);
    paint();
  }

  /** What is wrong with what was typed; empty where nothing is. @param {string} typed @param {number | null} number */
  function objection(typed, number) {
    if (!/\d/.test(typed)) return 'The alert needs a number.';
    const row = store.rows.get(symbol);
    const like = formatPrice(kind.value === 'changePct' ? 2.5 : row?.price ?? 1234.5, kind.value === 'changePct' ? 1 : digits(symbol));
    if (number === null) return `“${typed.trim()}” is not clear. Write it like ${like}.`;
    // Prices may lie below zero, but not those of this symbol.
    const low = Math.min(row?.price ?? 1, row?.sinceLoad.low ?? 1, row?.day.low ?? 1);
    return kind.value !== 'changePct' && number <= 0 && low > 0 ? `${symbol} does not go below zero. Write the price like ${like}.` : '';
  }

  form.addEventListener('submit', (event) => {
    event.preventDefault();
    const typed = value.value;
    const number = readNumber(typed);
    const against = objection(typed, number);
    if (number === null || against) return setText(note, against);
    const rule = kind.value === 'changePct' ? { changePct: number, windowMs: WINDOW_MS } : { [kind.value]: number };
    const of = symbol;
    // By the time of the answer another one may be in the form.
    void set(of, rule).then((done) => done && of === symbol && value.value === typed && form.reset());
  });
  kind.addEventListener('change', () => (value.placeholder = kind.value === 'changePct' ? 'Percent' : 'Price'));
  form.addEventListener('reset', () => (value.placeholder = 'Price'));

  line.addEventListener('click', () => {
    const row = store.rows.get(symbol);
    if (!row) return;
    const far = row.price + Math.abs(row.price) * REACH;
    const price = above() ?? far;
    // Where neither is above it the price is zero.
    const { above: level = row.price + 10 ** -row.digits } = ruleAt(price > row.price && price < far ? price : far, row.price, row.digits);
    void set(symbol, { above: level });
  });

  feed.listen('alert', (raw) => {
    const alert = readAlert(raw);
    if (!alert || !Number.isFinite(raw.ts) || !Number.isFinite(raw.price)) return;
    fired.set(alert.id, { ts: raw.ts, price: raw.price });
    // It stays until it is removed, and fires again with the next crossing. One that was set elsewhere is new here.
    alerts.set(alert.id, alert);
    paint();
  });

  return {
    /** The connection is new: what a guest had set on the old one is not there any more. */
    async again() {
      const before = [...alerts.values()];
      await load();
      if (!isGuest()) return;
      const now = [...alerts.values()];
      for (const { symbol: of, rule } of before) {
        if (!now.some((alert) => alert.symbol === of && sameRule(alert.rule, rule))) await set(of, rule);
      }
    },

    /** @param {string} of */
    show(of) {
      // A price for one symbol is none for another.
      if (of !== symbol) form.reset();
      symbol = of;
      setText(note, '');
      paint();
      if (of) void load();
    },

    /** A line was dragged: the server knows no change of an alert, so a new one takes its place. @param {string} id @param {number} price */
    async move(id, price) {
      const alert = alerts.get(id);
      const row = store.rows.get(symbol);
      if (!alert || !row) return;
      // The new one first: if it is refused, the old one still holds.
      if (await set(alert.symbol, ruleAt(price, row.price, row.digits))) await drop(alert);
      else paint();
    },
  };
}
