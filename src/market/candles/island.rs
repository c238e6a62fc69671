//! A replica that went on by itself takes back what it made meanwhile.

use std::collections::VecDeque;

use super::{Candles, Running};
use crate::price::{Epoch, Interval, Price};

/// That candles were replaced by others: how often, and since when they may be others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Back {
    times: u64,
    /// Of the last times, in ms since the Unix epoch, by [`Interval::index`]; the first stands for all before it, too.
    from_ms: VecDeque<[u64; Interval::COUNT]>,
}

impl Back {
    /// Who misses more of them hears of more candles again than have to be.
    const REMEMBERED: usize = 4;

    /// How often.
    pub fn times(&self) -> u64 {
        self.times
    }

    /// Since when candles may be others than they were after the first `times`, in ms since the Unix epoch; none where
    /// nothing was replaced since.
    pub fn since(&self, times: u64, interval: Interval) -> Option<u64> {
        let missed = usize::try_from(self.times.saturating_sub(times)).unwrap_or(usize::MAX);
        self.from_ms.iter().rev().take(missed).map(|from_ms| from_ms[interval.index()]).min()
    }

    pub(super) fn add(&mut self, from_ms: [u64; Interval::COUNT]) {
        self.times += 1;
        self.from_ms.push_back(from_ms);
        if self.from_ms.len() > Self::REMEMBERED
            && let Some(gone) = self.from_ms.pop_front()
            && let Some(first) = self.from_ms.front_mut()
        {
            for (first, gone) in first.iter_mut().zip(gone) {
                *first = gone.min(*first);
            }
        }
    }
}

/// What a replica knew when it went on by itself.
#[derive(Clone, Debug)]
pub(super) struct Ashore {
    pub(super) running: Running,
    /// The last price before the running candle of each interval; none where nothing came before it.
    closes: [Option<Price>; Interval::COUNT],
}

/// Up to where everything is here, once a replica is back: what passed meanwhile may not be.
#[derive(Clone, Debug)]
pub(super) struct Whole {
    /// The last tick of it; none where nothing was known.
    pub(super) at: Option<(Epoch, u64)>,
    /// The candles that ran then, by [`Interval::index`]: those before them are what they were.
    pub(super) until_ms: [u64; Interval::COUNT],
}

impl Candles {
    /// This replica goes on by itself: what is folded in from now on is taken back by [`Candles::come_back`].
    pub fn go_alone(&mut self) {
        if self.ashore.is_none() {
            let close = |running: &Running, of: Interval| {
                self.rings[of.index()].close_before(running.candles[of.index()].ts_ms)
            };
            let known = self.running.clone().map(|running| {
                let closes = Interval::ALL.map(|interval| close(&running, interval));
                Box::new(Ashore { running, closes })
            });
            self.ashore = Some(known);
        }
    }

    /// Takes back what was folded in since [`Candles::go_alone`].
    pub fn come_back(&mut self) {
        if let Some(known) = self.ashore.take() {
            // Of one that knew nothing before, all that it made.
            let first_ms = self.later_of_held([0; Interval::COUNT]);
            let (running, closes) = match known {
                Some(known) => (Some(known.running), known.closes),
                None => (None, Default::default()),
            };
            let until_ms = running.as_ref().map_or([0; Interval::COUNT], Running::starts);
            for ((ring, &until_ms), close) in self.rings.iter_mut().zip(&until_ms).zip(closes) {
                ring.cut(until_ms, close);
            }
            self.back.add(if running.is_some() { until_ms } else { first_ms });
            self.running = running;
            self.folded += 1;
        }
        let at = self.running.as_ref().map(|running| (running.epoch.clone(), running.seq));
        let until_ms = self.running.as_ref().map_or([0; Interval::COUNT], Running::starts);
        self.whole = Some(Box::new(Whole { at, until_ms }));
    }

    /// How often what was here was replaced, and since when it may be another.
    pub fn back(&self) -> &Back {
        &self.back
    }

    /// Each of these times, or where nothing is held that begins so early, when the first candle begins that is.
    pub(super) fn later_of_held(&self, times_ms: [u64; Interval::COUNT]) -> [u64; Interval::COUNT] {
        Interval::ALL.map(|interval| {
            let of = interval.index();
            let running_ms = self.running.as_ref().map_or(0, |running| running.candles[of].ts_ms);
            let first_ms = self.rings[of].since(0).next().map_or(running_ms, |first| first.ts_ms);
            times_ms[of].max(first_ms)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Kept, Mark, Range, Saved};
    use super::*;
    use crate::price::{Tick, Update};

    const MINUTE_MS: u64 = 60_000;

    /// One a minute: the number of the minute is also its price.
    fn fold(candles: &mut Candles, epoch: &str, minutes: std::ops::RangeInclusive<u64>) {
        for minute in minutes {
            let (symbol, ts_ms) = ("BTC".parse().unwrap(), minute * MINUTE_MS);
            let update = Update { symbol, price: Price::from(minute), ts_ms, bid: None, ask: None, size: None };
            candles.fold(&Epoch::new(epoch), &Tick { seq: minute, update });
        }
    }

    fn candles(epoch: &str, minutes: std::ops::RangeInclusive<u64>) -> Candles {
        let mut candles = Candles::new(&Kept([999; Interval::COUNT]));
        fold(&mut candles, epoch, minutes);
        candles
    }

    /// One that knows 99 minutes, and made others by itself meanwhile.
    fn back_from_an_island() -> Candles {
        let mut here = candles("a", 1..=99);
        here.go_alone();
        fold(&mut here, "island", 100..=110);
        here.come_back();
        here
    }

    /// How many ticks are in each minute.
    fn ticks(candles: &Candles) -> Vec<u64> {
        candles.read(Interval::M1, Range::latest(999), 0).iter().map(|minute| minute.n).collect()
    }

    fn stored(candles: &Candles) -> Saved {
        candles.changes(&Mark::default()).unwrap().0
    }

    /// Since which minute they may be others than after so many times.
    fn back(candles: &Candles, times: u64) -> Option<u64> {
        candles.back().since(times, Interval::M1).map(|from_ms| from_ms / MINUTE_MS)
    }

    #[test]
    fn what_is_stored_in_the_place_of_a_trimmed_log_makes_others_of_none_that_closed_before_the_island() {
        let mut here = back_from_an_island();
        // The log begins again in the middle of it.
        fold(&mut here, "a", 105..=111);
        assert_eq!((here.back().times(), back(&here, 0)), (1, Some(99)));
        here.replace(stored(&candles("a", 1..=112)));
        assert_eq!((here.back().times(), back(&here, 0), back(&here, 1)), (2, Some(99), Some(99)));
        assert_eq!(here.read(Interval::M1, Range::latest(999), 0).len(), 112);
    }

    #[test]
    fn what_is_stored_is_put_in_though_the_log_begins_again_behind_it_and_has_gone_further() {
        let mut here = back_from_an_island();
        fold(&mut here, "a", 105..=111);
        // It is stored once a second: what came since is in the log.
        here.replace(stored(&candles("a", 1..=109)));
        fold(&mut here, "a", 105..=111);
        assert_eq!(ticks(&here), [1; 111]);
    }

    #[test]
    fn what_is_stored_of_the_epoch_before_takes_nothing_from_the_one_that_has_begun() {
        let mut here = back_from_an_island();
        for _ in 0..2 {
            fold(&mut here, "a", 105..=111);
            fold(&mut here, "b", 112..=115);
            here.replace(stored(&candles("a", 1..=109)));
        }
        fold(&mut here, "a", 105..=111);
        fold(&mut here, "b", 112..=115);
        assert_eq!(ticks(&here), [1; 115]);
    }

    #[test]
    fn several_epochs_that_are_read_again_are_known() {
        let mut here = candles("a", 1..=10);
        for _ in 0..2 {
            for (epoch, minutes) in [("a", 5..=10), ("b", 11..=15), ("c", 16..=20), ("d", 21..=25)] {
                fold(&mut here, epoch, minutes);
            }
        }
        assert_eq!(ticks(&here), [1; 25]);
    }

    #[test]
    fn what_is_read_again_of_the_epoch_before_is_known() {
        let mut here = candles("a", 1..=99);
        fold(&mut here, "b", 101..=105);
        fold(&mut here, "a", 90..=99);
        here.replace(stored(&candles("b", 1..=110)));
        let n = |candles: &Candles| ticks(candles).iter().sum::<u64>();
        assert_eq!(n(&here), 110);
        fold(&mut here, "a", 90..=99);
        assert_eq!(n(&here), 110);
        // That which stands in the place of another remembers the one before that.
        let mut here = candles("a", 1..=99);
        here.replace(stored(&candles("b", 1..=110)));
        fold(&mut here, "a", 90..=99);
        assert_eq!(n(&here), 110);
        // What none of them has is new.
        fold(&mut here, "a", 111..=111);
        assert_eq!(n(&here), 111);
    }

    #[test]
    fn what_is_stored_is_not_put_in_the_place_of_what_is_whole_and_newer() {
        let mut here = back_from_an_island();
        // What was known is said again under a new epoch; what is stored is of the old one.
        fold(&mut here, "b", 99..=99);
        here.replace(stored(&candles("a", 1..=98)));
        assert_eq!((here.back().times(), here.running(Interval::M1).unwrap().n), (1, 1));
        assert_eq!(here.read(Interval::M1, Range::latest(999), 0).len(), 99);
    }

    #[test]
    fn who_is_quiet_on_an_island_takes_what_is_stored_as_of_its_last_tick() {
        let mut here = candles("a", 1..=20);
        here.go_alone();
        here.come_back();
        fold(&mut here, "a", 21..=50);
        here.go_alone();
        fold(&mut here, "a", 60..=61);
        here.come_back();
        here.replace(stored(&candles("a", 1..=70)));
        assert_eq!((back(&here, 1), back(&here, 2), back(&here, 3)), (Some(50), Some(50), None));
    }

    #[test]
    fn an_island_from_its_beginning_takes_back_what_it_made_and_no_more() {
        let mut here = candles("a", 0..=0);
        here.running = None;
        here.go_alone();
        fold(&mut here, "island", 40..=50);
        here.come_back();
        here.replace(stored(&candles("a", 1..=60)));
        assert_eq!(back(&here, 0), Some(40), "and not since the first minute that is stored");
    }

    #[test]
    fn who_missed_several_hears_of_the_earliest() {
        let mut back = Back::default();
        for from_ms in [50, 10, 70, 60, 80, 90] {
            back.add([from_ms; Interval::COUNT]);
        }
        let since = |times| back.since(times, Interval::S1);
        assert_eq!([since(6), since(5), since(4), since(3)], [None, Some(90), Some(80), Some(60)]);
        assert_eq!([since(2), since(1), since(0)], [Some(10), Some(10), Some(10)], "once more rather than not at all");
    }
}
