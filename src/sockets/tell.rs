use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use socketioxide::extract::SocketRef;
use socketioxide::{SocketIo, TransportType};
use socketioxide_redis::drivers::Driver;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::across::{Across, Wanted};
use super::ends::end_polling;
use super::outbox::{self, Letter, Outbox, Then};
use super::reach::{Reached, reach};
use super::{CHANNEL_PREFIX, Carrier, Rooming, Shared};
use crate::fanout::Sent;
use crate::messages::emitters::{Channels, Order};
use crate::messages::{Asks, Errand as Wish, Found, Message, Occupants, Place, Reply, Seen, To, Told, What};
use crate::wire::RoomUsers;

/// How often who is in rooms is told, at most.
const PRESENCE_EVERY: Duration = Duration::from_millis(500);

/// Every so many times all rooms are told to the other replicas, whether they changed or not.
const PRESENCE_ALL: u32 = 10;

/// Rooms in one message to the other replicas.
const ROOMS_AT_ONCE: usize = 100;

/// How long what was said last may take to reach the other replicas, when the server ends.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Messages of other replicas and of back ends that may wait, in each of the channels.
const HEARD_IN_FLIGHT: usize = 4096;

/// What is said to clients, on this replica and across.
pub(super) struct Teller {
    pub(super) io: SocketIo<Rooming>,
    pub(super) across: Across,
    pub(super) channels: Channels,
    pub(super) asks: Arc<Asks>,
    pub(super) shared: Arc<Shared>,
    /// Cancelled when another replica asks this one to drain.
    pub(super) asked_to_drain: CancellationToken,
}

impl Carrier {
    /// Carries what is said here, and hands on what comes from other replicas and from back ends, until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let Self { teller, mut inbox, firings, router, path, expiries, absent } = self;
        let ends = async {
            loop {
                for (session, protocol) in teller.shared.ends.next().await {
                    end_polling(&router, &path, &session, protocol).await;
                }
            }
        };
        let (outbox, mut letters) = Outbox::open(&teller.shared.metrics);
        let mut carry = Box::pin(outbox::carry(&mut letters, &teller.across, &teller.asks));
        let rooms_asked_for = Notify::new();
        let say = async {
            while let Some(wish) = inbox.errands.recv().await {
                teller.carry_out(wish, &outbox);
            }
        };
        tokio::select! {
            () = teller.across.run() => {}
            () = ends => {}
            () = say => {}
            () = &mut carry => {}
            () = teller.hear(&outbox, &rooms_asked_for) => {}
            () = teller.hear_replies() => {}
            () = teller.hear_backends() => {}
            () = teller.tell_presence(&rooms_asked_for) => {}
            () = teller.tell_alerts(firings) => {}
            () = expiries.watch(|socket| teller.shared.close(socket)) => {}
            () = absent.watch(&teller.io, &teller.shared) => {}
            () = stop.cancelled() => {}
        }
        // Whoever said it was answered that it is said.
        let last = async {
            inbox.errands.close();
            while let Some(wish) = inbox.errands.recv().await {
                teller.carry_out(wish, &outbox);
            }
            drop(outbox);
            carry.as_mut().await;
        };
        let told = tokio::time::timeout(LAST_WORDS, last).await;
        drop(carry);
        if told.is_err() {
            // And that of which nobody knows.
            let messages = letters.len() + 1;
            teller.shared.metrics.messages_lost.add(messages as u64);
            tracing::warn!(messages, "what was said last did not reach the other replicas");
        }
        teller.across.close().await;
    }
}

impl Teller {
    /// Does here what somebody here wants, and tells the other replicas.
    fn carry_out(&self, wish: Wish, outbox: &Outbox) {
        let (ask, found, what) = match wish {
            Wish::Say { message, ask } => {
                let found = Found::count(self.deliver(&message));
                (ask, found, What::Say { message, ask })
            }
            Wish::Look { place, ask } => (Some(ask), self.look(&place), What::Look { place, ask }),
            Wish::End { place, ask } => {
                let found = Found::count(self.end(&place.clone().into(), false));
                (Some(ask), found, What::End { place, ask })
            }
            // Who brings it knows that it is not this one.
            Wish::Drain { id, ask } => (Some(ask), Found::count(0), What::Drain { id, ask }),
        };
        if let Some(ask) = ask {
            self.asks.answer_here(ask, found);
        }
        let then = ask.map_or(Then::Nothing, Then::Expect);
        outbox.put(Letter { channel: all_channel(), json: self.told(what), then });
    }

    fn told(&self, what: What) -> Vec<u8> {
        let told = Told { from: self.shared.process.clone(), what };
        // Maps with text keys, numbers and texts only: it cannot fail.
        serde_json::to_vec(&told).unwrap_or_default()
    }

    async fn tell_all(&self, what: What) -> Option<usize> {
        self.across.tell(&all_channel(), &self.told(what)).await
    }

    /// Hands on what other replicas say to all.
    async fn hear(&self, outbox: &Outbox, rooms_asked_for: &Notify) {
        // Cannot fail: see `Across`.
        let Ok(mut heard) = self.across.subscribe(all_channel(), HEARD_IN_FLIGHT).await;
        while let Some((_, json)) = heard.next().await {
            match serde_json::from_slice::<Told>(&json) {
                // What was said here was done here.
                Ok(told) if told.from == self.shared.process => {
                    if let Some(ask) = told.what.ask() {
                        self.asks.heard_here(ask);
                    }
                }
                Ok(Told { what: What::WhoIsHere, .. }) => rooms_asked_for.notify_one(),
                Ok(Told { from, what }) => self.take(&from, what, outbox),
                Err(error) => {
                    self.shared.metrics.messages_lost.inc();
                    tracing::warn!(%error, "a message of another replica cannot be read");
                }
            }
        }
        std::future::pending().await
    }

    fn take(&self, from: &str, what: What, outbox: &Outbox) {
        let is_end = matches!(&what, What::Drain { id, .. } if *id == self.shared.server_id);
        let (ask, found) = match what {
            What::Say { message, ask } => (ask, Found::count(self.deliver(&message))),
            What::Look { place, ask } => (Some(ask), self.look(&place)),
            What::End { place, ask } => (Some(ask), Found::count(self.end(&place.into(), false))),
            What::Drain { ask, .. } => (Some(ask), Found::count(is_end.into())),
            What::Here(rooms) => {
                if !self.shared.presence.heard(from, rooms) && self.shared.presence.is_on() {
                    self.shared.metrics.messages_lost.inc();
                }
                return;
            }
            What::WhoIsHere => return,
        };
        let Some(ask) = ask else { return };
        let reply = Reply { from: self.shared.process.clone(), ask, found };
        let json = serde_json::to_vec(&reply).unwrap_or_default();
        // Once that is said: without clients it may be over at once.
        let then = match is_end {
            true => {
                tracing::info!(from, "asked to drain by another replica");
                Then::Drain(self.asked_to_drain.clone())
            }
            false => Then::Nothing,
        };
        outbox.put(Letter { channel: reply_channel(from), json, then });
    }

    /// Takes the answers of other replicas.
    async fn hear_replies(&self) {
        let Ok(mut heard) = self.across.subscribe(reply_channel(&self.shared.process), HEARD_IN_FLIGHT).await;
        while let Some((_, json)) = heard.next().await {
            match serde_json::from_slice::<Reply>(&json) {
                Ok(reply) => self.asks.answer(reply.ask, reply.found),
                Err(error) => {
                    self.shared.metrics.messages_lost.inc();
                    tracing::warn!(%error, "an answer of another replica cannot be read");
                }
            }
        }
        std::future::pending().await
    }

    /// Carries out what back ends say through Redis. Every replica hears it: nothing is told to the others.
    async fn hear_backends(&self) {
        let channels = &self.channels;
        let patterns = channels.node_events().map(Wanted::Pattern);
        let names = [channels.node_requests(), channels.python()].into_iter().flatten().map(Wanted::Channel);
        let mut heard = self.across.listen(patterns.into_iter().chain(names).collect(), HEARD_IN_FLIGHT);
        while let Some((channel, bytes)) = heard.recv().await {
            match channels.read(&channel, &bytes) {
                Ok(Some(order)) => self.obey(order),
                Ok(None) => tracing::debug!(channel, "a message in Redis is not for us"),
                Err(reason) => {
                    self.shared.metrics.emits_refused.inc();
                    tracing::warn!(channel, reason, "what a back end says through Redis is not passed on");
                }
            }
        }
        std::future::pending().await
    }

    fn obey(&self, order: Order) {
        match order {
            Order::Say(message) => {
                self.deliver(&message);
            }
            Order::Move { who, rooms, enter } => {
                for Reached { socket, client } in reach(&self.io, &who) {
                    client.while_open(|| {
                        for room in &rooms {
                            if enter {
                                client.put_in(&socket, room);
                            } else {
                                client.take_out(&socket, room);
                            }
                        }
                    });
                }
            }
            Order::End { who, close } => {
                self.end(&who, close);
            }
        }
    }

    /// Ends connections of this replica, with a Socket.IO disconnect or (`close`) their transport, and says how many.
    fn end(&self, who: &To, close: bool) -> usize {
        let ended = reach(&self.io, who);
        for Reached { socket, .. } in &ended {
            // On a full queue it closes nothing.
            if close || socket.clone().disconnect().is_err() {
                self.shared.close(socket);
            }
        }
        ended.len()
    }

    /// Sends an event to clients of this replica, and says to how many. One at a time, and not by the engine's broadcast:
    /// so each client's own bound holds.
    fn deliver(&self, message: &Message) -> usize {
        let mut count = 0;
        for Reached { client, .. } in reach(&self.io, &message.to) {
            match client.line().map(|line| line.pass_on(&message.event, &message.args)) {
                Some(Sent::Dropped) => self.shared.metrics.messages_dropped.inc(),
                Some(_) => count += 1,
                None => {}
            }
        }
        count
    }

    fn look(&self, place: &Place) -> Found {
        let seen = |Reached { socket, client }: Reached| Seen {
            user: client.who.now().user.clone(),
            server: self.shared.server_id.clone(),
            since: client.since_ms,
            transport: transport(&socket).to_owned(),
        };
        Found::of(reach(&self.io, &To::from(place.clone())).into_iter().map(seen))
    }

    /// Tells who is in which room, on each change and when another replica asks, where that is asked for.
    async fn tell_presence(&self, asked_for: &Notify) {
        if !self.shared.presence.is_on() {
            return std::future::pending().await;
        }
        let mut every = tokio::time::interval(PRESENCE_EVERY);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (mut asked, mut round) = (false, 0_u32);
        loop {
            let all = tokio::select! {
                _ = every.tick() => {
                    round = round.wrapping_add(1);
                    round.is_multiple_of(PRESENCE_ALL)
                }
                () = asked_for.notified() => true,
            };
            let rooms = self.shared.presence.settle(all, |room| {
                let there = reach(&self.io, &Place::Room(room.to_owned()).into());
                Occupants::of(there.into_iter().map(|Reached { client, .. }| client.who.now().user.clone()))
            });
            // Those who are here first: the others wait for Redis.
            for users in self.shared.presence.news() {
                let message = Message::new(Place::Room(users.room.clone()), RoomUsers::EVENT, users.encode());
                self.deliver(&message);
            }
            // Once somebody hears it.
            asked = asked || self.tell_all(What::WhoIsHere).await.is_some_and(|processes| processes > 0);
            for rooms in rooms.chunks(ROOMS_AT_ONCE) {
                // What is not heard now is said again with all rooms.
                if self.tell_all(What::Here(rooms.to_vec())).await.is_none() {
                    break;
                }
            }
        }
    }
}

/// What every replica hears.
fn all_channel() -> String {
    format!("{{{CHANNEL_PREFIX}-told}}")
}

/// What one process hears: on the same server of a Redis Cluster as the other.
fn reply_channel(process: &str) -> String {
    format!("{{{CHANNEL_PREFIX}-told}}:{process}")
}

fn transport(socket: &SocketRef<Rooming>) -> &'static str {
    match socket.transport_type() {
        TransportType::Websocket => "websocket",
        TransportType::Polling => "polling",
    }
}
