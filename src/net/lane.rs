use std::io;
use std::net::Shutdown;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::outgoing::{Injected, Opening, Outgoing, Progress, Refused};

/// An accepted socket, and what is on its way out of it. The engine's half owns it; a [`Lane`] is the other half.
#[derive(Debug)]
pub(super) struct Pipe {
    stream: TcpStream,
    /// A std lock, held for one write that does not wait: between the rest of one frame and the next nobody may come.
    outgoing: Mutex<Outgoing>,
    /// Something was let out, or ended, that a lane may wait for.
    changed: Notify,
    /// How much may wait for the client, in bytes.
    buffer_bytes: usize,
}

impl Pipe {
    pub(super) fn new(stream: TcpStream, buffer_bytes: usize) -> Arc<Self> {
        let outgoing = Mutex::new(Outgoing::new());
        Arc::new(Self { stream, outgoing, changed: Notify::new(), buffer_bytes })
    }

    pub(super) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// The engine writes whole frames: all of `bytes` are taken, or it has to wait.
    pub(super) fn poll_write_engine(&self, cx: &Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let written = self.lock().write_engine(bytes, cx.waker(), |bytes| self.stream.try_write(bytes));
            if written.is_ready() {
                self.changed.notify_waiters();
                return written.map_ok(|()| bytes.len());
            }
            ready!(self.poll_write_ready(cx))?;
        }
    }

    /// Ready once nothing of what the engine wrote waits here.
    pub(super) fn poll_flush_engine(&self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let flushed = self.lock().flush_engine(cx.waker(), |bytes| self.stream.try_write(bytes));
            if flushed.is_ready() {
                self.changed.notify_waiters();
                return flushed;
            }
            ready!(self.poll_write_ready(cx))?;
        }
    }

    pub(super) fn poll_write_ready(&self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        // The signature wants it mutable; it is not changed.
        self.stream.poll_write_ready(&mut Context::from_waker(cx.waker()))
    }

    /// Ends the connection however stuck its peer is: the engine's reader sees the end of the stream, its writer a
    /// broken pipe, and what the kernel still holds is dropped.
    pub(super) fn close(&self) {
        self.end();
        let socket = SockRef::from(&self.stream);
        // An error means that it is closed already.
        socket.set_linger(Some(Duration::ZERO)).ok();
        socket.shutdown(Shutdown::Both).ok();
    }

    /// When the client last took something.
    pub(super) fn moved(&self) -> Instant {
        self.lock().moved()
    }

    /// No lane sends anything any more.
    pub(super) fn end(&self) {
        self.lock().end();
        self.changed.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, Outgoing> {
        self.outgoing.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// A way to send ready frames to one client, beside the engine that serves its WebSocket. Cheap to clone.
///
/// It does not keep the connection open: when the engine lets go of it, it is gone.
#[derive(Clone, Debug)]
pub struct Lane {
    pipe: Weak<Pipe>,
    turn: u32,
}

impl Lane {
    /// Takes the connection over for a client that is sent nothing before `opening`. A lane of a client before it on
    /// the same connection is [`Injected::Gone`] from now on.
    pub(super) fn claim(pipe: &Weak<Pipe>, opening: Opening) -> Option<Self> {
        let turn = pipe.upgrade()?.lock().claim(opening);
        Some(Self { pipe: pipe.clone(), turn })
    }

    /// Sends frames at once, as many as can be, and lets go of those that cannot. `ends` says where each ends in
    /// `frames`.
    pub fn inject(&self, frames: &[u8], ends: &[usize]) -> Injected {
        match self.pipe.upgrade() {
            Some(pipe) => pipe.lock().inject(self.turn, frames, ends, |bytes| pipe.stream.try_write(bytes)),
            None => Injected::Gone,
        }
    }

    /// Sends a message, a frame that may not be left out, or keeps it until it can be sent. True if it waits: then
    /// somebody has to wait for [`Lane::cleared`].
    ///
    /// # Errors
    /// There is no room for it, or nobody who could take it.
    pub fn send(&self, frame: Bytes) -> Result<bool, Refused> {
        let pipe = self.pipe.upgrade().ok_or(Refused::Gone)?;
        pipe.lock().send(self.turn, frame, pipe.buffer_bytes, |bytes| pipe.stream.try_write(bytes))
    }

    /// Sends what waits as soon as it can be sent. Ends when nothing waits any more and the kernel takes more, or there is
    /// nobody who could take it.
    pub async fn cleared(self) {
        loop {
            let Some(pipe) = self.pipe.upgrade() else { return };
            let mut changed = pin!(pipe.changed.notified());
            // From here on no change is missed.
            changed.as_mut().enable();
            let progress = pipe.lock().advance(self.turn, |bytes| pipe.stream.try_write(bytes));
            match progress {
                Progress::Gone => return,
                Progress::Waits => changed.await,
                // The kernel may have taken nothing at all of what was refused: then nothing waits here, and yet it would
                // be refused again.
                Progress::Clear => tokio::select! {
                    _ = pipe.stream.writable() => return,
                    () = changed => {}
                },
                Progress::Full => tokio::select! {
                    // An error is seen by the next write.
                    _ = pipe.stream.writable() => {}
                    () = changed => {}
                },
            }
        }
    }

    /// When the client last took something, as far as the kernel tells; none where there is nobody any more.
    pub fn moved(&self) -> Option<Instant> {
        Some(self.pipe.upgrade()?.moved())
    }

    /// Since when the oldest waits of what waits here.
    pub fn waits_since(&self) -> Option<Instant> {
        self.pipe.upgrade()?.lock().waits_since(self.turn)
    }
}
