mod append;
mod claims;
mod connection;
mod entry;
mod failure;
mod follow;
mod input;
mod lease;
mod nodes;
mod offer;
mod pages;
mod pulse;
mod recall;
mod records;
mod since;
mod store;
mod take_up;

pub(super) use append::RedisLog;
pub use claims::{Claim, Claims};
pub use connection::RedisSettings;
pub(super) use connection::{Connections, VersionError, check_version};
pub(super) use follow::{Follow, Follower};
pub(super) use input::InputStream;
pub(super) use lease::{Lease, Right};
pub(super) use nodes::Presence;
pub use records::{Mirror, PutError, Record, Records, RecordsError};
pub(super) use store::Store;

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use fred::error::{Error, ErrorKind};
use fred::interfaces::KeysInterface;
use fred::types::Expiration;
use fred::types::scripts::Script;
use futures_util::{StreamExt, TryStreamExt};

use crate::price::{Epoch, Symbol, Update};

/// Where everything of ours is in Redis. The braces put what a script touches in one slot of a Redis Cluster.
pub(super) mod keys {
    /// The log.
    pub const STREAM: &str = "tickcast:{bus}:stream";
    /// The epoch in force, the number that it began at, the highest number that was given, and the id of the last entry with
    /// ticks.
    pub const META: &str = "tickcast:{bus}:meta";
    /// The last number of each symbol.
    pub const SEQ: &str = "tickcast:{bus}:seq";
    /// The last tick of each symbol, as JSON: quiet ones fall out of the log.
    pub const LAST: &str = "tickcast:{bus}:last";
    /// The last batch of each source, to know it again.
    pub const DONE: &str = "tickcast:{bus}:done";
    /// Which source makes a symbol; nobody's are for who publishes.
    pub const OWNER: &str = "tickcast:{bus}:owner";
    /// Where other services put updates. Theirs, so that its name is plain.
    pub const INPUT: &str = "tickcast:in";
    /// The id of the last entry of [`INPUT`] that was taken.
    pub const INPUT_POSITION: &str = "tickcast:{bus}:in";
    /// The last answer to the reader of [`INPUT`].
    pub const ANSWER_TO_INPUT: &str = "tickcast:{bus}:in:answer";
    /// What each replica says of itself, and until when that holds.
    pub const NODES: &str = "tickcast:{bus}:nodes";
    /// See [`NODES`].
    pub const SEEN: &str = "tickcast:{bus}:seen";

    /// Up to where each symbol's candles are stored, and by whom; and when something was stored last.
    pub const CANDLES: &str = "tickcast:{bus}:candles";

    /// Is written to see whether that is possible.
    pub const PULSE: &str = "tickcast:{bus}:pulse";

    /// Users' alerts, by id.
    pub const RECORDS_ALL: &str = "tickcast:{bus}:alerts";
    /// The log of their changes.
    pub const RECORDS_LOG: &str = "tickcast:{bus}:alerts:log";
    /// The name of that log, and the number of its last entry.
    pub const RECORDS_META: &str = "tickcast:{bus}:alerts:meta";
    /// What a script that changes them touches; the second is how many each user has.
    pub const RECORDS: [&str; 4] = [RECORDS_ALL, "tickcast:{bus}:alerts:counts", RECORDS_LOG, RECORDS_META];

    /// What a script that only numbers and appends touches.
    pub const LOG: [&str; 4] = [META, SEQ, LAST, STREAM];

    /// Who may publish for a source.
    pub fn lease(source: &str) -> String {
        format!("tickcast:{{bus}}:lease:{source}")
    }

    /// What is stored of a symbol's candles: a list of records.
    pub fn candles(symbol: &str) -> String {
        format!("tickcast:{{bus}}:candles:{symbol}")
    }

    /// The answer to an offer of this name.
    pub fn answer(name: &str) -> String {
        format!("tickcast:{{bus}}:answer:{name}")
    }

    /// Who does something that is to be done once.
    pub fn claim(name: &str) -> String {
        format!("tickcast:{{bus}}:once:{name}")
    }

    /// The latest price of a symbol, for other services.
    pub fn price(symbol: &str) -> String {
        format!("tickcast:price:{symbol}")
    }
}

/// The scripts that Redis runs for us.
#[derive(Debug)]
pub(super) struct Scripts {
    append: Script,
    offer: Script,
    claim: Script,
    fill: Script,
    price: Script,
    join: Script,
    restore: Script,
    lease: Script,
    pulse: Script,
    renew: Script,
    release: Script,
    store: Script,
    nodes: Script,
    put: Script,
    remove: Script,
    once: Script,
}

impl Scripts {
    pub(super) fn new() -> Self {
        Self {
            append: Script::from_lua(concat!(include_str!("log.lua"), include_str!("append.lua"))),
            offer: Script::from_lua(concat!(include_str!("log.lua"), include_str!("offer.lua"))),
            claim: Script::from_lua(include_str!("claim.lua")),
            fill: Script::from_lua(include_str!("fill.lua")),
            price: Script::from_lua(include_str!("price.lua")),
            join: Script::from_lua(concat!(include_str!("log.lua"), include_str!("join.lua"))),
            restore: Script::from_lua(concat!(include_str!("log.lua"), include_str!("restore.lua"))),
            lease: Script::from_lua(include_str!("lease.lua")),
            pulse: Script::from_lua(include_str!("pulse.lua")),
            renew: Script::from_lua(include_str!("renew.lua")),
            release: Script::from_lua(include_str!("release.lua")),
            store: Script::from_lua(include_str!("store.lua")),
            nodes: Script::from_lua(include_str!("nodes.lua")),
            put: Script::from_lua(concat!(include_str!("records.lua"), include_str!("records_put.lua"))),
            remove: Script::from_lua(concat!(include_str!("records.lua"), include_str!("records_remove.lua"))),
            once: Script::from_lua(include_str!("once.lua")),
        }
    }
}

/// What this replica knows of the bus; shared by those who write and who read.
#[derive(Debug, Default)]
pub(super) struct Known {
    epoch: Mutex<Option<Epoch>>,
    /// The highest number that was read or made here: a Redis that knows less has lost something.
    highest: AtomicU64,
    /// The last entry of the log that was read or made here: a Redis that does not have it has lost it.
    seen: Mutex<Option<Seen>>,
    /// How old the newest entry was when it was read, in ms; below zero where the clocks differ.
    lag_ms: AtomicI64,
}

/// An entry of the log, as this replica shows it to Redis.
#[derive(Debug)]
struct Seen {
    epoch: String,
    id: String,
    /// The highest number in it, by which epochs follow each other: ids need not, where another clock makes them.
    highest: u64,
}

impl Known {
    pub(super) fn epoch(&self) -> Option<Epoch> {
        self.epoch.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }

    fn set_epoch(&self, epoch: Epoch) {
        *self.epoch.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(epoch);
    }

    fn raise(&self, seq: u64) {
        self.highest.fetch_max(seq, Ordering::Relaxed);
    }

    /// Notes an entry that was read or made here, with the highest number in it.
    fn see(&self, epoch: &str, id: &str, highest: u64) {
        self.raise(highest);
        if id.is_empty() {
            return;
        }
        let mut seen = self.seen.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let follows = seen.as_ref().is_none_or(|seen| match seen.epoch == epoch {
            true => entry::id(&seen.id) < entry::id(id),
            false => seen.highest < highest,
        });
        if follows {
            *seen = Some(Seen { epoch: epoch.to_owned(), id: id.to_owned(), highest });
        }
    }

    /// The last entry that was noted, as scripts take it: its epoch and its id, or nothing.
    fn seen(&self) -> String {
        let seen = self.seen.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        seen.as_ref().map_or_else(String::new, |Seen { epoch, id, .. }| format!("{epoch} {id}"))
    }

    fn highest(&self) -> u64 {
        self.highest.load(Ordering::Relaxed)
    }

    pub(super) fn lag_ms(&self) -> i64 {
        self.lag_ms.load(Ordering::Relaxed)
    }
}

/// A name for an epoch that nobody has had.
pub(super) fn new_epoch() -> String {
    format!("{:016x}", rand::random::<u64>())
}

/// How often other services are told the latest prices.
pub(super) const PRICES_EVERY: Duration = Duration::from_millis(250);

/// How many scripts that tell a price may be on their way.
const PRICES_AT_ONCE: usize = 64;

/// How long a price holds for other services.
const PRICE_HOLDS_MS: i64 = 3000;

/// A price as other services read it: the tick as clients get it.
pub(super) fn price_json(update: &Update, seq: u64) -> String {
    format!(r#"{{"symbol":"{}",{},"seq":{seq}}}"#, update.symbol, append::encode(update))
}

/// Tells other services these prices: `tickcast:price:BTC`.
pub(super) async fn tell_prices(connections: &Connections, prices: HashMap<Symbol, String>) -> Result<(), Error> {
    if prices.is_empty() {
        return Ok(());
    }
    let pipeline = connections.commands.pipeline();
    for (symbol, json) in prices {
        let holds = Some(Expiration::PX(PRICE_HOLDS_MS));
        // Only queued here: what fails is said by the pipeline as a whole.
        let _: () = pipeline.set(keys::price(symbol.as_str()), json, holds, None, false).await?;
    }
    pipeline.all::<()>().await
}

/// Tells other services prices of symbols that several replicas may publish: never an older one over a newer.
pub(super) async fn tell_offered(
    connections: &Connections,
    prices: HashMap<Symbol, (u64, String)>,
) -> Result<(), Error> {
    let told = prices.into_iter().map(|(symbol, (_, json))| {
        let args = vec![json, PRICE_HOLDS_MS.to_string()];
        let key = keys::price(symbol.as_str());
        async move { connections.scripts.price.evalsha_with_reload::<i64, _, _>(&connections.commands, key, args).await }
    });
    // Some at a time: the connection takes only so many commands.
    let told = futures_util::stream::iter(told).buffer_unordered(PRICES_AT_ONCE);
    told.try_collect::<Vec<_>>().await.map(drop)
}

/// Who is there, for a command that is no replica itself.
#[derive(Debug)]
pub struct Listing(Presence);

impl Listing {
    /// Connects.
    ///
    /// # Errors
    /// The server cannot be reached in time.
    pub async fn open(settings: &RedisSettings) -> Result<Self, Error> {
        let connections = Connections::open(settings)?;
        tokio::time::timeout(connection::COMMAND_TIMEOUT * 3, connections.wait())
            .await
            .map_err(|_| Error::new(ErrorKind::Timeout, "no connection"))??;
        Ok(Self(Presence::new(connections)))
    }

    /// What each live replica says of itself, as JSON.
    ///
    /// # Errors
    /// Redis did not answer.
    pub async fn nodes(&self) -> Result<Vec<String>, Error> {
        self.0.list().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_the_last_entry_of_the_last_epoch() {
        let known = Known::default();
        assert_eq!(known.seen(), "");
        for (epoch, id, highest, shown) in [
            ("a", "5-0", 105, "a 5-0"),
            ("a", "10-0", 101, "a 10-0"),
            // Read after what was made here.
            ("a", "9-7", 103, "a 10-0"),
            // A new primary's clock is behind.
            ("b", "7-0", 106, "b 7-0"),
            ("a", "11-0", 104, "b 7-0"),
            ("b", "7-1", 106, "b 7-1"),
            // Nothing was appended.
            ("b", "", 200, "b 7-1"),
        ] {
            known.see(epoch, id, highest);
            assert_eq!(known.seen(), shown, "{epoch} {id}");
        }
        assert_eq!(known.highest(), 200);
    }
}
