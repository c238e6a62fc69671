use axum::body::HttpBody;
use axum::extract::Request;
use axum::http::{Method, Uri};
use axum::middleware::Next;
use axum::response::Response;
use socketioxide::SocketIo;

use super::{Rooming, client_of};

/// Tells a client that polls when it can take ticks: while a poll of its own waits for something to answer with. What
/// is queued between two polls is old when the second comes.
pub(super) async fn note_poll(io: SocketIo<Rooming>, request: Request, next: Next) -> Response {
    let polling = if request.method() == Method::GET { session_polled(request.uri()) } else { None };
    let line = polling.and_then(|session| client_of(&io, session)?.0.line());
    if let Some(line) = &line {
        line.begin_poll().await;
    }
    let response = next.run(request).await;
    if let Some(line) = line {
        let bytes = response.body().size_hint().exact().unwrap_or(0);
        line.end_poll(usize::try_from(bytes).unwrap_or(usize::MAX));
    }
    response
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
