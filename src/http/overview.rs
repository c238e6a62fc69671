use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State as Extract;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::State;
use super::api::Refusals;
use crate::config::Role;

/// How this replica is.
#[derive(Serialize, ToSchema)]
pub(super) struct Overview {
    /// `ok`, `starting`, `degraded` (cut off from the bus), `draining` (a shutdown has begun) or `down` (no ticks).
    status: &'static str,
    /// Why it is not `ok`.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Its id.
    id: String,
    /// `front`, `back` or `all`.
    #[schema(value_type = String)]
    role: Role,
    /// Its version.
    version: &'static str,
    /// How long it has run.
    uptime_ms: u64,
    /// Connected clients.
    connections: i64,
    /// How many symbols it knows.
    symbols: usize,
    /// The numbering in force; null before the first tick.
    epoch: Option<String>,
    /// What it is to each source: `publisher` or `standby`.
    #[schema(value_type = BTreeMap<String, String>)]
    sources: BTreeMap<&'static str, &'static str>,
}

/// How this replica is.
#[utoipa::path(get, path = "/api/status", tag = "server", responses((status = 200, description = "How it is", body = Overview), Refusals))]
pub(super) async fn status(Extract(state): Extract<Arc<State>>) -> Json<Overview> {
    let (status, reason) = state.standing();
    Json(Overview {
        status,
        reason,
        id: state.id.clone(),
        role: state.role,
        version: env!("CARGO_PKG_VERSION"),
        uptime_ms: state.uptime_ms(),
        connections: state.metrics.connections_active.get(),
        symbols: state.market.symbol_count(),
        epoch: state.bus.epoch().map(|epoch| epoch.as_str().to_owned()),
        sources: state.bus.roles(),
    })
}

/// Who is connected.
#[derive(Serialize, ToSchema)]
pub(super) struct Connections {
    /// To this replica, now.
    active: i64,
    /// To this replica, ever.
    total: u64,
    /// Refused here for want of a token that is good.
    refused: u64,
    /// Connected clients of this replica that get a symbol's ticks, by symbol.
    subscriptions: BTreeMap<String, i64>,
    /// All live replicas together.
    cluster: ClusterConnections,
}

#[derive(Serialize, ToSchema)]
struct ClusterConnections {
    /// Now, as of a second ago.
    active: i64,
    /// By the id of the replica.
    nodes: BTreeMap<String, i64>,
}

/// Who is connected, here and in all.
#[utoipa::path(get, path = "/api/stats/connections", tag = "server",
    responses((status = 200, description = "The connections", body = Connections), Refusals))]
pub(super) async fn connections(Extract(state): Extract<Arc<State>>) -> Json<Connections> {
    let active = state.metrics.connections_active.get();
    let count = |node: &Value| Some((node["id"].as_str()?.to_owned(), node["connections"].as_i64()?));
    let mut nodes: BTreeMap<String, i64> = state.bus.nodes().iter().filter_map(count).collect();
    // Of itself it knows better.
    nodes.insert(state.id.clone(), active);
    Json(Connections {
        active,
        total: state.metrics.connections_total.get(),
        refused: state.metrics.connections_refused.get(),
        subscriptions: state.subscriptions(),
        cluster: ClusterConnections { active: nodes.values().sum(), nodes },
    })
}
