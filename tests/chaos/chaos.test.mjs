// The short form of `make chaos`: one fault of each family, from a seed that is printed.
import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { describe, it } from 'node:test';
import { BUSY_MS } from '../support/cluster.mjs';
import { Storm } from './storm.mjs';

const KINDS = [
  'Redis is killed and comes back empty',
  'Redis is stopped',
  'CLIENT PAUSE WRITE',
  'the publisher is cut off',
  'the publisher is killed, and comes back',
  'the publisher is stopped, and wakes late',
];

describe('chaos', () => {
  it('one truth, whatever fails', async (test) => {
    const seed = Number(process.env.CHAOS_SEED ?? randomInt(1, 1e9));
    test.diagnostic(`CHAOS_SEED=${seed}`);
    const storm = await Storm.begin(test, { seed, slack_ms: BUSY_MS, say: (line) => test.diagnostic(line) });
    for (const kind of KINDS) await storm.round(kind);
    assert.deepEqual(storm.violations, [], `CHAOS_SEED=${seed}`);
    assert.ok(storm.ticks > 1000, `${storm.ticks} ticks checked`);
  });
});
