use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand_distr::{Distribution, StandardNormal};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::{Error, Recall, Source};
use crate::bus::Term;
use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::price::{Price, Symbol, Update};

/// Well-known symbols: where the walk starts, its volatility (of a year, as a fraction), and the digits after the
/// point.
const KNOWN: &[(&str, f64, f64, u32)] = &[
    ("BTC", 64_000.0, 0.55, 2),
    ("ETH", 3_100.0, 0.70, 2),
    ("SOL", 150.0, 0.95, 3),
    ("ADA", 0.45, 0.90, 5),
    ("XRP", 0.52, 0.85, 5),
    ("BNB", 580.0, 0.60, 2),
    ("DOGE", 0.15, 1.10, 6),
    ("DOT", 6.5, 0.90, 4),
    ("AVAX", 30.0, 1.00, 3),
    ("LINK", 14.0, 0.90, 4),
    ("LTC", 80.0, 0.75, 3),
    ("TRX", 0.12, 0.60, 6),
];

/// The volatility of a symbol that is not well-known.
const OTHER_VOLATILITY: f64 = 0.8;

/// How far the walk may run from where it started, up or down, as a factor: in a demo that runs for months nothing
/// becomes worthless, or dearer than a [`Price`] of its digits can say.
const FARTHEST: f64 = 100.0;

const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// A simulator that fell behind by more than this gives up what is missing instead of making it up in a burst.
const LONGEST_CATCH_UP: Duration = Duration::from_secs(5);

/// A source of believable prices: per symbol a geometric random walk, rounded to the symbol's price step. One tick per
/// symbol and interval, all symbols in one batch.
pub struct Simulator {
    walks: Vec<Walk>,
    interval: Duration,
    clock: Clock,
    metrics: Arc<Metrics>,
    recall: Recall,
    /// The time of its last ticks: where the clock goes back, they do not.
    last_ms: u64,
}

#[derive(Debug)]
struct Walk {
    symbol: Symbol,
    /// Not rounded, so that steps smaller than the price step add up.
    price: f64,
    start: f64,
    volatility: f64,
    decimals: u32,
    rng: StdRng,
}

impl Simulator {
    /// A simulator of these symbols. With a `seed`, each symbol's walk is the same on every start and whatever the
    /// other symbols are. `recall` is where it goes on from when the log itself has forgotten.
    pub fn new(
        symbols: impl IntoIterator<Item = Symbol>,
        interval: Duration,
        seed: Option<u64>,
        clock: Clock,
        metrics: Arc<Metrics>,
        recall: Recall,
    ) -> Self {
        let seed = seed.unwrap_or_else(rand::random);
        let walks = symbols.into_iter().map(|symbol| Walk::new(symbol, seed)).collect();
        Self { walks, interval, clock, metrics, recall, last_ms: 0 }
    }

    /// Takes each walk up where the feed is: at the log's last price, else at the last one that was seen here.
    fn take_up(&mut self, last: &HashMap<Symbol, Price>) {
        for walk in &mut self.walks {
            let seen = (self.recall)(&walk.symbol);
            self.last_ms = self.last_ms.max(seen.as_ref().map_or(0, |seen| seen.ts_ms));
            let price = last.get(&walk.symbol).copied().or_else(|| seen.map(|seen| seen.price));
            if let Some(price) = price.and_then(|price| f64::try_from(price).ok()).filter(|price| *price > 0.0) {
                walk.go_on_from(price);
            }
        }
    }

    fn step(&mut self) -> Vec<Update> {
        let ts_ms = self.clock.millis().max(self.last_ms);
        self.last_ms = ts_ms;
        let years = self.interval.as_secs_f64() / YEAR.as_secs_f64();
        self.walks.iter_mut().map(|walk| walk.step(years, ts_ms)).collect()
    }
}

impl Source for Simulator {
    fn name(&self) -> &'static str {
        "simulator"
    }

    fn symbols(&self) -> Vec<Symbol> {
        self.walks.iter().map(|walk| walk.symbol.clone()).collect()
    }

    async fn run(&mut self, term: &Term<'_>, stop: &CancellationToken) -> Result<(), Error> {
        if self.walks.is_empty() {
            // It holds its term all the same: so nobody makes what an earlier one did.
            stop.cancelled().await;
            return Ok(());
        }
        self.take_up(&term.last_prices().await);
        let mut pace = tokio::time::interval(self.interval);
        // Late ticks are made up at once: over any longer time there is one per interval, without drift.
        pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
        loop {
            let due = tokio::select! {
                due = pace.tick() => due,
                () = stop.cancelled() => return Ok(()),
            };
            let late = Instant::now().saturating_duration_since(due);
            if late > LONGEST_CATCH_UP {
                let missed = u64::try_from(late.as_nanos() / self.interval.as_nanos()).unwrap_or(u64::MAX);
                self.metrics.ticks_skipped.add(missed.saturating_mul(self.walks.len() as u64));
                tracing::warn!(late_ms = late.as_millis(), "the simulator fell behind and skips what is missing");
                pace.reset_after(self.interval);
            }
            let updates = self.step();
            tokio::select! {
                published = term.publish(updates) => published?,
                () = stop.cancelled() => return Ok(()),
            };
        }
    }
}

impl Walk {
    fn new(symbol: Symbol, seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed ^ fingerprint(&symbol));
        let known = KNOWN.iter().find(|(name, ..)| *name == symbol.as_str());
        let (start, volatility, decimals) = match known {
            Some(&(_, start, volatility, decimals)) => (start, volatility, decimals),
            None => {
                // Anything from 1 to 1000, always the same for one symbol.
                let start = 10f64.powf((fingerprint(&symbol) % 3000) as f64 / 1000.0);
                let decimals = match start {
                    ..10.0 => 4,
                    ..100.0 => 3,
                    _ => 2,
                };
                (start, OTHER_VOLATILITY, decimals)
            }
        };
        // Not at a round number.
        let offset: f64 = StandardNormal.sample(&mut rng);
        let price = start * (0.02 * offset.clamp(-3.0, 3.0)).exp();
        Self { symbol, price, start, volatility, decimals, rng }
    }

    /// Walks on from a price that was published. One far from the start moves the bounds: it is what is true.
    fn go_on_from(&mut self, price: f64) {
        // Within the rounding of what was published, the walk itself knows better.
        let step = 10f64.powi(-self.decimals.cast_signed());
        if (self.price - price).abs() > step {
            self.price = price;
        }
        self.start = self.start.clamp(self.price / FARTHEST, self.price * FARTHEST);
    }

    /// One step of geometric Brownian motion without drift, `years` long.
    fn step(&mut self, years: f64, ts_ms: u64) -> Update {
        let shock: f64 = StandardNormal.sample(&mut self.rng);
        let drift = -0.5 * self.volatility * self.volatility * years;
        let next = self.price * (drift + self.volatility * years.sqrt() * shock).exp();
        self.price = next.clamp(self.start / FARTHEST, self.start * FARTHEST);

        let units = (self.price * 10f64.powi(self.decimals.cast_signed())).round().max(1.0);
        // At most 6.4e6 * 10^2 units: far inside an i64.
        let price = Price::new(units as i64, self.decimals);
        Update { symbol: self.symbol.clone(), price, ts_ms, bid: None, ask: None, size: None }
    }
}

/// A number for a symbol that is the same in every build (FNV-1a).
fn fingerprint(symbol: &Symbol) -> u64 {
    symbol
        .as_str()
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;

    use super::*;
    use crate::bus::{self, Bus};
    use crate::price::{BusEvent, Tick};

    fn simulator(symbols: &str, interval_ms: u64, seed: u64) -> Simulator {
        let symbols: Vec<Symbol> = symbols.split(',').map(|name| name.parse().unwrap()).collect();
        Simulator::new(
            symbols,
            Duration::from_millis(interval_ms),
            Some(seed),
            Clock::from_fn(|| 0),
            Arc::default(),
            Arc::new(|_| None),
        )
    }

    fn prices(simulator: &mut Simulator, symbol: &str, steps: usize) -> Vec<Price> {
        (0..steps)
            .map(|_| simulator.step().into_iter().find(|update| update.symbol.as_str() == symbol).unwrap().price)
            .collect()
    }

    #[test]
    fn a_seed_gives_each_symbol_its_own_walk_whatever_the_others() {
        let alone = prices(&mut simulator("ETH", 500, 7), "ETH", 50);
        assert_eq!(alone, prices(&mut simulator("BTC,ETH,FOO", 500, 7), "ETH", 50));
        assert_ne!(alone, prices(&mut simulator("ETH", 500, 8), "ETH", 50));
        let mut two = simulator("AAA,BBB", 500, 7);
        assert_ne!(prices(&mut two, "AAA", 50), prices(&mut two, "BBB", 50));
    }

    #[test]
    fn walks_as_the_market_does() {
        let known = [("BTC", 2), ("ADA", 5), ("DOGE", 6)];
        // From just above 1, 10 and 100 on: what moves least.
        let others = [("S034", 4), ("S018", 3), ("S004", 2)];
        for (symbol, decimals) in known.into_iter().chain(others) {
            let mut simulator = simulator(symbol, 500, 42);
            let start = simulator.walks[0].start;
            let prices = prices(&mut simulator, symbol, 20_000);
            let floats: Vec<f64> = prices.iter().map(|price| price.to_string().parse().unwrap()).collect();
            assert!(prices.iter().all(|price| price.scale() <= decimals && *price > Price::ZERO), "{symbol}");
            assert!(floats.iter().all(|price| (0.5..2.0).contains(&(price / start))), "{symbol} stays near {start}");
            // The spread of the steps, against sigma * sqrt(dt), rounding included.
            let steps: Vec<f64> = floats.windows(2).map(|pair| (pair[1] / pair[0]).ln()).collect();
            let deviation = (steps.iter().map(|step| step * step).sum::<f64>() / steps.len() as f64).sqrt();
            let walk = &simulator.walks[0];
            let expected = walk.volatility * (0.5 / YEAR.as_secs_f64()).sqrt();
            assert!((0.8..1.6).contains(&(deviation / expected)), "{symbol}: {deviation} against {expected}");
            let moved = prices.windows(2).filter(|pair| pair[0] != pair[1]).count();
            assert!(moved > prices.len() / 2, "{symbol} moves: {moved}");
        }
    }

    #[test]
    fn never_leaves_its_bounds() {
        // A step of a thousand years.
        let mut walk = Walk::new("BTC".parse().unwrap(), 1);
        for _ in 0..1000 {
            let update = walk.step(1000.0, 0);
            assert!(update.price >= Price::from(640) && update.price <= Price::from(6_400_000), "{update:?}");
        }
    }

    /// Runs a simulator for `length` of paused time, and returns when each tick of `symbol` was published.
    async fn run(interval_ms: u64, length: Duration, stall: Option<(Duration, Duration)>) -> (Vec<Tick>, Arc<Metrics>) {
        let settings = bus::Settings {
            redis: None,
            lease_ttl: Duration::ZERO,
            island_after: Duration::ZERO,
            history: Duration::ZERO,
            node_id: "app1".into(),
        };
        let clock = Clock::from_fn(|| 0);
        let (bus, mut reader, _) = Bus::open(&settings, &clock, &Arc::default()).await.unwrap();
        let mut simulator = simulator("BTC,ETH", interval_ms, 1);
        let metrics = simulator.metrics.clone();
        let stop = CancellationToken::new();
        let mut ticks = Vec::new();
        let end = Instant::now() + length;
        let term = bus.lead("simulator", &stop).await.unwrap();
        let source = simulator.run(&term, &stop);
        let read = async {
            loop {
                tokio::select! {
                    biased;
                    () = tokio::time::sleep_until(end) => break,
                    event = reader.next() => {
                        if let Some(BusEvent::Ticks(batch)) = event {
                            ticks.extend(batch.ticks);
                        }
                    }
                }
            }
            stop.cancel();
        };
        let stall = async {
            if let Some((after, length)) = stall {
                tokio::time::sleep(after).await;
                tokio::time::advance(length).await;
            }
        };
        let (published, (), ()) = tokio::join!(source, read, stall);
        published.unwrap();
        (ticks, metrics)
    }

    fn count(ticks: &[Tick], symbol: &str) -> usize {
        ticks.iter().filter(|tick| tick.update.symbol.as_str() == symbol).count()
    }

    #[tokio::test(start_paused = true)]
    async fn one_tick_per_symbol_and_interval_without_drift() {
        for (interval_ms, seconds) in [(1, 10), (7, 70), (500, 3600)] {
            let (ticks, metrics) = run(interval_ms, Duration::from_secs(seconds), None).await;
            let expected = usize::try_from(seconds * 1000 / interval_ms).unwrap();
            for symbol in ["BTC", "ETH"] {
                let got = count(&ticks, symbol);
                assert!((expected..=expected + 1).contains(&got), "{interval_ms} ms: {got} of {expected}");
            }
            assert_eq!(metrics.ticks_skipped.get(), 0);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn makes_up_a_short_stall_and_skips_a_long_one() {
        let second = Duration::from_secs(1);
        let (ticks, metrics) = run(10, 4 * second, Some((second, second / 2))).await;
        assert!((400..=401).contains(&count(&ticks, "BTC")), "made up: {}", count(&ticks, "BTC"));
        assert_eq!(metrics.ticks_skipped.get(), 0);

        let (ticks, metrics) = run(10, 14 * second, Some((second, 10 * second))).await;
        let got = count(&ticks, "BTC");
        assert!((395..=410).contains(&got), "no burst of what is old: {got}");
        assert!((1990..=2010).contains(&metrics.ticks_skipped.get()), "counted: {}", metrics.ticks_skipped.get());
    }

    #[test]
    fn goes_on_from_the_last_price_within_one_step() {
        let mut first = simulator("BTC,ETH", 100, 1);
        let before = prices(&mut first, "BTC", 1000).pop().unwrap();
        let last = HashMap::from([("BTC".parse().unwrap(), before)]);
        let mut second = simulator("BTC,ETH", 100, 2);
        let eth = Update { price: Price::from(5000), ..simulator("ETH", 100, 3).step().remove(0) };
        second.recall = Arc::new(move |symbol| (*symbol == eth.symbol).then(|| eth.clone()));
        second.take_up(&last);
        let step = |from: f64, to: Price| (f64::try_from(to).unwrap() / from).ln().abs();
        // Eight deviations of one step.
        let bound = 8.0 * 0.7 * (0.1 / YEAR.as_secs_f64()).sqrt();
        let updates = second.step();
        assert!(step(f64::try_from(before).unwrap(), updates[0].price) < bound, "from the log");
        assert!(step(5000.0, updates[1].price) < bound, "from what was seen here");
        // One that goes on by itself keeps what rounding hides.
        let exact = first.walks[0].price;
        first.take_up(&last);
        assert!((first.walks[0].price - exact).abs() < f64::EPSILON);
    }

    #[test]
    fn its_times_do_not_go_back_with_the_clock() {
        let mut simulator = simulator("BTC", 100, 1);
        let now_us = Arc::new(std::sync::atomic::AtomicU64::new(0));
        let clock_us = now_us.clone();
        simulator.clock = Clock::from_fn(move || clock_us.load(std::sync::atomic::Ordering::Relaxed));
        let seen = Update { ts_ms: 70, ..simulator.step().remove(0) };
        simulator.recall = Arc::new(move |_| Some(seen.clone()));
        simulator.take_up(&HashMap::new());
        let mut at = |ms: u64| {
            now_us.store(ms * 1000, std::sync::atomic::Ordering::Relaxed);
            simulator.step()[0].ts_ms
        };
        assert_eq!([at(50), at(100), at(40), at(101)], [70, 100, 100, 101], "nor behind what another has published");
    }

    #[test]
    fn takes_any_symbol() {
        for name in ["X", "very-long-name-of-32-bytes-xxxxxx", "1/2:3"] {
            let symbol: Symbol = name.parse().unwrap_or_else(|_| "Y".parse().unwrap());
            let mut walk = Walk::new(symbol, rand::random());
            assert!(walk.step(1e-9, 0).price > Price::ZERO);
        }
    }
}
