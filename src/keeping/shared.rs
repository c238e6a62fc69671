use std::collections::HashMap;
use std::sync::Arc;

use crate::bus::{Bus, Part, Put, StoreError};
use crate::market::{Mark, Market};
use crate::price::{Epoch, SymbolId};

/// After so many records that only say what changed, one is whole again and takes their place: so a symbol takes about
/// 160 kB there at most (100 kB of a whole one, and 200 bytes each of the others).
const CHANGES_AFTER_WHOLE: u32 = 300;

/// Bytes of whole records that are made at one go; the others wait for the next.
const WHOLE_BYTES_AT_ONCE: usize = 4 << 20;

/// Stores candles in Redis, while no other replica does.
#[derive(Debug)]
pub(super) struct Shared {
    bus: Arc<Bus>,
    /// What is stored of each symbol by this replica, since it stores.
    stored: HashMap<SymbolId, Of>,
    /// The numbering under which that was stored.
    epoch: Option<Epoch>,
    /// Whether this replica is the one that stores.
    is_ours: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Of {
    mark: Mark,
    changes: u32,
}

impl Shared {
    pub(super) fn new(bus: Arc<Bus>) -> Self {
        Self { bus, stored: HashMap::new(), epoch: None, is_ours: false }
    }

    /// Stores what has changed since the last time, or everything where another replica stored meanwhile, or a new epoch
    /// has begun: what Redis had may be gone, and of a symbol that is quiet nothing would tell.
    pub(super) async fn store(&mut self, market: &Market) -> Result<(), StoreError> {
        let epoch = market.epoch();
        if self.epoch != epoch {
            self.stored.clear();
            self.epoch = epoch;
        }
        // Who does not store looks whether somebody has to.
        let (parts, marks) = if self.is_ours { self.changes(market) } else { Default::default() };
        let stored = self.bus.store(&parts).await;
        if matches!(stored, Err(StoreError::CutOff)) {
            // Other candles take the place of these when it is back: then everything is to be stored again.
            self.stored.clear();
        }
        let Some(put) = stored? else {
            if std::mem::take(&mut self.is_ours) {
                tracing::info!("another replica stores the candles");
            }
            self.stored.clear();
            return Ok(());
        };
        if !std::mem::replace(&mut self.is_ours, true) {
            tracing::info!("this replica stores the candles");
        }
        for ((id, mark, is_whole), put) in marks.into_iter().zip(put) {
            match put {
                Put::Stored => {
                    let of = self.stored.entry(id).or_default();
                    *of = Of { mark, changes: if is_whole { 0 } else { of.changes + 1 } };
                }
                // Redis has lost it, or knows more than we do yet: everything again.
                Put::Lost | Put::Old => {
                    self.stored.remove(&id);
                }
            }
        }
        Ok(())
    }

    fn changes(&self, market: &Market) -> (Vec<Part>, Vec<(SymbolId, Mark, bool)>) {
        let (mut parts, mut marks, mut whole_bytes) = (Vec::new(), Vec::new(), 0);
        for id in (0..market.symbol_count()).map(SymbolId::new) {
            let of = self.stored.get(&id).filter(|of| of.changes < CHANGES_AFTER_WHOLE);
            if of.is_none() && whole_bytes > WHOLE_BYTES_AT_ONCE {
                continue;
            }
            let Some((saved, mark)) = market.candle_changes(id, &of.map(|of| of.mark).unwrap_or_default()) else {
                continue;
            };
            for symbol in market.symbols_of(&[id]) {
                let record = saved.encode();
                whole_bytes += if of.is_none() { record.len() } else { 0 };
                let (epoch, seq, is_whole) = (saved.epoch.clone(), saved.seq, of.is_none());
                parts.push(Part { symbol, epoch, seq, is_whole, record: record.into() });
                marks.push((id, mark, is_whole));
            }
        }
        (parts, marks)
    }

    /// Lets another replica go on with it.
    pub(super) async fn release(&self) {
        if self.is_ours {
            self.bus.end_storing().await;
        }
    }
}
