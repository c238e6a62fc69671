/** Programs that connect to this very server, one tab for each language. */
import { PANEL } from '../store.js';
import { environment, SNIPPETS } from '../snippets.js';
import { find, make, setText } from './elements.js';
import { asksForToken } from './signin.js';

/** How long the button says that it copied, ms. */
const COPIED_MS = 1_500;

/**
 * @param {import('../store.js').Store} store
 * @param {Omit<import('../snippets.js').Server, 'withToken'>} server
 */
export function snippetsView(store, server) {
  const list = find(document, '#languages', HTMLElement);
  const panel = find(document, '#snippet-panel', HTMLElement);
  const code = find(document, '#snippet', HTMLElement);
  const needs = find(document, '#snippet-needs', HTMLElement);
  const copy = find(document, '#copy', HTMLButtonElement);

  let shown = 0;
  let withToken = false;

  const tabs = SNIPPETS.map(({ name }, i) => {
    const tab = make('button', { type: 'button', role: 'tab', id: `language-${i}`, 'aria-controls': 'snippet-panel' }, name);
    tab.addEventListener('click', () => show(i));
    return tab;
  });
  list.append(...tabs);

  /** @param {number} chosen */
  function show(chosen) {
    const snippet = SNIPPETS[chosen];
    if (!snippet) return;
    shown = chosen;
    tabs.forEach((tab, i) => {
      tab.ariaSelected = String(i === chosen);
      tab.tabIndex = i === chosen ? 0 : -1;
    });
    panel.setAttribute('aria-labelledby', `language-${chosen}`);
    setText(code, snippet.code({ ...server, withToken }));
    setText(needs, `${snippet.file}: ${snippet.needs(environment(withToken))}`);
  }

  list.addEventListener('keydown', (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    const next = (tabs.findIndex((tab) => tab.tabIndex === 0) + step + tabs.length) % tabs.length;
    show(next);
    tabs[next]?.focus();
  });
  show(0);

  // Browsers offer the clipboard to secure origins only.
  copy.hidden = !navigator.clipboard;
  copy.addEventListener('click', async () => {
    await navigator.clipboard.writeText(code.textContent ?? '').then(
      () => (copy.textContent = 'Copied'),
      () => (copy.textContent = 'Not allowed'),
    );
    setTimeout(() => (copy.textContent = 'Copy'), COPIED_MS);
  });

  return {
    /** @param {import('../store.js').Changes} changes */
    paint({ panels }) {
      if (!(panels & PANEL.CONNECTION)) return;
      const { phase, reason, hasToken } = store.connection;
      // Who is refused will have to show one.
      const needed = hasToken || (phase !== 'live' && asksForToken(reason));
      if (needed === withToken) return;
      withToken = needed;
      show(shown);
    },
  };
}
