use std::collections::{BTreeMap, VecDeque};

use crate::price::{Candle, Interval, Price};

/// Which candles are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// Those that begin at this time or later, in ms since the Unix epoch.
    pub from_ms: u64,
    /// Those that begin at this time or earlier.
    pub to_ms: u64,
    /// So many at most: the newest of them.
    pub limit: usize,
}

impl Range {
    /// The latest so many.
    pub fn latest(limit: usize) -> Self {
        Self { from_ms: 0, to_ms: u64::MAX, limit }
    }
}

/// The closed candles of one symbol and interval, oldest first, but for those of intervals in which nothing came.
#[derive(Clone, Debug)]
pub(super) struct Ring {
    interval: Interval,
    /// How many are held, the running one included.
    kept: usize,
    candles: VecDeque<Candle>,
    /// The last one that was let go of: when it began, and its close.
    before: Option<(u64, Price)>,
}

impl Ring {
    pub(super) fn new(interval: Interval, kept: usize) -> Self {
        Self { interval, kept: kept.max(1), candles: VecDeque::new(), before: None }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.candles.len()
    }

    /// How many are held at most, the running one included.
    pub(super) fn kept(&self) -> usize {
        self.kept
    }

    /// When the oldest begins that is held while the one at `last_ms` is the last.
    pub(super) fn oldest_ms(&self, last_ms: u64) -> u64 {
        let oldest_ms = last_ms.saturating_sub((self.kept as u64 - 1).saturating_mul(self.interval.ms()));
        // What an island let go of does not come back.
        self.before.map_or(oldest_ms, |(ts_ms, _)| oldest_ms.max(ts_ms + self.interval.ms()))
    }

    /// Takes a candle that has closed, because one that begins at `running_ms` runs now.
    pub(super) fn push(&mut self, closed: Candle, running_ms: u64) {
        self.make_room();
        self.candles.push_back(closed);
        self.let_go(running_ms);
    }

    fn let_go(&mut self, running_ms: u64) {
        let oldest_ms = self.oldest_ms(running_ms);
        while let Some(first) = self.candles.front()
            && first.ts_ms < oldest_ms
        {
            // What is filled in later may be older than what was let go of.
            if self.before.is_none_or(|(ts_ms, _)| ts_ms <= first.ts_ms) {
                self.before = Some((first.ts_ms, first.close));
            }
            self.candles.pop_front();
        }
    }

    /// Grows by a quarter: a doubled buffer would hold up to twice of what is kept.
    fn make_room(&mut self) {
        let len = self.candles.len();
        if len == self.candles.capacity() {
            self.candles.reserve_exact((len / 4).clamp(4, (self.kept - len.min(self.kept - 1)).max(4)));
        }
    }

    /// A late tick: false where the candle that it belongs to is not held.
    pub(super) fn amend(&mut self, start_ms: u64, price: Price, size: Price, n: u64, running_ms: u64) -> bool {
        if start_ms < self.oldest_ms(running_ms) {
            return false;
        }
        let place = self.candles.partition_point(|candle| candle.ts_ms < start_ms);
        if self.candles.get(place).is_none_or(|candle| candle.ts_ms != start_ms) {
            // Before everything that is known there is no price that held on.
            let close = self.close_before(start_ms).unwrap_or(price);
            self.make_room();
            self.candles.insert(place, Candle::quiet(start_ms, close));
        }
        let candle = &mut self.candles[place];
        candle.high = candle.high.max(price);
        candle.low = candle.low.min(price);
        candle.volume = super::add(candle.volume, size);
        candle.n += n;
        true
    }

    /// Those that begin at `from_ms` or later.
    pub(super) fn since(&self, from_ms: u64) -> impl Iterator<Item = &Candle> {
        self.candles.range(self.candles.partition_point(|candle| candle.ts_ms < from_ms)..)
    }

    /// The one that begins at `ts_ms`.
    pub(super) fn at(&self, ts_ms: u64) -> Option<&Candle> {
        self.candles.binary_search_by_key(&ts_ms, |candle| candle.ts_ms).ok().and_then(|place| self.candles.get(place))
    }

    /// The last one that was let go of, if it began at `from_ms` or later: of it only its close is known.
    pub(super) fn let_go_since(&self, from_ms: u64) -> Option<Candle> {
        self.before.filter(|(ts_ms, _)| *ts_ms >= from_ms).map(|(ts_ms, close)| Candle::quiet(ts_ms, close))
    }

    /// The last price before the interval at `ts_ms`; none where that is not known.
    pub(super) fn close_before(&self, ts_ms: u64) -> Option<Price> {
        let place = self.candles.partition_point(|candle| candle.ts_ms < ts_ms);
        place.checked_sub(1).map(|before| self.candles[before].close).or(self.before.map(|(_, close)| close))
    }

    /// Lets go of those that begin at `from_ms` or later. `close` is the last price before that, as it was known then.
    pub(super) fn cut(&mut self, from_ms: u64, close: Option<Price>) {
        self.candles.truncate(self.candles.partition_point(|candle| candle.ts_ms < from_ms));
        if self.before.is_some_and(|(ts_ms, _)| ts_ms >= from_ms) {
            // All that was held has been let go of meanwhile, and does not come back.
            self.before = close.map(|close| (from_ms.saturating_sub(self.interval.ms()), close));
        }
    }

    /// Takes closed candles, in place of those that are held at their times.
    pub(super) fn replace(&mut self, candles: impl IntoIterator<Item = Candle>, running_ms: u64) {
        let held = std::mem::take(&mut self.candles).into_iter().chain(candles);
        let all: BTreeMap<u64, Candle> = held.map(|candle| (candle.ts_ms, candle)).collect();
        for candle in all.into_values() {
            self.push(candle, running_ms);
        }
    }

    /// When the first begins that can be read while the one at `last_ms` is the last.
    pub(super) fn first_ms(&self, running: &Candle, last_ms: u64) -> u64 {
        let oldest_ms = self.oldest_ms(last_ms);
        match (self.before, self.candles.front()) {
            (Some(_), _) => oldest_ms,
            (None, first) => oldest_ms.max(first.unwrap_or(running).ts_ms),
        }
    }

    /// The candles of `range`, with the one that runs, and with those of quiet intervals up to `now_ms`.
    pub(super) fn read(&self, running: Candle, range: Range, now_ms: u64) -> Vec<Candle> {
        let step = self.interval.ms();
        let last_ms = running.ts_ms.max(self.interval.start_of(now_ms));
        let first_ms = self.first_ms(&running, last_ms);
        let from_ms = range.from_ms.div_ceil(step).saturating_mul(step).max(first_ms);
        let to_ms = self.interval.start_of(range.to_ms).min(last_ms);
        if from_ms > to_ms || range.limit == 0 {
            return Vec::new();
        }
        let count = usize::try_from((to_ms - from_ms) / step + 1).unwrap_or(usize::MAX).min(range.limit);
        let from_ms = to_ms - (count as u64 - 1) * step;

        let mut close = self.close_before(from_ms).unwrap_or(running.open);
        if from_ms > running.ts_ms {
            close = running.close;
        }
        let mut held = self.since(from_ms).chain([&running]).skip_while(|candle| candle.ts_ms < from_ms).peekable();
        (0..count as u64)
            .map(|place| {
                let ts_ms = from_ms + place * step;
                let candle = held.next_if(|candle| candle.ts_ms == ts_ms).copied();
                let candle = candle.unwrap_or_else(|| Candle::quiet(ts_ms, close));
                close = candle.close;
                candle
            })
            .collect()
    }
}
