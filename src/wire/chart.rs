use std::fmt::Write;

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::Failure;
use super::request::{read, shown};
use crate::price::{Candle, Day, Interval, Price, Symbol};

/// How many candles an answer has where the request does not say.
const USUAL_CANDLES: usize = 500;

/// How many candles a request may ask for.
pub const MAX_CANDLES: usize = 1000;

/// Room for one encoded candle, in bytes: that of usual numbers.
const CANDLE_BYTES: usize = 128;

/// The payload of `candles`, and of `uncandles`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChartRequest {
    /// Whose; whether there is such a symbol is not known yet.
    pub symbol: String,
    /// Which.
    pub interval: Interval,
    /// How many of the latest come with the answer.
    pub limit: usize,
}

impl ChartRequest {
    /// Reads `{"symbol": ..., "interval": ..., "limit": ...}`. Unknown fields are ignored.
    ///
    /// # Errors
    /// A [`Failure`] that names the field, the value and what is allowed.
    pub fn parse(payload: Option<&RawValue>) -> Result<Self, Failure> {
        let value = read(payload)?;
        let Value::Object(mut fields) = value else {
            let form = "must be an object with symbol and interval";
            return Err(Failure::invalid(match value {
                Value::Null => format!("the payload is missing: {form}"),
                value => format!("the payload is {}: {form}", shown(&value)),
            }));
        };
        let mut take = |field| fields.remove(field).filter(|value| !value.is_null());
        let symbol = match take("symbol") {
            Some(Value::String(name)) => name,
            value => return Err(wrong("symbol", value.as_ref(), "must be the name of a symbol, a string")),
        };
        let interval = take("interval");
        let read = |value: &Value| value.as_str().and_then(|name| name.parse().ok());
        let interval = interval
            .as_ref()
            .and_then(read)
            .ok_or_else(|| wrong("interval", interval.as_ref(), &format!("must be {}", Interval::ALLOWED)))?;
        let limit = match take("limit") {
            None => USUAL_CANDLES,
            Some(value) => value
                .as_u64()
                .and_then(|limit| usize::try_from(limit).ok())
                .filter(|limit| (1..=MAX_CANDLES).contains(limit))
                .ok_or_else(|| {
                    wrong("limit", Some(&value), &format!("must be a whole number from 1 to {MAX_CANDLES}"))
                })?,
        };
        Ok(Self { symbol, interval, limit })
    }
}

fn wrong(field: &str, value: Option<&Value>, allowed: &str) -> Failure {
    Failure::invalid(match value {
        None => format!("{field} is missing: {allowed}"),
        Some(value) => format!("{field} is {}: {allowed}", shown(value)),
    })
}

/// The answer to `candles`.
#[derive(Debug, Serialize)]
pub struct Charted {
    /// Whose candles.
    pub symbol: Symbol,
    /// Which.
    pub interval: &'static str,
    /// The latest, oldest first; the last one is not closed yet: [`encode_candles`].
    pub candles: Box<RawValue>,
}

/// Candles as a JSON array. Written by hand: prices keep their exact decimal digits as JSON numbers.
pub fn encode_candles(candles: &[Candle]) -> Box<RawValue> {
    let mut json = String::with_capacity(2 + candles.len() * CANDLE_BYTES);
    json.push('[');
    for candle in candles {
        if json.len() > 1 {
            json.push(',');
        }
        json.push('{');
        write_candle(&mut json, candle);
        json.push('}');
    }
    json.push(']');
    raw(json)
}

/// The body of a `candle` event.
pub fn encode_candle(symbol: &Symbol, interval: Interval, candle: &Candle, closed: bool) -> Box<RawValue> {
    let mut json = String::with_capacity(2 * CANDLE_BYTES);
    // Writing to a String cannot fail.
    let _ = write!(json, r#"{{"symbol":"{symbol}","interval":"{interval}","#);
    write_candle(&mut json, candle);
    let _ = write!(json, r#","closed":{closed}}}"#);
    raw(json)
}

fn write_candle(json: &mut String, candle: &Candle) {
    let Candle { ts_ms, open, high, low, close, volume, n } = candle;
    let _ = write!(
        json,
        r#""ts":{ts_ms},"open":{open},"high":{high},"low":{low},"close":{close},"volume":{volume},"n":{n}"#
    );
}

/// What a symbol did in a day, as one of the `stats` event.
pub fn encode_day(symbol: &Symbol, day: &Day) -> Box<RawValue> {
    let mut json = String::with_capacity(CANDLE_BYTES);
    let _ = write!(json, r#"{{"symbol":"{symbol}""#);
    write_day(&mut json, day);
    json.push('}');
    raw(json)
}

/// The fields of a day, each with a comma before it. `volume24h` is left out where the source says no sizes.
pub(super) fn write_day(json: &mut String, day: &Day) {
    let Day { open, high, low, volume } = day;
    let _ = write!(json, r#","open24h":{open},"high24h":{high},"low24h":{low}"#);
    if *volume != Price::ZERO {
        let _ = write!(json, r#","volume24h":{volume}"#);
    }
}

fn raw(json: String) -> Box<RawValue> {
    // What is written above is JSON; checking it again is the price of a type that says so.
    RawValue::from_string(json).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ErrorCode;

    fn parse(payload: &str) -> Result<ChartRequest, Failure> {
        ChartRequest::parse(Some(&RawValue::from_string(payload.to_owned()).unwrap()))
    }

    #[test]
    fn a_request_names_a_symbol_and_an_interval() {
        let asked = |limit| ChartRequest { symbol: "BTC".into(), interval: Interval::M5, limit };
        assert_eq!(parse(r#"{"symbol":"BTC","interval":"5m"}"#), Ok(asked(500)));
        assert_eq!(parse(r#"{"symbol":"BTC","interval":"5m","limit":1000,"x":1}"#), Ok(asked(1000)));
        assert_eq!(parse(r#"{"symbol":"BTC","interval":"5m","limit":null}"#), Ok(asked(500)));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let wrong = [
            ("null", "the payload is missing: must be an object with symbol and interval"),
            (r#""BTC""#, r#"the payload is "BTC": must be an object with symbol and interval"#),
            (r#"{"interval":"1m"}"#, "symbol is missing: must be the name of a symbol, a string"),
            (
                r#"{"symbol":["BTC"],"interval":"1m"}"#,
                "symbol is an array of 1: must be the name of a symbol, a string",
            ),
            (r#"{"symbol":"BTC"}"#, "interval is missing: must be 1s, 1m, 5m, 15m, 1h or 1d"),
            (r#"{"symbol":"BTC","interval":"2m"}"#, r#"interval is "2m": must be 1s, 1m, 5m, 15m, 1h or 1d"#),
            (r#"{"symbol":"BTC","interval":60}"#, "interval is 60: must be 1s, 1m, 5m, 15m, 1h or 1d"),
            (r#"{"symbol":"BTC","interval":"1m","limit":0}"#, "limit is 0: must be a whole number from 1 to 1000"),
            (
                r#"{"symbol":"BTC","interval":"1m","limit":"5"}"#,
                r#"limit is "5": must be a whole number from 1 to 1000"#,
            ),
        ];
        for (payload, message) in wrong {
            let failure = parse(payload).unwrap_err();
            assert_eq!((failure.code, failure.message.as_str()), (ErrorCode::InvalidPayload, message), "{payload}");
        }
        assert!(ChartRequest::parse(None).is_err());
    }

    #[test]
    fn candles_and_days_have_the_shape_of_the_contract() {
        let price = |text: &str| text.parse::<Price>().unwrap();
        let candle = Candle {
            ts_ms: 60_000,
            open: price("1.50"),
            high: price("2"),
            low: price("0.000001"),
            close: price("1.7"),
            volume: price("0.10"),
            n: 3,
        };
        let plain = r#""ts":60000,"open":1.50,"high":2,"low":0.000001,"close":1.7,"volume":0.10,"n":3"#;
        assert_eq!(encode_candles(&[]).get(), "[]");
        assert_eq!(encode_candles(&[candle, candle]).get(), format!("[{{{plain}}},{{{plain}}}]"));
        let symbol = "BTC".parse().unwrap();
        assert_eq!(
            encode_candle(&symbol, Interval::H1, &candle, true).get(),
            format!(r#"{{"symbol":"BTC","interval":"1h",{plain},"closed":true}}"#)
        );
        let day = Day { open: price("1"), high: price("3"), low: price("0.5"), volume: price("7.0") };
        let told = r#"{"symbol":"BTC","open24h":1,"high24h":3,"low24h":0.5,"volume24h":7.0}"#;
        assert_eq!(encode_day(&symbol, &day).get(), told);
        let told = told.replace(r#","volume24h":7.0"#, "");
        assert_eq!(encode_day(&symbol, &Day { volume: price("0.00"), ..day }).get(), told);
    }
}
