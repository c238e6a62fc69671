// Whatever a client sends, well or badly formed, gets what the contract says, costs at most that client its connection,
// and disturbs nobody: another client is connected throughout and misses no tick.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, afterEach, before, describe, it } from 'node:test';
import { connect, serve, until, within } from '../support/clients.mjs';
import { isErrorEvent, isPong, isRefused, isSubscribed } from '../support/contract.mjs';
import { Feed } from '../support/feed.mjs';
import { RawPolling, RawWebSocket, fetchRaw } from '../support/raw.mjs';

/** The largest message that the server takes (bytes). */
const MAX_PAYLOAD = 1_000_000;

const ALL = ['BTC', 'ETH', 'SOL'];
const kinds = { websocket: RawWebSocket, polling: RawPolling };
const DEEP = 100_000;

/** @type {import('../support/server.mjs').Server} */
let server;
/** @type {any} */
let bystander;
/** @type {Feed} */
let feed;
/** @type {(() => Promise<void>)[]} */
const undo = [];

/** The counters of what went wrong so far. @returns {Promise<{ protocol: number, requests: number }>} */
const errors = async () => (await server.json('/stats')).errors;

/** Fails when anybody but the sender noticed. */
async function nobodyElseNoticed() {
  await feed.ticks(2);
  const health = await fetchRaw(`${server.url}/health`);
  assert.equal(health.status, 200, health.text);
}

/** Resolves once the connections ended for breaking the protocol are exactly this many. @param {number} expected */
async function protocolErrorsAre(expected) {
  let seen = -1;
  await until(
    async () => (seen = (await errors()).protocol) >= expected,
    () => `${expected} protocol errors, of which ${seen} are counted`,
  );
  assert.equal(seen, expected, 'errors.protocol');
}

before(async () => {
  const env = { SYMBOLS: ALL.join(), UPDATE_INTERVAL: '20' };
  server = await serve({ after: (each) => undo.push(each) }, env);
  bystander = await connect(server.url);
  feed = new Feed(bystander);
  await feed.subscribe({ symbols: '*', mode: 'both' });
});
afterEach(nobodyElseNoticed);
after(async () => {
  assert.ok(bystander.connected, 'the bystander was connected throughout');
  bystander.close();
  await Promise.all(undo.map((each) => each()));
});

/**
 * A raw client in the default namespace.
 *
 * @param {any} test
 * @param {keyof typeof kinds} kind
 */
async function joined(test, kind) {
  const client = await kinds[kind].open(server.url);
  test.after(() => client.close());
  await client.join();
  return client;
}

// Well-formed but wrong: an error, and nothing changes.

/** Payloads as JSON text, the answer's code, and what its message must name. @type {Record<string, [string, string, string, string][]>} */
const refused = {
  'wrong payloads': [
    ['subscribe', 'null', 'invalid_payload', ''],
    ['subscribe', '5', 'invalid_payload', ''],
    ['subscribe', 'true', 'invalid_payload', ''],
    ['subscribe', '{}', 'invalid_payload', 'symbols'],
    ['unsubscribe', 'null', 'invalid_payload', ''],
    ['unsubscribe', '{"a":1}', 'invalid_payload', ''],
    ['unsubscribe', '7.5', 'invalid_payload', ''],
  ],
  'wrong types of symbols': [
    ['subscribe', '[5]', 'invalid_payload', ''],
    ['subscribe', '["BTC",null]', 'invalid_payload', ''],
    ['subscribe', '["BTC",["ETH"]]', 'invalid_payload', ''],
    ['subscribe', '[{"symbol":"BTC"}]', 'invalid_payload', ''],
    ['subscribe', '{"symbols":5}', 'invalid_payload', 'symbols'],
    ['subscribe', '{"symbols":null}', 'invalid_payload', 'symbols'],
    ['subscribe', '{"symbols":{"0":"BTC"}}', 'invalid_payload', 'symbols'],
    ['subscribe', '{"symbols":["BTC",true]}', 'invalid_payload', 'symbols'],
    ['unsubscribe', '["BTC",5]', 'invalid_payload', ''],
    ['unsubscribe', '[[]]', 'invalid_payload', ''],
  ],
  'wrong options': [
    ['subscribe', '{"symbols":["BTC"],"mode":"fast"}', 'invalid_payload', 'mode'],
    ['subscribe', '{"symbols":["BTC"],"mode":"Tick"}', 'invalid_payload', 'mode'],
    ['subscribe', '{"symbols":["BTC"],"mode":5}', 'invalid_payload', 'mode'],
    ['subscribe', '{"symbols":["BTC"],"mode":["tick"]}', 'invalid_payload', 'mode'],
    ['subscribe', '{"symbols":["BTC"],"mode":{"tick":1}}', 'invalid_payload', 'mode'],
    ['subscribe', '{"symbols":["BTC"],"maxRate":"fast"}', 'invalid_payload', 'maxRate'],
    ['subscribe', '{"symbols":["BTC"],"maxRate":-1}', 'invalid_payload', 'maxRate'],
    ['subscribe', '{"symbols":["BTC"],"maxRate":1e300}', 'invalid_payload', 'maxRate'],
    ['subscribe', '{"symbols":["BTC"],"maxRate":{}}', 'invalid_payload', 'maxRate'],
    ['subscribe', '{"symbols":["BTC"],"since":5}', 'invalid_payload', 'since'],
    ['subscribe', '{"symbols":["BTC"],"since":{"BTC":"x"},"epoch":"a"}', 'invalid_payload', 'since'],
    ['subscribe', '{"symbols":["BTC"],"stats":"yes"}', 'invalid_payload', 'stats'],
    ['subscribe', '{"symbols":["BTC"],"stats":[true]}', 'invalid_payload', 'stats'],
    ['subscribe', '{"symbols":["BTC"],"epoch":5}', 'invalid_payload', 'epoch'],
    ['candles', 'null', 'invalid_payload', 'payload'],
    ['candles', '["BTC","1m"]', 'invalid_payload', 'payload'],
    ['candles', '{"symbol":{"$gt":""},"interval":"1m"}', 'invalid_payload', 'symbol'],
    ['candles', '{"symbol":"BTC","interval":"__proto__"}', 'invalid_payload', 'interval'],
    ['candles', '{"symbol":"BTC","interval":"1m","limit":1e9}', 'invalid_payload', 'limit'],
    ['candles', '{"symbol":"BTC","interval":"1m","limit":-0.5}', 'invalid_payload', 'limit'],
    ['uncandles', '{"symbol":"BTC","interval":[]}', 'invalid_payload', 'interval'],
  ],
  'too much': [
    ['subscribe', JSON.stringify(Array.from({ length: 1001 }, (_, n) => `S${n}`)), 'too_many_symbols', '1000'],
    ['subscribe', JSON.stringify(Array.from({ length: 1001 }, () => 'BTC')), 'too_many_symbols', '1000'],
    ['subscribe', JSON.stringify(Array.from({ length: 100_000 }, (_, n) => `S${n}`)), 'too_many_symbols', '1000'],
    ['unsubscribe', JSON.stringify(Array.from({ length: 100_000 }, (_, n) => `S${n}`)), 'too_many_symbols', '1000'],
    ['subscribe', `{"symbols":${JSON.stringify(Array.from({ length: 100_000 }, () => ''))}}`, 'too_many_symbols', '1000'],
  ],
  'events that nobody knows': [
    ['nope', '1', 'unknown_event', 'nope'],
    ['', '{}', 'unknown_event', ''],
    ['tick', '{}', 'unknown_event', 'tick'],
    ['__proto__', '[]', 'unknown_event', '__proto__'],
    ['constructor', 'null', 'unknown_event', 'constructor'],
    ['Subscribe', '["BTC"]', 'unknown_event', 'Subscribe'],
    ['📈', '["BTC"]', 'unknown_event', '📈'],
    ['x'.repeat(100_000), '{}', 'unknown_event', 'xxx'],
  ],
};

for (const kind of /** @type {(keyof typeof kinds)[]} */ (Object.keys(kinds))) {
  describe(`well-formed but wrong, ${kind}`, () => {
    for (const [what, cases] of Object.entries(refused)) {
      it(what, async (test) => {
        const client = await joined(test, kind);
        assert.equal((await client.request('subscribe', '["BTC"]'))?.ok, true);
        const earlier = await errors();
        for (const [event, payload, code, mention] of cases) {
          const shown = `${event.slice(0, 40)} ${payload.slice(0, 60)}`;
          const answer = await client.request(event, payload);
          assert.ok(answer, `the connection ended on ${shown}`);
          isRefused(answer, code, mention);
          // The same without a callback.
          client.send(`42[${JSON.stringify(event)},${payload}]`);
          const body = await client.event('error');
          isErrorEvent({ ...body, event: '' }, '', code, mention);
          // A name of any length need not come back whole.
          assert.ok(event.startsWith(body.event.slice(0, 20)), `the error of ${shown} is about ${body.event}`);
          if (event.length < 50) assert.equal(body.event, event);
        }
        assert.ok(await client.works());
        // Nothing changed: what was subscribed still comes, and nothing else.
        client.received.length = 0;
        const tick = JSON.parse((await client.take('42["tick"')).slice(2))[1];
        assert.equal(tick.symbol, 'BTC');
        const now = await errors();
        assert.equal(now.requests - earlier.requests, 2 * cases.length, 'errors.requests');
        assert.equal(now.protocol, earlier.protocol, 'errors.protocol');
      });
    }

    it('no payload at all', async (test) => {
      const client = await joined(test, kind);
      isRefused(await client.request('subscribe'), 'invalid_payload');
      isRefused(await client.request('unsubscribe'), 'invalid_payload');
      isRefused(await client.request('nope'), 'unknown_event', 'nope');
      isPong(await client.request('ping'), null);
    });

    it('names that are none: rejected one by one, as they are, shortened for people', async (test) => {
      const client = await joined(test, kind);
      const earlier = await errors();
      const names = ['B\u0000TC', '📈🚀', '__proto__', 'constructor', 'toString', 'hasOwnProperty', '', ' ', 'btc ', '../BTC', '<b>', '"'];
      const answer = await client.request('subscribe', JSON.stringify(['BTC', ...names]));
      isSubscribed(answer, { symbols: ['BTC'], rejected: names });
      const long = ['x'.repeat(100_000), '📈'.repeat(50_000), 'é'.repeat(1000)];
      const shortened = await client.request('subscribe', JSON.stringify(long));
      isSubscribed(shortened, { symbols: [], rejected: shortened.rejected.map((/** @type {any} */ each) => each.symbol) });
      assert.equal(shortened.rejected.length, long.length);
      for (const [index, { symbol }] of shortened.rejected.entries()) {
        assert.ok(long[index].startsWith(symbol.slice(0, 10)), symbol.slice(0, 40));
      }
      // Not one of these is an error of the request.
      assert.deepEqual(await errors(), earlier);
    });

    it('a thousand symbols are not too many', async (test) => {
      const client = await joined(test, kind);
      const names = Array.from({ length: 999 }, (_, n) => `S${n}`);
      const answer = await client.request('subscribe', JSON.stringify(['BTC', ...names]));
      isSubscribed(answer, { symbols: ['BTC'], rejected: names });
    });

    it('fields that nobody asked for are ignored', async (test) => {
      const client = await joined(test, kind);
      const payload = '{"__proto__":{"mode":"batch"},"constructor":1,"colour":[[[{}]]],"symbols":["BTC"],"toString":null}';
      isSubscribed(await client.request('subscribe', payload), { symbols: ['BTC'] });
      isPong(await client.request('ping', '{"__proto__":1}'), JSON.parse('{"__proto__":1}'));
    });

    it('binary events with their attachments', async (test) => {
      const client = await joined(test, kind);
      const earlier = await errors();
      const placeholder = '{"_placeholder":true,"num":0}';
      const bytes = randomBytes(1000);
      client.send(`451-900["subscribe",${placeholder}]`, bytes);
      isRefused(await client.answer(900, 'a binary subscribe'), 'invalid_payload');
      client.send(`451-901["subscribe",{"symbols":${placeholder}}]`, bytes);
      isRefused(await client.answer(901, 'binary symbols'), 'invalid_payload');
      client.send(`452-902["unsubscribe",[${placeholder},{"_placeholder":true,"num":1}]]`, bytes, Buffer.alloc(0));
      isRefused(await client.answer(902, 'a binary unsubscribe'), 'invalid_payload');
      client.send(`451-903["nope",${placeholder}]`, bytes);
      isRefused(await client.answer(903, 'a binary event that nobody knows'), 'unknown_event', 'nope');
      client.send(`451-["nope",${placeholder}]`, bytes);
      isErrorEvent(await client.event('error'), 'nope', 'unknown_event', 'nope');
      assert.ok(await client.works());
      const now = await errors();
      assert.equal(now.requests - earlier.requests, 5, 'errors.requests');
      assert.equal(now.protocol, earlier.protocol, 'errors.protocol');
    });

    it('namespaces that are not there', async (test) => {
      const client = await joined(test, kind);
      const earlier = await errors();
      for (const name of ['/nope', '/__proto__', '/admin/é', `/${'n'.repeat(10_000)}`]) {
        client.send(`40${name},`);
        assert.equal(await client.take('44'), `44${name},{"message":"Invalid namespace"}`);
        // Events to it are nobody's.
        client.send(`42${name},["subscribe",["BTC"]]`, `42${name},7["ping"]`, `41${name},`);
        assert.ok(await client.works());
      }
      assert.deepEqual(await errors(), earlier);
      assert.ok(!client.received.some((packet) => String(packet).startsWith('43/')), 'answers from nowhere');
    });

    it('what is unusual but harmless', async (test) => {
      const client = await joined(test, kind);
      const earlier = await errors();
      // A second CONNECT, an answer to nothing, a pong that nobody asked for.
      client.send('40', '437["x"]', '3');
      assert.ok(await client.works());
      // An id that a float could not hold.
      client.send('429007199254740993["ping",1]');
      isPong(await client.answer('9007199254740993', 'a ping with a large id'), 1);
      // White space within JSON, escapes, and arguments past the first.
      client.send('42950[ "subscribe" , [ "\\u0042TC" ] , {"more": 1}, 2 ]');
      isSubscribed(await client.answer(950, 'a subscribe with white space'), { symbols: ['BTC'] });
      assert.deepEqual(await errors(), earlier);
    });
  });
}

// Packets that break the protocol: the end of that connection, counted once.

const PLACEHOLDER = '{"_placeholder":true,"num":0}';

/** Engine.IO packets that end a connection, over either transport. @type {Record<string, (string | Buffer)[]>} */
const broken = {
  'JSON that breaks off': ['42["subscribe",'],
  'JSON that breaks off within a string': ['42["subscribe",["BT'],
  'JSON that breaks off, with an id': ['4212["subscribe",["BTC"'],
  'JSON that breaks off, of an event that nobody knows': ['42["nope",{"a":'],
  'garbage after JSON': ['42["subscribe",["BTC"]]garbage'],
  'garbage after JSON, with an id': ['4213["ping",1]]'],
  'garbage after the JSON of an event that nobody knows': ['42["nope"]{}'],
  'no JSON': ['42subscribe'],
  'words of JavaScript': ['42["subscribe",undefined]'],
  'single quotes': ["42['subscribe',['BTC']]"],
  'a comma too many': ['42["subscribe",["BTC",]]'],
  'a raw control character in a string': ['42["subscribe",["B\nTC"]]'],
  'deep nesting without an end': [`42["subscribe",${'['.repeat(DEEP)}`],
  'an event that is no array': ['42{"subscribe":["BTC"]}'],
  'an event without a name': ['42[]'],
  'an event whose name is an object': ['42[{"name":"subscribe"},["BTC"]]'],
  'an event without anything': ['42'],
  'an acknowledgement without an id': ['43["x"]'],
  'an empty Socket.IO packet': ['4'],
  'a Socket.IO packet type that is none': ['49["subscribe"]'],
  'a Socket.IO packet type that is a letter': ['4x'],
  'an error from a client': ['44{"message":"x"}'],
  'a count of attachments that is none': ['45x-["subscribe"]'],
  'a binary event without a count': ['45["subscribe"]'],
  'too many attachments': [`45100000-["subscribe",${PLACEHOLDER}]`],
  'a text packet where an attachment is due': [`451-["subscribe",${PLACEHOLDER}]`, '42["ping"]'],
  'another binary event where an attachment is due': [`452-["subscribe",${PLACEHOLDER}]`, Buffer.from('one'), `451-["nope",${PLACEHOLDER}]`],
  'an attachment that nobody announced': [Buffer.from('hello')],
  'an empty attachment that nobody announced': [Buffer.alloc(0)],
  'an Engine.IO packet type that is none': ['7'],
  'an Engine.IO packet type that is a letter': ['hello'],
  'an Engine.IO packet type of several bytes': ['é'],
};

for (const kind of /** @type {(keyof typeof kinds)[]} */ (Object.keys(kinds))) {
  describe(`broken packets, ${kind}`, () => {
    for (const [what, packets] of Object.entries(broken)) {
      it(what, async (test) => {
        const client = await joined(test, kind);
        const earlier = await errors();
        client.send(...packets);
        await within(client.closed, 'the end of the connection');
        await protocolErrorsAre(earlier.protocol + 1);
      });
    }
  });
}

/** What ends a WebSocket connection below the packets. @type {Record<string, (client: RawWebSocket) => void>} */
const brokenFrames = {
  'an empty text frame': (client) => client.send(''),
  'invalid UTF-8': (client) => client.ws.send(Buffer.from([0x34, 0x32, 0xff, 0xfe]), { binary: false }),
  'invalid UTF-8 within JSON': (client) => client.ws.send(Buffer.from('42["subscribe",["\xc3\x28"]]', 'latin1'), { binary: false }),
  'half a surrogate pair in UTF-8': (client) => client.ws.send(Buffer.from([0x34, 0xed, 0xa0, 0x80]), { binary: false }),
  'a message over the limit': (client) => client.send(`42["subscribe",["${'x'.repeat(2 * MAX_PAYLOAD)}"]]`),
  'a message over the limit, in frames below it': (client) => {
    const part = Buffer.alloc(MAX_PAYLOAD / 4, 'x');
    client.ws.send(`42["subscribe",["`, { fin: false });
    for (let sent = 0; sent < 2 * MAX_PAYLOAD; sent += part.length) client.ws.send(part, { fin: false, binary: false });
    client.ws.send('"]]', { fin: true });
  },
  'an attachment over the limit': (client) => client.send(`451-["subscribe",${PLACEHOLDER}]`, Buffer.alloc(2 * MAX_PAYLOAD)),
  'a frame that announces more than there is memory': (client) => (
    client.sendBytes(0x81, 0xff, 0x00, 0x00, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4)
  ),
  'a frame without a mask': (client) => client.ws.send('42["ping"]', { mask: false }),
  'reserved bits': (client) => client.sendBytes(0xf1, 0x81, 1, 2, 3, 4, 0x33),
  'an opcode that is none': (client) => client.sendBytes(0x83, 0x81, 1, 2, 3, 4, 0x33),
  'the middle of a message without its start': (client) => client.sendBytes(0x80, 0x81, 1, 2, 3, 4, 0x33),
  'a control frame that is too long': (client) => client.sendBytes(0x89, 0xfe, 0x01, 0x00, 1, 2, 3, 4, ...Buffer.alloc(256)),
  'a control frame in parts': (client) => client.sendBytes(0x09, 0x81, 1, 2, 3, 4, 0x33),
  'HTTP in the middle of it': (client) => client.sendBytes(...Buffer.from('GET /health HTTP/1.1\r\nhost: x\r\n\r\n')),
};

describe('broken frames, websocket', () => {
  for (const [what, send] of Object.entries(brokenFrames)) {
    it(what, async (test) => {
      const client = await RawWebSocket.open(server.url);
      test.after(() => client.close());
      await client.join();
      const earlier = await errors();
      send(client);
      await within(client.closed, 'the end of the connection');
      await protocolErrorsAre(earlier.protocol + 1);
    });
  }

  it('WebSocket\'s own pings and pongs, and messages in parts, are in order', async (test) => {
    const client = await RawWebSocket.open(server.url);
    test.after(() => client.close());
    await client.join();
    const earlier = await errors();
    const pong = new Promise((resolve) => client.ws.once('pong', resolve));
    client.ws.ping('hello');
    await within(pong, 'a pong');
    client.ws.pong('nobody asked');
    for (const [index, part] of ['42', '990["pi', 'ng",', '1', ']'].entries()) client.ws.send(part, { fin: index === 4 });
    isPong(await client.answer(990, 'a ping in parts'), 1);
    // An empty part within a message is no empty message.
    client.ws.send('42991["ping"', { fin: false });
    client.ws.send('', { fin: false });
    client.ws.send(']', { fin: true });
    isPong(await client.answer(991, 'a ping in parts'), null);
    assert.deepEqual(await errors(), earlier);
  });

  it('who goes away broke nothing', async () => {
    const earlier = await errors();
    const connections = async () => (await server.json('/stats')).connections.active;
    // Those of earlier tests are on their way out; the bystander stays.
    await until(async () => (await connections()) === 1, 'the bystander to be alone');
    const goings = [
      (/** @type {RawWebSocket} */ client) => client.vanish(),
      (/** @type {RawWebSocket} */ client) => client.ws._socket.resetAndDestroy(),
      (/** @type {RawWebSocket} */ client) => client.ws.close(1000),
      (/** @type {RawWebSocket} */ client) => client.ws.close(1001),
      (/** @type {RawWebSocket} */ client) => client.send('1'),
      (/** @type {RawWebSocket} */ client) => client.send('41', '1'),
    ];
    for (const go of goings) {
      const client = await RawWebSocket.open(server.url);
      await client.join();
      await until(async () => (await connections()) === 2, 'the connection to be counted');
      go(client);
      await until(async () => (await connections()) === 1, 'the connection to be gone');
      client.vanish();
    }
    assert.deepEqual(await errors(), earlier);
  });

  it('an attachment that never comes', async (test) => {
    // A server of its own, which does not wait for it as long as one should.
    const impatient = await serve(test, { ATTACHMENTS_TIMEOUT: '500' });
    const client = await RawWebSocket.open(impatient.url);
    test.after(() => client.close());
    await client.join();
    assert.equal((await impatient.json('/stats')).errors.protocol, 0);
    client.send(`451-["subscribe",${PLACEHOLDER}]`);
    await within(client.closed, 'the end of the connection');
    await until(async () => (await impatient.json('/stats')).errors.protocol === 1, 'it to be counted');
  });
});

/** Bodies that end a polling session. @type {Record<string, string | Buffer>} */
const brokenBodies = {
  'a body over the limit': `42["subscribe",["${'x'.repeat(2 * MAX_PAYLOAD)}"]]`,
  'a body of small packets over the limit': Array.from({ length: 200_000 }, () => '42["ping"]').join('\x1e'),
  'invalid UTF-8': Buffer.from([0x34, 0x32, 0xff, 0xfe]),
  'base64 that is none': 'b!!!!',
  'an empty packet between others': '42["ping"]\x1e\x1e42["ping"]',
  'a good packet, then a broken one': '42["ping"]\x1e42["subscribe",',
};

describe('broken bodies, polling', () => {
  for (const [what, body] of Object.entries(brokenBodies)) {
    it(what, async (test) => {
      const client = await RawPolling.open(server.url);
      test.after(() => client.close());
      await client.join();
      const earlier = await errors();
      client.post(body);
      await within(client.closed, 'the end of the session');
      await protocolErrorsAre(earlier.protocol + 1);
    });
  }

  it('two requests that wait at once', async (test) => {
    const client = await RawPolling.open(server.url);
    test.after(() => client.close());
    await client.join();
    // Its own request is waiting, or about to.
    const second = () => fetchRaw(client.url);
    await until(async () => (await second()).status === 400 || client.ended, 'a refusal');
    await within(client.closed, 'the end of the session');
  });
});

// What may be taken or may not, as long as nobody else notices and the server keeps its word to the sender.

/** @type {Record<string, (string | Buffer)[]>} */
const open = {
  // JSON lets a receiver bound how deep it reads.
  'deep nesting, closed': [`42["subscribe",${'['.repeat(DEEP)}${']'.repeat(DEEP)}]`],
  'deep nesting in a ping': [`42["ping",${'{"a":'.repeat(50_000)}1${'}'.repeat(50_000)}]`],
  'deep nesting in the name': [`42[${'['.repeat(DEEP)}${']'.repeat(DEEP)}]`],
  'deep nesting in an event that nobody knows': [`42["nope",${'['.repeat(DEEP)}${']'.repeat(DEEP)}]`],
  'deep nesting in a CONNECT': [`40${'{"a":'.repeat(50_000)}1${'}'.repeat(50_000)}`],
  'an acknowledgement to nothing, with bad JSON': ['431['],
  'a name that is a number': ['42[1,2]'],
  'a reserved name': ['42["connect"]'],
  'another reserved name': ['42["disconnect","x"]'],
  'half a surrogate pair, escaped': ['42["subscribe",["\\ud800"]]'],
  'a field twice': ['42["subscribe",{"symbols":["BTC"],"symbols":["ETH"]}]'],
  'a number that no float holds': ['42["subscribe",{"symbols":["BTC"],"maxRate":1e999}]'],
  'an id that is too long': [`42${'9'.repeat(1000)}["ping"]`],
  'a placeholder without an attachment': [`450-["subscribe",${PLACEHOLDER}]`],
  'an attachment without a placeholder': ['451-["subscribe",["BTC"]]', Buffer.from('x')],
  'a placeholder with another number': ['451-["subscribe",{"_placeholder":true,"num":7}]', Buffer.from('x')],
  'a placeholder with a number that is none': ['451-["subscribe",{"_placeholder":true,"num":-1e9}]', Buffer.from('x')],
  'a binary ping': [`451-["ping",${PLACEHOLDER}]`, randomBytes(100)],
  'a binary acknowledgement to nothing': [`461-5[${PLACEHOLDER}]`, Buffer.from('x')],
  'Engine.IO packets that only the server sends': ['0{"sid":"x"}'],
  'an upgrade in the middle': ['5'],
  'a noop': ['6'],
  'a ping from the client': ['2'],
  'a probe in the middle': ['2probe', '3probe'],
  'many names in one object': [`42["subscribe",{${Array.from({ length: 20_000 }, (_, n) => `"k${n}":${n}`)},"symbols":["BTC"]}]`],
  'a large echo': [`42["ping","${'x'.repeat(900_000)}"]`],
  'everything at once': Array.from({ length: 900 }, (_, n) => `42${10_000 + n}["subscribe",["BTC"]]`),
};

for (const kind of /** @type {(keyof typeof kinds)[]} */ (Object.keys(kinds))) {
  describe(`left open, ${kind}`, () => {
    for (const [what, packets] of Object.entries(open)) {
      it(what, async (test) => {
        const client = await joined(test, kind);
        client.send(...packets);
        // Either it goes on, or it is ended: never a connection that hangs.
        const answer = await client.request('ping', '"still there"');
        assert.ok(answer === undefined || answer.echo === 'still there');
        if (answer === undefined) await within(client.closed, 'the end of the connection');
      });
    }

    it('events before the connection to the namespace', async (test) => {
      const client = await kinds[kind].open(server.url);
      test.after(() => client.close());
      client.send('42["subscribe",["BTC"]]', '421["ping"]', '41', '40');
      assert.equal(await client.request('ping', '"still there"').then((answer) => answer === undefined || answer.ok), true);
    });

    it('leaving the namespace, and events after it', async (test) => {
      const client = await joined(test, kind);
      await client.request('subscribe', '["BTC"]');
      client.send('41', '42["subscribe",["ETH"]]');
      // Whether the connection stays or ends, the subscription is over.
      await until(async () => ((await server.json('/stats')).subscriptions.BTC ?? 0) === 1, 'the bystander to be alone');
    });
  });
}

describe('broken requests', () => {
  const path = '/socket.io/';
  const polling = 'EIO=4&transport=polling';

  /** Requests for no session, and the code that Node's server gives for them. @type {[string, string, string, number | undefined][]} */
  const requests = [
    ['an id that is none', 'GET', `${polling}&sid=nope`, 1],
    ['an id that is well-formed', 'GET', `${polling}&sid=AAAAAAAAAAAAAAHs`, 1],
    ['an empty id', 'GET', `${polling}&sid=`, 1],
    ['a POST to an id that is none', 'POST', `${polling}&sid=nope`, 1],
    ['no query', 'GET', '', undefined],
    ['no transport', 'GET', 'EIO=4', 0],
    ['a transport that is none', 'GET', 'EIO=4&transport=carrier-pigeon', 0],
    ['a version that is too old', 'GET', 'EIO=2&transport=polling', 5],
    ['a version that is too new', 'GET', 'EIO=5&transport=polling', 5],
    ['a version that is none', 'GET', 'EIO=four&transport=polling', 5],
    ['no version', 'GET', 'transport=polling', 5],
    ['a handshake by POST', 'POST', polling, 2],
    ['PUT', 'PUT', polling, undefined],
    ['DELETE', 'DELETE', polling, undefined],
    ['PATCH', 'PATCH', polling, undefined],
    ['PROPFIND', 'PROPFIND', polling, undefined],
    ['a WebSocket without its headers', 'GET', 'EIO=4&transport=websocket', undefined],
  ];

  for (const [what, method, query, code] of requests) {
    it(what, async () => {
      const earlier = await errors();
      const response = await fetchRaw(`${server.url}${path}?${query}`, { method, body: method === 'POST' ? '40' : undefined });
      assert.ok(response.status >= 400 && response.status < 500, `${response.status} ${response.text}`);
      if (code !== undefined) assert.equal(Number(JSON.parse(response.text).code), code, response.text);
      // No connection was ended.
      assert.equal((await errors()).protocol, earlier.protocol);
    });
  }

  it('a session over the other transport', async (test) => {
    const client = await joined(test, 'websocket');
    const url = `${server.url}${path}?${polling}&sid=${client.sid}`;
    assert.equal((await fetchRaw(url)).status, 400);
    assert.equal((await fetchRaw(url, { method: 'POST', body: '41' })).status, 400);
    assert.ok(await client.works());
  });

  it('methods within a session', async (test) => {
    const client = await joined(test, 'polling');
    for (const method of ['PUT', 'DELETE', 'PATCH']) {
      const response = await fetchRaw(client.url, { method, body: '42["ping"]' });
      assert.ok(response.status >= 400 && response.status < 500, `${method}: ${response.status}`);
    }
    assert.ok(await client.works());
  });

  it('a WebSocket for a session that is not there, or has one', async (test) => {
    const client = await joined(test, 'websocket');
    for (const sid of [client.sid, 'AAAAAAAAAAAAAAHs', 'nope']) {
      const url = `${server.url.replace(/^http/, 'ws')}${path}?EIO=4&transport=websocket&sid=${sid}`;
      const other = new RawWebSocket(url);
      other.ws.on('open', () => other.send('2probe'));
      await within(other.closed, `the end of a WebSocket for ${sid}`);
      assert.deepEqual(other.received, []);
    }
    assert.ok(await client.works());
  });

  it('an upgrade that says something else', async (test) => {
    const client = await joined(test, 'polling');
    const other = new RawWebSocket(`${client.url.replace(/^http/, 'ws').replace('polling', 'websocket')}`);
    test.after(() => other.close());
    other.ws.on('open', () => other.send('42["subscribe",["BTC"]]'));
    await within(other.closed, 'the end of the WebSocket');
    assert.deepEqual(other.received, []);
  });

  it('EIO=3: lengths that do not fit', async () => {
    for (const body of ['5:42', 'x:42', '-1:42', '99999999999999999999:4', '2:42:', ':', '2:4\ud83d\udcc8', '42["ping"]']) {
      const url = `${server.url}${path}?EIO=3&transport=polling`;
      const opened = (await fetchRaw(url)).text;
      const { sid } = JSON.parse(opened.slice(opened.indexOf('{'), opened.lastIndexOf('}') + 1));
      const headers = { 'content-type': 'text/plain;charset=UTF-8' };
      const response = await fetchRaw(`${url}&sid=${sid}`, { method: 'POST', headers, body });
      assert.equal(response.status, 400, `${body}: ${response.status} ${response.text}`);
      // And the session is over.
      const afterwards = await fetchRaw(`${url}&sid=${sid}`);
      assert.equal(afterwards.status, 400, `${body}: ${afterwards.status} ${afterwards.text}`);
      await nobodyElseNoticed();
    }
  });
});
