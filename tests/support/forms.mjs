// Redis in more than one process: a cluster, and a primary with a replica that sentinels look after.
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { until } from './clients.mjs';
import { LOG, Redis, freePort } from './redis.mjs';

const run = promisify(execFile);

/** How long nodes may need to find each other (ms). */
const FOUND_MS = 30_000;

/** After what silence a node counts as dead (ms). */
const DEAD_AFTER_MS = 1000;

/** Three nodes that share the keys. */
export class RedisCluster extends Redis {
  /** @param {Redis[]} nodes */
  constructor(nodes) {
    super({ port: nodes[0].port });
    this.nodes = nodes;
  }

  static async start() {
    const nodes = await Promise.all([1, 2, 3].map(async () => Redis.start({
      args: ['--cluster-enabled', 'yes', '--cluster-node-timeout', `${DEAD_AFTER_MS}`, '--cluster-port', `${await freePort()}`],
    })));
    const cluster = new RedisCluster(nodes);
    await run('redis-cli', ['--cluster', 'create', ...nodes.map(({ port }) => `127.0.0.1:${port}`), '--cluster-yes']);
    await cluster.whole();
    return cluster;
  }

  get url() {
    const [first, ...others] = this.nodes.map(({ port }) => `127.0.0.1:${port}`);
    return `redis-cluster://${first}?${others.map((other) => `node=${other}`).join('&')}`;
  }

  /** Resolves when every node knows that all keys have a place. */
  async whole() {
    const isWhole = async (/** @type {Redis} */ { port }) => (await run('redis-cli', ['-p', `${port}`, 'CLUSTER', 'INFO'])).stdout.includes('cluster_state:ok');
    await until(async () => (await Promise.all(this.nodes.map(isWhole))).every(Boolean), 'the cluster', FOUND_MS);
  }

  /** @param {string[]} words */
  ask(...words) {
    return this.nodes[0].ask('-c', ...words);
  }

  /** The node that has the log. */
  async ofLog() {
    const slot = await this.nodes[0].ask('CLUSTER', 'KEYSLOT', LOG);
    /** @type {[number, number, [string, number]][]} */
    const slots = await this.nodes[0].ask('CLUSTER', 'SLOTS');
    const found = slots.find(([first, last]) => first <= slot && slot <= last);
    const node = this.nodes.find(({ port }) => port === found?.[2][1]);
    assert.ok(node);
    return node;
  }

  async stop() {
    await Promise.all(this.nodes.map((node) => node.stop()));
  }
}

/** A primary, a replica of it, and three sentinels. */
export class RedisSentinels extends Redis {
  /** @param {Redis} primary @param {Redis} replica */
  constructor(primary, replica) {
    super({ port: primary.port });
    this.servers = [primary, replica];
    /** @type {{ port: number, folder: string, child: import('node:child_process').ChildProcess }[]} */
    this.sentinels = [];
  }

  static async start() {
    const primary = await Redis.start();
    const replica = await Redis.start({ args: ['--replicaof', '127.0.0.1', `${primary.port}`] });
    const set = new RedisSentinels(primary, replica);
    for (let count = 0; count < 3; count += 1) {
      const [port, folder] = [await freePort(), await mkdtemp(path.join(tmpdir(), 'tickcast-sentinel-'))];
      const file = path.join(folder, 'sentinel.conf');
      await writeFile(file, [
        `port ${port}`,
        'bind 127.0.0.1',
        `dir ${folder}`,
        `sentinel monitor prices 127.0.0.1 ${primary.port} 2`,
        `sentinel down-after-milliseconds prices ${DEAD_AFTER_MS}`,
        'sentinel failover-timeout prices 5000',
        '',
      ].join('\n'));
      const child = spawn('redis-server', [file, '--sentinel'], { stdio: ['ignore', 'ignore', 'inherit'] });
      set.sentinels.push({ port, folder, child });
    }
    await until(async () => (await Promise.all(set.sentinels.map(async ({ port }) => {
      const { stdout } = await run('redis-cli', ['-p', `${port}`, 'SENTINEL', 'MASTER', 'prices']).catch(() => ({ stdout: '' }));
      const words = stdout.split('\n');
      const of = (/** @type {string} */ name) => words[words.indexOf(name) + 1];
      return of('num-other-sentinels') === '2' && of('num-slaves') === '1' && of('flags') === 'master';
    }))).every(Boolean), 'the sentinels to know each other', FOUND_MS);
    return set;
  }

  get url() {
    const [first, ...others] = this.sentinels.map(({ port }) => `127.0.0.1:${port}`);
    return `redis-sentinel://${first}?sentinelServiceName=prices&${others.map((other) => `node=${other}`).join('&')}`;
  }

  /** The one that takes writes, as the sentinels say. */
  async primary() {
    const { stdout } = await run('redis-cli', ['-p', `${this.sentinels[0].port}`, 'SENTINEL', 'GET-MASTER-ADDR-BY-NAME', 'prices']);
    const found = this.servers.find(({ port }) => stdout.split('\n')[1] === `${port}`);
    assert.ok(found, stdout);
    return found;
  }

  /** @param {string[]} words */
  async ask(...words) {
    return (await this.primary()).ask(...words);
  }

  async stop() {
    await Promise.all(this.sentinels.map(async ({ child, folder }) => {
      const gone = once(child, 'exit');
      child.kill('SIGKILL');
      await gone;
      await rm(folder, { recursive: true, force: true });
    }));
    await Promise.all(this.servers.map((server) => server.stop()));
  }
}
