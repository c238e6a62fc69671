use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::time::Instant;

use super::Edge;
use super::reach::{Reached, reach};
use crate::fanout::Sent;
use crate::messages::To;
use crate::wire::{Drain, to_client};

/// The status of the close frame: the server restarts, come back (RFC 6455 and IANA's list: Service Restart).
const SERVICE_RESTART: u16 = 1012;

/// Clients that are told in a row before others on this thread have their turn.
const CLIENTS_IN_A_ROW: usize = 128;

impl Edge {
    /// Tells every client that it will be closed, and closes each one's transport in its slot: evenly over `spread`, in no
    /// order. What waits for it and is due goes out first. Who does not go within `grace` after it was closed is cut.
    ///
    /// Ticks go on until then. Nobody new is expected: see [`crate::limits::Limits::drain`].
    pub async fn drain(&self, spread: Duration, grace: Duration) {
        let clients = reach(&self.io, &To::default());
        let begun = Instant::now();
        let count = u32::try_from(clients.len()).unwrap_or(u32::MAX).max(1);
        tracing::info!(clients = clients.len(), spread_ms = spread.as_millis(), "draining");
        let mut slots = Vec::with_capacity(clients.len());
        for (slot, reached) in (0..count).zip(clients) {
            let offset = spread.mul_f64(f64::from(slot) / f64::from(count));
            if let Some(line) = reached.client.line() {
                let reconnect_in_ms = u64::try_from(offset.as_millis()).unwrap_or(u64::MAX);
                if line.tell(to_client::DRAIN, &Drain { reconnect_in_ms }.encode()) == Sent::Dropped {
                    self.shared.metrics.messages_dropped.inc();
                }
            }
            slots.push((begun + offset, reached));
            if slots.len().is_multiple_of(CLIENTS_IN_A_ROW) {
                tokio::task::yield_now().await;
            }
        }
        let part = async |(slot, reached): (Instant, Reached)| {
            tokio::time::sleep_until(slot).await;
            if tokio::time::timeout(grace, self.part(&reached)).await.is_err() {
                self.shared.close(&reached.socket);
            }
        };
        stream::iter(slots).for_each_concurrent(None, part).await;
    }

    /// Closes a client's transport; ends when it has gone.
    async fn part(&self, Reached { socket, client }: &Reached) {
        // One that goes by itself in this moment.
        let Some(line) = client.line() else { return client.until_gone().await };
        if line.has_websocket() {
            self.shared.fanout.retire(client.id).await;
            if !line.part(SERVICE_RESTART).await {
                self.shared.close(socket);
            }
        } else {
            line.retire().await;
        }
        client.until_gone().await;
    }
}
