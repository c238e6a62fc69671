use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use fred::error::Error;
use fred::interfaces::{ClientLike, KeysInterface, StreamsInterface};
use fred::types::config::Options;
use fred::types::streams::XReadValue;
use fred::types::{Key, Value};

use super::keys;
use super::lease::Lease;
use super::offer::Taking;
use crate::bus::offer::{Answered, MAX_OFFER_UPDATES, Offer, OfferError};
use crate::bus::{InputEntry, InputError};

/// How long a read waits for an entry.
const BLOCK: Duration = Duration::from_millis(500);

/// How long a read may take in all: beyond that the connection, or Redis, hangs.
const READ_TIMEOUT: Duration = Duration::from_millis(1500);

/// The stream in which other services put updates, as the replica reads it that holds the lease.
#[derive(Debug)]
pub(in crate::bus) struct InputStream<'a> {
    lease: &'a Lease,
    /// The id of the last entry that was taken; none before the first read. It is kept in Redis, and moves only
    /// together with what was appended: so whoever reads next misses none, and takes none twice.
    position: Option<String>,
}

impl<'a> InputStream<'a> {
    pub(in crate::bus) fn new(lease: &'a Lease) -> Self {
        Self { lease, position: None }
    }

    /// The next entries, in order; none where nothing came for a while. The same ones come again until they are taken.
    pub(in crate::bus) async fn read(&mut self) -> Result<Vec<InputEntry>, InputError> {
        let read = self.try_read().await;
        read.map_err(|error| {
            self.lease.log.metrics.redis_errors.inc();
            InputError(error.to_string())
        })
    }

    async fn try_read(&mut self) -> Result<Vec<InputEntry>, Error> {
        let connections = &self.lease.log.connections;
        let position = match &self.position {
            Some(position) => position.clone(),
            None => {
                let kept: Option<String> = connections.commands.get(keys::INPUT_POSITION).await?;
                self.position.insert(kept.unwrap_or_else(|| "0-0".to_owned())).clone()
            }
        };
        let options = Options { timeout: Some(READ_TIMEOUT), ..Options::default() };
        let inputs = connections.inputs.with_options(&options);
        let block_ms = u64::try_from(BLOCK.as_millis()).unwrap_or(u64::MAX);
        let most = Some(MAX_OFFER_UPDATES as u64);
        let answer: Value = inputs.xread(most, Some(block_ms), keys::INPUT, position.as_str()).await?;
        if answer.is_null() {
            return Ok(Vec::new());
        }
        // What was read last is left in the stream (see below). Where it is gone, others may have gone with it.
        if position != "0-0" {
            let last: Vec<Value> =
                connections.commands.xrange(keys::INPUT, position.as_str(), position.as_str(), Some(1)).await?;
            if last.is_empty() {
                self.lease.log.metrics.input_gaps.inc();
                tracing::warn!(after = position, "the input stream was trimmed: entries may be lost that nobody read");
            }
        }
        // Not as text: a single entry that is none would hold up all others.
        let streams = answer.into_xread_response::<Key, String, Key, Bytes>()?;
        let entries = streams.into_values().flatten();
        Ok(entries
            .map(|(id, fields): XReadValue<String, Key, Bytes>| InputEntry { id, fields: text(fields) })
            .collect())
    }

    /// Appends what was read, up to and with the entry of this id.
    pub(in crate::bus) async fn take(&mut self, offer: &Offer, position: &str) -> Result<Answered, OfferError> {
        let Lease { log, token, .. } = self.lease;
        let taking = Taking { lease: self.lease.key(), token, position };
        let answered = log.offer_taken(offer, &taking).await?;
        self.position = Some(position.to_owned());
        // What was taken goes, but for the last: so the stream stays small, and a hole shows.
        let before = ("MINID", "~", position);
        if let Err(error) = log.connections.commands.xtrim::<i64, _, _>(keys::INPUT, before).await {
            log.metrics.redis_errors.inc();
            tracing::debug!(%error, "cannot trim the input stream");
        }
        Ok(answered)
    }
}

fn text(fields: HashMap<Key, Bytes>) -> HashMap<String, String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    fields.iter().map(|(name, value)| (text(name.as_bytes()), text(value))).collect()
}
