use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::post::Poster;
use super::{Job, give_up};
use crate::metrics::Metrics;

/// Posts that may be under way at once.
const AT_ONCE: usize = 64;

/// Posts of one connection that may wait, so that nobody takes the room of all.
const MAX_PER_CONNECTION: usize = 64;

/// Carries posts to the back end: many at once, but those of one connection one after the other, in their order.
#[derive(Debug)]
pub struct Worker {
    jobs: mpsc::Receiver<Job>,
    poster: Poster,
    /// How long it goes on with what is left once it is to stop.
    drain: Duration,
    metrics: Arc<Metrics>,
}

/// What waits, by connection: one that stands here has something waiting or under way.
#[derive(Default)]
struct Waiting {
    jobs: HashMap<u64, VecDeque<Job>>,
    /// Connections with something that can be posted now.
    ready: VecDeque<u64>,
    /// What is under way: its id and event, by connection.
    posting: HashMap<u64, (String, String)>,
}

impl Worker {
    pub(super) fn new(jobs: mpsc::Receiver<Job>, poster: Poster, drain: Duration, metrics: Arc<Metrics>) -> Self {
        Self { jobs, poster, drain, metrics }
    }

    /// Posts until `stop`, and then what is left, as far as there is time for it.
    pub async fn run(mut self, stop: CancellationToken) {
        let (poster, metrics) = (&self.poster, &self.metrics);
        let mut waiting = Waiting::default();
        let mut posting = FuturesUnordered::new();
        let mut end: Option<Instant> = None;
        loop {
            while posting.len() < AT_ONCE
                && let Some(job) = waiting.next()
            {
                let connection = job.connection;
                posting.push(async move {
                    poster.deliver(job).await;
                    connection
                });
            }
            if end.is_some() && posting.is_empty() && self.jobs.is_empty() {
                break;
            }
            tokio::select! {
                Some(job) = self.jobs.recv() => {
                    if let Err(job) = waiting.add(job) {
                        // Who waits for the answer is told by the end of its channel.
                        give_up(metrics, &job.id, &job.event, "too many of one connection wait for the back end");
                    }
                }
                Some(connection) = posting.next() => waiting.done(connection),
                () = stop.cancelled(), if end.is_none() => end = Some(Instant::now() + self.drain),
                () = tokio::time::sleep_until(end.unwrap_or_else(Instant::now)), if end.is_some() => break,
            }
        }
        drop(posting);
        self.jobs.close();
        while let Some(job) = self.jobs.recv().await {
            give_up(&self.metrics, &job.id, &job.event, "the server ends");
        }
        for (id, event) in waiting.left() {
            give_up(&self.metrics, &id, &event, "the server ends");
        }
    }
}

impl Waiting {
    fn add(&mut self, job: Job) -> Result<(), Job> {
        match self.jobs.entry(job.connection) {
            Entry::Occupied(entry) if entry.get().len() >= MAX_PER_CONNECTION => return Err(job),
            Entry::Occupied(mut entry) => entry.get_mut().push_back(job),
            Entry::Vacant(entry) => {
                self.ready.push_back(job.connection);
                entry.insert(VecDeque::from([job]));
            }
        }
        Ok(())
    }

    /// The next one that may be posted.
    fn next(&mut self) -> Option<Job> {
        let job = self.jobs.get_mut(&self.ready.pop_front()?)?.pop_front()?;
        self.posting.insert(job.connection, (job.id.clone(), job.event.clone()));
        Some(job)
    }

    fn done(&mut self, connection: u64) {
        self.posting.remove(&connection);
        if self.jobs.get(&connection).is_some_and(|jobs| !jobs.is_empty()) {
            self.ready.push_back(connection);
        } else {
            self.jobs.remove(&connection);
        }
    }

    /// What has not been posted to the end.
    fn left(self) -> Vec<(String, String)> {
        let waiting = self.jobs.into_values().flatten().map(|job| (job.id, job.event));
        self.posting.into_values().chain(waiting).collect()
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::Semaphore;

    use super::*;

    fn job(connection: u64, id: &str) -> Job {
        let place = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        Job { id: id.into(), connection, event: "e".into(), body: "{}".into(), reply: None, _place: place }
    }

    #[test]
    fn one_connection_is_served_in_order_and_all_in_turn() {
        let mut waiting = Waiting::default();
        for (connection, id) in [(1, "a"), (1, "b"), (2, "c"), (1, "d")] {
            waiting.add(job(connection, id)).unwrap();
        }
        let ids = |waiting: &mut Waiting| {
            std::iter::from_fn(|| waiting.next()).map(|job| job.id).collect::<Vec<_>>().join("")
        };
        assert_eq!(ids(&mut waiting), "ac");
        waiting.done(1);
        assert_eq!(ids(&mut waiting), "b");
        waiting.done(2);
        assert_eq!(ids(&mut waiting), "", "nothing of 2 is left, and 1 is under way");
        let mut left: Vec<_> = waiting.left().into_iter().map(|(id, _)| id).collect();
        left.sort();
        assert_eq!(left, ["b", "d"]);

        let mut waiting = Waiting::default();
        assert!((0..MAX_PER_CONNECTION).all(|_| waiting.add(job(1, "a")).is_ok()));
        assert!(waiting.add(job(1, "b")).is_err() && waiting.add(job(2, "c")).is_ok());
    }
}
