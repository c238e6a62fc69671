mod charts;
mod cohort;
mod days;
mod deliver;
mod flush;
mod freshness;
mod handle;
mod parcel;
mod pending;
mod pump;
mod quiet;
mod rights;
mod session;
mod shard;
mod show;
mod subscribe;
mod wanted;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::clock::Clock;
use crate::market::Market;
use crate::metrics::Metrics;
use crate::wire::Mode;
use freshness::Freshness;
pub use handle::{ClientId, Handle, Inboxes, Link, Place, Reply, Request, Sent, channel};
pub use parcel::Events;
use pump::FLUSHES_IN_FLIGHT;
pub use pump::{Observer, Pump};
pub use shard::Shard;

/// What the fan-out is told once.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The names of the events that carry ticks.
    pub events: Events,
    /// The mode of those who do not say.
    pub default_mode: Mode,
    /// The replica's id.
    pub server_id: String,
    /// How long a tick may wait for others to go out with it.
    pub flush_interval: Duration,
    /// How long a client may take nothing of what waits for it.
    pub slow_timeout: Duration,
    /// After how long without a tick a symbol is stale; none for never.
    pub stale_after: Option<Duration>,
    /// The most ticks that one answer replays.
    pub replay_ticks: usize,
    /// The most symbols that a client may have subscribed.
    pub max_subscriptions: usize,
    /// The most candles that a client may follow: symbols and intervals.
    pub max_charts: usize,
    /// The most candles that one answer has.
    pub answer_candles: usize,
}

/// Decides who gets which tick, and when.
///
/// One part takes what the bus says to the market and encodes it, once for everybody. The others, the shards, own the
/// clients, each its part of them, and do the sending, side by side.
pub struct Fanout {
    pump: Pump,
    shards: Vec<Shard>,
}

impl Fanout {
    /// A fan-out without clients, with as many shards as there are inboxes.
    pub fn new(
        settings: Settings,
        market: &Arc<Market>,
        metrics: &Arc<Metrics>,
        clock: &Clock,
        Inboxes(inboxes): Inboxes,
    ) -> Self {
        let settings = Arc::new(settings);
        let (senders, shards) = inboxes
            .into_iter()
            .map(|inbox| {
                let (sender, news) = mpsc::channel(FLUSHES_IN_FLIGHT);
                metrics.queues.watch("flushes", &sender);
                let shard = Shard::new(settings.clone(), market.clone(), metrics.clone(), clock.clone(), news, inbox);
                (sender, shard)
            })
            .unzip();
        let pump = Pump {
            market: market.clone(),
            metrics: metrics.clone(),
            tick_event: settings.events.tick.clone(),
            interval: settings.flush_interval,
            freshness: Freshness::new(settings.stale_after, clock.clone()),
            joined: false,
            shards: senders,
            observer: None,
        };
        Self { pump, shards }
    }

    /// The same, with somebody who looks at each tick.
    #[must_use]
    pub fn observed_by(mut self, observer: Observer) -> Self {
        self.pump.observer = Some(observer);
        self
    }

    /// Its parts, each of which has to run: the pump and the shards.
    pub fn split(self) -> (Pump, Vec<Shard>) {
        (self.pump, self.shards)
    }
}

#[cfg(test)]
mod tests;
