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
    /// before the first tick.
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
        Some(day)
    }
}
