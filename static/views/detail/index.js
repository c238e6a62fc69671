/** One symbol: candles, alerts, recent ticks and its room. Loaded when the first one is opened. */
import { INTERVALS } from '../../candles.js';
import { formatChange, formatCount, formatPrice, formatVolume } from '../../format.js';
import { find, make, radios, setText, writer } from '../elements.js';
import { keptToken } from '../signin.js';
import { alertsView } from './alerts.js';
import { createChart } from './chart.js';
import { chatView } from './chat.js';
import { createHistory } from './history.js';

/** @typedef {import('../../feed.js').Tick} Tick */
/** @typedef {import('../../candles.js').Candle} Candle */

/** How many ticks the list has. */
const TICKS = 24;
/** UTC, as the chart. */
const CLOCK = new Intl.DateTimeFormat('en-GB', { timeZone: 'UTC', hour: '2-digit', minute: '2-digit', second: '2-digit', fractionalSecondDigits: 3 });
/** What is said of the candle under the pointer, else of the last one. @type {Record<string, (candle: Candle, digits: number) => string>} */
const LEGEND = {
  '': ({ ts }) => new Date(ts).toISOString().replace('T', ' ').slice(0, 19),
  O: ({ open }, digits) => formatPrice(open, digits),
  H: ({ high }, digits) => formatPrice(high, digits),
  L: ({ low }, digits) => formatPrice(low, digits),
  C: ({ close }, digits) => formatPrice(close, digits),
  Vol: ({ volume }) => formatVolume(volume),
};
const MARKUP = `
  <header class="detail-head">
    <div>
      <h2 id="detail-title"></h2>
      <p><span class="big"></span> <span class="big-change"></span></p>
      <p class="figures detail"></p>
    </div>
    <button type="button" class="close" aria-label="Close" title="Close (Escape)">×</button>
  </header>
  <div class="chart-head">
    <div class="chips" role="radiogroup" aria-label="Interval">${[...INTERVALS.keys()].map((name) => `
      <label><input type="radio" name="interval" value="${name}"><span>${name}</span></label>`).join('')}
    </div>
    <button type="button" class="to-now">Now</button>
  </div>
  <p class="legend detail" aria-hidden="true"></p>
  <div class="chart-box" role="img"></div>
  <p class="detail chart-note"></p>
  <p class="detail">Times in UTC. Charts by <a href="https://www.tradingview.com/" rel="noopener">TradingView</a> Lightweight Charts™, © TradingView, Inc.</p>
  <section aria-label="Alerts">
    <h3>Alerts</h3>
    <form class="alert-form line">
      <select aria-label="Alert when the price is"><option value="above">above</option><option value="below">below</option><option value="changePct">± % in 5 min</option></select>
      <input inputmode="decimal" autocomplete="off" aria-label="Price or percent" placeholder="Price">
      <button type="submit">Set</button>
      <button type="button" class="alert-line" title="A line on the chart, to be dragged">Line</button>
    </form>
    <ul class="alerts"></ul>
    <p class="detail alert-note"></p>
  </section>
  <section aria-label="Recent ticks" class="recent">
    <h3>Recent ticks</h3>
    <table class="ticks"><thead><tr><th scope="col">Time</th><th scope="col">Price</th><th scope="col">Size</th><th scope="col">Updates</th></tr></thead><tbody></tbody></table>
  </section>
  <section aria-label="Chat">
    <h3>Room</h3>
    <ol class="said" tabindex="0" aria-label="What is said"></ol>
    <form class="say line"><input maxlength="2000" autocomplete="off" aria-label="What to say" placeholder="Say something"><button type="submit">Send</button></form>
    <p class="detail chat-note"></p>
  </section>`;

/**
 * @param {object} parts
 * @param {any} parts.library lightweight-charts; null where it could not be loaded
 * @param {import('../../store.js').Store} parts.store
 * @param {import('../../feed.js').Feed} parts.feed
 * @param {import('../../choices.js').Choices} parts.choices
 * @param {URL} parts.api
 */
export function detailView({ library, store, feed, choices, api }) {
  const root = find(document, '#detail', HTMLElement);
  root.innerHTML = MARKUP;
  const title = find(root, '#detail-title', HTMLElement);
  const price = find(root, '.big', HTMLElement);
  const change = find(root, '.big-change', HTMLElement);
  const figures = find(root, '.figures', HTMLElement);
  const legend = find(root, '.legend', HTMLElement);
  const box = find(root, '.chart-box', HTMLElement);
  const note = find(root, '.chart-note', HTMLElement);
  const ticks = find(root, '.ticks tbody', HTMLElement);

  let symbol = '';
  /** Newest first. @type {Tick[]} */
  let recent = [];
  /** @type {Candle | null} */
  let latest = null;
  let hovered = false;
  let due = false;

  const digits = () => store.rows.get(symbol)?.digits ?? 2;
  const says = Object.fromEntries(Object.keys(LEGEND).map((name) => {
    const value = make('b');
    legend.append(make('span', {}, name === '' ? '' : `${name} `, value));
    return [name, writer(value)];
  }));

  /** @param {Candle | null} candle */
  function describe(candle) {
    for (const [name, write] of Object.entries(says)) {
      write(candle ? LEGEND[name]?.(candle, digits()) ?? '' : '');
    }
  }

  const seconds = () => choices.values.interval === '1s';
  const chart = library && createChart(library, box, {
    seconds: seconds(),
    hover: (candle) => {
      hovered = candle !== null;
      describe(candle ?? latest);
    },
    older: () => void history.older(),
    moved: (id, to) => void alerts.move(id, to),
  });
  const history = createHistory(feed, api, {
    all: (candles) => {
      latest = candles.at(-1) ?? null;
      chart?.set([...candles], digits());
      if (!hovered) describe(latest);
      root.dataset.candles = String(candles.length);
    },
    one: (candle) => {
      latest = candle;
      chart?.update(candle, digits());
      if (!hovered) describe(candle);
    },
    say: (words) => setText(note, chart ? words : 'The chart library could not be loaded.'),
  });
  const alerts = alertsView(root, feed, store, {
    draw: (levels) => chart?.setLevels(levels),
    above: () => chart?.above() ?? null,
    isGuest: () => keptToken() === '',
  });
  const chat = chatView(root, feed);
  // For tests and the curious: where a price is drawn.
  /** @type {any} */ (box).yOf = (/** @type {number} */ of) => chart?.yOf(of);

  const showInterval = radios(root, 'interval', (interval) => choices.set({ interval }));
  choices.follow(() => {
    const { interval } = choices.values;
    if (!INTERVALS.has(interval)) return choices.set({ interval: '1m' });
    showInterval(interval);
    chart?.showSeconds(seconds());
    if (symbol) history.follow(symbol, interval);
  });
  find(root, '.to-now', HTMLButtonElement).addEventListener('click', () => chart?.toNow());

  feed.on('tick', (tick) => {
    if (tick.symbol !== symbol) return;
    history.tick(tick);
    recent.unshift(tick);
    if (recent.length > TICKS) recent.length = TICKS;
    due = true;
  });
  let phase = feed.state.phase;
  feed.on('state', (state) => {
    if (state.phase === 'live' && phase !== 'live') {
      history.again();
      chat.again();
      void alerts.again();
    }
    phase = state.phase;
  });

  function paintTicks() {
    const rows = recent.map((tick) => make('tr', {},
      make('td', {}, CLOCK.format(tick.ts)),
      make('td', {}, formatPrice(tick.price, digits())),
      make('td', {}, tick.size === undefined ? '–' : formatVolume(tick.size)),
      make('td', {}, formatCount(tick.n ?? 1))));
    ticks.replaceChildren(...rows);
  }

  return {
    /** @param {string} next the symbol; none closes the view */
    show(next) {
      if (next === symbol) return;
      symbol = next;
      recent = [];
      latest = null;
      due = true;
      setText(title, next);
      box.ariaLabel = `Candles of ${next}`;
      history.follow(next, choices.values.interval);
      alerts.show(next);
      chat.show(next);
    },

    /** @param {import('../../store.js').Changes} changes */
    paint({ rows }) {
      const row = store.rows.get(symbol);
      if (!row || !rows.has(row)) return;
      const { open } = row[store.span];
      const told = open === null ? null : formatChange(row.price, open, row.digits);
      setText(price, formatPrice(row.price, row.digits));
      setText(change, told ? `${told.arrow} ${told.percent}` : '');
      change.dataset.direction = told?.direction ?? 'flat';
      const { high, low, volume } = row[store.span];
      const over = store.span === 'day' ? '24 h' : 'Since load';
      setText(figures, `${over}: high ${formatPrice(high, row.digits)}, low ${formatPrice(low, row.digits)}${volume ? `, volume ${formatVolume(volume)}` : ''}`);
      if (due) paintTicks();
      due = false;
    },
  };
}
