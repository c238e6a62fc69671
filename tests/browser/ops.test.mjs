// The operators' page, against the real server.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { formatMs, formatUptime, leaves, percentile } from '../../static/operations.js';
import { connect } from '../support/clients.mjs';
import { startServer } from '../support/server.mjs';
import { newPage, openBrowser, TEST } from './open.mjs';

let browser;

before(async () => {
  browser = await openBrowser();
});
after(() => browser?.close());

describe('percentiles', () => {
  const at = (...counts) => counts.map((count, i) => ({ up_to_ms: [1, 5, 10, null][i], count }));

  test('are of what came between two looks', () => {
    const before1 = at(100, 0, 0, 0);
    assert.equal(percentile(at(100, 0, 0, 0), before1, 0.5), null);
    assert.equal(percentile(at(150, 50, 0, 0), before1, 0.5), 1);
    assert.equal(percentile(at(150, 50, 0, 0), before1, 0.51), 5);
    assert.equal(percentile(at(100, 0, 99, 1), before1, 0.99), 10);
    assert.equal(percentile(at(100, 0, 98, 2), before1, 0.99), Infinity);
    assert.deepEqual([formatMs(null), formatMs(Infinity), formatMs(0.25), formatMs(5)], ['–', '> 10 s', '≤ 0.25 ms', '≤ 5 ms']);
  });

  test('other words', () => {
    assert.deepEqual([5_000, 120_000, 5_400_000, 260_000_000].map(formatUptime), ['5 s', '2 min', '1 h 30 min', '3 d']);
    assert.deepEqual(leaves({ a_b: { c: 1 }, d: 2, e: 'x', f: null }, 'z'), [['z a b c', 1], ['z d', 2]]);
  });
});

async function open(t, env) {
  const server = await startServer({ APP_ID: 'app7', ...env });
  t.after(() => server.stop());
  const { page, faults } = await newPage(t, browser);
  await page.goto(`${server.url}/ops`);
  return { server, page, faults };
}

test('shows replicas, clients, deliveries, tick age and sources', TEST, async (t) => {
  const { server, page, faults } = await open(t);
  const client = await connect(server.url);
  client.emit('subscribe', '*');
  await page.locator('#clients', { hasText: /^1$/ }).waitFor();
  await page.locator('#deliveries', { hasText: /^[1-9][\d,]*\/s$/ }).waitFor();
  await page.locator('#p99', { hasText: /^≤ [\d.]+ ms$/ }).waitFor();
  const row = page.locator('#replicas tbody tr');
  assert.equal(await row.count(), 1);
  assert.match((await row.innerText()).replace(/\s+/g, ' '), /^app7 ok all simulator: publisher 1 /);
  assert.deepEqual(faults, []);
});

test('a server with keys asks for one, and takes an admin\'s', TEST, async (t) => {
  const { page } = await open(t, { API_KEY: 'the key of an operator, long enough' });
  await page.getByText('An admin key is needed').waitFor();
  assert.equal(await page.locator('#board').isHidden(), true);
  await page.fill('#key', 'a wrong one');
  await page.getByRole('button', { name: 'Open' }).click();
  await page.locator('#notice', { hasText: 'X-API-Key is not valid' }).waitFor();
  await page.fill('#key', 'the key of an operator, long enough');
  await page.getByRole('button', { name: 'Open' }).click();
  await page.locator('#replicas tbody tr').waitFor();
  await page.locator('#key-form').waitFor({ state: 'hidden' });
});

test('disconnects a user', TEST, async (t) => {
  const { server, page } = await open(t);
  const client = await connect(server.url, { auth: { user: 'zoe' } });
  const gone = new Promise((resolve) => client.on('disconnect', resolve));
  await page.fill('#user', 'zoe');
  await page.getByRole('button', { name: 'Disconnect' }).click();
  await page.locator('#disconnected', { hasText: '1 connection of zoe ended.' }).waitFor();
  assert.equal(await page.locator('#announce').innerText(), '1 connection of zoe ended.');
  assert.equal(await gone, 'io server disconnect');
  await page.waitForFunction(() => document.querySelector('#user').value === '');
});

test('drains a replica, once the reader is sure, all from the keyboard', TEST, async (t) => {
  const { server, page } = await open(t, { DRAIN_DEADLINE: '3000' });
  const button = page.getByRole('button', { name: 'Drain app7' });
  await button.focus();
  // Over several looks the button stays the same one.
  await page.waitForFunction(() => {
    globalThis.seen ??= new Set();
    return globalThis.seen.add(document.querySelector('[data-label="Up"]').innerText).size >= 3;
  });
  assert.equal(await page.evaluate(() => document.activeElement.ariaLabel), 'Drain app7');
  await page.keyboard.press('Enter');
  const dialog = page.getByRole('dialog', { name: 'Drain app7?' });
  await dialog.getByText('for there is none').waitFor();
  await page.keyboard.press('Escape');
  await dialog.waitFor({ state: 'hidden' });
  assert.equal(await page.evaluate(() => document.activeElement.ariaLabel), 'Drain app7');
  assert.equal((await server.json('/health')).status, 'ok', 'nothing was done');
  await page.keyboard.press('Enter');
  await dialog.getByRole('button', { name: 'Drain app7' }).press('Enter');
  await page.locator('#drained', { hasText: 'app7 drains: 0 clients move on' }).waitFor();
  assert.equal((await server.exited).code, 0);
  await page.getByText('The server does not answer').waitFor();
  // Nothing looks as if it were of now.
  const colour = (selector) => page.locator(selector).first().evaluate((element) => getComputedStyle(element).color);
  const muted = await colour('#board .detail');
  assert.deepEqual([await colour('.state[data-state]'), await colour('#clients')], [muted, muted]);
});

test('says what went wrong, and shows only what was counted', TEST, async (t) => {
  const { server, page } = await open(t);
  const client = await connect(server.url);
  for (let i = 0; i < 3; i += 1) client.emit('nothing-of-that-name', {});
  const trouble = page.locator('#trouble');
  await trouble.locator('dd', { hasText: /^3$/ }).waitFor();
  assert.equal(await trouble.locator('dt').innerText(), 'errors requests');
  await trouble.locator('summary', { hasText: /^\d+ more at zero$/ }).click();
  await trouble.getByText('slow clients now').waitFor();
  await page.locator('#limits summary', { hasText: /^Nothing: all \d+ at zero$/ }).waitFor();
  await page.locator('#feed', { hasText: 'simulator' }).waitFor();
  await page.route('**/api/disconnect', (route) => route.abort());
  await page.fill('#user', 'zoe');
  await page.getByRole('button', { name: 'Disconnect' }).click();
  await page.locator('#disconnected', { hasText: 'The server did not answer' }).waitFor();
  assert.equal(await page.locator('#user').inputValue(), 'zoe', 'to be tried again');
});

test('on a phone nothing scrolls sideways', TEST, async (t) => {
  const server = await startServer({ APP_ID: 'app7' });
  t.after(() => server.stop());
  const { page } = await newPage(t, browser, { viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true });
  await page.goto(`${server.url}/ops`);
  await page.locator('#replicas tbody tr').waitFor();
  assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 360);
  await page.getByRole('button', { name: 'Drain app7' }).tap();
  await page.getByRole('dialog').getByRole('button', { name: 'Cancel' }).tap();
  await page.getByRole('dialog').waitFor({ state: 'hidden' });
  // What became of it stands where it was done.
  await page.fill('#user', 'zoe');
  await page.getByRole('button', { name: 'Disconnect' }).tap();
  const said = page.locator('#disconnected', { hasText: '0 connections of zoe ended.' });
  await said.waitFor();
  const { y, height } = await said.boundingBox();
  assert.ok(y > 0 && y + height <= 740, `${y} + ${height} px`);
});
