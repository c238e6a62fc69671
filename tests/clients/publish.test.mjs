// Back ends publish: what is taken, what is not and why, and that it comes to clients as every other tick does.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { ask, isProblem, publish } from '../support/api.mjs';
import { closeAfter, connect, request, start, until } from '../support/clients.mjs';

const KEY = 'the-key-that-may-do-everything';
const FEED = 'the-key-of-the-feed';
const DESK = 'the-key-of-the-desk';

/** The one result of an answer. @param {Awaited<ReturnType<typeof publish>>} response */
function only(response) {
  assert.equal(response.status, 200, response.text);
  assert.equal(response.json.results.length, 1);
  return response.json.results[0];
}

describe('publish', { concurrency: true }, () => {
  /** @type {import('../support/server.mjs').Server} */
  let server;
  /** @type {(() => Promise<void>)[]} */
  const undo = [];
  before(async () => {
    const test = { after: (/** @type {() => Promise<void>} */ each) => undo.push(each) };
    const published = [...Array(30).keys()].map((index) => `P${index}`).join();
    server = await start(test, { SYMBOLS: 'BTC,ETH', PUBLISHED_SYMBOLS: `${published},A/B` });
    await until(async () => (await ask(server, 'GET', '/api/prices/BTC')).status === 200, 'a price');
  });
  after(() => Promise.all(undo.map((each) => each())));

  it('comes to clients as it was given, digit by digit and number by number', async (test) => {
    const socket = await connect(server.url);
    closeAfter(test, socket);
    /** @type {any[]} */
    const ticks = [];
    socket.on('tick', (/** @type {any} */ tick) => ticks.push(tick));
    const answer = await request(socket, 'subscribe', ['P0']);
    assert.deepEqual([answer.symbols, answer.snapshot], [['P0'], []], 'known before its first price');
    const ts = Date.now() - 1000;
    const first = await publish(server, `{"prices":[{"symbol":"P0","price":12.50,"ts":${ts},"bid":"12.490","ask":12.51,"size":1e-7}]}`);
    const { seq } = only(first);
    assert.deepEqual([first.json.ok, first.json.accepted, first.json.rejected], [true, 1, 0]);
    const more = await publish(server, [1, 2, 3].map((price) => ({ symbol: 'P0', price, ts: ts + price })));
    assert.deepEqual(more.json.results.map((/** @type {any} */ each) => each.seq), [seq + 1, seq + 2, seq + 3]);
    await until(() => ticks.length === 4, 'the ticks');
    const [{ epoch }] = ticks;
    assert.equal(epoch, first.json.epoch);
    assert.deepEqual(ticks[0], { symbol: 'P0', price: 12.5, ts, seq, bid: 12.49, ask: 12.51, size: 1e-7, epoch });
    assert.deepEqual(ticks.slice(1).map((tick) => [tick.price, tick.seq]), [[1, seq + 1], [2, seq + 2], [3, seq + 3]]);
  });

  it('keeps digits that JavaScript cannot', async () => {
    const price = '79228162514264337593.54395033';
    only(await publish(server, `{"prices":[{"symbol":"P1","price":${price},"size":0.100}]}`));
    const { text } = await until(async () => {
      const response = await ask(server, 'GET', '/api/prices/P1');
      return response.status === 200 && response;
    }, 'the price');
    assert.match(text, new RegExp(`"price":${price},`));
    assert.match(text, /"size":0\.100,/);
  });

  it('a symbol with a slash has a path', async () => {
    isProblem(await ask(server, 'GET', '/api/prices/A%2FB'), 404, 'unavailable');
    only(await publish(server, [{ symbol: 'A/B', price: 1 }]));
    await until(async () => (await ask(server, 'GET', '/api/prices/A%2FB')).json.symbol === 'A/B', 'the price');
    isProblem(await ask(server, 'GET', '/api/prices/NOPE'), 404, 'unknown_symbol');
    isProblem(await ask(server, 'GET', '/api/prices?symbols=P1,NOPE'), 400, 'invalid_payload');
    const { json } = await ask(server, 'GET', '/api/prices?symbols=BTC,A%2FB');
    assert.deepEqual(json.prices.map((/** @type {any} */ tick) => tick.symbol).sort(), ['A/B', 'BTC']);
  });

  it('each is answered by name, and one that is wrong keeps no other', async () => {
    const now = Date.now();
    const { json } = await publish(server, [
      { symbol: 'P2', price: 1, ts: now - 5 },
      { symbol: 'BTC', price: 1 },
      { symbol: 'NOPE', price: 1 },
      { symbol: 'P2', price: 2, ts: now - 6 },
      { symbol: 'P2', price: 'x' },
      { symbol: 'P2', price: 3, ts: now + 3_600_000 },
      { symbol: 'P2', price: 4, ts: now * 1000 },
      null,
      { symbol: 'P2', price: 5, ts: now - 5 },
    ]);
    const codes = json.results.map((/** @type {any} */ each) => each.code ?? 'accepted');
    assert.deepEqual(codes, ['accepted', 'forbidden', 'unknown_symbol', 'stale', ...Array(4).fill('invalid_payload'), 'accepted']);
    assert.deepEqual([json.accepted, json.rejected], [2, 7]);
    assert.match(json.results[1].message, /BTC .* "simulator"/);
    assert.match(json.results[3].message, new RegExp(`${now - 5} or later`));
    assert.equal(json.results[8].seq, json.results[0].seq + 1);
    const { published } = await server.json('/stats');
    for (const code of ['accepted', 'forbidden', 'unknown_symbol', 'stale', 'invalid_payload']) assert.ok(published.http[code] > 0, code);
  });

  it('what cannot be a batch is refused as a whole', async () => {
    for (const body of ['', 'x', '[]', '{}', '{"prices":5}', '{"prices":[]}', '[[{"symbol":"P3","price":1}]]', JSON.stringify({ prices: Array(1001).fill(1) })]) {
      isProblem(await publish(server, body), 400, 'invalid_payload');
    }
    isProblem(await publish(server, ' '.repeat(600_000)), 413, 'invalid_payload');
    isProblem(await publish(server, '{"prices":[1]}', { 'content-type': 'text/plain' }), 415, 'invalid_payload');
    isProblem(await ask(server, 'DELETE', '/api/prices'), 405, 'invalid_payload');
    isProblem(await ask(server, 'GET', '/api/nothing'), 404, 'invalid_payload');
    const { json } = await publish(server, Array(1000).fill({ symbol: 'P3', price: 1 }));
    assert.equal(json.accepted, 1000);
  });

  it('the same request is answered again, and published once', async () => {
    const key = { 'idempotency-key': 'once' };
    const prices = [{ symbol: 'P4', price: 1 }, { symbol: 'BTC', price: 1 }];
    const first = await publish(server, prices, key);
    const again = await Promise.all([1, 2, 3].map(() => publish(server, prices, key)));
    assert.equal(first.headers['idempotency-replayed'], undefined);
    for (const response of again) {
      assert.equal(response.headers['idempotency-replayed'], 'true');
      assert.deepEqual(response.json, first.json);
    }
    isProblem(await publish(server, [{ symbol: 'P4', price: 2 }], key), 422, 'invalid_payload');
    assert.equal(only(await publish(server, [{ symbol: 'P4', price: 2 }])).seq, first.json.results[0].seq + 1);
    for (const bad of ['', 'a b', 'x'.repeat(129)]) {
      isProblem(await publish(server, prices, { 'idempotency-key': bad }), 400, 'invalid_payload');
    }
  });

  it('those who publish at once get one sequence', async () => {
    const all = await Promise.all([...Array(40).keys()].map((price) => publish(server, [{ symbol: 'P5', price }, { symbol: 'P5', price }])));
    const pairs = all.map(({ json }) => json.results.map((/** @type {any} */ each) => each.seq));
    for (const [first, second] of pairs) assert.equal(second, first + 1);
    const seqs = pairs.flat().sort((one, other) => one - other);
    assert.deepEqual(seqs, seqs.map((_, index) => seqs[0] + index));
  });

  it('too fast', async (test) => {
    const slow = await start(test, { SYMBOLS: '', PUBLISHED_SYMBOLS: 'A', PUBLISH_RATE: '10' });
    assert.equal((await publish(slow, Array(100).fill({ symbol: 'A', price: 1 }))).json.accepted, 100);
    const refused = await publish(slow, [{ symbol: 'A', price: 1 }]);
    isProblem(refused, 429, 'rate_limited');
    const wait_s = Number(refused.headers['retry-after']);
    assert.ok(wait_s >= 1 && wait_s <= 10, `${wait_s}`);
    await until(async () => (await publish(slow, [{ symbol: 'A', price: 1 }])).status === 200, 'its turn');
  });

  it('without a simulator it is ready before the first price, and silence is no failure', async (test) => {
    const quiet = await start(test, { SYMBOLS: '', PUBLISHED_SYMBOLS: 'A', ALLOW_NEW_SYMBOLS: 'true' });
    await until(async () => (await fetch(`${quiet.url}/ready`)).status === 200, 'it to be ready');
    assert.deepEqual((await ask(quiet, 'GET', '/api/prices')).json, { epoch: null, prices: [] });
    const { seq } = only(await publish(quiet, [{ symbol: 'NEW', price: 1 }]));
    await until(async () => (await ask(quiet, 'GET', '/api/prices/NEW')).json.seq === seq, 'a symbol that nobody knew');
    const { symbols } = (await ask(quiet, 'GET', '/api/symbols')).json;
    assert.deepEqual(symbols, [
      { symbol: 'A', source: 'published', hasPrice: false },
      { symbol: 'NEW', source: 'published', hasPrice: true },
    ]);
  });

  it('keys: who publishes needs the scope, who reads needs any', async (test) => {
    const file = join(mkdtempSync(join(tmpdir(), 'tickcast-')), 'keys.json');
    const entry = (/** @type {string} */ name, /** @type {string} */ key, /** @type {string[]} */ scopes) =>
      ({ name, sha256: createHash('sha256').update(key).digest('hex'), scopes });
    writeFileSync(file, JSON.stringify([entry('feed', FEED, ['publish']), entry('desk', DESK, ['admin'])]));
    const keyed = await start(test, { API_KEY: KEY, API_KEYS_FILE: file, PUBLISHED_SYMBOLS: 'A' });
    const prices = [{ symbol: 'A', price: 1 }];
    for (const key of [KEY, FEED]) assert.equal(only(await publish(keyed, prices, { 'x-api-key': key })).code, undefined);
    isProblem(await publish(keyed, prices, { 'x-api-key': DESK }), 403, 'forbidden');
    isProblem(await publish(keyed, prices), 401, 'unauthorized');
    isProblem(await publish(keyed, 'x', { 'x-api-key': 'wrong' }), 401, 'unauthorized');
    for (const path of ['/api/status', '/api/stats/connections', '/api/symbols', '/api/prices', '/api/prices/A']) {
      isProblem(await ask(keyed, 'GET', path), 401, 'unauthorized');
      for (const key of [KEY, FEED, DESK]) assert.notEqual((await ask(keyed, 'GET', path, undefined, { 'x-api-key': key })).status, 401);
    }
    // One that may publish does not meet the requests of another.
    const key = { 'idempotency-key': 'same' };
    assert.equal(only(await publish(keyed, prices, { ...key, 'x-api-key': KEY })).code, undefined);
    assert.equal((await publish(keyed, [{ symbol: 'A', price: 2 }], { ...key, 'x-api-key': FEED })).status, 200);
  });

  it('/api/status and /api/stats/connections', async (test) => {
    const socket = await connect(server.url);
    closeAfter(test, socket);
    await request(socket, 'subscribe', ['P20']);
    const { json: status } = await ask(server, 'GET', '/api/status');
    assert.deepEqual([status.status, status.role, status.sources.simulator], ['ok', 'all', 'publisher']);
    const { json } = await ask(server, 'GET', '/api/stats/connections');
    assert.equal(json.subscriptions.P20, 1);
    assert.ok(json.active >= 1 && json.total >= json.active && json.cluster.active === json.active);
  });
});
