// The load tester against the real server: what it says is what the server says, and what Artillery says.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, it } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { serve, until } from '../support/clients.mjs';
import { load } from '../support/loadtest.mjs';

const folder = fileURLToPath(new URL('../../loadtest/', import.meta.url));
const artillery = existsSync(path.join(folder, 'node_modules', '.bin', 'artillery'));

const CLIENTS = 10;
const SYMBOLS = 5;
/** Ticks of a symbol per second. */
const RATE = 20;
/** For how long is measured: what a busy machine is late at either end is little of it. */
const SECONDS = 3;
/** How late updates may be: that of a busy machine is not what is tested. */
const LATE = ['--max-latency', '5000'];

/**
 * Updates per second, those among them that others stand for.
 *
 * @param {any} report
 */
const rateOf = ({ measured }) => (measured.updates + measured.continuity.conflated) / measured.seconds;

/**
 * Nothing went wrong. Conflation is not wrong: a client that is slow to come for its ticks gets some of them in one.
 *
 * @param {any} report
 */
function assertClean(report) {
  const told = JSON.stringify({ ...report, seconds: undefined, options: undefined, latency_buckets: undefined }, null, 1);
  assert.ok(report.pass, told);
  assert.deepEqual(report.errors, [], told);
  const { numbered, lost, duplicates, reordered, two_prices } = report.total.continuity;
  assert.ok(numbered > 0, told);
  assert.deepEqual({ lost, duplicates, reordered, two_prices }, { lost: 0, duplicates: 0, reordered: 0, two_prices: 0 }, told);
}

describe('the load tester', { concurrency: true }, () => {
  for (const transport of ['websocket', 'polling', 'default']) {
    for (const mode of ['tick', 'batch', 'both']) {
      it(`${transport}, ${mode}`, async (test) => {
        const server = await serve(test, { UPDATE_INTERVAL: `${1000 / RATE}` });
        const options = ['-n', `${CLIENTS}`, '-d', `${SECONDS}`, '--settle', '0.5', '--transport', transport, '--mode', mode, ...LATE];
        const rate = CLIENTS * SYMBOLS * RATE * (mode === 'both' ? 2 : 1);
        let found = 0;
        // What stands still where the measured time begins or ends makes it another one: then once more.
        for (let attempt = 0; attempt < 3 && !(found > rate * 0.8 && found < rate * 1.2); attempt += 1) {
          const { report, code } = await load(server.url, [...options, '--pid', `${server.child.pid}`]);
          assertClean(report);
          assert.equal(code, 0);
          assert.equal(report.clients.connected, CLIENTS);
          assert.ok(report.measured.server.rss_kb > 1000);
          found = rateOf(report);
        }
        assert.ok(found > rate * 0.8 && found < rate * 1.2, `${found} updates/s instead of ${rate}`);
      });
    }
  }

  it('counts what the server says that it sent', async (test) => {
    const server = await serve(test, { UPDATE_INTERVAL: '20' });
    const { report } = await load(server.url, ['-n', '20', '-d', '6', '--settle', '0', '--sets', '4', '--symbols-per-client', '2', ...LATE]);
    assertClean(report);
    const nobody = async () => Object.values((await server.json('/stats')).subscriptions).every((clients) => clients === 0);
    await until(nobody, 'all to be gone');
    const { deliveries } = await server.json('/stats');
    // The server counts what it has queued, and some of that was on its way when clients left: on a busy machine, much.
    assert.ok(report.total.updates <= deliveries, `${report.total.updates} of ${deliveries}`);
    assert.ok(report.total.updates > deliveries / 2, `${report.total.updates} of ${deliveries}`);
    assert.equal(report.sets.distinct, 4);
  });

  it('reports those who read slowly or not at all apart from the others', async (test) => {
    const server = await serve(test, { UPDATE_INTERVAL: '5' });
    const options = ['-n', '8', '-d', '6', '--settle', '1', '--slow-share', '0.25', '--slow-bytes-per-s', '2000', '--stalled-share', '0.25', ...LATE];
    const { report } = await load(server.url, options);
    const { healthy, slow, stalled } = report.measured.classes;
    assertClean(report);
    assert.equal(report.measured.healthy, 4);
    assert.equal(healthy.silence_ms.count, 4);
    assert.ok(healthy.updates > 100 * slow.updates / 10 && slow.updates > 0, `${healthy.updates}, ${slow.updates}`);
    assert.equal(stalled.updates, 0);
    assert.ok(slow.latency_ms.p50 > healthy.latency_ms.p50 + 500, `${slow.latency_ms.p50}, ${healthy.latency_ms.p50}`);
  });

  it('reconnects at once in a storm, and lets a spike go again', async (test) => {
    const server = await serve(test, { UPDATE_INTERVAL: '50' });
    const { report } = await load(server.url, ['--settle', '0', '--phases', 'ramp:10:0.5,hold:3,storm:50:3,spike:10:3,hold:3,ramp:0:0.5', ...LATE]);
    assertClean(report);
    const rows = Object.fromEntries(report.phases.map((row) => [`${row.kind} ${row.connects.attempts}`, row.connected]));
    assert.equal(rows['storm 5'], 10);
    assert.equal(rows['spike 10'], 20);
    assert.deepEqual([report.clients.asked, report.clients.attempts, report.clients.connected], [20, 25, 25]);
    assert.equal(report.phases.at(-1).connected, 0);
    await until(async () => (await server.json('/stats')).connections.active === 0, 'all to be gone');
  });

  it('fails when the server goes', async (test) => {
    const server = await serve(test, { UPDATE_INTERVAL: '50' });
    /** @type {(value?: unknown) => void} */
    let stopped = () => {};
    const enough = new Promise((resolve) => (stopped = resolve));
    const running = load(server.url, ['-n', '5', '-d', '600', '--settle', '0'], enough);
    while ((await server.json('/stats')).connections.active < 5) await setTimeout(20);
    await server.stop();
    stopped();
    const { report, code } = await running;
    assert.equal(code, 1);
    assert.deepEqual([report.clients.with_errors, report.clients.faults.disconnected], [5, 5]);
  });

  it('agrees with Artillery', { skip: !artillery && 'loadtest/node_modules is not installed' }, async (test) => {
    const server = await serve(test, { UPDATE_INTERVAL: '50' });
    const temporary = await mkdtemp(path.join(tmpdir(), 'tickcast-agree-'));
    test.after(() => rm(temporary, { recursive: true }));
    const HOLD_S = 6;
    // Every user comes at once, and each stays for as long: users and seconds are what is asked for in both.
    const overrides = {
      config: { phases: [{ duration: 1, arrivalCount: CLIENTS }] },
      scenarios: [
        {
          engine: 'socketio',
          flow: [
            { function: 'countTicks' },
            { emit: { channel: 'subscribe', data: ['BTC', 'ETH', 'SOL', 'ADA', 'XRP'] } },
            { think: HOLD_S },
            { function: 'stopCounting' },
          ],
        },
      ],
    };
    let [theirs, found] = [NaN, NaN];
    // What stands still where either begins or ends makes it another time: then once more.
    for (let attempt = 0; attempt < 3 && !(Math.abs(theirs - found) < found * 0.05); attempt += 1) {
      const report = path.join(temporary, `report-${attempt}.json`);
      const child = spawn('npm', ['run', '--silent', 'test', '--', '--output', report, '--overrides', JSON.stringify(overrides)], {
        cwd: folder,
        env: { ...process.env, TARGET: server.url },
        stdio: ['ignore', 'ignore', 'inherit'],
      });
      // Both at the same time, on the same server: what slows one down slows the other.
      const [[code], ours] = await Promise.all([
        once(child, 'exit'),
        load(server.url, ['-n', `${CLIENTS}`, '-d', `${HOLD_S}`, ...LATE]),
      ]);
      assert.equal(code, 0);
      assertClean(ours.report);
      const { counters } = JSON.parse(await readFile(report, 'utf8')).aggregate;
      // Its users also count the snapshot, one tick of each symbol, and think a little longer than they are told.
      theirs = (counters['ticks.received'] - CLIENTS * SYMBOLS) / HOLD_S;
      found = rateOf(ours.report);
    }
    assert.ok(Math.abs(theirs - found) < found * 0.05, `Artillery ${theirs} updates/s, the load tester ${found}`);
  });
});
