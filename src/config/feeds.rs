use std::collections::HashSet;
use std::path::PathBuf;

use super::plan::{Listed, Plan};
use super::{listing, parse};
use crate::price::Symbol;
use crate::wire::short;

/// Where prices come from, and when they are believed.
#[derive(Clone, Debug, clap::Args)]
pub struct Feeds {
    /// Where prices come from, with commas between: simulator, binance, coinbase, kraken, http (`POST /api/prices`), redis
    /// (the stream `tickcast:in`), replay:FILE. Read from the `SOURCES` environment variable.
    #[arg(long, env = "SOURCES", global = true, default_value = "simulator,http,redis", value_parser = listing::sources)]
    pub sources: Sources,

    /// What the simulator and the exchanges make, with commas between: `BTC`, `BTC-USD@coinbase`, or
    /// `BTC=BTCUSDT@binance` where clients call it otherwise than the exchange does. Without a source, it is the only one
    /// that there is. An exchange alone knows the default by its own names. Empty for none. Read from the `SYMBOLS`
    /// environment variable.
    #[arg(long, env = "SYMBOLS", global = true, default_value = listing::DEFAULT_SYMBOLS, value_parser = listing::symbols)]
    pub symbols: Listings,

    /// Binance's market data streams, `ws://` or `wss://`. Read from the `BINANCE_URL` environment variable.
    #[arg(long, env = "BINANCE_URL", global = true, default_value = "wss://data-stream.binance.vision",
          value_parser = parse::websocket_url)]
    pub binance_url: String,

    /// Binance's REST API, from which candles of the past come: `http://` or `https://`; empty for none. Read from the
    /// `BINANCE_REST_URL` environment variable.
    #[arg(long, env = "BINANCE_REST_URL", global = true, default_value = "https://data-api.binance.vision",
          value_parser = parse::http_url_or_none)]
    pub binance_rest_url: String,

    /// What is read from Binance: `ticker` (each second, with bid and ask), `miniTicker` (the same without) or
    /// `aggTrade` (each trade, so that volumes are whole). Read from the `BINANCE_CHANNEL` environment variable.
    #[arg(long, env = "BINANCE_CHANNEL", global = true, default_value = "ticker", value_parser = listing::channel)]
    pub binance_channel: BinanceChannel,

    /// Coinbase Exchange's feed, `ws://` or `wss://`. Read from the `COINBASE_URL` environment variable.
    #[arg(long, env = "COINBASE_URL", global = true, default_value = "wss://ws-feed.exchange.coinbase.com",
          value_parser = parse::websocket_url)]
    pub coinbase_url: String,

    /// Coinbase Exchange's REST API, in the same way. Read from the `COINBASE_REST_URL` environment variable.
    #[arg(long, env = "COINBASE_REST_URL", global = true, default_value = "https://api.exchange.coinbase.com",
          value_parser = parse::http_url_or_none)]
    pub coinbase_rest_url: String,

    /// Kraken's feed, version 2, `ws://` or `wss://`. Read from the `KRAKEN_URL` environment variable.
    #[arg(long, env = "KRAKEN_URL", global = true, default_value = "wss://ws.kraken.com/v2",
          value_parser = parse::websocket_url)]
    pub kraken_url: String,

    /// Kraken's REST API, in the same way. Read from the `KRAKEN_REST_URL` environment variable.
    #[arg(long, env = "KRAKEN_REST_URL", global = true, default_value = "https://api.kraken.com",
          value_parser = parse::http_url_or_none)]
    pub kraken_rest_url: String,

    /// How long a connection to an exchange is used before another takes its place, in s, 1 to 86400: Binance ends them
    /// after a day. Read from the `EXCHANGE_RECONNECT` environment variable.
    #[arg(long = "exchange-reconnect", env = "EXCHANGE_RECONNECT", global = true, default_value = "82800",
          value_parser = parse::range(1, 86_400), value_name = "S")]
    pub exchange_reconnect_s: u64,

    /// How far a price of an exchange may be from the one before until the next one confirms it, in percent, 0 (any) to
    /// 1000000: for all symbols, or also for some, as in `20,DOGE=50,USDT=1`. Read from the `MAX_JUMP` environment
    /// variable.
    #[arg(long, env = "MAX_JUMP", global = true, default_value = "20", value_parser = listing::jumps, value_name = "PERCENT")]
    pub max_jump: Jumps,

    /// After how long without a tick a symbol is stale, in ms, 100 to 86400000, or 0 for never; three `UPDATE_INTERVAL`s
    /// if that is longer. Read from the `STALE_AFTER` environment variable.
    #[arg(long = "stale-after", env = "STALE_AFTER", global = true, default_value = "30000",
          value_parser = parse::range_or_none(100, 86_400_000), value_name = "MS")]
    pub stale_after_ms: u64,

    /// How fast a recording is played: 1 is as it was, 10 ten times as fast, 0.01 to 10000, or `max`. Read from the
    /// `REPLAY_SPEED` environment variable.
    #[arg(long, env = "REPLAY_SPEED", global = true, default_value = "1", value_parser = listing::speed)]
    pub replay_speed: Speed,

    /// Whether a recording begins again when it has ended: true or false. Read from the `REPLAY_LOOP` environment
    /// variable. Not with `REPLAY_KEEP_TS`: times would go back.
    #[arg(long, env = "REPLAY_LOOP", global = true, default_value = "false", value_parser = parse::boolean,
          value_name = "BOOL", action = clap::ArgAction::Set)]
    pub replay_loop: bool,

    /// Whether the ticks of a recording keep their time, instead of being of now: true or false. Read from the
    /// `REPLAY_KEEP_TS` environment variable.
    #[arg(long, env = "REPLAY_KEEP_TS", global = true, default_value = "false", value_parser = parse::boolean,
          value_name = "BOOL", action = clap::ArgAction::Set)]
    pub replay_keep_ts: bool,
}

/// Something that prices come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceName {
    /// Made here.
    Simulator,
    /// An exchange.
    Exchange(ExchangeName),
    /// `POST /api/prices`.
    Http,
    /// The stream `tickcast:in`.
    Redis,
    /// A recording.
    Replay(PathBuf),
}

/// An exchange that we know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExchangeName {
    /// Binance, spot.
    Binance,
    /// Coinbase Exchange.
    Coinbase,
    /// Kraken, spot.
    Kraken,
}

/// What is read from Binance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BinanceChannel {
    /// Each second, with bid and ask.
    Ticker,
    /// Each second.
    MiniTicker,
    /// Each trade of a taker.
    AggTrade,
}

/// Sources in the order given, without repeats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sources(pub Vec<SourceName>);

/// What the sources make, as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listings(pub(super) Vec<Listing>);

/// One symbol, as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listing {
    /// What clients call it.
    pub(super) name: Symbol,
    /// What its source calls it.
    pub(super) listed: String,
    /// Its source, where that is said: the simulator, or an exchange.
    pub(super) source: Option<SourceName>,
}

/// How far a price may jump, in percent; 0 for any.
#[derive(Clone, Debug, PartialEq)]
pub struct Jumps {
    pub(super) all: f64,
    pub(super) some: Vec<(Symbol, f64)>,
}

/// How fast a recording is played.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Speed {
    /// So many times as fast as it was.
    Times(f64),
    /// As fast as possible.
    Max,
}

impl ExchangeName {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Binance, Self::Coinbase, Self::Kraken];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Binance => "binance",
            Self::Coinbase => "coinbase",
            Self::Kraken => "kraken",
        }
    }

    /// What it calls this well-known name, in dollars.
    fn in_dollars(self, name: &str) -> String {
        match self {
            Self::Binance => format!("{name}USDT"),
            Self::Coinbase => format!("{name}-USD"),
            Self::Kraken => format!("{name}/USD"),
        }
    }
}

impl SourceName {
    /// Its name, without what is only of this one.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Simulator => "simulator",
            Self::Exchange(exchange) => exchange.as_str(),
            Self::Http => "http",
            Self::Redis => "redis",
            Self::Replay(_) => "replay",
        }
    }

    /// Whether `SYMBOLS` says what it makes.
    fn has_listings(&self) -> bool {
        matches!(self, Self::Simulator | Self::Exchange(_))
    }
}

impl BinanceChannel {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Ticker, Self::MiniTicker, Self::AggTrade];

    /// Its name in streams.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ticker => "ticker",
            Self::MiniTicker => "miniTicker",
            Self::AggTrade => "aggTrade",
        }
    }
}

impl Listing {
    /// As it was written.
    fn shown(&self) -> String {
        let Self { name, listed, source } = self;
        let alias = if name.as_str() == listed { String::new() } else { format!("{name}=") };
        let source = source.as_ref().map(|source| format!("@{}", source.as_str()));
        format!("{alias}{listed}{}", source.unwrap_or_default())
    }
}

impl Jumps {
    /// The bound of one symbol, as a fraction of its price; none where it may jump as it likes.
    pub fn of(&self, symbol: &Symbol) -> Option<f64> {
        let own = self.some.iter().find(|(name, _)| name == symbol);
        let percent = own.map_or(self.all, |(_, percent)| *percent);
        (percent > 0.0).then_some(percent / 100.0)
    }
}

impl Feeds {
    /// Who makes what.
    ///
    /// # Errors
    /// The sources and the symbols do not fit each other.
    pub fn plan(&self) -> Result<Plan, String> {
        let makers: Vec<&SourceName> = self.sources.0.iter().filter(|source| source.has_listings()).collect();
        let mut plan = Plan::default();
        for source in &self.sources.0 {
            match source {
                SourceName::Http => plan.http = true,
                SourceName::Redis => plan.redis = true,
                SourceName::Replay(file) => plan.replay = Some(file.clone()),
                SourceName::Simulator | SourceName::Exchange(_) => {}
            }
        }
        let is_default = self.symbols == listing::default_symbols();
        let wrong = |name: &str, why: String| format!("SYMBOLS (--symbols): \"{}\" {why}", short(name));
        match makers[..] {
            // The default is for whoever makes prices; a feed of others has its own.
            [] if is_default => return Ok(plan),
            [SourceName::Exchange(exchange)] if is_default => {
                for Listing { name, .. } in &self.symbols.0 {
                    let listed = exchange.in_dollars(name.as_str());
                    plan.add_listed(*exchange, Listed { symbol: name.clone(), listed });
                }
                return Ok(plan);
            }
            _ => {}
        }
        // With several sources the default is the simulator's.
        let default_source = makers.iter().find(|source| is_default && matches!(source, SourceName::Simulator));
        for listing in &self.symbols.0 {
            let Listing { name, listed, source } = listing;
            let shown = &listing.shown();
            let source = match (source, default_source, &makers[..]) {
                (Some(source), ..) if makers.contains(&source) => source,
                (Some(source), ..) => {
                    let source = source.as_str();
                    return Err(wrong(
                        shown,
                        format!("is of {source}: {source} must be in SOURCES, or the symbol another's"),
                    ));
                }
                (None, Some(source), _) => source,
                (None, None, [source]) => source,
                (None, None, []) => {
                    return Err(wrong(
                        shown,
                        "is nobody's: SOURCES must name the simulator or an exchange, or SYMBOLS be empty".to_owned(),
                    ));
                }
                (None, None, several) => {
                    let names: Vec<_> = several.iter().map(|source| format!("@{}", source.as_str())).collect();
                    return Err(wrong(
                        shown,
                        format!("may be of several sources: must end in one of {}", names.join(", ")),
                    ));
                }
            };
            match source {
                SourceName::Exchange(exchange) => {
                    // All three write their symbols in capitals.
                    let listed = listed.to_ascii_uppercase();
                    plan.add_listed(*exchange, Listed { symbol: name.clone(), listed });
                }
                _ if name.as_str() != listed => {
                    return Err(wrong(shown, format!("is called {name}: only symbols of an exchange have two names")));
                }
                _ => plan.simulated.push(name.clone()),
            }
        }
        let idle = makers.iter().find_map(|source| match source {
            SourceName::Exchange(exchange) if plan.listed(*exchange).is_empty() => Some(exchange.as_str()),
            _ => None,
        });
        if let Some(idle) = idle {
            return Err(format!(
                "SOURCES (--sources): \"{idle}\" has no symbols: SYMBOLS must have some that end in @{idle}"
            ));
        }
        Ok(plan)
    }

    /// What cannot be seen in one value alone.
    pub(super) fn validate(&self) -> Result<(), String> {
        let plan = self.plan()?;
        if self.replay_loop && self.replay_keep_ts {
            return Err("REPLAY_LOOP (--replay-loop): \"true\" is not allowed with REPLAY_KEEP_TS: each pass would go back in time".to_owned());
        }
        let made: HashSet<&Symbol> = plan.made().map(|(symbol, _)| symbol).collect();
        match self.max_jump.some.iter().find(|(symbol, _)| !made.contains(symbol)) {
            Some((symbol, _)) => Err(format!("MAX_JUMP (--max-jump): \"{symbol}\" must be one of SYMBOLS")),
            None => Ok(()),
        }
    }

    /// What the log should say about settings that change nothing.
    pub(super) fn remarks(&self, has_redis: bool, has_published: bool) -> Vec<String> {
        let mut remarks = Vec::new();
        let names = |name: &SourceName| self.sources.0.contains(name);
        let is_default = self.sources == listing::default_sources();
        if names(&SourceName::Redis) && !has_redis && !is_default {
            remarks.push("redis in SOURCES changes nothing: there is no Redis (REDIS_URL)".to_owned());
        }
        if has_published && !names(&SourceName::Http) && !(names(&SourceName::Redis) && has_redis) {
            remarks.push("nobody can publish PUBLISHED_SYMBOLS: SOURCES has neither http nor redis".to_owned());
        }
        remarks
    }
}
