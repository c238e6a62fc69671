use std::borrow::Cow;
use std::collections::HashMap;

use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;
use utoipa::openapi::schema::{Object, ObjectBuilder, OneOfBuilder, Schema, Type};

use super::Rejection;
use crate::bus::Offered;
use crate::price::{Price, Symbol, Update, exact};
use crate::wire::{ErrorCode, from_object, short};

/// The latest time that JavaScript keeps whole, in ms.
const MAX_TS_MS: u64 = (1 << 53) - 1;

/// An update as somebody publishes it, looked at by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The symbol as it was given, shortened; empty where it could not be read.
    pub symbol: String,
    pub(super) update: Result<Parts, Rejection>,
}

/// An update that may not say when it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Parts {
    update: Update,
    has_ts: bool,
}

impl Parts {
    /// At its own time, or else at this one.
    pub(super) fn at(self, now_ms: u64) -> Offered {
        let Self { mut update, has_ts } = self;
        if !has_ts {
            update.ts_ms = now_ms;
        }
        Offered { update, is_timed: has_ts }
    }
}

/// A price that somebody publishes, as JSON. Its fields are texts of JSON: numbers keep their digits.
#[derive(Debug, Deserialize, ToSchema)]
pub struct PriceUpdate<'a> {
    /// What is traded.
    #[serde(borrow, default)]
    #[schema(required, value_type = String, max_length = 32, pattern = "^[A-Za-z0-9._:/-]+$", example = "BTC-USD")]
    symbol: Option<&'a RawValue>,
    /// The last price. All its digits are kept, of which there may be 28.
    #[serde(borrow, default)]
    #[schema(required, schema_with = decimal)]
    price: Option<&'a RawValue>,
    /// The source's time, in ms since the Unix epoch: not before the symbol's last one, and at most a minute ahead of
    /// the server's clock. Without it, the server's.
    #[serde(borrow, default)]
    #[schema(value_type = Option<u64>, maximum = 9007199254740991u64)]
    ts: Option<&'a RawValue>,
    /// The best bid.
    #[serde(borrow, default)]
    #[schema(schema_with = decimal_or_null)]
    bid: Option<&'a RawValue>,
    /// The best ask.
    #[serde(borrow, default)]
    #[schema(schema_with = decimal_or_null)]
    ask: Option<&'a RawValue>,
    /// The size of the last trade; not negative.
    #[serde(borrow, default)]
    #[schema(schema_with = decimal_or_null)]
    size: Option<&'a RawValue>,
}

/// A number, or a text with one in it: JavaScript cannot write all digits of a large one.
fn decimal() -> Schema {
    OneOfBuilder::new().item(Object::with_type(Type::Number)).item(decimal_text()).into()
}

fn decimal_or_null() -> Schema {
    let null = Object::with_type(Type::Null);
    OneOfBuilder::new().item(Object::with_type(Type::Number)).item(decimal_text()).item(null).into()
}

fn decimal_text() -> Object {
    ObjectBuilder::new().schema_type(Type::String).pattern(Some("^-?[0-9]+([.][0-9]+)?([eE][+-]?[0-9]{1,2})?$")).build()
}

impl Candidate {
    /// From JSON: `{"symbol", "price", "ts"?, "bid"?, "ask"?, "size"?}`. A price is a number, or a text with one in it.
    pub fn from_json<'a>(json: &'a RawValue) -> Self {
        let fields: PriceUpdate<'_> = match from_object(json.get()) {
            Ok(fields) => fields,
            Err(_) => {
                let shown = short(json.get());
                let message = format!(
                    "the price is {shown}: must be {{\"symbol\", \"price\", \"ts\"?, \"bid\"?, \"ask\"?, \"size\"?}}"
                );
                return Self { symbol: String::new(), update: Err(Rejection::new(ErrorCode::InvalidPayload, message)) };
            }
        };
        let given = |value: Option<&'a RawValue>| value.map(RawValue::get).filter(|text| *text != "null");
        let symbol = given(fields.symbol).map(|json| serde_json::from_str::<String>(json).map_err(|_| json));
        let symbol = match &symbol {
            Some(Ok(text)) => Ok(text.as_str()),
            Some(Err(json)) => Err(*json),
            None => Err("missing"),
        };
        Self::new(symbol, |name| {
            given(match name {
                "price" => fields.price,
                "ts" => fields.ts,
                "bid" => fields.bid,
                "ask" => fields.ask,
                _ => fields.size,
            })
            .map(|json| match json.starts_with('"') && name != "ts" {
                // What is in the quotes; a text with escapes is no number anyway.
                true => Cow::Borrowed(json.trim_matches('"')),
                false => Cow::Borrowed(json),
            })
        })
    }

    /// From fields of these names, each a text.
    pub fn from_fields(fields: &HashMap<String, String>) -> Self {
        let given = |name: &str| fields.get(name).map(String::as_str).filter(|text| !text.is_empty());
        Self::new(given("symbol").ok_or("missing"), |name| given(name).map(Cow::Borrowed))
    }

    /// `symbol` is an error with what stands in its place.
    fn new<'a>(symbol: Result<&str, &str>, field: impl Fn(&str) -> Option<Cow<'a, str>>) -> Self {
        let (Ok(shown) | Err(shown)) = symbol;
        let update = symbol
            .ok()
            .and_then(|symbol| symbol.parse::<Symbol>().ok())
            .ok_or_else(|| {
                invalid(format!(
                    "symbol is {}: must be 1 to {} ASCII letters, digits, or . _ : / -",
                    quoted(shown),
                    Symbol::MAX_BYTES
                ))
            })
            .and_then(|symbol| parts(symbol, field));
        Self { symbol: if symbol.is_ok() { short(shown) } else { String::new() }, update }
    }
}

fn parts<'a>(symbol: Symbol, field: impl Fn(&str) -> Option<Cow<'a, str>>) -> Result<Parts, Rejection> {
    let number = |name: &'static str| -> Result<Option<Price>, Rejection> {
        field(name).map(|text| exact(&text).ok_or_else(|| no_number(name, &text))).transpose()
    };
    let price = number("price")?.ok_or_else(|| invalid("price is missing: must be a decimal number"))?;
    let (bid, ask, size) = (number("bid")?, number("ask")?, number("size")?);
    if let Some(size) = size.filter(|size| size.is_sign_negative() && !size.is_zero()) {
        return Err(invalid(format!("size is {size}: must not be negative")));
    }
    let ts_ms = field("ts")
        .map(|text| {
            let whole = text.parse::<u64>().ok().filter(|ts_ms| *ts_ms <= MAX_TS_MS);
            whole.ok_or_else(|| {
                invalid(format!("ts is {}: must be a whole number of ms since the Unix epoch", quoted(&text)))
            })
        })
        .transpose()?;
    let has_ts = ts_ms.is_some();
    Ok(Parts { update: Update { symbol, price, ts_ms: ts_ms.unwrap_or(0), bid, ask, size }, has_ts })
}

fn no_number(name: &str, text: &str) -> Rejection {
    invalid(format!("{name} is {}: must be a decimal number of at most 28 digits", quoted(text)))
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", short(text))
}

fn invalid(message: impl Into<String>) -> Rejection {
    Rejection::new(ErrorCode::InvalidPayload, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Result<Update, Rejection> {
        let raw = RawValue::from_string(text.to_owned()).unwrap();
        Candidate::from_json(&raw).update.map(|parts| parts.at(7).update)
    }

    #[test]
    fn prices_keep_their_digits() {
        for (text, digits) in [
            ("64210.50", "64210.50"),
            ("\"64210.50\"", "64210.50"),
            ("0.00000001", "0.00000001"),
            ("1e-7", "0.0000001"),
            ("2.5E3", "2500"),
            ("-37.63", "-37.63"),
            ("7922816251426433759354395033.5", "7922816251426433759354395033.5"),
        ] {
            let update = json(&format!(r#"{{"symbol":"A","price":{text},"bid":{text},"ts":5}}"#)).unwrap();
            assert_eq!((update.price.to_string().as_str(), update.ts_ms), (digits, 5), "{text}");
            assert_eq!(update.bid, Some(update.price));
        }
        assert_eq!(json(r#"{"symbol":"A","price":1,"ask":null,"other":{}}"#).unwrap().ts_ms, 7);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, part) in [
            ("5", "the price is 5: must be {"),
            ("{}", "symbol is \"missing\""),
            (r#"{"symbol":5,"price":1}"#, "symbol is \"5\""),
            (r#"{"symbol":"A B","price":1}"#, "symbol is \"A B\""),
            (r#"{"symbol":"A"}"#, "price is missing"),
            (r#"{"symbol":"A","price":"NaN"}"#, "price is \"NaN\""),
            (r#"{"symbol":"A","price":true}"#, "price is \"true\""),
            (r#"{"symbol":"A","price":"1_0"}"#, "price is \"1_0\""),
            (r#"{"symbol":"A","price":""}"#, "price is \"\""),
            (r#"{"symbol":"A","price":1e99}"#, "price is \"1e99\""),
            (r#"{"symbol":"A","price":0.12345678901234567890123456789}"#, "at most 28 digits"),
            (r#"{"symbol":"A","price":1,"bid":[]}"#, "bid is \"[]\""),
            (r#"["A",1]"#, "must be {\"symbol\""),
            (r#"{"symbol":"A","price":1,"size":-1}"#, "size is -1"),
            (r#"{"symbol":"A","price":1,"ts":1.5}"#, "ts is \"1.5\""),
            (r#"{"symbol":"A","price":1,"ts":-1}"#, "ts is \"-1\""),
            (r#"{"symbol":"A","price":1,"ts":9007199254740992}"#, "must be a whole number of ms"),
        ] {
            let why = json(text).unwrap_err();
            assert!(why.code == "invalid_payload" && why.message.contains(part), "{text}: {why:?}");
        }
    }

    #[test]
    fn fields_of_an_entry_are_texts() {
        let fields = |pairs: &[(&str, &str)]| -> Candidate {
            Candidate::from_fields(&pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect())
        };
        let good =
            fields(&[("symbol", "A"), ("price", "1.50"), ("ts", "9"), ("size", "")]).update.unwrap().at(7).update;
        assert_eq!((good.price.to_string().as_str(), good.ts_ms, good.size), ("1.50", 9, None));
        let bad = fields(&[("symbol", "\u{fffd}"), ("price", "1")]);
        assert!(bad.update.unwrap_err().message.starts_with("symbol is \"\u{fffd}\""));
    }
}
