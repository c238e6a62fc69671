// The market view: what a reader can do with it, and what of that the device keeps.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { publish } from '../support/api.mjs';
import { startServer } from '../support/server.mjs';
import { newPage, openBrowser, prices, TEST, untilAllMoved, untilPhase } from './open.mjs';

const MANY = Array.from({ length: 500 }, (_, i) => `S${String(i).padStart(3, '0')}`);

let few;
let many;
let browser;

before(async () => {
  [few, many, browser] = await Promise.all([
    startServer(),
    startServer({ SYMBOLS: MANY.join(','), UPDATE_INTERVAL: '500' }),
    openBrowser(),
  ]);
});
after(async () => {
  await browser?.close();
  await Promise.all([few?.stop(), many?.stop()]);
});

/** A page on which prices have come. */
async function open(t, server = few, options = {}) {
  const { page, faults } = await newPage(t, browser, options);
  await page.goto(server.url);
  await page.locator('#prices tbody tr').first().waitFor();
  await untilPhase(page, 'live');
  return { page, faults };
}

/** The symbols on the page, from top to bottom as they are seen. */
function seen(page) {
  return page.$$eval('#prices tbody tr', (rows) => rows
    .map((row) => ({ symbol: row.dataset.symbol, y: row.getBoundingClientRect().y }))
    .sort((a, b) => a.y - b.y).map(({ symbol }) => symbol));
}

/** Until the symbols on the page are these. */
function untilSeen(page, wanted) {
  return page.waitForFunction((all) => {
    const rows = [...document.querySelectorAll('#prices tbody tr')].sort((a, b) => a.getBoundingClientRect().y - b.getBoundingClientRect().y);
    return JSON.stringify(rows.map((row) => row.dataset.symbol)) === all;
  }, JSON.stringify(wanted));
}

test('columns sort one way, the other way, and not', TEST, async (t) => {
  const { page, faults } = await open(t);
  const came = await seen(page);
  const heading = page.locator('th[data-sort="symbol"]');
  const names = [...came].sort();
  await heading.getByRole('button').click();
  await untilSeen(page, names);
  assert.equal(await heading.getAttribute('aria-sort'), 'ascending');
  await heading.getByRole('button').click();
  await untilSeen(page, names.toReversed());
  assert.equal(await heading.getAttribute('aria-sort'), 'descending');
  // The order of the elements is the one that is seen: it is what a screen reader reads.
  assert.deepEqual(await page.$$eval('#prices tbody tr', (rows) => rows.map((row) => row.dataset.symbol)), names.toReversed());
  await page.reload();
  await untilSeen(page, names.toReversed());
  await heading.getByRole('button').click();
  await untilSeen(page, came);
  assert.equal(await heading.getAttribute('aria-sort'), null);
  assert.deepEqual(faults, []);
});

test('a phone sorts by a list, and the Tab key stops at nothing that is out of sight', TEST, async (t) => {
  const { page, faults } = await open(t, few, { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true });
  const came = await seen(page);
  const list = page.getByLabel('Sort by');
  await page.locator('#sort option', { hasText: '24 h, highest' }).waitFor({ state: 'attached' });
  assert.equal(await list.inputValue(), 'own');
  await list.selectOption({ label: 'Symbol, Z to A' });
  const names = [...came].sort().reverse();
  await untilSeen(page, names);
  await page.reload();
  await untilSeen(page, names);
  await list.selectOption({ label: 'Last, highest' });
  await page.waitForFunction(() => {
    const numbers = [...document.querySelectorAll('#prices tbody .price')].map((cell) => Number(cell.innerText.replaceAll(',', '')));
    return numbers.length > 5 && numbers.every((number, i) => i === 0 || number <= numbers[i - 1]);
  });
  await list.selectOption({ label: 'My order' });
  await untilSeen(page, came);

  await page.locator('#snippet-panel').waitFor();
  await page.evaluate(() => scrollTo(0, 0));
  const stops = [];
  while (stops.at(-1)?.id !== 'snippet-panel' && stops.length < 30) {
    await page.keyboard.press('Tab');
    stops.push(await page.evaluate(() => {
      const { left, top, right, bottom } = document.activeElement.getBoundingClientRect();
      const inSight = left >= 0 && top >= 0 && right <= innerWidth && top < innerHeight && bottom > 0;
      return { id: document.activeElement.id || document.activeElement.textContent.trim(), inSight };
    }));
  }
  assert.deepEqual(stops.filter(({ inSight }) => !inSight), []);
  assert.ok(stops.some(({ id }) => id === 'sort') && stops.at(-1)?.id === 'snippet-panel', JSON.stringify(stops));
  // A wider window has its headings back.
  await page.setViewportSize({ width: 1280, height: 800 });
  await page.waitForFunction(() => document.querySelector('th[data-sort="price"] button').tabIndex === 0);
  assert.equal(await list.isVisible(), false);
  assert.deepEqual(faults, []);
});

test('by price the largest comes first', TEST, async (t) => {
  const { page } = await open(t);
  await page.locator('th[data-sort="price"] button').click();
  await page.waitForFunction(() => {
    const numbers = [...document.querySelectorAll('#prices tbody .price')].map((cell) => Number(cell.innerText.replaceAll(',', '')));
    return numbers.length > 5 && numbers.every((number, i) => i === 0 || number <= numbers[i - 1]);
  });
});

test('the pointer and the focus hold the order', TEST, async (t) => {
  const { page } = await open(t, many);
  await page.locator('th[data-sort="change"] button').click();
  await page.locator('#prices tbody tr').nth(3).hover();
  await page.getByText('order held').waitFor();
  const held = await seen(page);
  // Prices go on; the rows stay where they are for longer than they do without the pointer.
  const shown = await prices(page);
  await page.waitForFunction((was) => {
    const rows = [...document.querySelectorAll('#prices tbody tr')];
    globalThis.begun ??= performance.now();
    globalThis.moved ??= new Set();
    for (const { dataset, children } of rows) if (children[2].innerText !== was[dataset.symbol]) globalThis.moved.add(dataset.symbol);
    return performance.now() - globalThis.begun > 2_500 && rows.every((row) => globalThis.moved.has(row.dataset.symbol));
  }, shown);
  assert.deepEqual(await seen(page), held);
  await page.mouse.move(5, 5);
  await page.waitForFunction((was) => JSON.stringify([...document.querySelectorAll('#prices tbody tr')].map((row) => row.dataset.symbol)) !== was, JSON.stringify(held));
});

test('a click does not hold the order once the pointer has gone; the keyboard does', TEST, async (t) => {
  const { page } = await open(t);
  await page.locator('th[data-sort="change"] button').click();
  const free = () => page.waitForFunction(() => !document.querySelector('#prices').hasAttribute('data-held') && !document.querySelector('#prices-detail').innerText.includes('held'));
  await page.locator('tr[data-symbol="ETH"] .price').click();
  await page.getByRole('button', { name: 'Close' }).click();
  await page.locator('#detail').waitFor({ state: 'hidden' });
  assert.equal(await page.evaluate(() => document.activeElement.textContent), 'ETH', 'the focus goes back');
  await page.mouse.move(5, 5);
  await free();
  await page.getByRole('button', { name: 'Watch SOL' }).click();
  await page.getByText('order held').waitFor();
  await page.mouse.move(5, 5);
  await free();
  await page.keyboard.press('ArrowDown');
  await page.getByText('order held').waitFor();
});

test('a price that comes again as it was does not flash', TEST, async (t) => {
  const server = await startServer({ SYMBOLS: '', PUBLISHED_SYMBOLS: 'GOLD' });
  t.after(() => server.stop());
  const price = async (value) => assert.equal((await publish(server, [{ symbol: 'GOLD', price: value, size: 3 }])).json?.accepted, 1);
  await price(1900);
  const { page } = await newPage(t, browser, { reducedMotion: 'no-preference' });
  await page.addInitScript(() => {
    globalThis.flashes = 0;
    const { animate } = Element.prototype;
    Element.prototype.animate = function (...args) {
      globalThis.flashes += 1;
      return animate.apply(this, args);
    };
  });
  await page.goto(server.url);
  const volume = (text) => page.locator('tr[data-symbol="GOLD"] .volume', { hasText: new RegExp(`^${text}$`) }).waitFor();
  await volume(3);
  for (const sum of [6, 9, 12]) {
    await price(1900);
    await volume(sum);
  }
  assert.equal(await page.evaluate(() => globalThis.flashes), 0);
  await price(1901);
  await page.waitForFunction(() => globalThis.flashes === 1);
});

test('the search finds part of a name, and says so when there is none', TEST, async (t) => {
  const { page } = await open(t, many);
  await page.keyboard.press('/');
  await page.keyboard.type('s01');
  await untilSeen(page, MANY.slice(10, 20));
  await page.getByText('10 of 500 symbols').waitFor();
  await page.keyboard.press('Enter');
  assert.equal(await page.evaluate(() => document.activeElement.textContent), 'S010');
  await page.fill('#search', 'nothing like it');
  await page.getByText('No symbol fits').waitFor();
  assert.deepEqual(await seen(page), []);
  await page.fill('#search', '');
  await page.locator('#prices tr[data-symbol="S000"]').waitFor();
});

test('the watchlist and the reader\'s order are kept on the device', TEST, async (t) => {
  const { page } = await open(t);
  const [first, second, third] = await seen(page);
  await page.getByRole('button', { name: `Watch ${second}` }).click();
  await page.locator(`tr[data-symbol="${third}"] .name`).focus();
  await page.keyboard.press('w');
  await page.keyboard.press('Alt+ArrowUp');
  await page.keyboard.press('Alt+ArrowUp');
  await page.waitForFunction((symbol) => document.querySelector('#prices tbody tr').dataset.symbol === symbol, third);
  assert.equal(await page.evaluate(() => document.activeElement.textContent), third, 'the focus goes with it');
  assert.deepEqual((await seen(page)).slice(0, 3), [third, first, second]);
  await page.getByRole('radio', { name: 'Watchlist' }).check();
  await untilSeen(page, [third, second]);
  await page.reload();
  await untilSeen(page, [third, second]);
  assert.equal(await page.getByRole('button', { name: `Watch ${second}` }).getAttribute('aria-pressed'), 'true');
});

test('two pages of a device have one watchlist, and each its own sorting', TEST, async (t) => {
  const { page: one, faults } = await open(t);
  const two = await one.context().newPage();
  await two.goto(few.url);
  await two.locator('#prices tbody tr').first().waitFor();
  const came = await seen(one);
  const star = (page, symbol) => page.getByRole('button', { name: `Watch ${symbol}`, exact: true });
  await one.bringToFront();
  await one.locator('th[data-sort="symbol"] button').click();
  for (const symbol of came.slice(0, 2)) await star(one, symbol).click();
  // At once, without a click there.
  for (const symbol of came.slice(0, 2)) await two.locator(`tr[data-symbol="${symbol}"] .star[aria-pressed="true"]`).waitFor();
  assert.equal(await two.locator('th[data-sort="symbol"]').getAttribute('aria-sort'), null);
  await two.bringToFront();
  await star(two, came[2]).click();
  await two.reload();
  for (const symbol of came.slice(0, 3)) await two.locator(`tr[data-symbol="${symbol}"] .star[aria-pressed="true"]`).waitFor();
  assert.equal(await two.locator('.star[aria-pressed="true"]').count(), 3);
  assert.deepEqual(faults, []);
});

test('in a sorted table the reader\'s own order cannot be lost', TEST, async (t) => {
  const { page } = await open(t);
  const [first, second, third, ...others] = await seen(page);
  await page.locator(`tr[data-symbol="${third}"] .name`).focus();
  await page.keyboard.press('Alt+ArrowUp');
  const own = [first, third, second, ...others];
  await untilSeen(page, own);
  const heading = page.locator('th[data-sort="symbol"]').getByRole('button');
  await heading.click();
  const names = [...own].sort();
  await untilSeen(page, names);
  await page.locator(`tr[data-symbol="${names[1]}"]`).hover();
  assert.equal(await page.locator(`tr[data-symbol="${names[1]}"] .grip`).isVisible(), false);
  await page.locator(`tr[data-symbol="${names[1]}"] .name`).focus();
  await page.keyboard.press('Alt+ArrowUp');
  await page.locator('#announce', { hasText: 'Rows can be moved where the table is not sorted.' }).waitFor();
  assert.deepEqual(await seen(page), names);
  for (let press = 0; press < 2; press += 1) await heading.click();
  await untilSeen(page, own);
  await page.locator(`tr[data-symbol="${first}"]`).hover();
  assert.equal(await page.locator(`tr[data-symbol="${first}"] .grip`).isVisible(), true);
});

test('a row is moved by its grip, among those that a filter leaves, too', TEST, async (t) => {
  const { page, faults } = await open(t);
  const came = await seen(page);
  const drag = async (symbol, onto) => {
    await page.locator(`tr[data-symbol="${symbol}"]`).hover();
    const grip = await page.locator(`tr[data-symbol="${symbol}"] .grip`).boundingBox();
    const target = await page.locator(`tr[data-symbol="${onto}"]`).boundingBox();
    await page.mouse.move(grip.x + 6, grip.y + 12);
    await page.mouse.down();
    await page.mouse.move(grip.x + 6, target.y + target.height / 2, { steps: 5 });
    await page.mouse.up();
  };
  await drag(came[0], came[2]);
  const moved = [came[1], came[2], came[0], ...came.slice(3)];
  await untilSeen(page, moved);
  assert.equal(new URL(page.url()).hash, '', 'nothing was opened');
  for (const symbol of [moved[0], moved[4]]) await page.getByRole('button', { name: `Watch ${symbol}` }).click();
  await page.getByRole('radio', { name: 'Watchlist' }).check();
  await untilSeen(page, [moved[0], moved[4]]);
  await drag(moved[4], moved[0]);
  await untilSeen(page, [moved[4], moved[0]]);
  await page.getByRole('radio', { name: 'All' }).check();
  await page.reload();
  await untilSeen(page, [moved[4], ...moved.filter((symbol) => symbol !== moved[4])]);
  assert.deepEqual(faults, []);
});

test('a filter shows what it says', TEST, async (t) => {
  const { page } = await open(t, many);
  await untilAllMoved(page);
  for (const [label, direction] of [['Up', 'up'], ['Down', 'down']]) {
    await page.getByRole('radio', { name: label, exact: true }).check();
    await page.locator('#prices-detail', { hasText: /^\d+ of 500 symbols/ }).waitFor();
    await page.waitForFunction((wanted) => {
      const all = [...document.querySelectorAll('#prices tbody .change')];
      return all.length > 3 && all.filter((cell) => cell.dataset.direction === wanted).length > all.length / 2;
    }, direction);
  }
});

test('500 symbols cost a screenful of rows, and each can be reached', TEST, async (t) => {
  const { page, faults } = await open(t, many);
  assert.equal(await page.locator('#prices').getAttribute('aria-rowcount'), '501');
  const count = async () => page.locator('#prices tbody tr').count();
  assert.ok(await count() < 40, `${await count()} rows in the page`);
  await page.locator('tr[data-symbol="S000"] .name').focus();
  await page.keyboard.press('End');
  await page.waitForFunction(() => document.activeElement.textContent === 'S499');
  const last = page.locator('tr[data-symbol="S499"]');
  assert.equal(await last.getAttribute('aria-rowindex'), '501');
  const box = await last.boundingBox();
  assert.ok(box.y >= 0 && box.y + box.height <= 800, 'in the window');
  // Scrolled away, the one with the focus stays in the page, and the way on begins there.
  await page.evaluate(() => scrollTo(0, 0));
  await page.locator('tr[data-symbol="S000"]').waitFor();
  assert.equal(await page.evaluate(() => document.activeElement.textContent), 'S499');
  await page.keyboard.press('ArrowUp');
  await page.waitForFunction(() => document.activeElement.textContent === 'S498');
  await page.keyboard.press('Home');
  await page.waitForFunction(() => document.activeElement.textContent === 'S000');
  await page.locator('tr[data-symbol="S498"]').waitFor({ state: 'detached' });
  assert.ok(await count() < 45, `${await count()} rows in the page`);
  // All shown rows are alive, also those that showed another symbol before.
  await untilAllMoved(page);
  assert.deepEqual(faults, []);
});

test('what stands below 500 rows can be reached at once, by a link and by its address', TEST, async (t) => {
  const { page, faults } = await open(t, many);
  const inSight = () => page.waitForFunction(() => {
    const { top, bottom } = document.querySelector('#snippet-panel').getBoundingClientRect();
    return top >= 0 && top < innerHeight && bottom > 0;
  });
  await page.locator('#use').waitFor();
  await page.getByRole('link', { name: 'Use this feed' }).click();
  await inSight();
  await page.keyboard.press('Tab');
  assert.equal(await page.evaluate(() => document.activeElement.closest('section').id), 'use');
  await page.goto('about:blank');
  await page.goto(`${many.url}/#use`);
  await inSight();
  assert.deepEqual(faults, []);
});

test('rows are closer together when the reader wants it so', TEST, async (t) => {
  const { page } = await open(t);
  const height = async () => (await page.locator('#prices tbody tr').first().boundingBox()).height;
  const was = await height();
  await page.locator('#looks summary').click();
  await page.getByRole('radio', { name: 'Compact' }).check();
  await page.waitForFunction((tall) => document.querySelector('#prices tbody tr').getBoundingClientRect().height < tall, was);
  // Where each row stands is said with the next frame.
  await page.waitForFunction(() => {
    const [one, two] = [...document.querySelectorAll('#prices tbody tr')].map((row) => row.getBoundingClientRect());
    return two.y - one.y === one.height;
  });
});

test('the theme and the palette are the reader\'s, and known before the first paint', TEST, async (t) => {
  const { page } = await open(t, few, { colorScheme: 'dark' });
  const up = () => page.evaluate(() => getComputedStyle(document.querySelector('.pill')).backgroundColor);
  const dark = await up();
  await page.locator('#looks summary').click();
  await page.getByRole('radio', { name: 'Light' }).check();
  assert.notEqual(await up(), dark);
  await page.getByRole('radio', { name: 'Blue, orange' }).check();
  await page.keyboard.press('Escape');
  assert.equal(await page.locator('#looks').getAttribute('open'), null);
  await page.route('**/app.js', (route) => route.abort());
  await page.reload();
  assert.deepEqual(await page.evaluate(() => ({ ...document.documentElement.dataset })), { theme: 'light', palette: 'blue-orange', density: 'comfortable' });
  assert.notEqual(await up(), dark);
});

test('it can be installed', TEST, async (t) => {
  const { page } = await open(t);
  const manifest = new URL(await page.locator('link[rel="manifest"]').getAttribute('href'), few.url);
  const response = await fetch(manifest);
  assert.equal(response.headers.get('content-type'), 'application/manifest+json');
  const { icons, start_url: start, display } = await response.json();
  assert.equal(new URL(start, manifest).href, `${few.url}/`);
  assert.equal(display, 'standalone');
  for (const { src, sizes, type } of icons) {
    const icon = await fetch(new URL(src, manifest));
    assert.deepEqual([icon.status, icon.headers.get('content-type')], [200, type], src);
    if (type !== 'image/png') continue;
    const bytes = Buffer.from(await icon.arrayBuffer());
    assert.equal(`${bytes.readUInt32BE(16)}x${bytes.readUInt32BE(20)}`, sizes, src);
  }
});
