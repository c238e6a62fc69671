mod changes;
mod day;
mod fill;
mod island;
mod ring;
mod stored;

use std::collections::VecDeque;

pub use self::ring::Range;
use self::ring::Ring;
use crate::price::{Candle, Epoch, Fill, Interval, Price, Tick};
use changes::Amended;
pub use changes::{Mark, Saved};
pub use day::DayOf;
pub use fill::Filled;
pub use island::Back;
use island::{Ashore, Whole};

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
    back: Back,
    /// Since this replica is back: up to where it has everything.
    whole: Option<Box<Whole>>,
    /// Candles of the past that no tick has reached yet, no more of an interval than are held of it.
    waiting: Vec<Fill>,
    /// How many ticks were folded in.
    folded: u64,
}

/// The running candles, and up to which tick.
#[derive(Clone, Debug)]
struct Running {
    epoch: Epoch,
    seq: u64,
    left: Left,
    last_ms: u64,
    candles: [Candle; Interval::COUNT],
    /// How much of the running second the longer intervals have taken over: its volume and its ticks. While there is
    /// more in it, their close is its.
    taken: (Price, u64),
    /// Whether a tick of the running day, and of the day before it, said a size: see [`Running::sized`].
    sized: [bool; 2],
}

/// The epochs before the one in force, and of each the last tick that is folded in: what is read again of them is known by
/// that. The last of them: who comes back among many others may read several anew.
#[derive(Clone, Debug, Default)]
struct Left(VecDeque<(Epoch, u64)>);

impl Left {
    const REMEMBERED: usize = 8;

    fn has(&self, epoch: &Epoch, seq: u64) -> bool {
        self.0.iter().any(|(left, last)| left == epoch && seq <= *last)
    }

    fn add(&mut self, epoch: Epoch, last: u64) {
        self.0.retain(|(left, _)| *left != epoch);
        if self.0.len() == Self::REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back((epoch, last));
    }

    /// Those before this tick. Numbers grow from one epoch to the next: what is higher is of a later one, and is to come.
    fn before(mut self, epoch: &Epoch, seq: u64) -> Self {
        self.0.retain(|(left, last)| left != epoch && *last < seq);
        self
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
            whole: None,
            waiting: Vec::new(),
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
                left: Left::default(),
                last_ms: update.ts_ms,
                candles: Interval::ALL.map(candle),
                taken: (size, 1),
                sized: [!size.is_zero(), false],
            });
            self.folded += 1;
            self.fill_reached();
            return Folded::Counted;
        };
        let mut n = 1;
        if running.epoch == *epoch {
            n = seq.saturating_sub(running.seq);
            if n == 0 {
                return Folded::Known;
            }
        } else {
            if running.left.has(epoch, *seq) {
                return Folded::Known;
            }
            let before = std::mem::replace(&mut running.epoch, epoch.clone());
            running.left.add(before, running.seq);
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
                if interval == Interval::D1 {
                    running.sized = [false, running.sized[0] && start_ms - closed.ts_ms == interval.ms()];
                }
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
        running.sized[0] |= !size.is_zero();
        if !self.waiting.is_empty() {
            self.fill_reached();
        }
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

    /// How many ticks were folded in, or taken out: while it stays the same, nothing has changed.
    pub fn folded(&self) -> u64 {
        self.folded
    }

    /// How many are held, those that wait for a tick included; those of quiet intervals are not.
    pub fn held(&self) -> usize {
        let running = if self.running.is_some() { Interval::COUNT } else { 0 };
        let waiting: usize = self.waiting.iter().map(|fill| fill.candles.len()).sum();
        running + waiting + self.rings.iter().map(Ring::len).sum::<usize>()
    }
}

impl Running {
    /// When each of them begins.
    fn starts(&self) -> [u64; Interval::COUNT] {
        self.candles.map(|candle| candle.ts_ms)
    }

    /// Whether a tick of the running day, and of the day before it, said a size. What was filled in from elsewhere does not
    /// count: where ticks say no sizes, the volume of the past is none of the present.
    fn sized(&self) -> [bool; 2] {
        let [today, before] = self.sized;
        [today || self.untaken().is_some_and(|(_, volume, _)| !volume.is_zero()), before]
    }

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
            self.sized[0] |= !volume.is_zero();
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
