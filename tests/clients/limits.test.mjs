// How much everybody may: each limit is reached by real clients, answered, and counted.
import assert from 'node:assert/strict';
import http from 'node:http';
import net from 'node:net';
import { after, before, describe, it } from 'node:test';
import { DEADLINE_MS, closeAfter, connect, next, open, request, serve, start, until, within } from '../support/clients.mjs';
import { isErrorEvent, isRefused, isRejection, isSubscribed } from '../support/contract.mjs';
import { startServer } from '../support/server.mjs';
import { fetchRaw, RawPolling, RawWebSocket, said } from '../support/raw.mjs';

const HANDSHAKE = '/socket.io/?EIO=4&transport=polling';
const UPGRADE = {
  connection: 'Upgrade',
  upgrade: 'websocket',
  'sec-websocket-version': '13',
  'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
};
const kinds = { websocket: RawWebSocket, polling: RawPolling };

/** @param {any} server @returns {Promise<Record<string, number>>} */
const limited = async (server) => (await server.json('/stats')).limited;

/** @param {any} server @param {Record<string, number>} expected */
const counts = (server, expected) => until(async () => {
  const now = await limited(server);
  return Object.entries(expected).every(([name, number]) => now[name] === number);
}, `limited to be ${JSON.stringify(expected)}`);

/** The status, the code and the headers of a handshake. @param {any} server @param {Record<string, string>} [headers] @param {string} [path] */
async function handshake(server, headers = {}, path = HANDSHAKE) {
  const response = await fetchRaw(server.url + path, { headers });
  const body = response.status === 200 ? {} : JSON.parse(response.text);
  if (response.status !== 200) assert.deepEqual(Object.keys(body).sort(), ['code', 'message'], response.text);
  return { status: response.status, code: body.code, message: body.message, headers: response.headers };
}

/** The status of a request for a WebSocket, and its body's code. @param {any} server @param {Record<string, string>} headers */
function upgrade(server, headers) {
  return within(new Promise((resolve, reject) => {
    const socket = net.connect(Number(server.port), '127.0.0.1', () => {
      const lines = Object.entries({ host: 'x', ...UPGRADE, ...headers }).map(([name, value]) => `${name}: ${value}\r\n`);
      socket.write(`GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\n${lines.join('')}\r\n`);
    });
    let text = '';
    socket.on('data', (bytes) => {
      text += bytes.toString('latin1');
      const status = Number(text.split(' ')[1]);
      if (status === 101 || text.endsWith('}')) {
        socket.destroy();
        resolve({ status, code: /"code":"(\w+)"/.exec(text)?.[1] });
      }
    });
    socket.on('error', reject);
    socket.on('close', () => reject(new Error(`closed after ${text}`)));
  }), 'the answer to an upgrade');
}

/** Writes a byte now and then, for as long as it may. @param {net.Socket} socket @param {string} text */
function trickle(socket, text) {
  let at = 0;
  const timer = setInterval(() => {
    if (at < text.length) socket.write(text[at]);
    at += 1;
  }, 20);
  socket.on('close', () => clearInterval(timer));
}

/**
 * Asks to be in the namespace that it has just left, until it is answered: the server may not be done with the leave.
 *
 * @param {any} client
 * @returns {Promise<string>} the answer
 */
async function rejoin(client) {
  const answered = client.takeOrEnd((/** @type {any} */ packet) => /^4[04]\{/.test(String(packet)), 'the answer to a join');
  const timer = setInterval(() => client.send('40'), 20);
  client.send('40');
  try {
    return String(await answered);
  } finally {
    clearInterval(timer);
  }
}

describe('messages', { concurrency: true }, () => {
  for (const [kind, Raw] of Object.entries(kinds)) {
    it(`over ${kind}: what is more than a second's is refused, and what comes later is not`, async (test) => {
      const server = await serve(test, { MAX_MESSAGES_PER_SECOND: '5', MAX_MESSAGES_AT_ONCE: '8', ABUSE_FACTOR: '0' });
      const client = await Raw.open(server.url);
      test.after(() => client.close());
      await client.join();
      const packets = Array.from({ length: 20 }, (_, index) => `42${100 + index}["ping",${index}]`);
      const begun = performance.now();
      client.send(...packets);
      const answers = await Promise.all(packets.map((_, index) => client.answer(100 + index, `ping ${index}`)));
      const took_s = (performance.now() - begun) / 1000;
      const refused = answers.filter((answer) => !answer.ok);
      // It goes on getting some while it sends.
      assert.ok(refused.length >= 12 - Math.ceil(took_s * 5) && refused.length <= 12, `${refused.length} of 20 were refused in ${took_s} s`);
      assert.ok(answers.slice(0, 8).every((answer) => answer.ok));
      for (const answer of refused) isRefused(answer, 'rate_limited', '5 a second');
      await counts(server, { messages: refused.length, abuse: 0 });
      await until(() => client.works(), 'the client to be heard again');
    });
  }

  it('without a callback the refusal comes as an event, and nothing was done', async (test) => {
    const server = await serve(test, { MAX_MESSAGES_PER_SECOND: '1', ABUSE_FACTOR: '0' });
    const client = await RawWebSocket.open(server.url);
    test.after(() => client.close());
    await client.join();
    client.send('421["ping"]', '42["subscribe","*"]');
    isErrorEvent(await client.event('error'), 'subscribe', 'rate_limited', '1 a second');
    const nobody = async () => Object.values((await server.json('/stats')).subscriptions).every((number) => number === 0);
    await until(nobody, 'nobody to be subscribed');
  });

  it('one client that floods is ended, counted, and costs nobody else', async (test) => {
    const server = await serve(test, { MAX_MESSAGES_PER_SECOND: '10', ABUSE_FACTOR: '2' });
    const other = await connect(server.url);
    closeAfter(test, other);
    for (const [kind, Raw] of Object.entries(kinds)) {
      const client = await Raw.open(server.url);
      await client.join();
      const before_ = await limited(server);
      client.send(...Array.from({ length: 500 }, (_, index) => `42${index}["ping"]`));
      await within(client.closed, `the end of the one over ${kind}`);
      const { abuse, messages } = await limited(server);
      assert.equal(abuse - before_.abuse, 1);
      assert.equal(messages - before_.messages, 21, 'what came after the last straw was not looked at');
    }
    isSubscribed(await request(other, 'subscribe', ['BTC']), { symbols: ['BTC'] });
  });

  it('leaving and coming back within a session starts nothing over, and joining counts too', async (test) => {
    const server = await serve(test, { MAX_MESSAGES_PER_SECOND: '3', ABUSE_FACTOR: '0' });
    const client = await RawWebSocket.open(server.url);
    test.after(() => client.close());
    await client.join();
    for (let n = 0; n < 3; n += 1) await client.request('ping');
    client.send('41');
    await until(async () => (await server.json('/stats')).connections.active === 0, 'it to be gone');
    await rejoin(client);
    const answers = await Promise.all(Array.from({ length: 4 }, () => client.request('ping')));
    assert.ok(answers.some((answer) => answer.error?.code === 'rate_limited'), JSON.stringify(answers));
    // Each join is taken only once the leave before it is done.
    let answer = '';
    for (let n = 0; n < 30 && !answer.startsWith('44'); n += 1) {
      client.send('41');
      answer = await rejoin(client);
    }
    assert.equal(answer, '44{"message":"rate_limited"}');
  });

  it('frames of a WebSocket have one, whatever is in them, and bodies of requests are none', async (test) => {
    const server = await serve(test, { MAX_FRAMES_PER_SECOND: '50' });
    const client = await RawWebSocket.open(server.url);
    await client.join();
    for (let n = 0; n < 40; n += 1) client.send('3');
    assert.ok(await client.works(), 'that many are allowed');
    for (let n = 0; n < 600 && !client.ended; n += 1) client.send('3');
    await within(client.closed, 'the end');
    await counts(server, { frames: 1, messages: 0, abuse: 0 });
    // It would be as many frames as there are pairs of bytes.
    const headers = { 'content-type': 'application/json' };
    const { status } = await fetchRaw(`${server.url}/api/message`, { method: 'POST', headers, body: '\u0001\u0000'.repeat(5000) });
    assert.equal(status, 400);
    await counts(server, { frames: 1 });
  });

  for (const [protocol, kind, body] of /** @type {[string, string, (count: number) => string | Buffer][]} */ ([
    ['4', 'text/plain;charset=UTF-8', (count) => Array(count).fill('3').join('\x1e')],
    ['3', 'text/plain;charset=UTF-8', (count) => '1:2'.repeat(count)],
    ['3', 'application/octet-stream', (count) => Buffer.from('\x00\x01\xff2'.repeat(count), 'latin1')],
  ])) {
    it(`packets have one in each request of who polls: EIO ${protocol}, ${kind}`, async (test) => {
      const server = await serve(test, { MAX_FRAMES_PER_SECOND: '50' });
      const path = `${server.url}/socket.io/?EIO=${protocol}&transport=polling`;
      const { sid } = JSON.parse(/\{[^}]*\}/.exec((await fetchRaw(path)).text)?.[0] ?? '');
      const post = (/** @type {number} */ count) =>
        fetchRaw(`${path}&sid=${sid}`, { method: 'POST', headers: { 'content-type': kind }, body: body(count) });
      for (let n = 0; n < 3; n += 1) assert.equal((await post(50)).status, 200);
      await counts(server, { frames: 0 });
      assert.equal((await post(60)).status, 400);
      await counts(server, { frames: 1, messages: 0, abuse: 0 });
      assert.equal((await post(1)).status, 400, 'the session is over');
      await until(async () => (await server.json('/stats')).connections.active === 0, 'it to be gone');
    });
  }

  it('and so they have where the address says it oddly', async (test) => {
    const server = await serve(test, { MAX_FRAMES_PER_SECOND: '50' });
    for (const [protocol, body] of [['4', Array(60).fill('3').join('\x1e')], ['3', '1:2'.repeat(60)]]) {
      const path = `${server.url}/socket.io/?EIO=${protocol}=&transport=polling=`;
      const { sid } = JSON.parse(/\{[^}]*\}/.exec((await fetchRaw(path)).text)?.[0] ?? '');
      assert.equal((await fetchRaw(`${path}&sid=${sid}`, { method: 'POST', body })).status, 400, protocol);
    }
    await counts(server, { frames: 2 });
    const client = new RawWebSocket(`${server.url.replace('http', 'ws')}/socket.io/?EIO=4&transport=websocket=`);
    await client.take('0');
    for (let n = 0; n < 600 && !client.ended; n += 1) client.send('3');
    await within(client.closed, 'the end');
  });

  it('a length that ends within a character holds nobody up', async (test) => {
    for (const frames of ['0', '1000']) {
      const server = await serve(test, { MAX_FRAMES_PER_SECOND: frames, WORKERS: '1' });
      const path = `${server.url}/socket.io/?EIO=3&transport=polling`;
      const { sid } = JSON.parse(/\{[^}]*\}/.exec((await fetchRaw(path)).text)?.[0] ?? '');
      const posted = fetchRaw(`${path}&sid=${sid}`, { method: 'POST', body: '2:4\u{1d54a}x' });
      assert.equal((await within(posted, 'an answer')).status, 400);
      assert.equal((await fetchRaw(`${path}&sid=${sid}`)).status, 400, 'the session is over');
    }
  });

  it('chat has a limit of its own', async (test) => {
    const server = await serve(test, { MAX_CHATS_PER_SECOND: '2', CHAT_AUTO_JOIN: 'true' });
    const socket = await connect(server.url);
    closeAfter(test, socket);
    const begun = performance.now();
    const answers = await Promise.all(Array.from({ length: 6 }, (_, n) => request(socket, 'chat', `text ${n}`)));
    const took_s = (performance.now() - begun) / 1000;
    const refused = answers.filter((answer) => !answer.ok);
    assert.ok(refused.length >= 4 - Math.ceil(took_s * 2), `${refused.length} in ${took_s} s`);
    for (const answer of refused) isRefused(answer, 'rate_limited', 'chat', '2 a second');
    await counts(server, { chats: refused.length, messages: 0 });
    assert.equal((await request(socket, 'ping', 1)).ok, true);
  });
});

describe('symbols', { concurrency: true }, () => {
  it('beyond the subscriptions of a client each is rejected by name, and those there stay', async (test) => {
    const server = await start(test, { MAX_SUBSCRIPTIONS: '2', SYMBOLS: 'BTC,ETH,SOL' });
    const socket = await connect(server.url);
    closeAfter(test, socket);
    const subscribe = async (/** @type {any} */ names) => {
      const { ok, symbols, rejected } = await request(socket, 'subscribe', names);
      assert.equal(ok, true);
      for (const each of rejected) isRejection(each, 'too_many_symbols');
      return [symbols, rejected.map((/** @type {any} */ each) => each.symbol)];
    };
    assert.deepEqual(await subscribe('*'), [[], ['*']]);
    assert.deepEqual(await subscribe(['BTC', 'ETH', 'SOL']), [['BTC', 'ETH'], ['SOL']]);
    assert.deepEqual(await subscribe(['ETH', 'BTC']), [['ETH', 'BTC'], []], 'again is not more');
    assert.deepEqual((await request(socket, 'unsubscribe', 'BTC')).symbols, ['BTC']);
    assert.deepEqual(await subscribe('SOL'), [['SOL'], []]);
    await counts(server, { subscriptions: 2 });
    const tick = await next(socket, 'tick');
    assert.ok(['ETH', 'SOL'].includes(tick.symbol));
  });

  it('one request names only so many', async (test) => {
    const server = await start(test, { MAX_SYMBOLS_PER_REQUEST: '2' });
    const socket = await connect(server.url);
    closeAfter(test, socket);
    for (const event of ['subscribe', 'unsubscribe']) {
      isRefused(await request(socket, event, ['BTC', 'ETH', 'SOL']), 'too_many_symbols', '3', '2');
    }
    assert.equal((await request(socket, 'subscribe', ['BTC', 'ETH'])).symbols.length, 2);
    assert.equal((await request(socket, 'subscribe', '*')).symbols.length, 12);
    await counts(server, { subscriptions: 2 });
  });
});

describe('connections', { concurrency: true }, () => {
  it('in all: one too many gets 503 over either transport, and the next place that is free', async (test) => {
    const server = await start(test, { MAX_CONNECTIONS: '2' });
    const [first, second] = [await connect(server.url), await connect(server.url, { transports: ['polling'] })];
    closeAfter(test, first, second);
    const refused = await handshake(server);
    assert.deepEqual([refused.status, refused.code], [503, 'unavailable']);
    assert.ok(Number(refused.headers['retry-after']) >= 1);
    assert.deepEqual(await upgrade(server, {}), { status: 503, code: 'unavailable' });
    const late = open(server.url);
    closeAfter(test, late);
    await next(late, 'connect_error');
    await counts(server, { connections: 3 });
    assert.equal((await fetchRaw(`${server.url}/health`)).status, 200, 'who looks after it is not shut out');
    for (const leaving of [first, second]) {
      leaving.close();
      await until(async () => (await upgrade(server, {})).status === 101, 'a place');
    }
  });

  it('a polling client that upgrades has one place, and an open one that never joins gives it back', async (test) => {
    const server = await start(test, { MAX_CONNECTIONS: '1' });
    const socket = await connect(server.url, { transports: ['polling', 'websocket'] });
    await until(() => socket.io.engine.transport.name === 'websocket', 'the upgrade');
    assert.equal((await handshake(server)).status, 503);
    socket.close();
    for (let n = 0; n < 3; n += 1) {
      // Each of these goes without ever having been in a namespace.
      await until(async () => (await upgrade(server, {})).status === 101, 'the place of the one before');
    }
  });

  it('by address: 429, whoever the client says that it is', async (test) => {
    const server = await start(test, { MAX_CONNECTIONS_PER_IP: '1' });
    const socket = await connect(server.url);
    closeAfter(test, socket);
    for (const headers of [{}, { 'x-forwarded-for': '192.0.2.7' }, { 'x-real-ip': '192.0.2.7' }, { forwarded: 'for=192.0.2.7' }]) {
      const refused = await handshake(server, /** @type {any} */ (headers));
      assert.deepEqual([refused.status, refused.code], [429, 'rate_limited'], JSON.stringify(headers));
      assert.ok(Number(refused.headers['retry-after']) >= 1);
    }
    await counts(server, { connections_per_ip: 4 });
  });

  it('by the address that a trusted proxy says, and no other', async (test) => {
    const server = await start(test, { MAX_CONNECTIONS_PER_IP: '1', TRUSTED_PROXIES: '127.0.0.1' });
    const from = async (/** @type {string} */ forwarded) => (await handshake(server, { 'x-forwarded-for': forwarded })).status;
    assert.equal(await from('192.0.2.1'), 200);
    assert.equal(await from('192.0.2.1'), 429);
    assert.equal(await from('192.0.2.2'), 200);
    assert.equal(await from('192.0.2.3, 192.0.2.2'), 429, 'what a client writes is left of what the proxy does');
    assert.equal(await from('2001:db8::1'), 200);
    assert.equal(await from('2001:db8::2'), 429, 'a /64 is one client');
    assert.equal(await from('2001:db8:0:1::2'), 200);
  });

  it('per second: 503 with the time to come again', async (test) => {
    const server = await start(test, { MAX_CONNECTS_PER_SECOND: '1' });
    const begun = performance.now();
    const answers = await Promise.all(Array.from({ length: 8 }, () => handshake(server)));
    const took_s = (performance.now() - begun) / 1000;
    const refused = answers.filter(({ status }) => status !== 200);
    assert.ok(refused.length >= 7 - Math.ceil(took_s), `${refused.length} in ${took_s} s`);
    for (const { status, code, headers } of refused) {
      assert.deepEqual([status, code, headers['retry-after']], [503, 'rate_limited', '1']);
    }
    await counts(server, { connects: refused.length });
    await until(async () => (await handshake(server)).status === 200, 'the next second');
  });

  it('of TCP: 503 at once, without reading what it wants', async (test) => {
    const server = await start(test, { MAX_TCP_CONNECTIONS: '2' });
    const open_ = [0, 1].map(() => net.connect(Number(server.port), '127.0.0.1'));
    test.after(() => open_.forEach((socket) => socket.destroy()));
    let answer = '';
    await until(async () => {
      answer = await said(server.port, (socket) => socket.write('GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'));
      return answer.startsWith('HTTP/1.1 503');
    }, 'every place to be taken');
    assert.match(answer, /retry-after: \d/i);
    assert.equal(JSON.parse(answer.split('\r\n\r\n')[1]).code, 'unavailable');
    open_.forEach((socket) => socket.destroy());
    // Until there is a place, the question for the figures is itself refused.
    await until(async () => (await limited(server).catch(() => undefined))?.tcp_connections >= 1, 'a place');
  });

  it('of HTTP requests: 429, and health is free', async (test) => {
    const server = await start(test, { MAX_HTTP_REQUESTS_PER_SECOND: '2', TRUSTED_PROXIES: '127.0.0.1' });
    const get = (/** @type {string} */ path, from = '192.0.2.1') => fetchRaw(server.url + path, { headers: { 'x-forwarded-for': from } });
    const begun = performance.now();
    const answers = await Promise.all(Array.from({ length: 12 }, () => get('/')));
    const took_s = (performance.now() - begun) / 1000;
    const refused = answers.filter(({ status }) => status === 429);
    assert.ok(refused.length >= 10 - Math.ceil(took_s * 2), `${refused.length} in ${took_s} s`);
    for (const { text, headers } of refused) {
      assert.equal(JSON.parse(text).code, 'rate_limited');
      assert.equal(headers['retry-after'], '1');
    }
    // On a busy machine one more may be allowed by then.
    const over = (/** @type {string} */ path) => until(async () => {
      const answer = await get(path);
      return answer.status === 429 && answer;
    }, `${path} to be refused`);
    await over(`${HANDSHAKE}&sid=x`);
    assert.equal((await get('/health')).status, 200);
    assert.equal((await get('/', '192.0.2.2')).status, 200, 'another address');
    const problem = await over('/api/status');
    assert.deepEqual([problem.status, problem.headers['content-type'], problem.headers['retry-after']], [429, 'application/problem+json', '1']);
    assert.equal(JSON.parse(problem.text).code, 'rate_limited');
    assert.equal((await limited(server)).http_requests, refused.length + 2);
  });
});

describe('origins', () => {
  const listed = 'https://a.example,http://b.example:8080';

  it('one that is not listed is refused over either transport, and what is no browser is not', async (test) => {
    const server = await start(test, { CORS_ORIGIN: listed });
    const evil = ['https://evil.example', 'null', 'https://a.example.evil.example', 'http://a.example', 'https://a.example:8443', server.url];
    for (const origin of evil) {
      const refused = await handshake(server, { origin });
      assert.deepEqual([refused.status, refused.code], [403, 'forbidden'], origin);
      assert.equal(refused.headers['access-control-allow-origin'], undefined);
      assert.deepEqual(await upgrade(server, { origin }), { status: 403, code: 'forbidden' }, origin);
    }
    for (const origin of listed.split(',')) {
      assert.equal((await handshake(server, { origin })).status, 200, origin);
      assert.equal((await upgrade(server, { origin })).status, 101, origin);
    }
    assert.equal((await handshake(server)).status, 200);
    assert.equal((await upgrade(server, {})).status, 101);
    await counts(server, { origins: 2 * evil.length });
    // A session of somebody else's page is none of theirs either.
    const client = await RawPolling.open(server.url, { reads: false });
    const poll = await fetchRaw(client.url, { headers: { origin: 'https://evil.example' } });
    assert.equal(poll.status, 403);
    client.close();
  });

  it('all are welcome with *', async (test) => {
    const server = await start(test, { CORS_ORIGIN: '*' });
    for (const origin of ['https://evil.example', 'null']) {
      assert.equal((await handshake(server, { origin })).status, 200);
      assert.equal((await upgrade(server, { origin })).status, 101);
    }
  });
});

describe('time', { concurrency: true }, () => {
  /** @type {any} */
  let server;
  before(async () => {
    server = await startServer({
      CONNECT_TIMEOUT: '4000',
      HTTP_HEADER_TIMEOUT: '2500',
      HTTP_BODY_TIMEOUT: '300',
      HTTP_IDLE_TIMEOUT: '3000',
      JWT_SECRET: 'a secret of thirty-two bytes or so',
      ALLOW_ANONYMOUS: 'true',
    });
  });
  after(async () => assert.deepEqual(await server.stop(), { code: 0, signal: null }));

  for (const [kind, Raw] of Object.entries(kinds)) {
    it(`over ${kind}: who never asks for a namespace is ended, and counted`, async () => {
      const gone = (await limited(server)).connect_timeouts;
      const client = await Raw.open(server.url);
      await within(client.closed, 'the end');
      await until(async () => (await limited(server)).connect_timeouts > gone, 'it to be counted');
    });

    it(`over ${kind}: who leaves its namespace may come back, and is ended otherwise`, async () => {
      const client = await Raw.open(server.url);
      await client.join();
      client.send('41');
      await rejoin(client);
      assert.ok(await client.works());
      const gone = (await limited(server)).connect_timeouts;
      client.send('41');
      await within(client.closed, 'the end');
      await until(async () => (await limited(server)).connect_timeouts > gone, 'it to be counted');
    });

    it(`over ${kind}: who is refused there is ended`, async () => {
      const client = await Raw.open(server.url);
      client.send('40{"token":"x"}');
      assert.equal(await client.take('44'), '44{"message":"unauthorized"}');
      await within(client.closed, 'the end');
    });
  }

  it('a client of Engine.IO 3 that is refused, or leaves, is ended', async () => {
    for (const query of ['&token=x', '']) {
      const client = new RawWebSocket(`${server.url.replace('http', 'ws')}/socket.io/?EIO=3&transport=websocket${query}`);
      await client.take('0');
      if (query === '') {
        await client.take('40');
        client.send('41');
      }
      await within(client.closed, 'the end');
    }
  });

  it('a head that trickles is answered with 408 and counted', async () => {
    const text = await said(server.port, (socket) => trickle(socket, `GET / HTTP/1.1\r\nHost: x\r\nX: ${'x'.repeat(5000)}`));
    assert.match(text, /^HTTP\/1\.1 408 /);
    assert.equal(JSON.parse(text.split('\r\n\r\n')[1]).code, 'unavailable');
    const silent = await said(server.port, () => {});
    assert.match(silent, /^(HTTP\/1\.1 408 |$)/);
    await until(async () => (await limited(server)).header_timeouts >= 2, 'both to be counted');
  });

  it('a second head that trickles, too', async () => {
    const text = await said(server.port, (socket) => {
      socket.write('GET /health HTTP/1.1\r\nHost: x\r\n\r\n');
      socket.once('data', () => trickle(socket, `GET / HTTP/1.1\r\nX: ${'x'.repeat(5000)}`));
    });
    assert.deepEqual(text.match(/HTTP\/1\.1 \d+/g), ['HTTP/1.1 200', 'HTTP/1.1 408']);
  });

  it('a body that trickles is answered with 408 and counted', async () => {
    const { sid } = await RawPolling.open(server.url, { reads: false });
    const head = `POST ${HANDSHAKE}&sid=${sid} HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 5000\r\n\r\n`;
    const text = await said(server.port, (socket) => {
      socket.write(head);
      trickle(socket, 'x'.repeat(5000));
    });
    assert.match(text, /^HTTP\/1\.1 408 /);
    assert.equal(JSON.parse(text.split('\r\n\r\n')[1]).code, 'unavailable');
    assert.ok((await limited(server)).body_timeouts >= 1);
  });

  it('an idle connection ends, but not while it is used', async () => {
    const begun = performance.now();
    const text = await said(server.port, (socket) => {
      let asked = 1;
      socket.write('GET /health HTTP/1.1\r\nHost: x\r\n\r\n');
      socket.on('data', () => {
        if ((asked += 1) <= 5) setTimeout(() => socket.write('GET /health HTTP/1.1\r\nHost: x\r\n\r\n'), 1500);
      });
    });
    assert.equal(text.match(/HTTP\/1\.1 200/g)?.length, 5);
    assert.ok(performance.now() - begun > 5500 && performance.now() - begun < DEADLINE_MS);
    await until(async () => (await limited(server)).idle_timeouts >= 1, 'it to be counted');
  });

  it('a poll that waits is not idle', async () => {
    const client = await RawPolling.open(server.url);
    await client.join();
    await until(() => client.ended || client.posts.length > 0, 'its post');
    assert.ok(await client.works());
    client.close();
  });
});

it('a shutdown lets nobody new in', async (test) => {
  const server = await start(test, { DRAIN_DEADLINE: '5000' });
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  test.after(() => agent.destroy());
  // A connection that stands, and whose next request comes after the end has begun, is answered, or closed: never let in.
  await fetchRaw(server.url + HANDSHAKE, { agent });
  const stopped = server.stop();
  await server.logged((/** @type {any} */ line) => line.fields?.message === 'shutting down');
  const answer = await fetchRaw(server.url + HANDSHAKE, { agent }).catch(() => ({ status: 503 }));
  assert.equal(answer.status, 503);
  await stopped;
});
