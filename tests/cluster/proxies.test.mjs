// Each way of choosing a replica that the shipped configurations of the proxies offer, with everything in another place than
// usual: every transport that it is for gets its prices, and what the proxies themselves answer.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { closeAfter, connected, open, request, start, transports, until } from '../support/clients.mjs';
import { Proxy } from '../support/proxy.mjs';
import { fetchRaw } from '../support/raw.mjs';

const PLACE = { basePath: '/feed', socketPath: '/ws', maxPayload: 5000 };
const SYMBOLS = ['BTC', 'ETH'];
const begin = { nginx: Proxy.start, haproxy: (/** @type {any} */ replicas, /** @type {any} */ options) => Proxy.haproxy(replicas, undefined, options) };

/** @type {{ proxy: 'nginx' | 'haproxy', balance: string, lists?: string[][], versions?: string[], cookies?: boolean }[]} */
const variants = [
  { proxy: 'nginx', balance: 'ip_hash' },
  { proxy: 'nginx', balance: 'hash $remote_addr consistent' },
  { proxy: 'nginx', balance: 'least_conn', lists: [transports.websocket] },
  { proxy: 'haproxy', balance: 'source' },
  // By the cookie alone: the clients of Node.js keep one from 4.7 on, where they are told to.
  { proxy: 'haproxy', balance: 'leastconn', versions: ['4.x'], cookies: true },
  { proxy: 'haproxy', balance: 'roundrobin', versions: ['4.x'], cookies: true },
];

describe('proxies', { concurrency: true }, () => {
  for (const { proxy: name, balance, lists = Object.values(transports), versions = ['4.x', '2.x'], cookies = false } of variants) {
    it(`${name}, ${balance}: ${lists.map((list) => list.join('+')).join(', ')}`, async (test) => {
      const env = {
        ...{ BASE_PATH: PLACE.basePath, SOCKET_PATH: PLACE.socketPath, MAX_PAYLOAD: `${PLACE.maxPayload}` },
        ...{ SYMBOLS: SYMBOLS.join(), TRUSTED_PROXIES: '127.0.0.1' },
      };
      const ids = ['app1', 'app2'];
      const replicas = await Promise.all(ids.map((id) => start(test, { ...env, APP_ID: id })));
      const proxy = await begin[name](replicas, { balance, ...PLACE });
      test.after(() => proxy.stop());
      const path = `${PLACE.basePath}${PLACE.socketPath}/`;

      const clients = await Promise.all(versions.flatMap((version) => lists.flatMap((list) => [1, 2, 3].map(async () => {
        const options = cookies ? { withCredentials: true } : {};
        const socket = open(proxy.url, { version, path, transports: list, ...options });
        closeAfter(test, socket);
        const client = { socket, last: list[list.length - 1], ticks: 0, ends: /** @type {string[]} */ ([]), server: '' };
        socket.on('tick', () => (client.ticks += 1));
        socket.on('disconnect', (/** @type {string} */ reason) => client.ends.push(reason));
        await connected(socket);
        const answer = await until(async () => {
          const given = await request(socket, 'subscribe', SYMBOLS);
          return given.snapshot.length === SYMBOLS.length && given;
        }, 'prices');
        client.server = answer.server.id;
        return client;
      }))));
      await until(() => clients.every(({ socket, last, ticks }) => ticks > 20 && socket.io.engine.transport.name === last),
        () => `ticks over the last transport of each: ${JSON.stringify(clients.map(({ last, ticks, ends }) => [last, ticks, ends]))}`);
      assert.deepEqual(clients.flatMap(({ ends }) => ends), [], 'nobody ever had to come back');
      const servers = [...new Set(clients.map(({ server }) => server))].sort();
      // All come from one address.
      assert.deepEqual(servers, ['least_conn', 'leastconn', 'roundrobin'].includes(balance) ? ids : [servers[0]]);

      // What is the proxy's own.
      const at = (/** @type {string} */ place, /** @type {any} */ options = {}) => fetchRaw(`${proxy.url}${PLACE.basePath}${place}`, options);
      assert.equal((await at('/')).status, 200);
      assert.equal((await at('/metrics')).status, 404);
      const large = { method: 'POST', body: 'x'.repeat(PLACE.maxPayload + 1), headers: { 'content-type': 'text/plain' } };
      assert.equal((await at(`${PLACE.socketPath}/?EIO=4&transport=polling&sid=x`, large)).status, 413);
      // Whatever a client says of where it comes from stays at the proxy: this one is on this machine.
      for (const header of [{ 'x-forwarded-for': '192.0.2.1' }, { forwarded: 'for=192.0.2.1' }]) {
        const spoofed = { method: 'POST', body: '{"userId":"nobody"}', headers: { 'content-type': 'application/json', ...header } };
        assert.equal((await at('/api/disconnect', spoofed)).status, 200, JSON.stringify(header));
      }
      const { headers } = await at('/health', { headers: { 'x-request-id': 'one two' } });
      assert.match(String(headers['x-request-id']), /^[0-9a-f-]{16,40}$/);
    });
  }
});
