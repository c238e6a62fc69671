// Rooms and users across replicas: who is reached, how many, and what is known of them when a part is missing.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { next, until } from '../support/clients.mjs';
import { Cluster, freeze } from '../support/cluster.mjs';
import { Cable } from '../support/redis.mjs';
import { acquainted, api, enter } from '../support/people.mjs';

const IDS = ['app1', 'app2', 'app3'];

/** How long the answers of other replicas are waited for, and what a busy machine may add (ms). */
const PATIENCE_MS = 2000 + 3000;

/**
 * Replicas that hear each other.
 *
 * @param {any} test
 * @param {Record<string, string>} [env]
 */
async function gather(test, env = {}) {
  const cluster = await Cluster.start(test, { ids: IDS, env });
  const urls = IDS.map((id) => cluster.replica(id).url);
  await acquainted(urls, 'nobody', 0);
  return { cluster, urls };
}

describe('talk', { concurrency: true }, () => {
  it('what was said last before a replica ends is heard at the others', async (test) => {
    const cluster = await Cluster.start(test, { ids: ['app1', 'app2'] });
    // Its way to Redis is a slow one: what it says waits there.
    const cable = await Cable.to(cluster.redis);
    cluster.undo.push(() => cable.stop());
    const { url } = await cluster.add('app3', { REDIS_URL: cable.url });
    await cluster.priced('app3');
    await acquainted([cluster.replica('app1').url, url], 'nobody', 0);
    const other = await enter(test, cluster.replica('app1').url, 'other');
    assert.deepEqual(await other.ask('join', { room: 'last' }), { ok: true });
    const one = await enter(test, url, 'one');
    assert.deepEqual(await one.ask('join', { room: 'last' }), { ok: true });
    cable.late(5);
    for (let n = 0; n < 20; n += 1) one.socket.emit('chat', { room: 'last', text: `${n}` });
    await until(() => one.of('chat-message').length === 20, 'them here');
    const server = cluster.replica('app3');
    await server.stop();
    // What there is no time for on a busy machine it counts.
    const untold = server.log.find(({ fields }) => fields?.message === 'what was said last did not reach the other replicas');
    const told = 20 - Math.min(untold?.fields.messages ?? 0, 20);
    const heard = () => other.of('chat-message').map(({ text }) => Number(text));
    await until(() => heard().length >= told, () => `${heard()} at the other one, ${20 - told} counted`);
    assert.deepEqual(heard(), heard().map((_, n) => n));
  });

  it('a user is reached on every replica, and the sender is told how many', async (test) => {
    const { urls } = await gather(test);
    const before_ms = Date.now();
    const zoes = await Promise.all([...urls, urls[1]].map((url) => enter(test, url, 'zoe')));
    const sender = await enter(test, urls[2], 'sam');
    assert.deepEqual(await sender.ask('send_message', { recipient: 'zoe', content: { n: 1 } }), { ok: true, delivered: 4, complete: true });
    for (const zoe of zoes) {
      await until(() => zoe.of('message').length > 0, 'the message');
      assert.deepEqual([zoe.of('message')[0].from, zoe.of('message')[0].content], ['sam', { n: 1 }]);
    }
    for (const url of urls) {
      const found = (await api(url, '/api/users/zoe')).json;
      assert.deepEqual([found.connected, found.complete], [true, true]);
      assert.deepEqual(found.connections.map((/** @type {any} */ { server }) => server).sort(), ['app1', 'app2', 'app2', 'app3']);
      for (const { since } of found.connections) assert.ok(Math.abs(since - before_ms) < 60_000);
    }
    // Over HTTP, through a replica on which the user is not.
    const solo = await enter(test, urls[0], 'solo');
    const sent = await api(urls[1], '/api/message', { userId: 'solo', event: 'notification', data: { message: 'Hello from API' } });
    assert.deepEqual(sent.json, { ok: true, delivered: 1, complete: true });
    await until(() => solo.heard.length > 0, 'the notification');
    assert.deepEqual(solo.heard, [['notification', [{ message: 'Hello from API' }]]]);
    for (const zoe of zoes) assert.equal(zoe.of('message').length, 1, 'once');
    assert.deepEqual(sender.heard, []);
  });

  it('rooms reach across, in order, and are what they are called', async (test) => {
    const { urls } = await gather(test);
    const people = await Promise.all(urls.map((url, n) => enter(test, url, `p${n}`)));
    for (const { ask } of people.slice(0, 2)) assert.deepEqual(await ask('join', { room: 'p2' }), { ok: true });
    const other = people[2];
    for (let n = 0; n < 50; n += 1) other.socket.emit('chat', { room: 'p2', text: `${n}` });
    const { json } = await api(urls[0], '/api/rooms/p2/message', { event: 'end', data: 'x' });
    assert.deepEqual(json, { ok: true, delivered: 2, complete: true });
    await Promise.all(people.slice(0, 2).map((person) => until(() => person.of('chat-message').length === 50, 'all that was said')));
    for (const person of people.slice(0, 2)) {
      assert.deepEqual(person.of('chat-message').map(({ text }) => text), Array.from({ length: 50 }, (_, n) => `${n}`));
    }
    assert.deepEqual(other.heard, [], 'who is called as the room is not in it');
    const { json: room } = await api(urls[2], '/api/rooms/p2/users');
    assert.deepEqual(room, { ok: true, room: 'p2', users: ['p0', 'p1'], connections: 2, complete: true });
  });

  it('who is in a room is told everywhere, also when a replica dies or has just come', async (test) => {
    const { cluster, urls } = await gather(test, { PRESENCE: 'true' });
    const [zoe, amy, bob] = await Promise.all([enter(test, urls[0], 'zoe'), enter(test, urls[1], 'amy'), enter(test, urls[2], 'bob')]);
    const knows = (/** @type {any} */ person, /** @type {string[]} */ users, /** @type {number} */ limit_ms = 20_000) =>
      until(() => JSON.stringify(person.of('room-users').at(-1)) === JSON.stringify({ room: 'r', users, connections: users.length, complete: true }),
        () => `${users}, not ${JSON.stringify(person.of('room-users').at(-1))}`, limit_ms);
    await zoe.ask('join', 'r');
    await knows(zoe, ['zoe']);
    await amy.ask('join', 'r');
    await bob.ask('join', 'r');
    for (const person of [zoe, amy, bob]) await knows(person, ['amy', 'bob', 'zoe']);
    amy.socket.emit('leave', { room: 'r' });
    for (const person of [zoe, bob]) await knows(person, ['bob', 'zoe']);

    await cluster.replica('app3').stop('SIGKILL');
    await knows(zoe, ['zoe'], 40_000);
    const fresh = await cluster.add('app4');
    await cluster.begun('app4');
    const dan = await enter(test, fresh.url, 'dan');
    await dan.ask('join', 'r');
    for (const person of [zoe, dan]) await knows(person, ['dan', 'zoe']);
    assert.equal(amy.of('room-users').at(-1).users.length, 3, 'who has left is told no more');
  });

  it('without Redis the count is of this replica, in time, and says so', async (test) => {
    const { cluster, urls } = await gather(test);
    const [here, there] = await Promise.all([enter(test, urls[0], 'u'), enter(test, urls[1], 'u')]);
    await cluster.redis.kill();
    const begun = performance.now();
    const answer = await here.ask('send_message', { recipient: 'u', content: 'here' });
    assert.deepEqual(answer, { ok: true, delivered: 1, complete: false });
    assert.ok(performance.now() - begun < PATIENCE_MS);
    assert.equal((await api(urls[0], '/api/users/u')).json.complete, false);
    await cluster.redis.begin();
    await acquainted(urls, 'u', 2);
    const got = next(there.socket, 'message');
    assert.deepEqual(await here.ask('send_message', { recipient: 'u', content: 'again' }), { ok: true, delivered: 2, complete: true });
    assert.equal((await got).content, 'again');
    assert.equal(there.of('message').length, 1, 'what was said meanwhile does not come later');
  });

  it('a replica that does not answer is waited for, and not for long', async (test) => {
    const { cluster, urls } = await gather(test);
    const [here, , there] = await Promise.all(urls.map((url) => enter(test, url, 'u')));
    test.after(() => cluster.replica('app2').child.kill('SIGCONT'));
    await freeze(cluster.replica('app2'));
    const begun = performance.now();
    assert.deepEqual(await here.ask('send_message', { recipient: 'u', content: 1 }), { ok: true, delivered: 2, complete: false });
    assert.ok(performance.now() - begun < PATIENCE_MS);
    await until(() => there.of('message').length === 1, 'the message');
    cluster.replica('app2').child.kill('SIGCONT');
    await acquainted(urls, 'u', 3);
  });
});
