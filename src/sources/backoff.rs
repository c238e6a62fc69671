use std::time::{Duration, Instant};

use rand::RngExt;

/// The first pause; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What lasted this long counts as healthy: the next pause is the first one again.
const HEALTHY_AFTER: Duration = Duration::from_secs(60);

/// Pauses between attempts at something that fails: each about twice as long as the one before.
///
/// Over ten minutes there are fewer than thirty, whatever happens to each: far below what exchanges allow.
#[derive(Debug)]
pub(super) struct Backoff {
    pause: Duration,
}

impl Backoff {
    pub(super) fn new() -> Self {
        Self { pause: FIRST_PAUSE }
    }

    /// The pause after an attempt that began then and has failed now; at least `least`. Half to all of its length, so
    /// that those who failed together do not come back together.
    pub(super) fn after(&mut self, began: Instant, least: Duration) -> Duration {
        if began.elapsed() >= HEALTHY_AFTER {
            self.pause = FIRST_PAUSE;
        }
        let pause = self.pause.mul_f64(rand::rng().random_range(0.5..=1.0));
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        pause.max(least)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_with_jitter_to_their_bound_and_start_over_after_health() {
        let mut backoff = Backoff::new();
        let now = Instant::now();
        for doubled in 0..12 {
            let whole = (FIRST_PAUSE * 2u32.pow(doubled)).min(LONGEST_PAUSE);
            let pause = backoff.after(now, Duration::ZERO);
            assert!(pause >= whole / 2 && pause <= whole, "{pause:?} of {whole:?}");
        }
        assert!(backoff.after(now, LONGEST_PAUSE * 2) >= LONGEST_PAUSE * 2, "never less than what is asked for");
        let healthy = now.checked_sub(HEALTHY_AFTER).unwrap();
        assert!(backoff.after(healthy, Duration::ZERO) <= FIRST_PAUSE);
    }
}
