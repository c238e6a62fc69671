// Back ends publish at any replica: one sequence, one price for each number, and no price twice.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ask, isProblem, publish, publishSurely } from '../support/api.mjs';
import { closeAfter, connect, request, until } from '../support/clients.mjs';
import { Cluster } from '../support/cluster.mjs';
import { Cable } from '../support/redis.mjs';

const IDS = ['app1', 'app2'];
const ENV = { PUBLISHED_SYMBOLS: 'PUB,OTHER' };

/** A client of a replica, and the ticks that it got. @param {any} test @param {Cluster} cluster @param {string} id */
async function listen(test, cluster, id) {
  const socket = await connect(cluster.replica(id).url);
  closeAfter(test, socket);
  /** @type {any[]} */
  const ticks = [];
  socket.on('tick', (/** @type {any} */ tick) => ticks.push(tick));
  await request(socket, 'subscribe', ['PUB']);
  return ticks;
}

/** The ticks of `PUB` in the log. @param {Cluster} cluster @returns {Promise<any[]>} */
const logged = async (cluster) => (await cluster.redis.log()).flatMap(({ epoch, ticks }) => ticks.map((tick) => ({ ...tick, epoch }))).filter(({ symbol }) => symbol === 'PUB');

describe('publish', { concurrency: true }, () => {
  it('two replicas at once: numbers are one sequence, and one number has one price', async (test) => {
    const cluster = await Cluster.start(test, { ids: IDS, env: ENV });
    const heard = await Promise.all(IDS.map((id) => listen(test, cluster, id)));
    const ts = Date.now();
    const began = performance.now();
    let refused = 0;
    const answers = await Promise.all([...Array(200).keys()].map(async (index) => {
      const prices = [{ symbol: 'PUB', price: index + 1, ts }, { symbol: 'PUB', price: index + 1001, ts }];
      // On a busy machine Redis may take longer than a request waits for it: then the other replica is asked.
      for (let attempt = index; ; attempt += 1) {
        const response = await publish(cluster.replica(IDS[attempt % 2]), prices, { 'idempotency-key': `at-once-${index}` });
        if (response.status !== 503 || attempt === index + 10) return response;
        refused += 1;
      }
    }));
    test.diagnostic(`${(performance.now() - began).toFixed()} ms, ${refused} times 503`);
    /** @type {Map<number, number>} */
    const given = new Map();
    answers.forEach(({ json, text }, index) => {
      assert.equal(json.accepted, 2, text);
      const [one, two] = json.results;
      assert.equal(two.seq, one.seq + 1);
      for (const [{ seq }, price] of [[one, index + 1], [two, index + 1001]]) {
        assert.ok(!given.has(seq), `${seq} was given twice`);
        given.set(seq, price);
      }
    });
    const seqs = [...given.keys()].sort((one, other) => one - other);
    assert.deepEqual(seqs, seqs.map((_, index) => seqs[0] + index));
    await until(() => heard.every((ticks) => ticks.length >= 400), () => `${heard.map(({ length }) => length)} ticks`);
    for (const ticks of heard) {
      assert.deepEqual(ticks.map(({ seq }) => seq), seqs);
      for (const { seq, price } of ticks) assert.equal(price, given.get(seq));
    }
    assert.deepEqual((await logged(cluster)).map(({ seq, price }) => [seq, price]), seqs.map((seq) => [seq, given.get(seq)]));
    // Other services are told the newest.
    await until(async () => JSON.parse(await cluster.redis.ask('GET', 'tickcast:price:PUB') ?? '{}').seq === seqs[seqs.length - 1], 'the price for other services');
  });

  it('a request that is sent again to another replica publishes nothing', async (test) => {
    const cluster = await Cluster.start(test, { ids: IDS, env: ENV });
    const headers = { 'idempotency-key': 'order-1' };
    const prices = [{ symbol: 'PUB', price: 1.5 }, { symbol: 'BTC', price: 1 }, { symbol: 'NEW', price: 1 }, {}];
    const first = await publishSurely(cluster.replica('app1'), prices, headers);
    assert.deepEqual([first.json.accepted, first.json.rejected], [1, 3]);
    const again = await Promise.all([...IDS, ...IDS].map((id) => publishSurely(cluster.replica(id), prices, headers)));
    for (const { json, headers: { 'idempotency-replayed': replayed } } of again) {
      assert.deepEqual([json, replayed], [first.json, 'true']);
    }
    isProblem(await publishSurely(cluster.replica('app2'), [{ symbol: 'PUB', price: 2 }], headers), 422, 'invalid_payload');
    // At once, at both.
    const race = await Promise.all(IDS.map((id) => publishSurely(cluster.replica(id), [{ symbol: 'PUB', price: 3 }], { 'idempotency-key': 'order-2' })));
    assert.equal(race[0].text, race[1].text);
    assert.deepEqual((await logged(cluster)).map(({ price }) => price), [1.5, 3]);
    const life_ms = await cluster.redis.ask('PTTL', 'tickcast:{bus}:answer:9:127.0.0.1:order-1');
    assert.ok(life_ms > 500_000 && life_ms <= 600_000, `${life_ms} ms`);
  });

  it('one whose answer was lost can be sent again', async (test) => {
    const cluster = await Cluster.start(test, { ids: IDS, env: ENV });
    const cable = await Cable.to(cluster.redis);
    cluster.undo.push(() => cable.stop());
    const cut = await cluster.add('app3', { REDIS_URL: cable.url });
    await cluster.priced('app3');
    const headers = { 'idempotency-key': 'lost' };
    // Redis hears it, and its answer does not come through.
    cable.hold((data, asks) => !asks);
    const lost = await publish(cut, [{ symbol: 'PUB', price: 7 }], headers);
    isProblem(lost, 503, 'unavailable');
    assert.ok(Number(lost.headers['retry-after']) >= 1);
    const again = await publishSurely(cluster.replica('app2'), [{ symbol: 'PUB', price: 7 }], headers);
    assert.equal(again.json.accepted, 1);
    await until(async () => (await logged(cluster)).length > 0, 'it to be there');
    assert.deepEqual((await logged(cluster)).map(({ price, seq }) => [price, seq]), [[7, again.json.results[0].seq]]);
    cable.mend();
  });

  it('no bus: 503, and then again', async (test) => {
    const cluster = await Cluster.start(test, { ids: ['app1'], env: ENV });
    const server = cluster.replica('app1');
    const before = await publishSurely(server, [{ symbol: 'PUB', price: 1 }]);
    await cluster.redis.kill();
    const refused = await publish(server, [{ symbol: 'PUB', price: 2 }]);
    isProblem(refused, 503, 'unavailable');
    assert.ok(Number(refused.headers['retry-after']) >= 1);
    await cluster.redis.begin();
    const after = await until(async () => {
      const response = await publish(server, [{ symbol: 'PUB', price: 3 }]);
      if (response.status !== 200) isProblem(response, 503, 'unavailable');
      return response.status === 200 && response;
    }, 'the bus');
    assert.notEqual(after.json.epoch, before.json.epoch);
    assert.ok(after.json.results[0].seq > before.json.results[0].seq, 'above all that was');
  });

  it('who owns a symbol, and how old a price is, is the same on every replica', async (test) => {
    const cluster = await Cluster.start(test, { ids: IDS, env: ENV });
    // What a replica makes that has the lease, others do not know as simulated by their own settings.
    const { publisher, others: [other] } = await cluster.roles();
    const theirs = publisher.toUpperCase();
    await until(async () => (await ask(cluster.replica(other), 'GET', `/api/prices/${theirs}`)).status === 200, 'its price');
    for (const id of IDS) {
      for (const symbol of ['BTC', theirs]) {
        const { json } = await publishSurely(cluster.replica(id), [{ symbol, price: 1 }]);
        assert.equal(json.results[0].code, 'forbidden', `${symbol} at ${id}`);
        assert.match(json.results[0].message, /"simulator"/);
      }
    }
    const ts = Date.now();
    assert.equal((await publishSurely(cluster.replica('app1'), [{ symbol: 'PUB', price: 1, ts }])).json.accepted, 1);
    const stale = await publishSurely(cluster.replica('app2'), [{ symbol: 'PUB', price: 2, ts: ts - 1 }, { symbol: 'PUB', price: 3, ts }]);
    assert.deepEqual(stale.json.results.map((/** @type {any} */ each) => each.code), ['stale', undefined]);
    // What nobody simulates any more is free.
    await cluster.replica(publisher).stop();
    await cluster.roles();
    const free = await until(async () => {
      const { json } = await publish(cluster.replica(other), [{ symbol: theirs, price: 5 }]);
      return json.accepted === 1 && json;
    }, 'the symbol to be free');
    assert.ok(free.results[0].seq > 0);
  });
});
