// Starts the real server binary for a test, on a free port, and stops it again.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../', import.meta.url));

/** The binary under test: `TICKCAST_BIN`, else the debug build. */
export const binary = process.env.TICKCAST_BIN ?? `${root}target/debug/tickcast`;

/** How long a start or a stop may take before a test fails (ms); generous, for a busy machine. */
const DEADLINE_MS = 30_000;

/** A Redis that a busy machine keeps from answering makes no islands. */
export const NO_ISLANDS = { ISLAND_AFTER: '600000' };

/**
 * Starts `tickcast` with the given settings and resolves once it listens.
 *
 * @param {Record<string, string>} [env] settings by variable name, over fast test defaults
 * @returns {Promise<Server>}
 */
export async function startServer(env = {}) {
  const child = spawn(binary, [], {
    cwd: root,
    env: {
      PATH: process.env.PATH,
      HOST: '127.0.0.1',
      PORT: '0',
      UPDATE_INTERVAL: '50',
      LOG_FORMAT: 'json',
      // Tests ask in bursts; those of the limits set their own.
      MAX_MESSAGES_PER_SECOND: '0',
      MAX_CHATS_PER_SECOND: '0',
      // All at once; those of the drain set their own.
      DRAIN_SPREAD: '0',
      ...env,
    },
    stdio: ['ignore', 'inherit', 'pipe'],
  });
  const server = new Server(child);
  try {
    server.url = await server.logged((line) => line.fields?.message === 'listening').then((line) => line.fields.url);
  } catch (error) {
    child.kill('SIGKILL');
    throw error;
  }
  return server;
}

/** A running server: where it listens, what it logged, how to stop it. */
export class Server {
  /** @param {import('node:child_process').ChildProcess} child */
  constructor(child) {
    this.child = child;
    this.url = '';
    /** Every log line so far, parsed. @type {any[]} */
    this.log = [];
    // Closed, not only ended: then all that it has said has been read.
    this.ended = false;
    this.exited = once(child, 'close').then(([code, signal]) => {
      this.ended = true;
      return { code, signal };
    });
    /** @type {Set<() => void>} */
    this.watchers = new Set();
    createInterface({ input: child.stderr }).on('line', (text) => {
      let line;
      try {
        line = JSON.parse(text);
      } catch {
        line = { text };
      }
      this.log.push(line);
      for (const look of this.watchers) look();
    });
    this.exited.then(() => {
      for (const look of this.watchers) look();
    });
  }

  /** The port it listens on, as a string (fit for a `PORT` of a restarted server). */
  get port() {
    return new URL(this.url).port;
  }

  /**
   * Resolves with the first log line, past or to come, for which `wanted` holds.
   *
   * @param {(line: any) => boolean} wanted
   */
  logged(wanted) {
    return new Promise((resolve, reject) => {
      const done = (finish, value) => {
        clearTimeout(timer);
        this.watchers.delete(look);
        finish(value);
      };
      const look = () => {
        const found = this.log.find(wanted);
        if (found) done(resolve, found);
        else if (this.ended) {
          done(reject, new Error(`the server ended (${this.child.exitCode ?? this.child.signalCode}):\n${this.tail()}`));
        }
      };
      const timer = setTimeout(
        () => done(reject, new Error(`not logged within ${DEADLINE_MS} ms:\n${this.tail()}`)),
        DEADLINE_MS,
      );
      this.watchers.add(look);
      look();
    });
  }

  tail() {
    return this.log.slice(-20).map((line) => JSON.stringify(line)).join('\n');
  }

  /** `GET path` as JSON. @param {string} path */
  async json(path) {
    const response = await fetch(this.url + path, { signal: AbortSignal.timeout(DEADLINE_MS) });
    return response.json();
  }

  /**
   * Sends a signal and resolves with how the process ended.
   *
   * @param {NodeJS.Signals} [signal]
   * @returns {Promise<{code: number | null, signal: string | null}>}
   */
  async stop(signal = 'SIGTERM') {
    if (this.child.exitCode === null && this.child.signalCode === null) this.child.kill(signal);
    const timer = setTimeout(() => this.child.kill('SIGKILL'), DEADLINE_MS);
    try {
      return await this.exited;
    } finally {
      clearTimeout(timer);
    }
  }
}
