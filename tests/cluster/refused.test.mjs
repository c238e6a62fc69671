// A Redis that will not do is named, with what is wrong with it; settings of Redis that are wrong, too.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, it } from 'node:test';
import { until } from '../support/clients.mjs';
import { Cluster } from '../support/cluster.mjs';
import { Redis, freePort } from '../support/redis.mjs';
import { binary, startServer } from '../support/server.mjs';

const SECRET = 'not-for-logs';

/**
 * The first command in a text, if it is whole: an array of strings, or a line of words.
 *
 * @param {string} text
 * @returns {{ words: string[], length: number } | null}
 */
function take(text) {
  const line = /^([^*\r\n][^\r\n]*)\r\n/.exec(text);
  if (line) return { words: line[1].split(' '), length: line[0].length };
  const count = /^\*(\d+)\r\n/.exec(text);
  if (!count) return null;
  const words = [];
  let { length } = count[0];
  for (let left = Number(count[1]); left > 0; left -= 1) {
    const size = /^\$(\d+)\r\n/.exec(text.slice(length));
    const start = length + (size?.[0].length ?? 0);
    length = start + Number(size?.[1]) + 2;
    if (!size || text.length < length) return null;
    words.push(text.slice(start, length - 2));
  }
  return { words, length };
}

/** A server that speaks Redis's protocol, and says of itself that it is of some version. */
class Impostor {
  /** @param {string} version @param {{ hello?: boolean }} [options] `hello`: whether it speaks the newer protocol */
  constructor(version, { hello = true } = {}) {
    /** @type {Set<net.Socket>} */
    this.sockets = new Set();
    /** Commands that came. @type {string[]} */
    this.asked = [];
    const bulk = (/** @type {string} */ text) => `$${Buffer.byteLength(text)}\r\n${text}\r\n`;
    /** @param {string[]} words */
    const answer = ([name, second = '']) => {
      switch (`${name} ${name.toUpperCase() === 'CLIENT' ? second : ''}`.trim().toUpperCase()) {
        case 'HELLO':
          if (!hello) return "-ERR unknown command 'HELLO'\r\n";
          return `%3\r\n${bulk('server')}${bulk('redis')}${bulk('version')}${bulk(version)}${bulk('proto')}:3\r\n`;
        case 'CLIENT ID':
          return ':1\r\n';
        case 'INFO':
          return bulk(`# Server\r\nredis_version:${version}\r\nredis_mode:standalone\r\n`);
        case 'PING':
          return '+PONG\r\n';
        case 'CLIENT SETNAME':
        case 'SELECT':
        case 'QUIT':
          return '+OK\r\n';
        default:
          return `-ERR unknown command '${name}'\r\n`;
      }
    };
    this.server = net.createServer((socket) => {
      this.sockets.add(socket);
      let text = '';
      socket.on('error', () => {});
      socket.on('close', () => this.sockets.delete(socket));
      socket.on('data', (data) => {
        text += data.toString('latin1');
        for (let command = take(text); command; command = take(text)) {
          text = text.slice(command.length);
          this.asked.push(command.words.join(' '));
          socket.write(answer(command.words));
        }
      });
    });
  }

  /** @param {any} test @param {number} [port] */
  async listen(test, port = 0) {
    this.server.listen(port, '127.0.0.1');
    await once(this.server, 'listening');
    test.after(() => {
      for (const socket of this.sockets) socket.destroy();
      this.server.close();
    });
    const address = this.server.address();
    assert.ok(address && typeof address === 'object');
    return `redis://127.0.0.1:${address.port}`;
  }
}

/**
 * Runs `tickcast` to its end, which it must come to by itself.
 *
 * @param {any} test
 * @param {Record<string, string>} env
 */
async function outcome(test, env) {
  const child = spawn(binary, [], {
    env: { PATH: process.env.PATH, HOST: '127.0.0.1', PORT: '0', LOG_FORMAT: 'json', ...env },
    stdio: ['ignore', 'inherit', 'pipe'],
  });
  test.after(() => child.kill('SIGKILL'));
  let text = '';
  /** @type {{ code: number | null } | undefined} */
  let ended;
  child.stderr.on('data', (data) => {
    text += data;
  });
  child.once('close', (code) => {
    ended = { code };
  });
  const { code } = await until(() => ended, () => `the end, after:\n${text}`);
  return { code, text };
}

/**
 * A replica that is sure to be gone after the test, and says so if that was not in order.
 *
 * @param {any} test
 * @param {Record<string, string>} env
 */
async function started(test, env) {
  const server = await startServer({ APP_ID: 'app1', SYMBOLS: 'BTC,ETH,SOL', ...env });
  test.after(async () => assert.deepEqual(await server.stop(), { code: 0, signal: null }, server.tail()));
  return server;
}

/** Resolves when a replica says of itself that it cannot use Redis, with why. @param {import('../support/server.mjs').Server} server */
async function degraded(server) {
  await until(async () => (await server.json('/health')).status === 'degraded', 'it to be degraded');
  return (await server.json('/health')).reason;
}

/** Resolves when a server says why: at first it may know no more than that there is no answer. @param {any} server @param {RegExp} why */
const says = (server, why) => until(async () => why.test(await degraded(server)), `it to say ${why}`);

// By itself: a Redis that takes too long to say what it is, on a busy machine, is not waited for.
describe('refused at once', () => {
  it('a Redis that is too old, by name', async (test) => {
    const impostor = new Impostor('6.2.7');
    const url = await impostor.listen(test);
    const { code, text } = await outcome(test, { REDIS_URL: url.replace('//', `//:${SECRET}@`) });
    assert.equal(code, 1, text);
    assert.match(text, /Redis 6\.2\.7 is too old/);
    assert.match(text, /7\.0 or newer/);
    assert.ok(text.includes(url), text);
    assert.ok(!text.includes(SECRET), text);
    assert.ok(!text.includes('listening'), 'before anybody can connect');
  });
});

describe('refused', { concurrency: true }, () => {
  it('one that is older still, and does not speak the protocol', async (test) => {
    const url = await new Impostor('5.0.14', { hello: false }).listen(test);
    const server = await started(test, { REDIS_URL: url });
    await says(server, /HELLO|too old|7\.0/);
  });

  it('one that is too old and comes later: it is not used', async (test) => {
    const port = await freePort();
    const server = await started(test, { REDIS_URL: `redis://127.0.0.1:${port}` });
    await degraded(server);
    const impostor = new Impostor('6.2.7');
    await impostor.listen(test, port);
    await says(server, /Redis 6\.2\.7 is too old/);
    assert.deepEqual(impostor.asked.filter((words) => /XADD|PUBLISH/.test(words)), []);
  });

  it('a password that is wrong or missing, in words that help', async (test) => {
    const redis = await Redis.start({ password: 'right' });
    test.after(() => redis.stop());
    for (const [password, said] of /** @type {[string, RegExp][]} */ ([[SECRET, /WRONGPASS/], ['', /NOAUTH/]])) {
      const server = await started(test, { REDIS_HOST: '127.0.0.1', REDIS_PORT: `${redis.port}`, REDIS_PASSWORD: password });
      await says(server, said);
      const log = () => server.log.map((line) => JSON.stringify(line)).join('\n');
      await until(() => said.test(log()), 'the log to say so');
      const text = log();
      assert.ok(!text.includes(SECRET), text);
    }
  });

  it('one that wants TLS which we do not trust', async (test) => {
    const folder = await mkdtemp(path.join(tmpdir(), 'tickcast-tls-'));
    test.after(() => rm(folder, { recursive: true, force: true }));
    const [key, cert] = [path.join(folder, 'key.pem'), path.join(folder, 'cert.pem')];
    const openssl = spawn('openssl', [
      ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '1'],
      ...['-subj', '/CN=localhost', '-keyout', key, '-out', cert],
    ], { stdio: 'ignore' });
    assert.deepEqual(await once(openssl, 'exit'), [0, null]);
    const port = await freePort();
    const redis = spawn('redis-server', [
      ...['--bind', '127.0.0.1', '--port', '0', '--tls-port', `${port}`, '--tls-auth-clients', 'no', '--dir', folder],
      ...['--tls-cert-file', cert, '--tls-key-file', key, '--save', '', '--appendonly', 'no'],
    ], { stdio: 'ignore' });
    test.after(() => redis.kill('SIGKILL'));
    const server = await started(test, { REDIS_URL: `rediss://localhost:${port}` });
    await says(server, /certificate/i);
  });

  for (const { title, env, mentions } of [
    { title: 'REDIS_URL is none', env: { REDIS_URL: `http://:${SECRET}@host` }, mentions: [/REDIS_URL/, /redis:\/\//] },
    { title: 'REDIS_URL without a host', env: { REDIS_URL: 'redis://' }, mentions: [/REDIS_URL/] },
    { title: 'REDIS_PORT is none', env: { REDIS_HOST: 'host', REDIS_PORT: '70000' }, mentions: [/REDIS_PORT/, /70000/] },
    { title: 'REDIS_HOST is none', env: { REDIS_HOST: 'a host' }, mentions: [/REDIS_HOST/] },
    { title: 'REDIS_ENABLED is none', env: { REDIS_ENABLED: 'perhaps' }, mentions: [/REDIS_ENABLED/, /perhaps/] },
    { title: 'LEASE_TTL is too short', env: { LEASE_TTL: '10' }, mentions: [/LEASE_TTL/, /10/] },
  ]) {
    it(`settings: ${title}`, async (test) => {
      const { code, text } = await outcome(test, env);
      assert.equal(code, 2, text);
      for (const mention of mentions) assert.match(text, mention);
      assert.ok(!text.includes(SECRET), text);
    });
  }

  it('settings: in parts, with a password and a user', async (test) => {
    const redis = await Redis.start({ password: 'right' });
    const cluster = new Cluster(test, redis, {});
    test.after(() => cluster.stop());
    await redis.ask('ACL', 'SETUSER', 'feed', 'on', `>${SECRET}`, '~*', '&*', '+@all');
    const parts = { REDIS_URL: '', REDIS_HOST: '127.0.0.1', REDIS_PORT: `${redis.port}` };
    await Promise.all([
      cluster.add('url'),
      cluster.add('parts', { ...parts, REDIS_PASSWORD: 'right' }),
      cluster.add('user', { ...parts, REDIS_USERNAME: 'feed', REDIS_PASSWORD: SECRET }),
      cluster.add('both', { REDIS_URL: `redis://feed:${SECRET}@127.0.0.1:${redis.port}` }),
    ]);
    await until(async () => {
      const { nodes } = await cluster.replica('user').json('/stats?scope=cluster');
      return nodes.map((/** @type {any} */ { id }) => id).join() === 'both,parts,url,user';
    }, 'all of them to be there');
    await cluster.roles();
    for (const server of cluster.replicas.values()) {
      assert.ok(!server.log.some((line) => JSON.stringify(line).includes(SECRET)));
    }
  });

  it('settings: REDIS_ENABLED=false runs alone', async (test) => {
    const server = await started(test, { REDIS_ENABLED: 'false', REDIS_URL: 'redis://127.0.0.1:1' });
    assert.equal((await server.json('/health')).bus.kind, 'local');
  });
});
