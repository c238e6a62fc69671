//! Candles that come from elsewhere than from ticks: from where they are stored, and from those who have the past.

use super::{Market, Saved};
use crate::price::{Batch, Fill, Stored};

impl Market {
    /// Takes candles as they are stored, in the place of those that are here. What cannot be read is counted.
    pub fn take_stored(&self, Stored { symbol, records }: &Stored) {
        let (saved, unreadable) = Saved::assemble(records);
        if unreadable > 0 {
            self.metrics.candles_unreadable.add(unreadable);
            tracing::warn!(%symbol, records = unreadable, "stored candles that this version does not know: passed over");
        }
        let Some(saved) = saved else { return };
        let mut state = self.write();
        let is_new = !state.ids.contains_key(symbol);
        let id = state.add(symbol.clone(), self.keep);
        let entry = &mut state.entries[id.index()];
        // Nobody has been told that there is such a symbol.
        entry.unseen |= is_new;
        entry.candles.replace(saved);
    }

    /// Takes ticks that followed what is stored, for candles alone.
    pub fn fold_since(&self, batch: &Batch) {
        let mut state = self.write();
        let mut late = 0;
        for tick in &batch.ticks {
            if let Some(id) = state.ids.get(&tick.update.symbol).copied() {
                late += state.entries[id.index()].fold(&batch.epoch, tick, false);
            }
        }
        drop(state);
        self.metrics.candles_late.add(late);
    }

    /// Takes candles of the past: see [`super::Candles::fill`].
    pub fn fill(&self, fill: &Fill) {
        let mut state = self.write();
        let Some(id) = state.ids.get(&fill.symbol).copied() else { return };
        let taken = state.entries[id.index()].candles.fill(fill);
        drop(state);
        self.metrics.candles_filled.add(taken as u64);
    }

    /// The latest time of a symbol's ticks that are in its candles, in ms since the Unix epoch.
    pub fn candles_until_ms(&self, symbol: &crate::price::Symbol) -> Option<u64> {
        let state = self.read();
        let id = state.ids.get(symbol)?;
        state.entries[id.index()].candles.position().map(|(_, _, last_ms)| last_ms)
    }
}
