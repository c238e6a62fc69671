// Who may see prices, and what the page says to who may not.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { startServer } from '../support/server.mjs';
import { good, hs256, now, SECRET } from '../support/tokens.mjs';
import { newPage, openBrowser, prices, TEST, untilAllMoved, untilPhase } from './open.mjs';

/** Every phase but live that the page goes through from now on. */
async function interruptions(page) {
  await page.evaluate(() => {
    globalThis.phases = [];
    new MutationObserver(() => globalThis.phases.push(document.body.dataset.phase)).observe(document.body, { attributeFilter: ['data-phase'] });
  });
  return () => page.evaluate(() => globalThis.phases.filter((phase) => phase !== 'live'));
}

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
  await page.getByText('The server did not take your token (unauthorized)').waitFor();
  assert.equal(await page.locator('#signed-in').innerText(), 'refused');
  await signIn(page, '');
  await page.getByText('The server asks for a token (unauthorized)').waitFor();
  assert.equal(await page.locator('#signed-in').innerText(), 'not signed in');
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
  await signIn(page, hs256(good({ exp: Math.floor(now()) + 12 })));
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

test('a token that ends before long is said, and a new one of the same user goes on without a break', TEST, async (t) => {
  const { page, faults } = await open(t, { TOKEN_EXPIRY_NOTICE: '3600000' });
  await page.getByText('asks for a token').waitFor();
  await signIn(page, hs256());
  await page.locator('#notice', { hasText: /^Your token ends at \d\d:\d\d:\d\d\./ }).waitFor();
  await page.locator('#announce', { hasText: 'Your token ends soon' }).waitFor();
  const interrupted = await interruptions(page);
  // The menu lies over it.
  await page.keyboard.press('Escape');
  await page.getByRole('button', { name: 'Enter a token' }).click();
  assert.equal(await page.evaluate(() => document.activeElement.id), 'token');
  // One that is no good costs nothing.
  await signIn(page, 'nonsense');
  await page.locator('#signed-in', { hasText: 'refused, the one before still holds' }).waitFor();
  assert.equal(await page.locator('#notice').isVisible(), true);
  const fresh = hs256(good({ exp: Math.floor(now()) + 7_200, symbols: ['ETH', 'SOL'] }));
  await signIn(page, fresh);
  await page.locator('#notice').waitFor({ state: 'hidden' });
  await page.locator('tr[data-symbol="BTC"]').waitFor({ state: 'detached' });
  await page.waitForFunction(() => document.querySelectorAll('#prices tbody tr').length === 2);
  await untilAllMoved(page);
  assert.deepEqual(Object.keys(await prices(page)).sort(), ['ETH', 'SOL']);
  assert.equal(await page.locator('#signed-in').innerText(), 'of alice');
  assert.deepEqual(await interrupted(), [], 'the connection stayed');
  // It is the one that later connections show.
  await page.reload();
  await untilPhase(page, 'live');
  await page.locator('tr[data-symbol="ETH"]').waitFor();
  assert.equal(await page.locator('tr[data-symbol="BTC"]').count(), 0);
  assert.deepEqual(faults, []);
});

test('what another user may not see is not left on the page', TEST, async (t) => {
  const { page, faults } = await open(t);
  await page.getByText('asks for a token').waitFor();
  await signIn(page, hs256());
  await untilPhase(page, 'live');
  await page.locator('tr[data-symbol="BTC"]').waitFor();
  await page.evaluate(() => (location.hash = '#/BTC'));
  await page.locator('.ticks tbody tr').first().waitFor();
  await signIn(page, hs256(good({ sub: 'bob', symbols: ['ETH'] })));
  await page.locator('tr[data-symbol="BTC"]').waitFor({ state: 'detached' });
  await untilPhase(page, 'live');
  await page.locator('#prices-detail', { hasText: /^1 symbol$/ }).waitFor();
  assert.deepEqual(Object.keys(await prices(page)), ['ETH']);
  assert.equal(await page.locator('#signed-in').innerText(), 'of bob');
  await page.locator('.figures', { hasText: 'none for your token' }).waitFor();
  await page.locator('#detail[data-candles="0"]').waitFor();
  assert.deepEqual([await page.locator('.big').innerText(), await page.locator('.ticks tbody tr').count()], ['–', 0]);
  await untilAllMoved(page);
  assert.deepEqual(faults, []);
});

test('a guest sees what guests may, and more once signed in', TEST, async (t) => {
  const { page } = await open(t, { ALLOW_ANONYMOUS: 'true', ANONYMOUS_SYMBOLS: 'BTC' });
  await untilPhase(page, 'live');
  await page.locator('tr[data-symbol="BTC"]').waitFor();
  assert.deepEqual(Object.keys(await prices(page)), ['BTC']);
  await signIn(page, hs256());
  await page.locator('tr[data-symbol="ETH"]').waitFor();
});
