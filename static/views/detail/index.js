/** One symbol: candles, alerts, recent ticks and its room. Loaded when the first one is opened. */
import { INTERVALS } from '../../candles.js';
import { digitsOf, formatChange, formatCount, formatPrice, formatVolume } from '../../format.js';
import { PANEL } from '../../store.js';
import { isFine, noticeText, phaseText } from '../connection.js';
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
      <h2><span id="detail-title"></span> <span class="badge" hidden>stale</span> <span class="badge how" hidden></span></h2>
      <p><span class="big"></span> <span class="big-change"></span></p>
      <p class="figures detail"></p>
    </div>
    <button type="button" class="close" aria-label="Close" title="Close (Escape)">×</button>
  </header>
  <p class="notice" hidden></p>
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
 * @param {(attempt: number) => Promise<any>} parts.loadLibrary lightweight-charts; null where it cannot be had now
 * @param {import('../../store.js').Store} parts.store
 * @param {import('../../feed.js').Feed} parts.feed
 * @param {import('../../choices.js').Choices} parts.choices
 * @param {URL} parts.api
 */
export function detailView({ loadLibrary, store, feed, choices, api }) {
  const root = find(document, '#detail', HTMLElement);
  root.innerHTML = MARKUP;
  const title = find(root, '#detail-title', HTMLElement);
  const head = find(root, '.detail-head', HTMLElement);
  const badge = find(head, '.badge', HTMLElement);
  const how = find(head, '.how', HTMLElement);
  const notice = find(root, '.notice', HTMLElement);
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
  /** The levels that are to be drawn. @type {import('./chart.js').Level[]} */
  let levels = [];
  /** @type {ReturnType<typeof createChart> | null} */
  let chart = null;
  /** How often its library was asked for; and whether it is on its way. */
  let attempts = 0;
  let loading = false;

  const digits = () => store.rows.get(symbol)?.digits ?? 2;
  /** Decimals of the candles: those of earlier days may have had more. */
  let places = 0;
  const placesOf = (/** @type {Candle} */ { open, high, low, close }) => Math.max(digitsOf(open), digitsOf(high), digitsOf(low), digitsOf(close));
  const candleDigits = () => Math.max(digits(), places);
  const says = Object.fromEntries(Object.keys(LEGEND).map((name) => {
    const value = make('b');
    legend.append(make('span', {}, name === '' ? '' : `${name} `, value));
    return [name, writer(value)];
  }));

  /** @param {Candle | null} candle */
  function describe(candle) {
    for (const [name, write] of Object.entries(says)) {
      write(candle ? LEGEND[name]?.(candle, candleDigits()) ?? '' : '');
    }
  }

  const seconds = () => choices.values.interval === '1s';

  function draw() {
    if (chart || loading) return;
    loading = true;
    void loadLibrary(attempts).then((library) => {
      loading = false;
      attempts += 1;
      if (library) drawWith(library);
      say(words);
    });
  }

  /** @param {any} library lightweight-charts */
  function drawWith(library) {
    chart = createChart(library, box, {
      seconds: seconds(),
      hover: (candle) => {
        hovered = candle !== null;
        describe(candle ?? latest);
      },
      older: () => void history.older(),
      moved: (id, to) => void alerts.move(id, to),
    });
    chart.set([...history.candles], candleDigits());
    chart.setLevels(levels);
  }

  let words = '';
  /** @param {string} next of the candles */
  function say(next) {
    words = next;
    const missing = attempts > 0 && !chart;
    setText(note, missing ? 'The chart could not be loaded. It is tried again with the next connection, or symbol.' : words);
  }

  const history = createHistory(feed, api, {
    all: (candles) => {
      latest = candles.at(-1) ?? null;
      places = candles.reduce((most, candle) => Math.max(most, placesOf(candle)), 0);
      root.classList.toggle('bare', latest === null);
      chart?.set([...candles], candleDigits());
      if (!hovered) describe(latest);
      root.dataset.candles = String(candles.length);
    },
    one: (candle) => {
      latest = candle;
      places = Math.max(places, placesOf(candle));
      root.classList.remove('bare');
      chart?.update(candle, candleDigits());
      if (!hovered) describe(candle);
    },
    say,
  });
  const alerts = alertsView(root, feed, store, {
    draw: (wanted) => {
      levels = wanted;
      chart?.setLevels(levels);
    },
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
  // What was asked on a connection ends with it; what was asked before the prices of this one came still holds.
  const isOff = (/** @type {import('../../feed.js').FeedState['phase']} */ phase) => phase === 'connecting' || phase === 'reconnecting';
  let lost = isOff(feed.state.phase);
  feed.on('state', ({ phase }) => {
    lost ||= isOff(phase);
    if (phase !== 'live' || !lost) return;
    lost = false;
    history.again();
    chat.again();
    void alerts.again();
    if (symbol) draw();
  });

  function paintTicks() {
    const rows = recent.map((tick) => make('tr', {},
      make('td', {}, CLOCK.format(tick.ts)),
      make('td', {}, formatPrice(tick.price, digits())),
      make('td', {}, tick.size === undefined ? '–' : formatVolume(tick.size)),
      make('td', {}, formatCount(tick.n ?? 1))));
    ticks.replaceChildren(...rows);
  }

  /** What is to be known before a price is believed. */
  function paintState() {
    const { connection } = store;
    const fine = isFine(connection);
    how.hidden = fine;
    setText(how, fine ? '' : phaseText(connection));
    // Shown where this view covers the market, and with it the notice that says the same.
    const told = noticeText(connection);
    notice.hidden = told === '';
    setText(notice, told);
  }

  function paintHead() {
    const row = store.rows.get(symbol);
    badge.hidden = !row?.stale;
    head.classList.toggle('stale', row?.stale === true);
    if (!row) return paintNone();
    const { open } = row[store.span];
    const told = open === null ? null : formatChange(row.price, open, row.digits);
    setText(price, formatPrice(row.price, row.digits));
    setText(change, told ? `${told.arrow} ${told.percent}` : '');
    change.dataset.direction = told?.direction ?? 'flat';
    const { high, low, volume } = row[store.span];
    const over = store.span === 'day' ? '24 h' : 'Since load';
    setText(figures, `${over}: high ${formatPrice(high, row.digits)}, low ${formatPrice(low, row.digits)}${volume ? `, volume ${formatVolume(volume)}` : ''}`);
  }

  /** A symbol without a price must not show that of another one. */
  function paintNone() {
    setText(price, '–');
    setText(change, '');
    change.dataset.direction = 'flat';
    const isGuest = keptToken() === '';
    const none = isGuest ? 'No such symbol, or no price yet.' : 'No such symbol, no price yet, or none for your token.';
    // Before the first answer nobody knows.
    setText(figures, feed.state.phase === 'live' ? none : '');
    due ||= recent.length > 0;
    recent = [];
  }

  function paint() {
    paintState();
    paintHead();
    if (due) paintTicks();
    due = false;
  }

  return {
    /** @param {string} next the symbol; none closes the view */
    show(next) {
      if (next === symbol) return;
      symbol = next;
      recent = [];
      latest = null;
      hovered = false;
      due = true;
      setText(title, next);
      box.ariaLabel = `Candles of ${next}`;
      // At once: what is here is of another symbol.
      paint();
      if (next) draw();
      history.follow(next, choices.values.interval);
      alerts.show(next);
      chat.show(next);
    },

    /** @param {import('../../store.js').Changes} changes */
    paint({ rows, panels }) {
      const row = store.rows.get(symbol);
      if ((row && rows.has(row)) || panels & PANEL.CONNECTION) paint();
    },
  };
}
