// What concerns one user reaches every replica.
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { ask } from '../support/api.mjs';
import { closeAfter, connect, next, request } from '../support/clients.mjs';
import { Cluster } from '../support/cluster.mjs';
import { acquainted } from '../support/people.mjs';

const IDS = ['app1', 'app2'];

it('a user is disconnected everywhere', async (test) => {
  const cluster = await Cluster.start(test, { ids: IDS });
  const enter = (/** @type {string} */ id, /** @type {string} */ user) => connect(cluster.replica(id).url, { auth: { user } });
  const zoes = await Promise.all(IDS.map((id) => enter(id, 'zoe')));
  const others = await Promise.all(IDS.map((id) => enter(id, 'yan')));
  closeAfter(test, ...zoes, ...others);
  await acquainted(IDS.map((id) => cluster.replica(id).url), 'zoe', 2);

  const ended = Promise.all(zoes.map((socket) => next(socket, 'disconnect')));
  const { json } = await ask(cluster.replica('app1'), 'POST', '/api/disconnect', { userId: 'zoe' });
  assert.deepEqual(json, { ok: true, disconnected: 2, complete: true });
  assert.deepEqual(await ended, ['io server disconnect', 'io server disconnect']);
  for (const socket of others) assert.equal((await request(socket, 'ping')).ok, true);
});
