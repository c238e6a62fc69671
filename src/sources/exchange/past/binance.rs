use std::time::Duration;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::{Limits, Page, Rest, Unusable, candle, parse};
use crate::price::{Candle, Interval};

/// Binance, spot: `GET /api/v3/klines`.
///
/// 429 is that we ask too often, and 418 that we are banned for it: both say for how long (`Retry-After`).
#[derive(Debug)]
pub(super) struct Binance;

/// Kline/Candlestick data: oldest first, the last one may still be running.
///
/// ```json
/// [1499040000000,"0.01634790","0.80000000","0.01575800","0.01577100","148976.11427815",1499644799999,"2434.19055334",308,
///  "1756.87402397","28.46694368","0"]
/// ```
///
/// Open time, open, high, low, close, volume, close time, quote asset volume, number of trades, taker buy base asset volume,
/// the same in the quote asset, and nothing.
type Kline<'a> = (
    u64,
    &'a RawValue,
    &'a RawValue,
    &'a RawValue,
    &'a RawValue,
    &'a RawValue,
    IgnoredAny,
    IgnoredAny,
    u64,
    IgnoredAny,
    IgnoredAny,
    IgnoredAny,
);

/// ```json
/// {"code":-1121,"msg":"Invalid symbol."}
/// ```
#[derive(Deserialize)]
struct Failure {
    msg: String,
}

impl Rest for Binance {
    fn limits(&self) -> Limits {
        // A request weighs 2, and 6000 a minute are allowed: this is a fifth of it.
        Limits { between_requests: Duration::from_millis(100), candles: 1000, deepest: u64::MAX }
    }

    fn has(&self, _: Interval) -> bool {
        true
    }

    fn path(&self, &Page { listed, interval, from_ms, to_ms }: &Page<'_>) -> String {
        let interval = interval.as_str();
        format!("/api/v3/klines?symbol={listed}&interval={interval}&startTime={from_ms}&endTime={to_ms}&limit=1000")
    }

    fn read(&self, body: &str) -> Result<Vec<Candle>, Unusable> {
        let klines: Vec<Kline<'_>> = parse(body)?;
        let read = |(ts_ms, open, high, low, close, volume, _, _, n, ..): Kline<'_>| {
            candle(ts_ms, [open, high, low, close, volume], n)
        };
        klines.into_iter().map(read).collect()
    }

    fn reason(&self, body: &str) -> Option<String> {
        parse::<Failure>(body).ok().map(|failure| failure.msg)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::sample;
    use super::*;

    const KLINE: &str = r#"[1499040000000,"0.01634790","0.80000000","0.01575800","0.01577100","148976.11427815",1499644799999,"2434.19055334",308,"1756.87402397","28.46694368","0"]"#;

    #[test]
    fn reads_the_documented_samples() {
        let numbers = ["0.01634790", "0.80000000", "0.01575800", "0.01577100", "148976.11427815"];
        let read = Binance.read(&format!("[{KLINE},{KLINE}]")).unwrap();
        assert_eq!(read, vec![sample(1_499_040_000_000, numbers, 308); 2]);
        assert_eq!(read[0].open.to_string(), "0.01634790", "with its digits");
        assert_eq!(Binance.read("[]"), Ok(vec![]));
        assert_eq!(Binance.reason(r#"{"code":-1121,"msg":"Invalid symbol."}"#), Some("Invalid symbol.".into()));
        assert_eq!(Binance.reason("<html>"), None);
    }

    #[test]
    fn asks_as_documented() {
        let page =
            Page { listed: "BTCUSDT", interval: Interval::M15, from_ms: 1_499_040_000_000, to_ms: 1_499_040_900_000 };
        let path =
            "/api/v3/klines?symbol=BTCUSDT&interval=15m&startTime=1499040000000&endTime=1499040900000&limit=1000";
        assert_eq!(Binance.path(&page), path);
    }

    #[test]
    fn what_is_wrong_is_an_error() {
        let [no_price, no_time] = [KLINE.replace("0.01634790", "1,0"), KLINE.replace("1499040000000", "-1")];
        let upside_down = KLINE.replace("0.80000000", "0.00000001");
        for wrong in
            ["", "{}", "[[]]", &format!("[{no_price}]"), &format!("[{no_time}]"), &format!("[{upside_down}]"), KLINE]
        {
            assert!(matches!(Binance.read(wrong), Err(Unusable::Garbage(_))), "{wrong}");
        }
    }
}
