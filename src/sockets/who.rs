use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::Value;
use serde_json::value::RawValue;
use socketioxide::adapter::Adapter;
use socketioxide::extract::SocketRef;
use socketioxide::socket::DisconnectReason;

use super::client::Client;
use super::event::Responder;
use crate::auth::{Auth, Credentials, Denied, Identity};
use crate::fanout::{ClientId, Request};
use crate::wire::{ErrorCode, Failure, Refresh, from_client as from, short};

/// Who one client is: its token's owner, a guest, or whom it claims to be.
pub(super) struct Who(Mutex<Arc<Identity>>);

impl Who {
    pub(super) fn new(identity: Identity) -> Self {
        Self(Mutex::new(Arc::new(identity)))
    }

    /// Who it is now.
    pub(super) fn now(&self) -> Arc<Identity> {
        self.lock().clone()
    }

    /// From now on it is this.
    fn set(&self, identity: Identity) {
        *self.lock() = Arc::new(identity);
    }

    /// Refuses a room that its token does not allow.
    pub(super) fn check_room(&self, room: &str) -> Result<(), Failure> {
        if self.lock().rights.rooms.allows(room) {
            return Ok(());
        }
        Err(Failure::new(ErrorCode::Forbidden, format!("room \"{}\" is not allowed by your token", short(room))))
    }

    fn lock(&self) -> MutexGuard<'_, Arc<Identity>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// Who connects, by what came with its handshake.
pub(super) fn identify<A: Adapter>(auth: &Auth, socket: &SocketRef<A>, shown: &Value) -> Result<Identity, Denied> {
    let handshake = socket.req_parts();
    auth.identify(&Credentials::read(shown, &handshake.headers, handshake.uri.query()))
}

/// The room of everybody who is this user. People cannot name it: theirs begin otherwise.
pub(super) fn user_room(user: &str) -> String {
    format!("user:{user}")
}

/// The id of the request that a connection began with, for the log.
fn request_id<A: Adapter>(socket: &SocketRef<A>) -> Option<&str> {
    socket.req_parts().headers.get("x-request-id").and_then(|id| id.to_str().ok())
}

/// One line for a connection that is refused.
pub(super) fn log_refused<A: Adapter>(client: ClientId, socket: &SocketRef<A>, denied: &Denied) {
    let (connection, request) = (client.0, request_id(socket));
    tracing::info!(connection, request, code = %denied, reason = denied.reason(), "connection refused");
}

/// One line for a connection that stands.
pub(super) fn log_connected<A: Adapter>(client: ClientId, socket: &SocketRef<A>) {
    let (connection, request) = (client.0, request_id(socket));
    tracing::debug!(connection, request, transport = ?socket.transport_type(), "connected");
}

/// One line for one that has ended.
pub(super) fn log_gone(client: ClientId, reason: DisconnectReason) {
    tracing::debug!(connection = client.0, %reason, "disconnected");
}

impl<A: Adapter> Client<A> {
    /// A new token. Its rights count from now on; the answer comes when nothing else arrives any more.
    pub(super) fn refresh(&self, responder: Responder<A>, payload: Option<&RawValue>) {
        let fresh = Refresh::parse(payload)
            .and_then(|refresh| self.shared.auth.refresh(&self.who.now(), &refresh.token))
            .inspect_err(|failure| {
                tracing::info!(connection = self.id.0, code = failure.code.as_str(), "refresh refused");
            });
        let identity = match fresh {
            Ok(identity) => identity,
            Err(failure) => return self.refuse(responder, from::REFRESH, failure),
        };
        let now_ms = self.shared.clock.millis();
        let expires_in_ms = identity.expires_at_ms.unwrap_or(now_ms).saturating_sub(now_ms);
        let symbols = identity.rights.symbols.clone();
        let socket = responder.socket().clone();
        if self.ask(from::REFRESH, Request::Allow { symbols, expires_in_ms }, None, responder) {
            self.settle_rooms(&socket, &identity);
            self.expiries.set(self.id, &socket, &identity);
            self.who.set(identity);
        }
    }
}
