mod local;

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::Stream;
use tokio::sync::mpsc;

use crate::clock::Clock;
use crate::price::{Batch, Epoch, Update};
use local::LocalBus;

/// Batches that may wait between the bus and its reader. A full channel slows the source down; nothing is dropped.
const BATCHES_IN_FLIGHT: usize = 1024;

/// The one ordered log of ticks, as those who append to it see it.
///
/// It numbers the ticks (a source does not), so several publishers can feed it, and it alone knows whether there is a
/// cluster.
#[derive(Debug)]
pub struct Bus {
    log: LocalBus,
}

/// The log as its one reader in this process sees it.
#[derive(Debug)]
pub struct Reader {
    batches: mpsc::Receiver<Batch>,
}

/// How the bus is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Ticks pass.
    Live,
}

impl State {
    /// Its name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
        }
    }
}

/// Why ticks could not be appended.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The reader is gone: the process is shutting down. Not worth a retry.
    #[error("the bus is closed")]
    Closed,
}

impl Bus {
    /// A bus inside this process, and its reader.
    pub fn local(clock: &Clock) -> (Self, Reader) {
        let (sender, batches) = mpsc::channel(BATCHES_IN_FLIGHT);
        (Self { log: LocalBus::new(clock, sender) }, Reader { batches })
    }

    /// Appends updates as one batch and returns the `seq` that each was given, in order. Waits while the log is
    /// full.
    ///
    /// # Errors
    /// [`PublishError`] says whether a retry is worth it; nothing was appended then.
    pub async fn publish(&self, updates: Vec<Update>) -> Result<Vec<u64>, PublishError> {
        self.log.publish(updates).await
    }

    /// The numbering in force.
    pub fn epoch(&self) -> Epoch {
        self.log.epoch()
    }

    /// How it is now.
    pub fn state(&self) -> State {
        State::Live
    }

    /// Which form it has: `local`.
    pub fn kind(&self) -> &'static str {
        "local"
    }
}

/// Batches in order, until every [`Bus`] is gone.
impl Stream for Reader {
    type Item = Batch;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Batch>> {
        self.batches.poll_recv(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use futures_util::StreamExt;

    use super::*;
    use crate::price::Price;

    fn update(symbol: &str) -> Update {
        Update { symbol: symbol.parse().unwrap(), price: Price::ONE, ts_ms: 0, bid: None, ask: None, size: None }
    }

    #[tokio::test]
    async fn numbers_per_symbol_from_the_clock_in_microseconds() {
        let (bus, mut reader) = Bus::local(&Clock::from_fn(|| 1_732_252_800_123_000));
        let seqs = bus.publish(vec![update("BTC"), update("ETH"), update("BTC")]).await.unwrap();
        assert_eq!(seqs, [1_732_252_800_123_001, 1_732_252_800_123_001, 1_732_252_800_123_002]);
        bus.publish(vec![update("BTC")]).await.unwrap();

        let batch = reader.next().await.unwrap();
        assert_eq!(batch.ticks.iter().map(|tick| tick.seq).collect::<Vec<_>>(), seqs);
        assert_eq!(batch.epoch, bus.epoch());
        assert_eq!(reader.next().await.unwrap().ticks[0].seq, 1_732_252_800_123_003);
    }

    #[tokio::test]
    async fn never_goes_back_with_the_clock_and_a_restart_is_a_new_epoch() {
        let now = Arc::new(AtomicU64::new(7_200_000_000));
        let clock = Clock::from_fn({
            let now = now.clone();
            move || now.load(Ordering::Relaxed)
        });
        let (bus, _reader) = Bus::local(&clock);
        let before = bus.publish(vec![update("BTC")]).await.unwrap();
        now.fetch_sub(3_600_000_000, Ordering::Relaxed);
        assert_eq!(bus.publish(vec![update("BTC")]).await.unwrap()[0], before[0] + 1);

        let (again, _reader) = Bus::local(&clock);
        assert_ne!(again.epoch(), bus.epoch());
    }

    #[tokio::test]
    async fn publishers_side_by_side_keep_the_order_of_their_numbers() {
        let (bus, mut reader) = Bus::local(&Clock::from_fn(|| 0));
        let bus = Arc::new(bus);
        let publishers: Vec<_> = (0..8)
            .map(|_| {
                let bus = bus.clone();
                async move {
                    for _ in 0..200 {
                        bus.publish(vec![update("BTC")]).await.unwrap();
                    }
                }
            })
            .collect();
        let all = futures_util::future::join_all(publishers);
        let read = async {
            for expected in 1..=1600 {
                assert_eq!(reader.next().await.unwrap().ticks[0].seq, expected);
            }
        };
        tokio::join!(all, read);
    }

    #[tokio::test]
    async fn says_that_it_is_closed() {
        let (bus, reader) = Bus::local(&Clock::from_fn(|| 0));
        drop(reader);
        assert!(matches!(bus.publish(vec![update("BTC")]).await, Err(PublishError::Closed)));
    }
}
