use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use serde::ser::SerializeTuple;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use socketioxide::TransportType;
use socketioxide::adapter::Adapter;
use socketioxide::extract::{AckSender, SocketRef};

use super::Shared;
use crate::fanout::{ClientId, Link, Sent};
use crate::net::{Closer, Lane, Opening, Refused, text_frame};
use crate::wire::{ack_packet, args_packet, event_packet};

/// An event that no client ever sees: once the engine has sent everything else that it had, it sends this, and the
/// connection keeps it.
const LAST_OF_QUEUE: &str = "tickcast:last-of-queue";

/// When a WebSocket that takes over from polling may be sent frames.
const AFTER_QUEUE: Opening = Opening { prefix: br#"42["tickcast:last-of-queue""#, swallow: true };

/// When a WebSocket may be sent frames to a client that connects over it: not before it has read that it is connected.
pub(super) const AFTER_CONNECT: Opening = Opening { prefix: b"40", swallow: false };

/// No poll is there, or all is queued that goes out with it.
const NO_POLL: u8 = 0;
/// A poll waits for something to answer with.
const POLL_WAITS: u8 = 1;
/// The fan-out queues what a poll is answered with, and is not done.
const POLL_GETS: u8 = 2;

/// The way to one client: past the engine's queue where it has a WebSocket of its own, through it where it polls.
pub(super) struct Line<A: Adapter> {
    client: ClientId,
    pub(super) socket: SocketRef<A>,
    shared: Arc<Shared>,
    /// A std lock: what is sent while one path takes over from the other goes by one of them.
    path: Mutex<Path>,
    /// How far a poll is: [`NO_POLL`], [`POLL_WAITS`] or [`POLL_GETS`].
    poll: AtomicU8,
    /// What waits in the queue of a client that polls.
    queued_bytes: AtomicUsize,
    /// True once the next poll is its last.
    retiring: AtomicBool,
    /// How many messages it was not sent, and the event of the last, until it is told.
    dropped: Mutex<Option<(u32, String)>>,
}

/// Arguments of one event. As a tuple: the engine takes that for several, and an array for one.
struct Args<'a>(&'a [Box<RawValue>]);

impl Serialize for Args<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(self.0.len())?;
        for arg in self.0 {
            tuple.serialize_element(arg)?;
        }
        tuple.end()
    }
}

/// How much may wait where a message goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Room {
    /// As much as may wait for a client.
    Bounded,
    /// More: it belongs to an answer that found room.
    Unbounded,
}

impl Room {
    fn send(self, lane: &Lane, frame: Bytes) -> Result<bool, Refused> {
        match self {
            Self::Bounded => lane.send(frame),
            Self::Unbounded => lane.send_on(frame),
        }
    }
}

enum Path {
    Queue,
    Lane(Lane),
}

impl<A: Adapter> Line<A> {
    pub(super) fn new(client: ClientId, socket: SocketRef<A>, lane: Option<Lane>, shared: Arc<Shared>) -> Self {
        let path = Mutex::new(lane.map_or(Path::Queue, Path::Lane));
        let (poll, queued_bytes, retiring) = (NO_POLL.into(), 0.into(), false.into());
        Self { client, socket, shared, path, poll, queued_bytes, retiring, dropped: Mutex::new(None) }
    }

    /// A poll has come that waits for something to answer with. Ends when all ticks that have waited for it are queued,
    /// so that they go out with it and not with the next one.
    pub(super) async fn begin_poll(&self) {
        self.poll.store(POLL_WAITS, Ordering::Release);
        self.shared.fanout.attended(self.client).await;
    }

    /// Whether the fan-out may send something with the poll that waits, beside what is queued.
    pub(super) fn is_open(&self) -> bool {
        // Whoever changes it holds this until that is queued, too.
        let _path = self.lock();
        self.poll.load(Ordering::Acquire) != NO_POLL
    }

    /// A poll is about to be answered: the fan-out begins with nothing more for it. Ends when all that it has begun with is
    /// queued; true where it has begun.
    pub(super) async fn gather(&self) -> bool {
        let was = {
            let _path = self.lock();
            self.poll.compare_exchange(POLL_WAITS, NO_POLL, Ordering::AcqRel, Ordering::Acquire)
        };
        if was == Err(POLL_GETS) {
            self.shared.fanout.attended(self.client).await;
        }
        was.is_err()
    }

    /// It got its answer.
    pub(super) fn end_poll(&self, bytes: usize) {
        self.poll.store(NO_POLL, Ordering::Release);
        self.less_queued(bytes);
    }

    /// Ends its transport in order, behind all that waits for it: a WebSocket with a close frame of this status. Where
    /// something waits, ends when that has gone out. False where there is no such way.
    pub(super) async fn part(&self, status: u16) -> bool {
        let Some(lane) = self.lane() else { return false };
        match lane.part(status) {
            Ok(waits) => {
                if waits {
                    lane.cleared().await;
                }
                true
            }
            Err(_) => false,
        }
    }

    /// Ends the session of a client that polls with its next answer, which may be that to the poll that waits now.
    pub(super) async fn retire(&self) {
        self.retiring.store(true, Ordering::Release);
        // What waits for it is the answer; where nothing does, the end is.
        self.shared.fanout.attended(self.client).await;
        if self.poll.load(Ordering::Acquire) == POLL_WAITS {
            self.shared.close(&self.socket);
        }
    }

    /// True where the answer to a poll is the last.
    pub(super) fn is_retiring(&self) -> bool {
        self.retiring.load(Ordering::Acquire)
    }

    /// Ends its connection, or its session.
    pub(super) fn end(&self) {
        self.shared.close(&self.socket);
    }

    /// The client that polled so far has a WebSocket now: everything goes over that, after what is queued.
    pub(super) fn upgrade(&self, connection: &Closer) {
        let mut path = self.lock();
        if matches!(*path, Path::Queue)
            && let Some(lane) = connection.lane(AFTER_QUEUE)
        {
            if self.socket.emit(LAST_OF_QUEUE, &()).is_err() {
                return self.shared.close(&self.socket);
            }
            *path = Path::Lane(lane);
            drop(path);
            self.shared.fanout.call(self.client);
        }
    }

    /// Sends an event from outside the fan-out.
    pub(super) fn tell(&self, event: &str, body: &RawValue) -> Sent {
        self.called(self.send(event, body))
    }

    /// Sends what somebody said from outside the fan-out. Where there is no room it is dropped, and the client is told as
    /// soon as it takes something again.
    pub(super) fn pass_on(&self, event: &str, args: &[Box<RawValue>]) -> Sent {
        let bytes = args.iter().map(|arg| arg.get().len()).sum();
        let queue = || self.socket.emit(event, &Args(args)).is_ok();
        let sent = self.called(self.pass(Room::Bounded, || args_packet(event, args), bytes, queue));
        if sent == Sent::Dropped {
            let mut dropped = self.dropped.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            let count = dropped.take().map_or(0, |(count, _)| count);
            *dropped = Some((count.saturating_add(1), event.to_owned()));
        }
        sent
    }

    /// Answers the request that the client numbered so from outside the fan-out.
    pub(super) fn tell_ack(&self, id: i64, ack: AckSender<A>, body: &RawValue) -> Sent {
        self.called(self.send_ack(id, ack, body))
    }

    /// Answers the request that the client numbered so.
    pub(super) fn send_ack(&self, id: i64, ack: AckSender<A>, body: &RawValue) -> Sent {
        self.pass(Room::Bounded, || ack_packet(id, body), body.get().len(), || ack.send(body).is_ok())
    }

    fn pass_event(&self, room: Room, event: &str, body: &RawValue) -> Sent {
        self.pass(room, || event_packet(event, body), body.get().len(), || self.socket.emit(event, body).is_ok())
    }

    fn called(&self, sent: Sent) -> Sent {
        if sent == Sent::Waits {
            self.shared.fanout.call(self.client);
        }
        sent
    }

    /// Sends a message by whichever path there is.
    fn pass(&self, room: Room, packet: impl FnOnce() -> String, bytes: usize, queue: impl FnOnce() -> bool) -> Sent {
        let sent = match &*self.lock() {
            Path::Lane(lane) => match room.send(lane, text_frame(&packet())) {
                Ok(false) => Sent::Done,
                Ok(true) => Sent::Waits,
                Err(Refused::Full) => return Sent::Dropped,
                // It is about to leave: there is nobody to miss it.
                Err(Refused::Gone) => return Sent::Done,
            },
            Path::Queue if self.queue(room, bytes, queue) => Sent::Done,
            Path::Queue => return Sent::Dropped,
        };
        self.shared.metrics.messages_sent.inc();
        sent
    }

    /// Queues something, and counts it for a client that polls; false if that is too much. A single one may be of any size:
    /// who could never be given an answer would come back for it for ever.
    fn queue(&self, room: Room, bytes: usize, queue: impl FnOnce() -> bool) -> bool {
        if self.has_websocket() {
            return queue();
        }
        let more = |before: usize| {
            let after = before.saturating_add(bytes);
            (before == 0 || after <= self.shared.buffer_bytes || room == Room::Unbounded).then_some(after)
        };
        let fits = self.queued_bytes.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).is_ok();
        let done = fits && queue();
        if fits && !done {
            self.less_queued(bytes);
        }
        done
    }

    /// An answer takes more than what was counted for what is in it: it is framed.
    fn less_queued(&self, bytes: usize) {
        let less = |queued: usize| Some(queued.saturating_sub(bytes));
        self.queued_bytes.fetch_update(Ordering::AcqRel, Ordering::Acquire, less).ok();
    }

    pub(super) fn has_websocket(&self) -> bool {
        self.socket.transport_type() == TransportType::Websocket
    }

    fn lock(&self) -> MutexGuard<'_, Path> {
        self.path.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl<A: Adapter> Link for Line<A> {
    fn lane(&self) -> Option<Lane> {
        match &*self.lock() {
            Path::Lane(lane) => Some(lane.clone()),
            Path::Queue => None,
        }
    }

    fn take_ready(&self) -> bool {
        match &*self.lock() {
            Path::Lane(_) => false,
            // Without lanes: its queue says when it is full.
            Path::Queue if self.has_websocket() => true,
            Path::Queue => {
                self.poll.compare_exchange(POLL_WAITS, POLL_GETS, Ordering::AcqRel, Ordering::Acquire).is_ok()
            }
        }
    }

    fn deliver(&self, event: &str, body: &RawValue, has_more: bool) -> bool {
        // Under the lock, or it could come behind the last of the queue.
        let path = self.lock();
        if !has_more {
            // Before it is queued: whoever takes it from there is to know that it is all.
            self.poll.compare_exchange(POLL_GETS, NO_POLL, Ordering::AcqRel, Ordering::Acquire).ok();
        }
        matches!(*path, Path::Queue)
            && self.queue(Room::Bounded, body.get().len(), || self.socket.emit(event, body).is_ok())
    }

    fn send(&self, event: &str, body: &RawValue) -> Sent {
        self.pass_event(Room::Bounded, event, body)
    }

    fn send_on(&self, event: &str, body: &RawValue) -> Sent {
        self.pass_event(Room::Unbounded, event, body)
    }

    fn take_dropped(&self) -> Option<(u32, String)> {
        self.dropped.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take()
    }

    fn close(&self) {
        self.shared.close(&self.socket);
    }
}
