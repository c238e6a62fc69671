use std::collections::HashMap;
use std::sync::Arc;

use super::Recall;
use crate::clock::Clock;
use crate::config::Jumps;
use crate::metrics::Metrics;
use crate::price::{Price, Symbol, Update};

/// How far a tick may be ahead of this server's clock, in ms: one far in the future would make every later one go back.
const MAX_AHEAD_MS: u64 = 60_000;

/// Keeps out what cannot be: ticks that go back in time, and prices that jump and are not confirmed.
pub(super) struct Gate {
    jumps: Jumps,
    recall: Recall,
    clock: Clock,
    metrics: Arc<Metrics>,
    seen: HashMap<Symbol, Seen>,
}

/// What is known of a symbol.
#[derive(Debug, Default)]
struct Seen {
    /// The last one that was let through.
    price: Option<Price>,
    ts_ms: u64,
    bound: Option<f64>,
    /// One that jumped, and waits for the next.
    held: Option<Update>,
}

impl Gate {
    pub(super) fn new(jumps: Jumps, recall: Recall, clock: Clock, metrics: Arc<Metrics>) -> Self {
        Self { jumps, recall, clock, metrics, seen: HashMap::new() }
    }

    /// Another replica may have published meanwhile: what was seen before says nothing.
    pub(super) fn forget(&mut self) {
        self.seen.clear();
    }

    /// Lets an update through, or not, or with the one that waited for it.
    pub(super) fn pass(&mut self, update: Update, out: &mut Vec<Update>) {
        if !self.seen.contains_key(&update.symbol) {
            let last = (self.recall)(&update.symbol);
            let seen = Seen {
                price: last.as_ref().map(|last| last.price),
                ts_ms: last.as_ref().map_or(0, |last| last.ts_ms),
                bound: self.jumps.of(&update.symbol),
                held: None,
            };
            self.seen.insert(update.symbol.clone(), seen);
            // Exchanges say the last trade again to whoever subscribes: it is in the log already.
            if last.is_some_and(|last| is_repeat(&update, &last)) {
                self.metrics.ticks_said_again.inc();
                return;
            }
        }
        let Some(seen) = self.seen.get_mut(&update.symbol) else { return };
        if update.ts_ms < seen.ts_ms || update.ts_ms > self.clock.millis().saturating_add(MAX_AHEAD_MS) {
            self.metrics.ticks_misdated.inc();
            tracing::debug!(symbol = %update.symbol, ts_ms = update.ts_ms, last_ms = seen.ts_ms, "a tick that is out of time");
            return;
        }
        if seen.jumps(update.price) {
            match seen.held.take() {
                Some(held) if !seen.is_far(update.price, held.price) => {
                    // It is older than what it confirms: then it stands for both.
                    if held.ts_ms <= update.ts_ms {
                        out.push(held);
                    } else {
                        self.metrics.ticks_jumped.inc();
                    }
                }
                held => {
                    if let Some(held) = held {
                        self.metrics.ticks_jumped.inc();
                        tracing::warn!(symbol = %held.symbol, price = %held.price, "a price jumped, and was not confirmed: dropped");
                    }
                    seen.held = Some(update);
                    return;
                }
            }
        } else if let Some(held) = seen.held.take() {
            self.metrics.ticks_jumped.inc();
            tracing::warn!(symbol = %held.symbol, price = %held.price, "a price jumped, and was not confirmed: dropped");
        }
        seen.price = Some(update.price);
        seen.ts_ms = update.ts_ms;
        out.push(update);
    }
}

/// True for the same trade; what is bid and asked may have moved since, and of one out of candles nobody knows the size.
fn is_repeat(update: &Update, last: &Update) -> bool {
    (update.ts_ms, update.price) == (last.ts_ms, last.price) && last.size.is_none_or(|size| update.size == Some(size))
}

impl Seen {
    fn jumps(&self, price: Price) -> bool {
        self.price.is_some_and(|last| self.is_far(price, last))
    }

    fn is_far(&self, price: Price, from: Price) -> bool {
        if price == from {
            return false;
        }
        let float = |price: Price| f64::try_from(price).unwrap_or(f64::NAN);
        self.bound.is_some_and(|bound| (float(price) - float(from)).abs() > bound * float(from).abs())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::config::Config;

    const NOW_MS: u64 = 1_000_000;

    fn gate(max_jump: &str, last: Option<(u32, u64)>) -> Gate {
        let args = ["tickcast", "--max-jump", max_jump, "--symbols", "BTC,DOGE"];
        let (_, config, _) = Config::load(args.map(Into::into)).unwrap();
        let last = Mutex::new(last);
        let recall: Recall = Arc::new(move |_| last.lock().unwrap().map(|(price, ts_ms)| update("BTC", price, ts_ms)));
        Gate::new(config.feeds.max_jump, recall, Clock::from_fn(|| NOW_MS * 1000), Arc::default())
    }

    fn update(symbol: &str, price: u32, ts_ms: u64) -> Update {
        let symbol = symbol.parse().unwrap();
        Update { symbol, price: Price::from(price), ts_ms, bid: None, ask: None, size: None }
    }

    /// What comes through of updates of one symbol, as prices.
    fn through(gate: &mut Gate, symbol: &str, updates: &[(u32, u64)]) -> Vec<u32> {
        let mut out = Vec::new();
        for &(price, ts_ms) in updates {
            gate.pass(update(symbol, price, ts_ms), &mut out);
        }
        out.iter().map(|update| u32::try_from(update.price).unwrap()).collect()
    }

    #[test]
    fn what_goes_back_in_time_or_is_far_ahead_is_dropped_and_counted() {
        let mut gate = gate("0", None);
        assert_eq!(through(&mut gate, "BTC", &[(1, 10), (2, 10), (3, 9), (4, 11)]), [1, 2, 4]);
        assert_eq!(gate.metrics.ticks_misdated.get(), 1);
        let ahead = NOW_MS + MAX_AHEAD_MS;
        assert_eq!(through(&mut gate, "BTC", &[(5, ahead + 1), (6, ahead)]), [6]);
        assert_eq!(gate.metrics.ticks_misdated.get(), 2);
    }

    #[test]
    fn a_jump_waits_for_the_next_one_to_confirm_it() {
        let mut gate = gate("20", None);
        assert_eq!(through(&mut gate, "BTC", &[(100, 1), (120, 2), (144, 3)]), [100, 120, 144], "up to the bound");
        assert_eq!(through(&mut gate, "BTC", &[(200, 4)]), [0u32; 0]);
        assert_eq!(through(&mut gate, "BTC", &[(201, 5)]), [200, 201], "confirmed: both, in order");
        assert_eq!(gate.metrics.ticks_jumped.get(), 0);
    }

    #[test]
    fn a_jump_that_is_not_confirmed_is_dropped_and_counted() {
        let mut gate = gate("20", None);
        assert_eq!(through(&mut gate, "BTC", &[(100, 1), (1, 2), (101, 3)]), [100, 101], "back to where it was");
        assert_eq!(gate.metrics.ticks_jumped.get(), 1);
        assert_eq!(through(&mut gate, "BTC", &[(1, 4), (1000, 5), (1001, 6)]), [1000, 1001], "a third place");
        assert_eq!(gate.metrics.ticks_jumped.get(), 2);
        let misdated = [(10, 100), (11, 50), (1001, 51)];
        assert_eq!(through(&mut gate, "BTC", &misdated), [11], "the older one stands for both; 1001 waits now");
        assert_eq!(gate.metrics.ticks_jumped.get(), 3);
    }

    #[test]
    fn bounds_are_of_a_symbol_and_may_be_none() {
        let mut gate = gate("0,DOGE=50", None);
        assert_eq!(through(&mut gate, "BTC", &[(1, 1), (1000, 2)]), [1, 1000]);
        assert_eq!(through(&mut gate, "DOGE", &[(100, 1), (150, 2), (50, 3), (151, 4)]), [100, 150, 151]);
    }

    #[test]
    fn goes_on_from_what_another_replica_published() {
        let mut gate = gate("20", Some((100, 50)));
        assert_eq!(through(&mut gate, "BTC", &[(101, 49), (500, 51), (101, 52)]), [101]);
        gate.forget();
        assert_eq!(through(&mut gate, "BTC", &[(101, 49), (102, 51)]), [102]);
    }

    #[test]
    fn the_last_trade_said_again_to_who_subscribes_is_none() {
        let mut gate = gate("0", Some((100, 50)));
        assert_eq!(through(&mut gate, "BTC", &[(100, 50), (100, 50), (101, 51)]), [100, 101], "only the first can be");
        gate.forget();
        assert_eq!(through(&mut gate, "BTC", &[(100, 51), (100, 50)]), [100]);
        assert_eq!((gate.metrics.ticks_said_again.get(), gate.metrics.ticks_misdated.get()), (1, 1));
    }
}
