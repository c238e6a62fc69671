use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::across::Across;
use crate::messages::Asks;
use crate::metrics::Metrics;

/// Letters that may wait; one more is dropped, and counted. While Redis does not answer they wait here.
const LETTERS_IN_FLIGHT: usize = 1024;

/// What is to be said to other replicas, in the order in which it was put here. Nobody waits for it: what is said to
/// clients of this replica does not wait for Redis.
pub(super) struct Outbox {
    letters: mpsc::Sender<Letter>,
    metrics: Arc<Metrics>,
}

/// What one or all of the other replicas are to hear.
pub(super) struct Letter {
    pub(super) channel: String,
    pub(super) json: Vec<u8>,
    pub(super) then: Then,
}

/// What comes after a letter.
pub(super) enum Then {
    Nothing,
    /// Who heard it is to answer this.
    Expect(u64),
    /// This replica drains, whether it could be said or not.
    Drain(CancellationToken),
}

impl Outbox {
    /// An outbox, and what is put in it: for [`carry`].
    pub(super) fn open(metrics: &Arc<Metrics>) -> (Self, mpsc::Receiver<Letter>) {
        let (letters, waiting) = mpsc::channel(LETTERS_IN_FLIGHT);
        metrics.queues.watch("across", &letters);
        (Self { letters, metrics: metrics.clone() }, waiting)
    }

    pub(super) fn put(&self, letter: Letter) {
        if let Err(refused) = self.letters.try_send(letter) {
            self.metrics.messages_lost.inc();
            tracing::debug!("too much waits to be said to the other replicas");
            if let Then::Drain(drain) = refused.into_inner().then {
                drain.cancel();
            }
        }
    }
}

/// Says what is put in the outbox, one after the other, until there is none.
pub(super) async fn carry(waiting: &mut mpsc::Receiver<Letter>, across: &Across, asks: &Asks) {
    while let Some(Letter { channel, json, then }) = waiting.recv().await {
        let told = across.tell(&channel, &json).await;
        match then {
            Then::Nothing => {}
            Then::Expect(ask) => {
                // As Redis counts, which may be without this one, where it does not hear yet. Where it counts nobody,
                // nobody can hear us yet.
                if let Some(processes) = told.filter(|processes| *processes > 0 || across.is_nowhere()) {
                    asks.expect(ask, processes);
                }
            }
            Then::Drain(drain) => drain.cancel(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_finds_no_room_is_counted_and_who_is_to_drain_drains() {
        let metrics = Arc::<Metrics>::default();
        let (outbox, waiting) = Outbox::open(&metrics);
        let letter = |then| Letter { channel: "all".to_owned(), json: b"{}".to_vec(), then };
        for _ in 0..LETTERS_IN_FLIGHT {
            outbox.put(letter(Then::Nothing));
        }
        assert_eq!(metrics.messages_lost.get(), 0);
        assert_eq!(metrics.queues.all(), [("across", LETTERS_IN_FLIGHT, LETTERS_IN_FLIGHT)]);

        let drain = CancellationToken::new();
        outbox.put(letter(Then::Drain(drain.clone())));
        assert_eq!((metrics.messages_lost.get(), waiting.len()), (1, LETTERS_IN_FLIGHT));
        assert!(drain.is_cancelled());
    }
}
