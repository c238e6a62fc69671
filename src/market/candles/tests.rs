//! Candles against a fold that keeps everything and knows no shortcuts.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::price::{Day, Update};

/// Small enough for a test to run over, but for those that a day is made of.
const KEPT: Kept = Kept([7, 1500, 5, 110, 4, 3]);

fn epoch(name: &str) -> Epoch {
    Epoch::new(name)
}

fn tick(seq: u64, ts_ms: u64, price: i64, size: Option<i64>) -> Tick {
    let size = size.map(|size| Price::new(size, 3));
    let update =
        Update { symbol: "BTC".parse().unwrap(), price: Price::new(price, 2), ts_ms, bid: None, ask: None, size };
    Tick { seq, update }
}

/// Every tick of one interval, by when its candle begins.
struct Naive {
    interval: Interval,
    kept: u64,
    candles: BTreeMap<u64, Candle>,
    /// When the running one begins.
    running_ms: u64,
}

impl Naive {
    fn new(interval: Interval) -> Self {
        let kept = KEPT.0[interval.index()] as u64;
        Self { interval, kept, candles: BTreeMap::new(), running_ms: 0 }
    }

    fn oldest_ms(&self, last_ms: u64) -> u64 {
        last_ms.saturating_sub((self.kept - 1) * self.interval.ms())
    }

    fn price_before(&self, ts_ms: u64) -> Option<Price> {
        self.candles.range(..ts_ms).next_back().map(|(_, candle)| candle.close)
    }

    /// False where it is too late.
    fn fold(&mut self, tick: &Tick) -> bool {
        let Update { ts_ms, price, size, .. } = &tick.update;
        let start_ms = *ts_ms / self.interval.ms() * self.interval.ms();
        let is_late = !self.candles.is_empty() && start_ms < self.running_ms;
        if is_late && start_ms < self.oldest_ms(self.running_ms) {
            return false;
        }
        let before = self.price_before(start_ms);
        self.running_ms = self.running_ms.max(start_ms);
        let new = Candle::quiet(start_ms, if is_late { before.unwrap_or(*price) } else { *price });
        let candle = self.candles.entry(start_ms).or_insert(new);
        candle.high = candle.high.max(*price);
        candle.low = candle.low.min(*price);
        candle.volume += size.unwrap_or_default();
        candle.n += 1;
        if !is_late {
            candle.close = *price;
        }
        true
    }

    fn read(&self, range: Range, now_ms: u64) -> Vec<Candle> {
        let Some((&first_ms, _)) = self.candles.iter().next() else { return Vec::new() };
        let step = self.interval.ms();
        let last_ms = self.running_ms.max(now_ms / step * step);
        let mut ts_ms = first_ms.max(self.oldest_ms(last_ms));
        let mut all = Vec::new();
        while ts_ms <= last_ms {
            let quiet = || Candle::quiet(ts_ms, self.price_before(ts_ms).unwrap());
            all.push(self.candles.get(&ts_ms).copied().unwrap_or_else(quiet));
            ts_ms += step;
        }
        all.retain(|candle| (range.from_ms..=range.to_ms).contains(&candle.ts_ms));
        all.split_off(all.len().saturating_sub(range.limit))
    }
}

/// Times that mostly go on, stand still often, jump at times, and go back.
fn times() -> impl Strategy<Value = Vec<u64>> {
    let step = prop_oneof![
        8 => 0i64..700,
        3 => Just(0i64),
        3 => 900i64..1100,
        2 => 10_000i64..90_000,
        1 => 200_000i64..5_000_000,
        3 => -3_000i64..0,
        1 => -400_000i64..0,
    ];
    (0u64..200_000_000, prop::collection::vec(step, 1..250)).prop_map(|(begin, steps)| {
        let mut at = begin as i64;
        steps
            .into_iter()
            .map(|step| {
                at = (at + step).max(0);
                at as u64
            })
            .collect()
    })
}

fn ticks() -> impl Strategy<Value = Vec<Tick>> {
    times().prop_flat_map(|times| {
        let count = times.len();
        let price = 100i64..140;
        let size = prop::option::of(0i64..5_000);
        prop::collection::vec((price, size), count).prop_map(move |said| {
            let of = |(index, (&ts_ms, &(price, size))): (usize, (&u64, &(i64, Option<i64>)))| {
                tick(index as u64 + 1, ts_ms, price, size)
            };
            times.iter().zip(&said).enumerate().map(of).collect()
        })
    })
}

/// Takes them all, and says how many each interval left out.
fn fold(candles: &mut Candles, naive: &mut [Naive], ticks: &[Tick]) -> (usize, usize) {
    let (mut too_late, mut naively) = (0, 0);
    for tick in ticks {
        match candles.fold(&epoch("a"), tick) {
            Folded::TooLate(intervals) => too_late += intervals,
            Folded::Counted => {}
            Folded::Known => panic!("{tick:?} is news"),
        }
        naively += naive.iter_mut().map(|naive| usize::from(!naive.fold(tick))).sum::<usize>();
    }
    (too_late, naively)
}

fn naive() -> Vec<Naive> {
    Interval::ALL.into_iter().map(Naive::new).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn are_what_a_naive_fold_makes(
        ticks in ticks(),
        later_ms in prop_oneof![Just(0u64), 0u64..3_000, 0u64..10_000_000],
        from_ms in 0u64..400_000_000,
        to_ms in prop_oneof![Just(u64::MAX), 0u64..400_000_000],
        limit in prop_oneof![Just(usize::MAX), 0usize..10],
    ) {
        let (mut candles, mut naive) = (Candles::new(&KEPT), naive());
        let (too_late, naively) = fold(&mut candles, &mut naive, &ticks);
        prop_assert_eq!(too_late, naively);
        let now_ms = ticks.last().unwrap().update.ts_ms + later_ms;
        for naive in &naive {
            for range in [Range::latest(usize::MAX), Range::latest(limit), Range { from_ms, to_ms, limit }] {
                let read = candles.read(naive.interval, range, now_ms);
                prop_assert_eq!(&read, &naive.read(range, now_ms), "{} {:?}", naive.interval, range);
                prop_assert!(read.len() <= KEPT.0[naive.interval.index()]);
            }
            let ring = &candles.rings[naive.interval.index()];
            prop_assert!(ring.len() < KEPT.0[naive.interval.index()]);
        }
    }

    #[test]
    fn a_day_is_what_its_minutes_come_to(ticks in ticks(), later_ms in prop_oneof![0u64..100_000, 0u64..200_000_000]) {
        let (mut candles, mut naive) = (Candles::new(&KEPT), naive());
        fold(&mut candles, &mut naive, &ticks);
        let now_ms = ticks.last().unwrap().update.ts_ms + later_ms;
        let from_ms = (now_ms / 60_000 * 60_000).saturating_sub(86_400_000);
        let range = Range { from_ms, to_ms: u64::MAX, limit: usize::MAX };
        let minutes = naive[Interval::M1.index()].read(range, now_ms);
        let open = minutes[0].open;
        let high = minutes.iter().map(|minute| minute.high).max().unwrap();
        let low = minutes.iter().map(|minute| minute.low).min().unwrap();
        let volume = minutes.iter().map(|minute| minute.volume).sum();
        prop_assert_eq!(candles.day(now_ms), Some(Day { open, high, low, volume }));
    }

    #[test]
    fn what_was_stored_is_what_is_restored(ticks in ticks(), at in prop::collection::vec(any::<prop::sample::Index>(), 0..4)) {
        // Stored in pieces, and restored at the end: as if nothing had happened.
        let mut at: Vec<usize> = at.iter().map(|at| at.index(ticks.len())).collect();
        at.push(ticks.len() - 1);
        let mut candles = Candles::new(&KEPT);
        let (mut mark, mut stored, mut last) = (Mark::default(), BTreeMap::new(), None);
        for (index, tick) in ticks.iter().enumerate() {
            candles.fold(&epoch("a"), tick);
            if at.contains(&index) {
                let (mut saved, next) = candles.changes(&mark).unwrap();
                prop_assert_eq!(candles.changes(&next), None, "nothing has changed since");
                mark = next;
                stored.extend(saved.closed.drain(..).map(|(interval, candle)| ((interval, candle.ts_ms), candle)));
                last = Some(saved);
            }
        }
        let closed = stored.into_iter().map(|((interval, _), candle)| (interval, candle)).collect();
        let mut restored = Candles::new(&KEPT);
        let is_restored = restored.restore(Saved { closed, ..last.unwrap() });
        prop_assert!(is_restored);
        for tick in &ticks {
            prop_assert_eq!(restored.fold(&epoch("a"), tick), Folded::Known);
        }
        let now_ms = ticks.last().unwrap().update.ts_ms;
        let next = tick(ticks.len() as u64 + 1, now_ms + 100, 120, Some(7));
        for candles in [&mut candles, &mut restored] {
            candles.fold(&epoch("a"), &next);
        }
        for interval in Interval::ALL {
            let read = |candles: &Candles| candles.read(interval, Range::latest(usize::MAX), now_ms);
            // Of what came before the oldest that was stored nothing is known: a quiet one at its place is not there.
            let (read, whole) = (read(&restored), read(&candles));
            prop_assert!(whole.ends_with(&read), "{interval}: {read:?} of {whole:?}");
            let first = whole.iter().position(|candle| candle.n > 0).unwrap();
            prop_assert!(read.len() >= whole.len() - first, "{interval}");
        }
    }

    #[test]
    fn an_island_leaves_nothing_behind(ticks in ticks(), alone in ticks(), after in ticks()) {
        let renumbered = |ticks: &[Tick], first: u64| -> Vec<Tick> {
            ticks.iter().enumerate().map(|(index, tick)| Tick { seq: first + index as u64, ..tick.clone() }).collect()
        };
        let after = renumbered(&after, ticks.len() as u64 + 1);
        let (mut whole, mut island) = (Candles::new(&KEPT), Candles::new(&KEPT));
        for tick in &ticks {
            whole.fold(&epoch("a"), tick);
            island.fold(&epoch("a"), tick);
        }
        island.go_alone();
        for tick in &alone {
            island.fold(&epoch("island"), tick);
        }
        prop_assert_eq!(island.changes(&Mark::default()), None, "nobody else has these");
        island.come_back();
        prop_assert_eq!(island.position(), whole.position());
        for tick in &after {
            whole.fold(&epoch("a"), tick);
            island.fold(&epoch("a"), tick);
        }
        let now_ms = after.last().unwrap().update.ts_ms;
        for interval in Interval::ALL {
            // What was old is not held any more where the island lasted.
            let read = |candles: &Candles| candles.read(interval, Range::latest(usize::MAX), now_ms);
            let (back, whole) = (read(&island), read(&whole));
            prop_assert!(whole.ends_with(&back), "{interval}: {back:?} of {whole:?}");
            prop_assert!(!back.is_empty());
        }
    }
}

fn prices(candle: &Candle) -> [i64; 4] {
    [candle.open, candle.high, candle.low, candle.close].map(|price| (price * Price::from(100)).try_into().unwrap())
}

#[test]
fn an_end_belongs_to_the_next() {
    let mut candles = Candles::new(&KEPT);
    for (seq, ts_ms, price) in [(1, 60_000, 5), (2, 119_999, 9), (3, 120_000, 7)] {
        candles.fold(&epoch("a"), &tick(seq, ts_ms, price, Some(1)));
    }
    let read = candles.read(Interval::M1, Range::latest(9), 120_000);
    let read: Vec<_> = read.iter().map(|candle| (candle.ts_ms, prices(candle), candle.n)).collect();
    assert_eq!(read, [(60_000, [5, 9, 5, 9], 2), (120_000, [7, 7, 7, 7], 1)]);
}

#[test]
fn updates_that_were_lost_count_where_the_next_one_does() {
    let mut candles = Candles::new(&KEPT);
    candles.fold(&epoch("a"), &tick(10, 1000, 5, None));
    candles.fold(&epoch("a"), &tick(14, 1500, 5, None));
    for interval in Interval::ALL {
        assert_eq!(candles.running(interval).unwrap().n, 5, "{interval}");
    }
}

#[test]
fn what_is_said_again_under_a_new_epoch_is_not_folded_twice() {
    let mut candles = Candles::new(&KEPT);
    candles.fold(&epoch("a"), &tick(10, 1000, 5, Some(3)));
    assert_eq!(candles.fold(&epoch("a"), &tick(10, 1000, 5, Some(3))), Folded::Known);
    assert_eq!(candles.fold(&epoch("b"), &tick(90, 1000, 5, Some(3))), Folded::Known);
    // An older Redis, which has lost what came since.
    assert_eq!(candles.fold(&epoch("c"), &tick(95, 900, 4, Some(3))), Folded::Known);
    assert_eq!(candles.running(Interval::D1).unwrap().n, 1);
    // From then on everything counts again, also in the same ms, also late.
    assert_eq!(candles.fold(&epoch("c"), &tick(96, 1000, 6, Some(3))), Folded::Counted);
    assert_eq!(
        candles.fold(&epoch("d"), &tick(97, 1001, 7, None)),
        Folded::Counted,
        "said again, but not heard before"
    );
    let running = candles.running(Interval::D1).unwrap();
    assert_eq!((prices(&running), running.n, running.volume), ([5, 7, 5, 7], 3, Price::new(6, 3)));
}
