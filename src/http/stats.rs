use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State as Extract};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::State;
use super::feeds::Sources;
use super::health::BusHealth;
use super::limited::Limited;
use super::prices::Published;
use crate::config::Role;
use crate::price::Symbol;
use crate::wire::short;

impl State {
    /// Clients of this replica that get a symbol's ticks, by symbol.
    pub(super) fn subscriptions(&self) -> BTreeMap<String, i64> {
        let mut subscriptions = self.metrics.subscriptions.all();
        for symbol in self.market.symbols() {
            subscriptions.entry(symbol.to_string()).or_insert(0);
        }
        subscriptions
    }

    /// Every live replica that is known here, as it says itself, by id: this one, as it is now, and the others as of a
    /// second ago.
    pub(super) fn replicas(&self) -> Vec<Value> {
        let mut nodes = self.bus.nodes();
        nodes.retain(|node| node["id"] != self.id.as_str());
        nodes.push(self.describe());
        nodes.sort_by(|one, two| one["id"].as_str().cmp(&two["id"].as_str()));
        nodes
    }

    /// What this replica did so far.
    pub(super) fn figures(&self) -> Stats<'_> {
        let metrics = &self.metrics;
        Stats {
            id: &self.id,
            role: self.role,
            version: env!("CARGO_PKG_VERSION"),
            uptime_ms: self.uptime_ms(),
            connections: Connections {
                active: metrics.connections_active.get(),
                total: metrics.connections_total.get(),
                refused: metrics.connections_refused.get(),
                tcp: metrics.tcp_connections.get(),
            },
            subscriptions: self.subscriptions(),
            ticks: Ticks {
                taken: metrics.ticks_in.get(),
                repeated: metrics.ticks_repeated.get(),
                lost: metrics.ticks_lost.get(),
                history: self.market.history_ticks(),
                stale: self.market.stale(),
            },
            deliveries: metrics.deliveries.get(),
            deliveries_by_lane: metrics.deliveries_by_lane.get(),
            conflated: metrics.conflated_paced.get() + metrics.conflated_behind.get(),
            slow: Slow { clients: metrics.clients_slow.get(), disconnected: metrics.slow_disconnects.get() },
            drops: Drops { messages: metrics.messages_dropped.get() },
            published: Published::of(metrics),
            messages: Messages {
                received: metrics.messages_received.get(),
                lost: metrics.messages_lost.get(),
                refused: metrics.emits_refused.get(),
            },
            backend: Backend {
                posted: metrics.backend_posted.get(),
                retries: metrics.backend_retries.get(),
                given_up: metrics.backend_given_up.get(),
            },
            alerts: Alerts {
                held: metrics.alerts.get(),
                fired: metrics.alerts_fired.get(),
                posted: metrics.alerts_posted.get(),
                dropped: metrics.alerts_dropped.get(),
            },
            errors: Errors {
                protocol: metrics.protocol_errors.get(),
                requests: metrics.request_errors.get(),
                accept: metrics.accept_errors.get(),
                redis: metrics.redis_errors.get(),
                bus_entries: metrics.bus_garbage.get(),
                bus_gaps: metrics.bus_gaps.get(),
            },
            limited: Limited::of(metrics),
            bus: self.bus_health(self.market.feed()),
            epoch_changes: metrics.epoch_changes.get(),
            islands: metrics.islands.get(),
            sources: Sources::of(self),
        }
    }
}

/// What the replica did so far.
#[derive(Debug, Serialize)]
pub(super) struct Stats<'a> {
    id: &'a str,
    role: Role,
    version: &'static str,
    uptime_ms: u64,
    connections: Connections,
    /// Connected clients that get a symbol's ticks, by symbol.
    subscriptions: BTreeMap<String, i64>,
    ticks: Ticks,
    /// Ticks sent to clients; one tick to a thousand clients counts a thousand.
    deliveries: u64,
    /// Those of them that went past the engine's queue.
    deliveries_by_lane: u64,
    /// Updates that another tick stood for: of clients that were slow, or wanted fewer.
    conflated: u64,
    slow: Slow,
    drops: Drops,
    published: Published,
    messages: Messages,
    backend: Backend,
    alerts: Alerts,
    errors: Errors,
    limited: Limited,
    bus: BusHealth,
    /// Times that the epoch changed under this replica.
    epoch_changes: u64,
    /// Times that it went on without Redis, under an epoch of its own.
    islands: u64,
    sources: Sources,
}

#[derive(Debug, Serialize)]
struct Connections {
    active: i64,
    total: u64,
    /// For want of a token that is good.
    refused: u64,
    /// TCP connections of whatever kind, now.
    tcp: i64,
}

#[derive(Debug, Serialize)]
struct Ticks {
    /// Taken from the bus.
    #[serde(rename = "in")]
    taken: u64,
    /// Had already, and dropped.
    repeated: u64,
    /// Never came: holes in the numbers.
    lost: u64,
    /// Held as history.
    history: usize,
    /// Symbols that have had none for `STALE_AFTER`.
    stale: Vec<Symbol>,
}

#[derive(Debug, Serialize)]
struct Slow {
    /// Clients for whom something has waited for a second or more.
    clients: i64,
    /// Clients that were disconnected because they took nothing for too long.
    disconnected: u64,
}

#[derive(Debug, Serialize)]
struct Drops {
    /// Answers and messages that found no room with their client.
    messages: u64,
}

#[derive(Debug, Serialize)]
struct Messages {
    received: u64,
    /// Between replicas.
    lost: u64,
    /// Of back ends, through Redis: what could not be carried out.
    refused: u64,
}

#[derive(Debug, Serialize)]
struct Alerts {
    /// Held here, now: those of every user, and of this replica's connections.
    held: i64,
    /// Times that one fired here, whether anybody was here to be told or not.
    fired: u64,
    /// Those of them that this replica told the back end.
    posted: u64,
    /// Those of them that were not told, since too many fired at once or the server ended.
    dropped: u64,
}

#[derive(Debug, Serialize)]
struct Backend {
    /// What it took, or refused.
    posted: u64,
    /// Attempts after the first.
    retries: u64,
    /// What it never took.
    given_up: u64,
}

#[derive(Debug, Serialize)]
struct Errors {
    /// Connections ended because the client broke the protocol.
    protocol: u64,
    /// Requests answered with an error.
    requests: u64,
    /// Connections that could not be accepted.
    accept: u64,
    /// Commands to Redis that failed.
    redis: u64,
    /// Entries of the log that could not be read.
    bus_entries: u64,
    /// Times that the log was trimmed beyond what was read here.
    bus_gaps: u64,
}

#[derive(Debug, Deserialize)]
pub(super) struct StatsQuery {
    scope: Option<String>,
}

/// What the replica did, or how all of them are (`scope=cluster`).
pub(super) async fn stats(Extract(state): Extract<Arc<State>>, Query(query): Query<StatsQuery>) -> Response {
    match query.scope.as_deref() {
        None | Some("node") => {}
        Some("cluster") => {
            return Json(json!({ "nodes": state.replicas() })).into_response();
        }
        Some(other) => {
            let message = format!("scope is \"{}\": must be node or cluster\n", short(other));
            return (StatusCode::BAD_REQUEST, message).into_response();
        }
    }
    Json(state.figures()).into_response()
}
