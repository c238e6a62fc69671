// Alerts: when they fire, whose they are, how many there may be.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { publish } from '../support/api.mjs';
import { next, start, transports, until, versions } from '../support/clients.mjs';
import { Backend } from '../support/backend.mjs';
import { enter } from '../support/people.mjs';
import { SECRET, good, hs256 } from '../support/tokens.mjs';

/** Symbols that only a test moves; each test has its own. */
const PUBLISHED = [...Array(40).keys()].map((index) => `P${index}`);

const ENV = { SYMBOLS: '', PUBLISHED_SYMBOLS: PUBLISHED.join() };

/** @typedef {import('../support/server.mjs').Server} Server */
/** @typedef {import('../support/people.mjs').Person} Person */

/**
 * Publishes prices one after the other, each with its number.
 *
 * @param {Server} server @param {string} symbol @param {...(number | string)} prices a text is the number digit by digit
 * @returns {Promise<number[]>} their numbers
 */
async function move(server, symbol, ...prices) {
  const body = prices.map((price) => `{"symbol":"${symbol}","price":${price}}`);
  const { json, text } = await publish(server, `{"prices":[${body}]}`);
  assert.equal(json?.accepted, prices.length, text);
  return json.results.map((/** @type {any} */ { seq }) => seq);
}

/** Prices with times of their own. @param {Server} server @param {string} symbol @param {number} base ms @param {[number, number][]} prices s after that, and the price */
async function moveAt(server, symbol, base, prices) {
  const { json, text } = await publish(server, prices.map(([s, price]) => ({ symbol, price, ts: base + s * 1000 })));
  assert.equal(json?.accepted, prices.length, text);
}

/** Resolves when everything that was published has been looked at: what comes behind it has come. @param {Person} person @param {Server} server */
async function settled({ ask, of }, server, symbol = 'P39') {
  const { id } = await ask('alert', { symbol, above: 1 });
  await move(server, symbol, 0, 1);
  await until(() => of('alert').some((fired) => fired.id === id), 'an alert behind all others');
  assert.deepEqual(await ask('unalert', id), { ok: true });
}

/** @param {Person} person @param {string} id */
const prices = ({ of }, id) => of('alert').filter((fired) => fired.id === id).map(({ price }) => price);

/** A user of a server that asks for tokens. @param {any} test @param {Server} server @param {object} claims @param {object} [options] */
const user = (test, server, claims, options = {}) => enter(test, server.url, null, { auth: { token: hs256(good(claims)) }, ...options });

describe('alerts', { concurrency: true }, () => {
  /** @type {Server} */
  let server;
  /** @type {(() => Promise<void>)[]} */
  const undo = [];
  before(async () => {
    server = await start({ after: (each) => undo.push(each) }, ENV);
    await move(server, 'P39', 1);
  });
  after(() => Promise.all(undo.map((each) => each())));

  it('above and below: at the threshold exactly, once for each crossing, over a gap too', async (test) => {
    const person = await enter(test, server.url, null);
    await move(server, 'P0', 99);
    const above = (await person.ask('alert', { symbol: 'P0', above: 100 })).id;
    const below = (await person.ask('alert', { symbol: 'P0', below: 90.5 })).id;
    const [, exact] = await move(server, 'P0', 99.99, '100.00', 101, 100, 90.51, 90.5, 90, 95, 250, 300, 1);
    await settled(person, server);
    assert.deepEqual(prices(person, above), [100, 250]);
    assert.deepEqual(prices(person, below), [90.5, 1]);
    const { ts, epoch, ...first } = person.of('alert')[0];
    assert.deepEqual(first, { id: above, symbol: 'P0', price: 100, seq: exact, rule: { above: 100 } });
    assert.ok(Math.abs(ts - Date.now()) < 60_000 && typeof epoch === 'string');
  });

  it('where the price is already fires nothing', async (test) => {
    const person = await enter(test, server.url, null);
    const early = (await person.ask('alert', { symbol: 'P1', above: 5 })).id;
    await move(server, 'P1', 10, 11);
    const late = (await person.ask('alert', { symbol: 'P1', above: 5 })).id;
    const here = (await person.ask('alert', { symbol: 'P1', below: 11 })).id;
    await move(server, 'P1', 11, 12, 11, 10);
    await settled(person, server);
    assert.deepEqual([early, late].map((id) => prices(person, id)), [[], []], 'the first price comes from nowhere');
    assert.deepEqual(prices(person, here), [11]);
  });

  it('digits that JavaScript cannot keep decide, too', async (test) => {
    const person = await enter(test, server.url, null);
    await move(server, 'P2', '0.1000000000000000000000000001');
    const id = (await person.ask('alert', { symbol: 'P2', above: 0.2 })).id;
    await move(server, 'P2', '0.1999999999999999999999999999');
    await settled(person, server);
    assert.deepEqual(prices(person, id), []);
    await move(server, 'P2', '0.2000000000000000000000000000');
    await until(() => prices(person, id).length === 1, 'the threshold');
  });

  it('changePct: up and down, against the price of then', async (test) => {
    const person = await enter(test, server.url, null);
    const base = Math.floor(Date.now() / 1000) * 1000 - 60_000;
    await moveAt(server, 'P3', base, [[0, 200], [1, 200]]);
    const long = await person.ask('alert', { symbol: 'P3', changePct: 1, windowMs: 10_000 });
    const short = await person.ask('alert', { symbol: 'P3', changePct: 2.5, windowMs: 1500 });
    assert.deepEqual([long.ok, short.ok], [true, true]);
    // Against 200: not yet, exactly, farther, back, and down as far; then against 198.
    await moveAt(server, 'P3', base, [[12, 201.9], [13, 202], [13.1, 203], [14, 200], [15, 198], [27, 199], [36, 201]]);
    await settled(person, server);
    assert.deepEqual(prices(person, long.id), [202, 198, 201]);
    assert.deepEqual(prices(person, short.id), []);
    await moveAt(server, 'P3', base, [[40, 201], [42, 206.025]]);
    await until(() => prices(person, short.id).length === 1, '2.5 %');
    const { rule } = person.of('alert').find((fired) => fired.id === short.id);
    assert.deepEqual(rule, { changePct: 2.5, windowMs: 2000 }, 'to the second');
  });

  it('lists, removes, and says what is wrong', async (test) => {
    const person = await enter(test, server.url, null);
    assert.deepEqual(await person.ask('alerts'), { ok: true, alerts: [] });
    const ids = [];
    for (const rule of [{ above: 10 }, { below: 5.50 }, { changePct: 3, windowMs: 60_000 }]) {
      const { ok, id } = await person.ask('alert', { symbol: 'P4', ...rule });
      assert.ok(ok && /^[0-9a-f]{16}$/.test(id));
      ids.push(id);
    }
    const rules = [{ above: 10 }, { below: 5.5 }, { changePct: 3, windowMs: 60_000 }];
    assert.deepEqual(await person.ask('alerts', {}), { ok: true, alerts: rules.map((rule, n) => ({ id: ids[n], symbol: 'P4', rule })) });
    assert.deepEqual(await person.ask('unalert', { id: ids[1] }), { ok: true });
    assert.deepEqual((await person.ask('alerts')).alerts.map((/** @type {any} */ { id }) => id), [ids[0], ids[2]]);

    const other = await enter(test, server.url, null);
    for (const [who, event, payload, code, message] of /** @type {[Person, string, any, string, RegExp][]} */ ([
      [person, 'unalert', { id: ids[1] }, 'invalid_payload', new RegExp(`id is "${ids[1]}": you have no such alert`)],
      [other, 'unalert', { id: ids[0] }, 'invalid_payload', /you have no such alert/],
      [person, 'unalert', {}, 'invalid_payload', /id is missing: must be/],
      [person, 'alert', 5, 'invalid_payload', /the payload is 5: must be \{"symbol"/],
      [person, 'alert', { symbol: 'NOPE', above: 1 }, 'unknown_symbol', /there is no symbol "NOPE"/],
      [person, 'alert', { symbol: 'P4', above: 'high' }, 'invalid_payload', /above is "high": must be a number/],
      [person, 'alert', { symbol: 'P4', above: 1, below: 1 }, 'invalid_payload', /exactly one of above, below and changePct/],
      [person, 'alert', { symbol: 'P4', changePct: 1 }, 'invalid_payload', /windowMs is missing.*from 1000 to 86400000/],
    ])) {
      const { ok, error } = await who.ask(event, payload);
      assert.deepEqual([ok, error?.code], [false, code], JSON.stringify(payload));
      assert.match(error.message, message);
    }
    // Without a callback: silence, or an error.
    const failed = next(person.socket, 'error');
    person.socket.emit('alert', { symbol: 'P4', above: 11 });
    person.socket.emit('alert', { symbol: 'P4' });
    const { code, event } = await failed;
    assert.deepEqual([code, event], ['invalid_payload', 'alert']);
    assert.equal((await person.ask('alerts')).alerts.length, 3);
    assert.deepEqual(person.heard.map(([name]) => name), ['error']);
  });

  for (const version of versions) {
    for (const [name, list] of Object.entries(transports)) {
      it(`every client hears of it: ${version}, ${name}`, async (test) => {
        const { socket, ask } = await enter(test, server.url, null, { version, transports: list });
        const symbol = `P${10 + versions.indexOf(version) * 3 + Object.keys(transports).indexOf(name)}`;
        await move(server, symbol, 1);
        const fired = next(socket, 'alert');
        const { id } = await ask('alert', { symbol, above: 2 });
        await move(server, symbol, 3);
        const told = await fired;
        assert.deepEqual([told.id, told.price], [id, 3]);
      });
    }
  }

  it('those of a connection end with it, and are nobody else\'s', async (test) => {
    const [one, other] = [await enter(test, server.url, 'amy'), await enter(test, server.url, 'amy')];
    await move(server, 'P5', 1);
    const { id } = await one.ask('alert', { symbol: 'P5', above: 2 });
    assert.deepEqual((await other.ask('alerts')).alerts, []);
    await move(server, 'P5', 3);
    await until(() => prices(one, id).length === 1, 'its alert');
    await settled(other, server, 'P38');
    assert.equal(prices(other, id).length, 0);
    // Who comes back is somebody else.
    one.socket.disconnect();
    one.socket.connect();
    await next(one.socket, 'connect');
    assert.deepEqual((await one.ask('alerts')).alerts, []);
    await move(server, 'P5', 1, 3);
    await settled(one, server, 'P37');
    assert.equal(prices(one, id).length, 1);
  });

  it('limits: of one client, of windows on a symbol, of all', async (test) => {
    const small = await start(test, { ...ENV, MAX_ALERTS: '3', MAX_ALERTS_TOTAL: '5' });
    const [one, other] = [await enter(test, small.url, null), await enter(test, small.url, null)];
    const set = (/** @type {Person} */ { ask }) => ask('alert', { symbol: 'P0', above: 1 });
    for (let n = 0; n < 3; n += 1) assert.equal((await set(one)).ok, true);
    const { error } = await set(one);
    assert.deepEqual(error, { code: 'invalid_payload', message: 'you have 3 alerts: at most 3 are allowed (remove one)' });
    for (let n = 0; n < 2; n += 1) assert.equal((await set(other)).ok, true);
    assert.equal((await set(other)).error.code, 'unavailable');
    const [{ id }] = (await one.ask('alerts')).alerts;
    await one.ask('unalert', { id });
    assert.equal((await set(other)).ok, true, 'there is room again');
    const stats = await small.json('/stats');
    assert.deepEqual([stats.limited.alerts, stats.alerts.held], [2, 5]);
    one.socket.close();
    await until(async () => (await small.json('/stats')).alerts.held === 3, 'those of who has gone to be gone');

    const person = await enter(test, server.url, null);
    const window = (/** @type {number} */ seconds) => person.ask('alert', { symbol: 'P6', changePct: 1, windowMs: seconds * 1000 });
    for (let seconds = 1; seconds <= 32; seconds += 1) assert.equal((await window(seconds)).ok, true);
    const full = await window(33);
    assert.equal(full.error.code, 'unavailable');
    assert.match(full.error.message, /windowMs is 33000.*32/);
    assert.equal((await window(32)).ok, true, 'one that is in use');

    const none = await start(test, { ...ENV, MAX_ALERTS: '0' });
    assert.equal((await set(await enter(test, none.url, null))).error.code, 'unavailable');
  });

  describe('of users', { concurrency: true }, () => {
    /** @type {Server} */
    let keyed;
    before(async () => {
      keyed = await start({ after: (each) => undo.push(each) }, { ...ENV, JWT_SECRET: SECRET, ALLOW_ANONYMOUS: 'true' });
    });

    it('stay when connections end, and fire on all that there are', async (test) => {
      const first = await user(test, keyed, { sub: 'amy' });
      await move(keyed, 'P0', 1);
      const { id } = await first.ask('alert', { symbol: 'P0', above: 2 });
      first.socket.close();
      const all = [];
      for (const list of Object.values(transports)) all.push(await user(test, keyed, { sub: 'amy' }, { transports: list }));
      const stranger = await user(test, keyed, { sub: 'zoe' });
      const [{ id: listed }] = (await all[0].ask('alerts')).alerts;
      assert.equal(listed, id);
      assert.equal((await stranger.ask('unalert', id)).ok, false);
      await move(keyed, 'P0', 2);
      await until(() => all.every((person) => prices(person, id).length === 1), 'the alert at each connection');
      await Promise.all([...all, stranger].map((person, n) => settled(person, keyed, `P${30 + n}`)));
      assert.deepEqual(all.map((person) => prices(person, id)), all.map(() => [2]));
      assert.deepEqual(stranger.of('alert').filter((fired) => fired.id === id), []);
      assert.equal((await all[2].ask('unalert', id)).ok, true);
      assert.deepEqual((await all[0].ask('alerts')).alerts, []);
    });

    it('a guest\'s are those of the connection', async (test) => {
      const guest = await enter(test, keyed.url, null, { auth: {} });
      assert.equal((await guest.ask('alert', { symbol: 'P1', above: 2 })).ok, true);
      const other = await enter(test, keyed.url, null, { auth: {} });
      assert.deepEqual((await other.ask('alerts')).alerts, []);
    });

    it('a symbol that is not allowed is forbidden, and a right that ends silences', async (test) => {
      const person = await user(test, keyed, { sub: 'bob', symbols: ['P2', 'P3', 'P36'] });
      const unlimited = await user(test, keyed, { sub: 'bob' });
      await move(keyed, 'P2', 1);
      for (const symbol of ['P4', 'NOPE']) {
        assert.equal((await person.ask('alert', { symbol, above: 2 })).error.code, 'forbidden');
      }
      const { id } = await person.ask('alert', { symbol: 'P2', above: 2 });
      assert.equal((await person.ask('refresh', { token: hs256(good({ sub: 'bob', symbols: ['P3', 'P36'] })) })).ok, true);
      await move(keyed, 'P2', 3);
      await until(() => prices(unlimited, id).length === 1, 'it at who may');
      await settled(person, keyed, 'P36');
      assert.deepEqual(prices(person, id), []);
      await person.ask('refresh', { token: hs256(good({ sub: 'bob' })) });
      await move(keyed, 'P2', 1, 3);
      await until(() => prices(person, id).length === 1, 'it again');
    });
  });

  it('the back end is told, whoever is there', async (test) => {
    const backend = await Backend.start(test);
    const told = await start(test, { ...ENV, JWT_SECRET: SECRET, ALLOW_ANONYMOUS: 'true', BACKEND_URL: backend.url, APP_ID: 'app1' });
    const [amy, guest] = [await user(test, told, { sub: 'amy' }), await enter(test, told.url, null, { auth: {} })];
    await move(told, 'P0', 1);
    const { id } = await amy.ask('alert', { symbol: 'P0', above: 2 });
    const { id: guests } = await guest.ask('alert', { symbol: 'P0', below: 1 });
    amy.socket.close();
    // Not taken at first: asked again.
    backend.answers.set('alert', (_, response, attempt) => response.writeHead(attempt === 1 ? 500 : 204).end());
    const [up, , down] = await move(told, 'P0', 2, 1.5, 1);
    await until(() => backend.of('alert').length === 4, 'both, twice');
    const [first] = backend.posts.filter(({ body }) => body.data.id === id);
    const { epoch, ts } = first.body.data;
    assert.deepEqual(first.body, {
      id: `${id}-${epoch}-${up}`, type: 'alert', user: 'amy', server: 'app1', ts: first.body.ts,
      data: { id, symbol: 'P0', price: 2, ts, seq: up, epoch, rule: { above: 2 } },
    });
    assert.equal(first.headers['x-request-id'], first.body.id);
    const post = backend.posts.find(({ body }) => body.data.id === guests);
    assert.ok(post);
    assert.deepEqual([post.body.id, post.body.user, typeof post.body.connection], [`${guests}-${epoch}-${down}`, null, 'number']);
    assert.deepEqual([...backend.attempts.values()], [2, 2]);
    await until(async () => (await told.json('/stats')).alerts.posted === 2, 'the count');
    const { fired, dropped } = (await told.json('/stats')).alerts;
    assert.deepEqual([fired, dropped], [2, 0]);
  });
});
