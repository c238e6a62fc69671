// The checker itself: whatever may not be is seen, and what may be is not held against anybody.
import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { describe, it } from 'node:test';
import { Ledger, SYMBOLS, Watch } from '../support/cluster.mjs';
import { silence } from './storm.mjs';

const EPOCH = 'e1';
const [SYMBOL] = SYMBOLS;

/** @param {number} seq @param {Record<string, unknown>} [more] */
const tick = (seq, more = {}) => ({ symbol: SYMBOL, price: 100 + (seq % 7), ts: Date.now(), seq, ...more });

/**
 * Two clients that are connected to nothing and have had ticks 1 to 5.
 *
 * @param {'tick' | 'batch'} mode
 */
function watching(mode) {
  const ledger = new Ledger();
  const clients = ['one', 'two'].map((name) => {
    const socket = Object.assign(new EventEmitter(), { close() {} });
    const watch = new Watch(ledger, socket, { name, mode });
    const send = (/** @type {any} */ each) => socket.emit(mode === 'tick' ? 'tick' : 'ticks', mode === 'tick' ? each : [each]);
    send(tick(1, { epoch: EPOCH }));
    for (let seq = 2; seq <= 5; seq += 1) send(tick(seq));
    return { socket, watch, send };
  });
  const wrong = () => [...clients.flatMap(({ watch }) => watch.violations), ...ledger.conflicts];
  assert.deepEqual(wrong(), []);
  return { one: clients[0], two: clients[1], wrong };
}

describe('the checker', () => {
  for (const mode of /** @type {const} */ (['tick', 'batch'])) {
    for (const { title, plant, sees } of [
      { title: 'a duplicate', plant: [tick(5)], sees: /after 5/ },
      { title: 'a hole', plant: [tick(7)], sees: /after 5/ },
      { title: 'a hole that `n` does not cover', plant: [tick(8, { n: 2, high: 108, low: 100, price: 101 })], sees: /after 5/ },
      { title: 'two in the wrong order', plant: [tick(7), tick(6)], sees: /after 5/ },
      { title: 'a number that goes back', plant: [tick(3)], sees: /after 5/ },
      { title: 'an epoch that nobody announced', plant: [tick(9, { epoch: 'e2' })], sees: /a status comes before/ },
    ]) {
      it(`sees ${title} in ${mode}s`, () => {
        const { one, wrong } = watching(mode);
        for (const each of plant) one.send(each);
        assert.match(wrong().join('\n'), sees);
      });
    }

    it(`sees a second price for one number in ${mode}s`, () => {
      const { one, two, wrong } = watching(mode);
      one.send(tick(6));
      two.send(tick(6, { price: 99 }));
      assert.match(wrong().join('\n'), new RegExp(`${EPOCH} ${SYMBOL} 6: .*one.*99 .*two`));
    });

    it(`sees numbers of a new epoch that go back in ${mode}s`, () => {
      const { one, wrong } = watching(mode);
      one.socket.emit('status', { state: 'live', reason: '', epoch: 'e2' });
      one.send(tick(4, { epoch: 'e2' }));
      assert.match(wrong().join('\n'), /goes back behind 5/);
    });

    it(`sees nothing wrong in ${mode}s that go on, are conflated, or begin an epoch`, () => {
      const { one, two, wrong } = watching(mode);
      for (const { watch } of [one, two]) watch.polls = true;
      for (const { send, socket } of [one, two]) {
        send(tick(6));
        send(tick(9, { n: 3, high: 200, low: 1 }));
        socket.emit('status', { state: 'live', reason: '', epoch: 'e2' });
        send(tick(20, { epoch: 'e2' }));
        send(tick(21));
      }
      assert.deepEqual(wrong(), []);
    });
  }

  it('sees a second price in a snapshot', () => {
    const { one, wrong } = watching('tick');
    const { socket, watch } = one;
    // What the client asks, the same emitter hears.
    socket.once('subscribe', (/** @type {any} */ _, /** @type {(answer: any) => void} */ reply) => reply({
      ok: true, state: 'degraded', epoch: EPOCH, server: { id: 'app1' }, snapshot: [tick(5, { epoch: EPOCH, price: 1 })],
    }));
    socket.emit('connect');
    assert.equal(watch.answers.length, 1);
    assert.match(wrong().join('\n'), /5: .*1 \(one\)/);
  });

  it('measures silence on one connection, and not from one to the next', () => {
    const { watch } = watching('tick').one;
    const since = performance.now() - 5100;
    const at = (/** @type {[number, number][]} */ ...times) => (/** @type {string} */ symbol) => (
      times.map(([at_ms, connection]) => ({ symbol, at: since + at_ms, connection }))
    );
    watch.ticks = SYMBOLS.flatMap(at([0, 1], [100, 1], [700, 1], [5000, 2], [5100, 2]));
    const longest = silence(watch, since);
    assert.ok(longest >= 599 && longest <= 601, `${longest}`);
    const [first, ...others] = SYMBOLS;
    watch.ticks = [...at([0, 1], [800, 1], [5000, 2], [5100, 2])(first), ...others.flatMap(at([0, 1], [100, 1], [700, 1], [5000, 2], [5100, 2]))];
    assert.ok(silence(watch, since) >= 799, 'of one symbol alone');
    watch.ticks = [];
    assert.ok(silence(watch, performance.now() - 300) >= 300, 'none at all');
  });
});
