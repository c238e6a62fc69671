use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap, HashSet};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde_json::value::RawValue;
use slab::Slab;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::Settings;
use super::charts::Board;
use super::cohort::{CohortId, Cohorts};
use super::days::Days;
use super::flush::{Flush, Item, News};
use super::handle::{ClientId, Command, Inbox, Request, Sent};
use super::session::Session;
use crate::clock::Clock;
use crate::market::Market;
use crate::metrics::{Gauge, Metrics, Tally};
use crate::price::{Epoch, Symbol, SymbolId};
use crate::wire::to_client;

/// Requests that are carried out in a row before ticks have their turn.
const COMMANDS_IN_A_ROW: usize = 16;

/// Flushes that go out as one at most.
const FLUSHES_AT_ONCE: usize = 64;

/// How often those who wait are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Who waits for longer than this is slow.
const SLOW_AFTER: Duration = Duration::from_secs(1);

/// The sessions of a part of the clients, and everything that goes to them: one task that owns them.
///
/// A subscription and a flush never happen at once, and what a client is told to begin with is what this shard sent
/// last: between a snapshot and the first live tick after it there is no hole.
pub struct Shard {
    pub(super) settings: Arc<Settings>,
    pub(super) market: Arc<Market>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) clock: Clock,
    pub(super) news: mpsc::Receiver<News>,
    inbox: Option<Inbox>,
    pub(super) sessions: Slab<Session>,
    pub(super) slots: HashMap<ClientId, usize>,
    pub(super) cohorts: Cohorts,
    /// Every symbol, by id, with the number of those who get it.
    pub(super) symbols: Vec<Symbol>,
    pub(super) subscribers: Vec<Arc<Gauge>>,
    /// The numbering that `latest` is of.
    pub(super) epoch: Option<Epoch>,
    /// What was sent last, by id.
    pub(super) latest: Vec<Option<Arc<Item>>>,
    /// Symbols that have gone quiet.
    pub(super) stale: HashSet<SymbolId>,
    /// Those for whom something waits that they did not take.
    pub(super) waiting: BTreeSet<usize>,
    /// Those who follow something beside ticks.
    pub(super) charting: BTreeSet<usize>,
    pub(super) board: Board,
    pub(super) days: Days,
    /// Looks at all that since statistics went out.
    pub(super) looks: u32,
    /// When a cohort's symbols that have a pace may go out.
    pub(super) timers: BinaryHeap<Reverse<(Instant, CohortId)>>,
    /// How old what was sent in this flush was.
    pub(super) ages: Tally,
    /// How many cohorts have been told to those who count them.
    counted_cohorts: usize,
    clearing: FuturesUnordered<Pin<Box<dyn Future<Output = ClientId> + Send>>>,
}

impl Shard {
    pub(super) fn new(
        settings: Arc<Settings>,
        market: Arc<Market>,
        metrics: Arc<Metrics>,
        clock: Clock,
        news: mpsc::Receiver<News>,
        inbox: Inbox,
    ) -> Self {
        let mut shard = Self {
            settings,
            market,
            metrics,
            clock,
            news,
            inbox: Some(inbox),
            sessions: Slab::new(),
            slots: HashMap::new(),
            cohorts: Cohorts::default(),
            symbols: Vec::new(),
            subscribers: Vec::new(),
            epoch: None,
            latest: Vec::new(),
            stale: HashSet::new(),
            waiting: BTreeSet::new(),
            charting: BTreeSet::new(),
            board: Board::default(),
            days: Days::default(),
            looks: 0,
            timers: BinaryHeap::new(),
            ages: Tally::default(),
            counted_cohorts: 0,
            clearing: FuturesUnordered::new(),
        };
        shard.learn();
        shard
    }

    /// Sends ticks and serves clients until `stop`, or until the pump has ended.
    pub async fn run(mut self, stop: CancellationToken) {
        let Some(Inbox { mut commands, calls }) = self.inbox.take() else { return };
        let mut row = Vec::with_capacity(COMMANDS_IN_A_ROW);
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let due = self.next_due();
            tokio::select! {
                () = stop.cancelled() => return,
                news = self.news.recv() => match news {
                    Some(news) => self.hear(news).await,
                    None => return,
                },
                clients = calls.next() => {
                    let now = Instant::now();
                    for (client, waiting) in clients {
                        self.attend_client(client, now);
                        drop(waiting);
                    }
                }
                Some(client) = self.clearing.next() => {
                    if let Some(&slot) = self.slots.get(&client) {
                        self.sessions[slot].clearing = false;
                        self.attend(slot, Instant::now());
                    }
                }
                () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    self.keep_pace(Instant::now()).await;
                }
                // None once there is nobody left who could send one.
                1.. = commands.recv_many(&mut row, COMMANDS_IN_A_ROW) => {
                    let now = Instant::now();
                    for command in row.drain(..) {
                        self.obey(command, now);
                    }
                }
                _ = looks.tick() => {
                    let now = Instant::now();
                    self.look(now);
                    self.show(now).await;
                }
            }
        }
    }

    /// When something goes out next that waits for its time.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.timers.peek().map(|Reverse((due, _))| *due)
    }

    /// Takes what the pump says, and whatever else has come from it: all of it goes out together.
    pub(super) async fn hear(&mut self, first: News) {
        let mut flushes = Vec::new();
        let mut next = Some(first);
        while let Some(news) = next {
            match news {
                News::Flush(flush) => flushes.push(flush),
                News::Status(body) => {
                    self.send_all(&mut flushes).await;
                    self.tell(&body);
                }
                News::Fresh(turn) => {
                    self.send_all(&mut flushes).await;
                    self.turn_fresh(&turn);
                }
                News::Turned(epoch, body) => {
                    self.send_all(&mut flushes).await;
                    self.turn(epoch);
                    self.tell(&body);
                }
            }
            // Others have their turn, however far behind this is.
            next = if flushes.len() < FLUSHES_AT_ONCE { self.news.try_recv().ok() } else { None };
        }
        self.send_all(&mut flushes).await;
    }

    async fn send_all(&mut self, flushes: &mut Vec<Arc<Flush>>) {
        if let Some(flush) = flushes.first() {
            let epoch = flush.epoch.clone();
            if flushes.iter().any(|flush| !flush.unknown.is_empty()) {
                self.greet(flushes);
            }
            let items = match &mut flushes[..] {
                [one] => one.clone(),
                many => {
                    let items = many.iter().flat_map(|flush| flush.items.iter().cloned()).collect();
                    Arc::new(Flush { epoch: epoch.clone(), items, unknown: Vec::new() })
                }
            };
            flushes.clear();
            self.epoch = Some(epoch);
            for item in &items.items {
                self.latest[item.id.index()] = Some(item.clone());
            }
            self.flush(&items.items, Instant::now()).await;
        }
    }

    /// Knows the symbols that the market knows.
    pub(super) fn learn(&mut self) {
        if self.symbols.len() < self.market.symbol_count() {
            self.symbols = self.market.symbols();
            self.latest.resize(self.symbols.len(), None);
            let known = self.subscribers.len();
            let new = self.symbols[known..].iter().map(|symbol| self.metrics.subscriptions.of(symbol.as_str()));
            self.subscribers.extend(new);
        }
    }

    /// Symbols that nobody knew go to those who want every one.
    fn greet(&mut self, flushes: &[Arc<Flush>]) {
        self.learn();
        let unknown: Vec<_> = flushes.iter().flat_map(|flush| &flush.unknown).map(|(id, _)| *id).collect();
        let is_for =
            |session: &Session| unknown.iter().any(|id| session.wishes.options(&self.symbols[id.index()]).is_some());
        let slots: Vec<usize> =
            self.sessions.iter().filter(|(_, session)| is_for(session)).map(|(slot, _)| slot).collect();
        let now = Instant::now();
        for slot in slots {
            self.rearrange(slot, |id| unknown.contains(&id), now);
        }
    }

    /// A new epoch: what waits of the old one does not join up with it.
    fn turn(&mut self, epoch: Epoch) {
        self.epoch = Some(epoch);
        self.latest.fill(None);
        for cohort in self.cohorts.iter_mut() {
            cohort.forget();
        }
        for (_, session) in &mut self.sessions {
            session.ahead.clear();
            if let Some(pending) = &mut session.pending {
                **pending = Default::default();
            }
        }
    }

    /// Tells everybody who gets ticks.
    fn tell(&mut self, status: &RawValue) {
        let slots: Vec<usize> =
            self.sessions.iter().filter(|(_, session)| session.cohort.is_some()).map(|(slot, _)| slot).collect();
        for slot in slots {
            let sent = self.sessions[slot].link.send(to_client::STATUS, status);
            self.after(slot, sent);
        }
    }

    /// A message was sent to a client: one that waits is looked after, one that was dropped was not for it to miss.
    pub(super) fn after(&mut self, slot: usize, sent: Sent) {
        match sent {
            Sent::Done => {}
            Sent::Waits => self.wait_for(slot),
            Sent::Dropped => {
                self.metrics.messages_dropped.inc();
                self.sessions[slot].link.close();
            }
        }
    }

    pub(super) fn obey(&mut self, command: Command, now: Instant) {
        match command {
            Command::Join(client, link, allowed) => {
                let slot = self.sessions.insert(Session::new(client, link, allowed));
                self.slots.insert(client, slot);
                // Who called for it before it was known here called in vain.
                self.attend(slot, now);
            }
            Command::Request(client, request, reply) => {
                let Some(&slot) = self.slots.get(&client) else { return };
                let by_callback = reply.by_callback();
                let allows = matches!(request, Request::Allow { .. });
                let mut events = Vec::new();
                let answer = match request {
                    Request::Subscribe(request) => {
                        let answer;
                        (answer, events) = self.subscribe(slot, &request, by_callback, now);
                        Ok(answer)
                    }
                    Request::Unsubscribe(request) => Ok(self.unsubscribe(slot, &request, now)),
                    Request::Follow(request) => self.follow(slot, &request),
                    Request::Unfollow(request) => self.unfollow(slot, &request),
                    Request::Allow { symbols, expires_in_ms } => Ok(self.allow(slot, symbols, expires_in_ms, now)),
                };
                self.metrics.request_errors.add(u64::from(answer.is_err()));
                if !events.is_empty() {
                    // Where a poll waits for something, the answer and these go out with it.
                    self.sessions[slot].link.take_ready();
                }
                let sent = reply.send(answer);
                self.after(slot, sent);
                for (event, body) in events {
                    let sent = self.sessions[slot].link.send_on(&event, &body);
                    self.after(slot, sent);
                }
                if allows {
                    self.attend(slot, now);
                }
            }
            Command::Retire(client, done) => {
                if let Some(&slot) = self.slots.get(&client) {
                    self.attend(slot, now);
                    self.dismiss(slot);
                }
                drop(done);
            }
            Command::Leave(client) => self.leave(client),
        }
    }

    fn leave(&mut self, client: ClientId) {
        let Some(slot) = self.slots.remove(&client) else { return };
        self.dismiss(slot);
        self.sessions.remove(slot);
    }

    /// Gives a client nothing any more.
    fn dismiss(&mut self, slot: usize) {
        let session = &mut self.sessions[slot];
        session.wishes.remove_all();
        session.pending = None;
        self.end_charts(slot, |_| false);
        let session = &mut self.sessions[slot];
        self.waiting.remove(&slot);
        if std::mem::take(&mut session.slow) {
            self.metrics.clients_slow.add(-1);
        }
        self.rearrange(slot, |_| true, Instant::now());
    }

    pub(super) fn attend_client(&mut self, client: ClientId, now: Instant) {
        if let Some(&slot) = self.slots.get(&client) {
            self.attend(slot, now);
        }
    }

    /// Something waits for a client that it could not take: it is told as soon as it can take it.
    pub(super) fn wait_for(&mut self, slot: usize) {
        self.waiting.insert(slot);
        let session = &mut self.sessions[slot];
        if let (Some(lane), false) = (&session.lane, session.clearing) {
            session.clearing = true;
            let (cleared, client) = (lane.clone().cleared(), session.client);
            self.clearing.push(Box::pin(async move {
                cleared.await;
                client
            }));
        }
    }

    /// Looks at those for whom something waits: they are slow if it has waited for a while, and lost if it has for too
    /// long.
    pub(super) fn look(&mut self, now: Instant) {
        let cohorts = self.cohorts.len();
        let before = std::mem::replace(&mut self.counted_cohorts, cohorts);
        self.metrics.cohorts.add(cohorts as i64 - before as i64);
        for slot in self.waiting.clone() {
            if self.sessions[slot].lane.is_none() {
                self.attend(slot, now);
            }
            let session = &mut self.sessions[slot];
            let pending = session.pending.as_ref().and_then(|pending| pending.oldest()).filter(|due| *due <= now);
            let queued = session.lane.as_ref().and_then(|lane| lane.waits_since()).map(Instant::from_std);
            // Who takes some of it takes its time, but is there.
            let since = pending
                .into_iter()
                .chain(session.charts.waits)
                .min()
                .map(|due| session.took.map_or(due, |took| took.max(due)));
            let since = since.into_iter().chain(queued).min();
            let waited = since.map_or(Duration::ZERO, |since| now - since);
            if waited >= self.settings.slow_timeout {
                tracing::debug!(client = session.client.0, "disconnected: it took nothing for too long");
                self.metrics.slow_disconnects.inc();
                session.link.close();
                self.dismiss(slot);
                continue;
            }
            let slow = waited >= SLOW_AFTER;
            if slow != session.slow {
                session.slow = slow;
                self.metrics.clients_slow.add(if slow { 1 } else { -1 });
            }
            if since.is_none() && !session.clearing {
                self.waiting.remove(&slot);
            }
        }
    }
}
