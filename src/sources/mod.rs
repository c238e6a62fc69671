mod input;
mod simulator;

use std::future::Future;
use std::time::Duration;

use rand::RngExt;
use tokio_util::sync::CancellationToken;

use crate::bus::{Bus, PublishError, Term};
use crate::metrics::Metrics;
use crate::price::Symbol;
pub use input::Input;
pub use simulator::Simulator;

/// The first pause before a failed source is started again; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// The longest pause between two starts of a source.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// A run that lasted this long counts as healthy: the next pause is the first one again.
const HEALTHY_AFTER: Duration = Duration::from_secs(60);

/// Why a source stopped making ticks.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bus did not take its updates.
    #[error("cannot publish: {0}")]
    Publish(#[from] PublishError),
}

impl Error {
    /// True where starting the source again may help.
    pub fn worth_retrying(&self) -> bool {
        match self {
            Self::Publish(PublishError::Closed) => false,
            Self::Publish(PublishError::Fenced) => true,
        }
    }
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
    let mut pause = FIRST_PAUSE;
    loop {
        let Some(term) = bus.lead(source.name(), stop).await else { return Ok(()) };
        tracing::info!(source = source.name(), "publishing");
        let started = tokio::time::Instant::now();
        let run = async {
            let others = term.claim(&source.symbols()).await?;
            if !others.is_empty() {
                tracing::error!(source = source.name(), symbols = ?others, "another source makes these symbols: not published");
            }
            source.run(&term, stop).await
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
        if started.elapsed() >= HEALTHY_AFTER {
            pause = FIRST_PAUSE;
        }
        // Half to all of it, so that replicas that failed together do not come back together.
        let pause_now = pause.mul_f64(rand::rng().random_range(0.5..=1.0));
        tracing::warn!(source = source.name(), %error, pause_ms = pause_now.as_millis(), "source failed, starting it again");
        metrics.source_restarts.inc();
        tokio::select! {
            () = tokio::time::sleep(pause_now) => {}
            () = stop.cancelled() => return Ok(()),
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
