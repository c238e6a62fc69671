mod cohort;
mod handle;
mod rights;
mod session;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use futures_util::{Stream, StreamExt};
use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::market::{Applied, Market};
use crate::metrics::Metrics;
use crate::price::{Batch, BusEvent, Epoch, Feed, FeedState, Symbol};
use crate::wire::{
    Answer, ErrorCode, Mode, Rejected, Server, Status, Subscribe, Subscribed, Symbols, Unsubscribe, Unsubscribed, cut,
    encode_tick, encode_ticks, short, to_client,
};
use cohort::Cohorts;
use handle::Command;
pub use handle::{ClientId, Handle, Inbox, Link, Outlet, Place, Reply, Request, channel};
use rights::forbidden_symbol;
use session::Session;

/// Where everybody is who gets ticks.
const SUBSCRIBED_ROOM: &str = "subscribed";

/// What the fan-out is told once.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The event of one tick.
    pub tick_event: String,
    /// The event of an array of ticks.
    pub batch_event: String,
    /// The mode of those who do not say.
    pub default_mode: Mode,
    /// The replica's id.
    pub server_id: String,
}

/// Decides who gets which tick: one task that owns every session.
///
/// A subscription and a flush never happen at once, so a snapshot and the first live tick after it have no hole
/// between them.
pub struct Fanout<O> {
    settings: Settings,
    market: Arc<Market>,
    metrics: Arc<Metrics>,
    clock: Clock,
    outlet: O,
    sessions: HashMap<ClientId, Session>,
    cohorts: Cohorts,
    subscribers: BTreeMap<Symbol, Subscribers>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Subscribers {
    /// Clients that get the symbol.
    any: usize,
    /// Clients that get its `tick` events.
    tick: usize,
}

impl<O: Outlet> Fanout<O> {
    /// A fan-out without clients.
    pub fn new(settings: Settings, market: Arc<Market>, metrics: Arc<Metrics>, clock: Clock, outlet: O) -> Self {
        Self {
            settings,
            market,
            metrics,
            clock,
            outlet,
            sessions: HashMap::new(),
            cohorts: Cohorts::default(),
            subscribers: BTreeMap::new(),
        }
    }

    /// Applies what the bus says to the market and sends it on, and serves clients in between, until the bus ends or
    /// `stop`.
    pub async fn run(
        mut self,
        mut events: impl Stream<Item = BusEvent> + Unpin,
        mut inbox: Inbox,
        stop: CancellationToken,
    ) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                event = events.next() => match event {
                    Some(BusEvent::Ticks(batch)) => self.flush(batch),
                    Some(BusEvent::Feed(feed)) => self.turn(feed),
                    None => return,
                },
                Some(command) = inbox.0.recv() => self.obey(command),
            }
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Join(client, link, allowed) => {
                self.sessions.insert(client, Session::new(link, allowed));
            }
            Command::Request(client, request, reply) => match request {
                Request::Subscribe(request) => self.subscribe(client, &request, reply),
                Request::Unsubscribe(request) => self.unsubscribe(client, &request, reply),
                Request::Allow { symbols, expires_in_ms } => self.allow(client, symbols, expires_in_ms, reply),
            },
            Command::Leave(client) => self.leave(client),
        }
    }

    /// Takes the ticks in and hands each to whom it concerns: encoded once, whoever gets it.
    fn flush(&mut self, batch: Batch) {
        let epoch = batch.epoch.clone();
        let Applied { fresh, turned } = self.market.apply(batch);
        if turned {
            self.metrics.epoch_changes.inc();
            self.tell(&self.market.feed(), Some(&epoch));
        }
        for unknown in fresh.iter().filter(|fresh| fresh.unknown) {
            self.greet(&unknown.tick.update.symbol);
        }
        let encoded: Vec<(Symbol, Box<RawValue>)> = fresh
            .into_iter()
            .map(|fresh| {
                let json = encode_tick(&fresh.tick, fresh.missed + 1, fresh.first.then_some(&epoch));
                (fresh.tick.update.symbol, json)
            })
            .collect();

        for (symbol, json) in &encoded {
            let members = self.subscribers.get(symbol).map_or(0, |subscribers| subscribers.tick);
            if members > 0 {
                let dropped = self.outlet.emit(&tick_room(symbol), &self.settings.tick_event, json);
                self.count(1, members, dropped);
            }
        }
        for (id, cohort) in self.cohorts.iter() {
            let theirs: Vec<&RawValue> =
                encoded.iter().filter(|(symbol, _)| cohort.has(symbol)).map(|(_, json)| &**json).collect();
            if !theirs.is_empty() {
                let ticks = theirs.len();
                let dropped = self.outlet.emit(&id.room(), &self.settings.batch_event, &encode_ticks(theirs));
                self.count(ticks, cohort.members, dropped);
            }
        }
    }

    /// The feed is otherwise now: those who get ticks are told.
    fn turn(&mut self, feed: Feed) {
        let before = self.market.feed();
        self.market.set_feed(feed.clone());
        if before.state != feed.state && before.state != FeedState::Starting {
            self.tell(&feed, None);
        }
    }

    /// Tells everybody who gets ticks how the feed is, and the epoch if it is a new one.
    fn tell(&self, feed: &Feed, epoch: Option<&Epoch>) {
        let reason = if epoch.is_some() { "a new epoch: the numbers start over" } else { &feed.reason };
        let status = Status { state: feed.state.as_str(), reason, epoch };
        self.outlet.emit(SUBSCRIBED_ROOM, to_client::STATUS, &status.encode());
    }

    /// Counts an event with so many ticks that went to so many clients, but for those who had no room.
    fn count(&self, ticks: usize, members: usize, dropped: usize) {
        self.metrics.deliveries.add((ticks * members.saturating_sub(dropped)) as u64);
        self.metrics.drops_queue_full.add((ticks * dropped) as u64);
    }

    fn subscribe(&mut self, client: ClientId, request: &Subscribe, reply: Box<dyn Reply>) {
        let Some(session) = self.sessions.get_mut(&client) else {
            return;
        };
        let mode = request.mode.unwrap_or(self.settings.default_mode);
        let mut rejected = Vec::new();
        let symbols = match &request.symbols {
            Symbols::All => {
                session.wants.add_all(mode);
                let mut symbols = self.market.symbols();
                symbols.retain(|symbol| session.wants.allows(symbol.as_str()));
                symbols
            }
            Symbols::Named(names) => {
                let mut symbols = Vec::with_capacity(names.len());
                for name in names {
                    match self.market.symbol(name) {
                        _ if !session.wants.allows(name) => rejected.push(forbidden_symbol(name)),
                        Some(symbol) => {
                            session.wants.add(symbol.clone(), mode);
                            symbols.push(symbol);
                        }
                        None => rejected.push(unknown_symbol(name)),
                    }
                }
                symbols
            }
        };
        // Join first, then take the snapshot: what comes in between is repeated, never missed.
        self.rearrange(client);
        let epoch = self.market.epoch();
        let snapshot: Vec<Box<RawValue>> =
            self.market.latest(&symbols).iter().map(|tick| encode_tick(tick, 1, epoch.as_ref())).collect();
        let by_callback = reply.by_callback();
        let events = if by_callback { Vec::new() } else { self.as_events(mode, &snapshot) };
        let server = Server { id: self.settings.server_id.clone(), time: self.clock.millis() };
        let answer = Subscribed {
            symbols,
            rejected,
            mode,
            epoch,
            state: self.market.feed().state.as_str(),
            snapshot,
            replay: Vec::new(),
            resumed: BTreeMap::new(),
            server,
        };
        let mut sent = reply.send(Ok(Answer::encode(Ok(answer))));
        let Some(session) = self.sessions.get(&client) else {
            return;
        };
        for (event, body) in events {
            sent = sent && session.link.emit(event, &body);
        }
        if !sent {
            self.give_up(client);
        }
    }

    /// A snapshot in the shape of live ticks, for those who only listen.
    fn as_events(&self, mode: Mode, snapshot: &[Box<RawValue>]) -> Vec<(&str, Box<RawValue>)> {
        let mut events = Vec::new();
        if mode.has_tick() {
            events.extend(snapshot.iter().map(|tick| (self.settings.tick_event.as_str(), tick.clone())));
        }
        if mode.has_batch() && !snapshot.is_empty() {
            let ticks = encode_ticks(snapshot.iter().map(|tick| &**tick));
            events.push((self.settings.batch_event.as_str(), ticks));
        }
        // Told to this client: as much a delivery as a live tick.
        let shapes = usize::from(mode.has_tick()) + usize::from(mode.has_batch());
        self.metrics.deliveries.add((snapshot.len() * shapes) as u64);
        events
    }

    fn unsubscribe(&mut self, client: ClientId, request: &Unsubscribe, reply: Box<dyn Reply>) {
        let Some(session) = self.sessions.get_mut(&client) else {
            return;
        };
        let mut rejected = Vec::new();
        let mut symbols = Vec::new();
        match &request.symbols {
            Symbols::All => {
                symbols.extend(session.symbols.iter().cloned());
                session.wants.remove_all();
            }
            Symbols::Named(names) => {
                for name in names {
                    match self.market.symbol(name) {
                        Some(symbol) if session.wants.mode(&symbol).is_some() => {
                            session.wants.remove(&symbol);
                            symbols.push(symbol);
                        }
                        Some(symbol) => rejected.push(Rejected {
                            symbol: symbol.to_string(),
                            code: ErrorCode::NotSubscribed,
                            message: format!("{symbol} is not subscribed: nothing to end"),
                        }),
                        None => rejected.push(unknown_symbol(name)),
                    }
                }
            }
        }
        self.rearrange(client);
        if !reply.send(Ok(Answer::encode(Ok(Unsubscribed { symbols, rejected })))) {
            self.give_up(client);
        }
    }

    /// Brings a client's rooms in line with what it wants.
    fn rearrange(&mut self, client: ClientId) {
        let every = self.market.symbols();
        let Some(session) = self.sessions.get_mut(&client) else {
            return;
        };
        let mut symbols = BTreeSet::new();
        let mut ticks = BTreeSet::new();
        let mut batch = Vec::new();
        for (symbol, mode) in session.wants.among(&every) {
            symbols.insert(symbol.clone());
            if mode.has_tick() {
                ticks.insert(symbol.clone());
            }
            if mode.has_batch() {
                batch.push(symbol.clone());
            }
        }
        batch.sort_unstable();

        let mut join: Vec<String> = ticks.difference(&session.ticks).map(tick_room).collect();
        let mut leave: Vec<String> = session.ticks.difference(&ticks).map(tick_room).collect();
        // Entered before the old one is left: a cohort that stays the same is not rebuilt.
        let cohort = (!batch.is_empty()).then(|| self.cohorts.enter(batch.into()));
        if let Some(left) = session.cohort {
            self.cohorts.exit(left);
        }
        if cohort != session.cohort {
            join.extend(cohort.map(cohort::CohortId::room));
            leave.extend(session.cohort.map(cohort::CohortId::room));
        }
        match (session.symbols.is_empty(), symbols.is_empty()) {
            (true, false) => join.push(SUBSCRIBED_ROOM.to_owned()),
            (false, true) => leave.push(SUBSCRIBED_ROOM.to_owned()),
            _ => {}
        }
        if !leave.is_empty() {
            session.link.leave(leave);
        }
        if !join.is_empty() {
            session.link.join(join);
        }

        session.cohort = cohort;
        let before = (std::mem::replace(&mut session.symbols, symbols), std::mem::replace(&mut session.ticks, ticks));
        let after = (session.symbols.clone(), session.ticks.clone());
        self.recount(&before, &after);
    }

    /// Keeps the number of subscribers by symbol, as a client's sets (any shape, `tick`) go from one to the other.
    fn recount(&mut self, before: &(BTreeSet<Symbol>, BTreeSet<Symbol>), after: &(BTreeSet<Symbol>, BTreeSet<Symbol>)) {
        for symbol in before.0.union(&after.0) {
            let subscribers = self.subscribers.entry(symbol.clone()).or_default();
            let moved = |count: usize, was: bool, is: bool| count + usize::from(is) - usize::from(was);
            subscribers.any = moved(subscribers.any, before.0.contains(symbol), after.0.contains(symbol));
            subscribers.tick = moved(subscribers.tick, before.1.contains(symbol), after.1.contains(symbol));
            let any = i64::try_from(subscribers.any).unwrap_or(i64::MAX);
            self.metrics.subscriptions.set(symbol.as_str(), any);
        }
    }

    /// A symbol that nobody knew goes to those who want every one.
    fn greet(&mut self, symbol: &Symbol) {
        let wanting: Vec<ClientId> = self
            .sessions
            .iter()
            .filter(|(_, session)| session.wants.mode(symbol).is_some())
            .map(|(&client, _)| client)
            .collect();
        for client in wanting {
            self.rearrange(client);
        }
    }

    fn leave(&mut self, client: ClientId) {
        let Some(session) = self.sessions.remove(&client) else {
            return;
        };
        if let Some(cohort) = session.cohort {
            self.cohorts.exit(cohort);
        }
        // What it asked for may have been carried out after the engine had let go of it.
        session.link.leave_all();
        self.recount(&(session.symbols, session.ticks), &Default::default());
    }

    /// Ends a client that missed its answer: it could not know what it gets.
    fn give_up(&self, client: ClientId) {
        self.metrics.messages_dropped.inc();
        if let Some(session) = self.sessions.get(&client) {
            session.link.close();
        }
    }
}

fn tick_room(symbol: &Symbol) -> String {
    format!("tick:{symbol}")
}

fn unknown_symbol(name: &str) -> Rejected {
    let message = format!("there is no symbol \"{}\" (subscribe to \"*\" for all, or see /stats)", short(name));
    Rejected { symbol: cut(name), code: ErrorCode::UnknownSymbol, message }
}

#[cfg(test)]
mod tests;
