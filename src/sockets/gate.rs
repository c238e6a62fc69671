use std::net::SocketAddr;
use std::sync::{Arc, Weak};

use axum::extract::{ConnectInfo, Request};
use axum::http::StatusCode;
use axum::http::header::ORIGIN;
use axum::response::{IntoResponse, Response};
use socketioxide::adapter::Adapter;
use socketioxide::extract::SocketRef;

use crate::auth::Auth;
use crate::limits::{Limits, Refused, Session};

/// Who may come in, and whether there is a place.
#[derive(Clone)]
pub struct Gate {
    /// Who may do what.
    pub auth: Arc<Auth>,
    /// How much everybody may.
    pub limits: Arc<Limits>,
}

impl Gate {
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
        admitted.map_err(|refused: Refused| {
            tracing::info!(reason = refused.message(), "handshake refused");
            Box::new(refused.into_response())
        })
    }
}

/// The session of a client, as the gate let it in; none where its connection has ended.
pub(super) fn session_of<A: Adapter>(socket: &SocketRef<A>) -> Option<Arc<Session>> {
    socket.req_parts().extensions.get::<Weak<Session>>()?.upgrade()
}
