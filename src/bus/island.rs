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
