use std::pin::pin;
use std::task::Poll;

use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::http::header::CONTENT_LENGTH;
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use socketioxide::adapter::Adapter;
use socketioxide::{ProtocolVersion, SocketIo};
use tokio::task::unconstrained;

use super::line::Line;
use super::query::Query;
use super::{Rooming, client_of};

/// Tells a client that polls when it can take ticks: while a poll of its own waits for something to answer with. What
/// is queued between two polls is old when the second comes.
pub(super) async fn note_poll(io: SocketIo<Rooming>, request: Request, next: Next) -> Response {
    let polling = if request.method() == Method::GET { Query::of(request.uri()).session_polled() } else { None };
    let line = polling.and_then(|session| client_of(&io, session)?.0.line());
    if let Some(line) = &line {
        line.begin_poll().await;
    }
    let response = match &line {
        Some(line) if line.is_retiring() => {
            let mut answer = pin!(unconstrained(next.run(request)));
            match futures_util::poll!(&mut answer) {
                Poll::Ready(response) => response,
                // There is nothing that it could be answered with but the end.
                Poll::Pending => {
                    line.end();
                    answer.await
                }
            }
        }
        Some(line) => answer(line, request, next).await,
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

/// The engine's answer to a poll, with all that is sent to the client at once: what is left would be old when the next poll
/// comes.
///
/// The engine answers a poll that waits with the first packet that comes, and one for which something waits with all that
/// is there by then. So it is asked once more when the fan-out is done.
async fn answer<A: Adapter>(line: &Line<A>, request: Request, next: Next) -> Response {
    // What the engine wants of a poll is in its address.
    let (uri, again) = (request.uri().clone(), next.clone());
    let is_open = line.is_open();
    // The engine takes packets until none is ready: to a task that has had its turn none is, past some hundred.
    let mut answer = pin!(unconstrained(next.run(request)));
    let (first, has_waited) = match futures_util::poll!(&mut answer) {
        Poll::Ready(first) => (first, false),
        Poll::Pending => (answer.await, true),
    };
    // The usual case where something waited for it: the fan-out was done before the engine was asked.
    if !has_waited && !is_open {
        return first;
    }
    if !(line.gather().await || has_waited) {
        return first;
    }
    // One that waits has taken nothing, and any other than 200 says that the session has ended: then the first is the last.
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = uri;
    match futures_util::poll!(pin!(unconstrained(again.run(request)))) {
        Poll::Ready(more) if first.status() == StatusCode::OK && more.status() == StatusCode::OK => {
            // What was queued for one client: it is bounded.
            match axum::body::to_bytes(more.into_body(), usize::MAX).await {
                Ok(more) => with(first, &more, line.socket.protocol()).await,
                Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
            }
        }
        _ => first,
    }
}

/// An answer to a poll, and behind what it carries the packet that ends the session, so that the client need not find
/// out.
async fn with_close(response: Response, protocol: ProtocolVersion) -> Response {
    let close: &[u8] = match protocol {
        ProtocolVersion::V4 => b"1:1",
        ProtocolVersion::V5 => b"1",
    };
    with(response, close, protocol).await
}

/// An answer to a poll, and more packets behind what it carries: all of them text, since the server sends nothing else.
async fn with(response: Response, more: &[u8], protocol: ProtocolVersion) -> Response {
    let (mut parts, body) = response.into_parts();
    // What was queued for one client: it is bounded.
    let Ok(packets) = axum::body::to_bytes(body, usize::MAX).await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let between: &[u8] = match protocol {
        ProtocolVersion::V5 if !packets.is_empty() && !more.is_empty() => b"\x1e",
        // Each says how long it is.
        ProtocolVersion::V4 | ProtocolVersion::V5 => b"",
    };
    let packets = [&packets, between, more].concat();
    parts.headers.insert(CONTENT_LENGTH, packets.len().into());
    Response::from_parts(parts, packets.into())
}
