// The rows of the benchmark hold together, and what is said of runs follows from them.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { markdown } from '../../bench/markdown.mjs';
import { options } from '../../bench/options.mjs';
import { text } from '../../bench/report.mjs';
import { Results, compare } from '../../bench/results.mjs';
import { symbols } from '../../bench/servers.mjs';
import { ROWS, SATURATION_MS, asked, describe, key, short } from '../../bench/works.mjs';

/** A cell of some work. */
const cell = (server) => ({ server, work: { clients: 10, symbols: 5, interval_ms: 100, mode: 'tick' } });
const GOAL = { what: 'cheap', figure: 'cpu_us_per_update', bound: 1.5, of: cell('tickcast'), against: cell('floor') };
const ROW = { name: 'main', title: 'A row', groups: [[cell('tickcast'), cell('floor')]], goals: [GOAL] };

/** Results of as many repeats as there are costs; null for a run that could not be made. */
function results(tickcast, floor) {
  const all = new Results();
  const rest = { p99_ms: 1, updates_per_s: 500, generator_share: 0.1, other_share: 0 };
  const run = (us) => us && { cpu_us_per_update: us, ...rest };
  for (const us of tickcast) all.add(cell('tickcast'), run(us));
  for (const us of floor) all.add(cell('floor'), run(us));
  return all;
}

test('every goal is about what its row measures, in the short form, too', () => {
  for (const row of ROWS) {
    for (const form of [row, short(row)]) {
      const measured = new Set(form.groups.flat().map(key));
      for (const { what, of, against } of form.goals) {
        for (const one of against ? [of, against] : [of]) assert.ok(measured.has(key(one)), `${what}: ${key(one)}`);
      }
    }
  }
});

test('a row is named once, and nothing is asked of a server that it cannot do', () => {
  assert.equal(new Set(ROWS.map(({ name }) => name)).size, ROWS.length);
  for (const { server, work } of ROWS.flatMap(({ groups }) => groups.flat())) {
    assert.ok(!(server === 'node' && work.mode === 'batch'), describe(work));
    assert.ok(!(server === 'rooms' && work.mode === 'batch' && work.sets), describe(work));
  }
  for (const { work } of ROWS.filter(({ search }) => search).flatMap(({ groups }) => groups.flat())) {
    assert.ok(SATURATION_MS.includes(work.interval_ms), 'the search begins there');
  }
});

test('a work is asked for what those who read should get', () => {
  assert.equal(asked({ clients: 1000, symbols: 5, interval_ms: 20, mode: 'tick' }), 250_000);
  assert.equal(asked({ clients: 5000, symbols: 50, per_client: 5, sets: 9, interval_ms: 100, mode: 'tick' }), 250_000);
  assert.equal(asked({ clients: 2000, symbols: 5, interval_ms: 100, mode: 'tick', stalled_share: 0.5 }), 50_000);
  assert.equal(new Set(symbols(500)).size, 500);
  assert.deepEqual(symbols(1), ['BTC']);
});

test('a goal is judged by the ratio of pairs', () => {
  const { value, met } = results([2, 40, 3], [2, 20, 2]).judge(GOAL);
  assert.deepEqual([value.median, value.min, value.max, met], [1.5, 1, 2, true]);
  assert.equal(results([2], [1]).judge(GOAL).met, false);
  assert.equal(results([null], [1]).judge(GOAL).met, null, 'nothing is said of what could not be measured');
});

test('pairs stay pairs when a run is missing', () => {
  assert.equal(results([null, 4], [1, 2]).judge(GOAL).value.median, 2);
});

test('what others disturbed counts only where there is nothing else', () => {
  const all = results([2, 30, 2.2], [1, 1, 1]);
  const runs = all.runs(cell('tickcast'));
  runs[1].disturbed = true;
  assert.deepEqual([all.judge(GOAL).value.max, all.judge(GOAL).disturbed], [2.2, false]);
  for (const run of runs) run.disturbed = true;
  assert.deepEqual([all.judge(GOAL).value.max, all.judge(GOAL).disturbed], [30, true]);
});

test('two runs are compared figure by figure', () => {
  const run = (...costs) => results(costs, costs.map(() => 1)).data([ROW]);
  const verdicts = (said) => Object.fromEntries(said.map(({ what, agree }) => [what, agree]));
  assert.equal(verdicts(compare(run(2, 2.2), run(2.1, 2.3)))['goal: cheap'], true);
  assert.equal(verdicts(compare(run(2, 2.2), run(4, 4.1)))['goal: cheap'], false);
  assert.deepEqual(compare(run(2), run(2)), [], 'single repeats cannot be compared');
});

test('the tables say what is doubtful and what is missing', () => {
  const all = results([2, 2.2], [1, null]);
  for (const run of all.runs(cell('tickcast'))) run.disturbed = true;
  all.failures.push('floor: it ended');
  const machine = { cpu: 'a', cores: 2, memory_gb: 1, system: 's', node: 'v' };
  const data = { machine, quick: true, began: new Date(0).toISOString(), took_s: 60, ...all.data([ROW]) };
  const table = text(JSON.parse(JSON.stringify(data)));
  assert.match(table, /^tickcast +10 x 5 x 10\/s, tick +2\.10 ±10% +2\.00 .*\*$/m);
  assert.match(table, /^cheap +main +2\.00 x +<= 1\.5 x +no +\*$/m);
  assert.match(table, /floor: it ended/);
  assert.match(markdown(data), /^\| CPU to the floor: 10 x 5 x 10\/s, tick \| 2\.00\\\* \| 1 \|$/m);
});

test('wrong options are refused in words', () => {
  assert.throws(() => options(['--rows', 'main,nothing']), /there is no "nothing"; there are main, /);
  assert.throws(() => options(['--repeats', '0']), /"0" is not a whole number from 1 to 100/);
  assert.throws(() => options(['--nothing']), /usage:/);
  const { rows } = options(['--rows', 'memory,node', '--baseline', '/old']);
  assert.deepEqual(rows.map(({ name, repeats }) => [name, repeats]), [['node', 3], ['memory', 1]]);
  assert.deepEqual(rows[0].groups[0].map(({ server }) => server), ['tickcast', 'baseline', 'node', 'rooms', 'floor']);
  assert.ok(options(['--quick']).rows.every(({ curve, repeats }) => !curve && repeats === 1));
});
