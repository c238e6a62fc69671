// `make demo` for a test: the whole picture on free ports, gone with the test.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { until, within } from './clients.mjs';
import { binary } from './server.mjs';

const root = fileURLToPath(new URL('../../', import.meta.url));

/** How long it may take to be ready (ms): many programs start. */
const READY_MS = 60_000;

/**
 * Starts the demo with these settings, and resolves with where everything is.
 *
 * @param {any} test
 * @param {Record<string, string>} [settings]
 * @returns {Promise<{ proxy: { url: string }, redis: { url: string }, replicas: { id: string, url: string, pid: number }[] }>}
 */
export async function startDemo(test, settings = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'tickcast-test-'));
  const readyFile = join(folder, 'ready.json');
  const env = {
    ...process.env,
    ...{ BIN: binary, PORT_BASE: '0', PROXY_PORT: '0', REDIS_PORT: '0', HOST: '127.0.0.1', TMPDIR: folder },
    ...{ UPDATE_INTERVAL: '100', ...settings },
  };
  const demo = spawn(process.execPath, ['demo/run.mjs', '--ready-file', readyFile], { cwd: root, env });
  let said = '';
  for (const stream of [demo.stdout, demo.stderr]) stream.on('data', (text) => (said += text));
  const exited = once(demo, 'close');
  test.after(async () => {
    demo.kill('SIGTERM');
    const [code] = await within(exited, 'the end of the demo').finally(() => demo.kill('SIGKILL'));
    rmSync(folder, { recursive: true, force: true });
    assert.equal(code, 0, said);
  });
  await until(() => existsSync(readyFile) || demo.exitCode !== null, () => `the demo to be ready:\n${said}`, READY_MS);
  assert.equal(demo.exitCode, null, said);
  return JSON.parse(readFileSync(readyFile, 'utf8'));
}
