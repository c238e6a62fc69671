// Every text against the pixels that are really behind it: at least 4.5:1 (WCAG 2.2, level AA).
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { publish } from '../support/api.mjs';
import { startServer } from '../support/server.mjs';
import { newPage, openBrowser, TEST, untilAllMoved, untilPhase } from './open.mjs';

const NEEDED = 4.5;

let browser;
let server;

before(async () => {
  [server, browser] = await Promise.all([startServer(), openBrowser()]);
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

/** Text elements in the window: what they say, their colour and where they are. Then makes all text invisible. */
function takeTextAway() {
  const found = [];
  for (const element of document.body.querySelectorAll('*')) {
    const says = [...element.childNodes].filter(({ nodeType }) => nodeType === Node.TEXT_NODE).map(({ data }) => data.trim()).join('');
    const box = element.getBoundingClientRect();
    const shown = element.checkVisibility() && box.width > 2 && box.top >= 0 && box.bottom <= innerHeight && box.left >= 0;
    if (!says || !shown || element.matches('template *, .skip')) continue;
    const paint = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
    paint.fillStyle = getComputedStyle(element).color;
    paint.fillRect(0, 0, 1, 1);
    const [red, green, blue] = paint.getImageData(0, 0, 1, 1).data;
    found.push({ says, colour: [red, green, blue], x: box.x, y: box.y, width: box.width, height: box.height });
  }
  const hide = document.createElement('style');
  hide.textContent = '* { color: transparent !important; animation: none !important } canvas { visibility: hidden }';
  document.head.append(hide);
  return found;
}

/** The least contrast of each text with any pixel of its box. */
async function leastContrasts({ image, texts }) {
  const picture = new Image();
  picture.src = image;
  await picture.decode();
  const canvas = Object.assign(document.createElement('canvas'), { width: picture.width, height: picture.height });
  const paint = canvas.getContext('2d', { willReadFrequently: true });
  paint.drawImage(picture, 0, 0);
  const luminance = (rgb) => {
    const [r, g, b] = rgb.map((byte) => (byte / 255 <= 0.04045 ? byte / 255 / 12.92 : ((byte / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  return texts.map(({ says, colour, x, y, width, height }) => {
    const { data } = paint.getImageData(x, y, Math.max(1, width), Math.max(1, height));
    const ink = luminance(colour);
    let least = Infinity;
    for (let i = 0; i < data.length; i += 4) {
      const ground = luminance([data[i], data[i + 1], data[i + 2]]);
      least = Math.min(least, (Math.max(ink, ground) + 0.05) / (Math.min(ink, ground) + 0.05));
    }
    return { says, least: Math.round(least * 100) / 100 };
  });
}

for (const colorScheme of ['dark', 'light']) {
  for (const phase of ['live', 'reconnecting', 'failed']) {
    test(`all text can be read: ${colorScheme}, ${phase}`, TEST, async (t) => {
      const { page } = await newPage(t, browser, { colorScheme, bypassCSP: true, reducedMotion: 'reduce', viewport: { width: 1280, height: 900 } });
      if (phase === 'failed') {
        await page.route('**/socket.io.esm.min.js', (route) => route.abort());
      }
      let cut = () => {};
      await page.routeWebSocket(/.*/, (socket) => {
        socket.connectToServer();
        cut = () => socket.close({ code: 1001 });
      });
      await page.goto(`${server.url}/?transport=websocket`);
      if (phase !== 'failed') await untilAllMoved(page);
      if (phase === 'reconnecting') {
        await page.routeWebSocket(/.*/, (socket) => socket.close({ code: 1001 }));
        await cut();
      }
      await untilPhase(page, phase);
      const texts = await page.evaluate(takeTextAway);
      assert.ok(texts.length > 10);
      const image = `data:image/png;base64,${(await page.screenshot()).toString('base64')}`;
      const blank = await page.context().newPage();
      const bad = (await blank.evaluate(leastContrasts, { image, texts })).filter(({ least }) => least < NEEDED);
      assert.deepEqual(bad, []);
    });
  }
}

for (const colorScheme of ['dark', 'light']) {
  for (const palette of ['green-red', 'blue-orange']) {
    test(`the last price can be read at the chart's edge, up and down: ${colorScheme}, ${palette}`, TEST, async (t) => {
      const quiet = await startServer({ SYMBOLS: '', PUBLISHED_SYMBOLS: 'GOLD', STALE_AFTER: '0' });
      t.after(() => quiet.stop());
      const price = async (value) => {
        const { json, text } = await publish(quiet, [{ symbol: 'GOLD', price: value }]);
        assert.equal(json?.accepted, 1, text);
      };
      await price(1900);
      const { page } = await newPage(t, browser, { colorScheme });
      await page.addInitScript((kept) => {
        localStorage.setItem('tickcast-choices', kept);
        // What is written on the chart, and in which colour.
        globalThis.written = {};
        const { fillText } = CanvasRenderingContext2D.prototype;
        CanvasRenderingContext2D.prototype.fillText = function (...args) {
          globalThis.written[args[0]] = this.fillStyle;
          return fillText.apply(this, args);
        };
      }, JSON.stringify({ palette, interval: '1d' }));
      await page.goto(`${quiet.url}/#/GOLD`);
      await page.locator('.legend', { hasText: 'C 1,900' }).waitFor();
      const luminance = ([r, g, b]) => {
        const [red, green, blue] = [r, g, b].map((byte) => (byte / 255 <= 0.04045 ? byte / 255 / 12.92 : ((byte / 255 + 0.055) / 1.055) ** 2.4));
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
      };
      for (const [value, name] of [[1931, 'up'], [1869, 'down']]) {
        await price(value);
        const label = `1,${String(value).slice(1)}`;
        const ink = await page.waitForFunction((says) => globalThis.written[says], label).then((handle) => handle.jsonValue());
        const [text, ground] = await page.evaluate((both) => both.map((colour) => {
          const paint = document.createElement('canvas').getContext('2d');
          const probe = document.body.appendChild(document.createElement('i'));
          probe.style.color = colour;
          paint.fillStyle = getComputedStyle(probe).color;
          paint.fillRect(0, 0, 1, 1);
          return [...paint.getImageData(0, 0, 1, 1).data];
        }), [ink, `var(--${name})`]);
        const [light, dark] = [luminance(text), luminance(ground)].sort((a, b) => b - a);
        assert.ok((light + 0.05) / (dark + 0.05) >= NEEDED, `${ink} on --${name}: ${((light + 0.05) / (dark + 0.05)).toFixed(2)}`);
      }
    });
  }
}
