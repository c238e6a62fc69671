// Tokens, good and bad, made without the server's own code.
import { createHmac, createPrivateKey, sign } from 'node:crypto';

/** @param {unknown} value */
const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');

/** @param {string} text */
const base64url = (text) => Buffer.from(text).toString('base64url');

export const SECRET = 'a secret of more than thirty-two bytes';

/** In s since the Unix epoch. */
export const now = () => Date.now() / 1000;

/**
 * A token with any header at all.
 *
 * @param {object} header
 * @param {object} claims
 * @param {(message: string) => Buffer} signed
 */
export function token(header, claims, signed) {
  const message = `${part(header)}.${part(claims)}`;
  return `${message}.${signed(message).toString('base64url')}`;
}

/** Claims that are good for ten minutes, but for these. @param {object} [claims] */
export const good = (claims = {}) => ({ sub: 'alice', exp: Math.floor(now()) + 600, ...claims });

/** @param {object} [claims] @param {string | Buffer} [secret] @param {object} [header] */
export function hs256(claims = good(), secret = SECRET, header = {}) {
  const mac = (/** @type {string} */ message) => createHmac('sha256', secret).update(message).digest();
  return token({ alg: 'HS256', typ: 'JWT', ...header }, claims, mac);
}

/** A token that nobody has signed. @param {object} [claims] */
export const unsigned = (claims = good()) => `${part({ alg: 'none' })}.${part(claims)}.`;

/**
 * A token by a private key, with the algorithm that fits it or another one.
 *
 * @param {import('node:crypto').KeyObject} key
 * @param {object} [claims]
 * @param {{ kid?: string, alg?: string }} [header]
 */
export function byKey(key, claims = good(), header = {}) {
  const alg = { rsa: 'RS256', ec: 'ES256', ed25519: 'EdDSA' }[String(key.asymmetricKeyType)];
  const signed = (/** @type {string} */ message) =>
    sign(alg === 'EdDSA' ? null : 'sha256', Buffer.from(message), {
      key: createPrivateKey(key.export({ format: 'pem', type: 'pkcs8' })),
      dsaEncoding: 'ieee-p1363',
    });
  return token({ alg, ...header }, claims, signed);
}

/** The same token with other claims, and the signature that it had. @param {string} text @param {object} claims */
export function forged(text, claims) {
  const [header, , signature] = text.split('.');
  return [header, base64url(JSON.stringify(claims)), signature].join('.');
}
