// The machine: what it is, how busy it is, and whether it is quiet enough to measure on.
import { readFileSync } from 'node:fs';
import { availableParallelism, cpus, release, totalmem } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';

/** Before a run others take less than this share of the machine, or it is waited for. */
const IDLE_SHARE = 0.04;
/** How long one look takes (ms). */
export const LOOK_MS = 1_000;
/** A run during which others took more than this share of the machine is disturbed. */
export const DISTURBED_SHARE = 0.05;

/** What the figures depend on. */
export function describe() {
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: availableParallelism(),
    memory_gb: Math.round(totalmem() / 2 ** 30),
    system: `${process.platform} ${release()}`,
    node: process.version,
  };
}

/** The share of the machine that was busy since `before`, with what to hand in the next time. */
export function busyShare(before) {
  // user nice system idle iowait irq softirq steal: time that a neighbour stole is no time of ours.
  const [user, nice, system, unused, iowait, irq, softirq, steal] = readFileSync('/proc/stat', 'utf8')
    .split('\n', 1)[0]
    .split(/\s+/)
    .slice(1)
    .map(Number);
  const busy = user + nice + system + irq + softirq + steal;
  const now = { busy, all: busy + unused + iowait };
  return { share: before ? (now.busy - before.busy) / Math.max(1, now.all - before.all) : NaN, now };
}

/**
 * Waits until the machine is idle, or for so long; one look at least.
 *
 * @param {number} limit_ms
 * @param {AbortSignal} signal
 */
export async function idle(limit_ms, signal) {
  const end = Date.now() + limit_ms;
  do {
    const { now } = busyShare();
    await sleep(LOOK_MS, undefined, { signal });
    if (busyShare(now).share < IDLE_SHARE) return;
  } while (Date.now() < end);
}
