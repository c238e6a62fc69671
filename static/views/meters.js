/** Measures over time: each its value now, a line of the last ten minutes from zero up, and its peak. */
import { formatUptime } from '../operations.js';
import { find, setText } from './elements.js';
import { colours, onColoursChange } from './palette.js';
import { Sparkline } from './sparkline.js';

/** So many looks are drawn: ten minutes, of one every two seconds. */
const POINTS = 300;

/** @typedef {(value: number | null, text: (value: number | null) => string) => void} Meter */

/** @param {HTMLElement} root @returns {Meter} */
function meter(root) {
  const now = find(root, '.now', HTMLElement);
  const canvas = find(root, 'canvas', HTMLCanvasElement);
  const peak = find(root, '.peak', HTMLElement);
  const since = find(root, '.since', HTMLElement);
  const sparkline = new Sparkline(canvas, { floor: 0 });
  /** @type {import('../row.js').Point[]} */
  const points = [];
  const draw = () => sparkline.draw(points, colours().accent);
  new ResizeObserver(([entry]) => {
    if (entry) sparkline.resize(entry.contentRect.width, entry.contentRect.height);
    draw();
  }).observe(canvas);
  onColoursChange(draw);
  return (value, text) => {
    setText(now, text(value));
    if (value === null || !Number.isFinite(value)) return;
    points.push({ at: performance.now(), low: value, high: value, last: value, joined: true });
    if (points.length > POINTS) points.shift();
    setText(since, `last ${formatUptime(performance.now() - (points[0]?.at ?? 0))}`);
    setText(peak, `peak ${text(Math.max(...points.map(({ last }) => last)))}`);
    draw();
  };
}

/** Those of the page, by their names. @returns {Map<string, Meter>} */
export function meters() {
  const all = /** @type {HTMLElement[]} */ ([...document.querySelectorAll('[data-meter]')]);
  return new Map(all.map((root) => [root.dataset.meter ?? '', meter(root)]));
}
