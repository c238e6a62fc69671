use std::pin::pin;
use std::task::Poll;

use axum::body::HttpBody;
use axum::extract::Request;
use axum::http::header::CONTENT_LENGTH;
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use socketioxide::{ProtocolVersion, SocketIo};

use super::{Rooming, client_of};

/// Tells a client that polls when it can take ticks: while a poll of its own waits for something to answer with. What
/// is queued between two polls is old when the second comes.
pub(super) async fn note_poll(io: SocketIo<Rooming>, request: Request, next: Next) -> Response {
    let polling = if request.method() == Method::GET { session_polled(request.uri()) } else { None };
    let line = polling.and_then(|session| client_of(&io, session)?.0.line());
    if let Some(line) = &line {
        line.begin_poll().await;
    }
    let retiring = line.as_ref().filter(|line| line.is_retiring());
    let response = match retiring {
        Some(line) => {
            let mut answer = pin!(next.run(request));
            match futures_util::poll!(&mut answer) {
                Poll::Ready(response) => response,
                // There is nothing that it could be answered with but the end.
                Poll::Pending => {
                    line.end();
                    answer.await
                }
            }
        }
        None => next.run(request).await,
    };
    let Some(line) = line else { return response };
    let bytes = response.body().size_hint().exact().unwrap_or(0);
    line.end_poll(usize::try_from(bytes).unwrap_or(usize::MAX));
    if line.is_retiring() && response.status() == StatusCode::OK {
        line.end();
        return with_close(response, line.socket.protocol()).await;
    }
    response
}

/// An answer to a poll, and behind what it carries the packet that ends the session, so that the client need not find
/// out.
async fn with_close(response: Response, protocol: ProtocolVersion) -> Response {
    let (mut parts, body) = response.into_parts();
    // What was queued for one client: it is bounded.
    let Ok(packets) = axum::body::to_bytes(body, usize::MAX).await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let close: &[u8] = match protocol {
        ProtocolVersion::V4 => b"1:1",
        ProtocolVersion::V5 if packets.is_empty() => b"1",
        ProtocolVersion::V5 => b"\x1e1",
    };
    let packets = [&packets, close].concat();
    parts.headers.insert(CONTENT_LENGTH, packets.len().into());
    Response::from_parts(parts, packets.into())
}

/// The session that a request for this address polls.
pub(super) fn session_polled(uri: &Uri) -> Option<&str> {
    let pairs = || uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    let value = |name| pairs().find(|(key, _)| *key == name).map(|(_, value)| value);
    (value("transport") == Some("polling")).then(|| value("sid")).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_poll_of_a_session_is_one() {
        let session = |query: &str| {
            let uri: Uri = format!("/socket.io/?{query}").parse().unwrap();
            session_polled(&uri).map(str::to_owned)
        };
        assert_eq!(session("EIO=4&transport=polling&sid=a"), Some("a".to_owned()));
        assert_eq!(session("EIO=4&transport=polling"), None);
        assert_eq!(session("EIO=4&transport=websocket&sid=a"), None);
    }
}
