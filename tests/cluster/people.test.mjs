// What concerns one user reaches every replica.
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { closeAfter, connect, next, request, until } from '../support/clients.mjs';
import { Cluster } from '../support/cluster.mjs';
import { fetchRaw } from '../support/raw.mjs';

const IDS = ['app1', 'app2'];

it('a user is disconnected everywhere', async (test) => {
  const cluster = await Cluster.start(test, { ids: IDS, env: { CHAT_AUTO_JOIN: 'true' } });
  const enter = (/** @type {string} */ id, /** @type {string} */ user) => connect(cluster.replica(id).url, { auth: { user } });
  const zoes = await Promise.all(IDS.map((id) => enter(id, 'zoe')));
  const others = await Promise.all(IDS.map((id) => enter(id, 'yan')));
  closeAfter(test, ...zoes, ...others);
  // What one says the others hear, with its name: so the replicas know each other.
  /** @type {Set<string>} */
  const heard = new Set();
  others[1].on('chat-message', (/** @type {any} */ { from }) => heard.add(from));
  await until(async () => {
    await request(zoes[0], 'chat', 'hello');
    return heard.has('zoe');
  }, 'the replicas to hear each other');
  await request(zoes[1], 'ping');

  const ended = Promise.all(zoes.map((socket) => next(socket, 'disconnect')));
  const { text } = await fetchRaw(`${cluster.replica('app1').url}/api/disconnect`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: '{"userId":"zoe"}',
  });
  assert.deepEqual(JSON.parse(text), { ok: true, disconnected: 2, complete: true });
  assert.deepEqual(await ended, ['io server disconnect', 'io server disconnect']);
  for (const socket of others) assert.equal((await request(socket, 'ping')).ok, true);
});
