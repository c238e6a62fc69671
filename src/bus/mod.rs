mod answers;
mod island;
mod local;
mod offer;
mod redis;
mod term;

use std::collections::{BTreeMap, HashMap};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fred::interfaces::ClientLike;
use futures_util::Stream;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::price::{BusEvent, Epoch, Feed, FeedState, Symbol};
use local::LocalBus;
pub use offer::{Answered, MAX_OFFER_UPDATES, MAX_SYMBOLS, Offer, OfferError, OfferKey, Offered, Verdict};
pub use redis::{Claim, Claims, Listing, Mirror, PutError, Record, Records, RecordsError, RedisSettings};
use redis::{Connections, Follow, Follower, Presence, RedisLog, Right, Store, VersionError, check_version};
use term::Holder;
pub use term::{Input, InputEntry, InputError, Term};

/// Events that may wait between the bus and its reader. A full channel slows the source down; nothing is dropped.
const EVENTS_IN_FLIGHT: usize = 1024;

/// How long a start waits for Redis before it goes on without.
const START_WITHIN: Duration = Duration::from_secs(3);

/// How long a shutdown waits for Redis.
const LEAVE_WITHIN: Duration = Duration::from_millis(500);

/// What the bus is told once.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where Redis is; none for a bus inside this process.
    pub redis: Option<RedisSettings>,
    /// How long a replica keeps a source without renewing its lease.
    pub lease_ttl: Duration,
    /// How long after it noticed that the shared log is out of reach a replica goes on by itself.
    pub island_after: Duration,
    /// How much of the log is read when a replica starts.
    pub history: Duration,
    /// This replica's id.
    pub node_id: String,
}

/// The one ordered log of ticks, as those who append to it see it.
///
/// It numbers the ticks (a source does not), so several publishers can feed it, and it alone knows whether there is a
/// cluster.
#[derive(Debug)]
pub struct Bus {
    log: Log,
    /// Where candles are stored; none for a bus inside this process.
    store: Option<Store>,
    lease_ttl: Duration,
    shared: Arc<Shared>,
    metrics: Arc<Metrics>,
}

/// What is to be stored of a symbol's candles. What is in the record only those know who store and read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Whose they are.
    pub symbol: Symbol,
    /// The numbering of `seq`.
    pub epoch: Epoch,
    /// The last tick that is in them.
    pub seq: u64,
    /// Whether it takes the place of all that was stored before; else it follows that.
    pub is_whole: bool,
    /// What is said of them.
    pub record: Bytes,
}

/// What became of something that was to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It is.
    Stored,
    /// What it follows is not there: a whole one is asked for.
    Lost,
    /// What is there is newer.
    Old,
}

/// Nothing could be stored now, or it is not known whether it was. Worth a retry.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// This replica is an island: what it makes now is nobody else's.
    #[error("this replica is cut off from Redis")]
    CutOff,
    /// Redis did not take it.
    #[error("{0}")]
    Redis(#[from] fred::error::Error),
}

/// What this replica is to a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Standby,
    Publisher,
    /// It publishes, and nobody else hears of it.
    Island,
}

#[derive(Debug)]
enum Log {
    Local(LocalBus),
    Redis(RedisLog),
}

/// What those who use the bus and its background know of each other.
#[derive(Debug, Default)]
struct Shared {
    /// What this replica is to each source.
    roles: Mutex<BTreeMap<&'static str, Standing>>,
    /// What each live replica says of itself, and when that was asked last.
    nodes: Mutex<Option<(Instant, Vec<serde_json::Value>)>>,
    /// Latest prices that other services have not been told yet.
    prices: Mutex<HashMap<Symbol, String>>,
    /// The same, with their `seq`, of symbols that other replicas may publish too.
    offered: Mutex<HashMap<Symbol, (u64, String)>>,
}

/// The log as its one reader in this process sees it.
#[derive(Debug)]
pub struct Reader {
    events: mpsc::Receiver<BusEvent>,
}

/// What goes on behind a bus: reading the log, saying that this replica lives, telling other services the prices.
#[derive(Debug)]
pub struct Background(Option<Following>);

#[derive(Debug)]
struct Following {
    follower: Follower,
    connections: Connections,
    presence: Presence,
    node_id: String,
    shared: Arc<Shared>,
    metrics: Arc<Metrics>,
}

/// The reader is gone.
#[derive(Debug)]
struct Closed;

/// Why ticks could not be appended.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The reader is gone: the process is shutting down. Not worth a retry.
    #[error("the bus is closed")]
    Closed,
    /// Another replica may publish for this source now.
    #[error("the lease is lost")]
    Fenced,
}

/// Why there can be no bus.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The server at that address will not do.
    #[error("{address}: {why}")]
    Unfit {
        /// Where it is.
        address: RedisSettings,
        /// What is wrong with it.
        why: String,
    },
}

impl Bus {
    /// A bus, its reader, and what has to run behind it. Waits a moment for Redis; if it is away, the bus begins
    /// without it and joins later.
    ///
    /// # Errors
    /// The server at that address is no Redis that can be used.
    pub async fn open(
        settings: &Settings,
        clock: &Clock,
        metrics: &Arc<Metrics>,
    ) -> Result<(Self, Reader, Background), OpenError> {
        let (sender, events) = mpsc::channel(EVENTS_IN_FLIGHT);
        metrics.queues.watch("bus", &sender);
        let shared = Arc::<Shared>::default();
        let reader = Reader { events };
        let lease_ttl = settings.lease_ttl;
        let Some(redis) = &settings.redis else {
            let live = Feed { state: FeedState::Live, reason: "the bus is in this process".to_owned() };
            sender.try_send(BusEvent::Feed(live)).ok();
            let log = Log::Local(LocalBus::new(0, clock, sender));
            let bus = Self { log, store: None, lease_ttl, shared, metrics: metrics.clone() };
            return Ok((bus, reader, Background(None)));
        };

        let unfit = |why: String| OpenError::Unfit { address: redis.clone(), why };
        let connections = Connections::open(redis).map_err(|error| unfit(error.to_string()))?;
        let first = async {
            connections.wait().await?;
            check_version(connections.commands()).await
        };
        match tokio::time::timeout(START_WITHIN, first).await {
            Ok(Ok(())) => tracing::info!(redis = %redis, "connected"),
            Ok(Err(error @ VersionError::TooOld { .. })) => return Err(unfit(error.to_string())),
            Ok(Err(VersionError::Redis(error))) => {
                tracing::warn!(redis = %redis, %error, "cannot use Redis: starting without it");
            }
            Err(_) => tracing::warn!(redis = %redis, "cannot reach Redis: starting without it"),
        }
        let follow = Follow { history: settings.history, island_after: settings.island_after, lease_ttl };
        let log = RedisLog::new(connections.clone(), clock.clone(), metrics.clone());
        let background = Following {
            follower: Follower::new(log.clone(), sender, follow),
            presence: Presence::new(connections.clone()),
            connections,
            node_id: settings.node_id.clone(),
            shared: shared.clone(),
            metrics: metrics.clone(),
        };
        let store = Some(Store::new(log.clone(), lease_ttl));
        let bus = Self { log: Log::Redis(log), store, lease_ttl, shared, metrics: metrics.clone() };
        Ok((bus, reader, Background(Some(background))))
    }

    /// Waits until this replica may publish for a source. None if `stop` comes first.
    pub async fn lead(&self, source: &'static str, stop: &CancellationToken) -> Option<Term<'_>> {
        let (holder, role) = match &self.log {
            Log::Local(bus) => (Holder::Local(bus), Standing::Publisher),
            Log::Redis(log) => {
                self.set_role(source, Standing::Standby);
                match log.lead(source, self.lease_ttl, stop).await? {
                    Right::Lease(lease) => (Holder::Redis(lease), Standing::Publisher),
                    Right::Island(island) => (Holder::Island(island), Standing::Island),
                }
            }
        };
        self.set_role(source, role);
        Some(Term { bus: self, source, holder })
    }

    /// Appends what a publisher without a term offers: updates of symbols that no source owns. Any replica may.
    ///
    /// # Errors
    /// [`OfferError`] says why nothing was answered.
    pub async fn offer(&self, offer: &Offer) -> Result<Answered, OfferError> {
        match &self.log {
            Log::Local(bus) => bus.offer(offer).await,
            Log::Redis(log) => {
                if log.shore().island().is_some() {
                    // Nobody else would hear of it.
                    return Err(OfferError::Unavailable("this replica is cut off from Redis".to_owned()));
                }
                let answered = log.offer(offer).await?;
                self.note_offered(offer, &answered);
                Ok(answered)
            }
        }
    }

    /// Stores candles, for all replicas, and says what became of each; none where another replica does. Who
    /// has nothing to store says so too, to be the one that does.
    ///
    /// # Errors
    /// Redis did not answer, or this replica is cut off from it.
    pub async fn store(&self, parts: &[Part]) -> Result<Option<Vec<Put>>, StoreError> {
        let Some(store) = &self.store else { return Ok(None) };
        store.store(parts).await
    }

    /// Lets another replica go on with storing at once.
    pub async fn end_storing(&self) {
        if let Some(store) = &self.store {
            store.release().await;
        }
    }

    /// Notes what other services have to be told of an offer.
    fn note_offered(&self, offer: &Offer, answered: &Answered) {
        if answered.again {
            return;
        }
        let mut prices = lock(&self.shared.offered);
        for (update, verdict) in offer.updates.iter().zip(&answered.verdicts) {
            if let (Ok(Offered { update, .. }), Verdict::Accepted(seq)) = (update, verdict) {
                // Offers that pass at once may be noted in another order.
                if prices.get(&update.symbol).is_none_or(|(known, _)| known < seq) {
                    prices.insert(update.symbol.clone(), (*seq, redis::price_json(update, *seq)));
                }
            }
        }
    }

    fn set_role(&self, source: &'static str, role: Standing) {
        lock(&self.shared.roles).insert(source, role);
    }

    /// What this replica is to each source: `publisher` or `standby`.
    pub fn roles(&self) -> BTreeMap<&'static str, &'static str> {
        let word = |role| if role == Standing::Standby { "standby" } else { "publisher" };
        lock(&self.shared.roles).iter().map(|(source, role)| (*source, word(*role))).collect()
    }

    /// Of each source whether this replica publishes for it so that every replica hears it: an island does not.
    pub fn publishes(&self) -> Vec<(&'static str, bool)> {
        lock(&self.shared.roles).iter().map(|(source, role)| (*source, *role == Standing::Publisher)).collect()
    }

    /// What each live replica says of itself, as of a second ago, by id; nobody where this one is alone, or does not know
    /// any more.
    pub fn nodes(&self) -> Vec<serde_json::Value> {
        let nodes = lock(&self.shared.nodes);
        nodes
            .iter()
            .filter(|(asked, _)| asked.elapsed() < Presence::HOLDS)
            .flat_map(|(_, nodes)| nodes.clone())
            .collect()
    }

    /// The numbering in force, as far as this replica knows.
    pub fn epoch(&self) -> Option<Epoch> {
        match &self.log {
            Log::Local(bus) => Some(bus.epoch()),
            Log::Redis(log) => match log.shore().island() {
                Some(island) => Some(island.bus.epoch()),
                None => log.known().epoch(),
            },
        }
    }

    /// How old the newest entry of the log was when it was read, in ms; none where there is no way between.
    pub fn lag_ms(&self) -> Option<i64> {
        match &self.log {
            Log::Local(_) => None,
            Log::Redis(log) => Some(log.known().lag_ms()),
        }
    }

    /// Whether Redis is connected; none where there is none.
    pub fn redis_connected(&self) -> Option<bool> {
        match &self.log {
            Log::Local(_) => None,
            Log::Redis(log) => Some(log.connections().commands().is_connected()),
        }
    }

    /// Which form it has: `local` or `redis`.
    pub fn kind(&self) -> &'static str {
        match self.log {
            Log::Local(_) => "local",
            Log::Redis(_) => "redis",
        }
    }

    /// Where records are kept that every replica holds; none where there are no others.
    pub fn records(&self) -> Option<Records> {
        match &self.log {
            Log::Local(_) => None,
            Log::Redis(log) => Some(Records::new(log.connections().clone(), self.metrics.clone())),
        }
    }

    /// How replicas agree on who does something once; none where there are no others.
    pub fn claims(&self) -> Option<Claims> {
        match &self.log {
            Log::Local(_) => None,
            Log::Redis(log) => Some(Claims::new(log.connections().clone())),
        }
    }

    /// True where other replicas can go on with a source that this one gives up.
    pub fn is_shared(&self) -> bool {
        matches!(self.log, Log::Redis(_))
    }

    /// Resolves as soon as others hear what this replica publishes, and can go on with it: at once, unless it is an island.
    /// Never where there are no others.
    pub async fn among_others(&self) {
        let Log::Redis(log) = &self.log else { return std::future::pending().await };
        while let Some(island) = log.shore().island() {
            island.over().await;
        }
    }
}

/// Events in order, until every [`Bus`] is gone.
impl Stream for Reader {
    type Item = BusEvent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<BusEvent>> {
        self.events.poll_recv(cx)
    }
}

impl Background {
    /// Runs until `stop`. `describe` is what this replica says of itself.
    pub async fn run(self, describe: impl Fn() -> serde_json::Value + Send + Sync, stop: CancellationToken) {
        let Some(following) = self.0 else { return stop.cancelled().await };
        let Following { follower, connections, presence, node_id, shared, metrics } = following;
        let live = async {
            let mut every = tokio::time::interval(Presence::EVERY);
            every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                every.tick().await;
                let asked = Instant::now();
                match presence.say(&node_id, &describe().to_string()).await {
                    Ok(nodes) => {
                        let nodes = nodes.iter().filter_map(|node| serde_json::from_str(node).ok()).collect();
                        *lock(&shared.nodes) = Some((asked, nodes));
                    }
                    Err(error) => {
                        metrics.redis_errors.inc();
                        tracing::debug!(%error, "cannot say that this replica lives");
                    }
                }
            }
        };
        let prices = async {
            loop {
                tokio::time::sleep(redis::PRICES_EVERY).await;
                let prices = std::mem::take(&mut *lock(&shared.prices));
                let offered = std::mem::take(&mut *lock(&shared.offered));
                let told = redis::tell_prices(&connections, prices).await;
                if let Err(error) = told.and(redis::tell_offered(&connections, offered).await) {
                    metrics.redis_errors.inc();
                    tracing::debug!(%error, "cannot tell other services the prices");
                }
            }
        };
        tokio::select! {
            () = follower.run() => {}
            () = live => {}
            () = prices => {}
            () = stop.cancelled() => {}
        }
        let leave = async {
            presence.leave(&node_id).await;
            connections.close().await;
        };
        tokio::time::timeout(LEAVE_WITHIN, leave).await.ok();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

#[cfg(test)]
mod tests;
