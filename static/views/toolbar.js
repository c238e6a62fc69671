/** Search and filter: which symbols the table shows. */
import { find, radios } from './elements.js';

/** @typedef {import('../choices.js').Choices} Choices */
/** @typedef {import('../choices.js').Values} Values */

/**
 * @param {Choices} choices
 * @param {{search: (text: string) => void, focusFirst: () => void}} table
 */
export function toolbarView(choices, table) {
  const search = find(document, '#search', HTMLInputElement);
  const show = radios(document, 'only', (only) => choices.set({ only: /** @type {Values['only']} */ (only) }));
  choices.follow(({ only }) => show(only));

  search.addEventListener('input', () => table.search(search.value.trim()));
  search.addEventListener('keydown', (event) => {
    if (event.key === 'Escape' && search.value !== '') {
      // It clears the search, and closes nothing.
      event.preventDefault();
      search.value = '';
      table.search('');
    }
    if (event.key === 'Enter' || event.key === 'ArrowDown') {
      event.preventDefault();
      table.focusFirst();
    }
  });
  document.addEventListener('keydown', (event) => {
    const target = /** @type {Element | null} */ (event.target instanceof Element ? event.target : null);
    if (event.key !== '/' || event.ctrlKey || event.metaKey || event.altKey || target?.closest('input, textarea, select')) return;
    event.preventDefault();
    search.focus();
    search.select();
  });
}
