use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Sleep;

use super::attachments::Attachments;

/// What a connection speaks. Set by who reads it and by who answers its requests.
#[derive(Debug, Default)]
pub(super) struct Stage(AtomicU8);

/// HTTP, and it cannot be told where in the last portion a request's head ended, or whether one did.
const HTTP: u8 = 0;
/// HTTP, and just one head ended in the last portion: what came after it is known.
const HEAD: u8 = 1;
/// WebSocket frames, or a request for them that is not answered yet.
const FRAMES: u8 = 2;

impl Stage {
    /// Says that frames follow the head that was just read. False if it cannot be told where they begin.
    pub(super) fn begin_frames(&self) -> bool {
        self.0.compare_exchange(HEAD, FRAMES, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// True once frames come.
    pub(super) fn is_frames(&self) -> bool {
        self.0.load(Ordering::Acquire) == FRAMES
    }

    /// Says that the request for frames was refused: it is HTTP still.
    pub(super) fn refuse_frames(&self) {
        self.0.store(HTTP, Ordering::Release);
    }
}

/// Watches what a client sends: one that has announced attachments owes them within a bound. The parser of Socket.IO
/// looks at the clock only when something comes.
///
/// Frames begin where the head of the request for them ends. HTTP itself is not understood here. Hyper reads on only
/// when it has nothing left, or no whole head: so a head that it hands on ended in the last portion, and it is enough
/// to know where. What follows it there are frames already, of a client that did not wait for the answer.
#[derive(Debug)]
pub(super) struct Inbound {
    /// The last two bytes of HTTP.
    tail: [u8; 2],
    attachments: Attachments,
    /// How long attachments may take from the packet that announces them.
    timeout: Duration,
    /// When those that are due must have come. Only then does it take any memory: most clients never send one.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl Inbound {
    pub(super) fn new(timeout: Duration) -> Self {
        Self { tail: [0; 2], attachments: Attachments::default(), timeout, deadline: None }
    }

    /// Ready once attachments have not come in time. Who waits for bytes has to ask again before each wait.
    pub(super) fn poll_overdue(&mut self, stage: &Stage, cx: &mut Context<'_>) -> Poll<()> {
        if !self.attachments.are_due() || !stage.is_frames() {
            return Poll::Pending;
        }
        self.deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep(self.timeout))).as_mut().poll(cx)
    }

    /// How many frames have begun since this was asked before.
    pub(super) fn take_frames(&mut self) -> u32 {
        self.attachments.take_frames()
    }

    /// Takes the portion that came next. True if it ended an upgrade.
    pub(super) fn read(&mut self, stage: &Stage, portion: &[u8]) -> bool {
        if stage.is_frames() {
            let news = self.attachments.read(portion);
            if news.announced || !self.attachments.are_due() {
                self.deadline = None;
            }
            news.upgraded
        } else {
            let head = self.read_http(portion);
            stage.0.store(if head { HEAD } else { HTTP }, Ordering::Release);
            false
        }
    }

    /// True if just one head may have ended here. A head ends with an empty line; its lines may end without `\r`.
    fn read_http(&mut self, portion: &[u8]) -> bool {
        self.deadline = None;
        let (mut ends, mut rest) = (0_usize, portion);
        let mut bytes = portion;
        while let Some((&byte, after)) = bytes.split_first() {
            if byte == b'\n' && matches!(self.tail, [_, b'\n'] | [b'\n', b'\r']) {
                ends += 1;
                rest = after;
            }
            self.tail = [self.tail[1], byte];
            bytes = after;
        }
        if ends != 1 {
            return false;
        }
        self.attachments = Attachments::default();
        self.attachments.read(rest);
        true
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Instant;

    use super::*;

    const HEAD_BYTES: &[u8] = b"GET /socket.io/ HTTP/1.1\r\nUpgrade: websocket\r\n\r\n";
    /// `451-` and an attachment, with a mask of zeros.
    const ANNOUNCED: &[u8] = b"\x81\x84\0\0\0\x00451-";
    const ATTACHMENT: &[u8] = b"\x82\x81\0\0\0\0x";

    const TIMEOUT: Duration = Duration::from_millis(50);

    fn inbound() -> (Inbound, Stage) {
        (Inbound::new(TIMEOUT), Stage::default())
    }

    #[test]
    fn frames_begin_after_the_head_wherever_it_is_cut_and_whatever_follows() {
        for head in [HEAD_BYTES, b"GET / HTTP/1.1\nUpgrade: websocket\n\n", b"GET / HTTP/1.1\nUpgrade: x\n\r\n"] {
            let bytes = [head, ANNOUNCED].concat();
            // Hyper hands the request on once it has read the whole head.
            for cut in 0..head.len() {
                for end in head.len()..=bytes.len() {
                    let (mut inbound, stage) = inbound();
                    inbound.read(&stage, &bytes[..cut]);
                    assert!(!stage.begin_frames());
                    inbound.read(&stage, &bytes[cut..end]);
                    assert!(stage.begin_frames(), "{cut} {end}");
                    inbound.read(&stage, &bytes[end..]);
                    assert!(inbound.attachments.are_due(), "{cut} {end}");
                }
            }
        }
    }

    #[test]
    fn requests_before_the_one_for_frames_do_not_matter() {
        let (mut inbound, stage) = inbound();
        inbound.read(&stage, b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n\n\n\x81\x84");
        inbound.read(&stage, b"\n\n\n45");
        inbound.read(&stage, HEAD_BYTES);
        assert!(stage.begin_frames());
        stage.refuse_frames();
        inbound.read(&stage, HEAD_BYTES);
        assert!(stage.begin_frames());
        inbound.read(&stage, ANNOUNCED);
        assert!(inbound.attachments.are_due());
    }

    #[test]
    fn two_heads_at_once_leave_open_where_frames_begin() {
        let (mut inbound, stage) = inbound();
        inbound.read(&stage, &[HEAD_BYTES, HEAD_BYTES].concat());
        assert!(!stage.begin_frames());
        inbound.read(&stage, &[HEAD_BYTES, b"\x81\x84\0\0\0\0\r\n\r\n"].concat());
        assert!(!stage.begin_frames());
    }

    #[tokio::test]
    async fn attachments_are_overdue_after_the_timeout_and_each_packet_begins_it_anew() {
        let (mut inbound, stage) = inbound();
        inbound.read(&stage, HEAD_BYTES);
        assert!(stage.begin_frames());
        let mut announced = Instant::now();
        for portion in [[ANNOUNCED, ATTACHMENT].concat(), ANNOUNCED.into(), [ATTACHMENT, ANNOUNCED].concat()] {
            tokio::time::sleep(TIMEOUT / 2).await;
            announced = Instant::now();
            inbound.read(&stage, &portion);
            let overdue = poll_fn(|cx| Poll::Ready(inbound.poll_overdue(&stage, cx))).await;
            assert!(overdue.is_pending());
            assert_eq!(inbound.deadline.is_some(), inbound.attachments.are_due());
        }
        poll_fn(|cx| inbound.poll_overdue(&stage, cx)).await;
        assert!(announced.elapsed() >= TIMEOUT);
        inbound.read(&stage, ATTACHMENT);
        assert!(inbound.deadline.is_none());
    }
}
