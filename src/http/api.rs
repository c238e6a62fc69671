use std::sync::Arc;

use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, Extension, State as Extract};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, HeaderValue};
use axum::routing::post;
use axum::{Json, Router};
use futures_util::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Value, json};
use tower_http::set_header::SetResponseHeaderLayer;

use super::error::ApiError;
use super::guard::guarded;
use crate::auth::{Auth, Caller, Scope};
use crate::wire::ErrorCode;

/// The largest body, in bytes.
const MAX_BODY_BYTES: usize = 16 * 1024;

/// The longest name of a user, in bytes: that of a token's `sub`.
const MAX_USER_BYTES: usize = 256;

/// Ends the connections of a user, and says how many there were on this replica. The edges do not know each other.
pub type Disconnect = Arc<dyn Fn(String) -> BoxFuture<'static, usize> + Send + Sync>;

/// `POST /api/disconnect`, below the base path, for those who may.
pub(super) fn router(base: &str, auth: &Arc<Auth>, disconnect: Disconnect) -> Router {
    let admin = Router::new().route(&format!("{base}/api/disconnect"), post(end_user)).with_state(disconnect);
    guarded(admin, auth.clone(), Scope::Admin)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(SetResponseHeaderLayer::overriding(CACHE_CONTROL, HeaderValue::from_static("no-store")))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EndUser {
    user_id: String,
}

async fn end_user(
    Extract(disconnect): Extract<Disconnect>,
    Extension(Caller(caller)): Extension<Caller>,
    body: Result<Json<EndUser>, JsonRejection>,
) -> Result<Json<Value>, ApiError> {
    let Json(EndUser { user_id }) = body.map_err(|error| unreadable(&error, "{\"userId\": \"...\"}"))?;
    if user_id.is_empty() || user_id.len() > MAX_USER_BYTES {
        let bytes = user_id.len();
        return Err(ApiError::invalid(format!("userId has {bytes} bytes: must have 1 to {MAX_USER_BYTES}")));
    }
    let disconnected = disconnect(user_id.clone()).await;
    tracing::info!(caller, user = user_id, disconnected, "user disconnected");
    Ok(Json(json!({ "ok": true, "disconnected": disconnected })))
}

/// A body that cannot be taken: too large, not JSON by its header, or of another form.
pub(super) fn unreadable(error: &JsonRejection, form: &str) -> ApiError {
    let detail = format!("{}: must be {form}", error.body_text());
    match error.status() {
        status @ (StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNSUPPORTED_MEDIA_TYPE) => {
            ApiError::new(status, ErrorCode::InvalidPayload, detail)
        }
        _ => ApiError::invalid(detail),
    }
}
