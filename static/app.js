/** Only wiring: configuration, feed -> store -> views. */
import { Choices } from './choices.js';
import { readConfig, readQuery } from './config.js';
import { createFeed } from './feed.js';
import { startPainting, Store } from './store.js';
import { connectionView } from './views/connection.js';
import { drawerView } from './views/drawer.js';
import { find, loadStyle } from './views/elements.js';
import { looksView } from './views/looks.js';
import { keptToken, signInView } from './views/signin.js';
import { tableView } from './views/table.js';
import { toolbarView } from './views/toolbar.js';

const CLOCK_MS = 1_000;
/** A part that could not be had is tried again after so long, ms: twice as long each time. */
const RETRY_MS = { first: 500, most: 30_000 };

const config = readConfig();
const socketUrl = new URL(config.socketPath, document.baseURI);
const bundle = new URL('socket.io.esm.min.js', socketUrl).href;
// The official client, which the server serves beside its endpoint: on its way while the views are made.
const loading = import(bundle).catch((error) => {
  console.error(error);
  return null;
});

const choices = new Choices();
const store = new Store();
looksView(choices);
const table = tableView(store, choices);
toolbarView(choices, table);
const drawer = drawerView(store, table);
/** @type {Parameters<typeof startPainting>[1]} */
const views = [table, connectionView(store), drawer];
startPainting(store, views);
setInterval(() => store.clockTick(), CLOCK_MS);

const client = await loading;
const connected = typeof client?.io === 'function' ? connect(client.io) : null;
if (!connected) {
  store.setConnection({
    phase: 'failed',
    reason: `The Socket.IO client could not be loaded from ${bundle}. Reload the page to try again.`,
  });
}

// Of no use before the prices are there.
if (connected) void loadSurely('./views/fired.js').then(({ firedView }) => firedView(connected, store));
const [{ snippetsView }] = await Promise.all([loadSurely('./views/snippets.js'), loadStyle('connect.css')]);
const { origin, pathname: path } = socketUrl;
views.push(snippetsView(store, { origin, path, base: new URL('.', document.baseURI).pathname, tickEvent: config.tickEvent }));
store.setConnection({});
const use = find(document, '#use', HTMLElement);
use.hidden = false;
// What the address leads to was not there yet, nor were the rows above it.
if (location.hash === '#use') void table.filled.then(() => use.scrollIntoView());

/** @param {(url: string, options: object) => any} io */
function connect(io) {
  const token = keptToken();
  const feed = createFeed({
    io: (url, options) => {
      const ws = io(url, options);
      // To be tried from the console: ws.emit('chat', 'hello')
      /** @type {any} */ (window).ws = ws;
      ws.on('connect', () => console.log('ws connected'));
      ws.on('chat-message', (/** @type {unknown} */ message) => console.log('chat-message', message));
      return ws;
    },
    url: socketUrl.origin,
    path: socketUrl.pathname,
    stats: true,
    tickEvent: config.tickEvent,
    batchEvent: config.batchEvent,
    ...(token && { auth: { token } }),
    ...readQuery(location.search),
  });
  feed.on('tick', (tick, info) => store.tick(tick, info));
  feed.on('stats', (stats) => store.stats(stats));
  feed.on('state', (state) => store.state(state));
  feed.on('status', (status) => store.status(status));
  feed.on('gap', (gap) => store.gap(gap));
  feed.on('gone', (symbols) => store.gone(symbols));
  feed.on('epoch', (change) => store.epoch(change));
  feed.on('latency', (latency) => store.latency(latency));
  feed.on('drain', (drain) => store.drain(drain));
  feed.on('problem', (problem) => console.warn(`${problem.event}: ${problem.code} ${problem.message}`));
  feed.listen('token-expiring', (raw) => store.tokenExpiring(raw));
  signInView(feed, store);
  const library = new URL('lightweight-charts.js', socketUrl);
  drawer.ready(async () => {
    const [{ detailView }] = await detailParts();
    return detailView({ loadLibrary: (attempt) => loadModule(library, attempt), store, feed, choices, api: new URL('api/', document.baseURI) });
  });
  // Here before it is asked for: the server may be away by then. Not the library, which is as large as all else together.
  void table.filled.then(detailParts).catch(() => {});
  return feed;
}

/** What shows one symbol. What could not be had is fetched again with the next call. */
function detailParts() {
  return Promise.all([import('./views/detail/index.js'), loadStyle('detail.css')]);
}

/** A module of ours, as soon as it can be had: the server may have gone in the moment in which it was asked for. @param {string} file */
async function loadSurely(file) {
  for (let attempt = 0; ; attempt += 1) {
    const part = await loadModule(new URL(file, import.meta.url), attempt);
    if (part) return part;
    const pause = Math.min(RETRY_MS.most, RETRY_MS.first * 2 ** attempt);
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}

/**
 * A module, such as the library that draws candles; null where it cannot be had.
 *
 * @param {URL} url
 * @param {number} attempt under another address each time: browsers may keep that a module was not there
 */
async function loadModule(url, attempt) {
  try {
    return await import(`${url}${attempt > 0 ? `?attempt=${attempt}` : ''}`);
  } catch (error) {
    console.error(error);
    return null;
  }
}
