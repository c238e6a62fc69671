//! One connection: the request that opens it, what it says, and what could not be written to it yet.

use std::io::{ErrorKind, Read, Write};

use mio::net::TcpStream;
use serde_json::Value;

use crate::PING_INTERVAL;
use crate::frames;
use crate::wants::Sets;

/// The most that a client may have sent without a whole message being there, in bytes.
const UNREAD_LIMIT: usize = 1 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Its HTTP request is read.
    Request,
    /// It is a WebSocket.
    Open,
    /// It has ended, or has to.
    Over,
}

pub struct Client {
    stream: TcpStream,
    pub stage: Stage,
    /// Where its set of subscriptions is.
    pub set: Option<usize>,
    /// What came and is no whole message yet.
    unread: Vec<u8>,
    /// What the socket did not take of a buffer: it goes before anything else, so that frames stay whole.
    rest: Vec<u8>,
    /// True while the socket is full.
    full: bool,
}

impl Client {
    pub fn new(stream: TcpStream) -> Self {
        Self { stream, stage: Stage::Request, set: None, unread: Vec::new(), rest: Vec::new(), full: false }
    }

    /// Writes a buffer with one call, or drops it where the socket is full.
    pub fn write(&mut self, buffer: &[u8]) {
        if self.full {
            return;
        }
        match self.stream.write(buffer) {
            Ok(written) if written == buffer.len() => {}
            Ok(written) => {
                self.full = true;
                self.rest = buffer[written..].to_vec();
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => self.full = true,
            // It has gone; reading will tell.
            Err(_) => self.full = true,
        }
    }

    /// Goes on where a full socket stopped a buffer.
    pub fn write_rest(&mut self) {
        while self.full && !self.rest.is_empty() {
            match self.stream.write(&self.rest) {
                Ok(written) => drop(self.rest.drain(..written)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
        self.full = false;
        self.rest = Vec::new();
    }

    /// Reads all that is there, and does what it asks.
    pub fn read(&mut self, scratch: &mut [u8], sets: &mut Sets) {
        while self.stage != Stage::Over {
            match self.stream.read(scratch) {
                Ok(0) => self.stage = Stage::Over,
                Ok(length) => {
                    self.unread.extend(&scratch[..length]);
                    self.digest(sets);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => self.stage = Stage::Over,
            }
        }
    }

    fn digest(&mut self, sets: &mut Sets) {
        if self.stage == Stage::Request {
            self.open();
        }
        while self.stage == Stage::Open
            && let Some((opcode, payload, end)) = frames::take(&self.unread)
        {
            self.unread.drain(..end);
            match opcode {
                frames::TEXT => self.packet(&payload, sets),
                frames::PING => self.say(frames::PONG, &payload),
                frames::CLOSE => self.stage = Stage::Over,
                _ => {}
            }
        }
        if self.unread.is_empty() {
            self.unread = Vec::new();
        } else if self.unread.len() > UNREAD_LIMIT {
            self.stage = Stage::Over;
        }
    }

    /// Answers the HTTP request, once it is whole: an upgrade, or that this server is well, whatever was asked.
    fn open(&mut self) {
        let Some(end) = self.unread.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { return };
        let head = String::from_utf8_lossy(&self.unread[..end]).into_owned();
        self.unread.drain(..end + 4);
        let headers = head.lines().filter_map(|line| line.split_once(':'));
        let key = headers.into_iter().find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"));
        let Some((_, key)) = key else {
            let body = r#"{"status":"ok"}"#;
            let length = body.len();
            self.write(
                format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}").as_bytes(),
            );
            self.stage = Stage::Over;
            return;
        };
        let accept = frames::accept(key.trim().as_bytes());
        let mut answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n\r\n"
        )
        .into_bytes();
        let ping_ms = PING_INTERVAL.as_millis();
        let open = format!(
            r#"0{{"sid":"floor","upgrades":[],"pingInterval":{ping_ms},"pingTimeout":60000,"maxPayload":1000000}}"#
        );
        frames::push(&mut answer, frames::TEXT, open.as_bytes());
        self.write(&answer);
        self.stage = Stage::Open;
    }

    /// One packet of Engine.IO, with what of Socket.IO is in it: `40` (CONNECT), or `42`, perhaps the number of an
    /// acknowledgement, and an event.
    fn packet(&mut self, packet: &[u8], sets: &mut Sets) {
        let text = String::from_utf8_lossy(packet);
        if text.starts_with("40") {
            self.say(frames::TEXT, br#"40{"sid":"floor"}"#);
        } else if let Some(event) = text.strip_prefix("42") {
            let (id, event) = event.split_at(event.find('[').unwrap_or(event.len()));
            let Ok(event) = serde_json::from_str::<Value>(event) else { return };
            if event[0] == "subscribe" {
                sets.leave(self.set);
                self.set = Some(sets.join(&event[1]));
                let body = r#"{"ok":true}"#;
                let answer =
                    if id.is_empty() { format!(r#"42["subscribed",{body}]"#) } else { format!("43{id}[{body}]") };
                self.say(frames::TEXT, answer.as_bytes());
            }
        }
    }

    fn say(&mut self, opcode: u8, payload: &[u8]) {
        let mut frame = Vec::new();
        frames::push(&mut frame, opcode, payload);
        self.write(&frame);
    }
}
