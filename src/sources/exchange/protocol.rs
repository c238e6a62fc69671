use std::collections::VecDeque;
use std::time::Duration;

use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::price::Price;
use crate::wire::short;

/// What an exchange allows, and what can be expected of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Symbols of one connection.
    pub(super) symbols: usize,
    /// Symbols of one request.
    pub(super) symbols_per_request: usize,
    /// The pause between two messages of ours.
    pub(super) between_messages: Duration,
    /// How long it may say nothing at all.
    pub(super) silence: Duration,
    /// How often it wants to hear of us when there is nothing to say.
    pub(super) ping_every: Option<Duration>,
}

/// How one exchange talks: what is said to it, and what it says. One for each connection.
pub(super) trait Protocol: Send {
    /// What it allows.
    fn limits(&self) -> Limits;

    /// The path below the exchange's address.
    fn path(&self) -> &'static str;

    /// The request for these symbols, by the exchange's names, under this number.
    fn subscribe(&mut self, id: u64, listed: &[String]) -> String;

    /// A sign of life, where the exchange wants one.
    fn ping(&mut self, id: u64) -> Option<String>;

    /// Takes a message apart. Kinds that are not known are nothing.
    ///
    /// # Errors
    /// It is none of this exchange: why.
    fn hear(&mut self, text: &str, heard: &mut VecDeque<Heard>) -> Result<(), String>;
}

/// What an exchange said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// A price.
    Quote(Quote),
    /// It gives us this symbol.
    Accepted(String),
    /// It does not, and why.
    Refused(String, String),
    /// It has done what the request of this number, or else the oldest one, asked for.
    Done(Option<u64>),
    /// It has not, and why.
    Failed(Option<u64>, String),
    /// What it gives us, all in all: the answer to the oldest request.
    Given(Vec<String>),
    /// It is about to end the connection.
    Leaving,
    /// It is closed for a while: whether it is.
    Maintenance(bool),
}

/// A price as an exchange gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Quote {
    /// The exchange's name of the symbol.
    pub(super) listed: String,
    /// The last price.
    pub(super) price: Price,
    /// The exchange's time, in ms since the Unix epoch; none where it does not say.
    pub(super) ts_ms: Option<u64>,
    /// The best bid.
    pub(super) bid: Option<Price>,
    /// The best ask.
    pub(super) ask: Option<Price>,
    /// The size of the last trade.
    pub(super) size: Option<Price>,
    /// Its place among those of its symbol, on whatever connection; none where the exchange has no such thing.
    pub(super) order: Option<u64>,
}

/// A price with its digits.
pub(super) fn price(field: &str, text: &str) -> Result<Price, String> {
    crate::price::exact(text).ok_or_else(|| format!("{field} is \"{}\"", short(text)))
}

/// A price that may be missing, or empty.
pub(super) fn optional(field: &str, text: Option<&str>) -> Result<Option<Price>, String> {
    text.filter(|text| !text.is_empty()).map(|text| price(field, text)).transpose()
}

/// A time such as `2022-10-19T23:28:22.061769Z`, in microseconds since the Unix epoch.
pub(super) fn micros(field: &str, text: &str) -> Result<u64, String> {
    let time = OffsetDateTime::parse(text, &Rfc3339).ok();
    let micros = time.and_then(|time| u64::try_from(time.unix_timestamp_nanos() / 1000).ok());
    micros.ok_or_else(|| format!("{field} is \"{}\"", short(text)))
}

/// A message, or a part of one, that is of this form.
pub(super) fn parse<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// What a protocol makes of a message.
    pub(in super::super) fn heard(protocol: &mut impl Protocol, text: &str) -> Result<Vec<Heard>, String> {
        let mut heard = VecDeque::new();
        protocol.hear(text, &mut heard)?;
        Ok(heard.into())
    }

    pub(in super::super) fn number(text: &str) -> Price {
        text.parse().unwrap()
    }

    #[test]
    fn times_are_read_to_the_microsecond() {
        assert_eq!(micros("time", "2022-10-19T23:28:22.061769Z"), Ok(1_666_222_102_061_769));
        assert_eq!(micros("time", "1970-01-01T00:00:00Z"), Ok(0));
        for bad in ["", "now", "1969-12-31T23:59:59Z", "2022-10-19 23:28"] {
            assert!(micros("time", bad).unwrap_err().starts_with("time is "), "{bad}");
        }
    }
}
