// The tables, as text for a terminal.

/** Names as a reader knows them. */
export const NAMES = {
  tickcast: 'tickcast',
  baseline: 'baseline',
  node: 'Node.js',
  rooms: 'plain rooms',
  floor: 'floor',
};

/** A number with three digits or so. */
export function short(value) {
  if (!Number.isFinite(value)) return '-';
  const size = Math.abs(value);
  if (size >= 10_000) return `${Math.round(value / 1000)}k`;
  return value.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : 2);
}

/** A median with its spread beside it. */
export function said(summary, unit = '') {
  if (!summary) return '-';
  const spread = summary.spread === null ? '' : ` ±${(summary.spread * 100).toFixed(0)}%`;
  return `${short(summary.median)}${unit}${spread}`;
}

/** `±` is left out. */
const bare = (summary) => (summary ? short(summary.median) : '-');

/** Rows of cells with their columns in line. */
function align(head, rows) {
  const widths = head.map((name, column) => Math.max(name.length, ...rows.map((row) => row[column].length)));
  const fit = (cell, column) => (column < 2 ? cell.padEnd(widths[column]) : cell.padStart(widths[column]));
  const line = (row) => row.map(fit).join('  ').trimEnd();
  return [line(head), widths.map((width) => '-'.repeat(width)).join('  '), ...rows.map(line)].join('\n');
}

/** Doubts as marks; the legend says what they mean. */
export function marks({ disturbed, bottleneck, not_kept_up }) {
  return `${disturbed ? '*' : ''}${bottleneck ? '!' : ''}${not_kept_up ? '~' : ''}`;
}

const LEGEND = [
  '±: from the lowest to the highest repeat, as a share of the median',
  'x floor, x Node: the ratio of runs next to each other, then the median',
  'gen: how much of one core the load generator itself took',
  'kB/conn: resident memory per connection, less that of the idle server',
  '*: others took more than 5 % of the machine, in every repeat (otherwise those repeats do not count)   !: the load generator was in the way',
  '~: not all updates arrived, or p99 was above 500 ms: costs of a server that does not keep up say little',
].join('\n');

function cellsTable(data, { cells }) {
  const costs = ['CPU us/update', 'x floor', 'x Node', 'updates/s', 'kB/conn'];
  const head = ['server', 'work', ...costs, 'p50 ms', 'p99 ms', 'p99 x floor', 'gen', ''];
  const rows = cells
    .filter((name) => data.cells[name])
    .map((name) => {
      const { server, figures, ratios, ...rest } = data.cells[name];
      const { cpu_us_per_update: cpu, p99_ms: p99 } = ratios;
      return [
        NAMES[server],
        name.slice(name.indexOf(': ') + 2),
        said(figures.cpu_us_per_update),
        said(cpu.floor),
        said(cpu.node),
        bare(figures.updates_per_s),
        said(figures.kb_per_connection),
        bare(figures.p50_ms),
        said(figures.p99_ms),
        bare(p99.floor),
        figures.generator_share ? `${Math.round(figures.generator_share.median * 100)}%` : '-',
        marks(rest),
      ];
    });
  return { head, rows };
}

function saturationTable(data, { cells }) {
  const head = ['server', 'work', 'updates/s', 'every ms', 'x floor', 'x Node', 'what ended it'];
  const rows = cells
    .filter((name) => data.saturation[name])
    .map((name) => {
      const { server, work, updates_per_s, at_least, interval_ms, why } = data.saturation[name];
      const to = (other) => {
        const found = data.saturation[name.replace(`${server}:`, `${other}:`)];
        return found && other !== server ? short(updates_per_s.median / found.updates_per_s.median) : '-';
      };
      return [
        NAMES[server],
        work.mode,
        `${at_least ? 'at least ' : ''}${said(updates_per_s)}`,
        String(interval_ms),
        to('floor'),
        to('node'),
        why,
      ];
    });
  return { head, rows };
}

/** A row's table. */
function tableOf(data, row) {
  return row.search ? saturationTable(data, row) : cellsTable(data, row);
}

function goalsTable(data) {
  const head = ['goal', 'row', 'value', 'bound', 'met', ''];
  const rows = data.goals.map((goal) => {
    const { what, row, value, bound, unit, met } = goal;
    const of = (number) => (unit ? `${number} ${unit}` : number);
    const verdict = met === null ? '-' : met ? 'yes' : 'no';
    return [what, row, of(said(value)), `<= ${of(String(bound))}`, verdict, marks(goal)];
  });
  return { head, rows };
}

export function machineLine({ machine, began, took_s, quick }) {
  const { cpu, cores, memory_gb, system, node } = machine;
  const how = `${began.slice(0, 16)}Z, ${Math.round(took_s / 60)} min${quick ? ', quick' : ''}`;
  return `${cpu}, ${cores} cores, ${memory_gb} GB, ${system}, Node.js ${node}; ${how}`;
}

/** Servers and the load generator share the cores: nothing is pinned, for none of them. */
const NOT_PINNED = 'Server and load generator share all cores, and nothing is pinned; one server at a time.';

/**
 * For a terminal.
 *
 * @param {any} data of `Results.data`
 * @param {{what: string, now: any, before: any, agree: boolean}[]} compared
 */
export function text(data, compared = []) {
  const parts = [machineLine(data), NOT_PINNED];
  for (const row of data.rows) {
    const { head, rows } = tableOf(data, row);
    parts.push('', row.title, ...row.notes, align(head, rows));
  }
  parts.push('', LEGEND);
  if (data.goals.length > 0) {
    const { head, rows } = goalsTable(data);
    parts.push('', 'Goals', align(head, rows));
  }
  if (compared.length > 0) {
    const verdict = ({ agree }) => (agree ? 'agree' : 'DIFFER');
    const rows = compared.map((pair) => [pair.what, verdict(pair), said(pair.now), said(pair.before)]);
    parts.push('', 'Against the earlier run, within both spreads', align(['figure', '', 'now', 'before'], rows));
  }
  if (data.failures.length > 0) parts.push('', 'Could not be measured:', ...data.failures);
  return `${parts.join('\n')}\n`;
}
