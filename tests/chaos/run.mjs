#!/usr/bin/env node
// `make chaos`: breaks a cluster at random for as long as asked, and says what its clients saw. CHAOS_SEED draws the same
// faults again; CHAOS_SECONDS is how long; CHAOS_SLACK_MS is what this machine may add to a bound; CHAOS_FAULT is the only one.
// Where it may, it runs in a network of its own, in which packets can be dropped; elsewhere that fault is not drawn.
import { spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { inside, isInside, whyNot } from '../support/blackhole.mjs';
import { Storm } from './storm.mjs';

/** @param {string} name @param {number} otherwise */
function setting(name, otherwise) {
  const text = process.env[name];
  if (!text) return otherwise;
  if (!/^\d{1,9}$/.test(text)) throw new Error(`${name}: "${text}" must be a number of at most nine digits`);
  return Number(text);
}

/** Resolves with the exit code. */
async function storm() {
  const seed = setting('CHAOS_SEED', randomInt(1, 1e9));
  const seconds = setting('CHAOS_SECONDS', 300);
  const slack_ms = setting('CHAOS_SLACK_MS', 250);
  const only = process.env.CHAOS_FAULT;
  console.log(`CHAOS_SEED=${seed} CHAOS_SECONDS=${seconds} CHAOS_SLACK_MS=${slack_ms}`);

  /** @type {(() => unknown)[]} */
  const undo = [];
  const test = { after: (/** @type {() => unknown} */ each) => undo.push(each) };
  const stop = new AbortController();
  process.once('SIGINT', () => stop.abort());
  try {
    const weather = await Storm.begin(test, { seed, slack_ms, say: console.log });
    for (const end = performance.now() + seconds * 1000; performance.now() < end && !stop.signal.aborted;) await weather.round(only);
    for (const line of weather.summary()) console.log(line);
    for (const violation of weather.violations) console.log(`VIOLATION ${violation}`);
    return weather.violations.length === 0 && weather.rounds > 0 ? 0 : 1;
  } finally {
    for (const each of undo.reverse()) await each();
  }
}

// nginx gives its rights up, which only root can.
const why = process.getuid?.() === 0 ? whyNot() : 'only root may';
let code;
if (isInside || why) {
  if (why) console.log(`no packets are dropped: ${why}`);
  code = await storm();
} else {
  const { command, args, env } = inside([fileURLToPath(import.meta.url)]);
  const child = spawn(command, args, { env, stdio: 'inherit' });
  // It hears of it as well, and ends by itself.
  process.once('SIGINT', () => {});
  [code] = await once(child, 'exit');
}
process.exitCode = code ?? 1;
