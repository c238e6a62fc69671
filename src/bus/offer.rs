use crate::price::{Epoch, Update};

/// The longest that an answer to an offer is known, so that the same offer is not taken twice, in ms.
pub const OFFER_KNOWN_MS: u64 = 600_000;

/// The most symbols that the log numbers: each takes memory on every replica.
pub const MAX_SYMBOLS: usize = 10_000;

/// The most updates of one offer: they are numbered at one go, and nobody else is meanwhile.
pub const MAX_OFFER_UPDATES: usize = 1000;

/// Updates of a publisher that holds no term: of symbols that no source owns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offer {
    /// In order; at most [`MAX_OFFER_UPDATES`]. Those that are not good already stand for themselves: why they are not
    /// is a part of the answer, and comes back when the same offer comes again.
    pub updates: Vec<Result<Offered, String>>,
    /// By what the same offer is known when it comes again, for [`OFFER_KNOWN_MS`]; none where each is a new one.
    pub key: Option<OfferKey>,
}

/// An update that is offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offered {
    /// What it says.
    pub update: Update,
    /// Whether its time is the publisher's. If not it is the server's, and never stale: where the symbol's last one is
    /// later (another replica's clock may be ahead), it gets that time.
    pub is_timed: bool,
}

/// What names an offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfferKey {
    /// Whose it is, and what he calls it.
    pub name: String,
    /// Of what is in it: another offer of the same name is a mistake.
    pub fingerprint: String,
}

/// What became of an offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// The numbering of the `seq`s.
    pub epoch: Epoch,
    /// One for each update, in order.
    pub verdicts: Vec<Verdict>,
    /// True where the same offer was answered before, and this is that answer: nothing was appended now.
    pub again: bool,
}

/// What became of one update of an offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Appended, with this `seq`.
    Accepted(u64),
    /// The symbol belongs to the source of this name.
    Owned(String),
    /// Older than the symbol's last one, which is of this time (ms since the Unix epoch).
    Stale(u64),
    /// There are [`MAX_SYMBOLS`] already, and this would be one more.
    Full,
    /// It was not good before it came here: what the offer said.
    Refused(String),
}

/// Why an offer was not answered. Then nothing of it was appended, unless it says otherwise.
#[derive(Debug, thiserror::Error)]
pub enum OfferError {
    /// The reader is gone: the process is shutting down.
    #[error("the bus is closed")]
    Closed,
    /// The lease under which it was offered is another replica's.
    #[error("the lease is lost")]
    Fenced,
    /// The key names another offer.
    #[error("the key was used for another offer")]
    OtherOffer,
    /// The log is full or out of reach. It may have been appended: with a key it can be offered again.
    #[error("{0}")]
    Unavailable(String),
}
