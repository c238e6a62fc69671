#!/usr/bin/env node
// `make chaos`: breaks a cluster at random for as long as asked, and says what its clients saw. CHAOS_SEED draws the same
// faults again; CHAOS_SECONDS is how long; CHAOS_SLACK_MS is what this machine may add to a bound.
import { randomInt } from 'node:crypto';
import { Storm } from './storm.mjs';

/** @param {string} name @param {number} otherwise */
function setting(name, otherwise) {
  const text = process.env[name];
  if (!text) return otherwise;
  if (!/^\d{1,9}$/.test(text)) throw new Error(`${name}: "${text}" must be a number of at most nine digits`);
  return Number(text);
}

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
  const storm = await Storm.begin(test, { seed, slack_ms, say: console.log });
  for (const end = performance.now() + seconds * 1000; performance.now() < end && !stop.signal.aborted;) await storm.round(only);
  for (const line of storm.summary()) console.log(line);
  for (const violation of storm.violations) console.log(`VIOLATION ${violation}`);
  process.exitCode = storm.violations.length > 0 || storm.rounds === 0 ? 1 : 0;
} finally {
  for (const each of undo.reverse()) await each();
}
