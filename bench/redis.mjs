#!/usr/bin/env node
// What one Redis carries: its own CPU time for a tick that is appended, and for a replica that reads it, with the scripts
// of the server. CPU time, so that a busy machine does not matter much. Ends with tables; `make bench-redis`, REPEATS=3.
import { readFile } from 'node:fs/promises';
import net from 'node:net';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { LOG, Redis } from '../tests/support/redis.mjs';
import { said } from './report.mjs';
import { summary } from './stats.mjs';

/** What is measured for each row (ms). */
const MEASURED_MS = 3000;

/** Appends that are on their way at a time: a publisher waits for one, several sources and offers do not. */
const IN_FLIGHT = 4;

/** Updates of one append. */
const BATCHES = [1, 10, 100, 500];

/** Replicas that read. */
const READERS = [0, 1, 3, 10];

/** Updates of one append that is read. */
const READ_BATCHES = [1, 100];

/** Appends a second while readers are measured. */
const APPENDS_PER_SECOND = 100;

const scripts = new URL('../src/bus/redis/', import.meta.url);
const KEYS = ['lease:bench', 'meta', 'seq', 'last', 'stream', 'done', 'owner'].map((name) => `tickcast:{bus}:${name}`);
const TOKEN = 'bench';

/** A connection that sends commands and counts the answers at their beginnings. */
class Line {
  /** @param {net.Socket} socket */
  constructor(socket) {
    this.socket = socket;
    /** @type {((text: string) => void)[]} */
    this.waiting = [];
    let text = '';
    socket.setEncoding('latin1').on('data', (data) => {
      text += data;
      for (let end = whole(text, 0); end > 0; end = whole(text, 0)) {
        this.waiting.shift()?.(text.slice(0, end));
        text = text.slice(end);
      }
    });
  }

  /** @param {number} port */
  static async to(port) {
    const socket = net.connect(port, '127.0.0.1').setNoDelay();
    await once(socket, 'connect');
    return new Line(socket);
  }

  /** @param {(string | number)[]} words @returns {Promise<string>} */
  ask(...words) {
    const parts = words.map((word) => `$${Buffer.byteLength(`${word}`)}\r\n${word}\r\n`);
    this.socket.write(`*${words.length}\r\n${parts.join('')}`);
    return new Promise((resolve) => this.waiting.push(resolve));
  }
}

/** Where the answer ends that begins at `from`; 0 where it is not all there. @param {string} text @param {number} from @returns {number} */
function whole(text, from) {
  const line = text.indexOf('\r\n', from);
  if (line < 0) return 0;
  const number = Number(text.slice(from + 1, line));
  if (text[from] === '$') {
    const end = line + 2 + (number < 0 ? 0 : number + 2);
    return end <= text.length ? end : 0;
  }
  if (text[from] !== '*') return line + 2;
  let end = line + 2;
  for (let count = 0; count < number; count += 1) {
    end = whole(text, end);
    if (!end) return 0;
  }
  return end;
}

/** What Redis has used of its CPU (us). @param {Redis} redis */
async function used_us(redis) {
  const line = await Line.to(redis.port);
  const info = await line.ask('INFO', 'cpu');
  line.socket.destroy();
  const of = (/** @type {string} */ name) => Number(info.match(new RegExp(`${name}:([\\d.]+)`))?.[1]) * 1e6;
  return of('used_cpu_user') + of('used_cpu_sys');
}

/** What an update says beside its symbol. */
const quote = () => `"price":${(64000 + Math.random() * 100).toFixed(2)},"ts":${Date.now()}`;

/** A script, loaded; its name. @param {Line} line @param {string[]} files */
async function load(line, files) {
  const text = (await Promise.all(files.map((file) => readFile(new URL(file, scripts), 'utf8')))).join('');
  return (await line.ask('SCRIPT', 'LOAD', text)).split('\r\n')[1];
}

/** @param {Redis} redis */
async function publisher(redis) {
  const line = await Line.to(redis.port);
  const sha = await load(line, ['log.lua', 'append.lua']);
  await line.ask('SET', KEYS[0], TOKEN);
  let batch = 0;
  const seen = [''];
  return async (/** @type {number} */ size) => {
    batch += 1;
    const updates = Array.from({ length: size }, (_, index) => [`S${index}`, quote()]);
    const answer = await line.ask('EVALSHA', sha, KEYS.length, ...KEYS, TOKEN, 'bench', batch, 0, seen[0], 'bench', Date.now() * 1000, 20000, ...updates.flat());
    // What a publisher has: with several on their way, seldom the last entry.
    const [, epoch, id] = answer.match(/^\*\d+\r\n\$\d+\r\n([^\r]+)\r\n\$\d+\r\n(\d+-\d+)\r\n/) ?? [];
    if (!id) throw new Error(answer);
    seen.splice(0, 1, `${epoch} ${id}`);
    return answer;
  };
}

/** Reads all that comes, as a replica does. @param {Redis} redis */
async function reader(redis) {
  const line = await Line.to(redis.port);
  const stop = new AbortController();
  const seen = ['$'];
  const done = (async () => {
    while (!stop.signal.aborted) {
      const answer = await line.ask('XREAD', 'COUNT', 256, 'BLOCK', 500, 'STREAMS', LOG, seen[0]);
      seen.unshift([...answer.matchAll(/\r\n(\d{13}-\d+)\r\n/g)].at(-1)?.[1] ?? seen[0]);
      seen.length = 1;
    }
    line.socket.destroy();
  })();
  return () => {
    stop.abort();
    return done;
  };
}

/** As many appends as it takes, of each size. @param {Redis} redis @param {(size: number) => Promise<string>} append @param {Figures} figures */
async function appends(redis, append, figures) {
  for (const size of BATCHES) {
    for (let warm = 0; warm < 50; warm += 1) await append(size);
    const [before, began] = [await used_us(redis), performance.now()];
    let count = 0;
    await Promise.all(Array.from({ length: IN_FLIGHT }, async () => {
      while (performance.now() - began < MEASURED_MS) {
        const answer = await append(size);
        if (!answer.startsWith(`*${size + 2}`)) throw new Error(answer);
        count += 1;
      }
    }));
    const seconds = (performance.now() - began) / 1000;
    const each_us = (await used_us(redis) - before) / count;
    figures.note(`${size} per_s`, count / seconds);
    figures.note(`${size} append_us`, each_us);
    figures.note(`${size} tick_us`, each_us / size);
  }
}

/** Appends an entry of so many ticks by itself: numbering them would cost so much more that reading could not be seen beside it. @param {Line} line @param {number} size */
function entry(line, size) {
  const ticks = Array.from({ length: size }, (_, index) => `{"symbol":"S${index}",${quote()},"seq":${1732252800123000 + index}}`);
  return line.ask('XADD', LOG, 'MAXLEN', '~', 20000, '*', 'epoch', '3f9c2ab81d5e6470', 'ticks', `[${ticks}]`);
}

/** What readers add. @param {Redis} redis @param {Figures} figures */
async function reads(redis, figures) {
  const line = await Line.to(redis.port);
  for (const size of READ_BATCHES) {
    let alone_us = 0;
    for (const count of READERS) {
      const readers = await Promise.all(Array.from({ length: count }, () => reader(redis)));
      await sleep(200);
      const [before, began] = [await used_us(redis), performance.now()];
      let appended = 0;
      while (performance.now() - began < MEASURED_MS) {
        await entry(line, size);
        appended += 1;
        await sleep(Math.max(0, began + (appended * 1000) / APPENDS_PER_SECOND - performance.now()));
      }
      const each_us = (await used_us(redis) - before) / appended;
      await Promise.all(readers.map((stop) => stop()));
      if (count === 0) alone_us = each_us;
      else figures.note(`${size} read by ${count}`, (each_us - alone_us) / count);
    }
  }
  line.socket.destroy();
}

/** What was measured, by name: a value of each repeat. */
class Figures {
  constructor() {
    /** @type {Map<string, number[]>} */
    this.values = new Map();
  }

  /** @param {string} name @param {number} value */
  note(name, value) {
    this.values.set(name, [...(this.values.get(name) ?? []), value]);
  }

  /** The median and the spread, as in the other tables. @param {string} name @param {string} [unit] */
  said(name, unit) {
    return said(summary(this.values.get(name) ?? []), unit);
  }
}

const repeats = Number(process.env.REPEATS || 3);
if (!Number.isInteger(repeats) || repeats < 1 || repeats > 100) throw new Error(`REPEATS: "${process.env.REPEATS}" is not a whole number from 1 to 100`);
const redis = await Redis.start();
try {
  const append = await publisher(redis);
  const figures = new Figures();
  for (let repeat = 0; repeat < repeats; repeat += 1) {
    await appends(redis, append, figures);
    await reads(redis, figures);
  }
  console.log(`Medians of ${repeats}, and from the lowest to the highest as a share of it.\n`);
  console.log('| updates of an append | appends/s, as many as it takes | CPU of an append | CPU of a tick |\n|---|---|---|---|');
  for (const size of BATCHES) console.log(`| ${size} | ${figures.said(`${size} per_s`)} | ${figures.said(`${size} append_us`, ' us')} | ${figures.said(`${size} tick_us`, ' us')} |`);
  console.log('\n| updates of an append | replicas that read | CPU of a reader, each entry |\n|---|---|---|');
  for (const size of READ_BATCHES) for (const count of READERS.filter(Boolean)) console.log(`| ${size} | ${count} | ${figures.said(`${size} read by ${count}`, ' us')} |`);
} finally {
  await redis.stop();
}
