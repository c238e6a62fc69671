//! The end of a token, with a clock that the test turns.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};
use tickcast::auth::NewToken;
use tickcast::clock::Clock;
use tickcast::config::Config;

use crate::client::Client;
use crate::server::Server;

const FLAGS: &[&str] = &["--jwt-secret=a secret of more than thirty-two bytes", "--jwt-leeway=5000"];

/// A clock, and what turns it: to so many s since the Unix epoch.
fn clock() -> (Clock, impl Fn(u64)) {
    let now_s = Arc::new(AtomicU64::new(1_000_000));
    let turn = {
        let now_s = now_s.clone();
        move |s| now_s.store(s, Ordering::Relaxed)
    };
    (Clock::from_fn(move || now_s.load(Ordering::Relaxed) * 1_000_000), turn)
}

fn token(clock: &Clock, expires_in_s: u64) -> Value {
    let args = ["tickcast"].iter().chain(FLAGS).map(Into::into);
    let (_, config, _) = Config::load(args).unwrap();
    let token = NewToken { sub: "alice".into(), expires_in_s, symbols: None, rooms: None, roles: Vec::new() };
    json!({"token": token.sign(&config.access, clock).unwrap()})
}

#[tokio::test]
async fn a_connection_is_told_of_the_end_and_ended_by_the_clock_of_tokens() {
    let (clock, turn) = clock();
    let server = Server::start(&clock, FLAGS).await;
    let (mut alice, answer) = Client::connect_with(server.address, &token(&clock, 3600)).await;
    assert!(answer.starts_with("40{"), "{answer}");
    let (mut other, _) = Client::connect_with(server.address, &token(&clock, 3600)).await;
    let last = token(&clock, 4000);

    turn(1_003_540);
    for client in [&mut alice, &mut other] {
        assert_eq!(client.event().await, ("token-expiring".into(), json!({"expiresInMs": 60_000})));
    }
    assert_eq!(other.ask("refresh", last.clone()).await, json!({"ok": true, "expiresInMs": 460_000, "ended": []}));
    // A clock that steps back takes nothing back, and nobody is told twice.
    turn(1_000_000);
    assert_eq!(alice.ask("ping", Value::Null).await["ok"], true);
    turn(1_003_604);
    assert_eq!(alice.ask("ping", Value::Null).await["ok"], true, "within the leeway");
    turn(1_003_605);
    let (event, body) = alice.event().await;
    assert_eq!((event.as_str(), &body["code"]), ("error", &json!("token_expired")));
    assert_eq!(alice.packet().await, "41");

    assert_eq!(other.ask("ping", Value::Null).await["ok"], true, "it has another token");
    turn(1_004_005);
    assert_eq!(other.event().await.0, "error", "no notice of what is over already");
    assert_eq!(other.packet().await, "41");
    let (_, refused) = Client::connect_with(server.address, &last).await;
    assert_eq!(refused, r#"44{"message":"token_expired"}"#);
    let (_, refused) = Client::connect_with(server.address, &json!({})).await;
    assert_eq!(refused, r#"44{"message":"unauthorized"}"#);
    server.stop().await;
}
