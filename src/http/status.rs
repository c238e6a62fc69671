use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::State as Extract;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, HeaderValue};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use tower_http::set_header::SetResponseHeaderLayer;

use super::State;
use crate::price::Epoch;

/// `/health`, `/ready` and `/stats`, below the base path.
pub(super) fn router(base: &str, state: Arc<State>) -> Router {
    Router::new()
        .route(&format!("{base}/health"), get(health))
        .route(&format!("{base}/ready"), get(ready))
        .route(&format!("{base}/stats"), get(stats))
        .layer(SetResponseHeaderLayer::overriding(CACHE_CONTROL, HeaderValue::from_static("no-store")))
        .with_state(state)
}

/// How the replica is.
#[derive(Debug, Serialize)]
struct Health<'a> {
    /// `ok`, `draining` (a shutdown has begun) or `down`.
    status: &'static str,
    /// Why it is not `ok`.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    id: &'a str,
    version: &'static str,
    uptime_ms: u64,
    bus: BusHealth,
}

#[derive(Debug, Serialize)]
struct BusHealth {
    kind: &'static str,
    state: &'static str,
    epoch: Epoch,
}

impl State {
    fn uptime_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Why this replica cannot serve, if it cannot.
    fn failure(&self) -> Option<String> {
        let silence = self.market.silence();
        (silence >= self.silent_after).then(|| {
            format!("no tick for {} ms; {} ms are allowed", silence.as_millis(), self.silent_after.as_millis())
        })
    }

    fn health(&self) -> Health<'_> {
        let failure = self.failure();
        let status = match (&failure, self.draining.load(Ordering::Relaxed)) {
            (Some(_), _) => "down",
            (None, true) => "draining",
            (None, false) => "ok",
        };
        Health {
            status,
            reason: failure.or_else(|| (status == "draining").then(|| "a shutdown has begun".into())),
            id: &self.id,
            version: env!("CARGO_PKG_VERSION"),
            uptime_ms: self.uptime_ms(),
            bus: BusHealth { kind: self.bus.kind(), state: self.bus.state().as_str(), epoch: self.bus.epoch() },
        }
    }
}

/// Whether the process works: 200 while it drains, too, since killing it then would cut clients off.
async fn health(Extract(state): Extract<Arc<State>>) -> Response {
    let health = state.health();
    let code = if health.status == "down" { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    (code, Json(health)).into_response()
}

/// Whether new clients should come here.
async fn ready(Extract(state): Extract<Arc<State>>) -> Response {
    let health = state.health();
    let code = if health.status == "ok" { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(health)).into_response()
}

/// What the replica did so far.
#[derive(Debug, Serialize)]
struct Stats<'a> {
    id: &'a str,
    version: &'static str,
    uptime_ms: u64,
    connections: Connections,
    /// Connected clients that get a symbol's ticks, by symbol.
    subscriptions: BTreeMap<String, i64>,
    ticks: Ticks,
    /// Ticks handed to clients' queues; one tick to a thousand clients counts a thousand.
    deliveries: u64,
    drops: Drops,
    messages: Messages,
    errors: Errors,
    bus: BusHealth,
    sources: Sources,
}

#[derive(Debug, Serialize)]
struct Connections {
    active: i64,
    total: u64,
}

#[derive(Debug, Serialize)]
struct Ticks {
    /// Taken from the bus.
    #[serde(rename = "in")]
    taken: u64,
    /// Had already, and dropped.
    repeated: u64,
    /// Held as history.
    history: usize,
}

#[derive(Debug, Serialize)]
struct Drops {
    /// Ticks that found a client's queue full.
    queue_full: u64,
    /// Answers that did.
    messages: u64,
}

#[derive(Debug, Serialize)]
struct Messages {
    received: u64,
}

#[derive(Debug, Serialize)]
struct Errors {
    /// Connections ended because the client broke the protocol.
    protocol: u64,
    /// Requests answered with an error.
    requests: u64,
    /// Connections that could not be accepted.
    accept: u64,
}

#[derive(Debug, Serialize)]
struct Sources {
    restarts: u64,
    /// Ticks that could not be made in time.
    skipped: u64,
}

async fn stats(Extract(state): Extract<Arc<State>>) -> Response {
    let metrics = &state.metrics;
    let mut subscriptions = metrics.subscriptions.all();
    for symbol in state.market.symbols() {
        subscriptions.entry(symbol.to_string()).or_insert(0);
    }
    Json(Stats {
        id: &state.id,
        version: env!("CARGO_PKG_VERSION"),
        uptime_ms: state.uptime_ms(),
        connections: Connections { active: metrics.connections_active.get(), total: metrics.connections_total.get() },
        subscriptions,
        ticks: Ticks {
            taken: metrics.ticks_in.get(),
            repeated: metrics.ticks_repeated.get(),
            history: state.market.history_ticks(),
        },
        deliveries: metrics.deliveries.get(),
        drops: Drops { queue_full: metrics.drops_queue_full.get(), messages: metrics.messages_dropped.get() },
        messages: Messages { received: metrics.messages_received.get() },
        errors: Errors {
            protocol: metrics.protocol_errors.get(),
            requests: metrics.request_errors.get(),
            accept: metrics.accept_errors.get(),
        },
        bus: state.health().bus,
        sources: Sources { restarts: metrics.source_restarts.get(), skipped: metrics.ticks_skipped.get() },
    })
    .into_response()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::bus::Bus;
    use crate::clock::Clock;
    use crate::market::{Keep, Market};
    use crate::price::Batch;

    fn state(silent_after: Duration) -> State {
        let market = Market::new([], Keep { age_ms: 1, ticks: 1 }, Arc::default());
        let bus = Bus::local(&Clock::from_fn(|| 0)).0;
        State {
            id: "app1".into(),
            started: Instant::now(),
            market: Arc::new(market),
            bus: Arc::new(bus),
            metrics: Arc::default(),
            silent_after,
            draining: false.into(),
        }
    }

    #[tokio::test]
    async fn is_down_with_a_reason_when_the_feed_falls_silent_and_up_again_with_the_next_tick() {
        let state = Arc::new(state(Duration::from_millis(20)));
        while state.health().status == "ok" {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let down = state.health();
        assert_eq!(down.status, "down");
        assert!(down.reason.unwrap().ends_with("; 20 ms are allowed"));
        assert_eq!(health(Extract(state.clone())).await.status(), StatusCode::SERVICE_UNAVAILABLE);
        state.market.apply(Batch { epoch: state.bus.epoch(), ticks: vec![] });
        assert_eq!(state.health().status, "ok");
    }

    #[tokio::test]
    async fn a_draining_replica_is_healthy_but_not_ready() {
        let state = Arc::new(state(Duration::from_secs(60)));
        assert_eq!(ready(Extract(state.clone())).await.status(), StatusCode::OK);
        state.drain();
        assert_eq!(state.health().status, "draining");
        assert_eq!(health(Extract(state.clone())).await.status(), StatusCode::OK);
        assert_eq!(ready(Extract(state)).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    }
}
