// Which rows are shown and in which order, and what the device keeps, without a browser.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Choices, readValues } from '../../static/choices.js';
import { arrange, isLive, moveBy, windowOf } from '../../static/order.js';
import { Row } from '../../static/row.js';

const PLAIN = { sort: 'own', descending: false, only: 'all', search: '', watched: new Set(), order: [], span: 'day' };

/** Rows with a price, and where it opened; null is not known. */
function rows() {
  const all = [['BTC', 100, 90], ['ETH', 5, null], ['A10', 7, 8], ['A9', 7, 7]];
  return all.map(([symbol, price, open], place) =>
    new Row({ symbol, price, ts: 1_000 + place, seq: 1, ...(open !== null && { open24h: open, volume24h: price }) }, place));
}

const names = (change, of = rows()) => arrange(of, { ...PLAIN, ...change }).map(({ symbol }) => symbol);

describe('the order', () => {
  test('is that in which they came, or the reader\'s own', () => {
    assert.deepEqual(names({}), ['BTC', 'ETH', 'A10', 'A9']);
    assert.deepEqual(names({ order: ['A9', 'gone', 'ETH'] }), ['A9', 'ETH', 'BTC', 'A10']);
  });

  test('by name counts numbers as numbers', () => {
    assert.deepEqual(names({ sort: 'symbol' }), ['A9', 'A10', 'BTC', 'ETH']);
    assert.deepEqual(names({ sort: 'symbol', descending: true }), ['ETH', 'BTC', 'A10', 'A9']);
  });

  test('puts what is not known last, whichever way round', () => {
    assert.deepEqual(names({ sort: 'change' }), ['A10', 'A9', 'BTC', 'ETH']);
    assert.deepEqual(names({ sort: 'change', descending: true }), ['BTC', 'A9', 'A10', 'ETH']);
    assert.deepEqual(names({ sort: 'volume', descending: true }), ['BTC', 'A10', 'A9', 'ETH']);
  });

  test('of equals is that in which they came; the youngest has the least age', () => {
    assert.deepEqual(names({ sort: 'price' }), ['ETH', 'A10', 'A9', 'BTC']);
    assert.deepEqual(names({ sort: 'age' }), ['A9', 'A10', 'ETH', 'BTC']);
  });

  test('is changed by prices only where it goes by them', () => {
    const live = (change) => isLive({ ...PLAIN, ...change });
    assert.deepEqual([live({}), live({ sort: 'symbol' }), live({ only: 'watched' })], [false, false, false]);
    assert.deepEqual([live({ sort: 'change' }), live({ only: 'stale' })], [true, true]);
  });

  test('of the reader moves one symbol among those shown', () => {
    const move = (...how) => moveBy(rows(), rows(), ...how);
    assert.deepEqual(move('A10', -2), ['A10', 'BTC', 'ETH', 'A9']);
    assert.deepEqual(move('BTC', 99), ['ETH', 'A10', 'A9', 'BTC']);
    assert.deepEqual([move('BTC', -1), move('gone', 1)], [null, null]);
    // Of those that a filter hides nothing is forgotten.
    const shown = arrange(rows(), { ...PLAIN, search: 'a' });
    assert.deepEqual(moveBy(rows(), shown, 'A9', -1), ['BTC', 'ETH', 'A9', 'A10']);
    assert.deepEqual(moveBy(rows(), shown, 'A10', 1), ['BTC', 'ETH', 'A9', 'A10']);
  });
});

describe('the filter', () => {
  test('goes by part of the name, the watchlist, the direction and staleness', () => {
    const all = rows();
    all[1].stale = true;
    assert.deepEqual(names({ search: 'a' }), ['A10', 'A9']);
    assert.deepEqual(names({ only: 'watched', watched: new Set(['ETH', 'gone']) }), ['ETH']);
    assert.deepEqual(names({ only: 'up' }), ['BTC']);
    assert.deepEqual(names({ only: 'down' }), ['A10']);
    assert.deepEqual(names({ only: 'stale' }, all), ['ETH']);
    assert.deepEqual(names({ only: 'up', search: 'eth' }), []);
  });
});

describe('the window', () => {
  test('is what can be seen and some around it, within what there is', () => {
    const view = { count: 500, height: 40, overscan: 2 };
    assert.deepEqual(windowOf({ ...view, top: -300, bottom: 500 }), { from: 0, to: 15 });
    assert.deepEqual(windowOf({ ...view, top: 4_000, bottom: 4_800 }), { from: 98, to: 122 });
    assert.deepEqual(windowOf({ ...view, top: 19_800, bottom: 20_600 }), { from: 493, to: 500 });
    assert.deepEqual(windowOf({ ...view, count: 3, top: 4_000, bottom: 4_800 }), { from: 1, to: 3 });
    assert.deepEqual(windowOf({ ...view, height: 0, top: 0, bottom: 800 }), { from: 0, to: 2 }, 'before it is laid out');
    assert.deepEqual(windowOf({ ...view, top: -900, bottom: -100 }), { from: 0, to: 2 }, 'below the window');
  });
});

describe('what is kept', () => {
  /** A storage that can be full. */
  function storage(text, { full = false } = {}) {
    const kept = new Map([['tickcast-choices', text]]);
    return {
      kept,
      getItem: (key) => kept.get(key) ?? null,
      setItem: (key, value) => {
        if (full) throw new Error('full');
        kept.set(key, value);
      },
    };
  }

  test('comes back', () => {
    const device = storage(null);
    const first = new Choices(device);
    first.toggleWatched('BTC');
    first.toggleWatched('ETH');
    first.toggleWatched('BTC');
    first.set({ sort: 'change', descending: true, order: ['ETH'] });
    assert.deepEqual(new Choices(device).values, first.values);
    assert.deepEqual([...new Choices(device).values.watched], ['ETH']);
  });

  test('is not lost between two pages: each writes what it changed', () => {
    const device = storage(null);
    const [one, two] = [new Choices(device), new Choices(device)];
    one.toggleWatched('BTC');
    one.toggleWatched('ETH');
    one.set({ order: ['ETH', 'BTC'], theme: 'dark' });
    two.set({ sort: 'change', descending: true });
    two.toggleWatched('SOL');
    assert.deepEqual([...two.values.watched], ['BTC', 'ETH', 'SOL']);
    assert.deepEqual([two.values.order, two.values.theme], [['ETH', 'BTC'], 'dark']);
    one.toggleWatched('BTC');
    assert.deepEqual([...one.values.watched], ['ETH', 'SOL']);
    assert.equal(one.values.sort, 'own', 'how a page sorts is its own');
    assert.deepEqual(new Choices(device).values, { ...one.values, sort: 'change', descending: true });
  });

  for (const text of [null, '', '{', '7', 'null', '{"sort":"nonsense","watched":[1,{}],"order":"x","theme":{}}']) {
    test(`may be anything: ${text}`, () => {
      assert.deepEqual(new Choices(storage(text)).values, readValues({}));
    });
  }

  test('may find no room: then it holds for this visit', () => {
    const choices = new Choices(storage(null, { full: true }));
    let told = 0;
    choices.follow(() => (told += 1));
    choices.set({ theme: 'light' });
    assert.deepEqual([choices.values.theme, told], ['light', 2]);
    assert.deepEqual(new Choices(null).values, readValues({}));
  });
});
