use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use axum::extract::{ConnectInfo, Request};
use axum::http::StatusCode;
use axum::http::header::ORIGIN;
use axum::response::{IntoResponse, Response};
use socketioxide::adapter::Adapter;
use socketioxide::extract::SocketRef;
use tokio::sync::watch;

use crate::auth::Auth;
use crate::limits::{Limits, Refused, Session};
use crate::price::{Feed, FeedState};

/// How long one that comes to a replica that has just begun waits for it: mostly some milliseconds are left. Longer than that,
/// another replica is the better one.
const WAIT_FOR_FEED: Duration = Duration::from_secs(1);

/// Who may come in, and whether there is a place.
#[derive(Clone)]
pub struct Gate {
    /// Who may do what.
    pub auth: Arc<Auth>,
    /// How much everybody may.
    pub limits: Arc<Limits>,
    /// How the feed is.
    pub feed: watch::Receiver<Feed>,
}

impl Gate {
    /// Waits until there is something to be had: a client that comes before the bus is followed would be told that there is no
    /// epoch, and forget how far it has come.
    pub(super) async fn wait_for_feed(&self) -> Result<(), Box<Response>> {
        // Where nobody is let in any more, nobody waits for it.
        if self.limits.is_draining() || has_begun(self.feed.clone()).await {
            Ok(())
        } else {
            Err(refuse(&Limits::starting()))
        }
    }

    /// While this replica drains, a request of a session that it does not have (any more) is for another one: a proxy
    /// that is told so asks there.
    pub(super) fn turn_away(&self, knows: impl FnOnce() -> bool) -> Option<Response> {
        (self.limits.is_draining() && !knows()).then(|| Limits::draining().into_response())
    }

    /// Lets a request through, or answers it. One that begins a session gets it.
    pub(super) fn admit(&self, request: &Request, begins: bool) -> Result<Option<Arc<Session>>, Box<Response>> {
        // Always there: the listener puts it into every request. The server's own, inside, have none.
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
        let origin = request.headers().get(ORIGIN).map(|origin| origin.as_bytes());
        let admitted = match (begins, peer) {
            (false, _) => self.limits.origin(origin).map(|()| None),
            (true, None) => return Err(Box::new(StatusCode::INTERNAL_SERVER_ERROR.into_response())),
            (true, Some(ConnectInfo(peer))) => {
                let client = self.auth.client(peer.ip(), request.headers());
                self.limits.admit(client.address, origin).map(Some)
            }
        };
        admitted.map_err(|refused| refuse(&refused))
    }
}

/// Waits for the feed, and says whether that was worth it.
async fn has_begun(mut feed: watch::Receiver<Feed>) -> bool {
    let begun = feed.wait_for(|feed| feed.state != FeedState::Starting);
    // Where nobody says anything of it any more, the server is about to end, and says so itself.
    tokio::time::timeout(WAIT_FOR_FEED, begun).await.is_ok()
}

fn refuse(refused: &Refused) -> Box<Response> {
    tracing::info!(reason = refused.message(), "handshake refused");
    Box::new(refused.clone().into_response())
}

/// The session of a client, as the gate let it in; none where its connection has ended.
pub(super) fn session_of<A: Adapter>(socket: &SocketRef<A>) -> Option<Arc<Session>> {
    socket.req_parts().extensions.get::<Weak<Session>>()?.upgrade()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(state: FeedState) -> Feed {
        Feed { state, reason: String::new() }
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_early_waits_and_not_for_ever() {
        let (sender, receiver) = watch::channel(feed(FeedState::Starting));
        let begun = tokio::time::Instant::now();
        assert!(!has_begun(receiver.clone()).await);
        assert_eq!(begun.elapsed(), WAIT_FOR_FEED);

        let begin = async {
            tokio::time::sleep(WAIT_FOR_FEED / 2).await;
            sender.send_replace(feed(FeedState::Live));
        };
        let (is_there, ()) = tokio::join!(has_begun(receiver.clone()), begin);
        assert!(is_there);
        assert_eq!(begun.elapsed(), WAIT_FOR_FEED * 3 / 2);
        // Without Redis it goes on by itself, and has an epoch for that.
        sender.send_replace(feed(FeedState::Degraded));
        assert!(has_begun(receiver).await);
    }
}
