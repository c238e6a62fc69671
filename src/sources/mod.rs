mod all;
mod backoff;
mod exchange;
mod gate;
mod input;
mod replay;
mod simulator;

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::bus::{Bus, PublishError, Term};
use crate::metrics::Metrics;
use crate::price::{Interval, Symbol, Update};
use crate::recording::NotARecording;
pub use all::Sources;
use backoff::Backoff;
pub use exchange::Exchange;
pub use input::Input;
pub use replay::{Replay, Unplayable};
pub use simulator::Simulator;

/// How often symbols are claimed that are another source's.
const CLAIM_EVERY: Duration = Duration::from_secs(5);

/// Why a source stopped making ticks.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bus did not take its updates.
    #[error("cannot publish: {0}")]
    Publish(#[from] PublishError),
    /// The recording cannot be read any more.
    #[error("cannot play the recording: {0}")]
    Recording(#[from] NotARecording),
}

impl Error {
    /// True where starting the source again may help.
    pub fn worth_retrying(&self) -> bool {
        match self {
            Self::Publish(PublishError::Closed) => false,
            Self::Publish(PublishError::Fenced) | Self::Recording(_) => true,
        }
    }
}

/// The last update of a symbol that this replica knows of, whoever published it.
pub type Recall = Arc<dyn Fn(&Symbol) -> Option<Update> + Send + Sync>;

/// The latest time of a symbol's updates that are in its candles, in ms since the Unix epoch.
pub type LastMs = Arc<dyn Fn(&Symbol) -> Option<u64> + Send + Sync>;

/// What candles there are, to whoever may ask an exchange for more.
#[derive(Clone)]
pub struct Held {
    /// How far they are.
    pub last_ms: LastMs,
    /// How many candles of a symbol are held, by [`Interval::index`].
    pub candles: [u64; Interval::COUNT],
}

/// Something that makes prices and publishes them on the bus.
pub trait Source: Send {
    /// Its name, as in the settings and the log.
    fn name(&self) -> &'static str;

    /// What it makes: nobody else publishes these while it does.
    fn symbols(&self) -> Vec<Symbol>;

    /// Publishes until it is told to stop. Goes on from where the log ends: another replica may have published.
    ///
    /// # Errors
    /// Whatever keeps it from going on; see [`Error::worth_retrying`].
    fn run(&mut self, term: &Term<'_>, stop: &CancellationToken) -> impl Future<Output = Result<(), Error>> + Send;
}

/// Runs a source whenever this replica holds its lease, until `stop`. Starts it again when it fails, after a pause that
/// grows.
///
/// # Errors
/// The first error that is not worth a retry.
pub async fn supervise(
    mut source: impl Source,
    bus: &Bus,
    metrics: &Metrics,
    stop: &CancellationToken,
) -> Result<(), Error> {
    let mut backoff = Backoff::new();
    loop {
        let Some(term) = bus.lead(source.name(), stop).await else { return Ok(()) };
        tracing::info!(source = source.name(), "publishing");
        let started = Instant::now();
        let run = async {
            let mut others = term.claim(&source.symbols()).await?;
            if !others.is_empty() {
                tracing::error!(source = source.name(), symbols = ?others, "another source makes these symbols: not published");
            }
            let (name, symbols) = (source.name(), source.symbols());
            // Another source, of a replica with other settings, may give them up.
            let claiming = async {
                while !others.is_empty() {
                    tokio::time::sleep(CLAIM_EVERY).await;
                    others = match term.claim(&symbols).await {
                        Ok(others) => others,
                        Err(error) => return Error::from(error),
                    };
                }
                tracing::debug!(source = name, "all symbols are this source's");
                std::future::pending().await
            };
            tokio::select! {
                ended = source.run(&term, stop) => ended,
                error = claiming => Err(error),
            }
        };
        let ended = tokio::select! {
            ended = run => ended,
            () = term.keep() => Err(Error::Publish(PublishError::Fenced)),
        };
        term.release().await;
        let Err(error) = ended else { return Ok(()) };
        if stop.is_cancelled() {
            return Ok(());
        }
        if !error.worth_retrying() {
            return Err(error);
        }
        if matches!(error, Error::Publish(PublishError::Fenced)) {
            // Not the source's failure: another replica goes on with it.
            tracing::warn!(source = source.name(), "the lease is lost");
            continue;
        }
        let pause = backoff.after(started, Duration::ZERO);
        tracing::warn!(source = source.name(), %error, pause_ms = pause.as_millis(), "source failed, starting it again");
        metrics.source_restarts.inc();
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return Ok(()),
        }
    }
}
