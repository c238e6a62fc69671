// A stand-in for an exchange: a real WebSocket server that replays the documented samples with prices of its own,
// misbehaves when it is told to, and notes each rule that whoever connects breaks. What it says of the past is in past.mjs.
import { createServer } from 'node:http';
import { once } from 'node:events';
import { WebSocketServer } from 'ws';
import { Past } from './past.mjs';

/** Long enough for any test to look at what was sent, short enough for a demo that runs for days. */
const KEPT_TICKS = 100_000;

/**
 * A price that was sent.
 *
 * @typedef {object} Sent
 * @property {string} symbol the exchange's name
 * @property {number} n counts the prices of this symbol from 1
 * @property {number} price
 * @property {number} ts ms
 */

/** One connection. */
export class Session {
  /** @param {Venue} venue @param {import('ws').WebSocket} socket */
  constructor(venue, socket) {
    this.venue = venue;
    this.socket = socket;
    this.opened_ms = Date.now();
    this.heard_ms = Date.now();
    /** Symbols that it gets. @type {Set<string>} */
    this.symbols = new Set();
    /** When each of its last messages came, pongs included. @type {number[]} */
    this.messages = [];
  }

  /** Sends JSON, or a text as it is. @param {unknown} message */
  send(message) {
    if (this.venue.stalled || this.socket.readyState !== this.socket.OPEN) return;
    this.socket.send(typeof message === 'string' ? message : JSON.stringify(message));
  }

  /** Counts a message of the client. Breaks a rule if there are more than so many within a second. @param {number} limit */
  count(limit) {
    const now = Date.now();
    this.heard_ms = now;
    this.messages = [...this.messages.filter((at) => now - at < 1000), now];
    if (this.messages.length > limit) this.venue.breaks(`more than ${limit} messages in a second`);
  }
}

/** An exchange. What is its own is in the classes that extend it. */
export class Venue {
  /** @param {{ everyMs?: number, refuse?: string[], timerMs?: number, past?: Partial<Past>, tls?: (listener: any) => import('node:http').Server }} [options] */
  constructor({ everyMs = 50, refuse = [], tls = undefined, past = {} } = {}) {
    this.everyMs = everyMs;
    this.refuse = new Set(refuse);
    /** Rules that were broken. @type {string[]} */
    this.broken = [];
    /** @type {Set<Session>} */
    this.sessions = new Set();
    /** When each attempt to connect was made. @type {number[]} */
    this.attempts = [];
    /** Prices that were sent to somebody, the newest last. @type {Sent[]} */
    this.sent = [];
    /** How often each symbol ticked. @type {Map<string, number>} */
    this.counts = new Map();
    this.stalled = false;
    /** Nothing ticks by itself. */
    this.paused = false;
    /** Until when connections are answered with 429. */
    this.limitedUntil_ms = 0;
    this.clockOffset_ms = 0;
    this.server = tls ? tls(undefined) : createServer();
    this.scheme = tls ? 'wss' : 'ws';
    this.sockets = new WebSocketServer({ noServer: true });
    this.past = Object.assign(new Past(this), past);
    this.server.on('request', (request, response) => this.past.answer(request, response));
    this.server.on('upgrade', (request, socket, head) => this.#upgrade(request, socket, head));
    this.timers = [setInterval(() => this.paused || this.tickAll(), this.everyMs), setInterval(() => this.look(), 100)];
  }

  /** @param {number} [port] */
  async listen(port = 0) {
    this.server.listen(port, '127.0.0.1');
    await once(this.server, 'listening');
    return this;
  }

  get port() {
    return /** @type {import('node:net').AddressInfo} */ (this.server.address()).port;
  }

  /** What the server has as this exchange's address. */
  get url() {
    return `${this.scheme}://${this.scheme === 'wss' ? 'localhost' : '127.0.0.1'}:${this.port}`;
  }

  /** What the server has as the address of its REST API. */
  get restUrl() {
    return this.url.replace(/^ws/, 'http');
  }

  async close() {
    for (const timer of this.timers) clearInterval(timer);
    for (const { socket } of this.sessions) socket.terminate();
    this.server.closeAllConnections();
    this.server.close();
    await once(this.server, 'close');
  }

  /** @param {string} rule */
  breaks(rule) {
    this.broken.push(rule);
  }

  // What it does when it is told to.

  /** Cuts every connection. */
  drop() {
    for (const { socket } of this.sessions) socket.terminate();
  }

  /** Says nothing more, on whatever connection, but keeps them. */
  stall() {
    this.stalled = true;
  }

  /** Speaks again. */
  speak() {
    this.stalled = false;
  }

  /** Says things that nobody can read. */
  garbage() {
    for (const session of this.sessions) {
      for (const text of ['', '{', 'null', '[[[]]]', '{"type":"ticker"}', '{"channel":"ticker","data":[{}]}', '\u0000', '"ticker"']) {
        session.send(text);
      }
      session.socket.send(Buffer.from([0, 1, 2]));
    }
  }

  /** Says what is documented, and was not asked for. */
  another() {
    for (const session of this.sessions) for (const message of this.others()) session.send(message);
  }

  /** Answers whoever connects with 429 for a while. @param {number} seconds */
  limit(seconds) {
    this.limitedUntil_ms = Date.now() + seconds * 1000;
  }

  /** The next price of a symbol, times this. @param {string} symbol @param {number} factor @returns {Sent} */
  jump(symbol, factor) {
    const n = (this.counts.get(symbol) ?? 0) + 1;
    this.counts.set(symbol, n);
    return this.#send({ symbol, n, price: round(this.price(symbol, n) * factor), ts: this.now() });
  }

  /** A price of a symbol that is older than its last one. @param {string} symbol @returns {Sent} */
  backwards(symbol) {
    const n = this.counts.get(symbol) ?? 0;
    return this.#send({ symbol, n: n - 1, price: 1, ts: this.now() - 60_000 }, { order: 1 });
  }

  // What every one of them does.

  now() {
    return Date.now() + this.clockOffset_ms;
  }

  /** Prices rise slowly from a place of their own, so that each tells which it is. @param {string} symbol @param {number} n */
  price(symbol, n) {
    const base = 100 + ([...symbol].reduce((sum, letter) => sum + letter.charCodeAt(0), 0) % 50);
    return round(base + (n % 1000) * 0.01);
  }

  /** One tick of each symbol that somebody gets. */
  tickAll() {
    const symbols = new Set();
    for (const session of this.sessions) for (const symbol of session.symbols) symbols.add(symbol);
    for (const symbol of symbols) this.tick(symbol);
  }

  /** @param {string} symbol @returns {Sent} */
  tick(symbol) {
    const n = (this.counts.get(symbol) ?? 0) + 1;
    this.counts.set(symbol, n);
    return this.#send({ symbol, n, price: this.price(symbol, n), ts: this.now() });
  }

  /** @param {Sent} tick @param {{ order?: number }} [options] */
  #send(tick, { order = tick.n } = {}) {
    // Built once for all who get it.
    const text = JSON.stringify(this.encode(tick, order));
    let told = false;
    for (const session of this.sessions) {
      if (!session.symbols.has(tick.symbol)) continue;
      session.send(text);
      told = true;
    }
    if (told && !this.stalled) this.sent.push(tick);
    if (this.sent.length > 2 * KEPT_TICKS) this.sent.splice(0, KEPT_TICKS);
    return tick;
  }

  /** @param {any} request @param {any} socket @param {any} head */
  #upgrade(request, socket, head) {
    const now = Date.now();
    this.attempts.push(now);
    const { count, withinMs } = this.attemptLimit();
    if (this.attempts.filter((at) => now - at < withinMs).length > count) {
      this.breaks(`more than ${count} attempts to connect in ${withinMs / 1000} s`);
    }
    if (now < this.limitedUntil_ms) {
      const seconds = Math.ceil((this.limitedUntil_ms - now) / 1000);
      if (this.warned) this.breaks('came back before Retry-After');
      this.warned = true;
      socket.end(`HTTP/1.1 429 Too Many Requests\r\nRetry-After: ${seconds}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`);
      return;
    }
    this.warned = false;
    this.admit(request);
    this.sockets.handleUpgrade(request, socket, head, (client) => {
      const session = new Session(this, client);
      this.sessions.add(session);
      client.on('message', (data) => {
        let message;
        try {
          message = JSON.parse(String(data));
        } catch {
          this.breaks(`not JSON: ${data}`);
          return;
        }
        this.receive(session, message);
      });
      client.on('pong', () => this.ponged(session));
      client.on('close', () => this.sessions.delete(session));
      client.on('error', () => {});
      this.greet(session);
    });
  }

  // What is its own.

  /** How many attempts to connect are allowed. */
  attemptLimit() {
    return { count: 300, withinMs: 300_000 };
  }

  /** Messages of kinds that nobody here asks for. @returns {unknown[]} */
  others() {
    return [];
  }

  /** Looks at a request to connect. @param {...any} request */
  admit(...request) {
    void request;
  }

  /** Says what it says first, to a session. @param {...any} session */
  greet(...session) {
    void session;
  }

  /** Takes a message of a session. @param {...any} message */
  receive(...message) {
    void message;
  }

  /** A session has answered a ping. @param {...any} session */
  ponged(...session) {
    void session;
  }

  /** Looks at the time: heartbeats, pings, and who took too long. */
  look() {}

  /** How many requests for the past are allowed. */
  restLimit() {
    return { count: 3000, withinMs: 60_000 };
  }

  /**
   * What is asked for of the past; none where it is nothing that there is. Of a symbol that is refused: `refusal`.
   *
   * @param {...any} url
   * @returns {import('./past.mjs').Asked | undefined}
   */
  asked(...url) {
    void url;
    return undefined;
  }

  /** Candles as this exchange says them, oldest first. @param {...any} candles @returns {unknown} */
  encodeCandles(...candles) {
    return candles;
  }

  /** How it says that there is no such symbol. @returns {{ status: number, body: unknown }} */
  refusal() {
    return { status: 404, body: {} };
  }

  /** A price as this exchange says it, with its place in the order. @param {...any} tick @returns {unknown} */
  encode(...tick) {
    return tick;
  }
}

/** @param {number} price */
export function round(price) {
  return Math.round(price * 1e6) / 1e6;
}
