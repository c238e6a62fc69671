use std::sync::Arc;

use socketioxide::SocketIo;
use socketioxide::extract::SocketRef;

use super::client::Client;
use super::who::user_room;
use super::{Rooming, room_of, socket_of};
use crate::messages::{Place, To};

/// A connection that stands.
pub(super) struct Reached {
    pub(super) socket: SocketRef<Rooming>,
    pub(super) client: Arc<Client<Rooming>>,
}

/// The connections of this replica that are meant, each once.
pub(super) fn reach(io: &SocketIo<Rooming>, to: &To) -> Vec<Reached> {
    // None once the server is closing.
    let Some(namespace) = io.of("/") else { return Vec::new() };
    let except: Vec<String> = to.except.iter().filter_map(engine_room).collect();
    let rooms: Vec<String> = to.places.iter().filter_map(engine_room).collect();
    let mut sockets = match (to.places.is_empty(), rooms.is_empty()) {
        (true, _) => namespace.broadcast().except(except.clone()).local().sockets(),
        // The engine takes no room at all for everybody.
        (false, true) => Vec::new(),
        (false, false) => namespace.within(rooms).except(except.clone()).local().sockets(),
    };
    for socket in to.places.iter().filter_map(|place| session_of(io, place)) {
        let is_excepted = socket.rooms().iter().any(|room| except.iter().any(|except| except.as_str() == &**room));
        if !is_excepted && sockets.iter().all(|other| other.id != socket.id) {
            sockets.push(socket);
        }
    }
    for excepted in to.except.iter().filter_map(|place| session_of(io, place)) {
        sockets.retain(|socket| socket.id != excepted.id);
    }
    let standing = |socket: SocketRef<Rooming>| {
        let client = socket.extensions.get::<Arc<Client<Rooming>>>()?;
        client.is_open().then_some(Reached { socket, client })
    };
    sockets.into_iter().filter_map(standing).collect()
}

/// The engine's room of a place; none for a session, which has none.
pub(super) fn engine_room(place: &Place) -> Option<String> {
    match place {
        Place::Room(room) => Some(room_of(room)),
        Place::User(user) => Some(user_room(user)),
        Place::Session(_) => None,
    }
}

fn session_of(io: &SocketIo<Rooming>, place: &Place) -> Option<SocketRef<Rooming>> {
    match place {
        Place::Session(id) => socket_of(io, id),
        Place::Room(_) | Place::User(_) => None,
    }
}
