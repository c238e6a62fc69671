use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::mpsc;

use super::PublishError;
use super::answers::Answers;
use super::offer::{Answered, MAX_SYMBOLS, Offer, OfferError, Offered, Verdict};
use crate::clock::Clock;
use crate::price::{Batch, BusEvent, Epoch, Fill, Price, Symbol, Tick, Update};

/// How long an offer waits for room in the log.
const OFFER_WAITS: Duration = Duration::from_secs(2);

/// The bus of a server that runs alone: numbers in memory, and hands on through a channel.
#[derive(Debug)]
pub(super) struct LocalBus {
    /// A std lock: held for numbering one batch and for a send that cannot wait.
    numbering: Mutex<Numbering>,
    events: mpsc::Sender<BusEvent>,
    clock: Clock,
}

#[derive(Debug)]
struct Numbering {
    epoch: Epoch,
    /// What the first tick of any symbol comes after.
    floor: u64,
    /// The last tick of each symbol.
    last: HashMap<Symbol, Tick>,
    /// The sources that hold terms, by what they make: nobody else publishes that.
    owners: HashMap<Symbol, &'static str>,
    answers: Answers,
    closed: bool,
}

/// What a numbering came to.
#[derive(Debug)]
pub(super) struct Ended {
    /// The highest number that it gave, or could have given none below.
    pub(super) highest: u64,
    /// The last update of each symbol.
    pub(super) last: Vec<Update>,
}

impl LocalBus {
    /// A bus with a numbering of its own: history is lost with the process, so each start is a new epoch. It begins
    /// at the clock in microseconds, above what an earlier process can have reached unless the clock went back, and
    /// above `floor`.
    pub(super) fn new(floor: u64, clock: &Clock, events: mpsc::Sender<BusEvent>) -> Self {
        let numbering = Numbering {
            epoch: Epoch::new(&format!("{:016x}", rand::random::<u64>())),
            floor: clock.micros().max(floor),
            last: HashMap::new(),
            owners: HashMap::new(),
            answers: Answers::default(),
            closed: false,
        };
        Self { numbering: Mutex::new(numbering), events, clock: clock.clone() }
    }

    pub(super) fn epoch(&self) -> Epoch {
        self.lock().epoch.clone()
    }

    /// The highest number that it has given.
    pub(super) fn highest(&self) -> u64 {
        self.lock().highest()
    }

    /// The last price of each symbol.
    pub(super) fn last_prices(&self) -> HashMap<Symbol, Price> {
        self.lock().last.iter().map(|(symbol, tick)| (symbol.clone(), tick.update.price)).collect()
    }

    /// Says again what was known before it began, under its own numbers.
    pub(super) async fn restate(&self, known: Vec<Update>) -> Result<(), PublishError> {
        let place = self.events.reserve().await.map_err(|_| PublishError::Closed)?;
        let mut numbering = self.lock();
        let ticks = known.into_iter().map(|update| numbering.number(update)).collect();
        place.send(BusEvent::Ticks(Batch { epoch: numbering.epoch.clone(), ticks }));
        Ok(())
    }

    /// Takes nothing any more: after this nothing of it comes to the reader.
    pub(super) fn close(&self) -> Ended {
        let mut numbering = self.lock();
        numbering.closed = true;
        let last = numbering.last.values().map(|tick| tick.update.clone()).collect();
        Ended { highest: numbering.highest(), last }
    }

    /// Makes a source the owner of these symbols, and of no others; returns those that are another's.
    pub(super) fn claim(&self, source: &'static str, symbols: &[Symbol]) -> Vec<Symbol> {
        let mut numbering = self.lock();
        numbering.owners.retain(|_, owner| *owner != source);
        let mut others = Vec::new();
        for symbol in symbols {
            if !numbering.owns(source, symbol) {
                others.push(symbol.clone());
            }
        }
        others
    }

    /// Numbers and appends; waits while the reader is behind. The place in the channel is taken first, so that the
    /// lock that numbers also orders the sends.
    pub(super) async fn publish(&self, source: &'static str, updates: Vec<Update>) -> Result<Vec<u64>, PublishError> {
        let place = self.events.reserve().await.map_err(|_| PublishError::Closed)?;
        let mut numbering = self.lock();
        if numbering.closed {
            return Err(PublishError::Fenced);
        }
        let mut seqs = Vec::with_capacity(updates.len());
        let mut ticks = Vec::with_capacity(updates.len());
        for update in updates {
            if numbering.owns(source, &update.symbol) {
                let tick = numbering.number(update);
                seqs.push(tick.seq);
                ticks.push(tick);
            } else {
                seqs.push(0);
            }
        }
        place.send(BusEvent::Ticks(Batch { epoch: numbering.epoch.clone(), ticks }));
        Ok(seqs)
    }

    /// Appends candles of the past.
    pub(super) async fn fill(&self, fill: Fill) -> Result<(), PublishError> {
        let place = self.events.reserve().await.map_err(|_| PublishError::Closed)?;
        // Held: what is sent after the bus is closed would come to the reader.
        let numbering = self.lock();
        if numbering.closed {
            return Err(PublishError::Fenced);
        }
        place.send(BusEvent::Filled(fill));
        Ok(())
    }

    /// Numbers and appends what a publisher without a term offers.
    pub(super) async fn offer(&self, offer: &Offer) -> Result<Answered, OfferError> {
        let place = tokio::time::timeout(OFFER_WAITS, self.events.reserve())
            .await
            .map_err(|_| OfferError::Unavailable("the log is full".to_owned()))?
            .map_err(|_| OfferError::Closed)?;
        let now_ms = self.clock.millis();
        let mut numbering = self.lock();
        if let Some(key) = &offer.key
            && let Some(answered) = numbering.answers.find(key, now_ms)?
        {
            return Ok(answered);
        }
        let mut ticks = Vec::new();
        let verdicts = offer
            .updates
            .iter()
            .map(|update| match update {
                Ok(offered) => numbering.judge(offered).unwrap_or_else(|| {
                    let mut update = offered.update.clone();
                    let last_ms = numbering.last.get(&update.symbol).map_or(0, |last| last.update.ts_ms);
                    update.ts_ms = update.ts_ms.max(last_ms);
                    let tick = numbering.number(update);
                    let verdict = Verdict::Accepted(tick.seq);
                    ticks.push(tick);
                    verdict
                }),
                Err(why) => Verdict::Refused(why.clone()),
            })
            .collect();
        let answered = Answered { epoch: numbering.epoch.clone(), verdicts, again: false };
        if let Some(key) = &offer.key {
            numbering.answers.keep(key, &answered, now_ms);
        }
        if !ticks.is_empty() {
            place.send(BusEvent::Ticks(Batch { epoch: numbering.epoch.clone(), ticks }));
        }
        Ok(answered)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Numbering> {
        self.numbering.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Numbering {
    /// Whether a symbol is this source's, which it becomes where it is nobody's.
    fn owns(&mut self, source: &'static str, symbol: &Symbol) -> bool {
        match self.owners.get(symbol) {
            Some(owner) => *owner == source,
            None => {
                self.owners.insert(symbol.clone(), source);
                true
            }
        }
    }

    /// Why an update that is offered cannot be appended, if it cannot.
    fn judge(&self, Offered { update, is_timed }: &Offered) -> Option<Verdict> {
        let owner = self.owners.get(&update.symbol);
        match (owner, self.last.get(&update.symbol)) {
            (Some(owner), _) => Some(Verdict::Owned((*owner).to_owned())),
            (None, Some(last)) if *is_timed && update.ts_ms < last.update.ts_ms => {
                Some(Verdict::Stale(last.update.ts_ms))
            }
            (None, None) if self.last.len() >= MAX_SYMBOLS => Some(Verdict::Full),
            (None, _) => None,
        }
    }

    fn number(&mut self, update: Update) -> Tick {
        let seq = self.last.get(&update.symbol).map_or(self.floor, |last| last.seq) + 1;
        let tick = Tick { seq, update };
        self.last.insert(tick.update.symbol.clone(), tick.clone());
        tick
    }

    fn highest(&self) -> u64 {
        self.last.values().map(|tick| tick.seq).max().unwrap_or(self.floor)
    }
}
