use std::sync::Arc;

use axum::Json;
use axum::extract::State as Extract;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::State;
use super::api::Refusals;

/// What the operators' page shows.
#[derive(Serialize, ToSchema)]
pub(super) struct Operations {
    /// The replica that answers: behind a proxy it may be any.
    id: String,
    /// Every live replica: `id`, `role`, `version`, `uptime_ms`, `status`, `connections`, `lag_ms`, `epoch`, `sources`.
    #[schema(value_type = Vec<HashMap<String, Value>>)]
    nodes: Vec<Value>,
    /// What this replica did so far, as `/stats` has it.
    #[schema(value_type = HashMap<String, Value>)]
    figures: Value,
    /// How old ticks were when this replica wrote them to a client, ever.
    tick_age: Vec<Bucket>,
}

/// Of times up to a bound, and above the one before it.
#[derive(Serialize, ToSchema)]
struct Bucket {
    /// In milliseconds; null for the last, which has none.
    up_to_ms: Option<f64>,
    /// How many there were.
    count: u64,
}

/// The replicas, and what the one that answers did: for the operators' page.
#[utoipa::path(get, path = "/api/ops", tag = "server",
    responses((status = 200, description = "How they are", body = Operations), Refusals))]
pub(super) async fn operations(Extract(state): Extract<Arc<State>>) -> Json<Operations> {
    let tick_age = state
        .metrics
        .tick_age
        .counts()
        .map(|(bound_us, count)| Bucket { up_to_ms: bound_us.map(|bound| bound as f64 / 1e3), count })
        .collect();
    Json(Operations { id: state.id.clone(), nodes: state.replicas(), figures: json!(state.figures()), tick_age })
}
