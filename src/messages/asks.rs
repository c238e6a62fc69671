use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::oneshot;

use super::told::{Found, MAX_LISTED, Seen};

/// Questions to all replicas that may be open at once; one more is answered with `unavailable`.
const MAX_OPEN: usize = 1024;

/// How long the answers of other replicas are waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// Questions that every replica is to answer, and what has come so far. This replica answers its own, too: at once, and
/// as one of those who heard it when it hears itself.
#[derive(Debug, Default)]
pub struct Asks {
    last: AtomicU64,
    open: Mutex<HashMap<u64, Open>>,
}

#[derive(Debug)]
struct Open {
    so_far: Gathered,
    answered: usize,
    /// How many are to answer; none while that is not known.
    expected: Option<usize>,
    done: Option<oneshot::Sender<()>>,
}

/// What all replicas together answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gathered {
    /// How many connections.
    pub count: usize,
    /// Which ones, where that was asked: at most 1000 of each replica.
    pub seen: Vec<Seen>,
    /// False where a replica has not answered in time, or could not be asked.
    pub complete: bool,
}

/// A question that is open until this is dropped.
#[derive(Debug)]
pub struct Waiting {
    asks: Arc<Asks>,
    ask: u64,
    done: oneshot::Receiver<()>,
}

impl Asks {
    /// A new question; none if there are too many.
    pub(super) fn open(self: &Arc<Self>) -> Option<Waiting> {
        let ask = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let (sender, done) = oneshot::channel();
        let mut open = self.lock();
        if open.len() >= MAX_OPEN {
            return None;
        }
        let new = Open { so_far: Gathered::default(), answered: 0, expected: None, done: Some(sender) };
        open.insert(ask, new);
        drop(open);
        Some(Waiting { asks: self.clone(), ask, done })
    }

    /// So many processes have heard the question: all that are to answer.
    pub fn expect(&self, ask: u64, processes: usize) {
        self.change(ask, |open| open.expected = Some(processes));
    }

    /// What there is here.
    pub fn answer_here(&self, ask: u64, found: Found) {
        self.change(ask, |open| open.so_far.add(found));
    }

    /// This process has heard its own question: it is among those who did. One that does not hear yet is not.
    pub fn heard_here(&self, ask: u64) {
        self.change(ask, |open| open.answered += 1);
    }

    /// Another one has answered.
    pub fn answer(&self, ask: u64, found: Found) {
        self.change(ask, |open| {
            open.answered += 1;
            open.so_far.add(found);
        });
    }

    fn change(&self, ask: u64, change: impl FnOnce(&mut Open)) {
        // Who asked may have gone, or have waited long enough.
        if let Some(open) = self.lock().get_mut(&ask) {
            change(open);
            if open.expected.is_some_and(|expected| open.answered >= expected) {
                open.so_far.complete = true;
                if let Some(done) = open.done.take() {
                    done.send(()).ok();
                }
            }
        }
    }

    // A std lock: held for a moment, and never across an await.
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Open>> {
        self.open.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Gathered {
    fn add(&mut self, found: Found) {
        self.count = self.count.saturating_add(found.count);
        // Where it is counted only, there is nothing to list.
        self.seen.extend(found.seen.into_iter().take(MAX_LISTED));
    }
}

impl Waiting {
    pub(super) fn ask(&self) -> u64 {
        self.ask
    }

    /// Waits until every replica has answered, or long enough (2 s), and returns what has come.
    pub async fn answers(mut self) -> Gathered {
        tokio::time::timeout(PATIENCE, &mut self.done).await.ok();
        self.asks.lock().remove(&self.ask).map(|open| open.so_far).unwrap_or_default()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.asks.lock().remove(&self.ask);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_question_ends_when_everybody_has_answered_or_when_it_is_time() {
        let asks = Arc::<Asks>::default();
        let waiting = asks.open().unwrap();
        let ask = waiting.ask();
        asks.answer_here(ask, Found::count(2));
        asks.heard_here(ask);
        asks.expect(ask, 2);
        asks.answer(ask, Found::count(3));
        assert_eq!(waiting.answers().await, Gathered { count: 5, seen: vec![], complete: true });
        asks.answer(ask, Found::count(9));

        // Nobody else, and nobody who is to answer.
        let waiting = asks.open().unwrap();
        asks.answer_here(waiting.ask(), Found::count(1));
        asks.expect(waiting.ask(), 0);
        assert_eq!(waiting.answers().await, Gathered { count: 1, seen: vec![], complete: true });

        // The one who heard it is another one: we do not hear ourselves yet.
        let waiting = asks.open().unwrap();
        asks.answer_here(waiting.ask(), Found::count(1));
        asks.expect(waiting.ask(), 1);
        let begun = tokio::time::Instant::now();
        assert_eq!(waiting.answers().await, Gathered { count: 1, seen: vec![], complete: false });
        assert_eq!(begun.elapsed(), PATIENCE);

        let many: Vec<_> = std::iter::from_fn(|| asks.open()).collect();
        assert_eq!(many.len(), MAX_OPEN);
        drop(many);
        assert!(asks.open().is_some() && asks.lock().is_empty());
    }
}
