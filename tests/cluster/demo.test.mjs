// `make demo`: the whole picture comes up, works, and goes without leaving anything behind.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { io } from 'socket.io-client';
import { until, within } from '../support/clients.mjs';
import { binary } from '../support/server.mjs';

const root = fileURLToPath(new URL('../../', import.meta.url));

/** True while a process is there. @param {number} pid */
function runs(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

describe('demo', () => {
  it('starts Redis, four replicas and nginx, and stops them all', async (test) => {
    const folder = mkdtempSync(join(tmpdir(), 'tickcast-test-'));
    test.after(() => rmSync(folder, { recursive: true, force: true }));
    const readyFile = join(folder, 'ready.json');
    const env = {
      ...process.env,
      ...{ BIN: binary, REPLICAS: '4', PORT_BASE: '0', PROXY_PORT: '0', REDIS_PORT: '0' },
      ...{ HOST: '127.0.0.1', UPDATE_INTERVAL: '50', TMPDIR: folder, LOG_TO_FILE: 'true', LOG_DIR: join(folder, 'logs') },
    };
    const demo = spawn(process.execPath, ['demo/run.mjs', '--ready-file', readyFile], { cwd: root, env });
    test.after(() => demo.kill('SIGKILL'));
    let said = '';
    for (const stream of [demo.stdout, demo.stderr]) stream.on('data', (text) => (said += text));
    const exited = once(demo, 'close');
    await until(async () => existsSync(readyFile) || demo.exitCode !== null, () => `the demo to be ready:\n${said}`, 60_000);
    assert.equal(demo.exitCode, null, said);
    const places = JSON.parse(readFileSync(readyFile, 'utf8'));

    const proxy = places.proxy.url;
    const page = await fetch(proxy);
    assert.equal(page.status, 200);
    assert.match(await page.text(), /tickcast-config/);
    // Each replica says once a second what it is, and looks who is there.
    /** @type {any[]} */
    let nodes = [];
    await until(async () => {
      ({ nodes } = await (await fetch(new URL('stats?scope=cluster', proxy))).json());
      return nodes.length === 4 && nodes.filter(({ sources }) => sources.simulator === 'publisher').length === 1;
    }, () => `four replicas and one publisher, not ${JSON.stringify(nodes)}`);
    assert.deepEqual(nodes.map(({ id }) => id), ['app1', 'app2', 'app3', 'app4']);

    // A chat from the console, as everybody may say something in the demo.
    const socket = io(proxy, { reconnection: false });
    test.after(() => socket.close());
    const heard = new Promise((resolve) => socket.on('chat-message', resolve));
    const answer = await within(socket.timeout(20_000).emitWithAck('subscribe', '*'), 'an answer');
    assert.equal(answer.ok, true);
    socket.emit('chat', 'hello');
    assert.equal((await within(heard, 'what was said')).text, 'hello');

    const pids = places.replicas.map((/** @type {any} */ replica) => replica.pid);
    assert.ok(pids.every(runs));
    demo.kill('SIGINT');
    const [code] = await within(exited, 'the end of the demo');
    assert.equal(code, 0, said);
    assert.ok(!pids.some(runs), 'no replica is left');
    await assert.rejects(fetch(proxy), 'nor nginx');
    for (const { id } of places.replicas) assert.match(readFileSync(join(folder, 'logs', id, 'tickcast.log'), 'utf8'), /listening/);
  });
});
