use std::time::{Duration, Instant};

/// In which time frames are counted.
const WINDOW: Duration = Duration::from_secs(1);

/// How many frames a client sends. Handlers count its messages, and see nothing else: heartbeats, acknowledgements, frames
/// of WebSocket's own, packets for namespaces that there are not.
#[derive(Debug)]
pub(super) struct Pace {
    /// None for any number.
    most: Option<u32>,
    /// Since when, and how many.
    window: Option<(Instant, u32)>,
}

impl Pace {
    pub(super) fn new(most: Option<u32>) -> Self {
        Self { most, window: None }
    }

    /// So many came at this time. True where they are too many.
    pub(super) fn exceeds(&mut self, frames: u32, now: Instant) -> bool {
        let Some(most) = self.most else { return false };
        let before = self.window.filter(|(since, _)| now.saturating_duration_since(*since) < WINDOW);
        let (since, seen) = before.unwrap_or((now, 0));
        let seen = seen.saturating_add(frames);
        self.window = Some((since, seen));
        seen > most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_in_a_second_and_as_many_in_the_next() {
        let (mut pace, start) = (Pace::new(Some(10)), Instant::now());
        let mut at = |ms, frames| pace.exceeds(frames, start + Duration::from_millis(ms));
        assert!(!at(0, 7) && !at(999, 3) && at(999, 1), "eleven in a second");
        assert!(!at(1000, 10) && at(1500, 1));
        assert!(!at(9000, 10));
        assert!(!Pace::new(None).exceeds(u32::MAX, start));
    }
}
