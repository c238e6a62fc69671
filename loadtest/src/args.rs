//! Every option, its default, and what is allowed.

mod parse;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, ValueEnum};
use serde::Serialize;

use crate::plan::{Phase, Plan};

/// Loads a Socket.IO feed with up to ten thousand clients from one core, and says what they got.
///
/// Latency is measured for each update from the source's own `ts`, so updates that a stalled server sends late all show
/// it. Updates that never come have no latency: look at `lost`, `conflated` and `silence` (the longest time that a client
/// went without a tick of a symbol). Connect times count from when the plan wanted the client, not from when this program
/// came to it. What the program itself cost is in the report, and it says when it was the bottleneck.
///
/// Exit codes: 0 all criteria held; 1 one did not; 2 a wrong option; 3 it could not run, such as no server.
#[derive(Debug, Parser)]
#[command(name = "tickcast-loadtest", version, max_term_width = 120)]
pub struct Options {
    /// The server: `http://host:port`. TLS is not spoken.
    #[arg(value_name = "URL", env = "SERVER_URL", default_value = "http://localhost:3000")]
    pub url: String,

    #[command(flatten, next_help_heading = "Load")]
    #[allow(missing_docs, reason = "clap would take it for the help of every option")]
    pub load: LoadOptions,

    #[command(flatten, next_help_heading = "Clients")]
    #[allow(missing_docs, reason = "clap would take it for the help of every option")]
    pub clients: ClientOptions,

    #[command(flatten, next_help_heading = "The feed")]
    #[allow(missing_docs, reason = "clap would take it for the help of every option")]
    pub feed: FeedOptions,

    #[command(flatten, next_help_heading = "Criteria")]
    #[allow(missing_docs, reason = "clap would take it for the help of every option")]
    pub criteria: CriteriaOptions,

    #[command(flatten, next_help_heading = "Report")]
    #[allow(missing_docs, reason = "clap would take it for the help of every option")]
    pub report: ReportOptions,
}

#[derive(Debug, Args, Serialize)]
#[allow(missing_docs, reason = "clap would take it for the help of every option")]
pub struct LoadOptions {
    /// How many clients, 1 to 20000. With a preset: how many at its highest. [default: 1000]
    #[arg(short = 'n', long, env = "NUM_CLIENTS", value_parser = parse::whole(1, MAX_CLIENTS), value_name = "N")]
    pub clients: Option<u64>,

    /// How many clients arrive in a second, 0.1 to 100000.
    #[arg(long, default_value = "500", value_parser = parse::decimal(0.1, 100_000.0), value_name = "PER_S")]
    pub ramp_rate: f64,

    /// Seconds from the last arrival until measuring begins, 0 to 3600. In a plan with phases: taken from the beginning
    /// of each hold.
    #[arg(long, default_value = "3", value_parser = parse::decimal(0.0, 3600.0), value_name = "S")]
    pub settle: f64,

    /// Seconds to hold and measure, 0.5 to 86400. With a preset: how long its hold is. [default: 30]
    #[arg(short = 'd', long, env = "TEST_DURATION", value_parser = parse::decimal(0.5, 86_400.0), value_name = "S")]
    pub duration: Option<f64>,

    /// A ready plan instead.
    #[arg(long, conflicts_with = "phases")]
    pub preset: Option<Preset>,

    /// A plan of your own instead, phases with commas between: `ramp:N:S` (to N clients in S seconds), `hold:S`,
    /// `spike:N:S` (N more at once, gone after S), `storm:PERCENT:S` (so many cut at once, and all back at once).
    #[arg(long, value_parser = parse::phases, conflicts_with_all = ["clients", "duration"], value_name = "PHASES")]
    #[serde(skip)]
    pub phases: Option<PhaseList>,
}

/// The phases of a plan, as an option.
#[derive(Clone, Debug)]
pub struct PhaseList(pub Vec<Phase>);

/// Plans that have a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// To 100 in 30 s, to 500 in 60 s, to 1000 in 30 s, hold 120 s, gone in 30 s.
    FivePhases,
    /// To 1000 in 10 s, hold 20 s, half of them cut and back at once, hold 20 s.
    Storm,
    /// To 500 in 10 s, hold 20 s, 500 more at once for 20 s, hold 20 s.
    Spike,
}

#[derive(Debug, Args, Serialize)]
#[allow(missing_docs, reason = "clap would take it for the help of every option")]
pub struct ClientOptions {
    /// How clients connect: `default` polls first and moves to a WebSocket, as the official client does.
    #[arg(long, default_value = "websocket")]
    pub transport: Transport,

    /// The share of clients that read slowly, 0 to 1. They are reported apart.
    #[arg(long, default_value = "0", value_parser = parse::decimal(0.0, 1.0), value_name = "SHARE")]
    pub slow_share: f64,

    /// How many bytes a slow client reads in a second, 1 to 100000000.
    #[arg(long, default_value = "4000", value_parser = parse::whole(1, 100_000_000), value_name = "BYTES")]
    pub slow_bytes_per_s: u64,

    /// The share of clients that subscribe and never read again, 0 to 1. They are reported apart.
    #[arg(long, default_value = "0", value_parser = parse::decimal(0.0, 1.0), value_name = "SHARE")]
    pub stalled_share: f64,

    /// Seconds after which a connect has failed, 0.1 to 600.
    #[arg(long, default_value = "20", value_parser = parse::decimal(0.1, 600.0), value_name = "S")]
    pub connect_timeout: f64,

    /// A client without any tick for so many ms is silent, which is an error; 1 to 3600000.
    #[arg(long, default_value = "5000", value_parser = parse::whole(1, 3_600_000), value_name = "MS")]
    pub silent_after: u64,
}

/// How clients connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// A WebSocket from the start.
    Websocket,
    /// Polling all the time.
    Polling,
    /// Polling, then a WebSocket.
    Default,
}

#[derive(Debug, Args, Serialize)]
#[allow(missing_docs, reason = "clap would take it for the help of every option")]
pub struct FeedOptions {
    /// The symbols, with commas between, or `*`, or how many: 50 means SYM001 to SYM050.
    #[arg(long, env = "SYMBOLS", default_value = "BTC,ETH,SOL,ADA,XRP", value_parser = parse::symbols,
          value_name = "LIST")]
    pub symbols: SymbolList,

    /// How many distinct sets of symbols are subscribed to, 1 to 20000. Needs --symbols-per-client.
    #[arg(long, default_value = "1", value_parser = parse::whole(1, MAX_CLIENTS), value_name = "N")]
    pub sets: u64,

    /// How many symbols a set has. [default: all]
    #[arg(long, value_parser = parse::whole(1, 10_000), value_name = "K")]
    pub symbols_per_client: Option<u64>,

    /// What the sets are drawn with: the same seed makes the same sets.
    #[arg(long, default_value = "1", value_name = "NUMBER")]
    pub seed: u64,

    /// Asks for `tick` (single ticks), `batch` (arrays) or `both`: then the payload is `{"symbols", "mode"}`.
    #[arg(long)]
    pub mode: Option<Mode>,

    /// Asks for at most so many ticks per second and symbol, 0.1 to 1000: `maxRate` in the payload.
    #[arg(long, value_parser = parse::decimal(0.1, 1000.0), value_name = "PER_S")]
    pub max_rate: Option<f64>,

    /// The payload of the subscription, as JSON; `$SYMBOLS` in it becomes the array of symbols.
    #[arg(long, value_name = "JSON", conflicts_with_all = ["mode", "max_rate"], value_parser = parse::payload)]
    pub payload: Option<String>,

    /// Subscribes to nothing: the feed sends to all.
    #[arg(long)]
    pub no_subscribe: bool,

    /// Subscribes without a callback, for handlers that cannot be called with one.
    #[arg(long)]
    pub no_ack: bool,

    /// The event that subscribes.
    #[arg(long, default_value = "subscribe", value_parser = parse::name, value_name = "EVENT")]
    pub subscribe_event: String,

    /// The event that carries one tick.
    #[arg(long, default_value = "tick", value_parser = parse::name, value_name = "EVENT")]
    pub tick_event: String,

    /// The event that carries an array of ticks.
    #[arg(long, default_value = "ticks", value_parser = parse::name, value_name = "EVENT")]
    pub batch_event: String,

    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would take it for the help of every option")]
    pub fields: Fields,

    /// The path of the Socket.IO endpoint.
    #[arg(long, default_value = "/socket.io/", value_parser = parse::path)]
    pub path: String,

    /// What to send when entering the namespace, as JSON: `{"token": "..."}`.
    #[arg(long, value_name = "JSON", value_parser = parse::json)]
    #[serde(skip)]
    pub auth: Option<String>,

    /// A pair for the query of every request: `name=value`. May be repeated.
    #[arg(long, value_name = "PAIR", value_parser = parse::pair)]
    #[serde(skip)]
    pub query: Vec<String>,

    /// A header for every request: `Name: value`. May be repeated.
    #[arg(long, value_name = "HEADER", value_parser = parse::header)]
    #[serde(skip)]
    pub header: Vec<(String, String)>,

    /// The source's ms between two updates of a symbol, where known: the report then says how many updates were to be
    /// expected.
    #[arg(long, value_parser = parse::decimal(0.001, 3_600_000.0), value_name = "MS")]
    pub interval: Option<f64>,
}

/// Symbols as an option.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct SymbolList(pub Vec<String>);

/// The shape of ticks that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// An event for each.
    Tick,
    /// Arrays.
    Batch,
    /// Each in both.
    Both,
}

/// The names of a tick's fields.
#[derive(Clone, Debug, Args, Serialize)]
pub struct Fields {
    /// The field with the symbol.
    #[arg(long = "symbol-field", default_value = "symbol", value_name = "FIELD")]
    pub symbol: String,
    /// The field with the price.
    #[arg(long = "price-field", default_value = "price", value_name = "FIELD")]
    pub price: String,
    /// The field with the source's time: ms since the Unix epoch, or ISO 8601.
    #[arg(long = "ts-field", default_value = "ts", value_name = "FIELD")]
    pub ts: String,
    /// The field with the number. A feed without one is not checked for gaps.
    #[arg(long = "seq-field", default_value = "seq", value_name = "FIELD")]
    pub seq: String,
    /// The field that says for how many updates a tick stands.
    #[arg(long = "n-field", default_value = "n", value_name = "FIELD")]
    pub n: String,
    /// The field with the epoch, within which numbers follow each other.
    #[arg(long = "epoch-field", default_value = "epoch", value_name = "FIELD")]
    pub epoch: String,
}

impl Default for Fields {
    fn default() -> Self {
        let name = str::to_owned;
        Self {
            symbol: name("symbol"),
            price: name("price"),
            ts: name("ts"),
            seq: name("seq"),
            n: name("n"),
            epoch: name("epoch"),
        }
    }
}

#[derive(Debug, Args, Serialize)]
#[allow(missing_docs, reason = "clap would take it for the help of every option")]
pub struct CriteriaOptions {
    /// More than so many percent of connects must succeed.
    #[arg(long, default_value = "99", value_parser = parse::decimal(0.0, 100.0), value_name = "PERCENT")]
    pub min_connects: f64,

    /// The average latency must be below so many ms.
    #[arg(long, default_value = "100", value_parser = parse::decimal(0.0, 3_600_000.0), value_name = "MS")]
    pub max_latency: f64,

    /// Fewer than so many percent of clients may have an error: not connected, cut off, refused, silent, a lost,
    /// repeated or reordered update, two prices, or something that cannot be read.
    #[arg(long, default_value = "1", value_parser = parse::decimal(0.0, 100.0), value_name = "PERCENT")]
    pub max_errors: f64,

    /// The 99th percentile of latency must be below so many ms.
    #[arg(long, value_parser = parse::decimal(0.0, 3_600_000.0), value_name = "MS")]
    pub max_p99: Option<f64>,

    /// At most so many updates may be lost.
    #[arg(long, value_name = "N")]
    pub max_lost: Option<u64>,

    /// At least so many updates must come in a second.
    #[arg(long, value_parser = parse::decimal(0.0, 1e12), value_name = "PER_S")]
    pub min_updates: Option<f64>,
}

#[derive(Debug, Args, Serialize)]
#[allow(missing_docs, reason = "clap would take it for the help of every option")]
pub struct ReportOptions {
    /// The server's process on this machine, for its CPU and memory; several with commas between.
    #[arg(long, value_delimiter = ',', value_parser = parse::pid)]
    pub pid: Vec<u32>,

    /// Writes the report as JSON to a file; `-` is the standard output, instead of the summary.
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub json: Option<PathBuf>,

    /// Writes the report with plots as one HTML file.
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub html: Option<PathBuf>,

    /// A name for this run, for the report.
    #[arg(long, default_value = "")]
    pub label: String,

    /// Shows no progress.
    #[arg(short, long)]
    #[serde(skip)]
    pub quiet: bool,
}

/// The most clients: ports of one address, and files of one process.
pub const MAX_CLIENTS: u64 = 20_000;

/// Clients of a plan that does not say how many.
const CLIENTS: u64 = 1000;
/// Seconds of a hold that does not say how long.
const HOLD_S: f64 = 30.0;

/// Where the server is, and what every request to it has.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its address.
    pub address: SocketAddr,
    /// `Host`.
    pub host: String,
    /// The path of its endpoint.
    pub path: String,
    /// Pairs for the query.
    pub query: Vec<String>,
    /// Headers.
    pub headers: Vec<(String, String)>,
}

impl Options {
    /// What no single option can say about itself.
    ///
    /// # Errors
    /// If options do not go together, as a message that names them.
    pub fn check(&self) -> Result<(), String> {
        parse::url(&self.url)?;
        let ClientOptions { slow_share, stalled_share, .. } = self.clients;
        if slow_share + stalled_share > 1.0 {
            return Err(format!(
                "--slow-share {slow_share} and --stalled-share {stalled_share} are more than all clients: must be at most 1 \
                 together"
            ));
        }
        let (sets, symbols) = (self.feed.sets, self.feed.symbols.0.len() as u64);
        match self.feed.symbols_per_client {
            Some(per_client) if per_client > symbols => {
                return Err(format!(
                    "--symbols-per-client {per_client} is more than there are: must be at most {symbols}, the number of \
                     --symbols"
                ));
            }
            None if sets > 1 => {
                return Err(format!(
                    "--sets {sets} needs to know how large they are: say --symbols-per-client, 1 to {symbols}"
                ));
            }
            _ => {}
        }
        let peak = self.plan().peak();
        if peak > MAX_CLIENTS {
            return Err(format!("--phases asks for {peak} clients: must be at most {MAX_CLIENTS}"));
        }
        Ok(())
    }

    /// The plan that the options ask for.
    pub fn plan(&self) -> Plan {
        let LoadOptions { clients, ramp_rate, settle, duration, preset, phases } = &self.load;
        let settle = Duration::from_secs_f64(*settle);
        let hold = duration.map(Duration::from_secs_f64);
        match (phases, preset) {
            (Some(PhaseList(phases)), _) => Plan::new(phases.clone(), settle),
            (None, Some(preset)) => Plan::preset(*preset, *clients, hold, settle),
            (None, None) => {
                let hold = hold.unwrap_or(Duration::from_secs_f64(HOLD_S));
                Plan::simple(clients.unwrap_or(CLIENTS), *ramp_rate, settle, hold)
            }
        }
    }

    /// Looks the server up.
    ///
    /// # Errors
    /// If its name is not known.
    pub fn target(&self) -> anyhow::Result<Target> {
        let (address, host) = parse::resolve(&self.url)?;
        let FeedOptions { path, query, header, .. } = &self.feed;
        Ok(Target { address, host, path: path.clone(), query: query.clone(), headers: header.clone() })
    }
}
