// One measurement: a fresh server on an idle machine, under one work, by the load tester.
import { availableParallelism } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';

import { load } from './load.mjs';
import { DISTURBED_SHARE, LOOK_MS, idle } from './machine.mjs';
import { start, symbols } from './servers.mjs';
import { asked, key } from './works.mjs';

/** Clients that connect in a second: more than a start-up takes would be another measurement. */
const CONNECTS_PER_S = 2_000;
/** The arrival of many: how many, within how long (s), and how long they are watched after it. */
const ARRIVALS = { clients: 5_000, seconds: 5, after_s: 0.5 };
/**
 * How long clients do not read before costs are looked at (s): at 5 x 10/s, that is 130 kB. Linux takes some 4 MB for a
 * connection if nobody tells it to take less, and a server that leaves it at that goes on to pay for them.
 */
const STALLED_S = 30;
/** How long others are waited for before one run, and what waiting and runs that are made again may take in all (ms). */
const WAIT_MS = 60_000;
const PATIENCE_MS = { full: 600_000, quick: 180_000 };
/** How often a run that was disturbed is done again. */
const RETRIES = 2;
/** A rate is kept up as long as so much of it arrives, and so soon (ms). */
const KEPT_SHARE = 0.97;
const KEPT_P99_MS = 500;

/** Seconds of each part of a run. */
const FULL = { settle_s: 2, measured_s: 6, few_updates_s: 20, memory_s: 60, search_s: 4 };
const QUICK = { settle_s: 1, measured_s: 3, few_updates_s: 10, memory_s: 10, search_s: 2 };
/** CPU is counted in steps of 10 ms: works with fewer updates in a second are measured for longer. */
const FEW_PER_S = 5_000;

/** Measures cells, and says what it does on standard error. */
export class Meter {
  /**
   * @param {object} options
   * @param {Record<string, any>} options.servers how each is started
   * @param {string} options.loadtest the load tester's binary
   * @param {boolean} options.quick
   * @param {AbortSignal} options.signal
   * @param {(text: string) => void} options.say
   */
  constructor({ servers, loadtest, quick, signal, say }) {
    this.servers = servers;
    this.loadtest = loadtest;
    this.seconds = quick ? QUICK : FULL;
    this.patience_ms = quick ? PATIENCE_MS.quick : PATIENCE_MS.full;
    this.signal = signal;
    this.say = say;
  }

  /**
   * Measures a cell; again where others disturbed it. The least disturbed run counts.
   *
   * @param {import('./works.mjs').Cell} cell
   * @param {boolean} [searching] for the rate that is kept up
   */
  async measure(cell, searching = false) {
    let best;
    for (let attempt = 0; attempt <= RETRIES; attempt += 1) {
      const began_ms = Date.now();
      const figures = await this.once(cell, searching);
      if (attempt > 0) this.patience_ms -= Date.now() - began_ms;
      if (!best || figures.other_share < best.other_share) best = figures;
      if (best.other_share <= DISTURBED_SHARE || this.patience_ms <= 0) break;
    }
    best.disturbed = best.other_share > DISTURBED_SHARE;
    return best;
  }

  async once(cell, searching) {
    const { server: name, work } = cell;
    const feed = { symbols: symbols(work.symbols), interval_ms: work.interval_ms };
    const server = await start(name, this.servers[name], feed, this.signal);
    try {
      // The server has its first prices meanwhile, and is as large as it is without clients.
      const began_ms = Date.now();
      await idle(Math.min(WAIT_MS, this.patience_ms), this.signal);
      this.patience_ms -= Math.max(0, Date.now() - began_ms - LOOK_MS);
      const arrive = work.kind === 'connects';
      const figures = await (arrive ? this.arrive(server, work) : this.hold(server, work, searching));
      figures.asked_per_s = asked(work);
      figures.not_kept_up = wanting(figures);
      this.say(`${key(cell).padEnd(64)} ${inWords(figures)}`);
      return figures;
    } finally {
      await server.stop();
    }
  }

  /** Clients that stay. */
  hold(server, work, searching) {
    const { settle_s, measured_s, few_updates_s, memory_s, search_s } = this.seconds;
    const usual_s = asked(work) < FEW_PER_S ? few_updates_s : measured_s;
    return load(this.loadtest, server, work, {
      ramp_s: Math.max(1, work.clients / CONNECTS_PER_S),
      settle_s: work.stalled_share ? STALLED_S : settle_s,
      measured_s: work.kind === 'memory' ? memory_s : searching ? search_s : usual_s,
      signal: this.signal,
    });
  }

  /** Clients that stay, while many come. Two load testers: neither's figures are diluted by the other's clients. */
  async arrive(server, work) {
    const { settle_s } = this.seconds;
    const ramp_s = 1;
    const there = load(this.loadtest, server, work, {
      ramp_s,
      settle_s,
      measured_s: ARRIVALS.seconds + ARRIVALS.after_s,
      signal: this.signal,
    });
    const come = async () => {
      await sleep((ramp_s + settle_s) * 1000, undefined, { signal: this.signal });
      return load(this.loadtest, server, { ...work, clients: ARRIVALS.clients }, {
        ramp_s: ARRIVALS.seconds,
        settle_s: 0,
        measured_s: 1,
        connect_s: ARRIVALS.seconds,
        signal: this.signal,
      });
    };
    const [figures, arrivals] = await Promise.all([there, come()]);
    // To each of the two, the other is somebody else who takes the machine.
    const other_share = Math.max(0, figures.other_share - arrivals.generator_share / availableParallelism());
    const failed = figures.failed + arrivals.failed;
    // Nobody's memory: it is of all clients, and counted by those who were there first.
    return { ...figures, kb_per_connection: null, connect_max_ms: arrivals.connect_max_ms, other_share, failed, arrivals };
  }
}

/** In which way a rate was not kept up; none if it was. */
function wanting({ updates_per_s, asked_per_s, p99_ms }) {
  if (updates_per_s < KEPT_SHARE * asked_per_s) return 'fewer updates than asked';
  if (p99_ms > KEPT_P99_MS) return `p99 above ${KEPT_P99_MS} ms`;
  return undefined;
}

function inWords({ cpu_us_per_update, updates_per_s, p99_ms, generator_share, other_share, bottleneck }) {
  const parts = [
    `${cpu_us_per_update?.toFixed(2) ?? '-'} us/update`,
    `${Math.round(updates_per_s / 100) / 10} k/s`,
    `p99 ${p99_ms?.toFixed(1) ?? '-'} ms`,
    `generator ${(generator_share * 100).toFixed(0)} %${bottleneck ? ' (in the way)' : ''}`,
  ];
  if (other_share > DISTURBED_SHARE) parts.push(`disturbed: others ${(other_share * 100).toFixed(0)} %`);
  return parts.join(', ');
}
