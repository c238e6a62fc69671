// Opens the dashboard in a real browser, and notes everything that a page must not do.
import { chromium } from 'playwright-core';
import { Cable } from '../support/redis.mjs';

/** Every wait on the page (ms); generous, for a busy machine. */
export const DEADLINE_MS = 45_000;
/** For `test`: above every wait in it. */
export const TEST = { timeout: 180_000 };

export function openBrowser() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM_BIN ?? '/usr/bin/chromium',
    args: [
      '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync',
    ],
    timeout: DEADLINE_MS,
  });
}

/**
 * A page of its own context, closed with the test: each open page costs the others their time. `faults` fills with
 * page errors and violations of the content security policy.
 *
 * @param {import('node:test').TestContext} t
 * @param {import('playwright-core').Browser} browser
 * @param {import('playwright-core').BrowserContextOptions} [options]
 */
export async function newPage(t, browser, options) {
  // What moves is drawn anew in each frame, by the processor: only those who look at it let it move.
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, reducedMotion: 'reduce', ...options });
  t.after(() => context.close());
  const page = await context.newPage();
  page.setDefaultTimeout(DEADLINE_MS);
  const faults = [];
  page.on('pageerror', (error) => faults.push(String(error)));
  page.on('console', (message) => {
    if (/content security policy|csp violation/i.test(message.text())) faults.push(message.text());
  });
  await page.addInitScript(() => {
    document.addEventListener('securitypolicyviolation', (event) => {
      console.error(`CSP violation: ${event.violatedDirective} ${event.blockedURI}`);
    });
  });
  return { page, faults };
}

/**
 * A way to a server that can be cut under a page, and mended.
 *
 * @param {import('node:test').TestContext} t
 * @param {import('../support/server.mjs').Server} server
 */
export async function wayTo(t, server) {
  const cable = await Cable.to(server);
  t.after(() => cable.stop());
  return {
    url: `http://127.0.0.1:${cable.port}`,
    /** @param {import('playwright-core').Page} page */
    async cut(page) {
      cable.cut();
      await untilPhase(page, 'reconnecting');
    },
    /** @param {import('playwright-core').Page} page */
    async mend(page) {
      cable.mend();
      await untilPhase(page, 'live');
    },
  };
}

/** @param {import('playwright-core').Page} page @param {string} phase */
export async function untilPhase(page, phase) {
  await page.locator(`body[data-phase="${phase}"]`).waitFor();
}

/** The prices on the page, by symbol, as text. @param {import('playwright-core').Page} page */
export function prices(page) {
  return page.$$eval('#prices tbody tr', (rows) =>
    Object.fromEntries(rows.map((row) => [row.dataset.symbol, row.querySelector('.price').innerText])));
}

/**
 * Until there are rows, and each has shown another price than it shows now.
 *
 * @param {import('playwright-core').Page} page
 * @param {string[]} [of] these symbols alone
 */
export async function untilAllMoved(page, of) {
  await page.locator('#prices tbody tr').first().waitFor();
  const still = new Map(Object.entries(await prices(page)).filter(([symbol]) => of?.includes(symbol) ?? true));
  while (still.size > 0) {
    await page.waitForFunction(
      (before) => [...document.querySelectorAll('#prices tbody tr')].some((row) =>
        row.dataset.symbol in before && row.querySelector('.price').innerText !== before[row.dataset.symbol]),
      Object.fromEntries(still),
    );
    const now = await prices(page);
    for (const [symbol, price] of still) if (now[symbol] !== price) still.delete(symbol);
  }
}
