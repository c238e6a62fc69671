/** Only wiring: configuration, feed -> store -> views. */
import { readConfig, readQuery } from './config.js';
import { createFeed } from './feed.js';
import { ROW, startPainting, Store } from './store.js';
import { connectionView } from './views/connection.js';
import { onColoursChange } from './views/palette.js';
import { snippetView } from './views/snippet.js';
import { tableView } from './views/table.js';

const CLOCK_MS = 1_000;

const config = readConfig();
const socketUrl = new URL(config.socketPath, document.baseURI);
const store = new Store();

startPainting(store, [tableView(store), connectionView(store)]);
onColoursChange(() => {
  for (const row of store.rows.values()) store.mark(row, ROW.CHART);
});
snippetView({ url: socketUrl.origin, path: socketUrl.pathname, tickEvent: config.tickEvent });
setInterval(() => store.clockTick(), CLOCK_MS);

/** The official client, which the server serves beside its endpoint. */
const bundle = new URL('socket.io.esm.min.js', socketUrl).href;
const client = await import(bundle).catch((error) => {
  console.error(error);
  return null;
});
if (typeof client?.io === 'function') {
  connect(client.io);
} else {
  store.setConnection({
    phase: 'failed',
    reason: `The Socket.IO client could not be loaded from ${bundle}. Reload the page to try again.`,
  });
}

/** @param {(url: string, options: object) => any} io */
function connect(io) {
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
    tickEvent: config.tickEvent,
    batchEvent: config.batchEvent,
    ...readQuery(location.search),
  });
  feed.on('tick', (tick, info) => store.tick(tick, info));
  feed.on('state', (state) => store.state(state));
  feed.on('status', (status) => store.status(status));
  feed.on('gap', (gap) => store.gap(gap));
  feed.on('epoch', (change) => store.epoch(change));
  feed.on('latency', (latency) => store.latency(latency));
  feed.on('problem', (problem) => console.warn(`${problem.event}: ${problem.code} ${problem.message}`));
}
