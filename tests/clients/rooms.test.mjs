// Rooms and users on one replica: who hears what, who may, and what back ends may say over HTTP.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { request, serve, transports, until, versions } from '../support/clients.mjs';
import { api, enter } from '../support/people.mjs';
import { startServer } from '../support/server.mjs';
import { SECRET, good, hs256 } from '../support/tokens.mjs';

const OK = { ok: true };

describe('rooms', { concurrency: true }, () => {
  /** @type {import('../support/server.mjs').Server} */
  let server;
  before(async () => {
    server = await startServer({ APP_ID: 'app1' });
  });
  after(() => server.stop());

  for (const version of versions) {
    for (const [name, list] of Object.entries(transports)) {
      it(`are entered, talked in and left (${version}, ${name})`, async (test) => {
        const room = `room of ${version} ${name}`;
        const inside = await enter(test, server.url, null, { version, transports: list });
        const outside = await enter(test, server.url, null, { version, transports: list });
        assert.deepEqual(await inside.ask('join', { room, x: 1 }), OK);
        assert.deepEqual(await outside.ask('join', 'another'), OK);
        /** @type {any[]} */
        const heard = [];
        inside.socket.on('chat-message', (/** @type {any} */ message) => heard.push(message));
        outside.socket.on('chat-message', () => assert.fail('not in the room'));
        const first = inside.next('chat-message');
        assert.deepEqual(await outside.ask('chat', { room, text: 'hello' }), OK);
        const { ts, ...said } = await first;
        assert.deepEqual(said, { room, text: 'hello', from: null, server: 'app1' });
        assert.ok(Math.abs(ts - Date.now()) < 60_000);

        assert.deepEqual(await inside.ask('leave', { room }), OK);
        assert.deepEqual(await inside.ask('leave', { room }), OK, 'it is not there any more');
        assert.deepEqual(await outside.ask('chat', { room, text: 'gone?' }), OK);
        // Behind what must not come.
        const end = inside.next('message');
        assert.deepEqual(await inside.ask('join', 'the end'), OK);
        await api(server.url, '/api/rooms/the%20end/message', { data: 'end' });
        assert.equal(await end, 'end');
        assert.equal(heard.length, 1);
        await outside.ask('latency');
      });
    }
  }

  it('what is wrong is said, and changes nothing', async (test) => {
    const { ask, socket } = await enter(test, server.url, 'u');
    for (const [event, payload, part] of [
      ['join', {}, 'room is missing'],
      ['join', { room: 5 }, 'room is 5'],
      ['join', { room: '' }, 'room has 0 bytes'],
      ['leave', { room: 'x'.repeat(257) }, 'room has 257 bytes'],
      ['chat', { room: 'a', text: 5 }, 'text is 5'],
      ['chat', { room: 'a', text: 'x'.repeat(2001) }, 'text has 2001 characters'],
      ['send_message', 'hello', 'the payload is "hello"'],
      ['send_message', { recipient: 'u' }, 'content is missing'],
      ['send_message', { recipient: '', content: 1 }, 'recipient has 0 bytes'],
    ]) {
      const answer = await ask(/** @type {string} */ (event), payload);
      assert.equal(answer.error?.code, 'invalid_payload', `${event} ${JSON.stringify(payload)}`);
      assert.ok(answer.error.message.includes(part), answer.error.message);
    }
    const told = new Promise((resolve) => socket.once('error', resolve));
    socket.emit('join', {});
    const { code, event } = /** @type {any} */ (await told);
    assert.deepEqual([code, event], ['invalid_payload', 'join']);
  });

  it('nobody is in more than a hundred', async (test) => {
    const { ask } = await enter(test, server.url, 'many');
    for (let n = 0; n < 100; n += 1) assert.deepEqual(await ask('join', `many ${n}`), OK);
    const full = await ask('join', 'one more');
    assert.equal(full.error.code, 'invalid_payload');
    assert.match(full.error.message, /at most 100/);
    assert.deepEqual(await ask('join', 'many 5'), OK, 'one that it is in already');
    assert.deepEqual(await ask('leave', 'many 5'), OK);
    assert.deepEqual(await ask('join', 'one more'), OK);
  });

  it('a room that is called as a user, a symbol or one of ours is another place', async (test) => {
    const victim = await enter(test, server.url, 'victim');
    const spy = await enter(test, server.url, 'spy');
    const names = ['victim', 'user:victim', 'room:chat', 'BTC', 'tick:BTC', '*', '', victim.socket.id, `room:user:victim`].filter(Boolean);
    for (const room of names) assert.deepEqual(await spy.ask('join', room), OK, room);
    await victim.ask('subscribe', 'BTC');
    await victim.ask('join', 'private');
    const got = victim.next('message');
    assert.deepEqual(await victim.ask('send_message', { recipient: 'victim', content: 'secret' }), { ok: true, delivered: 1, complete: true });
    assert.equal((await got).content, 'secret');
    await api(server.url, '/api/message', { userId: 'victim', event: 'secret', data: 1 });
    await api(server.url, '/api/rooms/private/message', { event: 'secret' });
    await until(() => victim.of('tick').length > 3, 'ticks');
    await api(server.url, '/api/message', { userId: 'spy', event: 'end' });
    await until(() => spy.heard.length > 0, 'the end');
    assert.deepEqual(spy.heard, [['end', []]]);
    await until(() => victim.of('secret').length === 2, 'both secrets');
    assert.deepEqual(victim.heard.filter(([event]) => event === 'secret'), [['secret', [1]], ['secret', []]]);
  });

  it('messages to users are counted, and come as they were', async (test) => {
    const [one, two, other] = await Promise.all([
      enter(test, server.url, 'anna'), enter(test, server.url, 'anna', { transports: transports.polling }), enter(test, server.url, 'otto'),
    ]);
    const content = { text: 'é <b> "q" \u2028', list: [1, null, 1e21], deep: { a: [] } };
    assert.deepEqual(await other.ask('send_message', { recipient: 'anna', content }), { ok: true, delivered: 2, complete: true });
    for (const person of [one, two]) {
      await until(() => person.of('message').length > 0, 'the message');
      const [{ from, content: got, ts }] = person.of('message');
      assert.deepEqual([from, got], ['otto', content]);
      assert.ok(Math.abs(ts - Date.now()) < 60_000);
    }
    assert.deepEqual(await other.ask('send_message', { recipient: 'nobody', content }), { ok: true, delivered: 0, complete: true });
    // Without a callback, silence is success.
    other.socket.emit('send_message', { recipient: 'anna', content: 5 });
    await until(() => one.of('message').length === 2, 'the second message');
    assert.deepEqual(other.heard, []);
  });

  it('back ends find users and rooms, and talk to them', async (test) => {
    const before_ms = Date.now();
    const zoe = await enter(test, server.url, 'zoë/1');
    await enter(test, server.url, null).then(({ ask }) => ask('join', 'hall'));
    await zoe.ask('join', 'hall');
    const { json } = await api(server.url, `/api/users/${encodeURIComponent('zoë/1')}`);
    const { connections, ...found } = json;
    assert.deepEqual(found, { ok: true, userId: 'zoë/1', connected: true, complete: true });
    assert.equal(connections.length, 1);
    assert.deepEqual([connections[0].server, connections[0].transport], ['app1', 'websocket']);
    assert.ok(connections[0].since > before_ms - 60_000 && connections[0].since <= Date.now() + 1000);
    const none = await api(server.url, '/api/users/nobody');
    assert.deepEqual(none.json, { ok: true, userId: 'nobody', connected: false, connections: [], complete: true });
    const room = await api(server.url, '/api/rooms/hall/users');
    assert.deepEqual(room.json, { ok: true, room: 'hall', users: ['zoë/1'], connections: 2, complete: true });

    const sent = [
      ['/api/message', '{"userId":"zoë/1","event":"notification","data":{"price":1.10000000000000000001}}', 1, ['notification', [{ price: 1.1 }]]],
      ['/api/message', { userId: 'zoë/1', data: [1, 2] }, 1, ['message', [[1, 2]]]],
      ['/api/rooms/hall/message', { event: 'gong' }, 2, ['gong', []]],
    ];
    for (const [path, body, delivered, event] of sent) {
      const answer = await api(server.url, String(path), /** @type {any} */ (body));
      assert.deepEqual(answer.json, { ok: true, delivered, complete: true });
      await until(() => zoe.heard.some((got) => JSON.stringify(got) === JSON.stringify(event)), `${event}`);
    }
    assert.equal((await api(server.url, '/back/message', { room: 'hall', message: 'from behind' })).json.delivered, 2);
    await until(() => zoe.of('chat-message').length > 0, 'the chat message');
    const { ts, ...said } = zoe.of('chat-message')[0];
    assert.deepEqual(said, { room: 'hall', text: 'from behind', from: null, server: 'app1' });
    assert.ok(ts);
  });

  it('what back ends say wrongly is refused by name', async () => {
    for (const [path, body, part] of [
      ['/api/message', {}, 'userId'],
      ['/api/message', { userId: '' }, 'userId has 0 bytes'],
      ['/api/message', { userId: 'u', event: 'connect' }, 'event is "connect"'],
      ['/api/message', { userId: 'u', event: '' }, 'event has 0 bytes'],
      ['/api/rooms/r/message', [], 'must be {'],
      ['/api/rooms/r/message', [null, null], 'must be {'],
      [`/api/rooms/${'x'.repeat(257)}/message`, {}, 'the room has 257 bytes'],
      ['/back/message', { room: 'r' }, 'message'],
      ['/back/message', { room: 'r', message: '' }, 'message has 0 characters'],
    ]) {
      const { status, json } = await api(server.url, String(path), /** @type {any} */ (body));
      assert.deepEqual([status, json.code], [400, 'invalid_payload'], `${path} ${JSON.stringify(body)}`);
      assert.ok(json.detail.includes(part), json.detail);
    }
    assert.equal((await api(server.url, '/api/message', { userId: 'u', data: 'x'.repeat(70_000) })).status, 413);
    assert.equal((await api(server.url, '/back/message')).status, 405);
  });
});

describe('rooms, by right', { concurrency: true }, () => {
  it('a token names its rooms, and a new one ends others', async (test) => {
    const server = await serve(test, { JWT_SECRET: SECRET, ALLOW_ANONYMOUS: 'true', ANONYMOUS_ROOMS: 'lobby', API_OPEN: 'true' });
    const token = (/** @type {object} */ claims) => ({ auth: { token: hs256(good(claims)), user: 'root' } });
    const alice = await enter(test, server.url, null, token({ sub: 'alice', rooms: ['a*', 'lobby'] }));
    const guest = await enter(test, server.url, null, { auth: {} });
    assert.equal((await alice.ask('join', 'b')).error.code, 'forbidden');
    assert.deepEqual(await alice.ask('join', 'aa'), OK);
    assert.deepEqual(await alice.ask('join', 'lobby'), OK);
    assert.equal((await guest.ask('join', 'aa')).error.code, 'forbidden');
    assert.equal((await guest.ask('chat', { room: 'aa', text: 'x' })).error.code, 'forbidden');
    assert.deepEqual(await guest.ask('join', 'lobby'), OK);
    assert.equal((await guest.ask('send_message', { recipient: 'alice', content: 1 })).error.code, 'forbidden');
    assert.deepEqual(await alice.ask('send_message', { recipient: 'root', content: 1 }), { ok: true, delivered: 0, complete: true });

    assert.equal((await alice.ask('refresh', { token: hs256(good({ sub: 'alice', rooms: ['lobby'] })) })).ok, true);
    assert.equal((await api(server.url, '/api/rooms/aa/users')).json.connections, 0);
    assert.deepEqual((await api(server.url, '/api/rooms/lobby/users')).json.users, ['alice']);
    const { json } = await api(server.url, '/api/message', { userId: 'alice', event: 'e' });
    assert.deepEqual(json, { ok: true, delivered: 1, complete: true });
  });

  it('messages of back ends need a key with that scope', async (test) => {
    const folder = mkdtempSync(join(tmpdir(), 'tickcast-'));
    test.after(() => rmSync(folder, { recursive: true }));
    const file = join(folder, 'keys.json');
    const entry = (/** @type {string} */ name, /** @type {string[]} */ scopes) => ({ name, sha256: createHash('sha256').update(name).digest('hex'), scopes });
    writeFileSync(file, JSON.stringify([entry('talker', ['message']), entry('feed', ['publish', 'admin'])]));
    const server = await serve(test, { API_KEYS_FILE: file });
    for (const [path, body] of [
      ['/api/users/u', undefined], ['/api/rooms/r/users', undefined], ['/api/message', { userId: 'u' }],
      ['/api/rooms/r/message', {}], ['/back/message', { room: 'r', message: 'm' }],
    ]) {
      const status = async (/** @type {Record<string, string>} */ headers) => (await api(server.url, String(path), /** @type {any} */ (body), headers)).status;
      assert.deepEqual(
        [await status({}), await status({ 'x-api-key': 'no' }), await status({ 'x-api-key': 'feed' }), await status({ 'x-api-key': 'talker' })],
        [401, 401, 403, 200],
        String(path),
      );
    }
  });

  it('who is in a room is told on each change, where that is asked for', async (test) => {
    const server = await serve(test, { PRESENCE: 'true' });
    const told = (/** @type {import('../support/people.mjs').Person} */ person) => person.of('room-users').at(-1);
    const is = async (/** @type {import('../support/people.mjs').Person} */ person, /** @type {any} */ users) => {
      await until(() => JSON.stringify(told(person)) === JSON.stringify({ room: 'r', ...users, complete: true }), () => `${JSON.stringify(users)}, not ${JSON.stringify(told(person))}`);
    };
    const zoe = await enter(test, server.url, 'zoe');
    await zoe.ask('join', 'r');
    await is(zoe, { users: ['zoe'], connections: 1 });
    const again = await enter(test, server.url, 'zoe');
    await again.ask('join', 'r');
    const nameless = await enter(test, server.url, null);
    await nameless.ask('join', 'r');
    for (const person of [zoe, again, nameless]) await is(person, { users: ['zoe'], connections: 3 });
    const amy = await enter(test, server.url, 'amy');
    await amy.ask('join', { room: 'r' });
    await is(zoe, { users: ['amy', 'zoe'], connections: 4 });
    amy.socket.close();
    for (const person of [zoe, again]) await is(person, { users: ['zoe'], connections: 3 });
    await again.ask('leave', 'r');
    await is(zoe, { users: ['zoe'], connections: 2 });
    assert.equal(told(again).connections, 3, 'who has left is told no more');
    await request(zoe.socket, 'ping');
  });
});
