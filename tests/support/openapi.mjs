// Reads an OpenAPI 3.1 document: makes requests out of it, right and wrong ones, and judges answers by it.
import assert from 'node:assert/strict';

/** More than an operation takes (bytes), where that is not the usual 64 kB. @type {Record<string, number>} */
const OVERSIZE = { 'POST /api/prices': 600_000 };

const METHODS = ['get', 'post', 'put', 'delete', 'patch'];

/** What somebody may send in place of anything. */
const ODD = [null, true, 0, -1, 1.5, 1e300, 9007199254740992, '', 'x', '\u0000', '💥', 'x'.repeat(5000), [], [[]], {}, { a: 1 }, '-', '1e5', '../..'];

/** @param {any} document @param {any} schema @returns {any} */
function resolve(document, schema) {
  if (!schema?.$ref) return schema;
  const name = schema.$ref.replace('#/components/schemas/', '');
  const found = document.components.schemas[name];
  assert.ok(found, schema.$ref);
  return resolve(document, found);
}

/** Every object in a document. @param {any} value @returns {Generator<any>} */
function* objects(value) {
  if (typeof value !== 'object' || value === null) return;
  yield value;
  for (const each of Object.values(value)) yield* objects(each);
}

/** Fails unless this is a document that means something. @param {any} document */
export function isDocument(document) {
  assert.match(document.openapi, /^3\.1\./);
  assert.ok(document.info.title && document.info.version);
  for (const object of objects(document)) if (object.$ref) resolve(document, object);
  const ids = new Set();
  for (const { operation, name, path } of operations(document)) {
    assert.ok(operation.summary && operation.operationId, name);
    assert.ok(!ids.has(operation.operationId), operation.operationId);
    ids.add(operation.operationId);
    const named = [...path.matchAll(/\{(\w+)\}/g)].map(([, each]) => each);
    const described = (operation.parameters ?? []).filter((/** @type {any} */ each) => each.in === 'path').map((/** @type {any} */ each) => each.name);
    assert.deepEqual(named, described, name);
    for (const [status, response] of Object.entries(/** @type {Record<string, any>} */ (operation.responses))) {
      assert.ok(response.description, `${name} ${status}`);
      const types = Object.keys(response.content);
      assert.deepEqual(types, [Number(status) < 400 ? 'application/json' : 'application/problem+json'], `${name} ${status}`);
    }
  }
}

/** @param {any} document @returns {Generator<{ operation: any, name: string, method: string, path: string }>} */
function* operations(document) {
  for (const [path, item] of Object.entries(/** @type {Record<string, any>} */ (document.paths))) {
    for (const method of METHODS) {
      if (item[method]) yield { operation: item[method], name: `${method.toUpperCase()} ${path}`, method: method.toUpperCase(), path };
    }
  }
}

/** A number that follows the one before: the same in every run. @param {number} seed */
function random(seed) {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/** Something that a schema allows. @param {any} document @param {any} schema @param {() => number} dice @returns {any} */
function allowed(document, schema, dice) {
  const { type, properties = {}, required = [], items, oneOf, example, minItems = 0, pattern, minLength = 0, maximum } = resolve(document, schema);
  if (example !== undefined) return example;
  if (oneOf) return allowed(document, oneOf[Math.floor(dice() * oneOf.length)], dice);
  // A schema that says nothing allows everything.
  if (Object.keys(schema).length === 0) return;
  const kinds = [type].flat();
  switch (kinds[Math.floor(dice() * kinds.length)]) {
    case 'object': {
      const names = Object.keys(properties).filter((name) => required.includes(name) || dice() < 0.5);
      return Object.fromEntries(names.map((name) => [name, allowed(document, properties[name], dice)]));
    }
    case 'array': return Array.from({ length: minItems + Math.floor(dice() * 3) }, () => allowed(document, items, dice));
    case 'integer': return Math.floor(dice() * Math.min(maximum ?? 1e6, 1e6));
    case 'number': return Math.round(dice() * 1e6) / 100;
    case 'boolean': return dice() < 0.5;
    case 'null': return null;
    default: return pattern ? '12.5' : 'x'.repeat(Math.max(1, minLength));
  }
}

/** The same with one thing in it that is another. @param {any} value @param {() => number} dice @returns {any} */
function spoilt(value, dice) {
  const odd = ODD[Math.floor(dice() * ODD.length)];
  if (typeof value !== 'object' || value === null || dice() < 0.2) return odd;
  const copy = Array.isArray(value) ? [...value] : { ...value };
  const names = Object.keys(copy);
  const name = names[Math.floor(dice() * names.length)];
  if (name === undefined) return odd;
  if (dice() < 0.15 && !Array.isArray(copy)) delete copy[name];
  else copy[name] = spoilt(copy[name], dice);
  return copy;
}

/** @typedef {{ headers: Record<string, string>, body?: string, valid: boolean }} Request */

/**
 * Requests to every operation: some that are allowed, the usual mistakes, and as many more as wanted.
 *
 * @param {any} document
 * @param {number} count
 * @returns {Generator<{ operation: any, name: string, method: string, path: string, request: Request }>}
 */
export function* samples(document, count) {
  const dice = random(1);
  for (const { operation, name, method, path: template } of operations(document)) {
    const parameters = operation.parameters ?? [];
    const place = (/** @type {boolean} */ wrong) => {
      let path = template;
      const query = new URLSearchParams();
      /** @type {Record<string, string>} */
      const headers = {};
      for (const { in: where, name: called, required, schema, example } of parameters) {
        if (!required && dice() < 0.5) continue;
        const odd = ODD.filter((each) => typeof each === 'string' && each !== '' && each !== '../..');
        const value = wrong ? `${odd[Math.floor(dice() * odd.length)]}` : `${example ?? allowed(document, schema, dice)}`;
        if (where === 'path') path = path.replace(`{${called}}`, encodeURIComponent(value));
        else if (where === 'query') query.set(called, value);
        // Names are to be used once.
        else headers[called] = wrong ? value.replace(/[^ -~]/g, ' ') : `${Math.floor(dice() * 1e9)}`;
      }
      const text = query.toString();
      return { path: path + (text ? `?${text}` : ''), headers };
    };
    const content = operation.requestBody?.content['application/json'];
    const json = { 'content-type': 'application/json' };
    for (let index = 0; index < 3; index += 1) {
      const { path, headers } = place(false);
      // An example of a symbol in the query need not be one of this server.
      const valid = !path.includes('?');
      if (!content) yield { operation, name, method, path, request: { headers, valid } };
      else yield { operation, name, method, path, request: { headers: { ...headers, ...json }, body: JSON.stringify(allowed(document, content.schema, dice)), valid } };
    }
    for (let index = 0; index < count; index += 1) {
      const { path, headers } = place(dice() < 0.5);
      const body = content && JSON.stringify(spoilt(allowed(document, content.schema, dice), dice));
      yield { operation, name, method, path, request: { headers: { ...headers, ...(content ? json : {}) }, body, valid: false } };
    }
    if (!content) continue;
    const { path } = place(false);
    const good = JSON.stringify(allowed(document, content.schema, dice));
    for (const [headers, body] of /** @type {[Record<string, string>, string | undefined][]} */ ([
      [json, undefined], [json, ''], [json, good.slice(0, -1)], [json, `${good}x`], [json, '['.repeat(5000)], [json, ' '.repeat(OVERSIZE[name] ?? 70_000)],
      [{}, good], [{ 'content-type': 'text/plain' }, good], [{ 'content-type': 'application/json; charset=utf-8' }, good],
    ])) yield { operation, name, method, path, request: { headers, body, valid: false } };
  }
}

/** What in an answer is not as the document says. @param {any} document @param {any} operation @param {{ status: number, headers: any, text: string }} response */
export function violations(document, operation, { status, headers, text }) {
  const described = operation.responses[status];
  if (!described) return [`status ${status} is not in the document`];
  const type = (headers['content-type'] ?? '').split(';')[0];
  if (!described.content[type]) return [`media type ${type} is not in the document`];
  const value = JSON.parse(text);
  return [...mismatches(document, described.content[type].schema, value, 'the answer')];
}

/** @param {any} document @param {any} schema @param {any} value @param {string} where @returns {Generator<string>} */
function* mismatches(document, schema, value, where) {
  const { type, properties = {}, required = [], items, additionalProperties, oneOf, minimum } = resolve(document, schema);
  if (oneOf) {
    const fits = oneOf.filter((/** @type {any} */ each) => [...mismatches(document, each, value, where)].length === 0);
    if (fits.length !== 1) yield `${where} is ${fits.length} of what it may be one of`;
    return;
  }
  const is = value === null ? 'null' : Array.isArray(value) ? 'array' : typeof value;
  // A schema that says nothing allows everything.
  if (Object.keys(schema).length === 0) return;
  const kinds = [type].flat().filter((each) => each !== undefined);
  const fits = kinds.length === 0 || kinds.includes(is) || (is === 'number' && kinds.includes('integer') && Number.isInteger(value));
  if (!fits) yield `${where} is ${is}: must be ${kinds}`;
  else if (is === 'number' && minimum !== undefined && value < minimum) yield `${where} is ${value}: at least ${minimum}`;
  else if (is === 'array') for (const [index, each] of value.entries()) yield* mismatches(document, items ?? {}, each, `${where}[${index}]`);
  else if (is === 'object') {
    for (const name of required) if (!(name in value)) yield `${where} has no ${name}`;
    for (const [name, each] of Object.entries(value)) {
      const known = properties[name] ?? (typeof additionalProperties === 'object' ? additionalProperties : undefined);
      if (known) yield* mismatches(document, known, each, `${where}.${name}`);
      else if (additionalProperties !== true) yield `${where}.${name} is not in the document`;
    }
  }
}
