use std::collections::{HashMap, HashSet};

use super::past::Gap;
use crate::price::{Symbol, Update};

/// Times in which nobody listened to symbols, from the first price after them until the past has been asked for.
///
/// A gap passes through three places: its first price is *heard*, is *leaving* for the log, and once it is there the past is
/// *lacking*. So candles of the past come to the log behind a tick that reaches them, whenever that is: of a symbol that is
/// rarely traded, long after the others.
#[derive(Debug, Default)]
pub(super) struct Gaps {
    heard: HashMap<Symbol, Gap>,
    /// Those of the batch that is on its way to the log, each with the place of its first price there.
    leaving: Vec<(usize, Symbol, Gap)>,
    lacking: HashMap<Symbol, Gap>,
    /// What the exchange is being asked for now.
    asked: HashMap<Symbol, Gap>,
}

impl Gaps {
    /// Another term: what was not asked for to its end in the last one is lacking still, and what did not come to the log is
    /// heard again.
    pub(super) fn begin(&mut self) {
        let Self { asked, lacking, .. } = std::mem::take(self);
        asked.into_iter().for_each(|(symbol, gap)| self.lack(symbol, gap));
        lacking.into_iter().for_each(|(symbol, gap)| self.lack(symbol, gap));
    }

    /// The first price of a symbol after a gap has come.
    pub(super) fn hear(&mut self, symbol: Symbol, gap: Gap) {
        self.heard.insert(symbol, gap);
    }

    /// These go to the log.
    pub(super) fn leave(&mut self, batch: &[Update]) {
        if self.heard.is_empty() {
            return;
        }
        let heard = &mut self.heard;
        self.leaving.extend(batch.iter().enumerate().filter_map(|(place, update)| {
            let gap = heard.remove(&update.symbol)?;
            // Of those that wait for the log only the last may be left.
            Some((place, update.symbol.clone(), Gap { to_ms: update.ts_ms.max(1), ..gap }))
        }));
    }

    /// They are in the log, under these numbers, 0 for what is another source's. Returns whose next price ends the same gap
    /// again.
    pub(super) fn arrive(&mut self, seqs: &[u64]) -> HashSet<Symbol> {
        let mut others = HashSet::new();
        for (place, symbol, gap) in std::mem::take(&mut self.leaving) {
            if seqs.get(place).is_some_and(|seq| *seq > 0) {
                self.lack(symbol, gap);
            } else {
                others.insert(symbol);
            }
        }
        others
    }

    /// True where no first price is on its way.
    pub(super) fn are_in_the_log(&self) -> bool {
        self.heard.is_empty() && self.leaving.is_empty()
    }

    /// True where there is something to ask for.
    pub(super) fn are_lacking(&self) -> bool {
        !self.lacking.is_empty()
    }

    /// What to ask for now.
    pub(super) fn ask(&mut self) -> HashMap<Symbol, Gap> {
        self.asked = std::mem::take(&mut self.lacking);
        self.asked.clone()
    }

    /// That was asked for to its end.
    pub(super) fn done(&mut self) {
        self.asked.clear();
    }

    fn lack(&mut self, symbol: Symbol, gap: Gap) {
        let lacking = self.lacking.entry(symbol).or_insert(gap);
        *lacking = lacking.and(gap);
    }
}

impl Gap {
    /// From the earlier beginning to the later end.
    pub(super) fn and(self, other: Self) -> Self {
        Self { from_ms: self.from_ms.min(other.from_ms), to_ms: self.to_ms.max(other.to_ms) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn updates(of: &[(&str, u64)]) -> Vec<Update> {
        let update = |(symbol, ts_ms): &(&str, u64)| Update {
            symbol: symbol.parse().unwrap(),
            price: 1u32.into(),
            ts_ms: *ts_ms,
            bid: None,
            ask: None,
            size: None,
        };
        of.iter().map(update).collect()
    }

    fn symbol(name: &str) -> Symbol {
        name.parse().unwrap()
    }

    fn gap(from_ms: u64, to_ms: u64) -> Gap {
        Gap { from_ms, to_ms }
    }

    #[test]
    fn the_past_is_asked_for_when_the_first_price_after_it_is_in_the_log() {
        let mut gaps = Gaps::default();
        gaps.hear(symbol("A"), gap(5, 10));
        gaps.hear(symbol("B"), gap(0, 11));
        // Of A an earlier one has been left out.
        gaps.leave(&updates(&[("C", 9), ("A", 12), ("A", 13)]));
        assert!(!gaps.are_lacking() && !gaps.are_in_the_log());
        assert!(gaps.arrive(&[1, 2, 3]).is_empty());
        assert_eq!(gaps.ask(), HashMap::from([(symbol("A"), gap(5, 12))]));
        assert!(!gaps.are_lacking() && !gaps.are_in_the_log());
        gaps.leave(&updates(&[("B", 11)]));
        gaps.arrive(&[4]);
        assert!(gaps.are_lacking() && gaps.are_in_the_log());
    }

    #[test]
    fn what_is_another_sources_is_not_asked_for() {
        let mut gaps = Gaps::default();
        gaps.hear(symbol("A"), gap(5, 10));
        gaps.leave(&updates(&[("A", 10)]));
        assert_eq!(gaps.arrive(&[0]), HashSet::from([symbol("A")]));
        assert!(!gaps.are_lacking() && gaps.are_in_the_log());
    }

    #[test]
    fn what_was_not_asked_for_to_its_end_is_lacking_in_the_next_term() {
        let mut gaps = Gaps::default();
        for (name, from_ms) in [("A", 5), ("B", 7)] {
            gaps.hear(symbol(name), gap(from_ms, 10));
        }
        gaps.leave(&updates(&[("A", 10), ("B", 10)]));
        gaps.arrive(&[1, 2]);
        gaps.ask();
        gaps.hear(symbol("A"), gap(90, 95));
        gaps.leave(&updates(&[("A", 95)]));
        gaps.arrive(&[3]);
        gaps.hear(symbol("C"), gap(1, 2));
        gaps.begin();
        assert!(gaps.are_in_the_log(), "C is heard again");
        assert_eq!(gaps.ask(), HashMap::from([(symbol("A"), gap(5, 95)), (symbol("B"), gap(7, 10))]));
        gaps.done();
        gaps.begin();
        assert!(!gaps.are_lacking());
    }
}
