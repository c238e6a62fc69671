// `make rolling`, in small: each replica behind each proxy is restarted under clients that count.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { binary } from '../support/server.mjs';

/** No client may be without ticks for longer, however busy the machine is (s). */
const MAX_SILENCE_S = 12;

const root = fileURLToPath(new URL('../../', import.meta.url));

describe('rolling restart', { concurrency: true }, () => {
  for (const proxy of ['nginx', 'haproxy']) {
    it(`behind ${proxy}: nobody misses anything`, async (test) => {
      const env = {
        ...process.env,
        ...{ BIN: binary, PROXY: proxy, REPLICAS: '2', CLIENTS: '20', HOLD: '1000', UPDATE_INTERVAL: '100' },
        ...{ SYMBOLS: 'BTC,ETH', DRAIN_DEADLINE: '6000', DRAIN_SPREAD: '1500', ISLAND_AFTER: '60000' },
      };
      const rolling = spawn(process.execPath, ['demo/rolling.mjs'], { cwd: root, env });
      test.after(() => rolling.kill('SIGKILL'));
      let said = '';
      for (const stream of [rolling.stdout, rolling.stderr]) stream.on('data', (text) => (said += text));
      const [code] = await once(rolling, 'close');
      assert.equal(code, 0, said);
      const [, clients, cut, told, ticks] = /^all\s+(\d+)\s+(\d+)\s+(\d+)\s+(\d+)/m.exec(said)?.map(Number) ?? [];
      // Each was at one of the two, at least, when that one went.
      assert.equal(clients, 20, said);
      assert.ok(cut >= 20 && told >= 20 && ticks > 2000, said);
      assert.match(said, /nobody missed anything/);
      // It takes its slot, and as long as the client's own pause before it comes back.
      const silence = /([\d.]+) s$/m.exec(/^all.*$/m.exec(said)?.[0] ?? '')?.[1];
      assert.ok(Number(silence) < MAX_SILENCE_S, said);
    });
  }
});
