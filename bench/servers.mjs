// The servers that are compared: how each is started, on which settings, and how it is stopped.
import { spawn } from 'node:child_process';
import { accessSync, constants, copyFileSync, mkdirSync } from 'node:fs';
import { createServer } from 'node:net';
import { basename, join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

/** The repository. */
export const root = fileURLToPath(new URL('../', import.meta.url));

/** How long a start and a stop may take, and how often it is asked (ms). */
const START_MS = 30_000;
const STOP_MS = 15_000;
const POLL_MS = 50;
/** The last of what a server said that is kept, in characters. */
const TAIL = 4_000;

/** Well-known symbols come first; the others are made up. */
const KNOWN = ['BTC', 'ETH', 'SOL', 'ADA', 'XRP'];

/** What cannot be measured, in words for who started us. */
export class Refusal extends Error {}

/** So many symbols. @param {number} count */
export function symbols(count) {
  const made = Array.from({ length: Math.max(0, count - KNOWN.length) }, (_, i) => `S${String(i).padStart(3, '0')}`);
  return [...KNOWN, ...made].slice(0, count);
}

/** Where cargo puts release builds. */
export function releaseFolder() {
  return join(resolve(root, process.env.CARGO_TARGET_DIR || 'target'), 'release');
}

/**
 * Every server, by name, and the load tester.
 *
 * @param {{bin?: string, baseline?: string}} options binaries of tickcast
 */
export function servers({ bin, baseline } = {}) {
  const built = (name) => ({ command: join(releaseFolder(), name), args: [] });
  const quiet = { LOG_LEVEL: 'warn' };
  const all = {
    tickcast: { ...(bin ? { command: resolve(bin), args: [] } : built('tickcast')), env: quiet },
    node: {
      command: process.execPath,
      args: [join(root, 'loadtest/peers/node/index.js')],
      env: { NODE_ENV: 'production' },
    },
    rooms: { ...built('tickcast-peer-rooms'), env: {} },
    floor: { ...built('tickcast-peer-floor'), env: {} },
    loadtest: { ...built('tickcast-loadtest'), env: {} },
  };
  return baseline ? { ...all, baseline: { command: resolve(baseline), args: [], env: quiet } } : all;
}

/**
 * Copies of the programs, which no build during the run can change.
 *
 * @param {Record<string, {command: string, args: string[], env: Record<string, string>}>} programs
 * @param {string} folder
 */
export function keep(programs, folder) {
  return Object.fromEntries(
    Object.entries(programs).map(([name, program]) => {
      if (program.command === process.execPath) return [name, program];
      const command = join(folder, name, basename(program.command));
      mkdirSync(join(folder, name));
      readable(name, program.command);
      copyFileSync(program.command, command);
      return [name, { ...program, command }];
    }),
  );
}

function readable(name, file) {
  try {
    accessSync(file, constants.R_OK);
  } catch {
    throw new Refusal(`${name}: there is no ${file}: \`make bench\` builds what is measured`);
  }
}

/** A port that is free now. @returns {Promise<number>} */
function freePort() {
  return new Promise((done, fail) => {
    const probe = createServer().once('error', fail);
    probe.listen(0, '127.0.0.1', () => {
      const { port } = probe.address();
      probe.close(() => done(port));
    });
  });
}

/**
 * Starts a server and waits until it is well.
 *
 * @param {string} name of the server, for words
 * @param {{command: string, args: string[], env: Record<string, string>}} server
 * @param {{symbols: string[], interval_ms: number}} feed
 * @param {AbortSignal} [signal] kills it
 */
export async function start(name, { command, args, env }, feed, signal) {
  signal?.throwIfAborted();
  for (const file of [command, ...args]) readable(name, file);
  const port = await freePort();
  const settings = {
    PATH: process.env.PATH,
    HOST: '127.0.0.1',
    PORT: String(port),
    SYMBOLS: feed.symbols.join(','),
    UPDATE_INTERVAL: String(feed.interval_ms),
    ...env,
  };
  // A socket per client, on any machine that allows it. Not the repository as its folder: there may be a file `.env`.
  const child = spawn('sh', ['-c', 'ulimit -n "$(ulimit -Hn)" && exec "$@"', 'sh', command, ...args], {
    cwd: '/',
    env: settings,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const server = new Running(name, child, `http://127.0.0.1:${port}`);
  const kill = () => child.kill('SIGKILL');
  signal?.addEventListener('abort', kill);
  server.ended.then(() => signal?.removeEventListener('abort', kill));
  try {
    await server.well();
    return server;
  } catch (error) {
    kill();
    throw error;
  }
}

/** A server that runs. */
class Running {
  constructor(name, child, url) {
    this.name = name;
    this.child = child;
    this.url = url;
    this.said = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (text) => {
        this.said = (this.said + text).slice(-TAIL);
      });
    }
    /** How it ended; null while it runs. @type {string | null} */
    this.how = null;
    this.ended = new Promise((done) => {
      child.once('error', (error) => done(error.message));
      child.once('exit', (code, signal) => done(signal ?? `exit code ${code}`));
    }).then((how) => {
      this.how = how;
    });
  }

  get pid() {
    return this.child.pid;
  }

  /** Waits until it serves, and has had its first price. */
  async well() {
    const end = Date.now() + START_MS;
    while (this.how === null && Date.now() < end) {
      try {
        const response = await fetch(`${this.url}/health`, { signal: AbortSignal.timeout(1_000) });
        await response.arrayBuffer();
        if (response.ok) return;
      } catch {
        // Not yet.
      }
      await sleep(POLL_MS);
    }
    throw new Refusal(`${this.name} did not start: ${this.how ?? `not well after ${START_MS} ms`}\n${this.said}`);
  }

  /** Asks it to end; with clients there, most of that is their leaving. */
  async stop() {
    if (this.how !== null) return;
    this.child.kill('SIGTERM');
    const timer = setTimeout(() => this.child.kill('SIGKILL'), STOP_MS);
    await this.ended;
    clearTimeout(timer);
  }
}
