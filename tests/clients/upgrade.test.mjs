// An upgrade in the middle of everything: what was queued for polls and what goes over the WebSocket is one stream.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { closeAfter, connected, open, request, transports, until, versions } from '../support/clients.mjs';
import { ByteWebSocket } from '../support/bytes.mjs';
import { Feed } from '../support/feed.mjs';
import { WAYS, serveBothWays } from '../support/places.mjs';
import { RawPolling } from '../support/raw.mjs';

/** How late a WebSocket comes about (ms). */
const LATE_MS = 300;

/** A way to a server on which each connection for a WebSocket comes about late. @param {any} test @param {string} url */
async function lateWebSockets(test, url) {
  /** @type {Set<net.Socket>} */
  const ends = new Set();
  const { port } = new URL(url);
  const server = net.createServer((here) => {
    const there = net.connect(Number(port), '127.0.0.1');
    /** @type {Promise<unknown>} */
    let ready = Promise.resolve();
    here.on('data', (data) => {
      if (data.includes('transport=websocket')) ready = sleep(LATE_MS);
      // One after the other, however late.
      ready = ready.then(() => there.write(data));
    });
    there.on('data', (data) => here.write(data));
    for (const [end, other] of [[here, there], [there, here]]) {
      ends.add(end);
      end.on('error', () => {});
      end.on('close', () => other.destroy());
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  test.after(() => {
    for (const end of ends) end.destroy();
    server.close();
  });
  const address = server.address();
  assert.ok(address && typeof address === 'object');
  return `http://127.0.0.1:${address.port}`;
}

describe('upgrade', { concurrency: true }, () => {
  /** @type {Awaited<ReturnType<typeof serveBothWays>>} */
  let place;
  /** @type {(() => Promise<void>)[]} */
  const undo = [];
  before(async () => {
    const env = { SYMBOLS: 'BTC,ETH,SOL', UPDATE_INTERVAL: '5', CHAT_AUTO_JOIN: 'true' };
    place = await serveBothWays({ after: (each) => undo.push(each) }, env);
  });
  after(() => Promise.all(undo.map((each) => each())));

  for (const way of WAYS) {
    for (const version of versions) {
      it(`${version}, ${way}: ticks, answers and chat before, during and after`, async (test) => {
        const url = await lateWebSockets(test, place.urls[way]);
        for (let round = 0; round < 3; round += 1) {
          const socket = open(url, { version, transports: transports.upgrade });
          closeAfter(test, socket);
          const feed = new Feed(socket);
          /** @type {string[]} */
          const strange = [];
          /** @type {string[]} */
          const heard = [];
          const me = `${way} ${version} ${round} `;
          socket.on('chat-message', (/** @type {any} */ { text }) => text.startsWith(me) && heard.push(text.slice(me.length)));
          /** @type {number[]} */
          const answered = [];
          await connected(socket);
          const { engine } = socket.io;
          engine.on('packet', (/** @type {any} */ { data }) => String(data).includes('tickcast:') && strange.push(String(data)));
          await feed.subscribe({ symbols: '*', mode: 'both' });
          let said = 0;
          const over = () => engine.transport.name === 'websocket';
          /** How much was said since it has the WebSocket. */
          let since = 0;
          while (since < 20) {
            const number = said;
            said += 1;
            since += over() ? 1 : 0;
            socket.emit('latency', number, (/** @type {any} */ { echo }) => answered.push(echo));
            socket.emit('chat', me + number);
            await sleep(5);
            feed.check();
          }
          await until(() => heard.length === said && answered.length === said, () => `${heard.length} messages and ${answered.length} answers of ${said}`);
          const all = Array.from({ length: said }, (_, index) => index);
          assert.deepEqual(answered, all);
          assert.deepEqual(heard.map(Number), all);
          await feed.ticks(10);
          assert.deepEqual(strange, []);
          socket.close();
        }
      });
    }

    for (const polls of [false, true]) {
      it(`by hand, ${way}: ${polls ? 'a poll is on its way' : 'much is queued'} when it ends`, async (test) => {
        for (let round = 0; round < 5; round += 1) {
          const url = place.urls[way];
          const client = await RawPolling.open(url, { reads: false });
          await client.joinUnread();
          const socket = client.socket();
          const feed = new Feed(socket);
          /** @type {string[]} */
          const heard = [];
          const me = `${way} ${polls} ${round} `;
          socket.on('chat-message', ({ text }) => text.startsWith(me) && heard.push(text.slice(me.length)));
          const subscribed = feed.subscribe({ symbols: '*', mode: 'both' });
          while (feed.symbols.size === 0) await client.pollOnce();
          await subscribed;
          await client.pollOnce();
          const websocket = await ByteWebSocket.open(url, { sid: client.sid });
          test.after(() => websocket.close());
          await websocket.probe();
          // Whatever comes over either is one client's.
          websocket.arrived = (packet) => {
            assert.doesNotMatch(String(packet), /tickcast:/);
            client.arrived(packet);
          };
          /** @type {number[]} */
          const answered = [];
          const speak = (/** @type {number} */ number) => {
            socket.emit('latency', number, ({ echo }) => answered.push(echo));
            socket.emit('chat', me + number);
          };
          for (let number = 0; number < 10; number += 1) speak(number);
          await client.posting;
          const poll = polls ? client.pollOnce() : undefined;
          client.send = (...packets) => websocket.send(...packets);
          client.send('5');
          for (let number = 10; number < 20; number += 1) speak(number);
          await poll;
          await until(() => (heard.length === 20 && answered.length === 20) || websocket.ended,
            () => `${heard.length} messages and ${answered.length} answers of 20`);
          assert.ok(!websocket.ended);
          const all = Array.from({ length: 20 }, (_, index) => index);
          assert.deepEqual(answered, all);
          assert.deepEqual(heard.map(Number), all);
          await feed.ticks(10);
          websocket.check();
          assert.ok(!client.received.some((packet) => String(packet).includes('tickcast:')), 'nothing of the server\'s own');
          assert.equal(await request(socket, 'latency', 1).then(({ echo }) => echo), 1);
          websocket.close();
          client.agent.destroy();
        }
      });
    }
  }
});
