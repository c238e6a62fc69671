//! The WebSocket of a client: from the start, or the one that a polling session moves to.

use super::{Client, POLL, POST, SOCKET, Shared};
use crate::args::Transport;
use crate::wire::frame::{self, Opcode};
use crate::wire::http::{self, Request};
use crate::wire::packet;

/// The longest message, in bytes, whose parts are kept until it is whole.
const MAX_MESSAGE_BYTES: usize = frame::MAX_FRAME_BYTES;

/// How far a session is on its way from polling to this WebSocket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Move {
    /// It has not begun.
    #[default]
    None,
    /// The server was asked whether the WebSocket works.
    Probing,
    /// It does; the last poll and the last post are still under way.
    Draining,
    /// Packets go over the WebSocket.
    Done,
}

#[derive(Debug, Default)]
pub(super) struct Socket {
    /// True once frames follow.
    framed: bool,
    pub(super) moved: Move,
    /// The first parts of a message.
    parts: Vec<u8>,
}

impl Client {
    pub(super) fn open_socket(&mut self, shared: &mut Shared) -> Result<(), String> {
        let mut request = Vec::new();
        let session = self.session.take();
        shared.requests.write(&mut request, Request::Upgrade(session.as_deref()));
        self.session = session;
        if shared.transport == Transport::Default {
            self.socket.moved = Move::Probing;
        }
        self.open(SOCKET, shared)?.send(&request).map_err(|error| super::said(&error))
    }

    pub(super) fn send_frame(&mut self, packet: &[u8]) -> Result<(), String> {
        self.send_raw(Opcode::Text, packet)
    }

    fn send_raw(&mut self, opcode: Opcode, payload: &[u8]) -> Result<(), String> {
        let mut bytes = Vec::with_capacity(payload.len() + 14);
        frame::encode(&mut bytes, opcode, payload);
        match &mut self.links[SOCKET] {
            Some(link) => link.send(&bytes).map_err(|error| super::said(&error)),
            None => Ok(()),
        }
    }

    /// Takes bytes that came on the WebSocket's connection.
    pub(super) fn socket_bytes(&mut self, new: &[u8], now_us: i64, shared: &mut Shared) -> Result<(), String> {
        let Some(link) = &mut self.links[SOCKET] else {
            return Ok(());
        };
        // What was left over last time comes first. Mostly nothing was, and nothing is copied.
        let mut inbox = std::mem::take(&mut link.inbox);
        let joined = !inbox.is_empty();
        if joined {
            inbox.extend_from_slice(new);
        }
        let bytes = if joined { inbox.as_slice() } else { new };
        let taken = self.take_frames(bytes, now_us, shared)?;
        if let Some(link) = &mut self.links[SOCKET] {
            if joined {
                inbox.drain(..taken);
                link.inbox = inbox;
            } else {
                link.inbox.extend_from_slice(&new[taken..]);
            }
        }
        Ok(())
    }

    /// How many bytes were whole, and have been dealt with.
    fn take_frames(&mut self, bytes: &[u8], now_us: i64, shared: &mut Shared) -> Result<usize, String> {
        let mut at = 0;
        if !self.socket.framed {
            let Some(response) = http::response(bytes)? else {
                return Ok(0);
            };
            if response.status != 101 {
                let body = packet::shortened(&response.body);
                return Err(format!("no WebSocket: HTTP {} {body}", response.status));
            }
            self.socket.framed = true;
            at = response.bytes;
            if self.socket.moved == Move::Probing {
                self.send_frame(packet::PROBE)?;
            }
        }
        while let Some(frame) = frame::decode(&bytes[at..])? {
            at += frame.bytes;
            match frame.opcode {
                Opcode::Text if frame.last => self.message(frame.payload, now_us, shared)?,
                Opcode::Text | Opcode::Continuation => {
                    self.socket.parts.extend_from_slice(frame.payload);
                    if self.socket.parts.len() > MAX_MESSAGE_BYTES {
                        return Err("a message of more than 64 MB".into());
                    }
                    if frame.last {
                        let message = std::mem::take(&mut self.socket.parts);
                        self.message(&message, now_us, shared)?;
                    }
                }
                Opcode::Ping => self.send_raw(Opcode::Pong, frame.payload)?,
                Opcode::Close => return Err("the WebSocket was closed by the server".into()),
                Opcode::Binary | Opcode::Pong => {}
            }
        }
        Ok(at)
    }

    fn message(&mut self, message: &[u8], now_us: i64, shared: &mut Shared) -> Result<(), String> {
        match self.socket.moved {
            Move::Probing if message == b"3probe" => {
                self.socket.moved = Move::Draining;
                self.finish_move(shared)
            }
            Move::Probing | Move::Draining => Ok(()),
            Move::None | Move::Done => self.packet(message, now_us, shared),
        }
    }

    /// Moves to the WebSocket once nothing is under way by polling any more: a packet would overtake another.
    pub(super) fn finish_move(&mut self, shared: &mut Shared) -> Result<(), String> {
        if self.socket.moved != Move::Draining || !self.polling.is_idle() {
            return Ok(());
        }
        self.socket.moved = Move::Done;
        self.links[POLL] = None;
        self.links[POST] = None;
        self.send_frame(packet::UPGRADE)?;
        for packet in std::mem::take(&mut self.polling.waiting) {
            self.send(&packet, shared)?;
        }
        Ok(())
    }
}
