use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::{Alert, Firing, Owner};
use crate::bus::{Claim, Claims};
use crate::messages::backend::{Backend, Told};
use crate::metrics::Metrics;
use crate::wire::ErrorCode;

/// How long a replica that has taken a post on may say nothing until another one takes it over.
const CLAIM_HOLDS: Duration = Duration::from_secs(6);

/// How often it says so, and the others look.
const CLAIM_EVERY: Duration = Duration::from_secs(2);

/// How long it is remembered that a post was made: longer than a replica can be behind.
const DONE_HOLDS: Duration = Duration::from_secs(3600);

/// Alerts that fired, each of which is posted by this replica or watched until another one has. Beyond that those that
/// fire wait in their channel.
const MAX_WATCHED: usize = 10_000;

/// Tells the back end which alerts have fired: one replica tells it of each.
pub struct Posts {
    firings: mpsc::Receiver<Arc<Firing>>,
    backend: Backend,
    /// None where this replica is alone.
    claims: Option<Claims>,
    metrics: Arc<Metrics>,
}

impl Posts {
    pub(super) fn new(
        firings: mpsc::Receiver<Arc<Firing>>,
        backend: Backend,
        claims: Option<Claims>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self { firings, backend, claims, metrics }
    }

    /// Posts until `stop`, and then what it has taken on. From `leaving` on it takes on no alert of a user any more, where
    /// another replica does. What could not be posted is counted.
    pub async fn run(mut self, leaving: CancellationToken, stop: CancellationToken) {
        let (backend, claims, metrics) = (&self.backend, self.claims.as_ref(), &self.metrics);
        let mut posting = FuturesUnordered::new();
        loop {
            let stopping = stop.is_cancelled();
            // What had fired before that was made of ticks that are kept: nobody would come back to it.
            let is_over = stopping && self.firings.is_empty();
            if is_over && posting.is_empty() {
                break;
            }
            tokio::select! {
                firing = self.firings.recv(), if posting.len() < MAX_WATCHED && !is_over => {
                    let Some(firing) = firing else { break };
                    for alert in &firing.alerts {
                        let given_up = leaving.clone().cancelled_owned();
                        posting.push(post(backend, claims, metrics, firing.clone(), alert.clone(), given_up));
                    }
                }
                Some(()) = posting.next() => {}
                () = stop.cancelled(), if !stopping => {}
            }
        }
        drop(posting);
        self.firings.close();
        let mut left = 0;
        while let Some(firing) = self.firings.recv().await {
            // Those of users are posted by others, where there are any.
            let ours = |alert: &&Arc<Alert>| self.claims.is_none() || matches!(alert.owner, Owner::Connection(_));
            left += firing.alerts.iter().filter(ours).count();
        }
        if left > 0 {
            self.metrics.alerts_dropped.add(left as u64);
            tracing::warn!(alerts = left, "alerts that fired were not posted: the server ends");
        }
    }
}

/// Sees to it that the back end is told, by this replica or another one. What it has not taken on by `given_up` is theirs.
async fn post(
    backend: &Backend,
    claims: Option<&Claims>,
    metrics: &Metrics,
    firing: Arc<Firing>,
    alert: Arc<Alert>,
    given_up: WaitForCancellationFutureOwned,
) {
    // One name for this crossing on every replica: also what the back end knows a repeat by.
    let name = format!("{}-{}-{}", alert.id, firing.point.epoch.as_str(), firing.point.seq);
    // That of a connection fires on its replica alone.
    let claims = claims.filter(|_| matches!(alert.owner, Owner::User(_)));
    // First a place in the queue, so that nothing is taken on that cannot be done.
    let mut given_up = std::pin::pin!(given_up);
    let place = loop {
        let Some(claims) = claims else { break backend.place().await };
        let place = tokio::select! {
            biased;
            () = &mut given_up => return,
            place = backend.place() => place,
        };
        match claims.claim(&name, CLAIM_HOLDS).await {
            Ok(Claim::Mine) => break place,
            Ok(Claim::Done) => return,
            Ok(Claim::Held) => {
                drop(place);
                tokio::select! {
                    () = &mut given_up => return,
                    () = tokio::time::sleep(CLAIM_EVERY) => {}
                }
            }
            Err(error) => {
                metrics.redis_errors.inc();
                tracing::debug!(%error, name, "no other replica can be asked: posting");
                break place;
            }
        }
    };
    let connection = match alert.owner {
        Owner::Connection(connection) => Some(connection),
        Owner::User(_) => None,
    };
    let told = Told { id: &name, user: alert.user(), connection, after: alert.id.number() };
    let answer = backend.fired(place, told, &firing.encode(&alert)).await.answer();
    let mut answer = std::pin::pin!(answer);
    let answer = loop {
        tokio::select! {
            answer = &mut answer => break answer,
            () = tokio::time::sleep(CLAIM_EVERY), if claims.is_some() => {
                if let Some(claims) = claims {
                    // Lost or not, the post is under way: the back end knows a repeat by its id.
                    claims.claim(&name, CLAIM_HOLDS).await.ok();
                }
            }
        }
    };
    // What it refuses it has taken.
    if !answer.is_err_and(|failure| failure.code == ErrorCode::Unavailable) {
        metrics.alerts_posted.inc();
        if let Some(claims) = claims
            && let Err(error) = claims.finish(&name, DONE_HOLDS).await
        {
            metrics.redis_errors.inc();
            tracing::debug!(%error, name, "cannot say that it was posted: another replica may post it again");
        }
    }
}
