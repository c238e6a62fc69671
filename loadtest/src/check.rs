//! Whether what one client gets of one symbol hangs together: lost, conflated, repeated, out of order, or changed.

use serde::Serialize;

use crate::wire::tick::Tick;

/// The most holes of one stream that are remembered, to see that a tick comes late and was not lost.
const MAX_HOLES: usize = 64;
/// How many of a symbol's latest ticks are remembered with their prices.
const PRICES: usize = 256;

/// What was found, in updates.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Findings {
    /// Updates that never came: their numbers were passed over, and no tick said that it stands for them.
    pub lost: u64,
    /// Updates that another one stands for (`n` - 1 of each tick): less resolution in time, and said so.
    pub conflated: u64,
    /// Ticks whose number had come before.
    pub duplicates: u64,
    /// Ticks that came after one with a higher number.
    pub reordered: u64,
    /// Ticks with another price than a tick of the same epoch, symbol and number had, at any client.
    pub two_prices: u64,
    /// Symbols that began to be numbered anew.
    pub epoch_changes: u64,
    /// Ticks with a number, which is what the rest is found by.
    pub numbered: u64,
    /// Updates that were lost as far as an earlier report knows, and came late in this one.
    #[serde(skip)]
    pub found_late: u64,
}

impl Findings {
    /// Adds what was found later.
    pub fn add(&mut self, later: &Self) {
        self.conflated += later.conflated;
        self.duplicates += later.duplicates;
        self.reordered += later.reordered;
        self.two_prices += later.two_prices;
        self.epoch_changes += later.epoch_changes;
        self.numbered += later.numbered;
        self.found_late += later.found_late;
        self.lost += later.lost;
        let settled = self.lost.min(self.found_late);
        self.lost -= settled;
        self.found_late -= settled;
    }

    /// How often a server contradicted itself: by what came twice, out of order, or with another price.
    pub fn contradictions(&self) -> u64 {
        self.duplicates + self.reordered + self.two_prices
    }

    /// A number that was passed over came after all.
    fn late(&mut self, updates: u64) {
        let settled = self.lost.min(updates);
        self.lost -= settled;
        self.found_late += updates - settled;
    }
}

/// What one client has got of one symbol, in one of the two shapes (single ticks, arrays).
#[derive(Clone, Debug, Default)]
pub struct Stream {
    /// The number it began with. Zero: nothing has come.
    first: u64,
    /// The highest number.
    last: u64,
    epoch: u32,
    holes: Option<Box<Holes>>,
}

/// Numbers that were passed over.
#[derive(Clone, Debug, Default)]
struct Holes {
    /// From and to, both of them missing.
    ranges: Vec<(u64, u64)>,
    /// True once there were too many to remember: a number that comes late may then have been in one.
    forgot: bool,
}

/// Some feeds begin at zero; here that means that nothing has come.
fn shifted(seq: u64) -> u64 {
    seq.saturating_add(1)
}

impl Stream {
    /// True if a tick says that its epoch is another one.
    pub fn is_new_epoch(&self, tick: &Tick) -> bool {
        tick.epoch != 0 && tick.epoch != self.epoch
    }

    /// Takes the tick that a client was told to start from.
    pub fn begin(&mut self, tick: &Tick) {
        if let Some(seq) = tick.seq.map(shifted) {
            *self = Self { first: seq, last: seq, epoch: tick.epoch, holes: None };
        }
    }

    /// Takes the next tick. Ticks without a number say nothing.
    pub fn take(&mut self, tick: &Tick, prices: &mut Prices, found: &mut Findings) {
        let Some(seq) = tick.seq.map(shifted) else {
            return;
        };
        found.numbered += 1;
        let n = u64::from(tick.n.max(1));
        if self.is_new_epoch(tick) {
            // A stream whose epoch was not said so far gets its name where it goes on; else it is another one.
            if self.epoch != 0 || (self.first != 0 && (seq + 1).saturating_sub(n) != self.last + 1) {
                found.epoch_changes += 1;
                self.first = 0;
            }
            self.epoch = tick.epoch;
        }
        found.two_prices += u64::from(prices.differ(self.epoch, seq, tick));
        if self.first == 0 {
            *self = Self { first: seq, last: seq, epoch: self.epoch, holes: None };
            return;
        }
        // The numbers that it stands for are `from` to `seq`.
        let from = (seq + 1).saturating_sub(n);
        if from == self.last + 1 {
            found.conflated += n - 1;
            self.last = seq;
        } else if from > self.last {
            found.conflated += n - 1;
            found.lost += from - self.last - 1;
            self.holes.get_or_insert_default().open(self.last + 1, from - 1);
            self.last = seq;
        } else if seq > self.last {
            // Its end is new, its beginning has come before.
            found.duplicates += 1;
            found.conflated += seq - self.last - 1;
            self.last = seq;
        } else {
            let (filled, forgot) =
                self.holes.as_mut().map_or((0, false), |holes| (holes.fill(from, seq), holes.forgot));
            if filled > 0 {
                found.reordered += 1;
                found.late(filled);
            } else if seq < self.first || forgot {
                found.reordered += 1;
            } else {
                found.duplicates += 1;
            }
        }
    }
}

impl Holes {
    fn open(&mut self, from: u64, to: u64) {
        if self.ranges.len() == MAX_HOLES {
            self.ranges.remove(0);
            self.forgot = true;
        }
        self.ranges.push((from, to));
    }

    /// Takes numbers out; says how many of them were missing.
    fn fill(&mut self, from: u64, to: u64) -> u64 {
        let mut filled = 0;
        let mut left = Vec::with_capacity(self.ranges.len() + 1);
        for &(start, end) in &self.ranges {
            if end < from || start > to {
                left.push((start, end));
                continue;
            }
            filled += end.min(to) - start.max(from) + 1;
            if start < from {
                left.push((start, from - 1));
            }
            if end > to {
                left.push((to + 1, end));
            }
        }
        self.ranges = left;
        filled
    }
}

/// The prices of the latest ticks that anybody got: one (epoch, symbol, seq) has one price.
#[derive(Debug, Default)]
pub struct Prices {
    /// By symbol, then by the number's remainder.
    symbols: Vec<Vec<Priced>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Priced {
    epoch: u32,
    seq: u64,
    price: u64,
}

impl Prices {
    /// True if a tick of this epoch and number had another price.
    fn differ(&mut self, epoch: u32, seq: u64, tick: &Tick) -> bool {
        let at = tick.symbol as usize;
        if at >= self.symbols.len() {
            self.symbols.resize_with(at + 1, Vec::new);
        }
        let symbol = &mut self.symbols[at];
        if symbol.is_empty() {
            symbol.resize(PRICES, Priced::default());
        }
        let known = &mut symbol[(seq % PRICES as u64) as usize];
        if known.epoch == epoch && known.seq == seq {
            return known.price != tick.price;
        }
        // One that comes very late must not push a later one out.
        if known.epoch != epoch || known.seq < seq {
            *known = Priced { epoch, seq, price: tick.price };
        }
        false
    }
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
