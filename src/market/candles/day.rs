use super::Candles;
use crate::price::{Day, Interval, Price};

/// What a [`Day`] was made of: while this stays the same, so does the day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DayOf {
    folded: u64,
    minute_ms: u64,
}

impl Candles {
    /// What a day at this time is made of.
    pub fn day_of(&self, now_ms: u64) -> DayOf {
        DayOf { folded: self.folded, minute_ms: Interval::M1.start_of(now_ms) }
    }

    /// The 24 hours before the minute that `now_ms` is in, and that minute: what the candles of these minutes come to. None
    /// before the first tick. Without a volume where no tick of the running day and the day before it said a size.
    ///
    /// The minutes of the first quarter of an hour are looked at one by one, then whole quarters: about a hundred steps.
    pub fn day(&self, now_ms: u64) -> Option<Day> {
        let running = self.running.as_ref()?;
        let (minutes, quarters) = (&self.rings[Interval::M1.index()], &self.rings[Interval::M15.index()]);
        let from_ms = Interval::M1.start_of(now_ms).saturating_sub(Interval::D1.ms());
        let whole_ms = Interval::M15.start_of(from_ms) + Interval::M15.ms();
        let (minute, quarter) = (running.candle(Interval::M1), running.candle(Interval::M15));

        let first = minutes.since(from_ms).chain([&minute]).find(|candle| candle.ts_ms >= from_ms);
        // Where nothing came in its first minute, the price before it holds on.
        let before = if from_ms > minute.ts_ms { Some(minute.close) } else { minutes.close_before(from_ms) };
        let open =
            first.filter(|first| first.ts_ms == from_ms || before.is_none()).map(|first| first.open).or(before)?;

        let minutes = minutes.since(from_ms).chain([&minute]).take_while(|candle| candle.ts_ms < whole_ms);
        let quarters = quarters.since(whole_ms).chain([&quarter]).filter(|candle| candle.ts_ms >= whole_ms);
        let mut day = Day { open, high: open, low: open, volume: Price::ZERO };
        for candle in minutes.filter(|candle| candle.ts_ms >= from_ms).chain(quarters) {
            day.high = day.high.max(candle.high);
            day.low = day.low.min(candle.low);
            day.volume = super::add(day.volume, candle.volume);
        }
        if running.sized() == [false; 2] {
            day.volume = Price::ZERO;
        }
        Some(day)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Candles, Kept, Mark, Saved};
    use crate::price::{Candle, Epoch, Fill, Interval, Price, Tick, Update};

    const MINUTE_MS: u64 = 60_000;
    const HOUR_MS: u64 = 60 * MINUTE_MS;

    fn fold(candles: &mut Candles, ts_ms: u64, size: Option<u32>) {
        let (symbol, size) = ("BTC".parse().unwrap(), size.map(Price::from));
        let update = Update { symbol, price: Price::from(5u32), ts_ms, bid: None, ask: None, size };
        candles.fold(&Epoch::new("a"), &Tick { seq: ts_ms, update });
    }

    /// A day of the past in which a minute has a volume of 1, of a source whose first tick says this size.
    fn filled(first_ms: u64, size: Option<u32>) -> Candles {
        let mut candles = Candles::new(&Kept::default());
        fold(&mut candles, first_ms, size);
        for (interval, minutes) in [(Interval::M15, 15u32), (Interval::M1, 1)] {
            let last = interval.start_of(first_ms);
            let past = (0..1440 / u64::from(minutes)).rev().map(|before| Candle {
                volume: Price::from(minutes),
                n: 1,
                ..Candle::quiet(last - before * interval.ms(), Price::from(5u32))
            });
            let fill = Fill {
                symbol: "BTC".parse().unwrap(),
                interval,
                unseen_ms: (0, first_ms),
                settled_ms: first_ms,
                candles: past.collect(),
            };
            candles.fill(&fill);
        }
        candles
    }

    #[test]
    fn the_volume_of_the_past_is_none_of_a_source_that_says_no_sizes() {
        let first_ms = 50 * HOUR_MS;
        let mut without = filled(first_ms, None);
        let mut sized = filled(first_ms, Some(1));
        for hour in 0..26 {
            let now_ms = first_ms + hour * HOUR_MS + 1;
            fold(&mut without, now_ms, None);
            fold(&mut sized, now_ms, Some(1));
            assert_eq!(without.day(now_ms).unwrap().volume, Price::ZERO, "{hour}");
            assert!(sized.day(now_ms).unwrap().volume > Price::from(20u32), "{hour}");
        }
    }

    #[test]
    fn it_is_known_after_a_restart_and_for_a_day_after_the_last_size() {
        let first_ms = 50 * HOUR_MS;
        let is_said = |candles: &Candles| candles.running.as_ref().unwrap().sized();
        let restored = |candles: &Candles| {
            let record = candles.changes(&Mark::default()).unwrap().0.encode();
            let mut restored = Candles::new(&Kept::default());
            restored.restore(Saved::decode(&record).unwrap());
            restored
        };
        let mut candles = filled(first_ms, None);
        assert_eq!(is_said(&restored(&candles)), [false, false]);
        // In the running second, which longer candles have not taken over yet.
        fold(&mut candles, first_ms + 1, Some(3));
        assert_eq!((is_said(&candles), is_said(&restored(&candles))), ([true, false], [true, false]));
        fold(&mut candles, first_ms + 24 * HOUR_MS, None);
        assert_eq!((is_said(&candles), is_said(&restored(&candles))), ([false, true], [false, true]));
        fold(&mut candles, first_ms + 48 * HOUR_MS, None);
        assert_eq!(is_said(&candles), [false, false]);
    }
}
