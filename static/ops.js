/** The operators' page: asks for how the replicas are, again and again, and shows it. */
import { formatCount, plural } from './format.js';
import { formatMs, leaves, percentile } from './operations.js';
import { find, make, setText } from './views/elements.js';
import { meters } from './views/meters.js';
import { replicasView } from './views/replicas.js';

const EVERY_MS = 2_000;
/** So long may an answer take. */
const PATIENCE_MS = 5_000;
const KEY = 'tickcast-admin-key';

/** @typedef {{id: string, nodes: any[], figures: any, tick_age: import('./operations.js').Bucket[]}} Operations */

const api = new URL('api/', document.baseURI);
const phase = find(document, '#phase', HTMLElement);
const announce = find(document, '#announce', HTMLElement);
const notice = find(document, '#notice', HTMLElement);
const keyForm = find(document, '#key-form', HTMLFormElement);
const board = find(document, '#board', HTMLElement);
const measures = meters();
const replicas = replicasView((id) => void act('#drained', drain(id)));

let key = keptKey();
/** @type {{at: number, operations: Operations} | null} */
let before = null;

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

/** What was counted at all; of the rest only that it was not. @param {string} id @param {[string, number][]} pairs */
function fill(id, pairs) {
  const root = find(document, `#${id}`, HTMLElement);
  const some = pairs.filter(([, count]) => count > 0);
  const none = pairs.filter(([, count]) => count === 0).map(([name]) => name);
  const list = some.flatMap(([name, count]) => [make('dt', {}, name), make('dd', { 'data-some': '' }, formatCount(count))]);
  find(root, 'dl:not(.words)', HTMLElement).replaceChildren(...list);
  find(root, 'details', HTMLDetailsElement).hidden = none.length === 0;
  setText(find(root, 'summary', HTMLElement), some.length > 0 ? `${none.length} more at zero` : `Nothing: all ${none.length} at zero`);
  setText(find(root, 'details p', HTMLElement), none.join(' · '));
}

/** @param {Operations} operations */
function show(operations) {
  const { id, nodes, figures, tick_age: ages } = operations;
  replicas.show(nodes);
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
  const count = (/** @type {number | null} */ value) => (value === null ? '–' : formatCount(value));
  measures.get('clients')?.(clients, count);
  measures.get('deliveries')?.(rate, (value) => (value === null ? '–' : `${formatCount(value)}/s`));
  measures.get('p50')?.(p50, formatMs);
  measures.get('p99')?.(p99, formatMs);

  const { slow, conflated, drops, errors, limited, bus, sources } = figures;
  fill('trouble', [
    ['slow clients now', slow?.clients ?? 0], ['slow clients disconnected', slow?.disconnected ?? 0],
    ['updates conflated', conflated ?? 0], ...leaves(drops, 'dropped'), ...leaves(errors, 'errors'),
  ]);
  fill('limits', leaves(limited));
  const told = Object.entries({ ...bus, ...sources });
  const words = told.filter(([, value]) => typeof value === 'string' && value !== '');
  find(document, '#feed', HTMLElement).replaceChildren(...words.flatMap(([name, value]) => [
    make('dt', {}, name.replaceAll('_', ' ')), make('dd', {}, String(value)),
  ]));
  fill('sources', leaves(Object.fromEntries(told)));
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
 * Says what became of something that was done, beside where it was, and whether it was done.
 *
 * @param {string} place
 * @param {Promise<{done: boolean, words: string}>} doing
 */
async function act(place, doing) {
  const { done, words } = await doing.catch((error) => ({
    done: false, words: `The server did not answer: ${error instanceof Error ? error.message : error}.`,
  }));
  const acted = find(document, place, HTMLElement);
  setText(acted, words);
  setText(announce, words);
  acted.scrollIntoView({ block: 'nearest' });
  return done;
}

/** @param {string} userId */
async function disconnect(userId) {
  const { status, answer, problem } = await call('disconnect', { userId });
  if (status !== 200) return { done: false, words: problem };
  const unsure = answer.complete ? '' : '; a replica has not said how many it had';
  return { done: true, words: `${plural(answer.disconnected, 'connection')} of ${userId} ended${unsure}.` };
}

/** @param {string} id of a replica, whichever one answers this page */
async function drain(id) {
  const { status, answer, problem } = await call('drain', { id });
  const done = status === 202;
  return { done, words: done ? `${answer.id} drains: ${plural(answer.connections, 'client')} move on, then it ends.` : problem };
}

const people = find(document, '#disconnect', HTMLFormElement);
people.addEventListener('submit', async (event) => {
  event.preventDefault();
  const input = find(people, 'input', HTMLInputElement);
  const typed = input.value;
  const done = await act('#disconnected', disconnect(typed.trim()));
  // What was not done is there to be tried again.
  if (done && input.value === typed) people.reset();
});

async function watch() {
  if (document.visibilityState === 'visible') await look();
  setTimeout(watch, EVERY_MS);
}
void watch();
