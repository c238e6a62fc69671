// What is measured: the work of each run, the rows of runs that belong together, and the goals that they are held to.

/** @typedef {{clients: number, symbols: number, interval_ms: number, mode: 'tick' | 'batch', sets?: number,
 *   per_client?: number, stalled_share?: number, kind?: 'memory' | 'connects'}} Work */
/** @typedef {{server: string, work: Work}} Cell a server at a work: what one run measures */
/** @typedef {{what: string, figure: string, of: Cell, against?: Cell, bound: number, unit?: string}} Goal */
/** @typedef {{name: string, title: string, notes?: string[], groups: Cell[][], goals: Goal[], brief: string[],
 *   few?: boolean, curve?: boolean, search?: boolean}} Row `groups`: cells that are measured one after the other;
 *   `brief`: the servers of the short form; `few`: one repeat does; `curve`: shows what costs grow with; `search`: looks
 *   for the highest rate */

/** Updates of a symbol in a second, by the interval. */
const PER_S_10 = 100;
const PER_S_50 = 20;
const PER_S_20 = 50;
const PER_S_2 = 500;

/** Symbols of each client where there are sets, out of how many. */
const SET = { per_client: 5, symbols: 50 };

/** A whole market, of which each client watches its own few. */
const MARKET = { sets: 1000, per_client: 20 };

/** @returns {Work} */
const work = (clients, symbols, interval_ms, mode, more = {}) => ({ clients, symbols, interval_ms, mode, ...more });

/** @returns {Cell} */
const cell = (server, ...how) => ({ server, work: work(...how) });

/** Several servers at one work. */
const side = (names, ...how) => names.map((name) => cell(name, ...how));

/** @returns {Goal} */
const goal = (what, figure, bound, of, against, unit) => ({ what, figure, bound, of, against, unit });

const CPU = 'cpu_us_per_update';
const P99 = 'p99_ms';

/** @type {Row[]} */
const main = [
  {
    name: 'main',
    title: 'Five symbols',
    brief: ['tickcast', 'floor'],
    groups: [
      side(['tickcast', 'rooms', 'floor'], 1000, 5, PER_S_50, 'tick'),
      side(['tickcast', 'rooms', 'floor'], 1000, 5, PER_S_50, 'batch'),
      side(['tickcast', 'floor'], 5000, 5, PER_S_10, 'tick'),
      side(['tickcast', 'floor'], 5000, 5, PER_S_10, 'batch'),
    ],
    goals: [
      ['1000 x 5 x 50/s', 1000, PER_S_50],
      ['5000 x 5 x 10/s', 5000, PER_S_10],
    ].flatMap(([what, clients, interval_ms]) =>
      ['tick', 'batch'].flatMap((mode) => {
        const pair = side(['tickcast', 'floor'], clients, 5, interval_ms, mode);
        const cost = goal(`CPU per update, ${mode}, ${what}, to the floor`, CPU, 1.1, ...pair);
        return clients === 5000 ? [cost, goal(`p99, ${mode}, ${what}, to the floor`, P99, 1.2, ...pair)] : [cost];
      }),
    ),
  },
  {
    name: 'node',
    title: 'Where Node.js keeps up',
    brief: ['tickcast', 'node', 'rooms', 'floor'],
    groups: [side(['tickcast', 'node', 'rooms', 'floor'], 1000, 5, PER_S_10, 'tick')],
    goals: [
      goal(
        'CPU per update, tick, 1000 x 5 x 10/s, to Node.js',
        CPU,
        0.2,
        ...side(['tickcast', 'node'], 1000, 5, PER_S_10, 'tick'),
      ),
    ],
  },
  {
    name: 'symbols',
    title: 'Fifty symbols in an array',
    brief: ['tickcast', 'floor'],
    groups: [side(['tickcast', 'rooms', 'floor'], 1000, 50, PER_S_10, 'batch')],
    goals: [
      goal(
        'CPU per update, batch, 1000 x 50 x 10/s, to the floor',
        CPU,
        1.2,
        ...side(['tickcast', 'floor'], 1000, 50, PER_S_10, 'batch'),
      ),
    ],
  },
  {
    name: 'sets',
    title: 'Distinct subscription sets, 5 of 50 symbols each',
    brief: ['tickcast'],
    groups: [sets('tickcast', 'tick'), [...sets('tickcast', 'batch'), ...sets('floor', 'batch')]],
    goals: ['tick', 'batch'].map((mode) =>
      goal(`CPU per update, ${mode}, 1000 sets, to one set, 5000 clients`, CPU, 1.3, ...sets('tickcast', mode)),
    ),
  },
  {
    name: 'market',
    title: 'A market: a thousand symbols, of which each client watches twenty of its own',
    brief: ['tickcast', 'floor'],
    groups: ['tick', 'batch'].map((mode) => ['tickcast', 'floor'].map((server) => market(server, mode))),
    goals: ['tick', 'batch'].flatMap((mode) => [
      goal(`lost of 1000 symbols x 20/s, ${mode}`, 'lost', 0, market('tickcast', mode), undefined, ''),
      goal(`p99 of 1000 symbols x 20/s, ${mode}`, P99, 100, market('tickcast', mode), undefined, 'ms'),
    ]),
  },
  {
    name: 'stalled',
    title: 'Half of the clients do not read',
    brief: ['tickcast'],
    notes: ['Costs are per update of those who read, from when the others have not read for 30 s.'],
    groups: [[...stalled('tickcast'), ...stalled('floor')]],
    goals: [
      goal('CPU per update of the others, to 1000 clients alone', CPU, 1.2, ...stalled('tickcast')),
      goal('p99 of the others, to 1000 clients alone', P99, 1.2, ...stalled('tickcast')),
    ],
  },
  {
    name: 'connects',
    title: '5000 connects within 5 s, onto 1000 x 5 x 10/s',
    brief: ['tickcast'],
    notes: ['p50 and p99 are of those who are there already, during the connects.'],
    groups: [side(['tickcast', 'floor'], 1000, 5, PER_S_10, 'tick', { kind: 'connects' })],
    goals: [
      goal('failed of 5000 connects within 5 s', 'failed', 0, connects('tickcast'), undefined, ''),
      goal('p99 of those already there, meanwhile', P99, 250, connects('tickcast'), undefined, 'ms'),
    ],
  },
  {
    name: 'memory',
    title: 'Memory of a client that watches 5 symbols',
    brief: ['tickcast'],
    few: true,
    notes: ['Resident less idle resident, by 5000 clients, at the end of the time in which they watch.'],
    groups: [side(['tickcast', 'node', 'rooms', 'floor'], 5000, 5, PER_S_2, 'tick', { kind: 'memory' })],
    goals: [
      goal(
        'memory per watching connection',
        'kb_per_connection',
        16,
        cell('tickcast', 5000, 5, PER_S_2, 'tick', { kind: 'memory' }),
        undefined,
        'kB',
      ),
    ],
  },
];

/** One set, and a thousand. */
function sets(server, mode) {
  return [1000, 1].map((count) => cell(server, 5000, SET.symbols, PER_S_10, mode, setsOf(count)));
}

function setsOf(count) {
  return { sets: count, per_client: SET.per_client };
}

/** A thousand clients at a market. */
function market(server, mode) {
  return cell(server, 1000, 1000, PER_S_20, mode, MARKET);
}

/** Two thousand of whom half do not read, and a thousand. */
function stalled(server) {
  return [
    cell(server, 2000, 5, PER_S_10, 'tick', { stalled_share: 0.5 }),
    cell(server, 1000, 5, PER_S_10, 'tick'),
  ];
}

function connects(server) {
  return cell(server, 1000, 5, PER_S_10, 'tick', { kind: 'connects' });
}

/** What costs grow with. @type {Row[]} */
const curves = [
  {
    name: 'by-clients',
    title: 'Cost against clients: 5 symbols, 2/s',
    groups: [100, 1000, 10_000].map((clients) => side(['tickcast', 'floor'], clients, 5, PER_S_2, 'tick')),
  },
  {
    name: 'by-symbols',
    title: 'Cost against symbols: 200 clients, 10/s, arrays',
    groups: [1, 5, 50, 500].map((count) => side(['tickcast', 'floor'], 200, count, PER_S_10, 'batch')),
  },
  {
    name: 'by-sets',
    title: 'Cost against distinct subscription sets: 5000 clients, 5 of 50 symbols each, 10/s, arrays',
    groups: [1, 10, 100, 1000].map((count) =>
      side(['tickcast', 'floor'], 5000, SET.symbols, PER_S_10, 'batch', setsOf(count)),
    ),
  },
  {
    name: 'by-stalled',
    title: 'Cost against the share of 2000 clients that do not read: 5 symbols, 10/s',
    groups: [0, 0.1, 0.25, 0.5].map((share) =>
      side(['tickcast', 'floor'], 2000, 5, PER_S_10, 'tick', share > 0 ? { stalled_share: share } : {}),
    ),
  },
].map((row) => ({ ...row, few: true, curve: true, brief: ['tickcast', 'floor'], goals: [] }));

/** @type {Row} */
const saturation = {
  name: 'saturation',
  title: 'Saturation: 1000 clients, 5 symbols, more and more often',
  brief: ['tickcast', 'node', 'floor'],
  few: true,
  search: true,
  groups: [
    side(['tickcast', 'node', 'rooms', 'floor'], 1000, 5, PER_S_10, 'tick'),
    side(['tickcast', 'rooms', 'floor'], 1000, 5, PER_S_10, 'batch'),
  ],
  goals: [],
};

/** Intervals that saturation is looked for at, in ms, each some 1.4 times as often as the one before. */
export const SATURATION_MS = [200, 140, 100, 70, 50, 35, 25, 18, 13, 9, 6, 4, 3, 2, 1];

/** Every row, in the order in which they are measured. */
export const ROWS = [...main, saturation, ...curves];

/** What the short form has of a row: ends of curves, and the servers that goals are about. @param {Row} row */
export function short(row) {
  const groups = row.curve ? [row.groups[0], row.groups.at(-1)] : row.groups;
  const brief = groups.map((group) => group.filter(({ server }) => row.brief.includes(server)));
  return { ...row, groups: brief.filter((group) => group.length > 0) };
}

/** A work in words. @param {Work} work */
export function describe({ clients, symbols, interval_ms, mode, sets: count, per_client, stalled_share, kind }) {
  const per_s = 1000 / interval_ms;
  const rate = Number.isInteger(per_s) ? per_s : per_s.toFixed(1);
  const parts = [`${clients} x ${per_client ? `${per_client} of ${symbols}` : symbols} x ${rate}/s`, mode];
  if (count) parts.push(`${count} set${count === 1 ? '' : 's'}`);
  if (stalled_share) parts.push(`${stalled_share * 100} % stalled`);
  if (kind) parts.push(kind);
  return parts.join(', ');
}

/** A cell's name: the same for the same work, in whatever row. @param {Cell} of */
export function key(of) {
  return `${of.server}: ${describe(of.work)}`;
}

/** Updates in a second that all who read should get. @param {Work} of */
export function asked(of) {
  const { clients, symbols, per_client = symbols, interval_ms, stalled_share = 0 } = of;
  return (Math.round(clients * (1 - stalled_share)) * per_client * 1000) / interval_ms;
}
