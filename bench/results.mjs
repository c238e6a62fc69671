// What was measured, by cell and repeat, and what is said of it: medians, ratios of pairs, goals.
import { agree, median, pairedRatio, summary } from './stats.mjs';
import { key } from './works.mjs';

/** Figures that are said of each cell, with their units last. */
export const FIGURES = [
  'cpu_us_per_update',
  'kb_per_connection',
  'updates_per_s',
  'p50_ms',
  'p99_ms',
  'max_ms',
  'generator_share',
  'other_share',
  'failed',
  'lost',
  'connect_max_ms',
];

/** @typedef {ReturnType<typeof summary> & {disturbed: boolean}} Said */

/** What figures of others are said relative to. */
const YARDSTICKS = ['floor', 'node'];

export class Results {
  constructor() {
    /** @type {Map<string, {cell: import('./works.mjs').Cell, runs: any[]}>} */
    this.cells = new Map();
    /** Searches for saturation. @type {Map<string, {cell: import('./works.mjs').Cell, found: any[]}>} */
    this.searches = new Map();
    /** What could not be measured, in words. @type {string[]} */
    this.failures = [];
  }

  /** How often a cell was measured, or could not be. */
  repeats(cell) {
    return this.cells.get(key(cell))?.runs.length ?? 0;
  }

  /** Adds a run; null for one that could not be made, so that pairs stay pairs. */
  add(cell, figures) {
    const name = key(cell);
    if (!this.cells.has(name)) this.cells.set(name, { cell, runs: [] });
    this.cells.get(name).runs.push(figures);
  }

  addSearch(cell, found) {
    const name = key(cell);
    if (!this.searches.has(name)) this.searches.set(name, { cell, found: [] });
    this.searches.get(name).found.push(found);
  }

  runs(cell) {
    return this.cells.get(key(cell))?.runs ?? [];
  }

  /** A figure of each run; undefined where there is none, or where others disturbed it and that counts. */
  values(cell, figure, undisturbed) {
    return this.runs(cell).map((run) => (run?.disturbed && undisturbed ? undefined : (run?.[figure] ?? undefined)));
  }

  /** @returns {Said | null} */
  figure(cell, figure) {
    return undisturbedFirst((undisturbed) => summary(this.values(cell, figure, undisturbed).filter(Number.isFinite)));
  }

  /** @returns {Said | null} */
  ratio(cell, against, figure) {
    return undisturbedFirst((undisturbed) =>
      pairedRatio(this.values(cell, figure, undisturbed), this.values(against, figure, undisturbed)),
    );
  }

  /** A figure relative to the floor's and Node's at the same work. */
  ratios(cell, figure) {
    const entries = YARDSTICKS.filter((server) => server !== cell.server).map((server) => {
      return [server, this.ratio(cell, { ...cell, server }, figure)];
    });
    return Object.fromEntries(entries.filter(([, ratio]) => ratio));
  }

  /** What a goal came to. @param {import('./works.mjs').Goal} goal */
  judge({ what, figure, of, against, bound, unit }) {
    const value = against ? this.ratio(of, against, figure) : this.figure(of, figure);
    const cells = against ? [of, against] : [of];
    const runs = cells.flatMap((cell) => this.runs(cell)).filter(Boolean);
    return {
      what,
      value,
      bound,
      unit: unit ?? 'x',
      met: value ? value.median <= bound : null,
      ...doubts(runs, [value]),
    };
  }

  /** All of it, as plain data. @param {import('./works.mjs').Row[]} rows */
  data(rows) {
    return {
      rows: rows.map((row) => ({
        name: row.name,
        title: row.title,
        notes: row.notes ?? [],
        search: row.search ?? false,
        curve: row.curve ?? false,
        cells: cellsOf(row).map(key),
      })),
      cells: Object.fromEntries(
        [...this.cells].map(([name, { cell, runs }]) => {
          const figures = Object.fromEntries(FIGURES.map((figure) => [figure, this.figure(cell, figure)]));
          const ratios = Object.fromEntries(
            ['cpu_us_per_update', 'p99_ms', 'kb_per_connection'].map((figure) => [figure, this.ratios(cell, figure)]),
          );
          const all = [...Object.values(figures), ...Object.values(ratios).flatMap(Object.values)];
          return [name, { ...cell, figures, ratios, ...doubts(runs.filter(Boolean), all), runs }];
        }),
      ),
      saturation: Object.fromEntries(
        [...this.searches].map(([name, { cell, found }]) => [name, { ...cell, found, ...saturated(found) }]),
      ),
      goals: rows.flatMap((row) => row.goals.map((goal) => ({ row: row.name, ...this.judge(goal) }))),
      failures: this.failures,
    };
  }
}

/** Every cell of a row, once. */
export function cellsOf(row) {
  return [...new Map(row.groups.flat().map((cell) => [key(cell), cell])).values()];
}

/**
 * What is said of the repeats that nobody disturbed; of all of them, and that they were, where there are none.
 *
 * @param {(undisturbed: boolean) => ReturnType<typeof summary>} say
 * @returns {Said | null}
 */
function undisturbedFirst(say) {
  const [clean, all] = [say(true), say(false)];
  if (all.repeats === 0) return null;
  return clean.repeats > 0 ? { ...clean, disturbed: false } : { ...all, disturbed: true };
}

/** What makes figures of these runs less sure. @param {(Said | null)[]} said */
function doubts(runs, said) {
  return {
    disturbed: said.some((one) => one?.disturbed),
    bottleneck: runs.some((run) => run.bottleneck),
    not_kept_up: runs.some((run) => run.not_kept_up),
  };
}

/** The searches of one cell, together. */
function saturated(found) {
  return {
    updates_per_s: summary(found.map((one) => one.updates_per_s)),
    at_least: found.some((one) => one.at_least),
    interval_ms: median(found.map((one) => one.interval_ms)),
    why: found[0].why,
  };
}

/**
 * What two runs say of the same figures.
 *
 * @param {ReturnType<Results['data']>} now
 * @param {ReturnType<Results['data']>} before
 */
export function compare(now, before) {
  const said = [];
  const look = (what, one, other) => {
    const same = one && other ? agree(one, other) : null;
    if (same !== null) said.push({ what, now: one, before: other, agree: same });
  };
  for (const [name, { figures, ratios }] of Object.entries(now.cells)) {
    const then = before.cells[name];
    if (!then) continue;
    look(`${name}: CPU us/update`, figures.cpu_us_per_update, then.figures.cpu_us_per_update);
    for (const [server, ratio] of Object.entries(ratios.cpu_us_per_update)) {
      look(`${name}: CPU to ${server}`, ratio, then.ratios.cpu_us_per_update[server]);
    }
  }
  for (const goal of now.goals) {
    look(`goal: ${goal.what}`, goal.value, before.goals.find(({ what }) => what === goal.what)?.value);
  }
  return said;
}
