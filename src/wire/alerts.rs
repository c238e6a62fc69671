use std::collections::HashMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

use super::answer::encode;
use super::request::{short, shown};
use super::{Failure, to_client};
use crate::price::{Epoch, Price, Symbol, exact};

/// Over which time a change may be measured, in ms.
const WINDOWS_MS: std::ops::RangeInclusive<u64> = 1_000..=86_400_000;

/// The largest change that can be waited for, in percent.
const MAX_PERCENT: u32 = 1_000_000;

/// Longest window that is measured to the second, in s; longer ones are to the minute.
const FINE_S: u64 = 3_600;

/// The longest id, in bytes: what is longer is no id of ours.
const MAX_ID_BYTES: usize = 64;

const FORM: &str = r#"{"symbol": "...", "above" | "below" | "changePct": number, "windowMs"?: ms}"#;

/// When an alert fires. Prices are compared as numbers: 1.0 is 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The price reaches this from below.
    Above(Price),
    /// The price reaches this from above.
    Below(Price),
    /// The price reaches this distance from what it was some time ago, in percent, up or down.
    Change {
        /// The distance, in percent: above 0.
        percent: Price,
        /// How long ago, in ms: whole seconds up to an hour, whole minutes beyond.
        window_ms: u64,
    },
}

/// The payload of `alert`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAlert {
    /// Of which symbol; whether there is one of this name is not known yet.
    pub symbol: String,
    /// When it fires.
    pub rule: Rule,
}

/// The payload of `unalert`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unalert {
    /// Which one.
    pub id: String,
}

impl SetAlert {
    /// Reads `{"symbol", "above" | "below" | "changePct", "windowMs"?}`. Unknown fields are ignored.
    ///
    /// # Errors
    /// A [`Failure`] that names the field, the value and what is allowed.
    pub fn parse(payload: Option<&RawValue>) -> Result<Self, Failure> {
        let fields = fields(payload, FORM)?;
        let symbol = text("symbol", fields.get("symbol").copied(), "the name of a symbol, a string")?;
        let mut rules = ["above", "below", "changePct"]
            .into_iter()
            .filter_map(|name| fields.get(name).filter(|raw| raw.get() != "null").map(|raw| (name, *raw)));
        let only = "must be exactly one of above, below and changePct";
        let (name, raw) =
            rules.next().ok_or_else(|| Failure::invalid(format!("above, below and changePct are missing: {only}")))?;
        if let Some((second, _)) = rules.next() {
            return Err(Failure::invalid(format!("{name} and {second} are both there: {only}")));
        }
        let window = fields.get("windowMs").copied().filter(|raw| raw.get() != "null");
        let number = exact(raw.get());
        let wrong = |allowed: &str| Failure::invalid(format!("{name} is {}: must be {allowed}", seen(raw)));
        let rule = match name {
            "changePct" => {
                let allowed = format!("a number of percent above 0, at most {MAX_PERCENT}");
                let percent = number.filter(|percent| *percent > Price::ZERO && *percent <= Price::from(MAX_PERCENT));
                Rule::Change { percent: percent.ok_or_else(|| wrong(&allowed))?, window_ms: window_ms(window)? }
            }
            _ => {
                if let Some(window) = window {
                    let message = format!("windowMs is {}: goes with changePct alone, leave it out", seen(window));
                    return Err(Failure::invalid(message));
                }
                let price = number.ok_or_else(|| wrong("a number of at most 28 digits"))?;
                if name == "above" { Rule::Above(price) } else { Rule::Below(price) }
            }
        };
        Ok(Self { symbol, rule })
    }
}

impl Unalert {
    /// Reads `{"id"}` or the id alone. Unknown fields are ignored.
    ///
    /// # Errors
    /// A [`Failure`] that names the field, the value and what is allowed.
    pub fn parse(payload: Option<&RawValue>) -> Result<Self, Failure> {
        let allowed = "the id of an alert, a string";
        let id = match payload {
            Some(raw) if raw.get().starts_with('"') => text("the payload", Some(raw), allowed)?,
            payload => text("id", fields(payload, r#"{"id": "..."}"#)?.get("id").copied(), allowed)?,
        };
        if !(1..=MAX_ID_BYTES).contains(&id.len()) {
            return Err(Failure::invalid(format!("id has {} bytes: must have 1 to {MAX_ID_BYTES}", id.len())));
        }
        Ok(Self { id })
    }
}

/// The fields of an object, each as it came: numbers keep their digits. Of one that stands there twice the last counts.
fn fields<'a>(payload: Option<&'a RawValue>, form: &str) -> Result<HashMap<String, &'a RawValue>, Failure> {
    let json = payload.map_or("null", RawValue::get);
    super::from_object(json).map_err(|_| {
        let value = serde_json::from_str(json).map_or_else(|_| short(json), |value: Value| shown(&value));
        Failure::invalid(format!("the payload is {value}: must be {form}"))
    })
}

fn text(field: &str, raw: Option<&RawValue>, allowed: &str) -> Result<String, Failure> {
    match raw {
        None => Err(Failure::invalid(format!("{field} is missing: must be {allowed}"))),
        Some(raw) => serde_json::from_str(raw.get())
            .map_err(|_| Failure::invalid(format!("{field} is {}: must be {allowed}", seen(raw)))),
    }
}

/// How long ago a change is measured from: rounded up to what is kept of the past.
fn window_ms(raw: Option<&RawValue>) -> Result<u64, Failure> {
    let (least, most) = (WINDOWS_MS.start(), WINDOWS_MS.end());
    let allowed = format!("must be a whole number of ms from {least} to {most}");
    let Some(raw) = raw else {
        return Err(Failure::invalid(format!("windowMs is missing, and changePct needs it: {allowed}")));
    };
    let asked = raw.get().parse().ok().filter(|ms| WINDOWS_MS.contains(ms));
    let asked: u64 = asked.ok_or_else(|| Failure::invalid(format!("windowMs is {}: {allowed}", seen(raw))))?;
    let unit_ms = if asked <= FINE_S * 1000 { 1000 } else { 60_000 };
    Ok(asked.div_ceil(unit_ms) * unit_ms)
}

fn seen(raw: &RawValue) -> String {
    serde_json::from_str(raw.get()).map_or_else(
        |_| short(raw.get()),
        |value| match value {
            // As it was written: a number too long for JavaScript is the reason to say so.
            Value::Number(_) => short(raw.get()),
            value => shown(&value),
        },
    )
}

/// A number in JSON, with exactly its digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Exact(Price);

impl Serialize for Exact {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Digits, a point and a sign: always JSON.
        RawValue::from_string(self.0.to_string()).unwrap_or_default().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Exact {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        exact(raw.get()).map(Self).ok_or_else(|| serde::de::Error::custom("no number of at most 28 digits"))
    }
}

/// A rule as JSON: the fields of `alert` that say when.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Form {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    above: Option<Exact>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    below: Option<Exact>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    change_pct: Option<Exact>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    window_ms: Option<u64>,
}

impl Serialize for Rule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut form = Form { above: None, below: None, change_pct: None, window_ms: None };
        match *self {
            Self::Above(price) => form.above = Some(Exact(price)),
            Self::Below(price) => form.below = Some(Exact(price)),
            Self::Change { percent, window_ms } => {
                (form.change_pct, form.window_ms) = (Some(Exact(percent)), Some(window_ms));
            }
        }
        form.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Rule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Form::deserialize(deserializer)? {
            Form { above: Some(Exact(price)), .. } => Ok(Self::Above(price)),
            Form { below: Some(Exact(price)), .. } => Ok(Self::Below(price)),
            Form { change_pct: Some(Exact(percent)), window_ms: Some(window_ms), .. } => {
                Ok(Self::Change { percent, window_ms })
            }
            _ => Err(serde::de::Error::custom("no rule")),
        }
    }
}

/// A price as JSON with exactly its digits: for `#[serde(with = "...")]`.
pub mod digits {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Exact;
    use crate::price::Price;

    /// Writes the number.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(price: &Price, serializer: S) -> Result<S::Ok, S::Error> {
        Exact(*price).serialize(serializer)
    }

    /// Reads one.
    ///
    /// # Errors
    /// It is no number, or has too many digits.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Price, D::Error> {
        Exact::deserialize(deserializer).map(|Exact(price)| price)
    }
}

/// The answer to `alert`.
#[derive(Debug, Serialize)]
pub struct AlertSet<'a> {
    /// Names it from now on.
    pub id: &'a str,
}

/// The answer to `alerts`.
#[derive(Debug, Serialize)]
pub struct Alerts<'a> {
    /// In the order in which they were set.
    pub alerts: Vec<Listed<'a>>,
}

/// One of them.
#[derive(Debug, Serialize)]
pub struct Listed<'a> {
    /// Its name.
    pub id: &'a str,
    /// Of which symbol.
    pub symbol: &'a Symbol,
    /// When it fires.
    pub rule: Rule,
}

/// The body of the event `alert`.
#[derive(Debug, Serialize)]
pub struct Fired<'a> {
    /// Which one.
    pub id: &'a str,
    /// Of which symbol.
    pub symbol: &'a Symbol,
    /// The price that did it.
    #[serde(serialize_with = "digits::serialize")]
    pub price: Price,
    /// Its source's time, in ms since the Unix epoch.
    pub ts: u64,
    /// The tick's number: with the epoch it says which crossing this was.
    pub seq: u64,
    /// The numbering.
    pub epoch: &'a Epoch,
    /// When it fires.
    pub rule: Rule,
}

impl Fired<'_> {
    /// The event that carries it.
    pub const EVENT: &'static str = to_client::ALERT;

    /// As JSON text.
    pub fn encode(&self) -> Box<RawValue> {
        encode(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(json: &str) -> Box<RawValue> {
        RawValue::from_string(json.into()).unwrap()
    }

    fn set(json: &str) -> Result<SetAlert, Failure> {
        SetAlert::parse(Some(&raw(json)))
    }

    fn price(text: &str) -> Price {
        text.parse().unwrap()
    }

    #[test]
    fn reads_every_rule_with_its_digits() {
        let change = |percent, window_ms| Rule::Change { percent: price(percent), window_ms };
        for (json, rule) in [
            (r#"{"symbol":"BTC","above":64210.50}"#, Rule::Above(price("64210.50"))),
            (r#"{"symbol":"BTC","below":79228162514264337593543950.335,"x":1}"#, {
                Rule::Below(price("79228162514264337593543950.335"))
            }),
            (r#"{"symbol":"BTC","above":null,"below":1e-7,"windowMs":null}"#, Rule::Below(price("0.0000001"))),
            (r#"{"symbol":"BTC","changePct":0.5,"windowMs":300000}"#, change("0.5", 300_000)),
            (r#"{"symbol":"BTC","changePct":2,"windowMs":1001}"#, change("2", 2000)),
            (r#"{"symbol":"BTC","changePct":2,"windowMs":3600001}"#, change("2", 3_660_000)),
        ] {
            let set = set(json).unwrap();
            assert_eq!((set.symbol.as_str(), set.rule), ("BTC", rule), "{json}");
            let text = serde_json::to_string(&rule).unwrap();
            assert_eq!(serde_json::from_str::<Rule>(&text).unwrap(), rule, "{text}");
        }
        assert_eq!(serde_json::to_string(&Rule::Above(price("1.50"))).unwrap(), r#"{"above":1.50}"#);
        assert_eq!(serde_json::to_string(&change("0.5", 1000)).unwrap(), r#"{"changePct":0.5,"windowMs":1000}"#);
    }

    #[test]
    fn says_what_is_wrong_and_what_is_allowed() {
        let only = "must be exactly one of above, below and changePct";
        let window = "must be a whole number of ms from 1000 to 86400000";
        for (json, message) in [
            ("5", format!("the payload is 5: must be {FORM}")),
            ("[1]", format!("the payload is an array of 1: must be {FORM}")),
            (r#"{"above":1}"#, "symbol is missing: must be the name of a symbol, a string".into()),
            (r#"{"symbol":7,"above":1}"#, "symbol is 7: must be the name of a symbol, a string".into()),
            (r#"{"symbol":"B"}"#, format!("above, below and changePct are missing: {only}")),
            (r#"{"symbol":"B","above":1,"changePct":1}"#, format!("above and changePct are both there: {only}")),
            (r#"{"symbol":"B","above":"x"}"#, "above is \"x\": must be a number of at most 28 digits".into()),
            (r#"{"symbol":"B","below":{}}"#, "below is an object: must be a number of at most 28 digits".into()),
            (
                r#"{"symbol":"B","below":0.12345678901234567890123456789012}"#,
                "below is 0.12345678901234567890123456789012: must be a number of at most 28 digits".into(),
            ),
            (
                r#"{"symbol":"B","changePct":0,"windowMs":1000}"#,
                "changePct is 0: must be a number of percent above 0, at most 1000000".into(),
            ),
            (r#"{"symbol":"B","changePct":1}"#, format!("windowMs is missing, and changePct needs it: {window}")),
            (r#"{"symbol":"B","changePct":1,"windowMs":999}"#, format!("windowMs is 999: {window}")),
            (r#"{"symbol":"B","changePct":1,"windowMs":1e4}"#, format!("windowMs is 1e4: {window}")),
            (
                r#"{"symbol":"B","above":1,"windowMs":5}"#,
                "windowMs is 5: goes with changePct alone, leave it out".into(),
            ),
        ] {
            assert_eq!(set(json), Err(Failure::invalid(message)), "{json}");
        }
        assert!(SetAlert::parse(None).is_err());
        let long = set(&format!(r#"{{"symbol":"B","above":"{}"}}"#, "x".repeat(100_000))).unwrap_err();
        assert!(long.message.len() < 200, "{long:?}");
    }

    #[test]
    fn reads_ids() {
        let id = |json: &str| Unalert::parse(Some(&raw(json)));
        assert_eq!(id(r#"{"id":"a1","x":1}"#), Ok(Unalert { id: "a1".into() }));
        assert_eq!(id(r#""a1""#), Ok(Unalert { id: "a1".into() }));
        assert_eq!(id("{}"), Err(Failure::invalid("id is missing: must be the id of an alert, a string")));
        assert_eq!(id(r#"{"id":5}"#), Err(Failure::invalid("id is 5: must be the id of an alert, a string")));
        assert_eq!(id(r#""""#), Err(Failure::invalid("id has 0 bytes: must have 1 to 64")));
    }

    #[test]
    fn the_event_has_the_shape_of_the_contract() {
        let (symbol, epoch) = ("BTC".parse().unwrap(), Epoch::new("e1"));
        let rule = Rule::Above(price("64210.50"));
        let fired = Fired { id: "a1", symbol: &symbol, price: price("64211.0"), ts: 5, seq: 7, epoch: &epoch, rule };
        assert_eq!(
            fired.encode().get(),
            r#"{"id":"a1","symbol":"BTC","price":64211.0,"ts":5,"seq":7,"epoch":"e1","rule":{"above":64210.50}}"#
        );
    }
}
