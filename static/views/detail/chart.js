/** Candles and volume, drawn by lightweight-charts; and lines that can be dragged. */
import { formatLevel } from '../../alerts.js';
import { formatPrice } from '../../format.js';
import { colours, onColoursChange } from '../palette.js';

/** @typedef {import('../../candles.js').Candle} Candle */
/** A horizontal line at a price. @typedef {{id: string, price: number, title: string}} Level */

/** So near to a line a pointer takes hold of it, CSS pixels; a finger hides what it points at. */
const NEAR = 7;
const NEAR_FINGER = 14;
/** So far a pointer moves before it drags, CSS pixels: a click moves nothing. */
const SLACK = 3;
/** So far from the candles a line is shown at least, as a part of the price. */
export const REACH = 0.002;
/** So far from the top a new line is put, as a part of the height. */
const NEW_LINE = 0.15;
/** How much of the height the candles leave to the volume. */
const VOLUME_TOP = 0.8;

const time = (/** @type {Candle} */ { ts }) => Math.floor(ts / 1_000);

/**
 * @param {any} library lightweight-charts
 * @param {HTMLElement} box
 * @param {{seconds: boolean, hover: (candle: Candle | null) => void, older: () => void, moved: (id: string, price: number) => void}} hooks
 *   `older`: what lies before the first candle is looked at; `moved`: a line was dragged to another price
 */
export function createChart(library, box, { seconds, hover, older, moved }) {
  const chart = library.createChart(box, {
    autoSize: true,
    // The attribution stands below the chart, as a link: the library's own would bring a style that the page's policy forbids.
    layout: { attributionLogo: false, background: { type: 'solid', color: 'transparent' }, fontFamily: getComputedStyle(box).fontFamily },
    timeScale: { timeVisible: true, secondsVisible: seconds, borderVisible: false, rightOffset: 3 },
    rightPriceScale: { borderVisible: false, entireTextOnly: true, scaleMargins: { top: 0.08, bottom: 0.24 } },
    crosshair: { mode: library.CrosshairMode.Normal },
    localization: { locale: 'en-US' },
  });
  /** @type {Map<string, {line: any, level: Level}>} */
  const levels = new Map();
  const series = chart.addSeries(library.CandlestickSeries, { borderVisible: false, autoscaleInfoProvider: withLevels });
  const volumes = chart.addSeries(library.HistogramSeries, { priceFormat: { type: 'volume' }, priceScaleId: 'volume', priceLineVisible: false, lastValueVisible: false });
  chart.priceScale('volume').applyOptions({ scaleMargins: { top: VOLUME_TOP, bottom: 0 } });

  /** @type {Candle[]} */
  let candles = [];
  /** `from` and `grip`: where it was taken, from the top of the box and from the line. @type {{id: string, pointer: number, from: number, grip: number, price: number | null} | null} */
  let dragged = null;

  // Of a source without sizes nothing is known: no bar, not one of zero.
  const volumeOf = (/** @type {Candle} */ candle) => (candle.volume === 0 ? { time: time(candle) } : {
    time: time(candle), value: candle.volume, color: `${colours()[candle.close >= candle.open ? 'up' : 'down']}60`,
  });
  const barOf = (/** @type {Candle} */ { open, high, low, close, ...candle }) => ({ time: Math.floor(candle.ts / 1_000), open, high, low, close });

  /** The scale shows lines that are not far from the candles, too. @param {() => any} ofCandles */
  function withLevels(ofCandles) {
    const scale = ofCandles();
    if (!scale?.priceRange) return scale;
    const { minValue: low, maxValue: high } = scale.priceRange;
    const reach = Math.max(high - low, high * REACH);
    const near = [...levels.values()].map(({ level }) => level.price).filter((price) => price > low - reach && price < high + reach);
    return { ...scale, priceRange: { minValue: Math.min(low, ...near), maxValue: Math.max(high, ...near) } };
  }

  /** Decimals of a price: as many as any had so far. */
  let precision = -1;
  /** @param {number} digits */
  function setDigits(digits) {
    if (digits === precision) return;
    precision = digits;
    // At the end of a line stands what was set, which may be finer.
    const isLevel = (/** @type {number} */ price) => [...levels.values()].some(({ level }) => level.price === price);
    const formatter = (/** @type {number} */ price) => (isLevel(price) ? formatLevel(price, digits) : formatPrice(price, digits));
    series.applyOptions({ priceFormat: { type: 'custom', minMove: 10 ** -digits, formatter } });
  }

  function dress() {
    const { up, down, muted, 'edge-solid': edge, accent } = colours();
    chart.applyOptions({ layout: { textColor: muted }, grid: { vertLines: { color: edge }, horzLines: { color: edge } } });
    series.applyOptions({ upColor: up, downColor: down, wickUpColor: up, wickDownColor: down });
    volumes.setData(candles.map(volumeOf));
    for (const { line } of levels.values()) line.applyOptions({ color: accent, axisLabelColor: accent });
  }
  onColoursChange(dress);
  dress();

  chart.subscribeCrosshairMove((/** @type {any} */ { time: at }) => {
    hover(at === undefined ? null : candles.find((candle) => time(candle) === at) ?? null);
  });
  chart.timeScale().subscribeVisibleLogicalRangeChange((/** @type {{from: number} | null} */ range) => {
    if (range && range.from < 0 && candles.length > 0) older();
  });

  // --- lines that are dragged

  /** @param {PointerEvent} event */
  const yOf = (event) => event.clientY - box.getBoundingClientRect().top;
  /** The line that is nearest to the pointer, and near enough. @param {PointerEvent} event */
  function levelAt(event) {
    const y = yOf(event);
    const reach = event.pointerType === 'touch' ? NEAR_FINGER : NEAR;
    const near = [...levels.values()]
      .map(({ level }) => ({ level, off: y - (series.priceToCoordinate(level.price) ?? -Infinity) }))
      .filter(({ off }) => Math.abs(off) <= reach);
    return near.sort((a, b) => Math.abs(a.off) - Math.abs(b.off))[0];
  }
  /** @param {PointerEvent} event */
  function onDown(event) {
    const found = dragged ? undefined : levelAt(event);
    if (!found) return;
    // Before the chart takes it for a scroll.
    event.stopPropagation();
    event.preventDefault();
    box.setPointerCapture(event.pointerId);
    dragged = { id: found.level.id, pointer: event.pointerId, from: yOf(event), grip: found.off, price: null };
    box.classList.add('dragging');
    chart.applyOptions({ handleScroll: false, handleScale: false });
  }
  /** @param {PointerEvent} event */
  function onMove(event) {
    if (!dragged) {
      box.classList.toggle('over-line', levelAt(event) !== undefined);
      return;
    }
    if (event.pointerId !== dragged.pointer) return;
    const y = yOf(event);
    if (dragged.price === null && Math.abs(y - dragged.from) < SLACK) return;
    const price = series.coordinateToPrice(y - dragged.grip);
    const taken = levels.get(dragged.id);
    // The scale goes on below zero, where most prices never are.
    if (!taken || price === null || (price <= 0 && taken.level.price > 0)) return;
    dragged.price = price;
    taken.line.applyOptions({ price });
  }
  /** @param {PointerEvent} event */
  function onEnd(event) {
    if (!dragged || event.pointerId !== dragged.pointer) return;
    const { id, price } = dragged;
    dragged = null;
    box.classList.remove('dragging');
    chart.applyOptions({ handleScroll: true, handleScale: true });
    if (price === null) return;
    // What the browser took away was not put down anywhere.
    const taken = levels.get(id);
    if (event.type === 'pointerup') moved(id, price);
    else taken?.line.applyOptions({ price: taken.level.price });
  }
  box.addEventListener('pointerdown', onDown, { capture: true });
  box.addEventListener('pointermove', onMove);
  box.addEventListener('pointerup', onEnd);
  box.addEventListener('pointercancel', onEnd);
  // Follows the pointerdown. Without it the browser soon takes the finger for one that scrolls, and the chart does, too.
  box.addEventListener('touchstart', (event) => {
    if (!dragged) return;
    event.stopPropagation();
    event.preventDefault();
  }, { capture: true, passive: false });

  return {
    /** @param {Candle[]} all oldest first @param {number} digits decimals of a price */
    set(all, digits) {
      const before = candles[0];
      candles = all;
      setDigits(digits);
      const range = before && all[0] && all[0].ts < before.ts ? chart.timeScale().getVisibleRange() : null;
      series.setData(all.map(barOf));
      volumes.setData(all.map(volumeOf));
      // What was put before the first must not move what is looked at.
      if (range) chart.timeScale().setVisibleRange(range);
    },

    /** The last one, grown, or the one after it. @param {Candle} candle @param {number} digits decimals of a price */
    update(candle, digits) {
      setDigits(digits);
      const last = candles.at(-1);
      if (last && candle.ts < last.ts) return;
      if (last?.ts === candle.ts) candles[candles.length - 1] = candle;
      else candles.push(candle);
      series.update(barOf(candle));
      volumes.update(volumeOf(candle));
    },

    /** @param {boolean} on */
    showSeconds(on) {
      chart.applyOptions({ timeScale: { secondsVisible: on } });
    },

    toNow() {
      chart.timeScale().resetTimeScale();
    },

    /** @param {Level[]} wanted */
    setLevels(wanted) {
      const ids = new Set(wanted.map(({ id }) => id));
      for (const [id, { line }] of levels) {
        if (ids.has(id)) continue;
        series.removePriceLine(line);
        levels.delete(id);
      }
      for (const level of wanted) {
        const known = levels.get(level.id);
        const look = { price: level.price, title: level.title, color: colours().accent, axisLabelColor: colours().accent, lineStyle: 2, lineWidth: 2, axisLabelVisible: true };
        if (!known) levels.set(level.id, { level, line: series.createPriceLine(look) });
        else if (dragged?.id !== level.id) {
          known.level = level;
          known.line.applyOptions(look);
        }
      }
    },

    /** A price that is in sight, near the top; null where nothing is drawn yet. @returns {number | null} */
    above() {
      return series.coordinateToPrice(box.clientHeight * NEW_LINE);
    },

    /** Where a price is drawn, CSS pixels from the top of the box; null where it is out of sight. @param {number} price @returns {number | null} */
    yOf(price) {
      return series.priceToCoordinate(price);
    },
  };
}
