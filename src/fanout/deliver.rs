use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::cohort::{Cohort, CohortId, Want};
use super::flush::Item;
use super::parcel::{Load, Parcel};
use super::session::Session;
use super::shard::Shard;
use super::wanted::Wanted;
use crate::metrics::{Counter, Metrics};
use crate::net::Injected;
use crate::wire::{ErrorCode, Failure, to_client};

/// Clients that are written to in a row before others on this thread have their turn.
const CLIENTS_IN_A_ROW: usize = 128;

/// Clients whose connections are looked at together before they are written to.
const CLIENTS_AHEAD: usize = 32;

/// How far a parcel came.
struct Delivered {
    /// So many of its frames.
    frames: usize,
    /// True where the client takes no more for now.
    blocked: bool,
    /// True where it takes no more at all: it is about to leave.
    gone: bool,
}

/// What was delivered, to be counted at once.
#[derive(Default)]
struct Counts {
    events: usize,
    ticks: usize,
    by_lane: usize,
    left_out: u64,
}

impl Counts {
    fn add(&mut self, events: usize, ticks: usize, left_out: u64, by_lane: bool) {
        self.events += events;
        self.ticks += ticks;
        self.by_lane += if by_lane { ticks } else { 0 };
        self.left_out += left_out;
    }

    /// Counts it; what was left out for this reason.
    fn tell(&self, metrics: &Metrics, conflated: &Counter) {
        metrics.messages_sent.add(self.events as u64);
        metrics.deliveries.add(self.ticks as u64);
        metrics.deliveries_by_lane.add(self.by_lane as u64);
        conflated.add(self.left_out);
    }
}

impl Shard {
    /// Hands ticks to whom they concern.
    pub(super) async fn flush(&mut self, items: &[Arc<Item>], now: Instant) {
        let wanted = Wanted::new(items);
        let ids: Vec<CohortId> = self.cohorts.ids().collect();
        let (mut row, mut served) = (0, false);
        for id in ids {
            let wanted = self.cohorts.get(id).map(|cohort| wanted.of(&cohort.wants)).unwrap_or_default();
            if !wanted.is_empty() {
                served = true;
                self.serve(id, &wanted, now, &mut row).await;
            }
        }
        if served {
            self.metrics.tick_age.take(&mut self.ages);
            self.metrics.flush_duration.observe(now.elapsed());
        }
    }

    /// Sends what has waited for its time.
    pub(super) async fn keep_pace(&mut self, now: Instant) {
        let mut row = 0;
        while let Some(&Reverse((due, id))) = self.timers.peek()
            && due <= now
        {
            self.timers.pop();
            if let Some(cohort) = self.cohorts.get_mut(id) {
                cohort.scheduled = None;
            }
            self.serve(id, &[], now, &mut row).await;
        }
        self.metrics.tick_age.take(&mut self.ages);
    }

    /// Sends to a cohort what goes out now, of these updates and of what has waited. What goes to those who have had
    /// everything is built once; the others get their own.
    async fn serve(&mut self, id: CohortId, wanted: &[(&Arc<Item>, Want)], now: Instant, row: &mut usize) {
        let Some(cohort) = self.cohorts.get_mut(id) else { return };
        let dues = cohort.dues(now);
        let parcel = cohort.pack(wanted, now, &self.settings.events, self.epoch.as_ref());
        self.schedule(id);

        let mut counts = Counts::default();
        let left_out = parcel.left_out(parcel.ends.len());
        // Those who took all of it since the age of what is in it was noted.
        let mut whole = 0;
        // Nobody comes or goes meanwhile: that is this task's own business.
        for place in 0.. {
            if place % CLIENTS_AHEAD == 0 {
                self.look_ahead(id, place);
            }
            let Some(&slot) = self.cohorts.get(id).and_then(|cohort| cohort.members.get(place)) else { break };
            let session = &mut self.sessions[slot];
            if let Some(pending) = &mut session.pending {
                for &(item, want) in wanted {
                    let ahead = session.ahead.get(&item.id).copied();
                    if ahead.is_some_and(|seq| item.tick.seq <= seq) {
                        continue;
                    }
                    session.ahead.remove(&item.id);
                    let due = want.pace.and_then(|pace| dues.iter().find(|(of, _)| *of == pace));
                    let due = due.map_or(now, |(_, due)| *due);
                    want.keys().for_each(|key| pending.add_after(ahead, key, item, due));
                }
                if !session.clearing {
                    self.attend(slot, now);
                }
            } else if !parcel.is_empty() {
                let by_lane = session.lane.is_some();
                let Delivered { frames, blocked, gone } = self.offer(slot, &parcel);
                if gone {
                    // Nothing of it came, and nothing of it waits.
                } else if frames == parcel.ends.len() {
                    counts.add(frames, parcel.loads.len(), left_out, by_lane);
                    whole += 1;
                } else {
                    let left = parcel.loads_from(frames);
                    let ticks = parcel.loads.len() - left.len();
                    counts.add(frames, ticks, parcel.left_out(frames), by_lane);
                    self.note_age(&parcel.loads[..ticks], 1);
                    // From now on it has its own of everything, also of what waits for its time with the others.
                    let mut pending = self.cohorts.get(id).map(Cohort::waiting).unwrap_or_default();
                    for load in left {
                        let (key, conflated) = load.undelivered(now);
                        pending.put_back(key, conflated);
                    }
                    self.sessions[slot].pending = Some(Box::new(pending));
                }
                if blocked {
                    self.wait_for(slot);
                }
            }
            *row += 1;
            if *row >= CLIENTS_IN_A_ROW {
                *row = 0;
                self.note_age(&parcel.loads, std::mem::take(&mut whole));
                tokio::task::yield_now().await;
            }
        }
        self.note_age(&parcel.loads, whole);
        counts.tell(&self.metrics, &self.metrics.conflated_paced);
    }

    /// Notes how old these are, which so many clients have just been sent. Once for many of them: what has one source's
    /// time is one, and nobody else is told before the end of the flush.
    fn note_age(&mut self, loads: &[Load<'_>], clients: u64) {
        if clients == 0 || loads.is_empty() {
            return;
        }
        let now_ms = self.clock.millis();
        for same in loads.chunk_by(|one, next| one.ts_ms() == next.ts_ms()) {
            let age = Duration::from_millis(now_ms.saturating_sub(same[0].ts_ms()));
            self.ages.add(age, same.len() as u64 * clients);
        }
    }

    /// Looks at the connections of the next members of a cohort. Between two flushes they have left the caches, and that
    /// many are fetched in little more than the time of one.
    fn look_ahead(&self, id: CohortId, place: usize) {
        let members = self.cohorts.get(id).and_then(|cohort| cohort.members.get(place..)).unwrap_or_default();
        let lanes = members.iter().take(CLIENTS_AHEAD).filter_map(|&slot| self.sessions[slot].lane.as_ref());
        std::hint::black_box(lanes.filter(|lane| lane.is_there()).count());
    }

    /// Sends a client what waits for it and is due, as far as it takes it.
    pub(super) fn attend(&mut self, slot: usize, now: Instant) {
        let session = &mut self.sessions[slot];
        if session.lane.is_none() {
            session.lane = session.link.lane();
        }
        let mut blocked = session.clearing;
        let mut ready = false;
        if !blocked
            && let Some(pending) = &mut session.pending
            && pending.is_due(now)
        {
            let mut parcel = Parcel::default();
            for (key, conflated) in pending.take_due(now) {
                parcel.add_conflated(key, conflated, &self.settings.events, self.epoch.as_ref());
            }
            let parcel = parcel.seal(&self.settings.events, self.epoch.as_ref());
            let delivered = self.offer(slot, &parcel);
            if delivered.gone {
                return;
            }
            blocked = delivered.blocked;
            ready = !blocked && delivered.frames > 0;
            let left = parcel.loads_from(delivered.frames);
            let session = &mut self.sessions[slot];
            if delivered.frames > 0 {
                session.took = Some(now);
            }
            let mut counts = Counts::default();
            let ticks = parcel.loads.len() - left.len();
            counts.add(delivered.frames, ticks, parcel.left_out(delivered.frames), session.lane.is_some());
            counts.tell(&self.metrics, &self.metrics.conflated_behind);
            self.note_age(&parcel.loads[..ticks], 1);
            self.metrics.tick_age.take(&mut self.ages);
            if let Some(pending) = &mut self.sessions[slot].pending {
                for load in left {
                    let (key, conflated) = load.undelivered(now);
                    pending.put_back(key, conflated);
                }
            }
        }
        blocked |= self.show_to(slot, now, ready);
        let session = &mut self.sessions[slot];
        if session.lane.as_ref().is_some_and(|lane| lane.waits_since().is_some()) {
            blocked = true;
        }
        if session.pending.as_ref().is_some_and(|pending| pending.is_empty()) && session.ahead.is_empty() {
            let cohort = session.cohort.and_then(|(id, _)| self.cohorts.get(id));
            if cohort.is_none_or(|cohort| !cohort.has_waiting()) {
                session.pending = None;
            }
        }
        if blocked {
            self.wait_for(slot);
            return;
        }
        if self.waiting.remove(&slot) && std::mem::take(&mut session.slow) {
            self.metrics.clients_slow.add(-1);
        }
        // What is left waits for its time, which need not be that of anything else in its cohort: it may have begun to
        // wait in another.
        let due = session.pending.as_ref().and_then(|pending| pending.oldest());
        if let (Some((id, _)), Some(due)) = (session.cohort, due) {
            self.schedule_at(id, due);
        }
        if let Some((count, event)) = self.sessions[slot].link.take_dropped() {
            let failure = Failure::new(
                ErrorCode::Unavailable,
                format!("{count} messages were dropped: more waited for this connection than it may have waiting"),
            );
            let sent = self.sessions[slot].link.send(to_client::ERROR, &failure.encode_event(&event));
            self.after(slot, sent);
        }
    }

    /// Has a cohort served when the first of what waits in it is due.
    pub(super) fn schedule(&mut self, id: CohortId) {
        if let Some(cohort) = self.cohorts.get_mut(id)
            && let Some(due) = cohort.next_due()
        {
            self.schedule_at(id, due);
        }
    }

    pub(super) fn schedule_at(&mut self, id: CohortId, due: Instant) {
        if let Some(cohort) = self.cohorts.get_mut(id)
            && cohort.scheduled.is_none_or(|scheduled| due < scheduled)
        {
            cohort.scheduled = Some(due);
            self.timers.push(Reverse((due, id)));
        }
    }

    /// Offers a parcel to one client.
    fn offer(&self, slot: usize, parcel: &Parcel<'_>) -> Delivered {
        let Session { lane, link, charts, .. } = &self.sessions[slot];
        let all = parcel.ends.len();
        match lane {
            Some(lane) => match lane.inject(&parcel.bytes, &parcel.ends) {
                Injected::Taken { frames, blocked } => Delivered { frames, blocked, gone: false },
                Injected::Gone => Delivered { frames: 0, blocked: false, gone: true },
            },
            None if link.take_ready() => {
                // What it follows may come behind its ticks.
                let last = if charts.is_empty() { all.saturating_sub(1) } else { all };
                let mut events = parcel.events(&self.settings.events, self.epoch.as_ref()).enumerate();
                let refused = events.position(|(place, (event, body))| !link.deliver(event, &body, place < last));
                let frames = refused.unwrap_or(all);
                Delivered { frames, blocked: frames < all, gone: false }
            }
            None => Delivered { frames: 0, blocked: true, gone: false },
        }
    }
}
