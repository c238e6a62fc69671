use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::connection::{Closer, Connection, Limits};
use super::frame::text_frame;
use super::lane::Lane;
use super::outgoing::Opening;
use crate::metrics::Metrics;

/// How long a peer may take nothing.
pub(super) const SLOW: Duration = Duration::from_secs(30);

/// How much the kernel may hold at either end: little, so that a peer that does not read is felt soon.
const KERNEL_BYTES: u32 = 4096;

/// A connection that carries WebSocket frames, with its peer: for tests.
pub struct Pair {
    pub(super) connection: Connection,
    pub(super) closer: Closer,
    pub(super) metrics: Arc<Metrics>,
    /// A lane that opens with `40`.
    pub lane: Lane,
    /// The other end. It has read everything so far.
    pub peer: TcpStream,
}

impl Pair {
    /// One whose lane is not open yet.
    pub async fn new() -> Self {
        let listener = TcpSocket::new_v4().unwrap();
        listener.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = listener.listen(1).unwrap();
        let peer = TcpSocket::new_v4().unwrap();
        peer.set_recv_buffer_size(KERNEL_BYTES).unwrap();
        let mut peer = peer.connect(listener.local_addr().unwrap()).await.unwrap();
        let limits = Limits {
            header_timeout: Duration::from_secs(60),
            frames_per_second: None,
            attachments_timeout: SLOW,
            slow_timeout: SLOW,
            buffer_bytes: 1 << 20,
            kernel_bytes: Some(KERNEL_BYTES as usize),
        };
        let metrics = Arc::<Metrics>::default();
        let (mut connection, closer) = Connection::new(listener.accept().await.unwrap().0, limits, metrics.clone());

        peer.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        connection.read_exact(&mut [0; 18]).await.unwrap();
        assert!(closer.stage().begin_frames());
        let lane = closer.lane(Opening { prefix: b"40", swallow: false }).unwrap();
        let mut pair = Self { connection, closer, metrics, lane, peer };
        pair.write(b"HTTP/1.1 101 -\r\n\r\n").await;
        pair
    }

    /// One whose lane is open.
    pub async fn open() -> Self {
        let mut pair = Self::new().await;
        pair.write(&text_frame("40{}")).await;
        pair
    }

    /// Has the engine write this, and the peer read it.
    pub async fn write(&mut self, bytes: &[u8]) {
        self.connection.write_all(bytes).await.unwrap();
        self.connection.flush().await.unwrap();
        let mut read = vec![0; bytes.len()];
        self.peer.read_exact(&mut read).await.unwrap();
        assert_eq!(read, bytes);
    }

    /// Reads one short frame's text.
    pub async fn read_text(&mut self) -> String {
        let mut header = [0; 2];
        self.peer.read_exact(&mut header).await.unwrap();
        let length = match header {
            [0x81, 126] => usize::from(self.peer.read_u16().await.unwrap()),
            [0x81, length @ ..126] => usize::from(length),
            header => panic!("not a short text: {header:?}"),
        };
        let mut text = vec![0; length];
        self.peer.read_exact(&mut text).await.unwrap();
        String::from_utf8(text).unwrap()
    }
}
