// A WebSocket client that reads its bytes itself, in portions and at a speed that a test chooses, and looks at every
// frame (RFC 6455, 5.2): what is no valid stream it notes as a violation.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import net from 'node:net';
import { RawClient, RawPolling } from './raw.mjs';
import { until } from './clients.mjs';

/** What a portion is unless a test says otherwise (bytes). */
const PORTION_BYTES = 65_536;

/** How often one that reads at a speed is allowed its next portion (ms). */
const PACE_MS = 20;

const TEXT = 1;
const CLOSE = 8;
const PING = 9;
const PONG = 10;

/** One whose every byte counts. */
export class ByteWebSocket extends RawClient {
  /**
   * @param {string} url
   * @param {{ eio?: number, sid?: string, path?: string, portion?: () => number }} [options]
   *   `sid`: of the session that goes on here; `portion`: the most that the next read takes, in bytes
   */
  static async open(url, { eio = 4, sid, path = '/socket.io/', portion } = {}) {
    const client = new ByteWebSocket(`${url}${path}?EIO=${eio}&transport=websocket${sid ? `&sid=${sid}` : ''}`, { portion });
    if (sid) client.sid = sid;
    else client.sid = JSON.parse((await client.take('0')).slice(1)).sid;
    return client;
  }

  /**
   * A session that begins with polling, connects to the default namespace and then goes on over a WebSocket, as the
   * official clients do when they are told nothing.
   *
   * @param {string} url
   * @param {Parameters<typeof ByteWebSocket.open>[1]} [options]
   */
  static async upgraded(url, options = {}) {
    const polling = await RawPolling.open(url, { reads: false });
    await polling.joinUnread();
    const client = await ByteWebSocket.open(url, { ...options, sid: polling.sid });
    await client.probe();
    // The server has the last poll answered before it is the WebSocket's turn.
    client.send('5');
    await until(async () => client.works(), 'the upgrade');
    polling.agent.destroy();
    return client;
  }

  /** @param {string} url @param {{ portion?: () => number }} options */
  constructor(url, { portion = () => PORTION_BYTES }) {
    super(url);
    const { hostname, port, pathname, search, host } = new URL(url);
    /** @type {string[]} */
    this.violations = [];
    /** How many frames had a length of so many bits. */
    this.lengths = { 7: 0, 16: 0, 64: 0 };
    /** How many pings of the engine came; those of EIO=3 are the client's. */
    this.pings = 0;
    /** How many bytes came. */
    this.bytes = 0;
    /** True once a frame said that nothing more comes. */
    this.said = false;
    /** What came and was no whole frame yet. @type {Buffer[]} */
    this.pieces = [];
    this.held = 0;
    /** How many bytes make it worth looking again. */
    this.needed = 1;
    this.head = true;
    /** How many bytes it may still read; only where it has a speed. */
    this.allowed = Infinity;
    /** @type {NodeJS.Timeout | undefined} */
    this.pacer = undefined;
    this.tcp = net.connect({
      host: hostname,
      port: Number(port),
      noDelay: true,
      onread: {
        buffer: () => Buffer.allocUnsafe(portion()),
        callback: (size, buffer) => {
          this.#read(Buffer.from(buffer.subarray(0, size)));
          this.allowed -= size;
          return this.allowed > 0;
        },
      },
    });
    this.tcp.on('error', () => {});
    this.tcp.on('close', () => {
      clearInterval(this.pacer);
      this.markEnded();
    });
    const lines = [
      ...[`GET ${pathname}${search} HTTP/1.1`, `Host: ${host}`, 'Connection: Upgrade', 'Upgrade: websocket'],
      ...['Sec-WebSocket-Version: 13', `Sec-WebSocket-Key: ${randomBytes(16).toString('base64')}`, '', ''],
    ];
    this.tcp.write(lines.join('\r\n'));
  }

  /** Reads nothing from now on. */
  stop() {
    this.pace(0);
  }

  /** Reads at this speed from now on, or as fast as it can. @param {number} bytes a second */
  pace(bytes = Infinity) {
    clearInterval(this.pacer);
    this.allowed = bytes === Infinity ? Infinity : 0;
    if (this.allowed === 0) this.tcp.pause();
    else this.tcp.resume();
    if (bytes === 0 || bytes === Infinity) return;
    let last = performance.now();
    this.pacer = setInterval(() => {
      // By the clock: on a busy machine the timer is late.
      const now = performance.now();
      this.allowed = Math.min(this.allowed, 0) + (bytes * Math.min(now - last, 1000)) / 1000;
      last = now;
      if (this.allowed > 0) this.tcp.resume();
    }, PACE_MS);
  }

  /** Asks whether a session may go on here. */
  async probe() {
    this.send('2probe');
    await this.take('3probe');
  }

  /** @override @param {...(string | Buffer)} packets */
  send(...packets) {
    for (const packet of packets) this.sendFrame(TEXT, Buffer.from(packet));
  }

  /** A ping of the WebSocket's own. */
  ping(text = 'ping') {
    this.sendFrame(PING, Buffer.from(text));
  }

  /** @param {number} opcode @param {Buffer} payload */
  sendFrame(opcode, payload) {
    const long = payload.length >= 126;
    const header = Buffer.alloc(long ? 8 : 6);
    header[0] = 0x80 | opcode;
    header[1] = 0x80 | (long ? 126 : payload.length);
    assert.ok(payload.length < 65_536);
    if (long) header.writeUInt16BE(payload.length, 2);
    // With a mask of zeros the payload is as it is.
    this.tcp.write(Buffer.concat([header, payload]));
  }

  close() {
    this.tcp.destroy();
  }

  /** Fails on whatever was no valid stream. */
  check() {
    assert.deepEqual(this.violations.slice(0, 5), []);
  }

  /** @param {Buffer} piece */
  #read(piece) {
    this.bytes += piece.length;
    this.pieces.push(piece);
    this.held += piece.length;
    while (this.held >= this.needed && this.violations.length === 0) {
      const bytes = this.pieces.length === 1 ? this.pieces[0] : Buffer.concat(this.pieces);
      const used = this.head ? this.#readHead(bytes) : this.#readFrame(bytes);
      this.pieces = used === bytes.length ? [] : [bytes.subarray(used)];
      this.held = bytes.length - used;
      if (used === 0) break;
    }
  }

  /** @param {Buffer} bytes */
  #readHead(bytes) {
    const end = bytes.indexOf('\r\n\r\n');
    if (end < 0) {
      this.needed = bytes.length + 1;
      return 0;
    }
    const status = bytes.subarray(0, end).toString().split('\r\n')[0];
    if (!/^HTTP\/1.1 101 /.test(status)) this.#wrong(`the answer to the handshake: ${status}`);
    this.head = false;
    this.needed = 2;
    return end + 4;
  }

  /** Takes one frame; 0 where it has not come in whole. @param {Buffer} bytes */
  #readFrame(bytes) {
    const [first, second] = bytes;
    const bits = second === 127 ? 64 : second === 126 ? 16 : 7;
    const start = { 7: 2, 16: 4, 64: 10 }[bits];
    this.needed = start;
    if (bytes.length < start) return 0;
    const length = bits === 7 ? second : bits === 16 ? bytes.readUInt16BE(2) : Number(bytes.readBigUInt64BE(2));
    const opcode = first & 0x0f;
    if (this.said) this.#wrong('a frame after the last');
    else if ((first & 0xf0) !== 0x80) this.#wrong(`a frame that is not whole and plain: ${bytes.subarray(0, 16).toString('hex')}`);
    else if (second & 0x80) this.#wrong('a masked frame');
    else if (![TEXT, CLOSE, PING, PONG].includes(opcode)) this.#wrong(`a frame with opcode ${opcode}`);
    else if ((bits === 16 && length < 126) || (bits === 64 && length < 65_536)) this.#wrong(`a length of ${length} in ${bits} bits`);
    else if (opcode !== TEXT && bits !== 7) this.#wrong(`a control frame of ${length} bytes`);
    if (this.violations.length > 0) return 0;
    this.needed = start + length;
    if (bytes.length < this.needed) return 0;
    const used = this.needed;
    this.needed = 2;
    const payload = bytes.subarray(start, used);
    this.lengths[bits] += 1;
    if (opcode === CLOSE) this.said = true;
    else if (opcode === PING) this.sendFrame(PONG, payload);
    else if (opcode === PONG) this.arrived(`pong ${payload}`);
    else this.#packet(payload);
    return used;
  }

  /** @param {Buffer} payload */
  #packet(payload) {
    let packet;
    try {
      packet = new TextDecoder('utf-8', { fatal: true }).decode(payload);
      const json = /^(?:0|4(?:[0-5]\d*))([[{].*)$/s.exec(packet);
      if (json) JSON.parse(json[1]);
      else assert.match(packet, /^(?:[12356]|3probe|4[0145])$/);
    } catch (error) {
      return this.#wrong(`a packet that is none: ${payload.toString('latin1').slice(0, 200)} (${error})`);
    }
    if (packet.includes('tickcast:')) this.#wrong(`a packet that is the server's own: ${packet.slice(0, 200)}`);
    if (packet === '2') this.pings += 1;
    this.arrived(packet);
  }

  /** @param {string} what */
  #wrong(what) {
    this.violations.push(`${what}, after ${this.bytes} bytes`);
    this.tcp.destroy();
  }
}
