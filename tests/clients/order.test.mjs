// One client's requests take effect in the order in which it sent them, however fast they come.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { closeAfter, connect, request, serve, transports, until, within } from '../support/clients.mjs';
import { isSubscribed } from '../support/contract.mjs';
import { Feed } from '../support/feed.mjs';
import { RawPolling, RawWebSocket } from '../support/raw.mjs';

/** Requests of one burst. */
const BURST = 400;

describe('order', { concurrency: true }, () => {
  /** @type {(() => Promise<void>)[]} */
  const undo = [];
  /** A server, and a feed of another client, by which time passes. @typedef {{ url: string, witness: Feed }} Place */
  /** @type {Record<string, Place>} */
  const places = {};

  before(async () => {
    // Ticks come as fast as they can. But who polls would have so many of them waiting between two requests that there
    // were no room for answers, which rightly ends a connection.
    for (const [name, interval_ms] of Object.entries({ websocket: 2, polling: 20, upgrade: 20 })) {
      const env = { SYMBOLS: 'BTC,ETH,SOL', UPDATE_INTERVAL: `${interval_ms}` };
      const { url } = await serve({ after: (each) => undo.push(each) }, env);
      const watcher = await connect(url);
      closeAfter({ after: (each) => undo.unshift(async () => each()) }, watcher);
      places[name] = { url, witness: new Feed(watcher, { gaps: false }) };
      await places[name].witness.subscribe(['SOL']);
    }
  });
  after(async () => {
    await Promise.all(undo.map((each) => each()));
  });

  for (const [name, list] of Object.entries(transports)) {
    // Only there before the tests begin.
    const place = () => places[name];
    for (const last of ['subscribe', 'unsubscribe']) {
      it(`${name}: a burst that ends with ${last}`, async (test) => {
        const socket = await connect(place().url, { transports: list });
        closeAfter(test, socket);
        // Who polls may fall behind, and gets newer ticks.
        const feed = new Feed(socket, { gaps: name === 'websocket' });
        /** The order in which answers came. @type {number[]} */
        const answered = [];
        const answers = [];
        for (let turn = 0; turn < BURST; turn += 1) {
          const subscribes = (BURST - turn) % 2 === (last === 'subscribe' ? 1 : 0);
          // The feed follows each answer: a tick after the answer to unsubscribe, or before the one to subscribe,
          // is a fault wherever in the burst it is.
          const answer = subscribes ? feed.subscribe(['BTC']) : feed.unsubscribe(['BTC']);
          answers.push(answer.then(() => answered.push(turn)));
        }
        await Promise.all(answers);
        assert.deepEqual(answered, [...answered].sort((a, b) => a - b));
        assert.equal(feed.symbols.has('BTC'), last === 'subscribe');
        if (last === 'subscribe') await feed.ticks(20);
        // The end of a subscription shows in what no longer comes.
        await feed.settle(place().witness);
      });
    }

    it(`${name}: bursts without callbacks`, async (test) => {
      const socket = await connect(place().url, { transports: list });
      closeAfter(test, socket);
      /** Ticks by symbol. @type {Map<string, number>} */
      const ticks = new Map();
      socket.on('tick', (/** @type {any} */ { symbol }) => ticks.set(symbol, (ticks.get(symbol) ?? 0) + 1));
      for (let turn = 0; turn < BURST / 4; turn += 1) {
        socket.emit('subscribe', ['BTC', 'ETH']);
        socket.emit('unsubscribe', ['ETH']);
        socket.emit('subscribe', { symbols: '*', mode: 'batch' });
        socket.emit('unsubscribe', '*');
      }
      // The answer to the last request: all of the burst has taken effect, and its ticks were sent.
      await request(socket, 'subscribe', 'BTC');
      ticks.clear();
      await until(() => (ticks.get('BTC') ?? 0) >= 20, 'ticks of the last subscription');
      assert.deepEqual([...ticks.keys()], ['BTC']);
    });

    it(`${name}: modes in a burst`, async (test) => {
      const socket = await connect(place().url, { transports: list });
      closeAfter(test, socket);
      const feed = new Feed(socket, { gaps: name === 'websocket' });
      const modes = ['tick', 'batch', 'both'];
      const answers = [];
      for (let turn = 0; turn < BURST / 4; turn += 1) {
        answers.push(feed.subscribe({ symbols: turn % 2 ? ['BTC', 'ETH'] : '*', mode: modes[turn % modes.length] }));
      }
      await Promise.all(answers);
      await feed.ticks(5);
      await feed.settle(place().witness);
    });
  }
});

describe('requests at once', () => {
  /** @type {import('../support/server.mjs').Server} */
  let server;
  /** @type {(() => Promise<void>)[]} */
  const undo = [];

  before(async () => {
    server = await serve({ after: (each) => undo.push(each) }, { SYMBOLS: 'BTC,ETH', UPDATE_INTERVAL: '50' });
  });
  after(() => Promise.all(undo.map((each) => each())));

  for (const eio of [4, 3]) {
    it(`EIO=${eio}: a request in the very moment of the connection is answered`, async () => {
      /** Connections at once, and how often. */
      const [clients, rounds] = [100, 4];
      for (let round = 0; round < rounds; round += 1) {
        await Promise.all(Array.from({ length: clients }, async () => {
          const client = await RawWebSocket.open(server.url, { eio });
          try {
            // EIO=3 is connected to the default namespace without asking.
            if (eio === 4) client.send('40');
            const answer = await new Promise((resolve, reject) => {
              client.ws.on('message', (/** @type {Buffer} */ data) => {
                // Within the very call that takes in the server's CONNECT.
                if (/^40($|{)/.test(data.toString())) resolve(client.request('subscribe', '["BTC","ETH"]'));
              });
              client.closed.then(() => reject(new Error('the server ended the connection')));
              if (eio === 3 && client.received.includes('40')) resolve(client.request('subscribe', '["BTC","ETH"]'));
            });
            isSubscribed(answer, { symbols: ['BTC', 'ETH'] });
            await client.take('42["tick",');
          } finally {
            client.close();
          }
        }));
      }
    });
  }

  it('polling: a request in the same moment as the connection is answered', async () => {
    await Promise.all(Array.from({ length: 40 }, async () => {
      const client = await RawPolling.open(server.url);
      await client.join();
      isSubscribed(await client.request('subscribe', '["BTC"]'), { symbols: ['BTC'] });
      await client.take('42["tick",');
      client.close();
      await within(client.closed, 'the end');
    }));
  });

  it('polling: hundreds of requests in one payload', async () => {
    const client = await RawPolling.open(server.url);
    await client.join();
    const packets = Array.from({ length: BURST }, (_, index) => (
      index % 2 ? `42${1000 + index}["unsubscribe",["BTC"]]` : `42${1000 + index}["subscribe",["BTC"]]`
    ));
    client.send(...packets);
    for (const index of packets.keys()) {
      const answer = await client.answer(1000 + index, `request ${index}`);
      assert.equal(answer?.ok, true, `request ${index} of the payload: ${JSON.stringify(answer)}`);
    }
    assert.ok(await client.works());
    assert.deepEqual(new Set(client.posts), new Set([200]));
    client.close();
    await within(client.closed, 'the end');
  });

  // Whoever misses an answer could not know what it gets: so each comes, or the connection ends.
  for (const name of ['websocket', 'polling']) {
    it(`${name}: more requests at once than there may be room for answers`, async () => {
      const count = 5000;
      const requests = Array.from({ length: count }, (_, index) => `42${1000 + index}["subscribe",["BTC"]]`);
      /** @type {RawWebSocket | RawPolling} */
      let client;
      if (name === 'websocket') {
        client = await RawWebSocket.open(server.url);
        await client.join();
        client.send(...requests);
      } else {
        // It reads only once all is sent, as a client does that sends in one portion what it saved up.
        client = await RawPolling.open(server.url, { reads: false });
        await client.joinUnread();
        client.send(...requests);
        await client.posting;
        client.poll();
      }
      const answers = () => client.received.filter((packet) => /^43\d+\[/.test(String(packet))).length;
      await until(() => client.ended || answers() === count, () => `${answers()} of ${count} answers, and no end`);
      if (!client.ended) assert.ok(await client.works());
      client.close();
      await within(client.closed, 'the end');
    });
  }

  for (const name of ['websocket', 'polling']) {
    it(`${name}: no answer is lost among more ticks than there is room for`, async (test) => {
      const fast = await serve(test, { UPDATE_INTERVAL: '1' });
      const slow = async () => (await fast.json('/stats')).slow.clients;
      const requests = [['ping', '1'], ['nope', '1'], ['subscribe', '5'], ['subscribe', '["BTC"]'], ['unsubscribe', '["BTC"]']];
      // A WebSocket takes a while to fill, down to the kernel's buffers.
      for (const [event, payload] of name === 'websocket' ? requests.slice(0, 2) : requests) {
        /** @type {() => void} */
        let read;
        /** @type {RawWebSocket | RawPolling} */
        let client;
        if (name === 'websocket') {
          const websocket = await RawWebSocket.open(fast.url);
          await websocket.join();
          websocket.send('421["subscribe",{"symbols":"*","mode":"both"}]');
          websocket.ws.pause();
          read = () => websocket.ws.resume();
          client = websocket;
        } else {
          const polling = await RawPolling.open(fast.url, { reads: false });
          await polling.joinUnread();
          polling.send('421["subscribe","*"]');
          read = () => polling.poll();
          client = polling;
        }
        const { messages } = await fast.json('/stats');
        // Ticks wait, each for all that came since.
        await until(async () => (await slow()) === 1, 'ticks to wait');
        client.send(`422["${event}",${payload}]`);
        await until(async () => (await fast.json('/stats')).messages.received > messages.received, 'the request to arrive');
        read();
        const answered = await client.answer(2, event);
        assert.ok(answered || client.ended, `neither an answer to ${event} nor an end`);
        client.close();
        await until(async () => (await fast.json('/stats')).connections.active === 0, 'the client to be gone');
      }
    });
  }
});
