//! What a client may get, where that is less than everything.

use super::handle::{ClientId, Outlet, Reply};
use super::{Fanout, cut, short};
use crate::pattern::Patterns;
use crate::wire::{Answer, ErrorCode, Refreshed, Rejected};

impl<O: Outlet> Fanout<O> {
    /// From now on the client may get these symbols alone: what else it gets ends before the answer.
    pub(super) fn allow(&mut self, client: ClientId, allowed: Patterns, expires_in_ms: u64, reply: Box<dyn Reply>) {
        let Some(session) = self.sessions.get_mut(&client) else {
            return;
        };
        let before = session.symbols.clone();
        session.wants.allow(allowed);
        self.rearrange(client);
        let ended = match self.sessions.get(&client) {
            Some(session) => before.difference(&session.symbols).cloned().collect(),
            None => Vec::new(),
        };
        if !reply.send(Ok(Answer::encode(Ok(Refreshed { expires_in_ms, ended })))) {
            self.give_up(client);
        }
    }
}

/// Whether there is such a symbol is not said to who may not get it.
pub(super) fn forbidden_symbol(name: &str) -> Rejected {
    let message = format!("\"{}\" is not allowed by your token", short(name));
    Rejected { symbol: cut(name), code: ErrorCode::Forbidden, message }
}
