use std::sync::Arc;

use axum::Router;
use axum::http::header::{CACHE_CONTROL, HeaderValue};
use axum::routing::get;
use tower_http::set_header::SetResponseHeaderLayer;

use super::health::{health, ready};
use super::scrape::metrics;
use super::stats::stats;
use super::{For, State};

/// `/health`, `/ready`, `/stats` and `/metrics`, below the base path.
pub(super) fn router(base: &str, state: Arc<State>, whom: For) -> Router {
    let path = format!("{base}/metrics");
    let counted = if whom == For::Public { Router::new() } else { Router::new().route(&path, get(metrics)) };
    counted
        .route(&format!("{base}/health"), get(health))
        .route(&format!("{base}/ready"), get(ready))
        .route(&format!("{base}/stats"), get(stats))
        .layer(SetResponseHeaderLayer::overriding(CACHE_CONTROL, HeaderValue::from_static("no-store")))
        .with_state(state)
}
