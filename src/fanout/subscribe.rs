use std::collections::BTreeMap;

use serde_json::value::RawValue;
use tokio::time::Instant;

use super::cohort::{Want, Wants, want_for};
use super::rights::forbidden_symbol;
use super::session::Options;
use super::shard::Shard;
use crate::price::SymbolId;
use crate::wire::{
    Answer, ErrorCode, Mode, Rejected, Server, Subscribe, Subscribed, Symbols, Unsubscribe, Unsubscribed, cut,
    encode_snapshot, encode_tick, encode_ticks, short,
};

/// How many ticks of a symbol another replica may be ahead of this one. Who says more has made it up, and would wait for it
/// for ever.
const MOST_AHEAD: u64 = 10_000;

/// How a symbol goes on for a client that had it before.
enum Resumed {
    /// It missed nothing.
    Current,
    /// This is what it missed.
    Replayed(Vec<Box<RawValue>>),
    /// What it missed is not all held any more: it starts over.
    Snapshot,
}

/// An event with its body.
type Event = (String, Box<RawValue>);

impl Shard {
    /// Gives a client symbols. Returns the answer, and what goes out after it to one that only listens.
    pub(super) fn subscribe(
        &mut self,
        slot: usize,
        request: &Subscribe,
        by_callback: bool,
        now: Instant,
    ) -> (Box<RawValue>, Vec<Event>) {
        self.learn();
        let mode = request.mode.unwrap_or(self.settings.default_mode);
        let options = Options { mode, pace: request.max_rate.as_ref().map(|rate| rate.pace), stats: request.stats };
        let mut rejected = Vec::new();
        let mut asked: Vec<SymbolId> = Vec::new();
        let mut places = self.settings.max_subscriptions.saturating_sub(self.wants(slot).len());
        let session = &mut self.sessions[slot];
        match &request.symbols {
            Symbols::All => {
                let allowed =
                    self.symbols.iter().enumerate().filter(|(_, symbol)| session.wishes.allows(symbol.as_str()));
                asked.extend(allowed.map(|(index, _)| SymbolId::new(index)));
                if asked.len() > self.settings.max_subscriptions {
                    asked.clear();
                    rejected.push(too_many("*", self.settings.max_subscriptions));
                } else {
                    session.wishes.add_all(options);
                }
            }
            Symbols::Named(names) => {
                for name in names {
                    match self.market.symbol(name) {
                        _ if !session.wishes.allows(name) => rejected.push(forbidden_symbol(name)),
                        // One that this shard has not heard of yet will be known to it in a moment.
                        Some((id, symbol)) if id.index() < self.symbols.len() => {
                            if session.wishes.options(&symbol).is_none() {
                                let Some(fewer) = places.checked_sub(1) else {
                                    rejected.push(too_many(name, self.settings.max_subscriptions));
                                    continue;
                                };
                                places = fewer;
                            }
                            session.wishes.add(symbol, options);
                            asked.push(id);
                        }
                        _ => rejected.push(unknown_symbol(name)),
                    }
                }
            }
        }
        let beyond = rejected.iter().filter(|rejected| rejected.code == ErrorCode::TooManySymbols).count();
        self.metrics.limited_subscriptions.add(beyond as u64);
        let mut sorted = asked.clone();
        sorted.sort_unstable();
        self.rearrange(slot, |id| sorted.binary_search(&id).is_ok(), now);
        if request.stats {
            self.sessions[slot].charts.days_whole = true;
        }
        self.days.refresh(&self.market, asked.iter().copied(), self.clock.millis(), now);

        let (mut snapshot, mut replay, mut resumed) = (Vec::new(), Vec::new(), BTreeMap::new());
        // What goes out as events too takes its room again in each shape.
        let copies = if by_callback { 1 } else { 1 + usize::from(mode.has_tick()) + usize::from(mode.has_batch()) };
        let mut room = self.settings.replay_ticks / copies;
        for &id in &asked {
            let symbol = &self.symbols[id.index()];
            let since = request.since.get(symbol.as_str());
            let how = since.map(|&seq| (seq, self.resume(id, seq, request, room)));
            match &how {
                Some((seq, Resumed::Current)) => self.go_ahead(slot, id, *seq),
                Some((_, Resumed::Replayed(ticks))) => {
                    room = room.saturating_sub(ticks.len());
                    replay.extend(ticks.iter().cloned());
                }
                Some((_, Resumed::Snapshot)) | None => {
                    let latest = self.latest[id.index()].as_ref();
                    let stale = self.stale.contains(&id);
                    // Its price may be newer than what is known of its day.
                    let day = latest.zip(self.days.get(id)).map(|(item, day)| day.with(item.tick.update.price));
                    let epoch = self.epoch.as_ref();
                    snapshot.extend(latest.map(|item| encode_snapshot(&item.tick, epoch, stale, day.as_ref())));
                }
            }
            if let Some((_, how)) = how {
                resumed.insert(self.symbols[id.index()].clone(), how.name());
            }
        }

        let events = if by_callback { Vec::new() } else { self.as_events(mode, &snapshot, &replay) };
        let answer = Subscribed {
            symbols: asked.iter().map(|id| self.symbols[id.index()].clone()).collect(),
            rejected,
            mode,
            max_rate: request.max_rate.as_ref().map(|rate| rate.number.clone()),
            epoch: self.epoch.clone(),
            state: self.market.feed().state.as_str(),
            snapshot,
            replay,
            resumed,
            server: Server { id: self.settings.server_id.clone(), time: self.clock.millis() },
        };
        (Answer::encode(Ok(answer)), events)
    }

    /// How a symbol goes on after `seq`. At most `room` ticks are replayed.
    fn resume(&self, id: SymbolId, seq: u64, request: &Subscribe, room: usize) -> Resumed {
        let same_epoch = self.epoch.as_ref().is_some_and(|epoch| Some(epoch.as_str()) == request.epoch.as_deref());
        let Some(latest) = self.latest[id.index()].as_ref().filter(|_| same_epoch) else {
            return Resumed::Snapshot;
        };
        if seq >= latest.tick.seq {
            let is_near = seq - latest.tick.seq <= MOST_AHEAD;
            return if is_near { Resumed::Current } else { Resumed::Snapshot };
        }
        let until = latest.tick.seq;
        let replayed = if request.max_rate.is_some() {
            let range = self.market.range_since(id, seq, until).filter(|_| room > 0);
            range.map(|(n, range)| vec![encode_tick(&latest.tick, n, None, range.filter(|_| n > 1))])
        } else {
            let ticks = self.market.since(id, seq, until, room);
            ticks.map(|ticks| ticks.iter().map(|tick| encode_tick(tick, 1, None, None)).collect())
        };
        replayed.map_or(Resumed::Snapshot, Resumed::Replayed)
    }

    /// A client has a symbol up to `seq`, as far as this replica or further: then it gets nothing of it until this
    /// replica is there too.
    fn go_ahead(&mut self, slot: usize, id: SymbolId, seq: u64) {
        if self.latest[id.index()].as_ref().is_some_and(|latest| latest.tick.seq < seq) {
            let session = &mut self.sessions[slot];
            session.ahead.insert(id, seq);
            session.pending.get_or_insert_default();
        }
    }

    /// A snapshot and a replay in the shape of live ticks, for those who only listen.
    fn as_events(&self, mode: Mode, snapshot: &[Box<RawValue>], replay: &[Box<RawValue>]) -> Vec<Event> {
        let ticks = || snapshot.iter().chain(replay);
        let count = ticks().count();
        let mut events = Vec::new();
        if mode.has_tick() {
            events.extend(ticks().map(|tick| (self.settings.events.tick.clone(), tick.clone())));
        }
        if mode.has_batch() && count > 0 {
            events.push((self.settings.events.batch.clone(), encode_ticks(ticks().map(|tick| &**tick))));
        }
        // Told to this client: as much a delivery as a live tick.
        let shapes = usize::from(mode.has_tick()) + usize::from(mode.has_batch());
        self.metrics.deliveries.add((count * shapes) as u64);
        events
    }

    /// Takes symbols from a client. Returns the answer.
    pub(super) fn unsubscribe(&mut self, slot: usize, request: &Unsubscribe, now: Instant) -> Box<RawValue> {
        let mut rejected = Vec::new();
        let mut symbols = Vec::new();
        match &request.symbols {
            Symbols::All => {
                let wants = self.wants(slot);
                symbols.extend(wants.iter().map(|want| self.symbols[want.id.index()].clone()));
                self.sessions[slot].wishes.remove_all();
            }
            Symbols::Named(names) => {
                let session = &mut self.sessions[slot];
                for name in names {
                    match self.market.symbol(name) {
                        Some((_, symbol)) if session.wishes.options(&symbol).is_some() => {
                            session.wishes.remove(&symbol);
                            symbols.push(symbol);
                        }
                        None if session.wishes.allows(name) => rejected.push(unknown_symbol(name)),
                        // Whether there is such a symbol is not said to who may not get it.
                        _ => rejected.push(Rejected {
                            symbol: cut(name),
                            code: ErrorCode::NotSubscribed,
                            message: format!("{} is not subscribed: nothing to end", short(name)),
                        }),
                    }
                }
            }
        }
        self.rearrange(slot, |_| false, now);
        Answer::encode(Ok(Unsubscribed { symbols, rejected }))
    }

    /// What a client gets.
    pub(super) fn wants(&self, slot: usize) -> Wants {
        let cohort = self.sessions[slot].cohort.and_then(|(id, _)| self.cohorts.get(id));
        cohort.map_or_else(|| [].into(), |cohort| cohort.wants.clone())
    }

    /// Brings a client into the cohort of what it wishes. Of symbols that start over nothing waits any more.
    pub(super) fn rearrange(&mut self, slot: usize, starts_over: impl Fn(SymbolId) -> bool, now: Instant) {
        let old_wants = self.wants(slot);
        let session = &mut self.sessions[slot];
        let wants = session.wishes.among(&self.symbols);
        let before = session.cohort.and_then(|(id, _)| self.cohorts.get(id));
        let mut pending = match session.pending.take() {
            Some(pending) => *pending,
            // It has had what its cohort has had, and no more than that.
            None => before.map(|cohort| cohort.waiting()).unwrap_or_default(),
        };
        pending.retain(|key| {
            !starts_over(key.0) && want_for(&wants, key.0).is_some_and(|want| want.keys().any(|is| is == key))
        });
        session.ahead.retain(|&id, _| !starts_over(id) && want_for(&wants, id).is_some());

        // Entered before the old one is left: a cohort that stays the same is not built anew.
        let left = session.cohort.take();
        session.cohort = (!wants.is_empty()).then(|| self.cohorts.enter(wants.clone(), slot, now));
        let entered = session.cohort;
        let waits = entered.and_then(|(id, _)| self.cohorts.get(id)).is_some_and(|cohort| cohort.has_waiting());
        let oldest = pending.oldest();
        if entered.is_some() && (waits || oldest.is_some() || !session.ahead.is_empty()) {
            session.pending = Some(Box::new(pending));
        }
        if let Some((id, place)) = left
            && let Some(moved) = self.cohorts.exit(id, place)
            && let Some(cohort) = &mut self.sessions[moved].cohort
        {
            // It may be the same client, where the cohort stayed the same.
            *cohort = (id, place);
        }
        if let (Some((id, _)), Some(oldest)) = (entered, oldest) {
            self.schedule_at(id, oldest);
        }
        self.recount(&old_wants, &wants);
        self.note_charts(slot);
    }

    /// Keeps the number of subscribers by symbol.
    fn recount(&self, before: &[Want], after: &[Want]) {
        let gone = before.iter().filter(|want| want_for(after, want.id).is_none());
        let come = after.iter().filter(|want| want_for(before, want.id).is_none());
        gone.for_each(|want| self.subscribers[want.id.index()].add(-1));
        come.for_each(|want| self.subscribers[want.id.index()].add(1));
    }
}

impl Resumed {
    fn name(&self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Replayed(_) => "replayed",
            Self::Snapshot => "snapshot",
        }
    }
}

fn too_many(name: &str, most: usize) -> Rejected {
    let message = format!("at most {most} symbols may be subscribed at a time: unsubscribe from others first");
    Rejected { symbol: cut(name), code: ErrorCode::TooManySymbols, message }
}

pub(super) fn unknown_symbol(name: &str) -> Rejected {
    let message = format!("there is no symbol \"{}\" (subscribe to \"*\" for all, or see /stats)", short(name));
    Rejected { symbol: cut(name), code: ErrorCode::UnknownSymbol, message }
}
