// What the benchmark says of repeats is what it claims to be.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { agree, lastKept, median, pairedRatio, summary } from '../../bench/stats.mjs';

test('the median is that of the sorted values', () => {
  assert.equal(median([10, 9, 100]), 10);
  assert.equal(median([4, 1, 3, 2]), 2.5);
  assert.equal(median([7]), 7);
  assert.ok(Number.isNaN(median([])));
});

test('the spread goes from the lowest to the highest repeat', () => {
  assert.deepEqual(summary([11, 10, 8]), { median: 10, min: 8, max: 11, spread: 0.3, repeats: 3 });
  assert.equal(summary([0, 0]).spread, 0);
  assert.equal(summary([5]).spread, null, 'one repeat says nothing of it');
});

test('ratios are of pairs: a machine that is twice as slow for one repeat changes none', () => {
  const ratio = pairedRatio([2, 8, 6], [1, 4, 3]);
  assert.deepEqual([ratio.median, ratio.spread], [2, 0]);
});

test('a repeat without a partner is left out, and the others stay pairs', () => {
  const ratio = pairedRatio([2, undefined, 9, 8], [1, 1, undefined]);
  assert.deepEqual([ratio.median, ratio.repeats], [2, 1]);
  assert.equal(pairedRatio([undefined], [1]).repeats, 0);
});

test('two runs agree within both spreads', () => {
  assert.equal(agree(summary([9, 10, 11]), summary([12, 13, 15])), true);
  assert.equal(agree(summary([10, 10.1]), summary([12, 12.1])), false);
  assert.equal(agree(summary([10]), summary([10, 11])), null, 'one without a spread says nothing');
});

/** Keeps up to `limit` of a hundred steps, and notes what was measured. */
async function look(limit, start) {
  const measured = [];
  const steps = Array.from({ length: 100 }, (_, step) => step);
  const last = await lastKept(
    steps,
    async (step) => {
      measured.push(step);
      return step <= limit;
    },
    start,
  );
  return { last, measured };
}

test('the last rate that is kept up is found from anywhere, and nothing is measured twice', async () => {
  for (const limit of [-1, 0, 1, 42, 98, 99]) {
    for (const start of [0, 3, 42, 43, 99]) {
      const { last, measured } = await look(limit, start);
      assert.equal(last, limit, `${limit} from ${start}`);
      assert.equal(new Set(measured).size, measured.length, `${limit} from ${start}: ${measured}`);
      assert.ok(measured.length <= 15, `${limit} from ${start}: ${measured}`);
    }
  }
});

test('where an earlier search ended, two measurements are enough', async () => {
  assert.deepEqual((await look(42, 42)).measured, [42, 43]);
});
