use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, Extension, State as Extract};
use axum::http::header::{CACHE_CONTROL, HeaderValue};
use axum::http::{Method, StatusCode};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tower_http::set_header::SetResponseHeaderLayer;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{OpenApi as Document, RefOr, Response as Documented, Server};
use utoipa::{IntoResponses, OpenApi, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::error::{self, ApiError, documented};
use super::guard::guarded;
use super::pace::Pace;
use super::prices::{self, BadBody, BadRequest, Desk};
use super::{Parts, State, messages, overview};
use crate::auth::{Caller, Scope};
use crate::config::Config;
use crate::wire::ErrorCode;

/// The largest body, in bytes, but for those with prices.
const MAX_BODY_BYTES: usize = 16 * 1024;

/// The longest name of a user, in bytes: that of a token's `sub`.
const MAX_USER_BYTES: usize = 256;

/// The name of the key in the document.
const KEY: &str = "key";

/// Ends the connections of a user, and says how many there were on this replica. The edges do not know each other.
pub type Disconnect = Arc<dyn Fn(String) -> BoxFuture<'static, usize> + Send + Sync>;

#[derive(OpenApi)]
#[openapi(info(
    title = "tickcast",
    description = "Prices, and those who watch them, for back ends. Every operation asks for a key where the server has \
                   keys; without keys, for a caller on the same machine.",
))]
struct Described;

/// `/api` below the base path: the operations that this replica has by its role, and the document that describes them.
///
/// A group for each scope. What is in `routes!` is served and described at once, so the document cannot name what is not
/// there; a handler has what it takes and answers in its `#[utoipa::path]`.
pub(super) fn router(config: &Config, state: &Arc<State>, parts: Parts) -> Router {
    let Parts { publisher, disconnect, desk, .. } = parts;
    let pace = Arc::new(Pace::new(config.publishing.publish_rate));
    let read = OpenApiRouter::new()
        .routes(routes!(overview::status))
        .routes(routes!(overview::connections))
        .routes(routes!(prices::symbols))
        .routes(routes!(prices::prices))
        .routes(routes!(prices::price))
        .with_state(state.clone());
    let publish = OpenApiRouter::new().routes(routes!(prices::publish)).with_state(Desk { publisher, pace });
    let admin = OpenApiRouter::new()
        .routes(routes!(end_user))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(disconnect);

    let mut groups: Vec<(Option<Scope>, OpenApiRouter)> = vec![(None, read)];
    if config.publishing.role.has_changes() {
        if config.plan().http {
            groups.push((Some(Scope::Publish), publish));
        }
        groups.push((Some(Scope::Admin), admin));
    }
    let mut document = Described::openapi();
    let mut api = Router::new();
    for (scope, group) in groups {
        let (routes, described) = group.split_for_parts();
        document.merge(described);
        api = api.merge(guarded(routes, state.auth.clone(), scope));
    }
    if config.publishing.role.has_changes() {
        api = api.merge(messages::router(&state.auth, desk));
    }
    let document = complete(document, &config.base_path);
    let role = config.publishing.role;
    let api = api
        .route("/api/openapi.json", get(async move || Json(document.clone())))
        .method_not_allowed_fallback(async move |method: Method| {
            let detail = if role.has_changes() {
                format!("{method} is not allowed here: see /api/openapi.json")
            } else {
                format!(
                    "{method} is not allowed here: this replica has the role front, ask one with the role back or all"
                )
            };
            ApiError::new(StatusCode::METHOD_NOT_ALLOWED, ErrorCode::InvalidPayload, detail)
        })
        .route("/api/{*rest}", axum::routing::any(async move || nothing_here(role.has_changes())))
        .layer(SetResponseHeaderLayer::overriding(CACHE_CONTROL, HeaderValue::from_static("no-store")));
    if config.base_path.is_empty() { api } else { Router::new().nest(&config.base_path, api) }
}

fn nothing_here(has_changes: bool) -> ApiError {
    let why = if has_changes { "" } else { "; this replica has the role front, which changes nothing" };
    let detail = format!("there is no such operation: must be one of /api/openapi.json{why}");
    ApiError::new(StatusCode::NOT_FOUND, ErrorCode::InvalidPayload, detail)
}

/// In place of the Socket.IO endpoint where there is none.
pub(super) fn no_sockets(path: &str) -> Router {
    let here = async || {
        let detail = "this replica has the role back: clients must connect to one with the role front or all";
        ApiError::new(StatusCode::NOT_FOUND, ErrorCode::Unavailable, detail)
    };
    let any = axum::routing::any(here);
    Router::new()
        .route(path, any.clone())
        .route(&format!("{path}/"), any.clone())
        .route(&format!("{path}/{{*rest}}"), any)
}

/// What is said once for all operations.
fn complete(mut document: Document, base: &str) -> Document {
    document.info.version = env!("CARGO_PKG_VERSION").to_owned();
    document.servers = (!base.is_empty()).then(|| vec![Server::new(base)]);
    error::document(&mut document);
    let key = SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("X-API-Key")));
    document.components.get_or_insert_with(Default::default).add_security_scheme(KEY, key);
    document.security = Some(vec![SecurityRequirement::new(KEY, Vec::<String>::new()), SecurityRequirement::default()]);
    document
}

/// Of who may not use `/api`.
pub(super) struct Refusals;

impl IntoResponses for Refusals {
    fn responses() -> BTreeMap<String, RefOr<Documented>> {
        BTreeMap::from([
            ("401".into(), documented("There is no key, or a wrong one.")),
            ("403".into(), documented("The key is for something else, or, without keys, the caller is elsewhere.")),
        ])
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct EndUser {
    /// A token's `sub`, or what a client claims to be where the server asks for no tokens; in bytes.
    #[schema(min_length = 1, max_length = 256)]
    user_id: String,
}

#[derive(Serialize, ToSchema)]
struct Ended {
    /// Always true.
    ok: bool,
    /// How many connections there were on this replica.
    disconnected: usize,
}

/// Ends the connections of a user, on every replica.
#[utoipa::path(post, path = "/api/disconnect", tag = "users", request_body = EndUser,
    responses((status = 200, description = "They are ended", body = Ended), BadRequest, BadBody, Refusals))]
async fn end_user(
    Extract(disconnect): Extract<Disconnect>,
    Extension(Caller(caller)): Extension<Caller>,
    body: Result<Json<EndUser>, JsonRejection>,
) -> Result<impl IntoResponse, ApiError> {
    let Json(EndUser { user_id }) = body.map_err(|error| unreadable(&error, "{\"userId\": \"...\"}"))?;
    if user_id.is_empty() || user_id.len() > MAX_USER_BYTES {
        let bytes = user_id.len();
        return Err(ApiError::invalid(format!("userId has {bytes} bytes: must have 1 to {MAX_USER_BYTES}")));
    }
    let disconnected = disconnect(user_id.clone()).await;
    tracing::info!(caller, user = user_id, disconnected, "user disconnected");
    Ok(Json(Ended { ok: true, disconnected }))
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
