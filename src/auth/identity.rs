use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use serde_json::Value;

use crate::pattern::Patterns;

/// The longest name of a user, in bytes.
pub(super) const MAX_USER_BYTES: usize = 256;

/// What somebody may get and say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rights {
    /// Symbols that may be subscribed.
    pub symbols: Patterns,
    /// Rooms that may be joined, and spoken in.
    pub rooms: Patterns,
}

/// Who a connection is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The token's `sub`; where no tokens are asked for, what the client claims. None for guests.
    pub user: Option<String>,
    /// What it may.
    pub rights: Rights,
    /// The token's `roles`: nothing asks for them here, applications may.
    pub roles: Vec<String>,
    /// The token's `exp`, in ms since the Unix epoch; none where there is no token.
    pub expires_at_ms: Option<u64>,
}

impl Identity {
    /// Somebody on a server that asks for no tokens.
    pub fn claimed(user: Option<String>) -> Self {
        let rights = Rights { symbols: Patterns::every(), rooms: Patterns::every() };
        Self { user, rights, roles: Vec::new(), expires_at_ms: None }
    }

    /// Somebody without a token, where that is allowed.
    pub(super) fn guest(rights: Rights) -> Self {
        Self { user: None, rights, roles: Vec::new(), expires_at_ms: None }
    }
}

/// What a client shows of itself when it connects.
#[derive(Clone, Default)]
pub struct Credentials {
    /// By `auth` or by the header.
    token: Option<Shown>,
    /// By the address of its connection, where it is a 2.x client.
    in_query: Option<String>,
    /// What it claims to be.
    pub(super) user: Option<String>,
}

#[derive(Clone)]
struct Shown(String);

impl Credentials {
    /// Reads what came: `auth` of the connection, the headers and the query of its handshake. The first of
    /// `auth.token`, `Authorization: Bearer`, and (for clients of Engine.IO 3, which have no `auth`) `token` in the
    /// query counts.
    pub fn read(auth: &Value, headers: &HeaderMap, query: Option<&str>) -> Self {
        let token = match &auth["token"] {
            Value::Null => bearer(headers),
            Value::String(token) => Some(token.clone()),
            // Something that is no token, and will be refused as one.
            _ => Some(String::new()),
        };
        let parameter = |name: &str| {
            let pairs = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
            pairs.into_iter().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
        };
        let old = parameter("EIO").as_deref() == Some("3");
        let in_query = old.then(|| parameter("token")).flatten();
        Self { token: token.map(Shown), in_query, user: claimed_user(auth) }
    }

    pub(super) fn token(&self, in_query_too: bool) -> Option<&str> {
        let shown = self.token.as_ref().map(|Shown(token)| token.as_str());
        shown.or_else(|| self.in_query.as_deref().filter(|_| in_query_too))
    }
}

/// Who a client claims to be in `auth.user`; none where that is no name.
pub fn claimed_user(auth: &Value) -> Option<String> {
    let user = auth["user"].as_str()?;
    (!user.is_empty() && user.len() <= MAX_USER_BYTES).then(|| user.to_owned())
}

fn bearer(headers: &HeaderMap) -> Option<String> {
    // One that is no text, or of another scheme, is none: a proxy may have its own.
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use serde_json::json;

    use super::*;

    fn token(auth: Value, header: Option<&str>, query: &str, in_query_too: bool) -> Option<String> {
        let mut headers = HeaderMap::new();
        if let Some(header) = header {
            headers.insert(AUTHORIZATION, HeaderValue::from_str(header).unwrap());
        }
        Credentials::read(&auth, &headers, Some(query)).token(in_query_too).map(str::to_owned)
    }

    #[test]
    fn a_token_is_in_one_of_three_places() {
        let some = |token: &str| Some(token.to_owned());
        let query = "EIO=3&token=q&transport=polling";
        assert_eq!(token(json!({"token": "a"}), Some("Bearer h"), query, true), some("a"));
        assert_eq!(token(json!({}), Some("bearer h"), query, true), some("h"));
        assert_eq!(token(Value::Null, None, query, true), some("q"));
        assert_eq!(token(json!("text"), Some("Basic h"), query, true), some("q"));
        assert_eq!(token(Value::Null, None, query, false), None, "not allowed");
        assert_eq!(token(Value::Null, None, "EIO=4&token=q", true), None, "has another way");
        assert_eq!(token(json!({"token": 5}), Some("Bearer h"), query, true), some(""), "no token, but shown as one");
        assert_eq!(token(Value::Null, None, "EIO=3", true), None);
    }

    #[test]
    fn a_user_has_a_name() {
        assert_eq!(claimed_user(&json!({"user": "u"})).as_deref(), Some("u"));
        for bad in
            [json!({"user": ""}), json!({"user": 7}), json!({"user": "x".repeat(257)}), json!(["u"]), json!(null)]
        {
            assert_eq!(claimed_user(&bad), None);
        }
    }
}
