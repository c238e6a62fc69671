// The front end of a dashboard that measures its latency and listens to updates one by one, and in bulk.
import assert from 'node:assert/strict';
import { io } from 'socket.io-client';

/** Its names of events, and the settings that its operators have in their `.env`. */
export const settings = async () => ({
  TICK_EVENT: 'price-update',
  BATCH_EVENT: 'price-update-bulk',
  DEFAULT_MODE: 'both',
  ...{ NODE_ENV: 'production', CLUSTER_ENABLED: 'true', WORKERS: '4', MAX_MESSAGES_PER_SECOND: '100' },
});

/** @param {{ url: string }} places */
export async function run({ url }) {
  const socket = io(url, { transports: ['websocket', 'polling'], reconnection: true });
  /** @type {string[]} */
  const errors = [];
  socket.on('error', (/** @type {any} */ error) => errors.push(error.message));
  const once = (/** @type {string} */ event) => new Promise((resolve) => socket.once(event, resolve));
  try {
    await once('connect');
    const [subscribed, single, bulk] = [once('subscribed'), once('price-update'), once('price-update-bulk')];
    socket.emit('subscribe', ['BTC', 'ETH', 'SOL']);
    assert.deepEqual((await subscribed).symbols, ['BTC', 'ETH', 'SOL']);
    assert.ok((await single).price > 0);
    const list = await bulk;
    assert.ok(Array.isArray(list) && list.every(({ symbol, price }) => symbol && price > 0));

    const begun = Date.now();
    const pong = once('pong');
    socket.emit('ping', begun);
    assert.equal((await pong).echo, begun);

    const unsubscribed = once('unsubscribed');
    socket.emit('unsubscribe', ['BTC']);
    await unsubscribed;
    socket.on('price-update', ({ symbol }) => assert.notEqual(symbol, 'BTC'));
    for (let n = 0; n < 6; n += 1) await once('price-update');

    const problem = once('error');
    socket.emit('subscribe', 5);
    assert.equal((await problem).code, 'invalid_payload');
    assert.equal(errors.length, 1);
  } finally {
    socket.close();
  }
  let health;
  do health = await (await fetch(new URL('health', url))).json(); while (health.status !== 'ok' || health.bus.redis !== 'connected');
  const stats = await (await fetch(new URL('stats', url))).json();
  assert.ok(stats.connections && stats.subscriptions);
}
