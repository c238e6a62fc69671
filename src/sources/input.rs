use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Error, Source};
use crate::bus::{Input as Stream, InputEntry, OfferError, PublishError, Term};
use crate::metrics::Metrics;
use crate::price::Symbol;
use crate::publish::{Candidate, Publisher};

/// The pause before a stream that could not be read, or an offer that got no answer, is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// What other services publish without HTTP: the stream `tickcast:in` in Redis, an update per entry. One replica at a
/// time reads it.
#[derive(Debug)]
pub struct Input {
    publisher: Arc<Publisher>,
    metrics: Arc<Metrics>,
}

impl Input {
    /// A reader that publishes through this.
    pub fn new(publisher: Arc<Publisher>, metrics: Arc<Metrics>) -> Self {
        Self { publisher, metrics }
    }

    /// Publishes what was read. Entries that are wrong count as taken: they would be wrong again.
    async fn take(&self, stream: &mut Stream<'_>, entries: &[InputEntry]) -> Result<(), OfferError> {
        let Some(last) = entries.last() else { return Ok(()) };
        let candidates = entries.iter().map(|entry| Candidate::from_fields(&entry.fields)).collect();
        let (symbols, offer) = self.publisher.offer(candidates, None);
        let answered = stream.take(&offer, &last.id).await?;
        let published = self.publisher.published(symbols, answered, &self.metrics.input);
        for (entry, outcome) in entries.iter().zip(published.outcomes) {
            let symbol = outcome.symbol;
            match outcome.result {
                Ok(seq) => tracing::debug!(id = entry.id, symbol, seq, "an entry of the input stream was published"),
                Err(why) => tracing::warn!(
                    id = entry.id,
                    symbol,
                    code = %why.code,
                    reason = why.message,
                    "an entry of the input stream was rejected"
                ),
            }
        }
        Ok(())
    }
}

impl Source for Input {
    fn name(&self) -> &'static str {
        "input"
    }

    /// None: it publishes what no source owns.
    fn symbols(&self) -> Vec<Symbol> {
        Vec::new()
    }

    async fn run(&mut self, term: &Term<'_>, stop: &CancellationToken) -> Result<(), Error> {
        let Some(mut stream) = term.input() else {
            stop.cancelled().await;
            return Ok(());
        };
        loop {
            let read = tokio::select! {
                read = stream.read() => read,
                () = stop.cancelled() => return Ok(()),
            };
            let failure = match read {
                Ok(entries) => match self.take(&mut stream, &entries).await {
                    Ok(()) => continue,
                    Err(OfferError::Fenced) => return Err(PublishError::Fenced.into()),
                    Err(OfferError::Closed) => return Err(PublishError::Closed.into()),
                    // The same entries are read and offered again; an offer that was appended is known by its position.
                    Err(error) => error.to_string(),
                },
                Err(error) => error.to_string(),
            };
            tracing::debug!(error = failure, "cannot take the input stream, trying again");
            tokio::select! {
                () = tokio::time::sleep(RETRY_PAUSE) => {}
                () = stop.cancelled() => return Ok(()),
            }
        }
    }
}
