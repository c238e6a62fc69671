/** Theme, palette and density: what the reader chose, else what the system prefers. */
import { find, radios } from './elements.js';
import { coloursChanged } from './palette.js';

/** @typedef {import('../choices.js').Choices} Choices */

const NAMES = /** @type {const} */ (['theme', 'palette', 'density']);

/** @param {Choices} choices */
export function looksView(choices) {
  const menu = find(document, '#looks', HTMLDetailsElement);
  const shows = NAMES.map((name) => radios(menu, name, (value) => choices.set({ [name]: value })));
  let looks = '';
  choices.follow((values) => {
    NAMES.forEach((name, i) => {
      shows[i]?.(values[name]);
      document.documentElement.dataset[name] = values[name];
    });
    const next = `${values.theme} ${values.palette}`;
    if (looks !== next) coloursChanged();
    looks = next;
  });

  document.addEventListener('click', (event) => {
    if (menu.open && !menu.contains(/** @type {Node} */ (event.target))) menu.open = false;
  });
  menu.addEventListener('keydown', (event) => {
    if (event.key !== 'Escape' || !menu.open) return;
    event.stopPropagation();
    menu.open = false;
    find(menu, 'summary', HTMLElement).focus();
  });
}
