use std::collections::{HashMap, HashSet};
use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use super::Settings;
use super::connection::{Connection, Failure, Said};
use super::protocol::Quote;
use crate::metrics::Gauge;
use crate::price::Price;
use crate::sources::backoff::Backoff;

/// How long a new connection runs beside the old one at least: what the old one has on its way still comes.
const BESIDE_AT_LEAST: Duration = Duration::from_secs(1);

/// How long at most: a symbol that is quiet on one of them need not be on the other.
const BESIDE_AT_MOST: Duration = Duration::from_secs(5);

/// Prices of the new connection that wait for the old one to have come as far.
const MAX_WAITING: usize = 100_000;

/// A share of an exchange's symbols, as many as one connection may have: keeps a connection for them.
pub(super) struct Line {
    settings: Arc<Settings>,
    listed: Vec<String>,
    out: mpsc::Sender<Vec<Quote>>,
    last: HashMap<String, Last>,
}

/// The last price of a symbol.
#[derive(Debug)]
struct Last {
    order: Option<u64>,
    said: (Price, Option<Price>, Option<Price>, Option<Price>),
    /// True until something is heard on a connection that is not the one of this price.
    before_a_hole: bool,
}

impl Last {
    fn of(quote: &Quote) -> Self {
        Self { order: quote.order, said: (quote.price, quote.bid, quote.ask, quote.size), before_a_hole: false }
    }

    /// Whether this is the same price again. The size of a trade is said once: another connection does not have it.
    fn is(&self, quote: &Quote) -> bool {
        let (price, bid, ask, size) = self.said;
        (self.order, price, bid, ask) == (quote.order, quote.price, quote.bid, quote.ask)
            && quote.size.is_none_or(|said| size == Some(said))
    }
}

type Opening = Pin<Box<dyn Future<Output = Result<Box<Connection>, Failure>> + Send>>;

/// What is to take a connection's place.
enum Next {
    /// Nothing yet.
    None,
    /// A connection that is being made.
    Opening(Opening),
    /// The last attempt failed: the next one is then.
    Failed(Instant),
    /// A connection that is there. What it says waits until the old one has said as much.
    Beside { connection: Box<Connection>, waiting: Vec<Quote>, since: Instant },
}

/// What happened to it.
enum Happened {
    Opened(Result<Box<Connection>, Failure>),
    Again,
    Heard(Result<Said, Failure>),
    Time,
}

impl Line {
    pub(super) fn new(settings: Arc<Settings>, listed: Vec<String>, out: mpsc::Sender<Vec<Quote>>) -> Self {
        Self { settings, listed, out, last: HashMap::new() }
    }

    /// Never ends: what is down is tried again, after a pause that grows.
    pub(super) async fn run(mut self) {
        let mut backoff = Backoff::new();
        loop {
            let began = std::time::Instant::now();
            let failure = match Connection::open(self.settings.clone(), &self.listed).await {
                Ok(connection) => self.live(connection).await,
                Err(failure) => failure,
            };
            let pause = backoff.after(began, failure.least_pause());
            self.settings.metrics.source_reconnects.inc();
            tracing::warn!(
                source = self.settings.name(),
                error = %failure,
                pause_ms = pause.as_millis(),
                "the connection to the exchange is down, connecting again"
            );
            sleep(pause).await;
        }
    }

    /// Hears a connection, and what takes its place in time, until that fails.
    async fn live(&mut self, mut current: Connection) -> Failure {
        let _up = Up::new(&self.settings);
        tracing::info!(source = self.settings.name(), symbols = self.listed.len(), "connected to the exchange");
        let mut backoff = Backoff::new();
        let mut next = Next::None;
        for last in self.last.values_mut() {
            last.before_a_hole = true;
        }
        let mut renew_at = self.renew_at();
        let mut quotes = Vec::new();
        loop {
            tokio::select! {
                said = current.hear(&mut quotes) => match said {
                    Ok(said) => {
                        self.tell(&mut quotes, false).await;
                        if said == Said::Leaving && matches!(next, Next::None) {
                            tracing::info!(source = self.settings.name(), "the exchange is about to end the connection");
                            renew_at = Instant::now();
                        }
                    }
                    Err(failure) => {
                        self.tell(&mut quotes, false).await;
                        let Some(connection) = self.take_over(next).await else { return failure };
                        current = connection;
                        (next, renew_at) = (Next::None, self.renew_at());
                    }
                },
                happened = next.happens() => match happened {
                    Happened::Opened(Ok(connection)) => {
                        next = Next::Beside { connection, waiting: Vec::new(), since: Instant::now() };
                    }
                    Happened::Opened(Err(failure)) | Happened::Heard(Err(failure)) => {
                        let pause = backoff.after(std::time::Instant::now(), failure.least_pause());
                        tracing::warn!(source = self.settings.name(), error = %failure, "the new connection failed");
                        next = Next::Failed(Instant::now() + pause);
                    }
                    Happened::Again => next = Next::Opening(self.open()),
                    Happened::Heard(Ok(_)) | Happened::Time => {}
                },
                () = sleep_until(renew_at), if matches!(next, Next::None) => next = Next::Opening(self.open()),
            }
            if self.is_caught_up(&next)
                && let Some(connection) = self.take_over(std::mem::replace(&mut next, Next::None)).await
            {
                std::mem::replace(&mut current, connection).leave();
                renew_at = self.renew_at();
                backoff = Backoff::new();
                tracing::info!(source = self.settings.name(), "a new connection to the exchange took over");
            }
        }
    }

    fn open(&self) -> Opening {
        let (settings, listed) = (self.settings.clone(), self.listed.clone());
        Box::pin(async move { Connection::open(settings, &listed).await.map(Box::new) })
    }

    /// When the connection that begins now is replaced: up to a tenth sooner, so that many are not at once.
    fn renew_at(&self) -> Instant {
        Instant::now() + self.settings.life.mul_f64(rand::rng().random_range(0.9..=1.0))
    }

    /// Whether the old connection has said what the new one began with, so that nothing is missed between them.
    fn is_caught_up(&self, next: &Next) -> bool {
        let Next::Beside { connection, waiting, since } = next else { return false };
        if since.elapsed() >= BESIDE_AT_MOST || waiting.len() > MAX_WAITING {
            return connection.settled().is_some();
        }
        if connection.settled().is_none_or(|settled| settled < BESIDE_AT_LEAST) {
            return false;
        }
        let mut first: HashMap<&str, &Quote> = HashMap::new();
        for quote in waiting {
            first.entry(&quote.listed).or_insert(quote);
        }
        let is_reached = |quote: &Quote| match self.last.get(&quote.listed) {
            Some(last) if quote.order.is_some() => last.order >= quote.order,
            Some(last) => waiting.iter().any(|other| last.is(other)),
            None => false,
        };
        first.into_values().all(is_reached)
    }

    /// Goes on with what was to take the place; none where there is nothing yet.
    async fn take_over(&mut self, next: Next) -> Option<Connection> {
        match next {
            Next::None | Next::Failed(_) => None,
            Next::Opening(opening) => opening.await.ok().map(|connection| *connection),
            Next::Beside { connection, mut waiting, .. } => {
                self.leave_out_known(&mut waiting);
                self.tell(&mut waiting, true).await;
                Some(*connection)
            }
        }
    }

    /// Of prices without an order, those go that lead up to what is known; where that is not among them, all but the last.
    fn leave_out_known(&self, waiting: &mut Vec<Quote>) {
        let mut seen = HashSet::new();
        let mut known = HashSet::new();
        waiting.reverse();
        waiting.retain(|quote| {
            let last = self.last.get(&quote.listed).filter(|_| quote.order.is_none());
            let Some(last) = last else { return true };
            if last.is(quote) {
                known.insert(quote.listed.clone());
            }
            !known.contains(&quote.listed)
        });
        waiting.retain(|quote| {
            let is_sure = quote.order.is_some() || known.contains(&quote.listed);
            is_sure || !self.last.contains_key(&quote.listed) || seen.insert(quote.listed.clone())
        });
        waiting.reverse();
    }

    /// Hands prices on: those that are news. Where they come from `another` connection, some may be known.
    async fn tell(&mut self, quotes: &mut Vec<Quote>, another: bool) {
        let mut fresh = std::mem::take(quotes);
        fresh.retain(|quote| self.is_news(quote, another));
        if !fresh.is_empty() {
            // An error means that nobody publishes any more, and this ends too.
            self.out.send(fresh).await.ok();
        }
    }

    fn is_news(&mut self, quote: &Quote, another: bool) -> bool {
        let now = Last::of(quote);
        match self.last.get_mut(&quote.listed) {
            // Numbers may have begun anew. What is older than what was published is kept out by its time.
            Some(last) if last.before_a_hole => {
                let is_known = last.is(quote);
                *last = now;
                !is_known
            }
            Some(last) if quote.order < last.order && quote.order.is_some() => {
                // What another connection began with may be old.
                if !another {
                    self.settings.metrics.ticks_misdated.inc();
                }
                false
            }
            Some(last) if last.is(quote) && (another || quote.order.is_some()) => false,
            Some(last) => {
                *last = now;
                true
            }
            None => {
                self.last.insert(quote.listed.clone(), now);
                true
            }
        }
    }
}

impl Next {
    async fn happens(&mut self) -> Happened {
        match self {
            Self::None => pending().await,
            Self::Opening(opening) => Happened::Opened(opening.await),
            Self::Failed(until) => {
                sleep_until(*until).await;
                Happened::Again
            }
            Self::Beside { connection, waiting, since } => {
                let settled = connection.settled().map(|settled| Instant::now() - settled + BESIDE_AT_LEAST);
                let look_at = settled.filter(|at| *at > Instant::now()).unwrap_or(*since + BESIDE_AT_MOST);
                tokio::select! {
                    said = connection.hear(waiting) => Happened::Heard(said),
                    () = sleep_until(look_at), if look_at > Instant::now() => Happened::Time,
                }
            }
        }
    }
}

/// Counts a connection while it is up, also where the source ends from one moment to the next.
struct Up(Arc<Gauge>);

impl Up {
    fn new(settings: &Settings) -> Self {
        let gauge = settings.metrics.source_connections.of(settings.name());
        gauge.add(1);
        Self(gauge)
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        self.0.add(-1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_is_the_same_without_the_size_that_was_said_with_it() {
        let quote = |order: u64, price: u32, size: Option<u32>| Quote {
            listed: "BTCUSDT".to_owned(),
            ts_ms: Some(order),
            price: price.into(),
            bid: None,
            ask: None,
            size: size.map(Price::from),
            order: Some(order),
        };
        let last = Last::of(&quote(7, 100, Some(5)));
        assert!(last.is(&quote(7, 100, Some(5))) && last.is(&quote(7, 100, None)));
        assert!(!last.is(&quote(7, 100, Some(6))) && !last.is(&quote(7, 101, None)) && !last.is(&quote(8, 100, None)));
        let silent = Last::of(&quote(7, 100, None));
        assert!(silent.is(&quote(7, 100, None)) && !silent.is(&quote(7, 100, Some(5))));
    }
}
