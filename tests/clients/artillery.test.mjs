// The load test runs against the real server, and its counters count: a few users, for a few seconds.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { serve, until } from '../support/clients.mjs';

const folder = fileURLToPath(new URL('../../loadtest/', import.meta.url));
const installed = existsSync(path.join(folder, 'node_modules', '.bin', 'artillery'));

/** Users of the short run. */
const USERS = 5;
/** Symbols that each subscribes to. */
const SYMBOLS = 5;

/**
 * Runs a scenario and returns its counters.
 *
 * @param {any} test
 * @param {'test' | 'phases'} script of its package.json
 * @param {any} overrides
 */
async function run(test, script, overrides) {
  const server = await serve(test, { UPDATE_INTERVAL: '50' });
  const temporary = await mkdtemp(path.join(tmpdir(), 'tickcast-artillery-'));
  test.after(() => rm(temporary, { recursive: true }));
  const report = path.join(temporary, 'report.json');
  const child = spawn('npm', ['run', '--silent', script, '--', '--output', report, '--overrides', JSON.stringify(overrides)], {
    cwd: folder,
    env: { ...process.env, TARGET: server.url },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk));
  const [code] = await once(child, 'close');
  assert.equal(code, 0, output);
  const { counters } = JSON.parse(await readFile(report, 'utf8')).aggregate;
  await until(async () => (await server.json('/stats')).connections.active === 0, 'every user to be gone');
  const { deliveries } = await server.json('/stats');
  return { counters, deliveries, output };
}

const skip = installed ? false : 'loadtest/node_modules is not installed: run `npm ci --ignore-scripts` in loadtest/';
if (skip) console.error(`artillery: skipped: ${skip}`);

describe('artillery', { skip, concurrency: true }, () => {
  it('artillery.yml', async (test) => {
    const { counters, deliveries } = await run(test, 'test', {
      config: { phases: [{ duration: 1, arrivalCount: USERS }] },
      scenarios: [
        {
          engine: 'socketio',
          flow: [
            { function: 'countTicks' },
            { emit: { channel: 'subscribe', data: ['BTC', 'ETH', 'SOL', 'ADA', 'XRP'] } },
            { think: 5 },
            { function: 'stopCounting' },
          ],
        },
      ],
    });
    assert.equal(counters['vusers.completed'], USERS);
    assert.equal(counters['vusers.failed'], 0);
    assert.equal(counters['subscribe.answers'], USERS);
    assert.equal(counters['subscribe.errors'], 0);
    assert.equal(counters['clients.lost'], 0);
    assert.equal(counters['ticks.gaps'], 0);
    // A second of twenty ticks each, and of five at most so much is waited for on a busy machine.
    assert.ok(counters['ticks.received'] > USERS * SYMBOLS * 20, `${counters['ticks.received']}`);
    // What the server says that it sent, but for what was on its way when users left.
    assert.ok(counters['ticks.received'] <= deliveries, `${counters['ticks.received']} of ${deliveries}`);
    assert.ok(counters['ticks.received'] > deliveries * 0.5, `${counters['ticks.received']} of ${deliveries}`);
  });

  it('artillery-phases.yml: users stay until the cool-down', async (test) => {
    const { counters } = await run(test, 'phases', {
      config: {
        variables: { hold_until_s: 3, cool_down_s: 1 },
        phases: [{ duration: 1, arrivalCount: 2 }, { duration: 1, arrivalCount: 3 }, { pause: 1 }, { pause: 1 }],
        ensure: { conditions: [{ expression: 'ticks.gaps == 0' }, { expression: `subscribe.answers == ${USERS}` }] },
      },
    });
    assert.equal(counters['vusers.completed'], USERS);
    assert.equal(counters['vusers.failed'], 0);
    assert.equal(counters['clients.lost'], 0);
    assert.equal(counters['ticks.gaps'], 0);
    // Each stays for one second at the very least.
    assert.ok(counters['ticks.received'] > USERS * SYMBOLS * 10, `${counters['ticks.received']}`);
  });
});
