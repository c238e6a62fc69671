// A chat in rooms behind a proxy, on two domains: pages keep a socket open, and a back end without any posts into rooms.
import assert from 'node:assert/strict';
import http from 'node:http';
import { io } from 'socket.io-client';

/** Three front ends. */
export const settings = async () => ({ REPLICAS: '3' });

const DOMAINS = ['www.node-services-1.com', 'www.node-services-2.com'];

/** As curl does, with a domain of one's own. @param {string} url @param {string} host @param {object} [body] */
function ask(url, host, body) {
  return new Promise((resolve, reject) => {
    const headers = { host, accept: 'application/json', ...(body && { 'content-type': 'application/json' }) };
    const request = http.request(url, { method: body ? 'POST' : 'GET', headers }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk) => (text += chunk)).on('end', () => resolve({ status: response.statusCode, text }));
    });
    request.on('error', reject);
    request.end(body && JSON.stringify(body));
  });
}

/** @param {{ url: string, replicas: string[] }} places */
export async function run({ url, replicas }) {
  for (const host of DOMAINS) {
    for (const room of ['rooma', 'roomb']) {
      const { status, text } = await ask(new URL(`front/${room}`, url).href, host);
      assert.equal(status, 200);
      assert.match(text, /front\.js/);
    }
  }
  // What the pages do, through the proxy and at every front end.
  const sockets = [];
  for (const place of [url, ...replicas]) {
    for (const room of ['rooma', 'roomb']) {
      const extraHeaders = { host: DOMAINS[sockets.length % 2] };
      const socket = io(place, { forceNew: true, extraHeaders });
      await new Promise((resolve) => socket.once('connect', () => resolve(undefined)));
      assert.deepEqual(await socket.emitWithAck('join', { room }), { ok: true });
      /** @type {any[]} */
      const heard = [];
      socket.on('chat-message', (/** @type {any} */ message) => heard.push(message));
      sockets.push({ socket, room, heard });
    }
  }
  try {
    const inRoom = sockets.filter(({ room }) => room === 'roomb');
    // The back end: any of them, by either domain.
    const back = async (/** @type {string} */ message) => {
      const { status, text } = await ask(new URL('back/message', url).href, DOMAINS[1], { room: 'roomb', message });
      assert.equal(status, 200, text);
      return JSON.parse(text).delivered;
    };
    while (await back('Is anybody there?') < inRoom.length);
    const message = `A simple message: ${new Date()}`;
    await back(message);
    await sockets[0].socket.emitWithAck('chat', { room: 'rooma', text: 'in the other room' });
    const had = (/** @type {any} */ { heard }, /** @type {string} */ text) => heard.filter((/** @type {any} */ said) => said.text === text).length;
    const all = () => sockets.every((one) => had(one, one.room === 'roomb' ? message : 'in the other room') === 1);
    while (!all()) await new Promise((resolve) => setTimeout(resolve, 10));
    for (const one of sockets) assert.equal(had(one, one.room === 'roomb' ? 'in the other room' : message), 0);
  } finally {
    for (const { socket } of sockets) socket.close();
  }
}
