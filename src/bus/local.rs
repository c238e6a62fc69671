use std::collections::HashMap;
use std::sync::Mutex;

use tokio::sync::mpsc;

use super::PublishError;
use crate::clock::Clock;
use crate::price::{Batch, BusEvent, Epoch, Symbol, Tick, Update};

/// The bus of a server that runs alone: numbers in memory, and hands on through a channel.
#[derive(Debug)]
pub(super) struct LocalBus {
    /// A std lock: held for numbering one batch and for a send that cannot wait.
    numbering: Mutex<Numbering>,
    events: mpsc::Sender<BusEvent>,
}

#[derive(Debug)]
struct Numbering {
    epoch: Epoch,
    /// What the first tick of any symbol comes after.
    floor: u64,
    last: HashMap<Symbol, u64>,
}

impl LocalBus {
    /// A bus with a numbering of its own: history is lost with the process, so each start is a new epoch. It begins
    /// at the clock in microseconds, above what an earlier process can have reached unless the clock went back.
    pub(super) fn new(clock: &Clock, events: mpsc::Sender<BusEvent>) -> Self {
        let epoch = Epoch::new(&format!("{:016x}", rand::random::<u64>()));
        let numbering = Numbering { epoch, floor: clock.micros(), last: HashMap::new() };
        Self { numbering: Mutex::new(numbering), events }
    }

    pub(super) fn epoch(&self) -> Epoch {
        self.lock().epoch.clone()
    }

    /// Numbers and appends; waits while the reader is behind. The place in the channel is taken first, so that the
    /// lock that numbers also orders the sends.
    pub(super) async fn publish(&self, updates: Vec<Update>) -> Result<Vec<u64>, PublishError> {
        let place = self.events.reserve().await.map_err(|_| PublishError::Closed)?;
        let mut numbering = self.lock();
        let ticks: Vec<Tick> = updates.into_iter().map(|update| numbering.number(update)).collect();
        let seqs = ticks.iter().map(|tick| tick.seq).collect();
        place.send(BusEvent::Ticks(Batch { epoch: numbering.epoch.clone(), ticks }));
        Ok(seqs)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Numbering> {
        self.numbering.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Numbering {
    fn number(&mut self, update: Update) -> Tick {
        let seq = match self.last.get_mut(&update.symbol) {
            Some(last) => {
                *last += 1;
                *last
            }
            None => {
                let first = self.floor + 1;
                self.last.insert(update.symbol.clone(), first);
                first
            }
        };
        Tick { seq, update }
    }
}
