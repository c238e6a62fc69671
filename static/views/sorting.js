/** By what the table is sorted: its headings, and a list of the same where these have no room. */
import { find, setText } from './elements.js';

/** @typedef {import('../choices.js').Choices} Choices */
/** @typedef {import('../order.js').Sort} Sort */
/** @typedef {import('../store.js').Store['span']} Span */

/** What the columns of a span are called, by their sort. @type {Record<Span, Record<string, string>>} */
const TITLES = { day: { change: '24 h', high: '24 h high', low: '24 h low', volume: '24 h volume' }, sinceLoad: { change: 'Since load', high: 'High', low: 'Low', volume: 'Volume' } };
/** What comes first: ascending, descending. @type {Record<string, [string, string]>} */
const FIRST = { symbol: ['A to Z', 'Z to A'], age: ['newest', 'oldest'] };
const NUMBERS = ['lowest', 'highest'];

/** Names begin with A and ages with the newest, numbers with the largest. @param {string} by */
const beginsDescending = (by) => !(by in FIRST);

/** @param {HTMLTableElement} table @param {Choices} choices */
export function sortingView(table, choices) {
  const list = find(document, '#sort', HTMLSelectElement);
  const headings = /** @type {HTMLTableCellElement[]} */ ([...table.querySelectorAll('th[data-sort]')]).map((cell) => {
    const by = /** @type {Sort} */ (cell.dataset.sort);
    const button = find(cell, 'button', HTMLButtonElement);
    const ways = [beginsDescending(by), !beginsDescending(by)].map((descending) => {
      const option = new Option('', `${by} ${descending}`);
      list.append(option);
      return { option, first: (FIRST[by] ?? NUMBERS)[Number(descending)] };
    });
    return { by, cell, button, ways };
  });

  for (const { by, button } of headings) {
    button.addEventListener('click', () => {
      const { sort, descending } = choices.values;
      // One way, the other way round, then the reader's own order.
      const first = beginsDescending(by);
      if (sort !== by) choices.set({ sort: by, descending: first });
      else if (descending === first) choices.set({ descending: !first });
      else choices.set({ sort: 'own', descending: false });
    });
  }
  list.addEventListener('change', () => {
    const [sort, descending] = list.value.split(' ');
    choices.set({ sort: /** @type {Sort} */ (sort), descending: descending === 'true' });
  });
  choices.follow(({ sort, descending }) => {
    for (const { by, cell } of headings) cell.ariaSort = by !== sort ? null : descending ? 'descending' : 'ascending';
    list.value = sort === 'own' ? 'own' : `${sort} ${descending}`;
  });

  return {
    /** @param {Span} span */
    paint(span) {
      for (const { by, button, ways } of headings) {
        const title = TITLES[span][by] ?? button.textContent;
        setText(button, title);
        for (const { option, first } of ways) setText(option, `${title}, ${first}`);
      }
    },

    /** Where the list stands for the headings they are out of sight, and no place for the Tab key to stop at. */
    measure() {
      const tabIndex = list.checkVisibility() ? -1 : 0;
      for (const { button } of headings) button.tabIndex = tabIndex;
    },
  };
}
