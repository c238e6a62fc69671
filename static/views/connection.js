/** The connection's state, in the pill, the facts and the notice, and read out when it changes. */
import { PANEL } from '../store.js';
import { formatCount, plural } from '../format.js';
import { find, setText } from './elements.js';

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

/** @param {Connection} connection */
function phaseText({ phase, attempt }) {
  switch (phase) {
    case 'live':
      return 'Live';
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

/** What a screen reader says; without the attempts, which would be a torrent. @param {Connection} connection */
function announcement({ phase, market }) {
  if (phase === 'live') return market.state === 'live' ? 'Live' : `Connected, prices ${market.state}`;
  if (phase === 'reconnecting') return 'Connection lost, reconnecting. Prices are not current.';
  return phase === 'failed' ? 'Not connected' : '';
}

/** What a person should know and the pill has no room for. @param {Connection} connection */
function noticeText({ phase, reason, market }) {
  if (phase === 'failed') return reason;
  if (phase === 'reconnecting') return 'Connection lost. The prices below are the last that arrived.';
  if (phase !== 'live' || market.state === 'live') return '';
  const names = market.symbols.slice(0, MAX_NAMES).join(', ');
  const more = market.symbols.length - MAX_NAMES;
  const about = names && ` (${names}${more > 0 ? ` and ${formatCount(more)} more` : ''})`;
  const what = market.state === 'stale' ? 'The source has gone quiet' : 'The service is degraded';
  return `${what}${about}${market.reason && `: ${market.reason}`}.`;
}

/** @param {Counters} counters @param {boolean} live */
function missedTexts({ updates, merged, gaps, missedInGaps, missedAway, resets }, live) {
  const parts = [];
  // Where all were missed in one way, the count beside it says how many.
  const both = missedInGaps > 0 && missedAway > 0;
  if (missedInGaps > 0) parts.push(`${both ? `${formatCount(missedInGaps)} ` : ''}in ${plural(gaps, 'gap')}`);
  if (missedAway > 0) parts.push(`${both ? `${formatCount(missedAway)} ` : ''}while away`);
  if (resets > 0) parts.push(`unknown across ${plural(resets, 'reset')}`);
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
  const transport = find(document, '#transport', HTMLElement);
  const server = find(document, '#server', HTMLElement);
  const updates = find(document, '#updates', HTMLElement);
  const missed = find(document, '#missed', HTMLElement);
  const missedDetail = find(document, '#missed-detail', HTMLElement);

  function paintConnection() {
    const { connection } = store;
    document.body.dataset.phase = connection.phase;
    document.body.dataset.market = connection.market.state;
    document.body.dataset.epoch = connection.epoch;
    setText(phase, phaseText(connection));
    const said = announcement(connection);
    // On the way from lost to live nothing new is worth saying.
    if (said) setText(announce, said);
    const told = noticeText(connection);
    setText(notice, told);
    notice.hidden = told === '';
    setText(latency, connection.latencyMs === null ? '–' : `${formatCount(Math.max(1, connection.latencyMs))} ms`);
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
