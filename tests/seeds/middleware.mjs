// A service between browsers and a back end: clients with a token, messages to users, an API with a key, and events
// that the back end carries out.
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import http from 'node:http';
import { io } from 'socket.io-client';

const JWT_SECRET = 'your_jwt_secret_key_here_in_32_bytes_or_more';
const API_KEY = 'your_api_key_here';

/** What the back end was sent. @type {any[]} */
const posts = [];

/** The service behind: it takes events, and answers them. */
const backend = http.createServer(async (request, response) => {
  let text = '';
  for await (const chunk of request) text += chunk;
  const post = JSON.parse(text);
  posts.push(post);
  response.setHeader('content-type', 'application/json').end(JSON.stringify({ accepted: true, order: post.data?.id ?? null }));
});

export async function settings() {
  await new Promise((resolve) => backend.listen(0, '127.0.0.1', () => resolve(undefined)));
  const { port } = /** @type {import('node:net').AddressInfo} */ (backend.address());
  return { JWT_SECRET, API_KEY, BACKEND_URL: `http://127.0.0.1:${port}`, NODE_ENV: 'production', LOG_LEVEL: 'info' };
}

/** @param {string} sub */
function token(sub) {
  const part = (/** @type {object} */ value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const message = `${part({ alg: 'HS256', typ: 'JWT' })}.${part({ sub, exp: Math.floor(Date.now() / 1000) + 600 })}`;
  return `${message}.${createHmac('sha256', JWT_SECRET).update(message).digest('base64url')}`;
}

/** @param {{ url: string, replicas: string[] }} places */
export async function run({ url, replicas }) {
  // The two users on two replicas.
  const sockets = ['user-123', 'user-456'].map((user, n) => io(replicas[n], { forceNew: true, auth: { token: token(user) } }));
  const [receiver, sender] = sockets;
  const once = (/** @type {any} */ socket, /** @type {string} */ event) => new Promise((resolve) => socket.once(event, resolve));
  try {
    await Promise.all(sockets.map((socket) => once(socket, 'connect')));
    const stranger = io(url, { forceNew: true, reconnection: false, auth: { token: 'your-jwt-token' } });
    assert.equal((/** @type {Error} */ (await once(stranger, 'connect_error'))).message, 'unauthorized');

    // Until the replicas have found each other.
    while (!(await sender.emitWithAck('send_message', { recipient: 'user-123', content: 'Is anybody there?' })).delivered) {
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    const message = once(receiver, 'message');
    sender.emit('send_message', { recipient: 'user-123', content: 'Hello, world!' });
    const { from, content } = await message;
    assert.equal(from, 'user-456');
    assert.ok(['Hello, world!', 'Is anybody there?'].includes(content));

    const notification = once(receiver, 'notification');
    const send = (/** @type {Record<string, string>} */ headers) => fetch(new URL('api/message', url), {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', ...headers },
      body: JSON.stringify({ userId: 'user-123', event: 'notification', data: { message: 'Hello from API' } }),
    });
    assert.equal((await send({})).status, 401);
    // Until every replica has answered in time.
    let sent;
    do sent = await (await send({ 'X-API-Key': API_KEY })).json(); while (!sent.complete);
    assert.deepEqual(sent, { ok: true, delivered: 1, complete: true });
    assert.deepEqual(await notification, { message: 'Hello from API' });

    assert.deepEqual(await sender.emitWithAck('place_order', { id: 7 }), { accepted: true, order: 7 });
    assert.deepEqual([posts[0].event, posts[0].user, posts[0].data], ['place_order', 'user-456', { id: 7 }]);

    const get = async (/** @type {string} */ path) => {
      const response = await fetch(new URL(path, url), { headers: { 'X-API-Key': API_KEY } });
      assert.equal(response.status, 200, path);
      return response.json();
    };
    assert.equal((await get('api/status')).status, 'ok');
    const connections = await get('api/stats/connections');
    assert.ok(connections.active >= 0 && connections.total >= connections.active);
    // What a replica says of itself to the others is a second old.
    while ((await get('api/stats/connections')).cluster.active !== sockets.length) await new Promise((resolve) => setTimeout(resolve, 100));
    assert.equal((await fetch(new URL('api/status', url))).status, 401);
    assert.equal((await fetch(new URL('health', url))).status, 200);
  } finally {
    for (const socket of sockets) socket.close();
    backend.close();
  }
}
