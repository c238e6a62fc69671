// Schemathesis asks every operation of the API's document what it allows and what it does not, and judges each answer.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { closeAfter, connect, request } from '../support/clients.mjs';
import { python, versionOf } from '../support/python.mjs';
import { startServer } from '../support/server.mjs';

const KEY = 'the-key-that-may-do-everything';

const CONFIG = fileURLToPath(new URL('../support/schemathesis.toml', import.meta.url));

/** What ends the server that is asked: other tests ask it last. */
const ENDS = '/api/drain';

/** Requests that are made up for each operation, beside those that its limits suggest. */
const EXAMPLES = 20;

it('schemathesis: no answer but those of the document', { skip: !versionOf('schemathesis') && 'schemathesis is not installed' }, async (test) => {
  const server = await startServer({ API_KEY: KEY, PUBLISHED_SYMBOLS: 'PUB' });
  test.after(async () => assert.deepEqual(await server.stop(), { code: 0, signal: null }, server.tail()));
  // Somebody to talk to.
  const socket = await connect(server.url, { auth: { user: 'user-123' } });
  closeAfter(test, socket);
  await request(socket, 'join', { room: 'lobby' });
  const folder = mkdtempSync(join(tmpdir(), 'tickcast-'));
  test.after(() => rmSync(folder, { recursive: true, force: true }));
  const child = spawn(python, [
    ...['-m', 'schemathesis.cli', '--config-file', CONFIG, 'run', `${server.url}/api/openapi.json`, '--header', `X-API-Key: ${KEY}`],
    ...['--exclude-path', ENDS],
    ...['--checks', 'all', '--phases', 'examples,coverage,fuzzing', '--max-examples', `${EXAMPLES}`, '--generation-deterministic'],
  ], { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, NO_COLOR: '1' } });
  test.after(() => child.kill());
  let said = '';
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => (said += text));
  const code = await new Promise((resolve) => child.on('close', resolve));
  assert.equal(code, 0, said);
  const { paths } = await server.json('/api/openapi.json');
  assert.ok(ENDS in paths);
  const tested = Object.entries(paths).flatMap(([path, item]) => (path === ENDS ? [] : Object.keys(item))).length;
  assert.match(said, new RegExp(`Tested: ${tested}\\b`), said);
  test.diagnostic(/^ *\d+ generated.*$/m.exec(said)?.[0].trim() ?? '');
});
