use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::charts::Frame;
use super::cohort::{Cohort, CohortId};
use crate::market::{DayOf, Market};
use crate::price::{Day, Symbol, SymbolId};
use crate::wire::{encode_day, encode_ticks, to_client};

/// How old what is known of a day may be.
const FRESH_FOR: Duration = Duration::from_secs(1);

/// Symbols that are asked for at once: the market is locked meanwhile.
const SYMBOLS_AT_ONCE: usize = 256;

/// What symbols did in the last 24 hours, as far as somebody asks.
#[derive(Debug, Default)]
pub(super) struct Days {
    /// By id.
    known: Vec<Known>,
    /// Grows each time that clients are told, at most once a second.
    pub(super) turn: u64,
    /// What goes to members of a cohort who have had everything up to a turn; none where nothing has changed since.
    built: HashMap<(CohortId, u64), Option<Arc<Frame>>>,
}

#[derive(Clone, Debug, Default)]
struct Known {
    of: DayOf,
    looked: Option<Instant>,
    day: Option<Day>,
    /// The turn in which it is news.
    turn: u64,
}

impl Days {
    /// Makes sure that what is known of these is as fresh as it has to be.
    pub(super) fn refresh(&mut self, market: &Market, ids: impl Iterator<Item = SymbolId>, now_ms: u64, now: Instant) {
        let mut asked = Vec::new();
        for id in ids {
            if self.known.len() <= id.index() {
                self.known.resize(id.index() + 1, Known::default());
            }
            let known = &mut self.known[id.index()];
            if known.looked.is_none_or(|looked| now - looked >= FRESH_FOR) {
                known.looked = Some(now);
                asked.push((id, known.of));
            }
        }
        for asked in asked.chunks(SYMBOLS_AT_ONCE) {
            for (id, day, of) in market.days(asked, now_ms) {
                let known = &mut self.known[id.index()];
                known.of = of;
                if known.day != Some(day) {
                    known.day = Some(day);
                    known.turn = self.turn + 1;
                }
            }
        }
    }

    /// What is known of a symbol.
    pub(super) fn get(&self, id: SymbolId) -> Option<&Day> {
        self.known.get(id.index())?.day.as_ref()
    }

    /// The next turn: looks at everything that anybody in these cohorts wants.
    pub(super) fn turn<'a>(
        &mut self,
        market: &Market,
        cohorts: impl Iterator<Item = &'a Cohort>,
        now_ms: u64,
        now: Instant,
    ) {
        let mut wanted: Vec<SymbolId> =
            cohorts.flat_map(|cohort| cohort.wants.iter()).filter(|want| want.stats).map(|want| want.id).collect();
        wanted.sort_unstable();
        wanted.dedup();
        for id in &wanted {
            if let Some(known) = self.known.get_mut(id.index()) {
                known.looked = None;
            }
        }
        self.refresh(market, wanted.into_iter(), now_ms, now);
        self.turn += 1;
        self.built.clear();
    }

    /// What has changed since a turn, for a member of this cohort; none where nothing has.
    pub(super) fn news(&mut self, symbols: &[Symbol], id: CohortId, cohort: &Cohort, since: u64) -> Option<Arc<Frame>> {
        let known = &self.known;
        let build = || {
            let days = cohort.wants.iter().filter(|want| want.stats).filter_map(|want| {
                let known = known.get(want.id.index()).filter(|known| known.turn > since)?;
                Some(encode_day(&symbols[want.id.index()], known.day.as_ref()?))
            });
            let days: Vec<_> = days.collect();
            let body = (!days.is_empty()).then(|| encode_ticks(days.iter().map(|day| &**day)));
            body.map(|body| Frame::new(to_client::STATS, body))
        };
        self.built.entry((id, since)).or_insert_with(build).clone()
    }
}
