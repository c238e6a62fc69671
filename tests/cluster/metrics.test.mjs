// What operators look at: every query of the dashboard and of the alerts has an answer, from a real Prometheus that asks
// the demo under load; and the files are what promtool takes.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { closeAfter, connect, request, until } from '../support/clients.mjs';
import { startDemo } from '../support/demo.mjs';
import { promtool } from '../support/metrics.mjs';
import { freePort } from '../support/redis.mjs';

const ops = fileURLToPath(new URL('../../ops/', import.meta.url));

/** How long Prometheus and its rates may need (ms). */
const FILLED_MS = 60_000;

/** A rate needs two samples in it; Grafana makes it four intervals wide, and so do we. */
const INTERVAL_S = 1;

/** Every query that Grafana would send, with its variables filled in. */
async function queries() {
  const { panels } = JSON.parse(await readFile(`${ops}grafana/dashboards/tickcast.json`, 'utf8'));
  return panels.flatMap((/** @type {any} */ { title, targets = [] }) => targets.map((/** @type {any} */ { expr, legendFormat }) => ({
    name: `${title}: ${legendFormat}`,
    query: expr.replaceAll('$__rate_interval', `${INTERVAL_S * 10}s`).replaceAll('$instance', '.*'),
  })));
}

describe('operations', { concurrency: true }, () => {
  it('promtool takes the rules, the configuration and the tests of the alerts', () => {
    promtool(['check', 'rules', `${ops}alerts.yml`]);
    promtool(['check', 'config', `${ops}prometheus.yml`]);
    promtool(['test', 'rules', `${ops}alerts.test.yml`]);
  });

  it('each alert is in the handbook', async () => {
    const rules = await readFile(`${ops}alerts.yml`, 'utf8');
    const handbook = await readFile(new URL('../../docs/operations.md', import.meta.url), 'utf8');
    const alerts = [...rules.matchAll(/- alert: (\w+)/g)].map(([, name]) => name);
    assert.ok(alerts.length > 10);
    assert.deepEqual(alerts.filter((name) => !handbook.includes(`\`${name}\``)), []);
  });

  it('every query of the dashboard and of the alerts has data under load', async (test) => {
    const demo = await startDemo(test, { REPLICAS: '2' });
    const folder = await mkdtemp(path.join(tmpdir(), 'tickcast-prometheus-'));
    const port = await freePort();
    await cp(`${ops}alerts.yml`, `${folder}/alerts.yml`);
    await writeFile(`${folder}/prometheus.yml`, JSON.stringify({
      global: { scrape_interval: `${INTERVAL_S}s`, evaluation_interval: `${INTERVAL_S}s` },
      rule_files: ['alerts.yml'],
      scrape_configs: [{ job_name: 'tickcast', static_configs: [{ targets: demo.replicas.map(({ url }) => new URL(url).host) }] }],
    }));
    const prometheus = spawn('prometheus', [
      `--config.file=${folder}/prometheus.yml`, `--storage.tsdb.path=${folder}/data`, `--web.listen-address=127.0.0.1:${port}`, '--log.level=warn',
    ], { stdio: ['ignore', 'inherit', 'inherit'] });
    const ended = once(prometheus, 'exit');
    test.after(async () => {
      prometheus.kill('SIGTERM');
      await ended;
      await rm(folder, { recursive: true, force: true });
    });

    // Load of every kind: ticks, both paths, answers, messages, errors.
    const clients = await Promise.all(demo.replicas.flatMap(({ url }) => [['websocket'], ['polling']].map((transports) => (
      connect(new URL(url).origin, { transports })
    ))));
    closeAfter(test, ...clients);
    for (const client of clients) {
      await request(client, 'subscribe', { symbols: '*', mode: 'both' });
      client.emit('chat', 'hello');
      await request(client, 'no_such_event');
    }

    const ask = async (/** @type {string} */ query) => {
      const url = `http://127.0.0.1:${port}/api/v1/query?query=${encodeURIComponent(query)}`;
      // It listens before it is ready.
      const answer = await fetch(url).then((response) => (response.status === 503 ? null : response.json()), () => null);
      if (answer === null) return [];
      assert.equal(answer.status, 'success', `${query}: ${answer.error}`);
      return answer.data.result.filter((/** @type {any} */ { value }) => Number.isFinite(Number(value[1])));
    };
    const wanted = await queries();
    assert.ok(wanted.length > 30);
    /** @type {string[]} */
    let empty = [];
    await until(async () => {
      const answers = await Promise.all(wanted.map(async ({ name, query }) => ({ name, query, result: await ask(query) })));
      empty = answers.filter(({ result }) => result.length === 0).map(({ name, query }) => `${name}: ${query}`);
      return empty.length === 0;
    }, () => `data for:\n${empty.join('\n')}`, FILLED_MS);

    // Every metric that an alert names is there; and nobody is called while all is well.
    const rules = await readFile(`${ops}alerts.yml`, 'utf8');
    const names = new Set([...rules.matchAll(/\b((?:tickcast|socket|process)_\w+)/g)].map(([, name]) => name));
    assert.ok(names.size > 15);
    for (const name of names) assert.ok((await ask(name)).length > 0, `${name} is not there`);
    const { data } = await (await fetch(`http://127.0.0.1:${port}/api/v1/alerts`)).json();
    assert.deepEqual(data.alerts.filter((/** @type {any} */ { state }) => state === 'firing').map((/** @type {any} */ { labels }) => labels.alertname), []);
  });
});
