//! The back end: a service of the application's own that is told what its clients send, and answers them.

mod post;
mod worker;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::clock::Clock;
use crate::config::Secret;
use crate::metrics::Metrics;
use crate::wire::{ErrorCode, Failure};
use post::Poster;
pub use worker::Worker;

/// Where the back end is, and how it is told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What is posted to, as it is. There may be a password in it.
    pub url: Secret,
    /// Signs what is posted.
    pub secret: Option<Secret>,
    /// Events of the contract that the back end carries out, instead of this server.
    pub events: Vec<String>,
    /// True where connects and disconnects are told, too.
    pub announce: bool,
    /// How long one attempt may take.
    pub timeout: Duration,
    /// How many times one that failed is tried again.
    pub retries: u32,
    /// How many posts may wait or be under way.
    pub queue: usize,
    /// How long a shutdown waits for them.
    pub drain: Duration,
    /// This replica's id.
    pub server_id: String,
}

/// The way to the back end. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Backend {
    jobs: mpsc::Sender<Job>,
    places: Arc<Semaphore>,
    settings: Arc<Settings>,
    metrics: Arc<Metrics>,
    clock: Clock,
}

/// Whose event it is.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// The number of the connection on this replica.
    pub connection: u64,
    /// Who it is; none for who has no name.
    pub user: Option<&'a str>,
}

/// Which alert it was that fired.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    /// Names what is posted, on every replica.
    pub id: &'a str,
    /// Whose alert it is; none for who has no name.
    pub user: Option<&'a str>,
    /// The number of the connection on this replica, where the alert is that one's.
    pub connection: Option<u64>,
    /// Posts with the same number are made one after the other.
    pub after: u64,
}

/// Room for one post.
#[derive(Debug)]
pub struct Place(OwnedSemaphorePermit);

/// Numbers of connections begin at 1 and never come here: what is told of alerts has an order of its own.
const AFTER_ALERTS: u64 = 1 << 63;

/// What the back end is told, as JSON.
#[derive(Debug, Serialize)]
struct Body<'a> {
    /// The same in each attempt, so that the back end knows a repeat.
    id: &'a str,
    /// `event`, `connect`, `disconnect` or `alert`.
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connection: Option<u64>,
    server: &'a str,
    /// In ms since the Unix epoch.
    ts: u64,
}

/// Something that is to be posted.
#[derive(Debug)]
struct Job {
    id: String,
    /// One connection's are posted one after the other.
    connection: u64,
    /// For the log.
    event: String,
    body: Bytes,
    /// Where the answer goes; none for announcements.
    reply: Option<oneshot::Sender<Answer>>,
    /// Its place among those that may wait.
    _place: OwnedSemaphorePermit,
}

/// What the back end answered: JSON as it came.
type Answer = Result<Box<RawValue>, Failure>;

/// An answer that is waited for.
#[derive(Debug)]
pub struct Pending(oneshot::Receiver<Answer>);

impl Pending {
    /// Waits for the back end's answer, through all attempts.
    ///
    /// # Errors
    /// It refused, or nothing was heard of it.
    pub async fn answer(self) -> Answer {
        self.0.await.unwrap_or_else(|_| Err(silent()))
    }
}

fn silent() -> Failure {
    Failure::new(ErrorCode::Unavailable, "the back end does not answer: try again later")
}

/// The way to a back end, and what has to run for it.
///
/// # Errors
/// The certificates of this machine cannot be read at all.
pub fn open(settings: Settings, metrics: &Arc<Metrics>, clock: &Clock) -> Result<(Backend, Worker), reqwest::Error> {
    let settings = Arc::new(settings);
    let poster = Poster::new(&settings, metrics.clone(), clock.clone())?;
    let (sender, jobs) = mpsc::channel(settings.queue);
    metrics.queues.watch("backend", &sender);
    let backend = Backend {
        jobs: sender,
        places: Arc::new(Semaphore::new(settings.queue)),
        settings: settings.clone(),
        metrics: metrics.clone(),
        clock: clock.clone(),
    };
    Ok((backend, Worker::new(jobs, poster, settings.drain, metrics.clone())))
}

impl Backend {
    /// True for an event of the contract that the back end carries out.
    pub fn takes(&self, event: &str) -> bool {
        self.settings.events.iter().any(|taken| taken == event)
    }

    /// Hands on a client's event.
    ///
    /// # Errors
    /// `unavailable`: too many wait already.
    pub fn ask(&self, origin: Origin<'_>, event: &str, data: Option<&RawValue>) -> Result<Pending, Failure> {
        let (reply, pending) = oneshot::channel();
        self.post("event", origin, Some(event), Some(data.unwrap_or(RawValue::NULL)), None, Some(reply))?;
        Ok(Pending(pending))
    }

    /// Says that somebody has connected, where that is asked for.
    pub fn connected(&self, origin: Origin<'_>) {
        if self.settings.announce {
            // Given up where it finds no room, which is counted.
            self.post("connect", origin, None, None, None, None).ok();
        }
    }

    /// Says that somebody has disconnected, and why, where that is asked for.
    pub fn disconnected(&self, origin: Origin<'_>, reason: &str) {
        if self.settings.announce {
            self.post("disconnect", origin, None, None, Some(reason), None).ok();
        }
    }

    /// Waits for room for one post.
    pub async fn place(&self) -> Place {
        match self.places.clone().acquire_owned().await {
            Ok(place) => Place(place),
            // Nobody closes it.
            Err(_) => std::future::pending().await,
        }
    }

    /// Says that an alert has fired; `data` is what its owner is told.
    pub async fn fired(&self, Place(place): Place, told: Told<'_>, data: &RawValue) -> Pending {
        let Told { id, user, connection, after } = told;
        let (kind, server, ts) = ("alert", self.settings.server_id.as_str(), self.clock.millis());
        let body = Body { id, kind, event: None, data: Some(data), reason: None, user, connection, server, ts };
        let (reply, pending) = oneshot::channel();
        // Texts and numbers, and JSON as it came: serialising them cannot fail.
        let body = serde_json::to_vec(&body).unwrap_or_default().into();
        let (id, event) = (id.to_owned(), kind.to_owned());
        let job = Job { id, connection: AFTER_ALERTS | after, event, body, reply: Some(reply), _place: place };
        // Its place has kept room for it; where the worker has ended, the answer says so.
        self.jobs.send(job).await.ok();
        Pending(pending)
    }

    fn post(
        &self,
        kind: &'static str,
        origin: Origin<'_>,
        event: Option<&str>,
        data: Option<&RawValue>,
        reason: Option<&str>,
        reply: Option<oneshot::Sender<Answer>>,
    ) -> Result<(), Failure> {
        let id = format!("{:032x}", rand::random::<u128>());
        let (Origin { connection, user }, server) = (origin, self.settings.server_id.as_str());
        let event_name = event.unwrap_or(kind);
        let Ok(place) = self.places.clone().try_acquire_owned() else {
            return Err(self.refuse(&id, event_name));
        };
        let ts = self.clock.millis();
        let body = Body { id: &id, kind, event, data, reason, user, connection: Some(connection), server, ts };
        // Texts and numbers, and JSON as it came: serialising them cannot fail.
        let body = serde_json::to_vec(&body).unwrap_or_default().into();
        let job = Job { id, connection, event: event_name.to_owned(), body, reply, _place: place };
        self.jobs.try_send(job).map_err(|error| {
            let job = error.into_inner();
            self.refuse(&job.id, &job.event)
        })
    }

    fn refuse(&self, id: &str, event: &str) -> Failure {
        give_up(&self.metrics, id, event, "too many wait for the back end");
        Failure::new(ErrorCode::Unavailable, "too much waits for the back end: try again later")
    }
}

/// Nothing is given up in silence.
fn give_up(metrics: &Metrics, id: &str, event: &str, reason: &str) {
    metrics.backend_given_up.inc();
    tracing::warn!(id, event = crate::wire::short(event), reason, "given up: the back end has not taken it");
}
