mod candidate;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::bus::{Answered, Bus, Offer, OfferError, OfferKey, Verdict};
use crate::clock::Clock;
use crate::market::Market;
use crate::metrics::{LabelledCounter, Metrics};
use crate::price::{Epoch, Symbol};
use crate::wire::ErrorCode;
pub use candidate::{Candidate, PriceUpdate};

/// The most updates of one batch.
pub const MAX_UPDATES: usize = crate::bus::MAX_OFFER_UPDATES;

/// How far the time of an update may be ahead of this server's clock, in ms: one far in the future would make every
/// later one stale.
const MAX_AHEAD_MS: u64 = 60_000;

/// The label of what was accepted, beside the codes of errors.
const ACCEPTED: &str = "accepted";

/// What the settings say of those who publish.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What sources make, on this replica or another, and which: nobody else publishes it.
    pub made: HashMap<Symbol, &'static str>,
    /// Whether a symbol may be published that nobody knows.
    pub allow_new: bool,
}

/// Takes what back ends publish, whichever way it comes: checks it, and hands it to the bus.
#[derive(Debug)]
pub struct Publisher {
    settings: Settings,
    bus: Arc<Bus>,
    market: Arc<Market>,
    clock: Clock,
    metrics: Arc<Metrics>,
}

/// What became of a batch.
#[derive(Debug)]
pub struct Published {
    /// The numbering of the `seq`s.
    pub epoch: Epoch,
    /// One for each update, in order.
    pub outcomes: Vec<Outcome>,
    /// True where the batch had been answered before, and this is that answer.
    pub again: bool,
}

/// What became of one update.
#[derive(Debug)]
pub struct Outcome {
    /// The symbol as it was given, shortened; empty where it could not be read.
    pub symbol: String,
    /// The `seq` that it got, or why it was not published.
    pub result: Result<u64, Rejection>,
}

/// Why an update was not published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    /// For programs: an [`ErrorCode`] by its name.
    pub code: Cow<'static, str>,
    /// For people: names the field, the value and what is allowed.
    pub message: String,
}

impl Rejection {
    fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code: Cow::Borrowed(code.as_str()), message: message.into() }
    }
}

impl Publisher {
    /// Publishes on this bus what this market knows.
    pub fn new(settings: Settings, bus: Arc<Bus>, market: Arc<Market>, clock: Clock, metrics: Arc<Metrics>) -> Self {
        Self { settings, bus, market, clock, metrics }
    }

    /// Publishes a batch of the API, of at most [`MAX_UPDATES`]. One that is wrong does not keep the others.
    ///
    /// # Errors
    /// [`OfferError`] says why nothing was answered.
    pub async fn publish(&self, candidates: Vec<Candidate>, key: Option<OfferKey>) -> Result<Published, OfferError> {
        let (symbols, offer) = self.offer(candidates, key);
        let answered = self.bus.offer(&offer).await?;
        Ok(self.published(symbols, answered, &self.metrics.published))
    }

    /// What the bus is asked to take: also what is rejected already, which is a part of the answer.
    pub fn offer(&self, candidates: Vec<Candidate>, key: Option<OfferKey>) -> (Vec<String>, Offer) {
        let now_ms = self.clock.millis();
        let (symbols, updates) = candidates
            .into_iter()
            .map(|candidate| {
                let update = candidate.update.map(|parts| parts.at(now_ms)).and_then(|offered| {
                    self.check(&offered.update.symbol, offered.update.ts_ms, now_ms)?;
                    Ok(offered)
                });
                // A text and a name: serialising them cannot fail.
                (candidate.symbol, update.map_err(|why| serde_json::to_string(&why).unwrap_or_default()))
            })
            .unzip();
        (symbols, Offer { updates, key })
    }

    /// What became of an offer, counted.
    pub fn published(&self, symbols: Vec<String>, answered: Answered, counts: &LabelledCounter) -> Published {
        let Answered { epoch, verdicts, again } = answered;
        let outcome = |(symbol, verdict): (String, Verdict)| {
            let result = judge(&symbol, verdict);
            if !again {
                counts.of(result.as_ref().map_or_else(|why| label(&why.code), |_| ACCEPTED)).inc();
            }
            Outcome { symbol, result }
        };
        Published { epoch, outcomes: symbols.into_iter().zip(verdicts).map(outcome).collect(), again }
    }

    fn check(&self, symbol: &Symbol, ts_ms: u64, now_ms: u64) -> Result<(), Rejection> {
        // The bus knows who publishes what; but not before a source has begun.
        if let Some(source) = self.settings.made.get(symbol) {
            return Err(owned(symbol.as_str(), source));
        }
        if !self.settings.allow_new && self.market.symbol(symbol.as_str()).is_none() {
            return Err(Rejection::new(
                ErrorCode::UnknownSymbol,
                format!(
                    "symbol is \"{symbol}\": must be one that the server knows (PUBLISHED_SYMBOLS, ALLOW_NEW_SYMBOLS)"
                ),
            ));
        }
        if ts_ms > now_ms.saturating_add(MAX_AHEAD_MS) {
            return Err(Rejection::new(
                ErrorCode::InvalidPayload,
                format!(
                    "ts is {ts_ms}: must be in ms, and at most {MAX_AHEAD_MS} ms ahead of this server's clock, which \
                     is at {now_ms}"
                ),
            ));
        }
        Ok(())
    }
}

fn judge(symbol: &str, verdict: Verdict) -> Result<u64, Rejection> {
    Err(match verdict {
        Verdict::Accepted(seq) => return Ok(seq),
        Verdict::Owned(owner) => owned(symbol, &owner),
        Verdict::Stale(last_ms) => Rejection::new(
            ErrorCode::Stale,
            format!("ts is older than the last one of {symbol}: must be {last_ms} or later"),
        ),
        Verdict::Full => Rejection::new(
            ErrorCode::TooManySymbols,
            format!("{symbol} would be one symbol more: at most {} are allowed", crate::bus::MAX_SYMBOLS),
        ),
        Verdict::Refused(why) => serde_json::from_str(&why).unwrap_or_else(|_| {
            // What another version wrote.
            Rejection::new(ErrorCode::InvalidPayload, why)
        }),
    })
}

fn owned(symbol: &str, owner: &str) -> Rejection {
    Rejection::new(
        ErrorCode::Forbidden,
        format!("{symbol} is published by the source \"{owner}\": must be a symbol that no source owns"),
    )
}

/// The label for a code: one that is not known, as another version may have one, is none of its own.
fn label(code: &str) -> &'static str {
    let known = [
        ErrorCode::InvalidPayload,
        ErrorCode::UnknownSymbol,
        ErrorCode::TooManySymbols,
        ErrorCode::Forbidden,
        ErrorCode::Stale,
    ];
    known.into_iter().map(ErrorCode::as_str).find(|known| *known == code).unwrap_or("other")
}

#[cfg(test)]
mod fuzz;
