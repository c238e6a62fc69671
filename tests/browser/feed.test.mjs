// The feed against a Socket.IO that does what the test says, on a clock that the test moves.
import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, mock, test } from 'node:test';
import { createFeed } from '../../static/feed.js';

const SEQ = 1_732_252_800_123_000;
const SECOND = 1_000;

/** What the feed uses of Socket.IO's client, and a record of what it did. */
class FakeSocket {
  constructor() {
    this.connected = false;
    this.active = true;
    this.connects = 0;
    this.disconnects = 0;
    /** @type {{event: string, payload: any, ack: (answer: unknown) => void}[]} */
    this.asked = [];
    this.handlers = new Map();
    this.managerHandlers = new Map();
    this.engineHandlers = new Map();
    this.io = {
      engine: { transport: { name: 'polling' }, on: (event, handler) => this.engineHandlers.set(event, handler) },
      on: (event, handler) => this.managerHandlers.set(event, handler),
    };
  }

  on(event, handler) {
    assert.ok(!this.handlers.has(event), `two handlers for ${event}`);
    this.handlers.set(event, handler);
  }

  emit(event, payload, ack) {
    assert.ok(this.connected, `${event} on a socket that is not connected`);
    this.asked.push({ event, payload, ack });
  }

  connect() {
    this.connects += 1;
  }

  disconnect() {
    this.disconnects += 1;
  }

  // --- what the test makes happen

  receive(event, ...args) {
    this.handlers.get(event)?.(...args);
  }

  open() {
    this.connected = true;
    this.active = true;
    this.receive('connect');
  }

  drop(reason = 'transport close') {
    this.connected = false;
    this.active = reason !== 'io server disconnect';
    this.receive('disconnect', reason);
  }

  get subscribes() {
    return this.asked.filter(({ event }) => event === 'subscribe');
  }
}

const tick = (seq, more = {}) => ({ symbol: 'BTC', price: 64_210.55, ts: 1_732_252_800_123, seq: SEQ + seq, ...more });

const answer = (snapshot, more = {}) => ({
  ok: true, symbols: ['BTC'], rejected: [], mode: 'tick', epoch: 'e1', state: 'live', snapshot, server: { id: 'app1', time: 1 }, ...more,
});

/** A feed on a fake socket; `heard` has every event in order. */
function start(options = {}) {
  const socket = new FakeSocket();
  const created = [];
  const feed = createFeed({
    io: (...args) => {
      created.push(args);
      return socket;
    },
    url: 'http://prices.example',
    ...options,
  });
  const heard = [];
  for (const name of ['tick', 'state', 'gap', 'gone', 'epoch', 'status', 'latency', 'problem', 'drain']) {
    feed.on(name, (...args) => heard.push([name, ...args]));
  }
  const named = (name) => heard.filter(([event]) => event === name).map(([, ...args]) => args[0]);
  const seqs = () => named('tick').map(({ seq }) => seq - SEQ);
  return { feed, socket, created, heard, named, seqs };
}

/** The same, connected, with a snapshot at seq 0. */
function live(options) {
  const started = start(options);
  started.socket.open();
  started.socket.subscribes[0].ack(answer([tick(0, { epoch: 'e1' })]));
  return started;
}

const pass = (ms) => mock.timers.tick(ms);

beforeEach(() => mock.timers.enable({ apis: ['setTimeout'] }));
afterEach(() => {
  mock.timers.reset();
  mock.restoreAll();
});

describe('connecting', () => {
  test('gives Socket.IO the path and leaves the transports to it', () => {
    const { created } = start({ path: '/feed/socket.io/' });
    const [url, options] = created[0];
    assert.equal(url, 'http://prices.example');
    assert.equal(options.path, '/feed/socket.io/');
    assert.ok(!('transports' in options) && !('auth' in options));
  });

  test('subscribes on connect, with what the server understands and nothing else', () => {
    const { socket } = start({ symbols: ['BTC', 'ETH'], mode: 'batch' });
    assert.equal(socket.asked.length, 0);
    socket.open();
    assert.deepEqual(socket.asked.map(({ event, payload }) => [event, payload]), [
      ['subscribe', { symbols: ['BTC', 'ETH'], mode: 'batch' }],
    ]);
  });

  test('takes the snapshot and becomes live', () => {
    const { feed, socket, named } = live();
    assert.deepEqual(named('state').map(({ phase }) => phase), ['subscribing', 'subscribing', 'live']);
    assert.deepEqual(feed.state, { phase: 'live', attempt: 0, reason: '', said: '', transport: 'polling', server: 'app1' });
    assert.deepEqual(named('tick'), [tick(0, { epoch: 'e1' })]);
    assert.equal(feed.epoch, 'e1');
    socket.engineHandlers.get('upgrade')({ name: 'websocket' });
    assert.equal(feed.state.transport, 'websocket');
  });

  test('asks again when there is no answer in time, and later each time', () => {
    const { socket, named } = start();
    socket.open();
    pass(8 * SECOND);
    assert.equal(named('problem').at(-1).code, 'timeout');
    assert.equal(socket.subscribes.length, 1);
    pass(SECOND);
    assert.equal(socket.subscribes.length, 2);
    pass(8 * SECOND);
    pass(999);
    assert.equal(socket.subscribes.length, 2, 'the second wait is at least a second');
    pass(1_001);
    assert.equal(socket.subscribes.length, 3);
    socket.subscribes[2].ack(answer([tick(0)]));
    assert.equal(named('state').at(-1).phase, 'live');
  });

  test('an answer after its time is not taken', () => {
    const { socket, seqs } = start();
    socket.open();
    pass(8 * SECOND);
    socket.subscribes[0].ack(answer([tick(0)]));
    assert.deepEqual(seqs(), []);
  });

  test('asks again when refused', () => {
    const { feed, socket, named } = start();
    socket.open();
    socket.subscribes[0].ack({ ok: false, error: { code: 'unavailable', message: 'not yet' } });
    assert.deepEqual(named('problem'), [{ code: 'unavailable', message: 'not yet', event: 'subscribe' }]);
    assert.equal(feed.state.phase, 'subscribing');
    pass(SECOND);
    assert.equal(socket.subscribes.length, 2);
  });

  test('asks again for rejected symbols alone', () => {
    const { feed, socket, named } = start({ symbols: ['BTC', 'FOO'] });
    socket.open();
    const rejected = [{ symbol: 'FOO', code: 'unknown_symbol', message: 'no FOO' }, null, { symbol: 7 }];
    socket.subscribes[0].ack(answer([tick(0)], { rejected }));
    assert.equal(feed.state.phase, 'live');
    assert.deepEqual(named('problem'), [{ code: 'unknown_symbol', message: 'no FOO', event: 'subscribe' }]);
    pass(SECOND);
    assert.deepEqual(socket.subscribes[1].payload.symbols, ['FOO']);
  });
});

describe('continuity', () => {
  test('ticks that follow each other are no gap, nor are merged ones that say so', () => {
    const { feed, socket, named, seqs } = live();
    socket.receive('tick', tick(1));
    socket.receive('tick', tick(4, { n: 3, high: 65_000, low: 64_000 }));
    socket.receive('ticks', [tick(5), tick(6)]);
    assert.deepEqual(seqs(), [0, 1, 4, 5, 6]);
    assert.deepEqual(named('gap'), []);
    assert.equal(feed.counters.merged, 2);
    assert.equal(socket.subscribes.length, 1);
  });

  test('says which tick follows its predecessor', () => {
    const { socket, heard } = live();
    socket.receive('tick', tick(1));
    socket.receive('tick', tick(5));
    const joined = heard.filter(([name]) => name === 'tick').map(([, , info]) => info);
    assert.deepEqual(joined, [
      { how: 'snapshot', joined: false }, { how: 'live', joined: true }, { how: 'live', joined: false },
    ]);
  });

  test('a repeat is dropped', () => {
    const { feed, socket, named, seqs } = live();
    socket.receive('tick', tick(1));
    socket.receive('tick', tick(1, { price: 1 }));
    socket.receive('tick', tick(0));
    assert.deepEqual(seqs(), [0, 1]);
    assert.equal(feed.counters.repeats, 2);
    assert.deepEqual(named('gap'), []);
  });

  test('a gap is delivered, reported, counted and repaired', () => {
    const { feed, socket, named, seqs } = live();
    socket.receive('tick', tick(4));
    assert.deepEqual(seqs(), [0, 4]);
    assert.deepEqual(named('gap'), [{ symbol: 'BTC', missed: 3, after: SEQ, seq: SEQ + 4, cause: 'stream' }]);
    assert.deepEqual(socket.subscribes[1].payload, { symbols: ['BTC'], mode: 'tick' });
    socket.subscribes[1].ack(answer([tick(6, { epoch: 'e1' })]));
    socket.receive('tick', tick(7));
    assert.deepEqual(seqs(), [0, 4, 6, 7]);
    // What the snapshot went past was not seen either, but it is no fault to be repaired.
    assert.deepEqual(named('gap')[1], { symbol: 'BTC', missed: 1, after: SEQ + 4, seq: SEQ + 6, cause: 'snapshot' });
    assert.deepEqual([feed.counters.gaps, feed.counters.missed, feed.counters.repairs], [1, 4, 1]);
    pass(60 * SECOND);
    assert.equal(socket.subscribes.length, 2);
  });

  test('a merged tick that leaves a hole is a gap of what is missing', () => {
    const { socket, named } = live();
    socket.receive('tick', tick(10, { n: 4 }));
    assert.equal(named('gap')[0].missed, 6);
  });

  test('one that overlaps what is known is none', () => {
    const { socket, named, seqs } = live();
    socket.receive('tick', tick(2, { n: 5 }));
    assert.deepEqual(seqs(), [0, 2]);
    assert.deepEqual(named('gap'), []);
  });

  test('one repair is outstanding at most, and they are spaced', () => {
    const { socket } = live({ symbols: '*' });
    socket.receive('tick', tick(5));
    socket.receive('tick', tick(10));
    for (const symbol of ['ETH', 'SOL']) {
      socket.receive('tick', tick(0, { symbol }));
      socket.receive('tick', tick(9, { symbol }));
    }
    assert.equal(socket.subscribes.length, 2);
    pass(7 * SECOND);
    assert.equal(socket.subscribes.length, 2, 'the first is still outstanding');
    socket.subscribes[1].ack(answer([]));
    assert.deepEqual(socket.subscribes[2].payload.symbols, ['BTC', 'ETH', 'SOL']);
    socket.subscribes[2].ack(answer([]));
    socket.receive('tick', tick(20));
    assert.equal(socket.subscribes.length, 3, 'not so soon after the last');
    pass(2 * SECOND);
    assert.equal(socket.subscribes.length, 4);
  });

  test('a repair that is refused is tried again', () => {
    const { socket } = live();
    socket.receive('tick', tick(5));
    socket.subscribes[1].ack({ ok: false, error: { code: 'rate_limited', message: 'slow down' } });
    assert.equal(socket.subscribes.length, 2);
    pass(2 * SECOND);
    assert.deepEqual(socket.subscribes[2].payload.symbols, ['BTC']);
  });
});

describe('epochs', () => {
  test('a tick of another epoch replaces what is known, whatever its number', () => {
    const { feed, socket, named, seqs } = live();
    socket.receive('tick', tick(-500, { epoch: 'e2' }));
    socket.receive('tick', tick(-499));
    assert.deepEqual(seqs(), [0, -500, -499]);
    assert.deepEqual(named('gap'), []);
    assert.deepEqual(named('epoch'), [{ epoch: 'e1', previous: '' }, { epoch: 'e2', previous: 'e1' }]);
    assert.equal(feed.epoch, 'e2');
  });

  test('continuity is held within the new one', () => {
    const { socket, named } = live();
    socket.receive('tick', tick(100, { epoch: 'e2' }));
    socket.receive('tick', tick(103));
    assert.equal(named('gap')[0].missed, 2);
  });

  test('an answer with another epoch forgets the old one', () => {
    const { socket, named, seqs } = live();
    socket.drop();
    socket.open();
    socket.subscribes[1].ack(answer([tick(-900, { epoch: 'e2' })], { epoch: 'e2' }));
    socket.receive('tick', tick(-899));
    assert.deepEqual(seqs(), [0, -900, -899]);
    assert.deepEqual(named('gap'), []);
  });

  test('so does one whose snapshot does not repeat it', () => {
    const { socket, seqs } = live();
    socket.drop();
    socket.open();
    socket.subscribes[1].ack(answer([tick(-900)], { epoch: 'e2' }));
    socket.receive('tick', tick(-899));
    assert.deepEqual(seqs(), [0, -900, -899]);
  });

  test('a status that announces one does not disturb the old stream', () => {
    const { socket, named, seqs } = live();
    socket.receive('status', { state: 'degraded', reason: 'bus lost' });
    socket.receive('status', { state: 'degraded', reason: 'a new epoch', epoch: 'e2' });
    socket.receive('tick', tick(1));
    socket.receive('tick', tick(900, { epoch: 'e2' }));
    assert.deepEqual(seqs(), [0, 1, 900]);
    assert.deepEqual(named('gap'), []);
    // Why there are other numbers is not why the feed is as it is.
    assert.deepEqual(named('status').slice(-2).map(({ reason }) => reason), ['bus lost', '']);
  });
});

describe('losing the connection', () => {
  test('subscribes again on every connect, and tells what was missed from a fault', () => {
    const { feed, socket, named, seqs } = live();
    socket.drop();
    assert.deepEqual([feed.state.phase, feed.state.reason, feed.state.transport], ['reconnecting', 'transport close', '']);
    socket.managerHandlers.get('reconnect_attempt')(3);
    assert.equal(feed.state.attempt, 3);
    assert.equal(socket.connects, 0, 'Socket.IO reconnects by itself');
    socket.open();
    assert.deepEqual(socket.subscribes[1].payload, { symbols: '*', mode: 'tick', since: { BTC: SEQ }, epoch: 'e1' });
    socket.subscribes[1].ack(answer([tick(10, { epoch: 'e1' })], { resumed: { BTC: 'snapshot' } }));
    socket.receive('tick', tick(11));
    assert.deepEqual(seqs(), [0, 10, 11]);
    assert.deepEqual(named('gap'), [{ symbol: 'BTC', missed: 9, after: SEQ, seq: SEQ + 10, cause: 'away' }]);
    assert.equal(feed.counters.gaps, 0);
    assert.equal(feed.state.attempt, 0);
    assert.equal(socket.subscribes.length, 2);
  });

  test('takes what it missed from the answer', () => {
    const { feed, socket, heard, named, seqs } = live({ maxRate: 4 });
    socket.receive('tick', tick(3, { n: 3, high: 65_000, low: 64_000 }));
    socket.drop();
    socket.open();
    assert.deepEqual(socket.subscribes[1].payload, { symbols: '*', mode: 'tick', maxRate: 4, since: { BTC: SEQ + 3 }, epoch: 'e1' });
    socket.subscribes[1].ack(answer([], { replay: [tick(4), tick(6, { n: 2 })], resumed: { BTC: 'replayed' } }));
    socket.receive('tick', tick(7));
    assert.deepEqual(seqs(), [0, 3, 4, 6, 7]);
    assert.deepEqual(named('gap'), []);
    const how = heard.filter(([event]) => event === 'tick').map(([, , info]) => info);
    assert.deepEqual(how[2], { how: 'replay', joined: true });
    assert.equal(feed.counters.merged, 2, 'what was merged live');
  });

  test('where it missed nothing, a hole is a fault', () => {
    const { socket, named, seqs } = live();
    socket.drop();
    socket.open();
    socket.subscribes[1].ack(answer([], { replay: [], resumed: { BTC: 'current', ETH: 'current' } }));
    socket.receive('tick', tick(2));
    assert.deepEqual(seqs(), [0, 2]);
    assert.equal(named('gap')[0].cause, 'stream');
  });

  test('resumes only what is of the epoch in force, and not where that was refused', () => {
    const { socket } = live();
    socket.receive('status', { state: 'live', epoch: 'e2' });
    socket.drop();
    socket.open();
    assert.deepEqual(socket.subscribes[1].payload, { symbols: '*', mode: 'tick' });
    socket.subscribes[1].ack(answer([tick(0, { epoch: 'e2' })], { epoch: 'e2' }));
    socket.drop();
    socket.open();
    assert.deepEqual(socket.subscribes[2].payload.since, { BTC: SEQ });
    socket.subscribes[2].ack({ ok: false, error: { code: 'invalid_payload', message: 'since' } });
    pass(SECOND);
    assert.deepEqual(socket.subscribes[3].payload, { symbols: '*', mode: 'tick' });
  });

  test('a hole after a snapshot that repeats what is known is a fault', () => {
    const { socket, named, seqs } = live();
    socket.drop();
    socket.open();
    socket.subscribes[1].ack(answer([tick(0, { epoch: 'e1' })]));
    socket.receive('tick', tick(2));
    assert.deepEqual(seqs(), [0, 2]);
    assert.equal(named('gap')[0].cause, 'stream');
  });

  test('an answer that belongs to an earlier connection is not taken', () => {
    const { feed, socket, seqs } = start();
    socket.open();
    socket.drop();
    socket.open();
    socket.subscribes[0].ack(answer([tick(0)]));
    assert.deepEqual(seqs(), []);
    assert.equal(feed.state.phase, 'subscribing');
  });

  test('a pending repair does not outlive its connection', () => {
    const { socket } = live();
    socket.receive('tick', tick(5));
    socket.drop();
    pass(60 * SECOND);
    assert.equal(socket.subscribes.length, 2);
  });

  test('comes back when the server disconnects, more slowly each time', () => {
    const { feed, socket } = live();
    const waits = [];
    for (let i = 0; i < 4; i += 1) {
      socket.drop('io server disconnect');
      const before = socket.connects;
      let waited = 0;
      for (; socket.connects === before && waited < 60 * SECOND; waited += 100) pass(100);
      waits.push(waited);
      socket.open();
      socket.subscribes.at(-1).ack(answer([]));
    }
    assert.equal(feed.state.phase, 'live');
    assert.ok(waits[0] >= 500 && waits[0] <= 1_000, `${waits}`);
    assert.ok(waits[3] >= 4_000 && waits[3] <= 8_000, `${waits}`);
    // Once it has held for a while, all is forgiven.
    pass(11 * SECOND);
    socket.drop('io server disconnect');
    pass(SECOND);
    assert.equal(socket.connects, 5);
  });

  test('comes back when the namespace was refused', () => {
    const { feed, socket, named } = start();
    socket.active = false;
    socket.receive('connect_error', new Error('unauthorized'));
    assert.equal(feed.state.phase, 'connecting');
    assert.equal(named('problem')[0].message, 'unauthorized');
    pass(SECOND);
    assert.equal(socket.connects, 1);
    socket.active = true;
    socket.receive('connect_error', new Error('xhr poll error'));
    pass(60 * SECOND);
    assert.equal(socket.connects, 1, 'a network failure is left to Socket.IO');
  });
});

describe('what the server says of it', () => {
  /** As the engine has it where an HTTP request was answered with something else than a session. */
  const turnedAway = (body) => Object.assign(new Error('xhr poll error'), { description: 503, context: { responseText: body } });

  test('why it takes no connection is told, for as long as it takes none', () => {
    const { feed, socket, named } = start();
    socket.receive('connect_error', turnedAway('{"code":"unavailable","message":"every place is taken"}'));
    assert.deepEqual([feed.state.phase, feed.state.reason, feed.state.said], ['connecting', 'xhr poll error', 'every place is taken']);
    assert.deepEqual(named('problem'), [{ code: 'connect_error', message: 'every place is taken', event: 'connect' }]);
    for (const body of ['<html>', '7', '{"message":5}', 'null', undefined]) {
      socket.receive('connect_error', turnedAway(body));
      assert.equal(feed.state.said, '', String(body));
    }
    socket.receive('connect_error', turnedAway(`{"message":"${'x'.repeat(9_999)}"}`));
    assert.equal(feed.state.said.length, 300);
    socket.open();
    assert.equal(feed.state.said, '');
  });

  test('that the token has expired is why the connection was lost', () => {
    const { feed, socket } = live();
    socket.receive('error', { code: 'token_expired', message: 'the token has expired' });
    socket.drop('io server disconnect');
    assert.equal(feed.state.reason, 'token_expired');
    socket.open();
    // What was refused to one event is no end.
    socket.receive('error', { code: 'token_expired', message: '', event: 'refresh' });
    socket.drop();
    assert.equal(feed.state.reason, 'transport close');
  });
});

describe('symbols that are there no more', () => {
  const eth = (seq) => tick(seq, { symbol: 'ETH', epoch: 'e1' });
  const both = (more) => answer([tick(0, { epoch: 'e1' }), eth(0)], { symbols: ['BTC', 'ETH'], ...more });

  test('are told after an answer that does not have them, and known no more', () => {
    const { feed, socket, named } = start();
    socket.open();
    socket.subscribes[0].ack(both());
    assert.deepEqual(named('gone'), []);
    feed.signIn({ token: 'fewer rights' });
    socket.drop('io client disconnect');
    socket.open();
    socket.subscribes[1].ack(answer([], { symbols: ['ETH'], resumed: { ETH: 'current' } }));
    assert.deepEqual(named('gone'), [['BTC']]);
    socket.drop();
    socket.open();
    assert.deepEqual(Object.keys(socket.subscribes[2].payload.since), ['ETH']);
  });

  test('also where its numbers are others', () => {
    const { socket, named } = start();
    socket.open();
    socket.subscribes[0].ack(both());
    socket.drop();
    socket.open();
    socket.subscribes[1].ack(answer([tick(5, { epoch: 'e2' })], { epoch: 'e2' }));
    assert.deepEqual(named('gone'), [['ETH']]);
  });

  test('are not guessed from an answer about some, a refusal, or one without a list', () => {
    const { socket, named } = start();
    socket.open();
    socket.subscribes[0].ack(both());
    socket.receive('tick', tick(5));
    assert.deepEqual(socket.subscribes[1].payload.symbols, ['BTC'], 'a repair');
    socket.subscribes[1].ack(answer([]));
    for (const more of [{ symbols: [], rejected: [{ symbol: '*', code: 'too_many_symbols', message: '' }] }, { symbols: undefined }]) {
      socket.drop();
      socket.open();
      socket.subscribes.at(-1).ack(answer([], more));
    }
    assert.deepEqual(named('gone'), []);
  });

  test('with a new token on the same connection those end that it does not allow, and it is asked for those that it does', async () => {
    const { feed, socket, named } = start({ auth: { user: 'amy', token: 'old' } });
    socket.auth = { user: 'amy', token: 'old' };
    socket.open();
    socket.subscribes[0].ack(both());
    const answered = feed.refresh('new');
    const { event, payload, ack } = socket.asked.at(-1);
    assert.deepEqual([event, payload], ['refresh', { token: 'new' }]);
    ack({ ok: true, expiresInMs: 1_000, ended: ['ETH', 7] });
    assert.equal((await answered).ok, true);
    assert.deepEqual(named('gone'), [['ETH']]);
    assert.deepEqual(socket.auth, { user: 'amy', token: 'new' });
    assert.deepEqual([socket.subscribes.length, socket.subscribes[1].payload.symbols], [2, '*']);
    assert.equal(socket.disconnects, 0);
    const refused = feed.refresh('bad');
    socket.asked.at(-1).ack({ ok: false, error: { code: 'unauthorized', message: '' } });
    assert.equal((await refused).ok, false);
    assert.deepEqual([socket.auth.token, socket.disconnects, socket.subscribes.length], ['new', 0, 2]);
  });
});

describe('garbage', () => {
  const rubbish = [
    undefined, null, 7, 'x', [], {}, [[]], tick(1, { symbol: '' }), tick(1, { symbol: 'X'.repeat(65) }),
    tick(1, { price: '64210.55' }), tick(1, { price: Number.NaN }), tick(1, { seq: 1.5 }), tick(1, { seq: 2 ** 53 }),
    tick(1, { ts: null }), () => {},
  ];

  test('in ticks is counted and changes nothing', () => {
    const { feed, socket, named, seqs } = live();
    for (const raw of rubbish) {
      socket.receive('tick', raw);
      socket.receive('ticks', [raw]);
    }
    for (const raw of [undefined, null, 7, 'x', {}]) socket.receive('ticks', raw);
    assert.deepEqual(seqs(), [0]);
    assert.equal(feed.counters.garbage, 2 * rubbish.length + 5);
    socket.receive('ticks', [null, tick(1), 'x']);
    assert.deepEqual(seqs(), [0, 1]);
    assert.deepEqual(named('gap'), []);
  });

  test('in optional fields is left out', () => {
    const { socket, named } = live();
    socket.receive('tick', tick(1, { n: 'many', high: '1', low: null, bid: 5, epoch: 7, stale: 1, more: {} }));
    assert.deepEqual(named('tick')[1], tick(1, { bid: 5 }));
    assert.deepEqual(named('gap'), []);
  });

  test('in answers is a refusal', () => {
    for (const raw of [undefined, null, 7, 'x', [], {}, { ok: 'yes' }, { ok: false }, { ok: false, error: 5 }]) {
      const { socket, named } = start();
      socket.open();
      socket.subscribes[0].ack(raw);
      assert.equal(named('problem').length, 1);
      pass(SECOND);
      assert.equal(socket.subscribes.length, 2, JSON.stringify(raw));
    }
  });

  test('in the parts of an answer is skipped', () => {
    const { feed, socket } = start();
    socket.open();
    socket.subscribes[0].ack({ ok: true, snapshot: { a: 1 }, rejected: 'all', epoch: 5, state: {}, server: 'app1' });
    assert.equal(feed.state.phase, 'live');
    assert.equal(feed.epoch, '');
  });

  test('in everything else is harmless', () => {
    const { feed, socket, named } = live();
    for (const raw of [undefined, null, 7, 'x', [], {}]) {
      for (const event of ['status', 'error', 'drain', 'connect_error', 'unheard-of']) socket.receive(event, raw);
      socket.managerHandlers.get('reconnect_attempt')(raw);
      socket.engineHandlers.get('upgrade')(raw);
    }
    socket.receive('status', { state: 'stale', symbols: ['BTC', 7, null], reason: 4 });
    assert.deepEqual(named('status').at(-1), { state: 'stale', reason: '', symbols: ['BTC'] });
    socket.receive('disconnect', { not: 'a reason' });
    assert.equal(feed.state.phase, 'reconnecting');
  });

  test('without a manager or an engine it works, too', () => {
    const socket = new FakeSocket();
    delete socket.io;
    const feed = createFeed({ io: () => socket, url: 'http://prices.example' });
    socket.open();
    socket.subscribes[0].ack(answer([]));
    assert.equal(feed.state.phase, 'live');
  });

  test('a listener that throws costs the others nothing', () => {
    const said = mock.method(console, 'error', () => {});
    const { feed, socket, seqs } = live();
    const off = feed.on('tick', () => {
      throw new Error('mine');
    });
    const after = [];
    feed.on('tick', ({ seq }) => after.push(seq - SEQ));
    socket.receive('tick', tick(1));
    assert.deepEqual([seqs(), after, said.mock.callCount()], [[0, 1], [1], 1]);
    off();
    socket.receive('tick', tick(2));
    assert.equal(said.mock.callCount(), 1);
  });
});

describe('the rest', () => {
  test('listens to the events that it was told', () => {
    const { socket, seqs } = live({ tickEvent: 'price-update', batchEvent: 'price-update-bulk' });
    socket.receive('tick', tick(1));
    socket.receive('price-update', tick(1));
    socket.receive('price-update-bulk', [tick(2)]);
    assert.deepEqual(seqs(), [0, 1, 2]);
  });

  test('measures the round trip, one at a time, and says when there was none', () => {
    const { socket, named } = live();
    const measured = () => socket.asked.filter(({ event }) => event === 'latency');
    assert.equal(measured().length, 1);
    pass(5 * SECOND);
    assert.equal(measured().length, 1, 'the first is not answered yet');
    measured()[0].ack({ ok: true, echo: 1, time: Date.now() + 60_000 });
    assert.ok(named('latency')[0].ms >= 0);
    assert.ok(Math.abs(named('latency')[0].offsetMs - 60_000) < 30_000);
    pass(5 * SECOND);
    assert.equal(measured().length, 2);
    pass(8 * SECOND);
    assert.deepEqual(named('latency')[1], { ms: null, offsetMs: null });
    socket.drop();
    pass(60 * SECOND);
    assert.equal(measured().length, 2, 'not without a connection');
  });

  test('does not measure while the page is hidden, and at once when it is shown', () => {
    const page = new EventTarget();
    page.visibilityState = 'hidden';
    globalThis.document = page;
    try {
      const { feed, socket } = live();
      const measured = () => socket.asked.filter(({ event }) => event === 'latency').length;
      pass(30 * SECOND);
      assert.equal(measured(), 0);
      page.visibilityState = 'visible';
      page.dispatchEvent(new Event('visibilitychange'));
      assert.equal(measured(), 1);
      feed.close();
    } finally {
      delete globalThis.document;
    }
  });

  test('passes on a drain', () => {
    const { socket, named } = live();
    socket.receive('drain', { reconnectInMs: 1_500 });
    assert.deepEqual(named('drain'), [{ reconnectInMs: 1_500 }]);
  });

  test('once closed it is silent', () => {
    const { feed, socket, heard } = live();
    socket.receive('tick', tick(5));
    feed.close();
    feed.close();
    assert.equal(socket.disconnects, 1);
    assert.equal(feed.state.phase, 'closed');
    const before = heard.length;
    socket.receive('tick', tick(6));
    socket.drop('io client disconnect');
    socket.receive('connect_error', new Error('late'));
    const asked = socket.asked.length;
    pass(120 * SECOND);
    assert.deepEqual([heard.length, socket.asked.length, socket.connects], [before, asked, 0]);
  });
});
