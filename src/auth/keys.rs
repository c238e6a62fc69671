use std::fmt;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};
use serde_json::Value;

/// The most keys of a set.
const MAX_KEYS: usize = 100;

/// What ring takes at least, in bytes: 2048 bits.
const RSA_MODULUS_BYTES: usize = 256;
/// A point on P-256, uncompressed, in bytes.
const P256_BYTES: usize = 65;
/// A key of Ed25519, in bytes.
const ED25519_BYTES: usize = 32;

/// The keys that tokens are verified with. Each is for one algorithm: what a token says of its own counts for nothing.
pub(super) struct KeySet {
    keys: Vec<Key>,
    /// True where a token says by `kid` which one is its own.
    by_id: bool,
}

/// One of them.
pub(super) struct Key {
    id: Option<String>,
    pub(super) algorithm: Algorithm,
    pub(super) key: DecodingKey,
}

impl KeySet {
    /// One secret, for HS256.
    pub(super) fn secret(secret: &[u8]) -> Self {
        let key = Key { id: None, algorithm: Algorithm::HS256, key: DecodingKey::from_secret(secret) };
        Self { keys: vec![key], by_id: false }
    }

    /// One public key, in PEM.
    ///
    /// # Errors
    /// It is none, or none that is supported.
    pub(super) fn pem(bytes: &[u8]) -> Result<Self, String> {
        if bytes.windows(PRIVATE.len()).any(|part| part == PRIVATE) {
            return Err("has a private key in it: must be the public one alone".into());
        }
        let rsa = || DecodingKey::from_rsa_pem(bytes).map(|key| (Algorithm::RS256, key));
        let p256 = || DecodingKey::from_ec_pem(bytes).map(|key| (Algorithm::ES256, key));
        let ed25519 = || DecodingKey::from_ed_pem(bytes).map(|key| (Algorithm::EdDSA, key));
        let (algorithm, key) = rsa()
            .or_else(|_| p256())
            .or_else(|_| ed25519())
            .map_err(|_| "is no public key in PEM: must be one of RSA, P-256 or Ed25519 (BEGIN PUBLIC KEY)")?;
        fits(algorithm, &key)?;
        Ok(Self { keys: vec![Key { id: None, algorithm, key }], by_id: false })
    }

    /// The public keys of a JSON Web Key Set. Those for something else are passed over.
    ///
    /// # Errors
    /// It is no such set, there is a secret in it, or nothing that is supported.
    pub(super) fn jwks(bytes: &[u8]) -> Result<Self, String> {
        let set: Value = serde_json::from_slice(bytes).map_err(|error| format!("is no JSON: {error}"))?;
        let Some(entries) = set["keys"].as_array() else {
            return Err("is no JSON Web Key Set: must be {\"keys\": [...]}".into());
        };
        if entries.len() > MAX_KEYS {
            return Err(format!("has {} keys: at most {MAX_KEYS} are allowed", entries.len()));
        }
        let mut keys = Vec::new();
        for (index, entry) in entries.iter().enumerate() {
            if entry["kty"] == "oct" || entry.get("d").is_some() {
                return Err(format!("keys[{index}] is secret: must be public keys alone"));
            }
            if let Some(key) = Key::of(entry).map_err(|error| format!("keys[{index}] {error}"))? {
                keys.push(key);
            }
        }
        if keys.is_empty() {
            return Err("has no key that is supported: must be RSA (RS256), P-256 (ES256) or Ed25519 (EdDSA)".into());
        }
        Ok(Self { keys, by_id: true })
    }

    /// The key that a token with this header is to be verified with. One that names no key can only mean the one that
    /// there is.
    pub(super) fn find(&self, algorithm: Algorithm, id: Option<&str>) -> Option<&Key> {
        let mut keys = self.keys.iter().filter(|key| match id {
            Some(id) if self.by_id => key.id.as_deref() == Some(id),
            _ => self.keys.len() == 1,
        });
        keys.find(|key| key.algorithm == algorithm)
    }
}

const PRIVATE: &[u8] = b"PRIVATE KEY-----";

impl Key {
    /// None for a key that is not for tokens, or not for one of our algorithms.
    fn of(entry: &Value) -> Result<Option<Self>, String> {
        let Ok(jwk) = serde_json::from_value::<Jwk>(entry.clone()) else {
            return Ok(None);
        };
        let algorithm = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => Algorithm::RS256,
            AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => Algorithm::ES256,
            AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => Algorithm::EdDSA,
            _ => return Ok(None),
        };
        let named = jwk.common.key_algorithm;
        let expected = match algorithm {
            Algorithm::RS256 => KeyAlgorithm::RS256,
            Algorithm::ES256 => KeyAlgorithm::ES256,
            _ => KeyAlgorithm::EdDSA,
        };
        let other_use = jwk.common.public_key_use.as_ref().is_some_and(|used| *used != PublicKeyUse::Signature);
        if other_use || named.is_some_and(|named| named != expected) {
            return Ok(None);
        }
        let key = DecodingKey::from_jwk(&jwk).map_err(|_| "is not whole: its numbers must be base64url".to_owned())?;
        fits(algorithm, &key)?;
        Ok(Some(Self { id: jwk.common.key_id, algorithm, key }))
    }
}

/// Refuses now what would refuse every token later.
fn fits(algorithm: Algorithm, key: &DecodingKey) -> Result<(), String> {
    let (fits, allowed) = match (algorithm, key.kind()) {
        (Algorithm::RS256, DecodingKeyKind::RsaModulusExponent { n, .. }) => {
            (n.len() >= RSA_MODULUS_BYTES, "an RSA key of 2048 bits or more")
        }
        // Its encoding has a few bytes more than its modulus.
        (Algorithm::RS256, DecodingKeyKind::SecretOrDer(der)) => {
            (der.len() > RSA_MODULUS_BYTES, "an RSA key of 2048 bits or more")
        }
        (Algorithm::ES256, DecodingKeyKind::SecretOrDer(point)) => (point.len() == P256_BYTES, "a key on P-256"),
        (_, DecodingKeyKind::SecretOrDer(point)) => (point.len() == ED25519_BYTES, "a key of Ed25519"),
        _ => (false, "a key of its algorithm"),
    };
    if fits { Ok(()) } else { Err(format!("is a key that is not supported: must be {allowed}")) }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeySet({})", self.keys.len())
    }
}
