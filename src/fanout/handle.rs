use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use serde_json::value::RawValue;
use tokio::sync::{Notify, mpsc, oneshot};

use crate::metrics::Queues;
use crate::net::Lane;
use crate::pattern::Patterns;
use crate::wire::{ChartRequest, Failure, Subscribe, Unsubscribe};

/// Requests of clients that may wait for a shard of the fan-out. One that finds no room is answered with
/// `unavailable`.
const COMMANDS_IN_FLIGHT: usize = 16_384;

/// Names one connection of one client; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId(pub u64);

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It is on its way.
    Done,
    /// It waits, behind what the client has not taken yet.
    Waits,
    /// There was no room for it.
    Dropped,
}

/// The way to one client. Nothing here waits.
pub trait Link: Send + Sync + 'static {
    /// Where frames may be written past its queue; none while there is no such way. Once there is, it is the only one.
    fn lane(&self) -> Option<Lane>;
    /// Takes the client's readiness for ticks through its queue: true at most once for each time that it became ready.
    fn take_ready(&self) -> bool;
    /// Queues a tick for a client that was ready; false if there is no room. `has_more`: another may follow at once.
    fn deliver(&self, event: &str, body: &RawValue, has_more: bool) -> bool;
    /// Sends it a message, which may not be left out.
    fn send(&self, event: &str, body: &RawValue) -> Sent;
    /// Sends it what belongs to the answer before it, of whatever size: who could never be given all of an answer would
    /// come back for it for ever.
    fn send_on(&self, event: &str, body: &RawValue) -> Sent;
    /// How many messages it was not sent because there was no room, and the event of the last; told once.
    fn take_dropped(&self) -> Option<(u32, String)>;
    /// Ends its connection.
    fn close(&self);
}

/// The way back to whoever sent one request.
pub trait Reply: Send + 'static {
    /// True where the client gave a callback.
    fn by_callback(&self) -> bool;
    /// Sends the answer, by callback or as an event.
    fn send(self: Box<Self>, answer: Result<Box<RawValue>, Failure>) -> Sent;
}

/// What a client asks of the fan-out.
#[derive(Debug)]
pub enum Request {
    /// More ticks.
    Subscribe(Subscribe),
    /// Fewer ticks.
    Unsubscribe(Unsubscribe),
    /// Candles.
    Follow(ChartRequest),
    /// No more of them.
    Unfollow(ChartRequest),
    /// From now on these symbols alone, by a new token.
    Allow {
        /// Which ones.
        symbols: Patterns,
        /// How long the token lives, in ms: for the answer.
        expires_in_ms: u64,
    },
}

pub(super) enum Command {
    Join(ClientId, Arc<dyn Link>, Patterns),
    Request(ClientId, Request, Box<dyn Reply>),
    /// With whoever waits for it to be done.
    Retire(ClientId, oneshot::Sender<()>),
    Leave(ClientId),
}

/// Clients that somebody has to look after: something waits for them, or they can take more. Bounded by how many there
/// are.
#[derive(Debug, Default)]
pub(super) struct Calls {
    /// With whoever waits for it to be done.
    clients: Mutex<HashMap<ClientId, Vec<oneshot::Sender<()>>>>,
    notify: Notify,
}

impl Calls {
    fn call(&self, client: ClientId, done: Option<oneshot::Sender<()>>) {
        let mut clients = self.clients.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let new = !clients.contains_key(&client);
        clients.entry(client).or_default().extend(done);
        drop(clients);
        if new {
            self.notify.notify_one();
        }
    }

    /// Waits until somebody called, and returns for whom, with those to be told when it is done.
    pub(super) async fn next(&self) -> HashMap<ClientId, Vec<oneshot::Sender<()>>> {
        loop {
            let clients = std::mem::take(&mut *self.clients.lock().unwrap_or_else(|poisoned| poisoned.into_inner()));
            if !clients.is_empty() {
                return clients;
            }
            self.notify.notified().await;
        }
    }
}

#[derive(Clone)]
struct ShardHandle {
    commands: mpsc::Sender<Command>,
    calls: Arc<Calls>,
}

/// How the edge tells the fan-out about clients. What one client sends through it takes effect in that order.
#[derive(Clone)]
pub struct Handle {
    shards: Arc<[ShardHandle]>,
}

/// Room for a [`Handle::place`]'d client to join without waiting.
pub struct Place<'a>(mpsc::Permit<'a, Command>, ClientId);

impl Place<'_> {
    /// The client has connected, and may get these symbols.
    pub fn join(self, link: Arc<dyn Link>, allowed: Patterns) {
        self.0.send(Command::Join(self.1, link, allowed));
    }
}

impl Handle {
    /// Waits until there is room for a client to join; none once the fan-out has ended.
    pub async fn place(&self, client: ClientId) -> Option<Place<'_>> {
        self.shard(client).commands.reserve().await.ok().map(|permit| Place(permit, client))
    }

    /// Hands on a request. Gives the way back if the fan-out is too far behind, or has ended.
    ///
    /// # Errors
    /// The reply, for the caller to say so.
    pub fn request(&self, client: ClientId, request: Request, reply: Box<dyn Reply>) -> Result<(), Box<dyn Reply>> {
        self.shard(client).commands.try_send(Command::Request(client, request, reply)).map_err(|error| {
            match error.into_inner() {
                Command::Request(_, _, reply) => reply,
                Command::Join(..) | Command::Retire(..) | Command::Leave(_) => {
                    unreachable!("it was a request that was sent")
                }
            }
        })
    }

    /// Has a client looked after: a message waits for it, or it can take ticks that it could not take before.
    pub fn call(&self, client: ClientId) {
        self.shard(client).calls.call(client, None);
    }

    /// Has a client looked after; ends when that is done, and all that was on its way to the client before, or when the
    /// fan-out has ended.
    pub async fn attended(&self, client: ClientId) {
        let (done, told) = oneshot::channel();
        let shard = self.shard(client);
        shard.calls.call(client, Some(done));
        tokio::select! {
            // An error says the same: who is done lets go of the other end.
            _ = told => {}
            () = shard.commands.closed() => {}
        }
    }

    /// A client is about to be closed: it gets what waits for it and is due, and then nothing any more. Ends when that is
    /// done.
    pub async fn retire(&self, client: ClientId) {
        let (done, told) = oneshot::channel();
        // An error means that the fan-out has ended.
        if self.shard(client).commands.send(Command::Retire(client, done)).await.is_ok() {
            told.await.ok();
        }
    }

    /// A client has gone. Waits while the fan-out is behind; must come after everything else of that client.
    pub async fn leave(&self, client: ClientId) {
        // An error means that the fan-out has ended, and with it the session.
        self.shard(client).commands.send(Command::Leave(client)).await.ok();
    }

    fn shard(&self, client: ClientId) -> &ShardHandle {
        // At least one shard: see `channel`. The rest of a division fits.
        &self.shards[(client.0 % self.shards.len() as u64) as usize]
    }
}

/// The fan-out's ends of the channels behind a [`Handle`], one for each shard.
pub struct Inboxes(pub(super) Vec<Inbox>);

pub(super) struct Inbox {
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) calls: Arc<Calls>,
}

/// The channels between the edge and so many shards of the fan-out, at least one; `queues` looks at them.
pub fn channel(shards: usize, queues: &Queues) -> (Handle, Inboxes) {
    let (handles, inboxes): (Vec<_>, Vec<_>) = (0..shards.max(1))
        .map(|_| {
            let (sender, commands) = mpsc::channel(COMMANDS_IN_FLIGHT);
            queues.watch("requests", &sender);
            let calls = Arc::<Calls>::default();
            (ShardHandle { commands: sender, calls: calls.clone() }, Inbox { commands, calls })
        })
        .unzip();
    (Handle { shards: handles.into() }, Inboxes(inboxes))
}
