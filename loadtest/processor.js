// What Artillery's Socket.IO engine does not do by itself: count received ticks, look for gaps, hold a phase's users.
/* global module */
'use strict';

/** How often a user reports what it counted (ms): an event per tick would load the machine more than the ticks do. */
const REPORT_MS = 1000;

/** When the first user of this process arrived (ms since the epoch), which is when its phases began. */
let began_ms;

/**
 * Counts what a user receives, from before it subscribes:
 *
 * - `ticks.received`: ticks, the snapshot's among them
 * - `ticks.gaps`: ticks whose `seq` does not follow its symbol's previous one
 * - `subscribe.answers`, `subscribe.errors`: answers to `subscribe`, and errors of any request
 * - `clients.lost`: users whose connection ended before they left
 * - `tick.age_ms`: how old a tick is when it arrives, by this machine's clock and the source's; one tick a second and user
 */
function countTicks(context, events, done) {
  began_ms ??= Date.now();
  const socket = context.sockets[''];
  /** The latest `seq` of each symbol. */
  const last = new Map();
  let received = 0;
  let gaps = 0;
  let age_ms;

  const count = (tick) => {
    received += 1;
    const before = last.get(tick.symbol);
    last.set(tick.symbol, tick.seq);
    // The first is the snapshot's, which is as old as it happens to be; it may come again.
    if (before === undefined || tick.seq === before) return;
    age_ms ??= Date.now() - tick.ts;
    if (tick.seq !== before + (tick.n ?? 1)) gaps += 1;
  };
  const report = () => {
    // Zeros too, or a check on a counter that never counted could not be evaluated.
    events.emit('counter', 'ticks.received', received);
    events.emit('counter', 'ticks.gaps', gaps);
    if (age_ms !== undefined) events.emit('histogram', 'tick.age_ms', age_ms);
    received = 0;
    gaps = 0;
    age_ms = undefined;
  };
  for (const name of ['subscribe.answers', 'subscribe.errors', 'clients.lost']) events.emit('counter', name, 0);

  socket.on('tick', count);
  socket.on('ticks', (ticks) => ticks.forEach(count));
  socket.on('subscribed', () => events.emit('counter', 'subscribe.answers', 1));
  socket.on('error', () => events.emit('counter', 'subscribe.errors', 1));
  socket.on('disconnect', () => {
    clearInterval(reporting);
    events.emit('counter', 'clients.lost', 1);
  });
  const reporting = setInterval(report, REPORT_MS);
  context.funcs.stopCounting = () => {
    clearInterval(reporting);
    socket.off('disconnect');
    report();
  };
  done();
}

/** Reports the rest. The last step of a scenario: after it the connection is closed. */
function stopCounting(context, events, done) {
  context.funcs.stopCounting();
  done();
}

/**
 * Holds a user until the load is to go down, and from then on lets users go one by one, spread over the cool-down: so
 * the number of connected users is the number that has arrived, and falls evenly in the end. Reads the variables
 * `hold_until_s` and `cool_down_s`, both counted from the first arrival.
 */
function holdUntilCoolDown(context, events, done) {
  const { hold_until_s: until_s, cool_down_s: down_s } = context.vars;
  const leave_ms = began_ms + (Number(until_s) + Math.random() * Number(down_s)) * 1000;
  setTimeout(done, Math.max(0, leave_ms - Date.now()));
}

module.exports = { countTicks, holdUntilCoolDown, stopCounting };
