// axe-core on every view, in both themes and palettes: nothing serious.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { after, before, test } from 'node:test';
import { startServer } from '../support/server.mjs';
import { newPage, openBrowser, TEST, untilPhase } from './open.mjs';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const SERIOUS = ['serious', 'critical'];

let server;
let browser;

before(async () => {
  [server, browser] = await Promise.all([startServer(), openBrowser()]);
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

/** What is wrong with the page as it stands. */
async function violations(page) {
  await page.evaluate(AXE);
  return page.evaluate(async (serious) => {
    const { violations: all } = await globalThis.axe.run(document, { resultTypes: ['violations'] });
    return all.filter(({ impact }) => serious.includes(impact)).map(({ id, nodes }) => `${id}: ${nodes.map(({ html, failureSummary }) => `${html} ${failureSummary}`).join(' | ').slice(0, 400)}`);
  }, SERIOUS);
}

const VIEWS = { market: '/', detail: '/#/BTC', operations: '/ops' };

for (const [view, path] of Object.entries(VIEWS)) {
  for (const colorScheme of ['dark', 'light']) {
    for (const palette of ['green-red', 'blue-orange']) {
      test(`${view}, ${colorScheme}, ${palette}`, TEST, async (t) => {
        const { page, faults } = await newPage(t, browser, { colorScheme, reducedMotion: 'reduce', bypassCSP: true });
        await page.addInitScript((kept) => localStorage.setItem('tickcast-choices', kept), JSON.stringify({ palette }));
        await page.goto(server.url + path);
        await untilPhase(page, 'live');
        if (view === 'market') {
          await page.locator('#prices tbody tr').first().waitFor();
          await page.locator('#looks summary').click();
        }
        if (view === 'detail') await page.locator('.legend', { hasText: 'O ' }).waitFor();
        if (view === 'operations') await page.locator('#replicas tbody tr').first().waitFor();
        assert.deepEqual(await violations(page), []);
        assert.deepEqual(faults, []);
      });
    }
  }
}
