// Where a client may come from: straight, or through the real nginx; and how it may connect.
import { ByteWebSocket } from './bytes.mjs';
import { serve, transports } from './clients.mjs';
import { Proxy } from './proxy.mjs';

/** How a client may come that has a WebSocket in the end. */
export const WITH_WEBSOCKET = { websocket: transports.websocket, upgrade: transports.upgrade };

/** The ways to a server. */
export const WAYS = /** @type {const} */ (['direct', 'nginx']);

/**
 * Starts a server, and an nginx in front of it; both end with the test.
 *
 * @param {{ after: (undo: () => Promise<void>) => void }} test
 * @param {Record<string, string>} [env]
 * @param {typeof serve} [begin] how a server is started
 */
export async function serveBothWays(test, env, begin = serve) {
  /** @type {(() => Promise<void>)[]} */
  const undo = [];
  // The server ends first: nginx would have to wait for its clients.
  test.after(async () => {
    for (const each of undo) await each();
  });
  const server = await begin({ after: (each) => undo.push(each) }, env);
  const proxy = await Proxy.start([server]);
  undo.push(() => proxy.stop());
  return { server, urls: { direct: server.url, nginx: proxy.url } };
}

/**
 * A client in the default namespace that reads its bytes itself.
 *
 * @param {any} test
 * @param {string} url
 * @param {keyof typeof WITH_WEBSOCKET} kind
 * @param {Parameters<typeof ByteWebSocket.open>[1]} [options]
 */
export async function byteClient(test, url, kind, options) {
  /** @type {ByteWebSocket} */
  let client;
  if (kind === 'upgrade') {
    client = await ByteWebSocket.upgraded(url, options);
  } else {
    client = await ByteWebSocket.open(url, options);
    // EIO=3 is connected to the default namespace without asking.
    if (options?.eio === 3) await client.take('40');
    else await client.join();
  }
  test.after(() => client.close());
  return client;
}
