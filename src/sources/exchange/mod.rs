mod binance;
mod coinbase;
mod connection;
mod gaps;
mod kraken;
mod line;
mod past;
mod protocol;

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::{OptionFuture, join_all};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::gate::Gate;
use super::{Error, Held, Recall, Source};
use crate::bus::{PublishError, Term};
use crate::clock::Clock;
use crate::config::{BinanceChannel, ExchangeName, Feeds, Listed};
use crate::metrics::Metrics;
use crate::price::{Fill, Symbol, Update};
use binance::Binance;
use coinbase::Coinbase;
use gaps::Gaps;
use kraken::Kraken;
use line::Line;
use past::{Archive, Fetched, Gap};
use protocol::{Protocol, Quote};

/// Handfuls of prices on their way from the connections; they are taken at once.
const HANDFULS: usize = 1024;

/// How many of them are taken at one go: a connection's handful is of up to 256 messages.
const HANDFULS_AT_ONCE: usize = 8;

/// Updates that go to the log at one go.
const UPDATES_AT_ONCE: usize = 1000;

/// Updates that wait while the log is out of reach; of more, each symbol keeps its last.
const MAX_WAITING: usize = 20_000;

/// How long the first price of each symbol is waited for before the past of those that have one is asked for, all at once;
/// that of the others is when they have.
const FIRST_PRICES_WITHIN: Duration = Duration::from_secs(5);

/// After a connection was made anew: a symbol that was not heard of for so long, in ms, may have been traded meanwhile.
const MISSED_AFTER_MS: u64 = 60_000;

/// An exchange: its prices as they come, over as many connections as it takes.
pub struct Exchange {
    settings: Arc<Settings>,
    /// What clients call a symbol, by the exchange's name.
    symbols: HashMap<String, Vec<Name>>,
    listed: Vec<String>,
    gate: Gate,
    clock: Clock,
    /// Its past, and what is known of it; none where nobody asks.
    past: Option<(Arc<Archive>, Held)>,
    gaps: Gaps,
    /// Connections of which symbols have been told.
    connections: u64,
}

/// What clients call a symbol.
struct Name {
    symbol: Symbol,
    missed: Missed,
}

/// What may have been missed of a symbol before its next price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Missed {
    Nothing,
    /// There is another connection: something, if it was not heard of for long.
    Perhaps,
    /// Nobody has listened to it in this term yet.
    Surely,
}

/// What all connections to an exchange have in common.
struct Settings {
    exchange: ExchangeName,
    url: String,
    channel: BinanceChannel,
    /// How long a connection is used.
    life: Duration,
    metrics: Arc<Metrics>,
    /// How many connections were begun, the first ones included.
    connections: AtomicU64,
}

impl Settings {
    fn name(&self) -> &'static str {
        self.exchange.as_str()
    }

    /// What a connection speaks: each that is begun asks once.
    fn protocol(&self) -> Box<dyn Protocol> {
        self.connections.fetch_add(1, Ordering::Relaxed);
        match self.exchange {
            ExchangeName::Binance => Box::new(Binance::new(self.channel)),
            ExchangeName::Coinbase => Box::new(Coinbase::default()),
            ExchangeName::Kraken => Box::new(Kraken),
        }
    }

    /// It does not give us a symbol: the others go on.
    fn refused(&self, listed: &str, why: &str) {
        self.metrics.symbols_refused.of(&format!("{listed}@{}", self.name())).add(1);
        let reason = crate::wire::short(why);
        tracing::warn!(
            source = self.name(),
            symbol = listed,
            reason,
            "the exchange refuses a symbol: going on without it"
        );
    }
}

impl Exchange {
    /// An exchange that makes these symbols. `recall` is the last that was published of one, `held` what candles there are:
    /// where it is not said the past is not asked for.
    pub fn new(
        exchange: ExchangeName,
        symbols: &[Listed],
        feeds: &Feeds,
        clock: Clock,
        metrics: Arc<Metrics>,
        recall: Recall,
        held: Option<&Held>,
    ) -> Self {
        let (url, rest_url) = match exchange {
            ExchangeName::Binance => (&feeds.binance_url, &feeds.binance_rest_url),
            ExchangeName::Coinbase => (&feeds.coinbase_url, &feeds.coinbase_rest_url),
            ExchangeName::Kraken => (&feeds.kraken_url, &feeds.kraken_rest_url),
        };
        let past = held.and_then(|held| {
            let archive = Archive::new(exchange, rest_url, held.candles, clock.clone(), metrics.clone())?;
            Some((Arc::new(archive), held.clone()))
        });
        let settings = Settings {
            exchange,
            url: url.clone(),
            channel: feeds.binance_channel,
            life: Duration::from_secs(feeds.exchange_reconnect_s),
            metrics: metrics.clone(),
            connections: AtomicU64::new(0),
        };
        let mut by_name: HashMap<String, Vec<Name>> = HashMap::new();
        let mut listed = Vec::new();
        for Listed { symbol, listed: name } in symbols {
            let known = by_name.entry(name.clone()).or_default();
            if known.is_empty() {
                listed.push(name.clone());
            }
            known.push(Name { symbol: symbol.clone(), missed: Missed::Nothing });
        }
        let gate = Gate::new(feeds.max_jump.clone(), recall, clock.clone(), metrics);
        let (gaps, connections) = (Gaps::default(), 0);
        Self { settings: Arc::new(settings), symbols: by_name, listed, gate, clock, past, gaps, connections }
    }

    /// A quote as clients know it: one for each name that they have for it.
    fn take(&mut self, quote: &Quote, out: &mut Vec<Update>) {
        // What was not asked for is nobody's.
        for name in self.symbols.get_mut(&quote.listed).into_iter().flatten() {
            let update = Update {
                symbol: name.symbol.clone(),
                price: quote.price,
                ts_ms: quote.ts_ms.unwrap_or_else(|| self.clock.millis()),
                bid: quote.bid,
                ask: quote.ask,
                size: quote.size,
            };
            let before = out.len();
            self.gate.pass(update, out);
            if name.missed != Missed::Nothing
                && let Some((first, (_, held))) = out.get(before).zip(self.past.as_ref())
            {
                let gap = Gap { from_ms: (held.last_ms)(&name.symbol).unwrap_or(0), to_ms: first.ts_ms };
                if name.missed == Missed::Surely || gap.to_ms.saturating_sub(gap.from_ms) >= MISSED_AFTER_MS {
                    self.gaps.hear(name.symbol.clone(), gap);
                }
                name.missed = Missed::Nothing;
            }
        }
    }

    fn names(&mut self) -> impl Iterator<Item = &mut Name> {
        self.symbols.values_mut().flatten()
    }

    /// In a term that begins, nobody has listened to anything.
    fn begin(&mut self) {
        self.gate.forget();
        self.gaps.begin();
        if self.past.is_some() {
            self.names().for_each(|name| name.missed = Missed::Surely);
        }
    }

    /// Where a connection was begun since the last time, nobody may have listened for a while.
    fn look_at_connections(&mut self) {
        let connections = self.settings.connections.load(Ordering::Relaxed);
        if self.connections != connections && self.past.is_some() {
            self.connections = connections;
            let heard = self.names().filter(|name| name.missed == Missed::Nothing);
            heard.for_each(|name| name.missed = Missed::Perhaps);
        }
    }

    /// What was sent to the log is there, or is another source's: then its past is as well, until it is ours.
    fn arrive(&mut self, seqs: &[u64]) {
        let others = self.gaps.arrive(seqs);
        if !others.is_empty() {
            let of_others = self.names().filter(|name| others.contains(&name.symbol));
            of_others.for_each(|name| name.missed = Missed::Surely);
        }
    }

    /// Whether the first price of each symbol is in the log.
    fn has_first_prices(&self) -> bool {
        let mut names = self.symbols.values().flatten();
        self.gaps.are_in_the_log() && names.all(|name| name.missed != Missed::Surely)
    }

    /// Asks the exchange for the times in which nobody listened, and appends its candles to the log. Not borrowed from the
    /// exchange: it goes on while prices come.
    fn fill<'a>(&mut self, term: &'a Term<'_>) -> Filling<'a> {
        let archive = self.past.as_ref().map(|(archive, _)| archive.clone());
        let gaps = self.gaps.ask();
        let symbol_of = |name: &Name| name.symbol.clone();
        let symbols: HashMap<String, Vec<Symbol>> = self
            .symbols
            .iter()
            .map(|(listed, names)| (listed.clone(), names.iter().map(symbol_of).collect()))
            .collect();
        let listed = self.listed.clone();
        Box::pin(async move {
            let Some(archive) = archive else { return Ok(()) };
            // A symbol of several names is asked for once.
            let widest = |listed: &String| {
                let gaps = symbols.get(listed)?.iter().filter_map(|symbol| gaps.get(symbol));
                Some((listed.clone(), gaps.copied().reduce(Gap::and)?))
            };
            let lacking: Vec<_> = listed.iter().filter_map(widest).collect();
            let take = |Fetched { listed, interval, settled_ms, candles }: Fetched| {
                let of = symbols.get(&listed).into_iter().flatten();
                let fills: Vec<Fill> = of
                    .filter_map(|symbol| {
                        let Gap { from_ms, to_ms } = *gaps.get(symbol)?;
                        let (symbol, candles, unseen_ms) = (symbol.clone(), candles.clone(), (from_ms, to_ms));
                        Some(Fill { symbol, interval, unseen_ms, settled_ms, candles })
                    })
                    .collect();
                async move {
                    for fill in fills {
                        term.fill(fill).await?;
                    }
                    Ok(())
                }
            };
            archive.fetch(&lacking, take).await
        })
    }
}

impl Source for Exchange {
    fn name(&self) -> &'static str {
        self.settings.name()
    }

    fn symbols(&self) -> Vec<Symbol> {
        self.symbols.values().flatten().map(|name| name.symbol.clone()).collect()
    }

    async fn run(&mut self, term: &Term<'_>, stop: &CancellationToken) -> Result<(), Error> {
        self.begin();
        let (out, mut quotes) = mpsc::channel(HANDFULS);
        let shares = self.listed.chunks(self.settings.protocol().limits().symbols);
        let lines = shares.map(|share| Line::new(self.settings.clone(), share.to_vec(), out.clone()).run());
        let mut lines = std::pin::pin!(join_all(lines));
        let mut filling: OptionFuture<Filling<'_>> = None.into();
        let mut is_filling = false;
        // None once the first prices have come, or were waited for.
        let mut first_by = Some(Instant::now() + FIRST_PRICES_WITHIN);

        let mut waiting: Vec<Update> = Vec::new();
        let mut publishing: OptionFuture<Publishing<'_>> = None.into();
        let mut is_publishing = false;
        let mut handfuls = Vec::new();
        loop {
            // Connections are heard while the log takes its time: exchanges leave those who do not listen.
            // In this order: what the log takes goes before what more could be heard, or a burst would wait, and be left out,
            // beside a log that is there.
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                Some(published) = &mut publishing, if is_publishing => {
                    self.arrive(&published?);
                    is_publishing = false;
                }
                _ = quotes.recv_many(&mut handfuls, HANDFULS_AT_ONCE) => {
                    self.look_at_connections();
                    for quote in handfuls.drain(..).flatten() {
                        self.take(&quote, &mut waiting);
                    }
                }
                () = tokio::time::sleep_until(first_by.unwrap_or_else(Instant::now)), if first_by.is_some() => {
                    first_by = None;
                }
                Some(filled) = &mut filling, if is_filling => {
                    filled?;
                    self.gaps.done();
                    is_filling = false;
                }
                _ = &mut lines => return Ok(()),
            }
            let is_time = |by: Instant| by <= Instant::now();
            if !is_filling && self.gaps.are_lacking() && (first_by.is_none_or(is_time) || self.has_first_prices()) {
                filling = Some(self.fill(term)).into();
                (is_filling, first_by) = (true, None);
            }
            if !is_publishing && !waiting.is_empty() {
                let rest = waiting.split_off(waiting.len().min(UPDATES_AT_ONCE));
                let batch = std::mem::replace(&mut waiting, rest);
                self.gaps.leave(&batch);
                publishing = Some(Box::pin(term.publish(batch)) as Publishing<'_>).into();
                is_publishing = true;
            }
            if waiting.len() > MAX_WAITING {
                let before = waiting.len();
                waiting = latest(waiting);
                self.settings.metrics.ticks_skipped.add((before - waiting.len()) as u64);
                tracing::warn!(
                    source = self.name(),
                    "the log is out of reach: only the last price of each symbol waits"
                );
            }
        }
    }
}

/// The past on its way from the exchange to the log.
type Filling<'a> = Pin<Box<dyn Future<Output = Result<(), PublishError>> + Send + 'a>>;

type Publishing<'a> = Pin<Box<dyn Future<Output = Result<Vec<u64>, PublishError>> + Send + 'a>>;

/// The last update of each symbol, in the order in which they came.
fn latest(updates: Vec<Update>) -> Vec<Update> {
    let last: HashMap<Symbol, usize> =
        updates.iter().enumerate().map(|(index, update)| (update.symbol.clone(), index)).collect();
    let mut index = 0..;
    updates.into_iter().filter(|update| index.next() == last.get(&update.symbol).copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::price::Price;

    #[test]
    fn the_last_update_of_each_symbol_stays_in_order() {
        let update = |symbol: &str, price: u32| Update {
            symbol: symbol.parse().unwrap(),
            price: Price::from(price),
            ts_ms: 0,
            bid: None,
            ask: None,
            size: None,
        };
        let left = latest(vec![update("A", 1), update("B", 2), update("A", 3), update("C", 4), update("B", 5)]);
        assert_eq!(left, [update("A", 3), update("C", 4), update("B", 5)]);
    }
}
