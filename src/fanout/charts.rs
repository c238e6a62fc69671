use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use serde_json::value::RawValue;
use tokio::time::Instant;

use crate::market::{At, Back, Followed, Market};
use crate::net::text_frame;
use crate::price::{Candle, Interval, Symbol, SymbolId};
use crate::wire::{encode_candle, event_packet, to_client};

/// Candles that one look takes for a chart, and for a client that is behind: far more than come between two.
pub(super) const CANDLES_AT_ONCE: usize = 64;

/// The candles of one symbol and interval.
pub(super) type ChartId = (SymbolId, Interval);

/// An event, encoded once for everybody who gets it.
#[derive(Debug)]
pub(super) struct Frame {
    /// Its name.
    pub(super) event: &'static str,
    /// Its body.
    pub(super) body: Box<RawValue>,
    /// Both as a frame.
    pub(super) bytes: Bytes,
}

impl Frame {
    pub(super) fn new(event: &'static str, body: Box<RawValue>) -> Arc<Self> {
        let bytes = text_frame(&event_packet(event, &body));
        Arc::new(Self { event, body, bytes })
    }

    pub(super) fn candle(symbol: &Symbol, interval: Interval, candle: &Candle, closed: bool) -> Arc<Self> {
        Self::new(to_client::CANDLE, encode_candle(symbol, interval, candle, closed))
    }
}

/// What one client follows beside ticks.
///
/// Nothing of it is queued: how far the client has it is remembered, and what it lacks is taken from the market when it can
/// take it.
#[derive(Debug, Default)]
pub struct Charts {
    /// Candles, and how far it has them.
    pub(super) candles: BTreeMap<ChartId, Seat>,
    /// Whether it wants statistics of any symbol.
    pub(super) wants_days: bool,
    /// The turn of the statistics that it has.
    pub(super) days_turn: u64,
    /// Whether the next turn brings it all of them, changed or not.
    pub(super) days_whole: bool,
    /// Since when something is due that it did not take.
    pub(super) waits: Option<Instant>,
}

/// How far a client has the candles of one symbol and interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seat {
    /// When the candle begins whose close comes next, in ms since the Unix epoch; 0 before the symbol's first tick.
    pub(super) next_ms: u64,
    /// Which version of the running one it has.
    pub(super) shown: u64,
    /// How often candles had been replaced by then.
    pub(super) back: u64,
}

/// Candles that somebody follows, as of the last look.
#[derive(Debug, Default)]
pub(super) struct Chart {
    followers: usize,
    /// Closes from when on the last look brought.
    pub(super) from_ms: u64,
    /// When the candle begins that is not closed; 0 before the symbol's first tick.
    pub(super) next_ms: u64,
    /// The closes of the last look, by when their candles begin.
    pub(super) closes: Vec<(u64, Arc<Frame>)>,
    /// The candle that is not closed.
    running: Option<Candle>,
    /// The same as an event, once there has been a look.
    pub(super) frame: Option<Arc<Frame>>,
    /// Grows with each change of that.
    pub(super) version: u64,
    /// How often candles have been replaced, and since when they may be others.
    back: Back,
    /// When the first began that was held when they were replaced last.
    held_ms: u64,
}

impl Chart {
    /// A chart that goes on from what somebody was told.
    fn new(followed: Option<&Followed>) -> Self {
        let Some(Followed { candles, open_ms, back, .. }) = followed else { return Self::default() };
        let running = candles.last().copied();
        Self { from_ms: *open_ms, next_ms: *open_ms, running, back: back.clone(), ..Self::default() }
    }

    /// Takes what has changed.
    fn look(&mut self, market: &Market, symbol: &Symbol, (id, interval): ChartId, at: At) {
        self.closes.clear();
        self.from_ms = self.next_ms;
        let Some(mut followed) = market.follow(id, interval, self.next_ms, CANDLES_AT_ONCE, at) else { return };
        if let Some(from_ms) = followed.back.since(self.back.times(), interval) {
            (self.back, self.held_ms) = (followed.back, followed.first_ms);
            self.next_ms = self.next_ms.min(from_ms.max(self.held_ms));
            self.from_ms = self.next_ms;
            match market.follow(id, interval, self.next_ms, CANDLES_AT_ONCE, at) {
                Some(again) => followed = again,
                None => return,
            }
        }
        for candle in followed.candles {
            if candle.ts_ms < followed.open_ms {
                self.closes.push((candle.ts_ms, Frame::candle(symbol, interval, &candle, true)));
                self.next_ms = candle.ts_ms + interval.ms();
            } else {
                self.next_ms = candle.ts_ms;
                if self.running != Some(candle) || self.frame.is_none() {
                    self.version += u64::from(self.running != Some(candle));
                    self.frame = Some(Frame::candle(symbol, interval, &candle, false));
                    self.running = Some(candle);
                }
            }
        }
    }

    /// How far somebody has them, who had them as far as this: those that were replaced since come again.
    pub(super) fn corrected(&self, seat: Seat, interval: Interval) -> Seat {
        match self.back.since(seat.back, interval) {
            Some(from_ms) => {
                Seat { next_ms: seat.next_ms.min(from_ms.max(self.held_ms)), back: self.back.times(), ..seat }
            }
            None => seat,
        }
    }

    /// True where the candle at this time is the one that runs, and `frame` shows it.
    pub(super) fn runs_at(&self, ts_ms: u64) -> bool {
        ts_ms == self.next_ms && self.running.is_some_and(|running| running.ts_ms == ts_ms)
    }
}

/// All candles that somebody follows at this shard.
#[derive(Debug, Default)]
pub(super) struct Board(HashMap<ChartId, Chart>);

impl Board {
    /// Somebody follows these from now on, and was told this. Returns how far he has them.
    pub(super) fn enter(&mut self, id: ChartId, followed: Option<&Followed>) -> Seat {
        let chart = self.0.entry(id).or_insert_with(|| Chart::new(followed));
        chart.followers += 1;
        let (next_ms, back) = followed.map_or((0, 0), |followed| (followed.open_ms, followed.back.times()));
        Seat { next_ms, shown: chart.version, back }
    }

    /// He does not any more.
    pub(super) fn exit(&mut self, id: ChartId) {
        if let Some(chart) = self.0.get_mut(&id) {
            chart.followers -= 1;
            if chart.followers == 0 {
                self.0.remove(&id);
            }
        }
    }

    pub(super) fn get(&self, id: ChartId) -> Option<&Chart> {
        self.0.get(&id)
    }

    /// Takes what has changed in any of them.
    pub(super) fn look(&mut self, market: &Market, symbols: &[Symbol], at: At) {
        for (&id, chart) in &mut self.0 {
            if let Some(symbol) = symbols.get(id.0.index()) {
                chart.look(market, symbol, id, at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::market::{Keep, Kept};
    use crate::price::{Batch, Epoch, Price, Tick, Update};

    #[test]
    fn who_took_nothing_over_two_islands_hears_again_of_what_closed_on_the_first() {
        let keep = Keep { age_ms: 1, ticks: 1, candles: Kept::default() };
        let market = Market::new(["BTC".parse().unwrap()], keep, Arc::default());
        let (id, symbol) = market.symbol("BTC").unwrap();
        let batch = |epoch: &str, seconds: std::ops::Range<u64>| {
            let tick = |second: u64| {
                let price = Price::from(second);
                let update =
                    Update { symbol: symbol.clone(), price, ts_ms: second * 1000, bid: None, ask: None, size: None };
                Tick { seq: second, update }
            };
            Batch { epoch: Epoch::new(epoch), ticks: seconds.map(tick).collect() }
        };
        let mut chart = Chart::default();
        let look = |chart: &mut Chart| {
            chart.look(&market, &symbol, (id, Interval::S1), At { now_ms: 0, grace_ms: 0 });
            chart.closes.iter().map(|(ts_ms, _)| ts_ms / 1000).collect::<Vec<_>>()
        };
        market.apply(batch("a", 1..11));
        assert_eq!(look(&mut chart), (1..10).collect::<Vec<_>>());
        let seat = Seat { next_ms: chart.next_ms, shown: 0, back: chart.back.times() };
        for (island, from, to) in [("i", 11, 21), ("j", 21, 31)] {
            market.go_alone();
            market.apply(batch(island, from..to));
            assert_eq!(look(&mut chart), (from - 1..to - 1).collect::<Vec<_>>());
            market.come_back(&[batch("a", from..to)]);
            assert_eq!(look(&mut chart), (from - 1..to - 1).collect::<Vec<_>>(), "as the others have them");
        }
        assert_eq!(chart.corrected(seat, Interval::S1), Seat { next_ms: 10_000, shown: 0, back: 2 });
        let ahead = Seat { next_ms: 29_000, ..seat };
        assert_eq!(chart.corrected(ahead, Interval::S1).next_ms, 10_000);
        assert_eq!(chart.corrected(Seat { back: 1, ..ahead }, Interval::S1).next_ms, 20_000, "who missed one");
        assert_eq!(chart.corrected(Seat { back: 2, ..ahead }, Interval::S1).next_ms, 29_000, "and who missed none");
    }
}
