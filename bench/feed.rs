//! How many ticks a second one core takes from an exchange: from the bytes of its WebSocket through parsing, the gate and
//! the bus into the market. `cargo bench --bench feed` prints a row for each exchange.
//!
//! The exchange is a thread that sends its documented messages as fast as they are taken; all else is another thread,
//! whose time on a processor is what counts.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program for people at a terminal")]

use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use tickcast::bus::{self, Bus};
use tickcast::clock::Clock;
use tickcast::config::Config;
use tickcast::market::{Keep, Kept, Market};
use tickcast::metrics::Metrics;
use tickcast::price::BusEvent;
use tickcast::sources::{Recall, Sources};
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;

/// Symbols that tick.
const SYMBOLS: usize = 1000;
/// Ticks before it counts, and that count.
const WARM_UP: u64 = 100_000;
const COUNTED: u64 = 1_000_000;
/// Messages that are sent with one write.
const IN_A_WRITE: usize = 64;

/// An exchange: what it calls a symbol, what it answers to the first request, and a price.
struct Talk {
    name: &'static str,
    channel: &'static str,
    listed: fn(usize) -> String,
    answers: fn(&str) -> Vec<String>,
    tick: fn(usize, u64, &mut String),
}

const TALKS: [Talk; 4] = [
    Talk {
        name: "binance",
        channel: "ticker",
        listed: |n| format!("S{n}USDT"),
        answers: binance_answers,
        tick: |n, at, out| {
            let (price, time) = (at % 1000, 1_700_000_000_000 + at);
            let _ = write!(
                out,
                r#"{{"stream":"s{n}usdt@ticker","data":{{"e":"24hrTicker","E":{time},"s":"S{n}USDT","p":"0.0015","P":"250.00","w":"0.0018","x":"0.0009","c":"100.{price:04}","Q":"10","b":"0.0024","B":"10","a":"0.0026","A":"100","o":"0.0010","h":"0.0025","l":"0.0010","v":"10000","q":"18","O":0,"C":86400000,"F":0,"L":18150,"n":18151}}}}"#
            );
        },
    },
    Talk {
        name: "binance",
        channel: "aggTrade",
        listed: |n| format!("S{n}USDT"),
        answers: binance_answers,
        tick: |n, at, out| {
            let (price, time) = (at % 1000, 1_700_000_000_000 + at);
            let _ = write!(
                out,
                r#"{{"stream":"s{n}usdt@aggTrade","data":{{"e":"aggTrade","E":{time},"s":"S{n}USDT","a":{at},"p":"100.{price:04}","q":"100","f":100,"l":105,"T":{time},"m":true,"M":true}}}}"#
            );
        },
    },
    Talk {
        name: "coinbase",
        channel: "ticker",
        listed: |n| format!("S{n}-USD"),
        answers: |request| {
            let request: serde_json::Value = serde_json::from_str(request).unwrap();
            vec![serde_json::json!({"type": "subscriptions", "channels": request["channels"]}).to_string()]
        },
        tick: |n, at, out| {
            let (price, second) = (at % 1000, at / 1000 % 60);
            let _ = write!(
                out,
                r#"{{"type":"ticker","sequence":{at},"product_id":"S{n}-USD","price":"100.{price:04}","open_24h":"1310.79","volume_24h":"245532.79269678","low_24h":"1280.52","high_24h":"1313.8","volume_30d":"9788783.60117027","best_bid":"1285.04","best_bid_size":"0.46688654","best_ask":"1285.27","best_ask_size":"1.56637040","side":"buy","time":"2022-10-19T23:{:02}:{second:02}.061769Z","trade_id":370843401,"last_size":"11.4396987"}}"#,
                at / 60_000
            );
        },
    },
    Talk {
        name: "kraken",
        channel: "ticker",
        listed: |n| format!("S{n}/USD"),
        answers: |request| {
            let request: serde_json::Value = serde_json::from_str(request).unwrap();
            let accepted = |symbol: &serde_json::Value| {
                let result = serde_json::json!({"channel": "ticker", "symbol": symbol, "snapshot": true});
                serde_json::json!({"method": "subscribe", "result": result, "success": true, "req_id": 1}).to_string()
            };
            request["params"]["symbol"].as_array().unwrap().iter().map(accepted).collect()
        },
        tick: |n, at, out| {
            let (price, second) = (at % 1000, at / 1000 % 60);
            let _ = write!(
                out,
                r#"{{"channel":"ticker","type":"update","data":[{{"symbol":"S{n}/USD","bid":105944.20,"bid_qty":2.5,"ask":105944.30,"ask_qty":3.2,"last":100.{price:04},"volume":163.28908096,"vwap":105904.39279,"low":104711.00,"high":106613.10,"change":250.00,"change_pct":0.24,"timestamp":"2022-12-25T09:{:02}:{second:02}.{:06}Z"}}]}}"#,
                at / 60_000,
                at % 1000 * 1000
            );
        },
    },
];

fn binance_answers(request: &str) -> Vec<String> {
    let request: serde_json::Value = serde_json::from_str(request).unwrap();
    vec![serde_json::json!({"result": null, "id": request["id"]}).to_string()]
}

fn main() {
    println!("| exchange | ticks/s on one core | us of CPU per tick | ticks/s here |\n|---|---:|---:|---:|");
    for talk in TALKS {
        let (name, channel) = (talk.name, talk.channel);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("ws://{}", listener.local_addr().unwrap());
        let symbols: Vec<String> = (0..SYMBOLS).map(talk.listed).collect();
        // It ends when nobody listens any more.
        let exchange = std::thread::spawn(move || runtime().block_on(send(listener, talk)));
        let (cpu, wall) = runtime().block_on(take(name, channel, &url, &symbols.join(",")));
        exchange.join().unwrap();
        let per_s = |time: Duration| COUNTED as f64 / time.as_secs_f64();
        let us = cpu.as_secs_f64() * 1e6 / COUNTED as f64;
        println!("| {name} {channel} | {:.0} | {us:.2} | {:.0} |", per_s(cpu), per_s(wall));
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// The exchange: answers what is asked, and then sends for as long as somebody listens.
async fn send(listener: std::net::TcpListener, talk: Talk) {
    let (stream, _) = TcpListener::from_std(listener).unwrap().accept().await.unwrap();
    let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
    let mut asked = 0;
    // All that it will ask for.
    while asked < SYMBOLS {
        let Some(Ok(Message::Text(request))) = socket.next().await else { return };
        for answer in (talk.answers)(&request) {
            socket.feed(Message::text(answer)).await.unwrap();
        }
        socket.flush().await.unwrap();
        let named = (0..SYMBOLS).filter(|n| {
            let listed = (talk.listed)(*n);
            request.contains(&format!("\"{listed}\"")) || request.contains(&format!("\"{}@", listed.to_lowercase()))
        });
        asked += named.count();
    }
    let mut text = String::new();
    for at in 1.. {
        for n in 0..SYMBOLS {
            text.clear();
            (talk.tick)(n, at, &mut text);
            if socket.feed(Message::text(text.clone())).await.is_err() {
                return;
            }
            if n % IN_A_WRITE == 0 && socket.flush().await.is_err() {
                return;
            }
        }
    }
}

/// The server's side, up to the market. Returns how long this thread was on a processor, and how long it took.
async fn take(name: &str, channel: &str, url: &str, symbols: &str) -> (Duration, Duration) {
    let (sources, listed) = (format!("--sources={name}"), format!("--symbols={symbols}"));
    let (at, channel) = (format!("--{name}-url={url}"), format!("--binance-channel={channel}"));
    let args = ["tickcast", &sources, &listed, &at, &channel];
    let (_, config, _) = Config::load(args.map(Into::into)).unwrap();
    let (clock, metrics) = (Clock::system(), Arc::<Metrics>::default());
    let settings = bus::Settings {
        redis: None,
        lease_ttl: Duration::ZERO,
        history: Duration::ZERO,
        island_after: Duration::MAX,
        node_id: "bench".into(),
    };
    let (bus, mut events, _) = Bus::open(&settings, &clock, &metrics).await.unwrap();
    let market =
        Arc::new(Market::new([], Keep { age_ms: 60_000, ticks: 1000, candles: Kept::default() }, metrics.clone()));
    let recall: Recall = Arc::new({
        let market = market.clone();
        move |symbol| market.last_update(symbol)
    });
    let source = Sources::open(&config, &clock, &metrics, &recall, None).await.unwrap();
    let stop = CancellationToken::new();
    let counting = async {
        let (mut ticks, mut began) = (0, None);
        while let Some(event) = events.next().await {
            if let BusEvent::Ticks(batch) = event {
                ticks += market.apply(batch).fresh.len() as u64;
            }
            let (from, from_cpu) = match began {
                None if ticks < WARM_UP => continue,
                began => began.unwrap_or_else(|| (Instant::now(), cpu())),
            };
            if began.is_none() {
                ticks = 0;
                began = Some((from, from_cpu));
            }
            if ticks >= COUNTED {
                let share = COUNTED as f64 / ticks as f64;
                return ((cpu() - from_cpu).mul_f64(share), from.elapsed().mul_f64(share));
            }
        }
        panic!("the bus ended");
    };
    let took = tokio::select! {
        took = counting => took,
        ended = source.run(&bus, &metrics, &stop) => panic!("the source ended: {ended:?}"),
    };
    let dropped = (metrics.ticks_skipped.get(), metrics.ticks_misdated.get(), metrics.source_garbage.get());
    assert_eq!(dropped, (0, 0, 0), "every tick must have come");
    took
}

/// How long this thread has been on a processor.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(stat.split(' ').next().unwrap().parse().unwrap())
}
