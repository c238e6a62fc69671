// What the page says when the server is not as it should be: it drains, it is cut off, a source has gone quiet.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { publish } from '../support/api.mjs';
import { connect, until } from '../support/clients.mjs';
import { Cluster, SYMBOLS } from '../support/cluster.mjs';
import { Proxy } from '../support/proxy.mjs';
import { Cable } from '../support/redis.mjs';
import { startServer } from '../support/server.mjs';
import { newPage, openBrowser, prices, TEST, untilAllMoved, untilPhase } from './open.mjs';

let browser;

before(async () => {
  browser = await openBrowser();
});
after(() => browser?.close());

/** Everything that a part of the page says from now on: what it reads out, where no other is meant. */
async function heard(page, id = 'announce') {
  await page.locator(`#${id}`).evaluate((region) => {
    const all = ((globalThis.heard ??= {})[region.id] = []);
    new MutationObserver(() => all.push(region.textContent)).observe(region, { childList: true, characterData: true, subtree: true });
  });
  return () => page.evaluate((of) => globalThis.heard[of], id);
}

test('a replica that an operator drains tells the page, which moves to another one and misses nothing', TEST, async (t) => {
  const env = { API_OPEN: 'true', DRAIN_SPREAD: '12000', DRAIN_DEADLINE: '25000' };
  const cluster = await Cluster.start(t, { env });
  const proxy = await Proxy.start(['app1', 'app2'].map((id) => cluster.replica(id)));
  cluster.undo.push(() => proxy.stop());
  const { page, faults } = await newPage(t, browser);
  const told = new Promise((resolve) => {
    page.on('websocket', (socket) => socket.on('framereceived', ({ payload }) => {
      const packet = String(payload);
      if (packet.startsWith('42["drain",')) resolve(JSON.parse(packet.slice(2))[1].reconnectInMs);
    }));
  });
  await page.goto(`${proxy.url}/?transport=websocket`);
  await untilPhase(page, 'live');
  await untilAllMoved(page, SYMBOLS);
  const gone = await page.locator('#server').innerText();
  const other = gone === 'app1' ? 'app2' : 'app1';
  const shown = Object.keys(await prices(page));
  const [said, pill] = [await heard(page), await heard(page, 'phase')];
  // Others beside it: slots are given in no order, and the first one is at once.
  for (let i = 0; i < 7; i += 1) {
    const beside = await connect(cluster.replica(gone).url, { transports: ['websocket'], reconnection: false });
    cluster.undo.push(() => beside.close());
  }

  // Asked of whichever replica the proxy chooses: it is the one that is named which drains.
  const ops = await newPage(t, browser);
  await ops.page.goto(`${proxy.url}/ops`);
  await ops.page.getByRole('button', { name: `Drain ${other}` }).waitFor();
  await ops.page.getByRole('button', { name: `Drain ${gone}` }).click();
  await ops.page.getByRole('dialog').getByRole('button', { name: `Drain ${gone}` }).click();
  await ops.page.locator('#drained', { hasText: `${gone} drains` }).waitFor();

  const slot = await told;
  await page.locator('#server', { hasText: other }).waitFor();
  await untilPhase(page, 'live');
  assert.deepEqual(await cluster.replica(gone).exited, { code: 0, signal: null });
  await untilAllMoved(page, SYMBOLS);
  // If it was the publisher, who comes after it has a symbol of its own beside these.
  assert.deepEqual(Object.keys(await prices(page)).slice(0, shown.length), shown);
  assert.equal(await page.locator('#missed').innerText(), '0');
  const all = await said();
  // In a slot that is not over at once there is time to say it.
  if (slot > 4_000) {
    assert.match(all[0], /about to stop/);
    assert.ok((await pill()).includes('Moving…'), JSON.stringify(await pill()));
  }
  assert.equal(all.at(-1), 'Live');
  assert.equal(await page.locator('#notice').isHidden(), true);
  assert.deepEqual([...faults, ...ops.faults], []);
});

test('a replica cut off from Redis is shown degraded, and what was missed across it is not made up', TEST, async (t) => {
  /** @type {Map<string, Cable>} */
  const cables = new Map();
  const cluster = await Cluster.start(t, {
    env: { LEASE_TTL: '1000', ISLAND_AFTER: '300' },
    each: async (id, redis) => {
      cables.set(id, await Cable.to(redis));
      return { REDIS_URL: cables.get(id).url };
    },
  });
  cluster.undo.push(() => Promise.all([...cables.values()].map((cable) => cable.stop())));
  const { page, faults } = await newPage(t, browser);
  await page.goto(cluster.replica('app1').url);
  await untilPhase(page, 'live');
  await untilAllMoved(page, SYMBOLS);
  const said = await heard(page);
  cables.get('app1').cut();
  await page.locator('#phase', { hasText: 'Degraded' }).waitFor();
  await page.locator('#notice', { hasText: /^The service is degraded: .*Redis/ }).waitFor();
  // Prices go on, by this replica alone, and do not look as if nothing had happened.
  await untilAllMoved(page, SYMBOLS);
  const muted = await page.evaluate(() => {
    const probe = document.body.appendChild(document.createElement('i'));
    probe.style.color = 'var(--muted)';
    const colours = [probe, document.querySelector('#prices tbody .price')].map((element) => getComputedStyle(element).color);
    probe.remove();
    return colours;
  });
  assert.equal(muted[1], muted[0]);
  cables.get('app1').mend();
  await page.locator('#phase', { hasText: /^Live$/ }).waitFor();
  await untilAllMoved(page, SYMBOLS);
  assert.match(await page.locator('#missed-detail').innerText(), /unknown across \d resets?/);
  await page.locator('#notice').waitFor({ state: 'hidden' });
  // A busy machine may be without Redis more than once.
  await until(async () => (await said()).at(-1) === 'Live', 'the last word to be that it is live');
  assert.deepEqual([...new Set(await said())], ['Connected, prices degraded', 'Live']);
  assert.deepEqual(faults, []);
});

test('a symbol whose source has gone quiet is marked, can be filtered by it, and is live with its next price', TEST, async (t) => {
  const server = await startServer({ SYMBOLS: 'BTC', PUBLISHED_SYMBOLS: 'GOLD,SILVER', STALE_AFTER: '3000' });
  t.after(() => server.stop());
  const price = async (value) => {
    const { json, text } = await publish(server, ['GOLD', 'SILVER'].map((symbol) => ({ symbol, price: value })));
    assert.equal(json?.accepted, 2, text);
  };
  await price(1900);
  const { page, faults } = await newPage(t, browser);
  await page.goto(server.url);
  await untilPhase(page, 'live');
  const row = (symbol) => page.locator(`tr[data-symbol="${symbol}"]`);
  for (const symbol of ['GOLD', 'SILVER']) await row(symbol).getByText('stale', { exact: true }).waitFor();
  assert.equal(await row('BTC').getByText('stale', { exact: true }).isHidden(), true);
  assert.equal(await page.locator('#phase').innerText(), 'Live, 2 stale');
  assert.equal(await page.locator('#announce').innerText(), 'Live, 2 symbols stale');
  assert.equal(await page.locator('#notice').isHidden(), true);
  // One that comes later is told in its snapshot what has gone quiet, and that the feed is live beside it.
  const late = await newPage(t, browser);
  await late.page.goto(server.url);
  await late.page.locator('#phase', { hasText: 'Live, 2 stale' }).waitFor();
  await page.getByRole('radio', { name: 'Stale' }).check();
  await row('BTC').waitFor({ state: 'detached' });
  assert.deepEqual(Object.keys(await prices(page)), ['GOLD', 'SILVER']);
  // Again and again: before a busy machine looks, one price may have gone quiet again.
  const priced = (locator, what) => until(async () => {
    await price(1901);
    return locator.isVisible();
  }, what);
  await priced(page.getByText('No symbol fits'), 'no symbol to be stale');
  await page.getByRole('radio', { name: 'All' }).check();
  await priced(page.locator('#phase', { hasText: /^Live$/ }), 'the page to be live');
  assert.equal(await row('GOLD').locator('.price').innerText(), '1,901');
  assert.deepEqual(faults, []);
});

test('a change that has gone quiet is not left in colour, in the table and beside it', TEST, async (t) => {
  const server = await startServer({ SYMBOLS: 'BTC', PUBLISHED_SYMBOLS: 'GOLD', STALE_AFTER: '1500' });
  t.after(() => server.stop());
  for (const price of [1900, 1901]) assert.equal((await publish(server, [{ symbol: 'GOLD', price }])).json?.accepted, 1);
  const { page, faults } = await newPage(t, browser, { viewport: { width: 1400, height: 900 } });
  await page.goto(`${server.url}/#/GOLD`);
  await untilPhase(page, 'live');
  await page.locator('.detail-head').getByText('stale', { exact: true }).waitFor();
  await page.locator('tr[data-symbol="GOLD"]').getByText('stale', { exact: true }).waitFor();
  const colours = await page.evaluate(() => {
    const probe = document.body.appendChild(document.createElement('i'));
    probe.style.color = 'var(--muted)';
    const all = [probe, ...document.querySelectorAll('[data-symbol="GOLD"] :is(.price, .change), .big, .big-change')];
    const read = all.map((element) => [element.className, element.dataset.direction, getComputedStyle(element).color]);
    probe.remove();
    return read;
  });
  const [[, , muted]] = colours;
  assert.deepEqual(colours.slice(1), [['price', undefined, muted], ['change', 'up', muted], ['big', undefined, muted], ['big-change', 'up', muted]]);
  assert.deepEqual(faults, []);
});

test('a server that is full says so, and is tried again until there is room', TEST, async (t) => {
  const server = await startServer({ MAX_CONNECTIONS: '1' });
  t.after(() => server.stop());
  const first = await connect(server.url, { transports: ['websocket'] });
  t.after(() => first.close());
  const { page, faults } = await newPage(t, browser);
  await page.goto(server.url);
  await page.locator('#notice', { hasText: /^No connection yet, .* The server says: every connection of this server is taken/ }).waitFor();
  await page.locator('#announce', { hasText: 'Not connected yet, trying again.' }).waitFor();
  first.close();
  await untilPhase(page, 'live');
  await page.locator('#notice').waitFor({ state: 'hidden' });
  assert.deepEqual(faults, []);
});

test('a feed all of whose symbols have gone quiet is stale as a whole', TEST, async (t) => {
  const server = await startServer({ SYMBOLS: '', PUBLISHED_SYMBOLS: 'GOLD', STALE_AFTER: '1500' });
  t.after(() => server.stop());
  assert.equal((await publish(server, [{ symbol: 'GOLD', price: 1900 }])).json?.accepted, 1);
  const { page } = await newPage(t, browser);
  await page.goto(server.url);
  await page.locator('#phase', { hasText: /^Stale$/ }).waitFor();
  await page.getByText('The source has gone quiet').waitFor();
  assert.equal(await page.locator('#announce').innerText(), 'Connected, prices stale');
  await until(async () => {
    assert.equal((await publish(server, [{ symbol: 'GOLD', price: 1901 }])).json?.accepted, 1);
    return page.locator('#phase', { hasText: /^Live$/ }).isVisible();
  }, 'the page to be live');
});
