use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use fred::error::Error;
use fred::interfaces::{ClientLike, HashesInterface, StreamsInterface};
use fred::types::Value;
use fred::types::config::Options;
use fred::types::scripts::Script;
use fred::types::streams::XReadValue;
use tokio::sync::watch;

use super::{Connections, keys, new_epoch};
use crate::metrics::Metrics;

/// Entries that the log of changes keeps, about. Who was away for longer loads everything again.
const LOG_ENTRIES: u32 = 10_000;

/// Entries that one read takes.
const ENTRIES_PER_READ: u64 = 256;

/// How long a read waits for an entry, and may take in all.
const BLOCK: Duration = Duration::from_millis(500);
const READ_TIMEOUT: Duration = Duration::from_millis(1250);

/// How long it may take to load all records.
const LOAD_TIMEOUT: Duration = Duration::from_secs(15);

/// The pause before a reader that failed loads everything again.
const RETRY_PAUSE: Duration = Duration::from_millis(250);

/// More than there can be of anything.
const NO_LIMIT: &str = "9007199254740992";

/// How long a change waits until this replica has it, too. It is kept by then.
const HEARD_WITHIN: Duration = Duration::from_secs(2);

/// Something that is kept for all replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its name.
    pub id: String,
    /// Whose it is.
    pub owner: String,
    /// What it is.
    pub json: String,
}

/// Who holds all records in this process.
pub trait Mirror: Send + Sync {
    /// All of them.
    fn held(&self) -> Vec<Record>;
    /// There is this one; it may be held already. `is_news`: it came while this replica was there, not before.
    fn put(&self, record: Record, is_news: bool);
    /// It is gone; it may not be held.
    fn remove(&self, id: &str);
}

/// Why records, or claims, cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum RecordsError {
    /// There is no connection.
    #[error("no connection to Redis")]
    Away,
    /// Redis, or the way to it, failed.
    #[error(transparent)]
    Redis(#[from] Error),
}

/// Why a record is not kept.
#[derive(Debug, thiserror::Error)]
pub enum PutError {
    /// The owner has this many, which is all that is allowed.
    #[error("the owner has {0} already")]
    Many(u64),
    /// There are as many as are allowed, of all owners.
    #[error("there are too many")]
    Full,
    /// Whether it is kept is not known.
    #[error(transparent)]
    Redis(#[from] RecordsError),
}

/// Records that every replica holds: a hash in Redis, and a log of its changes, which all of them read. Cheap to clone.
///
/// Changes are made in Redis alone, and come from there, in the same order everywhere. Where Redis has lost something,
/// replicas give back what they hold.
#[derive(Clone, Debug)]
pub struct Records {
    connections: Connections,
    metrics: Arc<Metrics>,
    /// The number of the last change that is here.
    heard: Arc<watch::Sender<u64>>,
}

/// Up to where the log of changes was read.
#[derive(Debug, Default)]
struct Position {
    entry: String,
    /// The log's name; none while it has none.
    run: Option<String>,
    n: u64,
}

impl Records {
    pub(in crate::bus) fn new(connections: Connections, metrics: Arc<Metrics>) -> Self {
        // Goes on trying for ever; its task ends with the client.
        connections.records.connect();
        Self { connections, metrics, heard: Arc::new(watch::Sender::new(0)) }
    }

    /// Keeps a record, of which its owner may have so many, and all of them together so many. It is held here, too, on
    /// return.
    ///
    /// # Errors
    /// [`PutError`] says why it is not kept.
    pub async fn put(&self, record: &Record, most_of_owner: u64, most_in_all: u64) -> Result<(), PutError> {
        let Record { id, owner, json } = record;
        let (most_of_owner, most_in_all) = (most_of_owner.to_string(), most_in_all.to_string());
        let args = [id, owner, json, &most_of_owner, &most_in_all].map(String::as_str);
        let answer = self.change(&self.connections.scripts.put, &args).await?;
        match answer.first().map(String::as_str) {
            Some("many") => Err(PutError::Many(number(answer.get(2)))),
            Some("full") => Err(PutError::Full),
            _ => {
                self.wait_for(number(answer.get(1))).await;
                Ok(())
            }
        }
    }

    /// Lets go of a record that is this owner's; false where there is none. It is gone here, too, on return.
    ///
    /// # Errors
    /// Redis did not answer.
    pub async fn remove(&self, owner: &str, id: &str) -> Result<bool, RecordsError> {
        let answer = self.change(&self.connections.scripts.remove, &[id, owner]).await?;
        let done = answer.first().is_some_and(|said| said == "done");
        if done {
            self.wait_for(number(answer.get(1))).await;
        }
        Ok(done)
    }

    async fn change(&self, script: &Script, args: &[&str]) -> Result<Vec<String>, RecordsError> {
        let commands = &self.connections.commands;
        // A command would wait for the connection to come back.
        if !commands.is_connected() {
            return Err(RecordsError::Away);
        }
        let mut all = vec![LOG_ENTRIES.to_string(), new_epoch()];
        all.extend(args.iter().map(|arg| (*arg).to_owned()));
        let answer = script.evalsha_with_reload(commands, keys::RECORDS.to_vec(), all).await;
        answer.inspect_err(|_| self.metrics.redis_errors.inc()).map_err(RecordsError::Redis)
    }

    async fn wait_for(&self, n: u64) {
        let mut heard = self.heard.subscribe();
        tokio::time::timeout(HEARD_WITHIN, heard.wait_for(|heard| *heard >= n)).await.ok();
    }

    /// Brings all records and every change to `mirror`, for as long as it is polled.
    pub async fn follow(&self, mirror: &impl Mirror) {
        let mut position = None;
        loop {
            let failure = match self.load(mirror, position.as_ref()).await {
                Ok(loaded) => self.read(mirror, position.insert(loaded)).await,
                Err(error) => Some(error),
            };
            if let Some(error) = failure {
                self.metrics.redis_errors.inc();
                tracing::debug!(%error, "the records cannot be followed");
                tokio::time::sleep(RETRY_PAUSE).await;
            }
        }
    }

    /// Brings everything that there is. The end of the log comes first: what is changed meanwhile comes again, which is
    /// harmless.
    async fn load(&self, mirror: &impl Mirror, before: Option<&Position>) -> Result<Position, RecordsError> {
        let options = Options { timeout: Some(LOAD_TIMEOUT), ..Options::default() };
        let reads = self.connections.records.with_options(&options);
        let last: Vec<XReadValue<String, String, String>> =
            reads.xrevrange_values(keys::RECORDS_LOG, "+", "-", Some(1)).await?;
        let entry = last.into_iter().next().map_or_else(|| "0-0".to_owned(), |(id, _)| id);
        let (run, n): (Option<String>, Option<u64>) = reads.hmget(keys::RECORDS_META, vec!["run", "n"]).await?;
        let all: HashMap<String, String> = reads.hgetall(keys::RECORDS_ALL).await?;
        let position = Position { entry, run, n: n.unwrap_or(0) };

        let held = mirror.held();
        let is_news = before.is_some();
        if before.is_some_and(|before| before.run.is_some() && (before.run != position.run || before.n > position.n)) {
            // Redis has lost something. What it loses while we give back comes with the next load.
            let lost: Vec<&Record> = held.iter().filter(|record| !all.contains_key(&record.id)).collect();
            tracing::info!(records = lost.len(), "giving back to Redis what it had lost");
            for record in lost {
                // Limits were kept to when it was set.
                let args = [&record.id, &record.owner, &record.json, NO_LIMIT, NO_LIMIT];
                self.change(&self.connections.scripts.put, &args).await?;
            }
        } else {
            let kept: HashSet<&String> = all.keys().collect();
            held.iter().filter(|record| !kept.contains(&record.id)).for_each(|record| mirror.remove(&record.id));
        }
        for (id, text) in all {
            self.hand_on(mirror, id, &text, is_news);
        }
        self.heard.send_replace(position.n);
        Ok(position)
    }

    /// Brings what is changed. Ends where that fails, or (none) where something is missing, so that all has to be loaded.
    async fn read(&self, mirror: &impl Mirror, position: &mut Position) -> Option<RecordsError> {
        let options = Options { timeout: Some(READ_TIMEOUT), ..Options::default() };
        let reads = self.connections.records.with_options(&options);
        let block_ms = u64::try_from(BLOCK.as_millis()).unwrap_or(u64::MAX);
        loop {
            let after = position.entry.as_str();
            let answer = reads.xread(Some(ENTRIES_PER_READ), Some(block_ms), keys::RECORDS_LOG, after).await;
            let entries = answer.and_then(|answer: Value| match answer.is_null() {
                true => Ok(Vec::new()),
                false => answer
                    .into_xread_response::<String, String, String, String>()
                    .map(|streams| streams.into_values().flatten().collect()),
            });
            let entries: Vec<XReadValue<String, String, String>> = match entries {
                Ok(entries) => entries,
                Err(error) => return Some(error.into()),
            };
            for (entry, mut fields) in entries {
                let (n, run) = (number(fields.get("n")), fields.remove("run"));
                // The log begins again, or was trimmed beyond what was read here.
                let begins = position.run.is_none() && n == 1;
                if (run != position.run && !begins) || n > position.n + 1 {
                    return None;
                }
                *position = Position { entry, run, n: position.n.max(n) };
                let id = fields.remove("id").unwrap_or_default();
                match fields.get("what").map(String::as_str) {
                    Some("put") => self.hand_on(mirror, id, fields.get("record").map_or("", String::as_str), true),
                    _ => mirror.remove(&id),
                }
                self.heard.send_replace(position.n);
            }
        }
    }

    fn hand_on(&self, mirror: &impl Mirror, id: String, text: &str, is_news: bool) {
        match owned(text) {
            Some((owner, json)) => {
                mirror.put(Record { id, owner: owner.to_owned(), json: json.to_owned() }, is_news);
            }
            None => {
                self.metrics.bus_garbage.inc();
                tracing::warn!(id, "a record cannot be read");
            }
        }
    }
}

/// A record as it is kept: the length of the owner's name in bytes, a colon, the name, the JSON.
fn owned(text: &str) -> Option<(&str, &str)> {
    let (length, rest) = text.split_once(':')?;
    rest.split_at_checked(length.parse().ok()?)
}

fn number(text: Option<&String>) -> u64 {
    text.and_then(|text| text.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_stands_before_the_json() {
        assert_eq!(owned(r#"4:a:bc{"x":1}"#), Some(("a:bc", r#"{"x":1}"#)));
        assert_eq!(owned("2:é{}"), Some(("é", "{}")), "in bytes");
        for bad in ["", "x", "9:abc", "1:é{}", "-1:a"] {
            assert_eq!(owned(bad), None, "{bad}");
        }
    }
}
