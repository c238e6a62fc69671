use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use fred::error::Error;
use fred::types::Value;

use super::append::RedisLog;
use super::keys;
use crate::bus::{Part, Put, StoreError};
use crate::price::Symbol;

/// The source by whose lease one replica stores: none that makes prices.
const LEASE: &str = "candles";

/// The least life of that lease: it is renewed with what is stored, about once a second.
const LEAST_TTL: Duration = Duration::from_secs(3);

/// What one script stores at most, in bytes: more would hold up what others ask of Redis.
const MAX_BYTES_AT_ONCE: usize = 256 * 1024;

/// What one script stores at most, in symbols: Lua takes a few thousand values at a time.
const MAX_SYMBOLS_AT_ONCE: usize = 200;

/// Stores candles for all replicas, where no other one does.
#[derive(Debug)]
pub(in crate::bus) struct Store {
    log: RedisLog,
    /// Nobody else has it.
    token: String,
    ttl: Duration,
}

impl Store {
    pub(in crate::bus) fn new(log: RedisLog, lease_ttl: Duration) -> Self {
        Self { log, token: format!("{:032x}", rand::random::<u128>()), ttl: lease_ttl.max(LEAST_TTL) }
    }

    /// Stores these, in their order, and says what became of each; none where another replica stores. Also with
    /// nothing to store it holds the lease.
    pub(in crate::bus) async fn store(&self, parts: &[Part]) -> Result<Option<Vec<Put>>, StoreError> {
        let mut put = Vec::with_capacity(parts.len());
        let mut rest = parts;
        loop {
            if self.log.shore.island().is_some() {
                return Err(StoreError::CutOff);
            }
            let mut bytes = 0;
            let fit = rest.iter().take(MAX_SYMBOLS_AT_ONCE).take_while(|part| {
                bytes += part.record.len();
                bytes <= MAX_BYTES_AT_ONCE
            });
            let (now, later) = rest.split_at(fit.count().max(1).min(rest.len()));
            match self.store_some(now).await? {
                Some(words) => put.extend(words),
                None => return Ok(None),
            }
            rest = later;
            if rest.is_empty() {
                return Ok(Some(put));
            }
        }
    }

    async fn store_some(&self, parts: &[Part]) -> Result<Option<Vec<Put>>, Error> {
        let mut all_keys = vec![keys::lease(LEASE), keys::META.to_owned(), keys::CANDLES.to_owned()];
        all_keys.extend(parts.iter().map(|part| keys::candles(part.symbol.as_str())));
        let mut args: Vec<Value> = vec![self.token.as_str().into(), self.ttl.as_millis().to_string().into()];
        for Part { symbol, epoch, seq, is_whole, record } in parts {
            args.extend([symbol.as_str().into(), epoch.as_str().into(), seq.to_string().into()]);
            args.extend([Value::from(u8::from(*is_whole).to_string()), Value::Bytes(record.clone())]);
        }
        let connections = &self.log.connections;
        let script = &connections.scripts.store;
        let reply: Vec<String> = script.evalsha_with_reload(&connections.commands, all_keys, args).await?;
        let words = reply.split_first().filter(|(first, _)| *first == "stored").map(|(_, words)| words);
        Ok(words.map(|words| {
            let what = |word: &String| match word.as_str() {
                "stored" => Put::Stored,
                "lost" => Put::Lost,
                _ => Put::Old,
            };
            words.iter().map(what).collect()
        }))
    }

    /// Lets another replica go on with it at once.
    pub(in crate::bus) async fn release(&self) {
        if self.log.shore.island().is_some() {
            return;
        }
        let connections = &self.log.connections;
        let release = &connections.scripts.release;
        let args = vec![self.token.clone()];
        let released = release.evalsha_with_reload::<i64, _, _>(&connections.commands, keys::lease(LEASE), args).await;
        if let Err(error) = released {
            tracing::debug!(%error, "cannot give the lease back");
        }
    }
}

/// Where a symbol's candles are, as Redis has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StoredMark {
    pub(super) epoch: String,
    pub(super) seq: u64,
}

impl StoredMark {
    /// Of every symbol, of what Redis has beside their records.
    pub(super) fn all(fields: &HashMap<String, String>) -> HashMap<Symbol, Self> {
        fields.iter().filter_map(|(symbol, mark)| Some((symbol.parse().ok()?, Self::parse(mark)?))).collect()
    }

    /// Of what store.lua writes.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let (epoch, seq) = (words.next()?.to_owned(), words.next()?.parse().ok()?);
        Some(Self { epoch, seq })
    }
}

/// A record, as it came.
pub(super) type Record = Bytes;
