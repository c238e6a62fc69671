// One symbol: chart, ticks, room and alerts.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { startServer } from '../support/server.mjs';
import { newPage, openBrowser, TEST, untilPhase } from './open.mjs';

let server;
let browser;

before(async () => {
  [server, browser] = await Promise.all([startServer(), openBrowser()]);
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

async function open(t, hash = '', options = {}) {
  const { page, faults } = await newPage(t, browser, options);
  await page.goto(`${server.url}/${hash}`);
  await untilPhase(page, 'live');
  await page.locator('#prices tbody tr').first().waitFor();
  return { page, faults };
}

test('opens from the keyboard, shows what comes, and gives the focus back', TEST, async (t) => {
  const { page, faults } = await open(t);
  await page.locator('tr[data-symbol="ETH"] .name').focus();
  await page.keyboard.press('Enter');
  await page.locator('#detail-title', { hasText: 'ETH' }).waitFor();
  assert.equal(await page.title(), 'ETH · tickcast');
  const drawn = () => page.$$eval('.chart-box canvas', (all) => all.some((canvas) =>
    canvas.width > 0 && canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.some((byte) => byte > 0)));
  await page.locator('.legend', { hasText: /O [\d,.]+\s*H [\d,.]+\s*L [\d,.]+\s*C [\d,.]+/ }).waitFor();
  assert.ok(await drawn(), 'something is drawn');
  await page.waitForFunction(() => document.querySelectorAll('.ticks tbody tr').length >= 10);
  const shown = await page.locator('.big').innerText();
  await page.waitForFunction((was) => document.querySelector('.big').innerText !== was, shown);
  assert.ok(await page.getByRole('link', { name: 'TradingView' }).isVisible(), 'the attribution');
  await page.keyboard.press('Escape');
  assert.equal(await page.locator('#detail').isHidden(), true);
  assert.equal(await page.evaluate(() => document.activeElement.textContent), 'ETH');
  assert.deepEqual(faults, []);
});

test('an address leads to it, and back leads out', TEST, async (t) => {
  const { page } = await open(t, '#/SOL');
  await page.locator('#detail-title', { hasText: 'SOL' }).waitFor();
  await page.evaluate(() => (location.hash = '#/BTC'));
  await page.locator('#detail-title', { hasText: 'BTC' }).waitFor();
  await page.goBack();
  await page.locator('#detail-title', { hasText: 'SOL' }).waitFor();
});

test('closed, it is not on the way back, and the page stands where it stood', TEST, async (t) => {
  const { page, faults } = await open(t, '', { viewport: { width: 1280, height: 420 } });
  const opened = async (symbol) => page.locator('#detail-title', { hasText: symbol }).waitFor();
  const closed = () => page.waitForFunction(() => document.querySelector('#detail').hidden && location.hash === '' && history.state.depth === 0);
  const [first, second] = await page.$$eval('#prices tbody tr', (rows) => rows.slice(3, 5).map((row) => row.dataset.symbol));
  await page.locator('#use').waitFor();
  await page.locator(`tr[data-symbol="${first}"]`).click();
  await opened(first);
  await page.locator(`tr[data-symbol="${second}"]`).click();
  await opened(second);
  // So that the row that has the focus then is in sight, and lower than where it was opened.
  const stands = await page.evaluate((symbol) => {
    scrollBy(0, document.querySelector(`tr[data-symbol="${symbol}"]`).getBoundingClientRect().top - 200);
    document.querySelector('.close').click();
    return scrollY;
  }, second);
  await closed();
  // In which the browser puts the page to where it thinks that it was.
  await page.evaluate(async () => {
    for (let frame = 0; frame < 4; frame += 1) await new Promise((resolve) => requestAnimationFrame(resolve));
  });
  assert.equal(await page.evaluate(() => scrollY), stands);
  // The market is where it was in the history: what was opened lies ahead.
  await page.goForward();
  await opened(first);
  await page.goForward();
  await opened(second);
  await page.keyboard.press('Escape');
  await closed();
  // An address leads to a symbol from elsewhere, and back is there.
  await page.goto('about:blank');
  await page.goto(`${server.url}/#/SOL`);
  await opened('SOL');
  await page.keyboard.press('Escape');
  await closed();
  await page.goBack();
  assert.equal(page.url(), 'about:blank');
  assert.deepEqual(faults, []);
});

test('Escape leaves what was begun before it closes anything', TEST, async (t) => {
  const { page } = await open(t, '#/ETH');
  await page.locator('#detail-title', { hasText: 'ETH' }).waitFor();
  await page.fill('#search', 'BT');
  await page.keyboard.press('Escape');
  await page.locator('tr[data-symbol="ETH"]').waitFor();
  assert.deepEqual([await page.inputValue('#search'), await page.locator('#detail').isHidden()], ['', false]);
  await page.locator('.say input').fill('not yet');
  await page.keyboard.press('Escape');
  assert.deepEqual(await page.evaluate(() => [document.activeElement.id, document.querySelector('#detail').hidden]), ['detail', false]);
  assert.equal(await page.locator('.say input').inputValue(), 'not yet');
  await page.keyboard.press('Escape');
  await page.locator('#detail').waitFor({ state: 'hidden' });
});

test('all its times are in UTC', TEST, async (t) => {
  const { page } = await open(t, '#/BTC', { timezoneId: 'America/New_York' });
  await page.getByText('Times in UTC.').waitFor();
  await page.locator('.ticks tbody tr').first().waitFor();
  const [shown, now] = await page.evaluate(() => [document.querySelector('.ticks td').innerText, new Date().toISOString().slice(11, 23)]);
  const seconds = (clock) => clock.split(':').reduce((sum, part) => sum * 60 + Number(part), 0);
  // Ages of a busy machine, and not the four or five hours to New York; at midnight they begin anew.
  const apart = Math.abs(seconds(shown) - seconds(now));
  assert.ok(Math.min(apart, 86_400 - apart) < 3_000, `${shown}, and it is ${now}`);
});

test('candles last as long as the reader says, on every visit', TEST, async (t) => {
  const { page } = await open(t, '#/BTC');
  await page.getByRole('radio', { name: '1s', exact: true }).check();
  await page.waitForFunction(() => /:\d\d\s+O/.test(document.querySelector('.legend').innerText));
  const first = await page.locator('.legend').innerText();
  await page.waitForFunction((was) => document.querySelector('.legend').innerText.slice(0, 19) > was, first.slice(0, 19));
  await page.reload();
  await page.locator('#detail-title', { hasText: 'BTC' }).waitFor();
  assert.equal(await page.getByRole('radio', { name: '1s', exact: true }).isChecked(), true);
});

test('the crosshair says what is under it', TEST, async (t) => {
  const { page } = await open(t, '#/BTC');
  await page.getByRole('radio', { name: '1s', exact: true }).check();
  await page.waitForFunction(() => /\sO/.test(document.querySelector('.legend').innerText));
  const begun = (await page.locator('.legend').innerText()).slice(0, 19);
  await page.waitForFunction((was) => document.querySelector('.legend').innerText.slice(0, 19) > was, begun);
  const box = await page.locator('.chart-box').boundingBox();
  // From the right: until an earlier candle than the last is under the pointer.
  for (let x = box.x + box.width - 90; x > box.x; x -= 2) {
    await page.mouse.move(x, box.y + box.height / 2);
    if ((await page.locator('.legend').innerText()).startsWith(begun)) return;
  }
  assert.fail(`the candle of ${begun} was not found`);
});

test('two readers talk in the room of a symbol', TEST, async (t) => {
  const [one, two] = [await open(t, '#/ADA'), await open(t, '#/ADA')];
  for (const { page } of [one, two]) await page.locator('#detail-title', { hasText: 'ADA' }).waitFor();
  await two.page.locator('.say input').fill('<b>is it moving?</b>');
  await two.page.locator('.say input').press('Enter');
  for (const { page } of [one, two]) await page.locator('.said li', { hasText: '<b>is it moving?</b>' }).waitFor();
  assert.deepEqual([one.faults, two.faults], [[], []]);
});

test('what is begun for one symbol stays with it', TEST, async (t) => {
  const { page, faults } = await open(t, '#/BTC');
  const other = await open(t, '#/ETH');
  await page.locator('.say input').fill('selling my BTC');
  await page.locator('.alert-form select').selectOption('changePct');
  await page.locator('.alert-form input').fill('64000');
  await page.locator('tr[data-symbol="ETH"] .name').click();
  await page.locator('#detail-title', { hasText: 'ETH' }).waitFor();
  assert.equal(await page.locator('.alert-form input').inputValue(), '');
  assert.equal(await page.locator('.alert-form select').inputValue(), 'above');
  assert.equal(await page.locator('.alert-form input').getAttribute('placeholder'), 'Price');
  // Nothing is there to be sent: only what comes after it is said.
  await page.locator('.say input').press('Enter');
  await page.locator('.say input').fill('hello ETH');
  await page.locator('.say input').press('Enter');
  await other.page.locator('.said li', { hasText: 'hello ETH' }).waitFor();
  assert.equal(await other.page.locator('.said li').count(), 1);
  await page.waitForFunction(() => document.querySelector('.say input').value === '');
  await page.locator('tr[data-symbol="BTC"] .name').click();
  await page.locator('#detail-title', { hasText: 'BTC' }).waitFor();
  assert.equal(await page.locator('.say input').inputValue(), 'selling my BTC');
  await page.locator('.say input').press('Enter');
  await page.locator('.said li', { hasText: 'selling my BTC' }).waitFor();
  assert.deepEqual(faults, []);
});

test('on a phone it covers the market', TEST, async (t) => {
  const { page } = await open(t, '#/BTC', { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true });
  await page.locator('#detail-title', { hasText: 'BTC' }).waitFor();
  const box = await page.locator('#detail').boundingBox();
  assert.deepEqual([Math.round(box.x), Math.round(box.y), Math.round(box.width), Math.round(box.height)], [0, 0, 390, 844]);
  assert.equal(await page.evaluate(() => document.querySelector('#detail').scrollWidth), 390);
  await page.getByRole('button', { name: 'Close' }).tap();
  await page.locator('#detail').waitFor({ state: 'hidden' });
});

test('what it covers cannot be reached, until it goes or there is room for both', TEST, async (t) => {
  const { page, faults } = await open(t, '', { viewport: { width: 1000, height: 800 } });
  await page.locator('tr[data-symbol="ETH"] .name').focus();
  await page.keyboard.press('Enter');
  await page.locator('#detail-title', { hasText: 'ETH' }).waitFor();
  await page.waitForFunction(() => document.activeElement.id === 'detail');
  const stops = new Set();
  for (let press = 0; press < 24; press += 1) {
    await page.keyboard.press('Tab');
    // Beyond its last stop the focus leaves the page.
    stops.add(await page.evaluate(() => (document.activeElement === document.body ? 'none' : document.activeElement.closest('#detail') ? 'detail' : document.activeElement.outerHTML)));
  }
  assert.deepEqual([...stops].filter((stop) => stop !== 'none'), ['detail']);
  await page.setViewportSize({ width: 1280, height: 800 });
  await page.waitForFunction(() => document.querySelectorAll('[inert]').length === 0);
  await page.setViewportSize({ width: 1000, height: 800 });
  await page.waitForFunction(() => document.querySelectorAll('[inert]').length > 0);
  await page.keyboard.press('Escape');
  await page.waitForFunction(() => document.activeElement.textContent === 'ETH');
  assert.equal(await page.locator('[inert]').count(), 0);
  assert.deepEqual(faults, []);
});

test('an alert is listed, and goes when it is removed', TEST, async (t) => {
  const { page, faults } = await open(t, '#/ETH');
  const form = page.locator('.alert-form');
  for (const [kind, value] of [['changePct', '50'], ['above', '1000000000']]) {
    await form.locator('select').selectOption(kind);
    await form.locator('input').fill(value);
    await form.locator('input').press('Enter');
  }
  const listed = page.locator('.alerts li', { hasText: '50% within 5 min' });
  await listed.waitFor();
  await page.locator('.alerts li', { hasText: 'above' }).waitFor();
  await listed.getByRole('button').click();
  await listed.waitFor({ state: 'detached' });
  assert.equal(await page.locator('.alerts li').count(), 1);
  // The focus goes to the next one, and from the last to where one is set.
  assert.match(await page.evaluate(() => document.activeElement.ariaLabel), /^Remove the alert ETH above/);
  await page.keyboard.press('Enter');
  await page.waitForFunction(() => document.querySelectorAll('.alerts li').length === 0);
  assert.equal(await page.evaluate(() => document.activeElement.ariaLabel), 'Price or percent');
  assert.deepEqual(faults, []);
});
