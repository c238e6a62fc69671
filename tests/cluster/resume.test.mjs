// A client comes back, to the same replica or to another, says up to where it has what, and gets what it missed.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { closeAfter, connect, request, transports, until } from '../support/clients.mjs';
import { Cluster, SYMBOLS } from '../support/cluster.mjs';
import { Proxy } from '../support/proxy.mjs';

const IDS = ['app1', 'app2'];

/** A client that notes what it has, over its connections, and fails when the numbers do not go on. */
class Traveller {
  constructor() {
    /** @type {Record<string, number>} */
    this.since = {};
    this.epoch = '';
    /** @type {Map<number, any>} */
    this.ticks = new Map();
    /** How each answer resumed. @type {Record<string, string>[]} */
    this.resumed = [];
    /** @type {string[]} */
    this.violations = [];
    this.live = 0;
    /** @type {any} */
    this.socket = undefined;
  }

  /**
   * Comes by some way, and resumes.
   *
   * @param {string} url
   * @param {{ mode?: string, maxRate?: number, epoch?: string, [option: string]: any }} [options]
   */
  async come(url, { mode = 'tick', maxRate, epoch = this.epoch, ...options } = {}) {
    const socket = await connect(url, options);
    this.socket = socket;
    const resumes = Object.keys(this.since).length > 0;
    const payload = { symbols: SYMBOLS, mode, maxRate, ...(resumes ? { since: { ...this.since }, epoch } : {}) };
    const answer = await new Promise((resolve) => {
      socket.on('tick', (/** @type {any} */ tick) => this.#take(tick, 'live'));
      socket.on('ticks', (/** @type {any[]} */ ticks) => ticks.forEach((tick) => this.#take(tick, 'live')));
      socket.emit('subscribe', payload, (/** @type {any} */ body) => {
        // What it got before the answer is a fault, and is seen as one: the numbers do not go on.
        for (const tick of body.snapshot ?? []) this.#take(tick, 'snapshot', body);
        for (const tick of body.replay ?? []) this.#take(tick, 'replay', body);
        resolve(body);
      });
    });
    assert.equal(answer.ok, true, JSON.stringify(answer));
    this.epoch = answer.epoch;
    this.resumed.push(answer.resumed);
    for (const symbol of SYMBOLS) {
      const has = (/** @type {any[]} */ ticks) => ticks.some((tick) => tick.symbol === symbol);
      const how = resumes ? answer.resumed[symbol] : 'snapshot';
      assert.deepEqual([how, has(answer.snapshot), has(answer.replay)], [how, how === 'snapshot', how === 'replayed']);
    }
    return answer;
  }

  /** Resolves after so many more live ticks. @param {number} count */
  async more(count) {
    const goal = this.live + count * SYMBOLS.length;
    await until(() => this.live >= goal || this.violations.length > 0, `${goal - this.live} ticks`);
    assert.deepEqual(this.violations, []);
  }

  go() {
    this.socket.close();
  }

  /** @param {any} tick @param {string} how @param {any} [answer] */
  #take(tick, how, answer) {
    const last = this.since[tick.symbol];
    const goesOn = how === 'snapshot'
      ? last === undefined || answer.epoch !== this.epoch || tick.seq >= last
      : tick.seq === last + (tick.n ?? 1);
    if (!goesOn) this.violations.push(`${how} ${JSON.stringify(tick)} after ${last}`);
    this.since[tick.symbol] = tick.seq;
    if (how === 'live') this.live += 1;
  }
}

/** Resolves when this holds of the latest price of each symbol at a replica. @param {Cluster} cluster @param {string} id @param {(tick: any) => boolean} holds */
const past = (cluster, id, holds) => until(async () => {
  const ticks = await Promise.all(SYMBOLS.map((symbol) => cluster.replica(id).json(`/api/prices/${symbol}`)));
  return ticks.every(holds);
}, `the prices at ${id} to have gone on`);

describe('resume', { concurrency: true }, () => {
  for (const [kind, list] of Object.entries(transports)) {
    it(`${kind}: on the other replica, and back`, async (test) => {
      const cluster = await Cluster.start(test, { ids: IDS });
      const traveller = new Traveller();
      closeAfter(test, { close: () => traveller.go() });
      await traveller.come(cluster.replica('app1').url, { transports: list });
      for (let turn = 1; turn <= 6; turn += 1) {
        await traveller.more(3);
        traveller.go();
        if (turn % 2) await sleep(200);
        await traveller.come(cluster.replica(IDS[turn % 2]).url, { transports: list, mode: turn % 3 ? 'tick' : 'batch' });
      }
      await traveller.more(3);
      const kinds = new Set(traveller.resumed.slice(1).flatMap((resumed) => Object.values(resumed)));
      assert.ok(kinds.has('replayed') && !kinds.has('snapshot'), JSON.stringify([...kinds]));

      // With a rate it is one tick for all.
      traveller.go();
      await past(cluster, 'app2', ({ symbol, seq }) => seq >= traveller.since[symbol] + 3);
      const answer = await traveller.come(cluster.replica('app2').url, { transports: list, maxRate: 5 });
      assert.ok(answer.replay.length === SYMBOLS.length && answer.replay.every((/** @type {any} */ { n, high, low, price }) => n > 1 && low <= price && price <= high));
      await traveller.more(3);

      // Of another epoch it is no use.
      traveller.go();
      await traveller.come(cluster.replica('app1').url, { transports: list, epoch: 'another' });
      assert.deepEqual(new Set(Object.values(traveller.resumed[traveller.resumed.length - 1])), new Set(['snapshot']));
      await traveller.more(3);
      cluster.check();
    });
  }

  it('misses nothing where nothing came meanwhile, nor where the other replica is behind', async (test) => {
    const cluster = await Cluster.start(test, { ids: IDS });
    const first = await connect(cluster.replica('app1').url);
    const second = await connect(cluster.replica('app2').url);
    closeAfter(test, first, second);
    /** @type {Map<string, number>} */
    const last = new Map();
    /** @type {string[]} */
    const violations = [];
    second.on('tick', (/** @type {any} */ { symbol, seq, n = 1 }) => {
      const before = last.get(symbol);
      if (before !== undefined && seq !== before + n) violations.push(`${symbol} ${seq} after ${before}`);
      if (before !== undefined) last.set(symbol, seq);
    });
    const { epoch } = await request(first, 'subscribe', 'BTC');
    /** @type {Record<string, number>} */
    const seen = { current: 0, replayed: 0 };
    for (let turn = 0; turn < 200 && seen.current < 5; turn += 1) {
      // In the very moment in which the one has it, the other is asked.
      const answer = await new Promise((resolve) => first.once('tick', (/** @type {any} */ { seq }) => {
        second.emit('subscribe', { symbols: ['BTC'], since: { BTC: seq }, epoch }, (/** @type {any} */ body) => {
          const replay = body.replay ?? [];
          last.set('BTC', replay.length > 0 ? replay[replay.length - 1].seq : seq);
          resolve(body);
        });
      }));
      seen[answer.resumed.BTC] += 1;
      const had = last.get('BTC') ?? 0;
      await until(() => (last.get('BTC') ?? 0) > had, 'a tick');
    }
    assert.deepEqual(violations, []);
    assert.ok(seen.current >= 5, JSON.stringify(seen));
  });

  it('what is not held any more is a snapshot', async (test) => {
    const cluster = await Cluster.start(test, { ids: IDS, env: { HISTORY_SECONDS: '1' } });
    const traveller = new Traveller();
    closeAfter(test, { close: () => traveller.go() });
    await traveller.come(cluster.replica('app1').url);
    await traveller.more(3);
    traveller.go();
    const gone = Date.now();
    await past(cluster, 'app2', ({ ts }) => ts > gone + 2500);
    await traveller.come(cluster.replica('app2').url);
    assert.deepEqual(new Set(Object.values(traveller.resumed[1])), new Set(['snapshot']));
    await traveller.more(3);
  });

  it('through nginx, when its replica goes', async (test) => {
    const cluster = await Cluster.start(test, { ids: IDS, env: { LEASE_TTL: '1000' } });
    const proxy = await Proxy.start(IDS.map((id) => cluster.replica(id)));
    cluster.undo.push(() => proxy.stop());
    const agents = await proxy.agentsTo(IDS);
    const { publisher } = await cluster.roles();
    const agent = agents.get(publisher);
    for (const list of Object.values(transports)) {
      const traveller = new Traveller();
      await traveller.come(proxy.url, { transports: list, agent });
      await traveller.more(3);
      traveller.go();
      await traveller.come(proxy.url, { transports: list, agent });
      await traveller.more(3);
      traveller.go();
      if (list !== transports.upgrade) continue;
      await cluster.replica(publisher).stop('SIGKILL');
      const answer = await traveller.come(proxy.url, { transports: list, agent });
      assert.notEqual(answer.server.id, publisher);
      assert.ok(!Object.values(answer.resumed).includes('snapshot'), JSON.stringify(answer.resumed));
      await traveller.more(10);
      traveller.go();
    }
  });
});
