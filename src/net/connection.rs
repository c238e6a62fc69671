use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::inbound::{Inbound, Stage};
use crate::metrics::Metrics;

/// Ends one accepted connection from outside, however stuck its peer is. Cheap to clone.
///
/// It stands in the extensions of every request that came over the connection.
#[derive(Clone, Debug)]
pub struct Closer(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    closed: AtomicBool,
    /// The peer has ended the stream, or is gone.
    left: AtomicBool,
    reader: AtomicWaker,
    writer: AtomicWaker,
    stage: Stage,
    /// Where this connection is registered as somebody's WebSocket.
    upgraded: OnceLock<(String, Upgrades)>,
}

impl Closer {
    /// Ends the connection: its reader sees the end of the stream, its writer a broken pipe.
    pub fn close(&self) {
        self.0.close();
    }

    /// True while neither the peer has ended the stream nor a [`Closer`] has: who ends it now does so for what came.
    pub fn is_whole(&self) -> bool {
        !self.0.left.load(Ordering::Acquire) && !self.0.closed.load(Ordering::Acquire)
    }

    /// Whether the bytes that come are HTTP or WebSocket frames.
    pub(super) fn stage(&self) -> &Stage {
        &self.0.stage
    }
}

impl Shared {
    fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.reader.wake();
        self.writer.wake();
    }
}

/// Which connection carries the WebSocket of which session that began with polling, by session id.
#[derive(Clone, Debug, Default)]
pub struct Upgrades(Arc<Mutex<HashMap<String, Weak<Shared>>>>);

impl Upgrades {
    /// Says that this connection is to carry the session's WebSocket. The first one stays: the engine refuses a second.
    pub fn register(&self, session: &str, closer: &Closer) {
        if closer.0.upgraded.set((session.to_owned(), self.clone())).is_err() {
            return;
        }
        let mut connections = self.lock();
        let taken = connections.get(session).is_some_and(|known| known.strong_count() > 0);
        if !taken {
            connections.insert(session.to_owned(), Arc::downgrade(&closer.0));
        }
    }

    /// The connection that carries this session's WebSocket.
    pub fn find(&self, session: &str) -> Option<Closer> {
        self.lock().get(session)?.upgrade().map(Closer)
    }

    fn forget(&self, session: &str, gone: &Arc<Shared>) {
        let mut connections = self.lock();
        if connections.get(session).is_some_and(|known| std::ptr::eq(known.as_ptr(), Arc::as_ptr(gone))) {
            connections.remove(session);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Weak<Shared>>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// An accepted connection that a [`Closer`] can end, and that ends by itself when its client owes attachments for too
/// long.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    shared: Arc<Shared>,
    inbound: Inbound,
    metrics: Arc<Metrics>,
}

impl Connection {
    pub(super) fn new(stream: TcpStream, attachments_timeout: Duration, metrics: Arc<Metrics>) -> (Self, Closer) {
        let shared = Arc::new(Shared {
            closed: AtomicBool::new(false),
            left: AtomicBool::new(false),
            reader: AtomicWaker::new(),
            writer: AtomicWaker::new(),
            stage: Stage::default(),
            upgraded: OnceLock::new(),
        });
        let inbound = Inbound::new(attachments_timeout);
        (Self { stream, shared: shared.clone(), inbound, metrics }, Closer(shared))
    }

    /// True once it is to end; `side` is woken when it becomes so.
    fn is_closed(&self, side: &AtomicWaker, cx: &Context<'_>) -> bool {
        side.register(cx.waker());
        self.shared.closed.load(Ordering::Acquire)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some((session, upgrades)) = self.shared.upgraded.get() {
            upgrades.forget(session, &self.shared);
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.is_closed(&this.shared.reader, cx) {
            return Poll::Ready(Ok(()));
        }
        // The reader of a WebSocket always waits here, so no task is needed that waits for the deadline.
        if this.inbound.poll_overdue(&this.shared.stage, cx).is_ready() {
            tracing::debug!("connection ended: its client announced attachments and did not send them");
            this.metrics.protocol_errors.inc();
            this.shared.close();
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let read = ready!(Pin::new(&mut this.stream).poll_read(cx, buf));
        if read.is_err() || (buf.filled().len() == before && buf.remaining() > 0) {
            this.shared.left.store(true, Ordering::Release);
        }
        read?;
        this.inbound.read(&this.shared.stage, &buf.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.is_closed(&self.shared.writer, cx) {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.is_closed(&self.shared.writer, cx) {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (Connection, Closer, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (connection, closer) = Connection::new(listener.accept().await.unwrap().0, Duration::ZERO, Arc::default());
        (connection, closer, peer)
    }

    #[tokio::test]
    async fn a_closer_ends_a_reader_and_a_writer_that_wait_for_a_peer_that_does_nothing() {
        let (connection, closer, _peer) = pair().await;
        let (mut read, mut write) = tokio::io::split(connection);
        let writing = async {
            loop {
                if let Err(error) = write.write_all(&[0; 65_536]).await {
                    return error.kind();
                }
            }
        };
        let reading = async {
            let end = read.read_u8();
            tokio::pin!(end);
            // Only now that both wait.
            assert!(futures_util::poll!(&mut end).is_pending());
            closer.close();
            end.await.unwrap_err().kind()
        };
        let ended = futures_util::future::join(writing, reading);
        assert_eq!(ended.await, (io::ErrorKind::BrokenPipe, io::ErrorKind::UnexpectedEof));
    }

    #[tokio::test]
    async fn a_connection_is_whole_until_one_side_ends_it() {
        let (mut connection, closer, peer) = pair().await;
        assert!(closer.is_whole());
        drop(peer);
        assert!(connection.read_u8().await.is_err());
        assert!(!closer.is_whole());
        let (_connection, closer, _peer) = pair().await;
        closer.close();
        assert!(!closer.is_whole());
    }

    #[tokio::test]
    async fn upgrades_are_found_while_their_connection_lives() {
        let upgrades = Upgrades::default();
        let (first, first_closer, _peer) = pair().await;
        let (second, second_closer, _peer) = pair().await;
        upgrades.register("sid", &first_closer);
        upgrades.register("sid", &second_closer);
        drop(second);
        assert!(Arc::ptr_eq(&upgrades.find("sid").unwrap().0, &first_closer.0), "the first one stays");
        drop(first);
        assert!(upgrades.find("sid").is_none() && upgrades.lock().is_empty());
    }
}
