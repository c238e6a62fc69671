// Coinbase Exchange's feed.
import { Venue } from './venue.mjs';

const TICKER = {"type":"ticker","sequence":37475248783,"product_id":"ETH-USD","price":"1285.22","open_24h":"1310.79","volume_24h":"245532.79269678","low_24h":"1280.52","high_24h":"1313.8","volume_30d":"9788783.60117027","best_bid":"1285.04","best_bid_size":"0.46688654","best_ask":"1285.27","best_ask_size":"1.56637040","side":"buy","time":"2022-10-19T23:28:22.061769Z","trade_id":370843401,"last_size":"11.4396987"}; // prettier-ignore
const HEARTBEAT = {"type":"heartbeat","sequence":90,"last_trade_id":20,"product_id":"BTC-USD","time":"2014-11-07T08:19:28.464459Z"}; // prettier-ignore

const SUBSCRIBE_WITHIN_MS = 5_000;
const MESSAGES_A_SECOND = 100;
const HEARTBEAT_MS = 1_000;

export class Coinbase extends Venue {
  /** @param {any} [options] */
  constructor(options = {}) {
    super(options);
    /** Products with heartbeats, and when the last one was. @type {Map<import('./venue.mjs').Session, { products: Set<string>, at: number }>} */
    this.heartbeats = new Map();
  }

  attemptLimit() {
    // Eight requests a second, twenty at once.
    return { count: 20, withinMs: 1_500 };
  }

  /** @param {import('./venue.mjs').Session} session @param {any} message */
  receive(session, message) {
    session.count(MESSAGES_A_SECOND);
    if (message.type !== 'subscribe') {
      this.breaks(`an unknown type: ${message.type}`);
      return;
    }
    const channels = message.channels.map((/** @type {any} */ channel) =>
      typeof channel === 'string' ? { name: channel, product_ids: message.product_ids } : channel,
    );
    const wrong = channels.flatMap((/** @type {any} */ channel) => channel.product_ids).find((/** @type {string} */ id) => this.refuse.has(id));
    if (wrong) {
      session.send({ type: 'error', message: 'Failed to subscribe', reason: `${wrong} is not a valid product` });
      return;
    }
    const heartbeats = this.heartbeats.get(session) ?? { products: new Set(), at: 0 };
    this.heartbeats.set(session, heartbeats);
    for (const { name, product_ids: ids } of channels) {
      for (const id of ids) (name === 'ticker' ? session.symbols : heartbeats.products).add(id);
    }
    const all = [
      { name: 'ticker', product_ids: [...session.symbols] },
      { name: 'heartbeat', product_ids: [...heartbeats.products] },
    ];
    session.send({ type: 'subscriptions', channels: all.filter((channel) => channel.product_ids.length > 0) });
    // Kinds that nobody has asked for come, too.
    session.send({ type: 'announcement', text: 'ignore me' });
  }

  others() {
    return [{ type: 'l2update', product_id: 'BTC-USD', changes: [['buy', '10101.80000000', '0.162567']], time: new Date(this.now()).toISOString() }];
  }

  look() {
    const now = Date.now();
    for (const session of this.sessions) {
      if (session.symbols.size === 0 && now - session.opened_ms > SUBSCRIBE_WITHIN_MS) {
        this.breaks('not subscribed within 5 s');
        session.socket.terminate();
      }
      const heartbeats = this.heartbeats.get(session);
      if (!heartbeats || now - heartbeats.at < HEARTBEAT_MS) continue;
      heartbeats.at = now;
      for (const product of heartbeats.products) session.send({ ...HEARTBEAT, product_id: product, time: new Date(this.now()).toISOString() });
    }
  }

  /** @param {import('./venue.mjs').Sent} tick @param {number} order */
  encode({ symbol, n, price, ts }, order) {
    const time = new Date(ts).toISOString().replace('Z', '769Z');
    const sides = { best_bid: String(price - 0.5), best_ask: String(price + 0.5) };
    return { ...TICKER, ...sides, product_id: symbol, price: String(price), sequence: order * 3, time, last_size: String(n) };
  }

  restLimit() {
    // Ten requests a second, fifteen at once.
    return { count: 15, withinMs: 1_000 };
  }

  /** @param {URL} url */
  asked({ pathname, searchParams }) {
    const [, symbol] = /^\/products\/([^/]+)\/candles$/.exec(pathname) ?? [];
    const [granularity, start, end] = ['granularity', 'start', 'end'].map((name) => Number(searchParams.get(name)));
    if (!symbol || ![60, 300, 900, 3600, 21600, 86400].includes(granularity) || (end - start) / granularity > 300) return undefined;
    return { symbol, interval_ms: granularity * 1000, from_ms: start * 1000, to_ms: end * 1000, most: 300 };
  }

  refusal() {
    return { status: 404, body: { message: 'NotFound' } };
  }

  /** Newest first, and in an order of its own. @param {import('./past.mjs').Candle[]} candles */
  encodeCandles(candles) {
    return candles.map(({ ts, open, high, low, close, volume }) => [ts / 1000, low, high, open, close, volume]).reverse();
  }
}
