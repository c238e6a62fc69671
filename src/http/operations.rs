use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Extension, State as Extract};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use utoipa::openapi::{RefOr, Response as Documented};
use utoipa::{IntoResponses, ToSchema};

use super::State;
use super::api::{Refusals, read_fields};
use super::error::{ApiError, documented, documented_wait};
use super::prices::{BadBody, BadRequest};
use crate::auth::Caller;
use crate::messages::Messages;
use crate::wire::{ErrorCode, check_name};

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

/// The longest id of a replica, in bytes.
const MAX_ID_BYTES: usize = 256;

/// When to ask again after a replica that has not answered, in s.
const AGAIN_S: u64 = 1;

/// What it takes to drain a replica.
#[derive(Clone)]
pub(super) struct Helm {
    pub(super) state: Arc<State>,
    /// To the other replicas.
    pub(super) messages: Messages,
}

/// Which replica is to drain.
#[derive(Deserialize, ToSchema)]
pub(super) struct DrainOne {
    /// Its id, 1 to 256 bytes; the one that answers where it is not there.
    #[schema(min_length = 1, max_length = 256)]
    id: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct Draining {
    /// Always true.
    ok: bool,
    /// The id of the one that drains.
    id: String,
    /// How many clients it has, as far as is known here. They are closed now, one after the other.
    connections: i64,
}

/// Ends a replica as SIGTERM does: it lets nobody new in, gives its leases back, closes its clients' transports, each in
/// its slot, and exits.
///
/// Without a body the one that answers, which may be any behind a proxy; with an id the one that has it, wherever the
/// request arrives.
#[utoipa::path(post, path = "/api/drain", tag = "server", request_body = Option<DrainOne>,
    responses((status = 202, description = "It drains", body = Draining), BadRequest, BadBody, Nobody, Refusals))]
pub(super) async fn drain(
    Extract(Helm { state, messages }): Extract<Helm>,
    Extension(Caller(caller)): Extension<Caller>,
    body: Result<Option<Json<Box<RawValue>>>, JsonRejection>,
) -> Result<(StatusCode, Json<Draining>), ApiError> {
    let named = body.transpose().filter(|body| !body.as_ref().is_ok_and(|Json(json)| json.get() == "null"));
    let body = named.map(|body| read_fields::<DrainOne>(&body, "{\"id\": \"...\"}")).transpose()?;
    let id = body.and_then(|body| body.id).unwrap_or_else(|| state.id.clone());
    check_name("id", &id, MAX_ID_BYTES)?;
    let connections = if id == state.id {
        tracing::info!(caller, "asked to drain");
        state.asked_to_drain.cancel();
        state.metrics.connections_active.get()
    } else {
        // Before it is asked: who drains may not be listed for long.
        let nodes = state.replicas();
        let answers = messages.drain(id.clone())?.answers().await;
        if answers.count == 0 {
            return Err(nobody(&id, &nodes, answers.complete));
        }
        tracing::info!(caller, id, "asked another replica to drain");
        let known = nodes.iter().find(|node| node["id"] == id.as_str());
        known.and_then(|node| node["connections"].as_i64()).unwrap_or(0)
    };
    Ok((StatusCode::ACCEPTED, Json(Draining { ok: true, id, connections })))
}

/// No replica has said that it has this id; `all` have been heard, or not.
fn nobody(id: &str, nodes: &[Value], all: bool) -> ApiError {
    let known: Vec<_> = nodes.iter().filter_map(|node| node["id"].as_str()).collect();
    if all {
        let detail = format!("id is {id:?}: no replica has it; must be one of {}", known.join(", "));
        ApiError::new(StatusCode::NOT_FOUND, ErrorCode::InvalidPayload, detail)
    } else {
        let detail =
            format!("id is {id:?}: not every replica has answered, so it is not known whether that one drains");
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, ErrorCode::Unavailable, detail).again_after(AGAIN_S)
    }
}

/// Of a replica that is not there, or does not answer.
struct Nobody;

impl IntoResponses for Nobody {
    fn responses() -> BTreeMap<String, RefOr<Documented>> {
        BTreeMap::from([
            ("404".into(), documented("No replica has this id.")),
            ("503".into(), documented_wait("Not every replica has answered, or the server is too busy.")),
        ])
    }
}
