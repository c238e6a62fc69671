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

use super::frame::close_frame;
use super::outgoing::{Injected, Opening, Outgoing, Progress, Refused};

/// An accepted socket, and what is on its way out of it. The engine's half owns it; a [`Lane`] is the other half.
///
/// What a flush touches comes first, in this order: it is close together, and what it does not touch is elsewhere.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Pipe {
    /// A std lock, held for one write that does not wait: between the rest of one frame and the next nobody may come.
    outgoing: Mutex<Outgoing>,
    stream: TcpStream,
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

    /// Writes without waiting and, unless the kernel takes nothing, without a look at what the runtime knows of the
    /// socket: that lies elsewhere, and a flush would fetch it for each client.
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        match SockRef::from(&self.stream).send(bytes) {
            // Said to the runtime, too, or whoever waits for room would not.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.stream.try_write(bytes),
            sent => sent,
        }
    }

    /// The engine writes whole frames: all of `bytes` are taken, or it has to wait.
    pub(super) fn poll_write_engine(&self, cx: &Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let written = self.lock().write_engine(bytes, cx.waker(), |bytes| self.write(bytes));
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
            let flushed = self.lock().flush_engine(cx.waker(), |bytes| self.write(bytes));
            if flushed.is_ready() {
                self.changed.notify_waiters();
                return flushed;
            }
            ready!(self.poll_write_ready(cx))?;
        }
    }

    /// When the peer last took something of what waited for it.
    pub(super) fn moved(&self) -> Option<Instant> {
        self.lock().moved()
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
        let upgraded = pipe.upgrade()?;
        let turn = upgraded.lock().claim(opening);
        // Who waits for the client before it waits for nothing any more.
        upgraded.changed.notify_waiters();
        Some(Self { pipe: pipe.clone(), turn })
    }

    /// False once the engine has let go of the connection.
    pub fn is_there(&self) -> bool {
        self.pipe.strong_count() > 0
    }

    /// Sends frames at once, as many as can be, and lets go of those that cannot. `ends` says where each ends in
    /// `frames`.
    pub fn inject(&self, frames: &[u8], ends: &[usize]) -> Injected {
        match self.pipe.upgrade() {
            Some(pipe) => pipe.lock().inject(self.turn, frames, ends, |bytes| pipe.write(bytes)),
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
        pipe.lock().send(self.turn, frame, pipe.buffer_bytes, |bytes| pipe.write(bytes))
    }

    /// The same for what belongs to the message before it: there is room for it, however much waits.
    ///
    /// # Errors
    /// There is nobody who could take it.
    pub fn send_on(&self, frame: Bytes) -> Result<bool, Refused> {
        let pipe = self.pipe.upgrade().ok_or(Refused::Gone)?;
        pipe.lock().send(self.turn, frame, usize::MAX, |bytes| pipe.write(bytes))
    }

    /// Ends the WebSocket in order: a close frame with this status goes out behind all that waits, and nothing after it. True
    /// if it waits: then somebody has to wait for [`Lane::cleared`].
    ///
    /// # Errors
    /// There is nobody who could take it.
    pub fn part(&self, status: u16) -> Result<bool, Refused> {
        let pipe = self.pipe.upgrade().ok_or(Refused::Gone)?;
        pipe.lock().part(self.turn, close_frame(status), |bytes| pipe.write(bytes))
    }

    /// Sends what waits as soon as it can be sent. Ends when nothing waits any more and there is room for frames, or
    /// there is nobody who could take any.
    pub async fn cleared(self) {
        loop {
            let Some(pipe) = self.pipe.upgrade() else { return };
            let mut changed = pin!(pipe.changed.notified());
            // From here on no change is missed.
            changed.as_mut().enable();
            let progress = pipe.lock().advance(self.turn, |bytes| pipe.write(bytes));
            match progress {
                Progress::Gone => return,
                // Frames that found no room leave nothing behind that could be sent: then it is room that is waited for.
                Progress::Clear => tokio::select! {
                    _ = pipe.stream.writable() => return,
                    () = changed => {}
                },
                Progress::Waits => changed.await,
                Progress::Full => tokio::select! {
                    // An error is seen by the next write.
                    _ = pipe.stream.writable() => {}
                    () = changed => {}
                },
            }
        }
    }

    /// Since when the oldest waits of what waits here, or since when nothing of it went out.
    pub fn waits_since(&self) -> Option<Instant> {
        self.pipe.upgrade()?.lock().waits_since(self.turn)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::poll;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::super::frame::{Frame, text_frame};
    use super::super::pair::{Pair, SLOW};
    use super::*;

    const CONNECTED: Opening = Opening { prefix: b"40", swallow: false };

    /// Sends messages until they wait, and go on doing so: acknowledgements take their time (40 ms), and make room. Returns how
    /// many there are.
    async fn fill(lane: &Lane) -> usize {
        let (mut sent, mut waiting) = (0, 0);
        while waiting < 8 {
            sent += 1;
            if lane.send(message(sent)).unwrap() {
                waiting += 1;
                tokio::time::sleep(Duration::from_millis(50)).await;
            } else {
                waiting = 0;
            }
        }
        sent
    }

    fn message(number: usize) -> Bytes {
        text_frame(&format!("{number};{}", "x".repeat(1000)))
    }

    /// Reads so many messages, which have to come whole and in order.
    async fn read(peer: &mut TcpStream, messages: usize) {
        let mut bytes = vec![0; (1..=messages).map(|number| message(number).len()).sum()];
        peer.read_exact(&mut bytes).await.unwrap();
        let mut rest = &bytes[..];
        for number in 1..=messages {
            let (frame, after) = Frame::split(rest).unwrap();
            assert_eq!(frame.bytes, message(number));
            rest = after;
        }
    }

    #[tokio::test]
    async fn what_waits_goes_out_when_the_peer_reads() {
        let Pair { connection: _connection, lane, mut peer, .. } = Pair::open().await;
        let sent = fill(&lane).await;
        assert!(lane.waits_since().is_some());
        assert!(lane.send(message(sent + 1)).unwrap(), "behind the others");
        assert_eq!(lane.inject(&message(0), &[message(0).len()]), Injected::Taken { frames: 0, blocked: true });
        let mut cleared = pin!(lane.clone().cleared());
        assert!(poll!(cleared.as_mut()).is_pending());
        tokio::join!(cleared, read(&mut peer, sent + 1));
        assert_eq!(lane.waits_since(), None);
    }

    #[tokio::test]
    async fn ticks_that_found_no_room_are_told_of_room_and_not_before() {
        let Pair { connection: _connection, lane, mut peer, .. } = Pair::open().await;
        // So short that the kernel takes one or none of it; where it takes a half, that is read out again.
        let tick = text_frame("");
        let mut sent = 0;
        loop {
            match lane.inject(&tick, &[tick.len()]) {
                Injected::Taken { frames: 0, .. } if lane.waits_since().is_none() => break,
                Injected::Taken { frames: 0, .. } => {
                    let mut read = vec![0; sent * tick.len()];
                    tokio::join!(lane.clone().cleared(), async { peer.read_exact(&mut read).await.unwrap() });
                    sent = 0;
                }
                Injected::Taken { frames, .. } => sent += frames,
                Injected::Gone => panic!("it is there"),
            }
        }
        let mut cleared = Box::pin(lane.clone().cleared());
        for _ in 0..100 {
            if poll!(&mut cleared).is_ready() {
                let injected = lane.inject(&tick, &[tick.len()]);
                assert_eq!(injected, Injected::Taken { frames: 1, blocked: false }, "it was told of room");
                sent += 1;
                cleared = Box::pin(lane.clone().cleared());
            }
            tokio::task::yield_now().await;
        }
        let mut read = vec![0; sent * tick.len()];
        tokio::join!(cleared, async { peer.read_exact(&mut read).await.unwrap() });
        assert_eq!(lane.inject(&tick, &[tick.len()]), Injected::Taken { frames: 1, blocked: false });
    }

    #[tokio::test]
    async fn an_end_from_outside_ends_everybody_who_waits() {
        let Pair { mut connection, closer, lane, peer: _peer, .. } = Pair::open().await;
        fill(&lane).await;
        let mut cleared = pin!(lane.clone().cleared());
        assert!(poll!(cleared.as_mut()).is_pending());
        let ping = text_frame("2");
        {
            let mut write = pin!(connection.write_all(&ping));
            assert!(poll!(write.as_mut()).is_pending());
            closer.close();
            assert_eq!(write.await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        }
        cleared.await;
        assert_eq!(lane.send(message(1)), Err(Refused::Gone));
        assert_eq!(lane.inject(&ping, &[ping.len()]), Injected::Gone);
        assert_eq!(lane.waits_since(), None);
        assert_eq!(connection.read(&mut [0; 10]).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_lane_keeps_nothing_open() {
        let Pair { connection, lane, mut peer, .. } = Pair::open().await;
        let sent = fill(&lane).await;
        let mut cleared = Box::pin(lane.clone().cleared());
        assert!(poll!(&mut cleared).is_pending());
        drop(connection);
        cleared.await;
        assert_eq!(lane.pipe.strong_count(), 0, "nobody holds the socket");
        let mut all = Vec::new();
        peer.read_to_end(&mut all).await.unwrap();
        assert!(all.len() < sent * message(sent).len());
        assert_eq!(lane.send(message(1)), Err(Refused::Gone));
        lane.cleared().await;
    }

    #[tokio::test]
    async fn a_farewell_goes_behind_all_that_waits_and_nothing_comes_after_it() {
        let Pair { mut connection, lane, mut peer, .. } = Pair::open().await;
        let sent = fill(&lane).await;
        assert!(lane.part(1012).unwrap(), "behind the others");
        assert_eq!(lane.send(message(1)), Err(Refused::Gone));
        assert_eq!(lane.inject(&message(1), &[message(1).len()]), Injected::Gone);
        let reader = async {
            read(&mut peer, sent).await;
            let mut frame = [0; 4];
            peer.read_exact(&mut frame).await.unwrap();
            frame
        };
        let ((), frame) = tokio::join!(lane.clone().cleared(), reader);
        assert_eq!(frame, [0x88, 2, 0x03, 0xf4]);
        assert_eq!(lane.part(1012), Err(Refused::Gone));
        connection.write_all(&text_frame("2")).await.unwrap();
        connection.flush().await.unwrap();
        drop(connection);
        let mut rest = Vec::new();
        peer.read_to_end(&mut rest).await.unwrap();
        assert!(rest.is_empty(), "not even of the engine's");
    }

    #[tokio::test]
    async fn who_comes_after_another_on_the_connection_has_it_alone() {
        let Pair { mut connection, closer, lane, mut peer, .. } = Pair::open().await;
        let sent = fill(&lane).await;
        let mut cleared = Box::pin(lane.clone().cleared());
        assert!(poll!(&mut cleared).is_pending());
        let second = closer.lane(CONNECTED).unwrap();
        assert!(poll!(&mut cleared).is_ready());
        assert_eq!(lane.send(message(1)), Err(Refused::Gone));
        assert!(second.send(message(sent + 1)).unwrap(), "not before it is connected");

        let mut waits = pin!(second.clone().cleared());
        assert!(poll!(waits.as_mut()).is_pending());
        let connected = text_frame("40{}");
        let engine = async {
            connection.write_all(&connected).await.unwrap();
            connection.flush().await.unwrap();
        };
        let reader = async {
            let mut all = Vec::new();
            while !all.ends_with(&message(sent + 1)) {
                assert_ne!(peer.read_buf(&mut all).await.unwrap(), 0);
            }
            all
        };
        let ((), (), all) = tokio::join!(waits, engine, reader);
        let mut frames = Vec::new();
        let mut rest = &all[..];
        while !rest.is_empty() {
            let (frame, after) = Frame::split(rest).expect("whole frames");
            frames.push(Bytes::copy_from_slice(frame.bytes));
            rest = after;
        }
        assert_eq!(frames[frames.len() - 2..], [connected, message(sent + 1)]);
        assert_eq!(frames[frames.len() - 3], message(frames.len() - 2), "what was begun was finished");
    }

    #[tokio::test]
    async fn an_engine_that_waits_is_told_when_it_is_its_turn_and_goes_first() {
        let Pair { mut connection, lane, mut peer, .. } = Pair::open().await;
        let sent = fill(&lane).await;
        assert!(lane.send(message(sent + 1)).unwrap());
        let ping = text_frame("2");
        let engine = async {
            connection.write_all(&ping).await.unwrap();
            connection.flush().await.unwrap();
        };
        let reader = async {
            let mut all = Vec::new();
            while !all.ends_with(&message(sent + 1)) {
                assert_ne!(peer.read_buf(&mut all).await.unwrap(), 0);
            }
            all
        };
        let mut engine = pin!(engine);
        assert!(poll!(engine.as_mut()).is_pending());
        let ((), (), all) = tokio::join!(engine, lane.cleared(), reader);
        // Behind what has gone out, or has begun to, and before the last ones, of which nothing has.
        let place = all.windows(ping.len()).position(|bytes| bytes == ping).unwrap();
        let ends = (1..=sent).scan(0, |end, number| {
            *end += message(number).len();
            Some(*end)
        });
        let before = ends.zip(1..).find(|(end, _)| *end == place).expect("between two").1;
        assert!((sent - 8..sent - 1).contains(&before), "behind {before} of {sent}");
        let without = [&all[..place], &all[place + ping.len()..]].concat();
        assert_eq!(without, (1..=sent + 1).map(message).collect::<Vec<_>>().concat());
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_nothing_is_ended_after_a_while() {
        for write in [true, false] {
            let Pair { mut connection, closer, lane, peer: _peer, metrics } = Pair::open().await;
            // Far more than the kernel holds: it is taken whole all the same, and the next one is not.
            let big = text_frame(&"x".repeat(200_000));
            let begun = tokio::time::Instant::now();
            connection.write_all(&big).await.unwrap();
            let ended = if write { connection.write_all(&big).await } else { connection.flush().await };
            assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
            assert!(begun.elapsed() >= SLOW);
            assert!(!closer.is_whole() && lane.send(message(1)) == Err(Refused::Gone));
            assert_eq!(metrics.slow_disconnects.get(), 1);
        }
    }

    #[tokio::test]
    async fn a_marker_opens_the_lane_and_is_kept_from_the_client() {
        let Pair { mut connection, closer, mut peer, .. } = Pair::open().await;
        let lane = closer.lane(Opening { prefix: b"42[\"last\"", swallow: true }).unwrap();
        assert!(lane.send(message(1)).unwrap());
        let mut cleared = Box::pin(lane.clone().cleared());
        assert!(poll!(&mut cleared).is_pending());
        connection.write_all(&text_frame("42[\"last\"]")).await.unwrap();
        cleared.await;
        read(&mut peer, 1).await;
    }
}
