use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use socketioxide::adapter::Adapter;
use socketioxide::extract::SocketRef;
use tokio::sync::Notify;

use crate::auth::{Auth, Identity};
use crate::clock::Clock;
use crate::fanout::ClientId;
use crate::wire::{Failure, TokenExpiring, to_client as to};

/// How long it is slept at most: the clock that tokens go by may be set meanwhile.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// When the tokens of live connections expire. One list for all of them, so that none needs a timer of its own.
pub(super) struct Expiries<A: Adapter> {
    list: Mutex<List<A>>,
    /// There is an earlier one than that which is slept for.
    earlier: Notify,
    notice_ms: u64,
    leeway_ms: u64,
    clock: Clock,
}

struct List<A: Adapter> {
    due: BTreeMap<(u64, ClientId), Expiring<A>>,
    /// When what a client waits for is due.
    of: BTreeMap<ClientId, u64>,
}

struct Expiring<A: Adapter> {
    socket: SocketRef<A>,
    expires_at_ms: u64,
    /// Whether its client has been told that the end is near.
    told: bool,
}

enum Due<A: Adapter> {
    Notice { socket: SocketRef<A>, expires_in_ms: u64 },
    End(SocketRef<A>),
}

impl<A: Adapter> Expiries<A> {
    pub(super) fn new(auth: &Auth, clock: Clock) -> Self {
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let list = List { due: BTreeMap::new(), of: BTreeMap::new() };
        let (notice_ms, leeway_ms) = (millis(auth.notice()), millis(auth.leeway()));
        Self { list: Mutex::new(list), earlier: Notify::new(), notice_ms, leeway_ms, clock }
    }

    /// From now on this is the client's token.
    pub(super) fn set(&self, client: ClientId, socket: &SocketRef<A>, identity: &Identity) {
        let Some(expires_at_ms) = identity.expires_at_ms else { return };
        let told = self.notice_ms == 0;
        let due_ms = if told { self.end(expires_at_ms) } else { expires_at_ms.saturating_sub(self.notice_ms) };
        let mut list = self.lock();
        list.remove(client);
        list.insert(client, due_ms, Expiring { socket: socket.clone(), expires_at_ms, told });
        drop(list);
        self.earlier.notify_one();
    }

    /// The client has gone.
    pub(super) fn forget(&self, client: ClientId) {
        self.lock().remove(client);
    }

    /// Tells and ends clients when it is time, for as long as it is polled. `close` ends the connection of one that
    /// cannot be told.
    pub(super) async fn watch(&self, close: impl Fn(&SocketRef<A>)) {
        loop {
            let now_ms = self.clock.millis();
            while let Some((client, due)) = self.next_due(now_ms) {
                match due {
                    Due::Notice { socket, expires_in_ms } => {
                        // One that has no room for it has the end before it anyway.
                        socket.emit(to::TOKEN_EXPIRING, &*TokenExpiring { expires_in_ms }.encode()).ok();
                    }
                    Due::End(socket) => {
                        tracing::debug!(connection = client.0, "a token has expired: disconnecting");
                        let said = socket.emit(to::ERROR, &*Failure::token_expired().encode()).is_ok();
                        // On a full queue it closes nothing.
                        if !said || socket.clone().disconnect().is_err() {
                            close(&socket);
                        }
                    }
                }
            }
            let first_ms = self.lock().due.keys().next().map(|(due_ms, _)| due_ms.saturating_sub(now_ms));
            let pause = first_ms.map_or(LOOK_EVERY, |ms| LOOK_EVERY.min(Duration::from_millis(ms)));
            tokio::select! {
                () = tokio::time::sleep(pause), if first_ms.is_some() => {}
                () = self.earlier.notified() => {}
            }
        }
    }

    /// What is to be done first, if it is time. A notice leaves the end in the list.
    fn next_due(&self, now_ms: u64) -> Option<(ClientId, Due<A>)> {
        let mut list = self.lock();
        let &(due_ms, client) = list.due.keys().next()?;
        if due_ms > now_ms {
            return None;
        }
        let Expiring { socket, expires_at_ms, told } = list.remove(client)?;
        let end_ms = self.end(expires_at_ms);
        if told || now_ms >= end_ms {
            return Some((client, Due::End(socket)));
        }
        list.insert(client, end_ms, Expiring { socket: socket.clone(), expires_at_ms, told: true });
        Some((client, Due::Notice { socket, expires_in_ms: expires_at_ms.saturating_sub(now_ms) }))
    }

    fn end(&self, expires_at_ms: u64) -> u64 {
        expires_at_ms.saturating_add(self.leeway_ms)
    }

    // A std lock: held for a moment, and never across an await.
    fn lock(&self) -> MutexGuard<'_, List<A>> {
        self.list.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl<A: Adapter> List<A> {
    fn insert(&mut self, client: ClientId, due_ms: u64, expiring: Expiring<A>) {
        self.of.insert(client, due_ms);
        self.due.insert((due_ms, client), expiring);
    }

    fn remove(&mut self, client: ClientId) -> Option<Expiring<A>> {
        let due_ms = self.of.remove(&client)?;
        self.due.remove(&(due_ms, client))
    }
}
