// Watches the ticks that a client gets, and notes everything that breaks the contract's promises about them: no tick
// before the answer, none after the end, no `seq` left out or gone back, each stream by itself.
import assert from 'node:assert/strict';
import { isSnapshotTick, isTick } from './contract.mjs';
import { request, until, within } from './clients.mjs';

/** Which streams a mode has. @type {Record<string, ('tick' | 'batch')[]>} */
const STREAMS = { tick: ['tick'], batch: ['batch'], both: ['tick', 'batch'] };

/**
 * One symbol of a subscription.
 *
 * @typedef {object} Watched
 * @property {Map<string, number>} last the latest `seq`, by stream
 * @property {Map<string, any>} due snapshot ticks that are still to come as events, by stream
 * @property {Map<string, number>} live how many ticks came after the snapshot, by stream
 */

/** A client's ticks. */
export class Feed {
  /**
   * @param {any} socket
   * @param {{ tickEvent?: string, batchEvent?: string, gaps?: boolean, heard?: (stream: 'tick' | 'batch', tick: any) => void }} [options]
   *   `gaps: false` for who may fall behind; `heard`: is told each live tick
   */
  constructor(socket, { tickEvent = 'tick', batchEvent = 'ticks', gaps = true, heard = () => {} } = {}) {
    this.socket = socket;
    this.gaps = gaps;
    this.heard = heard;
    /** What is subscribed. @type {Map<string, Watched>} */
    this.symbols = new Map();
    /** The highest `seq` ever seen. @type {Map<string, number>} */
    this.highest = new Map();
    /** @type {string[]} */
    this.violations = [];
    /** Events so far: a batch counts as one. */
    this.events = { tick: 0, batch: 0 };
    /** The numbering in force. @type {string | undefined} */
    this.epoch = undefined;
    socket.on(tickEvent, (/** @type {any} */ tick) => this.#arrived('tick', [tick]));
    socket.on(batchEvent, (/** @type {any} */ ticks) => this.#arrived('batch', ticks));
  }

  /** Subscribes with a callback. @param {any} payload */
  subscribe(payload) {
    // Taken in at the moment the answer arrives: the next tick may come with the same packet of bytes.
    return within(
      new Promise((resolve) => {
        this.socket.emit('subscribe', payload, (/** @type {any} */ answer) => {
          this.#answered(answer, false);
          resolve(answer);
        });
      }),
      'the answer to subscribe',
    );
  }

  /** Subscribes without a callback: the snapshot must also come as ticks. @param {any} payload */
  subscribeByEvent(payload) {
    return within(
      new Promise((resolve) => {
        this.socket.once('subscribed', (/** @type {any} */ answer) => {
          this.#answered(answer, true);
          resolve(answer);
        });
        this.socket.emit('subscribe', payload);
      }),
      'the event subscribed',
    );
  }

  /** @param {any} payload */
  unsubscribe(payload) {
    return within(
      new Promise((resolve) => {
        this.socket.emit('unsubscribe', payload, (/** @type {any} */ answer) => {
          for (const symbol of answer.symbols ?? []) this.symbols.delete(symbol);
          resolve(answer);
        });
      }),
      'the answer to unsubscribe',
    );
  }

  /**
   * Resolves when each symbol has had so many more live ticks, in each of its streams.
   *
   * @param {number} count
   * @param {Iterable<string>} [symbols] all that are subscribed
   */
  async ticks(count, symbols = this.symbols.keys()) {
    /** @type {{ symbol: string, stream: string, watched: Watched, goal: number }[]} */
    const goals = [];
    for (const symbol of symbols) {
      const watched = this.symbols.get(symbol);
      assert.ok(watched, `${symbol} is subscribed`);
      for (const [stream, live] of watched.live) goals.push({ symbol, stream, watched, goal: live + count });
    }
    assert.notEqual(goals.length, 0, 'there is something to wait for');
    const missing = () => goals.filter(({ watched, stream, goal }) => (watched.live.get(stream) ?? 0) < goal);
    await until(
      () => this.violations.length > 0 || missing().length === 0,
      () => `${count} ticks of ${missing().map(({ symbol, stream }) => `${symbol} (${stream})`)}`,
    );
    this.check();
  }

  /**
   * Resolves when ticks that this client might wrongly get would have come: another client has had a few, and the
   * server, which answers in order, has answered this one after that.
   *
   * @param {Feed} witness a feed of another client, subscribed to something
   */
  async settle(witness) {
    await witness.ticks(3);
    await request(this.socket, 'latency', null);
    this.check();
  }

  /** Fails on whatever broke the contract so far. */
  check() {
    assert.deepEqual(this.violations.slice(0, 5), []);
  }

  /** @param {any} answer @param {boolean} byEvent */
  #answered(answer, byEvent) {
    if (!answer.ok) return;
    this.epoch = answer.epoch;
    for (const symbol of answer.symbols) {
      /** @type {Watched} */
      const watched = { last: new Map(), due: new Map(), live: new Map() };
      const tick = answer.snapshot.find((/** @type {any} */ each) => each.symbol === symbol);
      if (!tick) {
        this.violations.push(`${symbol} is not in the snapshot`);
        continue;
      }
      this.#notBack('snapshot', tick);
      for (const stream of STREAMS[answer.mode]) {
        watched.last.set(stream, tick.seq);
        watched.live.set(stream, 0);
        if (byEvent) watched.due.set(stream, tick);
      }
      this.symbols.set(symbol, watched);
    }
  }

  /** @param {'tick' | 'batch'} stream @param {any[]} ticks */
  #arrived(stream, ticks) {
    this.events[stream] += 1;
    if (!Array.isArray(ticks) || ticks.length === 0) {
      this.violations.push(`a batch that is none: ${JSON.stringify(ticks)}`);
      return;
    }
    for (const tick of ticks) {
      const watched = this.symbols.get(tick.symbol);
      const last = watched?.last.get(stream);
      const due = watched?.due.get(stream);
      try {
        if (due) isSnapshotTick(tick);
        else isTick(tick);
      } catch (error) {
        this.violations.push(String(error));
      }
      if (tick.epoch !== undefined && tick.epoch !== this.epoch) {
        this.violations.push(`${stream} ${tick.symbol} of epoch ${tick.epoch}, not ${this.epoch}`);
      }
      if (!watched || last === undefined) {
        this.violations.push(`${stream} ${tick.symbol} ${tick.seq} that is not subscribed`);
      } else if (due) {
        watched.due.delete(stream);
        if (tick.seq !== due.seq || tick.price !== due.price) {
          this.violations.push(`${stream} ${tick.symbol} ${tick.seq} in place of the snapshot's ${due.seq}`);
        }
      } else {
        const gap = tick.seq - (last + (tick.n ?? 1));
        if (gap < 0 || (gap > 0 && this.gaps)) {
          this.violations.push(`${stream} ${tick.symbol} ${tick.seq} (n ${tick.n ?? 1}) after ${last}`);
        }
        watched.last.set(stream, tick.seq);
        watched.live.set(stream, (watched.live.get(stream) ?? 0) + 1);
        this.heard(stream, tick);
      }
      // The streams of `both` run beside each other, so only within one is a step back a fault.
      this.highest.set(tick.symbol, Math.max(this.highest.get(tick.symbol) ?? 0, tick.seq));
    }
  }

  /** @param {string} what @param {any} tick */
  #notBack(what, tick) {
    const highest = this.highest.get(tick.symbol) ?? 0;
    if (tick.seq < highest) this.violations.push(`${what} ${tick.symbol} ${tick.seq} goes back behind ${highest}`);
    this.highest.set(tick.symbol, Math.max(highest, tick.seq));
  }
}

/** What the prices were, by who got each of them; and what others say that they were, who got one for several. */
export class Prices {
  constructor() {
    /** @type {Map<string, number>} */
    this.known = new Map();
    /** @type {any[]} */
    this.claims = [];
    /** The most updates that one claim stands for. */
    this.most = 0;
  }

  /** A tick of a witness. */
  get note() {
    return (/** @type {unknown} */ _, /** @type {any} */ tick) => {
      if ((tick.n ?? 1) === 1) this.known.set(`${tick.symbol} ${tick.seq}`, tick.price);
    };
  }

  /** A tick of somebody who may get one for several. */
  get claim() {
    return (/** @type {unknown} */ _, /** @type {any} */ tick) => {
      this.claims.push(tick);
      this.most = Math.max(this.most, tick.n ?? 1);
    };
  }

  /** Fails unless each claim is true, and returns how many of them stand for several and could be looked at. */
  check() {
    let several = 0;
    for (const { symbol, seq, price, n = 1, high, low } of this.claims) {
      const prices = Array.from({ length: n }, (_, back) => this.known.get(`${symbol} ${seq - back}`));
      if (prices.includes(undefined)) continue;
      const all = /** @type {number[]} */ (prices);
      assert.equal(price, all[0], `the price of ${symbol} ${seq}`);
      if (n === 1) assert.deepEqual([high, low], [undefined, undefined]);
      else assert.deepEqual({ high, low }, { high: Math.max(...all), low: Math.min(...all) }, `${symbol} ${seq}, n ${n}`);
      several += n > 1 ? 1 : 0;
    }
    return several;
  }
}
