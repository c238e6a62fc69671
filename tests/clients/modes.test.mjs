// subscribe and unsubscribe: modes, `*`, what replaces what, what is rejected, what is not there yet.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { closeAfter, connect, next, request, serve, transports, until } from '../support/clients.mjs';
import { isErrorEvent, isRefused, isRejection, isSubscribed, isUnsubscribed } from '../support/contract.mjs';
import { Feed } from '../support/feed.mjs';

const ALL = ['BTC', 'ETH', 'SOL', 'ADA', 'XRP', 'LINK'];

/**
 * A connected client and its feed, for the length of a test.
 *
 * @param {any} test
 * @param {import('../support/server.mjs').Server} server
 * @param {ConstructorParameters<typeof Feed>[1] & { transports?: string[] }} [options]
 */
async function feedOf(test, server, { transports: list = transports.websocket, ...options } = {}) {
  const socket = await connect(server.url, { transports: list });
  closeAfter(test, socket);
  return new Feed(socket, options);
}

describe('modes', { concurrency: true }, () => {
  /** @type {import('../support/server.mjs').Server} */
  let server;
  /** @type {any} */
  let watcher;
  /** Another client's feed, whose ticks say that time has passed. @type {Feed} */
  let witness;
  /** @type {(() => Promise<void>)[]} */
  const undo = [];

  before(async () => {
    const env = { SYMBOLS: ALL.join(), UPDATE_INTERVAL: '20', APP_ID: 'modes' };
    server = await serve({ after: (each) => undo.push(each) }, env);
    watcher = await connect(server.url);
    witness = new Feed(watcher);
    await witness.subscribe('*');
  });
  after(async () => {
    watcher.close();
    await Promise.all(undo.map((each) => each()));
    witness.check();
  });

  for (const [name, list] of Object.entries(transports)) {
    for (const mode of ['tick', 'batch', 'both']) {
      for (const byEvent of [false, true]) {
        it(`mode ${mode}, ${name}, answer by ${byEvent ? 'event' : 'callback'}`, async (test) => {
          const feed = await feedOf(test, server, { transports: list });
          const payload = { symbols: ['BTC', 'ETH', 'SOL'], mode };
          const answer = await (byEvent ? feed.subscribeByEvent(payload) : feed.subscribe(payload));
          isSubscribed(answer, { symbols: payload.symbols, mode, id: 'modes' });
          await feed.ticks(20);
          if (mode === 'tick') assert.equal(feed.events.batch, 0);
          if (mode === 'batch') assert.equal(feed.events.tick, 0);
        });
      }
    }
  }

  it('a batch has everything of one flush', async (test) => {
    const feed = await feedOf(test, server);
    /** @type {string[][]} */
    const batches = [];
    await feed.subscribe({ symbols: ['BTC', 'ETH'], mode: 'batch' });
    feed.socket.on('ticks', (/** @type {any[]} */ ticks) => batches.push(ticks.map(({ symbol }) => symbol).sort()));
    await feed.ticks(20);
    // The simulator moves every symbol at once, so nearly every flush has both; a flush may fall between two symbols.
    const whole = batches.filter((each) => new Set(each).size === 2).length;
    assert.ok(whole > batches.length / 2, JSON.stringify(batches));
  });

  it('takes a list, one name, an object, and *', async (test) => {
    const cases = [
      { payload: ['ETH', 'BTC'], symbols: ['BTC', 'ETH'] },
      { payload: 'BTC', symbols: ['BTC'] },
      { payload: '*', symbols: ALL },
      { payload: { symbols: ['BTC'] }, symbols: ['BTC'] },
      { payload: { symbols: '*' }, symbols: ALL },
      { payload: { symbols: ['BTC'], mode: 'tick', colour: 'red' }, symbols: ['BTC'] },
    ];
    for (const { payload, symbols } of cases) {
      const feed = await feedOf(test, server);
      isSubscribed(await feed.subscribe(payload), { symbols, id: 'modes' });
      await feed.ticks(3);
      await feed.settle(witness);
    }
  });

  it('unsubscribe takes a list, one name, and *', async (test) => {
    const cases = [
      { from: '*', payload: '*', gone: ALL },
      { from: ALL, payload: '*', gone: ALL },
      { from: ['BTC', 'ETH', 'SOL'], payload: ['SOL', 'BTC'], gone: ['BTC', 'SOL'] },
      { from: ['BTC', 'ETH'], payload: 'ETH', gone: ['ETH'] },
      { from: '*', payload: ALL, gone: ALL },
    ];
    for (const { from, payload, gone } of cases) {
      const feed = await feedOf(test, server);
      await feed.subscribe(from);
      await feed.ticks(2);
      isUnsubscribed(await feed.unsubscribe(payload), gone);
      await feed.settle(witness);
      if (feed.symbols.size > 0) await feed.ticks(3);
    }
  });

  for (const [name, list] of Object.entries(transports)) {
    for (const mode of ['tick', 'batch', 'both']) {
      it(`one symbol out of * leaves the rest: ${mode}, ${name}`, async (test) => {
        const feed = await feedOf(test, server, { transports: list });
        isSubscribed(await feed.subscribe({ symbols: '*', mode }), { symbols: ALL, mode });
        await feed.ticks(3);
        isUnsubscribed(await feed.unsubscribe(['ETH']), ['ETH']);
        await feed.ticks(5);
        await feed.settle(witness);
        // And back, one by one.
        isSubscribed(await feed.subscribe({ symbols: ['ETH'], mode }), { symbols: ['ETH'], mode });
        await feed.ticks(5);
        assert.deepEqual([...feed.symbols.keys()].sort(), [...ALL].sort());
        isUnsubscribed(await feed.unsubscribe('*'), ALL);
        await feed.settle(witness);
      });
    }
  }

  it('a second subscribe replaces the options of its symbols, and no others', async (test) => {
    const feed = await feedOf(test, server);
    await feed.subscribe({ symbols: ['BTC', 'ETH'], mode: 'tick' });
    await feed.ticks(3);
    for (const mode of ['batch', 'both', 'tick', 'both', 'batch', 'tick']) {
      // The feed holds each symbol to its mode from the answer on: a tick in a stream that it left is a fault.
      isSubscribed(await feed.subscribe({ symbols: ['BTC'], mode }), { symbols: ['BTC'], mode });
      await feed.ticks(5);
    }
    await feed.settle(witness);
  });

  it('* after single symbols, and a single symbol after *, replace the options too', async (test) => {
    const feed = await feedOf(test, server);
    await feed.subscribe({ symbols: ['BTC'], mode: 'batch' });
    await feed.subscribe({ symbols: '*', mode: 'tick' });
    await feed.ticks(5);
    isSubscribed(await feed.subscribe({ symbols: ['SOL'], mode: 'both' }), { symbols: ['SOL'], mode: 'both' });
    await feed.ticks(5);
    await feed.subscribe({ symbols: '*', mode: 'batch' });
    await feed.ticks(5);
    await feed.settle(witness);
  });

  it('the same symbol again, in the same mode, is no second stream', async (test) => {
    const feed = await feedOf(test, server);
    for (let turn = 0; turn < 5; turn += 1) await feed.subscribe(['BTC', 'BTC', 'ETH']);
    await feed.ticks(5);
    isUnsubscribed(await feed.unsubscribe(['BTC', 'BTC']), ['BTC']);
    await feed.settle(witness);
    await feed.ticks(3);
  });

  it('one unknown symbol does not fail the rest', async (test) => {
    const feed = await feedOf(test, server);
    const answer = await feed.subscribe(['BTC', 'FOO', 'ETH', 'BAR']);
    isSubscribed(answer, { symbols: ['BTC', 'ETH'], rejected: ['FOO', 'BAR'] });
    assert.match(answer.rejected.find((/** @type {any} */ each) => each.symbol === 'FOO').message, /FOO/);
    await feed.ticks(3);
    const none = await feed.subscribe({ symbols: ['FOO'], mode: 'both' });
    isSubscribed(none, { symbols: [], rejected: ['FOO'], mode: 'both' });
    await feed.ticks(3);
    isSubscribed(await feed.subscribeByEvent(['FOO']), { symbols: [], rejected: ['FOO'] });
    await feed.settle(witness);
  });

  it('unsubscribe of what is not subscribed changes nothing', async (test) => {
    const feed = await feedOf(test, server);
    await feed.subscribe(['BTC']);
    const answer = await feed.unsubscribe(['ETH', 'BTC', 'FOO']);
    assert.equal(answer.ok, true);
    assert.deepEqual(answer.symbols, ['BTC']);
    for (const each of answer.rejected ?? []) {
      isRejection(each, each.symbol === 'FOO' && each.code === 'unknown_symbol' ? 'unknown_symbol' : 'not_subscribed');
    }
    await feed.settle(witness);
  });

  it('unsubscribe answers by event', async (test) => {
    const feed = await feedOf(test, server);
    await feed.subscribe(['BTC', 'ETH']);
    const answered = next(feed.socket, 'unsubscribed').then((answer) => {
      feed.symbols.delete('BTC');
      return answer;
    });
    feed.socket.emit('unsubscribe', ['BTC']);
    isUnsubscribed(await answered, ['BTC']);
    await feed.settle(witness);
    await feed.ticks(3);
  });

  for (const [what, options] of Object.entries({
    maxRate: { maxRate: 0 },
    since: { since: { BTC: -1 }, epoch: 'abc' },
    epoch: { epoch: 7 },
    stats: { stats: 'yes' },
  })) {
    it(`a wrong ${what} is refused, and changes nothing`, async (test) => {
      const feed = await feedOf(test, server);
      await feed.subscribe(['ETH']);
      const payload = { symbols: ['BTC', 'ETH'], mode: 'batch', ...options };
      isRefused(await request(feed.socket, 'subscribe', payload), 'invalid_payload', what);
      const refused = next(feed.socket, 'error');
      feed.socket.emit('subscribe', payload);
      isErrorEvent(await refused, 'subscribe', 'invalid_payload', what);
      await feed.ticks(3);
      await feed.settle(witness);
      assert.equal(feed.events.batch, 0);
    });
  }

  it('a stats: false asks for nothing', async (test) => {
    const feed = await feedOf(test, server);
    isSubscribed(await feed.subscribe({ symbols: ['BTC'], stats: false }), { symbols: ['BTC'] });
  });

  it('one tick has one price, whoever gets it, in whichever mode', async (test) => {
    /** @type {Map<string, number>} */
    const prices = new Map();
    /** @type {string[]} */
    const differing = [];
    let compared = 0;
    const note = (/** @type {any} */ tick) => {
      const key = `${tick.symbol} ${tick.seq}`;
      if (prices.has(key)) compared += 1;
      if ((prices.get(key) ?? tick.price) !== tick.price) differing.push(key);
      prices.set(key, tick.price);
    };
    const feeds = await Promise.all(['tick', 'batch', 'both'].map(async (mode) => {
      const feed = await feedOf(test, server);
      feed.socket.on('tick', note);
      feed.socket.on('ticks', (/** @type {any[]} */ ticks) => ticks.forEach(note));
      (await feed.subscribe({ symbols: '*', mode })).snapshot.forEach(note);
      return feed;
    }));
    await Promise.all(feeds.map((feed) => feed.ticks(20)));
    assert.deepEqual(differing, []);
    assert.ok(compared > 100, `compared ${compared}`);
  });

  it('the first tick of a symbol says its epoch', async (test) => {
    const feed = await feedOf(test, server);
    const first = new Map();
    feed.socket.on('tick', (/** @type {any} */ tick) => {
      if (!first.has(tick.symbol)) first.set(tick.symbol, tick);
    });
    const answer = await feed.subscribeByEvent('*');
    await feed.ticks(3);
    assert.equal(first.size, ALL.length);
    for (const tick of first.values()) assert.equal(tick.epoch, answer.epoch);
  });
});

describe('modes by setting', { concurrency: true }, () => {
  for (const mode of ['tick', 'batch', 'both']) {
    it(`DEFAULT_MODE=${mode}, events renamed`, async (test) => {
      const names = { tickEvent: 'price-update', batchEvent: 'price-update-bulk' };
      const server = await serve(test, {
        SYMBOLS: 'BTC,ETH',
        UPDATE_INTERVAL: '20',
        DEFAULT_MODE: mode,
        TICK_EVENT: names.tickEvent,
        BATCH_EVENT: names.batchEvent,
      });
      const feed = await feedOf(test, server, names);
      for (const old of ['tick', 'ticks']) {
        feed.socket.on(old, () => feed.violations.push(`${old} under its old name`));
      }
      isSubscribed(await feed.subscribe('*'), { symbols: ['BTC', 'ETH'], mode });
      await feed.ticks(10);
      assert.equal(feed.events.tick > 0, mode !== 'batch');
      assert.equal(feed.events.batch > 0, mode !== 'tick');
      const other = mode === 'tick' ? 'batch' : 'tick';
      isSubscribed(await feed.subscribeByEvent({ symbols: ['BTC'], mode: other }), { symbols: ['BTC'], mode: other });
      await feed.ticks(5);
    });
  }
});

describe('an answer that is larger than what may wait for a client', { concurrency: true }, () => {
  // A thousand symbols are some 170 kB, and 64 kB may wait.
  const count = 1000;
  const names = Array.from({ length: count }, (_, n) => `S${n}`);
  const env = { SYMBOLS: names.join(), UPDATE_INTERVAL: '1000', CLIENT_BUFFER_BYTES: '65536' };
  /** It is much for a busy machine, in parts of what may wait. */
  const LARGE_MS = 90_000;
  for (const list of [['polling'], ['websocket']]) {
    for (const mode of ['tick', 'batch', 'both']) {
      it(`comes whole over ${list}, and ${mode} after it, with a callback and without`, async (test) => {
        const server = await serve(test, env);
        const socket = await connect(server.url, { transports: list, reconnection: false });
        closeAfter(test, socket);
        const answer = await request(socket, 'subscribe', { symbols: '*', mode });
        assert.equal(answer.snapshot.length, count);

        const listener = await connect(server.url, { transports: list, reconnection: false });
        closeAfter(test, listener);
        /** @type {Record<string, Map<string, number[]>>} */
        const seqs = { tick: new Map(), ticks: new Map() };
        const take = (/** @type {string} */ stream, /** @type {any} */ { symbol, seq }) => seqs[stream].set(symbol, [...seqs[stream].get(symbol) ?? [], seq]);
        listener.on('tick', (/** @type {any} */ tick) => take('tick', tick));
        listener.on('ticks', (/** @type {any[]} */ ticks) => ticks.forEach((tick) => take('ticks', tick)));
        listener.emit('subscribe', { symbols: '*', mode });
        const streams = { tick: ['tick'], batch: ['ticks'], both: ['tick', 'ticks'] }[mode] ?? [];
        // The snapshot, and at least one live tick behind it.
        await until(() => streams.every((stream) => seqs[stream].size === count && [...seqs[stream].values()].every((all) => all.length > 1)), 'every symbol twice', LARGE_MS);
        for (const stream of streams) {
          for (const all of seqs[stream].values()) assert.deepEqual(all, [...new Set(all)].sort((a, b) => a - b));
        }
        assert.ok(socket.connected && listener.connected);
      });
    }
  }
});
