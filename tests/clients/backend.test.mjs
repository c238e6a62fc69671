// The back end of an application: what it is told, and what becomes of its answers, whatever it does.
import assert from 'node:assert/strict';
import net from 'node:net';
import { describe, it } from 'node:test';
import { next, open, serve, transports, until } from '../support/clients.mjs';
import { Backend, BACKEND_SECRET, signature } from '../support/backend.mjs';
import { enter } from '../support/people.mjs';
import { freePort } from '../support/redis.mjs';
import { SECRET, good, hs256 } from '../support/tokens.mjs';

/** Settings that make failures quick. */
const QUICK = { BACKEND_TIMEOUT: '500', BACKEND_RETRIES: '2' };

/** @param {any} test @param {Record<string, string>} [env] */
async function start(test, env = {}) {
  const backend = await Backend.start(test);
  const server = await serve(test, { BACKEND_URL: backend.url, BACKEND_SECRET, APP_ID: 'app1', ...env });
  return { backend, server };
}

/** @param {import('../support/server.mjs').Server} server */
const counts = async (server) => (await server.json('/stats')).backend;

describe('back end', { concurrency: true }, () => {
  it('gets what the contract does not name, and its answer is the client\'s', async (test) => {
    const { backend, server } = await start(test, { JWT_SECRET: SECRET, ALLOW_ANONYMOUS: 'true' });
    const alice = await enter(test, server.url, null, { auth: { token: hs256(good({ sub: 'alice' })) } });
    const data = { id: 1, price: 1.5, text: 'é \u2028 "q"' };
    assert.deepEqual(await alice.ask('place-order', data, 'more arguments'), { event: 'place-order', data, user: 'alice' });
    const post = backend.of('place-order')[0];
    const { id, connection, ts, ...body } = post.body;
    assert.deepEqual(body, { type: 'event', event: 'place-order', data, user: 'alice', server: 'app1' });
    assert.match(id, /^[0-9a-f]{32}$/);
    assert.ok(Number.isInteger(connection) && Math.abs(ts - Date.now()) < 60_000);
    assert.deepEqual([post.path, post.headers['content-type'], post.headers['x-request-id']], ['/events', 'application/json', id]);
    assert.equal(post.headers['x-tickcast-signature'], signature(post));
    assert.ok(Math.abs(Number(post.headers['x-tickcast-timestamp']) - Date.now()) < 60_000);

    const guest = await enter(test, server.url, null, { auth: {}, transports: transports.polling });
    assert.deepEqual(await guest.ask('hello'), { event: 'hello', data: null, user: null });
    backend.answers.set('nothing', (_, response) => response.writeHead(204).end());
    assert.deepEqual(await guest.ask('nothing'), { ok: true });
    backend.answers.set('pretty', (_, response) => response.end(JSON.stringify([1, { a: 2 }], null, 2)));
    assert.deepEqual(await guest.ask('pretty'), [1, { a: 2 }]);
    // What the contract names stays here; JS 2.x and who wants no answer are served, too.
    assert.equal((await guest.ask('subscribe', 'BTC')).ok, true);
    assert.equal((await guest.ask('join', 5)).error.code, 'invalid_payload');
    alice.socket.emit('silent', 1);
    await backend.got('silent');
    alice.socket.emit('with-bytes', Buffer.from('x'));
    assert.equal((await next(alice.socket, 'error')).code, 'invalid_payload');
    assert.equal(backend.of('with-bytes').length, 0);
    await until(async () => (await counts(server)).posted === 5, 'five posts to be counted');
    const { posted, given_up: givenUp } = await counts(server);
    assert.deepEqual([posted, givenUp], [5, 0]);
  });

  it('carries out events of the contract where it is to', async (test) => {
    const { backend, server } = await start(test, { BACKEND_EVENTS: 'chat,send_message' });
    const { ask } = await enter(test, server.url, 'u');
    assert.deepEqual(await ask('chat', 'hi'), { event: 'chat', data: 'hi', user: 'u' });
    assert.equal((await ask('send_message', { recipient: 'x', content: 1 })).event, 'send_message');
    assert.deepEqual(await ask('join', 'r'), { ok: true });
    assert.equal(backend.posts.length, 2);
  });

  it('what it does not want is not asked again', async (test) => {
    const { backend, server } = await start(test);
    const { ask, socket } = await enter(test, server.url, 'u');
    for (const [status, code] of [[404, 'unknown_event'], [403, 'forbidden'], [401, 'forbidden'], [422, 'invalid_payload'], [400, 'invalid_payload']]) {
      backend.answers.set(`e${status}`, (_, response) => response.writeHead(Number(status)).end('{"secret":"of the back end"}'));
      const { ok, error } = await ask(`e${status}`, 1);
      assert.deepEqual([ok, error.code], [false, code]);
      assert.ok(error.message.includes(`${status}`) && !error.message.includes('secret'), error.message);
      assert.equal(backend.of(`e${status}`).length, 1);
    }
    socket.emit('e404', 1);
    const { code, event } = await next(socket, 'error');
    assert.deepEqual([code, event], ['unknown_event', 'e404']);
  });

  it('one that is slow, wrong or lies about its length holds up nobody', async (test) => {
    // As long as a busy machine may need for an answer that is no good.
    const { backend, server } = await start(test, { ...QUICK, BACKEND_TIMEOUT: '4000' });
    const { ask } = await enter(test, server.url, 'u');
    const json = '{"done":true}';
    /** @type {[string, import('../support/backend.mjs').Answer, number][]} */
    const bad = [
      ['slow', () => {}, 3],
      ['slow to end', (_, response) => response.writeHead(200).write('{'), 3],
      ['wrong for ever', (_, response) => response.writeHead(500).end(json), 3],
      ['hangs up', (_, response) => response.destroy(), 3],
      ['longer than it says', (_, response) => response.socket?.end(`HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n${json}`), 1],
      ['shorter than it says', (_, response) => response.socket?.end(`HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n${json}`), 3],
      ['no HTTP', (_, response) => response.socket?.end('220 mail.example ESMTP\r\n'), 3],
      ['no JSON', (_, response) => response.end('<html>'), 1],
      ['half JSON', (_, response) => response.end('{"done":'), 1],
      ['endless', (_, response) => {
        const more = () => response.write('[1,'.repeat(5000), (error) => error || more());
        more();
      }, 1],
      ['a redirect', (_, response) => response.writeHead(307, { location: '/events' }).end(), 1],
    ];
    for (const [event, answer] of bad) backend.answers.set(event, answer);
    const clients = await Promise.all(bad.map(() => enter(test, server.url, 'u')));
    const answers = Promise.all(bad.map(([event], n) => clients[n].ask(event, n)));
    // Meanwhile others get theirs.
    assert.equal((await ask('quick', 1)).event, 'quick');
    for (const [n, { ok, error }] of (await answers).entries()) {
      const [event, , attempts] = bad[n];
      assert.deepEqual([ok, error?.code], [false, 'unavailable'], event);
      await until(() => backend.of(event).length >= attempts, event);
      const posts = backend.of(event);
      assert.equal(posts.length, attempts, event);
      assert.equal(new Set(posts.map(({ raw }) => raw)).size, 1, 'the same each time');
      for (const post of posts) assert.equal(post.headers['x-tickcast-signature'], signature(post));
      const { id } = posts[0].body;
      const line = await server.logged(({ fields }) => fields?.id === id && fields.message.includes('given up'));
      assert.equal(line.level, 'WARN');
      assert.equal(line.fields.event, event);
    }
    const stats = await counts(server);
    assert.deepEqual([stats.given_up, stats.posted], [bad.length, 1]);
    assert.ok(stats.retries >= 2 * 6, `${stats.retries}`);
  });

  it('what fails at first is tried again, and arrives once for the client', async (test) => {
    const { backend, server } = await start(test, { BACKEND_RETRIES: '3' });
    const { ask } = await enter(test, server.url, 'u');
    backend.answers.set('shaky', (_, response, attempt) => (attempt < 3 ? response.writeHead(attempt === 1 ? 503 : 429).end() : response.end('{"attempt":3}')));
    assert.deepEqual(await ask('shaky', 1), { attempt: 3 });
    assert.equal(backend.attempts.size, 1, 'one id');
  });

  it('one connection\'s events come in order, also past one that is tried again', async (test) => {
    const { backend, server } = await start(test);
    const { socket } = await enter(test, server.url, 'u');
    backend.answers.set('n', ({ body }, response, attempt) => response.writeHead(body.data % 5 === 0 && attempt === 1 ? 500 : 200).end());
    for (let n = 0; n < 20; n += 1) socket.emit('n', n);
    await until(() => backend.posts.length >= 24, '24 posts');
    const seen = backend.of('n').map(({ body }) => body.data);
    assert.deepEqual([...new Set(seen)], Array.from({ length: 20 }, (_, n) => n));
    assert.deepEqual(seen, [...seen].sort((a, b) => a - b));
  });

  it('one that is down costs no connection, and what waits is bounded', async (test) => {
    const port = await freePort();
    const server = await serve(test, { BACKEND_URL: `http://127.0.0.1:${port}/events`, BACKEND_QUEUE: '10' });
    const { ask } = await enter(test, server.url, 'u');
    const answers = await Promise.all(Array.from({ length: 30 }, (_, n) => ask('order', n)));
    for (const { error } of answers) assert.equal(error.code, 'unavailable');
    assert.ok(answers.filter(({ error }) => error.message.includes('too much waits')).length >= 19);
    assert.equal((await counts(server)).given_up, 30);
    assert.equal((await ask('ping', 1)).ok, true);
    // It comes.
    const backend = await Backend.start(test, port);
    assert.equal((await ask('order', 'again')).data, 'again');
    assert.equal(backend.posts.length, 1);
  });

  it('one that takes no connection is given up in time', async (test) => {
    /** @type {Set<net.Socket>} */
    const sockets = new Set();
    const silent = net.createServer((socket) => sockets.add(socket));
    await new Promise((resolve) => silent.listen(0, '127.0.0.1', () => resolve(undefined)));
    test.after(() => {
      for (const socket of sockets) socket.destroy();
      silent.close();
    });
    const { port } = /** @type {net.AddressInfo} */ (silent.address());
    const server = await serve(test, { BACKEND_URL: `http://127.0.0.1:${port}/`, BACKEND_TIMEOUT: '100', BACKEND_RETRIES: '0' });
    const { ask } = await enter(test, server.url, 'u');
    const begun = performance.now();
    assert.equal((await ask('order', 1)).error.code, 'unavailable');
    assert.ok(performance.now() - begun < 5000);
  });

  it('who comes and goes is announced where that is asked for, in order', async (test) => {
    const { backend, server } = await start(test, { BACKEND_ANNOUNCE: 'true' });
    const socket = open(server.url, { auth: { user: 'zoe' } });
    socket.emit('early', 1);
    const { body: come } = await until(() => backend.posts.find(({ body }) => body.user === 'zoe'), 'the connect');
    assert.deepEqual([come.type, come.event, come.server], ['connect', undefined, 'app1']);
    await backend.got('early');
    socket.close();
    const gone = await until(() => backend.posts.find(({ body }) => body.user === 'zoe' && body.type === 'disconnect'), 'the disconnect');
    assert.equal(gone.body.connection, come.connection);
    assert.match(gone.body.reason, /./);
    const mine = backend.posts.filter(({ body }) => body.connection === come.connection).map(({ body }) => body.type);
    assert.deepEqual(mine, ['connect', 'event', 'disconnect']);
  });

  it('what waits at the end is counted and logged, and the end is in time', async (test) => {
    const { backend, server } = await start(test, { BACKEND_TIMEOUT: '60000' });
    backend.answers.set('never', () => {});
    const { ask, socket } = await enter(test, server.url, 'u');
    for (let n = 0; n < 5; n += 1) socket.emit('never', n);
    await backend.got('never');
    // All five have been taken: answers come in order of what was said.
    await ask('ping');
    await server.stop();
    const lines = server.log.filter(({ fields }) => fields?.message?.includes('given up'));
    assert.equal(lines.length, 5);
    assert.ok(lines.every(({ fields }) => fields.reason === 'the server ends' && fields.id.length === 32));
  });
});
