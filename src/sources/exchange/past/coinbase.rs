use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Limits, Page, Rest, Unusable, candle, parse};
use crate::price::{Candle, Interval};

/// Coinbase Exchange: `GET /products/{product}/candles`.
///
/// Where nothing was traded there is no candle. Some may come that are older than what was asked for.
#[derive(Debug)]
pub(super) struct Coinbase;

/// Get product candles: time in s, low, high, open, close, volume; newest first, the first one may still be running.
///
/// ```json
/// [1415398768,0.32,4.2,0.35,4.2,12.3]
/// ```
type Bucket<'a> = (u64, &'a RawValue, &'a RawValue, &'a RawValue, &'a RawValue, &'a RawValue);

/// ```json
/// {"message":"NotFound"}
/// ```
#[derive(Deserialize)]
struct Failure {
    message: String,
}

impl Rest for Coinbase {
    fn limits(&self) -> Limits {
        // Ten requests a second of one address are allowed.
        Limits { between_requests: Duration::from_millis(250), candles: 300, deepest: u64::MAX }
    }

    fn has(&self, interval: Interval) -> bool {
        interval != Interval::S1
    }

    fn path(&self, &Page { listed, interval, from_ms, to_ms }: &Page<'_>) -> String {
        let (granularity, start, end) = (interval.ms() / 1000, from_ms / 1000, to_ms / 1000);
        format!("/products/{listed}/candles?granularity={granularity}&start={start}&end={end}")
    }

    fn read(&self, body: &str) -> Result<Vec<Candle>, Unusable> {
        let buckets: Vec<Bucket<'_>> = parse(body)?;
        // It does not say of how many trades.
        let read = |(time, low, high, open, close, volume): Bucket<'_>| {
            candle(time.saturating_mul(1000), [open, high, low, close, volume], 0)
        };
        buckets.into_iter().map(read).collect()
    }

    fn reason(&self, body: &str) -> Option<String> {
        parse::<Failure>(body).ok().map(|failure| failure.message)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::sample;
    use super::*;

    const BUCKET: &str = "[1415398768,0.32,4.2,0.35,4.2,12.3]";

    #[test]
    fn reads_the_documented_samples() {
        let numbers = ["0.35", "4.2", "0.32", "4.2", "12.3"];
        assert_eq!(Coinbase.read(&format!("[{BUCKET}]")), Ok(vec![sample(1_415_398_768_000, numbers, 0)]));
        assert_eq!(Coinbase.read("[]"), Ok(vec![]));
        assert_eq!(Coinbase.reason(r#"{"message":"NotFound"}"#), Some("NotFound".into()));
    }

    #[test]
    fn asks_as_documented() {
        let page =
            Page { listed: "BTC-USD", interval: Interval::H1, from_ms: 1_499_040_000_000, to_ms: 1_499_043_600_000 };
        let path = "/products/BTC-USD/candles?granularity=3600&start=1499040000&end=1499043600";
        assert_eq!(Coinbase.path(&page), path);
        assert!(!Coinbase.has(Interval::S1) && Coinbase.has(Interval::M1));
    }

    #[test]
    fn what_is_wrong_is_an_error() {
        let [no_price, short] = [BUCKET.replace("0.32", "null"), BUCKET.replace(",12.3", "")];
        for wrong in ["", "{}", "[1]", BUCKET, &format!("[{no_price}]"), &format!("[{short}]")] {
            assert!(matches!(Coinbase.read(wrong), Err(Unusable::Garbage(_))), "{wrong}");
        }
    }
}
