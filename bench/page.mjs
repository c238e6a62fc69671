// What the dashboard costs a browser: every one of 500 symbols moves ten times a second, and 60 rows are in sight.
// `node bench/page.mjs [--markdown FILE]`: prints JSON; with a file, appends its section to it. TICKCAST_BIN names the server.
import { appendFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { fileURLToPath } from 'node:url';
import { openBrowser, untilPhase } from '../tests/browser/open.mjs';

const SYMBOLS = 500;
const UPDATE_MS = 100;
const ROWS = 60;
/** Before the trace begins: charts are full-grown, and the code is compiled. */
const WARM_MS = 8_000;
const TRACE_MS = 12_000;
const BUDGET_MS = 16;
const COLD_LOADS = 5;
const CATEGORIES = ['devtools.timeline', 'disabled-by-default-devtools.timeline'];

process.env.TICKCAST_BIN ??= fileURLToPath(new URL('../target/release/tickcast', import.meta.url));
const { startServer } = await import('../tests/support/server.mjs');

const { values: options } = parseArgs({ options: { markdown: { type: 'string' } } });

/** @param {number[]} sorted @param {number} part */
const quantile = (sorted, part) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? NaN;
const round = (/** @type {number} */ ms) => Math.round(ms * 10) / 10;

/**
 * The work of the page's main thread in each frame, ms: all of its tasks from one frame's commit to that of the next,
 * whatever they were for: messages, script, style, layout, paint, collection. Processor time where the trace has it, so
 * that what else the machine does is not counted.
 *
 * @param {any[]} events of a trace
 */
export function workPerFrame(events) {
  const commits = events.filter(({ name }) => name === 'Commit');
  const main = commits[0];
  const own = (/** @type {any} */ event) => event.pid === main?.pid && event.tid === main?.tid;
  const begins = commits.filter(own).map(({ ts }) => ts).sort((a, b) => a - b);
  const tasks = events.filter((event) => own(event) && event.ph === 'X' && event.name === 'RunTask');
  const work = new Array(Math.max(0, begins.length - 1)).fill(0);
  tasks.sort((a, b) => a.ts - b.ts);
  let frame = 0;
  for (const { ts, dur = 0, tdur = dur } of tasks) {
    while (frame < work.length && ts >= begins[frame + 1]) frame += 1;
    if (frame < work.length && ts >= begins[frame]) work[frame] += tdur / 1_000;
  }
  return work;
}

/** @param {import('playwright-core').Browser} browser @param {string} url */
async function frames(browser, url) {
  const context = await browser.newContext({ viewport: { width: 1440, height: 2_300 }, reducedMotion: 'no-preference' });
  await context.addInitScript(() => localStorage.setItem('tickcast-choices', '{"density":"compact"}'));
  const page = await context.newPage();
  await page.goto(url);
  await untilPhase(page, 'live');
  await page.waitForTimeout(WARM_MS);
  const rows = await page.$$eval('#prices tbody tr', (all) => all.filter((row) => row.getBoundingClientRect().bottom <= innerHeight).length);
  if (rows < ROWS) throw new Error(`only ${rows} rows are in sight, not ${ROWS}`);
  const updates = await page.locator('#updates').innerText();
  const session = await browser.newBrowserCDPSession();
  /** @type {any[]} */
  const events = [];
  session.on('Tracing.dataCollected', ({ value }) => events.push(...value));
  await session.send('Tracing.start', { transferMode: 'ReportEvents', traceConfig: { includedCategories: CATEGORIES } });
  await page.waitForTimeout(TRACE_MS);
  const complete = new Promise((resolve) => session.once('Tracing.tracingComplete', resolve));
  await session.send('Tracing.end');
  await complete;
  await context.close();
  const work = workPerFrame(events).sort((a, b) => a - b);
  if (work.length < 50) throw new Error(`only ${work.length} frames in the trace`);
  return { rows, updates, frames: work.length, p50: round(quantile(work, 0.5)), p95: round(quantile(work, 0.95)), p99: round(quantile(work, 0.99)), max: round(work.at(-1) ?? NaN) };
}

/** From the start of a cold navigation to the first frame with prices, ms. @param {import('playwright-core').Browser} browser @param {string} url */
async function firstPrices(browser, url) {
  const context = await browser.newContext();
  await context.addInitScript(() => {
    const look = () => {
      if (document.querySelector('#prices tbody tr .price')?.textContent) requestAnimationFrame(() => requestAnimationFrame(() => (globalThis.firstPrices = performance.now())));
      else requestAnimationFrame(look);
    };
    look();
  });
  const page = await context.newPage();
  await page.goto(url);
  const ms = await (await page.waitForFunction(() => globalThis.firstPrices)).jsonValue();
  await context.close();
  return ms;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const symbols = Array.from({ length: SYMBOLS }, (_, i) => `S${String(i).padStart(3, '0')}`).join(',');
  const [server, browser] = await Promise.all([startServer({ SYMBOLS: symbols, UPDATE_INTERVAL: String(UPDATE_MS) }), openBrowser()]);
  try {
    const loads = [];
    for (let i = 0; i < COLD_LOADS; i += 1) loads.push(await firstPrices(browser, server.url));
    const result = { ...await frames(browser, server.url), firstPricesMs: round(quantile(loads.sort((a, b) => a - b), 0.5)) };
    console.log(JSON.stringify(result));
    const met = result.p95 < BUDGET_MS ? 'met' : 'missed';
    const section = `\n## The dashboard\n\n${SYMBOLS} symbols at ${1_000 / UPDATE_MS} updates/s each, ${result.rows} rows in sight (${result.updates}): main-thread work per frame, ms, over ${result.frames} frames.\n\n`
      + `| p50 | p95 | p99 | max | budget (p95) | first prices, cold |\n|---|---|---|---|---|---|\n`
      + `| ${result.p50} | ${result.p95} | ${result.p99} | ${result.max} | ${BUDGET_MS}: ${met} | ${result.firstPricesMs} ms |\n`;
    if (options.markdown) appendFileSync(options.markdown, section);
  } finally {
    await browser.close();
    await server.stop();
  }
}
