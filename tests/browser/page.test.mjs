// What a person sees, on a running server.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { publish } from '../support/api.mjs';
import { startServer } from '../support/server.mjs';
import { newPage, openBrowser, prices, TEST, untilAllMoved, untilPhase } from './open.mjs';

let server;
let browser;

before(async () => {
  [server, browser] = await Promise.all([startServer({ APP_ID: 'desk-7' }), openBrowser()]);
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

test('prices move, and the page says where they come from', TEST, async (t) => {
  const { page, faults } = await newPage(t, browser);
  const response = await page.goto(server.url);
  assert.match(response.headers()['content-security-policy'] ?? '', /script-src 'self'/);
  await untilPhase(page, 'live');
  await untilAllMoved(page);
  for (const [symbol, price] of Object.entries(await prices(page))) {
    assert.match(price, /^\d{1,3}(,\d{3})*(\.\d+)?$/, symbol);
  }
  await page.locator('#transport', { hasText: 'WebSocket' }).waitFor();
  await page.locator('#latency', { hasText: /^\d+ ms$/ }).waitFor();
  await page.locator('#updates', { hasText: /^[1-9]\d*\/s$/ }).waitFor();
  assert.equal(await page.locator('#server').innerText(), 'desk-7');
  assert.equal(await page.locator('#phase').innerText(), 'Live');
  assert.equal(await page.locator('#missed').innerText(), '0');
  assert.match(await page.locator('#prices tbody .age').first().innerText(), /^(now|\d+ s)$/);
  assert.deepEqual(faults, []);
});

test('every price of a symbol has the same number of decimals', TEST, async (t) => {
  const { page } = await newPage(t, browser);
  await page.goto(server.url);
  await untilAllMoved(page);
  const decimals = (text) => text.split('.')[1]?.length ?? 0;
  let most = {};
  for (let i = 0; i < 20; i += 1) {
    const now = Object.entries(await prices(page)).map(([symbol, price]) => [symbol, decimals(price)]);
    for (const [symbol, count] of now) assert.ok(count >= (most[symbol] ?? 0), `${symbol} lost a digit`);
    most = Object.fromEntries(now);
    await page.evaluate(() => new Promise((resolve) => requestAnimationFrame(resolve)));
  }
});

test('figures stand below each other, whatever they are', TEST, async (t) => {
  const { page } = await newPage(t, browser);
  await page.goto(server.url);
  await page.locator('#prices tbody tr').first().waitFor();
  const widths = await page.locator('#prices tbody .price .value').first().evaluate((value) => [...'0123456789'].map((digit) => {
    value.textContent = digit.repeat(8);
    return value.getBoundingClientRect().width;
  }));
  assert.equal(new Set(widths.map((width) => width.toFixed(2))).size, 1, String(widths));
});

test('a device whose clock is wrong is told so, and ages are right all the same', TEST, async (t) => {
  const { page } = await newPage(t, browser);
  await page.addInitScript(() => {
    const now = Date.now.bind(Date);
    Date.now = () => now() - 90_000;
  });
  await page.goto(server.url);
  await page.locator('#offset', { hasText: /^\+(89|90),\d{3} ms$/ }).waitFor();
  await untilAllMoved(page);
  for (const age of await page.locator('#prices tbody .age').allInnerTexts()) assert.match(age, /^(now|\d s)$/);
});

test('each row says up or down with a sign and an arrow', TEST, async (t) => {
  const { page } = await newPage(t, browser);
  await page.goto(server.url);
  const rows = page.locator('#prices tbody tr');
  await rows.first().waitFor();
  // Read in one go: between two calls a price may cross its start.
  const seen = await page.waitForFunction(() => {
    const all = [...document.querySelectorAll('#prices tbody tr')].map((row) => ({
      symbol: row.dataset.symbol,
      direction: row.querySelector('.change').dataset.direction,
      text: row.querySelector('.change').innerText.replace(/\s+/g, ' '),
    }));
    return all.some(({ direction }) => direction !== 'flat') && all;
  });
  for (const { symbol, direction, text } of await seen.jsonValue()) {
    const wanted = { up: /^▲ \+[\d.,]+% \+[\d.,]+$/, down: /^▼ −[\d.,]+% −[\d.,]+$/, flat: /^• 0\.00% 0[.0]*$/ };
    assert.match(text, wanted[direction], `${symbol}: ${text}`);
  }
});

test('each row has a chart, sharp on a dense screen', TEST, async (t) => {
  const { page } = await newPage(t, browser, { deviceScaleFactor: 2 });
  await page.goto(server.url);
  await untilAllMoved(page);
  // Some a frame, and the first of them before there is a width.
  await page.waitForFunction(() => {
    const all = [...document.querySelectorAll('#prices canvas')];
    return all.length > 0 && all.every((canvas) => Math.abs(canvas.width / canvas.clientWidth - 2) < 0.05);
  });
  const charts = () => page.$$eval('#prices canvas', (canvases) => canvases.map((canvas) => ({
    ratio: canvas.width / canvas.clientWidth,
    painted: canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.some((byte) => byte > 0),
    label: canvas.ariaLabel,
  })));
  for (const { ratio, painted, label } of await charts()) {
    assert.ok(Math.abs(ratio - 2) < 0.05, `${ratio} pixels per CSS pixel`);
    assert.ok(painted);
    assert.match(label, /^Between [\d.,]+ and [\d.,]+$/);
  }
});

for (const width of [360, 320]) {
  test(`a phone ${width} px wide does not scroll sideways, nor cut anything off`, TEST, async (t) => {
    const { page } = await newPage(t, browser, { viewport: { width, height: 740 }, isMobile: true, hasTouch: true });
    await page.goto(server.url);
    await untilAllMoved(page);
    const wide = await page.evaluate(() => {
      const edge = document.documentElement.clientWidth;
      const cells = [...document.querySelectorAll('#prices tbody :is(th, td), .pill, .fact')];
      return {
        page: document.documentElement.scrollWidth - edge,
        outside: cells.filter((cell) => cell.getBoundingClientRect().right > edge + 0.5 || cell.getBoundingClientRect().left < 0)
          .map((cell) => cell.className),
        cut: cells.filter((cell) => cell.scrollWidth > cell.clientWidth + 8).map((cell) => cell.className),
        columns: new Set([...document.querySelectorAll('#prices canvas')].map((canvas) => canvas.getBoundingClientRect().left)).size,
      };
    });
    assert.deepEqual(wide, { page: 0, outside: [], cut: [], columns: 1 });
  });
}

/** What in the rows is cut off, or lies over something else, by symbol. */
function collisions() {
  const found = [];
  for (const row of document.querySelectorAll('#prices tbody tr')) {
    const edge = row.getBoundingClientRect();
    const boxes = [...row.querySelectorAll('.name, .value, .percent-line, .amount, .high, .low, canvas, .age')].filter((part) => part.checkVisibility()).map((part) => {
      const range = document.createRange();
      range.selectNodeContents(part);
      const box = part.matches('canvas') ? part.getBoundingClientRect() : range.getBoundingClientRect();
      // What ends in an ellipsis says so.
      const clip = part.closest('td, th');
      const limits = getComputedStyle(clip).overflow === 'visible' ? edge : clip.getBoundingClientRect();
      return { part: part.className || part.localName, left: Math.max(box.left, limits.left), right: Math.min(box.right, limits.right), top: box.top, bottom: box.bottom, cut: limits === edge && (box.right > edge.right - 4 || box.left < edge.left) };
    });
    for (const [i, one] of boxes.entries()) {
      if (one.cut) found.push(`${row.dataset.symbol}: ${one.part} is cut off`);
      for (const other of boxes.slice(i + 1)) {
        const apart = one.right <= other.left + 0.5 || other.right <= one.left + 0.5 || one.bottom <= other.top + 4 || other.bottom <= one.top + 4;
        if (!apart) found.push(`${row.dataset.symbol}: ${one.part} and ${other.part}`);
      }
    }
  }
  return found;
}

test('a price is whole, however long it is, and lies over nothing', TEST, async (t) => {
  const published = await startServer({ SYMBOLS: '', PUBLISHED_SYMBOLS: 'HUGE,IDR,TINY,LONG,PLAIN', STALE_AFTER: '0' });
  t.after(() => published.stop());
  // Twice, so that there is something to compare with.
  for (const [huge, idr, tiny, long] of [[148456789.12, 123456.7891, 0.00001278, 99999999999.1], [138456789.12, 123450.7891, 0.00001234, 88888888888.12346]]) {
    const all = Object.entries({ HUGE: huge, IDR: idr, TINY: tiny, LONG: long, PLAIN: 12.5 }).map(([symbol, price]) => ({ symbol, price }));
    const { json, text } = await publish(published, all);
    assert.equal(json?.accepted, 5, text);
  }
  for (const width of [1366, 1060, 900, 390, 360, 320]) {
    const { page } = await newPage(t, browser, { viewport: { width, height: 844 } });
    await page.goto(published.url);
    await page.locator('tr[data-symbol="LONG"] .value', { hasText: '88,888,888,888.12346' }).waitFor();
    await page.locator('tr[data-symbol="TINY"] .percent', { hasText: '−3.44%' }).waitFor();
    await page.evaluate(() => document.fonts.ready);
    assert.deepEqual(await page.evaluate(collisions), [], `${width} px`);
    assert.match(await prices(page).then(({ HUGE }) => HUGE), /^138,456,789\.12$/);
    await page.context().close();
  }
});

for (const width of [800, 768]) {
  test(`at ${width} px the head and the facts have their room`, TEST, async (t) => {
    const { page } = await newPage(t, browser, { viewport: { width, height: 900 } });
    await page.goto(server.url);
    await page.locator('#transport', { hasText: 'WebSocket' }).waitFor();
    await page.locator('#offset', { hasText: 'ms' }).waitFor();
    assert.deepEqual(await page.evaluate(() => {
      const range = document.createRange();
      const lines = (element) => {
        range.selectNodeContents(element);
        return new Set([...range.getClientRects()].map(({ top }) => Math.round(top))).size;
      };
      return {
        cut: [...document.querySelectorAll('.facts dd')].filter((fact) => fact.scrollWidth > fact.clientWidth).map(({ innerText }) => innerText),
        wrapped: [...document.querySelectorAll('.facts dt, nav a, .brand p')].filter((part) => part.checkVisibility() && lines(part) > 1).map(({ innerText }) => innerText),
      };
    }), { cut: [], wrapped: [] });
  });
}

test('on a phone a stale symbol says so where there is room for it', TEST, async (t) => {
  const quiet = await startServer({ SYMBOLS: '', PUBLISHED_SYMBOLS: 'A.LONGISH-NAME', STALE_AFTER: '100' });
  t.after(() => quiet.stop());
  const { json, text } = await publish(quiet, [{ symbol: 'A.LONGISH-NAME', price: 12.5 }]);
  assert.equal(json?.accepted, 1, text);
  const { page } = await newPage(t, browser, { viewport: { width: 390, height: 844 } });
  await page.goto(quiet.url);
  await page.locator('#prices tbody tr.stale').waitFor();
  assert.equal(await page.locator('#prices .badge').isVisible(), false);
  const age = page.locator('#prices tbody .age');
  assert.equal(await age.evaluate((cell) => getComputedStyle(cell, '::before').content), '"stale "');
  assert.ok(await age.evaluate((cell) => {
    cell.firstChild.data = '59 min';
    return cell.scrollWidth <= cell.clientWidth;
  }), 'with an age of most of an hour, too');
});

test('what is chosen and what is open shows in forced colours', TEST, async (t) => {
  const { page } = await newPage(t, browser, { forcedColors: 'active' });
  await page.goto(`${server.url}/#/ETH`);
  await page.locator('.legend', { hasText: 'O ' }).waitFor();
  await page.locator('#use').waitFor();
  const outlined = (selector) => page.locator(selector).first().evaluate((element) => getComputedStyle(element).outlineStyle);
  for (const [chosen, other] of [
    ['#only input:checked + span', '#only input:not(:checked) + span'],
    ['.chart-head input:checked + span', '.chart-head input:not(:checked) + span'],
    ['nav [aria-current]', 'nav a:not([aria-current])'],
    ['.tabs [aria-selected="true"]', '.tabs [aria-selected="false"]'],
    ['tr[data-open]', '#prices tbody tr:not([data-open])'],
  ]) assert.deepEqual([await outlined(chosen), await outlined(other)], ['solid', 'none'], chosen);
  const [dot, ground] = await page.evaluate(() => [getComputedStyle(document.querySelector('.dot')).backgroundColor, getComputedStyle(document.querySelector('.pill')).backgroundColor]);
  assert.notEqual(dot, ground);
});

const COLUMNS = {
  laptop: ['Watch', 'Symbol', 'Last', '24 h', '24 h high', '24 h low', '24 h volume', 'Last minute', 'Age'],
  phone: ['Watch', 'Symbol', 'Last', '24 h', 'Last minute', 'Age'],
};
for (const [device, viewport] of [['laptop', { width: 1280, height: 800 }], ['phone', { width: 390, height: 844 }]]) {
  const columns = COLUMNS[device];
  test(`on a ${device} a screen reader finds a table`, TEST, async (t) => {
    const { page } = await newPage(t, browser, { viewport });
    await page.goto(server.url);
    await untilAllMoved(page);
    const { nodes } = await (await page.context().newCDPSession(page)).send('Accessibility.getFullAXTree');
    const names = (role) => nodes.filter((node) => !node.ignored && node.role?.value === role).map((node) => node.name?.value);
    assert.match(names('table')[0], /^Prices/);
    assert.deepEqual(names('columnheader'), columns);
    assert.deepEqual(names('rowheader'), Object.keys(await prices(page)));
  });
}

test('nothing but the connection is read out unasked', TEST, async (t) => {
  const { page } = await newPage(t, browser);
  await page.goto(server.url);
  await untilPhase(page, 'live');
  const regions = page.locator('[aria-live]:not([aria-live="off"]), [role="status"], [role="alert"], [role="log"]');
  assert.equal(await regions.count(), 1);
  assert.equal(await regions.innerText(), 'Live');
  await regions.evaluate((region) => {
    globalThis.saidAgain = 0;
    new MutationObserver(() => (globalThis.saidAgain += 1)).observe(region, { childList: true, characterData: true, subtree: true });
  });
  await untilAllMoved(page);
  // A new latency paints the connection anew, and says nothing.
  await page.evaluate(() => {
    document.querySelector('#latency').textContent = '';
    document.dispatchEvent(new Event('visibilitychange'));
  });
  await page.locator('#latency', { hasText: 'ms' }).waitFor();
  assert.equal(await page.evaluate(() => globalThis.saidAgain), 0);
});

test('everything that can be done can be done from the keyboard', TEST, async (t) => {
  const { page } = await newPage(t, browser);
  await page.goto(server.url);
  await untilPhase(page, 'live');
  // Nothing to come to is still on its way.
  await page.locator('tr[data-symbol="BTC"]').waitFor();
  await page.locator('#use').waitFor();
  const stops = [];
  while (!stops.includes('snippet-panel') && stops.length < 30) {
    await page.keyboard.press('Tab');
    stops.push(await page.evaluate(() => {
      const { id, textContent, localName, name } = document.activeElement;
      return id || (textContent.trim() || name || localName);
    }));
  }
  assert.deepEqual(stops, [
    'Skip to the prices', 'Market', 'Operations', 'Use this feed', 'summary', 'search', 'only',
    'Symbol', 'Last', '24 h', '24 h high', '24 h low', '24 h volume', 'Age', 'BTC', 'feed.js', 'copy', 'language-0', 'snippet-panel',
  ]);
});

/** Notes every flash: on which row, and when (ms). */
function noteFlashes() {
  globalThis.flashes = [];
  globalThis.changes = 0;
  const { animate } = Element.prototype;
  Element.prototype.animate = function (...args) {
    globalThis.flashes.push([this.closest('tr')?.dataset.symbol, performance.now()]);
    return animate.apply(this, args);
  };
  document.addEventListener('DOMContentLoaded', () => {
    new MutationObserver((records) => {
      globalThis.changes += records.filter(({ target }) => target.parentElement?.closest('.price') || target.closest?.('.price')).length;
      globalThis.moving = (globalThis.moving ?? 0) + document.getAnimations().length;
    }).observe(document.querySelector('#prices tbody'), { childList: true, characterData: true, subtree: true });
  });
}

test('a changed price flashes, but not more often than the eye can bear', TEST, async (t) => {
  const { page } = await newPage(t, browser, { reducedMotion: 'no-preference' });
  await page.addInitScript(noteFlashes);
  await page.goto(server.url);
  await page.waitForFunction(() => globalThis.flashes.length >= 30);
  const last = new Map();
  for (const [symbol, at] of await page.evaluate(() => globalThis.flashes)) {
    const since = at - (last.get(symbol) ?? -Infinity);
    // Clocks of pages are coarse.
    assert.ok(since > 299, `${symbol} flashed again after ${since} ms`);
    last.set(symbol, at);
  }
});

test('who asked for less motion sees none', TEST, async (t) => {
  const { page } = await newPage(t, browser, { reducedMotion: 'reduce' });
  await page.addInitScript(noteFlashes);
  await page.goto(server.url);
  await page.waitForFunction(() => globalThis.changes >= 60);
  assert.deepEqual(await page.evaluate(() => [globalThis.flashes.length, globalThis.moving]), [0, 0]);
});

test('what comes after the prices is asked for again where the server goes in that moment', TEST, async (t) => {
  const { page, faults } = await newPage(t, browser);
  const asked = { 'snippets.js': 0, 'fired.js': 0 };
  await page.route(/\/(snippets|fired)\.js/, (route) => {
    const [name] = Object.keys(asked).filter((each) => route.request().url().includes(each));
    asked[name] += 1;
    return asked[name] <= 2 ? route.abort() : route.continue();
  });
  await page.goto(server.url);
  await untilAllMoved(page);
  await page.locator('#use').waitFor();
  assert.ok(Object.values(asked).every((times) => times >= 3), JSON.stringify(asked));
  assert.deepEqual(faults, []);
});

test('polling alone is enough, when the reader asks for it', TEST, async (t) => {
  const { page, faults } = await newPage(t, browser);
  const sockets = [];
  page.on('websocket', (socket) => sockets.push(socket.url()));
  await page.goto(`${server.url}/?transport=polling`);
  await untilAllMoved(page);
  assert.equal(await page.locator('#transport').innerText(), 'Polling');
  assert.deepEqual(sockets, []);
  assert.deepEqual(faults, []);
});

test('polling alone is enough, when WebSockets do not get through', TEST, async (t) => {
  const { page, faults } = await newPage(t, browser);
  let tried = 0;
  await page.routeWebSocket(/.*/, (socket) => {
    tried += 1;
    socket.close({ code: 1001 });
  });
  await page.goto(server.url);
  await untilAllMoved(page);
  await page.waitForFunction(() => globalThis.document.querySelector('#latency').innerText.endsWith('ms'));
  assert.ok(tried > 0, 'the upgrade was tried');
  assert.equal(await page.locator('#transport').innerText(), 'Polling');
  assert.deepEqual(faults, []);
});

test('a page without the Socket.IO client says so', TEST, async (t) => {
  const { page, faults } = await newPage(t, browser);
  await page.route('**/socket.io.esm.min.js', (route) => route.abort());
  await page.goto(server.url);
  await untilPhase(page, 'failed');
  await page.getByText(/could not be loaded from .*socket\.io\.esm\.min\.js/).waitFor();
  assert.equal(await page.locator('#phase').innerText(), 'Not connected');
  assert.deepEqual(faults, []);
});
