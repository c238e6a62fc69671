use super::Candles;
use crate::price::{Candle, Fill, Interval};

/// What became of candles of the past.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filled {
    /// They are in the candles, or wait for a tick that reaches them.
    pub taken: usize,
    /// There is no place for them: they are older than what is held, more than may wait, or no candle begins then.
    pub passed_over: usize,
}

impl Candles {
    /// Takes candles that a source has of a time in which nobody listened to it. They win where that time reaches into them,
    /// and nowhere else: what was seen whole here stays.
    ///
    /// - One that had ended when it was asked for takes the place of ours.
    /// - One that was still running then is joined with ours: it has the open where nobody listened to its beginning, both
    ///   have the high and the low, ours has the close, and volume and `n` are the larger of the two, since the one is of all
    ///   trades up to some time, and the other of some, up to now.
    /// - One that is later than what runs here waits for a tick that reaches it: then it is taken as above. On an island none
    ///   waits, and none takes the place of what was closed before.
    ///
    /// The same again changes nothing, and all replicas take it at the same place in the log, or one entry of ticks later.
    pub fn fill(&mut self, fill: &Fill) -> Filled {
        let Fill { interval, unseen_ms: (from_ms, to_ms), .. } = *fill;
        let of = interval.index();
        let running_ms = self.running.as_ref().map(|running| running.candles[of].ts_ms);
        let is_alone = self.ashore.is_some();
        let known_ms = self.ashore.iter().flatten().map(|known| known.running.candles[of].ts_ms).next().unwrap_or(0);
        let mut filled = Filled::default();
        let (mut due, mut ahead) = (Vec::new(), Vec::new());
        for candle in &fill.candles {
            let ts_ms = candle.ts_ms;
            let is_unseen = ts_ms < to_ms && ts_ms.saturating_add(interval.ms()) > from_ms;
            if !is_unseen {
                continue;
            }
            let is_reached = running_ms.is_some_and(|running_ms| ts_ms <= running_ms);
            if ts_ms != interval.start_of(ts_ms) || ts_ms < known_ms || (is_alone && !is_reached) {
                filled.passed_over += 1;
            } else if is_reached {
                due.push(*candle);
            } else {
                ahead.push(*candle);
            }
        }
        filled.taken = due.len() + ahead.len();
        let lost = self.put(fill, &due) + self.wait(Fill { candles: ahead, symbol: fill.symbol.clone(), ..*fill });
        Filled { taken: filled.taken - lost, passed_over: filled.passed_over + lost }
    }

    /// Takes those that waited for a tick that has come.
    pub(super) fn fill_reached(&mut self) {
        let Some(running) = self.running.as_ref().filter(|_| self.ashore.is_none()) else { return };
        let is_reached = |fill: &Fill| {
            let running_ms = running.candles[fill.interval.index()].ts_ms;
            fill.candles.iter().any(|candle| candle.ts_ms <= running_ms)
        };
        if self.waiting.iter().any(is_reached) {
            for fill in std::mem::take(&mut self.waiting) {
                self.fill(&fill);
            }
        }
    }

    /// Puts them in the place of ours, and returns how many of them are older than what is held.
    fn put(&mut self, fill: &Fill, candles: &[Candle]) -> usize {
        let Some(running) = self.running.as_mut().filter(|_| !candles.is_empty()) else { return 0 };
        running.settle();
        let Fill { interval, unseen_ms: (from_ms, _), settled_ms, .. } = *fill;
        let ring = &mut self.rings[interval.index()];
        let own = &mut running.candles[interval.index()];
        let mut closed = Vec::with_capacity(candles.len());
        for theirs in candles {
            let Candle { ts_ms, .. } = *theirs;
            let is_whole = ts_ms.saturating_add(interval.ms()) <= settled_ms;
            let ours = if ts_ms == own.ts_ms { Some(*own) } else { ring.at(ts_ms).copied() };
            let candle = match ours {
                Some(ours) if !is_whole => joined(ours, theirs, ts_ms > from_ms || from_ms == 0),
                _ => *theirs,
            };
            if ts_ms == own.ts_ms {
                *own = candle;
            } else {
                closed.push(candle);
            }
        }
        let oldest_ms = ring.oldest_ms(own.ts_ms);
        let lost = closed.iter().filter(|candle| candle.ts_ms < oldest_ms).count();
        ring.replace(closed, own.ts_ms);
        running.taken = (running.candles[Interval::S1.index()].volume, running.candles[Interval::S1.index()].n);
        // Whoever stores them stores all again.
        self.amended.forget();
        self.folded += 1;
        lost
    }

    /// Keeps them until a tick reaches them, and returns how many do not wait any more, because that would be more than are
    /// held of their interval: those that came first.
    fn wait(&mut self, fill: Fill) -> usize {
        let interval = fill.interval;
        if fill.candles.is_empty() || self.waiting.contains(&fill) {
            return 0;
        }
        self.waiting.push(fill);
        let mut of_these: Vec<_> = self.waiting.iter_mut().filter(|fill| fill.interval == interval).collect();
        let count: usize = of_these.iter().map(|fill| fill.candles.len()).sum();
        let lost = count.saturating_sub(self.rings[interval.index()].kept());
        let mut left = lost;
        for fill in &mut of_these {
            left -= fill.candles.drain(..left.min(fill.candles.len())).len();
        }
        self.waiting.retain(|fill| !fill.candles.is_empty());
        lost
    }
}

fn joined(ours: Candle, theirs: &Candle, begins_unseen: bool) -> Candle {
    Candle {
        open: if begins_unseen { theirs.open } else { ours.open },
        high: ours.high.max(theirs.high),
        low: ours.low.min(theirs.low),
        volume: ours.volume.max(theirs.volume),
        n: ours.n.max(theirs.n),
        ..ours
    }
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

    fn taken(taken: usize) -> Filled {
        Filled { taken, passed_over: 0 }
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
        assert_eq!(candles.fill(&fill), taken(3));
        assert_eq!(shown(&candles), filled);
        assert_eq!(candles.fill(&fill), taken(3));
        assert_eq!(shown(&candles), filled, "the same again changes nothing");
    }

    #[test]
    fn what_still_runs_is_joined_here_and_there() {
        let first_ms = 5 * MINUTE_MS + 30_000;
        let mut here = candles(&[(1, first_ms, 50)]);
        assert_eq!(here.fill(&fill(5..=5, (0, first_ms), 5 * MINUTE_MS)), taken(1));
        assert_eq!(shown(&here), [[5, 55, 57, 47, 50, 9]]);
        here.fold(&Epoch::new("a"), &tick(2, first_ms + 1, 99));
        assert_eq!(shown(&here), [[5, 55, 99, 47, 99, 10]], "and goes on");

        // It was running there, and is closed here by now.
        let mut there = candles(&[(1, first_ms, 50), (2, 6 * MINUTE_MS, 60)]);
        assert_eq!(there.fill(&fill(5..=5, (0, first_ms), 5 * MINUTE_MS + 40_000)), taken(1));
        assert_eq!(shown(&there), [[5, 55, 57, 47, 50, 9], [6, 60, 60, 60, 60, 1]]);
    }

    #[test]
    fn a_gap_is_the_sources_and_what_is_before_and_after_it_ours() {
        let (from_ms, to_ms) = (3 * MINUTE_MS + 20_000, 6 * MINUTE_MS + 20_000);
        let mut candles = candles(&[(1, 2 * MINUTE_MS, 20), (2, from_ms, 30), (3, to_ms, 60), (4, 7 * MINUTE_MS, 70)]);
        assert_eq!(candles.fill(&fill(1..=7, (from_ms, to_ms), 7 * MINUTE_MS)), taken(4));
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
        assert_eq!(candles.fill(&fill(7..=7, (from_ms, to_ms), 7 * MINUTE_MS)), taken(1));
        assert_eq!(shown(&candles)[5], [7, 70, 77, 67, 71, 9]);
    }

    #[test]
    fn what_no_tick_has_reached_waits_for_one() {
        // Nobody has said a price of it yet.
        let first_ms = 7 * MINUTE_MS + 1000;
        let mut late = candles(&[]);
        let (long, short) = (fill(1..=7, (0, first_ms), 9 * MINUTE_MS), fill(3..=3, (0, first_ms), 9 * MINUTE_MS));
        assert_eq!((late.fill(&long), late.fill(&long), late.fill(&short)), (taken(7), taken(7), taken(1)));
        assert_eq!((late.held(), shown(&late).len(), late.changes(&Mark::default())), (8, 0, None));
        late.fold(&Epoch::new("a"), &tick(1, first_ms, 70));
        // As if they had come with it.
        let mut early = candles(&[(1, first_ms, 70)]);
        early.fill(&long);
        assert_eq!(shown(&late), shown(&early));
        assert_eq!((shown(&late).len(), late.held()), (7, early.held()));

        // It has ticks of before, and the source is ahead of them.
        let mut behind = candles(&[(1, 3 * MINUTE_MS, 30)]);
        let gap = fill(3..=7, (3 * MINUTE_MS, 8 * MINUTE_MS), 9 * MINUTE_MS);
        assert_eq!(behind.fill(&gap), taken(5));
        assert_eq!(shown(&behind), [[3, 35, 37, 27, 32, 9]]);
        behind.fold(&Epoch::new("a"), &tick(2, 5 * MINUTE_MS + 1, 50));
        assert_eq!(shown(&behind).len(), 3, "as far as it has come");
        behind.fold(&Epoch::new("a"), &tick(3, 8 * MINUTE_MS, 80));
        let read = shown(&behind);
        assert_eq!((read[4], read[5]), ([7, 75, 77, 67, 72, 9], [8, 80, 80, 80, 80, 1]));
        assert!(behind.waiting.is_empty());
    }

    #[test]
    fn what_has_no_place_is_counted_and_all_is_stored_again() {
        let far_ms = 999 * MINUTE_MS;
        let counted = |taken, passed_over| Filled { taken, passed_over };
        // 99 are held.
        assert_eq!(candles(&[(1, 200 * MINUTE_MS, 1)]).fill(&fill(100..=200, (0, far_ms), 0)), counted(99, 2));
        let mut none = candles(&[]);
        assert_eq!(none.fill(&fill(1..=60, (0, far_ms), 0)), taken(60));
        assert_eq!(none.fill(&fill(61..=100, (0, far_ms), 0)), counted(39, 1));
        assert_eq!(none.held(), 99);

        let mut candles = candles(&[(1, 3 * MINUTE_MS, 30)]);
        let (_, mark) = candles.changes(&Mark::default()).unwrap();
        assert!(candles.changes(&mark).is_none());
        let mut odd = fill(2..=2, (0, 9 * MINUTE_MS), 0);
        odd.candles[0].ts_ms += 1;
        assert_eq!(candles.fill(&odd), counted(0, 1), "no minute begins then");
        assert_eq!(
            candles.fill(&fill(1..=2, (3 * MINUTE_MS, far_ms), 0)),
            counted(0, 0),
            "what was heard is none of it"
        );
        assert!(candles.changes(&mark).is_none());
        assert_eq!(candles.fill(&fill(1..=2, (0, 3 * MINUTE_MS), 9 * MINUTE_MS)), taken(2));
        assert_eq!(candles.changes(&mark).unwrap().0.closed.len(), 2);
    }

    #[test]
    fn an_island_takes_nothing_that_it_could_not_give_back() {
        let mut candles = candles(&[(1, 2 * MINUTE_MS, 20), (2, 4 * MINUTE_MS, 40)]);
        let before = shown(&candles);
        candles.go_alone();
        candles.fold(&Epoch::new("island"), &tick(9, 6 * MINUTE_MS, 60));
        let filled = candles.fill(&fill(1..=8, (0, 9 * MINUTE_MS), 9 * MINUTE_MS));
        assert_eq!(filled, Filled { taken: 3, passed_over: 5 });
        candles.come_back();
        assert_eq!(shown(&candles), before);
    }

    #[test]
    fn it_does_not_matter_whether_a_later_tick_has_come_before_it() {
        let (first_ms, next) = (5 * MINUTE_MS + 30_000, tick(2, 6 * MINUTE_MS, 60));
        for settled_ms in [5 * MINUTE_MS, 6 * MINUTE_MS] {
            let fill = fill(4..=5, (0, first_ms), settled_ms);
            let (mut here, mut there) = (candles(&[(1, first_ms, 50)]), candles(&[(1, first_ms, 50)]));
            here.fill(&fill);
            here.fold(&Epoch::new("a"), &next);
            there.fold(&Epoch::new("a"), &next);
            there.fill(&fill);
            assert_eq!(shown(&here), shown(&there), "{settled_ms}");
        }
    }
}
