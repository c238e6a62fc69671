use std::collections::HashMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use fred::error::Error;
use tokio_util::sync::CancellationToken;

use super::lease::Seats;
use super::{Connections, Known, keys, new_epoch};
use crate::bus::PublishError;
use crate::bus::island::Shore;
use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::price::{Epoch, Update};

/// Entries that the log keeps, about: a replica that was away for longer than they last has missed something.
pub(super) const STREAM_ENTRIES: u32 = 20_000;

/// Updates that one entry takes; more are split. Lua takes a few thousand values at a time.
pub(super) const UPDATES_PER_ENTRY: usize = 500;

/// The pause before an append that failed is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(25);

/// The log in Redis, as a publisher sees it.
#[derive(Clone, Debug)]
pub(in crate::bus) struct RedisLog {
    pub(super) connections: Connections,
    pub(super) known: Arc<Known>,
    pub(super) clock: Clock,
    pub(super) metrics: Arc<Metrics>,
    pub(super) shore: Shore,
    /// What this replica showed last for each source.
    tokens: Arc<Mutex<HashMap<&'static str, String>>>,
    pub(super) seats: Seats,
}

impl RedisLog {
    pub(in crate::bus) fn new(connections: Connections, clock: Clock, metrics: Arc<Metrics>) -> Self {
        Self {
            connections,
            known: Arc::default(),
            clock,
            metrics,
            shore: Shore::default(),
            tokens: Arc::default(),
            seats: Seats::default(),
        }
    }

    pub(in crate::bus) fn known(&self) -> &Known {
        &self.known
    }

    pub(in crate::bus) fn connections(&self) -> &Connections {
        &self.connections
    }

    pub(in crate::bus) fn shore(&self) -> &Shore {
        &self.shore
    }

    /// Each source that this replica may publish for, and what it showed last for it.
    pub(super) fn tokens(&self) -> Vec<(&'static str, String)> {
        self.lock_tokens().iter().map(|(source, token)| (*source, token.clone())).collect()
    }

    /// From now on this replica shows another token for a source; the one before, if there was one.
    pub(super) fn replace_token(&self, source: &'static str, token: &str) -> Option<String> {
        self.lock_tokens().insert(source, token.to_owned())
    }

    fn lock_tokens(&self) -> MutexGuard<'_, HashMap<&'static str, String>> {
        self.tokens.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Appends for a source, under its lease: the `seq` of each update, or 0 where the symbol is another's. Tries until
    /// it is appended, or `lost`: an append whose answer was lost is known again by its batch and not repeated.
    pub(in crate::bus) async fn append(
        &self,
        source: &str,
        token: &str,
        batches: &AtomicU64,
        updates: &[Update],
        lost: &CancellationToken,
    ) -> Result<Vec<u64>, PublishError> {
        let mut seqs = Vec::with_capacity(updates.len());
        for updates in updates.chunks(UPDATES_PER_ENTRY) {
            let batch = batches.fetch_add(1, Ordering::Relaxed);
            loop {
                let appended = tokio::select! {
                    appended = self.try_append(source, token, batch, updates) => appended,
                    () = lost.cancelled() => return Err(PublishError::Fenced),
                };
                match appended {
                    Ok(Some(more)) => {
                        seqs.extend(more);
                        break;
                    }
                    Ok(None) => return Err(PublishError::Fenced),
                    Err(error) => {
                        self.metrics.redis_errors.inc();
                        tracing::debug!(%error, batch, "cannot append, trying again");
                        tokio::time::sleep(RETRY_PAUSE).await;
                    }
                }
            }
        }
        Ok(seqs)
    }

    /// None where the lease is another's.
    async fn try_append(
        &self,
        source: &str,
        token: &str,
        batch: u64,
        updates: &[Update],
    ) -> Result<Option<Vec<u64>>, Error> {
        let keys = vec![
            keys::lease(source),
            keys::META.to_owned(),
            keys::SEQ.to_owned(),
            keys::LAST.to_owned(),
            keys::STREAM.to_owned(),
            keys::DONE.to_owned(),
            keys::OWNER.to_owned(),
        ];
        let mut args = vec![
            token.to_owned(),
            source.to_owned(),
            batch.to_string(),
            self.known.highest().to_string(),
            self.known.seen(),
            new_epoch(),
            self.clock.micros().to_string(),
            STREAM_ENTRIES.to_string(),
        ];
        for update in updates {
            args.push(update.symbol.to_string());
            args.push(encode(update));
        }
        let script = &self.connections.scripts.append;
        let reply: Vec<String> = script.evalsha_with_reload(&self.connections.commands, keys, args).await?;
        let [epoch, id, seqs @ ..] = reply.as_slice() else { return Ok(None) };
        let seqs: Vec<u64> = seqs.iter().filter_map(|seq| seq.parse().ok()).collect();
        if let Some(&highest) = seqs.iter().max() {
            self.known.see(epoch, id, highest);
        }
        self.known.set_epoch(Epoch::new(epoch));
        Ok(Some(seqs))
    }
}

/// What an entry says of an update beside its symbol and its number: the inside of a JSON object.
pub(super) fn encode(update: &Update) -> String {
    let mut json = String::with_capacity(64);
    // Writing to a String cannot fail.
    let _ = write!(json, r#""price":{},"ts":{}"#, update.price, update.ts_ms);
    for (name, value) in [("bid", update.bid), ("ask", update.ask), ("size", update.size)] {
        if let Some(value) = value {
            let _ = write!(json, r#","{name}":{value}"#);
        }
    }
    json
}
