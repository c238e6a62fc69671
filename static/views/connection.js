/** The connection's state, in the pill, the facts and the notice, and read out when it changes. */
import { PANEL } from '../store.js';
import { formatCount, plural } from '../format.js';
import { find, setText } from './elements.js';
import { asksForToken } from './signin.js';

/** @typedef {import('../store.js').Store} Store */
/** @typedef {import('../store.js').Connection} Connection */
/** @typedef {import('../store.js').Store['counters']} Counters */

const TRANSPORTS = new Map([
  ['websocket', 'WebSocket'],
  ['polling', 'Polling'],
  ['webtransport', 'WebTransport'],
]);
/** What to do about a refusal. */
const REFUSALS = new Map([
  ['unauthorized', 'The server asks for a token (unauthorized). Any prices shown are not current.'],
  ['token_expired', 'Your token has expired (token_expired). Any prices shown are not current.'],
  ['forbidden', 'The server does not let this page in (forbidden). Another token may do.'],
]);
const REFUSED = 'The server did not take your token (unauthorized): it may be cut off, or for another server. Any prices shown are not current.';
/** Before so many have failed, a connection is on its way. */
const MANY_ATTEMPTS = 2;
const CLOCK = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit', second: '2-digit' });

/** How the prices are: the whole feed, or all of its symbols. @param {Connection} connection */
function marketOf({ market, stale, symbols }) {
  return market.state === 'live' && stale > 0 && stale === symbols ? 'stale' : market.state;
}

/** Whether the prices are what they look like, but for single symbols. @param {Connection} connection */
export function isFine(connection) {
  return connection.phase === 'live' && connection.drainAt === null && marketOf(connection) === 'live';
}

/** It has failed, and is tried again. @param {Connection} connection */
function isKeptOut({ phase, attempt, said }) {
  return phase === 'connecting' && (said !== '' || attempt >= MANY_ATTEMPTS);
}

/** In a word or two. @param {Connection} connection */
export function phaseText(connection) {
  const { phase, attempt, reason, drainAt, stale } = connection;
  if (phase !== 'live' && asksForToken(reason)) return 'Signed out';
  switch (phase) {
    case 'live':
      if (drainAt !== null) return 'Moving…';
      return MARKETS[marketOf(connection)] ?? (stale > 0 ? `Live, ${formatCount(stale)} stale` : 'Live');
    case 'subscribing':
      return 'Subscribing…';
    case 'reconnecting':
      return attempt > 1 ? `Reconnecting… (${formatCount(attempt)})` : 'Reconnecting…';
    case 'failed':
      return 'Not connected';
    case 'closed':
      return 'Closed';
    default:
      return attempt > 1 ? `Connecting… (${formatCount(attempt)})` : 'Connecting…';
  }
}

/** @type {Record<string, string>} */
const MARKETS = { stale: 'Stale', degraded: 'Degraded' };

/** What a screen reader says; without the attempts, which would be a torrent. @param {Connection} connection */
function announcement(connection) {
  const { phase, reason, drainAt, tokenEndsAt, hasToken, stale } = connection;
  if (phase !== 'live' && asksForToken(reason)) {
    return hasToken && reason === 'unauthorized' ? 'The token was not taken. Prices are not current.' : 'Not signed in. Prices are not current.';
  }
  if (isKeptOut(connection)) return 'Not connected yet, trying again.';
  if (phase === 'live' && drainAt !== null) return 'This server is about to stop. Moving to another one.';
  if (phase === 'live') {
    const market = marketOf(connection);
    const soon = tokenEndsAt === null ? '' : '. Your token ends soon';
    return `${market !== 'live' ? `Connected, prices ${market}` : stale > 0 ? `Live, ${plural(stale, 'symbol')} stale` : 'Live'}${soon}`;
  }
  if (phase === 'reconnecting') return 'Connection lost, reconnecting. Prices are not current.';
  return phase === 'failed' ? 'Not connected' : '';
}

/** What a person should know and the pill has no room for. @param {Connection} connection */
export function noticeText(connection) {
  const { phase, reason, said, drainAt, tokenEndsAt, hasToken, market } = connection;
  if (phase === 'failed') return reason;
  if (phase !== 'live' && asksForToken(reason)) return hasToken && reason === 'unauthorized' ? REFUSED : REFUSALS.get(reason) ?? '';
  const words = said && ` The server says: ${said}.`;
  if (isKeptOut(connection)) return `No connection yet, the page goes on trying.${words || ' The server cannot be reached, or is full.'}`;
  if (phase === 'live' && drainAt !== null) return 'This server is about to stop. The page moves to another one, and asks there for what it missed meanwhile.';
  if (phase === 'reconnecting') return `Connection lost. The prices shown are the last that arrived.${words}`;
  if (phase !== 'live') return '';
  const state = marketOf(connection);
  const what = state === 'stale' ? 'The source has gone quiet, the prices shown are its last' : 'The service is degraded';
  const prices = state === 'live' ? '' : `${what}${market.reason && `: ${market.reason}`}.`;
  const token = tokenEndsAt === null ? '' : `Your token ends at ${CLOCK.format(tokenEndsAt)}. With a new one prices go on without a break.`;
  return [prices, token].filter(Boolean).join(' ');
}

/** The server's clock against ours. @param {number} ms */
function formatOffset(ms) {
  const whole = Math.round(ms);
  return `${whole > 0 ? '+' : whole < 0 ? '−' : '±'}${formatCount(Math.abs(whole))} ms`;
}

/** @param {Counters} counters @param {boolean} live */
function missedTexts({ updates, merged, gaps, missedInGaps, missedAway, resets, caughtUp }, live) {
  const parts = [];
  // Where all were missed in one way, the count beside it says how many.
  const both = missedInGaps > 0 && missedAway > 0;
  if (missedInGaps > 0) parts.push(`${both ? `${formatCount(missedInGaps)} ` : ''}in ${plural(gaps, 'gap')}`);
  if (missedAway > 0) parts.push(`${both ? `${formatCount(missedAway)} ` : ''}while away`);
  if (resets > 0) parts.push(`unknown across ${plural(resets, 'reset')}`);
  if (caughtUp > 0) parts.push(`${formatCount(caughtUp)} caught up`);
  if (merged > 0) parts.push(`${formatCount(merged)} merged`);
  // Without a connection nobody knows.
  const nothing = live && updates > 0 ? 'every update arrived' : '';
  return {
    count: `${formatCount(missedInGaps + missedAway)}${resets > 0 ? '+' : ''}`,
    detail: parts.join(' · ') || nothing,
    some: parts.length > 0,
  };
}

/** @param {Store} store */
export function connectionView(store) {
  const phase = find(document, '#phase', HTMLElement);
  const announce = find(document, '#announce', HTMLElement);
  const notice = find(document, '#notice', HTMLElement);
  const noticeWords = find(notice, '#notice-text', HTMLElement);
  const toToken = find(notice, '#to-token', HTMLButtonElement);
  const latency = find(document, '#latency', HTMLElement);
  const offset = find(document, '#offset', HTMLElement);
  const transport = find(document, '#transport', HTMLElement);
  const server = find(document, '#server', HTMLElement);
  const updates = find(document, '#updates', HTMLElement);
  const missed = find(document, '#missed', HTMLElement);
  const missedDetail = find(document, '#missed-detail', HTMLElement);
  let announced = '';

  toToken.addEventListener('click', (event) => {
    // The menu closes with every click outside of it.
    event.stopPropagation();
    find(document, '#looks', HTMLDetailsElement).open = true;
    find(document, '#token', HTMLInputElement).focus();
  });

  function paintConnection() {
    const { connection } = store;
    document.body.dataset.phase = connection.phase;
    document.body.dataset.market = marketOf(connection);
    document.body.toggleAttribute('data-signed-out', connection.phase !== 'live' && asksForToken(connection.reason));
    document.body.dataset.epoch = connection.epoch;
    setText(phase, phaseText(connection));
    const said = announcement(connection);
    // On the way from lost to live nothing new is worth saying.
    // Only where it changes: what others have said meanwhile stays.
    if (said && said !== announced) setText(announce, said);
    announced = said || announced;
    const told = noticeText(connection);
    setText(noticeWords, told);
    notice.hidden = told === '';
    toToken.hidden = connection.phase === 'live' ? connection.tokenEndsAt === null : !asksForToken(connection.reason);
    setText(latency, connection.latencyMs === null ? '–' : `${formatCount(Math.max(1, connection.latencyMs))} ms`);
    setText(offset, connection.offsetKnown ? formatOffset(connection.offsetMs) : '–');
    setText(transport, TRANSPORTS.get(connection.transport) ?? (connection.transport || '–'));
    setText(server, connection.server || '–');
    server.title = connection.epoch && `Epoch ${connection.epoch}`;
  }

  function paintCounters() {
    const { count, detail, some } = missedTexts(store.counters, store.connection.phase === 'live');
    setText(updates, `${formatCount(store.counters.perSecond)}/s`);
    setText(missed, count);
    setText(missedDetail, detail);
    // Where there is little room, it is shown only then.
    if (missedDetail.hasAttribute('data-some') !== some) missedDetail.toggleAttribute('data-some', some);
  }

  return {
    /** @param {import('../store.js').Changes} changes */
    paint({ panels }) {
      if (panels & PANEL.CONNECTION) paintConnection();
      if (panels) paintCounters();
    },
  };
}
