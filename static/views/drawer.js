/** Opens and closes the view of one symbol, by the page's address: `#/BTC`. What is in it is loaded with the first. */
import { find } from './elements.js';

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
  /** @type {Promise<void> | null} */
  let loading = null;
  /** Where the focus goes back to. */
  let from = '';

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

  async function follow() {
    const symbol = wanted();
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
    if (load && !loading) loading = load().then((loaded) => void (detail = loaded));
    await loading;
    // It may be another one by now.
    detail?.show(wanted());
    if (!wasOpen && wanted()) root.focus({ preventScroll: true });
    store.markPanel(1);
  }

  function close() {
    // The address without its end; the page does not jump.
    history.pushState(null, '', location.pathname + location.search);
    void follow();
  }

  root.addEventListener('click', (event) => {
    if (/** @type {Element} */ (event.target).closest('.close')) close();
  });
  document.addEventListener('keydown', (event) => {
    if (event.key === 'Escape' && !root.hidden && !event.defaultPrevented) close();
  });
  addEventListener('hashchange', () => void follow());
  addEventListener('popstate', () => void follow());

  return {
    /** From now on there is something to show. @param {() => Promise<Detail>} loader */
    ready(loader) {
      load = loader;
      void follow();
    },

    /** @param {import('../store.js').Changes} changes */
    paint(changes) {
      if (!root.hidden) detail?.paint(changes);
    },
  };
}
