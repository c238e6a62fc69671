use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use serde_json::value::RawValue;
use socketioxide::adapter::Adapter;
use socketioxide::extract::SocketRef;

use super::client::Client;
use super::event::Responder;
use super::room_of;
use super::who::user_room;
use crate::auth::Identity;
use crate::messages::{Message, Place};
use crate::wire::{
    Answer, Chat, ChatMessage, DEFAULT_ROOM, Done, ErrorCode, Failure, Room, from_client as from, to_client as to,
};

/// Rooms that one connection may be in by its own wish: each costs memory here.
const MAX_ROOMS: usize = 100;

/// The rooms that one connection is in, by the names that people know.
#[derive(Debug, Default)]
pub(super) struct Rooms(Mutex<BTreeMap<String, By>>);

/// By whose wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    /// Its own: its token has to allow it.
    Itself,
    /// The server's, or a back end's.
    Others,
}

impl Rooms {
    fn names(&self) -> Vec<String> {
        self.lock().keys().cloned().collect()
    }

    // A std lock: held for a moment.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, By>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl<A: Adapter> Client<A> {
    /// Joins the rooms that are its own from the start.
    pub(super) fn join_rooms(&self, socket: &SocketRef<A>) {
        let identity = self.who.now();
        if let Some(user) = &identity.user {
            socket.join(user_room(user));
        }
        self.settle_rooms(socket, &identity);
    }

    /// Brings the rooms it is in, in line with what the token allows.
    pub(super) fn settle_rooms(&self, socket: &SocketRef<A>, identity: &Identity) {
        let allowed = &identity.rights.rooms;
        let own: Vec<String> = {
            let rooms = self.rooms.lock();
            let own = rooms.iter().filter(|(room, by)| **by == By::Itself || *room == DEFAULT_ROOM);
            own.map(|(room, _)| room.clone()).filter(|room| !allowed.allows(room)).collect()
        };
        for room in own {
            self.take_out(socket, &room);
        }
        if self.shared.chat_auto_join && allowed.allows(DEFAULT_ROOM) {
            self.put_in(socket, DEFAULT_ROOM);
        }
    }

    /// Puts it into a room, by a wish that is not its own.
    pub(super) fn put_in(&self, socket: &SocketRef<A>, room: &str) {
        self.rooms.lock().entry(room.to_owned()).or_insert(By::Others);
        self.has_joined(socket, room);
    }

    /// Takes it out of a room.
    pub(super) fn take_out(&self, socket: &SocketRef<A>, room: &str) {
        if self.rooms.lock().remove(room).is_some() {
            socket.leave(room_of(room));
            self.shared.presence.change(room);
        }
    }

    /// It has gone, and is in no room any more.
    pub(super) fn forget_rooms(&self) {
        for room in self.rooms.names() {
            self.shared.presence.change(&room);
        }
    }

    fn has_joined(&self, socket: &SocketRef<A>, room: &str) {
        socket.join(room_of(room));
        self.shared.presence.change(room);
    }

    /// The client wants to be in a room.
    pub(super) fn join(&self, responder: Responder<A>, payload: Option<&RawValue>) {
        let joined = Room::parse(payload).and_then(|Room { room }| {
            self.who.check_room(&room)?;
            let mut rooms = self.rooms.lock();
            let own = rooms.values().filter(|by| **by == By::Itself).count();
            if own >= MAX_ROOMS && rooms.get(&room) != Some(&By::Itself) {
                let message = format!("you are in {own} rooms: at most {MAX_ROOMS} are allowed (leave one)");
                return Err(Failure::invalid(message));
            }
            rooms.insert(room.clone(), By::Itself);
            drop(rooms);
            self.has_joined(responder.socket(), &room);
            Ok(())
        });
        self.settle(responder, from::JOIN, joined);
    }

    /// The client wants to be in a room no longer. It may not have been.
    pub(super) fn leave(&self, responder: Responder<A>, payload: Option<&RawValue>) {
        let left = Room::parse(payload).map(|Room { room }| self.take_out(responder.socket(), &room));
        self.settle(responder, from::LEAVE, left);
    }

    /// Says something to a room.
    pub(super) fn chat(&self, responder: Responder<A>, payload: Option<&RawValue>) {
        let said = Chat::parse(payload).and_then(|Chat { room, text }| {
            self.who.check_room(&room)?;
            let identity = self.who.now();
            let (from, ts) = (identity.user.as_deref(), self.shared.clock.millis());
            let server = self.shared.server_id.as_str();
            let body = ChatMessage { room: &room, text: &text, from, server, ts }.encode();
            self.shared.messages.say(Message::new(Place::Room(room), to::CHAT_MESSAGE, body))
        });
        self.settle(responder, from::CHAT, said);
    }

    /// Refuses who may not write to users: guests, whom nobody could name.
    pub(super) fn check_sender(&self) -> Result<(), Failure> {
        if self.shared.auth.asks_for_tokens() && self.who.now().user.is_none() {
            return Err(Failure::new(
                ErrorCode::Forbidden,
                "guests may not send messages to users: connect with a token",
            ));
        }
        Ok(())
    }

    /// Answers a request that brings nothing back. Without a callback, silence is success.
    fn settle(&self, responder: Responder<A>, name: &str, done: Result<(), Failure>) {
        match done {
            Ok(()) => {
                let socket = responder.socket().clone();
                self.shared.note_sent(responder.done(&Answer::encode(Ok(Done {}))), &socket);
            }
            Err(failure) => self.refuse(responder, name, failure),
        }
    }
}
