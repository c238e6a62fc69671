// A market that falls silent: what a client did not take in time comes all the same, and ends with the latest there is.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { publish } from '../support/api.mjs';
import { closeAfter, connect, priced, start, until } from '../support/clients.mjs';
import { Feed, Prices } from '../support/feed.mjs';
import { byteClient, serveBothWays, WAYS, WITH_WEBSOCKET } from '../support/places.mjs';
import { RawPolling } from '../support/raw.mjs';

/** Together more than the kernel takes for one who does not read. */
const SYMBOLS = Array.from({ length: 1000 }, (_, index) => `S${index}`);

/** How often at most they are published until the kernel takes no more for one who does not read. */
const ROUNDS = 400;

/** How long it may take until one who does not read has fallen behind, whatever is between (ms). */
const SLOW_DEADLINE_MS = 120_000;

const ENV = {
  SYMBOLS: '',
  PUBLISHED_SYMBOLS: SYMBOLS.join(),
  PUBLISH_RATE: '1000000',
  CLIENT_SNDBUF_BYTES: '4096',
  HISTORY_SECONDS: '0',
  SLOW_CLIENT_TIMEOUT: '60',
};

/** A server whose symbols have one price each, and who sees every one that follows. */
class Market {
  /** @param {any} test */
  static async open(test) {
    const { server, urls } = await serveBothWays(test, ENV, start);
    const market = new Market(server, urls);
    await market.publish();
    await priced(server);
    const socket = await connect(server.url);
    closeAfter(test, socket);
    market.witness = new Feed(socket, { heard: market.prices.note });
    await market.witness.subscribe('*');
    return market;
  }

  /** @param {import('../support/server.mjs').Server} server @param {{ direct: string, nginx: string }} urls */
  constructor(server, urls) {
    this.server = server;
    this.urls = urls;
    this.round = 0;
    this.prices = new Prices();
    /** @type {Feed | undefined} */
    this.witness = undefined;
  }

  /** Gives each symbol one more price. */
  async publish() {
    this.round += 1;
    const answer = await publish(this.server, SYMBOLS.map((symbol, index) => ({ symbol, price: price(this.round, index) })));
    assert.equal(answer.json?.accepted, SYMBOLS.length, answer.text);
  }

  /** Gives each symbol one more price, and resolves when the witness has them. */
  async tick() {
    const all = this.witness?.ticks(1);
    await this.publish();
    await all;
  }

  /** As `tick`; true if the other client was handed all of its own, false if some of them wait. @param {number} whole */
  async tickAll(whole) {
    const before = await this.delivered();
    await this.tick();
    const outcome = await until(async () => {
      if (await this.hasSlow()) return 'waits';
      return (await this.delivered()) - before === SYMBOLS.length + whole && 'taken';
    }, 'all to be taken, or some to wait');
    return outcome === 'taken';
  }

  /** Whether something has waited for a client for a while. */
  async hasSlow() {
    return (await this.server.json('/stats')).slow.clients === 1;
  }

  /** How many ticks were handed to clients. */
  async delivered() {
    return (await this.server.json('/stats')).deliveries;
  }
}

/** Up and down. @param {number} round @param {number} index */
const price = (round, index) => 100 + index + ((round * 7) % 5) + round / 1000;

/**
 * Resolves when a client has every last price, and all that it was told on the way is true.
 *
 * @param {Market} market
 * @param {Feed} feed
 * @param {Prices} claims
 */
async function hasTheLatest(market, feed, claims) {
  const last = (/** @type {string} */ symbol) => [...(market.witness?.symbols.get(symbol)?.last.values() ?? [])][0];
  const missing = () => SYMBOLS.filter((symbol) => [...(feed.symbols.get(symbol)?.last.values() ?? [])].some((seq) => seq !== last(symbol)));
  await until(() => feed.violations.length > 0 || missing().length === 0, () => `the last price of ${missing().slice(0, 5)}`);
  feed.check();
  claims.check();
  assert.ok(claims.claims.length > 0);
}

/** Notes what a client is told, whose prices are those of a market. @param {Market} market */
function claimsOf(market) {
  const claims = new Prices();
  claims.known = market.prices.known;
  return claims;
}

describe('silence', { concurrency: 2 }, () => {
  for (const kind of /** @type {(keyof typeof WITH_WEBSOCKET)[]} */ (Object.keys(WITH_WEBSOCKET))) {
    for (const mode of ['tick', 'both']) {
      it(`${kind}, ${mode}: the last flush, of which the kernel took a part, arrives whole`, async (test) => {
        const market = await Market.open(test);
        const client = await byteClient(test, market.urls.direct, kind);
        const claims = claimsOf(market);
        const feed = new Feed(client.socket(), { heard: claims.claim });
        await feed.subscribe({ symbols: '*', mode });
        client.stop();
        const whole = SYMBOLS.length * (mode === 'both' ? 2 : 1);
        let rounds = 0;
        while (await market.tickAll(whole)) assert.ok((rounds += 1) < ROUNDS, 'it takes everything');
        client.pace();
        await hasTheLatest(market, feed, claims);
        client.check();
        assert.equal(claims.most, 1, 'and nothing of it stood for several');
      });
    }

    for (const way of WAYS) {
      it(`${kind}, ${way}: who has fallen behind gets the latest price of each symbol when he reads again`, async (test) => {
        const market = await Market.open(test);
        const client = await byteClient(test, market.urls[way], kind);
        const claims = claimsOf(market);
        const feed = new Feed(client.socket(), { heard: claims.claim });
        await feed.subscribe({ symbols: '*', mode: 'both' });
        client.stop();
        await until(async () => {
          await market.tick();
          return market.hasSlow();
        }, 'it to have fallen behind', SLOW_DEADLINE_MS);
        await market.tick();
        client.pace();
        await hasTheLatest(market, feed, claims);
        client.check();
        assert.ok(claims.most > 1, 'one stood for several');
      });
    }
  }

  for (const way of WAYS) {
    it(`polling, ${way}: who has not asked for a while gets the latest price of each symbol`, async (test) => {
      const market = await Market.open(test);
      const client = await RawPolling.open(market.urls[way], { reads: false });
      await client.joinUnread();
      const claims = claimsOf(market);
      const feed = new Feed(client.socket(), { heard: claims.claim });
      const subscribed = feed.subscribe({ symbols: '*', mode: 'both' });
      while (feed.symbols.size === 0) assert.ok(await client.pollOnce());
      await subscribed;
      for (let round = 0; round < 10; round += 1) await market.tick();
      client.poll();
      test.after(() => client.close());
      await hasTheLatest(market, feed, claims);
      assert.ok(claims.most > 1, 'one stood for several');
    });
  }
});
