use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use serde_json::value::RawValue;
use socketioxide::adapter::Adapter;
use socketioxide::extract::SocketRef;
use socketioxide::socket::DisconnectReason;
use tokio::sync::Notify;

use super::Shared;
use super::event::{Answerer, Body, Event, Responder};
use super::expiry::Expiries;
use super::line::{AFTER_CONNECT, Line};
use super::onward::Later;
use super::rooms::Rooms;
use super::who::{self, Who};
use crate::auth::Identity;
use crate::fanout::{ClientId, Place, Reply, Request, Sent};
use crate::limits::{Session, Verdict};
use crate::net::{Closer, Lane};
use crate::wire::{
    Answer, ChartRequest, ErrorCode, Failure, Pong, Subscribe, Symbols, Unsubscribe, from_client as from, short,
    to_client as to,
};

/// Events that may come before the connection stands: the packet that says so is on its way already, and a quick client
/// answers it.
const EARLY_EVENTS: usize = 64;

/// One client's connection to the namespace, as its handlers see it.
///
/// Whatever it sends to the fan-out goes through `phase`, so that it comes after the client has joined, before it has
/// left, and in order. A std lock: one client's events come one after the other.
pub(super) struct Client<A: Adapter> {
    pub(super) id: ClientId,
    pub(super) shared: Arc<Shared>,
    /// What it has sent so far counts.
    session: Arc<Session>,
    /// Who it is, by its token.
    pub(super) who: Who,
    /// Where it is.
    pub(super) rooms: Rooms,
    /// When it came, in ms since the Unix epoch.
    pub(super) since_ms: u64,
    /// Where the end of that token is listed.
    pub(super) expiries: Arc<Expiries<A>>,
    phase: Mutex<Phase<A>>,
    /// Set with [`Phase::Gone`], for those who must not wait for `phase`: it is held while `session` is asked.
    gone: AtomicBool,
    left: Notify,
    /// What carries its WebSocket, as soon as that is known.
    connection: OnceLock<Closer>,
    /// Where frames may be sent to one that connects over a WebSocket.
    lane: Mutex<Option<Lane>>,
}

enum Phase<A: Adapter> {
    /// The handlers are there, the connection does not stand yet.
    Connecting {
        /// What has come so far.
        early: Vec<Event<A>>,
        /// True where it has begun with polling and ended its upgrade since.
        upgraded: bool,
    },
    Open(Arc<Line<A>>),
    Gone,
}

impl<A: Adapter> Client<A> {
    /// A client that is about to connect over this socket. It may be sent frames only after it has read that it is
    /// connected, which has not been written yet.
    pub(super) fn new(
        id: ClientId,
        identity: Identity,
        session: Arc<Session>,
        socket: &SocketRef<A>,
        shared: Arc<Shared>,
        expiries: Arc<Expiries<A>>,
    ) -> Self {
        let phase = Mutex::new(Phase::Connecting { early: Vec::new(), upgraded: false });
        let (who, lane) = (Who::new(identity), Mutex::new(None));
        let (since_ms, rooms, connection) = (shared.clock.millis(), Rooms::default(), OnceLock::new());
        let (gone, left) = (false.into(), Notify::new());
        let client = Self { id, shared, session, who, rooms, since_ms, expiries, phase, gone, left, connection, lane };
        client.note_connection(socket);
        if client.shared.lanes {
            *client.lock_lane() = client.connection.get().and_then(|connection| connection.lane(AFTER_CONNECT));
        }
        client
    }

    /// The id of the next connection.
    pub(super) fn next_id() -> ClientId {
        static LAST: AtomicU64 = AtomicU64::new(0);
        ClientId(LAST.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// The connection stands: the client joins, then what it sent meanwhile takes effect.
    pub(super) async fn open(&self, socket: SocketRef<A>) {
        let Some(place) = self.shared.fanout.place(self.id).await else {
            return;
        };
        let later = self.enter(place, socket);
        futures_util::future::join_all(later).await;
    }

    fn enter(&self, place: Place<'_>, socket: SocketRef<A>) -> Vec<Later> {
        let mut phase = self.lock();
        let Phase::Connecting { early, upgraded } = &mut *phase else {
            return Vec::new();
        };
        let (early, upgraded) = (std::mem::take(early), *upgraded);
        who::log_connected(self.id, &socket);
        self.join_rooms(&socket);
        let identity = self.who.now();
        self.expiries.set(self.id, &socket, &identity);
        let lane = self.lock_lane().take();
        let line = Arc::new(Line::new(self.id, socket, lane, self.shared.clone()));
        *phase = Phase::Open(line.clone());
        self.shared.metrics.connections_total.inc();
        self.shared.metrics.connections_active.add(1);
        place.join(line.clone(), identity.rights.symbols.clone());
        // The news of it may also have come before the engine knew that the client is in the namespace.
        let carrier = self.shared.upgrades.find(&line.socket.id.to_string());
        if upgraded || carrier.is_some() {
            if let Some(carrier) = carrier {
                self.connection.set(carrier).ok();
            }
            self.upgrade_line(&line);
        }
        self.announce();
        early.into_iter().filter_map(|event| self.carry_out(&line, event)).collect()
    }

    /// An event has come. It has taken effect on return; what is left is to wait for its answer.
    pub(super) fn receive(&self, event: Event<A>) -> Option<Later> {
        self.shared.metrics.messages_received.inc();
        self.note_connection(&event.socket);
        // Before anything is done for it.
        let refused = match self.session.message() {
            Verdict::Pass => None,
            Verdict::Refuse(failure) => Some(failure),
            Verdict::End => {
                self.end_abuse(&event.socket);
                return None;
            }
            Verdict::Ended => return None,
        };
        match (&mut *self.lock(), refused) {
            (Phase::Connecting { early, .. }, None) if early.len() < EARLY_EVENTS => early.push(event),
            (Phase::Connecting { .. }, refused) => {
                self.shared.metrics.request_errors.inc();
                let later = || Failure::new(ErrorCode::Unavailable, "not connected yet: try again");
                let failure = refused.unwrap_or_else(later);
                let told = match event.ack {
                    Some(ack) => ack.send_early(failure),
                    None => {
                        let name = event.body.map(|body| body.name).unwrap_or_default();
                        event.socket.emit(to::ERROR, &*failure.encode_event(&name)).is_ok()
                    }
                };
                self.shared.metrics.messages_sent.add(u64::from(told));
                self.shared.note_sent(if told { Sent::Done } else { Sent::Dropped }, &event.socket);
            }
            (Phase::Open(line), None) => return self.carry_out(line, event),
            (Phase::Open(line), Some(failure)) => {
                let name = event.body.map(|body| body.name).unwrap_or_default();
                self.refuse(Responder::new(line.clone(), event.ack), &name, failure);
            }
            (Phase::Gone, _) => {}
        }
        None
    }

    /// Ends a client that goes on after it was refused.
    fn end_abuse(&self, socket: &SocketRef<A>) {
        tracing::info!(connection = self.id.0, "disconnected: it sent far too many messages");
        self.shared.close(socket);
    }

    /// The client began with polling, and says over its WebSocket that it has upgraded.
    pub(super) fn upgraded(&self, socket: &SocketRef<A>) {
        if let Some(connection) = self.shared.upgrades.find(&socket.id.to_string()) {
            self.connection.set(connection).ok();
        }
        match &mut *self.lock() {
            Phase::Connecting { upgraded, .. } => *upgraded = true,
            Phase::Open(line) => self.upgrade_line(line),
            Phase::Gone => {}
        }
    }

    fn upgrade_line(&self, line: &Line<A>) {
        if self.shared.lanes
            && let Some(connection) = self.connection.get()
        {
            line.upgrade(connection);
        }
    }

    /// True while it is connected.
    pub(super) fn is_open(&self) -> bool {
        matches!(*self.lock(), Phase::Open(_))
    }

    /// Does something while it is connected, and not after: a room that is joined later would be left by nobody.
    pub(super) fn while_open(&self, act: impl FnOnce()) {
        let phase = self.lock();
        if matches!(*phase, Phase::Open(_)) {
            act();
        }
    }

    /// The way to the client, while it is connected.
    pub(super) fn line(&self) -> Option<Arc<Line<A>>> {
        match &*self.lock() {
            Phase::Open(line) => Some(line.clone()),
            Phase::Connecting { .. } | Phase::Gone => None,
        }
    }

    /// True once it has left the namespace, even where the engine does not know yet.
    pub(super) fn has_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// Ends once it has left the namespace.
    pub(super) async fn until_gone(&self) {
        let mut left = pin!(self.left.notified());
        // From here on nothing is missed.
        left.as_mut().enable();
        if !self.has_gone() {
            left.await;
        }
    }

    /// Notes what carries the client's WebSocket, if it has one by now.
    fn note_connection(&self, socket: &SocketRef<A>) {
        if self.connection.get().is_none()
            && let Some(closer) = self.shared.connection(socket)
        {
            self.connection.set(closer).ok();
        }
    }

    /// Counts a connection that ended because the client broke the protocol.
    pub(super) fn count(&self, reason: DisconnectReason) {
        let broken = match reason {
            DisconnectReason::PacketParsingError | DisconnectReason::MultipleHttpPollingError => true,
            // Bad framing, bad UTF-8 and too large a message have the same reason as a peer that went. Where the
            // connection is whole, it was not the peer who ended it.
            DisconnectReason::TransportError => self.connection.get().is_some_and(Closer::is_whole),
            _ => false,
        };
        if broken {
            self.shared.metrics.protocol_errors.inc();
        }
    }

    /// The client has gone. True if it had joined: then [`Client::left`] is due.
    pub(super) fn gone(&self, reason: DisconnectReason) -> bool {
        let was = std::mem::replace(&mut *self.lock(), Phase::Gone);
        let joined = matches!(was, Phase::Open(_));
        // Before who waits for its end hears of it: the server may end as soon as all have gone.
        if joined {
            self.announce_end(reason);
        }
        self.gone.store(true, Ordering::Release);
        self.left.notify_waiters();
        self.expiries.forget(self.id);
        self.forget_rooms();
        self.shared.alerts.forget(self.id.0);
        joined
    }

    /// Tells the fan-out that the client has gone.
    pub(super) async fn left(&self) {
        self.shared.metrics.connections_active.add(-1);
        self.shared.fanout.leave(self.id).await;
    }

    fn carry_out(&self, line: &Arc<Line<A>>, event: Event<A>) -> Option<Later> {
        let Event { body, socket, ack } = event;
        let Some(Body { name, payload, binary }) = body else {
            // Not JSON, which is not a request that could be answered but the end of understanding.
            self.shared.metrics.protocol_errors.inc();
            self.shared.close(&socket);
            return None;
        };
        let responder = Responder::new(line.clone(), ack);
        let (known, payload) = (from::ALL.contains(&name.as_str()), payload.as_deref());
        let backend = self.shared.backend.as_ref().filter(|backend| !known || backend.takes(&name));
        if binary && (known || backend.is_some()) {
            let failure = Failure::invalid("the payload has binary attachments: must be JSON alone");
            self.refuse(responder, &name, failure);
            return None;
        }
        if matches!(name.as_str(), from::CHAT | from::SEND_MESSAGE) {
            match self.session.chat() {
                Verdict::Pass => {}
                Verdict::Refuse(failure) => {
                    self.refuse(responder, &name, failure);
                    return None;
                }
                Verdict::End => {
                    self.end_abuse(&socket);
                    return None;
                }
                Verdict::Ended => return None,
            }
        }
        if let Some(backend) = backend {
            return self.hand_on(backend, responder, &name, payload);
        }
        match name.as_str() {
            from::SUBSCRIBE => {
                let checked = |request: Subscribe| self.check_number(&request.symbols).map(|()| request);
                let request = Subscribe::parse(payload).and_then(checked).map(Request::Subscribe);
                self.ask_for(responder, &name, request, Some(to::SUBSCRIBED));
            }
            from::UNSUBSCRIBE => {
                let checked = |request: Unsubscribe| self.check_number(&request.symbols).map(|()| request);
                let request = Unsubscribe::parse(payload).and_then(checked).map(Request::Unsubscribe);
                self.ask_for(responder, &name, request, Some(to::UNSUBSCRIBED));
            }
            from::CANDLES => {
                let request = ChartRequest::parse(payload).map(Request::Follow);
                self.ask_for(responder, &name, request, None);
            }
            from::UNCANDLES => {
                let request = ChartRequest::parse(payload).map(Request::Unfollow);
                self.ask_for(responder, &name, request, None);
            }
            from::PING => self.pong(responder.answer_to(&name, Some(to::PONG)), payload),
            from::LATENCY => self.pong(responder.answer_to(&name, Some(to::LATENCY)), payload),
            from::JOIN => self.join(responder, payload),
            from::LEAVE => self.leave(responder, payload),
            from::CHAT => self.chat(responder, payload),
            from::SEND_MESSAGE => return self.send_message(responder, payload),
            from::REFRESH => self.refresh(responder, payload),
            from::ALERT | from::ALERTS | from::UNALERT => return self.alert(responder, &name, payload),
            _ => self.refuse(responder, &name, unknown_event(&name)),
        }
        None
    }

    fn ask_for(
        &self,
        responder: Responder<A>,
        name: &str,
        request: Result<Request, Failure>,
        answered_by: Option<&'static str>,
    ) {
        match request {
            Ok(request) => {
                self.ask(name, request, answered_by, responder);
            }
            Err(failure) => self.refuse(responder, name, failure),
        }
    }

    /// Refuses a request that names too many symbols.
    fn check_number(&self, symbols: &Symbols) -> Result<(), Failure> {
        match symbols {
            Symbols::Named(names) if names.len() > self.shared.max_symbols => {
                self.shared.metrics.limited_subscriptions.inc();
                let (number, most) = (names.len(), self.shared.max_symbols);
                let message = format!("the request names {number} symbols: at most {most} are allowed (\"*\" is all)");
                Err(Failure::new(ErrorCode::TooManySymbols, message))
            }
            Symbols::Named(_) | Symbols::All => Ok(()),
        }
    }

    /// Hands a request on to the fan-out; false where that is too busy, which the client is told. Without a callback it
    /// is answered by the event `answered_by`, or by silence.
    pub(super) fn ask(
        &self,
        name: &str,
        request: Request,
        answered_by: Option<&'static str>,
        responder: Responder<A>,
    ) -> bool {
        let socket = responder.socket().clone();
        let reply = Box::new(responder.answer_to(name, answered_by));
        let Err(reply) = self.shared.fanout.request(self.id, request, reply) else {
            return true;
        };
        self.shared.metrics.request_errors.inc();
        let failure = Failure::new(ErrorCode::Unavailable, "the server is too busy: try again later");
        self.shared.note_sent(reply.send(Err(failure)), &socket);
        false
    }

    fn pong(&self, reply: Answerer<A>, echo: Option<&RawValue>) {
        let socket = reply.socket().clone();
        let answer = Answer::encode(Ok(Pong { echo, time: self.shared.clock.millis() }));
        let sent = Box::new(reply).send(Ok(answer));
        if sent == Sent::Waits {
            self.shared.fanout.call(self.id);
        }
        self.shared.note_sent(sent, &socket);
    }

    pub(super) fn refuse(&self, responder: Responder<A>, name: &str, failure: Failure) {
        self.shared.metrics.request_errors.inc();
        let socket = responder.socket().clone();
        self.shared.note_sent(responder.fail(name, failure), &socket);
    }

    fn lock_lane(&self) -> MutexGuard<'_, Option<Lane>> {
        self.lane.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn lock(&self) -> MutexGuard<'_, Phase<A>> {
        self.phase.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

fn unknown_event(name: &str) -> Failure {
    let known = from::ALL.join(", ");
    Failure::new(ErrorCode::UnknownEvent, format!("there is no event \"{}\": must be one of {known}", short(name)))
}
