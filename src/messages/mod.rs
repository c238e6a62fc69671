pub mod alerts;
mod asks;
pub mod backend;
pub mod emitters;
mod msgpack;
mod presence;
mod told;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::mpsc;

use crate::metrics::Queues;
use crate::wire::{ErrorCode, Failure};
pub use asks::{Asks, Gathered, Waiting};
pub use presence::Presence;
pub use told::{Found, Occupants, Reply, Seen, Told, What};

/// Messages that may wait to be sent; who brings one more is answered with `unavailable`.
const ERRANDS_IN_FLIGHT: usize = 1024;

/// One of those whom a message may be for. Rooms, users and sessions have no name in common: a room that is called as a
/// user is another place.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// Everybody in a room that people or back ends named.
    Room(String),
    /// Every connection of a user.
    User(String),
    /// One connection, by its Socket.IO id: as back ends know it that were told by the client.
    Session(String),
}

/// Whom a message is for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct To {
    /// Who is in any of these; everybody where there are none.
    pub places: Vec<Place>,
    /// But for who is in any of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<Place>,
}

impl From<Place> for To {
    fn from(place: Place) -> Self {
        Self { places: vec![place], except: Vec::new() }
    }
}

/// An event for some clients.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Message {
    /// Whom it is for.
    pub to: To,
    /// Its name.
    pub event: String,
    /// What it carries, as JSON.
    pub args: Vec<Box<RawValue>>,
}

impl Message {
    /// An event with one argument.
    pub fn new(place: Place, event: &str, body: Box<RawValue>) -> Self {
        Self { to: place.into(), event: event.to_owned(), args: vec![body] }
    }
}

/// What is to be done on this replica, and then on the others.
#[derive(Debug)]
pub enum Errand {
    /// Send a message; where `ask` is there, answer it with how many connections were reached.
    Say {
        /// The message.
        message: Message,
        /// Who wants to know how many.
        ask: Option<u64>,
    },
    /// Answer `ask` with who is there.
    Look {
        /// Where.
        place: Place,
        /// Who wants to know.
        ask: u64,
    },
    /// End the connections that are there; answer `ask` with how many there were.
    End {
        /// Where.
        place: Place,
        /// Who wants to know how many.
        ask: u64,
    },
    /// Drain the replica of this id; answer `ask` with how many took it for theirs.
    Drain {
        /// Its id.
        id: String,
        /// Who wants to know how many.
        ask: u64,
    },
}

/// Where messages to clients are handed in, whoever sends them: clients, back ends, other edges. Cheap to clone. What is
/// handed in one after the other is sent in that order.
#[derive(Clone, Debug)]
pub struct Messages {
    errands: mpsc::Sender<Errand>,
    asks: Arc<Asks>,
}

/// The other end of [`Messages`].
#[derive(Debug)]
pub struct Inbox {
    /// What waits.
    pub errands: mpsc::Receiver<Errand>,
    /// Where answers go.
    pub asks: Arc<Asks>,
}

/// The channel between those who send messages and the edge that carries them.
pub fn channel(queues: &Queues) -> (Messages, Inbox) {
    let (sender, errands) = mpsc::channel(ERRANDS_IN_FLIGHT);
    queues.watch("messages", &sender);
    let asks = Arc::<Asks>::default();
    (Messages { errands: sender, asks: asks.clone() }, Inbox { errands, asks })
}

impl Messages {
    /// Sends a message to clients of every replica.
    ///
    /// # Errors
    /// `unavailable`: too many wait already.
    pub fn say(&self, message: Message) -> Result<(), Failure> {
        self.errands.try_send(Errand::Say { message, ask: None }).map_err(|_| busy())
    }

    /// The same, for who wants to know how many connections it was sent to.
    ///
    /// # Errors
    /// `unavailable`: too many wait already.
    pub fn say_and_count(&self, message: Message) -> Result<Waiting, Failure> {
        self.ask(|ask| Errand::Say { message, ask: Some(ask) })
    }

    /// Asks who is there, on every replica.
    ///
    /// # Errors
    /// `unavailable`: too many wait already.
    pub fn look(&self, place: Place) -> Result<Waiting, Failure> {
        self.ask(|ask| Errand::Look { place, ask })
    }

    /// Ends connections with a Socket.IO disconnect, on every replica, and counts them: JS clients do not come back by
    /// themselves.
    ///
    /// # Errors
    /// `unavailable`: too many wait already.
    pub fn end(&self, place: Place) -> Result<Waiting, Failure> {
        self.ask(|ask| Errand::End { place, ask })
    }

    /// Asks the replica of this id to drain, as SIGTERM does, and counts who takes the id for theirs: none where there is
    /// no such replica.
    ///
    /// # Errors
    /// `unavailable`: too many wait already.
    pub fn drain(&self, id: String) -> Result<Waiting, Failure> {
        self.ask(|ask| Errand::Drain { id, ask })
    }

    fn ask(&self, errand: impl FnOnce(u64) -> Errand) -> Result<Waiting, Failure> {
        let waiting = self.asks.open().ok_or_else(busy)?;
        self.errands.try_send(errand(waiting.ask())).map_err(|_| busy())?;
        Ok(waiting)
    }
}

fn busy() -> Failure {
    Failure::new(ErrorCode::Unavailable, "the server is too busy: try again later")
}
