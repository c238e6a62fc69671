// The clients of the systems that this one replaces, each against the demo with the settings that it names.
import { readdirSync } from 'node:fs';
import { describe, it } from 'node:test';
import { within } from '../support/clients.mjs';
import { startDemo } from '../support/demo.mjs';

/** How long one may take (ms). */
const RUN_MS = 60_000;

const scripts = readdirSync(new URL('.', import.meta.url)).filter((name) => !name.endsWith('.test.mjs'));

describe('seeds', () => {
  for (const name of scripts) {
    it(name, async (test) => {
      const { settings, run } = await import(`./${name}`);
      const { proxy, replicas } = await startDemo(test, await settings());
      await within(run({ url: proxy.url, replicas: replicas.map(({ url }) => url) }), name, RUN_MS);
    });
  }
});
