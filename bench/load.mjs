// The load tester: how it is called, and which of its figures are taken.
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { Refusal, symbols } from './servers.mjs';

/** Its exit codes when it has measured: all of its criteria held, or one did not (ours are others). */
const MEASURED = [0, 1];
/** How much longer than planned it may take (ms). */
const GRACE_MS = 60_000;

/**
 * Runs it against a server.
 *
 * @param {string} binary
 * @param {{name: string, url: string, pid: number}} server
 * @param {import('./works.mjs').Work} work
 * @param {{ramp_s: number, settle_s: number, measured_s: number, connect_s?: number,
 *   signal: AbortSignal}} times `connect_s`: what takes longer has failed
 */
export async function load(binary, server, work, { ramp_s, settle_s, measured_s, connect_s, signal }) {
  const folder = mkdtempSync(join(tmpdir(), 'tickcast-bench-'));
  const file = join(folder, 'report.json');
  const args = [
    server.url,
    ...['--pid', server.pid],
    ...['--clients', work.clients],
    ...['--ramp-rate', work.clients / ramp_s],
    ...['--settle', settle_s],
    ...['--duration', measured_s],
    ...['--symbols', symbols(work.symbols).join(',')],
    // The first seed's server knows arrays of symbols only.
    ...(server.name === 'node' ? [] : ['--mode', work.mode]),
    ...(work.sets ? ['--sets', work.sets, '--symbols-per-client', work.per_client] : []),
    ...(work.stalled_share ? ['--stalled-share', work.stalled_share] : []),
    ...(connect_s ? ['--connect-timeout', connect_s] : []),
    ...['--interval', work.interval_ms],
    ...['--json', file, '--quiet'],
  ].map(String);
  try {
    await run(binary, args, (ramp_s + settle_s + measured_s) * 1000 + GRACE_MS, signal);
    return figures(JSON.parse(readFileSync(file, 'utf8')));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Runs a program that says nothing unless something is wrong. Our environment may have its options: it gets none. */
function run(binary, args, limit_ms, signal) {
  return new Promise((done, fail) => {
    const child = spawn(binary, args, { env: { PATH: process.env.PATH }, stdio: ['ignore', 'ignore', 'pipe'], signal });
    let said = '';
    child.stderr.on('data', (text) => {
      said += text;
    });
    const timer = setTimeout(() => child.kill('SIGKILL'), limit_ms);
    const end = (how) => {
      clearTimeout(timer);
      if (how === null) done(undefined);
      else fail(new Refusal(`the load tester failed: ${how}\n${said.trim()}`));
    };
    child.once('error', (error) => end(error.message));
    child.once('exit', (code, killed) => end(MEASURED.includes(code) ? null : (killed ?? `exit code ${code}`)));
  });
}

/**
 * What is taken of its report. Updates are those of clients that read. Shares are of one core for the generator, which
 * has one, and of the machine for others.
 */
export function figures({ measured, clients, total, bottleneck }) {
  const { server, generator, machine, latency_ms, classes } = measured;
  if (!server) throw new Refusal('the server ended during the run, or its CPU cannot be read');
  return {
    cpu_us_per_update: classes.healthy.updates > 0 ? (server.cpu_s * 1e6) / classes.healthy.updates : null,
    // At the end, not when measuring began: what builds up meanwhile counts.
    kb_per_connection: measured.connected > 0 ? (server.rss_kb - server.rss_idle_kb) / measured.connected : null,
    rss_idle_kb: server.rss_idle_kb,
    updates_per_s: classes.healthy.updates / measured.seconds,
    bytes_per_s: measured.bytes_per_s,
    p50_ms: latency_ms.p50,
    p99_ms: latency_ms.p99,
    max_ms: latency_ms.max,
    lost: measured.continuity.lost,
    failed: clients.failed + clients.disconnected[0],
    connect_max_ms: total.connects.connect_ms.max,
    server_share: server.cpu_share,
    generator_share: generator.cpu_share,
    generator_wait_share: generator.wait_share,
    bottleneck: bottleneck.generator,
    why: bottleneck.why,
    other_share: machine.other_cpu_share / machine.cpus,
  };
}
