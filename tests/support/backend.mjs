// A back end for tests: a real HTTP server that notes what it is sent, and may be made to misbehave on demand.
import { createHmac } from 'node:crypto';
import http from 'node:http';
import { until } from './clients.mjs';

/** What a test's server is told: signed with this. */
export const BACKEND_SECRET = 'the secret of the back end';

/**
 * @typedef {{ path: string, headers: http.IncomingHttpHeaders, raw: string, body: any }} Post
 * @typedef {(post: Post, response: http.ServerResponse, attempt: number) => unknown} Answer
 */

export class Backend {
  /** @param {http.Server} server */
  constructor(server) {
    this.server = server;
    this.url = '';
    /** @type {Post[]} */
    this.posts = [];
    /** Answers by event; else `{"event", "data", "user"}`. @type {Map<string, Answer>} */
    this.answers = new Map();
    /** How often each id has come. @type {Map<string, number>} */
    this.attempts = new Map();
  }

  /** Starts one, which ends with the test. @param {any} test @param {number} [port] */
  static async start(test, port = 0) {
    const server = http.createServer();
    const backend = new Backend(server);
    server.on('request', (request, response) => backend.take(request, response));
    await new Promise((resolve) => server.listen(port, '127.0.0.1', () => resolve(undefined)));
    const address = /** @type {import('node:net').AddressInfo} */ (server.address());
    backend.url = `http://127.0.0.1:${address.port}/events`;
    test.after(() => backend.stop());
    return backend;
  }

  async stop() {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  /** @param {http.IncomingMessage} request @param {http.ServerResponse} response */
  async take(request, response) {
    /** @type {Buffer[]} */
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const raw = Buffer.concat(chunks).toString();
    const post = { path: request.url ?? '', headers: request.headers, raw, body: JSON.parse(raw) };
    this.posts.push(post);
    const { id, event, data, user, type } = post.body;
    const attempt = (this.attempts.get(id) ?? 0) + 1;
    this.attempts.set(id, attempt);
    const answer = this.answers.get(event ?? type);
    if (answer) answer(post, response, attempt);
    else response.setHeader('content-type', 'application/json').end(JSON.stringify({ event, data, user }));
  }

  /** The posts of one event. @param {string} event */
  of(event) {
    return this.posts.filter(({ body }) => (body.event ?? body.type) === event);
  }

  /** Resolves with the first post of an event. @param {string} event */
  async got(event) {
    await until(() => this.of(event).length > 0, `a post of ${event}`);
    return this.of(event)[0];
  }
}

/** The signature that a post must have. @param {Post} post @param {string} [secret] */
export function signature({ headers, raw }, secret = BACKEND_SECRET) {
  return `sha256=${createHmac('sha256', secret).update(`${headers['x-tickcast-timestamp']}.${raw}`).digest('hex')}`;
}
