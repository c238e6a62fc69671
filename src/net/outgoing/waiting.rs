use std::collections::VecDeque;
use std::io;
use std::task::Waker;
use std::time::Instant;

use bytes::{Buf, Bytes};

/// What the kernel did not take, and who waits for it to be gone.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// The rest of a write of which the kernel took a part.
    pub(super) partial: Bytes,
    pub(super) partial_since: Option<Instant>,
    /// Whole frames that wait, and since when.
    pub(super) queue: VecDeque<(Instant, Bytes)>,
    queued_bytes: usize,
    /// Our close frame, which goes out behind all that waits.
    pub(super) farewell: Option<Bytes>,
    /// When the kernel last took some of this.
    pub(super) moved: Option<Instant>,
    /// Wakes the engine's writer, which waits: then it is its turn before ours, or its pings would starve.
    pub(super) engine: Option<Waker>,
}

impl Waiting {
    /// True where there is nothing to send, and nobody waits.
    pub(super) fn is_nothing(&self) -> bool {
        self.partial.is_empty() && self.queue.is_empty() && self.farewell.is_none() && self.engine.is_none()
    }

    /// How much waits, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.partial.len() + self.queued_bytes
    }

    /// Since when the oldest waits, or since when nothing of it went out; none where only somebody waits.
    pub(super) fn since(&self) -> Option<Instant> {
        let since = self.partial_since.or_else(|| self.queue.front().map(|&(since, _)| since))?;
        Some(self.moved.map_or(since, |moved| moved.max(since)))
    }

    /// Keeps the rest of a write.
    pub(super) fn keep(&mut self, rest: &[u8]) {
        if !rest.is_empty() {
            self.partial = Bytes::copy_from_slice(rest);
            self.partial_since = Some(Instant::now());
        }
    }

    /// Adds a whole frame.
    pub(super) fn push(&mut self, frame: Bytes) {
        self.queued_bytes += frame.len();
        self.queue.push_back((Instant::now(), frame));
    }

    /// Lets go of every frame that was not begun.
    pub(super) fn forget(&mut self) {
        self.queue = VecDeque::new();
        self.queued_bytes = 0;
        self.farewell = None;
    }

    /// Sends the rest of a write. True once it is gone.
    pub(super) fn finish(&mut self, mut write: impl FnMut(&[u8]) -> io::Result<usize>) -> io::Result<bool> {
        while !self.partial.is_empty() {
            match write(&self.partial) {
                Ok(written) => {
                    self.partial.advance(written);
                    self.moved = Some(Instant::now());
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        self.partial = Bytes::new();
        self.partial_since = None;
        Ok(true)
    }

    /// Sends the frames that wait, in order. True once all are gone.
    pub(super) fn drain(&mut self, mut write: impl FnMut(&[u8]) -> io::Result<usize>) -> io::Result<bool> {
        while let Some((since, frame)) = self.queue.front() {
            let written = match write(frame) {
                Ok(written) => written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            };
            self.queued_bytes -= frame.len();
            self.moved = Some(Instant::now());
            let whole = written == frame.len();
            if !whole {
                self.partial = frame.slice(written..);
                self.partial_since = Some(*since);
            }
            self.queue.pop_front();
            if !whole {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
