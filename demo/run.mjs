#!/usr/bin/env node
// The whole picture without Docker: Redis, replicas and nginx on this machine, until Ctrl-C. `--help` says more.
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';

import { askReady, askRedis, Parts, until } from './parts.mjs';
import { choosePorts, programs, Refusal, root, settings, usage } from './settings.mjs';
import { startStandIns } from './venues.mjs';

/** How long nginx and Redis may take to end (ms). */
const END_MS = 5_000;
/** How long after their own deadline replicas are left alone, before they are killed (ms). */
const GRACE_MS = 2_000;
/** Files that nginx may open, where the machine allows more. */
const MAX_OPEN_FILES = 65_536;

async function main() {
  const config = settings();
  const found = programs(config);
  const ports = await choosePorts(config);
  const folder = mkdtempSync(join(tmpdir(), 'tickcast-demo-'));
  const parts = new Parts(folder, Math.max(...['redis', ...config.exchanges, ...config.replicas].map((name) => name.length)));

  // What ends the demo: a signal, a part that ended by itself, or that nobody reads our output any more.
  const over = new AbortController();
  let ready = false;
  /** @type {Error | null} */
  let failure = null;
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    process.on(signal, () => {
      if (over.signal.aborted) parts.killAll();
      else parts.say('demo', `${signal}: stopping (again to kill)`);
      over.abort();
    });
  }
  process.stdout.on('error', () => over.abort());
  parts.onEnd = ({ name, ended }) => {
    const spare = ready && config.keepGoing && config.replicas.includes(name) && config.replicas.some(parts.runs);
    parts.say('demo', `${name} ended by itself: ${ended}${spare ? '; the others go on' : ''}`);
    if (spare) return;
    failure ??= new Refusal(`stopped, because ${name} ended by itself`);
    over.abort();
  };

  try {
    const places = await startAll(config, found, ports, folder, parts, over.signal);
    ready = true;
    if (config.readyFile) {
      // Whole at once, for who waits for it.
      writeFileSync(`${config.readyFile}.new`, `${JSON.stringify(places, null, 2)}\n`);
      renameSync(`${config.readyFile}.new`, config.readyFile);
    }
    process.stdout.write('ready\n');
    await new Promise((resolve) => {
      if (over.signal.aborted) resolve();
      over.signal.addEventListener('abort', resolve);
    });
  } catch (error) {
    if (!over.signal.aborted) failure = error;
    over.abort();
  }

  // Clients and leases first, while everything is there that they need.
  await parts.stop(config.replicas, config.drainMs + GRACE_MS);
  await parts.stop(['nginx'], END_MS);
  await parts.stop(['redis', ...config.exchanges], END_MS);
  rmSync(folder, { recursive: true, force: true });
  if (ready && config.readyFile) rmSync(config.readyFile, { force: true });
  parts.guard.kill('SIGKILL');
  if (failure) throw failure;
}

/** Starts the parts, each when those that it needs are ready; says where to look, and returns where they are. */
async function startAll(config, { redisServer, nginx }, ports, folder, parts, signal) {
  const { replicas, exchanges, host, base } = config;
  const redisPort = String(ports.get('redis'));
  const redisUrl = `redis://127.0.0.1:${redisPort}`;
  const redisFolder = join(folder, 'redis');
  mkdirSync(redisFolder);
  const redis = parts.start('redis', redisServer, [
    ...['--bind', '127.0.0.1', '--port', redisPort, '--dir', redisFolder],
    ...['--save', '', '--appendonly', 'no', '--loglevel', 'warning'],
  ]);
  await until('redis', () => askRedis(redisPort), signal);

  // So that a chat can be tried from the console; what the caller sets wins.
  const env = { CHAT_AUTO_JOIN: 'true', API_OPEN: 'true', ...process.env, REDIS_URL: redisUrl };
  Object.assign(env, startStandIns(exchanges, ports, parts));
  for (const name of ['HOST', 'PORT', 'USERNAME', 'PASSWORD', 'ENABLED']) delete env[`REDIS_${name}`];
  // Colours are for terminals.
  if (!process.stdout.isTTY) env.NO_COLOR ??= '1';
  const apps = replicas.map((name) => {
    const app = parts.start(name, config.binary, [], { ...env, APP_ID: name, PORT: String(ports.get(name)) });
    return { id: name, url: `http://${host}:${ports.get(name)}${base}`, pid: app.child.pid };
  });
  await Promise.all(apps.map(({ id, url }) => until(id, () => askReady(url), signal)));

  const prefix = join(folder, 'nginx');
  mkdirSync(prefix);
  // Started by root, nginx works as somebody else, who has to reach its folders.
  chmodSync(folder, 0o711);
  writeFileSync(join(prefix, 'nginx.conf'), proxyConfig(config, ports));
  const args = ['-p', prefix, '-c', join(prefix, 'nginx.conf'), '-e', 'stderr'];
  const check = spawnSync(nginx, ['-t', '-q', ...args], { encoding: 'utf8' });
  if (check.status !== 0) throw new Refusal(`nginx refuses its configuration:\n${check.stderr}`);
  const proxy = parts.start('nginx', nginx, [...args, '-g', 'daemon off;']);
  const proxyUrl = `http://${host}:${ports.get('nginx')}${base}`;
  const { id } = await until('nginx', () => askReady(proxyUrl), signal);

  process.stdout.write(directions(config, ports, id));
  return {
    proxy: { url: proxyUrl, pid: proxy.child.pid },
    redis: { url: redisUrl, pid: redis.child.pid },
    replicas: apps,
  };
}

/** nginx's configuration: the template with our values, as the official image makes it with envsubst. */
function proxyConfig({ replicas, host, listen, balance, socketPath, maxPayload }, ports) {
  const allowed = Number(spawnSync('sh', ['-c', 'ulimit -Hn'], { encoding: 'utf8' }).stdout);
  const values = {
    PROXY_LISTEN: `${listen}${ports.get('nginx')}`,
    PROXY_BALANCE: balance,
    PROXY_SERVERS: replicas.map((name) => `server ${host}:${ports.get(name)} max_fails=2 fail_timeout=5s;`).join(' '),
    PROXY_SOCKET_PATH: socketPath,
    PROXY_MAX_PAYLOAD: maxPayload,
    // Not a number where there is no limit.
    PROXY_OPEN_FILES: Math.min(allowed || MAX_OPEN_FILES, MAX_OPEN_FILES),
  };
  const template = readFileSync(join(root, 'nginx/nginx.conf.template'), 'utf8');
  return template.replace(/\$\{(PROXY_\w+)\}/g, (_, name) => {
    if (!(name in values)) throw new Refusal(`nginx/nginx.conf.template has ${name}, which the demo does not know`);
    return String(values[name]);
  });
}

/** What to look at, and with what. `chosen` is the replica that nginx has for this machine. */
function directions({ replicas, host, base, balance, binary }, ports, chosen) {
  const name = host === '127.0.0.1' ? 'localhost' : host;
  const at = (part, path = '') => `http://${name}:${ports.get(part)}${base}${path}`;
  const lines = [
    `dashboard  ${at('nginx')}`,
    `chat       ${at('nginx', 'front/lobby')}`,
    `health     ${at('nginx', 'health')} (of the replica that nginx chooses)`,
    ...replicas.map((app) => `${app.padEnd(9)}  ${at(app, 'health')}  ${at(app, 'stats')}`),
    `cluster    ${at(replicas[0], 'stats?scope=cluster')}`,
    `           REDIS_URL=redis://127.0.0.1:${ports.get('redis')} ${relative(process.cwd(), binary)} nodes`,
    `redis      redis-cli -p ${ports.get('redis')} monitor`,
    `load test  make loadtest TARGET=http://${name}:${ports.get('nginx')}`,
  ];
  if (balance === 'ip_hash' && replicas.length > 1) {
    lines.push('', `With ip_hash all clients of one address are on one replica: those of this machine on ${chosen}.`);
    if (process.platform === 'linux' && name === 'localhost') {
      lines.push(
        'Clients from elsewhere (the first three numbers of the address count):',
        `  for n in 1 2 3 4; do curl --interface 127.0.$n.1 ${at('nginx', 'health')}; echo; done`,
      );
    }
    lines.push(
      "BALANCE='hash $remote_addr consistent' chooses by the whole address; BALANCE=least_conn the one with the fewest",
      'clients, and is for those that are WebSocket-only.',
    );
  }
  return `\n${lines.map((line) => `  ${line}`.trimEnd()).join('\n')}\n\n`;
}

if (process.argv.includes('--help')) {
  process.stdout.write(usage);
} else {
  try {
    await main();
  } catch (error) {
    process.stderr.write(`demo: ${error instanceof Refusal ? error.message : error.stack}\n`);
    process.exitCode = 1;
  }
}
