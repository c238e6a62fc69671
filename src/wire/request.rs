use std::collections::HashMap;
use std::time::Duration;

use serde::Deserialize;
use serde::de::Error;
use serde_json::value::RawValue;
use serde_json::{Map, Number, Value};

use super::{ErrorCode, Failure, Mode};

/// The most symbols that one request may name.
pub const MAX_SYMBOLS_PER_REQUEST: usize = 1000;

/// How much of a client's value a message repeats, in characters.
const SHOWN_CHARS: usize = 40;

/// Which symbols a request means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Symbols {
    /// `"*"`: every symbol, later ones too.
    All,
    /// These names, without repeats; whether there are such symbols is not known yet.
    Named(Vec<String>),
}

/// The payload of `subscribe`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscribe {
    /// Which symbols.
    pub symbols: Symbols,
    /// In which shape; none for the server's default.
    pub mode: Option<Mode>,
    /// How often at most; none for every tick.
    pub max_rate: Option<MaxRate>,
    /// Whether to say what they did in the last 24 hours, too.
    pub stats: bool,
    /// Up to where the client has each symbol, for those who resume.
    pub since: HashMap<String, u64>,
    /// The numbering that `since` is of.
    pub epoch: Option<String>,
}

impl Subscribe {
    /// A subscription to these symbols, without any options.
    pub fn to(symbols: Symbols) -> Self {
        Self { symbols, mode: None, max_rate: None, stats: false, since: HashMap::new(), epoch: None }
    }
}

/// How many deliveries a client wants at most, per second and symbol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaxRate {
    /// As the client wrote it.
    pub number: Number,
    /// The time between two deliveries.
    pub pace: Pace,
}

/// The shortest time between two deliveries of a symbol, in whole µs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pace(u32);

impl Pace {
    /// As a time.
    pub fn interval(self) -> Duration {
        Duration::from_micros(self.0.into())
    }
}

/// What `maxRate` may be, in deliveries a second.
const MAX_RATES: std::ops::RangeInclusive<f64> = 0.1..=1000.0;

impl MaxRate {
    /// Reads a number of deliveries a second.
    fn read(value: Value) -> Result<Self, Failure> {
        let wrong = |value: &Value| {
            let (least, most) = (MAX_RATES.start(), MAX_RATES.end());
            Failure::invalid(format!(
                "maxRate is {}: must be a number from {least} to {most}, per second",
                shown(value)
            ))
        };
        let Value::Number(number) = value else { return Err(wrong(&value)) };
        match number.as_f64() {
            Some(rate) if MAX_RATES.contains(&rate) => {
                // At most 10 s: it fits.
                Ok(Self { number, pace: Pace((1e6 / rate).ceil() as u32) })
            }
            _ => Err(wrong(&Value::Number(number))),
        }
    }
}

/// The payload of `unsubscribe`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsubscribe {
    /// Which symbols.
    pub symbols: Symbols,
}

impl Subscribe {
    /// Reads `["BTC"]`, `"BTC"`, `"*"` or `{"symbols": ..., "mode": ..., "maxRate": ..., "stats": ..., "since": ..., "epoch":
    /// ...}`.
    /// Unknown fields are ignored.
    ///
    /// # Errors
    /// A [`Failure`] that names the field, the value and what is allowed.
    pub fn parse(payload: Option<&RawValue>) -> Result<Self, Failure> {
        match read(payload)? {
            Value::Object(mut fields) => {
                let mut take = |field| fields.remove(field).filter(|value| !value.is_null());
                let epoch = match take("epoch") {
                    None => None,
                    Some(Value::String(epoch)) => Some(epoch),
                    Some(value) => {
                        return Err(Failure::invalid(format!("epoch is {}: must be a string", shown(&value))));
                    }
                };
                let mode = match take("mode") {
                    None => None,
                    Some(value) => Some(value.as_str().and_then(|name| name.parse().ok()).ok_or_else(|| {
                        Failure::invalid(format!("mode is {}: must be {}", shown(&value), Mode::ALLOWED))
                    })?),
                };
                let stats = match take("stats") {
                    None => false,
                    Some(Value::Bool(stats)) => stats,
                    Some(value) => {
                        return Err(Failure::invalid(format!("stats is {}: must be true or false", shown(&value))));
                    }
                };
                let max_rate = take("maxRate").map(MaxRate::read).transpose()?;
                let since = take("since").map(since).transpose()?.unwrap_or_default();
                let symbols = symbols("symbols", take("symbols").unwrap_or(Value::Null))?;
                Ok(Self { symbols, mode, max_rate, stats, since, epoch })
            }
            value => Ok(Self::to(symbols("the payload", value)?)),
        }
    }
}

impl Unsubscribe {
    /// Reads `["BTC"]`, `"BTC"`, `"*"` or `{"symbols": ...}`. Unknown fields are ignored.
    ///
    /// # Errors
    /// A [`Failure`] that names the field, the value and what is allowed.
    pub fn parse(payload: Option<&RawValue>) -> Result<Self, Failure> {
        let symbols = match read(payload)? {
            Value::Object(mut fields) => symbols("symbols", fields.remove("symbols").unwrap_or(Value::Null))?,
            value => symbols("the payload", value)?,
        };
        Ok(Self { symbols })
    }
}

/// Parses well-formed JSON; what fails is nested too deep (128 levels).
pub(super) fn read(payload: Option<&RawValue>) -> Result<Value, Failure> {
    match payload {
        None => Ok(Value::Null),
        Some(raw) => serde_json::from_str(raw.get()).map_err(|_| {
            Failure::invalid(format!("the payload is {}: nested too deep or a number too large", short(raw.get())))
        }),
    }
}

/// Reads the fields of a JSON object. By itself serde takes a list in place of a struct, too.
///
/// # Errors
/// It is no object, or its fields are not what they must be.
pub fn from_object<'a, T: Deserialize<'a>>(json: &'a str) -> Result<T, serde_json::Error> {
    if !json.trim_ascii_start().starts_with('{') {
        return Err(serde_json::Error::custom("it is no object"));
    }
    serde_json::from_str(json)
}

/// Reads the numbers up to which a client has each symbol.
fn since(value: Value) -> Result<HashMap<String, u64>, Failure> {
    let Value::Object(numbers) = value else {
        return Err(Failure::invalid(format!("since is {}: must be an object of sequences by symbol", shown(&value))));
    };
    if numbers.len() > MAX_SYMBOLS_PER_REQUEST {
        let message =
            format!("since names {} symbols: at most {MAX_SYMBOLS_PER_REQUEST} are allowed a request", numbers.len());
        return Err(Failure::new(ErrorCode::TooManySymbols, message));
    }
    let read = |(symbol, value): (String, Value)| match value.as_u64() {
        Some(seq) => Ok((symbol, seq)),
        None => Err(Failure::invalid(format!(
            "since[\"{}\"] is {}: must be a sequence, a whole number from 0",
            short(&symbol),
            shown(&value)
        ))),
    };
    Map::into_iter(numbers).map(read).collect()
}

fn symbols(field: &str, value: Value) -> Result<Symbols, Failure> {
    match value {
        Value::String(name) if name == "*" => Ok(Symbols::All),
        Value::String(name) => Ok(Symbols::Named(vec![name])),
        Value::Array(values) => {
            if values.len() > MAX_SYMBOLS_PER_REQUEST {
                return Err(Failure::new(
                    ErrorCode::TooManySymbols,
                    format!(
                        "{field} names {} symbols: at most {MAX_SYMBOLS_PER_REQUEST} are allowed a request (\"*\" is all)",
                        values.len()
                    ),
                ));
            }
            let mut names: Vec<String> = Vec::with_capacity(values.len());
            let mut seen = std::collections::HashSet::with_capacity(values.len());
            for (index, value) in values.into_iter().enumerate() {
                let Value::String(name) = value else {
                    return Err(Failure::invalid(format!(
                        "{field}[{index}] is {}: must be the name of a symbol, a string",
                        shown(&value)
                    )));
                };
                if name == "*" {
                    return Ok(Symbols::All);
                }
                if seen.insert(name.clone()) {
                    names.push(name);
                }
            }
            Ok(Symbols::Named(names))
        }
        Value::Null => {
            Err(Failure::invalid(format!("{field} is missing: must be a symbol, an array of symbols, or \"*\"")))
        }
        value => Err(Failure::invalid(format!(
            "{field} is {}: must be a symbol, an array of symbols, or \"*\"",
            shown(&value)
        ))),
    }
}

/// A client's value for a message, shortened.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => format!("\"{}\"", short(text)),
        Value::Array(values) => format!("an array of {}", values.len()),
        Value::Object(_) => "an object".into(),
        value => short(&value.to_string()),
    }
}

/// A client's name as it is, but for its length.
pub fn cut(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// A client's text for a message: shortened, and with nothing in it that a terminal would obey.
pub fn short(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN_CHARS).flat_map(char::escape_debug).collect();
    if text.chars().nth(SHOWN_CHARS).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn raw(json: &str) -> Box<RawValue> {
        RawValue::from_string(json.into()).unwrap()
    }

    fn subscribe(json: &str) -> Result<Subscribe, Failure> {
        Subscribe::parse(Some(&raw(json)))
    }

    fn named(names: &[&str]) -> Symbols {
        Symbols::Named(names.iter().map(|&name| name.into()).collect())
    }

    #[test]
    fn reads_every_form() {
        for (json, symbols, mode) in [
            (r#"["BTC","ETH","BTC"]"#, named(&["BTC", "ETH"]), None),
            (r#""BTC""#, named(&["BTC"]), None),
            (r#""*""#, Symbols::All, None),
            (r#"["ETH","*"]"#, Symbols::All, None),
            ("[]", named(&[]), None),
            (r#"{"symbols":"*","mode":"both"}"#, Symbols::All, Some(Mode::Both)),
            (r#"{"symbols":["BTC"],"mode":"batch"}"#, named(&["BTC"]), Some(Mode::Batch)),
            (r#"{"symbols":["BTC"],"mode":"tick"}"#, named(&["BTC"]), Some(Mode::Tick)),
            (r#"{"symbols":"BTC","mode":null,"since":null,"stats":false,"later":[1]}"#, named(&["BTC"]), None),
        ] {
            assert_eq!(subscribe(json), Ok(Subscribe { mode, ..Subscribe::to(symbols) }), "{json}");
        }
        let resumed = subscribe(r#"{"symbols":["BTC"],"maxRate":2.5,"since":{"BTC":7,"FOO":0},"epoch":"e"}"#).unwrap();
        assert_eq!(resumed.since, HashMap::from([("BTC".to_owned(), 7), ("FOO".to_owned(), 0)]));
        assert_eq!(resumed.epoch.as_deref(), Some("e"));
        let rate = resumed.max_rate.unwrap();
        assert_eq!((rate.number.to_string().as_str(), rate.pace.interval().as_micros()), ("2.5", 400_000));
        assert_eq!(
            Unsubscribe::parse(Some(&raw(r#"{"symbols":["BTC"]}"#))),
            Ok(Unsubscribe { symbols: named(&["BTC"]) })
        );
    }

    #[test]
    fn says_what_is_wrong_and_what_is_allowed() {
        for (json, message) in [
            ("5", r#"the payload is 5: must be a symbol, an array of symbols, or "*""#),
            ("{}", r#"symbols is missing: must be a symbol, an array of symbols, or "*""#),
            (r#"{"symbols":true}"#, r#"symbols is true: must be a symbol, an array of symbols, or "*""#),
            (r#"["BTC",7]"#, "the payload[1] is 7: must be the name of a symbol, a string"),
            (r#"{"symbols":[[]]}"#, "symbols[0] is an array of 0: must be the name of a symbol, a string"),
            (r#"{"symbols":"*","mode":"fast"}"#, r#"mode is "fast": must be tick, batch or both"#),
            (r#"{"symbols":"*","mode":3}"#, "mode is 3: must be tick, batch or both"),
            (r#"{"symbols":"*","maxRate":0.01}"#, "maxRate is 0.01: must be a number from 0.1 to 1000, per second"),
            (r#"{"symbols":"*","maxRate":"4"}"#, r#"maxRate is "4": must be a number from 0.1 to 1000, per second"#),
            (r#"{"symbols":"*","since":4}"#, "since is 4: must be an object of sequences by symbol"),
            (
                r#"{"symbols":"*","since":{"BTC":-1}}"#,
                r#"since["BTC"] is -1: must be a sequence, a whole number from 0"#,
            ),
            (r#"{"symbols":"*","epoch":5}"#, "epoch is 5: must be a string"),
            (r#"{"symbols":"*","stats":"yes"}"#, r#"stats is "yes": must be true or false"#),
        ] {
            assert_eq!(subscribe(json), Err(Failure::invalid(message)), "{json}");
        }
        assert!(Subscribe::parse(None).is_err());
    }

    #[test]
    fn bounds_what_it_takes_and_what_it_says() {
        let many = |n: usize| serde_json::to_string(&vec!["BTC"; n]).unwrap();
        assert!(subscribe(&many(MAX_SYMBOLS_PER_REQUEST)).is_ok());
        assert_eq!(subscribe(&many(MAX_SYMBOLS_PER_REQUEST + 1)).unwrap_err().code, ErrorCode::TooManySymbols);
        assert_eq!(subscribe(&"[".repeat(5000).add("]")).unwrap_err().code, ErrorCode::InvalidPayload);

        let long = subscribe(&format!(r#"{{"symbols":"*","mode":"{}"}}"#, "x".repeat(100_000))).unwrap_err();
        assert!(long.message.len() < 200 && long.message.contains('…'), "{long:?}");
        let control = subscribe(r#"{"symbols":"*","mode":"\u001b[31m\u0000"}"#).unwrap_err();
        assert!(!control.message.chars().any(char::is_control), "{control:?}");
    }

    trait Nest {
        fn add(self, closing: &str) -> String;
    }

    impl Nest for String {
        /// Closes every bracket that was opened.
        fn add(self, closing: &str) -> String {
            let closing = closing.repeat(self.len());
            self + &closing
        }
    }

    proptest! {
        #[test]
        fn no_json_is_too_odd(json in json()) {
            let raw = raw(&json);
            for failure in [Subscribe::parse(Some(&raw)).err(), Unsubscribe::parse(Some(&raw)).err()].into_iter().flatten() {
                prop_assert!(failure.message.len() < 400);
            }
        }
    }

    fn json() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just("null".to_owned()),
            any::<bool>().prop_map(|b| b.to_string()),
            any::<f64>().prop_filter("JSON has none", |f| f.is_finite()).prop_map(|f| f.to_string()),
            any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
        ];
        leaf.prop_recursive(4, 32, 8, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..8).prop_map(|all| format!("[{}]", all.join(","))),
                prop::collection::vec(("(symbols|mode|maxRate|since|stats|x)", inner), 0..6).prop_map(|all| {
                    let all: Vec<_> = all.into_iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
                    format!("{{{}}}", all.join(","))
                }),
            ]
        })
    }
}
