use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};

use super::error::ApiError;
use crate::auth::{Auth, Refused, Scope};
use crate::wire::ErrorCode;

/// Lets only those to these routes who may do this; without a scope, who has any key. Who is let through stands in the request's extensions as a
/// [`crate::auth::Caller`].
pub(super) fn guarded<S>(routes: Router<S>, auth: Arc<Auth>, scope: impl Into<Option<Scope>>) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    let scope = scope.into();
    routes.route_layer(middleware::from_fn(move |request, next| admit(auth.clone(), scope, request, next)))
}

async fn admit(auth: Arc<Auth>, scope: Option<Scope>, mut request: Request, next: Next) -> Response {
    // Always there: the listener puts it into every request.
    let Some(&ConnectInfo(peer)) = request.extensions().get::<ConnectInfo<SocketAddr>>() else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    match auth.admit(peer.ip(), request.headers(), scope) {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(refused) => {
            let error = problem(&refused, scope);
            let client = auth.client(peer.ip(), request.headers()).address;
            tracing::info!(%client, status = error.status().as_u16(), reason = error.detail(), "request refused");
            error.into_response()
        }
    }
}

pub(super) fn problem(refused: &Refused, scope: Option<Scope>) -> ApiError {
    let unauthorized = |detail: &str| ApiError::new(StatusCode::UNAUTHORIZED, ErrorCode::Unauthorized, detail);
    let forbidden = |detail: String| ApiError::new(StatusCode::FORBIDDEN, ErrorCode::Forbidden, detail);
    match refused {
        Refused::Missing => unauthorized("X-API-Key is missing: must be a key of this server"),
        Refused::Wrong => unauthorized("X-API-Key is not valid: must be a key of this server"),
        Refused::OutOfScope(name) => forbidden(format!(
            "the key \"{name}\" is not for this: must have the scope {}",
            scope.map_or("any", Scope::as_str)
        )),
        Refused::Remote => forbidden(
            "this server has no API keys, so only who is on its machine may do this (API_KEY, API_KEYS_FILE, or \
             API_OPEN=true, change that)"
                .into(),
        ),
        Refused::Page => forbidden(
            "this server has no API keys, so only who asks for it as localhost may do this, and pages of its own machine \
             (see the Host and Origin headers)"
                .into(),
        ),
    }
}
