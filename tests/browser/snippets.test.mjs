// The programs that the page offers, run as they are.
import assert from 'node:assert/strict';
import { execFile, spawn, spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { SNIPPETS } from '../../static/snippets.js';
import { binary, startServer } from '../support/server.mjs';
import { hs256, SECRET } from '../support/tokens.mjs';
import { newPage, openBrowser, TEST, untilPhase } from './open.mjs';

const root = fileURLToPath(new URL('../../', import.meta.url));
const python = `${root}tests/.python/bin/python`;

// A path and an event of its own: what is taken for granted would not find them.
const SETTINGS = { SOCKET_PATH: '/feed/io', TICK_EVENT: 'price' };
/** By what the server asks for. @type {Record<string, import('../support/server.mjs').Server>} */
const servers = {};
let browser;

before(async () => {
  [servers.nothing, servers['a token'], browser] = await Promise.all([
    startServer(SETTINGS), startServer({ ...SETTINGS, JWT_SECRET: SECRET }), openBrowser(),
  ]);
});
after(async () => {
  await browser?.close();
  await Promise.all(Object.values(servers).map((server) => server.stop()));
});

/** The programs as a page shows them to who has just come. */
async function shown(t, asks) {
  const { page, faults } = await newPage(t, browser);
  await page.goto(servers[asks].url);
  if (asks === 'nothing') await untilPhase(page, 'live');
  else await page.locator('#snippet', { hasText: 'TICKCAST_TOKEN' }).waitFor();
  const programs = {};
  for (const { name } of SNIPPETS) {
    await page.getByRole('tab', { name }).click();
    assert.equal(await page.getByRole('tab', { name }).getAttribute('aria-selected'), 'true');
    programs[name] = await page.locator('#snippet').textContent();
    const needs = await page.locator('#snippet-needs').textContent();
    for (const text of [programs[name], needs]) assert.equal(text.includes('TICKCAST_TOKEN'), asks === 'a token', `${name}: ${text}`);
  }
  await page.keyboard.press('ArrowRight');
  assert.equal(await page.evaluate(() => document.activeElement.textContent), SNIPPETS[0].name, 'round to the first');
  assert.deepEqual(faults, []);
  return programs;
}

/** Runs a program until it has printed a price. */
async function untilPrice(t, command, args, options = {}) {
  const child = spawn(command, args, { env: { ...process.env, TICKCAST_TOKEN: hs256() }, ...options, detached: true, stdio: ['pipe', 'pipe', 'pipe'] });
  // Closed, not only ended: then all that it has printed has been read.
  const exited = new Promise((resolve) => child.on('close', resolve));
  t.after(async () => {
    // With what it has started: the shell has curl.
    if (child.exitCode === null) process.kill(-child.pid, 'SIGKILL');
    await exited;
  });
  let printed = '';
  const found = new Promise((resolve) => {
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text) => {
        printed += text;
        if (/BTC\D+\d{3,}/.test(printed)) resolve(true);
      });
    }
  });
  if (options.input) child.stdin.end(options.input);
  const ended = exited.then((code) => `ended with ${code}`);
  assert.equal(await Promise.race([found, ended]), true, printed);
}

const noPython = !existsSync(python) || spawnSync(python, ['-c', 'import aiohttp, socketio']).status !== 0;
for (const asks of ['nothing', 'a token']) {
  const where = `where the server asks for ${asks}`;
  test(`JavaScript, ${where}`, TEST, async (t) => {
    const { JavaScript: code } = await shown(t, asks);
    await untilPrice(t, process.execPath, ['--input-type=module', '-e', code], { cwd: root });
  });

  test(`curl, ${where}`, TEST, async (t) => {
    const { curl: code } = await shown(t, asks);
    await untilPrice(t, 'sh', [], { input: code });
  });

  test(`Python, ${where}`, { ...TEST, skip: noPython && 'python-socketio is not installed: tests/python.sh' }, async (t) => {
    const { Python: code } = await shown(t, asks);
    await untilPrice(t, python, ['-c', code]);
  });

  test(`Rust, ${where}`, { timeout: 600_000 }, async (t) => {
    const { Rust: code } = await shown(t, asks);
    // Beside the server, so that it is built once; with the versions that are here already.
    const project = `${dirname(dirname(binary))}/snippet`;
    mkdirSync(`${project}/src`, { recursive: true });
    writeFileSync(`${project}/Cargo.toml`, '[package]\nname = "snippet"\nedition = "2024"\n[dependencies]\ntungstenite = "*"\n[workspace]\n');
    writeFileSync(`${project}/src/main.rs`, code);
    cpSync(`${root}Cargo.lock`, `${project}/Cargo.lock`);
    await promisify(execFile)('cargo', ['build', '--offline', '--quiet'], { cwd: project, env: { ...process.env, CARGO_TARGET_DIR: `${project}/target` } });
    await untilPrice(t, `${project}/target/debug/snippet`, []);
  });
}
