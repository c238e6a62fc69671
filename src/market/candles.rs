mod day;
mod fill;
mod ring;
mod stored;

pub use self::ring::Range;
use self::ring::Ring;
use crate::price::{Candle, Epoch, Interval, Price, Tick};
pub use day::DayOf;

/// How many candles of each interval are held of a symbol, the running one included, by [`Interval::index`].
///
/// A candle holds 96 bytes; those of intervals in which nothing came are made when they are read, and hold none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept(pub [usize; Interval::COUNT]);

impl Default for Kept {
    /// Ten minutes of seconds, a day and an hour of minutes, two days of 5, a week of 15, a month of hours, a year of days.
    fn default() -> Self {
        Self([600, 1500, 600, 700, 750, 400])
    }
}

/// What became of a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Folded {
    /// It is in the candles.
    Counted,
    /// It is in those of the longer intervals: of so many shorter ones what it belongs to is not held any more.
    TooLate(usize),
    /// It was in them already.
    Known,
}

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
    /// The running candle of each interval, by [`Interval::index`].
    pub running: [Candle; Interval::COUNT],
    /// Closed candles, in any order; those of intervals in which nothing came are left out.
    pub closed: Vec<(Interval, Candle)>,
}

/// The candles of one symbol, of every interval.
///
/// They are folded from ticks by the source's time alone, in the order of the log, so every replica has the same:
///
/// - A candle is of `[ts, ts + interval)`, aligned to the Unix epoch.
/// - A tick of the running interval, or of a later one, counts with its price as the close.
/// - A tick of an earlier interval is *late*: it counts in that candle's high, low, volume and `n`, and changes neither open
///   nor close (those of one where nothing had come are the close before it, where that is known). Where the candle is not
///   held any more, it is left out.
/// - The first tick of another epoch says again what was known, as a rule: it counts only where it is later, by its time,
///   than everything before it.
///
/// A tick costs the comparison with the running second, and what changes there; the longer intervals take that over when
/// the second ends. An interval in which nothing came costs nothing: its candle is made when it is read.
#[derive(Clone, Debug)]
pub struct Candles {
    rings: [Ring; Interval::COUNT],
    /// None before the first tick.
    running: Option<Running>,
    /// What was known before this replica went on by itself; some with what it knew then, if anything.
    ashore: Option<Option<Box<Ashore>>>,
    amended: Amended,
    /// How often this replica came back, and what began then is what it was: by [`Interval::index`], from when on.
    back: Back,
    /// How many ticks were folded in.
    folded: u64,
}

/// That what an island made was taken back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Back {
    /// How often.
    pub times: u64,
    /// Since when candles may be others than before, at the last time, in ms since the Unix epoch; by
    /// [`Interval::index`].
    pub from_ms: [u64; Interval::COUNT],
}

/// The running candles, and up to which tick.
#[derive(Clone, Debug)]
struct Running {
    epoch: Epoch,
    seq: u64,
    last_ms: u64,
    candles: [Candle; Interval::COUNT],
    /// How much of the running second the longer intervals have taken over: its volume and its ticks. While there is
    /// more in it, their close is its.
    taken: (Price, u64),
}

/// What a replica knew when it went on by itself.
#[derive(Clone, Debug)]
struct Ashore {
    running: Running,
    /// The last price before the running candle of each interval; none where nothing came before it.
    closes: [Option<Price>; Interval::COUNT],
}

/// Which closed candles late ticks have changed.
#[derive(Clone, Debug, Default)]
struct Amended {
    count: u64,
    /// The last of them.
    last: std::collections::VecDeque<(Interval, u64)>,
}

impl Amended {
    /// Late ticks are rare: who stored nothing for longer than this stores everything again.
    const REMEMBERED: usize = 64;

    fn add(&mut self, interval: Interval, ts_ms: u64) {
        self.count += 1;
        if self.last.len() == Self::REMEMBERED {
            self.last.pop_front();
        }
        self.last.push_back((interval, ts_ms));
    }

    /// From now on nobody knows which they are.
    fn forget(&mut self) {
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
    /// No candles yet.
    pub fn new(Kept(kept): &Kept) -> Self {
        Self {
            rings: Interval::ALL.map(|interval| Ring::new(interval, kept[interval.index()])),
            running: None,
            ashore: None,
            amended: Amended::default(),
            back: Back::default(),
            folded: 0,
        }
    }

    /// Takes a tick. They come in the order of their log; updates of the same epoch that never came count with the one
    /// after them.
    pub fn fold(&mut self, epoch: &Epoch, tick: &Tick) -> Folded {
        let Tick { seq, update } = tick;
        let size = update.size.unwrap_or_default();
        let Some(running) = &mut self.running else {
            let candle = |interval: Interval| Candle {
                volume: size,
                n: 1,
                ..Candle::quiet(interval.start_of(update.ts_ms), update.price)
            };
            self.running = Some(Running {
                epoch: epoch.clone(),
                seq: *seq,
                last_ms: update.ts_ms,
                candles: Interval::ALL.map(candle),
                taken: (size, 1),
            });
            self.folded += 1;
            return Folded::Counted;
        };
        let mut n = 1;
        if running.epoch == *epoch {
            n = seq.saturating_sub(running.seq);
            if n == 0 {
                return Folded::Known;
            }
        } else {
            running.epoch = epoch.clone();
            if update.ts_ms <= running.last_ms {
                running.seq = *seq;
                return Folded::Known;
            }
        }
        running.seq = *seq;
        running.last_ms = running.last_ms.max(update.ts_ms);
        self.folded += 1;
        let second = &mut running.candles[0];
        if update.ts_ms.wrapping_sub(second.ts_ms) >= Interval::S1.ms() {
            return self.fold_elsewhere(update.ts_ms, update.price, size, n);
        }
        second.close = update.price;
        second.volume = add(second.volume, size);
        second.n += n;
        // What is neither high nor low in a second is so in no longer interval that it is in.
        if update.price > second.high {
            for candle in &mut running.candles {
                candle.high = candle.high.max(update.price);
            }
        } else if update.price < second.low {
            for candle in &mut running.candles {
                candle.low = candle.low.min(update.price);
            }
        }
        Folded::Counted
    }

    /// Takes a tick that is not of the running second.
    fn fold_elsewhere(&mut self, ts_ms: u64, price: Price, size: Price, n: u64) -> Folded {
        let Some(running) = &mut self.running else { return Folded::Counted };
        running.settle();
        let mut too_late = 0;
        for (interval, ring) in Interval::ALL.into_iter().zip(&mut self.rings) {
            let candle = &mut running.candles[interval.index()];
            let start_ms = interval.start_of(ts_ms);
            if start_ms < candle.ts_ms {
                // What an island changes in what was closed before could not be taken back.
                let known = self.ashore.as_ref().and_then(|known| known.as_ref());
                let may = known.is_none_or(|known| start_ms >= known.running.candles[interval.index()].ts_ms);
                if may && ring.amend(start_ms, price, size, n, candle.ts_ms) {
                    self.amended.add(interval, start_ms);
                } else {
                    too_late += 1;
                }
                continue;
            }
            if start_ms > candle.ts_ms {
                let closed = std::mem::replace(candle, Candle { volume: size, n, ..Candle::quiet(start_ms, price) });
                ring.push(closed, start_ms);
            } else {
                candle.high = candle.high.max(price);
                candle.low = candle.low.min(price);
                candle.close = price;
                candle.volume = add(candle.volume, size);
                candle.n += n;
            }
        }
        let second = &running.candles[0];
        running.taken = (second.volume, second.n);
        if too_late > 0 { Folded::TooLate(too_late) } else { Folded::Counted }
    }

    /// The running candle of an interval, as the last tick left it; none before the first.
    pub fn running(&self, interval: Interval) -> Option<Candle> {
        self.running.as_ref().map(|running| running.candle(interval))
    }

    /// Up to which tick the candles are: its numbering, its number, and the latest time of any, in ms since the Unix epoch.
    pub fn position(&self) -> Option<(&Epoch, u64, u64)> {
        self.running.as_ref().map(|running| (&running.epoch, running.seq, running.last_ms))
    }

    /// The candles that begin in `range`, oldest first, those of quiet intervals too, up to the one that `now_ms` is in;
    /// where they are more than its limit, the newest.
    pub fn read(&self, interval: Interval, range: Range, now_ms: u64) -> Vec<Candle> {
        let Some(running) = self.running(interval) else { return Vec::new() };
        self.rings[interval.index()].read(running, range, now_ms)
    }

    /// When the first candle begins that can be read at `now_ms`; none before the first tick.
    pub fn first_ms(&self, interval: Interval, now_ms: u64) -> Option<u64> {
        let running = self.running(interval)?;
        let last_ms = running.ts_ms.max(interval.start_of(now_ms));
        Some(self.rings[interval.index()].first_ms(&running, last_ms))
    }

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
        let mark =
            Mark { from_ms: candles.map(|candle| candle.ts_ms), amended: self.amended.count, folded: self.folded };
        Some((Saved { epoch, seq, last_ms, running: candles, closed }, mark))
    }

    /// Puts in what was stored, before any tick: ticks that are in it already are not folded in again. False where there
    /// are candles already: then nothing is done.
    pub fn restore(&mut self, saved: Saved) -> bool {
        if self.running.is_some() {
            return false;
        }
        let Saved { epoch, seq, last_ms, running: candles, mut closed } = saved;
        closed.sort_by_key(|(interval, candle)| (*interval, candle.ts_ms));
        closed.dedup_by_key(|(interval, candle)| (*interval, candle.ts_ms));
        for (interval, candle) in closed {
            let running = &candles[interval.index()];
            if candle.ts_ms < running.ts_ms {
                self.rings[interval.index()].push(candle, running.ts_ms);
            }
        }
        let taken = (candles[0].volume, candles[0].n);
        self.running = Some(Running { epoch, seq, last_ms, candles, taken });
        self.folded += 1;
        true
    }

    /// Puts in what was stored, in the place of all that is here, unless that is newer.
    pub fn replace(&mut self, saved: Saved) {
        if self.position().is_some_and(|(epoch, seq, _)| *epoch == saved.epoch && seq >= saved.seq) {
            return;
        }
        for ring in &mut self.rings {
            ring.cut(0, None);
        }
        self.running = None;
        self.amended.forget();
        self.restore(saved);
        self.back = Back { times: self.back.times + 1, from_ms: Default::default() };
    }

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
        let Some(known) = self.ashore.take() else { return };
        let (running, closes) = match known {
            Some(known) => (Some(known.running), known.closes),
            None => (None, Default::default()),
        };
        let from_ms = running.as_ref().map_or_else(Default::default, |known| known.candles.map(|candle| candle.ts_ms));
        for ((ring, &from_ms), close) in self.rings.iter_mut().zip(&from_ms).zip(closes) {
            ring.cut(from_ms, close);
        }
        self.running = running;
        self.folded += 1;
        self.back = Back { times: self.back.times + 1, from_ms };
    }

    /// How often [`Candles::come_back`] has changed something.
    pub fn back(&self) -> &Back {
        &self.back
    }

    /// How many ticks were folded in, or taken out: while it stays the same, nothing has changed.
    pub fn folded(&self) -> u64 {
        self.folded
    }

    /// How many are held; those of quiet intervals are not.
    pub fn held(&self) -> usize {
        let running = if self.running.is_some() { Interval::COUNT } else { 0 };
        running + self.rings.iter().map(Ring::len).sum::<usize>()
    }
}

impl Running {
    /// What the running second has more than the longer intervals have taken over.
    fn untaken(&self) -> Option<(Price, Price, u64)> {
        let second = &self.candles[0];
        let (volume, n) = self.taken;
        (second.n != n).then(|| (second.close, second.volume.saturating_sub(volume), second.n - n))
    }

    fn candle(&self, interval: Interval) -> Candle {
        let mut candle = self.candles[interval.index()];
        if interval != Interval::S1
            && let Some((close, volume, n)) = self.untaken()
        {
            candle.close = close;
            candle.volume = add(candle.volume, volume);
            candle.n += n;
        }
        candle
    }

    /// Lets the longer intervals take over what the running second has.
    fn settle(&mut self) {
        if let Some((close, volume, n)) = self.untaken() {
            for candle in &mut self.candles[1..] {
                candle.close = close;
                candle.volume = add(candle.volume, volume);
                candle.n += n;
            }
            self.taken = (self.candles[0].volume, self.candles[0].n);
        }
    }
}

/// Sums of sizes are exact as long as they have 28 digits; then they are rounded, and never beyond what there is.
fn add(volume: Price, size: Price) -> Price {
    if size.is_zero() { volume } else { volume.saturating_add(size) }
}

#[cfg(test)]
mod tests;
