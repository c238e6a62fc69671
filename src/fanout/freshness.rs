use std::time::Duration;

use tokio::time::Instant;

use crate::price::SymbolId;

/// How often symbols are looked at: a share of the time after which they are stale, within these bounds.
const LOOKS: u32 = 8;
const SHORTEST: Duration = Duration::from_millis(25);
const LONGEST: Duration = Duration::from_secs(1);

/// Which symbols have had no tick for too long.
///
/// Looked at from time to time, by the numbers of the last ticks: a tick itself costs nothing here, unless something is
/// stale.
#[derive(Debug)]
pub(super) struct Freshness {
    /// After how long a symbol is stale; none where none ever is.
    pub(super) after: Option<Duration>,
    seen: Vec<Seen>,
    stale: usize,
    looked_at: Instant,
}

#[derive(Debug)]
struct Seen {
    seq: Option<u64>,
    /// When that was first seen.
    since: Instant,
    is_stale: bool,
}

impl Freshness {
    pub(super) fn new(after: Option<Duration>) -> Self {
        Self { after, seen: Vec::new(), stale: 0, looked_at: Instant::now() }
    }

    /// When to look again; none for never.
    pub(super) fn look_at(&self) -> Option<Instant> {
        Some(self.looked_at + (self.after? / LOOKS).clamp(SHORTEST, LONGEST))
    }

    /// Looks at the number of each symbol's last tick, by id. Returns those that have become stale.
    pub(super) fn look(&mut self, seqs: &[Option<u64>], now: Instant) -> Vec<SymbolId> {
        self.looked_at = now;
        let Some(after) = self.after else { return Vec::new() };
        let known = self.seen.len().min(seqs.len());
        self.seen.extend(seqs[known..].iter().map(|&seq| Seen { seq, since: now, is_stale: false }));
        let mut gone = Vec::new();
        for (index, (seen, &seq)) in self.seen.iter_mut().zip(seqs).enumerate() {
            if seen.seq != seq {
                (seen.seq, seen.since) = (seq, now);
            } else if !seen.is_stale && now - seen.since >= after {
                seen.is_stale = true;
                gone.push(SymbolId::new(index));
            }
        }
        self.stale += gone.len();
        gone
    }

    /// Ticks of these have come: returns those that were stale.
    pub(super) fn heard(&mut self, ids: impl Iterator<Item = SymbolId>, now: Instant) -> Vec<SymbolId> {
        if self.stale == 0 {
            return Vec::new();
        }
        let mut back = Vec::new();
        for id in ids {
            if let Some(seen) = self.seen.get_mut(id.index()).filter(|seen| seen.is_stale) {
                (seen.is_stale, seen.since) = (false, now);
                back.push(id);
            }
        }
        self.stale -= back.len();
        back
    }

    /// How many are stale.
    pub(super) fn stale(&self) -> usize {
        self.stale
    }
}
