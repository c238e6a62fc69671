use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::answer::encode;
use super::request::{read, shown};
use super::{ErrorCode, Failure};

/// The payload of `refresh`.
#[derive(Clone, PartialEq, Eq)]
pub struct Refresh {
    /// The new token.
    pub token: String,
}

impl Refresh {
    /// Reads `{"token": "..."}`. Unknown fields are ignored.
    ///
    /// # Errors
    /// A [`Failure`] that names the field and what is allowed, and never repeats a text, which may be a token.
    pub fn parse(payload: Option<&RawValue>) -> Result<Self, Failure> {
        let form = "must be {\"token\": \"...\"}";
        match read(payload).map_err(|_| Failure::invalid(format!("the payload is nested too deep: {form}")))? {
            Value::Object(mut fields) => match fields.remove("token") {
                Some(Value::String(token)) => Ok(Self { token }),
                None => Err(Failure::invalid(format!("token is missing: {form}"))),
                Some(value) => Err(Failure::invalid(format!("token is {}: must be a string", shown(&value)))),
            },
            Value::String(_) => Err(Failure::invalid(format!("the payload is a string: {form}"))),
            value => Err(Failure::invalid(format!("the payload is {}: {form}", shown(&value)))),
        }
    }
}

/// The answer to `refresh`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Refreshed {
    /// How long the new token lives, in ms.
    pub expires_in_ms: u64,
    /// The symbols that the client gets no longer, for want of a right.
    pub ended: Vec<crate::price::Symbol>,
}

/// The body of `token-expiring`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenExpiring {
    /// How long the token lives, in ms.
    pub expires_in_ms: u64,
}

impl TokenExpiring {
    /// As JSON text.
    pub fn encode(&self) -> Box<RawValue> {
        encode(self)
    }
}

impl Failure {
    /// What a connection is told before it ends because its token has expired.
    pub fn token_expired() -> Self {
        Self::new(ErrorCode::TokenExpired, "the token has expired: connect with a new one")
    }

    /// The body of an `error` event that answers no event, as JSON text.
    pub fn encode(&self) -> Box<RawValue> {
        encode(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_token_and_never_repeats_one() {
        let refresh = |json: &str| Refresh::parse(Some(&RawValue::from_string(json.into()).unwrap()));
        assert!(refresh(r#"{"token":"abc","x":1}"#).is_ok_and(|refresh| refresh.token == "abc"));
        for (json, message) in [
            ("{}", r#"token is missing: must be {"token": "..."}"#),
            (r#"{"token":5}"#, "token is 5: must be a string"),
            (r#""hunter2""#, r#"the payload is a string: must be {"token": "..."}"#),
            ("7", r#"the payload is 7: must be {"token": "..."}"#),
        ] {
            assert_eq!(refresh(json).err().unwrap(), Failure::invalid(message), "{json}");
        }
        assert!(Refresh::parse(None).is_err());
        let deep = format!("{}\"hunter2\"{}", "[".repeat(200), "]".repeat(200));
        assert!(!refresh(&deep).err().unwrap().message.contains("hunter2"));
    }

    #[test]
    fn bodies_have_the_shape_of_the_contract() {
        assert_eq!(TokenExpiring { expires_in_ms: 5 }.encode().get(), r#"{"expiresInMs":5}"#);
        assert!(Failure::token_expired().encode().get().starts_with(r#"{"code":"token_expired","message":"#));
    }
}
