// Who has no good token gets nothing; who has one gets no more than it says.
import assert from 'node:assert/strict';
import { createHmac, generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import http from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { Attempts, times } from '../support/attempts.mjs';
import { closeAfter, connect, open, request, serve, until, within } from '../support/clients.mjs';
import { fetchRaw, RawPolling, RawWebSocket } from '../support/raw.mjs';
import { startServer } from '../support/server.mjs';
import { byKey, forged, good, hs256, now, SECRET, token, unsigned } from '../support/tokens.mjs';

const attempts = new Attempts('tokens and scopes');
after(() => attempts.print());

/** What a connection with a token is told: `connected`, or the code. @param {any} test @param {string} url @param {object} options */
async function told(test, url, options) {
  const socket = open(url, { ...options, timeout: 15_000 });
  closeAfter(test, socket);
  return within(new Promise((resolve) => {
    socket.once('connect', () => resolve('connected'));
    socket.once('connect_error', (/** @type {any} */ error) => resolve(error.message));
    socket.once('error', (/** @type {any} */ error) => resolve(error?.message ?? error));
  }), 'an answer to the token');
}

/** @type {any} */
let server;
/** @type {any} */
let byPublicKey;
/** @type {any} */
let byKeySet;
/** @type {string} */
let folder;
const ours = generateKeyPairSync('rsa', { modulusLength: 2048 });
const theirs = generateKeyPairSync('rsa', { modulusLength: 2048 });
/** A key of each kind that a set may have, by its `kid`. @type {Record<string, import('node:crypto').KeyPairKeyObjectResult>} */
const set = {
  RS256: ours,
  ES256: generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  EdDSA: generateKeyPairSync('ed25519'),
};
const pem = String(ours.publicKey.export({ format: 'pem', type: 'spki' }));

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tickcast-security-'));
  const file = join(folder, 'key.pem');
  await writeFile(file, pem);
  const env = { SYMBOLS: 'BTC,ETH,SOL', CHAT_AUTO_JOIN: 'true', JWT_AUDIENCE: 'feed', JWT_ISSUER: 'desk' };
  server = await startServer({ ...env, JWT_SECRET: SECRET });
  byPublicKey = await startServer({ ...env, JWT_PUBLIC_KEY_FILE: file });
  const jwks = join(folder, 'jwks.json');
  const keys = Object.entries(set).map(([kid, { publicKey }]) => ({ ...publicKey.export({ format: 'jwk' }), kid }));
  await writeFile(jwks, JSON.stringify({ keys }));
  byKeySet = await startServer({ ...env, JWT_JWKS_FILE: jwks });
});
after(async () => {
  for (const each of [server, byPublicKey, byKeySet]) assert.deepEqual(await each.stop(), { code: 0, signal: null });
  await rm(folder, { recursive: true });
});

const claims = (/** @type {object} */ more = {}) => good({ aud: 'feed', iss: 'desk', ...more });
const mine = () => hs256(claims());
/** A MAC with any hash over any key. @param {string} alg @param {string | Buffer} key */
const mac = (alg, key) => token({ alg: alg.replace('sha', 'HS'), typ: 'JWT' }, claims(), (message) => createHmac(alg, key).update(message).digest());

/** Tokens that are none, by what is wrong with them. @type {Record<string, () => [string, string?]>} */
const bad = {
  'forged claims': () => [forged(mine(), claims({ sub: 'root' }))],
  'forged, longer life': () => [forged(hs256(claims({ exp: now() - 1 })), claims())],
  'unsigned (alg none)': () => [unsigned(claims())],
  'alg none in other letters': () => [token({ alg: 'nOnE' }, claims(), () => Buffer.alloc(0))],
  'alg none with our signature': () => [`${Buffer.from('{"alg":"none"}').toString('base64url')}.${mine().split('.').slice(1).join('.')}`],
  'signature left out': () => [mine().split('.').slice(0, 2).join('.')],
  'signature empty': () => [`${mine().split('.').slice(0, 2).join('.')}.`],
  'signature cut': () => [mine().slice(0, -4)],
  'signature of another token': () => [`${mine().split('.').slice(0, 2).join('.')}.${hs256(claims({ sub: 'bob' })).split('.')[2]}`],
  'wrong key': () => [hs256(claims(), randomBytes(32))],
  'empty key': () => [hs256(claims(), '')],
  'wrong algorithm HS384': () => [mac('sha384', SECRET)],
  'wrong algorithm HS512': () => [mac('sha512', SECRET)],
  'algorithm said to be RS256': () => [hs256(claims(), SECRET, { alg: 'RS256' })],
  'algorithm missing': () => [hs256(claims(), SECRET, { alg: undefined })],
  'key in its own header (jwk)': () => [byKey(theirs.privateKey, claims(), /** @type {any} */ ({ jwk: theirs.publicKey.export({ format: 'jwk' }) }))],
  'key elsewhere (jku)': () => [hs256(claims(), 'x', { jku: 'http://127.0.0.1:1/keys' })],
  'key id that is a path': () => [hs256(claims(), '', { kid: '../../../../dev/null' })],
  'crit that nobody knows': () => [hs256(claims(), SECRET, { crit: ['b64'], b64: false })],
  expired: () => [hs256(claims({ exp: now() - 1 })), 'token_expired'],
  'expired long ago': () => [hs256(claims({ exp: -1e18 })), 'token_expired'],
  'not valid yet': () => [hs256(claims({ nbf: now() + 300 }))],
  'no end': () => [hs256(claims({ exp: undefined }))],
  'end that is a text': () => [hs256(claims({ exp: '9999999999' }))],
  'no owner': () => [hs256(claims({ sub: undefined }))],
  'owner that is a list': () => [hs256(claims({ sub: ['alice', 'root'] }))],
  'owner too long': () => [hs256(claims({ sub: 'x'.repeat(257) }))],
  'for somebody else': () => [hs256(claims({ aud: 'other' }))],
  'for nobody': () => [hs256(claims({ aud: undefined }))],
  'by somebody else': () => [hs256(claims({ iss: 'evil' }))],
  'rights that are no list': () => [hs256(claims({ symbols: { '*': true } }))],
  'too many rights': () => [hs256(claims({ symbols: Array.from({ length: 1001 }, (_, n) => `S${n}`) }))],
  oversized: () => [hs256(claims({ pad: 'x'.repeat(8192) }))],
  'oversized a hundred times': () => [`${mine()}${'x'.repeat(800_000)}`],
  'no token at all': () => ['hello'],
  'dots alone': () => ['..'],
  'many dots': () => ['.'.repeat(8000)],
  'claims nested deep': () => [`${mine().split('.')[0]}.${Buffer.from('['.repeat(5000)).toString('base64url')}.x`],
  'zero bytes': () => [`${mine()}\u0000`],
};

describe('bad tokens', { concurrency: 4 }, () => {
  for (const [what, make] of Object.entries(bad)) {
    it(what, async (test) => {
      for (let n = 0; n < times(1, 20); n += 1) {
        const [shown, code = 'unauthorized'] = make();
        for (const transports of [['websocket'], ['polling']]) {
          assert.equal(await told(test, server.url, { auth: { token: shown }, transports }), code);
          attempts.add('tokens shown as auth');
        }
        // In a header or an address it has to be something that these can carry.
        if (shown.length > 6000 || /[^\x21-\x7e]/.test(shown)) continue;
        const headers = { Authorization: `Bearer ${shown}` };
        assert.equal(await told(test, server.url, { extraHeaders: headers }), code);
        assert.equal(await told(test, server.url, { version: '2.x', query: { token: shown } }), code);
        attempts.add('tokens shown as a header or in the query', 2);
      }
    });
  }

  it('a public key is no secret', async (test) => {
    const tried = [pem, pem.trim(), pem.replace(/-----[^-]+-----|\n/g, ''), ours.publicKey.export({ format: 'der', type: 'spki' })];
    for (const key of tried) {
      assert.equal(await told(test, byPublicKey.url, { auth: { token: hs256(claims(), /** @type {any} */ (key)) } }), 'unauthorized');
      attempts.add('public keys used as a secret');
    }
    assert.equal(await told(test, byPublicKey.url, { auth: { token: byKey(theirs.privateKey, claims()) } }), 'unauthorized');
    assert.equal(await told(test, byPublicKey.url, { auth: { token: byKey(ours.privateKey, claims()) } }), 'connected');
  });

  it('a key that a token brings along, or points to, is not looked at', async (test) => {
    /** @type {(string | undefined)[]} */
    const asked = [];
    const jwk = { ...theirs.publicKey.export({ format: 'jwk' }), kid: 'theirs' };
    const elsewhere = http.createServer(({ url: at }, response) => {
      asked.push(at);
      response.end(JSON.stringify({ keys: [jwk] }));
    });
    test.after(() => elsewhere.close());
    await once(elsewhere.listen(0, '127.0.0.1'), 'listening');
    const url = `http://127.0.0.1:${/** @type {any} */ (elsewhere.address()).port}`;
    const der = theirs.publicKey.export({ format: 'der', type: 'spki' }).toString('base64');
    for (const header of /** @type {any[]} */ ([
      { jwk }, { jku: `${url}/jku` }, { jku: `${url}/jku`, kid: 'theirs' }, { x5u: `${url}/x5u` }, { x5c: [der] },
      { kid: `${url}/kid` }, { kid: '../../../../dev/null' }, { kid: "' OR 1=1 --" }, { jwk, jku: `${url}/jku`, x5u: `${url}/x5u`, x5c: [der] },
    ])) {
      for (const { url: asks } of [server, byPublicKey, byKeySet]) {
        assert.equal(await told(test, asks, { auth: { token: byKey(theirs.privateKey, claims(), header) } }), 'unauthorized', JSON.stringify(header));
        attempts.add('keys that a token brought along, or pointed to');
      }
    }
    // Nor does it do any harm to one that is signed with ours.
    const harmless = /** @type {any} */ ({ jku: `${url}/jku`, x5u: `${url}/x5u` });
    assert.equal(await told(test, byPublicKey.url, { auth: { token: byKey(ours.privateKey, claims(), harmless) } }), 'connected');
    assert.deepEqual(asked, []);
  });

  it('each key of a set is for its own algorithm, and none is a secret', async (test) => {
    const show = (/** @type {string} */ shown) => told(test, byKeySet.url, { auth: { token: shown } });
    for (const [kid, { privateKey, publicKey }] of Object.entries(set)) {
      assert.equal(await show(byKey(privateKey, claims(), { kid })), 'connected', kid);
      const jwk = publicKey.export({ format: 'jwk' });
      const others = Object.keys(set).filter((other) => other !== kid);
      const secrets = [
        publicKey.export({ format: 'pem', type: 'spki' }), publicKey.export({ format: 'der', type: 'spki' }),
        ...[jwk.n, jwk.x].filter((part) => part !== undefined).flatMap((part) => [part, Buffer.from(part, 'base64url')]),
      ];
      for (const wrong of [
        byKey(privateKey, claims()),
        byKey(privateKey, claims(), { kid: 'gone' }),
        ...others.flatMap((other) => [byKey(privateKey, claims(), { kid: other }), byKey(privateKey, claims(), { kid, alg: other })]),
        ...secrets.map((secret) => hs256(claims(), /** @type {any} */ (secret), { kid })),
        token({ alg: 'none', kid }, claims(), () => Buffer.alloc(0)),
        // Nothing at all as a signature, in the form that each of them has.
        ...[0, 64, 256].map((bytes) => token({ alg: kid, kid }, claims(), () => Buffer.alloc(bytes))),
      ]) {
        assert.equal(await show(wrong), 'unauthorized', `${kid}: ${wrong}`);
        attempts.add('tokens by a key of a set that is for something else');
      }
    }
    // The two ways to write a signature of ES256: only the one of tokens counts.
    const der = (/** @type {string} */ message) => sign('sha256', Buffer.from(message), { key: set.ES256.privateKey, dsaEncoding: 'der' });
    assert.equal(await show(token({ alg: 'ES256', kid: 'ES256' }, claims(), der)), 'unauthorized');
    attempts.add('tokens by a key of a set that is for something else');
  });

  it('one bit more or less', async (test) => {
    const right = mine();
    assert.equal(await told(test, server.url, { auth: { token: right } }), 'connected');
    const bytes = Buffer.from(right);
    const count = times(40, bytes.length);
    for (let n = 0; n < count; n += 1) {
      const at = Math.floor((n * bytes.length) / count);
      const wrong = Buffer.from(bytes);
      wrong[at] ^= 1;
      const answer = await told(test, server.url, { auth: { token: wrong.toString('latin1') } });
      assert.ok(['unauthorized', 'token_expired'].includes(answer), `${answer} with another bit at ${at}`);
      attempts.add('tokens with one bit changed');
    }
  });

  it('a connection that was refused reads nothing, whatever it says', async (test) => {
    for (const Raw of [RawWebSocket, RawPolling]) {
      const client = await Raw.open(server.url);
      test.after(() => client.close());
      client.send('40{"token":"x"}');
      assert.equal(await client.take('44'), '44{"message":"unauthorized"}');
      // An event of who is in no namespace is the end of the connection, or nothing.
      client.send('42["subscribe","*"]', '42["chat","hello"]', '4210["ping"]', '40', '42["subscribe","*"]');
      const answer = await client.takeOrEnd((packet) => String(packet).startsWith('44'), 'a refusal, or the end');
      assert.ok(answer === undefined || answer === '44{"message":"unauthorized"}', String(answer));
      const got = client.received.filter((packet) => String(packet).startsWith('42') || String(packet).startsWith('43'));
      assert.deepEqual(got, []);
      attempts.add('requests on a connection that was refused', 6);
    }
  });
});

describe('scopes', { concurrency: 4 }, () => {
  /** Names that the server might take for others. */
  const names = ['user:victim', 'room:chat', 'room:user:victim', 'BTC', 'tick', 'ticks', '*', '', '/', '__proto__', 'constructor', 'chat\u0000', 'Chat', 'tickcast-told'];

  it('no room is somebody else, a symbol, or of the server', async (test) => {
    const enter = async (/** @type {any} */ more) => {
      const socket = await connect(server.url, { auth: { token: hs256(claims(more)) } });
      closeAfter(test, socket);
      return socket;
    };
    const victim = await enter({ sub: 'victim', symbols: ['ETH'], rooms: [] });
    const evil = await enter({ sub: 'evil', symbols: ['ETH'], rooms: ['*'] });
    /** @type {any[]} */
    const heard = [];
    for (const socket of [victim, evil]) {
      socket.onAny((/** @type {string} */ event, /** @type {any} */ body) => {
        // What it said itself to people's room of that name, which it then entered.
        if (socket === evil && event === 'chat-message' && body.from === 'evil' && names.includes(body.room)) return;
        heard.push([event, body, socket]);
      });
    }
    for (const name of names) {
      for (const [event, payload] of /** @type {[string, any][]} */ ([
        ['chat', { room: name, text: 'boo' }],
        ['join', { room: name }],
        ['join', name],
        ['leave', { room: name }],
        ['subscribe', [`room:${name}`, `user:${name}`]],
      ])) {
        const answer = await request(evil, event, payload);
        // A room of that name may be entered: it is people's, and the answer says nothing but that.
        const nothing = event === 'subscribe' ? answer.symbols?.length === 0 : Object.keys(answer).every((key) => ['ok', 'room'].includes(key));
        assert.ok(!answer.ok || nothing, `${event} ${name}: ${JSON.stringify(answer)}`);
        attempts.add('rooms and symbols of other names');
      }
    }
    await request(evil, 'ping', 1);
    await request(victim, 'ping', 1);
    assert.deepEqual(heard, []);

    // And from within rooms of all of those names, and of the victim's own sessions: what the victim gets.
    const rooms = [...names.filter((name) => name !== ''), 'ETH', 'victim', victim.id, victim.io.engine.id, `user:${victim.id}`];
    for (const room of rooms) assert.equal((await request(evil, 'join', { room })).ok, true, room);
    const spied = heard.length;
    /** @type {any[]} */
    const got = [];
    for (const event of ['message', 'secret']) victim.on(event, (/** @type {any} */ body) => got.push(body.content ?? body));
    assert.deepEqual((await request(victim, 'subscribe', 'ETH')).symbols, ['ETH']);
    const friend = await enter({ sub: 'friend' });
    const api = async (/** @type {string} */ path, /** @type {any} */ body) => (
      fetchRaw(server.url + path, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) })
    );
    assert.deepEqual(await request(friend, 'send_message', { recipient: 'victim', content: 'one' }), { ok: true, delivered: 1, complete: true });
    assert.equal(JSON.parse((await api('/api/message', { userId: 'victim', event: 'secret', data: 'two' })).text).delivered, 1);
    // Nor is a user a room: whoever speaks to one of these names reaches nobody.
    for (const recipient of [...rooms, 'room:evil', 'user:evil'].filter((name) => name !== 'victim')) {
      const { delivered } = await request(friend, 'send_message', { recipient, content: 'nobody' });
      assert.equal(delivered, 0, recipient);
      attempts.add('users of other names');
    }
    await until(() => got.length === 2 && heard.some(([event]) => event === 'tick'), 'what is for the victim');
    await request(evil, 'ping', 1);
    assert.deepEqual(heard.slice(spied).filter(([, , whose]) => whose === evil).map(([event, body]) => [event, body]), []);
    assert.deepEqual(got.sort(), ['one', 'two']);
    attempts.add('rooms from which the victim was listened to', rooms.length);
  });

  it('a symbol that is not allowed is not got by any way of asking', async (test) => {
    const socket = await connect(server.url, { auth: { token: hs256(claims({ sub: 'eth', symbols: ['ETH'] })) } });
    closeAfter(test, socket);
    /** @type {Set<string>} */
    const seen = new Set();
    socket.on('tick', (/** @type {any} */ tick) => seen.add(tick.symbol));
    socket.on('ticks', (/** @type {any[]} */ ticks) => ticks.forEach((tick) => seen.add(tick.symbol)));
    const ways = [
      'BTC', '*', ['BTC'], ['*', 'BTC'], ['ETH', 'BTC'], { symbols: 'BTC' }, { symbols: '*', mode: 'both' },
      { symbols: ['BTC'], since: { BTC: 1 }, epoch: 'x' }, { symbols: ['BTC'], since: { BTC: 0 } }, { symbols: '*', maxRate: 1000 },
      ['btc'], ['BTC '], ['BTC\u0000'], ['ETH\u0000BTC'], ['ETH*'], ['B*'], ['ETH,BTC'], { symbols: ['ETH'], allow: ['BTC'], roles: ['admin'] },
    ];
    for (const way of ways) {
      const answer = await request(socket, 'subscribe', way);
      const text = JSON.stringify([answer.symbols ?? [], answer.snapshot ?? [], answer.replay ?? []]);
      assert.ok(!text.includes('BTC') && !text.includes('SOL'), `${JSON.stringify(way)}: ${text}`);
      attempts.add('ways to ask for a symbol that is not allowed');
    }
    await until(() => seen.has('ETH'), 'a tick');
    for (const how of [{ token: forged(mine(), claims({ sub: 'eth' })) }, { token: hs256(claims({ sub: 'eth' }), 'x') }, { token: mine() }]) {
      assert.equal((await request(socket, 'refresh', how)).ok, false);
      attempts.add('tokens that were to raise the rights of a connection');
    }
    assert.deepEqual((await request(socket, 'subscribe', '*')).symbols, ['ETH']);
    assert.deepEqual([...seen], ['ETH']);
  });

  it('who claims to be somebody, beside a token, is not', async (test) => {
    const evil = await connect(server.url, { auth: { token: hs256(claims({ sub: 'mallory' })), user: 'alice', sub: 'alice', userId: 'alice' } });
    closeAfter(test, evil);
    const message = within(new Promise((resolve) => evil.once('chat-message', resolve)), 'its own message');
    // A room of its own: others here listen to the common one.
    await request(evil, 'join', { room: 'desk' });
    await request(evil, 'chat', { room: 'desk', text: 'hello', from: 'alice', user: 'alice' });
    assert.equal(/** @type {any} */ (await message).from, 'mallory');
    attempts.add('names claimed beside a token');
  });
});

describe('headers', { concurrency: 4 }, () => {
  const addresses = ['127.0.0.1', '::1', 'localhost', '127.0.0.1, 10.0.0.1', '10.0.0.1, 127.0.0.1', '', '127.0.0.1:80', '[::1]', 'unknown', '\u00e9'];
  const spoofing = ['x-forwarded-for', 'x-real-ip', 'forwarded', 'x-client-ip', 'true-client-ip', 'cf-connecting-ip', 'x-cluster-client-ip'];

  it('nobody becomes local, or somebody else, by a header', async (test) => {
    // The test is on this machine: behind a proxy that adds a header, it must not count as local.
    const open_ = await serve(test, { MAX_CONNECTIONS_PER_IP: '3' });
    const far = await serve(test, { TRUSTED_PROXIES: '127.0.0.1' });
    const body = '{"userId":"nobody"}';
    for (const header of spoofing) {
      for (const address of addresses) {
        const headers = { 'content-type': 'application/json', [header]: address };
        assert.equal((await fetchRaw(`${open_.url}/api/disconnect`, { method: 'POST', headers, body })).status, 403, `${header}: ${address}`);
        // What the proxy itself writes is the last entry.
        const through = { ...headers, 'x-forwarded-for': `${address}, 192.0.2.1` };
        assert.equal((await fetchRaw(`${far.url}/api/disconnect`, { method: 'POST', headers: through, body })).status, 403);
        attempts.add('headers that claim an address, for /api', 2);
      }
    }
    const sessions = await Promise.all([1, 2, 3].map(() => connect(open_.url)));
    closeAfter(test, ...sessions);
    for (const header of spoofing) {
      for (let n = 0; n < times(3, 100); n += 1) {
        const refused = await fetchRaw(`${open_.url}/socket.io/?EIO=4&transport=polling`, { headers: { [header]: `192.0.2.${n}` } });
        assert.equal(refused.status, 429, header);
        attempts.add('headers that claim an address, for a place');
      }
    }
  });
});
