//! Candles and statistics: who asks for them, and when they go out.

use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;
use tokio::time::Instant;

use super::charts::{CANDLES_AT_ONCE, ChartId, Charts, Frame, Seat};
use super::rights::forbidden_symbol;
use super::shard::Shard;
use super::subscribe::unknown_symbol;
use crate::market::At;
use crate::net::Injected;
use crate::price::{Interval, Symbol, SymbolId};
use crate::wire::{Answer, ChartRequest, Charted, Done, ErrorCode, Failure, Rejected, encode_candles};

/// How long after its end a candle stays open for ticks that are on their way, where no later one has come.
const GRACE: Duration = Duration::from_secs(2);

/// Statistics go out with every so many-th look.
const LOOKS_A_TURN: u32 = 4;

/// Clients that are looked at in a row before others on this thread have their turn.
const CLIENTS_IN_A_ROW: usize = 128;

/// How far a client is, once it has taken an event.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// It has these candles so far.
    Candles(ChartId, Seat),
    /// It has the statistics of this turn.
    Days(u64),
}

/// What a client lacks.
#[derive(Debug, Default)]
struct Lacking {
    events: Vec<(Arc<Frame>, Step)>,
    /// True where candles that it has not had are not held any more.
    lost: bool,
}

impl Shard {
    /// Candles from now on. Returns the answer, which has what came before.
    pub(super) fn follow(&mut self, slot: usize, request: &ChartRequest) -> Result<Box<RawValue>, Failure> {
        let (id, symbol) = self.chart_of(slot, request)?;
        let chart = (id, request.interval);
        let most = self.settings.max_charts;
        let charts = &self.sessions[slot].charts.candles;
        if !charts.contains_key(&chart) && charts.len() >= most {
            self.metrics.limited_subscriptions.inc();
            let message =
                format!("at most {most} candles subscriptions may be had at a time: end others first (uncandles)");
            return Err(Failure::new(ErrorCode::TooManySymbols, message));
        }
        let limit = request.limit.min(self.settings.answer_candles);
        let followed = self.market.chart(id, request.interval, limit, self.at());
        let seat = self.board.enter(chart, followed.as_ref());
        if self.sessions[slot].charts.candles.insert(chart, seat).is_some() {
            self.board.exit(chart);
        }
        self.note_charts(slot);
        let candles = followed.map(|followed| followed.candles).unwrap_or_default();
        let (interval, candles) = (request.interval.as_str(), encode_candles(&candles));
        Ok(Answer::encode(Ok(Charted { symbol, interval, candles })))
    }

    /// No more of them.
    pub(super) fn unfollow(&mut self, slot: usize, request: &ChartRequest) -> Result<Box<RawValue>, Failure> {
        let (id, symbol) = self.chart_of(slot, request)?;
        let chart = (id, request.interval);
        if self.sessions[slot].charts.candles.remove(&chart).is_none() {
            let message = format!("the {} candles of {symbol} are not subscribed: nothing to end", request.interval);
            return Err(Failure::new(ErrorCode::NotSubscribed, message));
        }
        self.board.exit(chart);
        self.note_charts(slot);
        Ok(Answer::encode(Ok(Done {})))
    }

    /// The symbol that a request is about.
    fn chart_of(&mut self, slot: usize, request: &ChartRequest) -> Result<(SymbolId, Symbol), Failure> {
        self.learn();
        let refuse = |Rejected { code, message, .. }: Rejected| Failure::new(code, message);
        if !self.sessions[slot].wishes.allows(&request.symbol) {
            return Err(refuse(forbidden_symbol(&request.symbol)));
        }
        let known = self.market.symbol(&request.symbol).filter(|(id, _)| id.index() < self.symbols.len());
        known.ok_or_else(|| refuse(unknown_symbol(&request.symbol)))
    }

    /// Ends the candles that a client may not get any more. Returns whose.
    pub(super) fn end_charts(&mut self, slot: usize, may: impl Fn(&Symbol) -> bool) -> Vec<Symbol> {
        let session = &mut self.sessions[slot];
        let is_over = |id: &SymbolId| self.symbols.get(id.index()).is_none_or(|symbol| !may(symbol));
        let over: Vec<ChartId> = session.charts.candles.keys().filter(|(id, _)| is_over(id)).copied().collect();
        for chart in &over {
            session.charts.candles.remove(chart);
            self.board.exit(*chart);
        }
        self.note_charts(slot);
        over.iter().filter_map(|(id, _)| self.symbols.get(id.index())).cloned().collect()
    }

    /// Knows who follows anything beside ticks.
    pub(super) fn note_charts(&mut self, slot: usize) {
        let wants_days = self.wants(slot).iter().any(|want| want.stats);
        let charts = &mut self.sessions[slot].charts;
        if wants_days && !charts.wants_days {
            // No more than once a second, whoever has just had them.
            charts.days_turn = self.days.turn;
        }
        charts.wants_days = wants_days;
        if charts.is_empty() {
            charts.waits = None;
            self.charting.remove(&slot);
        } else {
            self.charting.insert(slot);
        }
    }

    fn at(&self) -> At {
        At { now_ms: self.clock.millis(), grace_ms: u64::try_from(GRACE.as_millis()).unwrap_or(0) }
    }

    /// Looks at what has changed in candles, and now and then in statistics, and shows it to who follows them.
    pub(super) async fn show(&mut self, now: Instant) {
        if self.charting.is_empty() {
            return;
        }
        let at = self.at();
        self.board.look(&self.market, &self.symbols, at);
        self.looks += 1;
        if self.looks >= LOOKS_A_TURN {
            self.looks = 0;
            self.days.turn(&self.market, self.cohorts.iter(), at.now_ms, now);
        }
        let slots: Vec<usize> = self.charting.iter().copied().collect();
        for slots in slots.chunks(CLIENTS_IN_A_ROW) {
            for &slot in slots {
                if self.show_to(slot, now, false) {
                    self.wait_for(slot);
                }
            }
            tokio::task::yield_now().await;
        }
    }

    /// Shows a client what it lacks, as far as it takes it; `ready` where it has just taken something through its queue.
    /// True where something is left.
    pub(super) fn show_to(&mut self, slot: usize, now: Instant, ready: bool) -> bool {
        if self.sessions[slot].charts.is_empty() {
            return false;
        }
        let Lacking { events, lost } = self.lacking(slot);
        if lost {
            tracing::debug!(client = self.sessions[slot].client.0, "disconnected: candles that it lacks are not held");
            self.metrics.slow_disconnects.inc();
            self.sessions[slot].link.close();
            self.end_charts(slot, |_| false);
            return false;
        }
        if events.is_empty() {
            self.sessions[slot].charts.waits = None;
            return false;
        }
        let taken = if self.sessions[slot].clearing { Some(0) } else { self.hand(slot, &events, ready) };
        // It is about to leave.
        let Some(taken) = taken else { return false };
        self.metrics.messages_sent.add(taken as u64);
        self.metrics.charts_sent.add(taken as u64);
        let session = &mut self.sessions[slot];
        for (_, step) in &events[..taken] {
            match step {
                Step::Candles(chart, seat) => drop(session.charts.candles.insert(*chart, *seat)),
                Step::Days(turn) => (session.charts.days_turn, session.charts.days_whole) = (*turn, false),
            }
        }
        if taken > 0 {
            session.took = Some(now);
        }
        let left = taken < events.len();
        session.charts.waits = if left { session.charts.waits.or(Some(now)) } else { None };
        left
    }

    /// Hands events to one client, and returns how many it took; none where it takes nothing any more.
    fn hand(&self, slot: usize, events: &[(Arc<Frame>, Step)], ready: bool) -> Option<usize> {
        let session = &self.sessions[slot];
        match &session.lane {
            Some(lane) => {
                let (mut bytes, mut ends) = (Vec::new(), Vec::with_capacity(events.len()));
                for (frame, _) in events {
                    bytes.extend_from_slice(&frame.bytes);
                    ends.push(bytes.len());
                }
                match lane.inject(&bytes, &ends) {
                    Injected::Taken { frames, .. } => Some(frames),
                    Injected::Gone => None,
                }
            }
            None if ready || session.link.take_ready() => {
                let last = events.len().saturating_sub(1);
                let mut places = events.iter().enumerate();
                let refused = places
                    .position(|(place, (frame, _))| !session.link.deliver(frame.event, &frame.body, place < last));
                Some(refused.unwrap_or(events.len()))
            }
            None => Some(0),
        }
    }

    /// What a client lacks of what it follows, each candle's close in order.
    fn lacking(&mut self, slot: usize) -> Lacking {
        let mut lacking = Lacking::default();
        let Charts { candles, wants_days, days_turn, days_whole, .. } = &self.sessions[slot].charts;
        for (&id, &seat) in candles {
            self.lack_candles(id, seat, &mut lacking);
        }
        if *wants_days
            && *days_turn < self.days.turn
            && let Some((id, _)) = self.sessions[slot].cohort
            && let Some(cohort) = self.cohorts.get(id)
        {
            let turn = self.days.turn;
            let since = if *days_whole { 0 } else { *days_turn };
            match self.days.news(&self.symbols, id, cohort, since) {
                Some(frame) => lacking.events.push((frame, Step::Days(turn))),
                None => self.sessions[slot].charts.days_turn = turn,
            }
        }
        lacking
    }

    fn lack_candles(&self, id: ChartId, seat: Seat, lacking: &mut Lacking) {
        let Some(chart) = self.board.get(id) else { return };
        let interval: Interval = id.1;
        let mut seat = chart.corrected(seat, interval);
        if seat.next_ms < chart.from_ms {
            // Behind the others: from the market itself, and what is more with the next look.
            let most = CANDLES_AT_ONCE;
            let Some(followed) = self.market.follow(id.0, interval, seat.next_ms, most, self.at()) else { return };
            if seat.next_ms > 0 && followed.candles.first().is_some_and(|first| first.ts_ms > seat.next_ms) {
                lacking.lost = true;
                return;
            }
            let symbol = &self.symbols[id.0.index()];
            for candle in followed.candles.iter().take_while(|candle| candle.ts_ms < chart.next_ms) {
                seat.next_ms = candle.ts_ms + interval.ms();
                lacking.events.push((Frame::candle(symbol, interval, candle, true), Step::Candles(id, seat)));
            }
        } else {
            let next_ms = seat.next_ms;
            let mut closes = chart.closes.iter().skip_while(|(ts_ms, _)| *ts_ms < next_ms).peekable();
            let first_ms = closes.peek().map_or(chart.next_ms, |(ts_ms, _)| *ts_ms);
            if next_ms > 0 && next_ms < first_ms {
                lacking.lost = true;
                return;
            }
            for (ts_ms, frame) in closes {
                seat.next_ms = ts_ms + interval.ms();
                lacking.events.push((frame.clone(), Step::Candles(id, seat)));
            }
        }
        if seat.shown != chart.version
            && chart.runs_at(seat.next_ms)
            && let Some(frame) = &chart.frame
        {
            seat.shown = chart.version;
            lacking.events.push((frame.clone(), Step::Candles(id, seat)));
        }
    }
}

impl Charts {
    /// True for who follows nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.candles.is_empty() && !self.wants_days
    }
}
