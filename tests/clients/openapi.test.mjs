// The API is what its document says: each operation is asked what it allows and what it does not, and answers with a
// status, a media type and a body that stand there.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { isDocument, samples, violations } from '../support/openapi.mjs';
import { fetchRaw } from '../support/raw.mjs';
import { startServer } from '../support/server.mjs';

/** How many requests of each operation are made up beside those that are thought out. */
const RANDOM = 60;

/** The operation after which there is nothing left to ask: it comes last. */
const LAST = 'POST /api/drain';

const KEY = 'the-key-that-may-do-everything';

for (const [name, env, headers] of /** @type {[string, Record<string, string>, Record<string, string>][]} */ ([
  ['open', { PUBLISHED_SYMBOLS: 'BTC-USD' }, {}],
  ['with a key', { API_KEY: KEY, PUBLISHED_SYMBOLS: 'BTC-USD' }, { 'x-api-key': KEY }],
  ['below a path', { BASE_PATH: '/feed', PUBLISHED_SYMBOLS: 'BTC-USD' }, {}],
])) {
  describe(`openapi: ${name}`, () => {
    /** @type {import('../support/server.mjs').Server} */
    let server;
    /** @type {any} */
    let document;
    before(async () => {
      server = await startServer(env);
      document = await (await fetch(`${server.url}/api/openapi.json`)).json();
    });
    after(async () => assert.deepEqual(await server.stop(), { code: 0, signal: null }));

    it('the document is sound', () => {
      isDocument(document);
      const has = Object.entries(document.paths).flatMap(([path, item]) => Object.keys(item).map((method) => `${method} ${path}`));
      for (const operation of [
        'get /api/status', 'get /api/stats/connections', 'get /api/symbols', 'get /api/prices', 'get /api/prices/{symbol}',
        'get /api/candles/{symbol}', 'get /api/history/{symbol}',
        'get /api/users/{id}', 'get /api/rooms/{room}/users', 'post /api/prices', 'post /api/message',
        'post /api/rooms/{room}/message', 'post /back/message', 'post /api/disconnect', 'post /api/drain',
      ]) assert.ok(has.includes(operation), operation);
      assert.equal(document.servers?.[0].url ?? '', env.BASE_PATH ?? '');
    });

    it('every answer stands in it', async (test) => {
      /** @type {Map<string, number>} */
      const seen = new Map();
      for (const { operation, name: of, method, path, request } of samples(document, RANDOM)) {
        if (of === LAST) continue;
        const origin = new URL(server.url).origin + (document.servers?.[0].url ?? '');
        const response = await fetchRaw(origin + path, { method, body: request.body, headers: { ...headers, ...request.headers } });
        const wrong = violations(document, operation, response);
        const what = `${of}: ${path} ${request.body?.slice(0, 300) ?? ''} -> ${response.status} ${response.text.slice(0, 300)}`;
        assert.deepEqual(wrong, [], what);
        if (request.valid) assert.ok(response.status < 300 || response.status === 404, what);
        const key = `${of} ${response.status}`;
        seen.set(key, (seen.get(key) ?? 0) + 1);
      }
      test.diagnostic([...seen].map(([key, count]) => `${key}: ${count}`).join(', '));
      for (const key of ['POST /api/prices 200', 'POST /api/prices 400', 'POST /api/prices 413', 'POST /api/prices 415',
        ...['/api/disconnect', '/api/message', '/api/rooms/{room}/message', '/back/message'].flatMap((path) => [200, 400, 413, 415].map((status) => `POST ${path} ${status}`)),
        'GET /api/users/{id} 200', 'GET /api/users/{id} 400', 'GET /api/rooms/{room}/users 200', 'GET /api/rooms/{room}/users 400', 'GET /api/prices 200', 'GET /api/prices/{symbol} 404']) {
        assert.ok(seen.has(key), `${key} in ${[...seen.keys()]}`);
      }
      assert.equal(new Set([...seen.keys()].map((key) => key.replace(/ \d+$/, ''))).size,
        Object.values(document.paths).flatMap((item) => Object.keys(item)).length - 1);
    });

    if (env.API_KEY) {
      it('without a key', async () => {
        for (const { operation, name: of, method, path, request } of samples(document, 0)) {
          // Who may not is not listened to.
          if ((request.body?.length ?? 0) > 10_000) continue;
          const response = await fetchRaw(server.url + path, { method, body: request.body, headers: request.headers });
          // What everybody gets as ticks everybody reads.
          if (operation.security?.some((/** @type {any} */ way) => Object.keys(way).length === 0)) assert.notEqual(response.status, 401, of);
          else assert.equal(response.status, 401, of);
          assert.deepEqual(violations(document, operation, response), [], of);
        }
      });
    }

    it('at last, the end', async () => {
      const [{ operation, method, path }] = [...samples(document, 0)].filter(({ name: of }) => of === LAST);
      const origin = new URL(server.url).origin + (document.servers?.[0].url ?? '');
      const json = { 'content-type': 'application/json' };
      for (const [body, type, status] of /** @type {[string | undefined, Record<string, string>, number][]} */ ([
        ['{"id": "nobody"}', json, 404], ['{"id": ""}', json, 400], ['{"id": 5}', json, 400], ['[]', json, 400], ['{', json, 400],
        ['{}', { 'content-type': 'text/plain' }, 415], [`{"id": "${'x'.repeat(70_000)}"}`, json, 413], [undefined, {}, 202],
      ])) {
        const response = await fetchRaw(origin + path, { method, body, headers: { ...headers, ...type } });
        const what = `${body?.slice(0, 50)} -> ${response.status} ${response.text}`;
        assert.deepEqual(violations(document, operation, response), [], what);
        assert.equal(response.status, status, what);
      }
      assert.deepEqual(await server.exited, { code: 0, signal: null });
    });
  });
}
