// What only one of the exchanges asks of its clients.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { connect, request, until } from '../support/clients.mjs';
import { Redis } from '../support/redis.mjs';
import { NO_ISLANDS, startServer } from '../support/server.mjs';
import { EXCHANGES, settingsFor, start, Watched } from '../support/venues/feed.mjs';

const [binance, coinbase, kraken] = EXCHANGES;

/** The server pings Kraken after 30 s without a word (ms). */
const PING_MS = 45_000;

describe('rules of exchanges', { concurrency: true }, () => {
  it('binance: a notice of a shutdown is heeded before it comes, without a hole', async (test) => {
    const { watched, venue } = await start(test, binance, { venue: { everyMs: 20 } });
    venue.shutdown(10_000);
    await until(() => venue.attempts.length === 2, 'another connection');
    await until(() => venue.sessions.size === 1, 'the old one to go');
    await watched.more('BTC', 20);
    watched.hasAll('BTC', venue, 'BTCUSDT');
    assert.equal(venue.attempts.length, 2);
  });

  it('binance: pings are answered', async (test) => {
    const { venue, watched } = await start(test, binance, { venue: { pingMs: 1_000 } });
    const [session] = venue.sessions;
    let pongs = 0;
    session.socket.on('pong', () => (pongs += 1));
    await until(() => pongs >= 4, 'pongs');
    await watched.more('BTC', 3);
    assert.equal(venue.attempts.length, 1);
  });

  for (const channel of ['miniTicker', 'aggTrade']) {
    it(`binance: ${channel}`, async (test) => {
      const { watched, venue } = await start(test, binance, { env: { BINANCE_CHANNEL: channel } });
      await watched.more('BTC', 5);
      watched.hasAll('BTC', venue, 'BTCUSDT');
      assert.equal(typeof watched.ticks[0].size, channel === 'aggTrade' ? 'number' : 'undefined');
    });
  }

  it('binance: more symbols than one connection may have, at its pace', async (test) => {
    const symbols = Array.from({ length: 1100 }, (_, n) => `S${n}USDT`);
    const list = symbols.map((name) => `${name}@binance`).join();
    const { venue } = await start(test, binance, { symbols: list, venue: { everyMs: 500 }, wait: ['S0USDT', 'S1099USDT'] });
    assert.equal(venue.sessions.size, 2);
    await until(() => [...venue.sessions].reduce((sum, { symbols: { size } }) => sum + size, 0) === 1100, 'all of them');
  });

  it('kraken: it hears of us when there is nothing to say', async (test) => {
    const { venue, watched } = await start(test, kraken, { venue: { silenceMs: 40_000 } });
    await until(() => venue.pings > 0, 'a ping', PING_MS);
    await watched.more('BTC', 3);
    assert.equal(venue.attempts.length, 1);
  });

  it('kraken: after maintenance it is left alone for 5 s', async (test) => {
    const { venue, watched } = await start(test, kraken);
    const before = venue.attempts.length;
    venue.maintain();
    // Not ticks alone: those may be of before.
    await until(() => venue.attempts.length > before, 'another connection');
    const after_ms = venue.attempts[before] - venue.maintenance_ms;
    assert.ok(after_ms >= 5_000, `after ${after_ms} ms`);
    await watched.more('BTC', 3);
  });

  it('kraken: ticks without a time are of now, and none is missed between connections', async (test) => {
    const options = { venue: { timestamps: false, everyMs: 100 }, env: { EXCHANGE_RECONNECT: '2' } };
    const { watched, venue } = await start(test, kraken, options);
    await until(() => venue.attempts.length >= 3, 'some connections', 60_000);
    await watched.more('BTC', 10);
    const prices = watched.of('BTC').map(({ price }) => price);
    assert.deepEqual(prices, [...new Set(prices)].sort((a, b) => a - b), 'in order, and none twice');
    assert.ok(watched.ticks.every(({ ts }) => Math.abs(ts - Date.now()) < 60_000));
  });

  it('wss: what is not signed by whom we trust is refused, and what is comes', async (test) => {
    const folder = mkdtempSync(join(tmpdir(), 'tickcast-tls-'));
    test.after(() => rmSync(folder, { recursive: true }));
    const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')];
    execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2',
      '-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost', '-addext', 'basicConstraints=critical,CA:FALSE',
      '-keyout', key, '-out', cert], { stdio: 'ignore' });
    const venue = { tls: () => createServer({ key: readFileSync(key), cert: readFileSync(cert) }) };
    const { watched, venue: stand } = await start(test, coinbase, { venue, env: { SSL_CERT_FILE: cert } });
    await watched.more('BTC', 3);

    const distrustful = await startServer(settingsFor('coinbase', stand, 'BTC-USD@coinbase'));
    test.after(() => distrustful.stop());
    const line = await distrustful.logged(({ fields }) => fields?.message?.startsWith('the connection to the exchange is down'));
    assert.match(line.fields.error, /certificate|root|UnknownIssuer/i);
  });

  it('the other replica takes an exchange over, and there is one connection at a time', async (test) => {
    const redis = await Redis.start();
    const venue = await new coinbase.Stand().listen();
    const env = { ...settingsFor('coinbase', venue, 'BTC=BTC-USD@coinbase'), REDIS_URL: redis.url, LEASE_TTL: '5000', ...NO_ISLANDS };
    const servers = await Promise.all(['app1', 'app2'].map((id) => startServer({ ...env, APP_ID: id })));
    test.after(async () => {
      await Promise.all(servers.map((server) => server.stop()));
      await venue.close();
      await redis.stop();
      assert.deepEqual(venue.broken, []);
    });
    const watches = await Promise.all(servers.map(async ({ url }) => new Watched(await connect(url))));
    test.after(() => watches.forEach(({ socket }) => socket.close()));
    for (const { socket } of watches) {
      await until(async () => (await request(socket, 'subscribe', 'BTC')).snapshot.length === 1, 'a price at each');
    }
    const role = async (/** @type {any} */ server) => (await server.json('/health')).sources.coinbase;
    const roles = await Promise.all(servers.map(role));
    assert.deepEqual([...roles].sort(), ['publisher', 'standby']);
    assert.equal(venue.sessions.size, 1);
    const publisher = roles.indexOf('publisher');
    const [mine, theirs] = [watches[publisher], watches[1 - publisher]];
    await theirs.more('BTC', 3);
    await servers[publisher].stop('SIGKILL');
    mine.socket.close();
    await until(() => venue.attempts.length === 2, 'the other one to connect');
    await theirs.more('BTC', 5);
    assert.equal(await role(servers[1 - publisher]), 'publisher');
    assert.equal(venue.sessions.size, 1);
    assert.deepEqual(theirs.wrong, [], 'the numbers go on');
    const prices = theirs.of('BTC').map(({ price }) => price);
    assert.deepEqual(prices, [...prices].sort((a, b) => a - b), 'and the prices');
  });
});
