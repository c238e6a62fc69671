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
import { newPage, openBrowser, TEST, untilPhase } from './open.mjs';

const root = fileURLToPath(new URL('../../', import.meta.url));
const python = `${root}tests/.python/bin/python`;

let server;
let browser;

before(async () => {
  // A path and an event of its own: what is taken for granted would not find them.
  [server, browser] = await Promise.all([startServer({ SOCKET_PATH: '/feed/io', TICK_EVENT: 'price' }), openBrowser()]);
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

/** The programs as the page shows them. */
async function shown(t) {
  const { page, faults } = await newPage(t, browser);
  await page.goto(server.url);
  await untilPhase(page, 'live');
  const programs = {};
  for (const { name } of SNIPPETS) {
    await page.getByRole('tab', { name }).click();
    assert.equal(await page.getByRole('tab', { name }).getAttribute('aria-selected'), 'true');
    programs[name] = await page.locator('#snippet').textContent();
  }
  await page.keyboard.press('ArrowRight');
  assert.equal(await page.evaluate(() => document.activeElement.textContent), SNIPPETS[0].name, 'round to the first');
  assert.deepEqual(faults, []);
  return programs;
}

/** Runs a program until it has printed a price. */
async function untilPrice(t, command, args, options = {}) {
  const child = spawn(command, args, { ...options, detached: true, stdio: ['pipe', 'pipe', 'pipe'] });
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

test('JavaScript', TEST, async (t) => {
  const { JavaScript: code } = await shown(t);
  await untilPrice(t, process.execPath, ['--input-type=module', '-e', code], { cwd: root });
});

test('curl', TEST, async (t) => {
  const { curl: code } = await shown(t);
  await untilPrice(t, 'sh', [], { input: code });
});

const noPython = !existsSync(python) || spawnSync(python, ['-c', 'import aiohttp, socketio']).status !== 0;
test('Python', { ...TEST, skip: noPython && 'python-socketio is not installed: tests/python.sh' }, async (t) => {
  const { Python: code } = await shown(t);
  await untilPrice(t, python, ['-c', code]);
});

test('Rust', { timeout: 600_000 }, async (t) => {
  const { Rust: code } = await shown(t);
  // Beside the server, so that it is built once; with the versions that are here already.
  const project = `${dirname(dirname(binary))}/snippet`;
  mkdirSync(`${project}/src`, { recursive: true });
  writeFileSync(`${project}/Cargo.toml`, '[package]\nname = "snippet"\nedition = "2024"\n[dependencies]\ntungstenite = "*"\n[workspace]\n');
  writeFileSync(`${project}/src/main.rs`, code);
  cpSync(`${root}Cargo.lock`, `${project}/Cargo.lock`);
  await promisify(execFile)('cargo', ['build', '--offline', '--quiet'], { cwd: project, env: { ...process.env, CARGO_TARGET_DIR: `${project}/target` } });
  await untilPrice(t, `${project}/target/debug/snippet`, []);
});
