use fred::error::Error;

use super::append::{RedisLog, STREAM_ENTRIES, encode};
use super::{keys, new_epoch};
use crate::bus::offer::{Answered, MAX_SYMBOLS, OFFER_KNOWN_MS, Offer, OfferError, Offered, Verdict};
use crate::price::Epoch;

/// Under what the reader of the input stream offers: what it took so far counts together with what it appended.
#[derive(Debug)]
pub(super) struct Taking<'a> {
    /// The key of its lease.
    pub(super) lease: String,
    /// What it shows to be let in.
    pub(super) token: &'a str,
    /// The id of the last entry that is in the offer.
    pub(super) position: &'a str,
}

impl RedisLog {
    /// Appends what a publisher without a lease offers. Tried once: whether an offer that got no answer was appended is
    /// not known here, and a key is what makes it safe to ask again.
    pub(in crate::bus) async fn offer(&self, offer: &Offer) -> Result<Answered, OfferError> {
        self.try_offer(offer, None).await
    }

    /// The same for the reader of the input stream.
    pub(super) async fn offer_taken(&self, offer: &Offer, taking: &Taking<'_>) -> Result<Answered, OfferError> {
        self.try_offer(offer, Some(taking)).await
    }

    async fn try_offer(&self, offer: &Offer, taking: Option<&Taking<'_>>) -> Result<Answered, OfferError> {
        let (name, stamp) = match (taking, &offer.key) {
            (Some(taking), _) => (keys::ANSWER_TO_INPUT.to_owned(), format!("{} {}", taking.token, taking.position)),
            (None, Some(key)) => (keys::answer(&key.name), key.fingerprint.clone()),
            (None, None) => (keys::answer(""), String::new()),
        };
        let mut keys = vec![
            keys::META.to_owned(),
            keys::SEQ.to_owned(),
            keys::LAST.to_owned(),
            keys::STREAM.to_owned(),
            keys::OWNER.to_owned(),
            name,
        ];
        if let Some(taking) = taking {
            keys.extend([taking.lease.clone(), keys::INPUT_POSITION.to_owned()]);
        }
        let mut args = vec![
            self.known.highest().to_string(),
            self.known.seen(),
            new_epoch(),
            self.clock.micros().to_string(),
            STREAM_ENTRIES.to_string(),
            stamp,
            OFFER_KNOWN_MS.to_string(),
            MAX_SYMBOLS.to_string(),
            taking.map_or_else(String::new, |taking| taking.token.to_owned()),
            taking.map_or_else(String::new, |taking| taking.position.to_owned()),
        ];
        for update in &offer.updates {
            args.extend(match update {
                Ok(Offered { update, is_timed }) => {
                    let mark = if *is_timed { "" } else { "~" };
                    [update.symbol.to_string(), format!("{mark}{}", update.ts_ms), encode(update)]
                }
                Err(why) => [String::new(), String::new(), why.clone()],
            });
        }
        let script = &self.connections.scripts.offer;
        let reply: Result<Vec<String>, Error> =
            script.evalsha_with_reload(&self.connections.commands, keys, args).await;
        let reply = reply.map_err(|error| {
            self.metrics.redis_errors.inc();
            OfferError::Unavailable(format!("Redis did not answer: {error}"))
        })?;
        let answered = match (reply.first().map(String::as_str), reply.get(1)) {
            (Some("fenced"), _) => return Err(OfferError::Fenced),
            (Some("other"), _) => return Err(OfferError::OtherOffer),
            (Some(first), Some(epoch)) => Answered {
                epoch: Epoch::new(epoch),
                verdicts: reply.iter().skip(3).filter_map(|text| verdict(text)).collect(),
                again: first == "again",
            },
            _ => return Err(OfferError::Unavailable("Redis gave an answer that is none".to_owned())),
        };
        if answered.verdicts.len() != offer.updates.len() {
            return Err(OfferError::Unavailable("Redis gave an answer to something else".to_owned()));
        }
        // An answer of ten minutes ago may be of an epoch that has ended.
        if !answered.again {
            let seqs = answered.verdicts.iter().filter_map(|verdict| match verdict {
                Verdict::Accepted(seq) => Some(*seq),
                _ => None,
            });
            if let Some(highest) = seqs.max() {
                self.known.see(answered.epoch.as_str(), reply.get(2).map_or("", String::as_str), highest);
            }
            self.known.set_epoch(answered.epoch.clone());
        }
        Ok(answered)
    }
}

fn verdict(text: &str) -> Option<Verdict> {
    if let Some(seq) = text.strip_prefix('=') {
        return Some(Verdict::Accepted(seq.parse().ok()?));
    }
    if let Some(owner) = text.strip_prefix("owner") {
        return Some(Verdict::Owned(owner.to_owned()));
    }
    if let Some(last) = text.strip_prefix("stale") {
        return Some(Verdict::Stale(last.parse().ok()?));
    }
    if let Some(why) = text.strip_prefix("why") {
        return Some(Verdict::Refused(why.to_owned()));
    }
    (text == "many").then_some(Verdict::Full)
}
