// Fronts have the clients, backs have the callers, and what is said at a back is heard at a front.
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { ask, isProblem, publish } from '../support/api.mjs';
import { closeAfter, connect, next, open, request, until } from '../support/clients.mjs';
import { Cluster } from '../support/cluster.mjs';
import { fetchRaw } from '../support/raw.mjs';

it('a front and a back', async (test) => {
  const cluster = await Cluster.start(test, { ids: ['front'], env: { PUBLISHED_SYMBOLS: 'PUB' }, each: () => ({ ROLE: 'front' }) });
  await cluster.add('back', { ROLE: 'back' });
  const [front, back] = [cluster.replica('front'), cluster.replica('back')];
  await until(async () => (await fetch(`${back.url}/ready`)).status === 200, 'the back');
  for (const [role, server] of /** @type {[string, import('../support/server.mjs').Server][]} */ ([['front', front], ['back', back]])) {
    for (const path of ['/health', '/stats', '/api/status']) assert.equal((await server.json(path)).role, role, `${path} of ${role}`);
  }
  await until(async () => {
    const { nodes } = await front.json('/stats?scope=cluster');
    return nodes.length === 2 && nodes.every((/** @type {any} */ { id, role }) => id === role);
  }, 'each to know of the other');

  // No client gets into a back.
  for (const path of ['/socket.io/?EIO=4&transport=polling', '/socket.io?EIO=4', '/socket.io/socket.io.js']) {
    const response = await fetchRaw(back.url + path);
    const problem = { ...response, json: JSON.parse(response.text) };
    assert.equal(problem.status, 404);
    assert.deepEqual([problem.json.code, problem.headers['content-type']], ['unavailable', 'application/problem+json']);
    assert.match(problem.json.detail, /role back/);
  }
  assert.equal((await fetchRaw(`${back.url}/`)).status, 404);
  const refused = open(back.url);
  closeAfter(test, refused);
  await next(refused, 'connect_error');

  // A front changes nothing.
  isProblem(await publish(front, [{ symbol: 'PUB', price: 1 }]), 405, 'invalid_payload');
  for (const path of ['/api/disconnect', '/api/message', '/api/rooms/lobby/message', '/back/message']) {
    isProblem(await ask(front, 'POST', path, { userId: 'zoe', room: 'lobby', message: 'hello' }), 404, 'invalid_payload');
  }
  const methods = async (/** @type {any} */ server) => new Set(Object.values((await server.json('/api/openapi.json')).paths).flatMap((item) => Object.keys(item)));
  assert.deepEqual([await methods(front), await methods(back)], [new Set(['get']), new Set(['get', 'post'])]);
  assert.equal((await ask(front, 'GET', '/api/prices/BTC')).status, 200);

  // And what a back is told reaches the clients.
  const socket = await connect(front.url, { auth: { user: 'zoe' } });
  closeAfter(test, socket);
  await request(socket, 'subscribe', ['PUB']);
  const tick = next(socket, 'tick');
  const { json } = await publish(back, [{ symbol: 'PUB', price: 1.5 }]);
  assert.deepEqual([(await tick).seq, (await tick).price], [json.results[0].seq, 1.5]);
  await request(socket, 'join', { room: 'lobby' });
  // Until the two have found each other.
  const looked = await until(async () => {
    const { json: found } = await ask(back, 'GET', '/api/users/zoe');
    return found.connected && found;
  }, 'the back to hear of the user');
  assert.deepEqual([looked.connections.map((/** @type {any} */ { server }) => server), looked.complete], [['front'], true]);
  for (const server of [front, back]) {
    assert.deepEqual((await ask(server, 'GET', '/api/rooms/lobby/users')).json, { ok: true, room: 'lobby', users: ['zoe'], connections: 1, complete: true });
  }
  /** @type {any[]} */
  const heard = [];
  for (const event of ['notification', 'news', 'chat-message']) socket.on(event, (/** @type {any} */ data) => heard.push([event, data.text ?? data]));
  const delivered = { ok: true, delivered: 1, complete: true };
  for (const [path, body] of /** @type {[string, any][]} */ ([
    ['/api/message', { userId: 'zoe', event: 'notification', data: 1 }],
    ['/api/rooms/lobby/message', { event: 'news', data: 2 }],
    ['/back/message', { room: 'lobby', message: 'three' }],
  ])) assert.deepEqual((await ask(back, 'POST', path, body)).json, delivered, path);
  await until(() => heard.length === 3, () => JSON.stringify(heard));
  assert.deepEqual(heard, [['notification', 1], ['news', 2], ['chat-message', 'three']]);

  const ended = next(socket, 'disconnect');
  assert.deepEqual((await ask(back, 'POST', '/api/disconnect', { userId: 'zoe' })).json, { ok: true, disconnected: 1, complete: true });
  assert.equal(await ended, 'io server disconnect');
});
