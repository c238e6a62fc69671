//! The candles of every symbol, as far as others have to do with them.

use super::candles::{Back, Candles, DayOf, Folded, Mark, Range, Saved};
use super::{Entry, Market, State};
use crate::price::{Batch, Candle, Day, Epoch, Interval, SymbolId, Tick};

/// The time at which somebody looks.
#[derive(Clone, Copy, Debug)]
pub struct At {
    /// In ms since the Unix epoch.
    pub now_ms: u64,
    /// How long after its end a candle stays open for ticks that are on their way, where no later one has come.
    pub grace_ms: u64,
}

impl At {
    /// When the candle begins that is not closed: the one of the last tick, or where its time has passed, a later one.
    fn open_ms(&self, candles: &Candles, interval: Interval) -> Option<u64> {
        let passed_ms = interval.start_of(self.now_ms.saturating_sub(self.grace_ms));
        Some(candles.running(interval)?.ts_ms.max(passed_ms))
    }
}

/// What is to be said of candles.
#[derive(Clone, Debug)]
pub struct Followed {
    /// The candles.
    pub candles: Vec<Candle>,
    /// When the one begins that is not closed yet: those before it are.
    pub open_ms: u64,
    /// When the first begins that is held.
    pub first_ms: u64,
    /// Since when they may be others than before.
    pub back: Back,
}

impl Market {
    /// A symbol's candles, oldest first, up to the running one: see [`super::Candles::read`].
    pub fn candles(&self, id: SymbolId, interval: Interval, range: Range, now_ms: u64) -> Vec<Candle> {
        let state = self.read();
        state.entries.get(id.index()).map_or_else(Vec::new, |entry| entry.candles.read(interval, range, now_ms))
    }

    /// What is to be said of a symbol's candles of one interval to who has those before `next_ms`: at most `most`, oldest
    /// first, up to the one that is not closed. None before the first tick.
    pub fn follow(&self, id: SymbolId, interval: Interval, next_ms: u64, most: usize, at: At) -> Option<Followed> {
        let state = self.read();
        let candles = &state.entries.get(id.index())?.candles;
        let (open_ms, first_ms) = (at.open_ms(candles, interval)?, candles.first_ms(interval, at.now_ms)?);
        let from_ms = next_ms.max(first_ms);
        let to_ms = open_ms.min(from_ms.saturating_add((most as u64).saturating_sub(1).saturating_mul(interval.ms())));
        let range = Range { from_ms, to_ms, limit: most };
        Some(Followed {
            candles: candles.read(interval, range, at.now_ms),
            open_ms,
            first_ms,
            back: candles.back().clone(),
        })
    }

    /// The latest candles of a symbol, at most `limit`, up to the one that is not closed, to be followed from there. None
    /// before the first tick.
    pub fn chart(&self, id: SymbolId, interval: Interval, limit: usize, at: At) -> Option<Followed> {
        let state = self.read();
        let candles = &state.entries.get(id.index())?.candles;
        let (open_ms, first_ms) = (at.open_ms(candles, interval)?, candles.first_ms(interval, at.now_ms)?);
        let range = Range { from_ms: 0, to_ms: open_ms, limit };
        Some(Followed {
            candles: candles.read(interval, range, at.now_ms),
            open_ms,
            first_ms,
            back: candles.back().clone(),
        })
    }

    /// What these symbols did in the last 24 hours, of those for whom that may have changed since it was made of this.
    pub fn days(&self, asked: &[(SymbolId, DayOf)], now_ms: u64) -> Vec<(SymbolId, Day, DayOf)> {
        let state = self.read();
        let look = |&(id, seen): &(SymbolId, DayOf)| {
            let candles = &state.entries.get(id.index())?.candles;
            let of = candles.day_of(now_ms);
            if of == seen { None } else { Some((id, candles.day(now_ms)?, of)) }
        };
        asked.iter().filter_map(look).collect()
    }

    /// What has changed in a symbol's candles since `mark`: see [`super::Candles::changes`].
    pub fn candle_changes(&self, id: SymbolId, mark: &Mark) -> Option<(Saved, Mark)> {
        self.read().entries.get(id.index())?.candles.changes(mark)
    }

    /// This replica goes on by itself: what comes from now on is taken back from the candles when it is back.
    pub fn go_alone(&self) {
        self.write().alone = true;
    }

    /// It is back: the candles are what they were, and take these ticks, which passed while it was away; nothing else does,
    /// since clients are further on.
    pub fn come_back(&self, missed: &[Batch]) {
        let mut state = self.write();
        if std::mem::take(&mut state.alone) {
            let State { entries, aside, .. } = &mut *state;
            let known = entries.iter_mut().map(|entry| &mut entry.candles);
            known.chain(aside.values_mut()).for_each(Candles::come_back);
        }
        let mut late = 0;
        for batch in missed {
            for tick in &batch.ticks {
                let id = state.add(tick.update.symbol.clone(), self.keep);
                late += state.entries[id.index()].fold(&batch.epoch, tick, false);
            }
        }
        drop(state);
        self.metrics.candles_late.add(late);
    }

    /// How many candles are held, over all symbols, those that nobody knows included.
    pub fn candle_count(&self) -> usize {
        let state = self.read();
        let known = state.entries.iter().map(|entry| &entry.candles);
        known.chain(state.aside.values()).map(Candles::held).sum()
    }
}

impl Entry {
    /// Returns how many of its candles the tick came too late for.
    pub(super) fn fold(&mut self, epoch: &Epoch, tick: &Tick, alone: bool) -> u64 {
        if alone {
            self.candles.go_alone();
        }
        too_late(self.candles.fold(epoch, tick))
    }
}

/// How many candles a tick came too late for.
pub(super) fn too_late(folded: Folded) -> u64 {
    match folded {
        Folded::Counted | Folded::Known => 0,
        Folded::TooLate(intervals) => intervals as u64,
    }
}
