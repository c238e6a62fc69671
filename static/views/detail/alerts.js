/** The reader's alerts: the list, the form, and the lines on the chart. */
import { formatPrice } from '../../format.js';
import { find, make, setText } from '../elements.js';

/** @typedef {{above?: number, below?: number, changePct?: number, windowMs?: number}} Rule */
/** @typedef {Rule & {id: string, symbol: string}} Alert */

/** Over which time a change in percent is taken, ms. */
const WINDOW_MS = 300_000;
/** So far above the price a new line is put, as a part of it. */
const FAR = 0.002;
/** How long an alert that fired stays in sight, ms. */
const SHOWN_MS = 12_000;

/** @param {any} raw @returns {Alert | null} */
function readAlert(raw) {
  const rule = { ...raw?.rule, ...raw };
  const id = typeof raw?.id === 'number' ? String(raw.id) : raw?.id;
  if (typeof id !== 'string' || typeof rule.symbol !== 'string') return null;
  const number = (/** @type {unknown} */ value) => (typeof value === 'number' && Number.isFinite(value) ? value : undefined);
  return { id, symbol: rule.symbol, above: number(rule.above), below: number(rule.below), changePct: number(rule.changePct), windowMs: number(rule.windowMs) };
}

/** @param {Rule} rule @param {number} digits */
function words({ above, below, changePct, windowMs }, digits) {
  if (above !== undefined) return `above ${formatPrice(above, digits)}`;
  if (below !== undefined) return `below ${formatPrice(below, digits)}`;
  return `${changePct ?? '?'}% within ${Math.round((windowMs ?? 0) / 60_000)} min`;
}

/**
 * @param {HTMLElement} root
 * @param {import('../../feed.js').Feed} feed
 * @param {import('../../store.js').Store} store
 * @param {(levels: import('./chart.js').Level[]) => void} draw
 */
export function alertsView(root, feed, store, draw) {
  const form = find(root, '.alert-form', HTMLFormElement);
  const kind = find(form, 'select', HTMLSelectElement);
  const value = find(form, 'input', HTMLInputElement);
  const line = find(form, '.alert-line', HTMLButtonElement);
  const list = find(root, '.alerts', HTMLElement);
  const note = find(root, '.alert-note', HTMLElement);
  const toasts = document.body.appendChild(make('div', { class: 'toasts' }));
  const announce = find(document, '#announce', HTMLElement);
  let symbol = '';
  /** Of all symbols, by id: an id is as the server gave it. @type {Map<string, Alert>} */
  const alerts = new Map();

  const digits = (/** @type {string} */ of) => store.rows.get(of)?.digits ?? 2;

  function paint() {
    const own = [...alerts.values()].filter((alert) => alert.symbol === symbol);
    list.replaceChildren(...own.map((alert) => {
      const says = words(alert, digits(symbol));
      const remove = make('button', { type: 'button', 'aria-label': `Remove the alert ${says}` }, 'Remove');
      remove.addEventListener('click', () => void drop(alert));
      return make('li', {}, make('span', {}, says), remove);
    }));
    draw(own.flatMap(({ id, above, below }) => {
      const price = above ?? below;
      return price === undefined ? [] : [{ id, price, title: above === undefined ? 'alert ▼' : 'alert ▲' }];
    }));
  }

  /** Says what went wrong, if anything did. @param {import('../../feed.js').Answer} answer */
  function report(answer) {
    const missing = !answer.ok && answer.error.code === 'unknown_event';
    setText(note, answer.ok ? '' : missing ? 'This server has no alerts.' : answer.error.message);
    for (const control of form.elements) /** @type {HTMLInputElement} */ (control).disabled = missing;
  }

  async function load() {
    const answer = await feed.request('alerts', {});
    report(answer);
    if (!answer.ok) return;
    alerts.clear();
    for (const raw of Array.isArray(answer.alerts) ? answer.alerts : []) {
      const alert = readAlert(raw);
      if (alert) alerts.set(alert.id, alert);
    }
    paint();
  }

  /** @param {string} of @param {Rule} rule */
  async function set(of, rule) {
    const answer = await feed.request('alert', { symbol: of, ...rule });
    report(answer);
    if (!answer.ok) return false;
    const id = String(answer.id);
    alerts.set(id, { id, symbol: of, ...rule });
    paint();
    return true;
  }

  /** @param {Alert} alert */
  async function drop({ id }) {
    const answer = await feed.request('unalert', { id });
    report(answer);
    if (!answer.ok && answer.error.code === 'disconnected') return;
    alerts.delete(id);
    paint();
  }

  form.addEventListener('submit', (event) => {
    event.preventDefault();
    const number = Number(value.value);
    if (value.value.trim() === '' || !Number.isFinite(number)) return setText(note, 'The alert needs a number.');
    const rule = kind.value === 'changePct' ? { changePct: number, windowMs: WINDOW_MS } : { [kind.value]: number };
    void set(symbol, rule).then((done) => done && form.reset());
  });

  line.addEventListener('click', () => {
    const row = store.rows.get(symbol);
    if (row) void set(symbol, { above: Number((row.price * (1 + FAR)).toFixed(row.digits)) });
  });

  feed.listen('alert', (raw) => {
    const fired = readAlert(raw);
    // It stays, and fires again when the price comes back.
    if (!fired) return;
    const price = typeof raw.price === 'number' ? formatPrice(raw.price, digits(fired.symbol)) : '';
    const says = `${fired.symbol} is at ${price}: ${words(fired, digits(fired.symbol))}`;
    setText(announce, says);
    const close = make('button', { type: 'button', 'aria-label': 'Close' }, '×');
    const toast = make('p', { class: 'toast' }, says, close);
    close.addEventListener('click', () => toast.remove());
    setTimeout(() => toast.remove(), SHOWN_MS);
    toasts.append(toast);
  });

  return {
    load,

    /** @param {string} of */
    show(of) {
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
      const at = Number(price.toFixed(row.digits));
      // The new one first: if it is refused, the old one still holds.
      if (await set(alert.symbol, at > row.price ? { above: at } : { below: at })) await drop(alert);
      else paint();
    },
  };
}
