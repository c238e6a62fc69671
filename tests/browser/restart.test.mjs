// The page outlives the server.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { freePort } from '../support/redis.mjs';
import { startServer } from '../support/server.mjs';
import { newPage, openBrowser, prices, TEST, untilAllMoved, untilPhase, wayTo } from './open.mjs';

let browser;

before(async () => {
  browser = await openBrowser();
});
after(() => browser?.close());

for (const signal of ['SIGTERM', 'SIGKILL']) {
  test(`a restart after ${signal} is shown, survived and owned up to`, TEST, async (t) => {
    let server = await startServer({ PORT: String(await freePort()) });
    const { url, port } = server;
    try {
      const { page, faults } = await newPage(t, browser);
      await page.goto(url);
      await untilPhase(page, 'live');
      await untilAllMoved(page);
      const epoch = await page.locator('body').getAttribute('data-epoch');
      assert.ok(epoch);

      await server.stop(signal);
      await untilPhase(page, 'reconnecting');
      await page.locator('#phase', { hasText: 'Reconnecting' }).waitFor();
      await page.getByText('The prices shown are the last that arrived').waitFor();
      assert.match(await page.locator('#announce').innerText(), /reconnecting/);
      const shown = await prices(page);
      assert.ok(Object.keys(shown).length > 0, 'the last prices stay');

      server = await startServer({ PORT: port });
      assert.equal(server.port, port);
      await untilPhase(page, 'live');
      await untilAllMoved(page);
      assert.deepEqual(Object.keys(await prices(page)), Object.keys(shown), 'no row twice');
      assert.notEqual(await page.locator('body').getAttribute('data-epoch'), epoch);
      // On a busy machine some arrive merged, which is said too.
      assert.match(await page.locator('#missed-detail').innerText(), /^unknown across 1 reset( · [\d,]+ merged)?$/);
      assert.equal(await page.locator('#announce').innerText(), 'Live');
      assert.equal(await page.locator('#notice').isVisible(), false);
      assert.deepEqual(faults, []);
    } finally {
      await server.stop();
    }
  });
}

for (const { name, env, shows } of [
  { name: 'it misses nothing', env: {}, shows: 'every update arrived' },
  { name: 'it counts what it missed, where the server does not have it any more', env: { HISTORY_SECONDS: '0' }, shows: 'while away' },
]) test(`without a network for a while, ${name}`, TEST, async (t) => {
  const server = await startServer(env);
  try {
    const { page, faults } = await newPage(t, browser);
    const way = await wayTo(t, server);
    await page.goto(`${way.url}/?transport=websocket`);
    await untilPhase(page, 'live');
    await untilAllMoved(page);
    const shown = await prices(page);
    await way.cut(page);
    await way.mend(page);
    await untilAllMoved(page);
    assert.deepEqual(Object.keys(await prices(page)), Object.keys(shown));
    const detail = await page.locator('#missed-detail').innerText();
    // On a busy machine some arrive merged, which is said in its place.
    assert.ok(detail.startsWith(shows) || (shows === 'every update arrived' && /^([\d,]+ (caught up|merged)( · |$)){1,2}/.test(detail)), detail);
    assert.equal(Number((await page.locator('#missed').innerText()).replaceAll(',', '')) > 0, shows === 'while away');
    assert.deepEqual(faults, []);
  } finally {
    await server.stop();
  }
});
