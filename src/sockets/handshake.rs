use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request};
use axum::http::header::{
    AUTHORIZATION, CONNECTION, FORWARDED, HeaderName, HeaderValue, ORIGIN, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION,
    UPGRADE,
};
use axum::http::{Extensions, HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use hyper::upgrade::OnUpgrade;
use socketioxide::SocketIo;

use super::gate::Gate;
use super::posts::watch_packets;
use super::query::Query;
use super::{Rooming, client_of};
use crate::net::{Closer, Upgrades};

/// The headers of a handshake that are of use after it: to the engine, and to those who ask who the client is.
const KEPT: [HeaderName; 9] = [
    SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_VERSION,
    UPGRADE,
    CONNECTION,
    ORIGIN,
    AUTHORIZATION,
    FORWARDED,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-request-id"),
];

/// Notes which connection is to carry the WebSocket of a session that began with polling: the session itself only
/// knows the connection of its handshake. And takes from handshakes what nobody needs, after the gate has let them in.
pub(super) async fn note_handshake(
    io: SocketIo<Rooming>,
    gate: Gate,
    upgrades: Upgrades,
    request: Request,
    next: Next,
) -> Response {
    let query = Query::of(request.uri());
    let session = query.session();
    if let Some(away) = session.and_then(|session| gate.turn_away(|| client_of(&io, session).is_some())) {
        return away;
    }
    let is_websocket = query.is_websocket();
    if let (true, Some(closer), Some(session)) = (is_websocket, request.extensions().get::<Closer>(), session) {
        upgrades.expect(session, closer);
    }
    let begins = session.is_none();
    if begins && let Err(refused) = gate.wait_for_feed().await {
        return *refused;
    }
    let admitted = match gate.admit(&request, begins) {
        Ok(session) => session,
        Err(refused) => return *refused,
    };
    let closer = request.extensions().get::<Closer>().filter(|_| is_websocket).cloned();
    let mut request = if is_websocket || begins { slim(request) } else { watch_packets(request, &gate.limits) };
    let Some(session) = admitted else { return next.run(request).await };
    request.extensions_mut().insert(Arc::downgrade(&session));
    match closer {
        // It ends with its connection. The engine may keep the handshake of one that was in no namespace for longer.
        Some(closer) => {
            closer.hold(session);
            let response = next.run(request).await;
            if response.status() != StatusCode::SWITCHING_PROTOCOLS {
                closer.release();
            }
            response
        }
        None => {
            request.extensions_mut().insert(session);
            next.run(request).await
        }
    }
}

/// A copy of a handshake without what nobody needs after it. The engine keeps it for as long as its session lives, and
/// as it came it would keep the whole buffer that it was read into: 8 kB.
fn slim(request: Request) -> Request {
    let (mut parts, body) = request.into_parts();
    let mut headers = HeaderMap::new();
    for name in &KEPT {
        for value in parts.headers.get_all(name) {
            // A copy: what was valid is so still.
            if let Ok(copy) = HeaderValue::from_bytes(value.as_bytes()) {
                headers.append(name, copy);
            }
        }
    }
    parts.headers = headers;
    if let Ok(uri) = parts.uri.to_string().parse() {
        parts.uri = uri;
    }
    let mut extensions = Extensions::new();
    if let Some(upgrade) = parts.extensions.remove::<OnUpgrade>() {
        extensions.insert(upgrade);
    }
    if let Some(closer) = parts.extensions.remove::<Closer>() {
        extensions.insert(closer);
    }
    if let Some(peer) = parts.extensions.remove::<ConnectInfo<SocketAddr>>() {
        extensions.insert(peer);
    }
    parts.extensions = extensions;
    Request::from_parts(parts, body)
}
