// What can go wrong: how it is brought about and mended, whose clients it touches, and how long they may hear nothing.
import { setTimeout as sleep } from 'node:timers/promises';
import { isInside, swallow } from '../support/blackhole.mjs';
import { freeze } from '../support/cluster.mjs';

/** @typedef {import('./storm.mjs').Scene} Scene */

/** The life of a lease under the storm (ms). */
export const LEASE_MS = 1000;

/** How often prices are made under the storm (ms). */
export const PACE_MS = 100;

/** The longest time without a tick at a client of a healthy replica (ms). */
export const SILENCE_MS = {
  /** Redis, or the way to it, says that it is gone. */
  closed: 500,
  /** It says nothing at all. */
  hung: 2000,
  /** The publisher is gone: its lease has to end. */
  takeover: LEASE_MS + 1000,
};

/**
 * @typedef {object} Fault
 * @property {string} kind
 * @property {number} weight how often it is drawn, against the others
 * @property {[number, number]} lasts_ms between which
 * @property {(scene: Scene) => string[]} [strikes] replicas that are not healthy meanwhile; none unless it says so
 * @property {(scene: Scene, struck: string[]) => string[]} [alone] who has to say that it is on its own, if it lasts; nobody unless it says so
 * @property {(scene: Scene, struck: string[]) => number} silence_ms how long the clients of healthy ones may hear nothing
 * @property {(scene: Scene, lasts_ms: number, struck: string[]) => Promise<unknown>} run until it is mended
 */

const closed = () => SILENCE_MS.closed;
const hung = () => SILENCE_MS.hung;

const everybody = (/** @type {Scene} */ { ids }) => ids;
const itself = (/** @type {Scene} */ _, /** @type {string[]} */ struck) => struck;

/** One replica, any of them. @param {Scene} scene */
const anyone = ({ draw, ids }) => [draw.from(ids)];
/** The one that publishes. @param {Scene} scene */
const publisher = (scene) => [scene.publisher];
/** Whoever loses the publisher waits for its lease. @param {Scene} scene @param {string[]} struck */
const ofReplica = ({ publisher: of }, struck) => (struck.includes(of) ? SILENCE_MS.takeover : SILENCE_MS.closed);

/** A replica is gone, and comes back. @param {Scene} scene @param {string} id @param {NodeJS.Signals} signal @param {number} lasts_ms */
async function restart({ cluster, restarted }, id, signal, lasts_ms) {
  await cluster.replica(id).stop(signal);
  await sleep(lasts_ms);
  await restarted(id);
}

/** @type {Fault[]} */
const DROPPING = [
  {
    kind: 'packets between one replica and Redis are dropped',
    alone: itself,
    weight: 3,
    lasts_ms: [200, 8000],
    silence_ms: hung,
    strikes: anyone,
    async run({ cable }, lasts_ms, [id]) {
      swallow([cable(id).port]);
      await sleep(lasts_ms);
      swallow([]);
    },
  },
];

/** @type {Fault[]} */
export const FAULTS = [
  ...(isInside ? DROPPING : []),
  {
    kind: 'Redis is killed and comes back empty',
    alone: everybody,
    weight: 3,
    lasts_ms: [0, 5000],
    silence_ms: closed,
    async run({ cluster: { redis } }, lasts_ms) {
      await redis.kill();
      // An earlier fault may have saved something.
      await redis.forget();
      await sleep(lasts_ms);
      await redis.begin();
    },
  },
  {
    kind: 'Redis fails over and has lost its last writes',
    weight: 2,
    lasts_ms: [0, 2000],
    silence_ms: closed,
    async run({ cluster: { redis } }, lasts_ms) {
      await redis.ask('SAVE');
      // What is written from here on is lost.
      await sleep(500);
      await redis.kill();
      await sleep(lasts_ms);
      await redis.begin();
    },
  },
  {
    kind: 'Redis is emptied',
    weight: 1,
    lasts_ms: [0, 0],
    silence_ms: closed,
    run: ({ cluster: { redis } }) => redis.ask('FLUSHALL'),
  },
  {
    kind: 'Redis ends every connection',
    weight: 2,
    lasts_ms: [0, 0],
    silence_ms: closed,
    async run({ cluster: { redis } }) {
      for (const type of ['normal', 'pubsub']) await redis.ask('CLIENT', 'KILL', 'TYPE', type);
    },
  },
  {
    kind: 'Redis is stopped',
    alone: everybody,
    weight: 3,
    lasts_ms: [200, 5000],
    silence_ms: hung,
    async run({ cluster: { redis } }, lasts_ms) {
      redis.child?.kill('SIGSTOP');
      await sleep(lasts_ms);
      redis.child?.kill('SIGCONT');
    },
  },
  ...['WRITE', 'ALL'].map((what) => ({
    kind: `CLIENT PAUSE ${what}`,
    alone: everybody,
    weight: 2,
    lasts_ms: /** @type {[number, number]} */ ([200, 5000]),
    silence_ms: hung,
    /** @param {Scene} scene @param {number} lasts_ms */
    async run({ cluster: { redis } }, lasts_ms) {
      await redis.ask('CLIENT', 'PAUSE', `${lasts_ms}`, what);
      await sleep(lasts_ms);
    },
  })),
  {
    kind: 'one replica is cut off',
    alone: itself,
    weight: 3,
    lasts_ms: [20, 5000],
    silence_ms: (scene, [id]) => (id === scene.publisher ? SILENCE_MS.takeover : SILENCE_MS.closed),
    async run({ cable }, lasts_ms, [id]) {
      cable(id).cut();
      await sleep(lasts_ms);
      cable(id).mend();
    },
    strikes: anyone,
  },
  {
    kind: 'one replica hears nothing of Redis',
    alone: itself,
    weight: 3,
    lasts_ms: [200, 5000],
    silence_ms: hung,
    async run({ cable }, lasts_ms, [id]) {
      cable(id).hold();
      await sleep(lasts_ms);
      cable(id).mend();
    },
    strikes: anyone,
  },
  {
    kind: 'the publisher is cut off',
    alone: itself,
    weight: 2,
    lasts_ms: [20, 5000],
    silence_ms: () => SILENCE_MS.takeover,
    async run({ cable }, lasts_ms, [id]) {
      cable(id).cut();
      await sleep(lasts_ms);
      cable(id).mend();
    },
    strikes: publisher,
  },
  {
    kind: 'every replica is cut off, for different times',
    weight: 2,
    lasts_ms: [500, 4000],
    silence_ms: () => SILENCE_MS.takeover,
    run: ({ cable, ids, draw }, lasts_ms) => Promise.all(ids.map(async (id) => {
      const [late_ms, length_ms] = [draw.between(0, 1000), draw.between(50, lasts_ms)];
      await sleep(late_ms);
      cable(id).cut();
      await sleep(length_ms);
      cable(id).mend();
    })),
  },
  ...[{ signal: /** @type {NodeJS.Signals} */ ('SIGKILL'), how: 'killed' }, { signal: /** @type {NodeJS.Signals} */ ('SIGTERM'), how: 'ended in order' }]
    .flatMap(({ signal, how }) => [{ who: 'a replica', strikes: anyone }, { who: 'the publisher', strikes: publisher }]
      .map(({ who, strikes }) => ({
        kind: `${who} is ${how}, and comes back`,
        weight: 1,
        lasts_ms: /** @type {[number, number]} */ ([0, 4000]),
        silence_ms: ofReplica,
        strikes,
        /** @param {Scene} scene @param {number} lasts_ms @param {string[]} struck */
        run: (scene, lasts_ms, [id]) => restart(scene, id, signal, lasts_ms),
      }))),
  {
    kind: 'a replica is stopped, and wakes late',
    weight: 2,
    lasts_ms: [500, 5000],
    silence_ms: ofReplica,
    strikes: anyone,
    run: stopped,
  },
  {
    kind: 'the publisher is stopped, and wakes late',
    weight: 2,
    lasts_ms: [LEASE_MS / 2, 5000],
    silence_ms: ofReplica,
    strikes: publisher,
    run: stopped,
  },
  {
    kind: 'a replica starves',
    weight: 2,
    lasts_ms: [1000, 4000],
    silence_ms: ofReplica,
    strikes: anyone,
    async run({ cluster }, lasts_ms, [id]) {
      const { child } = cluster.replica(id);
      for (const end = performance.now() + lasts_ms; performance.now() < end;) {
        child.kill('SIGSTOP');
        await sleep(180);
        child.kill('SIGCONT');
        await sleep(20);
      }
    },
  },
];

/** @param {Scene} scene @param {number} lasts_ms @param {string[]} struck */
async function stopped({ cluster }, lasts_ms, [id]) {
  const server = cluster.replica(id);
  await freeze(server);
  await sleep(lasts_ms);
  server.child.kill('SIGCONT');
}
