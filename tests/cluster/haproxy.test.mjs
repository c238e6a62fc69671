// Through the real HAProxy, with the configuration that is shipped: every kind of client, front and back apart, and a
// replica that drains.
import assert from 'node:assert/strict';
import http from 'node:http';
import { describe, it } from 'node:test';
import { Resuming } from '../../demo/resuming.mjs';
import { connected, next, open, transports, until, versions } from '../support/clients.mjs';
import { Cluster, SYMBOLS } from '../support/cluster.mjs';
import { acquainted } from '../support/people.mjs';
import { Proxy } from '../support/proxy.mjs';
import { fetchRaw } from '../support/raw.mjs';

/** How clients of this test come back: quickly. */
const COMES_BACK = { reconnection: true, reconnectionDelay: 50, reconnectionDelayMax: 500 };

/** How long clients may need to be back (ms). */
const BACK_MS = 30_000;

describe('haproxy', { concurrency: true }, () => {
  it('every kind of client, by its address; all come back without a hole when theirs drains', async (test) => {
    const ids = ['app1', 'app2', 'app3', 'app4'];
    const env = { DRAIN_SPREAD: '2000', DRAIN_DEADLINE: '8000', API_OPEN: 'true', TRUSTED_PROXIES: '127.0.0.1' };
    const cluster = await Cluster.start(test, { ids, env });
    const proxy = await Proxy.haproxy(ids.map((id) => cluster.replica(id)));
    cluster.undo.push(() => proxy.stop());
    const { publisher: gone } = await cluster.roles();
    const agents = await proxy.agentsTo([gone]);
    const kinds = versions.flatMap((version) => Object.entries(transports).map(([name, list]) => ({ version, name, list })));
    const clients = await Promise.all(kinds.map(async ({ version, name, list }) => {
      const socket = open(proxy.url, { version, transports: list, agent: agents.get(gone), ...COMES_BACK });
      cluster.undo.push(() => socket.close());
      const client = new Resuming(socket, SYMBOLS);
      await connected(socket);
      return { kind: `${version} ${name}`, last: list[list.length - 1], client };
    }));
    await until(() => clients.every(({ client }) => client.server === gone && client.ticks >= 30), `ticks from ${gone}`);
    for (const { kind, last, client } of clients) {
      await until(() => client.socket.io.engine.transport.name === last, `${kind} to use ${last}`);
      assert.equal(client.servers.length, 1, `${kind} never had to come back`);
    }

    const drained = await fetch(`${cluster.replica(gone).url}/api/drain`, { method: 'POST' });
    assert.equal(drained.status, 202);
    await until(() => clients.every(({ client }) => client.server && client.server !== gone),
      () => `all to be elsewhere: ${JSON.stringify(clients.map(({ kind, client }) => [kind, client.servers, client.cuts]))}`, BACK_MS);
    const seen = clients.map(({ client }) => client.ticks);
    await until(() => clients.every(({ client }, index) => client.ticks > seen[index] + 20), 'more ticks');
    for (const { kind, last, client: { missed, repeated, epochChanges, refusals, drains } } of clients) {
      assert.deepEqual({ kind, missed, repeated, epochChanges, refusals }, { kind, missed: 0, repeated: 0, epochChanges: 0, refusals: [] });
      // Who polls without a cookie is taken away as soon as the replica is not ready: between two polls nothing can be told.
      assert.ok(drains.length === 1 || (last === 'polling' && drains.length === 0), `${kind} was told`);
    }
    assert.deepEqual(await cluster.replica(gone).exited, { code: 0, signal: null });
  });

  it('who polls stays where its cookie says, until its slot where that replica drains', async (test) => {
    const ids = ['app1', 'app2'];
    const cluster = await Cluster.start(test, { ids, env: { DRAIN_SPREAD: '16000', DRAIN_DEADLINE: '32000' } });
    // It would choose another for each request that has no cookie.
    const proxy = await Proxy.haproxy(ids.map((id) => cluster.replica(id)), undefined, { balance: 'roundrobin' });
    cluster.undo.push(() => proxy.stop());
    const endpoint = `${proxy.url}/socket.io/?EIO=4&transport=polling`;
    const idOf = async (headers = {}) => JSON.parse((await fetchRaw(`${proxy.url}/health`, { headers })).text).id;
    const first = await fetchRaw(endpoint);
    const [cookie] = String(first.headers['set-cookie']).split(';');
    assert.match(cookie, /^tickcast=front[12]$/);
    const id = await idOf({ cookie });
    const handshakes = [first, await fetchRaw(endpoint, { headers: { cookie } })];
    const urls = handshakes.map(({ text }) => `${endpoint}&sid=${JSON.parse(text.slice(1)).sid}`);
    const post = async (/** @type {string} */ url, /** @type {string} */ body, headers = {}) => (
      (await fetchRaw(url, { method: 'POST', body, headers })).status
    );
    for (const url of urls) assert.equal(await post(url, '40', { cookie }), 200);
    // Without the cookie one of two requests is for the other replica, which does not know the session.
    assert.deepEqual([await post(urls[0], '3'), await post(urls[0], '3')].sort(), [200, 400]);
    await until(async () => (await cluster.replica(id).json('/stats')).connections.active === 2, 'both');

    const server = cluster.replica(id);
    const other = cluster.replica(ids.find((each) => each !== id) ?? '');
    server.child.kill('SIGTERM');
    const known = until(async () => (await other.json('/stats?scope=cluster')).nodes.find((/** @type {any} */ node) => node.id === id)?.status === 'draining',
      'the others to know that it drains');
    known.catch(() => {});
    await until(async () => (await idOf()) !== id && (await idOf()) !== id, 'nobody new to go there');
    // The first has gone in its slot, the second is there for eight seconds.
    const statuses = await Promise.all(urls.map((url) => post(url, '3', { cookie })));
    assert.ok(statuses.includes(200), `${statuses}`);
    // It is told through the proxy, too.
    const heard = async (/** @type {string} */ url) => {
      let said = '';
      for (;;) {
        const { status, text } = await fetchRaw(url, { headers: { cookie } });
        said += text;
        if (status !== 200 || said.includes('42["drain",')) return said;
      }
    };
    const said = await Promise.all(urls.map(heard));
    assert.ok(said.some((text) => text.includes('42["drain",')), `${said}`);
    await known;
    assert.deepEqual(await server.exited, { code: 0, signal: null });
    assert.notEqual(await idOf({ cookie }), id, 'then the cookie is for the other one');
  });

  it('front and back are replicas of their own, by path, for one host', async (test) => {
    const host = 'www.node-services-1.com';
    const env = { API_OPEN: 'true', TRUSTED_PROXIES: '127.0.0.1' };
    const cluster = await Cluster.start(test, { ids: ['front1', 'front2'], env, each: () => ({ ROLE: 'front' }) });
    for (const id of ['back1', 'back2']) {
      await cluster.add(id, { ROLE: 'back' });
      await cluster.begun(id);
    }
    const of = (/** @type {string} */ side) => [1, 2].map((number) => cluster.replica(`${side}${number}`));
    // Each hears what is said at any other.
    await acquainted([...of('front'), ...of('back')].map(({ url }) => url), 'nobody', 0);
    const proxy = await Proxy.haproxy(of('front'), of('back'), { host });
    cluster.undo.push(() => proxy.stop());
    const ask = (/** @type {string} */ path, options = {}) => fetchRaw(`${proxy.url}${path}`, { headers: { host, 'content-type': 'application/json' }, ...options });
    const idOf = async (/** @type {string} */ path) => JSON.parse((await ask(path)).text).id;
    assert.match(await idOf('/health'), /^front[12]$/);
    const backs = new Set([await idOf('/api/status'), await idOf('/api/status')]);
    assert.deepEqual([...backs].sort(), ['back1', 'back2']);
    assert.equal((await fetchRaw(`${proxy.url}/health`)).status, 421, 'another host');
    assert.equal((await ask('/metrics')).status, 404);

    // As in a browser in a room of the front, and a back end that speaks to it through the back. The name is looked up
    // here: it is nobody's.
    const lookup = (/** @type {any} */ _, /** @type {any} */ { all }, /** @type {any} */ found) => (
      all ? found(null, [{ address: '127.0.0.1', family: 4 }]) : found(null, '127.0.0.1', 4)
    );
    const agent = new http.Agent({ keepAlive: true, ...{ lookup } });
    cluster.undo.push(() => agent.destroy());
    const named = `http://${host}:${new URL(proxy.url).port}`;
    const sockets = Object.values(transports).map((list) => open(named, { transports: list, agent }));
    for (const socket of sockets) {
      cluster.undo.push(() => socket.close());
      await connected(socket);
      assert.equal((await socket.timeout(20_000).emitWithAck('join', { room: 'roomb' })).ok, true);
    }
    const heard = sockets.map((socket) => next(socket, 'chat-message'));
    const said = await ask('/back/message', { method: 'POST', body: JSON.stringify({ room: 'roomb', message: 'A simple message' }) });
    assert.equal(said.status, 200, said.text);
    assert.equal((await Promise.all(heard)).length, 3);
  });
});
