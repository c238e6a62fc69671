/** The candles of one symbol: asked of the server and followed, or folded from ticks where the server keeps none. */
import { ASKED, fold, INTERVALS, MAX_CANDLES, readCandle, readCandles } from '../../candles.js';
import { keptToken } from '../signin.js';

/** @typedef {import('../../candles.js').Candle} Candle */

/** What is said of where they come from. */
const WORDS = {
  asking: 'Asking for the candles…',
  server: '',
  ticks: 'This server keeps no candles: these are folded from the ticks since you opened the chart.',
};

/** Why there are none, and will be none. */
const GONE = ['forbidden', 'unknown_symbol'];

/** Null where they cannot be had. @param {URL} url @param {string} token of the reader; none with an empty one */
async function fetchCandles(url, token) {
  try {
    const response = await fetch(url, token ? { headers: { authorization: `Bearer ${token}` } } : {});
    return response.ok ? await response.json() : null;
  } catch {
    return null;
  }
}

/**
 * @param {import('../../feed.js').Feed} feed
 * @param {URL} api the folder of the HTTP API
 * @param {{all: (candles: Candle[]) => void, one: (candle: Candle) => void, say: (words: string) => void}} show
 */
export function createHistory(feed, api, show) {
  let symbol = '';
  let interval = '';
  /** @type {keyof typeof WORDS} */
  let source = 'asking';
  /** @type {Candle[]} */
  let candles = [];
  /** Nothing lies before the first, or this page may not ask. */
  let complete = false;
  let fetching = false;

  /** @param {keyof typeof WORDS} next */
  function setSource(next) {
    source = next;
    show.say(WORDS[next]);
  }

  async function ask() {
    const [of, at] = [symbol, interval];
    const answer = await feed.request('candles', { symbol: of, interval: at, limit: ASKED });
    if (of !== symbol || at !== interval) return;
    if (answer.ok) {
      candles = readCandles(answer.candles);
      setSource('server');
      show.all(candles);
    } else if (answer.error.code === 'unknown_event') {
      setSource('ticks');
    } else if (answer.error.code !== 'disconnected') {
      // What the reader may not ask for, or is not there any more: those that came before are not current.
      if (GONE.includes(answer.error.code)) show.all(candles = []);
      // That there is no such symbol stands above.
      show.say(answer.error.code === 'unknown_symbol' ? '' : `The candles cannot be had: ${answer.error.message}`);
    }
  }

  /** @param {Candle} candle */
  function take(candle) {
    const last = candles.at(-1);
    if (last && candle.ts < last.ts) {
      // After an island they close again, as the others have them.
      const at = candles.findLastIndex(({ ts }) => ts === candle.ts);
      if (at < 0) return;
      candles[at] = candle;
      show.all(candles);
      return;
    }
    if (last?.ts === candle.ts) candles[candles.length - 1] = candle;
    else candles.push(candle);
    if (candles.length > MAX_CANDLES) {
      candles = candles.slice(-Math.floor(MAX_CANDLES / 2));
      show.all(candles);
    } else {
      show.one(candle);
    }
  }

  feed.listen('candle', (raw) => {
    const candle = readCandle(raw);
    if (candle && source === 'server' && raw.symbol === symbol && raw.interval === interval) take(candle);
  });

  return {
    /** Oldest first. */
    get candles() {
      return candles;
    },

    /** @param {string} of @param {string} at one of INTERVALS; nothing any more with an empty symbol */
    follow(of, at) {
      if (of === symbol && at === interval) return;
      if (symbol && source === 'server') void feed.request('uncandles', { symbol, interval });
      [symbol, interval, candles, complete] = [of, at, [], false];
      show.all(candles);
      if (!symbol) return;
      setSource('asking');
      void ask();
    },

    /** The connection is new: what was followed on the old one is not any more. */
    again() {
      complete = false;
      if (symbol) void ask();
    },

    /** @param {import('../../feed.js').Tick} tick */
    tick(tick) {
      if (source !== 'ticks' || tick.symbol !== symbol) return;
      const candle = fold(candles.at(-1), tick, INTERVALS.get(interval) ?? 60_000);
      if (candle) take(candle);
    },

    /** What lies before the first. */
    older() {
      const first = candles[0];
      if (!first || source !== 'server' || complete || fetching || candles.length >= MAX_CANDLES) return;
      fetching = true;
      const [of, at] = [symbol, interval];
      const url = new URL(`candles/${encodeURIComponent(of)}`, api);
      url.search = String(new URLSearchParams({ interval: at, to: String(first.ts - 1), limit: String(ASKED) }));
      void fetchCandles(url, keptToken()).then((more) => {
        fetching = false;
        // Of another chart, or of one that has begun anew since.
        if (of !== symbol || at !== interval || candles[0]?.ts !== first.ts) return;
        const before = readCandles(more).filter(({ ts }) => ts < first.ts);
        complete = before.length === 0;
        if (more === null) show.say('Earlier candles cannot be had now.');
        if (complete) return;
        candles = [...before, ...candles];
        show.all(candles);
      });
    },
  };
}
