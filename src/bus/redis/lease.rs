use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use fred::error::Error;
use fred::interfaces::{ClientLike, HashesInterface};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::append::{RedisLog, STREAM_ENTRIES};
use super::{entry, keys};
use crate::bus::PublishError;
use crate::bus::island::Island;
use crate::price::{Fill, Price, Symbol, Update};

/// How often a replica that waits for a lease looks whether it is free.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How long a replica that holds leases leaves a free one to others, for each that it holds: they look twice meanwhile.
const LEAVES_TO_OTHERS: Duration = Duration::from_millis(200);

/// Candles of the past that one entry of the log takes: about 30 kB.
const CANDLES_PER_ENTRY: usize = 500;

/// A lease is renewed this many times in its life.
const RENEWALS: u32 = 3;

/// The right of this replica to publish for a source, until it is lost or given back.
#[derive(Debug)]
pub(in crate::bus) struct Lease {
    pub(super) log: RedisLog,
    source: &'static str,
    /// Nobody else has it: what an append shows to be let in.
    pub(super) token: String,
    ttl: Duration,
    batches: AtomicU64,
    lost: CancellationToken,
    since: Instant,
    _seat: Seat,
}

/// What lets a replica publish for a source.
#[derive(Debug)]
pub(in crate::bus) enum Right {
    /// Nobody else may.
    Lease(Lease),
    /// Redis is out of reach: everybody may, each for itself.
    Island(Arc<Island>),
}

/// How many leases this replica holds, or is about to take.
#[derive(Clone, Debug, Default)]
pub(super) struct Seats(Arc<AtomicU32>);

/// One of them.
#[derive(Debug)]
struct Seat(Arc<AtomicU32>);

impl Seats {
    /// One more, and how many there were before.
    fn take(&self) -> (Seat, u32) {
        let before = self.0.fetch_add(1, Ordering::Relaxed);
        (Seat(self.0.clone()), before)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl RedisLog {
    /// Waits until this replica may publish for a source. None if `stop` comes first.
    pub(in crate::bus) async fn lead(
        &self,
        source: &'static str,
        ttl: Duration,
        stop: &CancellationToken,
    ) -> Option<Right> {
        tokio::select! {
            biased;
            island = self.shore.left() => Some(Right::Island(island)),
            lease = self.lease(source, ttl, stop) => lease.map(Right::Lease),
        }
    }

    /// Waits until this replica holds the source's lease. None if `stop` comes first.
    async fn lease(&self, source: &'static str, ttl: Duration, stop: &CancellationToken) -> Option<Lease> {
        let token = format!("{:032x}", rand::random::<u128>());
        // One that Redis, or the way to it, was away for may still stand there: it is ours to replace.
        let before = self.replace_token(source, &token).unwrap_or_default();
        let mut free_since = None;
        loop {
            match self.look_and_take(source, ttl, [&token, &before], &mut free_since).await {
                Ok(None) => {}
                Ok(Some((seat, since))) => {
                    let (log, lost) = (self.clone(), CancellationToken::new());
                    let batches = AtomicU64::new(0);
                    return Some(Lease { log, source, token, ttl, batches, lost, since, _seat: seat });
                }
                Err(error) => {
                    self.metrics.redis_errors.inc();
                    tracing::debug!(%error, source, "cannot ask for the lease");
                }
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = stop.cancelled() => return None,
            }
        }
    }

    /// Looks whether a lease is free, and takes it if it is this replica's turn. `tokens` are what is shown for it now and
    /// what was before. Returns its place among those of this replica, and since when it counts.
    async fn look_and_take(
        &self,
        source: &str,
        ttl: Duration,
        tokens: [&str; 2],
        free_since: &mut Option<Instant>,
    ) -> Result<Option<(Seat, Instant)>, Error> {
        let since = Instant::now();
        match self.try_lease(source, tokens, ttl, false).await? {
            Asked::Taken => return Ok(Some((self.seats.take().0, since))),
            Asked::Held => {
                *free_since = None;
                return Ok(None);
            }
            Asked::Free => {}
        }
        let free_for = free_since.get_or_insert(since).elapsed();
        // Not before it is known to be free: what is another's would count as about to be taken, and keep the other
        // sources of a replica from being the first.
        let (seat, held) = self.seats.take();
        if !takes(held, free_for) {
            return Ok(None);
        }
        let since = Instant::now();
        Ok(match self.try_lease(source, tokens, ttl, true).await? {
            Asked::Taken => Some((seat, since)),
            Asked::Free | Asked::Held => None,
        })
    }

    async fn try_lease(
        &self,
        source: &str,
        [token, before]: [&str; 2],
        ttl: Duration,
        takes: bool,
    ) -> Result<Asked, Error> {
        let lease = &self.connections.scripts.lease;
        let args = vec![token.to_owned(), ttl.as_millis().to_string(), before.to_owned(), u8::from(takes).to_string()];
        let asked: String = lease.evalsha_with_reload(&self.connections.commands, keys::lease(source), args).await?;
        Ok(match asked.as_str() {
            "taken" => Asked::Taken,
            "free" => Asked::Free,
            _ => Asked::Held,
        })
    }
}

/// Whether a replica that holds so many leases takes one that has been free for so long, as far as it has seen.
fn takes(held: u32, free_for: Duration) -> bool {
    free_for >= LEAVES_TO_OTHERS * held
}

/// What Redis says of a lease.
enum Asked {
    Taken,
    Free,
    Held,
}

impl Lease {
    /// Renews it for as long as that works. Returns when it is lost.
    pub(in crate::bus) async fn keep(&self) {
        tokio::select! {
            () = self.renew_on() => {}
            _ = self.log.shore.left() => {}
        }
        self.lost.cancel();
    }

    async fn renew_on(&self) {
        let mut held_until = self.since + self.ttl;
        loop {
            tokio::time::sleep(self.ttl / RENEWALS).await;
            let asked = Instant::now();
            match self.renew().await {
                Ok(true) => held_until = asked + self.ttl,
                Ok(false) => break,
                Err(error) => {
                    self.log.metrics.redis_errors.inc();
                    tracing::debug!(%error, source = self.source, "cannot renew the lease");
                    if Instant::now() >= held_until {
                        break;
                    }
                }
            }
        }
    }

    async fn renew(&self) -> Result<bool, Error> {
        let scripts = &self.log.connections.scripts;
        let args = vec![self.token.clone(), self.ttl.as_millis().to_string()];
        let commands = &self.log.connections.commands;
        let renewed: i64 = scripts.renew.evalsha_with_reload(commands, keys::lease(self.source), args).await?;
        Ok(renewed == 1)
    }

    pub(in crate::bus) async fn append(&self, updates: &[Update]) -> Result<Vec<u64>, PublishError> {
        self.log.append(self.source, &self.token, &self.batches, updates, &self.lost).await
    }

    /// Appends candles of the past. Tries until that is done, or the lease is lost.
    pub(in crate::bus) async fn fill(&self, fill: &Fill) -> Result<(), PublishError> {
        let scripts = &self.log.connections.scripts;
        for part in fill.candles.chunks(CANDLES_PER_ENTRY) {
            let json = entry::encode_fill(fill, part);
            loop {
                let keys = vec![self.key(), keys::META.to_owned(), keys::STREAM.to_owned()];
                let args = vec![self.token.clone(), STREAM_ENTRIES.to_string(), json.clone()];
                let commands = &self.log.connections.commands;
                let asked = tokio::select! {
                    asked = scripts.fill.evalsha_with_reload::<String, _, _>(commands, keys, args) => asked,
                    () = self.lost.cancelled() => return Err(PublishError::Fenced),
                };
                match asked.as_deref() {
                    Ok("appended") => break,
                    Ok("fenced") => return Err(PublishError::Fenced),
                    Ok(_) => {}
                    Err(error) => {
                        self.log.metrics.redis_errors.inc();
                        tracing::debug!(%error, source = self.source, "cannot append candles, trying again");
                    }
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
        Ok(())
    }

    /// The key of the lease.
    pub(super) fn key(&self) -> String {
        keys::lease(self.source)
    }

    /// Makes the source the owner of these symbols, and of no others. Tries until that is so, and returns those that
    /// are another source's.
    pub(in crate::bus) async fn claim(&self, symbols: &[Symbol]) -> Result<Vec<Symbol>, PublishError> {
        let scripts = &self.log.connections.scripts;
        loop {
            let mut args = vec![self.token.clone(), self.source.to_owned()];
            args.extend(symbols.iter().map(Symbol::to_string));
            let keys = vec![self.key(), keys::OWNER.to_owned()];
            let claimed: Result<Vec<String>, Error> =
                scripts.claim.evalsha_with_reload(&self.log.connections.commands, keys, args).await;
            match claimed {
                Ok(reply) if reply.first().is_some_and(|first| first == "claimed") => {
                    return Ok(reply.iter().skip(1).filter_map(|symbol| symbol.parse().ok()).collect());
                }
                Ok(_) => return Err(PublishError::Fenced),
                Err(error) => {
                    self.log.metrics.redis_errors.inc();
                    tracing::debug!(%error, source = self.source, "cannot claim the symbols, trying again");
                    tokio::time::sleep(LOOK_EVERY).await;
                }
            }
        }
    }

    /// The last price of each symbol that Redis knows: final, since nobody else can append now.
    pub(in crate::bus) async fn last_prices(&self) -> HashMap<Symbol, Price> {
        match self.log.connections.commands.hgetall::<HashMap<String, String>, _>(keys::LAST).await {
            Ok(last) => last
                .values()
                .filter_map(|json| entry::parse(json))
                .map(|tick| (tick.update.symbol, tick.update.price))
                .collect(),
            Err(error) => {
                self.log.metrics.redis_errors.inc();
                tracing::warn!(%error, "cannot read the last prices");
                HashMap::new()
            }
        }
    }

    /// Gives it back, so that another replica need not wait for its end. Tries for as long as that would take, but not
    /// while Redis is away: nobody could take it then. One that is lost is nothing to give.
    pub(in crate::bus) async fn release(&self) {
        if self.lost.is_cancelled() {
            return;
        }
        let scripts = &self.log.connections.scripts;
        let commands = &self.log.connections.commands;
        let asked = Instant::now();
        while asked.elapsed() < self.ttl && commands.is_connected() {
            let (key, args) = (keys::lease(self.source), vec![self.token.clone()]);
            match scripts.release.evalsha_with_reload::<i64, _, _>(commands, key, args).await {
                Ok(_) => return,
                Err(error) => {
                    self.log.metrics.redis_errors.inc();
                    tracing::debug!(%error, source = self.source, "cannot give the lease back");
                    tokio::time::sleep(LOOK_EVERY).await;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_holds_none_takes_at_once_and_who_holds_some_leaves_others_the_time() {
        assert!(takes(0, Duration::ZERO));
        for held in 1..5 {
            let patience = LEAVES_TO_OTHERS * held;
            assert!(!takes(held, patience - Duration::from_millis(1)) && takes(held, patience));
            assert!(patience >= LOOK_EVERY * 2, "others look twice meanwhile");
        }
    }

    #[test]
    fn a_seat_counts_from_when_a_lease_is_asked_for_until_it_is_given_up() {
        let seats = Seats::default();
        let (first, before) = seats.take();
        // Two sources are about to take one at the same time: one of them is the second.
        let (second, between) = seats.take();
        assert_eq!((before, between), (0, 1));
        drop(first);
        drop(second);
        assert_eq!(seats.take().1, 0);
    }
}
