use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request};
use axum::http::header::{
    AUTHORIZATION, CONNECTION, FORWARDED, HeaderName, HeaderValue, ORIGIN, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION,
    UPGRADE,
};
use axum::http::{Extensions, HeaderMap, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::Response;
use hyper::upgrade::OnUpgrade;
use socketioxide::SocketIo;

use super::gate::Gate;
use super::posts::count_packets;
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

/// A request for a WebSocket.
pub(super) struct WebSocketRequest<'a> {
    /// The session that is to go on over it; none where it begins one.
    pub(super) session: Option<&'a str>,
}

impl<'a> WebSocketRequest<'a> {
    /// None where the address is that of another request.
    pub(super) fn of(uri: &'a Uri) -> Option<Self> {
        let value = |name| pairs(uri).find(|(key, _)| *key == name).map(|(_, value)| value);
        (value("transport") == Some("websocket")).then(|| Self { session: value("sid") })
    }
}

/// Notes which connection is to carry the WebSocket of a session that began with polling: the session itself only
/// knows the connection of its handshake. And takes from handshakes what nobody needs, after the gate has let them in.
pub(super) async fn note_handshake(
    io: SocketIo<Rooming>,
    gate: Gate,
    upgrades: Upgrades,
    request: Request,
    next: Next,
) -> Response {
    let named = pairs(request.uri()).find(|(name, _)| *name == "sid").map(|(_, session)| session);
    if let Some(away) = named.and_then(|session| gate.turn_away(|| client_of(&io, session).is_some())) {
        return away;
    }
    let websocket = WebSocketRequest::of(request.uri());
    let session = websocket.as_ref().and_then(|request| request.session);
    if let (Some(closer), Some(session)) = (request.extensions().get::<Closer>(), session) {
        upgrades.expect(session, closer);
    }
    let begins = session.is_none() && pairs(request.uri()).all(|(name, _)| name != "sid");
    if begins && let Err(refused) = gate.wait_for_feed().await {
        return *refused;
    }
    let admitted = match gate.admit(&request, begins) {
        Ok(session) => session,
        Err(refused) => return *refused,
    };
    let closer = request.extensions().get::<Closer>().filter(|_| websocket.is_some()).cloned();
    let mut request = if websocket.is_some() || begins { slim(request) } else { count_packets(request, &gate.limits) };
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

fn pairs(uri: &Uri) -> impl Iterator<Item = (&str, &str)> {
    uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fuzz_queries() {
        crate::fuzzing::fuzz("queries", |bytes| {
            let Ok(uri) = [b"/socket.io/?", bytes].concat().try_into() else { return };
            let (uri, text): (Uri, _) = (uri, String::from_utf8_lossy(bytes));
            let polled = crate::sockets::polls::session_polled(&uri);
            let websocket = WebSocketRequest::of(&uri);
            assert!(polled.is_none() || websocket.is_none(), "{text}");
            for session in [polled, websocket.and_then(|request| request.session)].into_iter().flatten() {
                assert!(text.contains(&format!("sid={session}")));
            }
            // The engine begins a session exactly where no part of the query begins so.
            let begins = pairs(&uri).all(|(name, _)| name != "sid");
            assert_eq!(begins, uri.query().unwrap_or_default().split('&').all(|part| !part.starts_with("sid=")));
            crate::auth::Credentials::read(&serde_json::Value::Null, &HeaderMap::new(), uri.query());
        });
    }

    #[test]
    fn only_a_request_for_a_websocket_is_one() {
        let session = |query: &str| {
            let uri: Uri = format!("/socket.io/?{query}").parse().unwrap();
            WebSocketRequest::of(&uri).map(|request| request.session.map(str::to_owned))
        };
        assert_eq!(session("EIO=4&transport=polling&sid=a"), None);
        assert_eq!(session("EIO=4&transport=websocket"), Some(None));
        assert_eq!(session("sid=a&EIO=4&transport=websocket&sid=b"), Some(Some("a".to_owned())));
        assert_eq!(session("xtransport=websocket"), None);
    }
}
