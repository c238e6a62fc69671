use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use fred::error::Error;
use fred::interfaces::{ClientLike, EventInterface, StreamsInterface};
use fred::types::Value;
use fred::types::config::{Options, Server};
use tokio::sync::{broadcast, mpsc};
use tokio::time::Instant;

use super::append::{RedisLog, STREAM_ENTRIES};
use super::connection::{VersionError, check_version};
use super::entry::{entry, fill, id};
use super::failure::Failure;
use super::pages::Pages;
use super::pulse::Pulse;
use super::since::Since;
use super::{keys, new_epoch};
use crate::bus::Closed;
use crate::bus::island::Island;
use crate::price::{Batch, BusEvent, Epoch, Feed, FeedState, Symbol, Tick, Update};

/// How long a read waits for an entry.
const BLOCK: Duration = Duration::from_millis(500);

/// How long a read may take in all: beyond that the connection, or Redis, hangs.
const READ_TIMEOUT: Duration = Duration::from_millis(1250);

/// A failure shorter than this is not told.
const GRACE: Duration = Duration::from_millis(300);

/// The pause before a failed reader joins again.
const REJOIN_PAUSE: Duration = Duration::from_millis(50);

/// How often an island asks why it cannot use Redis.
const ASK_WHY_EVERY: Duration = Duration::from_secs(1);

/// The pause before an island joins that has joined before and could not read on then; twice as long after each time, up to
/// the second.
const BACK_OFF: Duration = Duration::from_millis(500);
const BACK_OFF_MOST: Duration = Duration::from_secs(16);

/// Numbers that an island may give while it asks to come back.
const RESERVE: u64 = 10_000;

/// How the log is followed.
#[derive(Clone, Copy, Debug)]
pub(in crate::bus) struct Follow {
    /// How much history is read to begin with.
    pub(in crate::bus) history: Duration,
    /// How long after it noticed a loss this replica goes on by itself.
    pub(in crate::bus) island_after: Duration,
    /// The life of a lease.
    pub(in crate::bus) lease_ttl: Duration,
}

/// Reads the log and hands it on, for ever; where that cannot be, makes this replica an island until it can. How it takes the
/// log up is in `take_up.rs`.
#[derive(Debug)]
pub(in crate::bus) struct Follower {
    pub(super) log: RedisLog,
    pub(super) events: mpsc::Sender<BusEvent>,
    pub(super) settings: Follow,
    pulse: Pulse,
    /// The id of the last entry that was handed on; none before the first load.
    pub(super) position: Option<String>,
    /// The epoch of what was handed on last.
    pub(super) epoch: Option<Epoch>,
    /// The last update of each symbol: what an island goes on from.
    pub(super) last: HashMap<Symbol, Update>,
    /// True where what was handed on last does not join up with the log.
    pub(super) apart: bool,
    /// True from the beginning of an island until what passed meanwhile has been handed on.
    pub(super) alone: bool,
    /// What an island has read already of what passed meanwhile.
    pub(super) missed: Option<Since>,
    pub(super) pages: Pages,
    /// How often an island has joined since the log was read last.
    rejoined: u32,
    /// When the last entry came.
    pub(super) heard: Instant,
    feed: Feed,
    /// What goes wrong with the connection itself: a command only knows that it got no answer.
    errors: broadcast::Receiver<(Error, Option<Server>)>,
    last_error: Option<String>,
}

/// What a replica learns that joins.
#[derive(Debug)]
struct Joined {
    epoch: Epoch,
    /// The id of the log's last entry.
    end: String,
    /// Whether the log has what was handed on last, as far as that can be said.
    joins_up: bool,
}

impl Follower {
    pub(in crate::bus) fn new(log: RedisLog, events: mpsc::Sender<BusEvent>, settings: Follow) -> Self {
        let errors = log.connections.reads.error_rx();
        let feed = Feed { state: FeedState::Starting, reason: String::new() };
        let pulse = Pulse::new(log.clone());
        Self {
            log,
            events,
            settings,
            pulse,
            position: None,
            epoch: None,
            last: HashMap::new(),
            apart: false,
            alone: false,
            missed: None,
            pages: Pages::default(),
            rejoined: 0,
            heard: Instant::now(),
            feed,
            errors,
            last_error: None,
        }
    }

    /// Follows the log until nobody listens. A lost connection is made anew, and what was missed is read.
    pub(in crate::bus) async fn run(mut self) {
        let pulse = self.pulse.clone();
        tokio::select! {
            () = pulse.run() => {}
            Closed = self.follow() => {}
        }
    }

    async fn follow(&mut self) -> Closed {
        // When a loss was noticed that is not mended yet.
        let mut lost = (!self.log.connections.reads.is_connected()).then(Instant::now);
        loop {
            // When there is something to tell, or to do, if it is not mended by then.
            let next = lost.and_then(|since| {
                let next = if since.elapsed() < GRACE {
                    GRACE.min(self.settings.island_after)
                } else {
                    self.settings.island_after
                };
                // Who never becomes an island waits for as long as it takes.
                since.checked_add(next)
            });
            let joined = match next {
                None => self.join().await,
                Some(next) => match tokio::time::timeout_at(next, self.join()).await {
                    Ok(joined) => joined,
                    Err(_) => Err(Failure::Late),
                },
            };
            let failure = match joined {
                Ok(()) => {
                    lost = None;
                    self.last_error = None;
                    self.read().await
                }
                Err(failure) => failure,
            };
            let since = match &failure {
                Failure::Closed => return Closed,
                // Redis is as it should be.
                Failure::Overtaken => {
                    tracing::info!("a new epoch has begun meanwhile: joining again");
                    tokio::time::sleep(REJOIN_PAUSE).await;
                    continue;
                }
                Failure::Unwritable(noticed, _) => *lost.get_or_insert(*noticed),
                _ => *lost.get_or_insert_with(Instant::now),
            };
            let reason = self.reason(failure);
            self.log.metrics.redis_errors.inc();
            tracing::debug!(reason, "the bus failed");
            if since.elapsed() >= self.settings.island_after {
                if self.live_alone(reason).await.is_err() {
                    return Closed;
                }
                lost = None;
                continue;
            }
            if since.elapsed() >= GRACE && self.tell(FeedState::Degraded, reason).await.is_err() {
                return Closed;
            }
            // Not beyond the time for an island.
            tokio::time::sleep(REJOIN_PAUSE.min(self.settings.island_after.saturating_sub(since.elapsed()))).await;
        }
    }

    /// Why the bus cannot be used, for people.
    fn reason(&mut self, failure: Failure) -> String {
        let why = match failure {
            Failure::Version(reason) => return reason,
            Failure::Unwritable(_, why) => return format!("Redis takes nothing: {why}"),
            Failure::Redis(error) => Some(error.to_string()),
            Failure::Late | Failure::Overtaken | Failure::Closed => None,
        };
        while let Ok((error, _)) = self.errors.try_recv() {
            self.last_error = Some(error.to_string());
        }
        let why = self.last_error.clone().or(why).unwrap_or_else(|| "no answer".to_owned());
        format!("cut off from Redis: {why}")
    }

    /// Goes on without the shared log until that is back, and this replica with it.
    async fn live_alone(&mut self, reason: String) -> Result<(), Closed> {
        let shown = self.log.known.highest();
        self.log.metrics.islands.inc();
        self.tell(FeedState::Degraded, reason).await?;
        self.alone = true;
        self.missed = None;
        self.events.send(BusEvent::Alone).await.map_err(|_| Closed)?;
        let island = self.log.shore.leave(shown, &self.log.clock, self.events.clone());
        self.log.metrics.alone.add(1);
        tracing::warn!(epoch = island.bus.epoch().as_str(), "an island: going on by itself");
        // Everything that is known is said again: under these numbers, quiet symbols too.
        let known = self.last.values().cloned().collect();
        let back = match island.bus.restate(known).await {
            Ok(()) => self.come_back(&island).await,
            Err(_) => Err(Closed),
        };
        self.log.metrics.alone.add(-1);
        back
    }

    async fn come_back(&mut self, island: &Arc<Island>) -> Result<(), Closed> {
        let pulse = self.pulse.clone();
        while self.log.shore.island().is_some() {
            let asked = tokio::select! {
                () = pulse.back(self.settings.lease_ttl) => self.rejoin(island).await,
                // It may be there, and be none that can be used: then that is why.
                () = tokio::time::sleep(ASK_WHY_EVERY) => self.ask_version().await,
            };
            match asked {
                Ok(()) => {}
                Err(Failure::Closed) => return Err(Closed),
                Err(failure) => {
                    let reason = self.reason(failure);
                    self.tell(FeedState::Degraded, reason).await?;
                    tokio::time::sleep(REJOIN_PAUSE).await;
                }
            }
        }
        Ok(())
    }

    /// Ends the island: from here on only the shared log is handed on, above all numbers that the island gave.
    async fn rejoin(&mut self, island: &Island) -> Result<(), Failure> {
        if let Some(doublings) = self.rejoined.checked_sub(1) {
            tokio::time::sleep((BACK_OFF * 2_u32.saturating_pow(doublings)).min(BACK_OFF_MOST)).await;
        }
        self.read_ahead().await?;
        self.rejoined += 1;
        let shown = island.bus.highest() + RESERVE;
        let mut joined = self.ask_to_join(shown).await?;
        let ended = self.log.shore.rejoin(island);
        self.apart = true;
        self.log.known.raise(ended.highest);
        self.last = ended.last.into_iter().map(|update| (update.symbol.clone(), update)).collect();
        if ended.highest > shown {
            joined = self.ask_to_join(ended.highest).await?;
        }
        // What came into the log before is not for us: it would be below our own numbers.
        self.take_up(joined.epoch, joined.end).await
    }

    /// Shows what this replica has seen, learns the epoch, and takes up the log where it was left.
    async fn join(&mut self) -> Result<(), Failure> {
        let Joined { epoch, end, joins_up } = self.ask_to_join(self.log.known.highest()).await?;
        // An older stream than ours: another Redis, or the same one with its clock set back. What is in it came before. Or
        // one that has lost what we had, and what took its place may have come before, too.
        self.apart |= !joins_up || self.position.as_ref().is_some_and(|position| id(&end) < id(position));
        self.take_up(epoch, end).await
    }

    async fn ask_version(&self) -> Result<(), Failure> {
        check_version(&self.log.connections.reads).await.map_err(|error| match error {
            VersionError::TooOld { .. } => Failure::Version(error.to_string()),
            VersionError::Redis(error) => Failure::Redis(error),
        })
    }

    /// The epoch in force, above `shown`.
    async fn ask_to_join(&self, shown: u64) -> Result<Joined, Failure> {
        self.ask_version().await?;
        let connections = &self.log.connections;
        let args = vec![
            shown.to_string(),
            self.log.known.seen(),
            new_epoch(),
            self.log.clock.micros().to_string(),
            STREAM_ENTRIES.to_string(),
            self.position.clone().unwrap_or_default(),
        ];
        let join = &connections.scripts.join;
        let (epoch, end, joins_up, highest): (String, String, String, u64) =
            join.evalsha_with_reload(&connections.reads, keys::LOG.to_vec(), args).await?;
        // What is handed on from here is what this log has, up to there at least.
        self.log.known.see(&epoch, &end, highest);
        Ok(Joined { epoch: Epoch::new(&epoch), end, joins_up: joins_up == "1" })
    }

    /// Reads what comes, until that fails.
    async fn read(&mut self) -> Failure {
        let pulse = self.pulse.clone();
        let grace = GRACE.min(self.settings.island_after);
        loop {
            let heard = self.heard;
            let mut read = pin!(self.read_once());
            let done = tokio::select! {
                done = &mut read => done,
                // The log is silent, and nobody could write to it.
                (noticed, why) = pulse.lost(grace, heard + READ_TIMEOUT) => Err(Failure::Unwritable(noticed, why)),
            };
            if let Err(failure) = done {
                return failure;
            }
        }
    }

    async fn read_once(&mut self) -> Result<(), Failure> {
        let options = Options { timeout: Some(READ_TIMEOUT), ..Options::default() };
        let reads = self.log.connections.reads.with_options(&options);
        let position = self.position.clone().unwrap_or_else(|| "0-0".to_owned());
        let block_ms = u64::try_from(BLOCK.as_millis()).unwrap_or(u64::MAX);
        let (asked, count) = (Instant::now(), self.pages.count());
        let answer: Result<Value, Error> = reads.xread(Some(count), Some(block_ms), keys::STREAM, position).await;
        if answer.as_ref().is_ok_and(Value::is_null) {
            self.rejoined = 0;
            return Ok(());
        }
        let streams = answer.and_then(Value::into_xread_response::<String, String, String, String>);
        let entries = streams.map(|streams| streams.into_values().flatten().collect::<Vec<_>>());
        let is_full = entries.as_ref().is_ok_and(|entries| entries.len() as u64 == count);
        self.pages.note(entries.is_ok(), is_full, asked.elapsed());
        let entries = entries?;
        self.rejoined = 0;
        for (entry_id, fields) in entries {
            if let Some(fill) = fill(&fields) {
                self.events.send(BusEvent::Filled(fill)).await.map_err(|_| Closed)?;
            }
            match entry(&fields) {
                Some(batch) => {
                    let now_ms = i64::try_from(self.log.clock.millis()).unwrap_or(i64::MAX);
                    let made_ms = i64::try_from(id(&entry_id).0).unwrap_or(0);
                    self.log.known.lag_ms.store(now_ms - made_ms, Ordering::Relaxed);
                    let epoch = batch.epoch.clone();
                    if let Some(highest) = batch.ticks.iter().map(|tick| tick.seq).max() {
                        self.log.known.see(epoch.as_str(), &entry_id, highest);
                    }
                    self.pass(batch).await?;
                    if self.epoch.as_ref() != Some(&epoch) {
                        // Begun by somebody else, who may know less.
                        self.restore(&epoch).await?;
                        self.log.known.set_epoch(epoch.clone());
                        self.epoch = Some(epoch);
                    }
                }
                None => {
                    self.log.metrics.bus_garbage.inc();
                    tracing::warn!(id = entry_id, "an entry of the log cannot be read");
                }
            }
            self.position = Some(entry_id);
        }
        self.heard = Instant::now();
        Ok(())
    }

    pub(super) async fn pass(&mut self, batch: Batch) -> Result<(), Closed> {
        let mut highest = 0;
        for Tick { seq, update } in &batch.ticks {
            highest = highest.max(*seq);
            match self.last.get_mut(&update.symbol) {
                Some(last) => last.clone_from(update),
                None => {
                    self.last.insert(update.symbol.clone(), update.clone());
                }
            }
        }
        self.log.known.raise(highest);
        self.events.send(BusEvent::Ticks(batch)).await.map_err(|_| Closed)
    }

    pub(super) async fn tell(&mut self, state: FeedState, reason: String) -> Result<(), Closed> {
        let feed = Feed { state, reason };
        if self.feed.state == state && (state != FeedState::Degraded || self.feed == feed) {
            return Ok(());
        }
        match state {
            FeedState::Degraded => tracing::warn!(reason = feed.reason, "degraded"),
            _ => tracing::info!(reason = feed.reason, "live"),
        }
        self.feed = feed.clone();
        self.events.send(BusEvent::Feed(feed)).await.map_err(|_| Closed)
    }
}
