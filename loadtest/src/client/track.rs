//! What one client has got so far, symbol by symbol.

use crate::check::{Prices, Stream};
use crate::measure::Received;
use crate::wire::tick::Tick;

/// Which symbols belong to a subscription.
#[derive(Debug, PartialEq, Eq)]
pub enum Subscription {
    /// Whatever comes.
    Everything,
    /// These, as the reader numbers them; sorted.
    These(Vec<u32>),
}

impl Subscription {
    /// The place of a symbol among a client's.
    fn place(&self, symbol: u32) -> Option<usize> {
        match self {
            Self::Everything => usize::try_from(symbol).ok(),
            Self::These(symbols) => symbols.binary_search(&symbol).ok(),
        }
    }

    /// How many symbols are known to belong to it.
    fn known(&self) -> usize {
        match self {
            Self::Everything => 0,
            Self::These(symbols) => symbols.len(),
        }
    }
}

/// One symbol.
#[derive(Clone, Debug, Default)]
struct Slot {
    /// Single ticks, and arrays: each hangs together on its own.
    streams: [Stream; 2],
    /// True once a first tick, or a snapshot, has said where to start.
    begun: [bool; 2],
    /// When the latest tick came, or when listening began; in microseconds of the wall's clock. 0: not yet.
    latest_us: i64,
}

/// Everything that a client has got.
#[derive(Debug, Default)]
pub struct Track {
    slots: Vec<Slot>,
    /// When any tick came, or when listening began.
    latest_us: i64,
    /// The longest time without any tick, since listening began.
    without_any_us: i64,
    /// The longest time without a tick of one symbol, since listening began.
    without_one_us: i64,
}

/// How long a client went without.
#[derive(Clone, Copy, Debug)]
pub struct Silence {
    /// Without any tick, in microseconds.
    pub any_us: u64,
    /// Without a tick of the symbol that was silent for longest.
    pub one_us: u64,
}

impl Track {
    /// Nothing so far, and listening from now on.
    pub fn new(subscription: &Subscription, now_us: i64) -> Self {
        let mut track = Self::default();
        track.slots.resize_with(subscription.known(), Slot::default);
        track.listen(now_us);
        track
    }

    /// Begins to listen for silence.
    pub fn listen(&mut self, now_us: i64) {
        (self.latest_us, self.without_any_us, self.without_one_us) = (now_us, 0, 0);
        self.slots.iter_mut().for_each(|slot| slot.latest_us = now_us);
    }

    /// How long it went without since listening began, the time until now included.
    pub fn silence(&self, now_us: i64) -> Silence {
        let one = self.slots.iter().map(|slot| now_us - slot.latest_us).fold(self.without_one_us, i64::max);
        let any = self.without_any_us.max(now_us - self.latest_us);
        let whole = |us: i64| u64::try_from(us).unwrap_or(0);
        // Where no symbol is known, a client that got nothing had silence of all of them.
        let one = if self.slots.is_empty() { any } else { one };
        Silence { any_us: whole(any), one_us: whole(one) }
    }

    /// Takes a tick of a snapshot: live ones go on from it.
    pub fn begin(&mut self, subscription: &Subscription, tick: &Tick, now_us: i64) {
        if let Some(slot) = self.slot(subscription, tick.symbol, now_us) {
            for (stream, begun) in slot.streams.iter_mut().zip(&mut slot.begun) {
                stream.begin(tick);
                *begun = true;
            }
        }
    }

    /// Takes a live tick of one of the two streams.
    pub fn take(
        &mut self,
        subscription: &Subscription,
        tick: &Tick,
        stream: usize,
        now_us: i64,
        (prices, received): (&mut Prices, &mut Received),
    ) {
        received.updates += 1;
        self.without_any_us = self.without_any_us.max(now_us - self.latest_us);
        self.latest_us = now_us;
        let Some(slot) = self.slot(subscription, tick.symbol, now_us) else {
            received.unasked += 1;
            return;
        };
        let without_us = now_us - slot.latest_us;
        slot.latest_us = now_us;
        // The first of a symbol, and the first of an epoch, may be a snapshot's, and as old as it happens to be.
        let aged = std::mem::replace(&mut slot.begun[stream], true) && !slot.streams[stream].is_new_epoch(tick);
        slot.streams[stream].take(tick, prices, &mut received.continuity);
        self.without_one_us = self.without_one_us.max(without_us);
        match tick.ts_us {
            None => received.ts_missing += 1,
            Some(_) if !aged => {}
            Some(ts_us) => {
                received.ts_ahead += u64::from(ts_us > now_us);
                received.latency_ms.record(u64::try_from(now_us - ts_us).unwrap_or(0));
            }
        }
    }

    fn slot(&mut self, subscription: &Subscription, symbol: u32, now_us: i64) -> Option<&mut Slot> {
        let place = subscription.place(symbol)?;
        if place >= self.slots.len() {
            self.slots.resize_with(place + 1, || Slot { latest_us: now_us, ..Slot::default() });
        }
        self.slots.get_mut(place)
    }
}
