// The page of a room, and the consoles of both pages.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { startServer } from '../support/server.mjs';
import { newPage, openBrowser, TEST, untilPhase } from './open.mjs';

let browser;

before(async () => {
  browser = await openBrowser();
});
after(() => browser?.close());

async function serve(t, env) {
  const server = await startServer({ APP_ID: 'app1', ...env });
  t.after(() => server.stop());
  return server;
}

for (const [name, env] of [['at the root', {}], ['below a prefix', { BASE_PATH: '/feed', SOCKET_PATH: '/ws' }]]) {
  test(`two talk in a room, and nobody else hears them, ${name}`, TEST, async (t) => {
    const server = await serve(t, { PRESENCE: 'true', ...env });
    const front = (path) => `${server.url}/front/${path}`;
    const [one, two, other] = await Promise.all(['rooms%20%C3%A9%2F1#user=zoe', 'rooms%20%C3%A9%2F1?transport=polling#user=amy', 'other'].map(async (path) => {
      const { page, faults } = await newPage(t, browser);
      const said = [];
      page.on('console', (message) => said.push(message.text()));
      await page.goto(front(path));
      await untilPhase(page, 'live');
      return { page, faults, said };
    }));
    assert.equal(await one.page.locator('#room').innerText(), 'rooms é/1');
    await one.page.locator('#users', { hasText: '2 here: amy, zoe' }).waitFor();
    await one.page.fill('#text', '<b>hello</b>');
    await one.page.press('#text', 'Enter');
    for (const { page } of [one, two]) await page.locator('#messages li', { hasText: 'zoe at app1  <b>hello</b>' }).waitFor();
    await one.page.waitForFunction(() => document.querySelector('#text').value === '');
    // From the console, as from a back end.
    await two.page.evaluate(() => window.ws.emit('chat', { room: 'rooms é/1', text: 'from the console' }));
    await one.page.locator('#messages li', { hasText: 'amy at app1  from the console' }).waitFor();
    const response = await fetch(`${server.url}/back/message`, {
      method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ room: 'rooms é/1', message: 'from behind' }),
    });
    assert.equal((await response.json()).delivered, 2);
    await one.page.locator('#messages li', { hasText: 'somebody at app1  from behind' }).waitFor();
    assert.equal(await other.page.locator('#messages li').count(), 0);
    for (const { faults, said } of [one, two, other]) {
      assert.deepEqual(faults, []);
      assert.ok(said.includes('ws connected'));
    }
  });
}

test('a room has the reader\'s theme, known before the first paint', TEST, async (t) => {
  const server = await serve(t);
  const { page, faults } = await newPage(t, browser, { colorScheme: 'dark' });
  await page.addInitScript((kept) => localStorage.setItem('tickcast-choices', kept), JSON.stringify({ theme: 'light' }));
  await page.route('**/front.js', (route) => route.abort());
  await page.goto(`${server.url}/front/lobby`);
  assert.equal(await page.evaluate(() => getComputedStyle(document.documentElement).colorScheme), 'light');
  assert.deepEqual(faults, []);
});

test('a room that is not allowed says so', TEST, async (t) => {
  const server = await serve(t, { JWT_SECRET: 'a secret of more than thirty-two bytes', ALLOW_ANONYMOUS: 'true', ANONYMOUS_ROOMS: 'lobby' });
  const { page } = await newPage(t, browser);
  await page.goto(`${server.url}/front/cellar`);
  await page.locator('#notice', { hasText: 'forbidden' }).waitFor();
});

test('the dashboard has its socket in the console, too', TEST, async (t) => {
  const server = await serve(t, { CHAT_AUTO_JOIN: 'true' });
  const { page } = await newPage(t, browser);
  const heard = page.waitForEvent('console', (message) => message.text().startsWith('chat-message'));
  const connected = page.waitForEvent('console', (message) => message.text() === 'ws connected');
  await page.goto(server.url);
  await connected;
  await page.evaluate(() => window.ws.emit('chat', "Hello! I'm client"));
  const [, message] = (await heard).args();
  const { text, server: id } = await message.jsonValue();
  assert.deepEqual([text, id], ["Hello! I'm client", 'app1']);
});
