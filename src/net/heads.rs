use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Sleep;

/// What a client is told whose request does not come.
pub(super) const LATE_HEAD: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nContent-Type: application/json\r\n\
    Content-Length: 83\r\nConnection: close\r\n\r\n\
    {\"code\":\"unavailable\",\"message\":\"the head of the request took too long: try again\"}";

/// Watches how long the heads of HTTP requests take, from the first byte of each; of the first on a connection, from
/// its beginning. Hyper has one bound for this and for the time between two requests, which may be much longer.
///
/// It counts in turns: an even one waits for a request, and an odd one carries it out; what comes then is its body, or
/// the next request, which hyper does not read yet.
#[derive(Debug)]
pub(super) struct Heads {
    timeout: Duration,
    /// The turn whose request has begun to come, and until when it has to be here. Only while it has not come.
    begun: Option<(u64, Pin<Box<Sleep>>)>,
    started: bool,
}

impl Heads {
    pub(super) fn new(timeout: Duration) -> Self {
        Self { timeout, begun: None, started: false }
    }

    /// Ready once a head is late. Who waits for bytes has to ask again before each wait.
    pub(super) fn poll_late(&mut self, turn: u64, cx: &mut Context<'_>) -> Poll<()> {
        if !self.started {
            self.started = true;
            self.begin(turn);
        }
        match &mut self.begun {
            Some((begun, sleep)) if *begun == turn => sleep.as_mut().poll(cx),
            _ => {
                self.begun = None;
                Poll::Pending
            }
        }
    }

    /// Bytes came.
    pub(super) fn read(&mut self, turn: u64) {
        if turn.is_multiple_of(2) && self.begun.is_none() {
            self.begin(turn);
        }
    }

    /// No heads come any more. A timer that goes on would keep the task that it was to wake in memory.
    pub(super) fn end(&mut self) {
        self.begun = None;
    }

    fn begin(&mut self, turn: u64) {
        self.begun = Some((turn, Box::pin(tokio::time::sleep(self.timeout))));
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::{Instant, advance};

    use super::*;

    const TIMEOUT: Duration = Duration::from_millis(100);

    async fn is_late(heads: &mut Heads, turn: u64) -> bool {
        poll_fn(|cx| Poll::Ready(heads.poll_late(turn, cx).is_ready())).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_is_late_from_its_first_byte_and_silence_is_not() {
        let mut heads = Heads::new(TIMEOUT);
        let start = Instant::now();
        poll_fn(|cx| heads.poll_late(0, cx)).await;
        assert!(start.elapsed() >= TIMEOUT, "the first one counts from the beginning");

        let mut heads = Heads::new(TIMEOUT);
        assert!(!is_late(&mut heads, 0).await);
        heads.read(0);
        // Handed on, its body comes, and it is answered.
        assert!(!is_late(&mut heads, 1).await);
        heads.read(1);
        advance(10 * TIMEOUT).await;
        assert!(!is_late(&mut heads, 1).await && !is_late(&mut heads, 2).await);
        advance(10 * TIMEOUT).await;
        assert!(!is_late(&mut heads, 2).await, "between two requests");
        heads.read(2);
        advance(TIMEOUT / 2).await;
        heads.read(2);
        assert!(!is_late(&mut heads, 2).await);
        advance(TIMEOUT).await;
        assert!(is_late(&mut heads, 2).await, "more bytes do not begin it anew");
    }

    #[test]
    fn the_answer_is_as_long_as_it_says() {
        let text = std::str::from_utf8(LATE_HEAD).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{}", body.len());
    }
}
