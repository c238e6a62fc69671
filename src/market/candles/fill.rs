use super::Candles;
use crate::price::{Candle, Fill};

impl Candles {
    /// Takes candles that a source has of a time in which nobody listened to it. They win where that time reaches into them,
    /// and nowhere else: what was seen whole here stays. Returns how many it took.
    ///
    /// - One that is whole takes the place of ours.
    /// - One that was still running when it was asked for, or that runs here, is joined with ours: it has the open where
    ///   nobody listened to its beginning, both have the high and the low, ours has the close, and volume and `n` are the
    ///   larger of the two, since the one is of all trades up to some time, and the other of some, up to now.
    ///
    /// The same again changes nothing, and all replicas take it at the same place in the log. Before the first tick there is
    /// nothing to join it with, and it is passed over.
    pub fn fill(&mut self, fill: &Fill) -> usize {
        let Some(running) = &mut self.running else { return 0 };
        running.settle();
        let Fill { interval, unseen_ms: (from_ms, to_ms), settled_ms, .. } = *fill;
        let ring = &mut self.rings[interval.index()];
        let own = &mut running.candles[interval.index()];
        let mut taken = 0;
        let mut closed = Vec::new();
        for candle in &fill.candles {
            let Candle { ts_ms, .. } = *candle;
            let end_ms = ts_ms.saturating_add(interval.ms());
            let is_unseen = ts_ms < to_ms && end_ms > from_ms;
            if !is_unseen || ts_ms > own.ts_ms || ts_ms != interval.start_of(ts_ms) {
                continue;
            }
            taken += 1;
            let begins_unseen = ts_ms > from_ms || from_ms == 0;
            if ts_ms == own.ts_ms {
                join(own, candle, begins_unseen);
            } else {
                let mut whole = *candle;
                if let Some(ours) = ring.at(ts_ms).filter(|_| end_ms > settled_ms) {
                    whole = *ours;
                    join(&mut whole, candle, begins_unseen);
                }
                closed.push(whole);
            }
        }
        let running_ms = own.ts_ms;
        running.taken = (running.candles[0].volume, running.candles[0].n);
        if taken > 0 {
            ring.replace(closed, running_ms);
            // Whoever stores them stores all again.
            self.amended.forget();
            self.folded += 1;
        }
        taken
    }
}

fn join(ours: &mut Candle, theirs: &Candle, begins_unseen: bool) {
    if begins_unseen {
        ours.open = theirs.open;
    }
    ours.high = ours.high.max(theirs.high);
    ours.low = ours.low.min(theirs.low);
    ours.volume = ours.volume.max(theirs.volume);
    ours.n = ours.n.max(theirs.n);
}

#[cfg(test)]
mod tests {
    use super::super::{Kept, Mark, Range};
    use super::*;
    use crate::price::{Epoch, Interval, Price, Tick, Update};

    const MINUTE_MS: u64 = 60_000;

    fn tick(seq: u64, ts_ms: u64, price: u32) -> Tick {
        let symbol = "BTC".parse().unwrap();
        Tick { seq, update: Update { symbol, price: price.into(), ts_ms, bid: None, ask: None, size: None } }
    }

    /// Minutes that close at ten times their number, and two.
    fn fill(minutes: std::ops::RangeInclusive<u64>, unseen_ms: (u64, u64), settled_ms: u64) -> Fill {
        let candle = |minute: u64| {
            let close = Price::from(minute * 10 + 2);
            let (open, high, low) = (close + Price::from(3), close + Price::from(5), close - Price::from(5));
            Candle { ts_ms: minute * MINUTE_MS, open, high, low, close, volume: Price::from(9), n: 9 }
        };
        let (symbol, candles) = ("BTC".parse().unwrap(), minutes.map(candle).collect());
        Fill { symbol, interval: Interval::M1, unseen_ms, settled_ms, candles }
    }

    fn candles(ticks: &[(u64, u64, u32)]) -> Candles {
        let mut candles = Candles::new(&Kept([99; Interval::COUNT]));
        for &(seq, ts_ms, price) in ticks {
            candles.fold(&Epoch::new("a"), &tick(seq, ts_ms, price));
        }
        candles
    }

    /// The minute, open, high, low, close, and n.
    fn shown(candles: &Candles) -> Vec<[u32; 6]> {
        let read = candles.read(Interval::M1, Range::latest(99), 0);
        let number = |price: Price| u32::try_from(price).unwrap();
        let show = |candle: &Candle| {
            let Candle { ts_ms, open, high, low, close, n, .. } = *candle;
            [(ts_ms / MINUTE_MS) as u32, number(open), number(high), number(low), number(close), n as u32]
        };
        read.iter().map(show).collect()
    }

    #[test]
    fn before_the_first_tick_is_what_the_source_has_and_after_it_what_was_seen() {
        // From the middle of the fifth minute on; asked for in the seventh.
        let first_ms = 5 * MINUTE_MS + 30_000;
        let mut candles = candles(&[(1, first_ms, 50), (2, 6 * MINUTE_MS, 60), (3, 7 * MINUTE_MS, 70)]);
        let fill = fill(3..=7, (0, first_ms), 7 * MINUTE_MS);
        let filled = [
            [3, 35, 37, 27, 32, 9],
            [4, 45, 47, 37, 42, 9],
            [5, 55, 57, 47, 52, 9],
            [6, 60, 60, 60, 60, 1],
            [7, 70, 70, 70, 70, 1],
        ];
        assert_eq!(candles.fill(&fill), 3);
        assert_eq!(shown(&candles), filled);
        assert_eq!(candles.fill(&fill), 3);
        assert_eq!(shown(&candles), filled, "the same again changes nothing");
    }

    #[test]
    fn what_still_runs_is_joined_here_and_there() {
        let first_ms = 5 * MINUTE_MS + 30_000;
        let mut here = candles(&[(1, first_ms, 50)]);
        assert_eq!(here.fill(&fill(5..=5, (0, first_ms), 5 * MINUTE_MS)), 1);
        assert_eq!(shown(&here), [[5, 55, 57, 47, 50, 9]]);
        here.fold(&Epoch::new("a"), &tick(2, first_ms + 1, 99));
        assert_eq!(shown(&here), [[5, 55, 99, 47, 99, 10]], "and goes on");

        // It was running there, and is closed here by now.
        let mut there = candles(&[(1, first_ms, 50), (2, 6 * MINUTE_MS, 60)]);
        assert_eq!(there.fill(&fill(5..=5, (0, first_ms), 5 * MINUTE_MS + 40_000)), 1);
        assert_eq!(shown(&there), [[5, 55, 57, 47, 50, 9], [6, 60, 60, 60, 60, 1]]);
    }

    #[test]
    fn a_gap_is_the_sources_and_what_is_before_and_after_it_ours() {
        let (from_ms, to_ms) = (3 * MINUTE_MS + 20_000, 6 * MINUTE_MS + 20_000);
        let mut candles = candles(&[(1, 2 * MINUTE_MS, 20), (2, from_ms, 30), (3, to_ms, 60), (4, 7 * MINUTE_MS, 70)]);
        assert_eq!(candles.fill(&fill(1..=7, (from_ms, to_ms), 7 * MINUTE_MS)), 4);
        let expected = [
            [2, 20, 20, 20, 20, 1],
            [3, 35, 37, 27, 32, 9],
            [4, 45, 47, 37, 42, 9],
            [5, 55, 57, 47, 52, 9],
            [6, 65, 67, 57, 62, 9],
            [7, 70, 70, 70, 70, 1],
        ];
        assert_eq!(shown(&candles), expected);
        // In the middle of one that runs: what was seen of its beginning stays.
        let (from_ms, to_ms) = (7 * MINUTE_MS + 10_000, 7 * MINUTE_MS + 20_000);
        candles.fold(&Epoch::new("a"), &tick(5, to_ms, 71));
        assert_eq!(candles.fill(&fill(7..=7, (from_ms, to_ms), 7 * MINUTE_MS)), 1);
        assert_eq!(shown(&candles)[5], [7, 70, 77, 67, 71, 9]);
    }

    #[test]
    fn what_cannot_be_placed_is_passed_over_and_all_is_stored_again() {
        assert_eq!(candles(&[]).fill(&fill(1..=2, (0, 9 * MINUTE_MS), 0)), 0);
        let mut candles = candles(&[(1, 3 * MINUTE_MS, 30)]);
        let (_, mark) = candles.changes(&Mark::default()).unwrap();
        assert!(candles.changes(&mark).is_none());
        let mut odd = fill(4..=4, (0, 9 * MINUTE_MS), 0);
        assert_eq!(candles.fill(&odd), 0, "later than what runs");
        odd.candles[0].ts_ms = MINUTE_MS + 1;
        assert_eq!(candles.fill(&odd), 0, "no minute begins then");
        assert!(candles.changes(&mark).is_none());
        assert_eq!(candles.fill(&fill(1..=2, (0, 3 * MINUTE_MS), 9 * MINUTE_MS)), 2);
        assert_eq!(candles.changes(&mark).unwrap().0.closed.len(), 2);
    }
}
