// Alerts on the page: set, drawn, dragged, fired, kept and removed.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { describe as say, readNumber, ruleAt } from '../../static/alerts.js';
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

async function open(t, server, hash = '#/GOLD', { token = '', transport = '', options = {} } = {}) {
  const { page, faults } = await newPage(t, browser, options);
  if (token) await page.addInitScript((kept) => sessionStorage.setItem('tickcast-token', kept), token);
  await page.goto(`${server.url}/${transport && `?transport=${transport}`}${hash}`);
  await untilPhase(page, 'live');
  return { page, faults };
}

const items = (page) => page.locator('.alerts li');

/** Sets one with the form. */
async function set(page, kind, value) {
  await page.locator('.alert-form').getByRole('combobox').selectOption(kind);
  await page.locator('.alert-form').getByRole('textbox').fill(value);
  await page.locator('.alert-form').getByRole('textbox').press('Enter');
}

/** Where a price is drawn in the window, once the chart has found its scale. */
function heightOf(page, price) {
  return until(() => page.locator('.chart-box').evaluate(async (box, at) => {
    const drawn = () => box.getBoundingClientRect().top + box.yOf(at);
    const was = drawn();
    for (let frame = 0; frame < 3; frame += 1) await new Promise((resolve) => requestAnimationFrame(resolve));
    return was > 0 && drawn() === was && was;
  }, price), `${price} to have a place`);
}

/** Takes hold of the line at a price, and says where. The chart may still be finding its scale: then the line is not where it was. */
async function take(page, price) {
  const { x } = await page.locator('.chart-box').boundingBox();
  return until(async () => {
    const y = await heightOf(page, price);
    await page.mouse.move(x + 60, y);
    await page.mouse.down();
    if (await page.locator('.chart-box.over-line.dragging').count() === 1) return { x: x + 60, y };
    await page.mouse.up();
    return null;
  }, 'the line to be taken');
}

describe('a number that was typed', () => {
  for (const [typed, number] of [
    ['64210.55', 64210.55], ['64,210.55', 64210.55], [' 1,234,567 ', 1234567], ['.5', 0.5], ['0.00001234', 0.00001234], ['007', 7], ['-5', -5], ['−2.5', -2.5],
  ]) test(`${typed} is ${number}`, () => assert.equal(readNumber(typed), number));

  for (const typed of ['', 'nothing', '64210,55', '64.210,55', '1,2', '1,23,456', '12,3456', '0,123', '1,234,56.7', '0x1F', '1e5', '1 000', '5.', '+5', '--5', 'Infinity', '0.1234567890123456']) {
    test(`“${typed}” is none`, () => assert.equal(readNumber(typed), null));
  }
});

test('a level is said as it was set, and a line lies on one side of the price', () => {
  assert.equal(say({ above: 12.555 }, 1), 'above 12.555');
  assert.equal(say({ below: 12 }, 2), 'below 12.00');
  assert.deepEqual(ruleAt(104.3, 104, 0), { above: 105 });
  assert.deepEqual(ruleAt(103.7, 104, 0), { below: 103 });
  assert.deepEqual(ruleAt(104, 104, 2), { below: 103.99 });
  assert.deepEqual(ruleAt(0.1234, 0.12, 2), { above: 0.13 });
  assert.deepEqual(ruleAt(106.26, 104, 1), { above: 106.3 });
  assert.deepEqual(ruleAt(-1.5, -1.25, 2), { below: -1.5 });
});

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
  // What the connection says to that stays unsaid: nothing about it has changed.
  await page.evaluate(() => {
    document.querySelector('#latency').textContent = '';
    document.dispatchEvent(new Event('visibilitychange'));
  });
  await page.locator('#latency', { hasText: 'ms' }).waitFor();
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
  const { x } = await take(page, above);
  const { y, height } = await chart.boundingBox();
  const to = (await yOf(1900) + y + height) / 2;
  await page.mouse.move(x, to, { steps: 8 });
  await page.mouse.up();
  await items(page).filter({ hasText: /^below [\d,.]+/ }).waitFor();
  await page.waitForFunction(() => document.querySelectorAll('.alerts li').length === 1);
  assert.ok(await level() < above, `${await level()} is below ${above}`);
  assert.deepEqual(faults, []);
});

test('takes a number for what it says, or asks again', TEST, async (t) => {
  const { server, price } = await gold(t);
  await price(1900.5);
  const { page, faults } = await newPage(t, browser);
  // What is written at the ends of the lines.
  await page.addInitScript(() => {
    globalThis.written = new Set();
    const { fillText } = CanvasRenderingContext2D.prototype;
    CanvasRenderingContext2D.prototype.fillText = function (...args) {
      globalThis.written.add(args[0]);
      return fillText.apply(this, args);
    };
  });
  await page.goto(`${server.url}/#/GOLD`);
  await untilPhase(page, 'live');
  await page.locator('.big', { hasText: '1,900.5' }).waitFor();
  const field = page.locator('.alert-form').getByRole('textbox');
  for (const typed of ['1905,55', '1.905,55', '0x1F']) {
    await set(page, 'above', typed);
    await page.getByText(`“${typed}” is not clear. Write it like 1,900.5.`).waitFor();
    assert.equal(await field.inputValue(), typed, 'what was typed is there to be mended');
  }
  await set(page, 'above', '-5');
  await page.getByText('GOLD does not go below zero').waitFor();
  assert.equal(await items(page).count(), 0);
  await set(page, 'above', '1,902.555');
  await items(page).getByText('above 1,902.555').waitFor();
  await page.waitForFunction(() => globalThis.written.has('1,902.555'));
  await page.waitForFunction(() => document.querySelector('.alert-form input').value === '');

  // A new line is above the price, however coarse its prices are.
  await page.evaluate(() => (location.hash = '#/SILVER'));
  await page.locator('.big', { hasText: '30' }).waitFor();
  await page.getByRole('button', { name: 'Line' }).click();
  await items(page).getByText('above 31').waitFor();
  assert.deepEqual(faults, []);
});

test('what the reader is told of his alert is not gone with the answer to what was asked before', TEST, async (t) => {
  const { server } = await gold(t);
  const { page, faults } = await newPage(t, browser);
  let answer = () => {};
  let isAsked = false;
  // The question for the list waits.
  await page.routeWebSocket(/.*/, (socket) => {
    const there = socket.connectToServer();
    socket.onMessage((message) => {
      if (!String(message).includes('["alerts"')) return there.send(message);
      isAsked = true;
      answer = () => there.send(message);
    });
  });
  await page.goto(`${server.url}/?transport=websocket#/GOLD`);
  await untilPhase(page, 'live');
  await until(() => isAsked, 'the list to be asked for');
  await set(page, 'above', '1905,55');
  const note = page.locator('.alert-note', { hasText: 'is not clear' });
  await note.waitFor();
  answer();
  // What is asked after it is answered after it.
  await page.evaluate(() => new Promise((resolve) => globalThis.ws.emit('latency', null, resolve)));
  assert.equal(await note.isVisible(), true);
  assert.deepEqual(faults, []);
});

test('a click on a line leaves the alert as it is', TEST, async (t) => {
  const { server } = await gold(t);
  const { page, faults } = await open(t, server);
  await page.locator('.legend', { hasText: 'O ' }).waitFor();
  // Below the price, to be told when it is back up there: put down there anew it would be one for the way down.
  await set(page, 'above', '1,899');
  await items(page).getByText('above 1,899').waitFor();
  const { x, y } = await take(page, 1899);
  // A hand is not so steady.
  await page.mouse.move(x + 1, y + 2);
  await page.mouse.up();
  // What comes after it is answered after it.
  await set(page, 'below', '1,000');
  await items(page).getByText('below 1,000').waitFor();
  assert.deepEqual(await items(page).locator('span').allInnerTexts(), ['above 1,899', 'below 1,000']);
  assert.deepEqual(faults, []);
});

test('a finger drags a line, and the page stays where it is', TEST, async (t) => {
  const { server } = await gold(t);
  const { page, faults } = await open(t, server, '#/GOLD', { options: { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true } });
  await page.locator('.legend', { hasText: 'O ' }).waitFor();
  await set(page, 'above', '1,901');
  await items(page).getByText('above 1,901').waitFor();
  const session = await page.context().newCDPSession(page);
  const finger = (type, x, y) => session.send('Input.dispatchTouchEvent', { type, touchPoints: type === 'touchEnd' ? [] : [{ x, y }] });
  const box = await page.locator('.chart-box').boundingBox();
  const from = await heightOf(page, 1901);
  const to = await heightOf(page, 1899);
  assert.ok(to - from > 40, `${from} to ${to}`);
  await page.evaluate(() => {
    globalThis.ended = [];
    for (const type of ['pointerup', 'pointercancel']) document.querySelector('.chart-box').addEventListener(type, () => globalThis.ended.push(type));
  });
  await finger('touchStart', box.x + 60, from);
  for (let step = 1; step <= 12; step += 1) await finger('touchMove', box.x + 60, from + (to - from) * step / 12);
  await finger('touchEnd');
  await items(page).filter({ hasText: /^below 1,89[89]/ }).waitFor();
  await page.waitForFunction(() => document.querySelectorAll('.alerts li').length === 1);
  assert.deepEqual(await page.evaluate(() => globalThis.ended), ['pointerup']);
  assert.equal(await page.evaluate(() => document.querySelector('#detail').scrollTop), 0);
  assert.deepEqual(faults, []);
});

test('a drag that the browser ends changes nothing', TEST, async (t) => {
  const { server } = await gold(t);
  const { page } = await open(t, server);
  await page.locator('.legend', { hasText: 'O ' }).waitFor();
  await set(page, 'above', '1,901');
  await items(page).getByText('above 1,901').waitFor();
  const chart = page.locator('.chart-box');
  const { x } = await take(page, 1901);
  await page.mouse.move(x, await heightOf(page, 1899));
  await chart.evaluate((element) => element.dispatchEvent(new PointerEvent('pointercancel', { pointerId: 1 })));
  await page.locator('.chart-box:not(.dragging)').waitFor();
  await page.mouse.up();
  await set(page, 'below', '1,000');
  await items(page).getByText('below 1,000').waitFor();
  assert.deepEqual(await items(page).locator('span').allInnerTexts(), ['above 1,901', 'below 1,000']);
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

test('a guest\'s alerts outlast a connection that is lost again while they are set, and a server that has no time', TEST, async (t) => {
  const { server, price } = await gold(t);
  const { page, faults } = await newPage(t, browser);
  /** What becomes of a request to set one: it is passed on, refused, or ends the connection. */
  let fate = 'pass';
  let reachable = true;
  const asked = [];
  const sockets = new Set();
  await page.routeWebSocket(/.*/, (socket) => {
    if (!reachable) return void socket.close({ code: 1001 });
    const there = socket.connectToServer();
    sockets.add(socket);
    socket.onMessage((packet) => {
      const [, id] = /^42(\d+)\["alert",/.exec(String(packet)) ?? [];
      if (id === undefined) return there.send(packet);
      asked.push(fate);
      if (fate === 'pass') return there.send(packet);
      if (fate === 'end') return void socket.close({ code: 1001 });
      socket.send(`43${id}[{"ok":false,"error":{"code":"rate_limited","message":"not now"}}]`);
      fate = 'pass';
    });
  });
  await page.goto(`${server.url}/?transport=websocket#/GOLD`);
  await untilPhase(page, 'live');
  const rules = ['above 1,910', 'above 1,920', 'below 1,500'];
  for (const rule of rules) {
    await set(page, ...rule.split(' '));
    await items(page).getByText(rule).waitFor();
  }
  // For as long as there is no connection, none of them is set.
  reachable = false;
  for (const socket of sockets) await socket.close({ code: 1001 });
  await untilPhase(page, 'reconnecting');
  await page.waitForFunction(() => document.querySelectorAll('.alerts li').length === 3 && [...document.querySelectorAll('.alerts li')].every((item) => item.innerText.includes('not set yet')));
  // What the reader removes meanwhile does not come back.
  await page.getByRole('button', { name: 'Remove the alert GOLD below 1,500' }).click();
  await items(page).getByText('below 1,500').waitFor({ state: 'detached' });
  asked.length = 0;
  fate = 'end';
  reachable = true;
  // Pauses between attempts have grown while there was nobody.
  await until(() => asked.length >= 2, 'two more connections to be lost', 90_000);
  fate = 'refuse';
  const onServer = () => page.evaluate(() => new Promise((resolve) => {
    if (!globalThis.ws.connected) return resolve([]);
    globalThis.ws.timeout(20_000).emit('alerts', {}, (error, answer) => resolve(error ? [] : answer.alerts.map(({ rule }) => rule.above ?? rule.below)));
  }));
  await until(async () => JSON.stringify((await onServer()).sort()) === '[1910,1920]', 'both to be set', 60_000);
  assert.ok(asked.includes('refuse'));
  await page.waitForFunction(() => !document.querySelector('.alerts').innerText.includes('not set'));
  assert.deepEqual(await items(page).locator('span').allInnerTexts(), ['above 1,910', 'above 1,920']);
  await price(1911);
  await page.locator('.toast', { hasText: 'above 1,910' }).waitFor();
  assert.deepEqual(faults, []);
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
