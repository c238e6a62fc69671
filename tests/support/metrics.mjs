// What a server says of itself at /metrics, and what its clients counted themselves.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';

/**
 * The samples at `/metrics`, by name with labels as they stand there.
 *
 * @param {string} url of the server, or of its admin port
 * @returns {Promise<Map<string, number>>}
 */
export async function metricsOf(url) {
  const response = await fetch(`${url}/metrics`);
  assert.equal(response.status, 200);
  assert.equal(response.headers.get('content-type'), 'text/plain; version=0.0.4');
  return samples(await response.text());
}

/** @param {string} text */
export function samples(text) {
  /** @type {Map<string, number>} */
  const found = new Map();
  for (const line of text.split('\n')) {
    if (line === '' || line.startsWith('#')) continue;
    const end = line.lastIndexOf(' ');
    const name = line.slice(0, end);
    assert.ok(!found.has(name), `${name} stands twice`);
    found.set(name, Number(line.slice(end + 1)));
  }
  return found;
}

/**
 * What `promtool` says of something; fails unless it is content.
 *
 * @param {string[]} args
 * @param {string} [input]
 */
export function promtool(args, input) {
  const { status, stdout, stderr, error } = spawnSync('promtool', args, { input, encoding: 'utf8' });
  assert.ifError(error);
  assert.equal(status, 0, `promtool ${args.join(' ')}:\n${stdout}${stderr}`);
  return stdout;
}

/** Counts everything that a client gets, from before it connects. */
export class Count {
  /** @param {any} socket not connected yet */
  constructor(socket) {
    this.socket = socket;
    /** Events and acknowledgements, as packets. */
    this.packets = 0;
    /** Ticks, alone and in arrays. */
    this.ticks = 0;
    /** Updates that other ticks stood for. */
    this.leftOut = 0;
    /** Requests sent. */
    this.sent = 0;
    // The transport's own packets: nothing between has a say.
    const engine = () => socket.io.engine.on('packet', (/** @type {any} */ { type, data }) => {
      if (type === 'message' && /^4?[23]/.test(data)) this.packets += 1;
    });
    if (socket.io.engine) engine();
    else socket.io.once('open', engine);
    socket.on('tick', (/** @type {any} */ tick) => this.#tick(tick));
    socket.on('ticks', (/** @type {any[]} */ ticks) => ticks.forEach((tick) => this.#tick(tick)));
  }

  /** @param {{ n?: number }} tick */
  #tick({ n = 1 }) {
    this.ticks += 1;
    this.leftOut += n - 1;
  }
}
