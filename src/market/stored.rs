//! Candles that come from elsewhere than from ticks: from where they are stored, and from those who have the past.
//!
//! A symbol is one that the settings name, or that somebody has said a price of. What is stored of another one is kept aside,
//! and is its own when it becomes known: nobody is told of a symbol because there was one once.

use super::charts::too_late;
use super::{Candles, Filled, Market, Saved, State};
use crate::price::{Batch, Fill, Stored, Symbol};

/// Symbols whose candles are kept aside at most.
const MAX_ASIDE: usize = 1000;

impl Market {
    /// Puts in the candles that were stored of a symbol, before its first tick: see [`super::Candles::restore`]. False where
    /// there are candles of it already, or it is one too many that nobody knows.
    pub fn restore_candles(&self, symbol: &Symbol, saved: Saved) -> bool {
        self.place(symbol, saved, Candles::restore).unwrap_or(false)
    }

    /// Takes candles as they are stored, in the place of those that are here. What cannot be read is counted.
    pub fn take_stored(&self, Stored { symbol, records }: &Stored) {
        let (saved, unreadable) = Saved::assemble(records);
        if unreadable > 0 {
            self.metrics.candles_unreadable.add(unreadable);
            tracing::warn!(%symbol, records = unreadable, "stored candles that this version does not know: passed over");
        }
        if let Some(saved) = saved {
            self.place(symbol, saved, Candles::replace);
        }
    }

    /// Puts stored candles where those of their symbol are; none where there is no place for them, which is counted.
    fn place<T>(&self, symbol: &Symbol, saved: Saved, put: impl FnOnce(&mut Candles, Saved) -> T) -> Option<T> {
        let candles = saved.closed.len();
        let placed = self.write().candles_of(symbol, self).map(|candles| put(candles, saved));
        if placed.is_none() {
            self.pass_over(symbol, candles);
        }
        placed
    }

    /// Takes ticks that followed what is stored, for candles alone.
    pub fn fold_since(&self, batch: &Batch) {
        let mut state = self.write();
        let mut late = 0;
        for tick in &batch.ticks {
            if let Some(candles) = state.known_candles(&tick.update.symbol) {
                late += too_late(candles.fold(&batch.epoch, tick));
            }
        }
        drop(state);
        self.metrics.candles_late.add(late);
    }

    /// Takes candles of the past: see [`super::Candles::fill`].
    pub fn fill(&self, fill: &Fill) {
        let mut state = self.write();
        let alone = state.alone;
        let filled = state.candles_of(&fill.symbol, self).map(|candles| {
            if alone {
                candles.go_alone();
            }
            candles.fill(fill)
        });
        drop(state);
        match filled {
            Some(Filled { taken, passed_over }) => {
                self.metrics.candles_filled.add(taken as u64);
                self.metrics.candles_passed_over.add(passed_over as u64);
            }
            None => self.pass_over(&fill.symbol, fill.candles.len()),
        }
    }

    /// What is to be stored of symbols that nobody knows, by their names.
    pub fn candles_aside(&self) -> Vec<Symbol> {
        let mut symbols: Vec<_> = self.read().aside.keys().cloned().collect();
        symbols.sort_unstable();
        symbols
    }

    /// The candles of one of these; none where it has become known.
    pub fn saved_aside(&self, symbol: &Symbol) -> Option<Saved> {
        Some(self.read().aside.get(symbol)?.changes(&super::Mark::default())?.0)
    }

    /// The latest time of a symbol's ticks that are in its candles, in ms since the Unix epoch.
    pub fn candles_until_ms(&self, symbol: &Symbol) -> Option<u64> {
        let state = self.read();
        let id = state.ids.get(symbol)?;
        state.entries[id.index()].candles.position().map(|(_, _, last_ms)| last_ms)
    }

    fn pass_over(&self, symbol: &Symbol, candles: usize) {
        self.metrics.candles_passed_over.add(candles as u64);
        tracing::warn!(%symbol, candles, "candles of more symbols that nobody knows than are kept aside: passed over");
    }
}

impl State {
    /// The candles of a symbol; where nobody knows it, those aside. None where there are none.
    fn known_candles(&mut self, symbol: &Symbol) -> Option<&mut Candles> {
        match self.ids.get(symbol) {
            Some(id) => self.entries.get_mut(id.index()).map(|entry| &mut entry.candles),
            None => self.aside.get_mut(symbol),
        }
    }

    /// The same, and where there are none, new ones aside. None where that would be one too many.
    fn candles_of(&mut self, symbol: &Symbol, market: &Market) -> Option<&mut Candles> {
        let is_known = self.ids.contains_key(symbol) || self.aside.contains_key(symbol);
        if !is_known && self.aside.len() < MAX_ASIDE {
            self.aside.insert(symbol.clone(), Candles::new(&market.keep.candles));
        }
        self.known_candles(symbol)
    }
}
