// What a server that runs alone keeps of its users' alerts in DATA_DIR, through whatever ends it.
import assert from 'node:assert/strict';
import { appendFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { publish } from '../support/api.mjs';
import { until } from '../support/clients.mjs';
import { folder, startFull } from '../support/data.mjs';
import { metricsOf } from '../support/metrics.mjs';
import { enter } from '../support/people.mjs';
import { startServer } from '../support/server.mjs';
import { SECRET, good, hs256 } from '../support/tokens.mjs';

/** Symbols that only a test moves. */
const [GOLD, OTHER] = ['GOLD', 'OTHER'];

const ENV = { SYMBOLS: '', PUBLISHED_SYMBOLS: `${GOLD},${OTHER}`, JWT_SECRET: SECRET, ALLOW_ANONYMOUS: 'true' };

/** @typedef {import('../support/people.mjs').Person} Person */
/** @typedef {Awaited<ReturnType<typeof startServer>>} Server */

/** A server with this folder. @param {any} test @param {string} data @param {Record<string, string>} [env] */
async function keeping(test, data, env = {}) {
  const server = await startServer({ ...ENV, DATA_DIR: data, ...env });
  test.after(() => server.stop());
  return server;
}

/** A user's connection. @param {any} test @param {{ url: string }} server @param {string} [sub] */
const user = (test, server, sub = 'amy') => enter(test, server.url, null, { auth: { token: hs256(good({ sub })) } });

/** Publishes prices, one after the other. @param {Server} server @param {string} symbol @param {...number} prices */
async function move(server, symbol, ...prices) {
  const { json, text } = await publish(server, prices.map((price) => ({ symbol, price })));
  assert.equal(json?.accepted, prices.length, text);
}

/** @param {Person} person @param {object} rule @returns {Promise<string>} */
async function set({ ask }, rule, symbol = GOLD) {
  const { ok, id, error } = await ask('alert', { symbol, ...rule });
  assert.ok(ok, JSON.stringify(error));
  return id;
}

/** @param {Person} person @returns {Promise<string[]>} */
const list = async ({ ask }) => (await ask('alerts')).alerts.map((/** @type {any} */ { id }) => id);

/** @param {Person} person @param {string} id */
const prices = ({ of }, id) => of('alert').filter((fired) => fired.id === id).map(({ price }) => price);

/** Resolves when everything that was published has been looked at: what comes behind it has come. @param {Person} person @param {Server} server */
async function settled(person, server) {
  await move(server, OTHER, 0);
  const id = await set(person, { above: 1 }, OTHER);
  await move(server, OTHER, 1);
  await until(() => prices(person, id).length === 1, 'an alert behind all others');
  assert.deepEqual(await person.ask('unalert', id), { ok: true });
}

describe('alerts in DATA_DIR', { concurrency: true }, () => {
  it('kill -9: those that were set are there and fire once for each crossing, those that were removed are not', async (test) => {
    const data = folder(test);
    const first = await keeping(test, data);
    const [amy, guest] = [await user(test, first), await enter(test, first.url, null, { auth: {} })];
    await move(first, GOLD, 100);
    const [up, down, gone] = [await set(amy, { above: 110 }), await set(amy, { below: 90 }), await set(amy, { above: 110 })];
    const change = await set(amy, { changePct: 50, windowMs: 60_000 });
    await set(guest, { above: 110 });
    assert.deepEqual(await amy.ask('unalert', gone), { ok: true });
    await move(first, GOLD, 120);
    await until(() => prices(amy, up).length === 1 && prices(guest, guest.of('alert')[0]?.id).length === 1, 'both');
    // That it fired is stored by itself.
    await until(() => readFileSync(join(data, 'alerts'), 'latin1').includes('"price":120'), 'the crossing in the file');
    await first.stop('SIGKILL');

    const second = await keeping(test, data);
    const again = await user(test, second);
    const { alerts } = await again.ask('alerts');
    const kept = [[up, { above: 110 }], [down, { below: 90 }], [change, { changePct: 50, windowMs: 60_000 }]];
    assert.deepEqual(alerts, kept.map(([id, rule]) => ({ id, symbol: GOLD, rule })));
    assert.equal((await second.json('/stats')).alerts.held, kept.length, 'nobody has those of the guest');
    await move(second, GOLD, 121, 122);
    await settled(again, second);
    assert.deepEqual(again.of('alert').filter(({ symbol }) => symbol === GOLD), [], 'it was above already');
    await move(second, GOLD, 100, 115, 116, 85);
    await settled(again, second);
    assert.deepEqual([up, down, gone, change].map((id) => prices(again, id)), [[115], [85], [], []]);
    // One that was put back can be removed, for good.
    assert.deepEqual(await again.ask('unalert', up), { ok: true });
    await second.stop('SIGKILL');
    assert.deepEqual(await list(await user(test, await keeping(test, data))), [down, change]);
  });

  it('a crossing while nobody ran fires with the first price', async (test) => {
    const data = folder(test);
    const first = await keeping(test, data);
    const amy = await user(test, first);
    // Set above it: where it was last is what candles say.
    await move(first, GOLD, 115);
    const id = await set(amy, { above: 110 });
    await move(first, GOLD, 100);
    assert.deepEqual(await first.stop(), { code: 0, signal: null });
    const second = await keeping(test, data);
    const again = await user(test, second);
    await move(second, GOLD, 120, 121);
    await settled(again, second);
    assert.deepEqual(prices(again, id), [120]);
  });

  it('kill -9 in the middle of writes: what was answered holds', async (test) => {
    const data = folder(test);
    const env = { MAX_ALERTS: '100000' };
    const first = await keeping(test, data, env);
    const { socket } = await user(test, first);
    /** Those that are set; of these, those whose end was asked for; of these, those that were removed. @type {Set<string>[]} */
    const [known, leaving, removed] = [new Set(), new Set(), new Set()];
    const more = () => socket.emit('alert', { symbol: GOLD, above: 1000 }, (/** @type {any} */ { id }) => {
      known.add(id);
      if (known.size % 3 === 0) {
        leaving.add(id);
        socket.emit('unalert', id, (/** @type {any} */ { ok }) => ok && removed.add(id));
      }
      more();
    });
    // Several at once, so that some are under way whenever it ends.
    for (let n = 0; n < 8; n += 1) more();
    await until(() => known.size > 50 && removed.size > 10, 'some');
    await first.stop('SIGKILL');
    const listed = new Set(await list(await user(test, await keeping(test, data, env))));
    assert.deepEqual([...known].filter((id) => !leaving.has(id) && !listed.has(id)), [], 'set, and lost');
    assert.deepEqual([...removed].filter((id) => listed.has(id)), [], 'removed, and back');
  });

  it('a write that was cut off is cut off, said and counted', async (test) => {
    const data = folder(test);
    const first = await keeping(test, data);
    const id = await set(await user(test, first), { above: 110 });
    await first.stop('SIGKILL');
    const file = join(data, 'alerts');
    appendFileSync(file, readFileSync(file).subarray(8, 30));
    const second = await keeping(test, data);
    const line = await second.logged(({ fields }) => fields?.message === 'the last write never came to its end: cut off');
    assert.deepEqual([line.fields.torn_bytes, line.fields.path], [22, file]);
    assert.equal((await metricsOf(second.url)).get('tickcast_data_lost_bytes_total'), 22);
    const amy = await user(test, second);
    assert.deepEqual(await list(amy), [id]);
    const other = await set(amy, { below: 90 });
    await second.stop('SIGKILL');
    assert.deepEqual(await list(await user(test, await keeping(test, data))), [id, other]);
  });

  it('damage in the middle is said, and costs what it touches', async (test) => {
    const data = folder(test);
    const first = await keeping(test, data);
    const amy = await user(test, first);
    const ids = [];
    for (const above of [1, 2, 3]) ids.push(await set(amy, { above }));
    await first.stop('SIGKILL');
    const file = join(data, 'alerts');
    const content = readFileSync(file);
    content[content.indexOf(ids[1])] ^= 1;
    writeFileSync(file, content);
    const second = await keeping(test, data);
    const line = await second.logged(({ fields }) => fields?.message?.startsWith('the file is damaged in the middle'));
    assert.equal(line.level, 'ERROR');
    assert.deepEqual(readFileSync(join(data, 'alerts.damaged')), content, 'as it was');
    assert.deepEqual(await list(await user(test, second)), [ids[0], ids[2]]);
    await until(() => readFileSync(file).length < content.length, 'it to be written anew');
    await second.stop('SIGKILL');
    assert.deepEqual(await list(await user(test, await keeping(test, data))), [ids[0], ids[2]]);
  });

  it('on a disk that is full nothing is set that is not kept, and those that there are fire', async (test) => {
    const data = folder(test);
    const full = await startFull(test, { ...ENV, DATA_DIR: data, MAX_MESSAGES_PER_SECOND: '0' }, 4);
    const amy = await user(test, full);
    const ids = [];
    let refused;
    while (!refused) {
      const { id, error } = await amy.ask('alert', { symbol: GOLD, above: 110 });
      if (id) ids.push(id);
      refused = error;
    }
    assert.deepEqual(refused, {
      code: 'unavailable', message: 'alerts cannot be changed while the server cannot store them: try again later',
    });
    assert.ok(ids.length > 0 && readFileSync(join(data, 'alerts')).length <= 4 * 512);
    assert.deepEqual(await list(amy), ids);
    await amy.ask('alert', { symbol: GOLD, above: 110 });
    assert.equal((await metricsOf(full.url)).get('tickcast_alerts_store_failures_total'), 2);
    assert.equal(full.said().split('alerts cannot be stored').length, 2, 'it is said once');
    await publish(/** @type {Server} */ (/** @type {unknown} */ (full)), [{ symbol: GOLD, price: 100 }, { symbol: GOLD, price: 120 }]);
    await until(() => ids.every((id) => prices(amy, id).length === 1), 'all of them');
    await full.stop('SIGKILL');
    assert.deepEqual(await list(await user(test, await keeping(test, data))), ids);
  });

  it('another file stops the start; without tokens there is none, and it is left alone', async (test) => {
    const data = folder(test);
    const nobody = await keeping(test, data, { JWT_SECRET: '' });
    assert.equal((await (await enter(test, nobody.url, 'amy')).ask('alert', { symbol: GOLD, above: 1 })).ok, true);
    await nobody.stop();
    assert.ok(existsSync(join(data, 'candles')) && !existsSync(join(data, 'alerts')));
    writeFileSync(join(data, 'alerts'), 'something else');
    await assert.rejects(startServer({ ...ENV, DATA_DIR: data }), /DATA_DIR.*alerts: it is no journal, or one of another version/);
    await (await keeping(test, data, { JWT_SECRET: '' })).stop();
    assert.equal(readFileSync(join(data, 'alerts'), 'utf8'), 'something else', 'it is left alone');
  });
});
