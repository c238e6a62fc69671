use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;
use std::time::Duration;

use fred::error::Error;
use fred::interfaces::{ClientLike, EventInterface, HashesInterface, StreamsInterface};
use fred::types::Value;
use fred::types::config::{Options, Server};
use fred::types::streams::XReadValue;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::{broadcast, mpsc};
use tokio::time::Instant;

use super::append::RedisLog;
use super::connection::{VersionError, check_version};
use super::{keys, new_epoch};
use crate::bus::Closed;
use crate::price::{Batch, BusEvent, Epoch, Feed, FeedState, Price, Tick, Update};

/// How long a read waits for an entry.
const BLOCK: Duration = Duration::from_millis(500);

/// How long a read may take in all: beyond that the connection, or Redis, hangs.
const READ_TIMEOUT: Duration = Duration::from_millis(1500);

/// Entries that one read takes.
const ENTRIES_PER_READ: u64 = 256;

/// A failure shorter than this changes nothing that anybody sees.
const GRACE: Duration = Duration::from_millis(300);

/// The pause before a failed reader joins again.
const REJOIN_PAUSE: Duration = Duration::from_millis(50);

/// Reads the log and hands it on, for ever.
#[derive(Debug)]
pub(in crate::bus) struct Follower {
    log: RedisLog,
    events: mpsc::Sender<BusEvent>,
    history: Duration,
    /// The id of the last entry that was handed on; none before the first load.
    position: Option<String>,
    feed: Feed,
    /// What goes wrong with the connection itself: a command only knows that it got no answer.
    errors: broadcast::Receiver<(Error, Option<Server>)>,
    last_error: Option<String>,
}

enum Failure {
    Closed,
    Version(String),
    Redis(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Redis(error)
    }
}

impl From<Closed> for Failure {
    fn from(_: Closed) -> Self {
        Self::Closed
    }
}

impl Follower {
    /// A reader that begins with so much history.
    pub(in crate::bus) fn new(log: RedisLog, events: mpsc::Sender<BusEvent>, history: Duration) -> Self {
        let errors = log.connections.reads.error_rx();
        let feed = Feed { state: FeedState::Starting, reason: String::new() };
        Self { log, events, history, position: None, feed, errors, last_error: None }
    }

    /// Follows the log until nobody listens. A lost connection is made anew, and what was missed is read.
    pub(in crate::bus) async fn run(mut self) {
        let mut failing_since: Option<Instant> = None;
        loop {
            let failure = match self.join().await {
                Ok(()) => {
                    failing_since = None;
                    self.last_error = None;
                    self.read().await
                }
                Err(failure) => failure,
            };
            let reason = match failure {
                Failure::Closed => return,
                Failure::Version(reason) => reason,
                Failure::Redis(error) => {
                    while let Ok((error, _)) = self.errors.try_recv() {
                        self.last_error = Some(error.to_string());
                    }
                    let why = self.last_error.clone().unwrap_or_else(|| error.to_string());
                    format!("cut off from Redis: {why}")
                }
            };
            self.log.metrics.redis_errors.inc();
            tracing::debug!(reason, "the bus failed");
            if failing_since.get_or_insert_with(Instant::now).elapsed() >= GRACE
                && self.tell(FeedState::Degraded, reason).await.is_err()
            {
                return;
            }
            tokio::time::sleep(REJOIN_PAUSE).await;
        }
    }

    /// Shows what this replica has seen, learns the epoch, and takes up the log where it was left.
    async fn join(&mut self) -> Result<(), Failure> {
        let connections = &self.log.connections;
        check_version(&connections.reads).await.map_err(|error| match error {
            VersionError::TooOld { .. } => Failure::Version(error.to_string()),
            VersionError::Redis(error) => Failure::Redis(error),
        })?;
        let args = vec![self.log.known.highest().to_string(), new_epoch(), self.log.clock.micros().to_string()];
        let keys = vec![keys::META, keys::SEQ, keys::STREAM];
        let join = &connections.scripts.join;
        let (epoch, last): (String, String) = join.evalsha_with_reload(&connections.reads, keys, args).await?;
        let epoch = Epoch::new(&epoch);
        match &self.position {
            None => self.load(&epoch).await?,
            // An older stream than ours: another Redis, or the same one with its clock set back.
            Some(position) if id(&last) < id(position) => self.position = Some("0-0".to_owned()),
            Some(_) => {}
        }
        self.log.known.set_epoch(epoch);
        self.tell(FeedState::Live, "the bus is followed".to_owned()).await?;
        Ok(())
    }

    /// The recent history and the latest tick of each symbol, before anything else.
    async fn load(&mut self, epoch: &Epoch) -> Result<(), Failure> {
        let oldest_ms = self.log.clock.millis().saturating_sub(u64::try_from(self.history.as_millis()).unwrap_or(0));
        let mut from = oldest_ms.to_string();
        let mut position = "0-0".to_owned();
        let mut seen = HashSet::new();
        let reads = self.log.connections.reads.clone();
        loop {
            let entries: Vec<XReadValue<String, String, String>> =
                reads.xrange_values(keys::STREAM, from.as_str(), "+", Some(ENTRIES_PER_READ)).await?;
            let full = entries.len() as u64 == ENTRIES_PER_READ;
            for (entry_id, fields) in entries {
                if let Some(batch) = entry(&fields).filter(|batch| batch.epoch == *epoch) {
                    seen.extend(batch.ticks.iter().map(|tick| tick.update.symbol.clone()));
                    self.pass(batch).await?;
                }
                position = entry_id;
            }
            if !full {
                break;
            }
            from = format!("({position}");
        }
        // Quiet symbols have fallen out of the log.
        let last: HashMap<String, String> = reads.hgetall(keys::LAST).await?;
        let of_epoch = |json: &&String| parse_epoch(json).is_some_and(|of| of == epoch.as_str());
        let ticks: Vec<Tick> = last
            .values()
            .filter(of_epoch)
            .filter_map(|json| parse(json))
            .filter(|tick| !seen.contains(&tick.update.symbol))
            .collect();
        if !ticks.is_empty() {
            self.pass(Batch { epoch: epoch.clone(), ticks }).await?;
        }
        self.position = Some(position);
        Ok(())
    }

    /// Reads what comes, until that fails.
    async fn read(&mut self) -> Failure {
        loop {
            if let Err(failure) = self.read_once().await {
                return failure;
            }
        }
    }

    async fn read_once(&mut self) -> Result<(), Failure> {
        let options = Options { timeout: Some(READ_TIMEOUT), ..Options::default() };
        let reads = self.log.connections.reads.with_options(&options);
        let position = self.position.clone().unwrap_or_else(|| "0-0".to_owned());
        let block_ms = u64::try_from(BLOCK.as_millis()).unwrap_or(u64::MAX);
        let answer: Value = reads.xread(Some(ENTRIES_PER_READ), Some(block_ms), keys::STREAM, position).await?;
        if answer.is_null() {
            return Ok(());
        }
        let streams = answer.into_xread_response::<String, String, String, String>()?;
        for (entry_id, fields) in streams.into_values().flatten() {
            match entry(&fields) {
                Some(batch) => {
                    let now_ms = i64::try_from(self.log.clock.millis()).unwrap_or(i64::MAX);
                    let made_ms = i64::try_from(id(&entry_id).0).unwrap_or(0);
                    self.log.known.lag_ms.store(now_ms - made_ms, Ordering::Relaxed);
                    self.log.known.set_epoch(batch.epoch.clone());
                    self.pass(batch).await?;
                }
                None => {
                    self.log.metrics.bus_garbage.inc();
                    tracing::warn!(id = entry_id, "an entry of the log cannot be read");
                }
            }
            self.position = Some(entry_id);
        }
        Ok(())
    }

    async fn pass(&self, batch: Batch) -> Result<(), Closed> {
        if let Some(highest) = batch.ticks.iter().map(|tick| tick.seq).max() {
            self.log.known.raise(highest);
        }
        self.events.send(BusEvent::Ticks(batch)).await.map_err(|_| Closed)
    }

    async fn tell(&mut self, state: FeedState, reason: String) -> Result<(), Closed> {
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

/// An entry's id as numbers: ms since the Unix epoch, and a count within the ms.
fn id(text: &str) -> (u64, u64) {
    let (ms, count) = text.split_once('-').unwrap_or((text, "0"));
    (ms.parse().unwrap_or(0), count.parse().unwrap_or(0))
}

/// An entry of the log: `epoch`, and `ticks`, a JSON array of ticks as clients get them.
fn entry(fields: &HashMap<String, String>) -> Option<Batch> {
    let epoch = fields.get("epoch").filter(|epoch| is_epoch(epoch))?;
    let ticks: Vec<Entry<'_>> = serde_json::from_str(fields.get("ticks")?).ok()?;
    let ticks = ticks.into_iter().map(Entry::tick).collect::<Option<Vec<_>>>()?;
    Some(Batch { epoch: Epoch::new(epoch), ticks })
}

fn is_epoch(name: &str) -> bool {
    !name.is_empty() && name.len() <= 64 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// One tick as JSON.
pub(super) fn parse(json: &str) -> Option<Tick> {
    serde_json::from_str::<Entry<'_>>(json).ok()?.tick()
}

fn parse_epoch(json: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Of {
        epoch: String,
    }
    serde_json::from_str::<Of>(json).ok().map(|of| of.epoch)
}

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow)]
    symbol: std::borrow::Cow<'a, str>,
    // Not as floating-point numbers: prices keep their digits.
    #[serde(borrow)]
    price: &'a RawValue,
    ts: u64,
    seq: u64,
    #[serde(borrow, default)]
    bid: Option<&'a RawValue>,
    #[serde(borrow, default)]
    ask: Option<&'a RawValue>,
    #[serde(borrow, default)]
    size: Option<&'a RawValue>,
}

impl Entry<'_> {
    fn tick(self) -> Option<Tick> {
        let number = |raw: &RawValue| raw.get().parse::<Price>().ok();
        let optional = |raw: Option<&RawValue>| raw.map_or(Some(None), |raw| number(raw).map(Some));
        let update = Update {
            symbol: self.symbol.parse().ok()?,
            price: number(self.price)?,
            ts_ms: self.ts,
            bid: optional(self.bid)?,
            ask: optional(self.ask)?,
            size: optional(self.size)?,
        };
        Some(Tick { seq: self.seq, update })
    }
}
