// Binance's market data streams.
import { Venue } from './venue.mjs';

const TICKER = {"e":"24hrTicker","E":1672515782136,"s":"BNBBTC","p":"0.0015","P":"250.00","w":"0.0018","x":"0.0009","c":"0.0025","Q":"10","b":"0.0024","B":"10","a":"0.0026","A":"100","o":"0.0010","h":"0.0025","l":"0.0010","v":"10000","q":"18","O":0,"C":86400000,"F":0,"L":18150,"n":18151}; // prettier-ignore
const MINI_TICKER = {"e":"24hrMiniTicker","E":1672515782136,"s":"BNBBTC","c":"0.0025","o":"0.0010","h":"0.0025","l":"0.0010","v":"10000","q":"18"}; // prettier-ignore
const AGG_TRADE = {"e":"aggTrade","E":1672515782136,"s":"BNBBTC","a":12345,"p":"0.001","q":"100","f":100,"l":105,"T":1672515782136,"m":true,"M":true}; // prettier-ignore
const KLINES = [[1499040000000,"0.01634790","0.80000000","0.01575800","0.01577100","148976.11427815",1499644799999,"2434.19055334",308,"1756.87402397","28.46694368","0"]]; // prettier-ignore

const MAX_STREAMS = 1024;
const MESSAGES_A_SECOND = 5;

/** What is its own beside [`Venue`]'s: how often it pings, and how long it waits for the pong. */
export class Binance extends Venue {
  /** @param {any} [options] */
  constructor({ pingMs = 20_000, pongMs = 60_000, ...options } = {}) {
    super(options);
    this.pingMs = pingMs;
    this.pongMs = pongMs;
    /** The time of each symbol's last one: they rise. @type {Map<string, number>} */
    this.times = new Map();
    /** When each connection was pinged, and has not answered. @type {Map<import('./venue.mjs').Session, number>} */
    this.unanswered = new Map();
    /** @type {Map<import('./venue.mjs').Session, number>} */
    this.pinged = new Map();
    this.channel = 'ticker';
  }

  /** Says that it is about to shut down, and does a while later. @param {number} afterMs */
  shutdown(afterMs) {
    const leaving = [...this.sessions];
    for (const session of leaving) session.send({ stream: '!serverShutdown', data: { e: 'serverShutdown', E: this.now() } });
    setTimeout(() => leaving.forEach(({ socket }) => socket.close(1001)), afterMs);
  }

  /** @param {any} request */
  admit(request) {
    if (request.url !== '/stream') this.breaks(`connects to ${request.url}`);
  }

  /** @param {import('./venue.mjs').Session} session @param {any} message */
  receive(session, message) {
    session.count(MESSAGES_A_SECOND);
    const { method, params, id } = message;
    if (!Number.isInteger(id) || id < 0) {
      this.breaks(`an id that is none: ${id}`);
      session.send({ code: 2, msg: 'Invalid request: request ID must be an unsigned integer' });
      return;
    }
    if (method !== 'SUBSCRIBE') this.breaks(`an unknown method: ${method}`);
    const names = params.map((/** @type {string} */ stream) => {
      const [name, channel] = stream.split('@');
      if (name !== name.toLowerCase()) this.breaks(`a stream in capitals: ${stream}`);
      this.channel = channel;
      return name.toUpperCase();
    });
    if (names.some((/** @type {string} */ name) => this.refuse.has(name))) {
      session.send({ error: { code: 2, msg: 'Invalid request: invalid stream' }, id });
      return;
    }
    for (const name of names) session.symbols.add(name);
    if (session.symbols.size > MAX_STREAMS) this.breaks(`more than ${MAX_STREAMS} streams`);
    session.send({ result: null, id });
  }

  /** @param {import('./venue.mjs').Session} session */
  ponged(session) {
    session.count(MESSAGES_A_SECOND);
    this.unanswered.delete(session);
  }

  others() {
    return [
      { stream: 'btcusdt@depth', data: { e: 'depthUpdate', E: this.now(), s: 'BTCUSDT', U: 157, u: 160, b: [['0.0024', '10']], a: [] } },
      { stream: '!contractInfo', data: { e: 'contractInfo', E: this.now() } },
    ];
  }

  look() {
    if (this.stalled) return;
    for (const session of this.sessions) {
      const now = Date.now();
      const since = this.unanswered.get(session);
      if (since && now - since > this.pongMs) {
        this.breaks('a ping without a pong');
        session.socket.terminate();
      } else if (now - (this.pinged.get(session) ?? session.opened_ms) >= this.pingMs) {
        this.pinged.set(session, now);
        if (!since) this.unanswered.set(session, now);
        session.socket.ping(String(now));
      }
    }
  }

  /** @param {import('./venue.mjs').Sent} tick @param {number} order */
  encode({ symbol, n, price, ts }, order) {
    const at = order === n ? Math.max(ts, (this.times.get(symbol) ?? 0) + 1) : ts;
    if (order === n) this.times.set(symbol, at);
    const both = { E: at, s: symbol };
    const data = {
      ticker: { ...TICKER, ...both, c: String(price), b: String(price - 0.5), a: String(price + 0.5), Q: String(n), L: n },
      miniTicker: { ...MINI_TICKER, ...both, c: String(price) },
      aggTrade: { ...AGG_TRADE, ...both, a: order, p: String(price), q: String(n), T: at },
    }[this.channel];
    return { stream: `${symbol.toLowerCase()}@${this.channel}`, data };
  }

  /** @param {URL} url */
  asked({ pathname, searchParams }) {
    const of = (/** @type {string} */ name) => searchParams.get(name) ?? '';
    const unit = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }[of('interval').slice(-1)];
    const most = Number(of('limit'));
    if (pathname !== '/api/v3/klines' || !unit || most > 1000) return undefined;
    return { symbol: of('symbol'), interval_ms: parseInt(of('interval'), 10) * unit, from_ms: Number(of('startTime')), to_ms: Number(of('endTime')), most };
  }

  refusal() {
    return { status: 400, body: { code: -1121, msg: 'Invalid symbol.' } };
  }

  /** @param {import('./past.mjs').Candle[]} candles @param {import('./past.mjs').Asked} asked */
  encodeCandles(candles, asked) {
    return candles.map(({ ts, open, high, low, close, volume, n }) => {
      const [kline] = structuredClone(KLINES);
      kline.splice(0, 7, ts, ...[open, high, low, close, volume].map(String), ts + asked.interval_ms - 1);
      kline[8] = n;
      return kline;
    });
  }
}
