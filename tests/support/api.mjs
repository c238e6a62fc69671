// Requests to /api, and their answers as JSON.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { until } from './clients.mjs';
import { fetchRaw } from './raw.mjs';

/** @typedef {import('./server.mjs').Server} Server */

/**
 * One request, with a body in JSON where there is one.
 *
 * @param {Server} server
 * @param {string} method
 * @param {string} path
 * @param {any} [body] a text is sent as it is
 * @param {Record<string, string>} [headers]
 */
export async function ask(server, method, path, body, headers = {}) {
  const text = body === undefined || typeof body === 'string' ? body : JSON.stringify(body);
  const all = { ...(text === undefined ? {} : { 'content-type': 'application/json' }), ...headers };
  const response = await fetchRaw(server.url + path, { method, headers: all, body: text });
  return { ...response, json: response.text ? JSON.parse(response.text) : undefined };
}

/**
 * Publishes prices.
 *
 * @param {Server} server
 * @param {any[] | string} prices a text is the whole body
 * @param {Record<string, string>} [headers]
 */
export function publish(server, prices, headers) {
  return ask(server, 'POST', '/api/prices', typeof prices === 'string' ? prices : { prices }, headers);
}

/**
 * As [`publish`], and sent again by the same name while the bus does not answer: on a busy machine Redis may take a second.
 *
 * @param {Server} server
 * @param {any[]} prices
 * @param {Record<string, string>} [headers]
 */
export function publishSurely(server, prices, headers = {}) {
  const all = { 'idempotency-key': randomUUID(), ...headers };
  return until(async () => {
    const response = await publish(server, prices, all);
    return response.status !== 503 && response;
  }, 'prices to be taken');
}

/**
 * Fails unless an answer is a failure in its form.
 *
 * @param {Awaited<ReturnType<typeof ask>>} response
 * @param {number} status
 * @param {string} code
 */
export function isProblem(response, status, code) {
  assert.equal(response.status, status, response.text);
  assert.match(response.headers['content-type'] ?? '', /^application\/problem\+json/);
  const { type, title, status: said, detail, code: named } = response.json;
  assert.deepEqual([type, said, named], ['about:blank', status, code]);
  assert.ok(title && detail, response.text);
  assert.equal(response.headers['cache-control'], 'no-store');
}
