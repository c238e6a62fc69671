use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Callers that are told apart. Beyond them, those who come share one allowance.
const MAX_CALLERS: usize = 10_000;

/// How much each caller may do in a time: a second's worth at once, and then so much each second. Who asks for more than
/// is left is let through once and waits the longer, so that no request is too large to ever be let through.
#[derive(Debug)]
pub(super) struct Pace {
    per_second: f64,
    /// What each caller has left; one who has all of it again is not kept.
    callers: Mutex<HashMap<String, Left>>,
}

#[derive(Clone, Copy, Debug)]
struct Left {
    units: f64,
    at: Instant,
}

impl Pace {
    pub(super) fn new(per_second: u64) -> Self {
        // At most a million: exact.
        Self { per_second: per_second as f64, callers: Mutex::default() }
    }

    /// Takes so many units, or says how long to wait.
    pub(super) fn take(&self, caller: &str, units: usize, now: Instant) -> Result<(), Duration> {
        let mut callers = self.callers.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if callers.len() >= MAX_CALLERS && !callers.contains_key(caller) {
            callers.retain(|_, left| self.now(*left, now) < self.per_second);
        }
        let shared = callers.len() >= MAX_CALLERS && !callers.contains_key(caller);
        let name = if shared { "" } else { caller };
        let left = callers.get(name).map_or(self.per_second, |left| self.now(*left, now));
        if left <= 0.0 {
            return Err(Duration::from_secs_f64(-left / self.per_second));
        }
        callers.insert(name.to_owned(), Left { units: left - units as f64, at: now });
        Ok(())
    }

    fn now(&self, left: Left, now: Instant) -> f64 {
        let since = now.saturating_duration_since(left.at).as_secs_f64();
        (left.units + since * self.per_second).min(self.per_second)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seconds_worth_at_once_and_then_at_its_pace() {
        let (pace, start) = (Pace::new(10), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        for _ in 0..10 {
            pace.take("a", 1, start).unwrap();
        }
        pace.take("a", 1, start).unwrap_err();
        pace.take("b", 1, start).unwrap();
        pace.take("a", 1, at(100)).unwrap();
        // More than there can ever be: let through, and waited for.
        pace.take("c", 35, start).unwrap();
        assert_eq!(pace.take("c", 1, start), Err(Duration::from_millis(2500)));
        pace.take("c", 1, at(2400)).unwrap_err();
        pace.take("c", 1, at(2600)).unwrap();
    }

    #[test]
    fn callers_are_bounded() {
        let (pace, start) = (Pace::new(1), Instant::now());
        for caller in 0..MAX_CALLERS + 10 {
            pace.take(&caller.to_string(), 1, start).ok();
        }
        assert_eq!(pace.callers.lock().unwrap().len(), MAX_CALLERS + 1);
        pace.take("new", 1, start).unwrap_err();
        pace.take("new", 1, start + Duration::from_secs(2)).unwrap();
        assert_eq!(pace.callers.lock().unwrap().len(), 1);
    }
}
