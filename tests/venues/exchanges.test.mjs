// What holds for every exchange, against a stand-in that replays its documented samples and misbehaves.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { closeAfter, connect, request, until } from '../support/clients.mjs';
import { metricsOf } from '../support/metrics.mjs';
import { EXCHANGES, start } from '../support/venues/feed.mjs';

/** A silence is noticed after 5 s, Binance's, which has no heartbeats, after 30; a busy machine takes its time besides (ms). */
const silence_ms = (/** @type {string} */ name) => (name === 'binance' ? 60_000 : 20_000);

/** A status that says so of a symbol. @param {string} symbol @returns {(status: any) => boolean} */
const isStale = (symbol) => ({ state, symbols }) => state === 'stale' && symbols?.includes(symbol);
/** @param {string} symbol @returns {(status: any) => boolean} */
const isLive = (symbol) => ({ state, symbols }) => state === 'live' && symbols?.includes(symbol);

for (const exchange of EXCHANGES) {
  const { name, btc, eth, wrong, hasSize } = exchange;

  describe(name, { concurrency: true }, () => {
    it('its prices come under the names that clients know, with bid, ask and size', async (test) => {
      const symbols = `BTC=${btc}@${name},XBT=${btc.toLowerCase()}@${name},${eth}@${name}`;
      const { watched, venue } = await start(test, exchange, { symbols, wait: ['BTC', 'XBT', eth] });
      await watched.more('BTC', 3);
      await watched.more('XBT', 3);
      await watched.more(eth, 3);
      for (const [index, tick] of watched.of('BTC').entries()) {
        assert.ok(tick.bid < tick.price && tick.price < tick.ask, JSON.stringify(tick));
        // Of Binance's first trade on a connection nobody knows whether it was heard of before.
        if (index > 0) assert.equal(typeof tick.size, hasSize ? 'number' : 'undefined');
        assert.ok(Math.abs(tick.ts - Date.now()) < 60_000, `${tick.ts}`);
      }
      watched.hasAll('BTC', venue, btc);
      watched.hasAll(eth, venue, eth);
    });

    it('a connection that is cut is made again, and so is one after a while of none', async (test) => {
      const { watched, venue, stats, server } = await start(test, exchange, { env: { STALE_AFTER: '1000' } });
      await watched.more('BTC', 3);
      assert.equal((await stats()).connections[name], 1);
      venue.drop();
      await until(() => venue.attempts.length === 2, 'another attempt');
      await watched.more('BTC', 3);
      const { port } = venue;
      venue.drop();
      venue.server.close();
      await until(async () => (await stats()).reconnects >= 4, 'attempts in vain');
      assert.equal((await stats()).connections[name], 0);
      assert.equal((await server.json('/health')).status, 'ok', 'the exchange is down, and not the server');
      await watched.status(isStale('BTC'));
      await venue.listen(port);
      await watched.more('BTC', 3);
      await watched.status(isLive('BTC'));
      assert.deepEqual(watched.wrong, []);
    });

    it('a connection takes the place of another without a hole', async (test) => {
      const { watched, venue } = await start(test, exchange, { venue: { everyMs: 20 }, env: { EXCHANGE_RECONNECT: '2' } });
      await until(() => venue.attempts.length >= 4, 'some connections', 60_000);
      await watched.more('BTC', 50);
      await until(() => watched.of('BTC').length > 200, 'enough to show something');
      watched.hasAll('BTC', venue, btc);
      await until(() => venue.sessions.size <= 2, 'the old ones to go');
    });

    it('what cannot be read is counted and stops nothing, and what is of another kind is nothing', async (test) => {
      const { watched, venue, stats } = await start(test, exchange);
      venue.another();
      await watched.more('BTC', 3);
      assert.equal((await stats()).garbage, 0);
      venue.garbage();
      await until(async () => (await stats()).garbage >= 5, 'garbage');
      await watched.more('BTC', 3);
      assert.equal(venue.attempts.length, 1, 'the connection goes on');
      watched.hasAll('BTC', venue, btc);
    });

    it('a symbol that it refuses is named, and the others come', async (test) => {
      const symbols = `BTC=${btc}@${name},FOO=${wrong}@${name},${eth}@${name}`;
      const { server, watched, stats } = await start(test, exchange, { symbols, venue: { refuse: [wrong] }, wait: ['BTC', eth] });
      const line = await server.logged(({ fields }) => fields?.message === 'the exchange refuses a symbol: going on without it');
      assert.equal(line.fields.symbol, wrong);
      assert.ok(line.fields.reason.length > 10, line.fields.reason);
      await watched.more('BTC', 3);
      assert.deepEqual((await stats()).refused, { [`${wrong}@${name}`]: 1 });
    });

    it('what goes back in time is dropped and counted', async (test) => {
      const { watched, venue, stats } = await start(test, exchange);
      await watched.more('BTC', 3);
      venue.backwards(btc);
      await until(async () => (await stats()).misdated === 1, 'a tick out of time');
      await watched.more('BTC', 3);
      watched.ticks = watched.ticks.filter(({ price }) => price !== 1 || assert.fail('it was published'));
      assert.deepEqual(watched.wrong, []);
    });

    it('a jump waits for the next price: confirmed, both come, and otherwise none', async (test) => {
      const { watched, venue, stats } = await start(test, exchange, { env: { MAX_JUMP: '20,BTC=10' } });
      venue.paused = true;
      const single = venue.jump(btc, 2);
      const after = venue.tick(btc);
      await until(async () => (await stats()).jumped === 1, 'a jump to be dropped');
      const [first, second] = [venue.jump(btc, 2), venue.jump(btc, 2)];
      await until(() => watched.ticks.some(({ price }) => price === second.price), 'the second price');
      const prices = watched.of('BTC').map(({ price }) => price).slice(-3);
      assert.deepEqual(prices, [after.price, first.price, second.price]);
      assert.ok(!watched.ticks.some(({ price }) => price === single.price));
      assert.equal((await stats()).jumped, 1);
    });

    it('who asks it to come later is obeyed', async (test) => {
      const { watched, venue } = await start(test, exchange);
      const before = venue.attempts.length;
      venue.limit(6);
      venue.drop();
      await until(() => venue.attempts.length > before, 'an attempt that is refused');
      assert.ok(venue.attempts[before] < venue.limitedUntil_ms, 'it came while it was refused');
      await until(() => venue.attempts.length > before + 1, 'the next one');
      const early_ms = venue.limitedUntil_ms - venue.attempts[before + 1];
      assert.ok(early_ms <= 100, `${early_ms} ms too early`);
      await watched.more('BTC', 3);
    });

    it('symbols without ticks are stale, and live again by themselves', async (test) => {
      const { server, watched, venue } = await start(test, exchange, { env: { STALE_AFTER: '400' }, wait: ['BTC', eth] });
      const other = await connect(server.url);
      closeAfter(test, other);
      /** @type {any[]} */
      const told = [];
      other.on('status', (/** @type {any} */ status) => told.push(status));
      await request(other, 'subscribe', [eth]);
      venue.paused = true;
      await watched.status(isStale('BTC'));
      await watched.status(isStale(eth));
      await until(async () => (await server.json('/stats')).ticks.stale.length === 2, 'both to be stale');
      await until(async () => (await request(watched.socket, 'subscribe', ['BTC'])).snapshot[0].stale === true, 'the snapshot to say so');
      assert.deepEqual((await server.json('/stats')).ticks.stale, ['BTC', eth]);
      assert.equal((await metricsOf(server.url)).get('tickcast_symbols_stale'), 2);
      assert.equal((await server.json('/api/prices/BTC')).stale, true);
      const before = watched.statuses.length;
      venue.tick(btc);
      const live = await watched.status(({ state, symbols }) => state === 'live' && symbols, before);
      assert.deepEqual(live.symbols, ['BTC'], 'only what is back');
      // A tick each time: it is stale again so soon after its last one.
      await until(async () => {
        venue.tick(btc);
        const { stale } = (await server.json('/stats')).ticks;
        return stale.length === 1 && stale[0] === eth;
      }, 'it alone to be back');
      Object.assign(venue, { paused: false });
      await until(() => told.some(({ state }) => state === 'live'), 'the other one to be back');
      assert.ok(told.every(({ symbols }) => symbols.every((/** @type {string} */ symbol) => symbol === eth)), JSON.stringify(told));
    });

    it('a connection on which nothing is said is given up, and its symbols are stale meanwhile', async (test) => {
      const { watched, venue, server } = await start(test, exchange, { env: { STALE_AFTER: '1000' } });
      await watched.more('BTC', 3);
      venue.stall();
      await watched.status(isStale('BTC'));
      await until(async () => (await server.json('/stats')).ticks.stale.includes('BTC'), 'it to be stale');
      await until(async () => (await request(watched.socket, 'subscribe', ['BTC'])).snapshot[0].stale === true, 'the snapshot to say so');
      assert.equal(venue.attempts.length, 1, 'long before it is given up');
      await until(() => venue.attempts.length === 2, 'another attempt', silence_ms(name));
      const before = watched.statuses.length;
      venue.speak();
      await watched.more('BTC', 3, silence_ms(name));
      await watched.status(isLive('BTC'), before);
      await until(async () => !(await server.json('/stats')).ticks.stale.includes('BTC'), 'it to be live');
    });
  });
}
