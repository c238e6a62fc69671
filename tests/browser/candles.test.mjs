// Candles and the figures of 24 hours on the page, as the server keeps them.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { publish } from '../support/api.mjs';
import { until } from '../support/clients.mjs';
import { startServer } from '../support/server.mjs';
import { newPage, openBrowser, TEST, untilPhase, wayTo } from './open.mjs';

const INTERVALS = ['1s', '1m', '5m', '15m', '1h', '1d'];

let server;
let browser;

before(async () => {
  [server, browser] = await Promise.all([startServer({ SYMBOLS: 'BTC,ETH,SOL', PUBLISHED_SYMBOLS: 'GOLD', STALE_AFTER: '0', UPDATE_INTERVAL: '100' }), openBrowser()]);
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

async function open(t, hash = '#/BTC', interval = '1s') {
  const { page, faults } = await newPage(t, browser);
  await page.addInitScript((kept) => localStorage.setItem('tickcast-choices', kept), JSON.stringify({ interval }));
  await page.goto(`${server.url}/${hash}`);
  await untilPhase(page, 'live');
  return { page, faults };
}

/** How many candles the chart has got. */
const count = async (page) => Number(await page.locator('#detail').getAttribute('data-candles'));

/** The candle that the legend tells of, by its columns. */
async function legend(page) {
  const text = (await page.locator('.legend').innerText()).replace(/\s+/g, ' ');
  const [, at, begun, high, low, close] = /^(\S+ \S+) O (\S+) H (\S+) L (\S+) C (\S+) Vol/.exec(text) ?? assert.fail(text);
  const number = (/** @type {string} */ shown) => Number(shown.replaceAll(',', ''));
  return { at, open: number(begun), high: number(high), low: number(low), close: number(close) };
}

test('those from before the page was opened are there at once, and the last one grows', TEST, async (t) => {
  // Until the server has had some seconds.
  await until(async () => (await server.json('/health')).uptime_ms > 5_000, 'some candles');
  const { page, faults } = await open(t);
  await page.waitForFunction(() => Number(document.querySelector('#detail').dataset.candles) >= 3);
  assert.equal(await page.locator('.chart-note').innerText(), '');
  const first = await legend(page);
  assert.ok(first.low <= Math.min(first.open, first.close) && first.high >= Math.max(first.open, first.close), JSON.stringify(first));
  await page.waitForFunction((at) => document.querySelector('.legend').innerText.slice(0, 19) > at, first.at);
  const next = await legend(page);
  assert.ok(Math.abs(next.close / first.close - 1) < 0.1);
  assert.deepEqual(faults, []);
});

test('every interval has its candles, and is followed alone', TEST, async (t) => {
  const { page, faults } = await newPage(t, browser);
  await page.addInitScript(() => localStorage.setItem('tickcast-choices', '{"interval":"1s"}'));
  const asked = [];
  page.on('websocket', (socket) => socket.on('framesent', ({ payload }) => {
    const [, event, what] = /^42\d*\["(candles|uncandles)",(\{.*?\})/.exec(String(payload)) ?? [];
    if (event) asked.push(`${event} ${JSON.parse(what).interval}`);
  }));
  await page.goto(`${server.url}/?transport=websocket#/BTC`);
  await untilPhase(page, 'live');
  for (const interval of INTERVALS) {
    await page.getByRole('radio', { name: interval, exact: true }).check();
    await page.locator('.legend', { hasText: 'O ' }).waitFor();
    await page.waitForFunction(() => Number(document.querySelector('#detail').dataset.candles) > 0);
    assert.equal(await page.locator('.chart-note').innerText(), '', interval);
  }
  assert.deepEqual(asked, ['candles 1s', ...INTERVALS.slice(1).flatMap((interval, i) => [`uncandles ${INTERVALS[i]}`, `candles ${interval}`])]);
  // The day began at midnight, UTC.
  assert.match((await legend(page)).at, / 00:00:00$/);
  assert.deepEqual(faults, []);
});

test('what lies before the first candle is fetched when it is looked at', TEST, async (t) => {
  await until(async () => (await server.json('/api/candles/BTC?interval=1s&limit=10')).length >= 8, 'some candles');
  const { page, faults } = await newPage(t, browser);
  await page.addInitScript(() => localStorage.setItem('tickcast-choices', '{"interval":"1s"}'));
  // The page asks for more at once than the server has by now: here for fewer.
  await page.routeWebSocket(/.*/, (socket) => {
    const there = socket.connectToServer();
    socket.onMessage((message) => there.send(String(message).replace('"limit":500', '"limit":3')));
  });
  const asked = page.waitForResponse((response) => response.url().includes('/api/candles/BTC?'));
  await page.goto(`${server.url}/?transport=websocket#/BTC`);
  const response = await asked;
  assert.equal(response.status(), 200);
  const { interval, to, limit } = Object.fromEntries(new URL(response.url()).searchParams);
  assert.deepEqual([interval, limit], ['1s', '500']);
  const before1 = await response.json();
  assert.ok(before1.length >= 3 && before1.every(({ ts }) => ts <= Number(to)), JSON.stringify(before1));
  await page.waitForFunction((more) => Number(document.querySelector('#detail').dataset.candles) >= more, before1.length + 3);
  assert.deepEqual(faults, []);
});

test('after the connection was lost nothing is missing between', TEST, async (t) => {
  const { page } = await newPage(t, browser);
  await page.addInitScript(() => localStorage.setItem('tickcast-choices', '{"interval":"1s"}'));
  const way = await wayTo(t, server);
  await page.goto(`${way.url}/?transport=websocket#/ETH`);
  await untilPhase(page, 'live');
  await page.locator('.legend', { hasText: 'O ' }).waitFor();
  const before1 = await count(page);
  const { at } = await legend(page);
  await way.cut(page);
  const away = Date.now();
  await until(() => Date.now() - away > 2_500, 'some candles to be made');
  await way.mend(page);
  await page.waitForFunction((was) => document.querySelector('.legend').innerText.slice(0, 19) > was, at);
  await page.waitForFunction((was) => Number(document.querySelector('#detail').dataset.candles) >= was + 2, before1);
});

test('the table shows 24 hours: change, high, low and volume', TEST, async (t) => {
  const priced = async (price) => assert.equal((await publish(server, [{ symbol: 'GOLD', price }])).json?.accepted, 1);
  await priced(1900);
  const { page, faults } = await newPage(t, browser);
  await page.goto(server.url);
  const heading = (sort) => page.locator(`th[data-sort="${sort}"]`);
  await heading('change').getByText('24 h').waitFor();
  for (const [sort, title] of [['high', '24 h high'], ['low', '24 h low'], ['volume', '24 h volume']]) {
    assert.match(await heading(sort).innerText(), new RegExp(`^${title}`));
  }
  const number = (/** @type {string} */ text) => Number(text.replaceAll(',', ''));
  const rows = () => page.$$eval('#prices tbody tr', (all) => all.map((row) => Object.fromEntries(
    ['symbol', 'price', 'change', 'high', 'low', 'volume'].map((name) => [name, row.querySelector(`.${name}`).innerText.trim()]))));
  await page.locator('tr[data-symbol="GOLD"]').waitFor();
  for (const { symbol, price, high, low, change } of await rows()) {
    assert.ok(number(low) <= number(price) && number(price) <= number(high), `${symbol}: ${low} ${price} ${high}`);
    assert.match(change, /^[▲▼•]\s+[+−]?[\d.,]+%/, symbol);
  }
  // It goes on being told.
  const was = JSON.stringify((await rows()).map(({ high, low }) => [high, low]));
  await priced(1901);
  await page.waitForFunction((then) => JSON.stringify([...document.querySelectorAll('#prices tbody tr')].map((row) =>
    [row.querySelector('.high').innerText.trim(), row.querySelector('.low').innerText.trim()])) !== then, was);
  assert.deepEqual(faults, []);
});

test('sizes add up to volumes, in the table and on the chart', TEST, async (t) => {
  const sized = await startServer({ SYMBOLS: '', PUBLISHED_SYMBOLS: 'GOLD', STALE_AFTER: '0' });
  t.after(() => sized.stop());
  for (const [price, size] of [[1900, 2.5], [1901, 1000], [1899, 0.5]]) {
    assert.equal((await publish(sized, [{ symbol: 'GOLD', price, size }])).json?.accepted, 1);
  }
  const { page, faults } = await newPage(t, browser);
  await page.addInitScript(() => localStorage.setItem('tickcast-choices', '{"interval":"1d"}'));
  await page.goto(`${sized.url}/#/GOLD`);
  await page.locator('.legend', { hasText: 'Vol 1.003K' }).waitFor();
  await page.locator('.figures', { hasText: '24 h: high 1,901, low 1,899, volume 1.003K' }).waitFor();
  await page.keyboard.press('Escape');
  await page.locator('tr[data-symbol="GOLD"] .volume', { hasText: '1.003K' }).waitFor();
  // Told again while the page is open, at most once a second.
  assert.equal((await publish(sized, [{ symbol: 'GOLD', price: 1905, size: 1000 }])).json?.accepted, 1);
  await page.locator('tr[data-symbol="GOLD"] .volume', { hasText: '2.003K' }).waitFor();
  assert.equal(await page.locator('tr[data-symbol="GOLD"] .high').innerText(), '1,905');
  assert.deepEqual(faults, []);
});
