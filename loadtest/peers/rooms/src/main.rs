//! Plain rooms: the server that one writes with socketioxide and axum in an hour. A room per symbol gets `tick`, and one
//! room gets `ticks`, an array of all symbols: that serves only clients that want every symbol, and is enough to measure.
//!
//! `HOST`, `PORT`, `SYMBOLS` and `UPDATE_INTERVAL` are as in tickcast, and so is a tick: `{symbol, price, ts, seq}`.
//! `MODE` (`tick`, `batch` or `both`) is what clients get that do not say.

#[path = "../../prices.rs"]
mod prices;

use std::env;
use std::error::Error;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use axum::serve::ListenerExt;
use serde::Serialize;
use serde_json::{Value, json};
use socketioxide::SocketIo;
use socketioxide::extract::{AckSender, Data, SocketRef};
use socketioxide::handler::ConnectHandler;
use tokio::time::MissedTickBehavior;

use prices::Prices;

/// Who wants arrays is here.
const BATCH_ROOM: &str = "ticks";

/// Packets that may wait for one client, as in tickcast.
const QUEUE_PACKETS: usize = 1024;

#[derive(Serialize)]
struct Tick<'a> {
    symbol: &'a str,
    price: f64,
    ts: u64,
    seq: u64,
}

fn setting(name: &str, default: &str) -> String {
    env::var(name).unwrap_or_else(|_| default.to_owned())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = format!("{}:{}", setting("HOST", "127.0.0.1"), setting("PORT", "3000"));
    let symbols: Vec<String> = setting("SYMBOLS", "BTC,ETH,SOL,ADA,XRP").split(',').map(str::to_owned).collect();
    let interval = Duration::from_millis(setting("UPDATE_INTERVAL", "500").parse()?);
    let mode = setting("MODE", "tick");

    let (layer, io) = SocketIo::builder()
        .ping_interval(Duration::from_secs(25))
        .ping_timeout(Duration::from_secs(60))
        .max_buffer_size(QUEUE_PACKETS)
        .build_layer();
    // Before the client hears that it is connected: in a connect handler it is after that, and the engine drops what
    // nobody listens to yet.
    let listen = async move |socket: SocketRef| {
        socket.on("subscribe", async move |socket: SocketRef, Data(payload): Data<Value>, ack: AckSender| {
            subscribe(&socket, &payload, &mode);
            // Who did not ask for an answer gets none.
            ack.send(&json!({"ok": true})).ok();
        });
        Ok::<(), &str>(())
    };
    let connected = async |_: SocketRef| {};
    io.ns("/", connected.with(listen));
    tokio::spawn(publish(io, symbols, interval));

    let app = Router::new().route("/health", get("ok")).layer(layer);
    let listener = tokio::net::TcpListener::bind(address).await?.tap_io(|stream| {
        // A failure means that the peer has gone already.
        stream.set_nodelay(true).ok();
    });
    axum::serve(listener, app).await?;
    Ok(())
}

/// Puts a client into its rooms: `["BTC"]`, or `{symbols, mode}`.
fn subscribe(socket: &SocketRef, payload: &Value, default_mode: &str) {
    let mode = payload["mode"].as_str().unwrap_or(default_mode);
    let names = if payload.is_object() { &payload["symbols"] } else { payload };
    if mode != "batch" {
        let names = names.as_array().into_iter().flatten().filter_map(Value::as_str);
        socket.join(names.map(str::to_owned).collect::<Vec<_>>());
    }
    if mode != "tick" {
        socket.join(BATCH_ROOM);
    }
}

async fn publish(io: SocketIo, symbols: Vec<String>, interval: Duration) {
    let mut prices = Prices::new(&symbols);
    let mut pace = tokio::time::interval(interval);
    // As in tickcast: late ticks are made up at once.
    pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
    loop {
        pace.tick().await;
        let (prices, seq) = prices.step();
        let ts = prices::now_ms();
        let tick = |(symbol, price)| Tick { symbol, price, ts, seq };
        let ticks: Vec<Tick> = symbols.iter().map(String::as_str).zip(prices).map(tick).collect();
        // An error names clients whose queues are full: they miss this.
        for tick in &ticks {
            io.to(tick.symbol.to_owned()).emit("tick", tick).await.ok();
        }
        io.to(BATCH_ROOM).emit("ticks", &ticks).await.ok();
    }
}
