// What a subscription may ask for (a rate), how flushes are put together, and that all of it is the same with and
// without the lanes: for clients of every transport, straight and through nginx.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { closeAfter, connect, request, transports, until } from '../support/clients.mjs';
import { Feed, Prices } from '../support/feed.mjs';
import { WAYS, WITH_WEBSOCKET, byteClient, serveBothWays } from '../support/places.mjs';
import { RawPolling } from '../support/raw.mjs';

const ALL = ['BTC', 'ETH', 'SOL'];

/** @typedef {Awaited<ReturnType<typeof serveBothWays>>} Place */

/** A feed of a client of its own. @param {any} test @param {string} url @param {string[]} list @param {ConstructorParameters<typeof Feed>[1]} [options] */
async function feedOf(test, url, list, options) {
  const socket = await connect(url, { transports: list });
  closeAfter(test, socket);
  return new Feed(socket, options);
}

for (const [name, env] of Object.entries({
  'with lanes': {},
  'without lanes': { LANES: 'false' },
  'with lanes and a flush interval': { FLUSH_INTERVAL: '50' },
})) {
  describe(name, { concurrency: 4 }, () => {
    /** @type {Place} */
    let place;
    /** @type {(() => Promise<void>)[]} */
    const undo = [];
    const flushed = 'FLUSH_INTERVAL' in env;
    before(async () => {
      const all = { SYMBOLS: ALL.join(), UPDATE_INTERVAL: flushed ? '5' : '20', CHAT_AUTO_JOIN: 'true', ...env };
      place = await serveBothWays({ after: (each) => undo.push(each) }, all);
    });
    after(() => Promise.all(undo.map((each) => each())));

    for (const [kind, list] of Object.entries(transports)) {
      for (const way of WAYS) {
        it(`${kind}, ${way}: modes, answers, rates`, async (test) => {
          const url = place.urls[way];
          // Who polls gets what came between two polls as one.
          const feed = await feedOf(test, url, list);
          for (const mode of ['tick', 'batch', 'both']) {
            await feed.subscribe({ symbols: '*', mode });
            await feed.ticks(5);
            assert.equal((await request(feed.socket, 'latency', mode)).echo, mode);
          }
          await feed.unsubscribe(['ETH', 'SOL']);
          await feed.ticks(3);
          assert.deepEqual([...feed.symbols.keys()], ['BTC']);
        });

        it(`${kind}, ${way}: a rate is granted and kept, and exact`, async (test) => {
          const url = place.urls[way];
          const prices = new Prices();
          const witness = await feedOf(test, place.urls.direct, transports.websocket, { heard: prices.note });
          await witness.subscribe('*');
          const claims = new Prices();
          claims.known = prices.known;
          /** When the server sent them, as far as can be seen. @type {Map<string, number[]>} */
          const times = new Map();
          const feed = await feedOf(test, url, list, {
            heard: (stream, tick) => {
              claims.claim(stream, tick);
              const key = `${stream} ${tick.symbol}`;
              times.set(key, [...(times.get(key) ?? []), performance.now()]);
            },
          });
          const rate = 5;
          const begun = performance.now();
          const answer = await feed.subscribe({ symbols: '*', mode: 'both', maxRate: rate });
          assert.equal(answer.maxRate, rate);
          await feed.ticks(6);
          await witness.ticks(2);
          const took_s = (performance.now() - begun) / 1000;
          for (const [stream, all] of times) {
            // One may come at once; what the network gathers comes closer together.
            assert.ok(all.length <= took_s * rate + 2, `${all.length} of ${stream} in ${took_s} s`);
          }
          assert.ok(claims.check() > 0 && claims.most > 1);
          // Without one it is every tick again.
          assert.equal((await feed.subscribe(['BTC'])).maxRate, undefined);
          await feed.ticks(10, ['BTC']);
        });
      }
    }

    if (flushed) {
      it('a batch holds several ticks of a symbol, and nothing is lost', async (test) => {
        const feed = await feedOf(test, place.urls.direct, transports.websocket);
        let [most, merged] = [0, 0];
        feed.socket.on('ticks', (/** @type {any[]} */ ticks) => {
          most = Math.max(most, ticks.filter(({ symbol }) => symbol === 'BTC').length);
          merged += ticks.filter(({ n }) => n !== undefined).length;
        });
        await feed.subscribe({ symbols: '*', mode: 'both' });
        // Each by itself, for who keeps up: who stood still for a while begins again.
        await until(async () => {
          const had = merged;
          await feed.ticks(60);
          return merged === had;
        }, 'sixty ticks, each by itself');
        assert.ok(most > 2, `${most} in one batch`);
      });
    }

    for (const kind of /** @type {(keyof typeof WITH_WEBSOCKET)[]} */ (Object.keys(WITH_WEBSOCKET))) {
      it(`${kind}: leaves the namespace and joins it again on the same connection`, async (test) => {
        const client = await byteClient(test, place.urls.direct, kind);
        for (let round = 0; round < 3; round += 1) {
          client.send('421["subscribe",{"symbols":"*","mode":"both"}]');
          assert.equal((await client.answer(1, 'subscribe')).ok, true);
          await client.take('42["tick",');
          await client.take('42["ticks",');
          client.received.splice(0);
          client.send('41');
          // A connection that is still about to leave is not heard.
          const joins = client.take('40{"sid"');
          const again = setInterval(() => client.send('40'), 100);
          client.send('40');
          await joins.finally(() => clearInterval(again));
          const last = client.received.length;
          for (let each = 0; each < 3; each += 1) {
            assert.ok(await client.works());
            await sleep(30);
          }
          const late = client.received.slice(last).filter((packet) => String(packet).startsWith('42["tick'));
          assert.deepEqual(late, [], 'no ticks before a new subscribe');
          client.received.length = 0;
        }
        client.check();
      });
    }
  });
}

describe('deliveries', () => {
  for (const lanes of ['true', 'false']) {
    it(`LANES=${lanes}: each tick to a WebSocket is counted once, and by its way`, async (test) => {
      const place = await serveBothWays(test, { SYMBOLS: ALL.join(), UPDATE_INTERVAL: '20', LANES: lanes });
      const stats = async () => place.server.json('/stats');
      const earlier = await stats();
      const feeds = [];
      for (const list of Object.values(WITH_WEBSOCKET)) {
        const feed = await feedOf(test, place.urls.direct, list);
        await until(() => feed.socket.io.engine.transport.name === 'websocket', 'the upgrade');
        // The server has its part of the upgrade behind it, too.
        await request(feed.socket, 'latency', 0);
        feeds.push(feed);
      }
      for (const feed of feeds) await feed.subscribe({ symbols: '*', mode: 'tick' });
      await Promise.all(feeds.map((feed) => feed.ticks(20)));
      for (const feed of feeds) await feed.unsubscribe('*');
      const now = await stats();
      const received = feeds.reduce((sum, { events }) => sum + events.tick, 0);
      assert.equal(now.deliveries - earlier.deliveries, received);
      assert.equal(now.deliveries_by_lane - earlier.deliveries_by_lane, lanes === 'true' ? received : 0);
    });
  }
});

describe('polling', { concurrency: true }, () => {
  for (const { way, all, interval_ms } of [
    ...WAYS.map((each) => ({ way: each, all: ALL, interval_ms: 10 })),
    // More packets than a task of the server may take from a queue in one turn.
    { way: /** @type {const} */ ('direct'), all: Array.from({ length: 400 }, (_, index) => `S${index}`), interval_ms: 50 },
  ]) {
    it(`${way}, ${all.length} symbols: between two polls ticks wait as one, which is the latest`, async (test) => {
      const place = await serveBothWays(test, { SYMBOLS: all.join(), UPDATE_INTERVAL: `${interval_ms}` });
      const prices = new Prices();
      const witness = await feedOf(test, place.urls.direct, transports.websocket, { heard: prices.note });
      await witness.subscribe('*');
      const client = await RawPolling.open(place.urls[way], { reads: false });
      await client.joinUnread();
      const claims = new Prices();
      claims.known = prices.known;
      const feed = new Feed(client.socket(), { heard: claims.claim });
      const subscribed = feed.subscribe({ symbols: '*', mode: 'tick' });
      // What comes first may be a ping.
      while (feed.symbols.size === 0) await client.pollOnce();
      await subscribed;
      for (let round = 0; round < 10; round += 1) {
        const had = feed.events.tick;
        await witness.ticks(5);
        const newest = new Map(witness.highest);
        // They are of two shards, and that of who polls may be late on a busy machine.
        await witness.ticks(300 / interval_ms);
        while (feed.events.tick === had) await client.pollOnce();
        for (const symbol of all) {
          const last = feed.highest.get(symbol) ?? 0;
          assert.ok(last >= (newest.get(symbol) ?? 0), `${symbol} ${last}, where others had ${newest.get(symbol)} before the poll`);
        }
        feed.check();
      }
      await witness.ticks(2);
      assert.ok(claims.check() > 0 && claims.most > 5);
      client.close();
      await client.posting;
      client.agent.destroy();
    });
  }

  it('a poll that waits is answered with all that goes out at once', async (test) => {
    const all = Array.from({ length: 200 }, (_, index) => `S${index}`);
    const { urls } = await serveBothWays(test, { SYMBOLS: all.join(), UPDATE_INTERVAL: '100' });
    const client = await RawPolling.open(urls.direct, { reads: false });
    await client.joinUnread();
    const feed = new Feed(client.socket());
    // The answer, and behind it what was known of each.
    const subscribed = feed.subscribeByEvent({ symbols: '*', mode: 'tick' });
    while (feed.symbols.size === 0) await client.pollOnce();
    await subscribed;
    assert.ok(feed.events.tick >= all.length && feed.events.tick % all.length === 0, `${feed.events.tick}`);
    const answers = [];
    for (let round = 0; round < 20; round += 1) {
      const had = feed.events.tick;
      await client.pollOnce();
      answers.push(feed.events.tick - had);
    }
    feed.check();
    assert.deepEqual(answers.filter((ticks) => ticks % all.length > 0), [], `${answers}`);
    assert.ok(answers.filter((ticks) => ticks > 0).length > 10, `${answers}`);
    client.close();
    await client.posting;
    client.agent.destroy();
  });
});
