/**
 * The colours that scripts paint with, from the style sheet, which alone knows about themes and palettes. Six hex
 * digits each, so that an alpha can be put behind them.
 */

const NAMES = /** @type {const} */ (['up', 'down', 'flat', 'text', 'muted', 'edge-solid', 'ground', 'accent']);

/** @typedef {Record<typeof NAMES[number], string>} Palette */

const dark = matchMedia('(prefers-color-scheme: dark)');

/** @type {Palette | null} */
let palette = null;
/** @type {Set<() => void>} */
const followers = new Set();

/** @returns {Palette} */
export function colours() {
  palette ??= readColours();
  return palette;
}

/** A colour may be given in any way that CSS has: an element is asked what it comes to. */
function readColours() {
  const probe = document.createElement('i');
  const pixel = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  document.body.append(probe);
  const read = NAMES.map((name) => {
    probe.style.color = `var(--${name})`;
    if (!pixel) return [name, '#808080'];
    pixel.fillStyle = getComputedStyle(probe).color;
    pixel.fillRect(0, 0, 1, 1);
    const bytes = [...pixel.getImageData(0, 0, 1, 1).data.slice(0, 3)];
    return [name, `#${bytes.map((byte) => byte.toString(16).padStart(2, '0')).join('')}`];
  });
  probe.remove();
  return /** @type {Palette} */ (Object.fromEntries(read));
}

/** The colours are others now. */
export function coloursChanged() {
  palette = null;
  for (const repaint of followers) repaint();
}

/** Calls back when everything painted must be painted anew. @param {() => void} repaint */
export function onColoursChange(repaint) {
  followers.add(repaint);
}

dark.addEventListener('change', coloursChanged);
