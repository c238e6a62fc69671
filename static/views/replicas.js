/** The replicas as a table, and the way to send one of them home. */
import { formatCount } from '../format.js';
import { formatUptime } from '../operations.js';
import { find, make, setText } from './elements.js';

/** @typedef {{row: HTMLTableRowElement, cells: Map<string, HTMLElement>, clients: number}} Shown */

/** What a replica says of itself, by the heading of its column. @type {Record<string, (node: any) => string>} */
const COLUMNS = {
  Replica: ({ id }) => String(id),
  State: ({ status }) => String(status),
  Role: ({ role }) => String(role),
  Sources: ({ sources }) => Object.entries(sources ?? {}).map(([source, role]) => `${source}: ${role}`).join(', ') || '–',
  Clients: ({ connections }) => formatCount(connections ?? 0),
  Lag: ({ lag_ms: lag }) => (typeof lag === 'number' ? `${formatCount(lag)} ms` : '–'),
  Up: ({ uptime_ms: uptime }) => formatUptime(uptime ?? 0),
  Version: ({ version }) => String(version),
};
const NUMBERS = ['Clients', 'Lag', 'Up'];

/** @param {(id: string) => void} drain once the reader has confirmed it */
export function replicasView(drain) {
  const body = find(document, '#replicas tbody', HTMLElement);
  const dialog = find(document, '#drain', HTMLDialogElement);
  const title = find(dialog, 'h2', HTMLElement);
  const words = find(dialog, 'p', HTMLElement);
  const yes = find(dialog, '.danger', HTMLButtonElement);
  /** By id. @type {Map<string, Shown>} */
  const shown = new Map();
  let asked = '';

  find(dialog, '.cancel', HTMLButtonElement).addEventListener('click', () => dialog.close());
  yes.addEventListener('click', () => {
    dialog.close();
    drain(asked);
  });

  /** @param {string} id */
  function ask(id) {
    asked = id;
    const clients = shown.get(id)?.clients ?? 0;
    const others = shown.size > 1 ? 'another replica' : 'no other replica, for there is none';
    setText(title, `Drain ${id}?`);
    setText(words, `It lets nobody new in, sends its ${formatCount(clients)} client${clients === 1 ? '' : 's'} to ${others}, and exits.`);
    setText(yes, `Drain ${id}`);
    dialog.showModal();
  }

  /** @param {string} id @returns {Shown} */
  function newRow(id) {
    const cells = new Map(Object.keys(COLUMNS).map((name) => [name, name === 'Replica'
      ? make('th', { scope: 'row', role: 'rowheader' })
      : make('td', { role: 'cell', 'data-label': name, class: NUMBERS.includes(name) ? 'number' : name === 'State' ? 'state' : '' })]));
    const button = make('button', { type: 'button', 'aria-label': `Drain ${id}`, 'aria-haspopup': 'dialog' }, 'Drain');
    button.addEventListener('click', () => ask(id));
    const row = make('tr', { role: 'row' }, ...cells.values(), make('td', { role: 'cell', class: 'act' }, button));
    return { row, cells, clients: 0 };
  }

  return {
    /** Rows stay what they are, so that a button keeps the focus. @param {any[]} nodes */
    show(nodes) {
      const ids = new Set(nodes.map(({ id }) => String(id)));
      for (const [id, { row }] of shown) {
        if (ids.has(id)) continue;
        row.remove();
        shown.delete(id);
      }
      nodes.forEach((node, i) => {
        const id = String(node.id);
        const known = shown.get(id) ?? newRow(id);
        shown.set(id, known);
        known.clients = node.connections ?? 0;
        for (const [name, text] of Object.entries(COLUMNS)) {
          const cell = known.cells.get(name);
          if (cell) setText(cell, text(node));
        }
        known.cells.get('State')?.setAttribute('data-state', String(node.status));
        if (body.children[i] !== known.row) body.insertBefore(known.row, body.children[i] ?? null);
      });
    },
  };
}
