// Replicas around a Redis, the clients that watch them, and the account of every price that anybody got.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { connect, connected, open, request, until } from './clients.mjs';
import { isSnapshotTick, isSubscribed, isTick } from './contract.mjs';
import { Redis } from './redis.mjs';
import { NO_ISLANDS, startServer } from './server.mjs';

/** The symbols that every replica makes. Few: many replicas run side by side. */
export const SYMBOLS = ['BTC', 'ETH', 'SOL'];

/** How often it makes them, unless a test says otherwise (ms). */
export const INTERVAL_MS = 50;

/** What a busy machine may add to any measured time (ms). */
export const BUSY_MS = 2500;

/** A step is ordinary up to so many times the largest one that was seen. */
const ORDINARY = 8;

/** The symbol that a replica makes beside these, and nobody else: it shows in the log whose ticks are whose. @param {string} id */
const signature = (id) => id.toUpperCase();

/** @typedef {import('./server.mjs').Server} Server */

/** Every price that any client got, by what names it: there must be one for each name. */
export class Ledger {
  constructor() {
    /** @type {Map<string, { price: number, by: Set<string> }>} */
    this.prices = new Map();
    /** @type {string[]} */
    this.conflicts = [];
  }

  /** @param {string} epoch @param {{ symbol: string, seq: number, price: number }} tick @param {string} by */
  note(epoch, { symbol, seq, price }, by) {
    const name = `${epoch} ${symbol} ${seq}`;
    const known = this.prices.get(name);
    if (!known) this.prices.set(name, { price, by: new Set([by]) });
    else if (known.price === price) known.by.add(by);
    else this.conflicts.push(`${name}: ${known.price} (${[...known.by]}), ${price} (${by})`);
  }

  check() {
    assert.deepEqual(this.conflicts.slice(0, 5), []);
  }
}

/** Some replicas around one Redis. All end with the test, in order: the replicas by themselves, then Redis. */
export class Cluster {
  /** @param {any} test @param {Redis} redis @param {Record<string, string>} [env] */
  constructor(test, redis, env = {}) {
    this.test = test;
    this.redis = redis;
    this.env = env;
    this.ledger = new Ledger();
    /** By id; also those that are gone. @type {Map<string, Server>} */
    this.replicas = new Map();
    /** @type {Watch[]} */
    this.watches = [];
    /** What else has to end. @type {(() => unknown)[]} */
    this.undo = [];
  }

  /**
   * Starts a Redis and replicas of these ids, and waits until each has every price.
   *
   * @param {any} test
   * @param {{ ids?: string[], env?: Record<string, string>, each?: (id: string, redis: Redis) => Promise<Record<string, string>> | Record<string, string> }} [options]
   *   `each`: settings of one replica
   */
  static async start(test, { ids = ['app1', 'app2'], env = {}, each = () => ({}) } = {}) {
    const redis = await Redis.start();
    const cluster = new Cluster(test, redis, env);
    test.after(() => cluster.stop());
    await Promise.all(ids.map(async (id) => cluster.add(id, await each(id, redis))));
    await Promise.all(ids.map((id) => cluster.priced(id)));
    return cluster;
  }

  /**
   * Starts a replica. It listens when this resolves; whether it is ready is another question.
   *
   * @param {string} id
   * @param {Record<string, string>} [env]
   */
  async add(id, env = {}) {
    const server = await startServer({
      SYMBOLS: [...SYMBOLS, signature(id)].join(),
      UPDATE_INTERVAL: `${INTERVAL_MS}`,
      REDIS_URL: this.redis.url,
      APP_ID: id,
      // Tests of islands set their own.
      ...NO_ISLANDS,
      ...this.env,
      ...env,
    });
    this.replicas.set(id, server);
    return server;
  }

  /** Resolves when a replica has found its feed, or goes on without it: until then it lets nobody in. @param {string} id */
  async begun(id) {
    await until(async () => (await this.replica(id).json('/health')).bus.state !== 'starting', () => `${id} to begin: ${this.replica(id).tail()}`);
  }

  /** Resolves when a replica has a price for each symbol. @param {string} id */
  async priced(id) {
    await this.begun(id);
    const asker = await connect(this.replica(id).url);
    try {
      await until(async () => (await request(asker, 'subscribe', SYMBOLS)).snapshot.length === SYMBOLS.length, `the prices at ${id}`);
    } finally {
      asker.close();
    }
  }

  /** @param {string} id */
  replica(id) {
    const server = this.replicas.get(id);
    assert.ok(server, id);
    return server;
  }

  /** The ids of those that run. */
  live() {
    return [...this.replicas].filter(([, { child }]) => child.exitCode === null && child.signalCode === null).map(([id]) => id);
  }

  /**
   * Resolves with what each of these replicas is, once exactly one is the publisher and the others know that they are
   * not.
   *
   * @param {string[]} [ids] all that run
   */
  async roles(ids = this.live()) {
    return until(async () => {
      const roles = await Promise.all(ids.map(async (id) => [id, (await this.replica(id).json('/health')).sources.simulator]));
      const publishers = roles.filter(([, role]) => role === 'publisher').map(([id]) => id);
      const others = roles.filter(([, role]) => role === 'standby').map(([id]) => id);
      return publishers.length === 1 && others.length === ids.length - 1 ? { publisher: publishers[0], others } : null;
    }, 'exactly one publisher');
  }

  /**
   * A client of one replica that watches its prices.
   *
   * @param {string} id
   * @param {{ mode?: 'tick' | 'batch', whole?: boolean, [option: string]: any }} [options] see [`Watch`]; the client's own besides
   */
  async watch(id, options = {}) {
    await this.begun(id);
    return this.watchUrl(id, this.replica(id).url, options);
  }

  /**
   * @param {string} name
   * @param {string} url
   * @param {{ mode?: 'tick' | 'batch', whole?: boolean, [option: string]: any }} [options]
   */
  async watchUrl(name, url, { mode, whole, ...options } = {}) {
    const polls = options.transports?.includes('polling');
    const watch = new Watch(this.ledger, open(url, options), { name: `a client of ${name}`, mode, whole, polls });
    this.watches.push(watch);
    await watch.begin();
    return watch;
  }

  /** Resolves when all of these have all that any has now, and fails on whatever any got wrongly. @param {Watch[]} [watches] */
  async level(watches = this.watches) {
    const front = new Map();
    for (const watch of watches) for (const [symbol, { epoch, seq }] of watch.last) {
      const known = front.get(symbol);
      if (!known || seq > known.seq) front.set(symbol, { epoch, seq });
    }
    const behind = () => watches.filter((watch) => [...front].some(([symbol, { seq }]) => (watch.last.get(symbol)?.seq ?? 0) < seq));
    await until(() => behind().length === 0 || watches.some(({ violations }) => violations.length > 0),
      () => `the ticks of others at ${behind().map(({ name }) => name).join(', ')}`);
    this.check(watches);
  }

  /** Fails on whatever was wrong so far. */
  check(watches = this.watches) {
    for (const watch of watches) watch.check();
    this.ledger.check();
  }

  /**
   * Reads the log itself and fails unless it is as it must be: numbers without a hole or a repeat, nothing appended
   * twice, a new epoch above all of the one before, and every price the one that clients got. Resolves with its ticks,
   * and who published them, in the order of their terms.
   */
  async checkLog() {
    const entries = await this.redis.log();
    /** @type {Map<string, { epoch: string, seq: number }>} */
    const last = new Map();
    const contents = new Set();
    let epoch = entries[0]?.epoch;
    let highest = 0;
    /** @type {any[]} */
    const ticks = [];
    /** @type {string[]} */
    const terms = [];
    const ids = [...this.replicas.keys()];
    for (const entry of entries) {
      const made = !entry.restated && entry.ticks.some(({ symbol }) => SYMBOLS.includes(symbol));
      if (made) {
        const by = ids.filter((id) => entry.ticks.some((tick) => tick.symbol === signature(id)));
        assert.equal(by.length, 1, `an entry of one replica: ${JSON.stringify(entry)}`);
        if (terms[terms.length - 1] !== by[0]) terms.push(by[0]);
      }
      const floor = entry.epoch === epoch ? 0 : highest;
      epoch = entry.epoch;
      for (const tick of entry.ticks) {
        const before = last.get(tick.symbol);
        if (before?.epoch === epoch) assert.equal(tick.seq, before.seq + 1, `${tick.symbol} in ${entry.id}`);
        else assert.ok(tick.seq > floor, `${tick.symbol} ${tick.seq} of a new epoch, after ${floor}, in ${entry.id}`);
        last.set(tick.symbol, { epoch, seq: tick.seq });
        highest = Math.max(highest, tick.seq);
        const noted = this.ledger.prices.get(`${epoch} ${tick.symbol} ${tick.seq}`);
        if (noted) assert.equal(tick.price, noted.price, `${tick.symbol} ${tick.seq} at ${[...noted.by]}`);
        ticks.push({ ...tick, epoch });
      }
      if (!made) continue;
      // That two steps of all walks at once come out the same does not happen.
      const content = JSON.stringify(entry.ticks.map(({ price, ts }) => [price, ts]));
      assert.ok(!contents.has(content), `appended twice: ${content}`);
      contents.add(content);
    }
    return { ticks, terms };
  }

  async stop() {
    const ends = await Promise.all(this.live().map(async (id) => {
      const server = this.replica(id);
      // One that was stopped by a test that failed would not hear it.
      server.child.kill('SIGCONT');
      return { id, end: await server.stop(), tail: server.tail() };
    }));
    for (const watch of this.watches) watch.close();
    for (const undo of this.undo.reverse()) await undo();
    await this.redis.stop();
    for (const { id, end, tail } of ends) assert.deepEqual({ id, ...end }, { id, code: 0, signal: null }, tail);
  }
}

/**
 * A client that watches [`SYMBOLS`] in one stream, through changes of the epoch and of its connection, and notes
 * whatever breaks the contract.
 */
export class Watch {
  /**
   * @param {Ledger} ledger
   * @param {any} socket
   * @param {{ name: string, mode?: 'tick' | 'batch', whole?: boolean, polls?: boolean }} options
   *   `whole`: each update must come by itself (else one may stand for several, and says so); who `polls` gets what came
   *   between two polls as one, which says how far the price went
   */
  constructor(ledger, socket, { name, mode = 'tick', whole = true, polls = false }) {
    this.ledger = ledger;
    this.socket = socket;
    this.name = name;
    this.mode = mode;
    this.whole = whole;
    this.polls = polls;
    /** @type {string[]} */
    this.violations = [];
    /** Answers to `subscribe`, one for each connection. @type {any[]} */
    this.answers = [];
    /** @type {any[]} */
    this.statuses = [];
    /** When and why it lost its connection, and to which replica that was. @type {{ at: number, reason: string, id: string }[]} */
    this.losses = [];
    /** Live ticks in the order in which they came, with their epoch, when that was, and on which connection. @type {any[]} */
    this.ticks = [];
    /** How many of them are of each symbol. @type {Map<string, number>} */
    this.counts = new Map();
    /** The latest of each symbol. @type {Map<string, { epoch: string, seq: number }>} */
    this.last = new Map();
    /** Symbols of which nothing has come on this connection: what they had before may not come again, and need not join up. */
    this.joining = new Set(SYMBOLS);
    /** The highest `seq` of all. */
    this.highest = 0;
    socket.on('tick', (/** @type {any} */ tick) => this.#arrived('tick', [tick]));
    socket.on('ticks', (/** @type {any} */ ticks) => this.#arrived('batch', ticks));
    socket.on('status', (/** @type {any} */ status) => this.statuses.push({ ...status, at: performance.now() }));
    socket.on('disconnect', (/** @type {string} */ reason) => this.losses.push({ at: performance.now(), reason, id: this.id }));
    socket.on('connect', () => socket.emit('subscribe', { symbols: SYMBOLS, mode }, (/** @type {any} */ answer) => this.#answered(answer)));
  }

  /** The replica that answered last. */
  get id() {
    return this.answers[this.answers.length - 1]?.server.id ?? '';
  }

  /** Resolves with the first answer. */
  async begin() {
    await connected(this.socket);
    return this.answer(1);
  }

  /** Resolves with the answer on the connection of this number. @param {number} count */
  async answer(count) {
    await until(() => this.answers.length >= count, `${this.name}: answer ${count} to subscribe`);
    return this.answers[count - 1];
  }

  /** Resolves when each symbol has had so many more ticks. @param {number} count @param {number} [limit_ms] */
  async more(count, limit_ms) {
    const goals = SYMBOLS.map((symbol) => ({ symbol, goal: (this.counts.get(symbol) ?? 0) + count }));
    const missing = () => goals.filter(({ symbol, goal }) => (this.counts.get(symbol) ?? 0) < goal);
    await until(
      () => this.violations.length > 0 || missing().length === 0,
      () => `${this.name}: ${count} ticks of ${missing().map(({ symbol }) => symbol)}`,
      limit_ms,
    );
    this.check();
  }

  /** Resolves with the first status, past or to come, for which this holds. @param {(status: any) => boolean} wanted */
  async status(wanted) {
    return until(() => this.statuses.find(wanted), () => `${this.name}: a status; had ${JSON.stringify(this.statuses)}`);
  }

  check() {
    assert.deepEqual(this.violations.slice(0, 5), []);
  }

  close() {
    this.socket.close();
  }

  /** The longest time without a tick of a symbol, from the one before `since` on (ms). @param {number} since */
  silence(since, symbol = SYMBOLS[0]) {
    const times = this.ticks.filter((tick) => tick.symbol === symbol).map(({ at }) => at);
    const first = Math.max(0, times.findLastIndex((at) => at <= since));
    return Math.max(...times.slice(first).map((at, index, from) => (index ? at - from[index - 1] : 0)));
  }

  /** @param {any} answer */
  #answered(answer) {
    this.answers.push(answer);
    this.joining = new Set(SYMBOLS);
    try {
      if (answer.state === 'live') isSubscribed(answer, { symbols: SYMBOLS, mode: this.mode });
      for (const tick of answer.snapshot) {
        isSnapshotTick(tick);
        const last = this.last.get(tick.symbol);
        if (last && tick.epoch === last.epoch) assert.ok(tick.seq >= last.seq, `goes back behind ${last.seq}`);
        this.#take(tick.epoch, tick);
      }
    } catch (error) {
      this.violations.push(`${this.name}, ${JSON.stringify(answer)}: ${error}`);
    }
  }

  /** @param {'tick' | 'batch'} mode @param {any[]} ticks */
  #arrived(mode, ticks) {
    const at = performance.now();
    for (const tick of ticks) {
      try {
        assert.equal(mode, this.mode);
        const last = this.last.get(tick.symbol);
        const epoch = tick.epoch ?? last?.epoch;
        assert.ok(epoch, 'the first tick of a symbol names its epoch');
        if (last && epoch !== last.epoch) {
          assert.ok(this.statuses.some((status) => status.epoch === epoch), 'a status comes before a new epoch');
          // Of any symbol: that is where the new one begins.
          assert.ok(tick.seq > last.seq, `goes back behind ${last.seq}`);
        } else if (last && this.joining.has(tick.symbol)) {
          // A replica that had nothing for the snapshot says the latest that there is when it knows it.
          assert.ok(tick.seq >= last.seq, `goes back behind ${last.seq}`);
        } else if (last) {
          assert.equal(tick.seq, last.seq + (tick.n ?? 1), `after ${last.seq}`);
        }
        if (this.whole) {
          isTick(tick);
          if (!this.polls) assert.equal(tick.n ?? 1, 1);
        }
        this.#take(epoch, tick);
        this.ticks.push({ ...tick, epoch, at, connection: this.answers.length });
        this.counts.set(tick.symbol, (this.counts.get(tick.symbol) ?? 0) + 1);
      } catch (error) {
        this.violations.push(`${this.name}, ${JSON.stringify(tick)}: ${error}`);
      }
    }
  }

  /** @param {string} epoch @param {any} tick */
  #take(epoch, tick) {
    this.ledger.note(epoch, tick, this.name);
    this.joining.delete(tick.symbol);
    this.last.set(tick.symbol, { epoch, seq: tick.seq });
    this.highest = Math.max(this.highest, tick.seq);
  }
}

/** Steps of a symbol's price, as logarithms, in the order of these ticks. @param {any[]} ticks @param {string} symbol */
function steps(ticks, symbol) {
  const prices = ticks.filter((tick) => tick.symbol === symbol).map(({ price }) => price);
  return prices.slice(1).map((price, index) => Math.abs(Math.log(price / prices[index])));
}

/**
 * Fails unless prices go on as they did: no step after `since` is larger than those before it ordinarily were.
 *
 * @param {any[]} ticks of one client
 * @param {number} since as in `performance.now()`
 */
export function walksOn(ticks, since) {
  for (const symbol of SYMBOLS) {
    const before = steps(ticks.filter(({ at }) => at < since), symbol);
    const all = steps(ticks, symbol);
    assert.ok(before.length >= 10 && all.length > before.length, `${symbol}: ${before.length} of ${all.length} steps before`);
    const [ordinary, largest] = [Math.max(...before) * ORDINARY, Math.max(...all)];
    assert.ok(largest <= ordinary, `${symbol}: a step of ${largest * 100} %, with ${(ordinary / ORDINARY) * 100} % before`);
  }
}

/** Stops a process without its knowledge; resolves when it stands still. @param {Server} server */
export async function freeze({ child }) {
  child.kill('SIGSTOP');
  await until(async () => / T /.test(await readFile(`/proc/${child.pid}/stat`, 'utf8')), 'the process to be stopped');
}
