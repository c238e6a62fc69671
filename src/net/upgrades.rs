use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, Weak};

use super::connection::{Closer, Shared};

/// Which connection carries the WebSocket of which session that began with polling, by session id.
#[derive(Clone, Default)]
pub struct Upgrades(Arc<Registry>);

/// Is told the id of a session.
type Listener = Box<dyn Fn(&str) + Send + Sync>;

#[derive(Default)]
struct Registry {
    connections: Mutex<HashMap<String, Weak<Shared>>>,
    listener: OnceLock<Listener>,
}

impl Upgrades {
    /// Has `listener` called with the id of each session whose client ends its upgrade: from then on everything for it
    /// goes over the WebSocket. Called while bytes are read, so it must not wait. Only the first listener counts.
    pub fn on_end(&self, listener: impl Fn(&str) + Send + Sync + 'static) {
        self.0.listener.set(Box::new(listener)).ok();
    }

    /// Says that this connection is to carry the session's WebSocket, if its client ends its upgrade over it.
    pub fn expect(&self, session: &str, closer: &Closer) {
        *closer.0.upgrade() = Some((session.to_owned(), self.clone()));
    }

    /// The connection that carries this session's WebSocket.
    pub fn find(&self, session: &str) -> Option<Closer> {
        self.lock().get(session)?.upgrade().map(Closer)
    }

    /// The client of a session says over this connection that it has upgraded. A second one is not believed: nor does
    /// the engine.
    pub(super) fn ended(&self, session: &str, connection: &Arc<Shared>) {
        let mut connections = self.lock();
        if connections.get(session).is_some_and(|known| known.strong_count() > 0) {
            return;
        }
        connections.insert(session.to_owned(), Arc::downgrade(connection));
        drop(connections);
        if let Some(listener) = self.0.listener.get() {
            listener(session);
        }
    }

    pub(super) fn forget(&self, session: &str, gone: &Arc<Shared>) {
        let mut connections = self.lock();
        if connections.get(session).is_some_and(|known| std::ptr::eq(known.as_ptr(), Arc::as_ptr(gone))) {
            connections.remove(session);
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Weak<Shared>>> {
        self.0.connections.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl fmt::Debug for Upgrades {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Upgrades").field(&self.lock().len()).finish()
    }
}
