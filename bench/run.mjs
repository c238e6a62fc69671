#!/usr/bin/env node
// The benchmark: see `--help`, and CONTRIBUTING.md for how to read what it prints.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { describe as machine } from './machine.mjs';
import { markdown } from './markdown.mjs';
import { Meter } from './measure.mjs';
import { options, usage } from './options.mjs';
import { text } from './report.mjs';
import { Results, compare } from './results.mjs';
import { Refusal, keep, servers } from './servers.mjs';
import { lastKept } from './stats.mjs';
import { SATURATION_MS, key } from './works.mjs';

/** Ends whatever runs. */
const abort = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => abort.abort(new Refusal(`ended by ${signal}`)));

const say = (line) => process.stderr.write(`${line}\n`);

/** Makes a run of a cell, if there is not one of this repeat already: rows share cells. */
async function once(meter, results, cell, repeat) {
  if (results.repeats(cell) > repeat) return;
  results.add(cell, await attempt(results, cell, () => meter.measure(cell)));
}

/** What it resolves with; null, and a failure, if it cannot be done. */
async function attempt(results, cell, act) {
  try {
    return await act();
  } catch (error) {
    abort.signal.throwIfAborted();
    const why = error instanceof Refusal ? error.message : error.stack;
    results.failures.push(`${key(cell)}: ${why}`);
    say(`${key(cell)}: could not be measured: ${why}`);
    return null;
  }
}

/** Looks for the highest rate that a server keeps up; from where an earlier search ended. */
async function search(meter, results, cell) {
  const runs = new Map();
  const before = results.searches.get(key(cell))?.found.at(-1)?.interval_ms ?? cell.work.interval_ms;
  const keeps = async (interval_ms) => {
    const figures = await meter.measure({ ...cell, work: { ...cell.work, interval_ms } }, true);
    runs.set(interval_ms, { interval_ms, ...figures });
    return !figures.not_kept_up;
  };
  const last = await attempt(results, cell, () => lastKept(SATURATION_MS, keeps, SATURATION_MS.indexOf(before)));
  if (last === null) return;
  const { interval_ms, updates_per_s } = runs.get(SATURATION_MS[Math.max(0, last)]);
  // None where nothing more often can be asked.
  const beyond = runs.get(SATURATION_MS[last + 1]);
  results.addSearch(cell, {
    interval_ms,
    updates_per_s,
    at_least: !beyond || beyond.bottleneck,
    why: beyond?.bottleneck ? 'the load generator was in the way' : (beyond?.not_kept_up ?? 'nothing'),
    runs: [...runs.values()],
  });
}

async function main() {
  const chosen = options(process.argv.slice(2));
  if (chosen.help) return process.stdout.write(usage);
  if (chosen.list) {
    for (const { name, title, repeats, groups } of chosen.rows) {
      process.stdout.write(`${name.padEnd(12)} ${title} (${groups.flat().length} x ${repeats})\n`);
    }
    return true;
  }
  const folder = mkdtempSync(join(tmpdir(), 'tickcast-bench-'));
  try {
    return await measure(chosen, keep(servers(chosen), folder));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Measures what was chosen, and prints it. True if all of it could be. */
async function measure(chosen, programs) {
  const { loadtest, ...others } = programs;
  const meter = new Meter({
    servers: others,
    loadtest: loadtest.command,
    quick: chosen.quick,
    signal: abort.signal,
    say,
  });
  const results = new Results();
  const began = new Date();
  const most = Math.max(...chosen.rows.map((row) => row.repeats));
  for (let repeat = 0; repeat < most; repeat += 1) {
    for (const row of chosen.rows.filter(({ repeats }) => repeats > repeat)) {
      say(`-- ${repeat + 1}/${row.repeats} ${row.title}`);
      for (const group of row.groups) {
        // Who comes first is another one each time: what the machine does over time falls on all alike.
        const turn = repeat % group.length;
        for (const cell of [...group.slice(turn), ...group.slice(0, turn)]) {
          await (row.search ? search(meter, results, cell) : once(meter, results, cell, repeat));
        }
      }
    }
  }
  const data = {
    machine: machine(),
    quick: chosen.quick,
    began: began.toISOString(),
    took_s: Math.round((Date.now() - began.getTime()) / 1000),
    ...results.data(chosen.rows),
  };
  if (chosen.json) writeFileSync(chosen.json, `${JSON.stringify(data, null, 1)}\n`);
  if (chosen.markdown) writeFileSync(chosen.markdown, markdown(data));
  const before = chosen.compare && JSON.parse(readFileSync(chosen.compare, 'utf8'));
  process.stdout.write(text(data, before ? compare(data, before) : []));
  return results.failures.length === 0;
}

try {
  if (!(await main())) process.exitCode = 1;
} catch (error) {
  say(`bench: ${error instanceof Refusal ? error.message : error.stack}`);
  process.exitCode = abort.signal.aborted ? 130 : 1;
}
