//! One client: from connecting to its last tick. Everything happens in answer to an event of its connections; it never
//! waits.

mod link;
mod polling;
pub mod track;
mod websocket;

use std::time::Instant;

use mio::{Registry, Token};

use crate::args::{Target, Transport};
use crate::check::Prices;
use crate::clock::wall_us;
use crate::measure::{Fault, Faults, Figures, Notes};
use crate::sets::Class;
use crate::wire::http::Requests;
use crate::wire::packet::{self, Packet};
use crate::wire::tick::Reader;
use link::{Got, Link};
use polling::Polling;
use track::{Subscription, Track};
use websocket::{Move, Socket};

/// Connections of one client: its WebSocket, the one it polls on, the one it posts on.
pub const ROLES: usize = 3;
const SOCKET: usize = 0;
const POLL: usize = 1;
const POST: usize = 2;

/// The receive buffer of clients that read slowly or not at all, in bytes: small, so that the server soon notices. The
/// kernel doubles it, and has its own least.
const NARROW_BYTES: usize = 4096;

/// What all clients share.
#[derive(Debug)]
pub struct Shared {
    /// Where connections are registered.
    pub registry: Registry,
    /// The server.
    pub target: Target,
    /// How clients connect.
    pub transport: Transport,
    /// What they ask for over HTTP.
    pub requests: Requests,
    /// The packet that enters the namespace.
    pub connect: Vec<u8>,
    /// For each set: what belongs to it, and the packet that subscribes to it, if one does.
    pub subscriptions: Vec<(Subscription, Option<Vec<u8>>)>,
    /// How packets with one tick, and with an array of ticks, begin.
    pub prefixes: [Vec<u8>; 2],
    /// Reads ticks.
    pub reader: Reader,
    /// Prices that anybody got.
    pub prices: Prices,
    /// What is measured now.
    pub figures: Figures,
    /// What went wrong.
    pub notes: Notes,
    /// What was read last; its length is the most that is read at once.
    pub buffer: Vec<u8>,
}

/// What a connection is ready for.
#[derive(Clone, Copy, Debug)]
pub struct Ready {
    /// There is something to read.
    pub readable: bool,
    /// Something can be sent, or the connection is made, or has failed.
    pub writable: bool,
    /// The server has closed it.
    pub closed: bool,
}

/// How far a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// On its way into the namespace.
    Connecting,
    /// It gets ticks.
    Live,
    /// Gone.
    Ended,
}

/// A client.
#[derive(Debug)]
pub struct Client {
    token: usize,
    /// How it reads.
    pub class: Class,
    set: usize,
    /// How far it is.
    pub stage: Stage,
    /// When the plan wanted it.
    pub wanted: Instant,
    /// What went wrong with it so far.
    pub faults: Faults,
    /// What it has got.
    pub track: Track,
    links: [Option<Link>; ROLES],
    session: Option<String>,
    socket: Socket,
    polling: Polling,
}

impl Client {
    /// A client that is to be connected; its connections' events carry this number and the next two.
    pub fn new(token: usize, class: Class, set: usize, wanted: Instant) -> Self {
        Self {
            token,
            class,
            set,
            stage: Stage::Ended,
            wanted,
            faults: Faults::default(),
            track: Track::default(),
            links: [None, None, None],
            session: None,
            socket: Socket::default(),
            polling: Polling::default(),
        }
    }

    /// Begins to connect.
    ///
    /// # Errors
    /// Why it cannot.
    pub fn connect(&mut self, shared: &mut Shared) -> Result<(), String> {
        self.stage = Stage::Connecting;
        shared.figures.connects.attempts += 1;
        match shared.transport {
            Transport::Websocket => self.open_socket(shared),
            Transport::Polling | Transport::Default => self.poll(shared),
        }
    }

    /// Something happened to one of its connections.
    ///
    /// # Errors
    /// Why the client is at its end.
    pub fn event(&mut self, role: usize, ready: Ready, shared: &mut Shared) -> Result<(), String> {
        if ready.writable
            && let Some(link) = &mut self.links[role]
        {
            link.writable().map_err(|error| said(&error))?;
        }
        match (ready.readable || ready.closed, self.reads_apart(shared)) {
            (true, false) => self.read(role, usize::MAX, ready.closed, shared),
            // Nobody reads up to the end.
            (true, true) if ready.closed => self.broken(role, "closed by the server"),
            _ => Ok(()),
        }
    }

    /// True once it reads slowly or not at all: from when it has subscribed, over the transport that it stays with.
    pub fn reads_apart(&self, shared: &Shared) -> bool {
        self.class != Class::Healthy
            && self.stage == Stage::Live
            && (shared.transport != Transport::Default || self.socket.moved == Move::Done)
    }

    /// Reads a few bytes, if there are any.
    ///
    /// # Errors
    /// Why the client is at its end.
    pub fn read_slowly(&mut self, bytes: usize, shared: &mut Shared) -> Result<(), String> {
        (0..ROLES).try_for_each(|role| self.read(role, bytes, false, shared))
    }

    /// Reads what there is; up to the end, where the server has closed the connection: that is told once.
    fn read(&mut self, role: usize, mut most: usize, closed: bool, shared: &mut Shared) -> Result<(), String> {
        let mut buffer = std::mem::take(&mut shared.buffer);
        let mut result = Ok(());
        while result.is_ok() && most > 0 {
            // A connection may be given up while it is read.
            let Some(link) = &mut self.links[role] else {
                break;
            };
            let fits = buffer.len().min(most);
            match link.read(&mut buffer[..fits]) {
                Ok(Got::Nothing) => break,
                Ok(Got::Bytes(bytes)) => {
                    // One reading of the clock for all that came at once.
                    let now_us = wall_us();
                    shared.figures.reads += 1;
                    shared.figures.bytes += bytes as u64;
                    result = match role {
                        SOCKET => self.socket_bytes(&buffer[..bytes], now_us, shared),
                        _ => self.response_bytes(role, &buffer[..bytes], now_us, shared),
                    };
                    // Less than asked for: it was all there is.
                    if bytes < fits && !closed {
                        break;
                    }
                    most -= bytes;
                }
                Err(error) => result = self.broken(role, &said(&error)),
            }
        }
        shared.buffer = buffer;
        result
    }

    /// A connection that has ended, which ends the client, unless it was one that only posts.
    fn broken(&mut self, role: usize, why: &str) -> Result<(), String> {
        self.links[role] = None;
        match role {
            POST if !self.polling.posting => Ok(()),
            POLL if !self.polling.asking => Ok(()),
            _ => Err(why.to_owned()),
        }
    }

    /// Takes a packet, however it came.
    fn packet(&mut self, bytes: &[u8], now_us: i64, shared: &mut Shared) -> Result<(), String> {
        // Nearly all of them.
        for stream in 0..shared.prefixes.len() {
            if let Some(values) = bytes.strip_prefix(shared.prefixes[stream].as_slice()) {
                self.ticks(stream, values, now_us, shared);
                return Ok(());
            }
        }
        match packet::read(bytes) {
            Err(error) => self.fault(Fault::Unreadable, &error, shared),
            Ok(Packet::Ping) => self.send(packet::PONG, shared)?,
            Ok(Packet::Open(open)) => {
                let upgrades = open.upgrades.iter().any(|name| name == "websocket");
                self.session = Some(open.sid);
                let connect = std::mem::take(&mut shared.connect);
                let sent = self.send(&connect, shared);
                shared.connect = connect;
                sent?;
                if shared.transport == Transport::Default && upgrades && self.socket.moved == Move::None {
                    self.open_socket(shared)?;
                }
            }
            Ok(Packet::Connected) => self.connected(now_us, shared)?,
            Ok(Packet::Refused(why)) => return Err(format!("refused: {why}")),
            Ok(Packet::Disconnected) => return Err("disconnected by the server".into()),
            Ok(Packet::Close) => return Err("the session was closed by the server".into()),
            Ok(Packet::Event(name, values)) => self.other_event(name, values, shared),
            Ok(Packet::Answer(values)) => self.answer(values, now_us, shared),
            Ok(Packet::Probed | Packet::Noop | Packet::Other) => {}
        }
        Ok(())
    }

    fn ticks(&mut self, stream: usize, values: &[u8], now_us: i64, shared: &mut Shared) {
        let Shared { reader, prices, figures, subscriptions, .. } = shared;
        let received = &mut figures.classes[self.class as usize];
        match reader.read(values) {
            Ok(ticks) => {
                received.events += 1;
                for tick in ticks {
                    let (subscription, _) = &subscriptions[self.set];
                    let continuity = &received.continuity;
                    let before = (continuity.lost, continuity.contradictions(), received.unasked);
                    self.track.take(subscription, tick, stream, now_us, (prices, received));
                    let continuity = &received.continuity;
                    for (grew, fault) in [
                        (continuity.lost > before.0, Fault::Lost),
                        (continuity.contradictions() > before.1, Fault::Contradiction),
                        (received.unasked > before.2, Fault::Unasked),
                    ] {
                        if grew {
                            self.faults.add(fault);
                        }
                    }
                }
            }
            Err(error) => self.fault(Fault::Unreadable, &format!("not a tick: {error}"), shared),
        }
    }

    /// The namespace let it in: it subscribes.
    fn connected(&mut self, now_us: i64, shared: &mut Shared) -> Result<(), String> {
        if self.stage != Stage::Connecting {
            return Ok(());
        }
        self.stage = Stage::Live;
        let connects = &mut shared.figures.connects;
        connects.connected += 1;
        connects.connect_ms.record(u64::try_from(self.wanted.elapsed().as_micros()).unwrap_or(u64::MAX));
        self.track = Track::new(&shared.subscriptions[self.set].0, now_us);
        match shared.subscriptions[self.set].1.take() {
            None => Ok(()),
            Some(subscribe) => {
                let sent = self.send(&subscribe, shared);
                shared.subscriptions[self.set].1 = Some(subscribe);
                sent
            }
        }
    }

    fn answer(&mut self, values: &[u8], now_us: i64, shared: &mut Shared) {
        match shared.reader.answer(values) {
            Err(error) => self.fault(Fault::Unreadable, &format!("an answer that is none: {error}"), shared),
            Ok(answer) => {
                let subscription = &shared.subscriptions[self.set].0;
                for tick in &answer.snapshot {
                    self.track.begin(subscription, tick, now_us);
                }
                if let Some(why) = answer.refused {
                    self.fault(Fault::Refused, &format!("subscribing: {why}"), shared);
                }
            }
        }
    }

    /// An event that carries no ticks.
    fn other_event(&mut self, name: &[u8], values: &[u8], shared: &mut Shared) {
        match name {
            b"error" => self.fault(Fault::ErrorEvent, &format!("error event: {}", packet::shortened(values)), shared),
            b"subscribed" => {
                if let Ok(answer) = shared.reader.answer(&[b"[", values].concat())
                    && let Some(why) = answer.refused
                {
                    self.fault(Fault::Refused, &format!("subscribing: {why}"), shared);
                }
            }
            _ => {}
        }
    }

    /// Sends a packet over the transport of the moment.
    fn send(&mut self, packet: &[u8], shared: &mut Shared) -> Result<(), String> {
        match shared.transport {
            Transport::Polling => self.post(packet, shared),
            Transport::Default if self.socket.moved != Move::Done => self.post(packet, shared),
            Transport::Websocket | Transport::Default => self.send_frame(packet),
        }
    }

    fn fault(&mut self, fault: Fault, message: &str, shared: &mut Shared) {
        self.faults.add(fault);
        shared.notes.add(message);
    }

    /// Leaves, as the plan wants it. What is still to be sent is lost.
    pub fn leave(&mut self, shared: &mut Shared) {
        if self.stage == Stage::Live {
            let _ = self.send(packet::DISCONNECT, shared);
        }
        self.cut();
    }

    /// Ends its connections without a word.
    pub fn cut(&mut self) {
        self.stage = Stage::Ended;
        self.links = [None, None, None];
        self.session = None;
        self.socket = Socket::default();
        self.polling = Polling::default();
        self.track = Track::default();
    }

    fn open(&mut self, role: usize, shared: &Shared) -> Result<&mut Link, String> {
        let narrow = (self.class != Class::Healthy).then_some(NARROW_BYTES);
        let link = Link::open(shared.target.address, narrow, &shared.registry, Token(self.token + role))
            .map_err(|error| said(&error))?;
        Ok(self.links[role].insert(link))
    }
}

/// An error of a connection, as the operating system names it.
fn said(error: &std::io::Error) -> String {
    error.to_string()
}
