// A server that gets its prices from a stand-in, and a client that watches them.
import assert from 'node:assert/strict';
import { connect, request, until } from '../clients.mjs';
import { startServer } from '../server.mjs';
import { Binance } from './binance.mjs';
import { Coinbase } from './coinbase.mjs';
import { Kraken } from './kraken.mjs';

/** What every exchange has, for tests that hold for each. */
export const EXCHANGES = [
  { name: 'binance', Stand: Binance, btc: 'BTCUSDT', eth: 'ETHUSDT', wrong: 'FAKEUSDT', hasSize: true },
  { name: 'coinbase', Stand: Coinbase, btc: 'BTC-USD', eth: 'ETH-USD', wrong: 'GIBBERISH-USD', hasSize: true },
  { name: 'kraken', Stand: Kraken, btc: 'BTC/USD', eth: 'ETH/USD', wrong: 'FAKECOIN/USD', hasSize: false },
];

/** The settings of a server with this exchange. @param {string} name @param {any} venue @param {string} symbols */
export function settingsFor(name, venue, symbols) {
  const upper = name.toUpperCase();
  return { SOURCES: name, SYMBOLS: symbols, [`${upper}_URL`]: venue.url, [`${upper}_REST_URL`]: venue.restUrl };
}

/** Ticks and statuses as a client gets them. */
export class Watched {
  /** @param {any} socket */
  constructor(socket) {
    this.socket = socket;
    /** @type {any[]} */
    this.ticks = [];
    /** @type {any[]} */
    this.statuses = [];
    /** @type {string[]} */
    this.wrong = [];
    /** @type {Map<string, number>} */
    this.seqs = new Map();
    socket.on('tick', (/** @type {any} */ tick) => {
      const last = this.seqs.get(tick.symbol);
      if (last !== undefined && tick.seq !== last + (tick.n ?? 1)) this.wrong.push(`${tick.symbol} ${tick.seq} after ${last}`);
      this.seqs.set(tick.symbol, tick.seq);
      this.ticks.push(tick);
    });
    socket.on('status', (/** @type {any} */ status) => this.statuses.push(status));
  }

  /** Resolves when so many more ticks of a symbol came. @param {string} symbol @param {number} count @param {number} [limitMs] */
  async more(symbol, count, limitMs) {
    const goal = this.of(symbol).length + count;
    await until(() => this.of(symbol).length >= goal, `${count} ticks of ${symbol}`, limitMs);
  }

  /** @param {string} symbol */
  of(symbol) {
    return this.ticks.filter((tick) => tick.symbol === symbol);
  }

  /**
   * Resolves with the first status, past or to come, for which this holds.
   *
   * @param {(status: any) => boolean} wanted
   * @param {number} [from] how many statuses are not looked at: those of a busy machine's hiccups before
   */
  async status(wanted, from = 0) {
    return until(() => this.statuses.slice(from).find(wanted), () => `a status; had ${JSON.stringify(this.statuses)}`);
  }

  /**
   * Fails unless a client has had every price that the exchange has sent of a symbol, once and in order, between the
   * first and the last that it got.
   *
   * @param {string} symbol @param {any} venue @param {string} listed
   */
  hasAll(symbol, venue, listed) {
    const got = this.of(symbol).map(({ price }) => price);
    const sent = venue.sent.filter((/** @type {any} */ tick) => tick.symbol === listed).map((/** @type {any} */ { price }) => price);
    const from = sent.indexOf(got[0]);
    assert.deepEqual(this.wrong, []);
    assert.ok(from >= 0, `${got[0]} was never sent`);
    const expected = sent.slice(from, from + got.length);
    const odd = got.findIndex((price, index) => price !== expected[index]);
    assert.ok(odd < 0, `not ${expected[odd]}: ${JSON.stringify(this.of(symbol).slice(Math.max(0, odd - 2), odd + 2))}`);
  }
}

/**
 * Starts a stand-in, a server that reads it, and a client. All end with the test, and no rule may have been broken.
 *
 * @param {any} test
 * @param {typeof EXCHANGES[number]} exchange
 * @param {{ symbols?: string, venue?: any, env?: Record<string, string>, wait?: string[] }} [options]
 *   `wait`: symbols that have to have a price before it begins
 */
export async function start(test, exchange, { symbols, venue: options = {}, env = {}, wait = ['BTC'] } = {}) {
  const { name, Stand, btc, eth } = exchange;
  const venue = await new Stand(options).listen();
  const server = await startServer({ ...settingsFor(name, venue, symbols ?? `BTC=${btc}@${name},${eth}@${name}`), ...env });
  test.after(async () => {
    watched.socket.close();
    const ended = await server.stop();
    await venue.close();
    assert.deepEqual(ended, { code: 0, signal: null }, server.tail());
    assert.deepEqual(venue.broken, [], 'rules of the exchange');
  });
  const watched = new Watched(await connect(server.url));
  await until(async () => {
    const answer = await request(watched.socket, 'subscribe', wait);
    return answer.snapshot.length === wait.length;
  }, () => `a price of ${wait}\n${server.tail()}`);
  const stats = async () => (await server.json('/stats')).sources;
  return { venue, server, watched, stats };
}
