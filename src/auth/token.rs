use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Validation, decode, decode_header};
use serde::Deserialize;

use super::identity::{Identity, MAX_USER_BYTES, Rights};
use super::keys::KeySet;
use super::watched::{Look, Watched};
use crate::config::{Access, TokenKeys};
use crate::pattern::Patterns;
use crate::wire::{ErrorCode, Failure};

/// The longest token, in bytes: nothing longer is even taken apart.
const MAX_TOKEN_BYTES: usize = 8192;

/// The most roles of a token.
const MAX_ROLES: usize = 100;

/// Why somebody is not let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denied {
    /// There is no token that is good; why, for the log.
    Unauthorized(String),
    /// There is one that was.
    Expired,
}

impl Denied {
    /// For programs.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Unauthorized(_) => ErrorCode::Unauthorized,
            Self::Expired => ErrorCode::TokenExpired,
        }
    }

    /// For a client that is connected. Says no more than it has to: who tries tokens should learn nothing.
    pub(super) fn failure(&self) -> Failure {
        let message = match self {
            Self::Unauthorized(_) => "token is not valid: must be a token that this server accepts",
            Self::Expired => "token has expired: must be a new one",
        };
        Failure::new(self.code(), message)
    }

    /// What is said to who shows none where one has to be shown.
    pub(super) fn missing() -> Failure {
        let message = "there is no token: must be Authorization: Bearer with a token that this server accepts";
        Failure::new(ErrorCode::Unauthorized, message)
    }

    /// For the log.
    pub fn reason(&self) -> &str {
        match self {
            Self::Unauthorized(reason) => reason,
            Self::Expired => "its token has expired",
        }
    }
}

/// The code alone: this is what a client is told that may not connect.
impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code().as_str())
    }
}

/// Which tokens are good.
#[derive(Debug)]
pub(super) struct Tokens {
    keys: Keys,
    audience: Vec<String>,
    issuer: Vec<String>,
    leeway_ms: u64,
}

#[derive(Debug)]
enum Keys {
    Fixed(Arc<KeySet>),
    InFile(Watched<KeySet>),
}

/// What a token says. A claim that has another form than it should fails the token: rights are not guessed.
#[derive(Deserialize)]
struct Claims {
    sub: String,
    /// In s since the Unix epoch, with a fraction or without.
    exp: f64,
    nbf: Option<f64>,
    symbols: Option<List>,
    rooms: Option<List>,
    roles: Option<List>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum List {
    One(String),
    Many(Vec<String>),
}

impl List {
    fn into_vec(self) -> Vec<String> {
        match self {
            Self::One(name) => vec![name],
            Self::Many(names) => names,
        }
    }
}

impl Tokens {
    /// # Errors
    /// The file with the keys cannot be used: the variable, the value and what is allowed.
    pub(super) fn open(keys: &TokenKeys, settings: &Access) -> Result<Self, String> {
        super::provider::install();
        let named = |variable: &'static str, flag: &'static str, path: &std::path::Path, error: String| {
            format!("{variable} ({flag}): \"{}\" {error}", path.display())
        };
        let keys = match keys {
            TokenKeys::Secret(secret) => Keys::Fixed(Arc::new(KeySet::secret(secret.reveal().as_bytes()))),
            TokenKeys::PublicKey(path) => Keys::InFile(
                Watched::open(path, KeySet::pem)
                    .map_err(|error| named("JWT_PUBLIC_KEY_FILE", "--jwt-public-key-file", path, error))?,
            ),
            TokenKeys::Jwks(path) => Keys::InFile(
                Watched::open(path, KeySet::jwks)
                    .map_err(|error| named("JWT_JWKS_FILE", "--jwt-jwks-file", path, error))?,
            ),
        };
        let (audience, issuer) = (settings.jwt_audience.0.clone(), settings.jwt_issuer.0.clone());
        Ok(Self { keys, audience, issuer, leeway_ms: settings.jwt_leeway_ms })
    }

    /// The file with the keys, where they are in one.
    pub(super) fn file(&self) -> Option<&dyn Look> {
        match &self.keys {
            Keys::Fixed(_) => None,
            Keys::InFile(file) => Some(file),
        }
    }

    pub(super) fn leeway(&self) -> Duration {
        Duration::from_millis(self.leeway_ms)
    }

    /// Whose token this is, at `now_ms` since the Unix epoch.
    pub(super) fn verify(&self, token: &str, now_ms: u64) -> Result<Identity, Denied> {
        let no = |reason: String| Denied::Unauthorized(reason);
        if token.len() > MAX_TOKEN_BYTES {
            return Err(no(format!("its token has {} bytes, {MAX_TOKEN_BYTES} are allowed", token.len())));
        }
        let claims = self.decode(token).map_err(no)?;
        let exp_ms = millis(claims.exp);
        if now_ms >= exp_ms.saturating_add(self.leeway_ms) {
            return Err(Denied::Expired);
        }
        if let Some(nbf_ms) = claims.nbf.map(millis)
            && now_ms.saturating_add(self.leeway_ms) < nbf_ms
        {
            return Err(no("its token is not valid yet".into()));
        }
        if claims.sub.is_empty() || claims.sub.len() > MAX_USER_BYTES {
            return Err(no(format!("sub has {} bytes: must have 1 to {MAX_USER_BYTES}", claims.sub.len())));
        }
        let patterns = |claim: &str, list: Option<List>| match list {
            // Who makes tokens without this claim does not mean to take anything away.
            None => Ok(Patterns::every()),
            Some(list) => Patterns::new(list.into_vec()).map_err(|error| no(format!("{claim}: {error}"))),
        };
        let rights = Rights { symbols: patterns("symbols", claims.symbols)?, rooms: patterns("rooms", claims.rooms)? };
        let roles = claims.roles.map(List::into_vec).unwrap_or_default();
        if roles.len() > MAX_ROLES {
            return Err(no(format!("roles has {} names: at most {MAX_ROLES} are allowed", roles.len())));
        }
        Ok(Identity { user: Some(claims.sub), rights, roles, expires_at_ms: Some(exp_ms) })
    }

    /// What a token says that one of our keys has signed, and that is meant for us. Its time is not looked at.
    fn decode(&self, token: &str) -> Result<Claims, String> {
        // An algorithm that the library does not know, such as none, is an error here.
        let header = decode_header(token).map_err(|_| "its token's header cannot be read, or its alg is none")?;
        if header.crit.is_some() {
            return Err("its token asks for what this server does not know (crit)".into());
        }
        let keys = match &self.keys {
            Keys::Fixed(keys) => keys.clone(),
            Keys::InFile(file) => file.get(),
        };
        let key = keys
            .find(header.alg, header.kid.as_deref())
            .ok_or_else(|| format!("there is no key for its token's alg ({:?}) and kid", header.alg))?;
        let mut validation = Validation::new(key.algorithm);
        // Against our own clock, which tests turn.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        // Ours are read from the claims.
        validation.required_spec_claims.clear();
        validation.validate_aud = !self.audience.is_empty();
        if !self.audience.is_empty() {
            validation.set_audience(&self.audience);
            validation.required_spec_claims.insert("aud".into());
        }
        if !self.issuer.is_empty() {
            validation.set_issuer(&self.issuer);
            validation.required_spec_claims.insert("iss".into());
        }
        decode::<Claims>(token, &key.key, &validation).map(|data| data.claims).map_err(|error| {
            // The library's text may repeat what stands in the token.
            match error.kind() {
                ErrorKind::InvalidSignature => "its token is signed with another key".into(),
                ErrorKind::InvalidAudience => "its token is for somebody else (aud)".into(),
                ErrorKind::InvalidIssuer => "its token is by somebody else (iss)".into(),
                ErrorKind::MissingRequiredClaim(claim) => format!("its token has no {claim}"),
                _ => "its token cannot be read: sub must be a string, exp and nbf numbers, symbols, rooms and roles \
                      arrays of strings"
                    .to_owned(),
            }
        })
    }
}

/// A time of a token in ms. What is before 1970 or not a number is long ago.
fn millis(seconds: f64) -> u64 {
    // A cast keeps to the bounds of u64.
    (seconds * 1000.0) as u64
}
