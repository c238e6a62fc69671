/** The reader's alerts: the list, the form, and the lines on the chart. */
import { describe, levelOf, readAlert, readAlerts, readNumber, ruleAt, sameRule } from '../../alerts.js';
import { formatPrice } from '../../format.js';
import { find, make, setText } from '../elements.js';
import { REACH } from './chart.js';

/** @typedef {import('../../alerts.js').Alert} Alert */
/** @typedef {import('../../alerts.js').Rule} Rule */
/**
 * An alert in the list. One of a guest ends with the connection: then it is not `held` any more, and set again on the next
 * one. `against` is what the server has to say against that. Only the reader takes one out of the list.
 *
 * @typedef {Alert & {held: boolean, guest: boolean, against: string}} Entry
 */

/** Over which time a change in percent is taken, ms. */
const WINDOW_MS = 300_000;
/** What could not be asked or set is tried again after so long, ms: twice as long each time. */
const RETRY_MS = { first: 1_000, most: 30_000 };
/** Refusals that pass. */
const PASSING = ['rate_limited', 'unavailable', 'timeout', 'disconnected'];
/** UTC, as the chart. */
const CLOCK = new Intl.DateTimeFormat('en-GB', { timeZone: 'UTC', hour: '2-digit', minute: '2-digit', second: '2-digit' });

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
  /** Of all symbols, by id. @type {Map<string, Entry>} */
  let alerts = new Map();
  /** Grows with each connection, and with each round of setting again: what belongs to an earlier one is given up. */
  let connection = 0;
  let round = 0;
  let phase = feed.state.phase;
  let retryMs = RETRY_MS.first;
  /** How often something was said of what the reader did. */
  let words = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let retry;
  /** When each fired last, and at which price. @type {Map<string, {ts: number, price: number}>} */
  const fired = new Map();

  const digits = (/** @type {string} */ of) => store.rows.get(of)?.digits ?? 2;

  /** @param {Alert} alert @returns {Entry} */
  const held = (alert) => ({ ...alert, held: true, guest: isGuest(), against: '' });
  const waiting = () => [...alerts.values()].filter((alert) => !alert.held);

  /** @param {Entry} alert */
  function item(alert) {
    const says = describe(alert.rule, digits(alert.symbol));
    const remove = make('button', { type: 'button', 'aria-label': `Remove the alert ${alert.symbol} ${says}` }, 'Remove');
    remove.addEventListener('click', () => void drop(alert));
    const at = fired.get(alert.id);
    const parts = [
      ...(alert.symbol === symbol ? [] : [make('a', { href: `#/${encodeURIComponent(alert.symbol)}` }, alert.symbol), ' ']),
      says,
      ...(alert.held ? [] : [' ', make('span', { class: 'fired' }, alert.against ? `not set: ${alert.against}` : 'not set yet')]),
      ...(at ? [' ', make('span', { class: 'fired' }, `fired ${CLOCK.format(at.ts)} at ${formatPrice(at.price, digits(alert.symbol))}`)] : []),
    ];
    return make('li', {}, make('span', {}, ...parts), remove);
  }

  /** Where the focus is among the buttons of the list; -1 where it is not. */
  const focusedAt = () => [...list.querySelectorAll('button')].findIndex((button) => button === document.activeElement);

  function paint() {
    const at = focusedAt();
    const all = [...alerts.values()];
    const own = all.filter((alert) => alert.symbol === symbol);
    list.replaceChildren(...own.map(item), ...all.filter((alert) => alert.symbol !== symbol).map(item));
    // It stays, or goes to what took the place of a removed one.
    if (at >= 0) (([...list.querySelectorAll('button')].at(Math.min(at, list.childElementCount - 1))) ?? value).focus({ preventScroll: true });
    draw(own.flatMap(({ id, rule, held: isHeld }) => {
      const price = levelOf(rule);
      return price === null ? [] : [{ id, price, title: `${isHeld ? 'alert' : 'not set'} ${rule.above === undefined ? '▼' : '▲'}` }];
    }));
  }

  /** @param {string} text */
  function say(text) {
    words += 1;
    setText(note, text);
  }

  /** What went wrong, if anything did. @param {import('../../feed.js').Answer} answer */
  function verdict(answer) {
    const missing = !answer.ok && answer.error.code === 'unknown_event';
    for (const control of form.elements) /** @type {HTMLInputElement} */ (control).disabled = missing;
    const fine = isGuest() ? 'Without a token they end when this page is closed.' : '';
    return answer.ok ? fine : missing ? 'This server has no alerts.' : answer.error.message;
  }

  /** What the server has, and says whether it could be had: what waits stays, unless it is in there. */
  async function load() {
    const [asked, said] = [connection, words];
    const answer = await feed.request('alerts', {});
    if (asked !== connection) return false;
    const text = verdict(answer);
    // What was said meanwhile, of what the reader did, stays.
    if (said === words) setText(note, text);
    if (!answer.ok) return !PASSING.includes(answer.error.code);
    const listed = readAlerts(answer.alerts);
    const missing = waiting().filter((one) => !listed.some((alert) => alert.symbol === one.symbol && sameRule(alert.rule, one.rule)));
    alerts = new Map([...listed.map(held), ...missing].map((alert) => [alert.id, alert]));
    paint();
    return true;
  }

  /** One takes another's place in the list. @param {string} id @param {Entry} next */
  function replace(id, next) {
    alerts = new Map([...alerts].map(([of, one]) => (of === id ? [next.id, next] : [of, one])));
    const at = fired.get(id);
    fired.delete(id);
    if (at) fired.set(next.id, at);
  }

  /** Sets one again, and says whether it can be done now. @param {Entry} alert */
  async function renew(alert) {
    const asked = connection;
    const answer = await feed.request('alert', { symbol: alert.symbol, ...alert.rule });
    if (asked !== connection) return false;
    if (answer.ok) {
      const id = String(answer.id);
      // Meanwhile the reader may have removed it.
      if (alerts.has(alert.id)) replace(alert.id, held({ ...alert, id }));
      else void feed.request('unalert', { id });
    } else if (PASSING.includes(answer.error.code)) {
      return false;
    } else {
      replace(alert.id, { ...alert, against: answer.error.message });
    }
    paint();
    return true;
  }

  /** Until the server has what is in the list, and the list what the server has. */
  async function settle() {
    clearTimeout(retry);
    const mine = (round += 1);
    let fine = await load();
    for (const alert of waiting()) {
      if (mine !== round || !fine) break;
      if (alert.against === '') fine = await renew(alert);
    }
    if (mine !== round) return;
    if (!fine && phase === 'live') later();
    if (fine) retryMs = RETRY_MS.first;
  }

  function later() {
    retry = setTimeout(settle, retryMs);
    retryMs = Math.min(RETRY_MS.most, retryMs * 2);
  }

  feed.on('state', (state) => {
    phase = state.phase;
    if (phase === 'live' || phase === 'subscribing') return;
    connection += 1;
    round += 1;
    clearTimeout(retry);
    retryMs = RETRY_MS.first;
    for (const alert of alerts.values()) if (alert.guest) Object.assign(alert, { held: false, against: '' });
    paint();
  });

  /** @param {string} of @param {Rule} rule */
  async function set(of, rule) {
    const answer = await feed.request('alert', { symbol: of, ...rule });
    say(verdict(answer));
    if (!answer.ok) return false;
    const id = String(answer.id);
    alerts.set(id, held({ id, symbol: of, rule }));
    paint();
    return true;
  }

  /** @param {Entry} alert */
  async function drop({ id, held: isHeld }) {
    if (isHeld) {
      const answer = await feed.request('unalert', { id });
      say(verdict(answer));
      // Refused for good is that it is not there any more.
      if (!answer.ok && PASSING.includes(answer.error.code)) return;
    }
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
    if (number === null || against) return say(against);
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
    alerts.set(alert.id, held(alert));
    paint();
  });

  return {
    /** The connection is new: what a guest had set on the old one is not there any more. */
    again: settle,

    /** @param {string} of */
    show(of) {
      // A price for one symbol is none for another.
      if (of !== symbol) form.reset();
      symbol = of;
      say('');
      paint();
      if (of) void settle();
    },

    /** A line was dragged: the server knows no change of an alert, so a new one takes its place. @param {string} id @param {number} price */
    async move(id, price) {
      const alert = alerts.get(id);
      const row = store.rows.get(symbol);
      if (!alert || !row) return;
      if (!alert.held) {
        // By another name: it may be on its way to the server as it was.
        replace(id, { ...alert, id: `${id}+`, rule: ruleAt(price, row.price, row.digits), against: '' });
        paint();
        return settle();
      }
      // The new one first: if it is refused, the old one still holds.
      if (await set(alert.symbol, ruleAt(price, row.price, row.digits))) await drop(alert);
      else paint();
    },
  };
}
