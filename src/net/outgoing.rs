mod waiting;

use std::io;
use std::task::{Poll, Waker};
use std::time::Instant;

use bytes::Bytes;

use super::frame::Frame;
use waiting::Waiting;

/// When a client may be sent frames beside the engine's: once a text of the engine's that begins like this has gone
/// out. What the engine had to say first comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening {
    /// How the text begins.
    pub prefix: &'static [u8],
    /// True where it is only there to be seen here, and is kept from the client.
    pub swallow: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Gate {
    /// Nothing but the engine's.
    Shut(Option<Opening>),
    Open,
    /// A close frame went out, or the connection ended: nothing more may come.
    Ended,
}

/// What became of frames that were offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Injected {
    /// So many of them are on their way, whole; no other may be taken for now unless it was all of them.
    Taken {
        /// How many frames.
        frames: usize,
        /// True where something waits: the rest of a frame, or frames that were not taken.
        blocked: bool,
    },
    /// There is nobody any more who could take any.
    Gone,
}

/// Why a message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// What waits for the client is as much as it may be.
    Full,
    /// There is nobody any more who could take it.
    Gone,
}

/// How far what waits could be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// All of it.
    Clear,
    /// The kernel takes no more.
    Full,
    /// It is not its turn: the engine's comes first.
    Waits,
    /// There is nobody any more who could take it.
    Gone,
}

/// What is on its way to one client over a WebSocket: the order between the engine's frames and ours, and what the
/// kernel did not take.
///
/// Frames never mix. The engine writes whole frames, and each of its writes is taken whole; of ours a frame is either
/// not begun or taken whole. What the kernel takes only in part is finished before anything else.
#[derive(Debug)]
pub(super) struct Outgoing {
    gate: Gate,
    /// Counts whose turn it is to send beside the engine: a client that comes after another on the same connection.
    turn: u32,
    /// True once our close frame has gone out: the engine's frames are let go of from then on.
    parted: bool,
    /// What waits; none for most clients, most of the time. Apart, so that a flush touches little memory for those.
    waiting: Option<Box<Waiting>>,
}

impl Outgoing {
    pub(super) fn new() -> Self {
        Self { gate: Gate::Shut(None), turn: 0, parted: false, waiting: None }
    }

    /// A client comes that may be sent frames after `opening`; one before it may not any more. Returns its turn.
    pub(super) fn claim(&mut self, opening: Opening) -> u32 {
        self.turn += 1;
        if self.gate != Gate::Ended {
            self.shut(Gate::Shut(Some(opening)));
        }
        self.turn
    }

    /// Nothing more may come.
    pub(super) fn end(&mut self) {
        self.gate = Gate::Ended;
        // An engine that waits is told by its own next write.
        self.waiting = None;
    }

    /// Sends frames at once, as many as can be, and lets go of those that cannot: they become old while they wait.
    /// `ends` says where each ends in `frames`.
    pub(super) fn inject(
        &mut self,
        turn: u32,
        frames: &[u8],
        ends: &[usize],
        mut write: impl FnMut(&[u8]) -> io::Result<usize>,
    ) -> Injected {
        if !self.may_send(turn) {
            return Injected::Gone;
        }
        if self.gate != Gate::Open || self.waiting.is_some() {
            return Injected::Taken { frames: 0, blocked: true };
        }
        match write(frames) {
            Ok(written) if written == frames.len() => Injected::Taken { frames: ends.len(), blocked: false },
            Ok(written) => {
                let begun = ends.partition_point(|&end| end < written);
                let end = ends.get(begun).copied().unwrap_or(frames.len());
                self.keep(&frames[written..end]);
                Injected::Taken { frames: (begun + 1).min(ends.len()), blocked: true }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Injected::Taken { frames: 0, blocked: true },
            Err(_) => {
                self.end();
                Injected::Gone
            }
        }
    }

    /// Sends a message, or keeps it until it can be sent, as long as it is alone or at most `limit` bytes wait. True if it
    /// waits.
    pub(super) fn send(
        &mut self,
        turn: u32,
        frame: Bytes,
        limit: usize,
        write: impl FnMut(&[u8]) -> io::Result<usize>,
    ) -> Result<bool, Refused> {
        if !self.may_send(turn) {
            return Err(Refused::Gone);
        }
        // A single one may be of any size: who could never be given an answer would come back for it for ever.
        let waiting = self.waiting.as_ref().map_or(0, |waiting| waiting.bytes());
        if waiting > 0 && waiting.saturating_add(frame.len()) > limit {
            return Err(Refused::Full);
        }
        self.waiting.get_or_insert_default().push(frame);
        match self.advance(turn, write) {
            Progress::Clear => Ok(false),
            Progress::Full | Progress::Waits => Ok(true),
            Progress::Gone => Err(Refused::Gone),
        }
    }

    /// Sends a close frame behind all that waits; nothing may come after it, not even of the engine's. True if it waits.
    pub(super) fn part(
        &mut self,
        turn: u32,
        frame: Bytes,
        write: impl FnMut(&[u8]) -> io::Result<usize>,
    ) -> Result<bool, Refused> {
        if !self.may_send(turn) {
            return Err(Refused::Gone);
        }
        self.waiting.get_or_insert_default().farewell = Some(frame);
        match self.advance(turn, write) {
            Progress::Full | Progress::Waits => Ok(true),
            Progress::Clear | Progress::Gone if self.parted => Ok(false),
            Progress::Clear | Progress::Gone => Err(Refused::Gone),
        }
    }

    /// Sends of what waits as much as can be. Wakes the engine where it is its turn.
    pub(super) fn advance(&mut self, turn: u32, write: impl FnMut(&[u8]) -> io::Result<usize>) -> Progress {
        if !self.is_turn_of(turn) {
            return Progress::Gone;
        }
        let progress = self.go_on(write).unwrap_or_else(|_| {
            self.end();
            Progress::Gone
        });
        self.settle();
        progress
    }

    fn go_on(&mut self, mut write: impl FnMut(&[u8]) -> io::Result<usize>) -> io::Result<Progress> {
        let Some(waiting) = &mut self.waiting else {
            return Ok(if self.gate == Gate::Open { Progress::Clear } else { Progress::Waits });
        };
        if !waiting.finish(&mut write)? {
            return Ok(Progress::Full);
        }
        if let Some(engine) = &waiting.engine {
            engine.wake_by_ref();
            return Ok(Progress::Waits);
        }
        if self.gate != Gate::Open {
            return Ok(Progress::Waits);
        }
        if !waiting.drain(&mut write)? {
            return Ok(Progress::Full);
        }
        let Some(frame) = &waiting.farewell else { return Ok(Progress::Clear) };
        match write(frame) {
            Ok(written) => {
                let rest = frame.slice(written..);
                waiting.keep(&rest);
                self.parted = true;
                self.shut(Gate::Ended);
                Ok(Progress::Gone)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Progress::Full),
            Err(error) => Err(error),
        }
    }

    /// Takes a write of the engine's, whole, or not at all where the kernel takes nothing.
    pub(super) fn write_engine(
        &mut self,
        bytes: &[u8],
        waker: &Waker,
        mut write: impl FnMut(&[u8]) -> io::Result<usize>,
    ) -> Poll<io::Result<()>> {
        if self.parted {
            return self.flush_engine(waker, write);
        }
        let heard = self.listen(bytes)?;
        let finished = self.finish(&mut write)?;
        let written = match heard.bytes.as_deref().unwrap_or(bytes) {
            _ if !finished => None,
            [] => Some(0),
            bytes => match write(bytes) {
                Ok(written) => {
                    self.keep(&bytes[written..]);
                    Some(written)
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
                Err(error) => return Poll::Ready(Err(error)),
            },
        };
        if written.is_none() {
            return self.engine_waits(waker);
        }
        self.engine_is_done();
        match heard.news {
            Some(News::Opens) => self.gate = Gate::Open,
            Some(News::Leaves) => {
                self.turn += 1;
                self.shut(Gate::Shut(None));
            }
            Some(News::Ends) => self.shut(Gate::Ended),
            None => {}
        }
        self.settle();
        Poll::Ready(Ok(()))
    }

    /// Ready once nothing of what the engine wrote waits here.
    pub(super) fn flush_engine(
        &mut self,
        waker: &Waker,
        write: impl FnMut(&[u8]) -> io::Result<usize>,
    ) -> Poll<io::Result<()>> {
        if !self.finish(write)? {
            return self.engine_waits(waker);
        }
        self.engine_is_done();
        self.settle();
        Poll::Ready(Ok(()))
    }

    /// When something went out last of what waits.
    pub(super) fn moved(&self) -> Option<Instant> {
        self.waiting.as_ref().and_then(|waiting| waiting.moved)
    }

    /// Since when the oldest waits of what does, or since when nothing of it went out.
    pub(super) fn waits_since(&self, turn: u32) -> Option<Instant> {
        self.waiting.as_ref().filter(|_| self.is_turn_of(turn))?.since()
    }

    /// Lets nothing of ours out any more, but for the rest of a frame that was begun.
    fn shut(&mut self, gate: Gate) {
        self.gate = gate;
        if let Some(waiting) = &mut self.waiting {
            waiting.forget();
        }
        self.settle();
    }

    fn is_turn_of(&self, turn: u32) -> bool {
        self.turn == turn && self.gate != Gate::Ended
    }

    /// True while more may be sent.
    fn may_send(&self, turn: u32) -> bool {
        self.is_turn_of(turn) && self.waiting.as_ref().is_none_or(|waiting| waiting.farewell.is_none())
    }

    /// Keeps the rest of a write.
    fn keep(&mut self, rest: &[u8]) {
        if !rest.is_empty() {
            self.waiting.get_or_insert_default().keep(rest);
        }
    }

    /// Sends the rest of a write. True once it is gone.
    fn finish(&mut self, write: impl FnMut(&[u8]) -> io::Result<usize>) -> io::Result<bool> {
        self.waiting.as_mut().map_or(Ok(true), |waiting| waiting.finish(write))
    }

    fn engine_waits(&mut self, waker: &Waker) -> Poll<io::Result<()>> {
        self.waiting.get_or_insert_default().engine = Some(waker.clone());
        Poll::Pending
    }

    fn engine_is_done(&mut self) {
        if let Some(waiting) = &mut self.waiting {
            waiting.engine = None;
        }
    }

    /// Most clients never wait again: nothing is kept for them.
    fn settle(&mut self) {
        if self.waiting.as_ref().is_some_and(|waiting| waiting.is_nothing()) {
            self.waiting = None;
        }
    }

    /// Looks at a write of the engine's: whole frames, or this cannot work.
    fn listen(&self, bytes: &[u8]) -> io::Result<Heard> {
        let mut heard = Heard { news: None, bytes: None };
        let (mut rest, mut position) = (bytes, 0);
        while !rest.is_empty() {
            let Some((frame, after)) = Frame::split(rest) else {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the engine wrote a part of a frame"));
            };
            rest = after;
            let end = position + frame.bytes.len();
            if frame.is_close() {
                heard.news = Some(News::Ends);
            } else if let Gate::Shut(Some(opening)) = self.gate
                && heard.news.is_none()
                && frame.is_text_with(opening.prefix)
            {
                heard.news = Some(News::Opens);
                if opening.swallow {
                    heard.bytes = Some([&bytes[..position], rest].concat());
                }
            } else if frame.is_text_with(DISCONNECT) {
                heard.news = Some(News::Leaves);
            }
            position = end;
        }
        Ok(heard)
    }
}

/// How the packet begins with which the engine tells a client that it is disconnected: then nothing may come for it.
const DISCONNECT: &[u8] = b"41";

#[derive(Clone, Copy)]
enum News {
    /// The client has what has to come first.
    Opens,
    /// The client is disconnected, the connection stays.
    Leaves,
    /// A close frame.
    Ends,
}

/// What a write of the engine's says.
struct Heard {
    news: Option<News>,
    /// What goes to the client, where it is not all of it.
    bytes: Option<Vec<u8>>,
}

#[cfg(test)]
mod tests;
