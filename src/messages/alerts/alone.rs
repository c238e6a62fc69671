use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::file::{AlertFile, Changes, Step};
use super::held::Held;
use super::keeper::{Change, Job};
use super::{Alert, AlertId, Alerts, Owner, Reply, list_answer, set_answer, unknown};
use crate::wire::{Answer, Done, ErrorCode, Failure};

/// Changes that are stored together, at most: the disk is waited for once.
const CHANGES_AT_ONCE: usize = 256;

/// The pause between two times that it is stored which alerts fired, where nobody waits for it.
const FIRED_EVERY: Duration = Duration::from_millis(100);

/// The same, where that failed.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// How long the last storing may take at the end.
const LAST_WITHIN: Duration = Duration::from_secs(2);

/// Keeps users' alerts in a file: what is set or removed is on the disk first, and then takes effect and is answered.
pub(super) struct Alone {
    alerts: Alerts,
    /// None while it is being written.
    file: Option<AlertFile>,
    /// When what fired is stored at the earliest.
    due: Instant,
    /// Whether it failed the last time: it is said once.
    is_failing: bool,
}

/// A change that is being stored, and who wants to know how it went.
struct Waiting {
    reply: oneshot::Sender<Reply>,
    what: What,
}

enum What {
    Stored(Step),
    List(Owner),
    Refused(Failure),
}

impl Alone {
    pub(super) fn new(alerts: Alerts, file: AlertFile) -> Self {
        Self { alerts, file: Some(file), due: Instant::now(), is_failing: false }
    }

    /// Runs until `stop`, and then stores what has come by then.
    pub(super) async fn run(mut self, mut jobs: mpsc::Receiver<Job>, stop: CancellationToken) {
        self.tidy().await;
        let mut asked = Vec::new();
        loop {
            let due = self.due;
            let fired = async {
                self.alerts.0.has_fired.notified().await;
                tokio::time::sleep_until(due).await;
            };
            tokio::select! {
                count = jobs.recv_many(&mut asked, CHANGES_AT_ONCE) => if count == 0 { break },
                () = fired => {}
                () = stop.cancelled() => break,
            }
            if self.store(std::mem::take(&mut asked)).await {
                self.tidy().await;
            }
        }
        jobs.close();
        let last = async {
            while jobs.recv_many(&mut asked, CHANGES_AT_ONCE).await > 0 {
                self.store(std::mem::take(&mut asked)).await;
            }
            // What fired is left.
            self.store(Vec::new()).await;
        };
        tokio::time::timeout(LAST_WITHIN, last).await.ok();
    }

    /// Stores these, and what has fired meanwhile; then they take effect, in order. False where the disk does not take them.
    async fn store(&mut self, asked: Vec<Job>) -> bool {
        let (waiting, changes) = {
            let mut held = self.alerts.lock();
            let mut room = Room::new(&self.alerts, &held);
            let waiting: Vec<Waiting> = asked.into_iter().map(|job| room.decide(job)).collect();
            let step = |waiting: &Waiting| match &waiting.what {
                What::Stored(step) => Some(step.clone()),
                What::List(_) | What::Refused(_) => None,
            };
            let steps = waiting.iter().filter_map(step).collect();
            (waiting, Arc::new(Changes { steps, fired: held.take_noted() }))
        };
        let stored = if changes.steps.is_empty() && changes.fired.is_empty() {
            Ok(())
        } else {
            let changes = changes.clone();
            let stored = self.on_disk(move |file| file.store(&changes)).await;
            self.note(&stored);
            stored
        };
        self.due = Instant::now() + if stored.is_ok() { FIRED_EVERY } else { RETRY_PAUSE };
        if stored.is_err() && !changes.fired.is_empty() {
            // Another try with what comes next, or after the pause.
            self.alerts.lock().note_again(&changes.fired);
            self.alerts.0.has_fired.notify_one();
        }
        for Waiting { reply, what } in waiting {
            let answer = match what {
                What::Refused(failure) => Err(failure),
                What::List(owner) => Ok(list_answer(&self.alerts.lock().list(&owner))),
                What::Stored(_) if stored.is_err() => Err(full_disk()),
                What::Stored(Step::Put(alert)) => {
                    let answer = set_answer(&alert);
                    // Ticks have come since it was looked where the symbol is.
                    self.alerts.put(alert, true);
                    Ok(answer)
                }
                What::Stored(Step::Remove(id)) => {
                    self.alerts.remove(id);
                    Ok(Answer::encode(Ok(Done {})))
                }
            };
            // The client may have gone.
            reply.send(answer).ok();
        }
        stored.is_ok()
    }

    /// Writes the file anew where it has grown. Where that fails the old one stays, and the next change tries again.
    async fn tidy(&mut self) {
        if self.file.as_ref().is_some_and(AlertFile::has_grown)
            && let Err(error) = self.on_disk(AlertFile::rewrite).await
        {
            self.alerts.0.metrics.alerts_store_failures.inc();
            tracing::warn!(%error, "the file of alerts cannot be written anew: it grows on");
        }
    }

    /// A disk takes its time, and a worker thread must not wait for it.
    async fn on_disk(
        &mut self,
        work: impl FnOnce(&mut AlertFile) -> io::Result<()> + Send + 'static,
    ) -> io::Result<()> {
        let Some(mut file) = self.file.take() else {
            return Err(io::Error::other("the last write has not ended"));
        };
        let done = tokio::task::spawn_blocking(move || {
            let done = work(&mut file);
            (file, done)
        });
        let (file, done) = done.await.map_err(io::Error::other)?;
        file.measure(&self.alerts.0.metrics);
        self.file = Some(file);
        done
    }

    fn note(&mut self, done: &io::Result<()>) {
        match done {
            Ok(()) if self.is_failing => tracing::info!("alerts are stored again"),
            Ok(()) => {}
            Err(error) => {
                self.alerts.0.metrics.alerts_store_failures.inc();
                if !self.is_failing {
                    tracing::warn!(%error, "alerts cannot be stored: none is set or removed, those that there are fire");
                }
            }
        }
        self.is_failing = done.is_err();
    }
}

/// How many alerts there will be when what has been decided is stored.
struct Room<'a> {
    alerts: &'a Alerts,
    held: &'a Held,
    of: HashMap<Owner, usize>,
    in_all: usize,
    removed: HashSet<AlertId>,
}

impl<'a> Room<'a> {
    fn new(alerts: &'a Alerts, held: &'a Held) -> Self {
        Self { alerts, held, of: HashMap::new(), in_all: held.len(), removed: HashSet::new() }
    }

    fn decide(&mut self, Job { user, change, reply }: Job) -> Waiting {
        let owner = Owner::User(user);
        let what = match change {
            Change::List => What::List(owner),
            Change::Put(alert) => self.put(owner, alert).map_or_else(What::Refused, What::Stored),
            Change::Remove(id) => self.remove(owner, id).map_or_else(What::Refused, What::Stored),
        };
        Waiting { reply, what }
    }

    fn count(&mut self, owner: Owner) -> &mut usize {
        let held = self.held;
        self.of.entry(owner).or_insert_with_key(|owner| held.count(owner))
    }

    fn put(&mut self, owner: Owner, alert: Alert) -> Result<Step, Failure> {
        let (in_all, settings) = (self.in_all, self.alerts.0.settings);
        let count = self.count(owner);
        if *count >= settings.most {
            let count = *count;
            return Err(self.alerts.too_many(count));
        }
        if in_all >= settings.most_in_all {
            return Err(self.alerts.too_many_in_all());
        }
        *count += 1;
        self.in_all += 1;
        Ok(Step::Put(Arc::new(alert)))
    }

    fn remove(&mut self, owner: Owner, id: AlertId) -> Result<Step, Failure> {
        if !self.held.is_of(id, &owner) || !self.removed.insert(id) {
            return Err(unknown(&id.to_string()));
        }
        *self.count(owner) -= 1;
        self.in_all -= 1;
        Ok(Step::Remove(id))
    }
}

fn full_disk() -> Failure {
    Failure::new(ErrorCode::Unavailable, "alerts cannot be changed while the server cannot store them: try again later")
}

#[cfg(test)]
mod tests;
