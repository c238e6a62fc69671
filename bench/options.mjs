// What `bench/run.mjs` is asked for.
import { parseArgs } from 'node:util';

import { Refusal } from './servers.mjs';
import { ROWS, short } from './works.mjs';

const REPEATS = { full: 3, quick: 1 };
const FEW_REPEATS = 1;
const MAX_REPEATS = 100;

export const usage = `usage: bench/run.mjs [options]     (make bench builds what it needs)

Measures tickcast, a Node.js server, plain socketioxide rooms and the floor at the same work, one at a time, and prints
tables: medians of interleaved repeats with their spread, and ratios of pairs. Linux, one machine.

  --rows a,b        only these rows; --list names them
  --quick           shorter runs, fewer servers, no curves unless --rows names them: to work with, not to publish
  --repeats N       how often, 1 to ${MAX_REPEATS} (${REPEATS.full}; ${FEW_REPEATS} for memory, saturation and curves, and with --quick)
  --bin FILE        the tickcast binary (target/release/tickcast)
  --baseline FILE   another tickcast binary, measured next to it wherever tickcast is
  --json FILE       all figures, of each run and together
  --markdown FILE   the tables for the README
  --compare FILE    the JSON of an earlier run: says which figures agree within both spreads
  --list            the rows and how many runs they take
  --help
`;

/** Reads the arguments. @param {string[]} args */
export function options(args) {
  let values;
  try {
    ({ values } = parseArgs({
      args,
      options: {
        rows: { type: 'string' },
        quick: { type: 'boolean', default: false },
        repeats: { type: 'string' },
        bin: { type: 'string' },
        baseline: { type: 'string' },
        json: { type: 'string' },
        markdown: { type: 'string' },
        compare: { type: 'string' },
        list: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    }));
  } catch (error) {
    throw new Refusal(`${error.message}\n\n${usage}`);
  }
  const byItself = ROWS.filter((row) => !(values.quick && row.curve));
  const names = values.rows?.split(',') ?? byItself.map((row) => row.name);
  const known = ROWS.map((row) => row.name);
  const unknown = names.filter((name) => !known.includes(name));
  if (unknown.length > 0) throw new Refusal(`--rows: there is no "${unknown[0]}"; there are ${known.join(', ')}`);
  const repeats = Number(values.repeats ?? REPEATS[values.quick ? 'quick' : 'full']);
  if (!Number.isInteger(repeats) || repeats < 1 || repeats > MAX_REPEATS) {
    throw new Refusal(`--repeats: "${values.repeats}" is not a whole number from 1 to ${MAX_REPEATS}`);
  }
  const few = values.repeats === undefined ? FEW_REPEATS : repeats;
  const rows = ROWS.filter((row) => names.includes(row.name))
    .map((row) => (values.quick ? short(row) : row))
    .map((row) => ({ ...row, repeats: row.few ? few : repeats }))
    .map((row) => (values.baseline ? withBaseline(row) : row));
  return { ...values, rows };
}

/** Measures the baseline next to tickcast, wherever that is. */
function withBaseline(row) {
  const groups = row.groups.map((group) =>
    group.flatMap((cell) => (cell.server === 'tickcast' ? [cell, { ...cell, server: 'baseline' }] : [cell])),
  );
  return { ...row, groups };
}
