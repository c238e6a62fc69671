use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::alone::Alone;
use super::{Alert, AlertFile, AlertId, Alerts, Owner, Reply, full, list_answer, set_answer, unknown};
use crate::bus::{Mirror, PutError, Record, Records, RecordsError};
use crate::wire::{Answer, Done, ErrorCode, Failure};

/// What a user wants changed.
#[derive(Debug)]
pub(super) enum Change {
    Put(Alert),
    Remove(AlertId),
    /// Nothing: to be told what there is, after all that was wanted before.
    List,
}

/// One of these, and who wants to know how it went.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) user: Arc<str>,
    pub(super) change: Change,
    pub(super) reply: oneshot::Sender<Reply>,
}

/// Where users' alerts are kept.
#[derive(Debug)]
pub enum Stored {
    /// For all replicas.
    Shared(Records),
    /// In a file of this server, which is alone.
    File(Box<AlertFile>),
    /// Nowhere: they end with the process, or there are no users.
    Nowhere,
}

/// Keeps users' alerts, in the one order in which they are changed. Where there are replicas, what is set here goes to where
/// all have it first, and comes from there, in the same order everywhere.
pub struct Keeper {
    place: Place,
    jobs: mpsc::Receiver<Job>,
}

enum Place {
    Shared(Alerts, Records),
    Alone(Box<Alone>),
}

impl Keeper {
    /// None where there is nothing to do.
    pub(super) fn new(alerts: Alerts, stored: Stored, jobs: mpsc::Receiver<Job>) -> Option<Self> {
        let place = match stored {
            Stored::Shared(records) => Place::Shared(alerts, records),
            Stored::File(file) => Place::Alone(Box::new(Alone::new(alerts, *file))),
            Stored::Nowhere => return None,
        };
        Some(Self { place, jobs })
    }

    /// Runs until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let Self { place, mut jobs } = self;
        let (alerts, records) = match place {
            Place::Shared(alerts, records) => (alerts, records),
            Place::Alone(alone) => return alone.run(jobs, stop).await,
        };
        let work = async {
            while let Some(Job { user, change, reply }) = jobs.recv().await {
                let answer = carry_out(&alerts, &records, &user, change).await;
                // The client may have gone.
                reply.send(answer).ok();
            }
        };
        tokio::select! {
            () = work => {}
            () = records.follow(&alerts) => {}
            () = stop.cancelled() => {}
        }
    }
}

async fn carry_out(alerts: &Alerts, records: &Records, user: &Arc<str>, change: Change) -> Reply {
    match change {
        Change::List => Ok(list_answer(&alerts.lock().list(&Owner::User(user.clone())))),
        Change::Put(alert) => {
            let settings = alerts.0.settings;
            let record = record(&alert).ok_or_else(full)?;
            match records.put(&record, settings.most as u64, settings.most_in_all as u64).await {
                Ok(()) => Ok(set_answer(&alert)),
                Err(PutError::Many(count)) => Err(alerts.too_many(usize::try_from(count).unwrap_or(usize::MAX))),
                Err(PutError::Full) => Err(alerts.too_many_in_all()),
                Err(PutError::Redis(error)) => Err(away(&error)),
            }
        }
        Change::Remove(id) => match records.remove(user, &id.to_string()).await {
            Ok(true) => Ok(Answer::encode(Ok(Done {}))),
            Ok(false) => Err(unknown(&id.to_string())),
            Err(error) => Err(away(&error)),
        },
    }
}

fn away(error: &RecordsError) -> Failure {
    tracing::debug!(%error, "cannot change an alert");
    Failure::new(ErrorCode::Unavailable, "alerts cannot be changed while this replica has no Redis: try again later")
}

fn record(alert: &Alert) -> Option<Record> {
    let Owner::User(user) = &alert.owner else { return None };
    Some(Record { id: alert.id.to_string(), owner: user.to_string(), json: alert.write()? })
}

impl Mirror for Alerts {
    fn held(&self) -> Vec<Record> {
        self.lock().of_users().filter_map(|alert| record(alert)).collect()
    }

    fn put(&self, Record { id, json, .. }: Record, is_news: bool) {
        match Alert::read(&id, &json) {
            Some(alert) => Alerts::put(self, Arc::new(alert), is_news),
            None => tracing::warn!(id, "an alert that was kept cannot be read"),
        }
    }

    fn remove(&self, id: &str) {
        if let Ok(id) = id.parse() {
            Alerts::remove(self, id);
        }
    }
}
