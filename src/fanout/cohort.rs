use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use slab::Slab;
use tokio::time::Instant;

use super::flush::Item;
use super::parcel::{Events, Parcel};
use super::pending::{Key, Pending, Shape};
use crate::price::{Epoch, SymbolId};
use crate::wire::{Mode, Pace};

/// One symbol that a client wants, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Want {
    /// Which.
    pub id: SymbolId,
    /// In which shape.
    pub mode: Mode,
    /// How often at most; none for every tick.
    pub pace: Option<Pace>,
    /// Whether what it did in the last 24 hours is wanted, too.
    pub stats: bool,
}

impl Want {
    /// Its streams.
    pub fn keys(self) -> impl Iterator<Item = Key> {
        let shapes = [(Shape::Tick, self.mode.has_tick()), (Shape::Batch, self.mode.has_batch())];
        shapes.into_iter().filter(|(_, wanted)| *wanted).map(move |(shape, _)| (self.id, shape))
    }
}

/// What a set of clients wants, by id, at least one.
pub type Wants = Arc<[Want]>;

/// The one of these that is for this symbol.
pub fn want_for(wants: &[Want], id: SymbolId) -> Option<Want> {
    wants.binary_search_by_key(&id, |want| want.id).ok().map(|index| wants[index])
}

/// Names a cohort for as long as it has members; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CohortId {
    serial: u64,
    /// Where it is, while it is there: one that comes after it may be there, with another number.
    key: usize,
}

/// The clients that want the same: what goes to them is built once.
#[derive(Debug)]
pub struct Cohort {
    serial: u64,
    /// What they want.
    pub wants: Wants,
    /// The sessions, by slot.
    pub members: Vec<usize>,
    /// Those symbols that have a pace, by pace.
    classes: Vec<Class>,
    /// When it is to be served, ticks or not.
    pub scheduled: Option<Instant>,
}

/// The symbols of a cohort that have the same pace: they go out together.
#[derive(Debug)]
struct Class {
    pace: Pace,
    /// When they may go out next.
    due: Instant,
    /// What has come since they last did.
    pending: Pending,
}

impl Cohort {
    fn new(serial: u64, wants: Wants, now: Instant) -> Self {
        let paces: HashSet<Pace> = wants.iter().filter_map(|want| want.pace).collect();
        let classes = paces.into_iter().map(|pace| Class { pace, due: now, pending: Pending::default() }).collect();
        Self { serial, wants, members: Vec::new(), classes, scheduled: None }
    }

    /// When what comes now for a symbol may go out, by pace.
    pub fn dues(&self, now: Instant) -> Vec<(Pace, Instant)> {
        self.classes.iter().map(|class| (class.pace, class.due.max(now))).collect()
    }

    /// When something may go out that has to wait; none where nothing has.
    pub fn next_due(&self) -> Option<Instant> {
        self.classes.iter().filter(|class| !class.pending.is_empty()).map(|class| class.due).min()
    }

    /// What has come for members that have had everything before it, and waits for its time.
    pub fn waiting(&self) -> Pending {
        let mut waiting = Pending::default();
        for (key, conflated) in self.classes.iter().flat_map(|class| class.pending.iter()) {
            waiting.put_back(key, conflated.clone());
        }
        waiting
    }

    /// True where something waits for its time.
    pub fn has_waiting(&self) -> bool {
        self.classes.iter().any(|class| !class.pending.is_empty())
    }

    /// Lets go of what waits: it is of an epoch that has ended.
    pub fn forget(&mut self) {
        for class in &mut self.classes {
            class.pending = Pending::default();
        }
    }

    /// Builds what goes out now of these updates, which it wants, and of what has waited; keeps what may not yet.
    pub fn pack<'a>(
        &mut self,
        wanted: &[(&'a Arc<Item>, Want)],
        now: Instant,
        events: &Events,
        epoch: Option<&Epoch>,
    ) -> Parcel<'a> {
        let mut parcel = Parcel::default();
        for &(item, want) in wanted {
            let class = want.pace.and_then(|pace| self.classes.iter_mut().find(|class| class.pace == pace));
            match class {
                Some(class) => want.keys().for_each(|key| class.pending.add(key, item, class.due.max(now))),
                None => want.keys().for_each(|(_, shape)| parcel.add(shape, item)),
            }
        }
        for class in self.classes.iter_mut().filter(|class| class.due <= now && !class.pending.is_empty()) {
            class.due = now + class.pace.interval();
            for (key, conflated) in std::mem::take(&mut class.pending).take_due(now) {
                parcel.add_conflated(key, conflated, events, epoch);
            }
        }
        parcel.seal(events, epoch)
    }
}

/// Every cohort that has members.
#[derive(Debug, Default)]
pub struct Cohorts {
    by_wants: HashMap<Wants, CohortId>,
    /// By key: each is looked up for every update of what it wants.
    all: Slab<Cohort>,
    last: u64,
}

impl Cohorts {
    /// Adds a member to the cohort that wants this. Returns it, and the member's place in it.
    pub fn enter(&mut self, wants: Wants, slot: usize, now: Instant) -> (CohortId, usize) {
        debug_assert!(!wants.is_empty() && wants.is_sorted());
        let id = *self.by_wants.entry(wants.clone()).or_insert_with(|| {
            self.last += 1;
            let serial = self.last;
            CohortId { serial, key: self.all.insert(Cohort::new(serial, wants, now)) }
        });
        let members = &mut self.all[id.key].members;
        members.push(slot);
        (id, members.len() - 1)
    }

    /// Takes the member at this place out of a cohort; the last one ends it. Returns the slot of the member that is at
    /// this place now, if there is one.
    pub fn exit(&mut self, id: CohortId, place: usize) -> Option<usize> {
        let cohort = self.get_mut(id)?;
        cohort.members.swap_remove(place);
        if cohort.members.is_empty() {
            let cohort = self.all.remove(id.key);
            self.by_wants.remove(&cohort.wants);
            return None;
        }
        cohort.members.get(place).copied()
    }

    /// One of them.
    pub fn get(&self, id: CohortId) -> Option<&Cohort> {
        self.all.get(id.key).filter(|cohort| cohort.serial == id.serial)
    }

    /// One of them.
    pub fn get_mut(&mut self, id: CohortId) -> Option<&mut Cohort> {
        self.all.get_mut(id.key).filter(|cohort| cohort.serial == id.serial)
    }

    /// Every one, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Cohort> {
        self.all.iter().map(|(_, cohort)| cohort)
    }

    /// Every one, in no order.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Cohort> {
        self.all.iter_mut().map(|(_, cohort)| cohort)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// The name of every one, in no order.
    pub fn ids(&self) -> impl Iterator<Item = CohortId> {
        self.all.iter().map(|(key, cohort)| CohortId { serial: cohort.serial, key })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wants(ids: &[usize]) -> Wants {
        ids.iter().map(|&id| Want { id: SymbolId::new(id), mode: Mode::Tick, pace: None, stats: false }).collect()
    }

    #[test]
    fn the_same_wants_are_one_cohort_until_its_last_member_goes() {
        let mut cohorts = Cohorts::default();
        let now = Instant::now();
        let (a, first) = cohorts.enter(wants(&[0, 1]), 10, now);
        assert_eq!(cohorts.enter(wants(&[0, 1]), 11, now), (a, 1));
        assert_eq!(cohorts.enter(wants(&[0, 1]), 12, now), (a, 2));
        let (b, _) = cohorts.enter(wants(&[0]), 13, now);
        assert_ne!(a, b);

        assert_eq!(cohorts.exit(a, first), Some(12), "the last one takes the place");
        assert_eq!(cohorts.exit(a, 1), None, "the last place has nobody to take it");
        assert_eq!(cohorts.get(a).unwrap().members, [12]);
        assert_eq!((cohorts.exit(a, 0), cohorts.exit(b, 0)), (None, None));
        assert!(cohorts.all.is_empty() && cohorts.by_wants.is_empty());
        assert_ne!(cohorts.enter(wants(&[0]), 14, now).0, b, "a name is not used again");
    }
}
