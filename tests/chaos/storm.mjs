// Three replicas, a Redis and nginx under faults drawn at random, and clients that check all the time.
import { readFile } from 'node:fs/promises';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { transports, until } from '../support/clients.mjs';
import { Cluster, SYMBOLS } from '../support/cluster.mjs';
import { metricsOf } from '../support/metrics.mjs';
import { Proxy } from '../support/proxy.mjs';
import { Cable } from '../support/redis.mjs';
import { FAULTS, LEASE_MS, PACE_MS } from './faults.mjs';

const IDS = ['app1', 'app2', 'app3'];

/** When all is mended, all have to be on one publisher and one epoch within this (ms). */
const ONE_TRUTH_MS = 5000;

/** How long a replica may take to say that it is alone (ms). */
export const SAID_MS = 3000;

/** How often it is looked whether they have (ms). */
const LOOK_MS = 200;

/** How long to wait for what may not come at all before it counts as broken (ms). */
const GIVE_UP_MS = 20_000;

/** After how long what was said and not heard is said again (ms). */
const HEARD_MS = 1000;

/** What passes between two faults (ms). */
const CALM_MS = 700;

/** A replica may have so much in memory (bytes). */
const RESIDENT_BYTES = 256 * 1024 * 1024;

/** Prices of the past that are remembered, to be compared with later ones. */
const REMEMBERED = 100_000;

/** How clients come back: quickly, as much as that is theirs to say. */
const COMES_BACK = { reconnection: true, reconnectionDelay: 100, reconnectionDelayMax: 500 };

/** @typedef {import('../support/cluster.mjs').Watch} Watch */

/** Numbers that look drawn, and are the same for the same seed. */
export class Draw {
  /** @param {number} seed */
  constructor(seed) {
    this.state = seed >>> 0;
  }

  /** From 0 to below 1 (mulberry32). */
  next() {
    this.state = (this.state + 0x6d2b79f5) >>> 0;
    let word = this.state;
    word = Math.imul(word ^ (word >>> 15), word | 1);
    word ^= word + Math.imul(word ^ (word >>> 7), word | 61);
    return ((word ^ (word >>> 14)) >>> 0) / 2 ** 32;
  }

  /** @param {number} least @param {number} most */
  between(least, most) {
    return Math.round(least + this.next() * (most - least));
  }

  /** @template T @param {T[]} list */
  from(list) {
    return list[Math.floor(this.next() * list.length)];
  }

  /** @template {{ weight: number }} T @param {T[]} list */
  weighted(list) {
    let left = this.next() * list.reduce((sum, { weight }) => sum + weight, 0);
    const found = list.find(({ weight }) => {
      left -= weight;
      return left < 0;
    });
    return found ?? list[list.length - 1];
  }
}

/**
 * @typedef {object} Options
 * @property {number} seed
 * @property {number} slack_ms what a busy machine may add to any bound
 * @property {(line: string) => void} say
 */

/**
 * What a fault has to work with.
 *
 * @typedef {object} Scene
 * @property {Cluster} cluster
 * @property {string[]} ids
 * @property {string} publisher
 * @property {(id: string) => Cable} cable
 * @property {(id: string) => Promise<unknown>} restarted starts one anew where it was
 * @property {Draw} draw
 */

/**
 * What came of one kind of fault.
 *
 * @typedef {object} Figures
 * @property {number} count
 * @property {number} silence_ms the longest, at a client of a healthy replica
 * @property {number} allowed_ms the bound of that fault
 * @property {number} truth_ms the longest time until all were on one publisher and one epoch again
 */

/** A storm over a cluster of its own. */
export class Storm {
  /**
   * @param {Cluster} cluster
   * @param {Map<string, Cable>} cables by replica, its way to Redis
   * @param {Options} options
   */
  constructor(cluster, cables, { seed, slack_ms, say }) {
    this.cluster = cluster;
    this.slack_ms = slack_ms;
    this.say = say;
    /** @type {Map<string, Figures>} */
    this.figures = new Map();
    /** @type {string[]} */
    this.violations = [];
    this.ticks = 0;
    this.rounds = 0;
    this.resident_bytes = 0;
    this.chats = 0;
    this.late = monitorEventLoopDelay({ resolution: 10 });
    this.late.enable();
    /** What each has heard in the chat. @type {Map<Watch, Set<string>>} */
    this.heard = new Map(cluster.watches.map((watch) => {
      /** @type {Set<string>} */
      const texts = new Set();
      watch.socket.on('chat-message', (/** @type {any} */ { text }) => texts.add(text));
      return [watch, texts];
    }));
    const cable = (/** @type {string} */ id) => {
      const found = cables.get(id);
      if (!found) throw new Error(id);
      return found;
    };
    /** @type {Scene} */
    this.scene = {
      cluster,
      ids: IDS,
      publisher: '',
      draw: new Draw(seed),
      cable,
      restarted: (id) => cluster.add(id, { PORT: cluster.replica(id).port, REDIS_URL: cable(id).url }),
    };
  }

  /**
   * Three replicas, nginx, and nine clients.
   *
   * @param {any} test
   * @param {Options} options
   */
  static async begin(test, options) {
    /** @type {Map<string, Cable>} */
    const cables = new Map();
    const cluster = await Cluster.start(test, {
      ids: IDS,
      env: { LEASE_TTL: `${LEASE_MS}`, ISLAND_AFTER: '300', UPDATE_INTERVAL: `${PACE_MS}`, CHAT_AUTO_JOIN: 'true' },
      each: async (id, redis) => {
        const cable = await Cable.to(redis);
        cables.set(id, cable);
        return { REDIS_URL: cable.url };
      },
    });
    cluster.undo.push(() => Promise.all([...cables.values()].map((cable) => cable.stop())));
    const nginx = await Proxy.start(IDS.map((id) => cluster.replica(id)));
    cluster.undo.push(() => nginx.stop());
    const agents = await nginx.agentsTo(IDS);
    // As browsers come: they poll first, and upgrade.
    const asBrowsers = { transports: transports.upgrade, ...COMES_BACK };
    await Promise.all(IDS.flatMap((id) => [
      cluster.watchUrl(`nginx, from where ${id} is`, nginx.url, { ...asBrowsers, agent: agents.get(id) }),
      cluster.watch(id, asBrowsers),
      cluster.watch(id, { ...asBrowsers, mode: 'batch' }),
    ]));
    const storm = new Storm(cluster, cables, options);
    await storm.#oneTruth(performance.now());
    await sleep(CALM_MS);
    return storm;
  }

  /** One fault, from before it until all is well again. @param {string} [wanted] its kind; drawn unless it is given */
  async round(wanted) {
    const { scene, cluster } = this;
    const { draw } = scene;
    const fault = FAULTS.find(({ kind }) => kind === wanted) ?? draw.weighted(FAULTS);
    const lasts_ms = draw.between(...fault.lasts_ms);
    const struck = fault.strikes?.(scene) ?? [];
    const allowed_ms = fault.silence_ms(scene, struck);
    this.rounds += 1;
    this.late.reset();
    const said = cluster.watches.map(({ losses }) => losses.length);
    const before = performance.now();

    const meanwhile = Promise.all([
      this.#chatsLocally(before, lasts_ms, struck),
      this.#says(before, lasts_ms, fault.alone?.(scene, struck) ?? []),
    ]);
    await fault.run(scene, lasts_ms, struck);
    const mended = performance.now();
    const truth_ms = await this.#oneTruth(mended);
    const unsaid = (await meanwhile).flat();
    await sleep(CALM_MS);

    // What the harness itself was late by, the ticks were as well.
    const late_ms = this.slack_ms + this.late.max / 1e6;
    const wrong = [...unsaid];
    for (const [index, watch] of cluster.watches.entries()) {
      const healthy = !struck.includes(watch.id) && watch.losses.slice(said[index]).every(({ id }) => !struck.includes(id));
      if (!healthy) continue;
      wrong.push(...watch.losses.slice(said[index]).map(({ reason, id }) => `${watch.name} lost its connection to ${id}: ${reason}`));
      const silence_ms = silence(watch, before);
      this.#note(fault.kind, { silence_ms, allowed_ms });
      if (silence_ms > allowed_ms + late_ms) wrong.push(`${watch.name} heard nothing for ${ms(silence_ms)} (${ms(allowed_ms)} and ${ms(late_ms)} allowed)`);
    }
    if (truth_ms > ONE_TRUTH_MS + late_ms) wrong.push(`one truth after ${ms(truth_ms)}`);
    this.#note(fault.kind, { truth_ms, count: 1 });
    wrong.push(...await this.#chats(mended), ...await this.#checked(), ...await this.#bounded());
    const longest = Math.max(...cluster.watches.filter(({ id }) => !struck.includes(id)).map((watch) => silence(watch, before)));
    this.say(`#${this.rounds} ${fault.kind}${struck.length ? ` (${struck}${struck.includes(scene.publisher) ? ', the publisher' : ''})` : ''}, `
      + `${lasts_ms} ms: silence ${ms(longest)} of ${ms(allowed_ms)}, one truth after ${ms(truth_ms)}`);
    for (const what of wrong) this.say(`   VIOLATION: ${what}`);
    this.violations.push(...wrong.map((what) => `#${this.rounds} ${fault.kind}: ${what}`));
    this.#forget();
    await this.#publisherNow();
  }

  /** @param {string} kind @param {Partial<Figures>} news */
  #note(kind, { count = 0, silence_ms = 0, allowed_ms = 0, truth_ms = 0 }) {
    const known = this.figures.get(kind) ?? { count: 0, silence_ms: 0, allowed_ms: 0, truth_ms: 0 };
    this.figures.set(kind, {
      count: known.count + count,
      silence_ms: Math.max(known.silence_ms, silence_ms),
      allowed_ms: Math.max(known.allowed_ms, allowed_ms),
      truth_ms: Math.max(known.truth_ms, truth_ms),
    });
  }

  /**
   * Resolves with how long it took from `since` until all replicas are live, on one publisher and one epoch, and all
   * clients with them.
   *
   * @param {number} since
   */
  async #oneTruth(since) {
    let seen = '';
    const isOne = async () => {
      const healths = await Promise.all(IDS.map((id) => this.cluster.replica(id).json('/health').catch(() => ({}))));
      const epochs = new Set(healths.map(({ bus }) => bus?.epoch));
      const publishers = healths.filter(({ sources }) => sources?.simulator === 'publisher');
      const clients = this.cluster.watches.map((watch) => watch.last.get(SYMBOLS[0])?.epoch);
      seen = JSON.stringify({ healths: healths.map(({ id, status, reason, bus, sources }) => ({ id, status, reason, epoch: bus?.epoch, sources })), clients });
      return healths.every(({ status }) => status === 'ok') && epochs.size === 1 && publishers.length === 1
        && clients.every((epoch) => epochs.has(epoch)) && this.cluster.watches.every(({ socket }) => socket.connected);
    };
    try {
      await until(isOne, 'one truth', GIVE_UP_MS);
    } catch {
      this.violations.push(`#${this.rounds}: never one truth: ${seen}`);
      this.say(`   VIOLATION: never one truth: ${seen}`);
    }
    const took_ms = performance.now() - since;
    await this.#publisherNow();
    return took_ms;
  }

  async #publisherNow() {
    this.scene.publisher = (await this.cluster.roles()).publisher;
  }

  /** Who is alone says so in time. @param {number} since @param {number} lasts_ms @param {string[]} ids */
  async #says(since, lasts_ms, ids) {
    if (lasts_ms < SAID_MS) return [];
    /** What each says that has not said it yet. @type {Map<string, string>} */
    const silent = new Map(ids.map((id) => [id, 'nothing']));
    for (;;) {
      await Promise.all([...silent.keys()].map(async (id) => {
        const { url } = this.cluster.replica(id);
        const asked = Promise.all([this.cluster.replica(id).json('/health'), metricsOf(url)]);
        const [{ status }, metrics] = await asked.catch(() => [{ status: 'nothing' }, new Map()]);
        if (status === 'degraded' && metrics.get('tickcast_alone') === 1) silent.delete(id);
        else silent.set(id, status);
      }));
      const wrong = [...silent].map(([id, said]) => `${id} says ${said}`);
      for (const { id, name, statuses } of this.cluster.watches) {
        if (ids.includes(id) && !statuses.some(({ state, at }) => state === 'degraded' && at > since)) wrong.push(`${name} was not told`);
      }
      // What the harness itself was late by, the fault was as well.
      const allowed_ms = SAID_MS + this.slack_ms + this.late.max / 1e6;
      if (wrong.length === 0 || performance.now() - since > allowed_ms) return wrong.map((what) => `after ${ms(allowed_ms)} ${what}`);
      await sleep(LOOK_MS);
    }
  }

  /** What is said on a replica that is alone is heard there. @param {number} since @param {number} lasts_ms @param {string[]} struck */
  async #chatsLocally(since, lasts_ms, struck) {
    if (lasts_ms < SAID_MS) return [];
    await sleep(lasts_ms / 2);
    const watch = this.cluster.watches.find(({ id, socket, name }) => socket.connected && !name.startsWith('nginx') && !struck.includes(id));
    if (!watch) return [];
    const text = `alone ${since}`;
    watch.socket.emit('chat', text);
    try {
      await until(() => this.heard.get(watch)?.has(text) || watch.losses.some(({ at }) => at > since), 'what was said here', SAID_MS);
      return [];
    } catch {
      return [`${watch.name} did not hear what was said there`];
    }
  }

  /**
   * What anybody says is heard by all, before too long. It is said now and once: what is said before the way is there again is
   * lost, so it is said anew.
   *
   * @param {number} mended
   */
  async #chats(mended) {
    const { watches } = this.cluster;
    for (let attempt = 0; ; attempt += 1) {
      const texts = watches.map((watch, index) => {
        const text = `${this.rounds} ${attempt} ${index}`;
        watch.socket.emit('chat', text);
        return text;
      });
      const missed = (/** @type {Watch} */ watch) => texts.filter((text) => !this.heard.get(watch)?.has(text));
      const deaf = () => watches.filter((watch) => missed(watch).length > 0);
      this.chats += texts.length * watches.length;
      try {
        await until(() => deaf().length === 0, 'what was said', HEARD_MS);
        return [];
      } catch {
        if (attempt >= 2 && performance.now() - mended > ONE_TRUTH_MS + this.slack_ms + this.late.max / 1e6) return deaf().map((watch) => `${watch.name} did not hear ${missed(watch)}`);
      } finally {
        for (const heard of this.heard.values()) heard.clear();
      }
    }
  }

  /** Whatever a client or the log has seen that may not be. */
  async #checked() {
    const { cluster } = this;
    const wrong = cluster.watches.flatMap(({ violations }) => violations.splice(0));
    wrong.push(...cluster.ledger.conflicts.splice(0).map((conflict) => `two prices: ${conflict}`));
    try {
      await cluster.checkLog();
    } catch (error) {
      wrong.push(`the log: ${error instanceof Error ? error.message : error}`);
    }
    return wrong;
  }

  /** Whatever grows without a bound, or is not there any more. */
  async #bounded() {
    const wrong = [];
    for (const id of IDS) {
      const { child } = this.cluster.replica(id);
      if (child.exitCode !== null || child.signalCode !== null) wrong.push(`${id} ended: ${child.exitCode ?? child.signalCode}:\n${this.cluster.replica(id).tail()}`);
      else {
        const bytes = Number((await readFile(`/proc/${child.pid}/statm`, 'utf8')).split(' ')[1]) * 4096;
        this.resident_bytes = Math.max(this.resident_bytes, bytes);
        if (bytes > RESIDENT_BYTES) wrong.push(`${id} has ${bytes} bytes in memory`);
      }
    }
    return wrong;
  }

  /** What was looked at is counted, and the latest of it kept. */
  #forget() {
    const { ledger, watches } = this.cluster;
    for (const watch of watches) {
      this.ticks += watch.ticks.length;
      watch.ticks = watch.ticks.slice(-SYMBOLS.length * 3);
      watch.statuses = watch.statuses.slice(-10);
    }
    for (const name of ledger.prices.keys()) {
      if (ledger.prices.size <= REMEMBERED) break;
      ledger.prices.delete(name);
    }
  }

  /** What came of it all, as lines. */
  summary() {
    const width = Math.max(...[...this.figures.keys()].map(({ length }) => length));
    const row = (/** @type {(string | number)[]} */ [kind, ...numbers]) => `${`${kind}`.padEnd(width)}${numbers.map((number) => `${number}`.padStart(12)).join('')}`;
    return [
      row(['fault', 'times', 'silence', 'allowed', 'one truth']),
      ...[...this.figures].sort(([a], [b]) => a.localeCompare(b)).map(([kind, { count, silence_ms, allowed_ms, truth_ms }]) => (
        row([kind, count, ms(silence_ms), ms(allowed_ms), ms(truth_ms)])
      )),
      `${this.rounds} faults, ${this.ticks} ticks checked, ${this.chats} messages heard, ${(this.resident_bytes / 2 ** 20).toFixed()} MiB in the largest replica, `
        + `${this.violations.length} violations`,
    ];
  }
}

/**
 * The longest time without a tick of any one symbol at a client, on one connection, that ended after `since` (ms).
 *
 * @param {Watch} watch
 * @param {number} since
 */
export function silence(watch, since) {
  let longest = 0;
  for (const symbol of SYMBOLS) {
    const ticks = watch.ticks.filter((tick) => tick.symbol === symbol);
    for (const [index, { at, connection }] of ticks.entries()) {
      if (index && at >= since && ticks[index - 1].connection === connection) longest = Math.max(longest, at - ticks[index - 1].at);
    }
    const last = ticks[ticks.length - 1];
    longest = Math.max(longest, performance.now() - Math.max(last?.at ?? since, since));
  }
  return longest;
}

/** @param {number} number */
const ms = (number) => `${Math.round(number)} ms`;
