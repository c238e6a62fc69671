use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, try_join_all};
use tokio_util::sync::CancellationToken;

use super::{Error, Exchange, Held, Input, Recall, Replay, Simulator, Unplayable, supervise};
use crate::bus::Bus;
use crate::clock::Clock;
use crate::config::{Config, SourceName};
use crate::metrics::Metrics;
use crate::price::Symbol;

/// Every source that the settings name.
pub struct Sources {
    simulator: Option<Simulator>,
    exchanges: Vec<Exchange>,
    replay: Option<Replay>,
    input: Option<Input>,
}

impl Sources {
    /// The sources of these settings, but for what others publish. `recall` is the last that was published of a symbol,
    /// `held` what candles there are; without it no exchange is asked for its past.
    ///
    /// # Errors
    /// The recording that is to be played cannot be.
    pub async fn open(
        config: &Config,
        clock: &Clock,
        metrics: &Arc<Metrics>,
        recall: &Recall,
        held: Option<&Held>,
    ) -> Result<Self, Unplayable> {
        let (feeds, plan) = (&config.feeds, config.plan());
        // One without symbols, too: it holds its term, so that nobody makes what an earlier one did.
        let simulator = feeds.sources.0.contains(&SourceName::Simulator).then(|| {
            let interval = Duration::from_millis(config.update_interval_ms);
            let (clock, metrics) = (clock.clone(), metrics.clone());
            Simulator::new(plan.simulated.clone(), interval, config.simulator_seed, clock, metrics, recall.clone())
        });
        let exchange = |(name, listed): &(_, Vec<_>)| {
            Exchange::new(*name, listed, feeds, clock.clone(), metrics.clone(), recall.clone(), held)
        };
        let replay = match &plan.replay {
            Some(file) => Some(Replay::open(file, feeds, clock.clone(), metrics.clone()).await?),
            None => None,
        };
        Ok(Self { simulator, exchanges: plan.exchanges.iter().map(exchange).collect(), replay, input: None })
    }

    /// Also what other services put into the input stream.
    pub fn with_input(self, input: Input) -> Self {
        Self { input: Some(input), ..self }
    }

    /// What the recording makes.
    pub fn replayed(&self) -> &[Symbol] {
        self.replay.as_ref().map_or(&[], Replay::made)
    }

    /// Cancelled when nothing more comes of any of them; never where one makes prices for as long as it runs.
    pub fn finished(&self) -> CancellationToken {
        match self {
            Self { simulator: None, exchanges, replay: Some(replay), input: None } if exchanges.is_empty() => {
                replay.finished()
            }
            _ => CancellationToken::new(),
        }
    }

    /// Runs them side by side until `stop`.
    ///
    /// # Errors
    /// The first error that is not worth a retry.
    pub async fn run(self, bus: &Bus, metrics: &Metrics, stop: &CancellationToken) -> Result<(), Error> {
        let mut running: Vec<BoxFuture<'_, Result<(), Error>>> = Vec::new();
        running.extend(self.simulator.map(|source| supervise(source, bus, metrics, stop).boxed()));
        running.extend(self.exchanges.into_iter().map(|source| supervise(source, bus, metrics, stop).boxed()));
        running.extend(self.replay.map(|source| supervise(source, bus, metrics, stop).boxed()));
        running.extend(self.input.map(|source| supervise(source, bus, metrics, stop).boxed()));
        try_join_all(running).await?;
        // There may be none: the others publish.
        stop.cancelled().await;
        Ok(())
    }
}
