use std::time::Duration;

/// How often something may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rate {
    /// How often per second.
    pub(super) per_second: u32,
    /// The time between two.
    interval: Duration,
    /// How much earlier than that one may come, after a silence.
    ahead: Duration,
}

impl Rate {
    /// So often per second, and so often at once after a silence. Both are at least 1.
    pub(super) fn per_second(number: u32, at_once: u32) -> Self {
        let interval = Duration::from_secs(1) / number.max(1);
        Self { per_second: number, interval, ahead: interval * at_once.max(1).saturating_sub(1) }
    }
}

/// What one has had of a [`Rate`]: a token bucket as one time (the «generic cell rate algorithm»), a few lines that fit
/// into what is kept of a client or an address anyway. Libraries with tables of their own do not bound these.
///
/// Times are since any moment that stays the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bucket {
    /// When the next one would be due, had all come evenly.
    due: Duration,
}

impl Bucket {
    /// Takes one.
    ///
    /// # Errors
    /// How long until there is one.
    pub(super) fn take(&mut self, rate: Rate, now: Duration) -> Result<(), Duration> {
        let due = self.due.max(now);
        let wait = due.saturating_sub(now + rate.ahead);
        if wait > Duration::ZERO {
            return Err(wait);
        }
        self.due = due + rate.interval;
        Ok(())
    }

    /// True where it is as if nothing had ever been taken.
    pub(super) fn is_full(&self, now: Duration) -> bool {
        self.due <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of `asked` are given at `ms`.
    fn given(bucket: &mut Bucket, rate: Rate, ms: u64, asked: u32) -> usize {
        (0..asked).filter(|_| bucket.take(rate, Duration::from_millis(ms)).is_ok()).count()
    }

    #[test]
    fn gives_so_many_at_once_and_then_so_many_a_second() {
        let (mut bucket, rate) = (Bucket::default(), Rate::per_second(10, 20));
        assert_eq!(given(&mut bucket, rate, 0, 100), 20);
        assert_eq!(bucket.take(rate, Duration::ZERO), Err(Duration::from_millis(100)));
        assert_eq!(given(&mut bucket, rate, 99, 100), 0);
        assert_eq!(given(&mut bucket, rate, 100, 100), 1);
        assert_eq!(given(&mut bucket, rate, 1100, 100), 10);
        assert!(!bucket.is_full(Duration::from_millis(3099)) && bucket.is_full(Duration::from_millis(3100)));
        assert_eq!(given(&mut bucket, rate, 100_000, 100), 20, "a silence saves no more than that");
    }

    #[test]
    fn what_is_refused_takes_nothing() {
        let (mut bucket, rate) = (Bucket::default(), Rate::per_second(1, 1));
        assert_eq!(given(&mut bucket, rate, 0, 1000), 1);
        assert_eq!(given(&mut bucket, rate, 1000, 1000), 1);
    }
}
