use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Json;
use axum::extract::State as Extract;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};

use super::State;
use crate::config::Role;
use crate::price::{Epoch, Feed, FeedState};

/// How the replica is.
#[derive(Debug, Serialize)]
struct Health<'a> {
    /// `ok`, `starting` (the bus has not been heard yet, or no price), `degraded` (cut off from the bus), `draining` (a shutdown has
    /// begun) or `down` (no ticks).
    status: &'static str,
    /// Why it is not `ok`.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    id: &'a str,
    /// `front`, `back` or `all`.
    role: Role,
    version: &'static str,
    uptime_ms: u64,
    bus: BusHealth,
    /// What this replica is to each source: `publisher` or `standby`.
    sources: BTreeMap<&'static str, &'static str>,
    access: Access,
}

/// Who may do what, in a word.
#[derive(Debug, Serialize)]
struct Access {
    /// Connect and read: `everybody`, `token`, or `token or guest`.
    read: &'static str,
    /// Use `/api`: `key`, `loopback` (who is on this machine), or `everybody`.
    api: &'static str,
}

/// How its bus is.
#[derive(Debug, Serialize)]
pub(super) struct BusHealth {
    kind: &'static str,
    state: FeedState,
    reason: String,
    epoch: Option<Epoch>,
    /// `connected` or `away`, where the bus is Redis.
    #[serde(skip_serializing_if = "Option::is_none")]
    redis: Option<&'static str>,
    /// How old the newest entry of the log was when it was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    lag_ms: Option<i64>,
}

impl State {
    pub(super) fn uptime_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Why this replica cannot serve, if it cannot.
    fn failure(&self) -> Option<String> {
        let silence = self.market.silence();
        let allowed = self.silent_after.filter(|allowed| silence >= *allowed)?;
        Some(format!("no tick for {} ms; {} ms are allowed", silence.as_millis(), allowed.as_millis()))
    }

    /// How this replica is in a word, and why it is not `ok`.
    pub(super) fn standing(&self) -> (&'static str, Option<String>) {
        let feed = self.market.feed();
        let draining = self.is_draining();
        match (feed.state, draining, self.failure()) {
            (_, true, _) => ("draining", Some("a shutdown has begun".to_owned())),
            (FeedState::Starting, ..) => ("starting", Some(feed.reason.clone())),
            (FeedState::Degraded, ..) => ("degraded", Some(feed.reason.clone())),
            (FeedState::Live, _, Some(failure)) => ("down", Some(failure)),
            // Live, but nothing was ever published: who asked for a snapshot would get none. Where others publish it may
            // be so for long.
            (FeedState::Live, _, None) if self.silent_after.is_some() && self.market.epoch().is_none() => {
                ("starting", Some("no price has come yet".to_owned()))
            }
            (FeedState::Live, _, None) => ("ok", None),
        }
    }

    /// True where new clients should come here.
    pub(super) fn is_ready(&self) -> bool {
        matches!(self.standing().0, "ok" | "degraded")
    }

    /// True once a shutdown has begun.
    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    fn health(&self) -> Health<'_> {
        let (status, reason) = self.standing();
        Health {
            status,
            reason,
            id: &self.id,
            role: self.role,
            version: env!("CARGO_PKG_VERSION"),
            uptime_ms: self.uptime_ms(),
            bus: self.bus_health(self.market.feed()),
            sources: self.bus.roles(),
            access: Access { read: self.auth.reading(), api: self.auth.writing() },
        }
    }

    pub(super) fn bus_health(&self, feed: Feed) -> BusHealth {
        BusHealth {
            kind: self.bus.kind(),
            state: feed.state,
            reason: feed.reason,
            epoch: self.bus.epoch(),
            redis: self.bus.redis_connected().map(|connected| if connected { "connected" } else { "away" }),
            lag_ms: self.bus.lag_ms(),
        }
    }

    /// What this replica says of itself to those who list the replicas.
    pub fn describe(&self) -> Value {
        let health = self.health();
        json!({
            "id": health.id,
            "role": health.role,
            "version": health.version,
            "uptime_ms": health.uptime_ms,
            "status": health.status,
            "connections": self.metrics.connections_active.get(),
            "lag_ms": health.bus.lag_ms,
            "epoch": health.bus.epoch,
            "sources": health.sources,
        })
    }
}

/// Whether the process works: 200 while it drains, too, since killing it then would cut clients off.
pub(super) async fn health(Extract(state): Extract<Arc<State>>) -> Response {
    let health = state.health();
    let code = if health.status == "down" { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    (code, Json(health)).into_response()
}

/// Whether new clients should come here.
pub(super) async fn ready(Extract(state): Extract<Arc<State>>) -> Response {
    let code = if state.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(state.health())).into_response()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use std::collections::HashMap;

    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::auth::Auth;
    use crate::bus::{self, Bus};
    use crate::clock::Clock;
    use crate::config::Config;
    use crate::market::{Keep, Kept, Market};
    use crate::price::Batch;

    async fn state(silent_after: Duration) -> State {
        let market = Market::new([], Keep { age_ms: 1, ticks: 1, candles: Kept::default() }, Arc::default());
        market.set_feed(Feed { state: FeedState::Live, reason: "test".into() });
        let settings = bus::Settings {
            redis: None,
            lease_ttl: Duration::ZERO,
            island_after: Duration::ZERO,
            history: Duration::ZERO,
            node_id: "app1".into(),
        };
        let (_, config, _) = Config::load(["tickcast".into()]).unwrap();
        let (bus, ..) = Bus::open(&settings, &Clock::from_fn(|| 0), &Arc::default()).await.unwrap();
        State {
            id: "app1".into(),
            started: Instant::now(),
            market: Arc::new(market),
            bus: Arc::new(bus),
            metrics: Arc::default(),
            auth: Arc::new(Auth::open(&config.access, Clock::system()).unwrap()),
            clock: Clock::from_fn(|| 0),
            silent_after: Some(silent_after),
            draining: false.into(),
            asked_to_drain: CancellationToken::new(),
            role: Role::All,
            made: HashMap::new(),
        }
    }

    /// A batch comes.
    fn hear(state: &State) {
        state.market.apply(Batch { epoch: Epoch::new("e"), ticks: vec![] });
    }

    #[tokio::test]
    async fn is_down_with_a_reason_when_the_feed_falls_silent_and_up_again_with_the_next_tick() {
        let state = Arc::new(state(Duration::from_millis(20)).await);
        while state.health().status != "down" {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let down = state.health();
        assert_eq!(down.status, "down");
        assert!(down.reason.unwrap().ends_with("; 20 ms are allowed"));
        assert_eq!(health(Extract(state.clone())).await.status(), StatusCode::SERVICE_UNAVAILABLE);
        // Again and again: before a busy machine looks, it may have fallen silent again.
        let is_up = || {
            hear(&state);
            state.health().status == "ok"
        };
        assert!((0..100).any(|_| is_up()), "up again with the next tick");
    }

    #[tokio::test]
    async fn one_that_starts_is_not_ready_and_one_that_is_cut_off_is() {
        let state = Arc::new(state(Duration::from_secs(60)).await);
        let codes = async |feed| {
            state.market.set_feed(Feed { state: feed, reason: "because".into() });
            let (health, ready) = (health(Extract(state.clone())).await, ready(Extract(state.clone())).await);
            (health.status().as_u16(), ready.status().as_u16())
        };
        assert_eq!(codes(FeedState::Starting).await, (200, 503));
        assert_eq!(codes(FeedState::Degraded).await, (200, 200));
        assert_eq!(state.health().reason.as_deref(), Some("because"));
    }

    #[tokio::test]
    async fn a_draining_replica_is_healthy_but_not_ready() {
        let state = Arc::new(state(Duration::from_secs(60)).await);
        assert_eq!(ready(Extract(state.clone())).await.status(), StatusCode::SERVICE_UNAVAILABLE, "no price yet");
        hear(&state);
        assert_eq!(ready(Extract(state.clone())).await.status(), StatusCode::OK);
        state.drain();
        assert_eq!(state.health().status, "draining");
        assert_eq!(health(Extract(state.clone())).await.status(), StatusCode::OK);
        assert_eq!(ready(Extract(state)).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    }
}
