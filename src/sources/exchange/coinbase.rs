use std::borrow::Cow;
use std::collections::VecDeque;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use super::protocol::{Heard, Limits, Protocol, Quote, micros, optional, parse, price};

/// Coinbase Exchange.
///
/// It gives the products of a request all or none; the message of an error names the one that is wrong.
#[derive(Debug, Default)]
pub(super) struct Coinbase {
    /// Heartbeats come each second for each product: those of one are enough to see that the connection lives.
    has_heartbeat: bool,
}

/// What kind of message it is.
#[derive(Deserialize)]
struct Kind<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
}

/// Ticker Channel: each match.
///
/// ```json
/// {"type":"ticker","sequence":37475248783,"product_id":"ETH-USD","price":"1285.22","open_24h":"1310.79",
///  "volume_24h":"245532.79269678","low_24h":"1280.52","high_24h":"1313.8","volume_30d":"9788783.60117027",
///  "best_bid":"1285.04","best_bid_size":"0.46688654","best_ask":"1285.27","best_ask_size":"1.56637040","side":"buy",
///  "time":"2022-10-19T23:28:22.061769Z","trade_id":370843401,"last_size":"11.4396987"}
/// ```
#[derive(Deserialize)]
struct Ticker<'a> {
    sequence: u64,
    #[serde(borrow)]
    product_id: Cow<'a, str>,
    #[serde(borrow)]
    price: Cow<'a, str>,
    #[serde(borrow)]
    time: Cow<'a, str>,
    #[serde(borrow, default)]
    best_bid: Option<&'a str>,
    #[serde(borrow, default)]
    best_ask: Option<&'a str>,
    #[serde(borrow, default)]
    last_size: Option<&'a str>,
}

/// What is subscribed now, all in all.
///
/// ```json
/// {"type":"subscriptions","channels":[{"name":"ticker","product_ids":["ETH-USD","ETH-EUR","ETH-BTC"]}]}
/// ```
#[derive(Deserialize)]
struct Subscriptions {
    channels: Vec<Channel>,
}

#[derive(Deserialize)]
struct Channel {
    name: String,
    #[serde(default)]
    product_ids: Vec<String>,
}

/// ```json
/// {"type":"error","message":"Failed to subscribe","reason":"GIBBERISH-USD is not a valid product"}
/// ```
#[derive(Deserialize)]
struct Failure {
    message: String,
    #[serde(default)]
    reason: String,
}

impl Protocol for Coinbase {
    fn limits(&self) -> Limits {
        Limits {
            symbols: 2000,
            symbols_per_request: 500,
            // Eight requests a second of one address are allowed.
            between_messages: Duration::from_millis(250),
            // With a heartbeat each second.
            silence: Duration::from_secs(5),
            ping_every: None,
        }
    }

    fn path(&self) -> &'static str {
        ""
    }

    fn subscribe(&mut self, _: u64, listed: &[String]) -> String {
        let mut channels = vec![json!({"name": "ticker", "product_ids": listed})];
        if !self.has_heartbeat {
            channels.push(json!({"name": "heartbeat", "product_ids": listed.get(..1)}));
        }
        json!({"type": "subscribe", "channels": channels}).to_string()
    }

    fn ping(&mut self, _: u64) -> Option<String> {
        None
    }

    fn hear(&mut self, text: &str, heard: &mut VecDeque<Heard>) -> Result<(), String> {
        let Kind { kind } = parse(text)?;
        match &*kind {
            "ticker" => {
                let ticker: Ticker<'_> = parse(text)?;
                heard.push_back(Heard::Quote(Quote {
                    price: price("price", &ticker.price)?,
                    ts_ms: Some(micros("time", &ticker.time)? / 1000),
                    bid: optional("best_bid", ticker.best_bid)?,
                    ask: optional("best_ask", ticker.best_ask)?,
                    size: optional("last_size", ticker.last_size)?,
                    // It skips numbers where there was no match, but never goes back.
                    order: Some(ticker.sequence),
                    listed: ticker.product_id.into_owned(),
                }));
            }
            "subscriptions" => {
                let subscriptions: Subscriptions = parse(text)?;
                let of = |name: &str| {
                    let channels = subscriptions.channels.iter().filter(move |channel| channel.name == name);
                    channels.flat_map(|channel| channel.product_ids.iter().cloned()).collect::<Vec<_>>()
                };
                self.has_heartbeat = !of("heartbeat").is_empty();
                heard.push_back(Heard::Given(of("ticker")));
            }
            "error" => {
                let Failure { message, reason } = parse(text)?;
                let why = if reason.is_empty() { message } else { format!("{message}: {reason}") };
                heard.push_back(Heard::Failed(None, why));
            }
            // That it came is all that a heartbeat says.
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::protocol::tests::{heard, number};
    use super::*;

    fn hear(text: &str) -> Result<Vec<Heard>, String> {
        heard(&mut Coinbase::default(), text)
    }

    const TICKER: &str = r#"{"type":"ticker","sequence":37475248783,"product_id":"ETH-USD","price":"1285.22","open_24h":"1310.79","volume_24h":"245532.79269678","low_24h":"1280.52","high_24h":"1313.8","volume_30d":"9788783.60117027","best_bid":"1285.04","best_bid_size":"0.46688654","best_ask":"1285.27","best_ask_size":"1.56637040","side":"buy","time":"2022-10-19T23:28:22.061769Z","trade_id":370843401,"last_size":"11.4396987"}"#;

    #[test]
    fn reads_the_documented_samples() {
        let ticker = Quote {
            listed: "ETH-USD".into(),
            price: number("1285.22"),
            ts_ms: Some(1_666_222_102_061),
            bid: Some(number("1285.04")),
            ask: Some(number("1285.27")),
            size: Some(number("11.4396987")),
            order: Some(37_475_248_783),
        };
        assert_eq!(hear(TICKER), Ok(vec![Heard::Quote(ticker)]));
        let given =
            r#"{"type":"subscriptions","channels":[{"name":"ticker","product_ids":["ETH-USD","ETH-EUR","ETH-BTC"]}]}"#;
        let products = ["ETH-USD", "ETH-EUR", "ETH-BTC"].map(str::to_owned).to_vec();
        assert_eq!(hear(given), Ok(vec![Heard::Given(products)]));
        let heartbeat = r#"{"type":"heartbeat","sequence":90,"last_trade_id":20,"product_id":"BTC-USD","time":"2014-11-07T08:19:28.464459Z"}"#;
        assert_eq!(hear(heartbeat), Ok(vec![]));
        let error =
            r#"{"type":"error","message":"Failed to subscribe","reason":"GIBBERISH-USD is not a valid product"}"#;
        let why = "Failed to subscribe: GIBBERISH-USD is not a valid product";
        assert_eq!(hear(error), Ok(vec![Heard::Failed(None, why.into())]));
    }

    #[test]
    fn asks_for_one_heartbeat_until_it_has_it() {
        let mut coinbase = Coinbase::default();
        let asked = |coinbase: &mut Coinbase| -> serde_json::Value {
            serde_json::from_str(&coinbase.subscribe(1, &["BTC-USD".into(), "ETH-USD".into()])).unwrap()
        };
        let ticker = json!({"name": "ticker", "product_ids": ["BTC-USD", "ETH-USD"]});
        let heartbeat = json!({"name": "heartbeat", "product_ids": ["BTC-USD"]});
        assert_eq!(asked(&mut coinbase), json!({"type": "subscribe", "channels": [ticker, heartbeat]}));
        heard(&mut coinbase, &json!({"type": "subscriptions", "channels": [heartbeat]}).to_string()).unwrap();
        assert_eq!(asked(&mut coinbase), json!({"type": "subscribe", "channels": [ticker]}));
    }

    #[test]
    fn what_is_not_known_is_nothing_and_what_is_wrong_is_an_error() {
        assert_eq!(hear(r#"{"type":"l2update","changes":[]}"#), Ok(vec![]));
        let [no_price, no_time] = [TICKER.replace("1285.22", "1,2"), TICKER.replace("2022-10-19T", "yesterday ")];
        for wrong in ["", "{}", "[]", r#"{"type":"ticker"}"#, &no_price, &no_time, &TICKER[..200]] {
            assert!(hear(wrong).is_err(), "{wrong}");
        }
    }
}
