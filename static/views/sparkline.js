/** A small chart on a canvas: a line of last prices over a faint band from low to high. */
import { CHART_POINTS, CHART_POINT_MS } from '../row.js';

/** @typedef {import('../row.js').Point} Point */

const WINDOW_MS = CHART_POINTS * CHART_POINT_MS;
/** Room for the line's width and the last point's dot, CSS pixels. */
const PADDING = 4;
const LINE_WIDTH = 1.5;
const DOT_RADIUS = 2.25;
/** A phone reports up to 4; above 3 nobody sees the difference, and memory grows with the square. */
const MAX_PIXEL_RATIO = 3;

/**
 * The points of the last minute, oldest first. The one before them holds at the left edge, so that a slow symbol has
 * a line, too.
 *
 * @param {import('../row.js').Ring} ring
 * @returns {Point[]}
 */
export function recent(ring) {
  const newest = ring.newest();
  if (!newest) return [];
  const from = newest.at - WINDOW_MS;
  const points = [];
  for (let i = ring.length - 1; i >= 0; i -= 1) {
    const point = /** @type {Point} */ (ring.at(i));
    points.push(point.at < from ? { ...point, at: from } : point);
    if (point.at <= from) break;
  }
  return points.reverse();
}

/** Lowest and highest price among them. @param {Point[]} points */
export function range(points) {
  let low = Infinity;
  let high = -Infinity;
  for (const point of points) {
    low = Math.min(low, point.low);
    high = Math.max(high, point.high);
  }
  return { low, high };
}

export class Sparkline {
  /** @param {HTMLCanvasElement} canvas @param {{floor?: number}} [options] `floor`: is always in sight */
  constructor(canvas, { floor = Infinity } = {}) {
    this.canvas = canvas;
    this.floor = floor;
    this.context = canvas.getContext('2d');
    this.width = 0;
    this.height = 0;
  }

  /** As laid out, CSS pixels. @param {number} width @param {number} height */
  resize(width, height) {
    this.width = width;
    this.height = height;
  }

  /** @param {Point[]} points @param {string} colour */
  draw(points, colour) {
    const { canvas, context, width, height } = this;
    if (!context || width === 0 || height === 0) return;
    const ratio = Math.min(MAX_PIXEL_RATIO, devicePixelRatio || 1);
    const pixels = { width: Math.round(width * ratio), height: Math.round(height * ratio) };
    // Setting a canvas's size clears it and reallocates: only when it changed.
    if (canvas.width !== pixels.width || canvas.height !== pixels.height) Object.assign(canvas, pixels);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    const last = points.at(-1);
    const first = points[0];
    if (!last || !first) return;

    const { low: lowest, high } = range(points);
    const low = Math.min(lowest, this.floor);
    const span = last.at - first.at;
    const x = (/** @type {Point} */ point) =>
      span === 0 ? width - PADDING : PADDING + ((point.at - first.at) / span) * (width - 2 * PADDING);
    // A price that never moved is a line in the middle; what never was anything lies on the floor.
    const level = low === this.floor ? height - PADDING : height / 2;
    const y = (/** @type {number} */ price) =>
      high === low ? level : PADDING + ((high - price) / (high - low)) * (height - 2 * PADDING);

    context.strokeStyle = colour;
    context.fillStyle = colour;
    context.lineWidth = LINE_WIDTH;
    context.lineJoin = 'round';
    for (const run of runs(points)) {
      this.fillBand(run, x, y);
      this.fillBelow(run, x, y, colour);
      context.beginPath();
      for (const point of run) context.lineTo(x(point), y(point.last));
      context.stroke();
      // A line of one point would not show.
      const [only] = run;
      if (only && run.length === 1) this.dot(x(only), y(only.last), LINE_WIDTH / 2);
    }
    this.dot(x(last), y(last.last), DOT_RADIUS);
  }

  /** @param {number} x @param {number} y @param {number} radius */
  dot(x, y, radius) {
    const context = /** @type {CanvasRenderingContext2D} */ (this.context);
    context.beginPath();
    context.arc(x, y, radius, 0, 2 * Math.PI);
    context.fill();
  }

  /**
   * From low to high: what happened between two points shows, too.
   *
   * @param {Point[]} run
   * @param {(point: Point) => number} x
   * @param {(price: number) => number} y
   */
  fillBand(run, x, y) {
    const context = /** @type {CanvasRenderingContext2D} */ (this.context);
    context.globalAlpha = 0.22;
    context.beginPath();
    for (const point of run) context.lineTo(x(point), y(point.high));
    for (const point of run.toReversed()) context.lineTo(x(point), y(point.low));
    context.fill();
    context.globalAlpha = 1;
  }

  /**
   * @param {Point[]} run
   * @param {(point: Point) => number} x
   * @param {(price: number) => number} y
   * @param {string} colour
   */
  fillBelow(run, x, y, colour) {
    const context = /** @type {CanvasRenderingContext2D} */ (this.context);
    const [first, last] = [run[0], run.at(-1)];
    if (!first || !last) return;
    const fade = context.createLinearGradient(0, 0, 0, this.height);
    fade.addColorStop(0, colour);
    // The same colour with no alpha: towards `transparent`, which is black, it would turn grey.
    fade.addColorStop(1, `${colour}00`);
    context.globalAlpha = 0.16;
    context.fillStyle = fade;
    context.beginPath();
    context.moveTo(x(first), this.height);
    for (const point of run) context.lineTo(x(point), y(point.last));
    context.lineTo(x(last), this.height);
    context.fill();
    context.fillStyle = colour;
    context.globalAlpha = 1;
  }
}

/** The line is not drawn across what was missed. @param {Point[]} points @returns {Point[][]} */
export function runs(points) {
  /** @type {Point[][]} */
  const all = [];
  for (const point of points) {
    const run = all.at(-1);
    if (run && point.joined) run.push(point);
    else all.push([point]);
  }
  return all;
}
