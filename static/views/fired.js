/** Alerts that fire: shown for a while wherever the reader is on the page, and read out. */
import { describe, readAlert } from '../alerts.js';
import { formatPrice } from '../format.js';
import { find, make } from './elements.js';

/** How long one stays in sight, ms, and how many do at most. */
const SHOWN_MS = 12_000;
const MAX_SHOWN = 4;

/** @param {import('../feed.js').Feed} feed @param {import('../store.js').Store} store */
export function firedView(feed, store) {
  const toasts = document.body.appendChild(make('div', { class: 'toasts' }));
  const announce = find(document, '#announce', HTMLElement);
  /** One crossing, which may be told twice. */
  let last = '';

  feed.listen('alert', (raw) => {
    const alert = readAlert(raw);
    const crossing = `${raw?.id} ${raw?.epoch} ${raw?.seq}`;
    if (!alert || crossing === last) return;
    last = crossing;
    const digits = store.rows.get(alert.symbol)?.digits ?? 2;
    const price = Number.isFinite(raw.price) ? ` at ${formatPrice(raw.price, digits)}` : '';
    const says = `${alert.symbol}${price}: ${describe(alert.rule, digits)}`;
    // A new text each time: the same one again is read out, too.
    announce.replaceChildren(`Alert: ${says}`);
    const close = make('button', { type: 'button', 'aria-label': 'Close' }, '×');
    const link = make('a', { href: `#/${encodeURIComponent(alert.symbol)}` }, alert.symbol);
    const toast = make('p', { class: 'toast' }, make('span', {}, link, says.slice(alert.symbol.length)), close);
    close.addEventListener('click', () => toast.remove());
    setTimeout(() => toast.remove(), SHOWN_MS);
    toasts.append(toast);
    if (toasts.childElementCount > MAX_SHOWN) toasts.firstElementChild?.remove();
  });
}
