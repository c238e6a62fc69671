// The real nginx and HAProxy, with the configurations that `make demo` and compose use.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import http from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { until } from './clients.mjs';
import { fetchRaw } from './raw.mjs';
import { freePort } from './redis.mjs';

/** The template under test. */
const TEMPLATE = process.env.NGINX_TEMPLATE ?? fileURLToPath(new URL('../../nginx/nginx.conf.template', import.meta.url));

/** HAProxy's configuration: it fills in its variables by itself. */
const HAPROXY = fileURLToPath(new URL('../../haproxy/haproxy.cfg', import.meta.url));

/** Files that nginx may open. */
const OPEN_FILES = 1024;

/** Where everything is, and the largest body (bytes), unless a test says otherwise. */
const PLACE = { basePath: '', socketPath: '/socket.io', maxPayload: 1_000_000 };

/** Addresses of this machine that are of networks of their own, to choose a replica by: `ip_hash` looks at three numbers. */
const NETWORKS = 64;

/** One proxy in front of some replicas. */
export class Proxy {
  /** @param {string} name @param {string} folder @param {number} port @param {import('node:child_process').ChildProcess} child */
  constructor(name, folder, port, child) {
    this.name = name;
    this.folder = folder;
    this.url = `http://127.0.0.1:${port}`;
    this.child = child;
    this.said = '';
    child.stderr?.on('data', (data) => {
      this.said += data;
    });
    /** @type {http.Agent[]} */
    this.agents = [];
  }

  /**
   * Starts nginx, and resolves when it answers.
   *
   * @param {{ port: string }[]} replicas
   * @param {{ balance?: string, basePath?: string, socketPath?: string, maxPayload?: number }} [options]
   */
  static async start(replicas, { balance = 'ip_hash', ...options } = {}) {
    const { basePath, socketPath, maxPayload } = { ...PLACE, ...options };
    const { folder, port } = await place('nginx');
    const servers = replicas.map((replica) => `server 127.0.0.1:${replica.port} max_fails=0;`);
    /** @type {Record<string, string | number>} */
    const values = {
      PROXY_LISTEN: `127.0.0.1:${port}`,
      PROXY_BALANCE: balance,
      PROXY_SERVERS: servers.join(' '),
      PROXY_BASE_PATH: basePath,
      PROXY_SOCKET_PATH: basePath + socketPath,
      PROXY_MAX_PAYLOAD: maxPayload,
      PROXY_OPEN_FILES: OPEN_FILES,
    };
    const template = await readFile(TEMPLATE, 'utf8');
    const config = path.join(folder, 'nginx.conf');
    await writeFile(config, template.replace(/\$\{(PROXY_\w+)\}/g, (_, name) => {
      if (!(name in values)) throw new Error(`${TEMPLATE} has ${name}, which the tests do not know`);
      return String(values[name]);
    }));
    const args = ['-p', folder, '-c', config, '-e', 'stderr', '-g', 'daemon off;'];
    return Proxy.#begin('nginx', args, {}, folder, port, { basePath });
  }

  /**
   * Starts HAProxy, and resolves when it answers.
   *
   * @param {{ port: string }[]} fronts who clients come to
   * @param {{ port: string }[]} [backs] who has /api
   * @param {{ balance?: string, host?: string, basePath?: string, socketPath?: string, maxPayload?: number }} [options] `host`:
   *   the one that is served
   */
  static async haproxy(fronts, backs = fronts, { balance = 'source', host, ...options } = {}) {
    const { basePath, socketPath, maxPayload } = { ...PLACE, ...options };
    const { folder, port } = await place('haproxy');
    const servers = Object.entries({ FRONT: fronts, BACK: backs }).flatMap(([side, replicas]) => (
      replicas.map((replica, index) => [`PROXY_${side}_${index + 1}`, `127.0.0.1:${replica.port}`])
    ));
    const env = {
      PROXY_LISTEN: `127.0.0.1:${port}`,
      PROXY_BALANCE: balance,
      PROXY_BASE_PATH: basePath,
      PROXY_SOCKET_PATH: basePath + socketPath,
      PROXY_MAX_PAYLOAD: `${maxPayload}`,
      PROXY_MAX_CONNECTIONS: '400',
      ...(host ? { PROXY_HOST: host } : {}),
      ...Object.fromEntries(servers),
    };
    return Proxy.#begin('haproxy', ['-db', '-f', HAPROXY], env, folder, port, { basePath, host });
  }

  /**
   * @param {string} name
   * @param {string[]} args
   * @param {Record<string, string>} env
   * @param {string} folder
   * @param {number} port
   * @param {{ basePath: string, host?: string }} options
   */
  static async #begin(name, args, env, folder, port, { basePath, host }) {
    // Debian keeps them out of the path of those who are not root.
    const child = spawn(name, args, {
      env: { ...env, PATH: `${process.env.PATH}:/usr/sbin` },
      stdio: ['ignore', 'inherit', 'pipe'],
    });
    const proxy = new Proxy(name, folder, port, child);
    const headers = host ? { host } : undefined;
    await until(async () => {
      if (child.exitCode !== null) throw new Error(`${name} ended:\n${proxy.said}`);
      return fetchRaw(`${proxy.url}${basePath}/health`, { headers }).then(({ status }) => status === 200, () => false);
    }, name);
    return proxy;
  }

  /**
   * A way to come from some network, which keeps its connections, as a browser does; one for each of these replicas.
   *
   * @param {string[]} ids
   * @returns {Promise<Map<string, http.Agent>>}
   */
  async agentsTo(ids) {
    /** @type {Map<string, http.Agent>} */
    const found = new Map();
    for (let network = 1; network <= NETWORKS && found.size < ids.length; network += 1) {
      const agent = new http.Agent({ keepAlive: true, ...{ localAddress: `127.0.${network}.1` } });
      this.agents.push(agent);
      const { id } = JSON.parse(await get(`${this.url}/health`, agent));
      if (ids.includes(id) && !found.has(id)) found.set(id, agent);
    }
    if (found.size < ids.length) throw new Error(`of ${ids} ${this.name} chose only ${[...found.keys()]} in ${NETWORKS} networks`);
    return found;
  }

  async stop() {
    for (const agent of this.agents) agent.destroy();
    if (this.child.exitCode === null && this.child.signalCode === null) {
      const gone = once(this.child, 'exit');
      // In order: it takes its workers with it.
      this.child.kill('SIGTERM');
      await gone;
    }
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** A folder and a port for a proxy. @param {string} name */
async function place(name) {
  const folder = await mkdtemp(path.join(tmpdir(), `tickcast-${name}-`));
  // Started by root, nginx works as somebody else.
  await chmod(folder, 0o711);
  return { folder, port: await freePort() };
}

/**
 * @param {string} url
 * @param {http.Agent} agent
 * @returns {Promise<string>}
 */
function get(url, agent) {
  return new Promise((resolve, reject) => {
    http.get(url, { agent }, async (response) => {
      let text = '';
      for await (const data of response.setEncoding('utf8')) text += data;
      resolve(text);
    }).on('error', reject);
  });
}
