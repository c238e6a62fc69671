/** One symbol as the page knows it: its price, its figures over a span of time, its last minute. */
import { difference, digitsOf } from './format.js';

/** What changed in a row; bits of a mask. `PRICE`: it is to be written again; `MOVED`: it is another one. */
export const ROW = { ADDED: 1, PRICE: 2, CHART: 4, AGE: 8, STALE: 16, FIGURES: 32, MOVED: 64, REMOVED: 128 };

/** The chart shows the last minute: so many points, each standing for so long. */
export const CHART_POINTS = 120;
export const CHART_POINT_MS = 500;

/** @typedef {import('./feed.js').Tick} Tick */
/** @typedef {{at: number, low: number, high: number, last: number, joined: boolean}} Point */
/** Over a span; null where unknown. @typedef {{open: number | null, high: number | null, low: number | null, volume: number | null}} Figures */

/** The newest points, at most `CHART_POINTS`. */
export class Ring {
  constructor(capacity = CHART_POINTS) {
    this.capacity = capacity;
    /** @type {Point[]} */
    this.slots = [];
    this.next = 0;
  }

  get length() {
    return this.slots.length;
  }

  /** The i-th, oldest first. @param {number} i */
  at(i) {
    const start = this.slots.length < this.capacity ? 0 : this.next;
    return this.slots[(start + i) % this.capacity];
  }

  newest() {
    return this.at(this.length - 1);
  }

  /** @param {Point} point */
  push(point) {
    this.slots[this.next] = point;
    this.next = (this.next + 1) % this.capacity;
  }
}

export class Row {
  /** @param {Tick} tick @param {number} place how many came before it */
  constructor(tick, place = 0) {
    this.symbol = tick.symbol;
    this.place = place;
    this.price = tick.price;
    /** Of the last move: -1, 0 or 1. */
    this.moved = 0;
    /** As many decimals as any number shown of it ever had: one price beside another must not be rounded to it. */
    this.digits = digitsOf(tick.price);
    this.seq = tick.seq;
    /** The source's time, ms. */
    this.ts = tick.ts;
    this.stale = tick.stale === true;
    this.points = new Ring();
    /** Since the page was loaded. @type {Figures} */
    this.sinceLoad = { open: tick.price, high: tick.price, low: tick.price, volume: null };
    /** Over 24 hours, where the server knows. @type {Figures} */
    this.day = { open: null, high: null, low: null, volume: null };
    this.learn(tick);
  }

  /** Its first price since the page was loaded. */
  get first() {
    return this.sinceLoad.open ?? this.price;
  }

  /** Makes room for a number's decimals. @param {number} number */
  fit(number) {
    this.digits = Math.max(this.digits, digitsOf(number));
  }

  /**
   * Takes the 24 hours' figures where a message has them, and says whether it had any.
   *
   * @param {{open24h?: number, high24h?: number, low24h?: number, volume24h?: number}} message
   */
  learn({ open24h, high24h, low24h, volume24h }) {
    const { day } = this;
    // They come again and again as they were: only others are looked at.
    if (open24h !== undefined && open24h !== day.open) this.fit(day.open = open24h);
    if (high24h !== undefined && high24h !== day.high) this.fit(day.high = high24h);
    if (low24h !== undefined && low24h !== day.low) this.fit(day.low = low24h);
    if (volume24h !== undefined) day.volume = volume24h;
    return (open24h ?? high24h ?? low24h ?? volume24h) !== undefined;
  }

  /** A new price widens the span's range at once, whatever the server says later. @param {Tick} tick */
  widen(tick) {
    const high = Math.max(tick.price, tick.high ?? tick.price);
    const low = Math.min(tick.price, tick.low ?? tick.price);
    let changed = false;
    for (const figures of [this.sinceLoad, this.day]) {
      if (figures.high !== null && high > figures.high) [figures.high, changed] = [high, true];
      if (figures.low !== null && low < figures.low) [figures.low, changed] = [low, true];
    }
    if (changed) {
      this.fit(high);
      this.fit(low);
    }
    return changed;
  }

  /**
   * @param {Tick} tick
   * @param {boolean} joined
   * @param {number} at ms, on a clock that does not go back
   */
  plot(tick, joined, at) {
    const low = Math.min(tick.price, tick.low ?? tick.price);
    const high = Math.max(tick.price, tick.high ?? tick.price);
    const newest = this.points.newest();
    if (newest && joined && at - newest.at < CHART_POINT_MS) {
      newest.low = Math.min(newest.low, low);
      newest.high = Math.max(newest.high, high);
      newest.last = tick.price;
    } else {
      this.points.push({ at, low, high, last: tick.price, joined: joined && newest !== undefined });
    }
  }

  /** @param {'day' | 'sinceLoad'} span @returns {number | null} percent, null where it cannot be known */
  percent(span) {
    const { open } = this[span];
    return open === null || open === 0 ? null : (difference(this.price, open) / open) * 100;
  }
}
