// A front end of a crypto feed demo: it subscribes to symbols through nginx, and shows each tick; and what its load
// test does: WebSocket only, subscribe, hold.
import assert from 'node:assert/strict';
import { io } from 'socket.io-client';

/** The demo as it is: a replica each 500 ms. */
export const settings = async () => ({ UPDATE_INTERVAL: '500' });

/** @param {{ url: string }} places */
export async function run({ url }) {
  const health = await fetch(new URL('health', url));
  assert.equal(health.status, 200);
  const page = await fetch(url);
  assert.match(await page.text(), /<!doctype html>/i);

  const symbols = ['BTC', 'ETH', 'SOL', 'ADA'];
  for (const options of [{}, { transports: ['websocket'] }]) {
    const socket = io(url, { forceNew: true, ...options });
    const prices = new Map();
    try {
      await new Promise((resolve, reject) => {
        socket.on('connect', () => socket.emit('subscribe', symbols));
        socket.on('connect_error', reject);
        socket.on('tick', ({ symbol, price, ts }) => {
          assert.ok(symbols.includes(symbol) && price > 0 && Math.abs(ts - Date.now()) < 60_000);
          prices.set(symbol, [...(prices.get(symbol) ?? []), price]);
          if (symbols.every((name) => (prices.get(name)?.length ?? 0) >= 3)) resolve(undefined);
        });
      });
    } finally {
      socket.close();
    }
  }
}
