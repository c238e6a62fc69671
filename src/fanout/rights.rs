//! What a client may get, where that is less than everything.

use serde_json::value::RawValue;
use tokio::time::Instant;

use super::cohort::want_for;
use super::shard::Shard;
use crate::pattern::Patterns;
use crate::price::Symbol;
use crate::wire::{Answer, ErrorCode, Refreshed, Rejected, cut, short};

impl Shard {
    /// From now on the client may get these symbols alone: what else it gets ends before the answer, which is returned. Of
    /// those that it gets from now on the latest tick waits for it.
    pub(super) fn allow(&mut self, slot: usize, allowed: Patterns, expires_in_ms: u64, now: Instant) -> Box<RawValue> {
        let before = self.wants(slot);
        self.sessions[slot].wishes.allow(allowed);
        self.rearrange(slot, |_| false, now);
        let after = self.wants(slot);
        for want in after.iter().filter(|want| want_for(&before, want.id).is_none()) {
            if let Some(item) = &self.latest[want.id.index()] {
                let pending = self.sessions[slot].pending.get_or_insert_default();
                want.keys().for_each(|key| pending.open(key, item, now));
            }
        }
        let ended = before.iter().filter(|want| want_for(&after, want.id).is_none());
        let mut ended: Vec<Symbol> = ended.map(|want| self.symbols[want.id.index()].clone()).collect();
        let allowed = self.sessions[slot].wishes.allowed().clone();
        for symbol in self.end_charts(slot, |symbol| allowed.allows(symbol.as_str())) {
            if !ended.contains(&symbol) {
                ended.push(symbol);
            }
        }
        Answer::encode(Ok(Refreshed { expires_in_ms, ended }))
    }
}

/// Whether there is such a symbol is not said to who may not get it.
pub(super) fn forbidden_symbol(name: &str) -> Rejected {
    let message = format!("\"{}\" is not allowed by your token", short(name));
    Rejected { symbol: cut(name), code: ErrorCode::Forbidden, message }
}
