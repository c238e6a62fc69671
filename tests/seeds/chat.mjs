// Two windows of a page, on any of four servers, and their consoles: `ws.emit('chat', "Hello! I'm client")`.
import assert from 'node:assert/strict';
import { io } from 'socket.io-client';

/** Four servers, each with a name of its own; the one with the fewest clients gets the next. */
export const settings = async () => ({ REPLICAS: '4', BALANCE: 'least_conn' });

/** @param {{ url: string, replicas: string[] }} places */
export async function run({ url, replicas }) {
  const windows = [];
  for (const place of [url, url, url, ...replicas]) {
    const ws = io(place, { forceNew: true, transports: ['websocket'] });
    /** @type {any[]} */
    const heard = [];
    ws.on('chat-message', (/** @type {any} */ message) => heard.push(message));
    await new Promise((resolve) => ws.once('connect', () => resolve(undefined)));
    windows.push({ ws, heard });
  }
  try {
    const everybody = (/** @type {string} */ text) => windows.every(({ heard }) => heard.some((message) => message.text === text));
    for (let n = 0; !everybody(`Is anybody there? ${n}`); n += 1) {
      windows[0].ws.emit('chat', `Is anybody there? ${n + 1}`);
      const end = Date.now() + 1000;
      while (!everybody(`Is anybody there? ${n + 1}`) && Date.now() < end) await new Promise((resolve) => setTimeout(resolve, 10));
    }
    for (const [n, { ws }] of windows.entries()) ws.emit('chat', `Hello! I'm client ${n}`);
    while (!windows.every((_, n) => everybody(`Hello! I'm client ${n}`))) await new Promise((resolve) => setTimeout(resolve, 10));
    const servers = new Set(windows[0].heard.map(({ server }) => server));
    assert.deepEqual([...servers].sort(), ['app1', 'app2', 'app3', 'app4'], 'each message has its server');
  } finally {
    for (const { ws } of windows) ws.close();
  }
}
