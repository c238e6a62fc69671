use std::collections::HashMap;
use std::time::Duration;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::{Limits, Page, Rest, Unusable, candle, parse};
use crate::price::{Candle, Interval};

/// Kraken, spot: `GET /0/public/OHLC`.
///
/// It names pairs without a slash, and two of its currencies otherwise than its feed does. The newest 720 candles are all
/// that there are.
#[derive(Debug)]
pub(super) struct Kraken;

/// What is called otherwise here than in the feed.
const CURRENCIES: [(&str, &str); 2] = [("BTC", "XBT"), ("DOGE", "XDG")];

/// Get OHLC Data. A failure comes with status 200, too.
///
/// ```json
/// {"error":[],"result":{"XXBTZUSD":[[1688671200,"30306.1","30306.2","30305.7","30305.7","30306.1","3.39243896",23]],
///  "last":1688672160}}
/// {"error":["EQuery:Unknown asset pair"]}
/// ```
#[derive(Deserialize)]
struct Answer<'a> {
    error: Vec<String>,
    /// By its own name for the pair; and `last`, a number.
    #[serde(borrow, default)]
    result: HashMap<String, &'a RawValue>,
}

/// Time in s, open, high, low, close, average price by volume, volume, count; oldest first, the last one is still running.
type Row<'a> = (u64, &'a RawValue, &'a RawValue, &'a RawValue, &'a RawValue, IgnoredAny, &'a RawValue, u64);

impl Rest for Kraken {
    fn limits(&self) -> Limits {
        // About one request a second of one address is allowed.
        Limits { between_requests: Duration::from_millis(1100), candles: 720, deepest: 720 }
    }

    fn has(&self, interval: Interval) -> bool {
        interval != Interval::S1
    }

    fn path(&self, &Page { listed, interval, from_ms, .. }: &Page<'_>) -> String {
        let pair = listed
            .split('/')
            .map(|currency| CURRENCIES.iter().find(|(name, _)| *name == currency).map_or(currency, |(_, here)| here));
        let (pair, minutes) = (pair.collect::<String>(), interval.ms() / 60_000);
        // Those after the one that begins then.
        let since = (from_ms / 1000).saturating_sub(1);
        format!("/0/public/OHLC?pair={pair}&interval={minutes}&since={since}")
    }

    fn read(&self, body: &str) -> Result<Vec<Candle>, Unusable> {
        let Answer { error, result } = parse(body)?;
        if let Some(error) = error.into_iter().next() {
            let too_many = ["EAPI:Rate limit exceeded", "EGeneral:Too many requests"].contains(&error.as_str());
            return Err(match error.split(':').next() {
                _ if too_many => Unusable::TooMany,
                // Busy, or unavailable for a while.
                Some("EService") => Unusable::Garbage(error),
                _ => Unusable::Refused(error),
            });
        }
        let rows = result.iter().find(|(name, _)| *name != "last").map(|(_, rows)| rows.get());
        let rows: Vec<Row<'_>> = parse(rows.ok_or_else(|| Unusable::Garbage("it has no pair".to_owned()))?)?;
        let read = |(time, open, high, low, close, _, volume, n): Row<'_>| {
            candle(time.saturating_mul(1000), [open, high, low, close, volume], n)
        };
        rows.into_iter().map(read).collect()
    }

    fn reason(&self, body: &str) -> Option<String> {
        parse::<Answer<'_>>(body).ok().and_then(|answer| answer.error.into_iter().next())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::sample;
    use super::*;

    const ANSWER: &str = r#"{"error":[],"result":{"XXBTZUSD":[[1688671200,"30306.1","30306.2","30305.7","30305.7","30306.1","3.39243896",23]],"last":1688672160}}"#;

    #[test]
    fn reads_the_documented_samples() {
        let numbers = ["30306.1", "30306.2", "30305.7", "30305.7", "3.39243896"];
        assert_eq!(Kraken.read(ANSWER), Ok(vec![sample(1_688_671_200_000, numbers, 23)]));
        let refused = r#"{"error":["EQuery:Unknown asset pair"]}"#;
        assert_eq!(Kraken.read(refused), Err(Unusable::Refused("EQuery:Unknown asset pair".into())));
        assert_eq!(Kraken.reason(refused), Some("EQuery:Unknown asset pair".into()));
        for too_many in ["EAPI:Rate limit exceeded", "EGeneral:Too many requests"] {
            assert_eq!(Kraken.read(&format!(r#"{{"error":["{too_many}"]}}"#)), Err(Unusable::TooMany));
        }
        let busy = Kraken.read(r#"{"error":["EService:Unavailable"]}"#);
        assert!(matches!(busy, Err(Unusable::Garbage(_))), "worth another try: {busy:?}");
    }

    #[test]
    fn asks_as_documented() {
        let path = |listed| {
            Kraken.path(&Page { listed, interval: Interval::D1, from_ms: 1_688_671_200_000, to_ms: 1_688_671_200_000 })
        };
        assert_eq!(path("BTC/USD"), "/0/public/OHLC?pair=XBTUSD&interval=1440&since=1688671199");
        assert_eq!(path("ETH/BTC"), "/0/public/OHLC?pair=ETHXBT&interval=1440&since=1688671199");
        assert!(path("DOGE/EUR").contains("pair=XDGEUR&"));
        assert!(!Kraken.has(Interval::S1) && Kraken.has(Interval::D1));
    }

    #[test]
    fn what_is_wrong_is_an_error() {
        let [no_price, nothing] = [ANSWER.replace("30306.2", "x"), ANSWER.replace("XXBTZUSD", "last")];
        for wrong in ["", "[]", "{}", r#"{"error":[],"result":{}}"#, &no_price, &nothing, &ANSWER[..90]] {
            assert!(matches!(Kraken.read(wrong), Err(Unusable::Garbage(_))), "{wrong}");
        }
    }
}
