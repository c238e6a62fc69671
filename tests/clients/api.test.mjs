// Who may use /api: keys and their scopes, callers on this machine, proxies and those who pretend.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { closeAfter, connect, next, request, until } from '../support/clients.mjs';
import { fetchRaw } from '../support/raw.mjs';
import { startServer } from '../support/server.mjs';
import { SECRET, good, hs256 } from '../support/tokens.mjs';

const KEY = 'the-key-that-may-do-everything';
const DESK = 'the-key-of-the-desk';
const FEED = 'the-key-of-the-feed';

/** @param {string} name @param {string} key @param {string[]} scopes */
const entry = (name, key, scopes) => ({ name, sha256: createHash('sha256').update(key).digest('hex'), scopes });

/**
 * `POST /api/disconnect`.
 *
 * @param {import('../support/server.mjs').Server} server
 * @param {Record<string, string>} [headers]
 * @param {string} [body]
 */
async function disconnect(server, headers = {}, body = JSON.stringify({ userId: 'nobody' })) {
  const all = { 'content-type': 'application/json', ...headers };
  const response = await fetchRaw(`${server.url}/api/disconnect`, { method: 'POST', headers: all, body });
  return { ...response, json: JSON.parse(response.text) };
}

/** @param {Awaited<ReturnType<typeof disconnect>>} response @param {number} status @param {string} code */
function isProblem(response, status, code) {
  assert.equal(response.status, status, response.text);
  assert.match(response.headers['content-type'] ?? '', /^application\/problem\+json/);
  const { type, title, status: said, detail, code: named } = response.json;
  assert.deepEqual([type, said, named], ['about:blank', status, code]);
  assert.ok(title && detail, response.text);
}

async function start(test, env) {
  const server = await startServer(env);
  test.after(async () => assert.deepEqual(await server.stop(), { code: 0, signal: null }, server.tail()));
  return server;
}

describe('api', { concurrency: true }, () => {
  /** @type {import('../support/server.mjs').Server} */
  let keyed;
  /** @type {import('../support/server.mjs').Server} */
  let keyless;
  /** @type {(() => Promise<void> | void)[]} */
  const undo = [];
  const folder = mkdtempSync(join(tmpdir(), 'tickcast-'));
  const file = join(folder, 'keys.json');
  const write = (/** @type {object[]} */ ...entries) => {
    writeFileSync(`${file}.new`, JSON.stringify(entries));
    renameSync(`${file}.new`, file);
  };

  before(async () => {
    const test = { after: (/** @type {() => Promise<void>} */ each) => undo.push(each) };
    write(entry('desk', DESK, ['admin']), entry('feed', FEED, ['publish', 'message']));
    keyed = await start(test, { API_KEY: KEY, API_KEYS_FILE: file, JWT_SECRET: SECRET, LOG_LEVEL: 'trace' });
    keyless = await start(test, { TRUSTED_PROXIES: '127.0.0.2, 10.0.0.0/8' });
  });
  after(async () => {
    for (const each of undo) await each();
    rmSync(folder, { recursive: true });
    const log = JSON.stringify(keyed.log);
    for (const key of [KEY, DESK, FEED, 'a-wrong-key']) assert.ok(!log.includes(key), `the log has ${key} in it`);
  });

  it('a key, and its scope', async () => {
    for (const key of [KEY, DESK]) assert.equal((await disconnect(keyed, { 'x-api-key': key })).status, 200);
    isProblem(await disconnect(keyed, { 'x-api-key': FEED }), 403, 'forbidden');
    assert.match((await disconnect(keyed, { 'x-api-key': FEED })).json.detail, /"feed".*admin/);
  });

  it('no key, or a wrong one', async () => {
    const missing = await disconnect(keyed);
    isProblem(missing, 401, 'unauthorized');
    assert.ok(missing.headers['www-authenticate']);
    const hash = createHash('sha256').update(KEY).digest('hex');
    for (const key of ['', 'a-wrong-key', `${KEY}x`, KEY.slice(0, -1), KEY.toUpperCase(), hash]) {
      isProblem(await disconnect(keyed, { 'x-api-key': key }), 401, 'unauthorized');
    }
    // Being here, or saying so, is no key.
    isProblem(await disconnect(keyed, { 'x-forwarded-for': '127.0.0.1' }), 401, 'unauthorized');
    isProblem(await disconnect(keyed, { authorization: `Bearer ${KEY}` }), 401, 'unauthorized');
  });

  it('who may is asked before what he wants', async () => {
    isProblem(await disconnect(keyed, {}, 'x'), 401, 'unauthorized');
    for (const body of ['x', '{}', '{"userId":5}', '{"userId":""}', JSON.stringify({ userId: 'x'.repeat(257) })]) {
      isProblem(await disconnect(keyed, { 'x-api-key': KEY }, body), 400, 'invalid_payload');
    }
    isProblem(await disconnect(keyed, { 'x-api-key': KEY }, ' '.repeat(70_000)), 413, 'invalid_payload');
    isProblem(await disconnect(keyed, { 'x-api-key': KEY, 'content-type': 'text/plain' }), 415, 'invalid_payload');
  });

  it('ends every connection of a user, and of nobody else', async (test) => {
    const enter = (/** @type {string} */ sub, options = {}) =>
      connect(keyed.url, { auth: { token: hs256(good({ sub })) }, ...options });
    const [one, two, bob] = await Promise.all([
      enter('alice'),
      enter('alice', { transports: ['polling'] }),
      enter('bob'),
    ]);
    closeAfter(test, one, two, bob);
    // Each stands on the server's side too.
    for (const socket of [one, two, bob]) await request(socket, 'ping');
    const ended = Promise.all([next(one, 'disconnect'), next(two, 'disconnect')]);
    const response = await disconnect(keyed, { 'x-api-key': DESK }, JSON.stringify({ userId: 'alice' }));
    assert.deepEqual(response.json, { ok: true, disconnected: 2, complete: true });
    assert.deepEqual(await ended, ['io server disconnect', 'io server disconnect']);
    assert.equal((await request(bob, 'ping')).ok, true);
    const again = await disconnect(keyed, { 'x-api-key': DESK }, JSON.stringify({ userId: 'alice' }));
    assert.equal(again.json.disconnected, 0);
    const line = await keyed.logged(({ fields }) => fields?.message === 'user disconnected' && fields.disconnected === 2);
    assert.equal(line.fields.caller, 'desk');
    // The request's own id is in the line.
    assert.ok(line.spans?.some((/** @type {any} */ { id }) => id === response.headers['x-request-id']), JSON.stringify(line));
  });

  it('keys are read again when they change', async (test) => {
    const own = join(mkdtempSync(join(tmpdir(), 'tickcast-')), 'keys.json');
    writeFileSync(own, JSON.stringify([entry('old', 'old-key', ['admin'])]));
    const server = await start(test, { API_KEYS_FILE: own });
    assert.equal((await disconnect(server, { 'x-api-key': 'old-key' })).status, 200);
    writeFileSync(own, JSON.stringify([entry('new', 'new-key', ['admin'])]));
    await until(async () => (await disconnect(server, { 'x-api-key': 'new-key' })).status === 200, 'the new key');
    isProblem(await disconnect(server, { 'x-api-key': 'old-key' }), 401, 'unauthorized');
  });

  it('without keys: from this machine, and for nobody else', async () => {
    assert.deepEqual((await disconnect(keyless)).json, { ok: true, disconnected: 0, complete: true });
    for (const name of ['x-forwarded-for', 'forwarded', 'x-real-ip', 'via', 'x-forwarded-host']) {
      for (const value of ['127.0.0.1', 'for=127.0.0.1', '192.0.2.1', '']) {
        isProblem(await disconnect(keyless, { [name]: value }), 403, 'forbidden');
      }
    }
    assert.equal((await keyless.json('/health')).access.api, 'loopback');
  });

  it('without keys: no page of another place', async () => {
    for (const origin of ['https://evil.example', 'null', 'http://localhost.evil.example']) {
      isProblem(await disconnect(keyless, { origin }), 403, 'forbidden');
    }
    assert.equal((await disconnect(keyless, { origin: keyless.url })).status, 200);
  });

  it('without keys: by no name that may mean another machine', async () => {
    // As the page of a name that points here (DNS rebinding) asks its own server: a GET of one has no origin.
    const status = async (/** @type {string} */ host) => {
      const response = await fetchRaw(`${keyless.url}/api/status`, { headers: { host } });
      return { ...response, json: JSON.parse(response.text) };
    };
    for (const host of ['rebound.example', `rebound.example:${keyless.port}`, '127.0.0.1.rebound.example', 'localhost@rebound.example']) {
      isProblem(await status(host), 403, 'forbidden');
    }
    for (const host of ['localhost', `127.0.0.1:${keyless.port}`, '[::1]:80']) assert.equal((await status(host)).status, 200, host);
  });

  it('a trusted proxy says who it is', async (test) => {
    // This machine is the proxy.
    const server = await start(test, { TRUSTED_PROXIES: '127.0.0.0/8,10.0.0.0/8' });
    for (const [address, may] of /** @type {[string, boolean][]} */ ([
      ['127.0.0.1', true],
      ['::1', true],
      ['127.0.0.1, 10.1.1.1', true],
      ['192.0.2.1', false],
      ['127.0.0.1, 192.0.2.1', false],
      ['127.0.0.1, 192.0.2.1, 10.1.1.1', false],
      ['127.0.0.1, unknown', false],
      ['', false],
    ])) {
      const { status } = await disconnect(server, { 'x-forwarded-for': address });
      assert.equal(status, may ? 200 : 403, address);
    }
    for (const name of ['forwarded', 'x-real-ip']) {
      isProblem(await disconnect(server, { [name]: '127.0.0.1' }), 403, 'forbidden');
    }
  });

  it('opened by name', async (test) => {
    const server = await start(test, { API_OPEN: 'true' });
    assert.equal((await disconnect(server, { 'x-forwarded-for': '192.0.2.1' })).status, 200);
    assert.equal((await server.json('/health')).access.api, 'everybody');
    assert.ok(await server.logged(({ level, fields }) => level === 'WARN' && /^API_OPEN=true/.test(fields?.message)));
  });

  it('a user is whom a client claims to be, where no tokens are asked for', async (test) => {
    const zoe = await connect(keyless.url, { auth: { user: 'zoe' } });
    closeAfter(test, zoe);
    await request(zoe, 'ping');
    const ended = next(zoe, 'disconnect');
    assert.equal((await disconnect(keyless, {}, '{"userId":"zoe"}')).json.disconnected, 1);
    assert.equal(await ended, 'io server disconnect');
  });
});
