// The programs of the demo: started, shown, waited for and stopped.
import { spawn } from 'node:child_process';
import { connect } from 'node:net';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';

import { Refusal, root } from './settings.mjs';

/** How long a part may take to be ready (ms); generous, for a busy machine. */
const READY_MS = 60_000;
/** How often it is asked, and how long its answer may take (ms). */
const POLL_MS = 100;
const ANSWER_MS = 2_000;

/** Kills what is left and cleans up when its input ends, which it does even if the demo itself is killed. */
const GUARD = 'while read -r id; do ids="$ids -$id"; done; kill -s KILL -- $ids 2>/dev/null; rm -rf "$1"';

/** A program that runs, or did. */
class Part {
  constructor(name, child) {
    this.name = name;
    this.child = child;
    /** How it ended; null while it runs. @type {string | null} */
    this.ended = null;
    /** Resolves when it ended. */
    this.gone = new Promise((resolve) => {
      child.once('error', (error) => resolve(error.message));
      child.once('exit', (code, signal) => resolve(signal ?? `exit code ${code}`));
    }).then((how) => {
      this.ended = how;
    });
  }

  kill() {
    try {
      // With all that it started: nginx has workers.
      if (this.ended === null) process.kill(-this.child.pid, 'SIGKILL');
    } catch {
      // It ended just now.
    }
  }
}

/** All of them. */
export class Parts {
  /**
   * @param {string} folder what goes when they have gone
   * @param {number} width of the names
   */
  constructor(folder, width) {
    this.width = width;
    /** @type {Part[]} */
    this.all = [];
    this.stopping = false;
    /** Called with a part that ended by itself. @type {(part: Part) => void} */
    this.onEnd = () => {};
    this.guard = spawn('sh', ['-c', GUARD, 'guard', folder], { stdio: ['pipe', 'ignore', 'ignore'], detached: true });
    this.guard.stdin.on('error', () => {});
  }

  /** Starts a program, and shows its lines under its name. */
  start(name, program, args, env = process.env) {
    // In a session of its own: Ctrl-C in a terminal is for us, who stop the parts in their order.
    const child = spawn(program, args, { cwd: root, env, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
    const part = new Part(name, child);
    this.all.push(part);
    if (child.pid) this.guard.stdin.write(`${child.pid}\n`);
    for (const stream of [child.stdout, child.stderr]) {
      createInterface({ input: stream }).on('line', (line) => this.say(name, line));
    }
    part.gone.then(() => this.stopping || this.onEnd(part));
    return part;
  }

  say(name, line) {
    process.stdout.write(`${name.padEnd(this.width)} | ${line}\n`);
  }

  /** Whether a part of this name runs. @param {string} name */
  runs = (name) => this.all.some((part) => part.name === name && part.ended === null);

  /** Stops parts together: asks them, and kills who takes too long. */
  async stop(names, limitMs) {
    this.stopping = true;
    const chosen = this.all.filter((part) => names.includes(part.name));
    for (const { child } of chosen) child.kill('SIGTERM');
    const timer = setTimeout(() => {
      for (const part of chosen.filter(({ ended }) => ended === null)) {
        this.say('demo', `${part.name} did not end within ${limitMs} ms: killing it`);
        part.kill();
      }
    }, limitMs);
    await Promise.all(chosen.map((part) => part.gone));
    clearTimeout(timer);
  }

  killAll() {
    for (const part of this.all) part.kill();
  }
}

/**
 * Asks again and again until there is an answer.
 *
 * @param {string} name who is asked
 * @param {() => Promise<{answer?: any, wrong?: string}>} question
 * @param {AbortSignal} signal gives up
 */
export async function until(name, question, signal) {
  const end = Date.now() + READY_MS;
  let problem = 'it does not answer';
  while (Date.now() < end) {
    signal.throwIfAborted();
    const { answer, wrong } = await question();
    if (answer) return answer;
    problem = wrong ?? problem;
    await sleep(POLL_MS);
  }
  throw new Refusal(`${name} is not ready after ${READY_MS} ms: ${problem}`);
}

/** Asks a replica, or nginx for one, whether it is ready: the answer is what it says of itself. */
export async function askReady(url) {
  try {
    const response = await fetch(`${url}ready`, { signal: AbortSignal.timeout(ANSWER_MS) });
    const text = await response.text();
    return response.ok ? { answer: JSON.parse(text) } : { wrong: `${response.status} ${text.trim()}` };
  } catch (error) {
    return { wrong: error.cause?.message ?? error.message };
  }
}

/** Asks Redis whether it is there. */
export function askRedis(port) {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => socket.write('PING\r\n'));
    const done = (result) => {
      socket.destroy();
      resolve(result);
    };
    socket.setTimeout(ANSWER_MS, () => done({}));
    socket.once('error', (error) => done({ wrong: error.message }));
    socket.once('data', (data) => done(String(data).startsWith('+PONG') ? { answer: true } : { wrong: String(data) }));
  });
}
