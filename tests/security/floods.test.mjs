// Who sends too much, too little, too slowly, or nonsense, harms nobody but himself.
import assert from 'node:assert/strict';
import { randomBytes, randomInt } from 'node:crypto';
import net from 'node:net';
import { after, before, describe, it } from 'node:test';
import { Attempts, long, times } from '../support/attempts.mjs';
import { connect, next, request, until, within } from '../support/clients.mjs';
import { fetchRaw, RawPolling, RawWebSocket, said } from '../support/raw.mjs';
import { startServer } from '../support/server.mjs';

const attempts = new Attempts('floods, slowness and nonsense');
const HANDSHAKE = '/socket.io/?EIO=4&transport=polling';
const MAX_PAYLOAD = 20_000;
/** More than all those who are slow at a time. */
const MAX_TCP_CONNECTIONS = 600;
const kinds = { websocket: RawWebSocket, polling: RawPolling };

/** @type {any} */
let server;
/** One who does nothing wrong, and gets every tick meanwhile. @type {any} */
let honest;
/** @type {{ gaps: string[], count: number, last: Map<string, number> }} */
const seen = { gaps: [], count: 0, last: new Map() };

before(async () => {
  server = await startServer({
    MAX_MESSAGES_PER_SECOND: '20',
    ABUSE_FACTOR: '3',
    // More than the floods of messages have: those are ended for what they say.
    MAX_FRAMES_PER_SECOND: '1000',
    MAX_PAYLOAD: `${MAX_PAYLOAD}`,
    MAX_CONNECTS_PER_SECOND: '200',
    MAX_TCP_CONNECTIONS: `${MAX_TCP_CONNECTIONS}`,
    CONNECT_TIMEOUT: '5000',
    HTTP_HEADER_TIMEOUT: '5000',
    HTTP_BODY_TIMEOUT: '1000',
    HTTP_IDLE_TIMEOUT: '5000',
    SLOW_CLIENT_TIMEOUT: '4',
    CLIENT_SNDBUF_BYTES: '4096',
    CLIENT_BUFFER_BYTES: '65536',
    PING_INTERVAL: '1000',
    PING_TIMEOUT: '5000',
    UPDATE_INTERVAL: '20',
  });
  honest = await connect(server.url);
  await until(async () => (await request(honest, 'subscribe', '*')).snapshot.length === 12, 'prices');
  honest.on('tick', (/** @type {any} */ tick) => {
    const last = seen.last.get(tick.symbol);
    if (last !== undefined && tick.seq !== last + (tick.n ?? 1)) seen.gaps.push(`${tick.symbol} ${last} ${tick.seq} ${tick.n}`);
    seen.last.set(tick.symbol, tick.seq);
    seen.count += 1;
  });
});

after(async () => {
  // Whatever fails here, it ends.
  setTimeout(() => server.child.kill('SIGKILL'), 60_000).unref();
  assert.ok(honest.connected, 'the honest client is still there');
  assert.deepEqual(seen.gaps, []);
  assert.ok(seen.count > 100);
  honest.close();
  // Nothing is left behind of all that.
  let left;
  await until(async () => {
    const { connections, slow } = await server.json('/stats');
    left = { active: connections.active, tcp: connections.tcp, slow: slow.clients };
    // Who asks has a connection, and may have kept some.
    return left.active === 0 && left.tcp <= 10 && left.slow === 0;
  }, () => `everybody to be gone, but ${JSON.stringify(left)}`);
  assert.deepEqual(await server.stop(), { code: 0, signal: null }, server.tail());
  attempts.print();
});

/** Waits until the honest one has had more ticks. */
async function ticking() {
  const before_ = seen.count;
  await until(() => seen.count > before_ + 12, 'ticks to go on');
}

/**
 * A client that is let in. At length there are more of them than may begin in a second (`MAX_CONNECTS_PER_SECOND`): who is
 * one too many comes again.
 *
 * @template T
 * @param {{ open: (url: string, options?: any) => Promise<T> }} Raw
 * @param {any} [options]
 * @returns {Promise<T>}
 */
async function enter(Raw, options) {
  let refused = (await stats()).limited.connects;
  for (;;) {
    try {
      return await Raw.open(server.url, options);
    } catch (error) {
      const { connects } = (await stats()).limited;
      if (connects === refused) throw error;
      refused = connects;
    }
  }
}

/** The figures; where every connection is taken, as soon as there is one. @returns {Promise<any>} */
const stats = () => until(async () => {
  const figures = await server.json('/stats').catch(() => null);
  return figures?.limited && figures;
}, 'the figures');

/** @param {(socket: net.Socket) => void} talk */
const plain = (talk) => said(server.port, talk);

describe('floods', () => {
  const floods = {
    'events with a callback': (/** @type {number} */ n) => `42${n}["ping",${n}]`,
    'events without one': (/** @type {number} */ n) => `42["ping",${n}]`,
    subscriptions: (/** @type {number} */ n) => `42${n}["${n % 2 ? 'un' : ''}subscribe","*"]`,
    'chat messages': (/** @type {number} */ n) => `42${n}["chat","${n}"]`,
    'new tokens': (/** @type {number} */ n) => `42${n}["refresh",{"token":"x"}]`,
    'events that nobody knows': (/** @type {number} */ n) => `42["nope${n}",{}]`,
  };
  for (const [kind, Raw] of Object.entries(kinds)) {
    for (const [what, packet] of Object.entries(floods)) {
      it(`${what} over ${kind}`, async () => {
        // Where the connection does not stand yet, an error without a callback cannot be told: that ends it, too.
        const ends = ({ limited, drops }) => limited.abuse + drops.messages;
        const earlier = ends(await stats());
        for (let round = 0; round < times(1, 20); round += 1) {
          const client = await enter(Raw);
          await client.join();
          client.send(...Array.from({ length: 400 }, (_, n) => packet(n)));
          await within(client.closed, 'the end of the flood');
          attempts.add(`${what}, in floods`, 400);
        }
        const ended = ends(await stats()) - earlier;
        assert.ok(ended >= times(1, 20), `${ended} were ended for it`);
        await ticking();
      });
    }

    it(`joining and leaving over ${kind}`, async () => {
      for (let round = 0; round < times(1, 20); round += 1) {
        const client = await enter(Raw);
        await client.join();
        for (let n = 0; n < 100; n += 1) client.send('41', '40', '42["subscribe","*"]');
        await within(client.closed, 'the end of it');
        attempts.add('joins and leaves, in floods', 200);
      }
      await ticking();
    });
  }

  // What no handler ever sees. Over polling it comes in requests, which are limited by address.
  const unheard = {
    'heartbeats that nobody asked for': (/** @type {any} */ client) => client.send('3'),
    'pings of the client': (/** @type {any} */ client) => client.send('2'),
    'answers to nothing': (/** @type {any} */ client) => client.send('4377[1]'),
    'packets for namespaces that there are not': (/** @type {any} */ client) => client.send('40/nope,'),
    'events in namespaces that there are not': (/** @type {any} */ client) => client.send('42/nope,["x"]'),
    'pings of WebSocket': (/** @type {any} */ client) => client.ws.ping(),
    'a message in parts of nothing': (/** @type {any} */ client) => {
      client.sendBytes(client.begun ? 0x00 : 0x01, 0x80, 0, 0, 0, 0);
      client.begun = true;
    },
  };
  for (const [what, send] of Object.entries(unheard)) {
    it(what, async () => {
      const rounds = times(1, 20);
      const earlier = (await stats()).limited.frames;
      for (let round = 0; round < rounds; round += 1) {
        const client = await enter(RawWebSocket);
        if (round % 2 === 0) await client.join();
        for (let n = 0; n < 5000 && !client.ended; n += 1) send(client);
        await within(client.closed, 'the end of the flood');
        attempts.add(`${what}, in floods`, 5000);
      }
      // Who has not joined may not say all of it: that ends some before.
      const ended = (await stats()).limited.frames - earlier;
      assert.ok(ended >= rounds / 2 && ended <= rounds, `${ended} of ${rounds}`);
      await ticking();
    });
  }

  it('handshakes that nobody goes on with', async () => {
    const count = times(400, 20_000);
    /** @type {Record<number, number>} */
    const statuses = {};
    for (let sent = 0; sent < count; sent += 50) {
      await Promise.all(Array.from({ length: 50 }, async () => {
        const { status } = await fetchRaw(server.url + HANDSHAKE);
        statuses[status] = (statuses[status] ?? 0) + 1;
      }));
    }
    attempts.add('handshakes that nobody went on with', count);
    assert.deepEqual(Object.keys(statuses).filter((status) => !['200', '503'].includes(status)), []);
    await ticking();
  });

  it('connections that say nothing, up to the last place and beyond', async () => {
    for (let round = 0; round < times(1, 10); round += 1) {
      const sockets = Array.from({ length: MAX_TCP_CONNECTIONS + 100 }, () => net.connect(Number(server.port), '127.0.0.1').on('error', () => {}));
      const ended = sockets.map((socket) => new Promise((resolve) => socket.resume().once('close', resolve)));
      await ticking();
      await within(Promise.all(ended), 'all of them to be closed');
      attempts.add('silent connections', sockets.length);
    }
    assert.ok((await stats()).limited.tcp_connections > 0);
  });
});

describe('slowness', { concurrency: true }, () => {
  const count = times(10, 100);

  it('slow heads', async () => {
    const texts = await Promise.all(Array.from({ length: count }, () => plain((socket) => {
      socket.write('GET / HTTP/1.1\r\n');
      const timer = setInterval(() => socket.write('X: y\r\n'), 100);
      socket.on('close', () => clearInterval(timer));
    })));
    assert.ok(texts.every((text) => text === '' || text.startsWith('HTTP/1.1 408')), texts.join('\n'));
    attempts.add('heads that trickle', count);
  });

  it('slow bodies', async () => {
    const { sid } = await enter(RawPolling, { reads: false });
    const texts = await Promise.all(Array.from({ length: count }, () => plain((socket) => {
      socket.write(`POST ${HANDSHAKE}&sid=${sid} HTTP/1.1\r\nHost: x\r\nContent-Length: 10000\r\n\r\n`);
      const timer = setInterval(() => socket.write('x'), 100);
      socket.on('close', () => clearInterval(timer));
    })));
    assert.ok(texts.every((text) => /^HTTP\/1\.1 40[08]/.test(text)), texts.join('\n'));
    attempts.add('bodies that trickle', count);
  });

  it('slow readers of a file', async () => {
    const ended = await Promise.all(Array.from({ length: count }, () => within(new Promise((resolve) => {
      const socket = net.connect(Number(server.port), '127.0.0.1', () => {
        // More than fits on the way, and nobody who reads it.
        for (let n = 0; n < 40; n += 1) socket.write('GET /socket.io/socket.io.js HTTP/1.1\r\nHost: x\r\n\r\n');
        socket.pause();
      });
      socket.on('error', () => resolve(true));
      socket.on('close', () => resolve(true));
      // A paused socket does not see its end; one that writes does.
      const timer = setInterval(() => socket.write('\r\n'), 100);
      socket.on('close', () => clearInterval(timer));
    }), 'the end of who reads nothing')));
    assert.equal(ended.length, count);
    attempts.add('readers of a file that read nothing', count);
  });

  it('slow readers of ticks', async () => {
    const earlier = (await stats()).slow.disconnected;
    const clients = await Promise.all(Array.from({ length: count }, async () => {
      const client = await enter(RawWebSocket);
      await client.join();
      assert.equal((await client.request('subscribe', '"*"')).ok, true);
      client.ws.pause();
      return client;
    }));
    await until(async () => (await stats()).slow.disconnected >= earlier + count, 'all of them to be disconnected');
    for (const client of clients) client.close();
    attempts.add('readers of ticks that read nothing', count);
  });

  it('attachments that never come, frames that never end', async () => {
    for (let n = 0; n < count; n += 1) {
      const client = await enter(RawWebSocket);
      await client.join();
      client.sendBytes(...(n % 2 ? [0x81, 0xfe, 0x40, 0x00, 1, 2, 3, 4, 5] : [0x01, 0x81, 0, 0, 0, 0, 0x34]));
      client.vanish();
      attempts.add('frames that never end');
    }
  });
});

describe('nonsense', () => {
  const big = 'x'.repeat(2 * MAX_PAYLOAD);
  for (const [kind, Raw] of Object.entries(kinds)) {
    it(`oversized packets over ${kind}`, async () => {
      for (const packet of [`42["ping","${big}"]`, `42["${big}"]`, `40{"token":"${big}"}`, big, `4${big}`, `b${big}`]) {
        const client = await enter(Raw);
        if (!packet.startsWith('40')) await client.join();
        client.send(packet);
        if (client instanceof RawWebSocket) await within(client.closed, `the end after ${packet.slice(0, 10)}`);
        else {
          await until(() => client.posts.length > 0 && client.posts.at(-1) !== 200, 'the body to be refused');
          client.close();
        }
        attempts.add('oversized packets');
      }
      await ticking();
    });

    it(`malformed packets over ${kind}`, async () => {
      const seeds = ['42["subscribe",["BTC"]]', '4210["ping",{"a":[1,2,3]}]', '451-["chat",{"_placeholder":true,"num":0}]', '40{"token":"x"}', '42["chat",{"room":"chat","text":"x"}]', '41', '2', '5', '43[1]', '42/admin,["x"]'];
      const count = times(150, 20_000);
      /** @type {any} */
      let client;
      for (let n = 0; n < count; n += 1) {
        if (!client || client.ended) {
          client = await enter(Raw);
          await client.join();
        }
        const bytes = Buffer.from(seeds[n % seeds.length]);
        for (let flips = randomInt(1, 5); flips > 0; flips -= 1) bytes[randomInt(bytes.length)] = randomInt(0x20, 0x7f);
        const packet = bytes.subarray(0, randomInt(1, bytes.length + 1)).toString();
        client.send(packet);
        attempts.add('malformed packets');
        // One after the other, so that an end is the last one's doing.
        if (n % 10 === 9) {
          client.close();
          client = undefined;
        }
      }
      client?.close();
      await ticking();
    });
  }

  it('bytes that are no HTTP, and no frames', async () => {
    const count = times(30, 2000);
    for (let n = 0; n < count; n += 1) {
      await plain((socket) => socket.end(randomBytes(randomInt(1, 4000))));
      const client = await enter(RawWebSocket);
      client.sendBytes(...randomBytes(randomInt(1, 200)));
      client.vanish();
      attempts.add('connections of random bytes', 2);
      if (n % 20 === 0) await ticking();
    }
  });

  it('heads that are too large, bodies that lie about their size', async () => {
    const heads = [
      `GET / HTTP/1.1\r\n${'X: y\r\n'.repeat(long ? 10_000 : 1000)}\r\n`,
      `GET /${'x'.repeat(100_000)} HTTP/1.1\r\n\r\n`,
      `GET / HTTP/1.1\r\nX: ${'x'.repeat(1_000_000)}\r\n\r\n`,
      `POST ${HANDSHAKE}&sid=x HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n`,
      `POST ${HANDSHAKE}&sid=x HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello`,
      `POST ${HANDSHAKE}&sid=x HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\nGET /api HTTP/1.1\r\n\r\n`,
      `POST ${HANDSHAKE}&sid=x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFFF\r\n`,
      'GET / HTTP/9.9\r\n\r\n',
      'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
      '\u0016\u0003\u0001\u0002\u0000\u0001\u0000',
    ];
    for (const head of heads) {
      const text = /** @type {string} */ (await plain((socket) => {
        socket.end(head, 'latin1');
      }));
      assert.ok(text === '' || /^HTTP\/1\.[01] (4\d\d|505)/.test(text), `${head.slice(0, 60)}: ${text.slice(0, 100)}`);
      attempts.add('heads that are too large, or lie');
    }
    const tick = next(honest, 'tick');
    await tick;
  });
});
