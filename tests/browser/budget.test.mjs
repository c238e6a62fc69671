// What the page costs: its size on the wire, and its memory after an hour.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { startServer } from '../support/server.mjs';
import { newPage, openBrowser, TEST, untilAllMoved, untilPhase } from './open.mjs';

const MAX_BYTES = 120_000;
const SYMBOLS = 40;
/** Of an hour at two updates a second. */
const BATCHES = 7_200;
/** By then the charts are full-grown. */
const WARM = 1_000;
const MAX_GROWTH_BYTES = 1_500_000;

let server;
let browser;

before(async () => {
  [server, browser] = await Promise.all([startServer({ UPDATE_INTERVAL: '1000' }), openBrowser()]);
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

test('the market view is small on the wire', TEST, async (t) => {
  const { page } = await newPage(t, browser);
  const session = await page.context().newCDPSession(page);
  await session.send('Network.enable');
  const files = new Map();
  const names = new Map();
  session.on('Network.responseReceived', ({ requestId, response }) => names.set(requestId, response.url));
  session.on('Network.loadingFinished', ({ requestId, encodedDataLength }) => files.set(names.get(requestId), encodedDataLength));
  await page.goto(server.url);
  await untilPhase(page, 'live');
  await untilAllMoved(page);
  const loaded = [...files].filter(([url]) => !/transport=/.test(url));
  assert.ok(loaded.some(([url]) => url.endsWith('socket.io.esm.min.js')));
  const bytes = loaded.reduce((sum, [, length]) => sum + length, 0);
  t.diagnostic(`${bytes} bytes in ${loaded.length} files`);
  assert.ok(bytes < MAX_BYTES, `${bytes} bytes: ${JSON.stringify(loaded)}`);
});

test('an hour of ticks leaves the heap as it was', TEST, async (t) => {
  const { page } = await newPage(t, browser);
  let send = () => {};
  await page.routeWebSocket(/.*/, (socket) => {
    socket.connectToServer();
    send = (text) => socket.send(text);
  });
  // The page's clock is the test's, so that an hour of points goes through the charts.
  await page.addInitScript(() => {
    const now = performance.now.bind(performance);
    globalThis.skipped = 0;
    performance.now = () => now() + globalThis.skipped;
  });
  await page.goto(`${server.url}/?transport=websocket`);
  await untilPhase(page, 'live');
  const session = await page.context().newCDPSession(page);
  const used = async () => {
    await session.send('HeapProfiler.collectGarbage');
    return (await session.send('Runtime.getHeapUsage')).usedSize;
  };
  const begun = Date.now();
  const batch = (i) => JSON.stringify(['ticks', Array.from({ length: SYMBOLS }, (_, s) =>
    ({ symbol: `X${s}`, price: Number((100 + Math.sin(i + s)).toFixed(3)), ts: begun + i * 500, seq: i + 1 }))]);
  const play = async (from, to) => {
    for (let i = from; i < to; i += 1) {
      send(`42${batch(i)}`);
      if (i % 100 !== 99) continue;
      await page.evaluate((ms) => new Promise((resolve) => {
        globalThis.skipped += ms;
        requestAnimationFrame(resolve);
      }), 50_000);
    }
  };
  await play(0, WARM);
  await page.locator('tr[data-symbol="X1"]').waitFor();
  const before1 = await used();
  await play(WARM, BATCHES);
  const growth = await used() - before1;
  t.diagnostic(`${growth} bytes after ${(BATCHES - WARM) * SYMBOLS} ticks`);
  assert.equal(await page.locator('#missed').innerText(), '0');
  assert.ok(growth < MAX_GROWTH_BYTES, `${growth} bytes more`);
});
