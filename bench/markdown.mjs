// The table for the README: ratios of every server, work by work.
import { NAMES, machineLine, marks, said, short } from './report.mjs';

/** Servers, in the order of their columns; those that were not measured have none. */
const ORDER = ['tickcast', 'baseline', 'rooms', 'node', 'floor'];
/** Rows whose works several servers share. */
const SIDE_BY_SIDE = ['main', 'node', 'symbols'];

/** @param {any} data of `Results.data` */
export function markdown(data) {
  const servers = ORDER.filter((server) => Object.values(data.cells).some((cell) => cell.server === server));
  const of = (server, work) => data.cells[`${server}: ${work}`];
  const line = (what, value) => [what, ...servers.map((server) => value(server) ?? '-')];
  const marked = (cell, value) => (cell && value ? `${value}${marks(cell).replaceAll('*', '\\*')}` : undefined);

  const shared = data.rows.filter(({ name }) => SIDE_BY_SIDE.includes(name)).flatMap(({ cells }) => cells.map(workOf));
  const works = [...new Set(shared)];
  const to = (yardstick, figure) => (work) => (server) => {
    if (server === yardstick) return of(server, work) && '1';
    const ratio = of(server, work)?.ratios[figure][yardstick];
    return marked(of(server, work), ratio && said(ratio));
  };
  const measuredWith = (yardstick) => works.filter((work) => of(yardstick, work));
  const rows = [
    ...measuredWith('floor').map((work) => line(`CPU to the floor: ${work}`, to('floor', 'cpu_us_per_update')(work))),
    ...measuredWith('node').map((work) => line(`CPU to Node.js: ${work}`, to('node', 'cpu_us_per_update')(work))),
    ...measuredWith('floor').map((work) => line(`p99 to the floor: ${work}`, to('floor', 'p99_ms')(work))),
    ...memory(data).map(([work, value]) => line(`kB of memory per client: ${work}`, value)),
    ...saturation(data).map(([work, value]) => line(`updates/s at saturation: ${work}`, value)),
  ];
  const head = ['', ...servers.map((server) => NAMES[server])];
  const text = [head, head.map((_, column) => (column === 0 ? '---' : '---:')), ...rows]
    .map((cells) => `| ${cells.join(' | ')} |`)
    .join('\n');
  return `${text}\n\n${machineLine(data)}\n`;
}

/** A cell's name without its server. */
function workOf(name) {
  return name.slice(name.indexOf(': ') + 2);
}

/** The works of a row, each with what to say of a server. */
function memory(data) {
  const names = data.rows.find(({ name }) => name === 'memory')?.cells ?? [];
  const value = (work) => (server) => {
    const figure = data.cells[`${server}: ${work}`]?.figures.kb_per_connection;
    return figure && said(figure);
  };
  return [...new Set(names.map(workOf))].map((work) => [work, value(work)]);
}

function saturation(data) {
  const value = (work) => (server) => {
    const found = data.saturation[`${server}: ${work}`];
    return found && `${found.at_least ? '≥ ' : ''}${short(found.updates_per_s.median)}`;
  };
  const named = [...new Set(Object.keys(data.saturation).map(workOf))];
  // The rate is what was looked for.
  return named.map((work) => [work.replace(/ x [^x]*\/s/, ''), value(work)]);
}
