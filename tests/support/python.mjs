// The Python of the tests: that of tests/.python where it is there (tests/python.sh), else the machine's.
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const own = fileURLToPath(new URL('../.python/bin/python', import.meta.url));

/** `PYTHON`, else what is there. */
export const python = process.env.PYTHON ?? (existsSync(own) ? own : 'python3');

/**
 * The version of a package, as numbers; none where it is not installed.
 *
 * @param {string} name
 * @returns {number[] | undefined}
 */
export function versionOf(name) {
  try {
    const code = `import importlib.metadata as m; print(m.version(${JSON.stringify(name)}))`;
    return execFileSync(python, ['-c', code], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).split('.').map(Number);
  } catch {
    return undefined;
  }
}
