// Clients that speak the protocol by hand, and so can break it: Engine.IO packets as strings and buffers, over
// WebSocket or HTTP long-polling, and plain HTTP requests whose every byte is the test's.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import http from 'node:http';
import net from 'node:net';
import { within } from './clients.mjs';

const require = createRequire(import.meta.url);
/** @type {any} */
const WebSocket = require('ws');

/** Separates the packets of one polling payload (Engine.IO 4). */
const SEPARATOR = '\x1e';

/**
 * Everything that a server says on a plain connection until it ends it.
 *
 * @param {string | number} port
 * @param {(socket: net.Socket) => void} talk
 * @returns {Promise<string>}
 */
export function said(port, talk) {
  return within(new Promise((resolve) => {
    const socket = net.connect(Number(port), '127.0.0.1', () => talk(socket));
    let text = '';
    socket.on('data', (bytes) => {
      text += bytes.toString('latin1');
    });
    socket.on('error', () => {});
    socket.on('close', () => resolve(text));
  }), 'the end of a connection');
}

/**
 * One HTTP request, without a client's own headers (no `accept-encoding`, no redirects).
 *
 * @param {string} url
 * @param {{ method?: string, headers?: Record<string, string>, body?: string | Buffer, agent?: http.Agent }} [options]
 * @returns {Promise<{ status: number, headers: http.IncomingHttpHeaders, body: Buffer, text: string }>}
 */
export function fetchRaw(url, { method = 'GET', headers = {}, body, agent } = {}) {
  return within(
    new Promise((resolve, reject) => {
      const sent = http.request(url, { method, headers, agent }, (response) => {
        /** @type {Buffer[]} */
        const chunks = [];
        response.on('data', (chunk) => chunks.push(chunk));
        response.on('error', reject);
        response.on('end', () => {
          const whole = Buffer.concat(chunks);
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers,
            body: whole,
            text: whole.toString(),
          });
        });
      });
      sent.on('error', reject);
      sent.end(body);
    }),
    `the response to ${method} ${url}`,
  );
}

/** What both transports have in common: a queue of what arrived, requests, and how it ended. */
export class RawClient {
  /** @param {string} url */
  constructor(url) {
    /** Where its requests go. */
    this.url = url;
    /** Engine.IO packets that nobody took yet. @type {(string | Buffer)[]} */
    this.received = [];
    /** Who waits for a packet, or for the end: each is shown what arrives, and takes it or not. @type {Set<(packet?: string | Buffer) => boolean>} */
    this.waiting = new Set();
    this.ended = false;
    this.ids = 0;
    /** Its session, known from the handshake. */
    this.sid = '';
    /** @type {() => void} */
    this.markEnded = () => {};
    /** Resolves when the server has ended the connection. @type {Promise<void>} */
    this.closed = new Promise((resolve) => {
      this.markEnded = () => {
        this.ended = true;
        resolve();
        for (const show of [...this.waiting]) show();
      };
    });
  }

  /** Sends Engine.IO packets in one go; each transport in its own way. @param {...(string | Buffer)} packets */
  send(...packets) {
    assert.fail(`no transport for ${packets}`);
  }

  /** @param {string | Buffer} packet */
  arrived(packet) {
    if (packet === '2') {
      this.send('3');
      return;
    }
    for (const show of [...this.waiting]) {
      if (show(packet)) return;
    }
    this.received.push(packet);
  }

  /**
   * Takes the first packet, arrived or to come, that `wanted` holds for; undefined when the connection ends first.
   *
   * @param {(packet: string | Buffer) => boolean} wanted
   * @param {string} what
   * @returns {Promise<string | Buffer | undefined>}
   */
  takeOrEnd(wanted, what) {
    const index = this.received.findIndex(wanted);
    if (index >= 0) return Promise.resolve(this.received.splice(index, 1)[0]);
    if (this.ended) return Promise.resolve(undefined);
    return within(
      new Promise((resolve) => {
        const show = (/** @type {string | Buffer | undefined} */ packet) => {
          if (packet !== undefined && !wanted(packet)) return false;
          this.waiting.delete(show);
          resolve(packet);
          return true;
        };
        this.waiting.add(show);
      }),
      what,
    );
  }

  /** As `takeOrEnd`, for text, failing when the connection ends first. @param {string} start @returns {Promise<string>} */
  async take(start) {
    const packet = await this.takeOrEnd((each) => typeof each === 'string' && each.startsWith(start), start);
    assert.ok(packet !== undefined, `the connection ended before ${start} came`);
    return /** @type {string} */ (packet);
  }

  /** Connects to the default namespace. */
  async join() {
    this.send('40');
    await this.take('40{"sid"');
  }

  /**
   * Sends an event with an acknowledgement id; resolves with the answer, or undefined when the connection ends first.
   *
   * @param {string} event
   * @param {string} [payload] as JSON text, which may be wrong
   * @returns {Promise<any>}
   */
  async request(event, payload) {
    const id = (this.ids += 1);
    this.send(`42${id}[${JSON.stringify(event)}${payload === undefined ? '' : `,${payload}`}]`);
    return this.answer(id, event);
  }

  /** The answer with an acknowledgement id, as `request` gives it. @param {number | string} id @param {string} what */
  async answer(id, what) {
    const start = `43${id}[`;
    const packet = await this.takeOrEnd((each) => typeof each === 'string' && each.startsWith(start), `answer to ${what}`);
    return packet === undefined ? undefined : JSON.parse(String(packet).slice(start.length - 1))[0];
  }

  /** The payload of the next event of a name. @param {string} event */
  async event(event) {
    const packet = await this.take(`42[${JSON.stringify(event)},`);
    return JSON.parse(packet.slice(2))[1];
  }

  /**
   * It, as the official clients look: what comes from now on as an event that is listened to, or as the answer to what
   * was asked here, goes there. For [`Feed`].
   */
  socket() {
    /** @type {Map<string, Set<(body: any) => void>>} */
    const handlers = new Map();
    /** @type {Map<number, (body: any) => void>} */
    const acks = new Map();
    this.waiting.add((packet) => {
      const [, kind, id, json] = typeof packet === 'string' ? (/^4([23])(\d*)(\[.*)$/s.exec(packet) ?? []) : [];
      if (!json) return false;
      if (kind === '3') {
        const ack = acks.get(Number(id));
        acks.delete(Number(id));
        ack?.(JSON.parse(json)[0]);
        return ack !== undefined;
      }
      const [event, body] = JSON.parse(json);
      const listening = handlers.get(event);
      for (const handler of [...(listening ?? [])]) handler(body);
      return listening !== undefined;
    });
    return {
      on: (/** @type {string} */ event, /** @type {(body: any) => void} */ handler) => {
        handlers.set(event, (handlers.get(event) ?? new Set()).add(handler));
      },
      once: (/** @type {string} */ event, /** @type {(body: any) => void} */ handler) => {
        const first = (/** @type {any} */ body) => {
          handlers.get(event)?.delete(first);
          handler(body);
        };
        handlers.set(event, (handlers.get(event) ?? new Set()).add(first));
      },
      off: (/** @type {string} */ event, /** @type {(body: any) => void} */ handler) => handlers.get(event)?.delete(handler),
      emit: (/** @type {string} */ event, /** @type {any} */ payload, /** @type {((body: any) => void) | undefined} */ ack) => {
        const id = ack ? (this.ids += 1) : '';
        if (ack) acks.set(Number(id), ack);
        this.send(`42${id}${JSON.stringify([event, payload])}`);
      },
    };
  }

  /** Whether the connection still works. */
  async works() {
    const answer = await this.request('ping', '"still there"');
    return answer?.echo === 'still there';
  }
}

/** A WebSocket connection. */
export class RawWebSocket extends RawClient {
  /**
   * @param {string} url
   * @param {{ eio?: number, path?: string }} [options]
   */
  static async open(url, { eio = 4, path = '/socket.io/' } = {}) {
    const client = new RawWebSocket(`${url.replace(/^http/, 'ws')}${path}?EIO=${eio}&transport=websocket`);
    client.sid = JSON.parse((await client.take('0')).slice(1)).sid;
    return client;
  }

  /** @param {string} url */
  constructor(url) {
    super(url);
    this.ws = new WebSocket(url, { perMessageDeflate: false });
    this.ws.on('message', (/** @type {Buffer} */ data, /** @type {boolean} */ isBinary) => {
      this.arrived(isBinary ? data : data.toString());
    });
    this.ws.on('close', () => this.markEnded());
    // What follows is a close, which is what the tests look at.
    this.ws.on('error', () => {});
  }

  /** @override @param {...(string | Buffer)} packets */
  send(...packets) {
    for (const packet of packets) this.ws.send(packet);
  }

  /** Writes bytes as they are, past the WebSocket framing. @param {...number} bytes */
  sendBytes(...bytes) {
    this.ws._socket.write(Buffer.from(bytes));
  }

  /** Goes away as a crashed client does, without a word. */
  vanish() {
    this.ws.terminate();
  }

  close() {
    this.ws.terminate();
  }
}

/** A long-polling connection: one request always waits for packets. */
export class RawPolling extends RawClient {
  /**
   * @param {string} url
   * @param {{ path?: string, reads?: boolean }} [options] `reads: false`: only when told to
   */
  static async open(url, { path = '/socket.io/', reads = true } = {}) {
    const client = new RawPolling(`${url}${path}?EIO=4&transport=polling`);
    const response = await fetchRaw(client.url, { agent: client.agent });
    assert.equal(response.status, 200, response.text);
    client.sid = JSON.parse(response.text.slice(1)).sid;
    client.url += `&sid=${client.sid}`;
    if (reads) client.poll();
    return client;
  }

  /** @param {string} url */
  constructor(url) {
    super(url);
    this.agent = new http.Agent({ keepAlive: true });
    /** The statuses of its POSTs, in order; 0 for a connection that broke off. @type {number[]} */
    this.posts = [];
    /** One POST after the other, or packets would overtake each other. @type {Promise<void>} */
    this.posting = Promise.resolve();
  }

  /** Reads until the server has ended the session. */
  async poll() {
    while (!this.ended && (await this.pollOnce()));
    this.markEnded();
    this.agent.destroy();
  }

  /** Reads what is there, or the first that comes. False if the session has ended. */
  async pollOnce() {
    let response;
    try {
      response = await fetchRaw(this.url, { agent: this.agent });
    } catch {
      return false;
    }
    if (response.status !== 200) return false;
    for (const packet of response.text.split(SEPARATOR)) {
      if (packet.startsWith('b')) this.arrived(Buffer.from(packet.slice(1), 'base64'));
      else if (packet !== '') this.arrived(packet);
    }
    return true;
  }

  /** @override @param {...(string | Buffer)} packets */
  send(...packets) {
    const body = packets.map((each) => (typeof each === 'string' ? each : `b${each.toString('base64')}`)).join(SEPARATOR);
    this.post(body);
  }

  /** Connects to the default namespace, and then reads no more; what it had to say to that, pongs too, is said. */
  async joinUnread() {
    const joined = this.join();
    while (!this.ended && this.waiting.size > 0) await this.pollOnce();
    await joined;
    await this.posting;
  }

  /** POSTs a body as it is. @param {string | Buffer} body */
  post(body) {
    this.posting = this.posting.then(async () => {
      if (this.ended) return;
      try {
        const headers = { 'content-type': 'text/plain;charset=UTF-8', 'content-length': `${Buffer.byteLength(body)}` };
        this.posts.push((await fetchRaw(this.url, { method: 'POST', headers, body, agent: this.agent })).status);
      } catch {
        this.posts.push(0);
      }
    });
  }

  close() {
    this.send('1');
  }
}
