use std::fmt::Write;

use serde_json::value::RawValue;

use super::chart::write_day;
use crate::price::{Day, Epoch, Price, Tick};

/// Room for one encoded tick, in bytes: the longest symbol and the longest numbers of a simple one.
const TICK_BYTES: usize = 160;

/// A tick as JSON. With an `epoch` in a snapshot, and in a symbol's first tick under it. `n` is for how many updates it
/// stands, itself included; it is left out where it is 1. `range` is the highest and the lowest price over them.
///
/// Written by hand: prices keep their exact decimal digits as JSON numbers, and nothing in a symbol or an epoch needs
/// an escape.
pub fn encode_tick(tick: &Tick, n: u64, epoch: Option<&Epoch>, range: Option<(Price, Price)>) -> Box<RawValue> {
    encode(tick, n, epoch, range, false, None)
}

/// A tick of a snapshot as JSON; `stale` where its source has gone quiet, with what its symbol did in a `day` where that is
/// known.
pub fn encode_snapshot(tick: &Tick, epoch: Option<&Epoch>, stale: bool, day: Option<&Day>) -> Box<RawValue> {
    encode(tick, 1, epoch, None, stale, day)
}

fn encode(
    tick: &Tick,
    n: u64,
    epoch: Option<&Epoch>,
    range: Option<(Price, Price)>,
    stale: bool,
    day: Option<&Day>,
) -> Box<RawValue> {
    let update = &tick.update;
    let mut json = String::with_capacity(TICK_BYTES);
    // Writing to a String cannot fail.
    let _ = write!(
        json,
        r#"{{"symbol":"{}","price":{},"ts":{},"seq":{}"#,
        update.symbol, update.price, update.ts_ms, tick.seq
    );
    if n != 1 {
        let _ = write!(json, r#","n":{n}"#);
    }
    if let Some((high, low)) = range {
        let _ = write!(json, r#","high":{high},"low":{low}"#);
    }
    for (name, value) in [("bid", update.bid), ("ask", update.ask), ("size", update.size)] {
        if let Some(value) = value {
            let _ = write!(json, r#","{name}":{value}"#);
        }
    }
    if let Some(epoch) = epoch {
        let _ = write!(json, r#","epoch":"{}""#, epoch.as_str());
    }
    if let Some(day) = day {
        write_day(&mut json, day);
    }
    if stale {
        json.push_str(r#","stale":true"#);
    }
    json.push('}');
    raw(json)
}

/// The `ticks` array of ticks that are encoded already.
pub fn encode_ticks<'a>(ticks: impl IntoIterator<Item = &'a RawValue>) -> Box<RawValue> {
    let mut json = String::from("[");
    for tick in ticks {
        if json.len() > 1 {
            json.push(',');
        }
        json.push_str(tick.get());
    }
    json.push(']');
    raw(json)
}

fn raw(json: String) -> Box<RawValue> {
    // What is written above is JSON; checking it again is the price of a type that says so.
    RawValue::from_string(json).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::price::{Price, Update};

    fn tick(price: Price) -> Tick {
        let symbol = "BTC-USD/x.y_z:1".parse().unwrap();
        let update = Update { symbol, price, ts_ms: 1_732_252_800_123, bid: None, ask: None, size: None };
        Tick { seq: 1_732_252_800_123_000, update }
    }

    #[test]
    fn ticks_have_the_shape_of_the_contract() {
        let mut tick = tick("64210.50".parse().unwrap());
        let plain = r#"{"symbol":"BTC-USD/x.y_z:1","price":64210.50,"ts":1732252800123,"seq":1732252800123000}"#;
        assert_eq!(encode_tick(&tick, 1, None, None).get(), plain);
        assert_eq!(encode_tick(&tick, 4, None, None).get(), plain.replace('}', r#","n":4}"#));
        assert_eq!(
            encode_tick(&tick, 4, None, Some(("65000.10".parse().unwrap(), Price::ONE))).get(),
            plain.replace('}', r#","n":4,"high":65000.10,"low":1}"#)
        );
        tick.update.bid = Some("64210.4".parse().unwrap());
        tick.update.ask = Some("64210.6".parse().unwrap());
        tick.update.size = Some("0.00000001".parse().unwrap());
        assert_eq!(
            encode_tick(&tick, 1, Some(&Epoch::new("e-1")), None).get(),
            plain.replace('}', r#","bid":64210.4,"ask":64210.6,"size":0.00000001,"epoch":"e-1"}"#)
        );
    }

    #[test]
    fn a_snapshot_says_that_it_is_stale() {
        let (tick, epoch) = (tick(Price::ONE), Epoch::new("e"));
        let plain = encode_tick(&tick, 1, Some(&epoch), None).get().to_owned();
        assert_eq!(encode_snapshot(&tick, Some(&epoch), false, None).get(), plain);
        assert_eq!(encode_snapshot(&tick, Some(&epoch), true, None).get(), plain.replace('}', r#","stale":true}"#));
        let day = Day { open: Price::ONE, high: Price::TWO, low: Price::ONE, volume: Price::TEN };
        let told = r#","open24h":1,"high24h":2,"low24h":1,"volume24h":10}"#;
        assert_eq!(encode_snapshot(&tick, Some(&epoch), false, Some(&day)).get(), plain.replace('}', told));
    }

    #[test]
    fn arrays_of_any_length() {
        let one = encode_tick(&tick(Price::ONE), 1, None, None);
        assert_eq!(encode_ticks([]).get(), "[]");
        assert_eq!(encode_ticks([&*one]).get(), format!("[{one}]"));
        assert_eq!(encode_ticks([&*one, &*one]).get(), format!("[{one},{one}]"));
    }

    proptest! {
        #[test]
        fn every_price_keeps_its_digits_and_is_json(units in any::<i64>(), scale in 0u32..=28) {
            let price = Price::new(units, scale);
            let json = encode_tick(&tick(price), 1, None, None);
            let digits = json.get().split("\"price\":").nth(1).unwrap().split(',').next().unwrap();
            prop_assert_eq!(digits.parse::<Price>().unwrap(), price);
            prop_assert_eq!(digits.parse::<Price>().unwrap().scale(), price.scale());
            prop_assert!(serde_json::from_str::<serde_json::Value>(json.get()).unwrap()["price"].is_number());
        }
    }
}
