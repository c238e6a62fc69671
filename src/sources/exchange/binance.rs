use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::protocol::{Heard, Limits, Protocol, Quote, optional, parse, price};
use crate::config::BinanceChannel;

/// Binance, spot: market data streams.
///
/// Names are in capitals in payloads, and in small letters in streams. A name that it does not know is accepted all the
/// same, and never heard of again.
#[derive(Debug)]
pub(super) struct Binance {
    channel: BinanceChannel,
    /// The last trade of each symbol, where tickers say it.
    last_trades: HashMap<String, i64>,
}

impl Binance {
    pub(super) fn new(channel: BinanceChannel) -> Self {
        Self { channel, last_trades: HashMap::new() }
    }

    /// True for a ticker that is of another trade than the one before. Of the first on a connection nobody knows: it may
    /// have been heard of on another.
    fn is_new_trade(&mut self, ticker: &Ticker<'_>) -> bool {
        let Some(trade) = ticker.last_trade else { return false };
        match self.last_trades.get_mut(&*ticker.symbol) {
            Some(last) => std::mem::replace(last, trade) != trade,
            None => {
                self.last_trades.insert(ticker.symbol.clone().into_owned(), trade);
                false
            }
        }
    }
}

/// A message of a combined stream, or the answer to a request.
///
/// ```json
/// {"stream":"btcusdt@ticker","data":{}}
/// {"result":null,"id":1}
/// {"code": 2, "msg": "Invalid request: request ID must be an unsigned integer"}
/// {"error":{"code": 2, "msg": "Invalid request: unknown property"},"id":1}
/// ```
#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow, default)]
    stream: Cow<'a, str>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
    #[serde(default)]
    id: Option<u64>,
    #[serde(default)]
    error: Option<Failure>,
    #[serde(default)]
    msg: Option<String>,
}

#[derive(Deserialize)]
struct Failure {
    msg: String,
}

/// Individual Symbol Ticker Streams: each second.
///
/// ```json
/// {"e":"24hrTicker","E":1672515782136,"s":"BNBBTC","p":"0.0015","P":"250.00","w":"0.0018","x":"0.0009","c":"0.0025",
///  "Q":"10","b":"0.0024","B":"10","a":"0.0026","A":"100","o":"0.0010","h":"0.0025","l":"0.0010","v":"10000","q":"18",
///  "O":0,"C":86400000,"F":0,"L":18150,"n":18151}
/// ```
#[derive(Deserialize)]
struct Ticker<'a> {
    #[serde(rename = "E")]
    event_ms: u64,
    #[serde(rename = "s", borrow)]
    symbol: Cow<'a, str>,
    #[serde(rename = "c", borrow)]
    last: Cow<'a, str>,
    /// Of the last trade. Said again each second until there is another.
    #[serde(rename = "Q", borrow, default)]
    size: Option<&'a str>,
    #[serde(rename = "L", default)]
    last_trade: Option<i64>,
    #[serde(rename = "b", borrow, default)]
    bid: Option<&'a str>,
    #[serde(rename = "a", borrow, default)]
    ask: Option<&'a str>,
}

/// Individual Symbol Mini Ticker Stream: each second.
///
/// ```json
/// {"e":"24hrMiniTicker","E":1672515782136,"s":"BNBBTC","c":"0.0025","o":"0.0010","h":"0.0025","l":"0.0010",
///  "v":"10000","q":"18"}
/// ```
#[derive(Deserialize)]
struct MiniTicker<'a> {
    #[serde(rename = "E")]
    event_ms: u64,
    #[serde(rename = "s", borrow)]
    symbol: Cow<'a, str>,
    #[serde(rename = "c", borrow)]
    last: Cow<'a, str>,
}

/// Aggregate Trade Streams: each trade of a taker, in real time.
///
/// ```json
/// {"e":"aggTrade","E":1672515782136,"s":"BNBBTC","a":12345,"p":"0.001","q":"100","f":100,"l":105,"T":1672515782136,
///  "m":true,"M":true}
/// ```
#[derive(Deserialize)]
struct AggTrade<'a> {
    #[serde(rename = "s", borrow)]
    symbol: Cow<'a, str>,
    #[serde(rename = "a")]
    id: u64,
    #[serde(rename = "p", borrow)]
    price: Cow<'a, str>,
    #[serde(rename = "q", borrow)]
    quantity: Cow<'a, str>,
    #[serde(rename = "T")]
    trade_ms: u64,
}

impl Protocol for Binance {
    fn limits(&self) -> Limits {
        Limits {
            // 1024 streams are allowed.
            symbols: 1000,
            symbols_per_request: 200,
            // Five messages a second are allowed, and pongs count.
            between_messages: Duration::from_millis(300),
            // It pings every 20 s.
            silence: Duration::from_secs(30),
            ping_every: None,
        }
    }

    fn path(&self) -> &'static str {
        "/stream"
    }

    fn subscribe(&mut self, id: u64, listed: &[String]) -> String {
        let stream = |name: &String| format!("{}@{}", name.to_ascii_lowercase(), self.channel.as_str());
        let params: Vec<String> = listed.iter().map(stream).collect();
        json!({"method": "SUBSCRIBE", "params": params, "id": id}).to_string()
    }

    fn ping(&mut self, _: u64) -> Option<String> {
        None
    }

    fn hear(&mut self, text: &str, heard: &mut VecDeque<Heard>) -> Result<(), String> {
        let message: Message<'_> = parse(text)?;
        let Some(data) = message.data.map(RawValue::get) else {
            match (message.error.map(|error| error.msg).or(message.msg), message.id) {
                (Some(reason), id) => heard.push_back(Heard::Failed(id, reason)),
                (None, Some(id)) => heard.push_back(Heard::Done(Some(id))),
                (None, None) => {}
            }
            return Ok(());
        };
        // `{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1770123456789}}`
        if message.stream == "!serverShutdown" {
            heard.push_back(Heard::Leaving);
            return Ok(());
        }
        let quote = match message.stream.rsplit_once('@').map(|(_, channel)| channel) {
            Some("ticker") => {
                let ticker: Ticker<'_> = parse(data)?;
                let size = optional("Q", ticker.size)?.filter(|_| self.is_new_trade(&ticker));
                Quote {
                    price: price("c", &ticker.last)?,
                    ts_ms: Some(ticker.event_ms),
                    bid: optional("b", ticker.bid)?,
                    ask: optional("a", ticker.ask)?,
                    size,
                    order: Some(ticker.event_ms),
                    listed: ticker.symbol.into_owned(),
                }
            }
            Some("miniTicker") => {
                let ticker: MiniTicker<'_> = parse(data)?;
                Quote {
                    price: price("c", &ticker.last)?,
                    ts_ms: Some(ticker.event_ms),
                    bid: None,
                    ask: None,
                    size: None,
                    order: Some(ticker.event_ms),
                    listed: ticker.symbol.into_owned(),
                }
            }
            Some("aggTrade") => {
                let trade: AggTrade<'_> = parse(data)?;
                Quote {
                    price: price("p", &trade.price)?,
                    ts_ms: Some(trade.trade_ms),
                    bid: None,
                    ask: None,
                    size: Some(price("q", &trade.quantity)?),
                    order: Some(trade.id),
                    listed: trade.symbol.into_owned(),
                }
            }
            _ => return Ok(()),
        };
        heard.push_back(Heard::Quote(quote));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::protocol::tests::{heard, number};
    use super::*;

    fn hear(text: &str) -> Result<Vec<Heard>, String> {
        heard(&mut Binance::new(BinanceChannel::Ticker), text)
    }

    fn stream(name: &str, data: &str) -> String {
        format!(r#"{{"stream":"bnbbtc@{name}","data":{data}}}"#)
    }

    const TICKER: &str = r#"{"e":"24hrTicker","E":1672515782136,"s":"BNBBTC","p":"0.0015","P":"250.00","w":"0.0018","x":"0.0009","c":"0.0025","Q":"10","b":"0.0024","B":"10","a":"0.0026","A":"100","o":"0.0010","h":"0.0025","l":"0.0010","v":"10000","q":"18","O":0,"C":86400000,"F":0,"L":18150,"n":18151}"#;
    const MINI_TICKER: &str = r#"{"e":"24hrMiniTicker","E":1672515782136,"s":"BNBBTC","c":"0.0025","o":"0.0010","h":"0.0025","l":"0.0010","v":"10000","q":"18"}"#;
    const AGG_TRADE: &str = r#"{"e":"aggTrade","E":1672515782136,"s":"BNBBTC","a":12345,"p":"0.001","q":"100","f":100,"l":105,"T":1672515782136,"m":true,"M":true}"#;

    #[test]
    fn reads_the_documented_samples() {
        let ticker = Quote {
            listed: "BNBBTC".into(),
            price: number("0.0025"),
            ts_ms: Some(1_672_515_782_136),
            bid: Some(number("0.0024")),
            ask: Some(number("0.0026")),
            size: None,
            order: Some(1_672_515_782_136),
        };
        assert_eq!(hear(&stream("ticker", TICKER)), Ok(vec![Heard::Quote(ticker.clone())]));
        let mini = Quote { bid: None, ask: None, ..ticker.clone() };
        assert_eq!(hear(&stream("miniTicker", MINI_TICKER)), Ok(vec![Heard::Quote(mini.clone())]));
        let trade = Quote { price: number("0.001"), size: Some(number("100")), order: Some(12345), ..mini };
        assert_eq!(hear(&stream("aggTrade", AGG_TRADE)), Ok(vec![Heard::Quote(trade)]));
        assert_eq!(hear(r#"{"result":null,"id":1}"#), Ok(vec![Heard::Done(Some(1))]));
        let invalid = "Invalid request: request ID must be an unsigned integer";
        assert_eq!(
            hear(&format!(r#"{{"code": 2, "msg": "{invalid}"}}"#)),
            Ok(vec![Heard::Failed(None, invalid.into())])
        );
        let shutdown = r#"{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1770123456789}}"#;
        assert_eq!(hear(shutdown), Ok(vec![Heard::Leaving]));
    }

    #[test]
    fn the_size_of_a_trade_is_said_once() {
        let mut binance = Binance::new(BinanceChannel::Ticker);
        let mut size = |trade: u64, quantity: &str| {
            let data =
                TICKER.replace("18150", &trade.to_string()).replace(r#""Q":"10""#, &format!(r#""Q":"{quantity}""#));
            let heard = heard(&mut binance, &stream("ticker", &data)).unwrap().remove(0);
            let Heard::Quote(quote) = heard else { panic!("a quote") };
            quote.size
        };
        assert_eq!(size(1, "5"), None, "nobody knows whether it was heard of before");
        assert_eq!(size(2, "7"), Some(number("7")));
        assert_eq!(size(2, "7"), None, "what is bid has moved");
        assert_eq!(size(4, "7"), Some(number("7")));
    }

    #[test]
    fn asks_as_documented() {
        let mut binance = Binance::new(BinanceChannel::AggTrade);
        let asked: serde_json::Value =
            serde_json::from_str(&binance.subscribe(1, &["BTCUSDT".into(), "ETHUSDT".into()])).unwrap();
        assert_eq!(asked, json!({"method": "SUBSCRIBE", "params": ["btcusdt@aggTrade", "ethusdt@aggTrade"], "id": 1}));
    }

    #[test]
    fn what_is_not_known_is_nothing_and_what_is_wrong_is_an_error() {
        for unknown in [r#"{"stream":"bnbbtc@depth","data":{"e":"depthUpdate"}}"#, r#"{"hello":1}"#] {
            assert_eq!(hear(unknown), Ok(vec![]), "{unknown}");
        }
        let no_price = stream("ticker", &TICKER.replace("0.0025", "NaN"));
        for wrong in ["", "{", "1", &stream("ticker", "{}"), &no_price] {
            assert!(hear(wrong).is_err(), "{wrong}");
        }
    }
}
