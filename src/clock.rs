use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Where the time of day comes from. Cheap to clone.
///
/// It may step back (an operator or NTP sets it): whoever needs something that only rises keeps a counter, and whoever
/// measures a duration uses [`std::time::Instant`].
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> u64 + Send + Sync>);

impl Clock {
    /// The machine's clock.
    #[allow(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    pub fn system() -> Self {
        Self::from_fn(|| {
            SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
        })
    }

    /// A clock that answers with `micros`, microseconds since the Unix epoch.
    pub fn from_fn(micros: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(micros))
    }

    /// Microseconds since the Unix epoch.
    pub fn micros(&self) -> u64 {
        (self.0)()
    }

    /// Milliseconds since the Unix epoch.
    pub fn millis(&self) -> u64 {
        self.micros() / 1000
    }
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Clock").field(&self.micros()).finish()
    }
}
