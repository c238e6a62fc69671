//! What a tick costs with 100,000 alerts on its symbol, none of which fires, against the same without: CPU time from the
//! bus to the flush, with one client. `cargo bench --bench alerts` prints a row for each pair of runs, made one after the
//! other in turns, and the median of their ratios.
//!
//! The client takes what it is given and does nothing with it: a socket would cost the same on both sides, and make the
//! share of the alerts smaller.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program for people at a terminal")]
#![allow(
    clippy::disallowed_methods,
    reason = "its tasks end with the program, and a panic in one ends the wait for all"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::value::RawValue;
use tickcast::bus::{self, Bus, Offer, Offered};
use tickcast::clock::Clock;
use tickcast::fanout::{self, ClientId, Events, Fanout, Link, Reply, Request, Sent};
use tickcast::market::{Keep, Kept, Market};
use tickcast::messages::alerts::{self, Alerts, Answering, Ask, Owner, Stored};
use tickcast::metrics::Metrics;
use tickcast::net::Lane;
use tickcast::pattern::Patterns;
use tickcast::price::{Price, Symbol, Update};
use tickcast::wire::{Failure, Mode, Rule, SetAlert, Subscribe, Symbols};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

const ALERTS: u64 = 100_000;
/// Ticks of one run, and pairs of runs.
const TICKS: u64 = 20_000;
const PAIRS: usize = 21;
/// Prices go up and down in this range, in hundredths; alerts lie close outside of it.
const PRICES: std::ops::Range<i64> = 10_000..10_100;

/// A client that takes everything at once.
#[derive(Default)]
struct Client(AtomicU64);

impl Link for Client {
    fn lane(&self) -> Option<Lane> {
        None
    }

    fn take_ready(&self) -> bool {
        true
    }

    fn deliver(&self, _: &str, _: &RawValue, _: bool) -> bool {
        self.0.fetch_add(1, Ordering::Relaxed);
        true
    }

    fn send(&self, _: &str, _: &RawValue) -> Sent {
        Sent::Done
    }

    fn send_on(&self, _: &str, _: &RawValue) -> Sent {
        Sent::Done
    }

    fn take_dropped(&self) -> Option<(u32, String)> {
        None
    }

    fn close(&self) {}
}

/// Who waits for the answer to a request.
struct Asker(oneshot::Sender<()>);

impl Reply for Asker {
    fn by_callback(&self) -> bool {
        true
    }

    fn send(self: Box<Self>, answer: Result<Box<RawValue>, Failure>) -> Sent {
        answer.unwrap();
        self.0.send(()).unwrap();
        Sent::Done
    }
}

/// A server from the bus to the flush.
struct Server {
    bus: Bus,
    client: Arc<Client>,
    symbol: Symbol,
    metrics: Arc<Metrics>,
    sent: u64,
    _stop: tokio_util::sync::DropGuard,
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (mut without, mut with) = (Server::start(0).await, Server::start(ALERTS).await);
        for server in [&mut without, &mut with] {
            server.run(TICKS).await;
        }
        println!("| us of CPU per tick, no alerts | with {ALERTS} | ratio |\n|---:|---:|---:|");
        let mut ratios = Vec::new();
        for pair in 0..PAIRS {
            // Who comes first takes turns.
            let (one, other) = if pair % 2 == 0 {
                let one = without.run(TICKS).await;
                (one, with.run(TICKS).await)
            } else {
                let other = with.run(TICKS).await;
                (without.run(TICKS).await, other)
            };
            let us = |time: Duration| time.as_secs_f64() * 1e6 / TICKS as f64;
            let ratio = us(other) / us(one);
            println!("| {:.3} | {:.3} | {ratio:.3} |", us(one), us(other));
            ratios.push(ratio);
        }
        ratios.sort_by(f64::total_cmp);
        let (least, median, most) = (ratios[0], ratios[PAIRS / 2], ratios[PAIRS - 1]);
        println!("\nratio: median {median:.3}, from {least:.3} to {most:.3}");
        assert_eq!(with.metrics.alerts.get(), ALERTS as i64);
        assert_eq!(with.metrics.alerts_fired.get(), 0, "none may fire");
    });
}

impl Server {
    async fn start(count: u64) -> Self {
        let (clock, metrics) = (Clock::system(), Arc::<Metrics>::default());
        let settings = bus::Settings {
            redis: None,
            lease_ttl: Duration::ZERO,
            history: Duration::ZERO,
            island_after: Duration::MAX,
            node_id: "bench".into(),
        };
        let (bus, events, _) = Bus::open(&settings, &clock, &metrics).await.unwrap();
        let symbol: Symbol = "BTC".parse().unwrap();
        let keep = Keep { age_ms: 60_000, ticks: 10_000, candles: Kept::default() };
        let market = Arc::new(Market::new([symbol.clone()], keep, metrics.clone()));
        let most = usize::try_from(ALERTS).unwrap();
        let settings = alerts::Settings { most, most_in_all: most };
        let parts = alerts::open(settings, &market, (Stored::Nowhere, None), None, &clock, &metrics);
        let alerts = parts.alerts;
        set(&alerts, count);

        let (handle, inboxes) = fanout::channel(1, &metrics.queues);
        let settings = fanout::Settings {
            events: Events { tick: "tick".into(), batch: "ticks".into() },
            default_mode: Mode::Tick,
            server_id: "bench".into(),
            flush_interval: Duration::ZERO,
            slow_timeout: Duration::from_secs(60),
            stale_after: None,
            replay_ticks: 100,
            max_subscriptions: 100,
            max_charts: 100,
            answer_candles: 100,
        };
        let fanout = Fanout::new(settings, &market, &metrics, &clock, inboxes);
        let (pump, shards) = fanout.observed_by(Arc::new(move |epoch, fresh| alerts.take(epoch, fresh))).split();
        let stop = CancellationToken::new();
        tokio::spawn(pump.run(events, stop.clone()));
        for shard in shards {
            tokio::spawn(shard.run(stop.clone()));
        }
        let client = Arc::new(Client::default());
        handle.place(ClientId(1)).await.unwrap().join(client.clone(), Patterns::every());
        let subscribe = Request::Subscribe(Subscribe::to(Symbols::All));
        let (reply, answered) = oneshot::channel();
        assert!(handle.request(ClientId(1), subscribe, Box::new(Asker(reply))).is_ok());
        answered.await.unwrap();
        Self { bus, client, symbol, metrics, sent: 0, _stop: stop.drop_guard() }
    }

    /// Sends ticks, each when the one before has been delivered. Returns how long this thread was on a processor.
    async fn run(&mut self, ticks: u64) -> Duration {
        let from = cpu();
        for _ in 0..ticks {
            self.sent += 1;
            let span = PRICES.end - PRICES.start;
            // Up, and then down again: each step is another price.
            let at = i64::try_from(self.sent).unwrap() % (2 * span);
            let price = Price::new(PRICES.start + at.min(2 * span - at), 2);
            let (symbol, ts_ms) = (self.symbol.clone(), self.sent);
            let update = Update { symbol, price, ts_ms, bid: None, ask: None, size: None };
            let offer = Offer { key: None, updates: vec![Ok(Offered { update, is_timed: true })] };
            self.bus.offer(&offer).await.unwrap();
            while self.client.0.load(Ordering::Relaxed) < self.sent {
                tokio::task::yield_now().await;
            }
        }
        cpu() - from
    }
}

/// Alerts on both sides of the prices, a hundredth from each other.
fn set(alerts: &Alerts, count: u64) {
    for n in 0..i64::try_from(count).unwrap() {
        let rule = match n % 2 {
            0 => Rule::Above(Price::new(PRICES.end + 1 + n / 2, 2)),
            _ => Rule::Below(Price::new(PRICES.start - 1 - n / 2, 2)),
        };
        let asker = alerts::Asker { owner: Owner::Connection(1), seat: None, symbols: &Patterns::every() };
        let answer = alerts.ask(asker, Ask::Set(SetAlert { symbol: "BTC".into(), rule }));
        assert!(matches!(answer, Answering::Now(Ok(_))), "{answer:?}");
    }
}

/// How long this thread has been on a processor.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(stat.split(' ').next().unwrap().parse().unwrap())
}
