use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

use super::append::RedisLog;
use super::keys;

/// How often Redis is asked.
const EVERY: Duration = Duration::from_millis(250);

/// How long an answer may take: beyond that Redis, or the way to it, hangs.
const ANSWERS_WITHIN: Duration = Duration::from_millis(750);

/// How long the pulse is there.
const HOLDS: Duration = Duration::from_secs(5);

/// Whether Redis can be written, and what others do there. A log that is only read seems to be quiet when nobody can
/// write to it.
#[derive(Clone, Debug)]
pub(super) struct Pulse {
    log: RedisLog,
    beat: Arc<watch::Sender<Beat>>,
}

/// What was seen last.
#[derive(Clone, Debug)]
enum Beat {
    /// Nothing yet.
    Unknown,
    Good(Good),
    /// Failing; noticed when, and why.
    Failing(Instant, String),
}

/// Redis answers.
#[derive(Clone, Debug)]
struct Good {
    since: Instant,
    /// The log's last entry when it began to, and now.
    ends: [String; 2],
    /// Whether a source is nobody's.
    free: bool,
}

impl Pulse {
    pub(super) fn new(log: RedisLog) -> Self {
        Self { log, beat: Arc::new(watch::Sender::new(Beat::Unknown)) }
    }

    /// Asks again and again, for ever.
    pub(super) async fn run(&self) {
        let mut every = tokio::time::interval(EVERY);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            every.tick().await;
            let asked = Instant::now();
            let answer = tokio::time::timeout(ANSWERS_WITHIN, self.ask()).await;
            self.beat.send_modify(|beat| {
                *beat = match (answer, &*beat) {
                    (Ok(Ok((end, free))), Beat::Good(Good { since, ends: [first, _], .. })) => {
                        Beat::Good(Good { since: *since, ends: [first.clone(), end], free: free == "1" })
                    }
                    (Ok(Ok((end, free))), _) => {
                        Beat::Good(Good { since: asked, ends: [end.clone(), end], free: free == "1" })
                    }
                    (_, Beat::Failing(noticed, why)) => Beat::Failing(*noticed, why.clone()),
                    (Ok(Err(error)), _) => Beat::Failing(Instant::now(), error.to_string()),
                    (Err(_), _) => Beat::Failing(Instant::now(), "no answer".to_owned()),
                };
            });
        }
    }

    async fn ask(&self) -> Result<(String, String), fred::error::Error> {
        let connections = &self.log.connections;
        let mut keys = vec![keys::PULSE.to_owned(), keys::STREAM.to_owned()];
        let mut args = vec![HOLDS.as_millis().to_string()];
        for (source, token) in self.log.tokens() {
            keys.push(keys::lease(source));
            args.push(token);
        }
        connections.scripts.pulse.evalsha_with_reload(&connections.commands, keys, args).await
    }

    /// Resolves when it has failed for `grace` since that was noticed, but not before `earliest`.
    pub(super) async fn lost(&self, grace: Duration, earliest: Instant) -> (Instant, String) {
        let mut beats = self.beat.subscribe();
        loop {
            let failing = match &*beats.borrow_and_update() {
                Beat::Failing(noticed, why) => Some((*noticed, why.clone())),
                _ => None,
            };
            let Some((noticed, why)) = failing else {
                beats.changed().await.ok();
                continue;
            };
            tokio::select! {
                () = tokio::time::sleep_until(earliest.max(noticed + grace)) => return (noticed, why),
                _ = beats.changed() => {}
            }
        }
    }

    /// Resolves when it is time for an island to end: Redis answers, and there is somebody who publishes there. That is
    /// so where the log grows, where a source is free to be taken, or where all have been held for as long as a dead
    /// one's lease could last.
    pub(super) async fn back(&self, lease_ttl: Duration) {
        let is_back = |beat: &Beat| match beat {
            Beat::Good(Good { since, ends: [first, now], free }) => {
                *free || first != now || since.elapsed() >= lease_ttl
            }
            _ => false,
        };
        let mut beats = self.beat.subscribe();
        // What was seen before may be over.
        beats.mark_unchanged();
        loop {
            beats.changed().await.ok();
            if is_back(&beats.borrow_and_update()) {
                return;
            }
        }
    }
}
