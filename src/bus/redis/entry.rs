use std::collections::HashMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::price::{Batch, Epoch, Price, Tick, Update};

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
