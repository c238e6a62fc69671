// The REST API of a stand-in: candles that can be told from their time, and what goes wrong when it is told to.

/**
 * What a request asks for: candles that begin from `from_ms` on, up to and with `to_ms`, the newest `most` of them.
 *
 * @typedef {object} Asked
 * @property {string} symbol the exchange's name
 * @property {number} interval_ms
 * @property {number} from_ms
 * @property {number} to_ms
 * @property {number} most
 */

/**
 * @typedef {object} Candle
 * @property {number} ts ms
 * @property {number} open
 * @property {number} high
 * @property {number} low
 * @property {number} close
 * @property {number} volume
 * @property {number} n
 */

export class Past {
  /** @param {any} venue */
  constructor(venue) {
    this.venue = venue;
    /** What was asked for, and when. @type {{ url: string, at: number, status: number }[]} */
    this.requests = [];
    /** Until when requests are answered with 429. */
    this.limitedUntil_ms = 0;
    /** So long from the first request on. */
    this.limitedFor_ms = 0;
    this.warned = false;
    /** So many requests are answered with garbage, or cut, from now on. */
    this.garbage = 0;
    this.cut = 0;
  }

  /** Answers whoever asks with 429 for a while. @param {number} seconds */
  limit(seconds) {
    this.limitedUntil_ms = Date.now() + seconds * 1000;
  }

  /** Prices of a symbol, some way off those of its ticks. @param {string} symbol @param {number} interval_ms @param {number} ts @returns {Candle} */
  candle(symbol, interval_ms, ts) {
    const k = Math.floor(ts / interval_ms);
    const base = this.venue.price(symbol, 0);
    const [open, close] = [base + (k % 7), base + ((k + 1) % 7)];
    return { ts, open, high: Math.max(open, close) + 0.5, low: Math.min(open, close) - 0.5, close, volume: 10 + (k % 5), n: 3 };
  }

  /** @param {import('node:http').IncomingMessage} request @param {import('node:http').ServerResponse} response */
  answer(request, response) {
    const now = Date.now();
    const said = (/** @type {number} */ status, /** @type {string} */ body, headers = {}) => {
      this.requests.push({ url: request.url ?? '', at: now, status });
      response.writeHead(status, { 'Content-Type': 'application/json', ...headers });
      response.end(body);
    };
    const { count, withinMs } = this.venue.restLimit();
    if (this.requests.filter(({ at }) => now - at < withinMs).length >= count) {
      this.venue.breaks(`more than ${count} requests in ${withinMs / 1000} s`);
    }
    if (this.limitedFor_ms > 0) [this.limitedUntil_ms, this.limitedFor_ms] = [now + this.limitedFor_ms, 0];
    if (now < this.limitedUntil_ms) {
      if (this.warned) this.venue.breaks('asked again before Retry-After');
      this.warned = true;
      said(429, '{}', { 'Retry-After': String(Math.ceil((this.limitedUntil_ms - now) / 1000)) });
      return;
    }
    this.warned = false;
    if (this.cut > 0) {
      this.cut -= 1;
      this.requests.push({ url: request.url ?? '', at: now, status: 0 });
      request.socket.destroy();
      return;
    }
    if (this.garbage > 0) {
      this.garbage -= 1;
      said(200, ['<html>', '{"candles":[]}', '[[1]]', '[null]'][this.garbage % 4]);
      return;
    }
    const asked = this.venue.asked(new URL(request.url ?? '', 'http://stand-in'));
    if (!asked) {
      this.venue.breaks(`asked for ${request.url}`);
      said(404, '{}');
      return;
    }
    if (this.venue.refuse.has(asked.symbol)) {
      const { status, body } = this.venue.refusal();
      said(status, JSON.stringify(body));
      return;
    }
    const { symbol, interval_ms, from_ms, to_ms, most } = asked;
    const candles = [];
    const last = Math.min(to_ms, this.venue.now());
    for (let ts = Math.ceil(from_ms / interval_ms) * interval_ms; ts <= last; ts += interval_ms) candles.push(this.candle(symbol, interval_ms, ts));
    said(200, JSON.stringify(this.venue.encodeCandles(candles.slice(-most), asked)));
  }
}
