// What is said on one replica is heard on every one, once.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { closeAfter, connect, request, transports, until } from '../support/clients.mjs';
import { Cluster, freeze } from '../support/cluster.mjs';

const IDS = ['app1', 'app2', 'app3'];

/** How long twenty of them may take together while Redis hangs (ms): a second each, if they waited for it. */
const HANGING_MS = 8000;

/** How long the replicas may need to hear each other again, once Redis is back (ms). */
const AGAIN_MS = 15_000;

/** Somebody in the chat, and what that one heard. */
class Person {
  /** @param {string} id of the replica @param {any} socket */
  constructor(id, socket) {
    this.id = id;
    this.socket = socket;
    /** @type {any[]} */
    this.heard = [];
    socket.on('chat-message', (/** @type {any} */ message) => this.heard.push(message));
  }

  /** @param {string} text */
  times(text) {
    return this.heard.filter((message) => message.text === text).length;
  }
}

/**
 * Two people on each replica.
 *
 * @param {any} test
 * @param {Cluster} cluster
 */
async function gather(test, cluster) {
  return Promise.all([...cluster.replicas.keys()].flatMap((id) => [transports.upgrade, transports.websocket].map(async (list) => {
    const socket = await connect(cluster.replica(id).url, { transports: list });
    closeAfter(test, socket);
    return new Person(id, socket);
  })));
}

/** Resolves when everybody has heard all of these. @param {Person[]} people @param {string[]} texts @param {number} [limit_ms] */
async function heard(people, texts, limit_ms) {
  const missing = () => people.flatMap(({ id, heard: got }) => texts.filter((text) => got.every((message) => message.text !== text)).map((text) => `${text} at ${id}`));
  await until(() => missing().length === 0, () => `${missing()}`, limit_ms);
}

/** Until replicas have found each other, what is said may not cross: says something until everybody has heard it. @param {Person[]} people */
async function acquainted(people, limit_ms = AGAIN_MS) {
  for (const from of people) {
    const texts = new Set();
    await until(async () => {
      const text = `is anybody there? ${Math.random()}`;
      texts.add(text);
      assert.deepEqual(await request(from.socket, 'chat', text), { ok: true });
      return people.every((person) => person.heard.some((message) => texts.has(message.text)));
    }, `everybody to hear ${from.id}`, limit_ms);
  }
}

/** Everybody says something; everybody must hear it once, with who said it. @param {Person[]} people @param {string} about */
async function converse(people, about) {
  const said = await Promise.all(people.map(async ({ id, socket }, number) => {
    const text = `${about}, ${number} of ${id}: é "quoted" <b> \u2028`;
    assert.deepEqual(await request(socket, 'chat', number % 2 ? text : { room: 'chat', text, unknown: 1 }), { ok: true });
    return { id, text };
  }));
  await heard(people, said.map(({ text }) => text));
  // What comes a second time comes before what is said later, on the same way.
  const last = await Promise.all(IDS.flatMap((id) => people.filter((person) => person.id === id).slice(0, 1)).map(async ({ id, socket }) => {
    const text = `${about}, the end of ${id}`;
    assert.deepEqual(await request(socket, 'chat', text), { ok: true });
    return { id, text };
  }));
  await heard(people, last.map(({ text }) => text));
  for (const person of people) {
    for (const { id, text } of [...said, ...last]) {
      const got = person.heard.filter((message) => message.text === text);
      assert.equal(got.length, 1, `${text} at ${person.id}`);
      const { ts, ...rest } = got[0];
      assert.deepEqual(rest, { room: 'chat', text, from: null, server: id });
      assert.ok(Math.abs(ts - Date.now()) < 60_000, `ts: ${ts}`);
    }
  }
}

describe('chat', { concurrency: true }, () => {
  it('crosses replicas, and does so again after a restart of Redis; meanwhile it is local', async (test) => {
    const cluster = await Cluster.start(test, { ids: IDS, env: { CHAT_AUTO_JOIN: 'true' } });
    const people = await gather(test, cluster);
    await acquainted(people);
    await converse(people, 'at first');

    await cluster.redis.kill();
    for (const id of IDS) {
      const here = people.filter((person) => person.id === id);
      const text = `only at ${id}`;
      assert.deepEqual(await request(here[0].socket, 'chat', text), { ok: true });
      await heard(here, [text]);
    }
    await cluster.redis.begin();
    await acquainted(people);
    await converse(people, 'later');
    // Heard once where it was said. What was on its way when Redis went may still have come to the others, once.
    for (const id of IDS) {
      for (const person of people) {
        const times = person.times(`only at ${id}`);
        assert.ok(person.id === id ? times === 1 : times <= 1, `${person.id} heard ${id} ${times} times`);
      }
    }

    // One that comes later is heard, and hears.
    await cluster.add('app4');
    await cluster.begun('app4');
    const more = [...people, ...(await gather(test, cluster)).filter(({ id }) => id === 'app4')];
    await acquainted(more);
    await converse(more, 'with one more');
  });

  it('one that starts without Redis hears the others when it comes', async (test) => {
    const cluster = await Cluster.start(test, { ids: ['app1'], env: { CHAT_AUTO_JOIN: 'true' } });
    await cluster.redis.kill();
    await cluster.add('app2');
    await cluster.begun('app2');
    const people = await gather(test, cluster);
    const [, , alone, beside] = people;
    assert.deepEqual([alone.id, beside.id], ['app2', 'app2']);
    assert.deepEqual(await request(alone.socket, 'chat', 'alone'), { ok: true });
    await heard([alone, beside], ['alone']);
    await cluster.redis.begin();
    await acquainted(people);
    assert.deepEqual(people.map((person) => person.times('alone')), [0, 0, 1, 1]);
  });

  it('while Redis hangs what is said is heard here at once, and elsewhere when it wakes, in order', async (test) => {
    const cluster = await Cluster.start(test, { ids: ['app1', 'app2'], env: { CHAT_AUTO_JOIN: 'true' } });
    const people = await gather(test, cluster);
    await acquainted(people);
    const [speaker, beside] = people.filter(({ id }) => id === 'app1');
    const texts = Array.from({ length: 20 }, (_, number) => `while it hangs, ${number}`);
    await freeze(/** @type {any} */ (cluster.redis));
    await Promise.all(texts.map(async (text) => assert.deepEqual(await request(speaker.socket, 'chat', text), { ok: true })));
    await heard([speaker, beside], texts, HANGING_MS);

    cluster.redis.child?.kill('SIGCONT');
    await acquainted(people);
    for (const person of people) {
      const got = person.heard.map(({ text }) => text).filter((text) => texts.includes(text));
      // Here none is lost.
      const expected = person.id === 'app1' ? texts : texts.filter((text) => got.includes(text));
      assert.deepEqual(got, expected, person.id);
    }
  });

  it('who is not in the room hears nothing', async (test) => {
    const cluster = await Cluster.start(test);
    const people = await gather(test, cluster);
    const watch = await cluster.watch('app2');
    assert.deepEqual(await request(people[0].socket, 'chat', 'hello'), { ok: true });
    await watch.more(10);
    assert.deepEqual(people.flatMap((person) => person.heard), []);
  });
});
