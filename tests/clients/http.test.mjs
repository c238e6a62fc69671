// The HTTP edge: health and numbers, the client bundles, compression, caching, CORS, and other paths.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { brotliDecompressSync, gunzipSync } from 'node:zlib';
import { closeAfter, connect, next, request, serve, transports, until } from '../support/clients.mjs';
import { Feed } from '../support/feed.mjs';
import { RawPolling, RawWebSocket, fetchRaw } from '../support/raw.mjs';

const dist = path.join(path.dirname(createRequire(import.meta.url).resolve('socket.io-client/package.json')), 'dist');
const BUNDLES = ['socket.io.js', 'socket.io.min.js', 'socket.io.esm.min.js'];
const HANDSHAKE = '/socket.io/?EIO=4&transport=polling';

/** @param {string | undefined} cacheControl */
function maxAge_s(cacheControl) {
  return Number(/max-age=(\d+)/.exec(cacheControl ?? '')?.[1] ?? 0);
}

describe('http', { concurrency: true }, () => {
  /** @type {import('../support/server.mjs').Server} */
  let server;
  /** @type {(() => Promise<void>)[]} */
  const undo = [];
  /** @type {(path: string, options?: Parameters<typeof fetchRaw>[1]) => ReturnType<typeof fetchRaw>} */
  const get = (where, options) => fetchRaw(server.url + where, options);

  before(async () => {
    server = await serve({ after: (each) => undo.push(each) }, { APP_ID: 'http-test' });
    // It listens a moment before the first price comes.
    await until(async () => (await get('/ready')).status === 200, 'the server to be ready');
  });
  after(() => Promise.all(undo.map((each) => each())));

  it('/health', async () => {
    const response = await get('/health');
    assert.equal(response.status, 200);
    assert.match(response.headers['content-type'] ?? '', /^application\/json/);
    const health = JSON.parse(response.text);
    assert.equal(health.status, 'ok');
    assert.equal(health.id, 'http-test');
    assert.match(health.version, /^\d+\.\d+\.\d+/);
    assert.equal(health.bus.state, 'live');
    assert.ok(Number.isFinite(health.uptime_ms) && health.uptime_ms > 0);
    await until(async () => JSON.parse((await get('/health')).text).uptime_ms > health.uptime_ms, 'time to pass');
  });

  it('/ready', async () => {
    assert.equal((await get('/ready')).status, 200);
  });

  it('what changes is not cached', async () => {
    for (const where of ['/health', '/ready', '/stats', HANDSHAKE]) {
      const { headers } = await get(where);
      assert.match(headers['cache-control'] ?? '', /no-store|no-cache/, where);
    }
  });

  for (const bundle of BUNDLES) {
    it(`/socket.io/${bundle} is the package's file`, async () => {
      const where = `/socket.io/${bundle}`;
      const expected = readFileSync(path.join(dist, bundle));
      const response = await get(where);
      assert.equal(response.status, 200);
      assert.ok(response.body.equals(expected), 'byte for byte');
      assert.match(response.headers['content-type'] ?? '', /javascript/);

      const { etag } = response.headers;
      assert.ok(etag);
      for (const [tag, status] of /** @type {[string, number][]} */ ([
        [etag, 304],
        ['*', 304],
        [`"other", ${etag}`, 304],
        // A proxy that compressed it has weakened the tag.
        [`W/${etag.replace(/^W\//, '')}`, 304],
        ['"other"', 200],
      ])) {
        const again = await get(where, { headers: { 'if-none-match': tag } });
        assert.equal(again.status, status, `if-none-match: ${tag}`);
        assert.equal(again.body.length, status === 304 ? 0 : expected.length);
        assert.equal(again.headers.etag, etag);
      }

      const zipped = await get(where, { headers: { 'accept-encoding': 'gzip' } });
      assert.equal(zipped.headers['content-encoding'], 'gzip');
      assert.ok(gunzipSync(zipped.body).equals(expected));
      assert.match(zipped.headers.vary ?? '', /accept-encoding/i);

      const head = await get(where, { method: 'HEAD' });
      assert.equal(head.status, 200);
      assert.equal(head.body.length, 0);
    });
  }

  it('/ is compressed for who takes it, and has an ETag', async () => {
    const plain = await get('/');
    assert.equal(plain.status, 200);
    assert.match(plain.headers['content-type'] ?? '', /^text\/html/);
    assert.equal(plain.headers['content-encoding'], undefined);
    assert.match(plain.text, /<html/i);
    const ways = /** @type {[string, (body: Buffer) => Buffer][]} */ ([['gzip', gunzipSync], ['br', brotliDecompressSync]]);
    for (const [encoding, decode] of ways) {
      const packed = await get('/', { headers: { 'accept-encoding': encoding } });
      assert.equal(packed.headers['content-encoding'], encoding);
      assert.ok(decode(packed.body).equals(plain.body));
      assert.ok(packed.body.length < plain.body.length);
      assert.match(packed.headers.vary ?? '', /accept-encoding/i);
    }
    const { etag } = plain.headers;
    assert.ok(etag);
    assert.equal((await get('/', { headers: { 'if-none-match': etag } })).status, 304);
    // The page must be asked for anew, or a client keeps one that is older than its scripts.
    assert.ok(maxAge_s(plain.headers['cache-control']) <= 60, plain.headers['cache-control']);
  });

  it('request ids are echoed, or made', async () => {
    const mine = await get('/health', { headers: { 'x-request-id': 'mine-17' } });
    assert.equal(mine.headers['x-request-id'], 'mine-17');
    const made = await Promise.all(['/health', '/', HANDSHAKE, '/nope'].map((where) => get(where)));
    const ids = made.map(({ headers }) => headers['x-request-id']);
    for (const id of ids) assert.ok(id, `${ids}`);
    assert.equal(new Set(ids).size, ids.length);
  });

  it('security headers', async () => {
    for (const where of ['/', '/health', '/socket.io/socket.io.js', '/nope']) {
      const { headers } = await get(where);
      assert.equal(headers['x-content-type-options'], 'nosniff', where);
      assert.ok(headers['referrer-policy'], where);
    }
    const policy = String((await get('/')).headers['content-security-policy']);
    assert.match(policy, /default-src|script-src/);
    assert.doesNotMatch(policy, /script-src[^;]*unsafe/);
  });

  it('unknown paths, and methods that are none', async () => {
    for (const where of ['/nope', '/api/nope', '/health/nope', '/index.html/x', '/../Cargo.toml', '/%2e%2e/Cargo.toml', '/static/..%2f..%2fCargo.toml', '/%00', '/socket.ioo/']) {
      const response = await get(where);
      assert.ok(response.status === 404 || response.status === 400, `${where}: ${response.status}`);
      assert.doesNotMatch(response.text, /\[package\]/);
    }
    assert.equal((await get('/nope')).status, 404);
    for (const method of ['POST', 'DELETE', 'PUT']) assert.equal((await get('/health', { method })).status, 405, method);
  });
});

describe('stats', () => {
  it('say what clients did, exactly', async (test) => {
    const server = await serve(test, { SYMBOLS: 'BTC,ETH,SOL', UPDATE_INTERVAL: '50' });
    /** @returns {Promise<any>} */
    const stats = () => server.json('/stats');
    const counts = async () => {
      const { connections, subscriptions } = await stats();
      return [connections.active, ...['BTC', 'ETH', 'SOL'].map((symbol) => subscriptions[symbol] ?? 0)].join(' ');
    };
    const becomes = async (/** @type {string} */ expected) => {
      let seen = '';
      await until(async () => (seen = await counts()) === expected, () => `${expected}, not ${seen}`);
    };
    await becomes('0 0 0 0');

    const feeds = [];
    for (const list of Object.values(transports)) {
      const socket = await connect(server.url, { transports: list });
      closeAfter(test, socket);
      feeds.push(new Feed(socket));
    }
    await becomes('3 0 0 0');
    const [first, second, third] = feeds;
    const earlier = await stats();
    await first.subscribe(['BTC']);
    assert.equal(await counts(), '3 1 0 0');
    await second.subscribe(['BTC', 'ETH', 'FOO']);
    assert.equal(await counts(), '3 2 1 0');
    // The same again is no second subscription.
    await second.subscribe(['BTC', 'ETH']);
    assert.equal(await counts(), '3 2 1 0');
    await third.subscribe('*');
    assert.equal(await counts(), '3 3 2 1');
    await third.unsubscribe('BTC');
    assert.equal(await counts(), '3 2 2 1');
    await Promise.all(feeds.map((feed) => feed.ticks(10)));
    for (const feed of feeds) await feed.unsubscribe('*');
    assert.equal(await counts(), '3 0 0 0');

    // Every answer came by callback, so what came as events are live ticks, and nothing is on its way any more.
    const received = feeds.reduce((sum, feed) => sum + feed.events.tick, 0);
    const now = await stats();
    assert.equal(now.deliveries - earlier.deliveries, received, 'deliveries');
    for (const [kind, drops] of Object.entries(now.drops)) assert.equal(drops, 0, `drops: ${kind}`);
    assert.equal(now.errors.requests - earlier.errors.requests, 0);
    assert.equal(now.errors.protocol, 0);

    first.socket.close();
    await becomes('2 0 0 0');
    await second.subscribe(['SOL']);
    second.socket.close();
    await becomes('1 0 0 0');
    third.socket.close();
    await becomes('0 0 0 0');
  });

  it('ticks.in is what the sources published', async (test) => {
    const server = await serve(test, { SYMBOLS: 'BTC,ETH', UPDATE_INTERVAL: '10' });
    const socket = await connect(server.url);
    closeAfter(test, socket);
    /** How far the numbering is, over all symbols. */
    const numbered = async () => {
      const { snapshot } = await request(socket, 'subscribe', { symbols: '*', mode: 'batch' });
      return snapshot.reduce((/** @type {number} */ sum, /** @type {any} */ { seq }) => sum + seq, 0);
    };
    const counted = async () => (await server.json('/stats')).ticks.in;
    // What is counted is on its way to the clients' shards.
    const arrives = async () => {
      for (let n = 0; n < 3; n += 1) await next(socket, 'ticks');
    };
    // Each number is read between two others, so that it is bounded from both sides.
    const a = await numbered();
    const from = await counted();
    await arrives();
    const b = await numbered();
    await until(async () => (await numbered()) > b + 100, 'ticks');
    const c = await numbered();
    const to = await counted();
    await arrives();
    const d = await numbered();
    assert.ok(to - from >= c - b, `${to - from} counted, at least ${c - b} published`);
    assert.ok(to - from <= d - a, `${to - from} counted, at most ${d - a} published`);
  });

  it('errors by kind', async (test) => {
    const server = await serve(test);
    const socket = await connect(server.url);
    closeAfter(test, socket);
    const errors = async () => (await server.json('/stats')).errors;
    const earlier = await errors();
    await request(socket, 'subscribe', { symbols: 5 });
    await request(socket, 'nope');
    const client = await RawWebSocket.open(server.url);
    await client.join();
    client.send('42[');
    await client.closed;
    await until(async () => (await errors()).protocol === earlier.protocol + 1, 'the protocol error');
    assert.equal((await errors()).requests, earlier.requests + 2);
  });
});

describe('CORS', { concurrency: true }, () => {
  const listed = ['https://one.example', 'http://two.example:8080'];
  const others = ['https://evil.example', 'https://one.example.evil.example', 'http://one.example', 'https://two.example:8080', 'null'];
  const paths = [HANDSHAKE, '/health'];

  it('any origin, without credentials', async (test) => {
    const server = await serve(test);
    for (const where of paths) {
      for (const origin of [...listed, ...others]) {
        const { status, headers } = await fetchRaw(server.url + where, { headers: { origin } });
        assert.equal(status, 200);
        assert.equal(headers['access-control-allow-origin'], '*', `${where} ${origin}`);
        assert.equal(headers['access-control-allow-credentials'], undefined, `${where} ${origin}`);
      }
    }
  });

  it('a list: its origins and no others, with credentials', async (test) => {
    const server = await serve(test, { CORS_ORIGIN: listed.join() });
    for (const where of paths) {
      for (const origin of listed) {
        const { status, headers } = await fetchRaw(server.url + where, { headers: { origin } });
        assert.equal(status, 200);
        assert.equal(headers['access-control-allow-origin'], origin, where);
        assert.equal(headers['access-control-allow-credentials'], 'true', where);
        assert.match(headers.vary ?? '', /origin/i, where);
      }
      for (const origin of others) {
        const { headers } = await fetchRaw(server.url + where, { headers: { origin } });
        assert.equal(headers['access-control-allow-origin'], undefined, `${where} ${origin}`);
      }
      // A cache must not hand the answer to one origin to another.
      assert.match((await fetchRaw(server.url + where)).headers.vary ?? '', /origin/i, where);
    }
  });

  it('preflight, and errors that a page may read', async (test) => {
    const server = await serve(test, { CORS_ORIGIN: listed.join() });
    const [origin] = listed;
    const ask = { 'access-control-request-method': 'POST', 'access-control-request-headers': 'content-type' };
    const preflight = await fetchRaw(`${server.url}${HANDSHAKE}&sid=nope`, { method: 'OPTIONS', headers: { origin, ...ask } });
    assert.ok(preflight.status === 200 || preflight.status === 204, `${preflight.status}`);
    assert.equal(preflight.headers['access-control-allow-origin'], origin);
    assert.equal(preflight.headers['access-control-allow-credentials'], 'true');
    assert.match(preflight.headers['access-control-allow-methods'] ?? '', /POST/);
    assert.match(preflight.headers['access-control-allow-headers'] ?? '', /content-type/i);

    const refused = await fetchRaw(`${server.url}${HANDSHAKE}&sid=nope`, { headers: { origin } });
    assert.equal(refused.status, 400);
    assert.equal(refused.headers['access-control-allow-origin'], origin);

    const evil = await fetchRaw(server.url + HANDSHAKE, { method: 'OPTIONS', headers: { origin: others[0], ...ask } });
    assert.equal(evil.headers['access-control-allow-origin'], undefined);
  });
});

describe('paths', { concurrency: true }, () => {
  for (const { base, socket } of [
    { base: '', socket: '/ws' },
    { base: '/feed', socket: '/socket.io' },
    { base: '/feed', socket: '/ws' },
    { base: '/deep/down', socket: '/a/b' },
  ]) {
    it(`BASE_PATH=${base} SOCKET_PATH=${socket}`, async (test) => {
      const server = await serve(test, { BASE_PATH: base, SOCKET_PATH: socket, UPDATE_INTERVAL: '20' });
      const { origin } = new URL(server.url);
      const at = `${base}${socket}/`;
      for (const list of Object.values(transports)) {
        const client = await connect(origin, { path: at, transports: list });
        closeAfter(test, client);
        const feed = new Feed(client);
        await feed.subscribe(['BTC']);
        await feed.ticks(3);
      }
      const polling = await RawPolling.open(origin, { path: at });
      await polling.join();
      polling.close();

      for (const where of ['/', '/health', '/ready', '/stats']) {
        assert.equal((await fetchRaw(origin + base + where)).status, 200, base + where);
      }
      for (const bundle of BUNDLES) {
        const { body } = await fetchRaw(`${origin}${at}${bundle}`);
        assert.ok(body.equals(readFileSync(path.join(dist, bundle))), at + bundle);
      }
      // And where it would be without the settings there is nothing.
      if (at !== '/socket.io/') {
        assert.equal((await fetchRaw(`${origin}/socket.io/?EIO=4&transport=polling`)).status, 404);
        assert.equal((await fetchRaw(`${origin}/socket.io/socket.io.js`)).status, 404);
      }
      if (base) assert.equal((await fetchRaw(`${origin}${base}x/health`)).status, 404);
    });
  }
});
