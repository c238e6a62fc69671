// Settings of the server that the page has to follow.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { startServer } from '../support/server.mjs';
import { newPage, openBrowser, TEST, untilAllMoved, untilPhase } from './open.mjs';

let browser;

before(async () => {
  browser = await openBrowser();
});
after(() => browser?.close());

/** Whether a WebSocket frame with that event arrives. */
function frameWith(page, event) {
  return new Promise((resolve) => {
    page.on('websocket', (socket) => socket.on('framereceived', ({ payload }) => {
      if (String(payload).startsWith(`42["${event}",`)) resolve(event);
    }));
  });
}

test('under a path of its own, everything is found', TEST, async (t) => {
  const server = await startServer({ BASE_PATH: '/feed' });
  try {
    const { page, faults } = await newPage(t, browser);
    const outside = [];
    page.on('request', (request) => {
      if (!new URL(request.url()).pathname.startsWith('/feed/')) outside.push(request.url());
    });
    const failed = [];
    page.on('response', (response) => {
      if (response.status() >= 400) failed.push(response.url());
    });
    await page.goto(new URL('/feed/', server.url).href);
    await untilPhase(page, 'live');
    await untilAllMoved(page);
    await page.locator('#transport', { hasText: 'WebSocket' }).waitFor();
    await page.locator('#snippet', { hasText: 'path: "/feed/socket.io/"' }).waitFor();
    assert.deepEqual([outside, failed, faults], [[], [], []]);
  } finally {
    await server.stop();
  }
});

test('renamed events are listened to in both modes', TEST, async (t) => {
  const server = await startServer({ TICK_EVENT: 'price-update', BATCH_EVENT: 'price-update-bulk' });
  try {
    for (const [mode, event] of [['tick', 'price-update'], ['batch', 'price-update-bulk']]) {
      const { page, faults } = await newPage(t, browser);
      const arrived = frameWith(page, event);
      await page.goto(`${server.url}/?mode=${mode}`);
      await untilPhase(page, 'live');
      await untilAllMoved(page);
      assert.equal(await arrived, event);
      await page.locator('#snippet', { hasText: 'socket.on("price-update"' }).waitFor();
      assert.deepEqual(faults, []);
    }
  } finally {
    await server.stop();
  }
});
