use std::collections::{HashMap, HashSet};

use fred::interfaces::{HashesInterface, StreamsInterface};
use fred::types::streams::XReadValue;
use tokio::time::Instant;

use super::append::{STREAM_ENTRIES, UPDATES_PER_ENTRY, encode};
use super::entry::{entry, fill, id, parse, parse_epoch};
use super::failure::Failure;
use super::follow::Follower;
use super::keys;
use super::pages::{Page, patient};
use super::recall::Recalled;
use super::since::Since;
use crate::bus::Closed;
use crate::price::{Batch, BusEvent, Epoch, FeedState, Tick, Update};

/// How a replica that has joined takes the log up: what it hands on before what comes next, and what it gives back.
impl Follower {
    /// Says that the bus is followed: from where this replica was, or, where that does not join up with the log, from its
    /// `end` on, with the latest ticks before it.
    pub(super) async fn take_up(&mut self, epoch: Epoch, end: String) -> Result<(), Failure> {
        self.log.known.set_epoch(epoch.clone());
        let followed = "the bus is followed".to_owned();
        self.heard = Instant::now();
        // Who was an island from its beginning has clients that know its numbers: they hear of the epoch before its ticks.
        if self.position.is_none() && !self.apart {
            self.load(&epoch, end).await?;
            self.tell(FeedState::Live, followed).await?;
        } else {
            self.tell(FeedState::Live, followed).await?;
            if !self.apart {
                // What comes next brings the epoch, and has it restored; where nothing does, there is nothing newer, either.
                return if self.position.as_ref() == Some(&end) { self.restore(&epoch).await } else { Ok(()) };
            }
            let latest = self.latest(&epoch).await?;
            if self.alone {
                self.catch_up().await?;
            }
            self.pass_latest(&epoch, latest).await?;
            // Not before, or what came meanwhile would be missing where an island comes back; and all of it, whatever comes
            // of the rest: to hand on the latest once more would skip what came between.
            self.position = Some(end);
            (self.alone, self.apart) = (false, false);
        }
        self.restore(&epoch).await?;
        self.epoch = Some(epoch);
        Ok(())
    }

    /// Reads what an island has to catch up with, before it ends: an end costs every client everywhere a new epoch, and
    /// what cannot be read now could not be read then. What was read is kept.
    pub(super) async fn read_ahead(&mut self) -> Result<(), Failure> {
        self.read_missed().await?;
        if self.is_to_recall().await? {
            self.recall(None, false).await?;
        }
        Ok(())
    }

    /// What passed in the log while this replica was an island; of one that was so from its beginning, the recent history.
    async fn catch_up(&mut self) -> Result<(), Failure> {
        self.read_missed().await?;
        let is_to_recall = self.is_to_recall().await?;
        let Some(Since { batches, fills, .. }) = self.missed.take() else { return Ok(()) };
        self.events.send(BusEvent::Back(batches)).await.map_err(|_| Closed)?;
        for fill in fills {
            self.events.send(BusEvent::Filled(fill)).await.map_err(|_| Closed)?;
        }
        if is_to_recall {
            self.recall(None, true).await?;
        }
        Ok(())
    }

    /// Reads on, up to the end of the log, what is missing here.
    async fn read_missed(&mut self) -> Result<(), Failure> {
        let reads = patient(&self.log.connections.reads);
        let after = self.position.clone().unwrap_or_else(|| self.oldest());
        self.missed.get_or_insert_with(|| Since::new(after)).read_on(&reads, &mut self.pages).await
    }

    /// Whether what is missing here is not all in the log.
    async fn is_to_recall(&self) -> Result<bool, Failure> {
        match &self.position {
            Some(position) => self.is_trimmed(position).await,
            None => Ok(true),
        }
    }

    /// Whether what followed this entry in the log may be gone.
    async fn is_trimmed(&self, position: &str) -> Result<bool, Failure> {
        let first: Vec<XReadValue<String, String, String>> =
            self.log.connections.reads.xrange_values(keys::STREAM, "-", "+", Some(1)).await?;
        Ok(first.first().is_none_or(|(first, _)| id(first) > id(position)))
    }

    /// The candles as they are stored, with what followed them in the log, while this epoch is in force if one is named; where
    /// they are not to be handed on, it only shows whether they can be read.
    async fn recall(&mut self, epoch: Option<&Epoch>, is_handed_on: bool) -> Result<(), Failure> {
        let reads = patient(&self.log.connections.reads);
        let (events, metrics) = (is_handed_on.then_some(&self.events), &self.log.metrics);
        Recalled { reads, pages: &mut self.pages, events, metrics }.hand_on(epoch).await
    }

    /// Where the recent history begins in the log.
    fn oldest(&self) -> String {
        let history_ms = u64::try_from(self.settings.history.as_millis()).unwrap_or(0);
        self.log.clock.millis().saturating_sub(history_ms).to_string()
    }

    /// The recent history and the latest tick of each symbol, before anything else: that of a log which ended here.
    async fn load(&mut self, epoch: &Epoch, end: String) -> Result<(), Failure> {
        self.recall(Some(epoch), true).await?;
        let mut quiet = self.latest(epoch).await?;
        let mut from = self.oldest();
        // Where nothing is recent, what is old is not read on from its beginning.
        let mut position = end;
        // The latest of each is for the clients that are here already: the others would take them back behind what they
        // had elsewhere.
        let (mut past, mut latest) = (Vec::new(), HashMap::new());
        let reads = patient(&self.log.connections.reads);
        loop {
            let Page { entries, is_full } = self.pages.next(&reads, &from).await?;
            let mut fills = Vec::new();
            for (entry_id, fields) in entries {
                position = entry_id;
                fills.extend(fill(&fields));
                let of_this = entry(&fields).filter(|batch| batch.epoch == *epoch);
                let ticks = of_this.map(|batch| batch.ticks).unwrap_or_default();
                if let Some(highest) = ticks.iter().map(|tick| tick.seq).max() {
                    self.log.known.see(epoch.as_str(), &position, highest);
                }
                for tick in ticks {
                    past.extend(latest.insert(tick.update.symbol.clone(), tick));
                }
            }
            if !past.is_empty() {
                let batch = Batch { epoch: epoch.clone(), ticks: std::mem::take(&mut past) };
                self.events.send(BusEvent::Past(batch)).await.map_err(|_| Closed)?;
            }
            for fill in fills {
                self.events.send(BusEvent::Filled(fill)).await.map_err(|_| Closed)?;
            }
            if !is_full {
                break;
            }
            from = format!("({position}");
        }
        // Else entries of another epoch may have been passed over.
        let in_force: Option<String> = reads.hget(keys::META, "epoch").await?;
        if in_force.as_deref() != Some(epoch.as_str()) {
            return Err(Failure::Overtaken);
        }
        // Quiet symbols have fallen out of the log.
        quiet.retain(|tick| !latest.contains_key(&tick.update.symbol));
        self.pass_latest(epoch, latest.into_values().chain(quiet).collect()).await?;
        self.position = Some(position);
        Ok(())
    }

    /// The latest tick of each symbol. Whoever hands on the log as well reads it after this: else what came between would be
    /// skipped, since these come first.
    async fn latest(&self, epoch: &Epoch) -> Result<Vec<Tick>, Failure> {
        let last: HashMap<String, String> = patient(&self.log.connections.reads).hgetall(keys::LAST).await?;
        let of_this = last.values().filter(|json| parse_epoch(json).is_some_and(|of| of == epoch.as_str()));
        Ok(of_this.filter_map(|json| parse(json)).collect())
    }

    /// Hands on what is known of symbols; what of it was handed on already is dropped by who takes it.
    async fn pass_latest(&mut self, epoch: &Epoch, ticks: Vec<Tick>) -> Result<(), Closed> {
        if ticks.is_empty() {
            return Ok(());
        }
        self.pass(Batch { epoch: epoch.clone(), ticks }).await
    }

    /// Gives back to Redis what it has lost of the symbols that are known here.
    pub(super) async fn restore(&self, epoch: &Epoch) -> Result<(), Failure> {
        if self.epoch.as_ref() == Some(epoch) || self.last.is_empty() {
            return Ok(());
        }
        let connections = &self.log.connections;
        let held: Vec<String> = connections.reads.hkeys(keys::LAST).await?;
        let held: HashSet<&str> = held.iter().map(String::as_str).collect();
        let lost: Vec<&Update> = self.last.values().filter(|update| !held.contains(update.symbol.as_str())).collect();
        for lost in lost.chunks(UPDATES_PER_ENTRY) {
            let mut args = vec![epoch.as_str().to_owned(), STREAM_ENTRIES.to_string()];
            args.extend(lost.iter().flat_map(|update| [update.symbol.to_string(), encode(update)]));
            let restore = &connections.scripts.restore;
            let restored: i64 = restore.evalsha_with_reload(&connections.reads, keys::LOG.to_vec(), args).await?;
            tracing::info!(symbols = restored, "gave back to Redis what it had lost");
        }
        Ok(())
    }
}
