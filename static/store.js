/**
 * What the page knows: a row per symbol, and the connection. Takes what the feed says and marks what changed;
 * the marks of everything that happened since the last frame merge into one mask, which is painted once.
 */
import { Row, ROW } from './row.js';

/** What changed beside the rows; bits of a mask. */
export const PANEL = { CONNECTION: 1, COUNTERS: 2, CHOICES: 4 };

/** Above it a symbol is not shown: a page with more rows is of no use to anybody. */
export const MAX_ROWS = 2_000;

/** @typedef {import('./feed.js').Tick} Tick */
/** @typedef {{rows: Map<Row, number>, panels: number}} Changes */

/** @typedef {ReturnType<typeof emptyConnection>} Connection */

function emptyConnection() {
  return {
    phase: /** @type {import('./feed.js').FeedState['phase'] | 'failed'} */ ('connecting'),
    attempt: 0,
    reason: '',
    said: '',
    transport: '',
    server: '',
    epoch: '',
    /** Round trip; null while unknown. @type {number | null} */
    latencyMs: null,
    /** The server's clock minus ours. */
    offsetMs: 0,
    /** Whether the offset was ever measured. */
    offsetKnown: false,
    /** When the server goes, on our clock (ms); null when it has not said so. @type {number | null} */
    drainAt: null,
    /** Whether this page shows a token. */
    hasToken: false,
    /** When the token ends, on the wall clock (ms); null when the server has not said that it soon does. @type {number | null} */
    tokenEndsAt: null,
    /** The whole feed; what single symbols are, their rows know. */
    market: { state: 'live', reason: '' },
    /** How many of the symbols have gone quiet. */
    stale: 0,
    symbols: 0,
  };
}

function emptyCounters() {
  return {
    updates: 0,
    perSecond: 0,
    /** Updates that came as part of another: their high and low are known, their order is not. */
    merged: 0,
    gaps: 0,
    missedInGaps: 0,
    missedAway: 0,
    /** Changes of the numbering: what was missed across one cannot be known. */
    resets: 0,
    /** Updates from while the connection was lost that the server still had. */
    caughtUp: 0,
  };
}

export class Store {
  /** @param {{now?: () => number, wallClock?: () => number}} [clocks] ms */
  constructor({ now = () => performance.now(), wallClock = () => Date.now() } = {}) {
    this.now = now;
    this.wallClock = wallClock;
    /** @type {Map<string, Row>} */
    this.rows = new Map();
    /** What came when the rows were full; bounded by the feed. @type {Set<string>} */
    this.notShown = new Set();
    /** How many symbols have come so far, those that went again, too. */
    this.came = 0;
    this.connection = emptyConnection();
    this.counters = emptyCounters();
    /** @type {Changes} */
    this.dirty = { rows: new Map(), panels: PANEL.CONNECTION | PANEL.COUNTERS };
    this.rateFrom = { at: now(), updates: 0 };
    /** What change, high and low are over: 24 hours once the server has said it, else what was seen since the page was
     *  loaded. @type {'day' | 'sinceLoad'} */
    this.span = 'sinceLoad';
    /** Called when there is something to paint; set by the painter. */
    this.onDirty = () => {};
  }

  // --- what the feed says

  /** @param {Tick} tick @param {{how: 'live' | 'snapshot' | 'replay', joined: boolean}} info */
  tick(tick, { how, joined }) {
    const row = this.rows.get(tick.symbol);
    if (how === 'live') {
      this.counters.updates += 1;
      this.counters.merged += (tick.n ?? 1) - 1;
    }
    if (how === 'replay') this.counters.caughtUp += tick.n ?? 1;
    this.markPanel(PANEL.COUNTERS);
    if (!row) return this.add(tick);
    const { digits } = row;
    let mask = ROW.CHART | ROW.AGE;
    if (tick.price !== row.price) {
      row.moved = Math.sign(tick.price - row.price);
      row.price = tick.price;
      row.fit(tick.price);
      mask |= ROW.PRICE | ROW.MOVED;
    }
    row.seq = tick.seq;
    row.ts = tick.ts;
    row.plot(tick, joined, this.now());
    if (row.widen(tick)) mask |= ROW.FIGURES;
    if (row.learn(tick)) mask |= this.spanOf(row);
    if (row.digits > digits) mask |= ROW.PRICE | ROW.FIGURES;
    mask |= this.setStale(row, tick.stale === true);
    this.mark(row, mask);
  }

  /** The 24 hours' figures of some symbols. @param {import('./feed.js').Stats[]} all */
  stats(all) {
    for (const stats of all) {
      const row = this.rows.get(stats.symbol);
      if (row?.learn(stats)) this.mark(row, this.spanOf(row));
    }
  }

  /** A column means one thing: with the first figures over 24 hours, all rows show those. @param {Row} row */
  spanOf(row) {
    if (this.span === 'sinceLoad' && row.day.open !== null) {
      this.span = 'day';
      for (const other of this.rows.values()) this.mark(other, ROW.FIGURES | ROW.PRICE);
    }
    return ROW.FIGURES | ROW.PRICE;
  }

  /** @param {Tick} tick */
  add(tick) {
    if (this.rows.size >= MAX_ROWS) {
      this.notShown.add(tick.symbol);
      return;
    }
    this.notShown.delete(tick.symbol);
    const row = new Row(tick, this.came);
    this.came += 1;
    row.plot(tick, false, this.now());
    this.rows.set(tick.symbol, row);
    this.setConnection({ symbols: this.rows.size, stale: this.connection.stale + Number(row.stale) });
    this.mark(row, ROW.ADDED | ROW.PRICE | ROW.CHART | ROW.AGE | ROW.STALE | this.spanOf(row));
  }

  /** Nothing comes of them any more: the last price would look like one that holds. @param {string[]} symbols */
  gone(symbols) {
    for (const symbol of symbols) {
      this.notShown.delete(symbol);
      const row = this.rows.get(symbol);
      if (!row) continue;
      this.rows.delete(symbol);
      this.setConnection({ symbols: this.rows.size, stale: this.connection.stale - Number(row.stale) });
      this.mark(row, ROW.REMOVED);
    }
  }

  /** @param {import('./feed.js').FeedState} state */
  state(state) {
    const isOpen = state.phase === 'live' || state.phase === 'subscribing';
    this.setConnection({
      ...state,
      ...(state.phase !== 'live' && { latencyMs: null, drainAt: null }),
      // It is said of a connection, as soon as there is one.
      ...(!isOpen && { tokenEndsAt: null }),
    });
  }

  /** @param {Partial<Connection>} change */
  setConnection(change) {
    Object.assign(this.connection, change);
    this.markPanel(PANEL.CONNECTION);
  }

  /** @param {{ms: number | null, offsetMs: number | null}} latency */
  latency({ ms, offsetMs }) {
    this.setConnection({ latencyMs: ms, ...(offsetMs !== null && { offsetMs, offsetKnown: true }) });
  }

  /** @param {{reconnectInMs: number}} drain */
  drain({ reconnectInMs }) {
    this.setConnection({ drainAt: this.now() + reconnectInMs });
  }

  /** The token ends before long. @param {unknown} raw as the server said it */
  tokenExpiring(raw) {
    const ms = /** @type {any} */ (raw)?.expiresInMs;
    if (Number.isFinite(ms)) this.setConnection({ tokenEndsAt: this.wallClock() + ms });
  }

  /** @param {{state: string, reason: string, symbols: string[] | null}} status */
  status({ state, reason, symbols }) {
    if (symbols === null) {
      const { market } = this.connection;
      // An answer says how the feed is, and not why.
      return this.setConnection({ market: { state, reason: reason || (state === market.state ? market.reason : '') } });
    }
    for (const name of symbols) {
      const row = this.rows.get(name);
      const mask = row ? this.setStale(row, state === 'stale') : 0;
      if (row && mask) this.mark(row, mask);
    }
  }

  /** @param {import('./feed.js').Gap} gap */
  gap({ missed, cause }) {
    if (cause === 'stream') {
      this.counters.gaps += 1;
      this.counters.missedInGaps += missed;
    } else {
      this.counters.missedAway += missed;
    }
    this.markPanel(PANEL.COUNTERS);
  }

  /** @param {{epoch: string, previous: string}} change */
  epoch({ epoch, previous }) {
    this.setConnection({ epoch });
    if (previous) this.counters.resets += 1;
    this.markPanel(PANEL.COUNTERS);
  }

  /** Once a second: ages grow and the rate changes though nothing arrives. */
  clockTick() {
    const at = this.now();
    const seconds = (at - this.rateFrom.at) / 1000;
    if (seconds > 0) {
      this.counters.perSecond = (this.counters.updates - this.rateFrom.updates) / seconds;
      this.rateFrom = { at, updates: this.counters.updates };
    }
    for (const row of this.rows.values()) this.mark(row, ROW.AGE);
    this.markPanel(PANEL.COUNTERS);
  }

  // --- what the views ask

  /** How long ago the source made this price, ms. @param {Row} row */
  age(row) {
    return Math.max(0, this.wallClock() + this.connection.offsetMs - row.ts);
  }

  // --- what is to be painted

  /** @param {Row} row @param {boolean} stale */
  setStale(row, stale) {
    if (row.stale === stale) return 0;
    row.stale = stale;
    this.setConnection({ stale: this.connection.stale + (stale ? 1 : -1) });
    return ROW.STALE;
  }

  /** @param {Row} row @param {number} mask */
  mark(row, mask) {
    this.dirty.rows.set(row, (this.dirty.rows.get(row) ?? 0) | mask);
    this.onDirty();
  }

  /** @param {number} mask */
  markPanel(mask) {
    this.dirty.panels |= mask;
    this.onDirty();
  }

  /** Everything that changed since the last call. @returns {Changes} */
  takeDirty() {
    const taken = this.dirty;
    this.dirty = { rows: new Map(), panels: 0 };
    return taken;
  }
}

/**
 * Paints the views once per animation frame, and only if something changed. A hidden page gets no frames: the marks
 * merge until it is shown again, bounded by the number of rows.
 *
 * @param {Store} store
 * @param {{paint: (changes: Changes) => void}[]} views
 * @param {(paint: () => void) => unknown} [nextFrame]
 */
export function startPainting(store, views, nextFrame = (paint) => requestAnimationFrame(paint)) {
  let scheduled = false;
  const paint = () => {
    scheduled = false;
    const changes = store.takeDirty();
    for (const view of views) view.paint(changes);
  };
  store.onDirty = () => {
    if (scheduled) return;
    scheduled = true;
    nextFrame(paint);
  };
  store.onDirty();
}
