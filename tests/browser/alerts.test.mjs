// Alerts on the page: set, drawn, dragged, fired, kept and removed.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { publish } from '../support/api.mjs';
import { until } from '../support/clients.mjs';
import { startServer } from '../support/server.mjs';
import { hs256, SECRET } from '../support/tokens.mjs';
import { newPage, openBrowser, TEST, untilPhase } from './open.mjs';

let browser;

before(async () => {
  browser = await openBrowser();
});
after(() => browser?.close());

/** A server whose one price is the test's. */
async function gold(t, env = {}) {
  const server = await startServer({ SYMBOLS: '', PUBLISHED_SYMBOLS: 'GOLD,SILVER', STALE_AFTER: '0', ...env });
  t.after(() => server.stop());
  const price = async (value, symbol = 'GOLD') => {
    const { json, text } = await publish(server, [{ symbol, price: value }], env.API_KEY ? { 'x-api-key': env.API_KEY } : {});
    assert.equal(json?.accepted, 1, text);
  };
  await price(1900);
  await price(30, 'SILVER');
  return { server, price };
}

async function open(t, server, hash = '#/GOLD', { token = '', transport = '' } = {}) {
  const { page, faults } = await newPage(t, browser);
  if (token) await page.addInitScript((kept) => sessionStorage.setItem('tickcast-token', kept), token);
  await page.goto(`${server.url}/${transport && `?transport=${transport}`}${hash}`);
  await untilPhase(page, 'live');
  return { page, faults };
}

const items = (page) => page.locator('.alerts li');

test('is set, fires wherever the reader is, stays in the list, and is removed', TEST, async (t) => {
  const { server, price } = await gold(t);
  const { page, faults } = await open(t, server);
  const form = page.locator('.alert-form');
  await form.getByRole('textbox').fill('nothing');
  await form.getByRole('button', { name: 'Set' }).click();
  await page.getByText('The alert needs a number.').waitFor();
  await form.getByRole('textbox').fill('1,910');
  await form.getByRole('textbox').press('Enter');
  await items(page).getByText('above 1,910').waitFor();
  await form.getByRole('combobox').selectOption('changePct');
  assert.equal(await form.getByRole('textbox').getAttribute('placeholder'), 'Percent');
  await form.getByRole('textbox').fill('-5');
  await form.getByRole('textbox').press('Enter');
  // What the server has to say against it.
  await page.locator('.alert-note', { hasText: 'changePct is -5' }).waitFor();
  assert.equal(await items(page).count(), 1);
  await form.getByRole('textbox').fill('50');
  await form.getByRole('textbox').press('Enter');
  await items(page).getByText('±50% within 5 min').waitFor();

  // Away from the symbol it is told all the same.
  await page.keyboard.press('Escape');
  await page.locator('#detail').waitFor({ state: 'hidden' });
  await price(1911);
  const toast = page.locator('.toast', { hasText: 'GOLD at 1,911: above 1,910' });
  await toast.waitFor();
  assert.equal(await page.locator('#announce').innerText(), 'Alert: GOLD at 1,911: above 1,910');
  await toast.getByRole('link', { name: 'GOLD' }).click();
  await page.locator('#detail-title', { hasText: 'GOLD' }).waitFor();
  await toast.getByRole('button', { name: 'Close' }).click();
  await toast.waitFor({ state: 'detached' });
  await items(page).filter({ hasText: /above 1,910 fired [\d:]{8} at 1,911/ }).waitFor();

  // On the page of another symbol it stands below, with a way back.
  await page.evaluate(() => (location.hash = '#/SILVER'));
  await page.locator('#detail-title', { hasText: 'SILVER' }).waitFor();
  await items(page).filter({ hasText: 'above 1,910' }).getByRole('link', { name: 'GOLD' }).click();
  await page.locator('#detail-title', { hasText: 'GOLD' }).waitFor();
  await page.getByRole('button', { name: 'Remove the alert GOLD above 1,910' }).click();
  await page.waitForFunction(() => document.querySelectorAll('.alerts li').length === 1);
  await price(1900);
  await price(1912);
  await page.locator('.big', { hasText: '1,912' }).waitFor();
  assert.equal(await page.locator('.toast').count(), 0);
  assert.deepEqual(faults, []);
});

test('a line on the chart can be dragged, across the price too', TEST, async (t) => {
  // A price that stays where it is: what is above it and what is below does not change under the pointer.
  const { server } = await gold(t);
  const { page, faults } = await open(t, server);
  await page.locator('.legend', { hasText: 'O ' }).waitFor();
  await page.getByRole('button', { name: 'Line' }).click();
  await items(page).filter({ hasText: /^above [\d,.]+/ }).waitFor();
  const chart = page.locator('.chart-box');
  const level = async () => Number((await items(page).first().locator('span').first().innerText()).replace(/^\w+ /, '').replaceAll(',', ''));
  const yOf = async (price) => (await chart.boundingBox()).y + await chart.evaluate((box, at) => box.yOf(at), price);
  const above = await level();
  await page.waitForFunction((price) => document.querySelector('.chart-box').yOf(price) > 0, above);
  const { x } = await chart.boundingBox();
  // The chart may still be finding its scale: then the line is not where it was.
  await until(async () => {
    await page.mouse.move(x + 60, await yOf(above));
    await page.mouse.down();
    if (await page.locator('.chart-box.over-line.dragging').count() === 1) return true;
    await page.mouse.up();
    return false;
  }, 'the line to be taken');
  const { y, height } = await chart.boundingBox();
  const to = (await yOf(1900) + y + height) / 2;
  await page.mouse.move(x + 60, to, { steps: 8 });
  await page.mouse.up();
  await items(page).filter({ hasText: /^below [\d,.]+/ }).waitFor();
  await page.waitForFunction(() => document.querySelectorAll('.alerts li').length === 1);
  assert.ok(await level() < above, `${await level()} is below ${above}`);
  assert.deepEqual(faults, []);
});

test('a guest\'s alerts are there again after the connection was lost', TEST, async (t) => {
  const { server, price } = await gold(t);
  const { page } = await newPage(t, browser);
  const sockets = new Set();
  await page.routeWebSocket(/.*/, (socket) => {
    socket.connectToServer();
    sockets.add(socket);
  });
  await page.goto(`${server.url}/?transport=websocket#/GOLD`);
  await untilPhase(page, 'live');
  await page.locator('.alert-form').getByRole('textbox').fill('1910');
  await page.locator('.alert-form').getByRole('textbox').press('Enter');
  await items(page).getByText('above 1,910').waitFor();
  await page.getByText('Without a token they end when this page is closed.').waitFor();
  for (const socket of sockets) await socket.close({ code: 1001 });
  await untilPhase(page, 'reconnecting');
  await untilPhase(page, 'live');
  await items(page).getByText('above 1,910').waitFor();
  await page.waitForFunction(() => globalThis.ws.connected);
  // Set again it is another one: wait until the server has it.
  await page.waitForFunction(() => new Promise((resolve) => globalThis.ws.emit('alerts', {}, ({ alerts }) => resolve(alerts.length === 1))));
  await price(1911);
  await page.locator('.toast', { hasText: 'above 1,910' }).waitFor();
});

test('a user\'s alerts are the same on each of the user\'s pages, and told before any symbol was opened', TEST, async (t) => {
  const { server, price } = await gold(t, { JWT_SECRET: SECRET, API_KEY: 'the key of a back end, long enough' });
  const token = hs256();
  const one = await open(t, server, '#/GOLD', { token });
  await one.page.locator('.alert-form').getByRole('textbox').fill('1910');
  await one.page.locator('.alert-form').getByRole('textbox').press('Enter');
  await items(one.page).getByText('above 1,910').waitFor();
  const two = await open(t, server, '', { token });
  await two.page.locator('#use').waitFor();
  await price(1911);
  for (const { page } of [one, two]) await page.locator('.toast', { hasText: 'GOLD at 1,911' }).waitFor();
  await two.page.locator('.toast').getByRole('link').click();
  await items(two.page).getByText('above 1,910').waitFor();
});
