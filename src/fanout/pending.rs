use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::flush::Item;
use crate::price::{Epoch, Price, SymbolId};
use crate::wire::encode_tick;

/// In which of the two streams a symbol is delivered; each has its own continuity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Shape {
    /// `tick` events.
    Tick,
    /// `ticks` events.
    Batch,
}

/// A symbol in one stream.
pub type Key = (SymbolId, Shape);

/// Updates of one symbol that go out as one: the latest, how many it stands for, and how far the price went in them.
#[derive(Clone, Debug)]
pub struct Conflated {
    latest: Arc<Item>,
    n: u64,
    /// The highest and the lowest price; none where some never came, which nobody knows.
    range: Option<(Price, Price)>,
    /// True where the symbol's first tick under its epoch is among them.
    first: bool,
    /// True where the first that its client hears of the symbol is among them: then the epoch stands in it, too.
    opens: bool,
    /// Since when it has been due.
    due: Instant,
}

impl Conflated {
    /// One update, due at this time.
    pub fn new(item: Arc<Item>, due: Instant) -> Self {
        let price = item.tick.update.price;
        let range = (item.n == 1).then_some((price, price));
        Self { n: item.n, range, first: item.first, opens: false, latest: item, due }
    }

    /// The latest of a symbol of which its client has heard nothing yet: whatever was before it is none that it missed.
    fn opening(item: Arc<Item>, due: Instant) -> Self {
        let price = item.tick.update.price;
        Self { n: 1, range: Some((price, price)), first: item.first, opens: true, latest: item, due }
    }

    /// Adds the next update of the symbol.
    pub fn add(&mut self, item: Arc<Item>) {
        let due = self.due;
        self.append(Self::new(item, due));
    }

    /// Adds what another stands for, which follows.
    fn append(&mut self, next: Self) {
        self.n += next.n;
        let range = self.range.zip(next.range);
        self.range = range.map(|(so_far, next)| (so_far.0.max(next.0), so_far.1.min(next.1)));
        self.first |= next.first;
        self.latest = next.latest;
    }

    /// For how many updates it stands.
    pub fn n(&self) -> u64 {
        self.n
    }

    /// The source's time of the latest update, in ms since the Unix epoch.
    pub fn ts_ms(&self) -> u64 {
        self.latest.tick.update.ts_ms
    }

    /// The update itself, where it stands for one alone: that is encoded already.
    pub fn alone(&self) -> Option<&Arc<Item>> {
        (self.n == self.latest.n && !self.opens).then_some(&self.latest)
    }

    /// As JSON.
    pub fn encode(&self, epoch: Option<&Epoch>) -> Box<RawValue> {
        match self.alone() {
            Some(item) => item.json.clone(),
            None => {
                let epoch = epoch.filter(|_| self.first || self.opens);
                encode_tick(&self.latest.tick, self.n, epoch, self.range.filter(|_| self.n > 1))
            }
        }
    }
}

/// What waits for somebody: of each symbol and stream at most one, which stands for all that it missed. In the order in
/// which they began to wait.
#[derive(Clone, Debug, Default)]
pub struct Pending(IndexMap<Key, Conflated>);

impl Pending {
    /// True where nothing waits.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// True where something is due by now.
    pub fn is_due(&self, now: Instant) -> bool {
        self.0.values().any(|waiting| waiting.due <= now)
    }

    /// Adds an update, which is due at this time if it is the first to wait.
    pub fn add(&mut self, key: Key, item: &Arc<Item>, due: Instant) {
        match self.0.get_mut(&key) {
            Some(waiting) => waiting.add(item.clone()),
            None => drop(self.0.insert(key, Conflated::new(item.clone(), due))),
        }
    }

    /// Adds the latest of a symbol of which its client has heard nothing yet.
    pub fn open(&mut self, key: Key, item: &Arc<Item>, due: Instant) {
        self.0.insert(key, Conflated::opening(item.clone(), due));
    }

    /// Adds an update, the first for a client that has the symbol up to `seq`, where that is known.
    pub fn add_after(&mut self, seq: Option<u64>, key: Key, item: &Arc<Item>, due: Instant) {
        self.add(key, item, due);
        if let (Some(seq), Some(waiting)) = (seq, self.0.get_mut(&key)) {
            waiting.n = item.tick.seq.saturating_sub(seq);
        }
    }

    /// Adds what could not be delivered, which follows on what waits.
    pub fn put_back(&mut self, key: Key, undelivered: Conflated) {
        match self.0.get_mut(&key) {
            Some(waiting) => waiting.append(undelivered),
            None => drop(self.0.insert(key, undelivered)),
        }
    }

    /// Takes out what is due by now, in order.
    pub fn take_due(&mut self, now: Instant) -> Vec<(Key, Conflated)> {
        if self.0.values().all(|waiting| waiting.due <= now) {
            return std::mem::take(&mut self.0).into_iter().collect();
        }
        let (due, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.0).into_iter().partition(|(_, waiting)| waiting.due <= now);
        self.0 = later.into_iter().collect();
        due
    }

    /// Lets go of what waits of the symbols that `keep` does not want.
    pub fn retain(&mut self, keep: impl Fn(Key) -> bool) {
        self.0.retain(|&key, _| keep(key));
    }

    /// Since when the oldest has been due; none where nothing waits.
    pub fn oldest(&self) -> Option<Instant> {
        self.0.values().map(|waiting| waiting.due).min()
    }

    /// What waits, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &Conflated)> {
        self.0.iter().map(|(&key, waiting)| (key, waiting))
    }
}
