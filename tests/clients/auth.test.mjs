// Who may connect and what he gets: tokens, guests, expiry, refresh.
import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { closeAfter, connect, next, open, request, transports, until, within } from '../support/clients.mjs';
import { startServer } from '../support/server.mjs';
import { SECRET, byKey, forged, good, hs256, now, unsigned } from '../support/tokens.mjs';

/** What a client is refused with. @param {any} socket @returns {Promise<string>} */
const refusal = (socket) =>
  within(
    new Promise((resolve, reject) => {
      socket.once('connect', () => reject(new Error('connected')));
      // 2.x has the one for its transport, and the other for the namespace, as a bare text.
      socket.once('connect_error', (/** @type {any} */ error) => resolve(error.message ?? error));
      socket.once('error', (/** @type {any} */ error) => resolve(error.message ?? error));
    }),
    'a refusal',
  );

/** Connects with a token and closes when the test is over. */
async function enter(test, server, token, options = {}) {
  const socket = await connect(server.url, { auth: { token }, ...options });
  closeAfter(test, socket);
  return socket;
}

/** A folder that goes when the test is over. */
function folder(test) {
  const path = mkdtempSync(join(tmpdir(), 'tickcast-'));
  test.after(() => rmSync(path, { recursive: true }));
  return path;
}

async function start(test, env) {
  const server = await startServer(env);
  test.after(async () => assert.deepEqual(await server.stop(), { code: 0, signal: null }, server.tail()));
  // Prices first, so that snapshots are whole.
  await until(async () => (await fetch(`${server.url}/ready`)).status === 200, 'the server to be ready');
  return server;
}

/** Counts the ticks of each symbol. @param {any} socket */
function counted(socket) {
  /** @type {Record<string, number>} */
  const counts = {};
  socket.on('tick', (/** @type {any} */ { symbol }) => (counts[symbol] = (counts[symbol] ?? 0) + 1));
  return counts;
}

describe('auth', { concurrency: true }, () => {
  /** @type {import('../support/server.mjs').Server} */
  let server;
  /** @type {(() => Promise<void>)[]} */
  const undo = [];
  before(async () => {
    const env = { JWT_SECRET: SECRET, SYMBOLS: 'BTC,ETH,SOL', LOG_LEVEL: 'trace', CHAT_AUTO_JOIN: 'true' };
    server = await start({ after: (each) => undo.push(each) }, { ...env, TOKEN_EXPIRY_NOTICE: '3600000' });
  });
  after(async () => {
    for (const each of undo) await each();
    const log = JSON.stringify(server.log);
    for (const secret of [SECRET, hs256().split('.')[0], 'eyJ']) {
      assert.ok(!log.includes(secret), `the log has ${secret} in it`);
    }
  });

  for (const [name, list] of Object.entries(transports)) {
    it(`a good token, 4.x, ${name}`, async (test) => {
      const socket = await enter(test, server, hs256(), { transports: list });
      const answer = await request(socket, 'subscribe', '*');
      assert.deepEqual(answer.symbols, ['BTC', 'ETH', 'SOL']);
    });

    it(`a good token in the query, 2.x, ${name}`, async (test) => {
      const socket = await connect(server.url, { version: '2.x', query: { token: hs256() }, transports: list });
      closeAfter(test, socket);
      assert.equal((await request(socket, 'subscribe', 'BTC')).ok, true);
    });
  }

  it('a good token in the header, every version', async (test) => {
    for (const version of ['4.x', '3.x', '2.x']) {
      const headers = { Authorization: `Bearer ${hs256()}` };
      const options = { version, extraHeaders: headers, transports: ['polling'], transportOptions: { polling: { extraHeaders: headers } } };
      const socket = await connect(server.url, options);
      closeAfter(test, socket);
      assert.equal((await request(socket, 'subscribe', 'BTC')).ok, true);
    }
  });

  const { publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  for (const [name, token, code] of /** @type {[string, any, string][]} */ ([
    ['none', undefined, 'unauthorized'],
    ['an empty one', '', 'unauthorized'],
    ['one that is none', 'hello', 'unauthorized'],
    ['no text', { a: 1 }, 'unauthorized'],
    ['a forged one', forged(hs256(), good({ sub: 'root' })), 'unauthorized'],
    ['one of another secret', hs256(good(), 'another'), 'unauthorized'],
    ['an unsigned one', unsigned(), 'unauthorized'],
    ['one with another alg', hs256(good(), SECRET, { alg: 'HS512' }), 'unauthorized'],
    ['one that claims a public key', hs256(good(), SECRET, { alg: 'RS256' }), 'unauthorized'],
    ['one that is not valid yet', hs256(good({ nbf: now() + 300 })), 'unauthorized'],
    ['one without an end', hs256({ sub: 'alice' }), 'unauthorized'],
    ['one without an owner', hs256({ exp: now() + 60 }), 'unauthorized'],
    ['an oversized one', hs256(good({ pad: 'x'.repeat(10_000) })), 'unauthorized'],
    ['an expired one', hs256(good({ exp: now() - 1 })), 'token_expired'],
  ])) {
    it(`refused: ${name}`, async (test) => {
      const socket = open(server.url, { auth: token === undefined ? {} : { token } });
      closeAfter(test, socket);
      assert.equal(await refusal(socket), code);
      if (typeof token === 'string' && token.length < 5000) {
        const old = open(server.url, { version: '2.x', query: { token } });
        closeAfter(test, old);
        assert.equal(await refusal(old), code);
      }
    });
  }

  it('a token in the query is for 2.x alone', async (test) => {
    const socket = open(server.url, { query: { token: hs256() } });
    closeAfter(test, socket);
    assert.equal(await refusal(socket), 'unauthorized');
  });

  it('a symbol that is not allowed is rejected alone', async (test) => {
    const socket = await enter(test, server, hs256(good({ symbols: ['BTC', 'S*'] })));
    const answer = await request(socket, 'subscribe', ['BTC', 'ETH', 'NONE', 'SOL']);
    assert.deepEqual(answer.symbols, ['BTC', 'SOL']);
    assert.deepEqual(answer.rejected.map((/** @type {any} */ { symbol, code }) => [symbol, code]), [
      ['ETH', 'forbidden'],
      ['NONE', 'forbidden'],
    ]);
    const all = await request(socket, 'subscribe', '*');
    assert.deepEqual(all.symbols, ['BTC', 'SOL']);
    assert.deepEqual(all.snapshot.map((/** @type {any} */ { symbol }) => symbol), ['BTC', 'SOL']);
    const counts = counted(socket);
    await until(() => counts.BTC > 3 && counts.SOL > 3, 'ticks');
    assert.deepEqual(Object.keys(counts).sort(), ['BTC', 'SOL']);
    const none = await enter(test, server, hs256(good({ symbols: [] })));
    const nothing = await request(none, 'subscribe', '*');
    assert.deepEqual([nothing.ok, nothing.symbols, nothing.snapshot], [true, [], []]);
  });

  it('chat is from the owner of the token, where the room is allowed', async (test) => {
    const [alice, bob, carol] = await Promise.all([
      enter(test, server, hs256(good({ sub: 'alice-chat' })), { auth: { token: hs256(good({ sub: 'alice-chat' })), user: 'root' } }),
      enter(test, server, hs256(good({ sub: 'bob-chat', rooms: ['chat'] }))),
      enter(test, server, hs256(good({ sub: 'carol-chat', rooms: ['other'] }))),
    ]);
    const heard = next(bob, 'chat-message');
    carol.on('chat-message', () => assert.fail('carol is not in the room'));
    assert.equal((await request(carol, 'chat', 'hi')).error.code, 'forbidden');
    assert.deepEqual(await request(alice, 'chat', 'hello'), { ok: true });
    const { from, text } = await heard;
    assert.deepEqual([from, text], ['alice-chat', 'hello']);
    await request(carol, 'ping');
  });

  for (const options of /** @type {any[]} */ ([{}, { transports: ['polling'] }, { version: '3.x' }, { version: '2.x' }])) {
    it(`a connection is told of the end, and ended: ${JSON.stringify(options)}`, async (test) => {
      // Longer than the notice: what comes is of the next one.
      const token = hs256(good({ exp: now() + 7200 }));
      const socket = await connect(server.url, { auth: { token }, query: { token }, ...options });
      closeAfter(test, socket);
      const ended = Promise.all([next(socket, 'error'), next(socket, 'disconnect')]);
      const told = until(async () => {
        const expiring = next(socket, 'token-expiring');
        // On a busy machine it may be over before it is there.
        const answer = await request(socket, 'refresh', { token: hs256(good({ exp: now() + 4 })) });
        return answer.ok ? expiring : expiring.catch(() => null) && null;
      }, 'a token that lives for a moment');
      const { expiresInMs } = await told;
      assert.ok(expiresInMs > 0 && expiresInMs <= 4000, `${expiresInMs}`);
      const [error, reason] = await ended;
      assert.equal(error.code, 'token_expired');
      assert.equal(reason, 'io server disconnect');
    });
  }

  it('a refresh is answered with the new life', async (test) => {
    const socket = await enter(test, server, hs256());
    const answer = await request(socket, 'refresh', { token: hs256(good({ exp: now() + 6000 })) });
    assert.equal(answer.ok, true);
    assert.ok(answer.expiresInMs > 5_900_000 && answer.expiresInMs <= 6_000_000);
    assert.deepEqual(answer.ended, []);
  });

  it('a refresh that is refused changes nothing', async (test) => {
    const socket = await enter(test, server, hs256(good({ symbols: ['BTC'] })));
    for (const [payload, code] of /** @type {[any, string][]} */ ([
      [{ token: hs256(good({ sub: 'bob' })) }, 'forbidden'],
      [{ token: hs256(good({ exp: now() - 1 })) }, 'token_expired'],
      [{ token: unsigned() }, 'unauthorized'],
      [{ token: 5 }, 'invalid_payload'],
      [{}, 'invalid_payload'],
      ['eyJ', 'invalid_payload'],
    ])) {
      assert.equal((await request(socket, 'refresh', payload)).error.code, code);
    }
    const refused = next(socket, 'error');
    socket.emit('refresh', { token: unsigned() });
    const { event, code } = await refused;
    assert.deepEqual([event, code], ['refresh', 'unauthorized']);
    assert.deepEqual((await request(socket, 'subscribe', '*')).symbols, ['BTC']);
  });

  it('what a new token does not allow stops with the answer', async (test) => {
    const socket = await enter(test, server, hs256());
    const counts = counted(socket);
    await request(socket, 'subscribe', { symbols: ['BTC', 'ETH'], mode: 'both' });
    await request(socket, 'subscribe', '*');
    await until(() => counts.BTC > 2 && counts.ETH > 2 && counts.SOL > 2, 'ticks');
    const answer = await request(socket, 'refresh', { token: hs256(good({ symbols: ['BTC'], rooms: [] })) });
    assert.deepEqual(answer.ended, ['ETH', 'SOL']);
    const then = { ...counts };
    await until(() => counts.BTC > then.BTC + 5, 'more ticks');
    assert.deepEqual([counts.ETH, counts.SOL], [then.ETH, then.SOL]);
    assert.equal((await request(socket, 'chat', 'x')).error.code, 'forbidden');
    assert.equal((await request(socket, 'subscribe', 'ETH')).rejected[0].code, 'forbidden');
    // And back: "*" is all that is allowed at any time.
    await request(socket, 'refresh', { token: hs256() });
    await until(() => counts.SOL > then.SOL + 2, 'ticks again');
  });

  it('/health says who may read', async () => {
    assert.deepEqual((await server.json('/health')).access, { read: 'token', api: 'loopback' });
    assert.ok(await server.logged((line) => line.fields?.message === 'connection refused' && line.fields.connection));
  });

  it('guests get what is theirs', async (test) => {
    const env = { JWT_SECRET: SECRET, ALLOW_ANONYMOUS: 'true', ANONYMOUS_SYMBOLS: 'BTC', SYMBOLS: 'BTC,ETH' };
    const welcome = await start(test, { ...env, TOKEN_IN_QUERY: 'false' });
    assert.equal((await welcome.json('/health')).access.read, 'token or guest');
    for (const version of ['4.x', '2.x']) {
      const guest = await connect(welcome.url, { version });
      closeAfter(test, guest);
      const answer = await request(guest, 'subscribe', ['BTC', 'ETH']);
      assert.deepEqual([answer.symbols, answer.rejected[0].code], [['BTC'], 'forbidden']);
      assert.equal((await request(guest, 'chat', 'x')).error.code, 'forbidden');
      assert.equal((await request(guest, 'refresh', { token: hs256() })).error.code, 'forbidden');
    }
    const bad = open(welcome.url, { auth: { token: unsigned() } });
    closeAfter(test, bad);
    assert.equal(await refusal(bad), 'unauthorized');
    const user = await enter(test, welcome, hs256());
    assert.deepEqual((await request(user, 'subscribe', '*')).symbols, ['BTC', 'ETH']);
    // Not allowed there: so it counts for nothing, and its owner is a guest.
    const old = await connect(welcome.url, { version: '2.x', query: { token: hs256() } });
    closeAfter(test, old);
    assert.deepEqual((await request(old, 'subscribe', '*')).symbols, ['BTC']);
  });

  it('without settings everybody may read, as whom he says', async (test) => {
    const free = await start(test, { CHAT_AUTO_JOIN: 'true' });
    assert.deepEqual((await free.json('/health')).access, { read: 'everybody', api: 'loopback' });
    assert.ok(await free.logged((line) => /everybody may read/.test(line.fields?.message)));
    const socket = await connect(free.url, { auth: { user: 'zoe', token: 'whatever' } });
    closeAfter(test, socket);
    const heard = next(socket, 'chat-message');
    await request(socket, 'chat', 'hi');
    assert.equal((await heard).from, 'zoe');
    assert.equal((await request(socket, 'refresh', { token: hs256() })).error.code, 'unavailable');
  });

  for (const [type, options] of /** @type {[any, any][]} */ ([
    ['rsa', { modulusLength: 2048 }],
    ['ec', { namedCurve: 'P-256' }],
    ['ed25519', {}],
  ])) {
    it(`a public key in PEM: ${type}`, async (test) => {
      const pair = generateKeyPairSync(type, options);
      const file = join(folder(test), 'key.pem');
      const pem = pair.publicKey.export({ format: 'pem', type: 'spki' });
      writeFileSync(file, pem);
      const keyed = await start(test, { JWT_PUBLIC_KEY_FILE: file });
      const socket = await enter(test, keyed, byKey(pair.privateKey));
      assert.equal((await request(socket, 'subscribe', 'BTC')).ok, true);
      const other = generateKeyPairSync(type, options).privateKey;
      for (const bad of [byKey(other), hs256(good(), String(pem)), unsigned(), byKey(pair.privateKey, good(), { alg: 'PS256' })]) {
        const refused = open(keyed.url, { auth: { token: bad } });
        closeAfter(test, refused);
        assert.equal(await refusal(refused), 'unauthorized');
      }
    });
  }

  it('a set of keys, by kid, read again when it changes', async (test) => {
    const pairs = ['a', 'b', 'c'].map((kid) => ({ kid, ...generateKeyPairSync('ec', { namedCurve: 'P-256' }) }));
    const file = join(folder(test), 'jwks.json');
    const write = (/** @type {string[]} */ ...kids) => {
      const keys = pairs.filter(({ kid }) => kids.includes(kid));
      const jwks = keys.map((pair) => ({ ...pair.publicKey.export({ format: 'jwk' }), kid: pair.kid }));
      // As a whole, or not at all.
      writeFileSync(`${file}.new`, JSON.stringify({ keys: jwks }));
      renameSync(`${file}.new`, file);
    };
    write('a', 'b');
    const keyed = await start(test, { JWT_JWKS_FILE: file });
    const by = (/** @type {number} */ index, kid = pairs[index].kid) => byKey(pairs[index].privateKey, good(), { kid });
    const socket = await enter(test, keyed, by(0));
    for (const bad of [by(0, 'b'), by(2), by(2, 'a'), byKey(pairs[0].privateKey), hs256(good(), publicKey.export({ format: 'pem', type: 'spki' }), { kid: 'a' })]) {
      const refused = open(keyed.url, { auth: { token: bad } });
      closeAfter(test, refused);
      assert.equal(await refusal(refused), 'unauthorized');
    }
    write('b', 'c');
    await keyed.logged((line) => line.fields?.message === 'keys read again');
    await enter(test, keyed, by(2));
    const gone = open(keyed.url, { auth: { token: by(0) } });
    closeAfter(test, gone);
    assert.equal(await refusal(gone), 'unauthorized');
    assert.equal((await request(socket, 'ping')).ok, true);
    writeFileSync(file, '{');
    await keyed.logged((line) => /cannot read keys again/.test(line.fields?.message));
    await enter(test, keyed, by(2));
  });
});
