// The file for `docker compose`: of the form that Compose takes, and true to what it starts. That needs no engine.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { access, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Ajv } from 'ajv';
import { parse } from 'yaml';
import { binary } from '../support/server.mjs';

const root = fileURLToPath(new URL('../../', import.meta.url));
const read = (/** @type {string} */ file) => readFile(root + file, 'utf8');

/** A value with its variables filled in, as Compose does it. @param {any} value @param {Record<string, string>} env @returns {any} */
function filled(value, env) {
  if (typeof value === 'string') return value.replace(/\$\{(\w+):-([^}]*)\}/g, (_, name, otherwise) => env[name] || otherwise);
  if (Array.isArray(value)) return value.map((each) => filled(each, env));
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, filled(each, env)]));
}

/** The file as Compose sees it. @param {Record<string, string>} [env] @returns {Promise<any>} */
const composed = async (env = {}) => filled(parse(await read('docker-compose.yml'), { merge: true }), env);

/** The environment of a service, as texts. @param {any} service @returns {Record<string, string>} */
const environment = ({ environment: set }) => Object.fromEntries(Object.entries(set).map(([name, value]) => [name, `${value}`]));

/** The replicas. @param {any} compose @returns {[string, Record<string, string>][]} */
const replicas = ({ services }) => Object.entries(services).filter(([name]) => /^app\d$/.test(name)).map(([name, service]) => [name, environment(service)]);

/** What a program says of something; fails unless it is content. @param {string} program @param {string[]} args @param {Record<string, string>} [env] */
function runs(program, args, env = {}) {
  const { status, stdout, stderr, error } = spawnSync(program, args, { env: { PATH: `${process.env.PATH}:/usr/sbin`, ...env }, cwd: tmpdir(), encoding: 'utf8' });
  assert.ifError(error);
  assert.equal(status, 0, `${program} ${args.join(' ')}:\n${stdout}${stderr}`);
  return stdout;
}

/** A time such as `15s`, in ms. @param {string} text */
const ms = (text) => Number(/^(\d+)s$/.exec(text)?.[1]) * 1000;

describe('compose', () => {
  it('is of the form that the Compose specification asks for', async () => {
    const schema = JSON.parse(await read('node_modules/dclint/schemas/compose.schema.json'));
    // It names its own form by an address that is nobody's.
    delete schema.$schema;
    const takes = new Ajv({ strict: false, validateFormats: false, allErrors: true }).compile(schema);
    const compose = await composed();
    assert.ok(takes(compose), JSON.stringify(takes.errors, null, 2));
    compose.services.app1.env_file[0].paths = 'x';
    assert.ok(!takes(compose), 'a field that nobody knows');
  });

  it('names only what there is', async () => {
    const compose = await composed();
    for (const [name, service] of Object.entries(/** @type {Record<string, any>} */ (compose.services))) {
      for (const [other, { condition }] of Object.entries(/** @type {Record<string, any>} */ (service.depends_on ?? {}))) {
        const needed = compose.services[other];
        assert.ok(needed, `${name} needs ${other}`);
        assert.ok(condition !== 'service_healthy' || needed.healthcheck, `${other} cannot say that it is healthy`);
        assert.ok((needed.profiles ?? []).every((/** @type {string} */ profile) => service.profiles?.includes(profile)), `${other} may not be there for ${name}`);
      }
      for (const volume of service.volumes ?? []) {
        const [source] = volume.split(':');
        if (source.startsWith('.')) await access(root + source);
        else assert.ok(source in compose.volumes, `${name} has no volume ${source}`);
      }
    }
  });

  for (const env of [{}, { BASE_PATH: '/feed', SOCKET_PATH: '/ws', MAX_PAYLOAD: '5000', BALANCE: 'least_conn', HAPROXY_BALANCE: 'leastconn' }]) {
    it(`each part takes what it is given: ${JSON.stringify(env)}`, async (test) => {
      const compose = await composed(/** @type {Record<string, string>} */ (env));
      const apps = replicas(compose);
      assert.equal(apps.length, 4);
      const settings = new Set([...(await read('.env.example')).matchAll(/^#? ?([A-Z_]+)=/gm)].map(([, name]) => name));
      for (const [name, set] of apps) {
        assert.deepEqual(Object.keys(set).filter((variable) => !settings.has(variable)), [], `${name} has settings that there are not`);
        const effective = runs(binary, ['check-config'], set);
        const deadline = Number(/DRAIN_DEADLINE\D+(\d+)/.exec(effective)?.[1]);
        assert.ok(ms(compose.services[name].stop_grace_period) > deadline, `${name} is killed while it drains: ${deadline} ms`);
      }
      const [first] = apps;
      const known = (/** @type {Record<string, string>} */ proxy) => [proxy.PROXY_BASE_PATH, proxy.PROXY_SOCKET_PATH, proxy.PROXY_MAX_PAYLOAD];
      const theirs = [first[1].BASE_PATH, first[1].BASE_PATH + first[1].SOCKET_PATH, first[1].MAX_PAYLOAD];

      // Nginx gets every variable of its template, and takes what comes out. The one of Debian is too old to look names up
      // again and again: without that.
      const nginx = environment(compose.services.nginx);
      assert.deepEqual(known(nginx), theirs);
      const template = await read('nginx/nginx.conf.template');
      const folder = await mkdtemp(path.join(tmpdir(), 'tickcast-compose-'));
      test.after(() => rm(folder, { recursive: true }));
      const config = template.replace(/\$\{(\w+)\}/g, (_, name) => {
        assert.ok(name in nginx, `nginx is not given ${name}`);
        return nginx[name];
      });
      const servers = [...config.matchAll(/server (app\d):(\d+) resolve /g)].map(([, name, port]) => [name, port]);
      assert.deepEqual(servers, apps.slice(0, 2).map(([name, { PORT }]) => [name, PORT]));
      const plain = config.replace(/resolver [^;]*;/, '').replace(/server app\d:(\d+) resolve/g, 'server 127.0.0.1:$1');
      await writeFile(path.join(folder, 'nginx.conf'), plain);
      runs('nginx', ['-t', '-q', '-p', folder, '-c', path.join(folder, 'nginx.conf'), '-e', 'stderr']);

      // HAProxy reads its own, and has all four.
      const haproxy = environment(compose.services.haproxy);
      assert.deepEqual(known(haproxy), theirs);
      for (const side of ['FRONT', 'BACK']) {
        assert.deepEqual([1, 2, 3, 4, 5].map((n) => haproxy[`PROXY_${side}_${n}`]), [...apps.map(([name, { PORT }]) => `${name}:${PORT}`), undefined]);
      }
      runs('haproxy', ['-c', '-q', '-f', `${root}haproxy/haproxy.cfg`], haproxy);
      const patience = Number(/hard-stop-after (\d+)s/.exec(await read('haproxy/haproxy.cfg'))?.[1]) * 1000;
      assert.ok(ms(compose.services.haproxy.stop_grace_period) > patience, 'it is killed while it waits for its clients');
      for (const name of ['nginx', 'haproxy']) {
        const [, check] = compose.services[name].healthcheck.test;
        assert.ok(check.endsWith(`:8080${first[1].BASE_PATH}/health`), check);
      }
    });
  }

  it('Prometheus asks every replica where its metrics are, and Grafana asks Prometheus', async () => {
    const compose = await composed();
    const { scrape_configs: [{ static_configs: [listed], dns_sd_configs: [found], metrics_path: at }] } = parse(await read('ops/prometheus.yml'));
    const all = replicas(compose);
    // Who is looked up is not missed when it is gone: only those that need not run.
    const optional = (/** @type {string} */ name) => Boolean(compose.services[name].profiles);
    assert.deepEqual(listed.targets, all.filter(([name]) => !optional(name)).map(([name, { ADMIN_PORT }]) => `${name}:${ADMIN_PORT}`));
    assert.deepEqual(found.names, all.map(([name]) => name).filter(optional));
    for (const [, { ADMIN_PORT }] of all) assert.equal(`${found.port}`, ADMIN_PORT);
    assert.equal(at, '/metrics');
    const { datasources: [{ url }] } = parse(await read('ops/grafana/provisioning/datasources/prometheus.yml'));
    assert.ok(new URL(url).hostname in compose.services, url);
    const { providers: [{ options: { path: folder } }] } = parse(await read('ops/grafana/provisioning/dashboards/tickcast.yml'));
    assert.ok(compose.services.grafana.volumes.includes(`./ops/grafana/dashboards:${folder}:ro`), folder);
  });
});
