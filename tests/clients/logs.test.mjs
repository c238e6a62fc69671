// The log: files that rotate, ids, and floods.
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { it } from 'node:test';
import { closeAfter, open, until } from '../support/clients.mjs';
import { fetchRaw } from '../support/raw.mjs';
import { startServer } from '../support/server.mjs';
import { SECRET } from '../support/tokens.mjs';

it('lines go into files that rotate', async (test) => {
  const folder = mkdtempSync(join(tmpdir(), 'tickcast-'));
  test.after(() => rmSync(folder, { recursive: true }));
  const LOG_DIR = join(folder, 'logs');
  const env = { LOG_TO_FILE: 'true', LOG_DIR, LOG_MAX_SIZE: '2k', LOG_MAX_FILES: '3', LOG_LEVEL: 'debug' };
  const server = await startServer(env);
  for (let i = 0; i < 40; i += 1) await fetchRaw(`${server.url}/health`, { headers: { 'x-request-id': `request-${i}` } });
  await until(() => readdirSync(LOG_DIR).length === 3, 'three files');
  await assert.rejects(startServer(env), /LOG_DIR .*another tickcast writes there/);
  assert.deepEqual(await server.stop(), { code: 0, signal: null });
  assert.deepEqual(readdirSync(LOG_DIR).sort(), ['tickcast.log', 'tickcast.log.1', 'tickcast.log.2']);
  const lines = ['tickcast.log.2', 'tickcast.log.1', 'tickcast.log'].flatMap((name) => {
    const text = readFileSync(join(LOG_DIR, name), 'utf8');
    assert.ok(text.length <= 2048 && text.endsWith('\n'), name);
    return text.trimEnd().split('\n');
  });
  // What standard error has last, the files have, line by line.
  // Each output takes the time for itself.
  const timeless = (/** @type {any} */ line) => ({ ...line, timestamp: undefined });
  assert.deepEqual(
    lines.map((line) => timeless(JSON.parse(line))),
    server.log.slice(-lines.length).map(timeless),
  );
});

it('a disk that is full is said once, and nothing else suffers', async (test) => {
  const LOG_DIR = mkdtempSync(join(tmpdir(), 'tickcast-'));
  test.after(() => rmSync(LOG_DIR, { recursive: true }));
  symlinkSync('/dev/full', join(LOG_DIR, 'tickcast.log'));
  const server = await startServer({ LOG_TO_FILE: 'true', LOG_DIR, LOG_LEVEL: 'debug' });
  const line = await server.logged(({ fields }) => /takes no lines/.test(fields?.message));
  assert.equal(line.level, 'ERROR');
  assert.match(line.fields.error, /space/);
  for (let i = 0; i < 40; i += 1) assert.equal((await fetchRaw(`${server.url}/health`)).status, 200);
  assert.deepEqual(await server.stop(), { code: 0, signal: null });
  assert.equal(server.log.filter(({ fields }) => /takes no lines/.test(fields?.message)).length, 1);
});

it('ids of requests are in their lines, and those that a log cannot bear are replaced', async (test) => {
  const server = await startServer({ LOG_LEVEL: 'debug' });
  test.after(() => server.stop());
  const get = (/** @type {string} */ id) => fetchRaw(`${server.url}/health?token=hunter2`, { headers: { 'x-request-id': id } });
  assert.equal((await get('abc-1')).headers['x-request-id'], 'abc-1');
  const line = await server.logged(({ spans }) => spans?.some((/** @type {any} */ { id }) => id === 'abc-1'));
  assert.equal(line.spans[0].path, '/health');
  for (const id of ['a b', '"', 'x'.repeat(65), '']) {
    assert.match(String((await get(id)).headers['x-request-id']), /^[0-9a-f]{16}$/, id);
  }
  assert.ok(!JSON.stringify(server.log).includes('hunter2'));
});

it('a flood of one line is summed up', async (test) => {
  const server = await startServer({ JWT_SECRET: SECRET });
  test.after(() => server.stop());
  const sockets = Array.from({ length: 50 }, () => open(server.url));
  closeAfter(test, ...sockets);
  await until(async () => (await server.json('/stats')).connections.refused === 50, 'all to be refused');
  const refused = () => server.log.filter(({ fields }) => fields?.message === 'connection refused');
  const sums = () =>
    server.log.flatMap(({ level, fields }) => {
      const held = /^\.\.\. and (\d+) more like this in 10 s$/.exec(fields?.message)?.[1];
      return held ? [{ level, like: fields.like, held: Number(held) }] : [];
    });
  // Nothing is lost, however long they took: what is not written is counted.
  const all = () => refused().length + sums().reduce((sum, { held }) => sum + held, 0);
  await until(() => all() === 50, () => `50 lines, not ${all()}`);
  assert.ok(sums().length > 0 && refused().length >= 20);
  for (const { level, like } of sums()) assert.deepEqual([level, like], ['INFO', 'connection refused']);
  const numbers = new Set(refused().map(({ fields }) => fields.connection));
  assert.equal(numbers.size, refused().length, 'each has its own');
});
