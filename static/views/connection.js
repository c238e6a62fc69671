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
/** So many names in a notice; the rest is a number. */
const MAX_NAMES = 5;

/** What to do about a refusal. */
const REFUSALS = new Map([
  ['unauthorized', 'The server asks for a token (unauthorized). Sign in above; any prices below are not current.'],
  ['token_expired', 'Your token has expired (token_expired). Sign in above with a new one; any prices below are not current.'],
  ['forbidden', 'The server does not let this page in (forbidden). Sign in above with another token.'],
]);

/** @param {Connection} connection */
function phaseText({ phase, attempt, reason, drainAt, market }) {
  if (phase !== 'live' && asksForToken(reason)) return 'Signed out';
  switch (phase) {
    case 'live':
      if (drainAt !== null) return 'Moving…';
      return MARKETS[market.state] ?? 'Live';
    case 'subscribing':
      return 'Subscribing…';
    case 'reconnecting':
      return attempt > 1 ? `Reconnecting… (${formatCount(attempt)})` : 'Reconnecting…';
    case 'failed':
      return 'Not connected';
    case 'closed':
      return 'Closed';
    default:
      return 'Connecting…';
  }
}

/** @type {Record<string, string>} */
const MARKETS = { stale: 'Stale', degraded: 'Degraded' };

/** What a screen reader says; without the attempts, which would be a torrent. @param {Connection} connection */
function announcement({ phase, reason, drainAt, market }) {
  if (phase !== 'live' && asksForToken(reason)) return 'Not signed in. Prices are not current.';
  if (phase === 'live' && drainAt !== null) return 'This server is about to stop. Moving to another one.';
  if (phase === 'live') return market.state === 'live' ? 'Live' : `Connected, prices ${market.state}`;
  if (phase === 'reconnecting') return 'Connection lost, reconnecting. Prices are not current.';
  return phase === 'failed' ? 'Not connected' : '';
}

/** What a person should know and the pill has no room for. @param {Connection} connection */
function noticeText({ phase, reason, drainAt, market }) {
  if (phase === 'failed') return reason;
  if (phase !== 'live' && asksForToken(reason)) return REFUSALS.get(reason) ?? '';
  if (phase === 'live' && drainAt !== null) return 'This server is about to stop. The page moves to another one, and asks there for what it missed meanwhile.';
  if (phase === 'reconnecting') return 'Connection lost. The prices below are the last that arrived.';
  if (phase !== 'live' || market.state === 'live') return '';
  const names = market.symbols.slice(0, MAX_NAMES).join(', ');
  const more = market.symbols.length - MAX_NAMES;
  const about = names && ` (${names}${more > 0 ? ` and ${formatCount(more)} more` : ''})`;
  const what = market.state === 'stale' ? 'The source has gone quiet' : 'The service is degraded';
  return `${what}${about}${market.reason && `: ${market.reason}`}.`;
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
  };
}

/** @param {Store} store */
export function connectionView(store) {
  const phase = find(document, '#phase', HTMLElement);
  const announce = find(document, '#announce', HTMLElement);
  const notice = find(document, '#notice', HTMLElement);
  const latency = find(document, '#latency', HTMLElement);
  const offset = find(document, '#offset', HTMLElement);
  const transport = find(document, '#transport', HTMLElement);
  const server = find(document, '#server', HTMLElement);
  const updates = find(document, '#updates', HTMLElement);
  const missed = find(document, '#missed', HTMLElement);
  const missedDetail = find(document, '#missed-detail', HTMLElement);

  function paintConnection() {
    const { connection } = store;
    document.body.dataset.phase = connection.phase;
    document.body.dataset.market = connection.market.state;
    document.body.toggleAttribute('data-signed-out', connection.phase !== 'live' && asksForToken(connection.reason));
    document.body.dataset.epoch = connection.epoch;
    setText(phase, phaseText(connection));
    const said = announcement(connection);
    // On the way from lost to live nothing new is worth saying.
    if (said) setText(announce, said);
    const told = noticeText(connection);
    setText(notice, told);
    notice.hidden = told === '';
    setText(latency, connection.latencyMs === null ? '–' : `${formatCount(Math.max(1, connection.latencyMs))} ms`);
    setText(offset, connection.offsetKnown ? formatOffset(connection.offsetMs) : '–');
    setText(transport, TRANSPORTS.get(connection.transport) ?? (connection.transport || '–'));
    setText(server, connection.server || '–');
    server.title = connection.epoch && `Epoch ${connection.epoch}`;
  }

  function paintCounters() {
    const { count, detail } = missedTexts(store.counters, store.connection.phase === 'live');
    setText(updates, `${formatCount(store.counters.perSecond)}/s`);
    setText(missed, count);
    setText(missedDetail, detail);
  }

  return {
    /** @param {import('../store.js').Changes} changes */
    paint({ panels }) {
      if (panels & PANEL.CONNECTION) paintConnection();
      if (panels) paintCounters();
    },
  };
}
