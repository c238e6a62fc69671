use super::cohort::want_for;
use super::flush::Turn;
use super::shard::Shard;
use crate::price::Symbol;
use crate::wire::{Status, to_client};

impl Shard {
    /// Symbols have gone quiet, or are back: each client is told of those that it gets.
    pub(super) fn turn_fresh(&mut self, turn: &Turn) {
        for &id in &turn.ids {
            if turn.stale {
                self.stale.insert(id);
            } else {
                self.stale.remove(&id);
            }
        }
        self.learn();
        let mut told = Vec::new();
        for cohort in self.cohorts.iter_mut() {
            let concerned = turn.ids.iter().filter(|id| want_for(&cohort.wants, **id).is_some());
            let symbols: Vec<Symbol> = concerned.filter_map(|id| self.symbols.get(id.index())).cloned().collect();
            if symbols.is_empty() {
                continue;
            }
            let status = Status { state: turn.state, reason: &turn.reason, symbols: Some(&symbols), epoch: None };
            told.push((cohort.members.clone(), status.encode()));
        }
        for (slots, status) in told {
            for slot in slots {
                let sent = self.sessions[slot].link.send(to_client::STATUS, &status);
                self.after(slot, sent);
            }
        }
    }
}
