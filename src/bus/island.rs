use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::local::{Ended, LocalBus};
use crate::clock::Clock;
use crate::price::BusEvent;

/// The log of a replica that cannot reach the shared one: it goes on by itself, under an epoch of its own.
#[derive(Debug)]
pub(super) struct Island {
    pub(super) bus: LocalBus,
    over: CancellationToken,
}

/// Whether this replica is an island now; shared by who decides it, and by those who publish.
#[derive(Clone, Debug)]
pub(super) struct Shore(Arc<watch::Sender<Option<Arc<Island>>>>);

impl Default for Shore {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(None)))
    }
}

impl Shore {
    /// The island that this replica is now.
    pub(super) fn island(&self) -> Option<Arc<Island>> {
        self.0.borrow().clone()
    }

    /// Resolves as soon as this replica is one.
    pub(super) async fn left(&self) -> Arc<Island> {
        loop {
            if let Ok(island) = self.0.subscribe().wait_for(Option::is_some).await
                && let Some(island) = island.clone()
            {
                return island;
            }
        }
    }

    /// From now on it is one: it numbers above `floor`, and those who publish do so here.
    pub(super) fn leave(&self, floor: u64, clock: &Clock, events: mpsc::Sender<BusEvent>) -> Arc<Island> {
        let island = Arc::new(Island { bus: LocalBus::new(floor, clock, events), over: CancellationToken::new() });
        self.0.send_replace(Some(island.clone()));
        island
    }

    /// It is none any more: nothing of it comes to the reader after this.
    pub(super) fn rejoin(&self, island: &Island) -> Ended {
        let ended = island.bus.close();
        self.0.send_replace(None);
        island.over.cancel();
        ended
    }
}

impl Island {
    /// Resolves when the shared log is there again.
    pub(super) async fn over(&self) {
        self.over.cancelled().await;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::bus::PublishError;
    use crate::price::{Price, Update};

    const CLOCK_US: u64 = 1_000_000;

    fn update(symbol: &str, price: u32) -> Update {
        let symbol = symbol.parse().unwrap();
        Update { symbol, price: Price::from(price), ts_ms: 1, bid: None, ask: None, size: None }
    }

    /// A shore, and an island above this number; what is said on it.
    fn left(floor: u64) -> (Shore, Arc<Island>, mpsc::Receiver<BusEvent>) {
        let (sender, events) = mpsc::channel(8);
        let shore = Shore::default();
        let island = shore.leave(floor, &Clock::from_fn(|| CLOCK_US), sender);
        (shore, island, events)
    }

    fn said(events: &mut mpsc::Receiver<BusEvent>) -> Vec<(String, u64)> {
        match events.try_recv() {
            Ok(BusEvent::Ticks(batch)) => {
                batch.ticks.iter().map(|tick| (tick.update.symbol.to_string(), tick.seq)).collect()
            }
            Ok(other) => panic!("{other:?}"),
            Err(_) => Vec::new(),
        }
    }

    #[tokio::test]
    async fn numbers_above_all_that_was_sent_and_above_the_clock() {
        for (floor, first) in [(CLOCK_US + 7, CLOCK_US + 8), (7, CLOCK_US + 1)] {
            let (_, island, mut events) = left(floor);
            // What was known is said again, quiet symbols too, and goes on from there.
            island.bus.restate(vec![update("A", 1), update("QUIET", 2)]).await.unwrap();
            assert_eq!(said(&mut events), [("A".into(), first), ("QUIET".into(), first)]);
            assert_eq!(island.bus.publish("simulator", vec![update("A", 3)]).await.unwrap(), [first + 1]);
            assert_eq!(said(&mut events), [("A".into(), first + 1)]);
            assert_eq!(island.bus.last_prices()["QUIET"], Price::from(2u32));
        }
    }

    #[tokio::test]
    async fn those_who_wait_hear_of_it_and_of_its_end() {
        let shore = Shore::default();
        let mut waits = std::pin::pin!(shore.left());
        assert!(waits.as_mut().now_or_never().is_none() && shore.island().is_none());
        let (sender, _events) = mpsc::channel(8);
        let island = shore.leave(0, &Clock::from_fn(|| CLOCK_US), sender.clone());
        let told = waits.as_mut().now_or_never().unwrap();
        assert!(Arc::ptr_eq(&told, &island) && Arc::ptr_eq(&shore.island().unwrap(), &island));
        let mut over = std::pin::pin!(told.over());
        assert!(over.as_mut().now_or_never().is_none());
        shore.rejoin(&island);
        assert!(over.as_mut().now_or_never().is_some() && shore.island().is_none());
        assert!(shore.left().now_or_never().is_none(), "it is over for who comes later, too");

        let another = shore.leave(0, &Clock::from_fn(|| CLOCK_US), sender);
        assert_ne!(another.bus.epoch(), island.bus.epoch());
    }

    #[tokio::test]
    async fn nothing_of_it_is_said_after_its_end() {
        let (shore, island, mut events) = left(CLOCK_US);
        island.bus.restate(vec![update("A", 1), update("QUIET", 2)]).await.unwrap();
        island.bus.publish("simulator", vec![update("A", 3), update("A", 4)]).await.unwrap();
        let ended = shore.rejoin(&island);
        assert_eq!(ended.highest, CLOCK_US + 3, "a new epoch has to begin above this");
        let mut last = ended.last;
        last.sort_by_key(|update| update.symbol.to_string());
        assert_eq!(last, [update("A", 4), update("QUIET", 2)]);
        assert_eq!([said(&mut events).len(), said(&mut events).len()], [2, 2]);
        // A source that does not know yet.
        let late = island.bus.publish("simulator", vec![update("A", 5)]).await;
        assert!(matches!(late, Err(PublishError::Fenced)));
        assert!(said(&mut events).is_empty());
    }
}
