use std::collections::HashMap;
use std::sync::Arc;

use super::island::Island;
use super::local::LocalBus;
use super::offer::{Answered, Offer, OfferError};
use super::redis::{self, InputStream, Lease};
use super::{Bus, PublishError, Standing, lock};
use crate::price::{Fill, Price, Symbol, Update};

/// The right to publish for a source, until it is lost or given back.
#[derive(Debug)]
pub struct Term<'a> {
    pub(super) bus: &'a Bus,
    pub(super) source: &'static str,
    pub(super) holder: Holder<'a>,
}

#[derive(Debug)]
pub(super) enum Holder<'a> {
    Local(&'a LocalBus),
    Redis(Lease),
    /// Redis is out of reach: until it is there again.
    Island(Arc<Island>),
}

impl Term<'_> {
    /// Makes the source the owner of these symbols, and of no others: nobody else can publish them until it claims
    /// anew. Returns those that are another source's already.
    ///
    /// # Errors
    /// The right is lost.
    pub async fn claim(&self, symbols: &[Symbol]) -> Result<Vec<Symbol>, PublishError> {
        match &self.holder {
            Holder::Local(bus) => Ok(bus.claim(self.source, symbols)),
            Holder::Island(island) => Ok(island.bus.claim(self.source, symbols)),
            Holder::Redis(lease) => lease.claim(symbols).await,
        }
    }

    /// What other services publish; none where there is nothing between them and us.
    pub fn input(&self) -> Option<Input<'_>> {
        match &self.holder {
            Holder::Local(_) | Holder::Island(_) => None,
            Holder::Redis(lease) => Some(Input { bus: self.bus, stream: InputStream::new(lease) }),
        }
    }

    /// Appends updates in order and returns the `seq` that each was given: 0 for one that was not appended, because its
    /// symbol is another source's. Waits while the log is full or out of reach.
    ///
    /// # Errors
    /// [`PublishError`] says why not; then what is not appended yet never will be.
    pub async fn publish(&self, updates: Vec<Update>) -> Result<Vec<u64>, PublishError> {
        match &self.holder {
            Holder::Local(bus) => bus.publish(self.source, updates).await,
            Holder::Island(island) => island.bus.publish(self.source, updates).await,
            Holder::Redis(lease) => {
                let seqs = lease.append(&updates).await?;
                let mut prices = lock(&self.bus.shared.prices);
                for (update, seq) in updates.iter().zip(&seqs).filter(|(_, seq)| **seq > 0) {
                    prices.insert(update.symbol.clone(), redis::price_json(update, *seq));
                }
                Ok(seqs)
            }
        }
    }

    /// Appends candles of the past. Waits while the log is full or out of reach.
    ///
    /// # Errors
    /// [`PublishError`] says why not.
    pub async fn fill(&self, fill: Fill) -> Result<(), PublishError> {
        match &self.holder {
            Holder::Local(bus) => bus.fill(fill).await,
            Holder::Island(island) => island.bus.fill(fill).await,
            Holder::Redis(lease) => lease.fill(&fill).await,
        }
    }

    /// Keeps the right for as long as that works, and returns when it is lost.
    pub async fn keep(&self) {
        match &self.holder {
            Holder::Local(_) => std::future::pending().await,
            Holder::Redis(lease) => lease.keep().await,
            Holder::Island(island) => island.over().await,
        }
    }

    /// The last price of each symbol that the log knows, whoever published it.
    pub async fn last_prices(&self) -> HashMap<Symbol, Price> {
        match &self.holder {
            Holder::Local(bus) => bus.last_prices(),
            Holder::Redis(lease) => lease.last_prices().await,
            Holder::Island(island) => island.bus.last_prices(),
        }
    }

    /// Gives it back, so that another replica can go on at once.
    pub async fn release(self) {
        match &self.holder {
            Holder::Local(_) => return,
            Holder::Redis(lease) => lease.release().await,
            Holder::Island(_) => {}
        }
        self.bus.set_role(self.source, Standing::Standby);
    }
}

/// The stream in which other services publish, as the one replica reads it that may.
#[derive(Debug)]
pub struct Input<'a> {
    bus: &'a Bus,
    stream: InputStream<'a>,
}

/// What another service put into the input stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputEntry {
    /// Its id there.
    pub id: String,
    /// Its fields; bytes that are no text are replaced.
    pub fields: HashMap<String, String>,
}

/// The input stream cannot be read now.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct InputError(pub(super) String);

impl Input<'_> {
    /// The next entries, in order, at most [`MAX_OFFER_UPDATES`]; none where nothing came for half a second. The same
    /// ones come again until they are taken.
    ///
    /// # Errors
    /// Redis did not answer. Worth a retry.
    pub async fn read(&mut self) -> Result<Vec<InputEntry>, InputError> {
        self.stream.read().await
    }

    /// Appends what was read, up to and with the entry of this id: both at once, so that whoever reads next misses
    /// nothing and repeats nothing.
    ///
    /// # Errors
    /// [`OfferError`] says why not.
    pub async fn take(&mut self, offer: &Offer, last_id: &str) -> Result<Answered, OfferError> {
        let answered = self.stream.take(offer, last_id).await?;
        self.bus.note_offered(offer, &answered);
        Ok(answered)
    }
}
