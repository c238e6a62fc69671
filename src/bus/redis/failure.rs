use fred::error::Error;
use tokio::time::Instant;

use crate::bus::Closed;

/// Why the log cannot be followed now.
pub(super) enum Failure {
    Closed,
    Version(String),
    Redis(Error),
    /// It was to come back by now.
    Late,
    /// A new epoch has begun since this replica joined: it has to join again.
    Overtaken,
    /// It can be read, and not written; noticed when.
    Unwritable(Instant, String),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Redis(error)
    }
}

impl From<Closed> for Failure {
    fn from(_: Closed) -> Self {
        Self::Closed
    }
}
