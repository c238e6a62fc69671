//! A client that polls: one connection on which it waits for packets, one on which it sends them, both kept.

use super::{Client, POLL, POST, Shared};
use crate::client::websocket::Move;
use crate::wire::http::{self, Request};
use crate::wire::packet::{SEPARATOR, shortened};

#[derive(Debug, Default)]
pub(super) struct Polling {
    /// True while an answer to a poll is to come.
    pub(super) asking: bool,
    /// True while an answer to a post is to come.
    pub(super) posting: bool,
    /// Packets for the next post.
    pub(super) waiting: Vec<Vec<u8>>,
    /// True while the answer to a poll is read.
    reading: bool,
}

impl Polling {
    /// True if nothing is under way.
    pub(super) fn is_idle(&self) -> bool {
        !self.asking && !self.posting && !self.reading
    }
}

impl Client {
    /// Asks for the next packets, or for a session.
    pub(super) fn poll(&mut self, shared: &mut Shared) -> Result<(), String> {
        let mut request = Vec::new();
        shared.requests.write(&mut request, Request::Poll(self.session.as_deref()));
        self.polling.asking = true;
        self.send_request(POLL, &request, shared)
    }

    /// Sends a packet, with those that wait, once the one before has been taken.
    pub(super) fn post(&mut self, packet: &[u8], shared: &mut Shared) -> Result<(), String> {
        self.polling.waiting.push(packet.to_vec());
        self.post_waiting(shared)
    }

    fn post_waiting(&mut self, shared: &mut Shared) -> Result<(), String> {
        // A session that is about to move keeps them for its WebSocket.
        if self.polling.posting || self.polling.waiting.is_empty() || self.socket.moved == Move::Draining {
            return Ok(());
        }
        let body = std::mem::take(&mut self.polling.waiting).join(&SEPARATOR);
        let Some(session) = self.session.take() else {
            return Ok(());
        };
        let mut request = Vec::new();
        shared.requests.write(&mut request, Request::Post(&session, &body));
        self.session = Some(session);
        self.polling.posting = true;
        self.send_request(POST, &request, shared)
    }

    fn send_request(&mut self, role: usize, request: &[u8], shared: &Shared) -> Result<(), String> {
        let link = match self.links[role].is_some() {
            true => self.links[role].as_mut(),
            false => Some(self.open(role, shared)?),
        };
        link.map_or(Ok(()), |link| link.send(request).map_err(|error| super::said(&error)))
    }

    /// Takes bytes that came on a connection of requests.
    pub(super) fn response_bytes(
        &mut self,
        role: usize,
        new: &[u8],
        now_us: i64,
        shared: &mut Shared,
    ) -> Result<(), String> {
        let Some(link) = &mut self.links[role] else {
            return Ok(());
        };
        link.inbox.extend_from_slice(new);
        let Some(response) = http::response(&link.inbox)? else {
            return Ok(());
        };
        link.inbox.drain(..response.bytes);
        if response.closes {
            self.links[role] = None;
        }
        if response.status != 200 {
            let what = if role == POLL { "polling" } else { "posting" };
            return Err(format!("{what}: HTTP {} {}", response.status, shortened(&response.body)));
        }
        if role == POST {
            self.polling.posting = false;
            self.post_waiting(shared)?;
        } else {
            self.polling.asking = false;
            self.polling.reading = true;
            let read = response
                .body
                .split(|&byte| byte == SEPARATOR)
                .try_for_each(|packet| self.packet(packet, now_us, shared));
            self.polling.reading = false;
            read?;
            if !matches!(self.socket.moved, Move::Draining | Move::Done) {
                self.poll(shared)?;
            }
        }
        self.finish_move(shared)
    }
}
