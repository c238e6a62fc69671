use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Number;
use serde_json::value::RawValue;

use super::{ErrorCode, Mode};
use crate::price::{Epoch, Symbol};

/// The answer to `subscribe`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Subscribed {
    /// What the client gets from now on by this request, in the order asked for.
    pub symbols: Vec<Symbol>,
    /// What it does not get, and why.
    pub rejected: Vec<Rejected>,
    /// In which shape.
    pub mode: Mode,
    /// How often at most, where the client said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_rate: Option<Number>,
    /// The numbering in force; none before the first tick.
    pub epoch: Option<Epoch>,
    /// How the feed is.
    pub state: &'static str,
    /// The latest tick of each symbol that has one: [`super::encode_tick`].
    pub snapshot: Vec<Box<RawValue>>,
    /// What was missed, for those who resume.
    pub replay: Vec<Box<RawValue>>,
    /// How each symbol was resumed, for those who resume.
    pub resumed: BTreeMap<Symbol, &'static str>,
    /// Who answers.
    pub server: Server,
}

/// The answer to `unsubscribe`.
#[derive(Debug, Serialize)]
pub struct Unsubscribed {
    /// What the client no longer gets.
    pub symbols: Vec<Symbol>,
    /// What it did not get anyway, and why.
    pub rejected: Vec<Rejected>,
}

/// One name of a request that was passed over.
#[derive(Debug, Serialize)]
pub struct Rejected {
    /// The name, shortened.
    pub symbol: String,
    /// Why, for programs.
    pub code: ErrorCode,
    /// Why, for people.
    pub message: String,
}

/// The replica that answers.
#[derive(Clone, Debug, Serialize)]
pub struct Server {
    /// Its id (`APP_ID`).
    pub id: String,
    /// Its time, in ms since the Unix epoch.
    pub time: u64,
}

/// The answer to `ping`.
#[derive(Debug, Serialize)]
pub struct Pong<'a> {
    /// What the client sent; null for nothing.
    pub echo: Option<&'a RawValue>,
    /// The server's time, in ms since the Unix epoch.
    pub time: u64,
}

/// The answer to a request that brings nothing back.
#[derive(Debug, Serialize)]
pub struct Done {}

/// The body of `status`.
#[derive(Debug, Serialize)]
pub struct Status<'a> {
    /// How the feed is.
    pub state: &'static str,
    /// Why, for people.
    pub reason: &'a str,
    /// The symbols that it is about; none where it is about the feed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub symbols: Option<&'a [Symbol]>,
    /// The epoch, where it is a new one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch: Option<&'a Epoch>,
}

impl Status<'_> {
    /// As JSON text.
    pub fn encode(&self) -> Box<RawValue> {
        encode(self)
    }
}

/// Why a request failed as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// For programs.
    pub code: ErrorCode,
    /// For people: names the field, the value and what is allowed.
    pub message: String,
}

impl Failure {
    /// A failure of this code and message.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// A payload that is well-formed but wrong.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidPayload, message)
    }
}

/// What a client gets back: `{"ok": true, ...}` or `{"ok": false, "error": {"code", "message"}}`.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Answer<T> {
    /// It worked.
    Done {
        /// Always true.
        ok: bool,
        /// What the request brought.
        #[serde(flatten)]
        body: T,
    },
    /// It did not, and changed nothing.
    Failed {
        /// Always false.
        ok: bool,
        /// Why.
        error: Failure,
    },
}

impl<T: Serialize> Answer<T> {
    /// The answer as JSON text.
    pub fn encode(result: Result<T, Failure>) -> Box<RawValue> {
        let answer = match result {
            Ok(body) => Self::Done { ok: true, body },
            Err(error) => Self::Failed { ok: false, error },
        };
        encode(&answer)
    }
}

/// The body of an `error` event: which event failed, and why.
#[derive(Debug, Serialize)]
struct ErrorEvent<'a> {
    #[serde(flatten)]
    failure: &'a Failure,
    event: &'a str,
}

impl Failure {
    /// The body of the `error` event that says this of `event`, as JSON text.
    pub fn encode_event(&self, event: &str) -> Box<RawValue> {
        encode(&ErrorEvent { failure: self, event })
    }
}

/// The body of a `drain` event.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Drain {
    /// When the connection will be closed, in ms from now.
    pub reconnect_in_ms: u64,
}

impl Drain {
    /// As JSON text.
    pub fn encode(&self) -> Box<RawValue> {
        encode(self)
    }
}

pub(super) fn encode(value: &impl Serialize) -> Box<RawValue> {
    // Maps with text keys, numbers and texts only: serialising them cannot fail.
    serde_json::value::to_raw_value(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_have_the_shape_of_the_contract() {
        let server = Server { id: "app1".into(), time: 1_732_252_800_123 };
        let subscribed = Subscribed {
            symbols: vec!["BTC".parse().unwrap()],
            rejected: vec![Rejected {
                symbol: "FOO".into(),
                code: ErrorCode::UnknownSymbol,
                message: "no such symbol".into(),
            }],
            mode: Mode::Both,
            max_rate: Some(4.into()),
            epoch: Some(Epoch::new("e1")),
            state: "live",
            snapshot: vec![RawValue::from_string(r#"{"symbol":"BTC","price":64210.50}"#.into()).unwrap()],
            replay: vec![],
            resumed: BTreeMap::new(),
            server,
        };
        assert_eq!(
            Answer::encode(Ok(subscribed)).get(),
            concat!(
                r#"{"ok":true,"symbols":["BTC"],"rejected":[{"symbol":"FOO","code":"unknown_symbol","message":"#,
                r#""no such symbol"}],"mode":"both","maxRate":4,"epoch":"e1","state":"live","#,
                r#""snapshot":[{"symbol":"BTC","price":64210.50}],"replay":[],"resumed":{},"#,
                r#""server":{"id":"app1","time":1732252800123}}"#
            )
        );
        assert_eq!(
            Answer::<Unsubscribed>::encode(Err(Failure::invalid("no"))).get(),
            r#"{"ok":false,"error":{"code":"invalid_payload","message":"no"}}"#
        );
        assert_eq!(
            Failure::new(ErrorCode::TooManySymbols, "no").encode_event("subscribe").get(),
            r#"{"code":"too_many_symbols","message":"no","event":"subscribe"}"#
        );
        assert_eq!(Answer::encode(Ok(Pong { echo: None, time: 5 })).get(), r#"{"ok":true,"echo":null,"time":5}"#);
    }
}
