// Folders for what a server keeps, and disks that are full.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { until } from './clients.mjs';
import { binary } from './server.mjs';

/** A folder that is gone when the test is over. @param {any} test */
export function folder(test) {
  const path = mkdtempSync(join(tmpdir(), 'tickcast-data-'));
  test.after(() => rmSync(path, { recursive: true }));
  return path;
}

/**
 * A server whose files may have so many blocks of 512 bytes: what is more fails as on a full disk.
 *
 * @param {any} test
 * @param {Record<string, string>} env
 * @param {number} blocks
 */
export async function startFull(test, env, blocks) {
  const child = spawn('sh', ['-c', `trap '' XFSZ; ulimit -f ${blocks}; exec ${binary}`], {
    env: { PATH: process.env.PATH, HOST: '127.0.0.1', PORT: '0', LOG_FORMAT: 'json', ...env },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const ended = once(child, 'close');
  const stop = async (/** @type {NodeJS.Signals} */ signal) => {
    child.kill(signal);
    await ended;
  };
  test.after(() => stop('SIGTERM'));
  let said = '';
  child.stderr.on('data', (text) => (said += text));
  const url = await until(() => /"url":"([^"]+)"/.exec(said)?.[1], () => `it to listen:\n${said}`);
  return { url, stop, said: () => said };
}
