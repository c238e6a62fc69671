use std::collections::VecDeque;

use super::Kept;
use crate::price::Tick;

/// How much of a symbol's past is kept. Of the bounds on ticks the tighter one wins.
#[derive(Clone, Copy, Debug)]
pub struct Keep {
    /// How old the oldest tick may be against the newest, in ms.
    pub age_ms: u64,
    /// The most ticks of one symbol. A tick holds about 120 bytes, so 10,000 are 1.2 MB.
    pub ticks: usize,
    /// How many candles of one symbol.
    pub candles: Kept,
}

/// The recent ticks of one symbol, oldest first.
#[derive(Debug)]
pub struct History {
    keep: Keep,
    ticks: VecDeque<Tick>,
}

impl History {
    /// An empty history.
    pub fn new(keep: Keep) -> Self {
        Self { keep, ticks: VecDeque::new() }
    }

    /// Appends the newest tick and lets go of what is now too old or too much.
    pub fn push(&mut self, tick: Tick) {
        let newest_ms = tick.update.ts_ms;
        self.ticks.push_back(tick);
        while self.ticks.len() > self.keep.ticks
            || self.ticks.front().is_some_and(|first| first.update.ts_ms.saturating_add(self.keep.age_ms) < newest_ms)
        {
            self.ticks.pop_front();
        }
    }

    /// Forgets everything: what came before does not join up with what comes next.
    pub fn clear(&mut self) {
        self.ticks.clear();
    }

    /// The ticks after `seq`, up to and with `until`; none where not all of them are held.
    pub fn since(&self, seq: u64, until: u64) -> Option<impl ExactSizeIterator<Item = &Tick>> {
        let from = self.ticks.partition_point(|tick| tick.seq <= seq);
        let to = self.ticks.partition_point(|tick| tick.seq <= until);
        let missed = usize::try_from(until.saturating_sub(seq)).unwrap_or(usize::MAX);
        (from.checked_add(missed) == Some(to)).then(|| self.ticks.range(from..to))
    }

    /// The ticks, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Tick> + ExactSizeIterator {
        self.ticks.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::price::{Price, Update};

    fn tick(seq: u64, ts_ms: u64) -> Tick {
        let update =
            Update { symbol: "BTC".parse().unwrap(), price: Price::ONE, ts_ms, bid: None, ask: None, size: None };
        Tick { seq, update }
    }

    fn seqs(history: &History) -> Vec<u64> {
        history.iter().map(|tick| tick.seq).collect()
    }

    #[test]
    fn is_bounded_in_age_and_in_number() {
        let mut history = History::new(Keep { age_ms: 100, ticks: 3, candles: Kept::default() });
        for (seq, ts_ms) in [(1, 0), (2, 50), (3, 100)] {
            history.push(tick(seq, ts_ms));
        }
        assert_eq!(seqs(&history), [1, 2, 3], "exactly as old as allowed");
        history.push(tick(4, 101));
        assert_eq!(seqs(&history), [2, 3, 4], "too many, and the first too old");
        history.push(tick(5, 201));
        assert_eq!(seqs(&history), [4, 5], "two too old");
    }

    #[test]
    fn survives_a_clock_that_steps_back() {
        let mut history = History::new(Keep { age_ms: 100, ticks: 3, candles: Kept::default() });
        for (seq, ts_ms) in [(1, 5000), (2, 1000), (3, 1001), (4, 1002)] {
            history.push(tick(seq, ts_ms));
        }
        assert_eq!(seqs(&history), [2, 3, 4]);
    }
}
