use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use socketioxide::adapter::Adapter;
use socketioxide::extract::SocketRef;
use socketioxide::{ProtocolVersion, SocketIo};
use tokio::sync::Notify;

use super::{Rooming, Shared, client_of};
use crate::limits::Session;
use crate::net::Closer;

/// How often it is looked for those who have been in no namespace for too long; more often where that is a short time.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Sessions that are in no namespace: refused there, or gone from it. The engine would keep them for as long as they
/// answer its pings; what its own timeout ends are only those that never asked.
pub(super) struct Absent {
    /// Each session stands here once, and not for longer than the timeout.
    list: Mutex<Vec<Listed>>,
    timeout: Duration,
    /// There is one, after there was none.
    first: Notify,
}

struct Listed {
    /// Does not keep its place.
    session: Weak<Session>,
    id: String,
    protocol: ProtocolVersion,
    /// What carries its WebSocket, where it has one.
    connection: Option<Closer>,
}

impl Absent {
    pub(super) fn new(timeout: Duration) -> Self {
        Self { list: Mutex::default(), timeout, first: Notify::new() }
    }

    /// This session is in no namespace from now on, until it is in one.
    pub(super) fn add<A: Adapter>(&self, session: &Arc<Session>, shared: &Shared, socket: &SocketRef<A>) {
        if !session.leave() {
            return;
        }
        let (id, protocol, connection) = (socket.id.to_string(), socket.protocol(), shared.connection(socket));
        let mut list = self.lock();
        list.push(Listed { session: Arc::downgrade(session), id, protocol, connection });
        if list.len() == 1 {
            self.first.notify_one();
        }
    }

    /// Ends sessions when it is time, for as long as it is polled.
    pub(super) async fn watch(&self, io: &SocketIo<Rooming>, shared: &Shared) {
        let pause = LOOK_EVERY.min(self.timeout / 4);
        loop {
            if self.lock().is_empty() {
                self.first.notified().await;
            }
            tokio::time::sleep(pause).await;
            self.lock().retain(|listed| self.look(listed, io, shared));
        }
    }

    /// True where one has to be looked at again.
    fn look(&self, listed: &Listed, io: &SocketIo<Rooming>, shared: &Shared) -> bool {
        let Some(session) = listed.session.upgrade() else { return false };
        if session.is_back(|| client_of(io, &listed.id).is_some_and(|(client, _)| !client.has_gone())) {
            return false;
        }
        if !session.remaining(self.timeout).is_zero() {
            return true;
        }
        tracing::debug!("connection ended: it was in no namespace for too long");
        let connection = listed.connection.clone().or_else(|| shared.upgrades.find(&listed.id));
        match connection {
            Some(connection) => connection.close(),
            None => shared.ends.add(listed.id.clone(), listed.protocol),
        }
        shared.metrics.namespace_timeouts.inc();
        false
    }

    // A std lock: held for a moment, and never across an await.
    fn lock(&self) -> MutexGuard<'_, Vec<Listed>> {
        self.list.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
