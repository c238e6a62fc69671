// SPDX-License-Identifier: MIT
/**
 * feed.js: a small client for a tickcast price feed. One file without imports: copy it into your project.
 *
 *     import { io } from 'socket.io-client'; // 3.x or 4.x
 *     import { createFeed } from './feed.js';
 *
 *     const feed = createFeed({ io, url: 'https://prices.example', symbols: ['BTC', 'ETH'] });
 *     feed.on('tick', (tick) => console.log(tick.symbol, tick.price));
 *     feed.on('state', (state) => console.log(state.phase, state.transport, state.server));
 *     feed.on('gap', (gap) => console.warn(`${gap.missed} updates of ${gap.symbol} not seen (${gap.cause})`));
 *     feed.on('problem', (problem) => console.warn(problem.code, problem.message));
 *     feed.close(); // when you are done
 *
 * It subscribes on every connect, so a lost connection mends itself, and it keeps the stream honest: per symbol and
 * epoch, a tick's `seq` is its predecessor's plus `n` (1 when absent). A tick that does not advance is a repeat and is
 * dropped; one that leaves a hole is delivered, counted, reported as `gap` and repaired by subscribing to that symbol
 * again, whose answer carries a snapshot. After a lost connection it says up to where it has each symbol, and what it
 * missed comes with the answer, where the server still has it. Another `epoch` is another numbering: it replaces what is known, whatever
 * its number. Nothing that the server sends makes it throw; what cannot be read is counted in `feed.counters.garbage`.
 *
 * Events: `tick` (tick, {how, joined}), `state`, `gap`, `gone`, `epoch`, `status`, `stats`, `latency`, `problem`, `drain`:
 * see FeedEvents. `on` returns a function that removes the listener. What a server can do beside prices (`candles`, `alert`,
 * `chat`...) goes through `feed.request(event, payload)`, which always answers, and `feed.listen(event, listener)`.
 */

/**
 * @typedef {object} Tick
 * @property {string} symbol
 * @property {number} price
 * @property {number} ts the source's time, ms since 1970
 * @property {number} seq
 * @property {string} [epoch] on snapshots, and on the first tick under an epoch
 * @property {number} [n] how many updates this delivery stands for; `high` and `low` span them
 * @property {number} [high]
 * @property {number} [low]
 * @property {number} [bid]
 * @property {number} [ask]
 * @property {number} [size]
 * @property {number} [open24h]
 * @property {number} [high24h]
 * @property {number} [low24h]
 * @property {number} [volume24h]
 * @property {boolean} [stale] the source has gone quiet
 */

/**
 * @typedef {object} FeedState
 * @property {'connecting' | 'subscribing' | 'live' | 'reconnecting' | 'closed'} phase
 * @property {number} attempt which reconnection attempt this is; 0 when connected
 * @property {string} reason why the connection was lost or refused; empty when connected
 * @property {string} said what a server that takes no connection now says of it, in its words; else empty
 * @property {string} transport `polling`, `websocket`, or empty
 * @property {string} server the id of the replica that answers, or empty
 */

/**
 * @typedef {object} Gap updates that were sent but not seen here
 * @property {string} symbol
 * @property {number} missed how many
 * @property {number} after the last `seq` before the hole
 * @property {number} seq the first after it
 * @property {'stream' | 'away' | 'snapshot'} cause `stream`: the live stream skipped, a fault, which is repaired;
 *   `away`: they happened between two connections; `snapshot`: a fresh snapshot went past them
 */

/**
 * @typedef {object} Stats of a symbol, over 24 hours; what the server does not know is absent
 * @property {string} symbol
 * @property {number} [open24h]
 * @property {number} [high24h]
 * @property {number} [low24h]
 * @property {number} [volume24h]
 */

/**
 * @typedef {{ok: true, [field: string]: any} | {ok: false, error: {code: string, message: string}}} Answer
 */

/**
 * @typedef {object} FeedEvents
 * @property {(tick: Tick, info: {how: 'live' | 'snapshot' | 'replay', joined: boolean}) => void} tick `joined`: it follows
 *   its predecessor without a hole; `replay`: it came while the connection was lost
 * @property {(state: FeedState) => void} state
 * @property {(gap: Gap) => void} gap
 * @property {(symbols: string[]) => void} gone where all were asked for: the server has these no more, or not for this
 *   reader; no tick of theirs comes
 * @property {(change: {epoch: string, previous: string}) => void} epoch `previous` is empty for the first
 * @property {(status: {state: string, reason: string, symbols: string[] | null}) => void} status the market's, not
 *   the connection's: `live`, `stale` or `degraded`; `symbols` null: all of them
 * @property {(stats: Stats[]) => void} stats
 * @property {(latency: {ms: number | null, offsetMs: number | null}) => void} latency round trip, null when unanswered;
 *   the server's clock minus ours
 * @property {(problem: {code: string, message: string, event: string}) => void} problem something was refused; it is
 *   tried again where that makes sense
 * @property {(drain: {reconnectInMs: number}) => void} drain the server is about to go and says when
 */

/**
 * What is used of a Socket.IO socket.
 *
 * @typedef {object} SocketLike
 * @property {boolean} connected
 * @property {boolean} [active] whether Socket.IO will reconnect by itself
 * @property {any} [io]
 * @property {any} [auth]
 * @property {(event: string, listener: (...args: any[]) => void) => unknown} on
 * @property {(event: string, ...args: any[]) => unknown} emit
 * @property {() => unknown} connect
 * @property {() => unknown} disconnect
 */

/**
 * @typedef {object} FeedOptions
 * @property {(url: string, options: any) => any} io socket.io-client's `io`
 * @property {string} url the server's origin; a path in it would be taken for a namespace
 * @property {string} [path] where Socket.IO lives on it, `/socket.io/` by default
 * @property {'*' | string[]} [symbols] `*` (default): all, later ones too
 * @property {'tick' | 'batch'} [mode] one event per update, or one per flush (cheaper)
 * @property {number} [maxRate] at most so many ticks a second of each symbol; the server merges those between
 * @property {boolean} [stats] also `stats`, at most once a second; left out where the server has none
 * @property {string} [tickEvent] as the server's `TICK_EVENT`
 * @property {string} [batchEvent] as the server's `BATCH_EVENT`
 * @property {Record<string, unknown>} [auth] sent at the handshake
 * @property {string[]} [transports] e.g. `['polling']`; by default polling, upgraded to WebSocket
 * @property {Partial<typeof TIMES>} [times]
 */

/** Every wait, in ms. */
const TIMES = {
  ack: 8_000,
  retryMin: 1_000,
  retryMax: 30_000,
  repairEvery: 2_000,
  latencyEvery: 5_000,
  /** Connected for so long, earlier refusals are forgotten; else who is thrown out at once would be back at once. */
  settle: 10_000,
  /** After the time at which a server said it goes, until the connection is ended from here. */
  drainGrace: 2_000,
};

/** A server gone mad must not fill the page's memory. */
const MAX_SYMBOLS = 20_000;
/** In characters, far above any real name. */
const MAX_SYMBOL_LENGTH = 64;
/** Of what a server, or a proxy before it, says; in characters. */
const MAX_WORDS = 300;
/** Well under what a server takes in one subscribe. */
const MAX_SYMBOLS_PER_REPAIR = 50;
/** What a server takes in one subscribe. */
const MAX_SYMBOLS_RESUMED = 1_000;

const DAY_NUMBERS = /** @type {const} */ (['open24h', 'high24h', 'low24h', 'volume24h']);
const OPTIONAL_NUMBERS = /** @type {const} */ (['high', 'low', 'bid', 'ask', 'size', ...DAY_NUMBERS]);

/** @typedef {ReturnType<typeof createFeed>} Feed */

/**
 * Connects, and stays connected until `close()`.
 *
 * @param {FeedOptions} options
 */
export function createFeed(options) {
  const { io, url, path = '/socket.io/', symbols = '*', mode = 'tick', tickEvent = 'tick', batchEvent = 'ticks' } = options;
  const way = { mode, ...(options.maxRate !== undefined && { maxRate: options.maxRate }) };
  const times = { ...TIMES, ...options.times };
  const page = globalThis.document;

  /** @type {Map<string, Set<Function>>} */
  const listeners = new Map();
  /** @type {Map<string, ReturnType<typeof setTimeout>>} */
  const timers = new Map();
  /** One per open question. @type {Set<ReturnType<typeof setTimeout>>} */
  const deadlines = new Set();
  /** What was last delivered, by symbol. @type {Map<string, {seq: number, epoch: string, session: number}>} */
  const last = new Map();
  const counters = { ticks: 0, merged: 0, repeats: 0, gaps: 0, missed: 0, repairs: 0, epochs: 0, garbage: 0 };

  /** @type {FeedState} */
  let state = { phase: 'connecting', attempt: 0, reason: '', said: '', transport: '', server: '' };
  let epoch = '';
  /** Grows with every connect and disconnect, so that a late answer is known for one. */
  let session = 0;
  let everConnected = false;
  let closed = false;
  let refusals = 0;
  /** False once a server has not answered a request to resume as agreed: then it is asked for a snapshot. */
  let resumes = true;
  /** False once a server has refused to send them. */
  let wantsStats = options.stats === true;
  /** Why the server is about to end this connection, where it has said so. */
  let ending = '';
  let measuring = false;

  /** Symbols whose stream showed a hole and that wait for a repair. @type {Set<string>} */
  const broken = new Set();
  const repair = { outstanding: false, cooling: false, failures: 0 };

  /** @type {SocketLike} */
  const socket = io(url, {
    path,
    forceNew: true,
    reconnectionDelay: 500,
    reconnectionDelayMax: 5_000,
    ...(options.auth && { auth: options.auth }),
    ...(options.transports && { transports: options.transports }),
  });

  // --- events and timers

  /**
   * @template {keyof FeedEvents} K
   * @param {K} name
   * @param {Parameters<FeedEvents[K]>} args
   */
  function emit(name, ...args) {
    for (const listener of [...(listeners.get(name) ?? [])]) {
      try {
        listener(...args);
      } catch (error) {
        // One listener's fault must not cost the others their tick.
        console.error(error);
      }
    }
  }

  /** @param {Partial<FeedState>} change */
  function setState(change) {
    const next = { ...state, ...change };
    const keys = /** @type {(keyof FeedState)[]} */ (Object.keys(next));
    if (keys.every((key) => next[key] === state[key])) return;
    state = next;
    emit('state', state);
  }

  /**
   * @param {string} name one timer per name
   * @param {number} ms
   * @param {() => void} run
   */
  function arm(name, ms, run) {
    disarm(name);
    timers.set(name, setTimeout(() => {
      timers.delete(name);
      run();
    }, ms));
  }

  /** @param {string} name */
  function disarm(name) {
    clearTimeout(timers.get(name));
    timers.delete(name);
  }

  /** Doubles, with jitter, so that many clients do not come back in step. @param {number} failures */
  function backoff(failures) {
    return Math.min(times.retryMax, times.retryMin * 2 ** Math.min(failures, 20)) * (0.5 + Math.random() / 2);
  }

  /**
   * Asks, and answers exactly once: with the body, or with null when there was none in time, or it was a refusal.
   * Silent when the connection it was asked on is gone.
   *
   * @param {string} event
   * @param {unknown} payload
   * @param {(answer: Record<string, any> | null) => void} done
   * @param {(error: {code: string, message: string}) => boolean} [forgives] whether a refusal is no problem
   */
  function ask(event, payload, done, forgives) {
    const asked = session;
    let open = true;
    /** @param {unknown} answer @param {string} [failure] */
    const finish = (answer, failure) => {
      if (!open) return;
      open = false;
      clearTimeout(deadline);
      deadlines.delete(deadline);
      if (asked !== session || closed) return;
      if (isObject(answer) && answer.ok === true) return done(answer);
      const error = readError(answer, event, failure);
      if (!forgives?.(error)) emit('problem', { ...error, event });
      done(null);
    };
    const deadline = setTimeout(finish, times.ack, null, 'timeout');
    deadlines.add(deadline);
    socket.emit(event, payload, (/** @type {unknown} */ answer) => finish(answer));
  }

  // --- what comes in

  /**
   * @param {unknown} raw
   * @param {'live' | 'snapshot' | 'replay'} how
   */
  function receive(raw, how) {
    const tick = readTick(raw);
    const known = tick && last.get(tick.symbol);
    if (!tick || (!known && last.size >= MAX_SYMBOLS)) {
      counters.garbage += 1;
      return;
    }
    if (tick.epoch) setEpoch(tick.epoch);
    const tickEpoch = tick.epoch ?? known?.epoch ?? epoch;
    let joined = false;
    if (known && known.epoch === tickEpoch) {
      const here = known.session === session;
      known.session = session;
      if (tick.seq <= known.seq) {
        counters.repeats += 1;
        return;
      }
      // Below zero it overlaps what is known: nothing was lost.
      const missed = tick.seq - known.seq - (tick.n ?? 1);
      joined = missed <= 0;
      if (!joined) {
        const cause = !here ? 'away' : how === 'snapshot' ? 'snapshot' : 'stream';
        counters.gaps += cause === 'stream' ? 1 : 0;
        counters.missed += missed;
        emit('gap', { symbol: tick.symbol, missed, after: known.seq, seq: tick.seq, cause });
        if (cause === 'stream') repairSoon(tick.symbol);
      }
      known.seq = tick.seq;
    } else {
      last.set(tick.symbol, { seq: tick.seq, epoch: tickEpoch, session });
    }
    counters.ticks += 1;
    counters.merged += how === 'live' ? (tick.n ?? 1) - 1 : 0;
    emit('tick', tick, { how, joined });
  }

  /** @param {unknown} batch @param {'live' | 'snapshot' | 'replay'} how */
  function receiveAll(batch, how) {
    if (Array.isArray(batch)) for (const raw of batch) receive(raw, how);
    else if (batch !== undefined) counters.garbage += 1;
  }

  /** @param {string} next */
  function setEpoch(next) {
    if (next === epoch) return;
    const previous = epoch;
    epoch = next;
    counters.epochs += 1;
    emit('epoch', { epoch, previous });
  }

  /** @param {string[]} names */
  function forget(names) {
    for (const name of names) last.delete(name);
    if (names.length > 0) emit('gone', names);
  }

  /** After an answer to `*`: what is not in it was there before. @param {Record<string, any>} answer */
  function forgetOthers({ symbols: there, rejected }) {
    if (!Array.isArray(there) || readRejected(rejected).length > 0) return;
    const names = new Set(there);
    forget([...last.keys()].filter((symbol) => !names.has(symbol)));
  }

  /** @param {Record<string, any>} answer */
  function takeAnswer(answer) {
    const next = text(answer.epoch);
    if (next && epoch && next !== epoch) last.clear();
    if (next) setEpoch(next);
    receiveAll(answer.snapshot, 'snapshot');
    receiveAll(answer.replay, 'replay');
    for (const [symbol, how] of Object.entries(isObject(answer.resumed) ? answer.resumed : {})) {
      const known = last.get(symbol);
      // Nothing was missed: a hole from here on is one in the stream.
      if (known && how === 'current') known.session = session;
    }
    if (text(answer.state)) emit('status', { state: text(answer.state), reason: '', symbols: null });
    if (isObject(answer.server)) setState({ server: text(answer.server.id) });
  }

  // --- asking for it

  /** Up to where each symbol is known, where that is of use: then what was missed comes with the answer. */
  function heldSoFar() {
    const held = [...last].filter(([, { epoch: of }]) => of === epoch).slice(0, MAX_SYMBOLS_RESUMED);
    return held.length > 0 ? { since: Object.fromEntries(held.map(([symbol, { seq }]) => [symbol, seq])), epoch } : {};
  }

  /** @param {'*' | string[]} wanted */
  function subscribe(wanted) {
    let withoutStats = false;
    const payload = { symbols: wanted, ...way, ...(wantsStats && { stats: true }), ...(resumes && heldSoFar()) };
    ask('subscribe', payload, (answer) => {
      if (withoutStats) return subscribe(wanted);
      resumes = answer !== null;
      if (!answer) {
        arm('subscribe', backoff(refusals), () => subscribe(wanted));
        refusals += 1;
        return;
      }
      if (wanted === '*') forgetOthers(answer);
      takeAnswer(answer);
      setState({ phase: 'live' });
      if (!timers.has('latency')) measureLatency();
      const rejected = readRejected(answer.rejected);
      if (rejected.length === 0) {
        arm('settled', times.settle, () => (refusals = 0));
        return;
      }
      for (const { symbol, code, message } of rejected) {
        emit('problem', { code, message: message || symbol, event: 'subscribe' });
      }
      // A symbol may be listed later: ask for those alone, ever more rarely.
      arm('subscribe', backoff(refusals), () => subscribe(rejected.map(({ symbol }) => symbol)));
      refusals += 1;
    }, ({ code, message }) => {
      withoutStats = wantsStats && code === 'invalid_payload' && message.startsWith('stats ');
      if (withoutStats) wantsStats = false;
      return withoutStats;
    });
  }

  /** @param {string} symbol */
  function repairSoon(symbol) {
    broken.add(symbol);
    if (!repair.outstanding && !repair.cooling) repairNow();
  }

  function repairNow() {
    const batch = [...broken].slice(0, MAX_SYMBOLS_PER_REPAIR);
    for (const symbol of batch) broken.delete(symbol);
    repair.outstanding = true;
    coolDown(times.repairEvery);
    counters.repairs += 1;
    ask('subscribe', { symbols: batch, ...way, ...(wantsStats && { stats: true }) }, (answer) => {
      repair.outstanding = false;
      if (answer) {
        repair.failures = 0;
        takeAnswer(answer);
      } else {
        for (const symbol of batch) broken.add(symbol);
        coolDown(Math.max(times.repairEvery, backoff(repair.failures)));
        repair.failures += 1;
      }
      if (broken.size > 0 && !repair.cooling) repairNow();
    });
  }

  /** @param {number} ms */
  function coolDown(ms) {
    repair.cooling = true;
    arm('repair', ms, () => {
      repair.cooling = false;
      if (broken.size > 0 && !repair.outstanding) repairNow();
    });
  }

  function measureLatency() {
    arm('latency', times.latencyEvery, measureLatency);
    if (measuring || !socket.connected || page?.visibilityState === 'hidden') return;
    measuring = true;
    const started = performance.now();
    ask('latency', Math.round(started), (answer) => {
      measuring = false;
      const ms = performance.now() - started;
      const time = answer && Number.isFinite(answer.time) ? answer.time : null;
      emit('latency', {
        ms: answer ? ms : null,
        offsetMs: time === null ? null : time - (Date.now() - ms / 2),
      });
    });
  }

  const onVisible = () => {
    if (state.phase === 'live') measureLatency();
  };

  // --- the connection

  function newSession() {
    session += 1;
    ending = '';
    measuring = false;
    broken.clear();
    Object.assign(repair, { outstanding: false, cooling: false, failures: 0 });
    for (const name of [...timers.keys()]) disarm(name);
    for (const deadline of deadlines) clearTimeout(deadline);
    deadlines.clear();
  }

  /** For where Socket.IO itself gives up: the server disconnected us, or refused the namespace. */
  function connectLater() {
    arm('connect', backoff(refusals), () => socket.connect());
    refusals += 1;
  }

  socket.on('connect', () => {
    newSession();
    resumes = true;
    wantsStats = options.stats === true;
    everConnected = true;
    const engine = socket.io?.engine;
    setState({ phase: 'subscribing', attempt: 0, reason: '', said: '', transport: text(engine?.transport?.name) });
    engine?.on?.('upgrade', (/** @type {any} */ transport) => {
      if (engine !== socket.io?.engine) return;
      setState({ transport: text(transport?.name) });
      onVisible();
    });
    subscribe(symbols);
  });

  socket.on('disconnect', (reason) => {
    if (closed) return;
    const why = ending || text(reason);
    newSession();
    setState({ phase: 'reconnecting', reason: why, said: '', transport: '' });
    if (socket.active === false || reason === 'io server disconnect') connectLater();
  });

  socket.on('connect_error', (error) => {
    if (closed) return;
    const message = text(error?.message) || 'connection refused';
    const said = readRefusal(error);
    setState({ phase: everConnected ? 'reconnecting' : 'connecting', reason: message, said });
    emit('problem', { code: 'connect_error', message: said || message, event: 'connect' });
    if (socket.active === false) connectLater();
  });

  socket.io?.on?.('reconnect_attempt', (/** @type {unknown} */ attempt) => {
    if (typeof attempt === 'number') setState({ attempt });
  });

  // Both, whatever the mode: a tick that comes twice is dropped as a repeat.
  socket.on(tickEvent, (raw) => receive(raw, 'live'));
  socket.on(batchEvent, (batch) => receiveAll(batch ?? null, 'live'));

  socket.on('status', (raw) => {
    if (!isObject(raw) || !text(raw.state)) {
      counters.garbage += 1;
      return;
    }
    // The new numbering's snapshot follows as ticks, each with its epoch: nothing to forget yet.
    if (text(raw.epoch)) setEpoch(text(raw.epoch));
    const named = Array.isArray(raw.symbols) ? raw.symbols.filter((symbol) => typeof symbol === 'string') : null;
    // With an epoch the reason is that of the new numbering, not of the state, which was said before.
    emit('status', { state: text(raw.state), reason: text(raw.epoch) ? '' : text(raw.reason), symbols: named });
  });

  socket.on('error', (raw) => {
    const error = isObject(raw) ? raw : {};
    if (error.code === 'token_expired' && !text(error.event)) ending = error.code;
    emit('problem', { code: text(error.code) || 'error', message: text(error.message), event: text(error.event) });
  });

  socket.on('drain', (raw) => {
    const ms = isObject(raw) && Number.isFinite(raw.reconnectInMs) ? raw.reconnectInMs : 0;
    emit('drain', { reconnectInMs: Math.max(0, ms) });
    // The server ends the connection by itself; one that cannot any more must not keep us. An end of the transport, not
    // of the socket: after that Socket.IO comes back by itself.
    arm('drain', Math.max(0, ms) + times.drainGrace, () => socket.io?.engine?.close());
  });

  socket.on('stats', (raw) => {
    const all = Array.isArray(raw) ? raw.filter((entry) => isObject(entry) && isSymbol(entry.symbol)) : [];
    if (!Array.isArray(raw)) counters.garbage += 1;
    emit('stats', all.map(readStats));
  });

  page?.addEventListener('visibilitychange', onVisible);

  /** @param {string} event @param {unknown} payload @returns {Promise<Answer>} */
  function request(event, payload) {
    return new Promise((resolve) => {
      if (!socket.connected) {
        return resolve({ ok: false, error: { code: 'disconnected', message: 'There is no connection now.' } });
      }
      const deadline = setTimeout(() => resolve({ ok: false, error: readError(null, event, 'timeout') }), times.ack);
      socket.emit(event, payload, (/** @type {unknown} */ answer) => {
        clearTimeout(deadline);
        const fine = isObject(answer) && answer.ok === true;
        resolve(fine ? /** @type {Answer} */ (answer) : { ok: false, error: readError(answer, event) });
      });
    });
  }

  return {
    /** The connection now; the `state` event says when it changes. */
    get state() {
      return state;
    },

    /** The bus's numbering, as last heard. */
    get epoch() {
      return epoch;
    },

    /** Totals since the feed was created. */
    get counters() {
      return { ...counters };
    },

    /**
     * @template {keyof FeedEvents} K
     * @param {K} name
     * @param {FeedEvents[K]} listener
     * @returns {() => void} removes it again
     */
    on(name, listener) {
      const set = listeners.get(name) ?? new Set();
      listeners.set(name, set.add(listener));
      return () => void set.delete(listener);
    },

    /**
     * @template {keyof FeedEvents} K
     * @param {K} name
     * @param {FeedEvents[K]} listener
     */
    off(name, listener) {
      listeners.get(name)?.delete(listener);
    },

    /**
     * Asks for something, and resolves with the answer, whatever becomes of it: a refusal, no answer in time, and a
     * lost connection are answers with `ok: false`.
     *
     * @param {string} event
     * @param {unknown} payload
     * @returns {Promise<Answer>}
     */
    request,

    /**
     * Any other event of the server, as it came: what is in it is for the listener to check.
     *
     * @param {string} event
     * @param {(payload: any) => void} listener
     */
    listen(event, listener) {
      socket.on(event, listener);
    },

    /**
     * Connects anew with other credentials, at once; prices resume where they were.
     *
     * @param {Record<string, unknown>} auth sent at the handshake
     */
    signIn(auth) {
      if (closed) return;
      socket.auth = auth;
      refusals = 0;
      disarm('connect');
      socket.disconnect();
      disarm('connect');
      socket.connect();
    },

    /**
     * A new token of the same user on this connection, without a break. Once it is taken, later connections show it, too;
     * one that is refused changes nothing.
     *
     * @param {string} token
     */
    async refresh(token) {
      const answer = await request('refresh', { token });
      if (answer.ok) {
        socket.auth = { ...(isObject(socket.auth) && socket.auth), token };
        forget(Array.isArray(answer.ended) ? answer.ended.filter(isSymbol) : []);
        // What it allows beside the one before it.
        if (symbols === '*') subscribe(symbols);
      }
      return answer;
    },

    /** Ends the connection for good. */
    close() {
      if (closed) return;
      closed = true;
      newSession();
      page?.removeEventListener('visibilitychange', onVisible);
      socket.disconnect();
      setState({ phase: 'closed', attempt: 0, reason: '', transport: '' });
      listeners.clear();
    },
  };
}

/** @param {unknown} value @returns {value is Record<string, any>} */
function isObject(value) {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** @param {unknown} value a string, else the empty one */
function text(value) {
  return typeof value === 'string' ? value : '';
}

/** @param {unknown} value */
function isSymbol(value) {
  return typeof value === 'string' && value.length > 0 && value.length <= MAX_SYMBOL_LENGTH;
}

/**
 * The tick with what can be relied on, or null.
 *
 * @param {unknown} raw
 * @returns {Tick | null}
 */
function readTick(raw) {
  if (!isObject(raw) || !isSymbol(raw.symbol)) return null;
  if (!Number.isFinite(raw.price) || !Number.isFinite(raw.ts) || !Number.isSafeInteger(raw.seq)) return null;
  /** @type {Tick} */
  const tick = { symbol: raw.symbol, price: raw.price, ts: raw.ts, seq: raw.seq };
  if (text(raw.epoch)) tick.epoch = raw.epoch;
  if (Number.isSafeInteger(raw.n) && raw.n > 1) tick.n = raw.n;
  if (raw.stale === true) tick.stale = true;
  for (const name of OPTIONAL_NUMBERS) if (Number.isFinite(raw[name])) tick[name] = raw[name];
  return tick;
}

/**
 * @param {Record<string, any>} raw
 * @returns {Stats}
 */
function readStats(raw) {
  /** @type {Stats} */
  const stats = { symbol: raw.symbol };
  for (const name of DAY_NUMBERS) if (Number.isFinite(raw[name])) stats[name] = raw[name];
  return stats;
}

/**
 * @param {unknown} answer
 * @param {string} event
 * @param {string} [failure] what it is called where there is no answer
 */
function readError(answer, event, failure) {
  const error = isObject(answer) && isObject(answer.error) ? answer.error : {};
  return {
    code: text(error.code) || failure || 'unreadable',
    message: text(error.message) || `${event} was not answered as agreed`,
  };
}

/**
 * What a server answered, in place of a session, to who polls; of a WebSocket that was refused nothing can be known.
 *
 * @param {any} error of the engine
 */
function readRefusal(error) {
  try {
    return text(JSON.parse(error.context.responseText).message).slice(0, MAX_WORDS);
  } catch {
    return '';
  }
}

/** @param {unknown} raw */
function readRejected(raw) {
  const list = Array.isArray(raw) ? raw.filter((entry) => isObject(entry) && isSymbol(entry.symbol)) : [];
  return list.map((entry) => ({
    symbol: /** @type {string} */ (entry.symbol),
    code: text(entry.code) || 'rejected',
    message: text(entry.message),
  }));
}
