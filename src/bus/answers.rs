use std::collections::{HashMap, VecDeque};

use super::offer::{Answered, OFFER_KNOWN_MS, OfferError, OfferKey};

/// How many verdicts are kept in all; about 6 MB.
const MAX_VERDICTS: usize = 100_000;

/// Answers to offers of the last ten minutes, for those that come again; in a process that runs alone.
#[derive(Debug, Default)]
pub(super) struct Answers {
    by_name: HashMap<String, Kept>,
    /// Names in the order in which they came.
    order: VecDeque<String>,
    verdicts: usize,
}

#[derive(Debug)]
struct Kept {
    fingerprint: String,
    answered: Answered,
    at_ms: u64,
}

impl Answers {
    /// The answer to this offer, if it was answered.
    pub(super) fn find(&mut self, key: &OfferKey, now_ms: u64) -> Result<Option<Answered>, OfferError> {
        self.forget(now_ms);
        match self.by_name.get(&key.name) {
            None => Ok(None),
            Some(kept) if kept.fingerprint != key.fingerprint => Err(OfferError::OtherOffer),
            Some(kept) => Ok(Some(Answered { again: true, ..kept.answered.clone() })),
        }
    }

    /// Keeps an answer. Only for a name that was not found.
    pub(super) fn keep(&mut self, key: &OfferKey, answered: &Answered, now_ms: u64) {
        let kept = Kept { fingerprint: key.fingerprint.clone(), answered: answered.clone(), at_ms: now_ms };
        self.verdicts += answered.verdicts.len();
        self.order.push_back(key.name.clone());
        self.by_name.insert(key.name.clone(), kept);
    }

    /// Makes room: what is too old goes, and the oldest where there are too many.
    fn forget(&mut self, now_ms: u64) {
        while let Some(name) = self.order.front() {
            let Some(kept) = self.by_name.get(name) else { break };
            let old = now_ms.saturating_sub(kept.at_ms) > OFFER_KNOWN_MS;
            if !old && self.verdicts <= MAX_VERDICTS {
                break;
            }
            if !old {
                tracing::warn!(
                    age_ms = now_ms.saturating_sub(kept.at_ms),
                    "too many answers to keep for their Idempotency-Key: forgetting the oldest early"
                );
            }
            self.verdicts -= kept.answered.verdicts.len();
            self.by_name.remove(name);
            self.order.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::Verdict;
    use crate::price::Epoch;

    fn key(name: &str) -> OfferKey {
        OfferKey { name: name.into(), fingerprint: "f".into() }
    }

    fn answered(verdicts: usize) -> Answered {
        Answered { epoch: Epoch::new("e"), verdicts: vec![Verdict::Full; verdicts], again: false }
    }

    #[test]
    fn are_known_for_ten_minutes_and_by_what_is_in_them() {
        let mut answers = Answers::default();
        answers.keep(&key("a"), &answered(1), 0);
        answers.keep(&key("b"), &answered(2), 1000);
        assert!(answers.find(&key("a"), OFFER_KNOWN_MS).unwrap().unwrap().again);
        let other = OfferKey { fingerprint: "other".into(), ..key("a") };
        assert!(matches!(answers.find(&other, OFFER_KNOWN_MS), Err(OfferError::OtherOffer)));
        assert_eq!(answers.find(&key("a"), OFFER_KNOWN_MS + 1).unwrap(), None);
        assert_eq!(answers.find(&key("b"), OFFER_KNOWN_MS + 1).unwrap().unwrap().verdicts.len(), 2);
        assert_eq!((answers.order.len(), answers.by_name.len(), answers.verdicts), (1, 1, 2));
    }

    #[test]
    fn are_bounded() {
        let mut answers = Answers::default();
        for name in ["a", "b", "c"] {
            answers.find(&key(name), 0).unwrap();
            answers.keep(&key(name), &answered(MAX_VERDICTS / 2), 0);
        }
        assert!(answers.find(&key("a"), 0).unwrap().is_none(), "the oldest goes first");
        assert!(answers.find(&key("b"), 0).unwrap().is_some() && answers.find(&key("c"), 0).unwrap().is_some());
    }
}
