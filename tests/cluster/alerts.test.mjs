// Alerts of users on several replicas: each tells its own clients, once for each crossing, whatever happens to the others.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { publishSurely } from '../support/api.mjs';
import { Backend } from '../support/backend.mjs';
import { until } from '../support/clients.mjs';
import { Cluster, SYMBOLS, freeze } from '../support/cluster.mjs';
import { enter } from '../support/people.mjs';
import { Cable } from '../support/redis.mjs';
import { SECRET, good, hs256 } from '../support/tokens.mjs';

/** Symbols that only a test moves. */
const [GOLD, OTHER] = ['GOLD', 'OTHER'];

const ENV = { JWT_SECRET: SECRET, ALLOW_ANONYMOUS: 'true', PUBLISHED_SYMBOLS: `${GOLD},${OTHER}`, LEASE_TTL: '1000' };

/** What makes an island soon. */
const ISLANDS = { ISLAND_AFTER: '300' };

/** @typedef {import('../support/people.mjs').Person} Person */

/** A user's connection to a replica. @param {any} test @param {Cluster} cluster @param {string} id @param {string} [sub] */
const user = (test, cluster, id, sub = 'amy') => enter(test, cluster.replica(id).url, null, { auth: { token: hs256(good({ sub })) } });

/** Publishes prices at a replica, one after the other. @param {Cluster} cluster @param {string} id @param {string} symbol @param {...number} prices */
async function move(cluster, id, symbol, ...prices) {
  const { json, text } = await publishSurely(cluster.replica(id), prices.map((price) => ({ symbol, price })));
  assert.equal(json?.accepted, prices.length, text);
  return json.results.map((/** @type {any} */ { seq }) => seq);
}

/** @param {Person} person @param {string} id */
const fired = ({ of }, id) => of('alert').filter((alert) => alert.id === id);

/** @param {Person} person @param {string} id */
const prices = (person, id) => fired(person, id).map(({ price }) => price);

/** Resolves when everything that was published before has been looked at, wherever these are. @param {Cluster} cluster @param {string} id @param {Person[]} people */
async function settled(cluster, id, people) {
  const { id: last } = await people[0].ask('alert', { symbol: OTHER, above: 1 });
  await move(cluster, id, OTHER, 0, 1);
  await until(() => people.every((person) => fired(person, last).length > 0), 'an alert behind all others');
  assert.equal((await people[0].ask('unalert', last)).ok, true);
}

/** Fails where a client was told of one crossing twice. @param {Person} person */
function once({ of }) {
  const names = of('alert').map(({ id, epoch, seq }) => `${id} ${epoch} ${seq}`);
  assert.deepEqual(names, [...new Set(names)]);
}

describe('alerts of users', { concurrency: true }, () => {
  it('are set at one replica, and fire once at every connection of every replica', async (test) => {
    const backend = await Backend.start(test);
    const cluster = await Cluster.start(test, { env: { ...ENV, BACKEND_URL: backend.url } });
    const people = [];
    for (const id of ['app1', 'app1', 'app2', 'app2']) people.push(await user(test, cluster, id));
    const [one, , other] = people;
    const stranger = await user(test, cluster, 'app2', 'zoe');
    await move(cluster, 'app1', GOLD, 100);
    const { id } = await one.ask('alert', { symbol: GOLD, above: 110 });
    const { id: below } = await other.ask('alert', { symbol: GOLD, below: 90 });
    // Published at either, all of it in one log.
    await move(cluster, 'app1', GOLD, 109, 110, 111);
    await move(cluster, 'app2', GOLD, 80, 120, 119);
    await settled(cluster, 'app1', people);
    for (const person of people) {
      assert.deepEqual([prices(person, id), prices(person, below)], [[110, 120], [80]]);
      once(person);
    }
    assert.deepEqual(fired(one, id), fired(other, id));
    assert.deepEqual(stranger.of('alert'), []);

    // One list, whoever is asked; what is removed at one is gone at both when the answer is there.
    const lists = async () => Promise.all(people.map(async ({ ask }) => (await ask('alerts')).alerts.map((/** @type {any} */ alert) => alert.id)));
    await until(async () => (await lists()).every((ids) => ids.join() === `${id},${below}`), 'the same list everywhere');
    assert.equal((await stranger.ask('unalert', id)).error.code, 'invalid_payload');
    assert.equal((await other.ask('unalert', id)).ok, true);
    assert.deepEqual((await other.ask('alerts')).alerts.map((/** @type {any} */ alert) => alert.id), [below]);
    await until(async () => (await lists()).every((ids) => ids.join() === below), 'it to be gone everywhere');
    await move(cluster, 'app1', GOLD, 100, 120);
    await settled(cluster, 'app1', people);
    assert.deepEqual(people.map((person) => prices(person, id).length), [2, 2, 2, 2]);

    // The back end: three crossings of these, and those that waited behind them, each once.
    const wanted = new Set(one.of('alert').map(({ id: of, epoch, seq }) => `${of}-${epoch}-${seq}`));
    await until(() => wanted.size === new Set(backend.posts.map(({ body }) => body.id)).size, 'the posts');
    assert.deepEqual(new Set(backend.attempts.keys()), wanted);
    await until(async () => {
      const stats = await Promise.all(cluster.live().map((replica) => cluster.replica(replica).json('/stats')));
      return stats.reduce((sum, { alerts }) => sum + alerts.posted, 0) === wanted.size;
    }, 'all of it to be counted');
    assert.deepEqual([...backend.attempts.values()], [...wanted].map(() => 1));
  });

  it('are counted over all replicas', async (test) => {
    const cluster = await Cluster.start(test, { env: { ...ENV, MAX_ALERTS: '3' } });
    const [one, other] = [await user(test, cluster, 'app1'), await user(test, cluster, 'app2')];
    const set = ({ ask }) => ask('alert', { symbol: SYMBOLS[0], above: 1 });
    const answers = await Promise.all([one, other, one, other, one, other].map(set));
    const [taken, refused] = [answers.filter(({ ok }) => ok), answers.filter(({ ok }) => !ok)];
    assert.deepEqual([taken.length, refused.length], [3, 3]);
    for (const { error } of refused) assert.deepEqual([error.code, /you have 3 alerts/.test(error.message)], ['invalid_payload', true]);
    assert.equal((await other.ask('unalert', taken[0].id)).ok, true);
    assert.equal((await set(one)).ok, true);
  });

  it('survive the replicas, one after the other', async (test) => {
    const cluster = await Cluster.start(test, { env: ENV });
    const first = await user(test, cluster, 'app1');
    await move(cluster, 'app1', GOLD, 100);
    const { id } = await first.ask('alert', { symbol: GOLD, above: 110 });
    for (const replica of ['app1', 'app2']) {
      await cluster.replica(replica).stop('SIGKILL');
      await cluster.add(replica);
      await cluster.priced(replica);
      const person = await user(test, cluster, replica);
      await until(async () => (await person.ask('alerts')).alerts.length === 1, 'the alert at the new process');
      await settled(cluster, replica, [person]);
      assert.deepEqual(prices(person, id), [], 'what was before its start is nothing new');
      await move(cluster, replica, GOLD, 100, 120);
      await until(() => prices(person, id).length === 1, 'the crossing');
    }
  });

  it('the publisher is killed while prices move: each crossing once, at every connection', async (test) => {
    const backend = await Backend.start(test);
    const cluster = await Cluster.start(test, { ids: ['app1', 'app2', 'app3'], env: { ...ENV, BACKEND_URL: backend.url, UPDATE_INTERVAL: '20' } });
    const { publisher, others } = await cluster.roles();
    const people = await Promise.all(others.map((id) => user(test, cluster, id)));
    const watch = await cluster.watch(others[0]);
    await watch.more(5);
    // In the middle of where the price walks, so that it is crossed again and again.
    const level = watch.ticks.filter(({ symbol }) => symbol === SYMBOLS[0]).at(-1).price;
    const { id: up } = await people[0].ask('alert', { symbol: SYMBOLS[0], above: level });
    const { id: down } = await people[1].ask('alert', { symbol: SYMBOLS[0], below: level });
    // Whatever moment of its own they were set at, it is not later than this.
    const set = Math.max(...await Promise.all(others.map(async (id) => (await cluster.replica(id).json(`/api/prices/${SYMBOLS[0]}`)).seq)));
    await watch.more(40);
    await cluster.replica(publisher).stop('SIGKILL');
    await watch.more(60);
    assert.equal((await people[0].ask('unalert', up)).ok && (await people[1].ask('unalert', down)).ok, true);
    await settled(cluster, others[0], people);
    cluster.check();
    // What the log says, between the setting and the removal as far as both saw it.
    for (const id of [up, down]) {
      const [one, other] = people.map((person) => fired(person, id).map(({ seq }) => seq));
      const shared = Math.min(one.at(-1) ?? 0, other.at(-1) ?? 0);
      const until_ = (/** @type {number[]} */ seqs) => seqs.filter((seq) => seq <= shared);
      assert.deepEqual(until_(one), until_(other));
      const ticks = watch.ticks.filter(({ symbol }) => symbol === SYMBOLS[0]);
      const crossings = ticks.flatMap(({ seq, price }, at) => {
        if (at === 0 || seq > shared) return [];
        const before = ticks[at - 1].price;
        const crossed = id === up ? before < level && level <= price : price <= level && level < before;
        return crossed ? [seq] : [];
      });
      // Around the moment of its setting it is its tick that decides, which the client does not know.
      assert.deepEqual(until_(one).filter((seq) => seq > set), crossings.filter((seq) => seq > set));
    }
    people.forEach(once);
    // Whoever posted: the one that was killed may have taken some on, which another one took over.
    const wanted = new Set(people[0].of('alert').map(({ id, epoch, seq }) => `${id}-${epoch}-${seq}`));
    await until(() => [...wanted].every((name) => backend.attempts.has(name)), 'every crossing at the back end');
  });

  it('one that is taken on by a replica that dies is posted by another', async (test) => {
    const backend = await Backend.start(test);
    const cluster = await Cluster.start(test, { env: { ...ENV, BACKEND_URL: backend.url, BACKEND_RETRIES: '0', BACKEND_TIMEOUT: '60000' } });
    const person = await user(test, cluster, 'app1');
    await move(cluster, 'app1', GOLD, 100);
    const { id } = await person.ask('alert', { symbol: GOLD, above: 110 });
    // Whoever asks first is never answered.
    let asked = '';
    backend.answers.set('alert', (post, response) => {
      asked ||= post.body.server;
      if (post.body.server !== asked) response.writeHead(204).end();
    });
    await move(cluster, 'app1', GOLD, 120);
    await until(() => backend.of('alert').length === 1, 'the first attempt');
    await cluster.replica(asked).stop('SIGKILL');
    await until(() => backend.of('alert').length === 2, 'another replica to go on');
    const [first, second] = backend.of('alert').map(({ body }) => body);
    assert.deepEqual([second.id, second.data], [first.id, first.data]);
    assert.ok(first.id.startsWith(id) && first.server !== second.server);
  });

  it('a replica without Redis goes on, and the back end hears of it from each', async (test) => {
    /** @type {Map<string, Cable>} */
    const cables = new Map();
    const backend = await Backend.start(test);
    const cluster = await Cluster.start(test, {
      env: { ...ENV, ...ISLANDS, BACKEND_URL: backend.url, UPDATE_INTERVAL: '20' },
      each: async (id, redis) => {
        const cable = await Cable.to(redis);
        cables.set(id, cable);
        return { REDIS_URL: cable.url };
      },
    });
    cluster.undo.push(() => Promise.all([...cables.values()].map((cable) => cable.stop())));
    const people = await Promise.all(['app1', 'app2'].map((id) => user(test, cluster, id)));
    const watch = await cluster.watch('app1');
    await watch.more(5);
    // How far the walk goes within a second is now this, now that: one of these is crossed again and again.
    const percents = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000].map((part) => part / 10_000);
    for (const changePct of percents) {
      // On a busy machine Redis may take longer than a request waits for it: then it may have been set, too.
      await until(async () => (await people[0].ask('alert', { symbol: SYMBOLS[0], changePct, windowMs: 1000 })).ok, 'an alert');
    }
    const { length } = (await people[0].ask('alerts')).alerts;
    assert.ok(length >= percents.length);
    await until(async () => (await people[1].ask('alerts')).alerts.length === length, 'them at the other one');
    for (const cable of cables.values()) cable.cut();
    await watch.status(({ state }) => state === 'degraded');
    const refused = await people[0].ask('alert', { symbol: SYMBOLS[0], above: 1 });
    assert.equal(refused.error.code, 'unavailable');
    assert.equal((await people[0].ask('alerts')).alerts.length, length, 'those that there are');
    // Each fires by the prices of its own.
    const islands = async () => (await Promise.all(['app1', 'app2'].map((id) => cluster.replica(id).json('/health')))).map(({ bus }) => bus.epoch);
    await until(async () => new Set(await islands()).size === 2, 'two epochs');
    const epochs = await islands();
    await until(() => people.every(({ of }, at) => of('alert').some(({ epoch }) => epoch === epochs[at])), 'alerts by the prices of each');
    await until(() => epochs.every((epoch) => backend.posts.some(({ body }) => body.data.epoch === epoch)), 'posts of both');
    for (const cable of cables.values()) cable.mend();
    await until(async () => new Set(await islands()).size === 1, 'one epoch');
    const { id: late } = await until(async () => {
      const answer = await people[0].ask('alert', { symbol: SYMBOLS[1], above: 1 });
      return answer.ok && answer;
    }, 'alerts to be taken again');
    await until(async () => (await people[1].ask('alerts')).alerts.some((/** @type {any} */ alert) => alert.id === late), 'it at the other one');
    people.forEach(once);
  });

  it('who finds that changes were trimmed before it read them loads all of it', async (test) => {
    const cluster = await Cluster.start(test, { env: ENV });
    const [one, other] = [await user(test, cluster, 'app1'), await user(test, cluster, 'app2')];
    const set = () => one.ask('alert', { symbol: SYMBOLS[0], above: 1_000_000_000 });
    const gone = (await set()).id;
    await until(async () => (await other.ask('alerts')).alerts.length === 1, 'the first at the other one');
    await freeze(cluster.replica('app2'));
    // Of these it gets the first: that is on its way when it stops.
    for (let n = 0; n < 3; n += 1) assert.equal((await set()).ok, true);
    assert.equal((await one.ask('unalert', gone)).ok, true);
    await cluster.redis.ask('XTRIM', 'tickcast:{bus}:alerts:log', 'MAXLEN', '0');
    assert.equal((await set()).ok, true);
    cluster.replica('app2').child.kill('SIGCONT');
    const ids = async (/** @type {Person} */ { ask }) => (await ask('alerts')).alerts.map((/** @type {any} */ { id }) => id).join();
    const wanted = await ids(one);
    assert.equal(wanted.split(',').length, 4);
    await until(async () => (await ids(other)) === wanted, 'what was trimmed');
  });

  it('what Redis loses it gets back', async (test) => {
    const cluster = await Cluster.start(test, { env: ENV });
    const people = [await user(test, cluster, 'app1'), await user(test, cluster, 'app2')];
    const { id } = await people[0].ask('alert', { symbol: SYMBOLS[0], above: 1_000_000_000 });
    await until(async () => (await people[1].ask('alerts')).alerts.length === 1, 'it at the other one');
    await cluster.redis.kill();
    await cluster.redis.begin();
    await until(async () => (await cluster.redis.ask('HKEYS', 'tickcast:{bus}:alerts')).join() === id, 'the alert in the new Redis');
    const { id: more } = await until(async () => {
      const answer = await people[1].ask('alert', { symbol: SYMBOLS[0], above: 2_000_000_000 });
      return answer.ok && answer;
    }, 'alerts to be taken again');
    for (const person of people) {
      await until(async () => {
        const ids = (await person.ask('alerts')).alerts.map((/** @type {any} */ alert) => alert.id);
        return [id, more].every((each) => ids.includes(each));
      }, 'both');
    }
  });
});
