// Who may see prices, and what the page says to who may not.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { startServer } from '../support/server.mjs';
import { good, hs256, now, SECRET } from '../support/tokens.mjs';
import { newPage, openBrowser, prices, TEST, untilAllMoved, untilPhase } from './open.mjs';

let browser;

before(async () => {
  browser = await openBrowser();
});
after(() => browser?.close());

async function open(t, env) {
  const server = await startServer({ JWT_SECRET: SECRET, ...env });
  t.after(() => server.stop());
  const { page, faults } = await newPage(t, browser);
  await page.goto(server.url);
  return { server, page, faults };
}

async function signIn(page, token) {
  if (await page.locator('#looks').getAttribute('open') === null) await page.locator('#looks summary').click();
  await page.fill('#token', token);
  await page.getByRole('button', { name: 'Sign in' }).click();
}

test('a page without a token says so, takes one, and keeps it for the visit alone', TEST, async (t) => {
  const { page, faults } = await open(t);
  await page.getByText('The server asks for a token (unauthorized)').waitFor();
  assert.equal(await page.locator('#phase').innerText(), 'Signed out');
  assert.equal(await page.locator('#empty').innerText(), 'No prices without a token.');
  await page.getByRole('button', { name: 'Enter a token' }).click();
  assert.equal(await page.evaluate(() => document.activeElement.id), 'token');
  await signIn(page, 'nonsense');
  await page.getByText('The server asks for a token (unauthorized)').waitFor();
  await signIn(page, hs256());
  await untilPhase(page, 'live');
  await untilAllMoved(page);
  assert.equal(await page.locator('#signed-in').innerText(), 'of alice');
  assert.equal(await page.locator('#notice').isHidden(), true);
  assert.equal(await page.evaluate(() => JSON.stringify(localStorage).includes('eyJ')), false);
  await page.reload();
  await untilPhase(page, 'live');
  assert.deepEqual(faults, []);
});

test('a token that expires is owned up to, and a new one goes on where it was', TEST, async (t) => {
  const { page } = await open(t);
  await page.getByText('The server asks for a token').waitFor();
  await signIn(page, hs256(good({ exp: Math.floor(now()) + 4 })));
  await untilPhase(page, 'live');
  await untilAllMoved(page);
  const shown = await prices(page);
  await page.getByText('Your token has expired (token_expired)').waitFor();
  assert.deepEqual(Object.keys(await prices(page)), Object.keys(shown), 'the last prices stay');
  await signIn(page, hs256());
  await untilPhase(page, 'live');
  await untilAllMoved(page);
  await page.locator('#missed-detail', { hasText: /caught up|while away|every update/ }).waitFor();
});

test('a guest sees what guests may, and more once signed in', TEST, async (t) => {
  const { page } = await open(t, { ALLOW_ANONYMOUS: 'true', ANONYMOUS_SYMBOLS: 'BTC' });
  await untilPhase(page, 'live');
  await page.locator('tr[data-symbol="BTC"]').waitFor();
  assert.deepEqual(Object.keys(await prices(page)), ['BTC']);
  await signIn(page, hs256());
  await page.locator('tr[data-symbol="ETH"]').waitFor();
});
