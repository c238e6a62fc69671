//! A clock that steps back must not take the numbering with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};
use tickcast::clock::Clock;

use crate::client::Client;
use crate::server::Server;

const HOUR_US: u64 = 3_600_000_000;

fn seq(tick: &Value) -> u64 {
    tick["seq"].as_u64().unwrap()
}

#[tokio::test]
async fn a_clock_stepped_back_an_hour_never_sends_a_seq_back_and_a_restart_is_a_new_epoch() {
    let now = Arc::new(AtomicU64::new(1_732_252_800_000_000));
    let clock = Clock::from_fn({
        let now = now.clone();
        // Every look at it is a millisecond later.
        move || now.fetch_add(1000, Ordering::Relaxed)
    });

    let server = Server::start(&clock, &[]).await;
    let mut client = Client::connect(server.address).await;
    let answer = client.ask("subscribe", json!(["BTC"])).await;
    let mut last = answer["snapshot"].get(0).map(seq);
    let mut last_ts = 0;
    for n in 0..200 {
        if n == 100 {
            now.fetch_sub(HOUR_US, Ordering::Relaxed);
        }
        let (event, tick) = client.event().await;
        assert_eq!(event, "tick");
        assert_eq!(seq(&tick), last.map_or(seq(&tick), |last| last + 1), "tick {n}");
        last = Some(seq(&tick));
        let ts = tick["ts"].as_u64().unwrap();
        assert!(ts >= last_ts, "nor does the source's time go back");
        last_ts = ts;
    }

    // Who subscribes now gets on at the same number.
    let mut late = Client::connect(server.address).await;
    let again = late.ask("subscribe", json!(["BTC"])).await;
    assert!(seq(&again["snapshot"][0]) >= last.unwrap());
    let time = |answer: &Value| answer["server"]["time"].as_u64().unwrap();
    assert!(time(&again) < time(&answer), "the clock went back, or this test shows nothing");
    assert_eq!(again["epoch"], answer["epoch"]);
    server.stop().await;

    // The clock is still an hour behind: only the epoch tells that the numbers start over.
    let server = Server::start(&clock, &[]).await;
    let mut client = Client::connect(server.address).await;
    let after = client.ask("subscribe", json!(["BTC"])).await;
    assert_ne!(after["epoch"], answer["epoch"]);
    let first = match after["snapshot"].get(0) {
        Some(tick) => tick.clone(),
        None => client.event().await.1,
    };
    assert_eq!(first["epoch"], after["epoch"].as_str().map_or(first["epoch"].clone(), Value::from));
    assert!(seq(&first) < last.unwrap(), "or this test shows nothing");
    server.stop().await;
}
