use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

use super::heads::{Heads, LATE_HEAD};
use super::inbound::{Inbound, Stage};
use super::lane::{Lane, Pipe};
use super::linger::Linger;
use super::outgoing::Opening;
use super::pace::Pace;
use super::upgrades::Upgrades;
use crate::metrics::Metrics;

/// What one connection may use.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How long the attachments of a binary packet may take over a WebSocket.
    pub attachments_timeout: Duration,
    /// How long a client may take nothing of what waits for it.
    pub slow_timeout: Duration,
    /// How long the head of an HTTP request may take.
    pub header_timeout: Duration,
    /// How many frames a client may send over a WebSocket, per second; none for any number.
    pub frames_per_second: Option<u32>,
    /// How much may wait for a client in the process, in bytes.
    pub buffer_bytes: usize,
    /// How much may wait for a client in the kernel, in bytes; none for what the kernel thinks.
    pub kernel_bytes: Option<usize>,
}

/// Ends one accepted connection from outside, however stuck its peer is, and opens the way for frames beside the
/// engine's. Cheap to clone; keeps nothing open.
///
/// It stands in the extensions of every request that came over the connection.
#[derive(Clone, Debug)]
pub struct Closer(pub(super) Arc<Shared>);

#[derive(Debug)]
pub(super) struct Shared {
    pipe: Weak<Pipe>,
    closed: AtomicBool,
    /// The peer has ended the stream, or is gone.
    left: AtomicBool,
    stage: Stage,
    /// Requests that were handed on, and answered, in turn: odd while one is carried out.
    turns: AtomicU64,
    /// What is kept for as long as the connection lives.
    held: Mutex<Option<Held>>,
    /// Whose WebSocket this connection is to carry, of a session that began with polling.
    upgrade: Mutex<Option<(String, Upgrades)>>,
}

impl Closer {
    /// Ends the connection: its reader sees the end of the stream, its writer a broken pipe, and what the kernel still
    /// holds for the peer is dropped.
    pub fn close(&self) {
        self.0.close();
    }

    /// True while neither the peer has ended the stream nor a [`Closer`] has: who ends it now does so for what came.
    pub fn is_whole(&self) -> bool {
        !self.0.left.load(Ordering::Acquire) && !self.0.closed.load(Ordering::Acquire)
    }

    /// A way to send a client frames over the connection, from when `opening` has gone out; none once it has ended. One
    /// claimed before it ends.
    pub fn lane(&self, opening: Opening) -> Option<Lane> {
        Lane::claim(&self.0.pipe, opening)
    }

    /// Keeps something until the connection ends, in place of what it kept before.
    pub fn hold(&self, held: impl Send + Sync + 'static) {
        self.0.hold(Some(Held { _it: Box::new(held) }));
    }

    /// Lets that go now.
    pub fn release(&self) {
        self.0.hold(None);
    }

    /// A request is handed on.
    pub(super) fn begin_request(&self) {
        self.0.turns.fetch_or(1, Ordering::AcqRel);
    }

    /// It has its answer, and the next may come.
    pub(super) fn end_request(&self) {
        // From odd to even.
        self.0.turns.fetch_add(1, Ordering::AcqRel);
    }

    /// Whether the bytes that come are HTTP or WebSocket frames.
    pub(super) fn stage(&self) -> &Stage {
        &self.0.stage
    }

    /// Says that the request for frames was refused: it is HTTP still, and nobody's WebSocket.
    pub(super) fn refuse_frames(&self) {
        *self.0.upgrade() = None;
        self.0.stage.refuse_frames();
    }
}

/// What is dropped with the connection, and not before.
struct Held {
    _it: Box<dyn Send + Sync>,
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Held")
    }
}

impl Shared {
    pub(super) fn upgrade(&self) -> MutexGuard<'_, Option<(String, Upgrades)>> {
        self.upgrade.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn hold(&self, held: Option<Held>) {
        // Dropped after the lock.
        let _before = std::mem::replace(&mut *self.held.lock().unwrap_or_else(|poisoned| poisoned.into_inner()), held);
    }

    fn close(&self) {
        self.closed.store(true, Ordering::Release);
        if let Some(pipe) = self.pipe.upgrade() {
            pipe.close();
        }
    }
}

/// An accepted connection that a [`Closer`] can end, that ends by itself when its client owes attachments or takes
/// nothing for too long, and that lanes may share once it carries WebSocket frames.
#[derive(Debug)]
pub(super) struct Connection {
    pipe: Arc<Pipe>,
    shared: Arc<Shared>,
    inbound: Inbound,
    pace: Pace,
    heads: Heads,
    head: Head,
    slow_timeout: Duration,
    /// Until when what the engine waits for has to have gone out. Only while it waits.
    stuck: Option<Pin<Box<Sleep>>>,
    /// Once the last answer has gone out that there will be, and its peer may still send.
    linger: Option<Box<Linger>>,
    metrics: Arc<Metrics>,
}

/// How far the head of the answer to a request for frames has gone out: its end is an empty line, and frames follow.
#[derive(Clone, Copy, Debug, Default)]
struct Head {
    /// How many bytes of the end have gone out.
    matched: usize,
}

impl Head {
    const END: &[u8] = b"\r\n\r\n";

    fn is_over(self) -> bool {
        self.matched == Self::END.len()
    }

    fn read(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if self.is_over() {
                return;
            }
            self.matched = match byte {
                byte if byte == Self::END[self.matched] => self.matched + 1,
                b'\r' => 1,
                _ => 0,
            };
        }
    }
}

impl Connection {
    pub(super) fn new(stream: TcpStream, limits: Limits, metrics: Arc<Metrics>) -> (Self, Closer) {
        if let Some(bytes) = limits.kernel_bytes {
            // The kernel may allow less; then it is less that waits there.
            socket2::SockRef::from(&stream).set_send_buffer_size(bytes).ok();
        }
        let pipe = Pipe::new(stream, limits.buffer_bytes);
        let shared = Arc::new(Shared {
            pipe: Arc::downgrade(&pipe),
            closed: AtomicBool::new(false),
            left: AtomicBool::new(false),
            stage: Stage::default(),
            turns: AtomicU64::new(0),
            held: Mutex::default(),
            upgrade: Mutex::new(None),
        });
        metrics.tcp_connections.add(1);
        let connection = Self {
            pipe,
            shared: shared.clone(),
            inbound: Inbound::new(limits.attachments_timeout),
            pace: Pace::new(limits.frames_per_second),
            heads: Heads::new(limits.header_timeout),
            head: Head::default(),
            slow_timeout: limits.slow_timeout,
            stuck: None,
            linger: None,
            metrics,
        };
        (connection, Closer(shared))
    }

    /// True once what the connection sends are frames.
    fn sends_frames(&mut self) -> bool {
        if self.shared.stage.is_frames() {
            return self.head.is_over();
        }
        self.head = Head::default();
        false
    }

    /// Says that nothing more comes. Over HTTP ready once the peer can have read what was said last.
    fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.linger.is_none() {
            socket2::SockRef::from(self.pipe.stream()).shutdown(std::net::Shutdown::Write)?;
            if self.shared.stage.is_frames() || self.shared.left.load(Ordering::Acquire) {
                return Poll::Ready(Ok(()));
            }
        }
        let linger = self.linger.get_or_insert_with(|| Box::new(Linger::new()));
        linger.poll(self.pipe.stream(), cx).map(Ok)
    }

    /// The engine, or hyper, waits for its peer to take something: not for ever.
    fn wait<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        let timeout = self.slow_timeout;
        let stuck = self.stuck.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
        loop {
            ready!(stuck.as_mut().poll(cx));
            // One that takes something, however little, is slow and not gone.
            let moved = self.pipe.moved().map(|moved| tokio::time::Instant::from_std(moved) + timeout);
            match moved.filter(|until| *until > tokio::time::Instant::now()) {
                Some(until) => stuck.as_mut().reset(until),
                None => break,
            }
        }
        tracing::debug!("connection ended: its client took nothing for too long");
        self.metrics.slow_disconnects.inc();
        self.shared.close();
        Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some((session, upgrades)) = self.shared.upgrade().take() {
            upgrades.forget(&session, &self.shared);
        }
        self.shared.hold(None);
        self.metrics.tcp_connections.add(-1);
        self.pipe.end();
    }
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.shared.closed.load(Ordering::Acquire) {
            return Poll::Ready(Ok(()));
        }
        if let Some(linger) = &mut this.linger {
            return linger.poll(this.pipe.stream(), cx).map(Ok);
        }
        // The reader of a WebSocket always waits here, so no task is needed that waits for the deadline.
        if this.inbound.poll_overdue(&this.shared.stage, cx).is_ready() {
            tracing::debug!("connection ended: its client announced attachments and did not send them");
            this.metrics.protocol_errors.inc();
            this.shared.close();
            return Poll::Ready(Ok(()));
        }
        let turn = this.shared.turns.load(Ordering::Acquire);
        let is_http = !this.shared.stage.is_frames();
        if !is_http {
            this.heads.end();
        } else if this.heads.poll_late(turn, cx).is_ready() {
            tracing::debug!("connection ended: the head of a request took too long");
            this.metrics.header_timeouts.inc();
            // As much as goes out at once: its client may be none that reads.
            this.pipe.stream().try_write(LATE_HEAD).ok();
            return this.poll_part(cx);
        }
        let before = buf.filled().len();
        let room = buf.remaining() > 0;
        let read = loop {
            ready!(this.pipe.stream().poll_read_ready(cx))?;
            match this.pipe.stream().try_read(buf.initialize_unfilled()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => break read,
            }
        };
        if matches!(read, Err(_) | Ok(0)) && room {
            this.shared.left.store(true, Ordering::Release);
        }
        buf.advance(read?);
        if is_http {
            this.heads.read(turn);
        }
        let upgraded = this.inbound.read(&this.shared.stage, &buf.filled()[before..]);
        // As long as it is HTTP, what looks like frames may be a body.
        let frames = if is_http { 0 } else { this.inbound.take_frames() };
        if frames > 0 && this.pace.exceeds(frames, Instant::now()) {
            tracing::debug!("connection ended: its client sent far too many frames");
            this.metrics.limited_frames.inc();
            this.shared.close();
            // Nothing of it is looked at.
            buf.set_filled(before);
            return Poll::Ready(Ok(()));
        }
        if upgraded {
            let upgrade = this.shared.upgrade().clone();
            if let Some((session, upgrades)) = upgrade {
                upgrades.ended(&session, &this.shared);
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.shared.closed.load(Ordering::Acquire) {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if this.sends_frames() {
            let written = this.pipe.poll_write_engine(cx, buf);
            if written.is_pending() {
                return this.wait(cx);
            }
            this.stuck = None;
            return written;
        }
        loop {
            match this.pipe.poll_write_ready(cx) {
                Poll::Pending => return this.wait(cx),
                Poll::Ready(ready) => ready?,
            }
            match this.pipe.stream().try_write(buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => {
                    this.stuck = None;
                    if let Ok(written) = written {
                        this.head.read(&buf[..written]);
                    }
                    return Poll::Ready(written);
                }
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.sends_frames() {
            return Poll::Ready(Ok(()));
        }
        let flushed = this.pipe.poll_flush_engine(cx);
        if flushed.is_pending() {
            return this.wait(cx);
        }
        this.stuck = None;
        flushed
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_part(cx)
    }
}

#[cfg(test)]
mod tests;
