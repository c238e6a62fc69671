mod api;
mod identity;
mod keys;
mod make;
mod peer;
mod provider;
mod sign;
mod token;
mod watched;

use std::net::IpAddr;
use std::time::Duration;

use axum::http::HeaderMap;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::config::{Access, Networks};
use crate::pattern::Patterns;
use crate::wire::{ErrorCode, Failure};
use api::ApiKeys;
pub use api::{Caller, Refused, Scope};
pub use identity::{Credentials, Identity, Rights, claimed_user};
pub use make::{NewToken, new_key};
pub use peer::Client;
use peer::client;
pub use sign::Signer;
pub use token::Denied;
use token::Tokens;

/// Why a request may read nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unread {
    /// Its key is none.
    Key(Refused),
    /// Its token is none, or it has none.
    Token(Failure),
}

/// Who may do what: the one place that decides it. Nothing here is asked for a tick.
#[derive(Debug)]
pub struct Auth {
    /// None where everybody may read.
    tokens: Option<Tokens>,
    /// What those may who have no token; none where they may nothing.
    guests: Option<Rights>,
    token_in_query: bool,
    api: ApiKeys,
    trusted: Networks,
    clock: Clock,
    /// How long before its token expires a connection is told.
    notice: Duration,
}

impl Auth {
    /// Reads the keys.
    ///
    /// # Errors
    /// A file that cannot be used: the variable, the value and what is allowed.
    pub fn open(settings: &Access, clock: Clock) -> Result<Self, String> {
        let tokens = settings.token_keys().map(|keys| Tokens::open(&keys, settings)).transpose()?;
        let guests = settings
            .allow_anonymous
            .then(|| Rights { symbols: settings.anonymous_symbols.clone(), rooms: settings.anonymous_rooms.clone() });
        Ok(Self {
            tokens,
            guests,
            token_in_query: settings.token_in_query,
            api: ApiKeys::open(settings)?,
            trusted: settings.trusted_proxies.clone(),
            clock,
            notice: Duration::from_millis(settings.token_expiry_notice_ms),
        })
    }

    /// Who connects with these credentials. A token that is not good is refused, even where guests are welcome.
    ///
    /// # Errors
    /// Nobody who may connect.
    pub fn identify(&self, credentials: &Credentials) -> Result<Identity, Denied> {
        let Some(tokens) = &self.tokens else {
            return Ok(Identity::claimed(credentials.user.clone()));
        };
        match (credentials.token(self.token_in_query), &self.guests) {
            (Some(token), _) => tokens.verify(token, self.clock.millis()),
            (None, Some(rights)) => Ok(Identity::guest(rights.clone())),
            (None, None) => Err(Denied::Unauthorized("there is no token".into())),
        }
    }

    /// Who a live connection is with a new token.
    ///
    /// # Errors
    /// The token is not good, or another user's.
    pub fn refresh(&self, identity: &Identity, token: &str) -> Result<Identity, Failure> {
        let Some(tokens) = &self.tokens else {
            return Err(Failure::new(
                ErrorCode::Unavailable,
                "this server asks for no token: there is nothing to refresh",
            ));
        };
        let fresh = tokens.verify(token, self.clock.millis()).map_err(|denied| denied.failure())?;
        if identity.user != fresh.user {
            return Err(Failure::new(
                ErrorCode::Forbidden,
                "the token is another user's: must have the same sub (reconnect to be somebody else)",
            ));
        }
        Ok(fresh)
    }

    /// How long before its token expires a connection is told; zero for never.
    pub fn notice(&self) -> Duration {
        self.notice
    }

    /// How long tokens are taken after their time.
    pub fn leeway(&self) -> Duration {
        self.tokens.as_ref().map_or(Duration::ZERO, Tokens::leeway)
    }

    /// Who sends a request to `/api`, if he may do what needs this scope; one that needs none may be sent with any key.
    ///
    /// # Errors
    /// He may not, and why.
    pub fn admit(&self, peer: IpAddr, headers: &HeaderMap, scope: impl Into<Option<Scope>>) -> Result<Caller, Refused> {
        self.api.admit(self.client(peer, headers), headers, scope.into())
    }

    /// Which symbols a request may read that comes by HTTP: with a key every one, else those that a connection with its
    /// token (`Authorization: Bearer`), or of a guest, may get. Where tokens are asked for and it shows none, it may read what
    /// [`Auth::admit`] lets it.
    ///
    /// # Errors
    /// It may read nothing, and why.
    pub fn reader(&self, peer: IpAddr, headers: &HeaderMap) -> Result<Patterns, Unread> {
        let admit = || self.admit(peer, headers, None).map(|_| Patterns::every());
        if ApiKeys::is_shown(headers) && self.api.has_keys() {
            return admit().map_err(Unread::Key);
        }
        let credentials = Credentials::read(&serde_json::Value::Null, headers, None);
        match self.identify(&credentials) {
            Ok(identity) => Ok(identity.rights.symbols),
            Err(_) if credentials.token(false).is_none() => admit().map_err(|_| Unread::Token(Denied::missing())),
            Err(denied) => Err(Unread::Token(denied.failure())),
        }
    }

    /// Where a request comes from, as far as it can be known.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> Client {
        client(peer, headers, &self.trusted.0)
    }

    /// True where a connection needs a token, or is a guest's.
    pub fn asks_for_tokens(&self) -> bool {
        self.tokens.is_some()
    }

    /// Who may read, in a word: `everybody`, `token`, or `token or guest`.
    pub fn reading(&self) -> &'static str {
        match (&self.tokens, &self.guests) {
            (None, _) => "everybody",
            (Some(_), None) => "token",
            (Some(_), Some(_)) => "token or guest",
        }
    }

    /// Who may use `/api`, in a word: `key`, `loopback` or `everybody`.
    pub fn writing(&self) -> &'static str {
        self.api.who()
    }

    /// Both, for the log.
    pub fn in_words(&self) -> [&'static str; 2] {
        let reading = match (&self.tokens, &self.guests) {
            (None, _) => "no tokens are asked for: everybody may read (JWT_SECRET changes that)",
            (Some(_), None) => "a connection needs a token",
            (Some(_), Some(_)) => "a connection needs a token, or is a guest's (ALLOW_ANONYMOUS)",
        };
        let writing = match self.writing() {
            "key" => "/api needs a key",
            "loopback" => "/api answers who is on this machine only (API_KEY changes that)",
            _ => "/api answers everybody (API_OPEN)",
        };
        [reading, writing]
    }

    /// Reads files with keys again when they change, until `stop`.
    pub async fn watch(&self, stop: CancellationToken) {
        let files: Vec<&dyn watched::Look> =
            [self.tokens.as_ref().and_then(Tokens::file), self.api.file()].into_iter().flatten().collect();
        watched::look_again(&files, stop).await;
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod fuzz;
