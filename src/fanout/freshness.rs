use std::time::Duration;

use tokio::time::Instant;

use crate::clock::Clock;
use crate::price::{SymbolId, Tick};

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
    clock: Clock,
}

#[derive(Debug)]
struct Seen {
    seq: Option<u64>,
    /// When that was first seen.
    since: Instant,
    is_stale: bool,
}

impl Freshness {
    pub(super) fn new(after: Option<Duration>, clock: Clock) -> Self {
        Self { after, seen: Vec::new(), stale: 0, looked_at: Instant::now(), clock }
    }

    /// When to look again; none for never.
    pub(super) fn look_at(&self) -> Option<Instant> {
        Some(self.looked_at + (self.after? / LOOKS).clamp(SHORTEST, LONGEST))
    }

    /// Looks at the number of each symbol's last tick, by id. Returns those that have become stale.
    pub(super) fn look(&mut self, seqs: &[Option<u64>], now: Instant) -> Vec<SymbolId> {
        self.looked_at = now;
        let Some(after) = self.after else { return Vec::new() };
        self.make_room(seqs.len(), now);
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

    /// This is only said again under another number, which is no tick.
    pub(super) fn said_again(&mut self, id: SymbolId, tick: &Tick) {
        if let Some(seen) = self.seen.get_mut(id.index()) {
            seen.seq = Some(tick.seq);
        }
    }

    /// This was there before, which may have been long ago.
    pub(super) fn found(&mut self, id: SymbolId, tick: &Tick, now: Instant) {
        let Some(after) = self.after else { return };
        self.make_room(id.index() + 1, now);
        let age = Duration::from_millis(self.clock.millis().saturating_sub(tick.update.ts_ms)).min(after);
        let seen = &mut self.seen[id.index()];
        (seen.seq, seen.since) = (Some(tick.seq), now.checked_sub(age).unwrap_or(now));
    }

    fn make_room(&mut self, symbols: usize, now: Instant) {
        if self.seen.len() < symbols {
            self.seen.resize_with(symbols, || Seen { seq: None, since: now, is_stale: false });
        }
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
