use std::sync::Arc;

use serde_json::value::RawValue;
use tokio::sync::mpsc;

use crate::pattern::Patterns;
use crate::wire::{Failure, Subscribe, Unsubscribe};

/// Requests of clients that may wait for the fan-out. One that finds no room is answered with `unavailable`.
const COMMANDS_IN_FLIGHT: usize = 16_384;

/// Names one connection of one client; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId(pub u64);

/// The way to everybody in a room.
pub trait Outlet: Send + 'static {
    /// Queues an event for every client in a room, and returns how many had no room for it.
    fn emit(&self, room: &str, event: &str, body: &RawValue) -> usize;
}

/// The way to one client. Nothing here waits.
pub trait Link: Send + Sync + 'static {
    /// Adds the client to rooms.
    fn join(&self, rooms: Vec<String>);
    /// Takes it out of rooms.
    fn leave(&self, rooms: Vec<String>);
    /// Takes it out of all rooms.
    fn leave_all(&self);
    /// Queues an event for it; false if there is no room.
    fn emit(&self, event: &str, body: &RawValue) -> bool;
    /// Ends its connection: it missed something that it cannot do without.
    fn close(&self);
}

/// The way back to whoever sent one request.
pub trait Reply: Send + 'static {
    /// True where the client gave a callback.
    fn by_callback(&self) -> bool;
    /// Queues the answer, by callback or as an event; false if there is no room.
    fn send(self: Box<Self>, answer: Result<Box<RawValue>, Failure>) -> bool;
}

/// What a client asks of the fan-out.
pub enum Request {
    /// More ticks.
    Subscribe(Subscribe),
    /// Fewer ticks.
    Unsubscribe(Unsubscribe),
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
    Leave(ClientId),
}

/// How the edge tells the fan-out about clients. What one client sends through it takes effect in that order.
#[derive(Clone)]
pub struct Handle {
    commands: mpsc::Sender<Command>,
}

/// Room for a [`Handle::place`]'d client to join without waiting.
pub struct Place<'a>(mpsc::Permit<'a, Command>);

impl Place<'_> {
    /// A client has connected that may get these symbols.
    pub fn join(self, client: ClientId, link: Arc<dyn Link>, allowed: Patterns) {
        self.0.send(Command::Join(client, link, allowed));
    }
}

impl Handle {
    /// Waits until there is room for a client to join; none once the fan-out has ended.
    pub async fn place(&self) -> Option<Place<'_>> {
        self.commands.reserve().await.ok().map(Place)
    }

    /// Hands on a request. Gives the way back if the fan-out is too far behind, or has ended.
    ///
    /// # Errors
    /// The reply, for the caller to say so.
    pub fn request(&self, client: ClientId, request: Request, reply: Box<dyn Reply>) -> Result<(), Box<dyn Reply>> {
        self.commands.try_send(Command::Request(client, request, reply)).map_err(|error| match error.into_inner() {
            Command::Request(_, _, reply) => reply,
            Command::Join(..) | Command::Leave(_) => {
                unreachable!("it was a request that was sent")
            }
        })
    }

    /// A client has gone. Waits while the fan-out is behind; must come after everything else of that client.
    pub async fn leave(&self, client: ClientId) {
        // An error means that the fan-out has ended, and with it the session.
        self.commands.send(Command::Leave(client)).await.ok();
    }
}

/// The fan-out's end of the channel behind a [`Handle`].
pub struct Inbox(pub(super) mpsc::Receiver<Command>);

/// The channel between the edge and the fan-out.
pub fn channel() -> (Handle, Inbox) {
    let (commands, inbox) = mpsc::channel(COMMANDS_IN_FLIGHT);
    (Handle { commands }, Inbox(inbox))
}
