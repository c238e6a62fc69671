// Stand-ins for the exchanges that SOURCES names, so that the demo needs none of them.
import { fileURLToPath } from 'node:url';

const PROGRAM = fileURLToPath(new URL('../tests/support/venues/main.mjs', import.meta.url));

const EXCHANGES = ['binance', 'coinbase', 'kraken'];

/** The exchanges for which a stand-in is to run: those that SOURCES names, and whose address is not set. */
export function standIns({ SOURCES = '', ...env }) {
  const named = SOURCES.split(',').map((name) => name.trim());
  return EXCHANGES.filter((name) => named.includes(name) && !env[`${name.toUpperCase()}_URL`]);
}

/** Starts them; returns the settings by which replicas find them. */
export function startStandIns(names, ports, parts) {
  const settings = {};
  for (const name of names) {
    const port = String(ports.get(name));
    parts.start(name, process.execPath, [PROGRAM, name, port]);
    settings[`${name.toUpperCase()}_URL`] = `ws://127.0.0.1:${port}`;
    settings[`${name.toUpperCase()}_REST_URL`] = `http://127.0.0.1:${port}`;
  }
  return settings;
}
