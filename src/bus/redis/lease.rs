use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use fred::error::Error;
use fred::interfaces::{ClientLike, HashesInterface, KeysInterface};
use fred::types::{Expiration, SetOptions};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::append::RedisLog;
use super::{follow, keys};
use crate::bus::PublishError;
use crate::price::{Price, Symbol, Update};

/// How often a replica that waits for a lease looks whether it is free.
const LOOK_EVERY: Duration = Duration::from_millis(100);

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
}

impl RedisLog {
    /// Waits until this replica holds the source's lease. None if `stop` comes first.
    pub(in crate::bus) async fn lease(
        &self,
        source: &'static str,
        ttl: Duration,
        stop: &CancellationToken,
    ) -> Option<Lease> {
        let token = format!("{:032x}", rand::random::<u128>());
        loop {
            let since = Instant::now();
            match self.try_lease(source, &token, ttl).await {
                Ok(true) => {
                    let (log, lost) = (self.clone(), CancellationToken::new());
                    return Some(Lease { log, source, token, ttl, batches: AtomicU64::new(0), lost, since });
                }
                Ok(false) => {}
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

    async fn try_lease(&self, source: &str, token: &str, ttl: Duration) -> Result<bool, Error> {
        let expires = Expiration::PX(i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX));
        let commands = &self.connections.commands;
        let set: Option<String> =
            commands.set(keys::lease(source), token, Some(expires), Some(SetOptions::NX), false).await?;
        if set.is_some() {
            return Ok(true);
        }
        // One that we took, and whose answer was lost, is ours all the same.
        let holder: Option<String> = commands.get(keys::lease(source)).await?;
        Ok(holder.as_deref() == Some(token))
    }
}

impl Lease {
    /// Renews it for as long as that works. Returns when it is lost.
    pub(in crate::bus) async fn keep(&self) {
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
        self.lost.cancel();
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
                .filter_map(|json| follow::parse(json))
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
    /// while Redis is away: nobody could take it then.
    pub(in crate::bus) async fn release(&self) {
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
