// Every version of the official client, over every transport, gets its prices without a gap.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { closeAfter, connect, next, open, request, serve, transports, until, versions, within } from '../support/clients.mjs';
import { isErrorEvent, isPong, isRefused, isSubscribed, isUnsubscribed } from '../support/contract.mjs';
import { Feed } from '../support/feed.mjs';

/** How many live ticks of each symbol a client must get. */
const TICKS = 40;
const SYMBOLS = ['BTC', 'ETH', 'SOL'];

describe('versions', { concurrency: true }, () => {
  /** @type {import('../support/server.mjs').Server} */
  let server;
  /** @type {(() => Promise<void>)[]} */
  const undo = [];

  before(async () => {
    server = await serve({ after: (each) => undo.push(each) }, { UPDATE_INTERVAL: '25', APP_ID: 'versions' });
  });
  after(() => Promise.all(undo.map((each) => each())));

  for (const version of versions) {
    for (const [name, list] of Object.entries(transports)) {
      for (const byEvent of [false, true]) {
        it(`${version}, ${name}, answer by ${byEvent ? 'event' : 'callback'}`, async (test) => {
          const socket = open(server.url, { version, transports: list });
          closeAfter(test, socket);
          const feed = new Feed(socket);
          // Asked before it is connected, so that the request is the first thing that it says, and an upgrade
          // happens while ticks flow.
          const answer = await (byEvent ? feed.subscribeByEvent(SYMBOLS) : feed.subscribe(SYMBOLS));
          isSubscribed(answer, { symbols: SYMBOLS, id: 'versions' });
          await feed.ticks(TICKS);

          const transport = () => socket.io.engine.transport.name;
          if (name === 'upgrade') {
            await until(() => transport() === 'websocket', 'the upgrade');
            // Ticks after the upgrade, however late it came.
            await feed.ticks(5);
          } else {
            assert.equal(transport(), name);
          }

          isUnsubscribed(await feed.unsubscribe('ETH'), ['ETH']);
          await feed.ticks(3, ['BTC', 'SOL']);
          feed.check();
        });
      }
    }

    it(`${version}: ping under the name latency`, async (test) => {
      const socket = await connect(server.url, { version });
      closeAfter(test, socket);
      isPong(await request(socket, 'latency', { sent: 1 }), { sent: 1 });
      const answered = next(socket, 'latency');
      socket.emit('latency', 'two');
      isPong(await answered, 'two');
    });

    it(`${version}: failures by callback`, async (test) => {
      const socket = await connect(server.url, { version });
      closeAfter(test, socket);
      isRefused(await request(socket, 'subscribe', { symbols: 5 }), 'invalid_payload', 'symbols');
      isRefused(await request(socket, 'no-such-event', 1), 'unknown_event', 'no-such-event');
    });

    it(`${version}: leaves by itself, and the server knows`, async () => {
      const mine = async () => (await server.json('/stats')).subscriptions[symbol] ?? 0;
      // A symbol of its own: the other tests run at the same time.
      const symbol = { '4.x': 'DOGE', '3.x': 'ADA', '2.x': 'XRP' }[version] ?? '';
      for (const list of Object.values(transports)) {
        const socket = await connect(server.url, { version, transports: list });
        isSubscribed(await request(socket, 'subscribe', symbol), { symbols: [symbol] });
        await until(async () => (await mine()) === 1, 'its subscription to be counted');
        socket.close();
        await until(async () => (await mine()) === 0, 'its subscription to be gone');
      }
    });
  }

  // 2.x keeps these names for itself.
  for (const version of ['4.x', '3.x']) {
    for (const [name, list] of Object.entries(transports)) {
      it(`${version}, ${name}: ping`, async (test) => {
        const socket = await connect(server.url, { version, transports: list });
        closeAfter(test, socket);
        isPong(await request(socket, 'ping'), null);
        isPong(await request(socket, 'ping', { deep: ['é', 1.5, null] }), { deep: ['é', 1.5, null] });
        const answered = next(socket, 'pong');
        socket.emit('ping', 17);
        isPong(await answered, 17);
      });
    }

    it(`${version}: failures by event`, async (test) => {
      const socket = await connect(server.url, { version });
      closeAfter(test, socket);
      const refused = next(socket, 'error');
      socket.emit('unsubscribe', 7);
      isErrorEvent(await refused, 'unsubscribe', 'invalid_payload');
      const unknown = next(socket, 'error');
      socket.emit('no-such-event');
      isErrorEvent(await unknown, 'no-such-event', 'unknown_event', 'no-such-event');
    });
  }

  it('4.x: two clients over one address do not see each other\'s subscriptions', async (test) => {
    const [one, other] = await Promise.all([connect(server.url), connect(server.url)]);
    closeAfter(test, one, other);
    const [ones, others] = [new Feed(one), new Feed(other)];
    await Promise.all([ones.subscribe(['BTC']), others.subscribe(['ETH'])]);
    await Promise.all([ones.ticks(5), others.ticks(5)]);
    await within(ones.settle(others), 'both to settle');
    others.check();
  });
});
