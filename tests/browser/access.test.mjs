// axe-core on every view, in both themes and palettes: nothing serious.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { after, before, test } from 'node:test';
import { startServer } from '../support/server.mjs';
import { SECRET } from '../support/tokens.mjs';
import { newPage, openBrowser, TEST, untilPhase } from './open.mjs';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const SERIOUS = ['serious', 'critical'];

const servers = {};
let browser;

before(async () => {
  [servers.open, servers.token, servers.key, browser] = await Promise.all([
    startServer({ APP_ID: 'app7' }), startServer({ JWT_SECRET: SECRET }), startServer({ API_KEY: 'the key of an operator, long enough' }), openBrowser(),
  ]);
});
after(async () => {
  await browser?.close();
  await Promise.all(Object.values(servers).map((server) => server.stop()));
});

/** What is wrong with the page as it stands. */
async function violations(page) {
  await page.evaluate(AXE);
  return page.evaluate(async (serious) => {
    const { violations: all } = await globalThis.axe.run(document, { resultTypes: ['violations'] });
    return all.filter(({ impact }) => serious.includes(impact)).map(({ id, nodes }) => `${id}: ${nodes.map(({ html, failureSummary }) => `${html} ${failureSummary}`).join(' | ').slice(0, 400)}`);
  }, SERIOUS);
}

/** Each view as the reader has it before them. @type {Record<string, {path: string, of?: string, palettes?: string[], ready: (page: import('playwright-core').Page) => Promise<void>}>} */
const VIEWS = {
  market: {
    path: '/',
    palettes: ['green-red', 'blue-orange'],
    async ready(page) {
      await page.locator('#prices tbody tr').first().waitFor();
      await page.locator('#use').waitFor();
      await page.locator('#looks summary').click();
    },
  },
  'sign in': {
    path: '/',
    of: 'token',
    async ready(page) {
      await page.getByText('asks for a token').waitFor();
      await page.locator('#looks summary').click();
    },
  },
  snippets: {
    path: '/#use',
    async ready(page) {
      await page.getByRole('tab', { name: 'Rust' }).click();
      await page.locator('#snippet-panel').scrollIntoViewIfNeeded();
    },
  },
  detail: {
    path: '/#/BTC',
    palettes: ['green-red', 'blue-orange'],
    ready: (page) => page.locator('.legend', { hasText: 'O ' }).waitFor(),
  },
  operations: {
    path: '/ops',
    ready: (page) => page.locator('#replicas tbody tr').first().waitFor(),
  },
  'operations, about to drain': {
    path: '/ops',
    async ready(page) {
      await page.getByRole('button', { name: 'Drain app7' }).click();
      await page.getByRole('dialog').waitFor();
    },
  },
  'operations, locked': {
    path: '/ops',
    of: 'key',
    ready: (page) => page.getByText('An admin key is needed').waitFor(),
  },
  room: {
    path: '/front/lobby',
    ready: (page) => untilPhase(page, 'live'),
  },
};

for (const [view, { path, of = 'open', palettes = ['green-red'], ready }] of Object.entries(VIEWS)) {
  for (const colorScheme of ['dark', 'light']) {
    for (const palette of palettes) {
      test(`${view}, ${colorScheme}, ${palette}`, TEST, async (t) => {
        const { page, faults } = await newPage(t, browser, { colorScheme, reducedMotion: 'reduce', bypassCSP: true });
        await page.addInitScript((kept) => localStorage.setItem('tickcast-choices', kept), JSON.stringify({ palette }));
        await page.goto(servers[of].url + path);
        await ready(page);
        assert.deepEqual(await violations(page), []);
        assert.deepEqual(faults, []);
      });
    }
  }
}
