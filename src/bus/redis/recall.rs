use std::collections::{BTreeMap, HashMap, HashSet};

use fred::clients::{Client, WithOptions};
use fred::error::Error;
use fred::interfaces::{HashesInterface, ListInterface};
use tokio::sync::mpsc;

use super::entry::{entry, fill, parse, parse_epoch};
use super::failure::Failure;
use super::keys;
use super::pages::{Page, Pages};
use super::store::{Record, StoredMark};
use crate::bus::Closed;
use crate::metrics::Metrics;
use crate::price::{Batch, BusEvent, Epoch, Stored, Symbol};

/// How long before the last storing the log is read, in ms: who stored may have been behind it. Where that was not enough,
/// it shows in the numbers, and all of the log is read.
const BEHIND_MS: u64 = 5000;

/// The candles that are stored, and the ticks that followed them in the log: a reader that has these has what all others have.
pub(super) struct Recalled<'a> {
    pub(super) reads: WithOptions<Client>,
    pub(super) pages: &'a mut Pages,
    /// None where it is only to be seen whether all can be read.
    pub(super) events: Option<&'a mpsc::Sender<BusEvent>>,
    pub(super) metrics: &'a Metrics,
}

/// What the log says after what is stored.
#[derive(Debug, Default)]
struct Since {
    batches: Vec<BusEvent>,
    /// Symbols with ticks that are neither stored nor in what was read, and how many of each.
    holes: BTreeMap<Symbol, u64>,
    /// Symbols with ticks in what was read.
    seen: HashSet<Symbol>,
}

impl Recalled<'_> {
    /// Hands on what is stored, and what followed it in the log up to its end; where an epoch is named, only while it is the one
    /// in force.
    pub(super) async fn hand_on(&mut self, epoch: Option<&Epoch>) -> Result<(), Failure> {
        let all: HashMap<String, String> = self.reads.hgetall(keys::CANDLES).await?;
        let at_ms = all.get(" at").and_then(|at| at.parse::<u64>().ok()).unwrap_or(0);
        let mut marks: HashMap<Symbol, StoredMark> = HashMap::new();
        let mut unread = StoredMark::all(&all);
        // Under a new epoch, which may begin in this moment, all is stored anew: with a mark of the one before, its ticks would be
        // folded in twice. (What is added under the same one is known by its number.)
        while !unread.is_empty() {
            for (symbol, mark) in unread {
                let records = self.records(&symbol).await?;
                if records.is_empty() {
                    marks.remove(&symbol);
                    continue;
                }
                marks.insert(symbol.clone(), mark);
                self.send(BusEvent::Stored(Stored { symbol, records })).await?;
            }
            unread = StoredMark::all(&self.reads.hgetall(keys::CANDLES).await?);
            unread.retain(|symbol, mark| marks.get(symbol).is_some_and(|read| read.epoch != mark.epoch));
        }
        // After all of it has been read: what is stored is of no later one.
        let in_force: Option<String> = self.reads.hget(keys::META, "epoch").await?;
        let in_force = in_force.unwrap_or_default();
        if epoch.is_some_and(|epoch| epoch.as_str() != in_force) {
            return Err(Failure::Overtaken);
        }
        if marks.is_empty() {
            return Ok(());
        }
        // Before the log is read: what is in it by then is in what is read.
        let last: HashMap<Symbol, (String, u64)> = self.last().await?;
        let mut since = self.since(&marks, &in_force, &at_ms.saturating_sub(BEHIND_MS).to_string()).await?;
        if !since.holes.is_empty() {
            since = self.since(&marks, &in_force, "-").await?;
        }
        if self.events.is_none() {
            return Ok(());
        }
        // Of those of whom the log has nothing the last tick is known by itself.
        for (symbol, (of, seq)) in last {
            let Some(mark) = marks.get(&symbol).filter(|mark| mark.epoch == of && !since.seen.contains(&symbol)) else {
                continue;
            };
            if seq > mark.seq + 1 {
                since.holes.insert(symbol, seq - mark.seq - 1);
            }
        }
        let lost: u64 = since.holes.values().sum();
        if lost > 0 {
            self.metrics.candles_lost.add(lost);
            let symbols: Vec<_> = since.holes.keys().take(10).collect();
            tracing::warn!(
                ticks = lost,
                ?symbols,
                "candles have a hole: the log does not reach back to what is stored"
            );
        }
        tracing::info!(symbols = marks.len(), batches = since.batches.len(), "candles are here");
        for event in since.batches {
            self.send(event).await?;
        }
        Ok(())
    }

    async fn send(&self, event: BusEvent) -> Result<(), Closed> {
        match self.events {
            Some(events) => events.send(event).await.map_err(|_| Closed),
            None => Ok(()),
        }
    }

    /// The epoch and the number of each symbol's last tick.
    async fn last(&self) -> Result<HashMap<Symbol, (String, u64)>, Error> {
        let last: HashMap<String, String> = self.reads.hgetall(keys::LAST).await?;
        let of = |json: &String| {
            let tick = parse(json)?;
            Some((tick.update.symbol, (parse_epoch(json)?, tick.seq)))
        };
        Ok(last.values().filter_map(of).collect())
    }

    async fn records(&self, symbol: &Symbol) -> Result<Vec<Record>, Error> {
        self.reads.lrange(keys::candles(symbol.as_str()), 0, -1).await
    }

    /// The ticks that follow what is stored, from an entry's id, or a time in ms, on.
    async fn since(&mut self, marks: &HashMap<Symbol, StoredMark>, epoch: &str, from: &str) -> Result<Since, Failure> {
        let mut since = Since::default();
        // Those of whom an entry of their own epoch has come: what comes of other epochs after that is later.
        let mut reached: HashSet<String> = HashSet::new();
        let mut from = from.to_owned();
        loop {
            let Page { entries, is_full } = self.pages.next(&self.reads, &from).await?;
            let Some((last, _)) = entries.last() else { return Ok(since) };
            from = format!("({last}");
            for (_, fields) in &entries {
                if let Some(fill) = fill(fields) {
                    since.batches.push(BusEvent::Filled(fill));
                    continue;
                }
                // What cannot be read is counted by who follows the log.
                let Some(Batch { epoch: of, mut ticks }) = entry(fields) else { continue };
                reached.insert(of.as_str().to_owned());
                ticks.retain(|tick| {
                    let Some(mark) = marks.get(&tick.update.symbol) else { return false };
                    if mark.epoch != of.as_str() {
                        return of.as_str() == epoch || reached.contains(&mark.epoch);
                    }
                    let follows = tick.seq > mark.seq;
                    if follows && since.seen.insert(tick.update.symbol.clone()) && tick.seq > mark.seq + 1 {
                        since.holes.insert(tick.update.symbol.clone(), tick.seq - mark.seq - 1);
                    }
                    follows
                });
                if !ticks.is_empty() {
                    since.batches.push(BusEvent::Since(Batch { epoch: of, ticks }));
                }
            }
            if !is_full {
                return Ok(since);
            }
        }
    }
}
