#!/usr/bin/env node
// A stand-in for an exchange as a program of its own: `main.mjs binance|coinbase|kraken [port] [ms between ticks]`.
// It prints its address, and on its end how many rules were broken.
import { Binance } from './binance.mjs';
import { Coinbase } from './coinbase.mjs';
import { Kraken } from './kraken.mjs';

/** @type {Record<string, any>} */
export const venues = { binance: Binance, coinbase: Coinbase, kraken: Kraken };

if (process.argv[1] === import.meta.filename) {
  const [name, port = '0', everyMs = '200'] = process.argv.slice(2);
  if (!(name in venues)) {
    process.stderr.write(`usage: main.mjs ${Object.keys(venues).join('|')} [port] [ms between ticks]\n`);
    process.exit(2);
  }
  const venue = await new venues[name]({ everyMs: Number(everyMs) }).listen(Number(port));
  process.stdout.write(`${venue.url}\n`);
  for (const signal of ['SIGINT', 'SIGTERM']) {
    process.on(signal, async () => {
      await venue.close();
      process.stdout.write(`broken rules: ${venue.broken.length}${venue.broken.map((/** @type {string} */ rule) => `\n  ${rule}`).join('')}\n`);
      process.exit(0);
    });
  }
}
