/** Opens and closes the view of one symbol, by the page's address: `#/BTC`. What is in it is loaded with the first. */
import { PANEL } from '../store.js';
import { find, make, setText } from './elements.js';

/** @typedef {{show: (symbol: string) => void, paint: (changes: import('../store.js').Changes) => void}} Detail */

const TITLE = document.title;
/** Where it covers the market (see `aside.card` in market.css), these lie behind it. */
const COVERS = matchMedia('(max-width: 1099px)');
const BEHIND = '.skip, .top, #notice, .facts, .market, #use';

/**
 * @param {import('../store.js').Store} store
 * @param {{setOpen: (symbol: string) => void}} table
 */
export function drawerView(store, table) {
  const root = find(document, '#detail', HTMLElement);
  const body = find(document, '#prices tbody', HTMLElement);
  /** @type {(() => Promise<Detail>) | null} */
  let load = null;
  /** @type {Detail | null} */
  let detail = null;
  let loading = false;
  /** It could not be loaded, and the connection is as it was then. */
  let failed = false;
  /** @type {import('../store.js').Connection['phase']} */
  let phase = 'connecting';
  /** Where the focus goes back to. */
  let from = '';
  /** How many symbols were opened one after another from the market, each an entry of the history; none of those that an address led to. */
  let depth = 0;
  let last = '';
  const inPlace = placeholder();

  /** What stands there until there is more: on a phone it covers all else, and has to have a way out. */
  function placeholder() {
    const title = make('h2', { id: 'detail-title' });
    const words = make('p');
    const again = make('button', { type: 'button' }, 'Try again');
    // Some browsers keep for as long as a page is open that a part of it was not there.
    again.addEventListener('click', () => (phase === 'live' ? location.reload() : fill()));
    root.replaceChildren(
      make('div', { class: 'tools' }, title, make('button', { type: 'button', class: 'close', 'aria-label': 'Close', title: 'Close (Escape)' }, '×')),
      make('div', { class: 'empty' }, words, make('br'), again),
    );
    return {
      paint() {
        setText(title, wanted());
        const { reason } = store.connection;
        setText(words, failed ? 'This view could not be loaded. It is tried again with the next connection.' : phase === 'failed' ? reason : 'Loading…');
        again.hidden = !failed;
      },
    };
  }

  /** @returns {string} */
  function wanted() {
    try {
      return location.hash.startsWith('#/') ? decodeURIComponent(location.hash.slice(2)) : '';
    } catch {
      return '';
    }
  }

  /** What cannot be seen cannot be reached either. */
  function cover() {
    for (const element of document.querySelectorAll(BEHIND)) element.toggleAttribute('inert', COVERS.matches && !root.hidden);
  }
  COVERS.addEventListener('change', cover);

  /** @param {string} [symbol] */
  function follow(symbol = wanted()) {
    const wasOpen = !root.hidden;
    root.hidden = symbol === '';
    cover();
    document.body.toggleAttribute('data-detail', symbol !== '');
    document.title = symbol ? `${symbol} · tickcast` : TITLE;
    table.setOpen(symbol);
    if (!symbol) {
      detail?.show('');
      const row = [...body.querySelectorAll('tr')].find((each) => each.dataset.symbol === from);
      if (wasOpen) /** @type {HTMLElement | null | undefined} */ (row?.querySelector('.name'))?.focus();
      return;
    }
    from = symbol;
    if (!wasOpen) root.focus({ preventScroll: true });
    if (detail) detail.show(symbol);
    else fill();
  }

  function fill() {
    if (load && !loading) {
      [loading, failed] = [true, false];
      load().then(opened, (error) => {
        console.error(error);
        [loading, failed] = [false, true];
        inPlace.paint();
      });
    }
    inPlace.paint();
  }

  /** @param {Detail} loaded */
  function opened(loaded) {
    detail = loaded;
    // What had the focus may be gone with what stood there.
    if (!root.hidden && document.activeElement === document.body) root.focus({ preventScroll: true });
    // It may be another one by now.
    detail.show(wanted());
  }

  /** An entry of the history says how deep it is; one that says nothing is new. */
  function measureDepth() {
    const symbol = wanted();
    const known = history.state?.depth;
    if (Number.isInteger(known)) {
      depth = known;
    } else {
      depth = symbol && (depth > 0 || last === '') ? depth + 1 : 0;
      history.replaceState({ depth }, '');
    }
    last = symbol;
  }

  function close() {
    if (depth > 0) {
      // Back to the market, where it was opened from there: else the way back would lead to the symbol again.
      history.go(-depth);
    } else {
      // The address without its end; the page does not jump.
      history.replaceState({ depth }, '', location.pathname + location.search);
      last = '';
    }
    follow('');
  }

  root.addEventListener('click', (event) => {
    if (/** @type {Element} */ (event.target).closest('.close')) close();
  });
  document.addEventListener('keydown', (event) => {
    if (event.key !== 'Escape' || root.hidden || event.defaultPrevented) return;
    const { target } = event;
    // Out of a field in which something was begun first.
    if (target instanceof HTMLInputElement && target.type !== 'radio' && target.value !== '' && root.contains(target)) root.focus({ preventScroll: true });
    else close();
  });
  // Who comes back to the market finds it as it stands, and not as it stood when a symbol was opened.
  document.addEventListener('click', ({ target }) => {
    if (target instanceof Element && target.closest('#prices tbody tr, a[href^="#/"]')) history.scrollRestoration = 'manual';
  }, { capture: true });
  addEventListener('popstate', () => {
    measureDepth();
    if (!wanted()) history.scrollRestoration = 'auto';
    follow();
  });
  last = wanted();
  measureDepth();

  return {
    /** From now on there is something to show. @param {() => Promise<Detail>} loader */
    ready(loader) {
      load = loader;
      follow();
    },

    /** @param {import('../store.js').Changes} changes */
    paint(changes) {
      const before = phase;
      phase = store.connection.phase;
      if (root.hidden) return;
      if (detail) return detail.paint(changes);
      if (failed && phase === 'live' && before !== 'live') fill();
      else if (changes.panels & PANEL.CONNECTION) inPlace.paint();
    },
  };
}
