//! What is stored of candles, and how it is put in again.

use std::collections::VecDeque;

use super::{Candles, Left, Running};
use crate::price::{Candle, Epoch, Interval};

/// Up to where somebody has stored the candles of a symbol: see [`Candles::changes`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// The running candles of that time: these and later ones are to be stored again, by [`Interval::index`].
    from_ms: [u64; Interval::COUNT],
    /// How many candles had been amended.
    amended: u64,
    /// How many ticks had been folded in.
    folded: u64,
}

/// What is to be stored of a symbol's candles, and what they are restored from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    /// The numbering of `seq`.
    pub epoch: Epoch,
    /// The last tick that is folded in: this one and those before it in `epoch` are not folded in again.
    pub seq: u64,
    /// The latest source's time of a tick that is folded in, in ms since the Unix epoch.
    pub last_ms: u64,
    /// Whether a tick of the running day, and of the day before it, said a size.
    pub sized: [bool; 2],
    /// The running candle of each interval, by [`Interval::index`].
    pub running: [Candle; Interval::COUNT],
    /// Closed candles, in any order; those of intervals in which nothing came are left out.
    pub closed: Vec<(Interval, Candle)>,
}

/// Which closed candles late ticks have changed.
#[derive(Clone, Debug, Default)]
pub(super) struct Amended {
    count: u64,
    /// The last of them.
    last: VecDeque<(Interval, u64)>,
}

impl Amended {
    /// Late ticks are rare: who stored nothing for longer than this stores everything again.
    const REMEMBERED: usize = 64;

    pub(super) fn add(&mut self, interval: Interval, ts_ms: u64) {
        self.count += 1;
        if self.last.len() == Self::REMEMBERED {
            self.last.pop_front();
        }
        self.last.push_back((interval, ts_ms));
    }

    /// From now on nobody knows which they are.
    pub(super) fn forget(&mut self) {
        self.count += 1;
        self.last.clear();
    }

    /// Those after the first `count`; none where they are not all remembered.
    fn since(&self, count: u64) -> Option<impl Iterator<Item = &(Interval, u64)>> {
        let missed = usize::try_from(self.count.checked_sub(count)?).ok()?;
        Some(self.last.range(self.last.len().checked_sub(missed)?..))
    }
}

impl Candles {
    /// What has changed since `mark`, and the mark to ask with the next time; none where nothing has. A default mark asks
    /// for everything. While this replica is on its own nothing changes that anybody else has.
    pub fn changes(&self, mark: &Mark) -> Option<(Saved, Mark)> {
        let running = self.running.as_ref().filter(|_| self.ashore.is_none() && self.folded != mark.folded)?;
        let candles = Interval::ALL.map(|interval| running.candle(interval));
        let amended = self.amended.since(mark.amended);
        let from_ms = if amended.is_some() { mark.from_ms } else { Default::default() };
        let mut closed = Vec::new();
        for (interval, ring) in Interval::ALL.into_iter().zip(&self.rings) {
            let from_ms = from_ms[interval.index()];
            // One that was let go of before it was stored says how the quiet ones after it are.
            let held = ring.let_go_since(from_ms).into_iter().chain(ring.since(from_ms).copied());
            closed.extend(held.map(|candle| (interval, candle)));
        }
        for &(interval, ts_ms) in amended.into_iter().flatten() {
            if ts_ms < from_ms[interval.index()] && !closed.iter().any(|(of, is)| (*of, is.ts_ms) == (interval, ts_ms))
            {
                closed.extend(self.rings[interval.index()].at(ts_ms).map(|candle| (interval, *candle)));
            }
        }
        let (epoch, seq, last_ms) = (running.epoch.clone(), running.seq, running.last_ms);
        let sized = running.sized();
        let mark =
            Mark { from_ms: candles.map(|candle| candle.ts_ms), amended: self.amended.count, folded: self.folded };
        Some((Saved { epoch, seq, last_ms, sized, running: candles, closed }, mark))
    }

    /// Puts in what was stored, before any tick: ticks that are in it already are not folded in again. False where there
    /// are candles already: then nothing is done.
    pub fn restore(&mut self, saved: Saved) -> bool {
        if self.running.is_some() {
            return false;
        }
        let Saved { epoch, seq, last_ms, sized, running: candles, mut closed } = saved;
        closed.sort_by_key(|(interval, candle)| (*interval, candle.ts_ms));
        closed.dedup_by_key(|(interval, candle)| (*interval, candle.ts_ms));
        for (interval, candle) in closed {
            let running = &candles[interval.index()];
            if candle.ts_ms < running.ts_ms {
                self.rings[interval.index()].push(candle, running.ts_ms);
            }
        }
        let taken = (candles[0].volume, candles[0].n);
        self.running = Some(Running { epoch, seq, left: Left::default(), last_ms, candles, taken, sized });
        self.folded += 1;
        true
    }

    /// Puts in what was stored, in the place of all that is here, unless that is newer. Who follows them hears again of those
    /// that closed since all was here, and of no others.
    pub fn replace(&mut self, saved: Saved) {
        let whole = self.whole.take();
        // What came since does not count: between the two ticks may be missing that are stored.
        let here = match &whole {
            Some(whole) => whole.at.as_ref().map(|(epoch, seq)| (epoch, *seq)),
            None => self.position().map(|(epoch, seq, _)| (epoch, seq)),
        };
        if here.is_some_and(|(epoch, seq)| *epoch == saved.epoch && seq >= saved.seq) {
            return;
        }
        let others_ms = self.running.as_ref().map(|running| {
            let whole_ms = whole.map_or_else(|| running.starts(), |whole| whole.until_ms);
            self.later_of_held(whole_ms)
        });
        for ring in &mut self.rings {
            ring.cut(0, None);
        }
        let before = self.running.take();
        self.amended.forget();
        self.restore(saved);
        if let (Some(Running { epoch, seq, mut left, .. }), Some(running)) = (before, &mut self.running) {
            left.add(epoch, seq);
            running.left = left.before(&running.epoch, running.seq);
        }
        if let Some(others_ms) = others_ms {
            self.back.add(others_ms);
        }
    }
}
