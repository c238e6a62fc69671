use std::collections::BTreeMap;

use serde::Serialize;

use super::State;

/// What the sources did, as far as they run here.
#[derive(Debug, Serialize)]
pub(super) struct Sources {
    /// What this replica is to each: `publisher` or `standby`.
    #[serde(flatten)]
    roles: BTreeMap<&'static str, &'static str>,
    restarts: u64,
    /// Ticks that could not be made, or published, in time.
    skipped: u64,
    /// Connections to exchanges that are up, by source.
    connections: BTreeMap<String, i64>,
    /// Connections to exchanges that did not come about, or ended.
    reconnects: u64,
    /// Messages of exchanges that could not be read.
    garbage: u64,
    /// Symbols that an exchange refused, and how often.
    refused: BTreeMap<String, u64>,
    /// Ticks dropped because they go back in time, or are far ahead.
    misdated: u64,
    /// Ticks dropped because their price jumped, and was not confirmed.
    jumped: u64,
    /// Times that the recording began again.
    replay_passes: u64,
}

impl Sources {
    pub(super) fn of(state: &State) -> Self {
        let metrics = &state.metrics;
        Self {
            roles: state.bus.roles(),
            restarts: metrics.source_restarts.get(),
            skipped: metrics.ticks_skipped.get(),
            connections: metrics.source_connections.all(),
            reconnects: metrics.source_reconnects.get(),
            garbage: metrics.source_garbage.get(),
            refused: metrics.symbols_refused.all(),
            misdated: metrics.ticks_misdated.get(),
            jumped: metrics.ticks_jumped.get(),
            replay_passes: metrics.replay_passes.get(),
        }
    }
}
