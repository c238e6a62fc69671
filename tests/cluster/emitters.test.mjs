// Back ends that teams already have: Node's @socket.io/redis-emitter and python-socketio, on the Redis of the replicas.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import net from 'node:net';
import { createInterface } from 'node:readline';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { next, transports, until, within } from '../support/clients.mjs';
import { Cluster } from '../support/cluster.mjs';
import { acquainted, api, enter } from '../support/people.mjs';
import { python, versionOf } from '../support/python.mjs';

const require = createRequire(import.meta.url);
const { Emitter } = require('@socket.io/redis-emitter');

const IDS = ['app1', 'app2'];

/** `to("sym:BTC-USD").emit("tick", {s: "BTC-USD", p: "50000.1"})` of the emitter 5.1.0, as it is in Redis. */
const GOLDEN = Buffer.from(
  '93a7656d697474657283a47479706502a46461746192a47469636b82a173a74254432d555344a170a735303030302e31a36e7370a12f83a5726f6f6d7391ab73796d3a4254432d555344a5666c61677380a665786365707490',
  'hex',
);

/** The same of python-socketio 5.16. */
const PYTHON_GOLDEN = '{"method":"emit","event":"tick","data":[{"s":"BTC-USD","p":"50000.1"}],"binary":false,"namespace":"/","room":"sym:BTC-USD","skip_sid":null,"callback":null,"host_id":"0123456789abcdef0123456789abcdef"}';

/** A client of Redis that can only publish, as an emitter needs it. @param {any} test @param {number} port */
async function publisher(test, port) {
  const socket = net.connect(port, '127.0.0.1');
  await new Promise((resolve) => socket.once('connect', resolve));
  socket.resume();
  test.after(() => socket.destroy());
  return {
    /** @param {string} channel @param {string | Buffer | Uint8Array} message */
    publish(channel, message) {
      const body = Buffer.from(/** @type {any} */ (message));
      const head = `*3\r\n$7\r\nPUBLISH\r\n$${Buffer.byteLength(channel)}\r\n${channel}\r\n$${body.length}\r\n`;
      socket.write(Buffer.concat([Buffer.from(head), body, Buffer.from('\r\n')]));
    },
  };
}

/** Replicas that hear each other and back ends; a person on each, and a way to publish. @param {any} test @param {Record<string, string>} [env] */
async function gather(test, env = {}) {
  const cluster = await Cluster.start(test, { ids: IDS, env });
  const urls = IDS.map((id) => cluster.replica(id).url);
  await acquainted(urls, 'nobody', 0);
  const redis = await publisher(test, cluster.redis.port);
  const people = await Promise.all([
    enter(test, urls[0], 'a'), enter(test, urls[1], 'b'), enter(test, urls[1], 'c', { transports: transports.polling }),
  ]);
  return { cluster, urls, redis, people };
}

/** Until each of these replicas hears what is emitted. @param {any} emit @param {any[]} people */
async function heardBy(emit, people) {
  await until(async () => {
    emit('anybody?');
    return people.every((person) => person.of('anybody?').length > 0);
  }, 'the first emit');
}

/** What came, but for the first tries. @param {any} person */
const heard = (person) => person.heard.filter(([event]) => event !== 'anybody?');

/** Resolves when everybody has heard an emit that comes behind all others. @param {any} emit @param {any[]} people */
async function end(emit, people) {
  emit('the end');
  await Promise.all(people.map((person) => until(() => person.of('the end').length > 0 || person.heard.some(([event]) => event === 'the end'), 'the end')));
}

describe('emitters', { concurrency: true }, () => {
  it('Node\'s reaches rooms, all but some, and everybody, once', async (test) => {
    const { cluster, urls, redis, people } = await gather(test);
    const [a, b, c] = people;
    const emitter = new Emitter(redis);
    await heardBy((/** @type {string} */ event) => emitter.emit(event), people);
    for (const person of [a, b]) await person.ask('join', 'news');
    for (const person of [b, c]) await person.ask('join', 'sport');
    emitter.to('news').emit('one', { s: 'BTC-USD', p: '50000.1', at: new Date(1732252800123), n: [1, -1, 1.5, 2 ** 40, null, true] });
    emitter.to('news').to('sport').emit('either', 1, 'two', { three: 3 });
    emitter.except('news').emit('not news');
    emitter.to('sport').except('news').emit('sport alone');
    emitter.emit('all', undefined);
    emitter.to(a.socket.id).emit('you');
    // Places of the server, and users, are no rooms.
    for (const room of ['a', 'user:a', 'room:news', 'BTC', 'tick:BTC']) emitter.to(room).emit('nobody');
    emitter.of('/admin').emit('elsewhere');
    await end((/** @type {string} */ event) => emitter.emit(event), people);
    const one = ['one', [{ s: 'BTC-USD', p: '50000.1', at: '2024-11-22T05:20:00.123Z', n: [1, -1, 1.5, 2 ** 40, null, true] }]];
    const [either, all, last] = [['either', [1, 'two', { three: 3 }]], ['all', [null]], ['the end', []]];
    assert.deepEqual(heard(a), [one, either, all, ['you', []], last]);
    assert.deepEqual(heard(b), [one, either, all, last]);
    assert.deepEqual(heard(c), [either, ['not news', []], ['sport alone', []], all, last]);

    // Bytes are not passed on, and that is told.
    emitter.emit('bytes', Buffer.from('x'));
    for (const id of IDS) await until(async () => (await cluster.replica(id).json('/stats')).messages.refused === 1, 'a refusal');
    assert.equal((await api(urls[0], '/api/users/a')).json.connections.length, 1);
  });

  it('Node\'s lets clients join, leave and go', async (test) => {
    const { urls, redis, people } = await gather(test, { PRESENCE: 'true' });
    const [a, b, c] = people;
    const emitter = new Emitter(redis);
    await heardBy((/** @type {string} */ event) => emitter.emit(event), people);
    const inRoom = async (/** @type {string} */ room, /** @type {string[]} */ users) => until(async () => {
      const { json } = await api(urls[0], `/api/rooms/${room}/users`);
      return JSON.stringify(json.users) === JSON.stringify(users);
    }, `${users} in ${room}`);
    emitter.socketsJoin('all');
    await inRoom('all', ['a', 'b', 'c']);
    await until(() => a.of('room-users').at(-1)?.users.length === 3, 'the room to be told');
    await b.ask('join', 'some');
    emitter.in('some').socketsJoin(['x', 'y']);
    await inRoom('y', ['b']);
    emitter.in('all').except('some').socketsLeave('all');
    await inRoom('all', ['b']);
    emitter.in(c.socket.id).socketsJoin('mine');
    await inRoom('mine', ['c']);
    const gone = next(b.socket, 'disconnect');
    emitter.in('x').disconnectSockets();
    assert.equal(await gone, 'io server disconnect');
    const cut = next(a.socket, 'disconnect');
    emitter.in(a.socket.id).disconnectSockets(true);
    await cut;
    assert.equal((await c.ask('ping')).ok, true);
  });

  it('what is in Redis byte for byte arrives, and what is odd is dropped and counted', async (test) => {
    const { cluster, redis, people } = await gather(test);
    const [a, b] = people;
    await Promise.all(people.map(({ ask }) => ask('join', 'sym:BTC-USD')));
    await heardBy(() => redis.publish('socketio', PYTHON_GOLDEN.replace('"tick"', '"anybody?"')), people);
    const stats = () => Promise.all(IDS.map(async (id) => (await cluster.replica(id).json('/stats')).messages));
    const before = await stats();
    redis.publish('socket.io#/#sym:BTC-USD#', GOLDEN);
    redis.publish('socketio', PYTHON_GOLDEN);
    const odd = [
      ['socketio', Buffer.concat([Buffer.from([0x80, 4, 0x95]), Buffer.from('cos\nsystem\n(S\'touch /tmp/x\'\ntR.')])],
      ['socketio', '{"method":"emit"}'], ['socketio', ''], ['socketio', '{'],
      ['socketio', PYTHON_GOLDEN.replace('"binary":false', '"binary":true')],
      ['socketio', PYTHON_GOLDEN.replace('"tick"', '"connect"')],
      ['socket.io#/#', GOLDEN.subarray(0, 50)], ['socket.io#/#', Buffer.alloc(100_000, 0x91)], ['socket.io#/#', ''],
      ['socket.io#/#', Buffer.alloc(2_000_000, 0x20)],
      ['socket.io-request#/#', '{"type":"x"}'],
    ];
    for (const [channel, bytes] of odd) redis.publish(String(channel), bytes);
    // Questions of Node's servers to each other are no business of ours.
    redis.publish('socket.io-request#/#', '{"uid":"x","requestId":"y","type":5,"opts":{"rooms":[],"except":[]}}');
    await end((/** @type {string} */ event) => redis.publish('socketio', PYTHON_GOLDEN.replace('"tick"', JSON.stringify(event))), people);
    const tick = [{ s: 'BTC-USD', p: '50000.1' }];
    for (const person of [a, b]) assert.deepEqual(heard(person), [['tick', tick], ['tick', tick], ['the end', tick]]);
    for (const [n, { refused, lost }] of (await stats()).entries()) {
      assert.deepEqual([refused, lost], [odd.length, before[n].lost]);
    }
    for (const id of IDS) {
      assert.ok(await cluster.replica(id).logged(({ fields }) => fields?.reason?.includes('pickled')));
    }
  });

  it('another prefix and another channel are another world', async (test) => {
    const { redis, people } = await gather(test, { EMITTER_PREFIX: 'ours', EMITTER_CHANNEL: '' });
    const [a] = people;
    const theirs = new Emitter(redis);
    const ours = new Emitter(redis, { key: 'ours' });
    await heardBy((/** @type {string} */ event) => ours.emit(event), people);
    theirs.emit('theirs');
    redis.publish('socketio', PYTHON_GOLDEN.replace('"sym:BTC-USD"', 'null'));
    await end((/** @type {string} */ event) => ours.emit(event), people);
    assert.deepEqual(heard(a), [['the end', []]]);
  });

  it('is heard again after a restart of Redis, once', async (test) => {
    const { cluster, urls, people } = await gather(test);
    await cluster.redis.kill();
    await cluster.redis.begin();
    await acquainted(urls, 'nobody', 0);
    const emitter = new Emitter(await publisher(test, cluster.redis.port));
    await heardBy((/** @type {string} */ event) => emitter.emit(event), people);
    emitter.emit('once');
    await end((/** @type {string} */ event) => emitter.emit(event), people);
    for (const person of people) assert.equal(person.heard.filter(([event]) => event === 'once').length, 1);
  });

  it('Python\'s write-only manager reaches rooms, skips, and everybody', { skip: !hasPython() && 'python-socketio is not installed' }, async (test) => {
    const { cluster, people } = await gather(test);
    const [a, b, c] = people;
    const script = fileURLToPath(new URL('../support/python_emitter.py', import.meta.url));
    const manager = spawn(python, [script, cluster.redis.url], { stdio: ['pipe', 'pipe', 'inherit'] });
    test.after(() => manager.kill());
    const lines = createInterface({ input: manager.stdout })[Symbol.asyncIterator]();
    const said = () => within(lines.next(), 'the emitter');
    await said();
    const call = async (/** @type {object} */ what) => {
      manager.stdin.write(`${JSON.stringify(what)}\n`);
      await said();
    };
    const emit = (/** @type {string} */ event, /** @type {any} */ data, kwargs = {}) => call({ method: 'emit', args: [event, data, '/'], kwargs });
    await until(async () => {
      await emit('anybody?', null);
      return people.every((person) => person.heard.length > 0);
    }, 'the first emit');
    await Promise.all([a, b].map(({ ask }) => ask('join', 'news')));
    await emit('tick', { s: 'BTC-USD', p: '50000.1' }, { room: 'news' });
    await emit('list', [1, 2], { room: ['news', 'other'] });
    await emit('but a', 'x', { skip_sid: a.socket.id });
    await emit('the end', null);
    await Promise.all(people.map((person) => until(() => person.heard.some(([event]) => event === 'the end'), 'the end')));
    const events = (/** @type {any} */ person) => heard(person).filter(([event]) => event !== 'the end');
    const [tick, list] = [['tick', [{ s: 'BTC-USD', p: '50000.1' }]], ['list', [[1, 2]]]];
    assert.deepEqual([events(a), events(b), events(c)], [[tick, list], [tick, list, ['but a', ['x']]], [['but a', ['x']]]]);
  });
});

/** Whether there is a python-socketio that writes JSON. */
function hasPython() {
  const [major, minor] = versionOf('python-socketio') ?? [0, 0];
  return versionOf('redis') !== undefined && (major > 5 || (major === 5 && minor >= 14));
}
