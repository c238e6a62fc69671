// A failover loses what the new primary had not heard of: that shows, whatever symbol it was of, and no number gets two prices.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { publish } from '../support/api.mjs';
import { closeAfter, connect, request, until } from '../support/clients.mjs';
import { Cluster } from '../support/cluster.mjs';
import { Cable, Redis } from '../support/redis.mjs';

const IDS = ['app1', 'app2'];

/** `BUSY` has the higher numbers. What is shown is how the log itself is mended: nobody goes on by itself. */
const ENV = { SOURCES: 'http', SYMBOLS: '', PUBLISHED_SYMBOLS: 'BUSY,QUIET', ISLAND_AFTER: '600000' };

/** Two replicas on a Redis that has a replica, with a price of each symbol, and a client of each. @param {any} test */
async function replicated(test) {
  const cluster = await Cluster.start(test, { ids: [], env: ENV });
  await cluster.redis.ask('CONFIG', 'SET', 'repl-diskless-sync-delay', '0');
  const second = await Redis.start({ args: ['--replicaof', '127.0.0.1', `${cluster.redis.port}`] });
  cluster.undo.push(() => second.stop());
  const cables = await Promise.all(IDS.map(() => Cable.to(cluster.redis)));
  cluster.undo.push(() => Promise.all(cables.map((cable) => cable.stop())));
  await Promise.all(IDS.map((id, index) => cluster.add(id, { REDIS_URL: cables[index].url })));
  await Promise.all(IDS.map((id) => cluster.begun(id)));
  for (let price = 1; price <= 5; price += 1) await post(cluster, 'app1', 'BUSY', price);
  await post(cluster, 'app1', 'QUIET', 100);
  await until(async () => (await second.ask('HGET', 'tickcast:{bus}:last', 'QUIET'))?.includes('"price":100,'), 'the replica to have all');

  /** What was heard under which number. @type {Map<string, number>} */
  const heard = new Map();
  const clients = await Promise.all(IDS.map(async (id) => {
    const socket = await connect(cluster.replica(id).url);
    closeAfter(test, socket);
    /** @type {Map<string, any>} */
    const last = new Map();
    socket.on('tick', (/** @type {any} */ tick) => {
      const epoch = tick.epoch ?? last.get(tick.symbol)?.epoch;
      const number = `${epoch} ${tick.symbol} ${tick.seq}`;
      assert.equal(heard.get(number) ?? tick.price, tick.price, `${number} at ${id}`);
      heard.set(number, tick.price);
      last.set(tick.symbol, { ...tick, epoch });
    });
    const { snapshot } = await request(socket, 'subscribe', ['BUSY', 'QUIET']);
    for (const tick of snapshot) last.set(tick.symbol, tick);
    return { id, last };
  }));
  /** Resolves when these have this price. @param {string} symbol @param {number} price @param {typeof clients} [who] */
  const have = (symbol, price, who = clients) =>
    until(() => who.every(({ last }) => last.get(symbol)?.price === price), () => `${symbol} ${price}, and not ${JSON.stringify(who.map(({ last }) => last.get(symbol)))}`);
  await have('QUIET', 100);
  /** From here on the one does not hear of what the other takes. */
  const part = () => second.ask('REPLICAOF', 'NO', 'ONE');
  return { cluster, second, cables, clients, have, part, epoch: clients[0].last.get('QUIET').epoch };
}

/** Publishes a price; asks again where there is no answer. @param {Cluster} cluster @param {string} id @param {string} symbol @param {number} price */
const post = (cluster, id, symbol, price) => until(async () => {
  const { status, json, text } = await publish(cluster.replica(id), [{ symbol, price }], { 'idempotency-key': `${symbol}-${price}` });
  if (status === 503) return null;
  assert.equal(json?.accepted, 1, text);
  return json;
}, `${symbol} ${price} to be taken`);

/** Fails unless all have one epoch, which is not that one, and what the log says last. @param {Awaited<ReturnType<typeof replicated>>} all */
async function isOne({ cluster, second, clients, epoch }) {
  await cluster.add('app3', { REDIS_URL: second.url });
  await until(async () => (await cluster.replica('app3').json('/health')).status === 'ok', 'a replica that knows only what Redis says');
  const views = await Promise.all([...IDS, 'app3'].map(async (id) => (await cluster.replica(id).json('/api/prices')).prices));
  const view = (/** @type {any[]} */ prices) => prices.map(({ symbol, price, seq }) => ({ symbol, price, seq })).sort((one, other) => one.symbol.localeCompare(other.symbol));
  for (const prices of views) assert.deepEqual(view(prices), view(views[2]));
  const epochs = new Set(clients.flatMap(({ last }) => [...last.values()].map((tick) => tick.epoch)));
  assert.equal(epochs.size, 1);
  assert.ok(!epochs.has(epoch), 'a new epoch');
}

describe('a failover', { concurrency: true }, () => {
  it('lost a price of a symbol with low numbers: a new epoch, and the next price comes everywhere', async (test) => {
    const all = await replicated(test);
    const { cluster, second, cables, have, part } = all;
    await part();
    await post(cluster, 'app1', 'QUIET', 111);
    await have('QUIET', 111);
    for (const cable of cables) cable.turn(second);
    // Before anybody else appends, and as soon as there is a way.
    await post(cluster, 'app1', 'QUIET', 222);
    await have('QUIET', 222);
    await isOne(all);
  });

  it('lost a price, and who had not heard of it is the first that goes on', async (test) => {
    const all = await replicated(test);
    const { cluster, second, cables: [mine, theirs], clients: [client], have, part } = all;
    theirs.cut();
    await part();
    await post(cluster, 'app1', 'QUIET', 111);
    await have('QUIET', 111, [client]);
    theirs.turn(second);
    await post(cluster, 'app2', 'BUSY', 6);
    mine.turn(second);
    await post(cluster, 'app1', 'QUIET', 222);
    await have('QUIET', 222);
    await have('BUSY', 6);
    await isOne(all);
  });

  it('lost nothing: nothing changes', async (test) => {
    const { cluster, second, cables, clients, have, part, epoch } = await replicated(test);
    await part();
    for (const cable of cables) cable.turn(second);
    await post(cluster, 'app2', 'QUIET', 222);
    await post(cluster, 'app1', 'BUSY', 6);
    await have('QUIET', 222);
    await have('BUSY', 6);
    assert.deepEqual(clients.map(({ last }) => last.get('QUIET').epoch), [epoch, epoch]);
  });
});
