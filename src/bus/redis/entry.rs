use std::collections::HashMap;
use std::fmt::Write;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::price::{Batch, Candle, Epoch, Fill, Price, Tick, Update};

/// An entry's id as numbers: ms since the Unix epoch, and a count within the ms.
pub(super) fn id(text: &str) -> (u64, u64) {
    let (ms, count) = text.split_once('-').unwrap_or((text, "0"));
    (ms.parse().unwrap_or(0), count.parse().unwrap_or(0))
}

/// An entry of the log: `epoch`, and `ticks`, a JSON array of ticks as clients get them.
pub(super) fn entry(fields: &HashMap<String, String>) -> Option<Batch> {
    let epoch = fields.get("epoch").filter(|epoch| is_epoch(epoch))?;
    let ticks: Vec<Entry<'_>> = serde_json::from_str(fields.get("ticks")?).ok()?;
    let ticks = ticks.into_iter().map(Entry::tick).collect::<Option<Vec<_>>>()?;
    Some(Batch { epoch: Epoch::new(epoch), ticks })
}

/// Candles of the past that an entry carries; none where it carries none, or they cannot be read.
pub(super) fn fill(fields: &HashMap<String, String>) -> Option<Fill> {
    let fill: FillEntry<'_> = serde_json::from_str(fields.get("fill")?).ok()?;
    let number = |raw: &RawValue| raw.get().parse::<Price>().ok();
    let candle = |(ts_ms, open, high, low, close, volume, n): CandleEntry<'_>| {
        let [open, high, low, close, volume] = [open, high, low, close, volume].map(number);
        Some(Candle { ts_ms, open: open?, high: high?, low: low?, close: close?, volume: volume?, n })
    };
    Some(Fill {
        symbol: fill.symbol.parse().ok()?,
        interval: fill.interval.parse().ok()?,
        unseen_ms: fill.unseen,
        settled_ms: fill.settled,
        candles: fill.candles.into_iter().map(candle).collect::<Option<_>>()?,
    })
}

/// Some of the candles of a fill as JSON.
pub(super) fn encode_fill(fill: &Fill, candles: &[Candle]) -> String {
    let Fill { symbol, interval, unseen_ms: (from, to), settled_ms, .. } = fill;
    let mut json = format!(
        r#"{{"symbol":"{symbol}","interval":"{interval}","unseen":[{from},{to}],"settled":{settled_ms},"candles":["#
    );
    for (index, Candle { ts_ms, open, high, low, close, volume, n }) in candles.iter().enumerate() {
        let comma = if index > 0 { "," } else { "" };
        // Writing to a String cannot fail.
        let _ = write!(json, "{comma}[{ts_ms},{open},{high},{low},{close},{volume},{n}]");
    }
    json.push_str("]}");
    json
}

#[derive(Deserialize)]
struct FillEntry<'a> {
    #[serde(borrow)]
    symbol: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    interval: std::borrow::Cow<'a, str>,
    unseen: (u64, u64),
    settled: u64,
    #[serde(borrow)]
    candles: Vec<CandleEntry<'a>>,
}

/// Time, open, high, low, close, volume and n.
type CandleEntry<'a> = (u64, &'a RawValue, &'a RawValue, &'a RawValue, &'a RawValue, &'a RawValue, u64);

fn is_epoch(name: &str) -> bool {
    !name.is_empty() && name.len() <= 64 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// One tick as JSON.
pub(super) fn parse(json: &str) -> Option<Tick> {
    serde_json::from_str::<Entry<'_>>(json).ok()?.tick()
}

pub(super) fn parse_epoch(json: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Of {
        epoch: String,
    }
    serde_json::from_str::<Of>(json).ok().map(|of| of.epoch)
}

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow)]
    symbol: std::borrow::Cow<'a, str>,
    // Not as floating-point numbers: prices keep their digits.
    #[serde(borrow)]
    price: &'a RawValue,
    ts: u64,
    seq: u64,
    #[serde(borrow, default)]
    bid: Option<&'a RawValue>,
    #[serde(borrow, default)]
    ask: Option<&'a RawValue>,
    #[serde(borrow, default)]
    size: Option<&'a RawValue>,
}

impl Entry<'_> {
    fn tick(self) -> Option<Tick> {
        let number = |raw: &RawValue| raw.get().parse::<Price>().ok();
        let optional = |raw: Option<&RawValue>| raw.map_or(Some(None), |raw| number(raw).map(Some));
        let update = Update {
            symbol: self.symbol.parse().ok()?,
            price: number(self.price)?,
            ts_ms: self.ts,
            bid: optional(self.bid)?,
            ask: optional(self.ask)?,
            size: optional(self.size)?,
        };
        Some(Tick { seq: self.seq, update })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::price::Interval;

    #[test]
    fn candles_of_the_past_are_read_as_they_were_written() {
        let number = |text: &str| text.parse::<Price>().unwrap();
        let candle = Candle {
            ts_ms: 60_000,
            open: number("1.10"),
            high: number("2"),
            low: number("0.00000001"),
            close: number("1.5"),
            volume: number("12345678901234567890.12345678"),
            n: 7,
        };
        let fill_of = |candles| Fill {
            symbol: "BTC/USD".parse().unwrap(),
            interval: Interval::M1,
            unseen_ms: (0, 1_732_252_800_123),
            settled_ms: 1_732_252_800_000,
            candles,
        };
        for candles in [vec![], vec![candle], vec![candle, Candle { ts_ms: 120_000, ..candle }]] {
            let written = fill_of(candles);
            let json = encode_fill(&written, &written.candles);
            let fields = HashMap::from([("fill".to_owned(), json.clone())]);
            let read = fill(&fields).unwrap();
            assert_eq!(read, written);
            assert_eq!(encode_fill(&read, &read.candles), json, "digit by digit");
        }
        let wrong = r#"{"symbol":"BTC","interval":"2m","unseen":[0,1],"settled":0,"candles":[]}"#;
        assert_eq!(fill(&HashMap::from([("fill".to_owned(), wrong.to_owned())])), None);
    }
}
