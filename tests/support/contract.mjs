// What the server's messages must look like, field by field.
import assert from 'node:assert/strict';

/** How far a time in a message may lie from this process's clock (ms). */
const CLOCK_MS = 60_000;

/** How long a message to a person may get, whatever was sent (characters). */
const MESSAGE_CHARS = 500;

const TICK_FIELDS = new Set(['symbol', 'price', 'ts', 'seq', 'n', 'high', 'low', 'bid', 'ask', 'size', 'epoch']);
const SNAPSHOT_FIELDS = new Set([...TICK_FIELDS, 'open24h', 'high24h', 'low24h', 'volume24h', 'stale']);

/** @param {any} value @param {string} what */
function isNow(value, what) {
  assert.ok(Number.isInteger(value), `${what} is an integer of ms: ${value}`);
  assert.ok(Math.abs(value - Date.now()) < CLOCK_MS, `${what} is now: ${value}`);
}

/** @param {any} value @param {Set<string>} allowed */
function onlyHas(value, allowed) {
  const strange = Object.keys(value).filter((key) => !allowed.has(key));
  assert.deepEqual(strange, [], `fields that the contract does not have, in ${JSON.stringify(value)}`);
}

/** @param {any} tick @param {Set<string>} [fields] */
export function isTick(tick, fields = TICK_FIELDS) {
  onlyHas(tick, fields);
  assert.equal(typeof tick.symbol, 'string');
  assert.ok(Number.isFinite(tick.price) && tick.price > 0, `price: ${tick.price}`);
  isNow(tick.ts, 'ts');
  assert.ok(Number.isSafeInteger(tick.seq) && tick.seq > 0, `seq: ${tick.seq}`);
  if ('n' in tick) {
    assert.ok(Number.isInteger(tick.n) && tick.n >= 1, `n: ${tick.n}`);
    if (tick.n > 1) assert.ok(tick.low <= tick.price && tick.price <= tick.high, JSON.stringify(tick));
  }
  if ('epoch' in tick) isEpoch(tick.epoch);
}

/** @param {any} tick */
export function isSnapshotTick(tick) {
  isTick(tick, SNAPSHOT_FIELDS);
  isEpoch(tick.epoch);
}

/** @param {any} epoch */
function isEpoch(epoch) {
  assert.equal(typeof epoch, 'string', `epoch: ${epoch}`);
  assert.notEqual(epoch, '');
}

/**
 * The answer to a `subscribe` that neither resumes nor asks for a rate.
 *
 * @param {any} answer
 * @param {{ symbols: string[], rejected?: string[], mode?: string, id?: string }} expected
 */
export function isSubscribed(answer, { symbols, rejected = [], mode = 'tick', id }) {
  assert.equal(answer.ok, true, JSON.stringify(answer).slice(0, 1000));
  onlyHas(
    answer,
    new Set([
      ...['ok', 'symbols', 'rejected', 'mode', 'epoch', 'state', 'snapshot', 'server'],
      // Of a resumption: empty where nothing was resumed.
      ...['replay', 'resumed'],
    ]),
  );
  assert.deepEqual([...answer.symbols].sort(), [...symbols].sort());
  assert.deepEqual(answer.rejected.map((/** @type {any} */ each) => each.symbol).sort(), [...rejected].sort());
  for (const each of answer.rejected) isRejection(each, 'unknown_symbol');
  assert.equal(answer.mode, mode);
  isEpoch(answer.epoch);
  assert.equal(answer.state, 'live');
  assert.deepEqual(answer.snapshot.map((/** @type {any} */ tick) => tick.symbol).sort(), [...symbols].sort());
  for (const tick of answer.snapshot) {
    isSnapshotTick(tick);
    assert.equal(tick.epoch, answer.epoch);
  }
  assert.deepEqual(answer.replay ?? [], []);
  assert.deepEqual(answer.resumed ?? {}, {});
  assert.deepEqual(Object.keys(answer.server).sort(), ['id', 'time']);
  if (id) assert.equal(answer.server.id, id);
  assert.ok(answer.server.id);
  isNow(answer.server.time, 'server.time');
}

/** @param {any} rejection @param {string} code */
export function isRejection(rejection, code) {
  assert.deepEqual(Object.keys(rejection).sort(), ['code', 'message', 'symbol']);
  assert.equal(rejection.code, code);
  isMessage(rejection.message);
}

/**
 * The answer to an `unsubscribe`.
 *
 * @param {any} answer
 * @param {string[]} symbols
 */
export function isUnsubscribed(answer, symbols) {
  assert.equal(answer.ok, true, JSON.stringify(answer));
  // `rejected`, as in the answer to `subscribe`, names what was not subscribed.
  onlyHas(answer, new Set(['ok', 'symbols', 'rejected']));
  assert.deepEqual([...answer.symbols].sort(), [...symbols].sort());
  for (const each of answer.rejected ?? []) isRejection(each, 'not_subscribed');
}

/**
 * The answer to a `ping`.
 *
 * @param {any} answer
 * @param {any} echo
 */
export function isPong(answer, echo) {
  assert.deepEqual(Object.keys(answer).sort(), ['echo', 'ok', 'time']);
  assert.equal(answer.ok, true);
  assert.deepEqual(answer.echo, echo);
  isNow(answer.time, 'time');
}

/**
 * An answer that refuses: `{"ok": false, "error": {"code", "message"}}`.
 *
 * @param {any} answer
 * @param {string} code
 * @param {...(string | RegExp)} mentions what the message must speak of
 */
export function isRefused(answer, code, ...mentions) {
  assert.deepEqual(Object.keys(answer).sort(), ['error', 'ok'], JSON.stringify(answer).slice(0, 1000));
  assert.equal(answer.ok, false);
  assert.deepEqual(Object.keys(answer.error).sort(), ['code', 'message']);
  assert.equal(answer.error.code, code, answer.error.message);
  isMessage(answer.error.message, ...mentions);
}

/**
 * The `error` event, for who asked without a callback: `{"code", "message", "event"}`.
 *
 * @param {any} body
 * @param {string} event
 * @param {string} code
 * @param {...(string | RegExp)} mentions
 */
export function isErrorEvent(body, event, code, ...mentions) {
  assert.deepEqual(Object.keys(body).sort(), ['code', 'event', 'message']);
  assert.equal(body.code, code, body.message);
  assert.equal(body.event, event);
  isMessage(body.message, ...mentions);
}

/** @param {any} message @param {...(string | RegExp)} mentions */
function isMessage(message, ...mentions) {
  assert.equal(typeof message, 'string');
  assert.notEqual(message, '');
  assert.ok(message.length <= MESSAGE_CHARS, `a message of ${message.length} characters: ${message.slice(0, 200)}`);
  for (const mention of mentions) {
    if (typeof mention === 'string') assert.ok(message.includes(mention), `"${message}" names ${mention}`);
    else assert.match(message, mention);
  }
}
