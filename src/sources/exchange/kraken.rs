use std::borrow::Cow;
use std::collections::VecDeque;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::protocol::{Heard, Limits, Protocol, Quote, micros, parse, price};

/// Kraken, spot: version 2 of its feed.
#[derive(Debug, Default)]
pub(super) struct Kraken;

/// Any message: of a channel, or the answer to a method.
///
/// ```json
/// {"channel":"heartbeat"}
/// {"method":"pong","req_id":101,"time_in":"2023-09-24T14:10:23.799685Z","time_out":"2023-09-24T14:10:23.799703Z"}
/// ```
#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow, default)]
    channel: Cow<'a, str>,
    #[serde(borrow, default)]
    method: Cow<'a, str>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
    #[serde(default)]
    success: Option<bool>,
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    symbol: Option<String>,
    #[serde(default)]
    result: Option<Subscribed>,
    #[serde(default)]
    req_id: Option<u64>,
}

/// One for each symbol.
///
/// ```json
/// {"method":"subscribe","result":{"channel":"ticker","symbol":"BTC/USD","snapshot":true},"success":true,
///  "time_in":"2023-09-25T09:04:31.742599Z","time_out":"2023-09-25T09:04:31.742648Z","req_id":1}
/// {"error":"Currency pair not supported FAKECOIN/USD","method":"subscribe","success":false,"symbol":"FAKECOIN/USD",
///  "req_id":1}
/// ```
#[derive(Deserialize)]
struct Subscribed {
    #[serde(default)]
    symbol: Option<String>,
}

/// ```json
/// {"channel":"status","data":[{"api_version":"v2","connection_id":13834774380200032777,"system":"online",
///  "version":"2.0.0"}],"type":"update"}
/// ```
#[derive(Deserialize)]
struct Status<'a> {
    #[serde(borrow)]
    system: Cow<'a, str>,
}

/// Ticker (Level 1): numbers are JSON numbers, and keep their digits.
///
/// ```json
/// {"channel":"ticker","type":"snapshot","data":[{"symbol":"BTC/USD","bid":105944.20,"bid_qty":2.5,"ask":105944.30,
///  "ask_qty":3.2,"last":105899.40,"volume":163.28908096,"vwap":105904.39279,"low":104711.00,"high":106613.10,
///  "change":250.00,"change_pct":0.24,"timestamp":"2022-12-25T09:30:59.123456Z"}]}
/// ```
#[derive(Deserialize)]
struct Ticker<'a> {
    #[serde(borrow)]
    symbol: Cow<'a, str>,
    #[serde(borrow)]
    last: &'a RawValue,
    #[serde(borrow, default)]
    bid: Option<&'a RawValue>,
    #[serde(borrow, default)]
    ask: Option<&'a RawValue>,
    #[serde(borrow, default)]
    timestamp: Option<&'a str>,
}

impl Protocol for Kraken {
    fn limits(&self) -> Limits {
        Limits {
            symbols: 2000,
            symbols_per_request: 100,
            between_messages: Duration::from_millis(250),
            // Heartbeats come about every second once something is subscribed.
            silence: Duration::from_secs(5),
            // It ends connections on which nothing was said for a minute.
            ping_every: Some(Duration::from_secs(30)),
        }
    }

    fn path(&self) -> &'static str {
        ""
    }

    fn subscribe(&mut self, id: u64, listed: &[String]) -> String {
        let params = json!({"channel": "ticker", "symbol": listed, "event_trigger": "trades", "snapshot": true});
        json!({"method": "subscribe", "params": params, "req_id": id}).to_string()
    }

    fn ping(&mut self, id: u64) -> Option<String> {
        Some(json!({"method": "ping", "req_id": id}).to_string())
    }

    fn hear(&mut self, text: &str, heard: &mut VecDeque<Heard>) -> Result<(), String> {
        let message: Message<'_> = parse(text)?;
        let data = message.data.map_or("[]", RawValue::get);
        match (&*message.channel, &*message.method) {
            ("ticker", _) => {
                let tickers: Vec<Ticker<'_>> = parse(data)?;
                for ticker in tickers {
                    let side = |field, value: Option<&RawValue>| {
                        let value = value.map(RawValue::get).filter(|text| *text != "null");
                        value.map(|text| price(field, text)).transpose()
                    };
                    let micros = ticker.timestamp.map(|text| micros("timestamp", text)).transpose()?;
                    heard.push_back(Heard::Quote(Quote {
                        price: price("last", ticker.last.get())?,
                        ts_ms: micros.map(|micros| micros / 1000),
                        bid: side("bid", ticker.bid)?,
                        ask: side("ask", ticker.ask)?,
                        // The volume is that of the day.
                        size: None,
                        order: micros,
                        listed: ticker.symbol.into_owned(),
                    }));
                }
            }
            ("status", _) => {
                let status: Vec<Status<'_>> = parse(data)?;
                heard.extend(status.last().map(|status| Heard::Maintenance(status.system != "online")));
            }
            (_, "subscribe") => {
                let symbol = message.symbol.or(message.result.and_then(|result| result.symbol));
                heard.extend(match (message.success, symbol) {
                    (Some(true), Some(symbol)) => Some(Heard::Accepted(symbol)),
                    (_, Some(symbol)) => Some(Heard::Refused(symbol, message.error.unwrap_or_default())),
                    (Some(true), None) => None,
                    (_, None) => Some(Heard::Failed(message.req_id, message.error.unwrap_or_default())),
                });
            }
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
        heard(&mut Kraken, text)
    }

    const TICKER: &str = r#"{"channel":"ticker","type":"snapshot","data":[{"symbol":"BTC/USD","bid":105944.20,"bid_qty":2.5,"ask":105944.30,"ask_qty":3.2,"last":105899.40,"volume":163.28908096,"vwap":105904.39279,"low":104711.00,"high":106613.10,"change":250.00,"change_pct":0.24,"timestamp":"2022-12-25T09:30:59.123456Z"}]}"#;

    #[test]
    fn reads_the_documented_samples() {
        let ticker = Quote {
            listed: "BTC/USD".into(),
            price: number("105899.40"),
            ts_ms: Some(1_671_960_659_123),
            bid: Some(number("105944.20")),
            ask: Some(number("105944.30")),
            size: None,
            order: Some(1_671_960_659_123_456),
        };
        let [Heard::Quote(quote)] = &hear(TICKER).unwrap()[..] else { panic!() };
        assert_eq!(
            (quote, quote.price.to_string(), quote.bid.unwrap().to_string()),
            (&ticker, "105899.40".into(), "105944.20".into())
        );
        let without_time = TICKER.replace(r#","timestamp":"2022-12-25T09:30:59.123456Z""#, "");
        let timeless = Quote { ts_ms: None, order: None, ..ticker };
        assert_eq!(hear(&without_time), Ok(vec![Heard::Quote(timeless)]));

        let accepted = r#"{"method":"subscribe","result":{"channel":"ticker","symbol":"BTC/USD","snapshot":true},"success":true,"time_in":"2023-09-25T09:04:31.742599Z","time_out":"2023-09-25T09:04:31.742648Z","req_id":1}"#;
        assert_eq!(hear(accepted), Ok(vec![Heard::Accepted("BTC/USD".into())]));
        let refused = r#"{"error":"Currency pair not supported FAKECOIN/USD","method":"subscribe","success":false,"symbol":"FAKECOIN/USD","req_id":1}"#;
        let why = "Currency pair not supported FAKECOIN/USD";
        assert_eq!(hear(refused), Ok(vec![Heard::Refused("FAKECOIN/USD".into(), why.into())]));
        let status = r#"{"channel":"status","data":[{"api_version":"v2","connection_id":13834774380200032777,"system":"online","version":"2.0.0"}],"type":"update"}"#;
        assert_eq!(hear(status), Ok(vec![Heard::Maintenance(false)]));
        assert_eq!(hear(&status.replace("online", "maintenance")), Ok(vec![Heard::Maintenance(true)]));
        let pong = r#"{"method":"pong","req_id":101,"time_in":"2023-09-24T14:10:23.799685Z","time_out":"2023-09-24T14:10:23.799703Z"}"#;
        for nothing in [r#"{"channel":"heartbeat"}"#, pong] {
            assert_eq!(hear(nothing), Ok(vec![]), "{nothing}");
        }
    }

    #[test]
    fn asks_as_documented() {
        let asked: serde_json::Value = serde_json::from_str(&Kraken.subscribe(1, &["BTC/USD".into()])).unwrap();
        let params = json!({"channel": "ticker", "symbol": ["BTC/USD"], "event_trigger": "trades", "snapshot": true});
        assert_eq!(asked, json!({"method": "subscribe", "params": params, "req_id": 1}));
        assert_eq!(Kraken.ping(101).unwrap(), r#"{"method":"ping","req_id":101}"#);
    }

    #[test]
    fn what_is_not_known_is_nothing_and_what_is_wrong_is_an_error() {
        assert_eq!(hear(r#"{"channel":"instrument","data":{}}"#), Ok(vec![]));
        let [no_price, no_time] = [TICKER.replace("105899.40", "\"x\""), TICKER.replace("2022-12", "2022")];
        for wrong in ["", r#"{"channel":"ticker","data":[{}]}"#, &no_price, &no_time, &TICKER[..200]] {
            assert!(hear(wrong).is_err(), "{wrong}");
        }
    }
}
