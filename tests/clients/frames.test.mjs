// The bytes of a WebSocket, read in tiny portions: whatever comes at once (ticks past the engine's queue, answers, chat,
// pings of the engine and of the WebSocket), frames are whole and in order, and ticks that stand for several are exact.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { connect, request, until } from '../support/clients.mjs';
import { Feed, Prices } from '../support/feed.mjs';
import { WAYS, WITH_WEBSOCKET, byteClient, serveBothWays } from '../support/places.mjs';

/** So many that the snapshot of all, and a batch of all, are longer than 65,535 bytes. */
const MANY = Array.from({ length: 1000 }, (_, index) => `SYMBOL-${index}`);

const FEW = Array.from({ length: 20 }, (_, index) => `S${index}`);

/** What waits in the kernel is little, so that writes are taken in part. */
const SMALL = { CLIENT_SNDBUF_BYTES: '4096', CHAT_AUTO_JOIN: 'true', PING_INTERVAL: '200' };

/** @typedef {{ urls: Record<'direct' | 'nginx', string>, server: any, feed: Feed, socket: any, prices: Prices }} Place */

/** How fast a client reads: more comes (bytes a second). */
const SPEED = 150_000;

/** @param {number} most @returns {() => number} */
const upTo = (most) => () => 1 + Math.floor(Math.random() * most);

describe('frames', { concurrency: 2 }, () => {
  /** @type {(() => Promise<void>)[]} */
  const undo = [];
  /** @type {Record<string, Place>} */
  const places = {};

  before(async () => {
    for (const [name, env] of Object.entries({
      many: { SYMBOLS: MANY.join(), UPDATE_INTERVAL: '400' },
      few: { SYMBOLS: FEW.join(), UPDATE_INTERVAL: '10' },
      one: { SYMBOLS: 'BTC', UPDATE_INTERVAL: '20' },
    })) {
      const { server, urls } = await serveBothWays({ after: (each) => undo.push(each) }, { ...SMALL, ...env });
      const prices = new Prices();
      const socket = await connect(server.url);
      const feed = new Feed(socket, { heard: prices.note });
      await feed.subscribe('*');
      places[name] = { server, urls, feed, socket, prices };
    }
  });
  after(async () => {
    for (const { socket } of Object.values(places)) socket.close();
    await Promise.all(undo.map((each) => each()));
    for (const { feed } of Object.values(places)) feed.check();
  });

  for (const [kind] of Object.entries(WITH_WEBSOCKET)) {
    for (const way of WAYS) {
      for (const { eio = 4, name, portion } of [
        { name: 'many', portion: 2000 },
        { name: 'few', portion: 200 },
        { name: 'one', portion: 1 },
        // Where the engine is asked nothing it cannot be upgraded here either.
        ...(kind === 'websocket' ? [{ eio: 3, name: 'few', portion: 200 }] : []),
      ]) {
        it(`EIO=${eio}, ${kind}, ${way}, ${name} symbols, portions of at most ${portion}`, async (test) => {
          const place = places[name];
          const client = await byteClient(test, place.urls[way], /** @type {any} */ (kind), { eio, portion: upTo(portion) });
          const socket = client.socket();
          const claims = new Prices();
          claims.known = place.prices.known;
          const feed = new Feed(socket, { heard: claims.claim });
          /** @type {number[]} */
          const answered = [];
          /** @type {string[]} */
          const heard = [];
          socket.on('chat-message', ({ text }) => heard.push(text));
          const subscribed = feed.subscribe({ symbols: '*', mode: 'both' });
          const speaks = `${kind} ${way} ${eio}`;
          let asked = 0;
          // What nginx and the kernel would keep for who reads slowly is megabytes: there all comes late, but is whole.
          const falls = name !== 'one' && way === 'direct';
          if (falls) client.pace(SPEED);
          // Frames of each length, over these servers, pings of the engine among them, and ticks that stand for several.
          const all = () => (
            client.lengths[7] > 20 && (name !== 'few' || client.lengths[16] > 3) && (!falls || claims.most > 1)
            && (name !== 'many' || client.lengths[64] > 1) && (eio === 3 || client.pings > 2)
          );
          for (let turn = 0; turn < 5; turn += 1) {
            // Several at once, and what the engine answers among them.
            for (let each = 0; each < 5; each += 1) {
              const number = (asked += 1);
              socket.emit('latency', number, (/** @type {any} */ { echo }) => answered.push(echo));
            }
            client.ping(`turn ${turn}`);
            if (eio === 3) client.send('2');
            socket.emit('chat', `${speaks} ${turn}`, () => {});
            await client.take(`pong turn ${turn}`);
            await until(() => answered.length === asked || client.ended, 'answers');
          }
          await subscribed;
          await until(() => all() || client.ended, () => JSON.stringify([client.lengths, client.pings, claims.most, client.violations]));
          // One of which is known for which ones it stands, while the reader is slow.
          await until(() => !falls || client.ended || claims.check() > 0, 'ticks for several, of which is known which');
          client.pace();
          await feed.ticks(2);
          client.check();
          assert.ok(!client.ended);
          assert.deepEqual(answered, Array.from({ length: asked }, (_, index) => index + 1), 'answers come in order');
          const mine = heard.filter((text) => text.startsWith(`${speaks} `)).map((text) => Number(text.split(' ')[3]));
          assert.ok(mine.length > 0);
          assert.deepEqual(mine, mine.map((_, index) => index), 'chat comes in order, and whole');
          await request(place.socket, 'latency', 0);
          const several = claims.check();
          test.diagnostic(`${client.bytes} bytes, frames: ${JSON.stringify(client.lengths)}, ${several} ticks for up to ${claims.most}`);
          assert.ok(!falls || several > 0, 'ticks stood for several, and for which ones was seen');
        });
      }
    }
  }
});
