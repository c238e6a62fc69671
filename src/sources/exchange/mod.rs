mod binance;
mod coinbase;
mod connection;
mod kraken;
mod line;
mod protocol;

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{OptionFuture, join_all};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::gate::Gate;
use super::{Error, Recall, Source};
use crate::bus::{PublishError, Term};
use crate::clock::Clock;
use crate::config::{BinanceChannel, ExchangeName, Feeds, Listed};
use crate::metrics::Metrics;
use crate::price::{Symbol, Update};
use binance::Binance;
use coinbase::Coinbase;
use kraken::Kraken;
use line::Line;
use protocol::{Protocol, Quote};

/// Handfuls of prices on their way from the connections; they are taken at once.
const HANDFULS: usize = 1024;

/// How many of them are taken at one go: a connection's handful is of up to 256 messages.
const HANDFULS_AT_ONCE: usize = 8;

/// Updates that go to the log at one go.
const UPDATES_AT_ONCE: usize = 1000;

/// Updates that wait while the log is out of reach; of more, each symbol keeps its last.
const MAX_WAITING: usize = 20_000;

/// An exchange: its prices as they come, over as many connections as it takes.
pub struct Exchange {
    settings: Arc<Settings>,
    /// What clients call a symbol, by the exchange's name.
    symbols: HashMap<String, Vec<Symbol>>,
    listed: Vec<String>,
    gate: Gate,
    clock: Clock,
}

/// What all connections to an exchange have in common.
struct Settings {
    exchange: ExchangeName,
    url: String,
    channel: BinanceChannel,
    /// How long a connection is used.
    life: Duration,
    metrics: Arc<Metrics>,
}

impl Settings {
    fn name(&self) -> &'static str {
        self.exchange.as_str()
    }

    fn protocol(&self) -> Box<dyn Protocol> {
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
    /// An exchange that makes these symbols. `recall` is the last that was published of one.
    pub fn new(
        exchange: ExchangeName,
        symbols: &[Listed],
        feeds: &Feeds,
        clock: Clock,
        metrics: Arc<Metrics>,
        recall: Recall,
    ) -> Self {
        let url = match exchange {
            ExchangeName::Binance => &feeds.binance_url,
            ExchangeName::Coinbase => &feeds.coinbase_url,
            ExchangeName::Kraken => &feeds.kraken_url,
        };
        let settings = Settings {
            exchange,
            url: url.clone(),
            channel: feeds.binance_channel,
            life: Duration::from_secs(feeds.exchange_reconnect_s),
            metrics: metrics.clone(),
        };
        let mut by_name: HashMap<String, Vec<Symbol>> = HashMap::new();
        let mut listed = Vec::new();
        for Listed { symbol, listed: name } in symbols {
            let known = by_name.entry(name.clone()).or_default();
            if known.is_empty() {
                listed.push(name.clone());
            }
            known.push(symbol.clone());
        }
        let gate = Gate::new(feeds.max_jump.clone(), recall, clock.clone(), metrics);
        Self { settings: Arc::new(settings), symbols: by_name, listed, gate, clock }
    }

    /// A quote as clients know it: one for each name that they have for it.
    fn take(&mut self, quote: &Quote, out: &mut Vec<Update>) {
        // What was not asked for is nobody's.
        for symbol in self.symbols.get(&quote.listed).into_iter().flatten() {
            let update = Update {
                symbol: symbol.clone(),
                price: quote.price,
                ts_ms: quote.ts_ms.unwrap_or_else(|| self.clock.millis()),
                bid: quote.bid,
                ask: quote.ask,
                size: quote.size,
            };
            self.gate.pass(update, out);
        }
    }
}

impl Source for Exchange {
    fn name(&self) -> &'static str {
        self.settings.name()
    }

    fn symbols(&self) -> Vec<Symbol> {
        self.symbols.values().flatten().cloned().collect()
    }

    async fn run(&mut self, term: &Term<'_>, stop: &CancellationToken) -> Result<(), Error> {
        self.gate.forget();
        let (out, mut quotes) = mpsc::channel(HANDFULS);
        let shares = self.listed.chunks(self.settings.protocol().limits().symbols);
        let lines = shares.map(|share| Line::new(self.settings.clone(), share.to_vec(), out.clone()).run());
        let mut lines = std::pin::pin!(join_all(lines));

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
                    published?;
                    is_publishing = false;
                }
                _ = quotes.recv_many(&mut handfuls, HANDFULS_AT_ONCE) => {
                    for quote in handfuls.drain(..).flatten() {
                        self.take(&quote, &mut waiting);
                    }
                }
                _ = &mut lines => return Ok(()),
            }
            if !is_publishing && !waiting.is_empty() {
                let rest = waiting.split_off(waiting.len().min(UPDATES_AT_ONCE));
                let batch = std::mem::replace(&mut waiting, rest);
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
