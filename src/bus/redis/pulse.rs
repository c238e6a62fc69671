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
    beats: Beats,
}

/// What was seen last, for who waits for it to be otherwise.
#[derive(Clone, Debug)]
struct Beats(Arc<watch::Sender<Beat>>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Beat {
    /// Nothing yet.
    Unknown,
    Good(Good),
    /// Failing; noticed when, and why.
    Failing(Instant, String),
}

/// Redis answers.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Good {
    since: Instant,
    /// The log's last entry when it began to, and now.
    ends: [String; 2],
    /// Whether a source is nobody's.
    free: bool,
}

/// What Redis said: the log's last entry, and whether a source is nobody's.
type Answer = (String, bool);

impl Pulse {
    pub(super) fn new(log: RedisLog) -> Self {
        Self { log, beats: Beats(Arc::new(watch::Sender::new(Beat::Unknown))) }
    }

    /// Asks again and again, for ever.
    pub(super) async fn run(&self) {
        let mut every = tokio::time::interval(EVERY);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            every.tick().await;
            let asked = Instant::now();
            let answer = match tokio::time::timeout(ANSWERS_WITHIN, self.ask()).await {
                Ok(Ok((end, free))) => Ok((end, free == "1")),
                Ok(Err(error)) => Err(error.to_string()),
                Err(_) => Err("no answer".to_owned()),
            };
            self.beats.0.send_modify(|beat| *beat = beat.then(answer, asked));
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
        self.beats.lost(grace, earliest).await
    }

    /// Resolves when it is time for an island to end: Redis answers, and there is somebody who publishes there. That is
    /// so where the log grows, where a source is free to be taken, or where all have been held for as long as a dead
    /// one's lease could last.
    pub(super) async fn back(&self, lease_ttl: Duration) {
        self.beats.back(lease_ttl).await;
    }
}

impl Beat {
    /// What is known after an answer to what was asked then, or none and why.
    fn then(&self, answer: Result<Answer, String>, asked: Instant) -> Self {
        match (answer, self) {
            (Ok((end, free)), Self::Good(Good { since, ends: [first, _], .. })) => {
                Self::Good(Good { since: *since, ends: [first.clone(), end], free })
            }
            (Ok((end, free)), _) => Self::Good(Good { since: asked, ends: [end.clone(), end], free }),
            (Err(_), Self::Failing(noticed, why)) => Self::Failing(*noticed, why.clone()),
            (Err(why), _) => Self::Failing(Instant::now(), why),
        }
    }

    fn is_back(&self, lease_ttl: Duration) -> bool {
        match self {
            Self::Good(Good { since, ends: [first, now], free }) => {
                *free || first != now || since.elapsed() >= lease_ttl
            }
            _ => false,
        }
    }
}

impl Beats {
    async fn lost(&self, grace: Duration, earliest: Instant) -> (Instant, String) {
        let mut beats = self.0.subscribe();
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

    async fn back(&self, lease_ttl: Duration) {
        let mut beats = self.0.subscribe();
        // What was seen before may be over.
        beats.mark_unchanged();
        loop {
            beats.changed().await.ok();
            if beats.borrow_and_update().is_back(lease_ttl) {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use tokio::time::{advance, sleep};

    use super::*;

    const TTL: Duration = Duration::from_secs(3);
    const GRACE: Duration = Duration::from_millis(300);

    fn beats() -> Beats {
        Beats(Arc::new(watch::Sender::new(Beat::Unknown)))
    }

    impl Beats {
        fn say(&self, answer: Result<(&str, bool), &str>) {
            let answer = answer.map(|(end, free)| (end.to_owned(), free)).map_err(str::to_owned);
            self.0.send_modify(|beat| *beat = beat.then(answer, Instant::now()));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_of_when_it_was_noticed_and_so_is_its_end() {
        let beats = beats();
        let noticed = Instant::now();
        beats.say(Err("no answer"));
        advance(GRACE).await;
        beats.say(Err("refused"));
        assert_eq!(*beats.0.borrow(), Beat::Failing(noticed, "no answer".into()));
        let since = Instant::now();
        beats.say(Ok(("1-0", false)));
        advance(GRACE).await;
        beats.say(Ok(("2-0", true)));
        let ends = ["1-0", "2-0"].map(str::to_owned);
        assert_eq!(*beats.0.borrow(), Beat::Good(Good { since, ends, free: true }));
    }

    #[tokio::test(start_paused = true)]
    async fn is_lost_when_it_has_failed_for_long_enough() {
        let beats = beats();
        let began = Instant::now();
        let mut waits = std::pin::pin!(beats.lost(GRACE, began));
        // What is good, and what is mended within the time for that.
        for (answer, lasts) in [(Ok(("1-0", false)), TTL), (Err("no answer"), GRACE / 2), (Ok(("1-0", false)), TTL)] {
            beats.say(answer);
            tokio::select! {
                lost = &mut waits => panic!("{lost:?}"),
                () = sleep(lasts) => {}
            }
        }
        let noticed = Instant::now();
        beats.say(Err("refused"));
        assert_eq!(waits.await, (noticed, "refused".into()));
        assert_eq!(noticed.elapsed(), GRACE);

        let earliest = Instant::now() + TTL;
        assert_eq!(beats.lost(GRACE, earliest).await.0, noticed);
        assert_eq!(Instant::now(), earliest, "not before the log has been silent for so long");
    }

    #[tokio::test(start_paused = true)]
    async fn an_island_ends_when_somebody_publishes_or_may() {
        for (what, again) in [("the log grows", ("2-0", false)), ("a source is nobody's", ("1-0", true))] {
            let beats = beats();
            beats.say(Err("no answer"));
            let mut waits = std::pin::pin!(beats.back(TTL));
            beats.say(Ok(("1-0", false)));
            assert!(waits.as_mut().now_or_never().is_none(), "before {what}");
            beats.say(Ok(again));
            assert!(waits.as_mut().now_or_never().is_some(), "{what}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_island_does_not_wait_for_one_who_died_with_a_lease_and_not_for_less() {
        let beats = beats();
        beats.say(Ok(("1-0", true)));
        let mut waits = std::pin::pin!(beats.back(TTL));
        assert!(waits.as_mut().now_or_never().is_none(), "what was seen before may be over");
        beats.say(Err("no answer"));
        beats.say(Ok(("1-0", false)));
        advance(TTL - Duration::from_millis(1)).await;
        beats.say(Ok(("1-0", false)));
        assert!(waits.as_mut().now_or_never().is_none(), "its lease may last");
        advance(Duration::from_millis(1)).await;
        beats.say(Ok(("1-0", false)));
        assert!(waits.as_mut().now_or_never().is_some());
    }
}
