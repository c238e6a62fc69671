use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::error::ApiError;
use crate::auth::Auth;
use crate::limits::Limits;
use crate::metrics::Metrics;

/// Counts a request, and answers one that is too many: in the form of failures of the API where it asks that. No limits:
/// it is free.
pub(super) async fn count(
    limits: Option<Arc<Limits>>,
    is_api: bool,
    auth: Arc<Auth>,
    request: Request,
    next: Next,
) -> Response {
    // Always there: the listener puts it into every request.
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    if let (Some(limits), Some(ConnectInfo(peer))) = (limits, peer) {
        let client = auth.client(peer.ip(), request.headers()).address;
        if let Err(refused) = limits.request(client) {
            tracing::info!(%client, reason = refused.message(), "request refused");
            return if is_api { ApiError::from(refused).into_response() } else { refused.into_response() };
        }
    }
    next.run(request).await
}

/// What was refused, or ended, by a limit; by its setting.
#[derive(Debug, Serialize)]
pub(super) struct Limited {
    /// `MAX_MESSAGES_PER_SECOND`
    messages: u64,
    /// `MAX_FRAMES_PER_SECOND`
    frames: u64,
    /// `MAX_CHATS_PER_SECOND`
    chats: u64,
    /// Clients that went on after that (`ABUSE_FACTOR`).
    abuse: u64,
    /// `MAX_SUBSCRIPTIONS`, `MAX_SYMBOLS_PER_REQUEST`
    subscriptions: u64,
    /// `MAX_ALERTS`, `MAX_ALERTS_TOTAL`
    alerts: u64,
    /// `MAX_CONNECTIONS`
    connections: u64,
    /// `MAX_CONNECTIONS_PER_IP`
    connections_per_ip: u64,
    /// `MAX_CONNECTS_PER_SECOND`
    connects: u64,
    /// `MAX_TCP_CONNECTIONS`
    tcp_connections: u64,
    /// `CORS_ORIGIN`
    origins: u64,
    /// `MAX_HTTP_REQUESTS_PER_SECOND`
    http_requests: u64,
    /// `CONNECT_TIMEOUT`
    connect_timeouts: u64,
    /// `HTTP_HEADER_TIMEOUT`
    header_timeouts: u64,
    /// `HTTP_BODY_TIMEOUT`
    body_timeouts: u64,
    /// `HTTP_IDLE_TIMEOUT`, as browsers and proxies let it happen all day: no sign of anything wrong.
    idle_timeouts: u64,
}

impl Limited {
    pub(super) fn of(metrics: &Metrics) -> Self {
        Self {
            messages: metrics.limited_messages.get(),
            frames: metrics.limited_frames.get(),
            chats: metrics.limited_chats.get(),
            abuse: metrics.limited_abuse.get(),
            subscriptions: metrics.limited_subscriptions.get(),
            alerts: metrics.limited_alerts.get(),
            connections: metrics.limited_connections.get(),
            connections_per_ip: metrics.limited_addresses.get(),
            connects: metrics.limited_connects.get(),
            tcp_connections: metrics.limited_tcp_connections.get(),
            origins: metrics.limited_origins.get(),
            http_requests: metrics.limited_requests.get(),
            connect_timeouts: metrics.namespace_timeouts.get(),
            header_timeouts: metrics.header_timeouts.get(),
            body_timeouts: metrics.body_timeouts.get(),
            idle_timeouts: metrics.idle_timeouts.get(),
        }
    }
}
