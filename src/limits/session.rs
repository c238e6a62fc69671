use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use super::Limits;
use super::addresses::Place;
use super::bucket::{Bucket, Rate};
use crate::metrics::Counter;
use crate::wire::{ErrorCode, Failure};

/// In which time refused messages are summed up.
pub(super) const ABUSE_WINDOW: Duration = Duration::from_secs(5);

/// One client's session, from its handshake to its end, whatever namespace it is in: it holds its place, and what it
/// has sent counts. The engine keeps it with the handshake, and drops it with the session.
#[derive(Debug)]
pub struct Session {
    limits: Arc<Limits>,
    /// When its handshake was let in.
    begun: Duration,
    /// Where its address is counted.
    address: Option<Place>,
    has_place: bool,
    sent: Mutex<Sent>,
}

/// What it has sent.
#[derive(Debug)]
struct Sent {
    joins: Bucket,
    /// True once it has asked to be in a namespace.
    asked: bool,
    messages: Bucket,
    chats: Bucket,
    /// Refused since `since`.
    refused: u64,
    since: Duration,
    /// Since when it is in no namespace.
    left: Option<Duration>,
    ended: bool,
}

/// What becomes of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is carried out.
    Pass,
    /// It is answered with this, and nothing else is done.
    Refuse(Failure),
    /// Its client goes on and on: the connection is to be ended. Said once.
    End,
    /// The connection is about to end: it is dropped.
    Ended,
}

impl Session {
    pub(super) fn new(limits: Arc<Limits>, now: Duration) -> Self {
        let [joins, messages, chats] = [Bucket::default(); 3];
        let sent = Sent { joins, asked: false, messages, chats, refused: 0, since: now, left: None, ended: false };
        Self { limits, begun: now, address: None, has_place: false, sent: Mutex::new(sent) }
    }

    pub(super) fn hold_address(&mut self, place: Place) {
        self.address = Some(place);
    }

    pub(super) fn hold_place(&mut self) {
        self.has_place = true;
    }

    /// It asks to be in a namespace. As often as it may send messages, and beside these.
    pub fn join(&self) -> Verdict {
        self.lock().asked = true;
        let metrics = &self.limits.metrics;
        self.count(self.limits.messages, "messages", &metrics.limited_messages, |sent| &mut sent.joins)
    }

    /// A message has come.
    pub fn message(&self) -> Verdict {
        let metrics = &self.limits.metrics;
        self.count(self.limits.messages, "messages", &metrics.limited_messages, |sent| &mut sent.messages)
    }

    /// The message says something to a room.
    pub fn chat(&self) -> Verdict {
        let metrics = &self.limits.metrics;
        self.count(self.limits.chats, "chat messages", &metrics.limited_chats, |sent| &mut sent.chats)
    }

    fn count(
        &self,
        rate: Option<Rate>,
        what: &str,
        refused: &Counter,
        bucket: impl Fn(&mut Sent) -> &mut Bucket,
    ) -> Verdict {
        let Some(rate) = rate else { return Verdict::Pass };
        let now = self.limits.now();
        let mut sent = self.lock();
        if sent.ended {
            return Verdict::Ended;
        }
        if bucket(&mut sent).take(rate, now).is_ok() {
            return Verdict::Pass;
        }
        refused.inc();
        if now >= sent.since + ABUSE_WINDOW {
            (sent.refused, sent.since) = (0, now);
        }
        sent.refused += 1;
        if self.limits.abuse.is_some_and(|most| sent.refused > most) {
            sent.ended = true;
            self.limits.metrics.limited_abuse.inc();
            return Verdict::End;
        }
        let message = format!("too many {what}: at most {} a second are allowed", rate.per_second);
        Verdict::Refuse(Failure::new(ErrorCode::RateLimited, message))
    }

    /// It is in no namespace any more. True if somebody has to look after it, who was not told so before.
    pub fn leave(&self) -> bool {
        self.lock().left.replace(self.limits.now()).is_none()
    }

    /// How much is left of `timeout` since it was last in a namespace, or was refused; nothing where it never left.
    pub fn remaining(&self, timeout: Duration) -> Duration {
        let left = self.lock().left;
        left.map_or(Duration::ZERO, |left| (left + timeout).saturating_sub(self.limits.now()))
    }

    /// True where it is in a namespace again by now: nobody needs to look after it.
    pub fn is_back(&self, is_connected: impl FnOnce() -> bool) -> bool {
        // Under the lock: one that leaves meanwhile is looked after anew.
        let mut sent = self.lock();
        if is_connected() {
            sent.left = None;
        }
        sent.left.is_none()
    }

    fn lock(&self) -> MutexGuard<'_, Sent> {
        self.sent.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(place) = self.address.take() {
            self.limits.addresses.leave(place, self.limits.now());
        }
        if self.has_place {
            self.limits.sessions.fetch_sub(1, Ordering::AcqRel);
        }
        // The engine ends who never asks to be in a namespace, and says so to nobody. Nobody else gets so old that way.
        if !self.lock().asked && self.limits.now().saturating_sub(self.begun) >= self.limits.connect_timeout {
            self.limits.metrics.namespace_timeouts.inc();
        }
    }
}
