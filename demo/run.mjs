#!/usr/bin/env node
// The whole picture without Docker: Redis, replicas and a proxy on this machine, until Ctrl-C. `--help` says more.
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';

import { askReady, askRedis, Parts, until } from './parts.mjs';
import { choosePorts, programs, Refusal, root, settings, usage } from './settings.mjs';
import { startStandIns } from './venues.mjs';

/** How long the proxy and Redis may take to end (ms). */
const END_MS = 5_000;
/** How long after their own deadline replicas are left alone, before they are killed (ms). */
const GRACE_MS = 2_000;
/** Files that the proxy may open, where the machine allows more. */
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
  /** Starts a replica. @type {(name: string) => void} */
  let startReplica = () => {};
  parts.onEnd = ({ name, ended }) => {
    const isReplica = ready && config.keepGoing && config.replicas.includes(name);
    const again = isReplica && config.startAgain;
    const spare = again || (isReplica && config.replicas.some(parts.runs));
    const next = again ? '; starting it again' : '; the others go on';
    parts.say('demo', `${name} ended by itself: ${ended}${spare ? next : ''}`);
    if (again) startReplica(name);
    if (spare) return;
    failure ??= new Refusal(`stopped, because ${name} ended by itself`);
    over.abort();
  };

  try {
    const { places, start } = await startAll(config, found, ports, folder, parts, over.signal);
    startReplica = start;
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
  await parts.stop([config.proxy], END_MS);
  await parts.stop(['redis', ...config.exchanges], END_MS);
  rmSync(folder, { recursive: true, force: true });
  if (ready && config.readyFile) rmSync(config.readyFile, { force: true });
  parts.guard.kill('SIGKILL');
  if (failure) throw failure;
}

/** Starts the parts, each when those that it needs are ready; says where to look, and returns where they are. */
async function startAll(config, { redisServer, proxyServer }, ports, folder, parts, signal) {
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
  // Of its log, too, each has a folder of its own.
  const own = (name) => ({ APP_ID: name, PORT: String(ports.get(name)), LOG_DIR: join(env.LOG_DIR || 'logs', name) });
  const start = (name) => parts.start(name, config.binary, [], { ...env, ...own(name) });
  const apps = replicas.map((name) => {
    const app = start(name);
    return { id: name, url: `http://${host}:${ports.get(name)}${base}`, pid: app.child.pid };
  });
  await Promise.all(apps.map(({ id, url }) => until(id, () => askReady(url), signal)));

  const proxy = proxies[config.proxy](config, proxyServer, ports, folder, parts);
  const proxyUrl = `http://${host}:${ports.get(config.proxy)}${base}`;
  const { id } = await until(config.proxy, () => askReady(proxyUrl), signal);

  process.stdout.write(directions(config, ports, id));
  const places = {
    proxy: { url: proxyUrl, pid: proxy.child.pid },
    redis: { url: redisUrl, pid: redis.child.pid },
    replicas: apps,
  };
  return { places, start };
}

/** Starts each proxy, in a way that stops where its configuration is wrong. */
const proxies = {
  nginx(config, nginx, ports, folder, parts) {
    const prefix = join(folder, 'nginx');
    mkdirSync(prefix);
    // Started by root, nginx works as somebody else, who has to reach its folders.
    chmodSync(folder, 0o711);
    writeFileSync(join(prefix, 'nginx.conf'), nginxConfig(config, ports));
    const args = ['-p', prefix, '-c', join(prefix, 'nginx.conf'), '-e', 'stderr'];
    check(nginx, ['-t', '-q', ...args]);
    return parts.start('nginx', nginx, [...args, '-g', 'daemon off;']);
  },

  // It reads its variables by itself, and is one process.
  haproxy({ replicas, host, listen, base, balance, socketPath, maxPayload }, haproxy, ports, _, parts) {
    const servers = replicas.flatMap((name, i) => (
      ['FRONT', 'BACK'].map((side) => [`PROXY_${side}_${i + 1}`, `${host}:${ports.get(name)}`])
    ));
    const env = {
      ...process.env,
      PROXY_LISTEN: `${listen || '*:'}${ports.get('haproxy')}`,
      PROXY_BALANCE: balance,
      PROXY_BASE_PATH: base.slice(0, -1),
      PROXY_SOCKET_PATH: socketPath,
      PROXY_MAX_PAYLOAD: String(maxPayload),
      // Two files each, and some of its own.
      PROXY_MAX_CONNECTIONS: String(Math.floor(openFiles() / 2) - 100),
      ...Object.fromEntries(servers),
    };
    const args = ['-f', join(root, 'haproxy/haproxy.cfg')];
    check(haproxy, ['-c', '-q', ...args], env);
    return parts.start('haproxy', haproxy, ['-db', ...args], env);
  },
};

/** Asks a program whether it takes its configuration. */
function check(program, args, env = process.env) {
  const { status, stderr } = spawnSync(program, args, { encoding: 'utf8', env });
  if (status !== 0) throw new Refusal(`${program} refuses its configuration:\n${stderr}`);
}

/** How many files the proxy may open. */
function openFiles() {
  const allowed = Number(spawnSync('sh', ['-c', 'ulimit -Hn'], { encoding: 'utf8' }).stdout);
  // Not a number where there is no limit.
  return Math.min(allowed || MAX_OPEN_FILES, MAX_OPEN_FILES);
}

/** nginx's configuration: the template with our values, as the official image makes it with envsubst. */
function nginxConfig({ replicas, host, listen, base, balance, socketPath, maxPayload }, ports) {
  const values = {
    PROXY_LISTEN: `${listen}${ports.get('nginx')}`,
    PROXY_BALANCE: balance,
    PROXY_SERVERS: replicas.map((name) => `server ${host}:${ports.get(name)} max_fails=0;`).join(' '),
    PROXY_BASE_PATH: base.slice(0, -1),
    PROXY_SOCKET_PATH: socketPath,
    PROXY_MAX_PAYLOAD: maxPayload,
    PROXY_OPEN_FILES: openFiles(),
  };
  const template = readFileSync(join(root, 'nginx/nginx.conf.template'), 'utf8');
  return template.replace(/\$\{(PROXY_\w+)\}/g, (_, name) => {
    if (!(name in values)) throw new Refusal(`nginx/nginx.conf.template has ${name}, which the demo does not know`);
    return String(values[name]);
  });
}

/** What to look at, and with what. `chosen` is the replica that the proxy has for this machine. */
function directions({ replicas, host, base, proxy, balance, binary }, ports, chosen) {
  const name = host === '127.0.0.1' ? 'localhost' : host;
  const at = (part, path = '') => `http://${name}:${ports.get(part)}${base}${path}`;
  const lines = [
    `dashboard  ${at(proxy)}`,
    `chat       ${at(proxy, 'front/lobby')}`,
    `health     ${at(proxy, 'health')} (of the replica that ${proxy} chooses)`,
    ...replicas.map((app) => `${app.padEnd(9)}  ${at(app, 'health')}  ${at(app, 'stats')}`),
    `cluster    ${at(replicas[0], 'stats?scope=cluster')}`,
    `           REDIS_URL=redis://127.0.0.1:${ports.get('redis')} ${relative(process.cwd(), binary)} nodes`,
    `redis      redis-cli -p ${ports.get('redis')} monitor`,
    `load test  make loadtest TARGET=http://${name}:${ports.get(proxy)}`,
  ];
  if (balance === 'ip_hash' && replicas.length > 1) {
    lines.push('', `With ip_hash all clients of one address are on one replica: those of this machine on ${chosen}.`);
    if (process.platform === 'linux' && name === 'localhost') {
      lines.push(
        'Clients from elsewhere (the first three numbers of the address count):',
        `  for n in 1 2 3 4; do curl --interface 127.0.$n.1 ${at(proxy, 'health')}; echo; done`,
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
