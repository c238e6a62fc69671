#!/usr/bin/env node
// A rolling restart of the demo, under clients that count: each replica is drained in turn, started again, and nobody
// misses a tick. `--help` says more.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import http from 'node:http';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { askReady, until } from './parts.mjs';
import { Resuming } from './resuming.mjs';
import { Refusal, root } from './settings.mjs';

const require = createRequire(import.meta.url);

const usage = `usage: demo/rolling.mjs

Starts the demo on free ports, connects clients through its proxy, and has one replica after the other drain and start
again (POST /api/drain, as SIGTERM does). Then it says what the clients got; the exit code is 0 where none of them missed
a tick, got one twice, met a new epoch, or stayed away.

  CLIENTS=1000            how many: official clients, 7 of 10 4.x over a WebSocket, the others 4.x that begin with polling
                          and upgrade, 4.x that only poll, and 2.x
  SYMBOLS=BTC,ETH,SOL,ADA,XRP
  UPDATE_INTERVAL=500     ms between two ticks of a symbol
  HOLD=5000               ms for which all clients get ticks before, between and after the restarts
  DRAIN_SPREAD            and all other settings of the demo (demo/run.mjs --help), such as REPLICAS, PROXY and BIN
`;

/** Of ten clients: the version, and the transports. */
const KINDS = [
  ...Array(7).fill({ name: '4.x websocket', io: 'socket.io-client', transports: ['websocket'] }),
  { name: '4.x upgrade', io: 'socket.io-client', transports: ['polling', 'websocket'] },
  { name: '4.x polling', io: 'socket.io-client', transports: ['polling'] },
  { name: '2.x upgrade', io: 'socket.io-client-2', transports: ['polling', 'websocket'] },
];

/** Networks that clients come from, each with an address of its own on this machine. */
const NETWORKS = 100;
/** Clients that begin to connect at a time, and the pause between (ms). */
const BATCH = 25;
const BATCH_PAUSE_MS = 50;
/** How long clients may need to be back (ms). */
const BACK_MS = 60_000;
/** How often it is looked (ms). */
const LOOK_MS = 100;

async function main() {
  const count = Number(process.env.CLIENTS || 1000);
  if (!Number.isInteger(count) || count < 1 || count > 5000) throw new Refusal(`CLIENTS: "${process.env.CLIENTS}" is not allowed: must be 1 to 5000`);
  const hold = Number(process.env.HOLD || 5000);
  if (!(hold >= 0 && hold <= 600_000)) throw new Refusal(`HOLD: "${process.env.HOLD}" is not allowed: must be 0 to 600000`);
  const symbols = (process.env.SYMBOLS || 'BTC,ETH,SOL,ADA,XRP').split(',');
  const folder = mkdtempSync(join(tmpdir(), 'tickcast-rolling-'));
  const readyFile = join(folder, 'ready.json');
  const env = {
    ...{ REPLICAS: '3', PORT_BASE: '0', PROXY_PORT: '0', REDIS_PORT: '0', HOST: '127.0.0.1', LOG_LEVEL: 'warn' },
    // By the whole address, and so that few clients move when replicas come and go; so many come from one address.
    ...(process.env.PROXY === 'haproxy' ? {} : { BALANCE: 'hash $remote_addr consistent' }),
    ...process.env,
    ...{ SYMBOLS: symbols.join(), KEEP_GOING: 'restart' },
  };
  const demo = spawn(process.execPath, ['demo/run.mjs', '--ready-file', readyFile], { cwd: root, env, stdio: ['ignore', 'pipe', 'inherit'] });
  let said = '';
  demo.stdout.on('data', (text) => (said = (said + text).slice(-20_000)));
  const exited = once(demo, 'exit');
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    process.once(signal, () => {
      process.exitCode = 1;
      demo.kill('SIGTERM');
      exited.then(() => process.exit());
    });
  }
  const agents = Array.from({ length: NETWORKS }, (_, i) => new http.Agent({ keepAlive: true, ...{ localAddress: `127.0.${i + 1}.1` } }));
  /** @type {{ kind: string, client: Resuming }[]} */
  const clients = [];
  try {
    await waitFor(() => existsSync(readyFile) || demo.exitCode !== null, 'the demo');
    if (demo.exitCode !== null) throw new Refusal(`the demo did not start:\n${said}`);
    const { proxy, replicas } = JSON.parse(readFileSync(readyFile, 'utf8'));
    say(`${replicas.length} replicas behind ${proxy.url}; connecting ${count} clients`);
    for (let i = 0; i < count; i += 1) {
      const { name, io: library, transports } = KINDS[i % KINDS.length];
      const io = library === 'socket.io-client' ? require(library).io : require(library);
      const socket = io(new URL(proxy.url).origin, { forceNew: true, transports, agent: agents[i % agents.length] });
      clients.push({ kind: name, client: new Resuming(socket, symbols) });
      if (i % BATCH === BATCH - 1) await sleep(BATCH_PAUSE_MS);
    }
    await waitFor(() => clients.every(({ client }) => client.ticks > 0), 'ticks for everybody', () => missing(clients));
    await sleep(hold);

    for (const { id, url } of replicas) {
      const there = clients.filter(({ client }) => client.server === id);
      const begun = performance.now();
      const asked = await fetch(`${url}api/drain`, { method: 'POST' });
      if (asked.status !== 202) throw new Refusal(`${id} does not drain: ${asked.status} ${await asked.text()}`);
      // Until its next life is ready: one that began after this was asked for.
      const again = async () => {
        const { answer, wrong } = await askReady(url);
        return answer && answer.uptime_ms < performance.now() - begun ? { answer } : { wrong: wrong ?? 'it has not ended yet' };
      };
      await until(id, again, new AbortController().signal);
      const ready = performance.now();
      await waitFor(() => there.every(({ client }) => client.server), `the clients of ${id}`, () => missing(clients));
      const s = (/** @type {number} */ ms) => `${(ms / 1000).toFixed(1)} s`;
      say(`${id}: ${there.length} clients were there; ready again after ${s(ready - begun)}, all clients back after ${s(performance.now() - begun)}`);
      await sleep(hold);
    }
    // Who was cut off once more meanwhile comes back, too: what it missed counts.
    await waitFor(() => clients.every(({ client }) => client.server), 'everybody to be back', () => missing(clients));
    report(clients);
    return verdict(clients);
  } finally {
    for (const { client } of clients) client.socket.close();
    for (const agent of agents) agent.destroy();
    demo.kill('SIGTERM');
    await exited;
    rmSync(folder, { recursive: true, force: true });
  }
}

/** @param {string} text */
function say(text) {
  process.stdout.write(`${text}\n`);
}

/** Fails after a while. @param {() => boolean} look @param {string} what @param {() => string} [more] */
async function waitFor(look, what, more = () => '') {
  const end = performance.now() + BACK_MS;
  while (!look()) {
    if (performance.now() > end) throw new Refusal(`waited ${BACK_MS} ms for ${what} ${more()}`);
    await sleep(LOOK_MS);
  }
}

/** @param {{ kind: string, client: Resuming }[]} clients */
function missing(clients) {
  const away = clients.filter(({ client }) => !client.server || client.ticks === 0);
  return `(${away.length} of ${clients.length}: ${[...new Set(away.map(({ kind }) => kind))].join(', ')})`;
}

/** What there is of something, over some clients. */
const total = (clients, what) => clients.reduce((sum, { client }) => sum + what(client), 0);

/** @param {{ kind: string, client: Resuming }[]} clients */
function report(clients) {
  const kinds = [...new Set(clients.map(({ kind }) => kind))].map((kind) => [kind, clients.filter((each) => each.kind === kind)]);
  const columns = {
    clients: (of) => of.length,
    'cut off': (of) => total(of, ({ cuts }) => cuts.length),
    told: (of) => total(of, ({ drains }) => drains.length),
    ticks: (of) => total(of, ({ ticks }) => ticks),
    replayed: (of) => total(of, ({ replayed }) => replayed),
    conflated: (of) => total(of, ({ conflated }) => conflated),
    missed: (of) => total(of, ({ missed }) => missed),
    twice: (of) => total(of, ({ repeated }) => repeated),
    epochs: (of) => total(of, ({ epochChanges }) => epochChanges),
    'p50 silence': (of) => silence(of, 0.5),
    'p99 silence': (of) => silence(of, 0.99),
  };
  const rows = [...kinds, ['all', clients]].map(([name, of]) => [name, ...Object.values(columns).map((column) => String(column(of)))]);
  const table = [['', ...Object.keys(columns)], ...rows];
  const widths = table[0].map((_, column) => Math.max(...table.map((row) => row[column].length)));
  say('');
  for (const row of table) say(row.map((cell, i) => (i ? cell.padStart(widths[i]) : cell.padEnd(widths[i]))).join('  '));
  for (const { kind, client } of clients) {
    for (const { before, epoch, server } of client.turns) say(`a client (${kind}) that had epoch ${before} was told at ${server}: ${epoch}`);
  }
  say('\nsilence: the longest time in which a client got no tick of its first symbol.');
}

/** The longest silence of so many of these clients, in words. */
function silence(of, share) {
  const all = of.map(({ client }) => client.silence).sort((a, b) => a - b);
  return `${(all[Math.min(all.length - 1, Math.floor(all.length * share))] / 1000).toFixed(1)} s`;
}

/** @param {{ kind: string, client: Resuming }[]} clients */
function verdict(clients) {
  const sums = ['missed', 'repeated', 'epochChanges'].map((what) => total(clients, (client) => client[what]));
  const away = clients.filter(({ client }) => !client.server).length;
  const refused = total(clients, ({ refusals }) => refusals.length);
  const good = [...sums, away, refused].every((number) => number === 0);
  say(good ? 'nobody missed anything' : `missed ${sums[0]}, twice ${sums[1]}, epochs ${sums[2]}, away ${away}, refused ${refused}`);
  return good;
}

if (process.argv.includes('--help')) {
  process.stdout.write(usage);
} else {
  try {
    const good = await main();
    if (!good) process.exitCode = 1;
  } catch (error) {
    process.stderr.write(`rolling: ${error instanceof Refusal ? error.message : error.stack}\n`);
    process.exitCode = 1;
  }
}
