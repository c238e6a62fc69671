/** The operators' page: asks for how the replicas are, again and again, and shows it. */
import { formatCount, plural } from './format.js';
import { formatMs, formatUptime, leaves, percentile } from './operations.js';
import { find, make, setText } from './views/elements.js';
import { colours, onColoursChange } from './views/palette.js';
import { Sparkline } from './views/sparkline.js';

const EVERY_MS = 2_000;
/** So long may an answer take. */
const PATIENCE_MS = 5_000;
/** So many looks are drawn: ten minutes. */
const POINTS = 300;
const KEY = 'tickcast-admin-key';

/** @typedef {{id: string, nodes: any[], figures: any, tick_age: import('./operations.js').Bucket[]}} Operations */

const api = new URL('api/', document.baseURI);
const phase = find(document, '#phase', HTMLElement);
const announce = find(document, '#announce', HTMLElement);
const notice = find(document, '#notice', HTMLElement);
const keyForm = find(document, '#key-form', HTMLFormElement);
const board = find(document, '#board', HTMLElement);
const acted = find(document, '#acted', HTMLElement);
const replicas = find(document, '#replicas tbody', HTMLElement);

let key = keptKey();
/** @type {{at: number, operations: Operations} | null} */
let before = null;

/** One line for each measure, on a canvas of its own. */
const charts = new Map([...document.querySelectorAll('canvas')].map((canvas) => {
  const sparkline = new Sparkline(canvas);
  /** @type {import('./row.js').Point[]} */
  const points = [];
  const draw = () => sparkline.draw(points, colours().accent);
  new ResizeObserver(([entry]) => {
    if (entry) sparkline.resize(entry.contentRect.width, entry.contentRect.height);
    draw();
  }).observe(canvas);
  onColoursChange(draw);
  const push = (/** @type {number | null} */ value) => {
    if (value === null || !Number.isFinite(value)) return;
    points.push({ at: performance.now(), low: value, high: value, last: value, joined: true });
    if (points.length > POINTS) points.shift();
    draw();
  };
  return [canvas.dataset.chart, push];
}));

function keptKey() {
  try {
    return sessionStorage.getItem(KEY) ?? '';
  } catch {
    return '';
  }
}

/** @param {string} next */
function setPhase(next, words = next) {
  document.body.dataset.phase = next === 'ok' ? 'live' : 'failed';
  if (phase.textContent !== words) setText(announce, words);
  setText(phase, words);
}

/** @param {string} words */
function say(words) {
  setText(notice, words);
  notice.hidden = words === '';
}

/**
 * @param {string} path
 * @param {object} [body] with one it is a POST
 */
async function call(path, body) {
  const headers = { ...(key && { 'X-API-Key': key }), ...(body && { 'Content-Type': 'application/json' }) };
  const options = { headers, signal: AbortSignal.timeout(PATIENCE_MS), ...(body && { method: 'POST', body: JSON.stringify(body) }) };
  const response = await fetch(new URL(path, api), options);
  const answer = await response.json().catch(() => null);
  return { status: response.status, answer, problem: answer?.detail ?? `HTTP ${response.status}` };
}

/** @param {[string, number][]} pairs @param {HTMLElement} list */
function fill(list, pairs) {
  list.replaceChildren(...pairs.flatMap(([name, count]) => [
    make('dt', {}, name), make('dd', count > 0 ? { 'data-some': '' } : {}, formatCount(count)),
  ]));
}

/** @param {any} node */
function replicaRow(node) {
  const sources = Object.entries(node.sources ?? {}).map(([source, role]) => `${source}: ${role}`).join(', ');
  const cell = (/** @type {string} */ text, /** @type {Record<string, string>} */ attributes = {}) => make('td', attributes, text);
  return make('tr', {},
    make('th', { scope: 'row' }, String(node.id)),
    cell(String(node.status), { class: 'state', 'data-state': String(node.status) }),
    cell(String(node.role)),
    cell(sources || '–'),
    cell(formatCount(node.connections ?? 0), { class: 'number' }),
    cell(typeof node.lag_ms === 'number' ? `${formatCount(node.lag_ms)} ms` : '–', { class: 'number' }),
    cell(formatUptime(node.uptime_ms ?? 0), { class: 'number' }),
    cell(String(node.version)));
}

/** @param {Operations} operations */
function show(operations) {
  const { id, nodes, figures, tick_age: ages } = operations;
  replicas.replaceChildren(...nodes.map(replicaRow));
  setText(find(document, '#replicas-detail', HTMLElement), `${plural(nodes.length, 'replica')}, ${id} answers`);
  for (const of of document.querySelectorAll('.of')) setText(of, id);

  const clients = nodes.reduce((sum, node) => sum + (node.connections ?? 0), 0);
  const at = performance.now();
  // Behind a proxy another replica may have answered: its counts have nothing to do with the last ones.
  const same = before?.operations.id === id && before.operations.figures.uptime_ms <= figures.uptime_ms ? before : null;
  const rate = same && (figures.deliveries - same.operations.figures.deliveries) / ((at - same.at) / 1_000);
  const p50 = same && percentile(ages, same.operations.tick_age, 0.5);
  const p99 = same && percentile(ages, same.operations.tick_age, 0.99);
  before = { at, operations };
  setText(find(document, '#clients', HTMLElement), formatCount(clients));
  setText(find(document, '#deliveries', HTMLElement), rate === null ? '–' : `${formatCount(rate)}/s`);
  setText(find(document, '#p50', HTMLElement), formatMs(p50));
  setText(find(document, '#p99', HTMLElement), formatMs(p99));
  for (const [name, value] of /** @type {[string, number | null][]} */ ([['clients', clients], ['deliveries', rate], ['p50', p50], ['p99', p99]])) {
    charts.get(name)?.(value);
  }

  const { slow, conflated, drops, errors, limited, bus, sources } = figures;
  fill(find(document, '#trouble', HTMLElement), [
    ['slow clients now', slow?.clients ?? 0], ['slow clients disconnected', slow?.disconnected ?? 0],
    ['updates conflated', conflated ?? 0], ...leaves(drops, 'dropped'), ...leaves(errors, 'errors'),
  ]);
  fill(find(document, '#limits', HTMLElement), leaves(limited));
  const words = Object.entries({ ...bus, ...sources }).filter(([, value]) => ['string', 'number'].includes(typeof value));
  find(document, '#sources', HTMLElement).replaceChildren(...words.flatMap(([name, value]) => [
    make('dt', {}, name.replaceAll('_', ' ')), make('dd', {}, String(value) || '–'),
  ]));
}

async function look() {
  try {
    const { status, answer, problem } = await call('ops');
    const refused = status === 401 || status === 403;
    keyForm.hidden = !refused;
    board.hidden = refused || (board.hidden && status !== 200);
    if (status === 200) {
      show(answer);
      setPhase('ok', 'Up to date');
      say('');
    } else {
      setPhase('refused', refused ? 'Locked' : 'Not current');
      say(refused && key === '' && status === 401 ? '' : problem);
    }
  } catch (error) {
    console.warn(error);
    setPhase('lost', 'Not current');
    say('The server does not answer. What is shown is from its last answer.');
  }
}

keyForm.addEventListener('submit', (event) => {
  event.preventDefault();
  key = find(keyForm, '#key', HTMLInputElement).value.trim();
  try {
    sessionStorage.setItem(KEY, key);
  } catch {
    // Then it is asked for again with the next visit.
  }
  keyForm.reset();
  void look();
});

/**
 * @param {string} id of the form
 * @param {(value: string) => Promise<string>} act resolves with what to say of it
 */
function onSubmit(id, act) {
  const form = find(document, `#${id}`, HTMLFormElement);
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    const input = find(form, 'input', HTMLInputElement);
    act(input.value.trim()).catch((error) => String(error)).then((words) => {
      setText(acted, words);
      setText(announce, words);
      form.reset();
    });
  });
}

onSubmit('disconnect', async (userId) => {
  const { status, answer, problem } = await call('disconnect', { userId });
  return status === 200 ? `${plural(answer.disconnected, 'connection')} of ${userId} ended on the replica that answered; the others end theirs.` : problem;
});
onSubmit('drain', async (id) => {
  if (id !== before?.operations.id) return `This page is answered by ${before?.operations.id ?? 'nobody'}, not by ${id}: nothing was drained.`;
  const { status, answer, problem } = await call('drain', {});
  return status === 202 ? `${answer.id} drains: ${plural(answer.connections, 'client')} move on, then it ends.` : problem;
});

async function watch() {
  if (document.visibilityState === 'visible') await look();
  setTimeout(watch, EVERY_MS);
}
void watch();
