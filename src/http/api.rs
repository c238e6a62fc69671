use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::DefaultBodyLimit;
use axum::extract::rejection::JsonRejection;
use axum::http::header::{CACHE_CONTROL, HeaderValue};
use axum::http::{Method, StatusCode};
use axum::routing::get;
use axum::{Json, Router};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use tower_http::set_header::SetResponseHeaderLayer;
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{OpenApi as Document, RefOr, Response as Documented, Server};
use utoipa::{IntoResponses, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::error::{self, ApiError, brief, documented, documented_wait};
use super::guard::guarded;
use super::pace::Pace;
use super::prices::{self, Outlet};
use super::{For, Parts, State, charts, messages, operations, overview};
use crate::auth::Scope;
use crate::config::Config;
use crate::wire::{ErrorCode, from_object};

/// The names of the key and of the token in the document.
const KEY: &str = "key";
const TOKEN: &str = "token";

#[derive(OpenApi)]
#[openapi(info(
    title = "tickcast",
    description = "Prices, and those who watch them, for back ends. Every operation asks for a key where the server has \
                   keys; without keys, for a caller on the same machine.",
))]
struct Described;

/// `/api` and `/back` below the base path: the operations that this replica has by its role, and the document that describes them.
///
/// A group for each scope. What is in `routes!` is served and described at once, so the document cannot name what is not
/// there; a handler has what it takes and answers in its `#[utoipa::path]`.
pub(super) fn router(config: &Config, state: &Arc<State>, parts: Parts, whom: For) -> Router {
    let Parts { publisher, desk, .. } = parts;
    let pace = Arc::new(Pace::new(config.publishing.publish_rate));
    let read = OpenApiRouter::new()
        .routes(routes!(overview::status))
        .routes(routes!(overview::connections))
        .routes(routes!(prices::symbols))
        .routes(routes!(prices::prices))
        .routes(routes!(prices::price))
        .with_state(state.clone());
    let past = OpenApiRouter::new()
        .routes(routes!(charts::candles))
        .routes(routes!(charts::history))
        .with_state(state.clone());
    let publish = OpenApiRouter::new().routes(routes!(prices::publish)).with_state(Outlet { publisher, pace });
    let look = OpenApiRouter::new()
        .routes(routes!(messages::find_user))
        .routes(routes!(messages::list_room))
        .with_state(desk.clone());
    let body = DefaultBodyLimit::max(messages::MAX_BODY_BYTES);
    let tell = OpenApiRouter::new()
        .routes(routes!(messages::tell_user))
        .routes(routes!(messages::tell_room))
        .routes(routes!(messages::chat))
        .layer(body)
        .with_state(desk.clone());
    let helm = operations::Helm { state: state.clone(), messages: desk.messages.clone() };
    let end = OpenApiRouter::new().routes(routes!(messages::end_user)).layer(body).with_state(desk);
    let drained = OpenApiRouter::new().routes(routes!(operations::drain)).layer(body).with_state(helm);
    let operations = OpenApiRouter::new().routes(routes!(operations::operations)).with_state(state.clone());

    let role = config.publishing.role;
    let all = [
        (None, read, false),
        (Some(Scope::Message), look, false),
        (Some(Scope::Publish), publish, true),
        (Some(Scope::Message), tell, true),
        (Some(Scope::Admin), end.merge(drained), true),
    ];
    let here = |scope: Option<Scope>, changes: bool| {
        let is_admin = scope == Some(Scope::Admin);
        let whose = match whom {
            For::All => true,
            For::Public => !is_admin,
            For::Admin => is_admin,
        };
        whose && (role.has_changes() || !changes)
    };
    let mut groups: Vec<(Option<Scope>, OpenApiRouter)> = Vec::new();
    for (scope, group, changes) in all {
        if here(scope, changes) && (scope != Some(Scope::Publish) || config.plan().http) {
            groups.push((scope, group));
        }
    }
    // On every listener: the page that shows it is on the public one.
    groups.push((Some(Scope::Admin), operations));
    let mut document = Described::openapi();
    let mut api = Router::new();
    for (scope, group) in groups {
        let (routes, described) = group.split_for_parts();
        document.merge(described);
        api = api.merge(guarded(routes, state.auth.clone(), scope));
    }
    if whom != For::Admin {
        let (routes, described) = past.split_for_parts();
        document.merge(described);
        api = api.merge(charts::readable(routes, state.auth.clone()));
    }
    let document = complete(document, &config.base_path);
    let nowhere = axum::routing::any(async move || nothing_here(role.has_changes()));
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
        .route("/api/{*rest}", nowhere.clone())
        .route("/back/{*rest}", nowhere)
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
    let token = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build());
    let components = document.components.get_or_insert_with(Default::default);
    components.add_security_scheme(KEY, key);
    components.add_security_scheme(TOKEN, token);
    document.security = Some(vec![SecurityRequirement::new(KEY, Vec::<String>::new()), SecurityRequirement::default()]);
    document
}

/// Of who may not use the API, or not so much.
pub(super) struct Refusals;

impl IntoResponses for Refusals {
    fn responses() -> BTreeMap<String, RefOr<Documented>> {
        BTreeMap::from([
            ("401".into(), documented("There is no key, or a wrong one.")),
            ("403".into(), documented("The key is for something else, or, without keys, the caller is elsewhere.")),
            ("429".into(), documented_wait("It is too much for the time.")),
        ])
    }
}

/// A body that should be a JSON object.
pub(super) type Body = Result<Json<Box<RawValue>>, JsonRejection>;

/// Reads the fields of a body; `form` is what it must be.
///
/// # Errors
/// It cannot be taken: too large, not JSON by its header, or of another form.
pub(super) fn read_fields<T: DeserializeOwned>(body: &Body, form: &str) -> Result<T, ApiError> {
    let json = match body {
        Ok(Json(json)) => json.get(),
        Err(error) => {
            let detail = format!("{}: must be {form}", brief(&error.body_text()));
            return Err(match error.status() {
                status @ (StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNSUPPORTED_MEDIA_TYPE) => {
                    ApiError::new(status, ErrorCode::InvalidPayload, detail)
                }
                _ => ApiError::invalid(detail),
            });
        }
    };
    let unreadable = |why| ApiError::invalid(format!("the body cannot be read: {why}: must be {form}"));
    from_object(json).map_err(|error| unreadable(brief(&error)))
}
