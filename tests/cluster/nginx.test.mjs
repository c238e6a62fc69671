// Through the real nginx, with the real template: clients of every kind get their prices, and come back when a replica
// goes.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { transports, until } from '../support/clients.mjs';
import { Cluster } from '../support/cluster.mjs';
import { Proxy } from '../support/proxy.mjs';
import { fetchRaw } from '../support/raw.mjs';

const IDS = ['app1', 'app2'];

/** How clients of this test come back: quickly. */
const COMES_BACK = { reconnection: true, reconnectionDelay: 50, reconnectionDelayMax: 500 };

/** How long clients may need to be back (ms). */
const BACK_MS = 30_000;

/**
 * Two replicas behind nginx.
 *
 * @param {any} test
 * @param {{ balance?: string }} [options]
 */
async function proxied(test, options) {
  const cluster = await Cluster.start(test, { ids: IDS, env: { LEASE_TTL: '1000' } });
  const proxy = await Proxy.start(IDS.map((id) => cluster.replica(id)), options);
  cluster.undo.push(() => proxy.stop());
  return { cluster, proxy };
}

/** Where a client is. @param {import('../support/cluster.mjs').Watch} watch */
const at = ({ answers }) => answers[answers.length - 1].server.id;

describe('nginx', { concurrency: true }, () => {
  it('every kind of client, to each replica; all come back when theirs goes', async (test) => {
    const { cluster, proxy } = await proxied(test);
    const agents = await proxy.agentsTo(IDS);
    const kinds = Object.entries(transports).flatMap(([name, list]) => IDS.map((id) => ({ name: `${name} to ${id}`, list, id })));
    const watches = await Promise.all(kinds.map(({ name, list, id }) => (
      cluster.watchUrl(name, proxy.url, { transports: list, agent: agents.get(id), ...COMES_BACK })
    )));
    await Promise.all(watches.map((watch) => watch.more(40)));
    for (const [index, { id, list }] of kinds.entries()) {
      assert.equal(at(watches[index]), id);
      const transport = () => watches[index].socket.io.engine.transport.name;
      await until(() => transport() === list[list.length - 1], `${kinds[index].name} to use ${list}`);
      assert.equal(watches[index].answers.length, 1, 'it never had to come back');
    }
    await Promise.all(watches.map((watch) => watch.more(20)));
    await cluster.level();

    // Killed; and, when it is back, the other one stopped in order.
    const { port } = cluster.replica('app1');
    for (const { gone, other, how } of /** @type {{ gone: string, other: string, how: NodeJS.Signals }[]} */ ([
      { gone: 'app1', other: 'app2', how: 'SIGKILL' },
      { gone: 'app2', other: 'app1', how: 'SIGTERM' },
    ])) {
      const theirs = watches.filter((watch) => at(watch) === gone);
      assert.ok(theirs.length >= 3);
      const ended = await cluster.replica(gone).stop(how);
      if (how === 'SIGTERM') assert.deepEqual(ended, { code: 0, signal: null });
      await until(() => watches.every((watch) => at(watch) === other),
        () => `all to be at ${other}; nginx:\n${proxy.said.slice(-2000)}`, BACK_MS);
      await Promise.all(watches.map((watch) => watch.more(20)));
      // Nobody's numbers went back, and one number has one price: the watches and the ledger know.
      await cluster.level();
      assert.equal(new Set(watches.flatMap(({ answers }) => answers.map(({ epoch }) => epoch))).size, 1);
      if (how === 'SIGTERM') break;
      await cluster.add(gone, { PORT: port });
      await cluster.roles();
    }
    await cluster.checkLog();
  });

  it('a replica that is full keeps those whom it has, and who is new comes to the other one until it is full, too', async (test) => {
    const cluster = await Cluster.start(test, { ids: IDS, each: (id) => ({ MAX_CONNECTIONS: id === 'app1' ? '6' : '20' }) });
    const proxy = await Proxy.start(IDS.map((id) => cluster.replica(id)));
    cluster.undo.push(() => proxy.stop());
    const agents = await proxy.agentsTo(IDS);
    const watches = await Promise.all(IDS.flatMap((id) => [1, 2].map((number) => (
      // What comes between two polls is one tick.
      cluster.watchUrl(`${number} of ${id}`, proxy.url, { transports: transports.polling, agent: agents.get(id), whole: false, ...COMES_BACK })
    ))));
    assert.deepEqual(watches.map(at), ['app1', 'app1', 'app2', 'app2']);
    const handshake = async (/** @type {string} */ url, /** @type {any} */ agent) => (await fetchRaw(`${url}/socket.io/?EIO=4&transport=polling`, { agent })).status;
    /** Whoever comes there is refused. @param {string} id */
    const fill = (id) => until(async () => (await handshake(cluster.replica(id).url, undefined)) === 503, `${id} to be full`);

    await fill('app1');
    for (let number = 0; number < 8; number += 1) assert.equal(await handshake(proxy.url, agents.get('app1')), 200, `newcomer ${number}`);
    assert.equal(JSON.parse((await fetchRaw(`${proxy.url}/health`, { agent: agents.get('app1') })).text).id, 'app1', 'still in use');
    await fill('app2');
    for (let number = 0; number < 8; number += 1) {
      for (const agent of agents.values()) assert.equal(await handshake(proxy.url, agent), 503, `newcomer ${number}, with both full`);
    }
    await Promise.all(watches.map((watch) => watch.more(10)));
    for (const { name, losses, answers } of watches) assert.deepEqual([name, losses, answers.length], [name, [], 1], proxy.said.slice(-2000));
    assert.doesNotMatch(proxy.said, /no live upstreams/);
    await cluster.level();
  });

  it('WebSocket-only clients need no affinity', async (test) => {
    const { cluster, proxy } = await proxied(test, { balance: 'least_conn' });
    const watches = await Promise.all(Array.from({ length: 6 }, (_, index) => (
      cluster.watchUrl(`client ${index}`, proxy.url, { transports: transports.websocket, ...COMES_BACK })
    )));
    assert.deepEqual([...new Set(watches.map(at))].sort(), IDS);
    await Promise.all(watches.map((watch) => watch.more(20)));
    const { publisher, others: [other] } = await cluster.roles();
    await cluster.replica(publisher).stop('SIGKILL');
    await until(() => watches.every((watch) => at(watch) === other), `all to be at ${other}`, BACK_MS);
    await Promise.all(watches.map((watch) => watch.more(20)));
    await cluster.level();
    await cluster.checkLog();
  });
});
