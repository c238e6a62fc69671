mod binance;
mod coinbase;
mod connection;
mod kraken;
mod line;
mod past;
mod protocol;

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{OptionFuture, join_all};
use tokio::sync::{mpsc, oneshot};
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

/// How long the first price of each symbol is waited for before the past is asked for: what is asked for then has no hole
/// between it and what is heard.
const FIRST_PRICES_WITHIN: Duration = Duration::from_secs(5);

/// An exchange: its prices as they come, over as many connections as it takes.
pub struct Exchange {
    settings: Arc<Settings>,
    /// What clients call a symbol, by the exchange's name.
    symbols: HashMap<String, Vec<Symbol>>,
    listed: Vec<String>,
    gate: Gate,
    clock: Clock,
    /// Its past, and what is known of it; none where nobody asks.
    past: Option<(Arc<Archive>, Held)>,
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
        Self { settings: Arc::new(settings), symbols: by_name, listed, gate, clock, past }
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

/// When each symbol was heard of first, in this term.
struct FirstPrices {
    /// Of each symbol: when it was heard of last before, and first now, in ms since the Unix epoch; 0 for never.
    gaps: HashMap<Symbol, Gap>,
    missing: usize,
    done: oneshot::Sender<HashMap<Symbol, Gap>>,
}

impl FirstPrices {
    fn note(&mut self, updates: &[Update]) {
        for update in updates {
            if let Some(gap) = self.gaps.get_mut(&update.symbol).filter(|gap| gap.to_ms == 0) {
                gap.to_ms = update.ts_ms.max(1);
                self.missing -= 1;
            }
        }
    }

    fn is_complete(&self) -> bool {
        self.missing == 0
    }
}

/// From now on nobody waits for first prices: those of whom nothing was heard have had nothing until now.
fn end_first(first: &mut Option<FirstPrices>, clock: &Clock) {
    let Some(mut first) = first.take() else { return };
    for gap in first.gaps.values_mut().filter(|gap| gap.to_ms == 0) {
        gap.to_ms = clock.millis();
    }
    // Who waited for it may have gone.
    first.done.send(first.gaps).ok();
}

impl Exchange {
    /// Waits for the first price of each symbol, to know what was missed before it.
    fn first_prices(&self) -> (Option<FirstPrices>, oneshot::Receiver<HashMap<Symbol, Gap>>) {
        let (done, lacking) = oneshot::channel();
        let first = self.past.as_ref().map(|(_, held)| {
            let gap = |symbol: &Symbol| Gap { from_ms: (held.last_ms)(symbol).unwrap_or(0), to_ms: 0 };
            let gaps: HashMap<_, _> = self.symbols().into_iter().map(|symbol| (symbol.clone(), gap(&symbol))).collect();
            FirstPrices { missing: gaps.len(), gaps, done }
        });
        (first, lacking)
    }

    /// Asks the exchange for the time in which nobody listened, and appends its candles to the log. Not borrowed from the
    /// exchange: it goes on while prices come.
    fn fill<'a, 'b>(
        &self,
        term: &'a Term<'b>,
        lacking: oneshot::Receiver<HashMap<Symbol, Gap>>,
    ) -> impl Future<Output = Result<(), PublishError>> + Send + use<'a, 'b> {
        let archive = self.past.as_ref().map(|(archive, _)| archive.clone());
        let (symbols, listed) = (self.symbols.clone(), self.listed.clone());
        async move {
            let (Some(archive), Ok(gaps)) = (archive, lacking.await) else { return Ok(()) };
            // A symbol of several names is asked for once.
            let widest = |listed: &String| {
                let gaps = symbols.get(listed)?.iter().filter_map(|symbol| gaps.get(symbol));
                let gap =
                    gaps.copied().reduce(|a, b| Gap { from_ms: a.from_ms.min(b.from_ms), to_ms: a.to_ms.max(b.to_ms) });
                Some((listed.clone(), gap?))
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
        let (mut first, lacking) = self.first_prices();
        let mut filling = std::pin::pin!(self.fill(term, lacking));
        let mut is_filled = false;
        let first_by = Instant::now() + FIRST_PRICES_WITHIN;

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
                    let before = waiting.len();
                    for quote in handfuls.drain(..).flatten() {
                        self.take(&quote, &mut waiting);
                    }
                    if let Some(first) = &mut first {
                        first.note(&waiting[before..]);
                    }
                }
                () = tokio::time::sleep_until(first_by), if first.is_some() => {
                    end_first(&mut first, &self.clock);
                }
                filled = &mut filling, if !is_filled => {
                    filled?;
                    is_filled = true;
                }
                _ = &mut lines => return Ok(()),
            }
            if first.as_ref().is_some_and(FirstPrices::is_complete) {
                end_first(&mut first, &self.clock);
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
