//! What candles say of prices before this process.

use super::{Market, Range};
use crate::price::{Epoch, Interval, Price, Symbol, Tick, Update};

/// How far back the prices go that candles are asked for: seconds of an hour, minutes of a day.
const SECONDS: usize = 3_600;
const MINUTES: usize = 1_440;

impl Market {
    /// The last price of a symbol that is in its candles, of this process or the one before it, as a tick of its numbering.
    pub fn last_in_candles(&self, symbol: &Symbol) -> Option<(Epoch, Tick)> {
        let state = self.read();
        let candles = &state.entries[state.ids.get(symbol)?.index()].candles;
        let (epoch, seq, ts_ms) = candles.position()?;
        let price = candles.running(Interval::S1)?.close;
        let update = Update { symbol: symbol.clone(), price, ts_ms, bid: None, ask: None, size: None };
        Some((epoch.clone(), Tick { seq, update }))
    }

    /// What a symbol's candles say of its prices before the last one: that at the end of each second of an hour, and before
    /// these of each minute of a day, with their times in ms since the Unix epoch, oldest first.
    pub fn prices_in_candles(&self, symbol: &Symbol) -> Vec<(u64, Price)> {
        let state = self.read();
        let Some(candles) = state.ids.get(symbol).map(|id| &state.entries[id.index()].candles) else {
            return Vec::new();
        };
        let Some((_, _, last_ms)) = candles.position() else { return Vec::new() };
        let ends = |interval: Interval, most, until_ms| {
            let read = candles.read(interval, Range::latest(most), last_ms).into_iter();
            read.map(move |candle| (candle.ts_ms + interval.ms() - 1, candle.close))
                .filter(move |(end, _)| *end < until_ms)
        };
        let seconds: Vec<_> = ends(Interval::S1, SECONDS, last_ms).collect();
        let begun_ms = seconds.first().map_or(last_ms, |(end, _)| end + 1 - Interval::S1.ms());
        ends(Interval::M1, MINUTES, begun_ms).chain(seconds).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::market::{Keep, Kept, Mark};
    use crate::price::Batch;

    #[test]
    fn candles_that_were_put_back_say_what_prices_were() {
        let keep = Keep { age_ms: 0, ticks: 1, candles: Kept([3, 1_500, 9, 9, 9, 9]) };
        let (btc, epoch): (Symbol, _) = ("BTC".parse().unwrap(), Epoch::new("before"));
        let market = |symbol: &Symbol| Market::new([symbol.clone()], keep, std::sync::Arc::default());
        let before = market(&btc);
        let times_ms = [60_500, 130_000, 179_900, 180_000, 180_900, 182_500];
        let ticks = times_ms.into_iter().zip(1..).map(|(ts_ms, seq)| {
            let update = Update { symbol: btc.clone(), price: seq.into(), ts_ms, bid: None, ask: None, size: None };
            Tick { seq, update }
        });
        before.apply(Batch { epoch: epoch.clone(), ticks: ticks.collect() });
        let (saved, _) = before.candle_changes(before.symbol("BTC").unwrap().0, &Mark::default()).unwrap();

        let after = market(&btc);
        assert_eq!((after.last_in_candles(&btc), after.prices_in_candles(&btc)), (None, vec![]));
        assert!(after.restore_candles(&btc, saved));
        let (of, Tick { seq, update }) = after.last_in_candles(&btc).unwrap();
        assert_eq!((of, seq, update.price, update.ts_ms), (epoch, 6, 6.into(), 182_500));
        // Three seconds are held, the running one among them; before those there are minutes.
        let prices = [(119_999, 1), (179_999, 3), (180_999, 5), (181_999, 5)];
        assert_eq!(after.prices_in_candles(&btc), prices.map(|(end, price): (u64, u64)| (end, price.into())));
        assert_eq!(after.last_in_candles(&"ETH".parse().unwrap()), None);
    }
}
