/**
 * The colours that scripts paint with, from the style sheet, which alone knows about dark and light. `up`, `down` and
 * `flat` are six hex digits, so that an alpha can be put behind them.
 */

const NAMES = /** @type {const} */ (['up', 'down', 'flat', 'flash-up', 'flash-down']);

/** @typedef {Record<typeof NAMES[number], string>} Palette */

const dark = matchMedia('(prefers-color-scheme: dark)');

/** @type {Palette | null} */
let palette = null;

/** @returns {Palette} */
export function colours() {
  if (!palette) {
    const style = getComputedStyle(document.documentElement);
    palette = /** @type {Palette} */ (
      Object.fromEntries(NAMES.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]))
    );
  }
  return palette;
}

/** Calls back when everything painted must be painted anew. @param {() => void} repaint */
export function onColoursChange(repaint) {
  dark.addEventListener('change', () => {
    palette = null;
    repaint();
  });
}
