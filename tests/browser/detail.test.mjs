// One symbol: chart, ticks, room and alerts.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { publish } from '../support/api.mjs';
import { until } from '../support/clients.mjs';
import { startServer } from '../support/server.mjs';
import { newPage, openBrowser, TEST, untilPhase, wayTo } from './open.mjs';

let server;
/** Where a price is what was published last: a gold price with two decimals, then one with one; and one of silver. */
let quiet;
let browser;

before(async () => {
  [server, quiet, browser] = await Promise.all([startServer(), startServer({ SYMBOLS: '', PUBLISHED_SYMBOLS: 'GOLD,SILVER,PLAIN' }), openBrowser()]);
  for (const prices of [[{ symbol: 'GOLD', price: 12.55 }], [{ symbol: 'GOLD', price: 12.5 }, { symbol: 'SILVER', price: 25.25 }]]) {
    const { json, text } = await publish(quiet, prices);
    assert.equal(json?.accepted, prices.length, text);
  }
});
after(async () => {
  await browser?.close();
  await Promise.all([server, quiet].map((each) => each?.stop()));
});

async function open(t, hash = '', options = {}, at = server) {
  const { page, faults } = await newPage(t, browser, options);
  // Whatever was published at the beginning, it is in one candle.
  if (at === quiet) await page.addInitScript(() => localStorage.setItem('tickcast-choices', '{"interval":"1d"}'));
  await page.goto(`${at.url}/${hash}`);
  await untilPhase(page, 'live');
  await page.locator('#prices tbody tr').first().waitFor();
  return { page, faults };
}

/** Until a page is in the room of its symbol: what is asked after it is answered after it. */
async function inRoom(page) {
  await page.locator('.say input').waitFor();
  await page.evaluate(() => new Promise((resolve) => globalThis.ws.emit('latency', null, resolve)));
}

test('opens from the keyboard, shows what comes, and gives the focus back', TEST, async (t) => {
  const { page, faults } = await open(t);
  await page.locator('tr[data-symbol="ETH"] .name').focus();
  await page.keyboard.press('Enter');
  await page.locator('#detail-title', { hasText: 'ETH' }).waitFor();
  assert.equal(await page.title(), 'ETH · tickcast');
  await page.locator('.legend', { hasText: /O [\d,.]+\s*H [\d,.]+\s*L [\d,.]+\s*C [\d,.]+/ }).waitFor();
  // Something is drawn.
  await page.waitForFunction(() => [...document.querySelectorAll('.chart-box canvas')].some((canvas) =>
    canvas.width > 0 && canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.some((byte) => byte > 0)));
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

/** Another address, and what is shown right after it. */
function goTo(page, hash) {
  return page.evaluate((to) => new Promise((resolve) => {
    const text = (selector) => document.querySelector(selector).textContent.trim();
    addEventListener('hashchange', () => resolve({
      title: text('#detail-title'), price: text('.big'), change: text('.big-change'), figures: text('.figures'), legend: text('.legend b'),
      ticks: document.querySelectorAll('.ticks tbody tr').length,
    }), { once: true });
    location.hash = to;
  }), hash);
}

test('a symbol never stands above the price of another one, be it unknown, or quiet', TEST, async (t) => {
  const { page, faults } = await open(t, '#/GOLD', {}, quiet);
  await page.locator('.big', { hasText: '12.50' }).waitFor();
  await page.locator('.legend', { hasText: 'O 12.55' }).waitFor();
  const silver = await goTo(page, '#/SILVER');
  assert.deepEqual(silver, { title: 'SILVER', price: '25.25', change: '• 0.00%', figures: '24 h: high 25.25, low 25.25', legend: '', ticks: 0 });
  for (const name of ['PLAIN', 'gold', 'NOPE']) {
    const none = { title: name, price: '–', change: '', figures: 'No such symbol, or no price yet.', legend: '', ticks: 0 };
    assert.deepEqual(await goTo(page, `#/${name}`), none);
    assert.equal((await goTo(page, '#/GOLD')).price, '12.50');
  }
  // Its first price is shown when it comes.
  await goTo(page, '#/PLAIN');
  assert.equal((await publish(quiet, [{ symbol: 'PLAIN', price: 7 }])).json?.accepted, 1);
  await page.locator('.big', { hasText: /^7$/ }).waitFor();
  await page.locator('.ticks tbody tr').waitFor();
  assert.deepEqual(faults, []);
});

test('a last price with fewer decimals than the day before it rounds nothing', TEST, async (t) => {
  const { page } = await open(t, '#/GOLD', { viewport: { width: 1600, height: 900 } }, quiet);
  await page.locator('.legend', { hasText: /O 12\.55\s*H 12\.55\s*L 12\.50\s*C 12\.50/ }).waitFor();
  await page.locator('.figures', { hasText: '24 h: high 12.55, low 12.50' }).waitFor();
  assert.equal(await page.locator('.big-change').innerText(), '▼ −0.40%');
  await page.getByRole('button', { name: 'Close' }).click();
  const row = page.locator('tr[data-symbol="GOLD"]');
  await row.locator('.high', { hasText: '12.55' }).waitFor();
  const cells = await row.evaluate((element) => ['.price', '.change', '.low'].map((cell) => element.querySelector(cell).innerText.replace(/\s+/g, ' ')));
  assert.deepEqual(cells, ['12.50', '▼ −0.40% −0.05', '12.50']);
});

/** A page on a phone, with a connection that can be cut. */
async function onPhone(t, routes = []) {
  const { page, faults } = await newPage(t, browser, { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true });
  for (const [url, route] of routes) await page.route(url, route);
  const way = await wayTo(t, server);
  await page.goto(`${way.url}/?transport=websocket`);
  await untilPhase(page, 'live');
  await page.locator('tr[data-symbol="BTC"]').waitFor();
  // With all that comes after the prices.
  await page.locator('#use').waitFor();
  return { page, faults, way };
}

test('the first one that is opened shows what is known while the server is away, and its chart when it is back', TEST, async (t) => {
  const gone = (route) => (away ? route.abort() : route.continue());
  let away = false;
  const { page, faults, way } = await onPhone(t, [['**/*.{js,css}*', gone]]);
  // All but the chart's library is here by now, with whatever it imports.
  await page.evaluate(() => import(new URL('views/detail/index.js', document.baseURI).href));
  await page.waitForFunction(() => performance.getEntriesByType('resource').some(({ name, responseEnd }) => name.endsWith('detail.css') && responseEnd > 0));
  away = true;
  await way.cut(page);
  await page.locator('tr[data-symbol="BTC"] .price').tap();
  await page.locator('.chart-note', { hasText: 'The chart could not be loaded.' }).waitFor();
  assert.match(await page.locator('.big').innerText(), /^[\d,.]+$/);
  assert.equal(await page.locator('.chart-box canvas').count(), 0);
  assert.ok(await page.locator('#detail .notice', { hasText: 'Connection lost' }).isVisible());
  away = false;
  await way.mend(page);
  await page.locator('.chart-box canvas').first().waitFor();
  await page.locator('.legend', { hasText: /O [\d,.]+/ }).waitFor();
  await page.locator('.chart-note', { hasText: 'could not' }).waitFor({ state: 'detached' });
  assert.equal(await page.locator('#detail .notice').isHidden(), true);
  assert.deepEqual(faults, []);
});

test('one that could not be loaded says so, can be closed, and is loaded with the next connection', TEST, async (t) => {
  let away = true;
  const { page, faults, way } = await onPhone(t, [['**/detail/index.js*', (route) => (away ? route.abort() : route.continue())]]);
  await way.cut(page);
  await page.locator('tr[data-symbol="ETH"] .price').tap();
  await page.getByText('This view could not be loaded.').waitFor();
  assert.equal(await page.locator('#detail-title').innerText(), 'ETH');
  await page.getByRole('button', { name: 'Close' }).tap();
  await page.locator('#detail').waitFor({ state: 'hidden' });
  await page.locator('tr[data-symbol="BTC"] .price').tap();
  await page.locator('#detail-title', { hasText: 'BTC' }).waitFor();
  await page.getByRole('button', { name: 'Try again' }).tap();
  await page.getByText('This view could not be loaded.').waitFor();
  away = false;
  await way.mend(page);
  await page.locator('.big', { hasText: /\d/ }).waitFor();
  await page.locator('.legend', { hasText: /O [\d,.]+/ }).waitFor();
  assert.deepEqual(faults, []);
});

test('what is not current does not look current, and says why', TEST, async (t) => {
  const { page, way } = await onPhone(t);
  await page.locator('tr[data-symbol="BTC"] .price').tap();
  await page.locator('.big-change[data-direction="up"], .big-change[data-direction="down"]').waitFor();
  const muted = () => page.evaluate(() => {
    const probe = document.body.appendChild(document.createElement('i'));
    probe.style.color = 'var(--muted)';
    const [wanted, ...others] = [probe, ...document.querySelectorAll('.big, .big-change')].map((element) => getComputedStyle(element).color);
    probe.remove();
    return others.map((colour) => colour === wanted);
  });
  assert.deepEqual(await muted(), [false, false]);
  await way.cut(page);
  await page.locator('.detail-head .how', { hasText: 'Reconnecting' }).waitFor();
  assert.ok(await page.locator('#detail .notice', { hasText: 'Connection lost' }).isVisible());
  assert.deepEqual(await muted(), [true, true]);
  await way.mend(page);
  await page.locator('.detail-head .how').waitFor({ state: 'hidden' });
  assert.equal(await page.locator('#detail .notice').isHidden(), true);
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
  await page.locator('.chart-box canvas').first().waitFor();
  const box = await page.locator('.chart-box').boundingBox();
  // From the right: until an earlier candle than the last is under the pointer.
  await until(async () => {
    for (let x = box.x + box.width - 90; x > box.x; x -= 2) {
      await page.mouse.move(x, box.y + box.height / 2);
      if ((await page.locator('.legend').innerText()).startsWith(begun)) return true;
    }
    return false;
  }, `the candle of ${begun} to be under the pointer`);
});

test('two readers talk in the room of a symbol', TEST, async (t) => {
  const [one, two] = [await open(t, '#/ADA'), await open(t, '#/ADA')];
  for (const { page } of [one, two]) await page.locator('#detail-title', { hasText: 'ADA' }).waitFor();
  for (const { page } of [one, two]) await inRoom(page);
  await two.page.locator('.say input').fill('<b>is it moving?</b>');
  await two.page.locator('.say input').press('Enter');
  for (const { page } of [one, two]) await page.locator('.said li', { hasText: '<b>is it moving?</b>' }).waitFor();
  assert.deepEqual([one.faults, two.faults], [[], []]);
});

test('what is begun for one symbol stays with it', TEST, async (t) => {
  const { page, faults } = await open(t, '#/BTC');
  const other = await open(t, '#/ETH');
  await inRoom(other.page);
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
