//! What keeps candles beyond the process: a file where the server is alone, Redis where there are several. Off the way of
//! ticks: it looks at the market about once a second, and stores what has changed.

mod file;
mod shared;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::bus::Bus;
use crate::market::Market;
use crate::metrics::Metrics;
pub use file::{CandleFile, FileError};
use shared::Shared;

/// How often what has changed is stored: what a kill costs at most, beside the time that storing takes.
const EVERY: Duration = Duration::from_secs(1);

/// How long the last storing may take at the end.
const LAST_WITHIN: Duration = Duration::from_secs(2);

/// Stores candles, where there is somewhere to store them.
#[derive(Debug)]
pub struct Keeper {
    place: Place,
    market: Arc<Market>,
    metrics: Arc<Metrics>,
    /// Whether it failed the last time: it is said once.
    is_failing: bool,
}

#[derive(Debug)]
enum Place {
    File(Box<CandleFile>),
    Shared(Shared),
    Nowhere,
}

impl Keeper {
    /// Keeps a market's candles in Redis where the bus is there, or else in this file; or else nowhere.
    pub fn new(market: Arc<Market>, bus: Arc<Bus>, file: Option<CandleFile>, metrics: Arc<Metrics>) -> Self {
        let place = match file {
            _ if bus.is_shared() => Place::Shared(Shared::new(bus)),
            Some(file) => Place::File(Box::new(file)),
            None => Place::Nowhere,
        };
        Self { place, market, metrics, is_failing: false }
    }

    /// Runs until `stop`, and then stores once more.
    pub async fn run(mut self, stop: CancellationToken) {
        if matches!(self.place, Place::Nowhere) {
            return stop.cancelled().await;
        }
        let mut every = tokio::time::interval(EVERY);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = every.tick() => self.store().await,
                () = stop.cancelled() => break,
            }
        }
        let last = async {
            self.store().await;
            if let Place::Shared(shared) = &self.place {
                shared.release().await;
            }
        };
        tokio::time::timeout(LAST_WITHIN, last).await.ok();
    }

    async fn store(&mut self) {
        let stored = match &mut self.place {
            Place::File(file) => file.store(&self.market, &self.metrics).await.map_err(|error| error.to_string()),
            Place::Shared(shared) => shared.store(&self.market).await.map_err(|error| error.to_string()),
            Place::Nowhere => Ok(()),
        };
        match stored {
            Ok(()) if self.is_failing => tracing::info!("candles are stored again"),
            Ok(()) => {}
            Err(error) => {
                self.metrics.keep_failures.inc();
                if !self.is_failing {
                    tracing::warn!(error, "candles cannot be stored: trying again, prices go on");
                }
                self.is_failing = true;
                return;
            }
        }
        self.is_failing = false;
    }
}
