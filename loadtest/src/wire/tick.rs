//! Ticks as feeds send them: the fields that count, found by their names.
//!
//! A server sends the same bytes to many clients, so what was read lately is remembered, and each frame is parsed once.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::args::Fields;

/// One tick.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tick {
    /// Which symbol, as the reader numbers them.
    pub symbol: u32,
    /// Which epoch, as the reader numbers them; 0 where it is not said.
    pub epoch: u32,
    /// Its number, where the feed numbers ticks.
    pub seq: Option<u64>,
    /// How many updates it stands for.
    pub n: u32,
    /// The source's time, in microseconds since the Unix epoch.
    pub ts_us: Option<i64>,
    /// The bits of the price as an `f64`: only ever compared.
    pub price: u64,
}

/// Numbers names, from 0.
#[derive(Debug, Default)]
struct Names {
    numbers: HashMap<String, u32>,
}

impl Names {
    fn number(&mut self, name: &str) -> u32 {
        if let Some(&number) = self.numbers.get(name) {
            return number;
        }
        let number = u32::try_from(self.numbers.len()).unwrap_or(u32::MAX);
        self.numbers.insert(name.to_owned(), number);
        number
    }
}

/// The slots for frames that were read lately. Each flush of a server brings a few distinct ones, or one a
/// subscription set.
const SLOTS: usize = 2048;

#[derive(Debug, Default)]
struct Seen {
    bytes: Vec<u8>,
    ticks: Vec<Tick>,
}

/// Reads ticks.
#[derive(Debug)]
pub struct Reader {
    fields: Fields,
    symbols: Names,
    epochs: Names,
    seen: Vec<Seen>,
}

impl Reader {
    /// Of a feed with these fields. The symbols get the first numbers, in order.
    pub fn new(fields: Fields, symbols: &[String]) -> Self {
        let mut reader = Self { fields, symbols: Names::default(), epochs: Names::default(), seen: Vec::new() };
        reader.seen.resize_with(SLOTS, Seen::default);
        // Number 0 is for ticks that do not name their epoch.
        reader.epochs.number("");
        for symbol in symbols {
            reader.symbols.number(symbol);
        }
        reader
    }

    /// How many symbols have been seen or asked for.
    pub fn symbols(&self) -> usize {
        self.symbols.numbers.len()
    }

    /// The ticks in an event's values: one tick, or an array of them. What follows the first value is not looked at.
    ///
    /// # Errors
    /// If it is not JSON, or neither a tick nor an array of ticks.
    pub fn read(&mut self, values: &[u8]) -> Result<&[Tick], serde_json::Error> {
        let at = (hash(values) % SLOTS as u64) as usize;
        // An empty slot looks as if nothing had been read there.
        if self.seen[at].bytes != values || values.is_empty() {
            let Seen { mut bytes, mut ticks } = std::mem::take(&mut self.seen[at]);
            bytes.clear();
            ticks.clear();
            let mut json = serde_json::Deserializer::from_slice(values);
            Ticks { reader: self, into: &mut ticks }.deserialize(&mut json)?;
            bytes.extend_from_slice(values);
            self.seen[at] = Seen { bytes, ticks };
        }
        Ok(&self.seen[at].ticks)
    }

    /// The ticks in the field `snapshot` of an answer, and whatever else it says.
    ///
    /// # Errors
    /// If it is not JSON.
    pub fn answer(&mut self, values: &[u8]) -> Result<Answer, serde_json::Error> {
        let raw: Vec<serde_json::Value> = serde_json::from_slice(values)?;
        let Some(body) = raw.into_iter().next() else {
            return Ok(Answer::default());
        };
        let mut snapshot = Vec::new();
        if let Some(ticks) = body.get("snapshot").filter(|ticks| ticks.is_array()) {
            Ticks { reader: self, into: &mut snapshot }.deserialize(ticks)?;
        }
        let refused = (body.get("ok") == Some(&serde_json::Value::Bool(false))).then(|| {
            let message = body.pointer("/error/message").and_then(serde_json::Value::as_str);
            message.map_or_else(|| body.to_string(), str::to_owned)
        });
        let rejected = body.get("rejected").and_then(serde_json::Value::as_array).filter(|symbols| !symbols.is_empty());
        let rejected = rejected.map(|symbols| {
            let names = symbols.iter().map(|one| one.get("symbol").and_then(|name| name.as_str()).unwrap_or("?"));
            format!("symbols were rejected: {}", names.collect::<Vec<_>>().join(", "))
        });
        Ok(Answer { snapshot, refused: refused.or(rejected) })
    }
}

/// What a server answered to a subscription.
#[derive(Debug, Default)]
pub struct Answer {
    /// Where the live ticks go on from.
    pub snapshot: Vec<Tick>,
    /// Why some or all of it was refused.
    pub refused: Option<String>,
}

/// Of all the bytes, eight at a time (FxHash's step): most of them are equal between two ticks.
fn hash(bytes: &[u8]) -> u64 {
    const FACTOR: u64 = 0x517c_c1b7_2722_0a95;
    let step = |hash: u64, word: u64| (hash.rotate_left(5) ^ word).wrapping_mul(FACTOR);
    let (words, rest) = bytes.as_chunks::<8>();
    let hash = words.iter().fold(bytes.len() as u64, |hash, word| step(hash, u64::from_le_bytes(*word)));
    let hash = rest.iter().fold(hash, |hash, byte| step(hash, u64::from(*byte)));
    hash ^ (hash >> 32)
}

/// A tick, or an array of them.
struct Ticks<'a> {
    reader: &'a mut Reader,
    into: &'a mut Vec<Tick>,
}

impl<'de> DeserializeSeed<'de> for Ticks<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Ticks<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a tick or an array of ticks")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        while elements.next_element_seed(Ticks { reader: self.reader, into: self.into })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let Reader { fields, symbols, epochs, .. } = self.reader;
        let (mut tick, mut named) = (Tick { n: 1, ..Tick::default() }, false);
        while let Some(Text(name)) = entries.next_key::<Text<'de>>()? {
            if name == fields.symbol {
                tick.symbol = symbols.number(&entries.next_value::<Text<'de>>()?.0);
                named = true;
            } else if name == fields.price {
                tick.price = entries.next_value::<Number>()?.0.to_bits();
            } else if name == fields.ts {
                tick.ts_us = entries.next_value::<Time>()?.0;
            } else if name == fields.seq {
                tick.seq = entries.next_value::<Option<u64>>()?;
            } else if name == fields.n {
                tick.n = entries.next_value()?;
            } else if name == fields.epoch {
                tick.epoch = entries.next_value::<Text<'de>>().map(|Text(epoch)| epochs.number(&epoch))?;
            } else {
                entries.next_value::<IgnoredAny>()?;
            }
        }
        if !named {
            return Err(serde::de::Error::custom(format!("a tick without {:?}", fields.symbol)));
        }
        self.into.push(tick);
        Ok(())
    }
}

/// Text, or a number as text; borrowed where JSON allows.
#[derive(PartialEq)]
struct Text<'a>(Cow<'a, str>);

impl PartialEq<String> for Text<'_> {
    fn eq(&self, other: &String) -> bool {
        self.0 == *other
    }
}

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyText;
        impl<'de> Visitor<'de> for AnyText {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(number.to_string())))
            }

            fn visit_unit<E>(self) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed("")))
            }
        }
        deserializer.deserialize_any(AnyText)
    }
}

/// A price: a number, or text with one in it.
struct Number(f64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(match Scalar::deserialize(deserializer)? {
            Scalar::Number(number) => number,
            Scalar::Text(text) => text.parse().unwrap_or(f64::NAN),
        }))
    }
}

/// A time in microseconds: ms since the Unix epoch as a number or as text, or ISO 8601.
struct Time(Option<i64>);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let ms = match Scalar::deserialize(deserializer)? {
            Scalar::Number(ms) => Some(ms),
            Scalar::Text(text) => match text.parse::<f64>() {
                Ok(ms) => Some(ms),
                Err(_) => return Ok(Self(text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_microsecond))),
            },
        };
        Ok(Self(ms.filter(|ms| ms.is_finite()).map(|ms| (ms * 1000.0).round() as i64)))
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Scalar {
    Number(f64),
    Text(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader() -> Reader {
        Reader::new(Fields::default(), &["BTC".into(), "ETH".into()])
    }

    #[test]
    fn a_tick_is_read_with_and_without_what_is_optional() {
        let mut reader = reader();
        let full = br#"{"symbol":"ETH","price":1.50,"ts":1732252800123,"seq":7,"n":3,"epoch":"e","bid":[1,{}]}]"#;
        let expected = Tick {
            symbol: 1,
            epoch: 1,
            seq: Some(7),
            n: 3,
            ts_us: Some(1_732_252_800_123_000),
            price: 1.5_f64.to_bits(),
        };
        assert_eq!(reader.read(full).unwrap(), std::slice::from_ref(&expected));
        assert_eq!(reader.read(full).unwrap(), [expected], "again, as it was remembered");
        let bare = br#"{"symbol":"DOGE","price":"1.5"}]"#;
        let expected = Tick { symbol: 2, n: 1, price: 1.5_f64.to_bits(), ..Tick::default() };
        assert_eq!(reader.read(bare).unwrap(), [expected]);
        assert_eq!(reader.symbols(), 3);
    }

    #[test]
    fn an_array_is_read_and_what_follows_is_not() {
        let mut reader = reader();
        let ticks = reader.read(br#"[{"symbol":"BTC","seq":1},{"symbol":"ETH","seq":2}],"more"]"#).unwrap();
        assert_eq!(ticks.iter().map(|tick| (tick.symbol, tick.seq)).collect::<Vec<_>>(), [(0, Some(1)), (1, Some(2))]);
        assert!(reader.read(b"[]]").unwrap().is_empty());
    }

    #[test]
    fn times_come_in_three_shapes() {
        let mut reader = reader();
        for ts in
            ["1732252800123", "\"1732252800123\"", "\"2024-11-22T05:20:00.123Z\"", "\"2024-11-22T06:20:00.123+01:00\""]
        {
            let tick = format!(r#"{{"symbol":"BTC","ts":{ts}}}"#);
            assert_eq!(reader.read(tick.as_bytes()).unwrap()[0].ts_us, Some(1_732_252_800_123_000), "{ts}");
        }
        assert_eq!(reader.read(br#"{"symbol":"BTC","ts":"soon"}"#).unwrap()[0].ts_us, None);
    }

    #[test]
    fn what_is_no_tick_is_an_error() {
        for values in ["", "1]", "{]", r#"{"price":1}"#, r#"{"symbol":"BTC","n":-1}"#] {
            assert!(reader().read(values.as_bytes()).is_err(), "{values}");
        }
    }

    #[test]
    fn answers_say_where_to_start_and_what_was_refused() {
        let mut reader = reader();
        let answer = reader.answer(br#"[{"ok":true,"rejected":[],"snapshot":[{"symbol":"BTC","seq":5}]}]"#).unwrap();
        assert_eq!((answer.snapshot[0].seq, answer.refused), (Some(5), None));
        let answer = reader.answer(br#"[{"ok":false,"error":{"code":"x","message":"no"}}]"#).unwrap();
        assert_eq!(answer.refused.unwrap(), "no");
        let answer = reader.answer(br#"[{"ok":true,"rejected":[{"symbol":"FOO"}]}]"#).unwrap();
        assert_eq!(answer.refused.unwrap(), "symbols were rejected: FOO");
        assert!(reader.answer(b"[]").unwrap().refused.is_none());
    }
}
