use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::Sleep;

/// How long a peer may take to end the stream once it has had the last answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// How much of what it still sends is read, in bytes.
const READ_BYTES: usize = 16 * 1024;

/// Reads on, and throws away, what a peer still sends after the last answer to it. A socket that is closed before that is
/// reset by the kernel, and its peer may never see the answer.
#[derive(Debug)]
pub(super) struct Linger {
    until: Pin<Box<Sleep>>,
    left: usize,
}

impl Linger {
    pub(super) fn new() -> Self {
        Self { until: Box::pin(tokio::time::sleep(PATIENCE)), left: READ_BYTES }
    }

    /// Ready once the peer has ended the stream, or has had its time or its bytes.
    pub(super) fn poll(&mut self, stream: &TcpStream, cx: &mut Context<'_>) -> Poll<()> {
        let mut bytes = [0; 1024];
        while self.left > 0 && self.until.as_mut().poll(cx).is_pending() {
            let read = ready!(stream.poll_read_ready(cx)).and_then(|()| stream.try_read(&mut bytes));
            match read {
                Ok(0) => break,
                Ok(read) => self.left = self.left.saturating_sub(read),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => break,
            }
        }
        Poll::Ready(())
    }
}
