// Kraken's feed, version 2.
import { Venue } from './venue.mjs';

const TICKER = {"symbol":"BTC/USD","bid":105944.20,"bid_qty":2.5,"ask":105944.30,"ask_qty":3.2,"last":105899.40,"volume":163.28908096,"vwap":105904.39279,"low":104711.00,"high":106613.10,"change":250.00,"change_pct":0.24,"timestamp":"2022-12-25T09:30:59.123456Z"}; // prettier-ignore
// Its number is beyond what JavaScript keeps whole, and what fits into 63 bits.
const STATUS = '{"channel":"status","data":[{"api_version":"v2","connection_id":13834774380200032777,"system":"online","version":"2.0.0"}],"type":"update"}';

const HEARTBEAT_MS = 1_000;
const AFTER_MAINTENANCE_MS = 5_000;

/** What is its own beside [`Venue`]'s: how long a client may say nothing, and whether its ticks have a time. */
export class Kraken extends Venue {
  /** @param {any} [options] */
  constructor({ silenceMs = 60_000, timestamps = true, ...options } = {}) {
    super(options);
    this.silenceMs = silenceMs;
    this.timestamps = timestamps;
    this.pings = 0;
    this.heartbeat_ms = 0;
    this.maintenance_ms = 0;
  }

  /** Closes for maintenance, and is back at once: who comes before 5 s have passed breaks the rule. */
  maintain() {
    for (const session of this.sessions) {
      session.send(STATUS.replace('online', 'maintenance'));
      session.socket.close(1001);
    }
    this.maintenance_ms = Date.now();
  }

  attemptLimit() {
    return { count: 150, withinMs: 600_000 };
  }

  admit() {
    if (Date.now() - this.maintenance_ms < AFTER_MAINTENANCE_MS) this.breaks('came back within 5 s of maintenance');
  }

  /** @param {import('./venue.mjs').Session} session */
  greet(session) {
    session.send(STATUS);
  }

  /** @param {import('./venue.mjs').Session} session @param {any} message */
  receive(session, message) {
    session.count(20);
    const { method, params, req_id: id } = message;
    const times = { time_in: new Date().toISOString(), time_out: new Date().toISOString(), req_id: id };
    if (method === 'ping') {
      this.pings += 1;
      session.send({ method: 'pong', ...times });
    } else if (method === 'subscribe' && params?.channel === 'ticker') {
      for (const symbol of params.symbol) {
        if (this.refuse.has(symbol) || !symbol.includes('/')) {
          session.send({ error: `Currency pair not supported ${symbol}`, method, success: false, symbol, ...times });
          continue;
        }
        session.send({ method, result: { channel: 'ticker', symbol, snapshot: true }, success: true, ...times });
        session.symbols.add(symbol);
        const n = this.counts.get(symbol);
        if (n) session.send(this.encode({ symbol, n, price: this.price(symbol, n), ts: this.now() - 1 }, n, 'snapshot'));
      }
    } else {
      this.breaks(`an unknown method: ${JSON.stringify(message)}`);
    }
  }

  others() {
    return [{ channel: 'instrument', type: 'snapshot', data: { assets: [], pairs: [] } }, { method: 'status', success: true }];
  }

  look() {
    const now = Date.now();
    const beat = now - this.heartbeat_ms >= HEARTBEAT_MS;
    if (beat) this.heartbeat_ms = now;
    for (const session of this.sessions) {
      if (now - session.heard_ms > this.silenceMs) {
        this.breaks(`said nothing for ${this.silenceMs} ms`);
        session.socket.terminate();
      } else if (beat && session.symbols.size > 0) {
        session.send({ channel: 'heartbeat' });
      }
    }
  }

  /** @param {import('./venue.mjs').Sent} tick @param {number} order @param {string} [type] */
  encode({ symbol, n, price, ts }, order, type = 'update') {
    const micros = String(order % 1000).padStart(3, '0');
    const timestamp = new Date(ts).toISOString().replace('Z', `${micros}Z`);
    const data = { ...TICKER, timestamp: this.timestamps ? timestamp : undefined, symbol, last: price, bid: price - 0.5, ask: price + 0.5, volume: n };
    return { channel: 'ticker', type, data: [data] };
  }

  restLimit() {
    // About one a second.
    return { count: 5, withinMs: 4_000 };
  }

  /** @param {URL} url */
  asked({ pathname, searchParams }) {
    const pair = (searchParams.get('pair') ?? '').replace('XBT', 'BTC').replace('XDG', 'DOGE');
    const [minutes, since] = ['interval', 'since'].map((name) => Number(searchParams.get(name)));
    if (pathname !== '/0/public/OHLC' || pair.includes('/') || ![1, 5, 15, 60, 1440].includes(minutes)) return undefined;
    return { symbol: `${pair.slice(0, -3)}/${pair.slice(-3)}`, interval_ms: minutes * 60_000, from_ms: since * 1000 + 1, to_ms: Infinity, most: 720 };
  }

  refusal() {
    return { status: 200, body: { error: ['EQuery:Unknown asset pair'] } };
  }

  /** @param {import('./past.mjs').Candle[]} candles */
  encodeCandles(candles) {
    const rows = candles.map(({ ts, open, high, low, close, volume, n }) => [ts / 1000, ...[open, high, low, close, close, volume].map(String), n]);
    return { error: [], result: { XXBTZUSD: rows, last: rows.at(-2)?.[0] ?? 0 } };
  }
}
