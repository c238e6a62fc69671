// A real Redis of a test's own, and a way to it that can be cut.
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { within } from './clients.mjs';

const run = promisify(execFile);

/** Ports that nobody gets who asks for any: what listened there finds its port free when it is started again. */
const PORTS = { least: 12_000, most: 32_000 };

/** How often another port is tried. */
const ATTEMPTS = 20;

/** How much of the log a test may read (bytes). */
const ANSWER_BYTES = 64 * 1024 * 1024;

/** The log of ticks in Redis. */
export const LOG = 'tickcast:{bus}:stream';

/** A port on which nobody listens. */
export async function freePort() {
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const port = PORTS.least + Math.floor(Math.random() * (PORTS.most - PORTS.least));
    const server = net.createServer();
    const free = await new Promise((resolve) => {
      server.once('error', () => resolve(false));
      server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
    });
    if (free) return port;
  }
  throw new Error(`no free port in ${ATTEMPTS} attempts`);
}

/** One Redis, which keeps nothing when it ends. */
export class Redis {
  /** @param {{ port?: number, password?: string, args?: string[] }} options `args`: settings of the server besides */
  constructor({ port, password, args = [] }) {
    this.fixed = port !== undefined;
    this.port = port ?? 0;
    this.password = password;
    this.args = args;
    this.folder = '';
    /** @type {import('node:child_process').ChildProcess | undefined} */
    this.child = undefined;
  }

  /**
   * Starts one, on a free port unless another is wanted, and resolves when it answers.
   *
   * @param {ConstructorParameters<typeof Redis>[0]} [options]
   */
  static async start(options = {}) {
    const redis = new Redis(options);
    for (let attempt = 1; ; attempt += 1) {
      if (!redis.fixed) redis.port = await freePort();
      try {
        await redis.begin();
        return redis;
      } catch (error) {
        // Somebody else may have taken the port a moment ago.
        if (redis.fixed || attempt === ATTEMPTS) throw error;
      }
    }
  }

  get url() {
    return `redis://${this.password ? `:${this.password}@` : ''}127.0.0.1:${this.port}`;
  }

  /** Starts the process: empty, but for what a `SAVE` before its end has saved. */
  async begin() {
    this.folder ||= await mkdtemp(path.join(tmpdir(), 'tickcast-redis-'));
    const child = spawn(
      'redis-server',
      [
        ...['--bind', '127.0.0.1', '--port', `${this.port}`, '--dir', this.folder],
        ...['--save', '', '--appendonly', 'no', ...(this.password ? ['--requirepass', this.password] : [])],
        ...this.args,
      ],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    this.child = child;
    /** @type {string[]} */
    const said = [];
    await within(
      new Promise((resolve, reject) => {
        createInterface({ input: child.stdout }).on('line', (line) => {
          said.push(line);
          if (line.includes('Ready to accept connections')) resolve(undefined);
        });
        child.once('error', reject);
        child.once('exit', () => reject(new Error(`redis-server ended:\n${said.join('\n')}`)));
      }),
      'Redis',
    );
  }

  /** What was saved before is gone, too: it begins with nothing. */
  async forget() {
    await rm(path.join(this.folder, 'dump.rdb'), { force: true });
  }

  /** Ends it at once, as a crash would; what it knew is gone. */
  async kill() {
    const { child } = this;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, 'exit');
    child.kill('SIGKILL');
    await gone;
  }

  /** Ends it for good. */
  async stop() {
    await this.kill();
    if (this.folder) await rm(this.folder, { recursive: true, force: true });
  }

  /**
   * The answer to a command.
   *
   * @param {...string} words
   * @returns {Promise<any>}
   */
  async ask(...words) {
    const { stdout } = await run('redis-cli', ['-p', `${this.port}`, '--json', '-e', ...words], {
      env: { PATH: process.env.PATH, ...(this.password ? { REDISCLI_AUTH: this.password } : {}) },
      maxBuffer: ANSWER_BYTES,
    });
    return JSON.parse(stdout);
  }

  /**
   * The entries of the log, oldest first.
   *
   * @returns {Promise<{ id: string, epoch: string, ticks: any[], restated: boolean }[]>} `restated`: nobody made these now, an
   *   epoch begins with what was known. Candles of the past are not among them
   */
  async log() {
    /** @type {[string, string[]][]} */
    const entries = await this.ask('XRANGE', LOG, '-', '+');
    return entries.map(([id, words]) => {
      const fields = Object.fromEntries(words.flatMap((word, at) => (at % 2 ? [] : [[word, words[at + 1]]])));
      const { epoch, ticks, restated, fill, ...strange } = fields;
      if (fill) assert.equal(ticks, '[]', id);
      assert.deepEqual(strange, {}, id);
      return { id, epoch, ticks: JSON.parse(ticks), restated: restated === '1' };
    });
  }
}

/** One connection over a [`Cable`]. */
class Strand {
  /** @param {Cable} cable @param {net.Socket} here @param {net.Socket} there */
  constructor(cable, here, there) {
    this.ends = [here, there];
    /** Whether what is on its way to Redis comes there although who said it is gone. */
    this.left = false;
    /** What waits on each way. @type {{ to: net.Socket, waiting: Buffer[] }[]} */
    this.ways = [];
    for (const [from, to, asks] of /** @type {[net.Socket, net.Socket, boolean][]} */ ([[here, there, true], [there, here, false]])) {
      const way = { to, waiting: /** @type {Buffer[]} */ ([]) };
      this.ways.push(way);
      from.on('data', (/** @type {Buffer} */ data) => {
        const wait_ms = asks ? 0 : cable.pass(data.length);
        if (wait_ms > 0) {
          from.pause();
          setTimeout(() => {
            if (!to.destroyed) to.write(data);
            from.resume();
          }, wait_ms);
        // What follows something held is held, too.
        } else if (way.waiting.length > 0 || cable.holds(data, asks)) way.waiting.push(data);
        else to.write(data);
      });
      from.on('error', () => {});
      from.on('close', () => {
        cable.strands.delete(this);
        if (!this.left || from === there) to.destroy();
      });
    }
  }

  flush() {
    for (const { to, waiting } of this.ways) for (const data of waiting.splice(0)) to.write(data);
  }

  cut() {
    for (const end of this.ends) end.destroy();
  }
}

/** A way to a Redis that can be cut, or be silent, and comes back. */
export class Cable {
  /** @param {number} port */
  constructor(port) {
    this.target = port;
    this.server = net.createServer((here) => {
      if (this.severed) here.destroy();
      else this.strands.add(new Strand(this, here, net.connect(this.target, '127.0.0.1')));
    });
    this.severed = false;
    /** @type {Set<Strand>} */
    this.strands = new Set();
    /** What is not let through: bytes, and whether they are a question to Redis. @type {(data: Buffer, asks: boolean) => boolean} */
    this.holds = () => false;
    /** How often something was held. */
    this.held = 0;
    /** How fast answers pass (bytes/s), and when the way is free for the next one. */
    this.rate = Infinity;
    this.free_at = 0;
    /** How much later answers come (ms). */
    this.delay_ms = 0;
  }

  /** From now on answers pass no faster than this. @param {number} rate bytes/s */
  slow(rate) {
    this.rate = rate;
  }

  /** From now on each answer takes so much longer. @param {number} delay_ms */
  late(delay_ms) {
    this.delay_ms = delay_ms;
  }

  /** How long an answer of so many bytes needs (ms). @param {number} bytes */
  pass(bytes) {
    if (this.rate === Infinity) return this.delay_ms;
    const now = performance.now();
    this.free_at = Math.max(this.free_at, now) + (bytes / this.rate) * 1000;
    return this.free_at - now;
  }

  /** @param {Redis} redis */
  static async to(redis) {
    const cable = new Cable(redis.port);
    cable.server.listen(0, '127.0.0.1');
    await once(cable.server, 'listening');
    return cable;
  }

  get port() {
    const address = this.server.address();
    assert.ok(address && typeof address === 'object');
    return address.port;
  }

  get url() {
    return `redis://127.0.0.1:${this.port}`;
  }

  /** Ends every connection, and lets none come about. */
  cut() {
    this.severed = true;
    for (const strand of this.strands) strand.cut();
  }

  /**
   * Ends the connections on which a question is held as whoever asked sees it, and holds nothing any more: what was asked
   * waits as it may in a proxy. The answer brings it to Redis after all, and resolves when Redis has answered.
   */
  strand() {
    this.holds = () => false;
    const strands = [...this.strands].filter(({ ways: [asked] }) => asked.waiting.length > 0);
    assert.ok(strands.length > 0, 'something is held');
    for (const strand of strands) {
      strand.left = true;
      strand.ends[0].destroy();
    }
    return () => Promise.all(strands.map(async (strand) => {
      const [, there] = strand.ends;
      const answered = once(there, 'data');
      strand.flush();
      await answered;
      there.destroy();
    }));
  }

  /** Leads to another Redis from now on, as an address does that a failover moves. @param {Redis} redis */
  turn({ port }) {
    this.cut();
    this.target = port;
    this.severed = false;
    this.holds = () => false;
  }

  /** As if nothing had been. */
  mend() {
    this.severed = false;
    this.holds = () => false;
    for (const strand of this.strands) strand.flush();
  }

  /**
   * From now on is silent about some of what is said, and all that follows it on the same connection.
   *
   * @param {(data: Buffer, asks: boolean) => boolean} [which]
   */
  hold(which = () => true) {
    this.holds = (data, asks) => {
      const held = which(data, asks);
      if (held) this.held += 1;
      return held;
    };
  }

  stop() {
    this.cut();
    return new Promise((resolve) => this.server.close(resolve));
  }
}
