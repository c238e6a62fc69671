mod candles;
mod charts;
mod history;
mod recalled;
mod stored;

use std::collections::HashMap;
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::metrics::Metrics;
use crate::price::{Batch, Epoch, Feed, FeedState, Price, Symbol, SymbolId, Tick, Update};
pub use candles::{Back, Candles, DayOf, Filled, Folded, Kept, Mark, Range, Saved};
pub use charts::{At, Followed};
pub use history::{History, Keep};

/// What is true now, for every symbol.
///
/// One task writes (it applies the bus's batches in order); anybody reads. A std lock, because both hold it for a few
/// map look-ups and never across an `.await`.
#[derive(Debug)]
pub struct Market {
    state: RwLock<State>,
    feed: watch::Sender<Feed>,
    keep: Keep,
    metrics: Arc<Metrics>,
}

#[derive(Debug)]
struct State {
    /// None until the first batch.
    epoch: Option<Epoch>,
    ids: HashMap<Symbol, SymbolId>,
    /// By id, so in the order in which they became known: the order of the settings, then of their first tick.
    entries: Vec<Entry>,
    /// Candles of symbols that nobody has said a price of, and the settings do not name: see `stored.rs`.
    aside: HashMap<Symbol, Candles>,
    /// True while this replica goes on by itself: what it makes is taken back from the candles.
    alone: bool,
    /// When the last batch came; at first, when the market began.
    heard: Instant,
}

#[derive(Debug)]
struct Entry {
    symbol: Symbol,
    last: Option<Tick>,
    /// True while `last` is of an epoch that has ended.
    outdated: bool,
    /// True while nobody has been told of a tick of this epoch.
    untold: bool,
    /// True while nobody has been told that there is such a symbol.
    unseen: bool,
    /// True while it has had no tick for too long, as the pump sees it.
    stale: bool,
    history: History,
    candles: Candles,
}

/// A tick that the market did not have yet.
#[derive(Debug)]
pub struct Fresh {
    /// Whose tick it is.
    pub id: SymbolId,
    /// The tick.
    pub tick: Tick,
    /// True for the first tick of its symbol in this epoch.
    pub first: bool,
    /// True for the first tick of a symbol that nobody knew.
    pub unknown: bool,
    /// Ticks between the one before and this one that never came: this one stands for them too.
    pub missed: u64,
    /// True where it only says again, under a new epoch, what its symbol's last tick said.
    pub restated: bool,
}

/// What a batch brought.
#[derive(Debug)]
pub struct Applied {
    /// The ticks that are news.
    pub fresh: Vec<Fresh>,
    /// True where the batch began another epoch than the one before.
    pub turned: bool,
}

impl Market {
    /// A market that knows these symbols, and no price yet.
    pub fn new(symbols: impl IntoIterator<Item = Symbol>, keep: Keep, metrics: Arc<Metrics>) -> Self {
        let market = Self {
            state: RwLock::new(State {
                epoch: None,
                ids: HashMap::new(),
                entries: Vec::new(),
                aside: HashMap::new(),
                alone: false,
                heard: Instant::now(),
            }),
            feed: watch::Sender::new(Feed {
                state: FeedState::Starting,
                reason: "the bus has not been heard yet".to_owned(),
            }),
            keep,
            metrics,
        };
        let mut state = market.write();
        for symbol in symbols {
            let id = state.add(symbol, keep);
            // Everybody begins with these.
            state.entries[id.index()].unseen = false;
        }
        drop(state);
        market
    }

    /// Takes the ticks of a batch, in order, and returns those that are news. One with a `seq` that the symbol has
    /// reached already in this epoch is a repeat: counted and dropped. A hole in the numbers is counted too.
    pub fn apply(&self, batch: Batch) -> Applied {
        let mut state = self.write();
        let is_empty = batch.ticks.is_empty();
        let turned = state.epoch.as_ref().is_some_and(|epoch| *epoch != batch.epoch);
        if state.epoch.as_ref() != Some(&batch.epoch) {
            state.begin(batch.epoch);
        }
        let mut fresh = Vec::with_capacity(batch.ticks.len());
        let (mut lost, mut late) = (0, 0);
        let State { epoch, alone, .. } = &*state;
        let (epoch, alone) = (epoch.clone(), *alone);
        for tick in batch.ticks {
            let known = state.ids.get(&tick.update.symbol).copied();
            let mut unknown = known.is_none();
            let id = known.unwrap_or_else(|| state.add(tick.update.symbol.clone(), self.keep));
            let entry = &mut state.entries[id.index()];
            let known = entry.last.as_ref().filter(|_| !entry.outdated);
            if known.is_some_and(|last| tick.seq <= last.seq) {
                self.metrics.ticks_repeated.inc();
                continue;
            }
            let first = known.is_none() | std::mem::take(&mut entry.untold);
            unknown |= std::mem::take(&mut entry.unseen);
            let missed = known.map_or(0, |last| tick.seq - last.seq - 1);
            lost += missed;
            let restated = entry.outdated && entry.last.as_ref().is_some_and(|last| last.update == tick.update);
            entry.outdated = false;
            entry.last = Some(tick.clone());
            entry.history.push(tick.clone());
            if let Some(epoch) = &epoch {
                late += entry.fold(epoch, &tick, alone);
            }
            fresh.push(Fresh { id, tick, first, unknown, missed, restated });
        }
        if lost > 0 {
            // The bus skips in silence what was trimmed before it was read; the numbers show it.
            self.metrics.bus_gaps.inc();
            self.metrics.ticks_lost.add(lost);
            tracing::warn!(ticks = lost, "the log was trimmed beyond what was read here");
        }
        // Who only hears again what it knows has heard nothing.
        if is_empty || !fresh.is_empty() {
            state.heard = Instant::now();
        }
        self.metrics.ticks_in.add(fresh.len() as u64);
        self.metrics.candles_late.add(late);
        Applied { fresh, turned }
    }

    /// Takes ticks of the past: what comes next of these symbols is the first that anybody hears of.
    pub fn recall(&self, batch: Batch) {
        let applied = self.apply(batch);
        let mut state = self.write();
        for Fresh { id, unknown, .. } in applied.fresh {
            let entry = &mut state.entries[id.index()];
            entry.untold = true;
            entry.unseen |= unknown;
        }
    }

    /// Takes what the bus says of the feed.
    pub fn set_feed(&self, feed: Feed) {
        self.feed.send_replace(feed);
    }

    /// How the feed is.
    pub fn feed(&self) -> Feed {
        self.feed.borrow().clone()
    }

    /// How the feed is, for who waits until it is otherwise. What the bus brought before that is in the market by then.
    pub fn feed_watch(&self) -> watch::Receiver<Feed> {
        self.feed.subscribe()
    }

    /// The numbering that is in force; none before the first batch.
    pub fn epoch(&self) -> Option<Epoch> {
        self.read().epoch.clone()
    }

    /// Every symbol, in a stable order: by id.
    pub fn symbols(&self) -> Vec<Symbol> {
        self.read().entries.iter().map(|entry| entry.symbol.clone()).collect()
    }

    /// How many symbols there are: their ids are below it.
    pub fn symbol_count(&self) -> usize {
        self.read().entries.len()
    }

    /// The symbol of this name.
    pub fn symbol(&self, name: &str) -> Option<(SymbolId, Symbol)> {
        self.read().ids.get_key_value(name).map(|(symbol, &id)| (id, symbol.clone()))
    }

    /// The ticks of a symbol after `seq`, up to and with `until`, in the epoch in force; none where they are not all
    /// held any more, or are more than `most`.
    pub fn since(&self, id: SymbolId, seq: u64, until: u64, most: usize) -> Option<Vec<Tick>> {
        let state = self.read();
        let ticks = state.history(id)?.since(seq, until)?;
        (ticks.len() <= most).then(|| ticks.cloned().collect())
    }

    /// The latest ticks of a symbol that are held, of these times, in the epoch in force, oldest first, and that epoch.
    pub fn recent(&self, id: SymbolId, range: Range) -> (Option<Epoch>, Vec<Tick>) {
        let state = self.read();
        let is_wanted = |tick: &&Tick| (range.from_ms..=range.to_ms).contains(&tick.update.ts_ms);
        let ticks = state.history(id).into_iter().flat_map(|history| history.iter().rev());
        let mut ticks: Vec<Tick> = ticks.filter(is_wanted).take(range.limit).cloned().collect();
        ticks.reverse();
        (state.epoch.clone(), ticks)
    }

    /// How many these are, and the highest and the lowest price in them; none where they are not all held any more.
    pub fn range_since(&self, id: SymbolId, seq: u64, until: u64) -> Option<(u64, Option<(Price, Price)>)> {
        let state = self.read();
        let ticks = state.history(id)?.since(seq, until)?;
        let n = ticks.len() as u64;
        let range = ticks.map(|tick| tick.update.price).fold(None, |range: Option<(Price, Price)>, price| {
            Some(range.map_or((price, price), |(high, low)| (high.max(price), low.min(price))))
        });
        Some((n, range))
    }

    /// What was last said of a symbol, in whatever epoch.
    pub fn last_update(&self, symbol: &Symbol) -> Option<Update> {
        let state = self.read();
        let id = state.ids.get(symbol)?;
        state.entries[id.index()].last.as_ref().map(|tick| tick.update.clone())
    }

    /// The latest tick of each symbol that has one in the epoch in force, and that epoch.
    pub fn latest(&self) -> (Option<Epoch>, Vec<Tick>) {
        let state = self.read();
        let current = state.entries.iter().filter(|entry| !entry.outdated);
        (state.epoch.clone(), current.filter_map(|entry| entry.last.clone()).collect())
    }

    /// The latest tick of the symbol of this name, if it has one in the epoch in force, and that epoch.
    pub fn latest_of(&self, name: &str) -> Option<(Epoch, Tick)> {
        let state = self.read();
        let entry = state.ids.get(name).map(|id| &state.entries[id.index()]).filter(|entry| !entry.outdated)?;
        Some((state.epoch.clone()?, entry.last.clone()?))
    }

    /// What is held of a symbol's prices in the epoch in force, each with its source's time in ms since the Unix epoch,
    /// oldest first.
    pub fn recent_prices(&self, symbol: &Symbol) -> Vec<(u64, Price)> {
        let state = self.read();
        let history = state.ids.get(symbol).and_then(|id| state.history(*id));
        let ticks = history.into_iter().flat_map(History::iter);
        ticks.map(|tick| (tick.update.ts_ms, tick.update.price)).collect()
    }

    /// The source's time of each symbol's latest tick, of whatever epoch, in ms since the Unix epoch; of the first `most`
    /// symbols.
    pub fn last_times_ms(&self, most: usize) -> Vec<(Symbol, u64)> {
        let state = self.read();
        let last = |entry: &Entry| entry.last.as_ref().map(|tick| (entry.symbol.clone(), tick.update.ts_ms));
        state.entries.iter().take(most).filter_map(last).collect()
    }

    /// The number of each symbol's last tick, by id.
    pub fn last_seqs(&self) -> Vec<Option<u64>> {
        self.read().entries.iter().map(|entry| entry.last.as_ref().map(|tick| tick.seq)).collect()
    }

    /// These symbols have gone quiet, or are back.
    pub fn set_stale(&self, ids: &[SymbolId], stale: bool) {
        let mut state = self.write();
        for id in ids {
            if let Some(entry) = state.entries.get_mut(id.index()) {
                entry.stale = stale;
            }
        }
    }

    /// The symbols that have gone quiet, in their order.
    pub fn stale(&self) -> Vec<Symbol> {
        let state = self.read();
        state.entries.iter().filter(|entry| entry.stale).map(|entry| entry.symbol.clone()).collect()
    }

    /// The names of these symbols.
    pub fn symbols_of(&self, ids: &[SymbolId]) -> Vec<Symbol> {
        let state = self.read();
        ids.iter().filter_map(|id| state.entries.get(id.index())).map(|entry| entry.symbol.clone()).collect()
    }

    /// How long ago the last batch came.
    pub fn silence(&self) -> Duration {
        self.read().heard.elapsed()
    }

    /// How many ticks of the past are held, over all symbols.
    pub fn history_ticks(&self) -> usize {
        self.read().entries.iter().map(|entry| entry.history.iter().len()).sum()
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl State {
    /// The symbol's place. Whatever brings a new one, the first tick of it that is handed on says that nobody knew it.
    fn add(&mut self, symbol: Symbol, keep: Keep) -> SymbolId {
        let next = SymbolId::new(self.entries.len());
        let id = *self.ids.entry(symbol.clone()).or_insert(next);
        if id == next {
            let candles = self.aside.remove(&symbol).unwrap_or_else(|| Candles::new(&keep.candles));
            self.entries.push(Entry {
                symbol,
                last: None,
                outdated: false,
                untold: false,
                unseen: true,
                stale: false,
                history: History::new(keep),
                candles,
            });
        }
        id
    }

    /// What is held of a symbol's past in the epoch in force.
    fn history(&self, id: SymbolId) -> Option<&History> {
        self.entries.get(id.index()).filter(|entry| !entry.outdated).map(|entry| &entry.history)
    }

    /// A new numbering: the old ticks say nothing about it, and their history does not join up with it.
    fn begin(&mut self, epoch: Epoch) {
        self.epoch = Some(epoch);
        for entry in &mut self.entries {
            entry.outdated = true;
            entry.history.clear();
        }
    }
}

#[cfg(test)]
mod tests;
