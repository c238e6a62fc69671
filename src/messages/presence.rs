use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

use super::told::{MAX_LISTED, Occupants};
use crate::wire::RoomUsers;

/// How long what another replica said of its rooms holds. It says it again three times in it.
const HOLDS: Duration = Duration::from_secs(15);

/// Rooms of other replicas that are remembered.
const MAX_REMEMBERED: usize = 100_000;

/// Who is in which room: what changed here, and what other replicas said of theirs.
#[derive(Debug)]
pub struct Presence {
    /// False where nobody is to be told.
    on: bool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Rooms that somebody entered or left here since it was looked last.
    changed: HashSet<String>,
    /// Those of them that [`Presence::settle`] has looked at.
    settled: HashSet<String>,
    /// Rooms that changed elsewhere.
    touched: HashSet<String>,
    /// Who is here, as it was told last.
    here: HashMap<String, Occupants>,
    /// Who is elsewhere: by room and process.
    elsewhere: HashMap<String, HashMap<String, (Occupants, Instant)>>,
    /// How many there are in `elsewhere`.
    remembered: usize,
    /// What clients here were told last.
    told: HashMap<String, RoomUsers>,
}

impl Presence {
    /// One that takes note only where somebody is to be told.
    pub fn new(on: bool) -> Self {
        Self { on, state: Mutex::default() }
    }

    /// True where clients are to be told.
    pub fn is_on(&self) -> bool {
        self.on
    }

    /// Somebody has entered or left a room here.
    pub fn change(&self, room: &str) {
        if self.on {
            self.lock().changed.insert(room.to_owned());
        }
    }

    /// Takes note of who is in the rooms that changed here, by `look`. Returns what other replicas have to know; all that
    /// there is where `all`.
    pub fn settle(&self, all: bool, look: impl Fn(&str) -> Occupants) -> Vec<(String, Occupants)> {
        let changed = std::mem::take(&mut self.lock().changed);
        // Not under the lock: `look` takes those of clients, who take ours while they hold theirs.
        let looked = |room: String| {
            let occupants = look(&room);
            (room, occupants)
        };
        let mut news: Vec<_> = changed.into_iter().map(looked).collect();
        let mut state = self.lock();
        for (room, occupants) in &news {
            match occupants.connections {
                0 => state.here.remove(room),
                _ => state.here.insert(room.clone(), occupants.clone()),
            };
            state.settled.insert(room.clone());
        }
        if all {
            let known: HashSet<String> = news.iter().map(|(room, _)| room.clone()).collect();
            let others = state.here.iter().filter(|(room, _)| !known.contains(*room));
            news.extend(others.map(|(room, occupants)| (room.clone(), occupants.clone())));
        }
        news
    }

    /// Another replica said who is in its rooms. False where there was no room for all of it.
    pub fn heard(&self, from: &str, rooms: Vec<(String, Occupants)>) -> bool {
        let mut state = self.lock();
        let mut taken = self.on || rooms.is_empty();
        for (room, occupants) in rooms.into_iter().filter(|_| self.on) {
            taken &= state.hear(from, room, occupants);
        }
        taken
    }

    /// What the clients here are to be told now: who is in the rooms that changed.
    pub fn news(&self) -> Vec<RoomUsers> {
        let mut state = self.lock();
        state.forget_old();
        let changed = std::mem::take(&mut state.settled);
        let touched = std::mem::take(&mut state.touched);
        let mut news = Vec::new();
        for room in changed.union(&touched) {
            if !state.here.contains_key(room) {
                state.told.remove(room);
                continue;
            }
            let users = state.everybody(room);
            // Who has just come has to be told, whatever the others know.
            if changed.contains(room) || state.told.get(room) != Some(&users) {
                state.told.insert(room.clone(), users.clone());
                news.push(users);
            }
        }
        news
    }

    // A std lock: held for a moment, and never across an await.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl State {
    fn hear(&mut self, from: &str, room: String, occupants: Occupants) -> bool {
        let known = self.elsewhere.get(&room).and_then(|there| there.get(from));
        let same = known.is_some_and(|(known, _)| *known == occupants);
        let (was, is) = (known.is_some(), occupants.connections > 0);
        if !was && is && self.remembered >= MAX_REMEMBERED {
            return false;
        }
        if is {
            self.elsewhere.entry(room.clone()).or_default().insert(from.to_owned(), (occupants, Instant::now()));
            self.remembered += usize::from(!was);
        } else if was {
            let there = self.elsewhere.entry(room.clone()).or_default();
            there.remove(from);
            if there.is_empty() {
                self.elsewhere.remove(&room);
            }
            self.remembered -= 1;
        }
        if !same && (was || is) {
            self.touched.insert(room);
        }
        true
    }

    /// Forgets replicas that have fallen silent.
    fn forget_old(&mut self) {
        let State { elsewhere, touched, remembered, .. } = self;
        elsewhere.retain(|room, there| {
            let before = there.len();
            there.retain(|_, (_, at)| at.elapsed() < HOLDS);
            if there.len() < before {
                *remembered -= before - there.len();
                touched.insert(room.clone());
            }
            !there.is_empty()
        });
    }

    fn everybody(&self, room: &str) -> RoomUsers {
        let here = self.here.get(room).into_iter();
        let there = self.elsewhere.get(room).into_iter().flat_map(HashMap::values).map(|(occupants, _)| occupants);
        let (mut names, mut connections, mut complete) = (BTreeSet::new(), 0, true);
        for occupants in here.chain(there) {
            names.extend(occupants.users.iter().cloned());
            connections += occupants.connections;
            complete &= occupants.complete;
        }
        complete &= names.len() <= MAX_LISTED;
        RoomUsers { room: room.to_owned(), users: names.into_iter().take(MAX_LISTED).collect(), connections, complete }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn occupants(users: &[&str]) -> Occupants {
        Occupants::of(users.iter().map(|&user| (!user.is_empty()).then(|| user.to_owned())))
    }

    fn users(news: &[RoomUsers]) -> Vec<(&str, String, usize)> {
        news.iter().map(|news| (news.room.as_str(), news.users.join(","), news.connections)).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_in_a_room_here_and_elsewhere() {
        let presence = Presence::new(true);
        presence.change("a");
        assert_eq!(presence.settle(false, |_| occupants(&["zoe", "", "zoe"])).len(), 1);
        assert_eq!(users(&presence.news()), [("a", "zoe".into(), 3)]);
        assert!(presence.news().is_empty(), "nothing has changed");

        assert!(presence.heard("other", vec![("a".into(), occupants(&["amy"])), ("b".into(), occupants(&["bob"]))]));
        assert_eq!(users(&presence.news()), [("a", "amy,zoe".into(), 4)], "nobody here is in b");
        presence.heard("other", vec![("a".into(), occupants(&["amy"]))]);
        assert!(presence.news().is_empty(), "told again, but not new");
        assert_eq!(presence.settle(true, |_| occupants(&[])).len(), 1, "all that there is here");

        // One who comes is told, though the others see no change.
        presence.change("a");
        presence.settle(false, |_| occupants(&["zoe", "", "zoe"]));
        assert_eq!(presence.news().len(), 1);

        tokio::time::advance(HOLDS).await;
        assert_eq!(users(&presence.news()), [("a", "zoe".into(), 3)], "the other has fallen silent");
        assert_eq!(presence.lock().remembered, 0);

        presence.change("a");
        presence.settle(false, |_| occupants(&[]));
        assert!(presence.news().is_empty() && presence.lock().told.is_empty() && presence.lock().here.is_empty());
    }
}
