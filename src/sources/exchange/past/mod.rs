//! The past of an exchange: its candles, asked of its REST API where nobody listened.

mod binance;
mod coinbase;
mod fetch;
mod kraken;

use std::time::Duration;

use serde_json::value::RawValue;

use crate::config::ExchangeName;
use crate::price::{Candle, Interval, Price};
pub(super) use fetch::{Archive, Fetched, Gap};

/// What an exchange allows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// The pause between two requests.
    pub(super) between_requests: Duration,
    /// The candles of one answer at most.
    pub(super) candles: u64,
    /// How many candles it has at most, up to now.
    pub(super) deepest: u64,
}

/// Candles to ask for: those that begin from `from_ms` on, up to and with `to_ms`, both beginnings of an interval; no more
/// than one answer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Page<'a> {
    /// The exchange's name of the symbol.
    pub(super) listed: &'a str,
    pub(super) interval: Interval,
    pub(super) from_ms: u64,
    pub(super) to_ms: u64,
}

/// Why an answer has no candles in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unusable {
    /// It is none of this exchange: why.
    Garbage(String),
    /// The exchange does not have what was asked for, and never will: why.
    Refused(String),
    /// We ask too often.
    TooMany,
}

/// How the candles of one exchange are asked for, and what it answers. It opens nothing and waits for nothing.
pub(super) trait Rest: Send + Sync {
    /// What it allows.
    fn limits(&self) -> Limits;

    /// Whether it has candles of this length.
    fn has(&self, interval: Interval) -> bool;

    /// What to ask for, below the exchange's address.
    fn path(&self, page: &Page<'_>) -> String;

    /// The candles of an answer, in whatever order.
    ///
    /// # Errors
    /// There are none in it.
    fn read(&self, body: &str) -> Result<Vec<Candle>, Unusable>;

    /// Why it refuses, where it says that in the body of an answer.
    fn reason(&self, body: &str) -> Option<String>;
}

/// How this exchange is asked.
fn rest(exchange: ExchangeName) -> Box<dyn Rest> {
    match exchange {
        ExchangeName::Binance => Box::new(binance::Binance),
        ExchangeName::Coinbase => Box::new(coinbase::Coinbase),
        ExchangeName::Kraken => Box::new(kraken::Kraken),
    }
}

/// An answer, or a part of one, that is of this form.
fn parse<'a, T: serde::Deserialize<'a>>(text: &'a str) -> Result<T, Unusable> {
    serde_json::from_str(text).map_err(|error| Unusable::Garbage(error.to_string()))
}

/// A number with its digits, whether it is in quotes or not.
fn number(field: &str, raw: &RawValue) -> Result<Price, Unusable> {
    let text = raw.get().trim_matches('"');
    crate::price::exact(text).ok_or_else(|| Unusable::Garbage(format!("{field} is \"{}\"", crate::wire::short(text))))
}

/// A candle of these numbers (open, high, low, close and volume) and of so many trades, if it can be one.
fn candle(ts_ms: u64, [open, high, low, close, volume]: [&RawValue; 5], n: u64) -> Result<Candle, Unusable> {
    let (open, high, low) = (number("open", open)?, number("high", high)?, number("low", low)?);
    let (close, volume) = (number("close", close)?, number("volume", volume)?);
    let inside = |price: Price| low <= price && price <= high;
    if inside(open) && inside(close) && !volume.is_sign_negative() {
        return Ok(Candle { ts_ms, open, high, low, close, volume, n });
    }
    Err(Unusable::Garbage(format!("the candle of {ts_ms} has open {open}, high {high}, low {low}, close {close}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A candle of a sample.
    pub(super) fn sample(ts_ms: u64, [open, high, low, close, volume]: [&str; 5], n: u64) -> Candle {
        let [open, high, low, close, volume] = [open, high, low, close, volume].map(|text| text.parse().unwrap());
        Candle { ts_ms, open, high, low, close, volume, n }
    }

    #[test]
    fn a_candle_that_cannot_be_is_none() {
        let of = |numbers: [&'static str; 5]| candle(7, numbers.map(|number| serde_json::from_str(number).unwrap()), 9);
        let numbers = ["2", "3", "1", "2.50", "0"];
        assert_eq!(of(numbers), Ok(sample(7, numbers, 9)));
        for numbers in [
            ["4", "3", "1", "2", "0"],
            ["2", "3", "1", "0", "0"],
            ["2", "1", "3", "2", "0"],
            ["2", "3", "1", "2", "-1"],
        ] {
            assert!(of(numbers).is_err(), "{numbers:?}");
        }
    }
}
