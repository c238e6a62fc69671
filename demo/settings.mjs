// What the environment asks for, and whether it can be had: settings, programs, ports.
import { accessSync, constants } from 'node:fs';
import { createServer } from 'node:net';
import { delimiter, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

import { standIns } from './venues.mjs';

/** The repository. */
export const root = fileURLToPath(new URL('../', import.meta.url));

export const usage = `usage: demo/run.mjs [--ready-file FILE]

Starts Redis, the replicas and a proxy, shows what they log, and stops them all on Ctrl-C or SIGTERM, or when one of them
ends by itself. Once everything is ready it prints a line "ready", after it wrote FILE: where everything is, as JSON.

  REPLICAS=2              how many, 1 to 64
  PORT_BASE=3000          the first replica's port; the others have those that follow. 0: any free ones
  PROXY=nginx             the proxy in front of them: or haproxy (up to 8 replicas)
  PROXY_PORT=8080         its port. 0: any free one
  REDIS_PORT=6390         the port of a Redis of our own, which keeps nothing. 0: any free one
  BALANCE=ip_hash         how nginx chooses a replica: also 'hash $remote_addr consistent', 'least_conn' (for clients
                          that are WebSocket-only) and what else stands in nginx/nginx.conf.template; for HAProxy
                          'source', 'leastconn' and what else stands in haproxy/haproxy.cfg
  KEEP_GOING=false        true: when a replica ends by itself, go on with the others (kill one, and watch); restart: start
                          it again, as Docker does
  BIN=target/release/tickcast
  SOURCES=                binance, coinbase or kraken (with commas between): a stand-in makes its prices on this machine,
                          unless BINANCE_URL, COINBASE_URL or KRAKEN_URL names the exchange itself

All else of the environment (UPDATE_INTERVAL, SYMBOLS, LOG_LEVEL and so on) goes to the replicas as it is.
`;

/** Where ports are looked for that nobody asked for by number: from there on, so many. */
const [LOWEST_PORT, PORTS] = [12_000, 20_000];

/** The proxies that there are: the most replicas behind each, and how it chooses one if nothing else is said. */
const PROXIES = { nginx: { most: 64, balance: 'ip_hash' }, haproxy: { most: 8, balance: 'source' } };

/** What went wrong, in words for who started us. */
export class Refusal extends Error {}

/** Reads the arguments and the environment. */
export function settings() {
  const args = process.argv.slice(2);
  const [flag, readyFile] = args;
  if (args.length > 0 && !(args.length === 2 && flag === '--ready-file')) {
    throw new Refusal(`unknown arguments: ${args.join(' ')}\n\n${usage}`);
  }
  const { BALANCE, BASE_PATH, BIN, HOST = '', KEEP_GOING = '', SOCKET_PATH } = process.env;
  const proxy = process.env.PROXY || 'nginx';
  if (!(proxy in PROXIES)) throw new Refusal(`PROXY: "${proxy}" is not allowed: must be ${Object.keys(PROXIES).join(' or ')}`);
  const balance = BALANCE || PROXIES[proxy].balance;
  if (/[;{}\n]/.test(balance)) throw new Refusal(`BALANCE: "${balance}" is not allowed: must be one nginx directive`);
  const everywhere = ['', '0.0.0.0', '::'].includes(HOST);
  const host = everywhere || HOST === 'localhost' ? '127.0.0.1' : HOST.includes(':') ? `[${HOST}]` : HOST;
  const base = `/${BASE_PATH ?? ''}/`.replace(/\/+/g, '/');
  const count = number('REPLICAS', 2, 1, PROXIES[proxy].most);
  return {
    readyFile,
    exchanges: standIns(process.env),
    replicas: Array.from({ length: count }, (_, i) => `app${i + 1}`),
    portBase: number('PORT_BASE', 3000, 0, 65_536 - count),
    proxyPort: number('PROXY_PORT', 8080, 0, 65_535),
    redisPort: number('REDIS_PORT', 6390, 0, 65_535),
    proxy,
    balance,
    keepGoing: ['1', 'true', 'yes', 'restart'].includes(KEEP_GOING.toLowerCase()),
    startAgain: KEEP_GOING.toLowerCase() === 'restart',
    binary: BIN ? resolve(BIN) : join(root, 'target/release/tickcast'),
    /** Where the replicas and nginx can be reached, and where nginx listens: as far as the replicas do. */
    host,
    listen: everywhere ? '' : `${host}:`,
    base,
    socketPath: base.slice(0, -1) + (SOCKET_PATH || '/socket.io').replace(/\/$/, ''),
    maxPayload: number('MAX_PAYLOAD', 1_000_000, 1_000, 100_000_000),
    drainMs: number('DRAIN_DEADLINE', 10_000, 100, 600_000),
  };
}

function number(name, otherwise, least, most) {
  const text = process.env[name] || String(otherwise);
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < least || value > most) {
    throw new Refusal(`${name}: "${text}" is not allowed: must be a whole number from ${least} to ${most}`);
  }
  return value;
}

/** Where the programs are that we start. */
export function programs({ binary, proxy }) {
  const [redisServer, proxyServer] = ['redis-server', proxy].map(locate);
  const missing = [!redisServer && 'redis-server', !proxyServer && proxy].filter(Boolean).join(' ');
  if (missing) throw new Refusal(`not installed: ${missing}. On Debian and its kin: tests/setup.sh ${missing}`);
  if (!runs(binary)) throw new Refusal(`there is no program ${binary}: run \`make build\` first, or set BIN`);
  return { redisServer, proxyServer };
}

function locate(program) {
  // Debian keeps nginx out of the path of those who are not root.
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/local/sbin', '/usr/sbin', '/opt/homebrew/bin'];
  return folders.filter(Boolean).map((folder) => join(folder, program)).find(runs);
}

function runs(path) {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** A port for each part, by name: free ones where 0 was asked for. Refuses if another is taken. */
export async function choosePorts({ replicas, exchanges, portBase, proxy, proxyPort, redisPort }) {
  const wanted = [
    ['redis', redisPort, 'REDIS_PORT'],
    [proxy, proxyPort, 'PROXY_PORT'],
    ...exchanges.map((name) => [name, 0, '']),
    ...replicas.map((name, i) => [name, portBase && portBase + i, 'PORT_BASE']),
  ];
  /** @type {Map<string, number>} */
  const chosen = new Map();
  const problems = [];
  for (const [name, port, setting] of wanted) {
    const got = await tryPort(port, [...chosen.values()]);
    if (got === null) {
      problems.push(`port ${port}, for ${name}, is taken: stop what listens there, or choose another with ${setting}`);
    }
    chosen.set(name, got ?? port);
  }
  if (problems.length > 0) throw new Refusal(problems.join('\n'));
  return chosen;
}

/** Listens on a port for a moment: resolves with the port, or with null if it is taken; 0 finds one not `given` yet. */
async function tryPort(port, given) {
  // Below those that the system gives to whoever asks for any: it would give this one away before its part has it.
  const chosen = port || LOWEST_PORT + Math.floor(Math.random() * PORTS);
  const got = await listenOn(chosen);
  if (got !== null && !given.includes(got)) return got;
  return port === 0 ? tryPort(0, given) : null;
}

function listenOn(port) {
  return new Promise((done, reject) => {
    const server = createServer();
    server.once('error', (error) => {
      if (error.code === 'EADDRINUSE') done(null);
      else reject(new Refusal(`port ${port} cannot be used: ${error.message}`));
    });
    server.listen(port, '0.0.0.0', () => {
      const { port: got } = server.address();
      server.close(() => done(got));
    });
  });
}
