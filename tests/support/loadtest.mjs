// Runs the load tester, as people do.
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../', import.meta.url));

/** The load tester: `LOADTEST_BIN`, else the debug build. */
export const loadtester = process.env.LOADTEST_BIN ?? `${root}target/debug/tickcast-loadtest`;

/**
 * Loads a server, and resolves with the report and the exit code.
 *
 * @param {string} url
 * @param {string[]} options
 * @param {Promise<unknown>} [enough] ends the run early, as Ctrl-C does
 * @returns {Promise<{report: any, code: number | null}>}
 */
export async function load(url, options, enough) {
  const child = spawn(loadtester, [url, '--json', '-', '--quiet', ...options], { stdio: ['ignore', 'pipe', 'inherit'] });
  enough?.then(() => child.kill('SIGINT'));
  let json = '';
  child.stdout.on('data', (chunk) => (json += chunk));
  const code = await new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', resolve);
  });
  return { report: JSON.parse(json), code };
}
