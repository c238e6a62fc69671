use std::fmt::Write;

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use ring::rand::{SecureRandom, SystemRandom};
use serde::Serialize;

use super::api::{Entry, Scope, hash};
use crate::clock::Clock;
use crate::config::Access;

/// The randomness of a key, in bytes.
const KEY_BYTES: usize = 32;

/// A token to be made.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// Whose.
    pub sub: String,
    /// For how long, in s.
    pub expires_in_s: u64,
    /// Which symbols; none for every one.
    pub symbols: Option<Vec<String>>,
    /// Which rooms; none for every one.
    pub rooms: Option<Vec<String>>,
    /// For the application.
    pub roles: Vec<String>,
}

#[derive(Serialize)]
struct Claims<'a> {
    sub: &'a str,
    iat: u64,
    exp: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<&'a String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<&'a String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    symbols: Option<&'a Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rooms: Option<&'a Vec<String>>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    roles: &'a [String],
}

impl NewToken {
    /// The token, signed with `JWT_SECRET`.
    ///
    /// # Errors
    /// There is no such secret: whoever has the private key makes tokens then.
    pub fn sign(&self, settings: &Access, clock: &Clock) -> anyhow::Result<String> {
        let Some(secret) = settings.jwt_secret() else {
            anyhow::bail!("JWT_SECRET is not set: tokens for public keys are made by who has the private one");
        };
        super::provider::install();
        let iat = clock.millis() / 1000;
        let claims = Claims {
            sub: &self.sub,
            iat,
            exp: iat.saturating_add(self.expires_in_s),
            aud: settings.jwt_audience.0.first(),
            iss: settings.jwt_issuer.0.first(),
            symbols: self.symbols.as_ref(),
            rooms: self.rooms.as_ref(),
            roles: &self.roles,
        };
        let key = EncodingKey::from_secret(secret.reveal().as_bytes());
        Ok(encode(&Header::new(Algorithm::HS256), &claims, &key)?)
    }
}

/// A new key for `/api`, and its entry in `API_KEYS_FILE` as JSON. The key itself is nowhere else.
///
/// # Errors
/// The machine has no randomness.
pub fn new_key(name: &str, scopes: &[Scope]) -> anyhow::Result<(String, String)> {
    let mut bytes = [0; KEY_BYTES];
    SystemRandom::new().fill(&mut bytes).map_err(|_| anyhow::anyhow!("this machine has no randomness"))?;
    let key = format!("tickcast_{}", hex(&bytes));
    let sha256 = hex(&hash(key.as_bytes()));
    let entry = serde_json::to_string(&Entry { name: name.to_owned(), sha256, scopes: scopes.to_vec() })?;
    Ok((key, entry))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
