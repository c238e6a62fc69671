mod access;
mod candles;
mod command;
mod feeds;
mod limits;
mod listing;
mod logging;
mod messaging;
mod operations;
mod origins;
mod parse;
mod plan;
mod publishing;
mod redis;
mod secret;

use std::fmt::{self, Write};
use std::net::IpAddr;
use std::num::NonZeroUsize;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::price::Symbol;
use crate::wire::{self, Mode};
pub use access::{Access, Names, Networks, TokenKeys};
pub use candles::CandleCounts;
pub use command::{KeyArgs, RecordArgs, TokenArgs};
pub use feeds::{BinanceChannel, ExchangeName, Feeds, Jumps, SourceName, Speed};
pub use limits::Limits;
pub use logging::{LogFormat, Logging};
pub use messaging::Messaging;
pub use operations::Operations;
pub use origins::Origins;
pub use plan::{Listed, Plan};
pub use publishing::{Publishing, Role};
pub use redis::RedisAddress;
pub use secret::Secret;

/// A Socket.IO-compatible real-time price feed server.
///
/// Every setting is an environment variable and a flag; a flag wins. Variables may also stand in a file `.env` in the
/// working directory; the environment wins over it.
#[derive(Debug, Parser)]
#[command(name = "tickcast", version, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    config: Config,
}

/// What to do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Run the server (the default).
    #[default]
    Serve,
    /// Print the effective settings, or the mistake in them, and exit: 0 if the server would start, 2 if not.
    CheckConfig,
    /// Ask the server that runs here with these settings whether it is well, and exit: 0 if it is, 1 if not.
    Healthcheck,
    /// List the live replicas around the Redis of these settings.
    Nodes,
    /// Make a token, signed with JWT_SECRET, for JWT_AUDIENCE and by JWT_ISSUER where these are set.
    Token(TokenArgs),
    /// Write ticks to a file, for a replay: those of these settings' sources, or of the replicas around their Redis.
    Record(RecordArgs),
    /// Make a key for /api, and its entry in API_KEYS_FILE.
    Key(KeyArgs),
}

/// Every setting. Parsing validates: a `Config` that exists is one that the server can run with.
#[derive(Clone, Debug, clap::Args)]
pub struct Config {
    /// The address to listen on. Read from the `HOST` environment variable.
    #[arg(long, env = "HOST", global = true, default_value = "0.0.0.0", value_parser = parse::host)]
    pub host: IpAddr,

    /// The port to listen on; 0 takes any free one. Read from the `PORT` environment variable.
    #[arg(long, env = "PORT", global = true, default_value = "3000", value_parser = parse::port)]
    pub port: u16,

    /// One tick per symbol each so many ms, 1 to 3600000. Read from the `UPDATE_INTERVAL` environment variable.
    #[arg(long = "update-interval", env = "UPDATE_INTERVAL", global = true, default_value = "500",
          value_parser = parse::range(1, 3_600_000), value_name = "MS")]
    pub update_interval_ms: u64,

    /// Makes the simulator's walk the same on each start: 0 to 2^64 - 1. Read from the `SIMULATOR_SEED` environment
    /// variable.
    #[arg(long, env = "SIMULATOR_SEED", global = true, value_parser = parse::seed)]
    pub simulator_seed: Option<u64>,

    /// How much of each symbol's past is held, in seconds, 0 to 86400, and never more than 10,000 ticks a symbol.
    /// Read from the `HISTORY_SECONDS` environment variable.
    #[arg(long, env = "HISTORY_SECONDS", global = true, default_value = "60", value_parser = parse::range(0, 86_400),
          value_name = "S")]
    pub history_seconds: u64,

    /// How many candles of each interval are held of a symbol, the running one included, such as `1s:600,1m:1500`: 10 to
    /// 100000 each, at least 1500 of 1m and 100 of 15m, which the last 24 hours are made of. What is left out stays as it
    /// is. Read from the `CANDLES` environment variable.
    #[arg(long, env = "CANDLES", global = true, default_value = candles::DEFAULT, value_parser = candles::counts)]
    pub candles: CandleCounts,

    /// The Redis that joins replicas: `redis://[user[:password]@]host[:port][/database]`, a cluster
    /// (`redis-cluster://host:port?node=host:port&node=...`), or sentinels
    /// (`redis-sentinel://host:port?sentinelServiceName=name&node=...`); `rediss` instead of `redis` for TLS. Without it,
    /// and without `REDIS_HOST`, the server runs alone. Read from the `REDIS_URL` environment variable.
    #[arg(long, env = "REDIS_URL", global = true, value_parser = parse::redis_url, hide_env_values = true)]
    redis_url: Option<String>,

    /// The host of that Redis, instead of `REDIS_URL`. Read from the `REDIS_HOST` environment variable.
    #[arg(long, env = "REDIS_HOST", global = true, value_parser = parse::redis_host)]
    redis_host: Option<String>,

    /// The port of that Redis. Read from the `REDIS_PORT` environment variable.
    #[arg(long, env = "REDIS_PORT", global = true, default_value = "6379", value_parser = parse::redis_port)]
    redis_port: u16,

    /// The user at that Redis. Read from the `REDIS_USERNAME` environment variable.
    #[arg(long, env = "REDIS_USERNAME", global = true)]
    redis_username: Option<String>,

    /// The password at that Redis. Read from the `REDIS_PASSWORD` environment variable.
    #[arg(long, env = "REDIS_PASSWORD", global = true, hide_env_values = true)]
    redis_password: Option<String>,

    /// false: run alone, whatever the other settings of Redis are; true: use Redis, at localhost if nothing else is
    /// said. Read from the `REDIS_ENABLED` environment variable.
    #[arg(long, env = "REDIS_ENABLED", global = true, value_parser = parse::boolean, value_name = "BOOL")]
    redis_enabled: Option<bool>,

    /// How long a replica keeps a source that it has stopped to renew, in ms, 300 to 60000: another one goes on with it
    /// then. Read from the `LEASE_TTL` environment variable.
    #[arg(long = "lease-ttl", env = "LEASE_TTL", global = true, default_value = "3000",
          value_parser = parse::range(300, 60_000), value_name = "MS")]
    pub lease_ttl_ms: u64,

    /// How long after it noticed that Redis is out of reach a replica goes on by itself, in ms, 0 to 3600000: it makes its
    /// own prices then, from the last ones, until Redis is back. Read from the `ISLAND_AFTER` environment variable.
    #[arg(long = "island-after", env = "ISLAND_AFTER", global = true, default_value = "300",
          value_parser = parse::range(0, 3_600_000), value_name = "MS")]
    pub island_after_ms: u64,

    /// Names this replica in answers and in the log; 1 to 64 letters, digits, or . _ : -. Default: the host's name
    /// and a random part. Read from the `APP_ID` environment variable.
    #[arg(long, env = "APP_ID", global = true, default_value_t = parse::default_app_id(), value_parser = parse::app_id,
          hide_default_value = true)]
    pub app_id: String,

    /// Which web origins may connect: `*`, or a list such as `https://a.example,https://b.example` (only then with
    /// credentials). Read from the `CORS_ORIGIN` environment variable.
    #[arg(long, env = "CORS_ORIGIN", global = true, default_value = "*", value_parser = parse::origins)]
    pub cors_origin: Origins,

    /// Where everything is, for a proxy that passes a prefix on: `/feed` puts the page at `/feed/` and the socket at
    /// `/feed/socket.io/`. Read from the `BASE_PATH` environment variable.
    #[arg(long, env = "BASE_PATH", global = true, default_value = "", value_parser = parse::base_path)]
    pub base_path: String,

    /// Where the Socket.IO endpoint is, below the base path. Read from the `SOCKET_PATH` environment variable.
    #[arg(long, env = "SOCKET_PATH", global = true, default_value = "/socket.io", value_parser = parse::socket_path)]
    pub socket_path: String,

    /// How often the server pings each client, in ms, 100 to 3600000. Read from the `PING_INTERVAL` environment
    /// variable.
    #[arg(long = "ping-interval", env = "PING_INTERVAL", global = true, default_value = "25000",
          value_parser = parse::range(100, 3_600_000), value_name = "MS")]
    pub ping_interval_ms: u64,

    /// How long a client may take to answer a ping before it is given up, in ms, 100 to 3600000. Read from the
    /// `PING_TIMEOUT` environment variable.
    #[arg(long = "ping-timeout", env = "PING_TIMEOUT", global = true, default_value = "60000",
          value_parser = parse::range(100, 3_600_000), value_name = "MS")]
    pub ping_timeout_ms: u64,

    /// The name of the event that carries one tick. Read from the `TICK_EVENT` environment variable.
    #[arg(long, env = "TICK_EVENT", global = true, default_value = "tick", value_parser = parse::event_name)]
    pub tick_event: String,

    /// The name of the event that carries an array of ticks. Read from the `BATCH_EVENT` environment variable.
    #[arg(long, env = "BATCH_EVENT", global = true, default_value = "ticks", value_parser = parse::event_name)]
    pub batch_event: String,

    /// In which shape a client gets ticks that does not say: tick, batch or both. Read from the `DEFAULT_MODE`
    /// environment variable.
    #[arg(long, env = "DEFAULT_MODE", global = true, default_value = "tick", value_parser = parse::mode)]
    pub default_mode: Mode,

    /// How long a tick may wait for others, so that they go out in one write, in ms, 0 to 10000. Read from the
    /// `FLUSH_INTERVAL` environment variable.
    #[arg(long = "flush-interval", env = "FLUSH_INTERVAL", global = true, default_value = "0",
          value_parser = parse::range(0, 10_000), value_name = "MS")]
    pub flush_interval_ms: u64,

    /// How long a client may take nothing of what waits for it before it is disconnected, in s, 1 to 3600. Read from
    /// the `SLOW_CLIENT_TIMEOUT` environment variable.
    #[arg(long = "slow-client-timeout", env = "SLOW_CLIENT_TIMEOUT", global = true, default_value = "30",
          value_parser = parse::range(1, 3_600), value_name = "SECONDS")]
    pub slow_client_timeout_s: u64,

    /// How much may wait in the process for one client, in bytes: answers, messages and the rest of a frame, 65536 to
    /// 1073741824. One alone may be larger: an answer with very many symbols. Ticks do not count: of those that wait there is one for each symbol. Read from the
    /// `CLIENT_BUFFER_BYTES` environment variable.
    #[arg(long, env = "CLIENT_BUFFER_BYTES", global = true, default_value = "1048576",
          value_parser = parse::bytes(65_536, 1 << 30), value_name = "BYTES")]
    pub client_buffer_bytes: usize,

    /// How much may wait in the kernel for one client, in bytes, 4096 to 1073741824, or 0 to leave it to the kernel. What
    /// waits there is as old as it is when it is read. Read from the `CLIENT_SNDBUF_BYTES` environment variable.
    #[arg(long, env = "CLIENT_SNDBUF_BYTES", global = true, default_value = "65536",
          value_parser = parse::bytes_or_none(4_096, 1 << 30), value_name = "BYTES")]
    pub client_sndbuf_bytes: usize,

    /// Whether ticks go past the engine's queue to clients that have a WebSocket. Off only to see what it is worth. Read
    /// from the `LANES` environment variable.
    #[arg(long, env = "LANES", global = true, default_value = "true", value_parser = parse::boolean, value_name = "BOOL",
          action = clap::ArgAction::Set)]
    pub lanes: bool,

    /// How it is looked after.
    #[command(flatten)]
    pub operations: Operations,

    /// Where prices come from, and when they are believed.
    #[command(flatten)]
    pub feeds: Feeds,

    /// What others publish, and which part of the work this replica has.
    #[command(flatten)]
    pub publishing: Publishing,

    /// Who may do what.
    #[command(flatten)]
    pub access: Access,

    /// Rooms, and back ends.
    #[command(flatten)]
    pub messaging: Messaging,

    /// How much everybody may.
    #[command(flatten)]
    pub limits: Limits,

    /// What is logged, how, and where to.
    #[command(flatten)]
    pub logging: Logging,

    /// Threads that do the work, 1 to 1024. Default: as many as there are cores. Read from the `WORKERS` environment
    /// variable.
    #[arg(long, env = "WORKERS", global = true, default_value_t = parse::default_workers(), value_parser = parse::workers)]
    pub workers: NonZeroUsize,

    /// Accepted for those who come from a Node.js cluster, without effect: one process uses every core. Read from
    /// the `CLUSTER_ENABLED` environment variable.
    #[arg(long, env = "CLUSTER_ENABLED", global = true, value_parser = parse::boolean, value_name = "BOOL")]
    pub cluster_enabled: Option<bool>,

    /// Accepted for those who come from Node.js, without effect: there is one way to run. Read from the `NODE_ENV`
    /// environment variable.
    #[arg(long, env = "NODE_ENV", global = true)]
    pub node_env: Option<String>,
}

/// Symbols in the order given, without repeats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SymbolList(pub Vec<Symbol>);

/// A mistake in the settings, or an answer to `--help` and `--version`.
#[derive(Debug)]
pub struct Stop {
    /// What to print.
    pub message: String,
    /// True where the message is what was asked for.
    pub asked_for: bool,
}

impl Config {
    /// Reads the command line and the environment.
    ///
    /// # Errors
    /// The exact mistake: the variable, the value and what is allowed.
    pub fn load(args: impl IntoIterator<Item = std::ffi::OsString>) -> Result<(Command, Self, Effective), Stop> {
        let matches = Cli::command().try_get_matches_from(args).map_err(|error| explain(&error))?;
        let cli = Cli::from_arg_matches(&matches).map_err(|error| explain(&error))?;
        cli.config.validate().map_err(|message| Stop { message, asked_for: false })?;
        let effective = Effective::of(&matches);
        Ok((cli.command.unwrap_or_default(), cli.config, effective))
    }

    /// What cannot be seen in one value alone.
    fn validate(&self) -> Result<(), String> {
        if self.tick_event == self.batch_event {
            return Err(format!(
                "BATCH_EVENT (--batch-event): \"{}\" is TICK_EVENT too: the two need different names",
                self.batch_event
            ));
        }
        self.feeds.validate()?;
        self.publishing.validate(&self.plan(), self.redis().is_some())?;
        self.operations.validate()?;
        self.access.validate()?;
        self.messaging.validate()
    }

    /// What the log should say about settings that change nothing, or more than it seems.
    pub fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        if let Some(enabled) = self.cluster_enabled {
            remarks.push(format!(
                "CLUSTER_ENABLED={enabled} changes nothing: one process uses every core, with WORKERS={} threads",
                self.workers
            ));
        }
        if self.redis_url().is_some() && self.redis_host().is_some() && self.redis().is_some() {
            remarks.push("REDIS_HOST changes nothing: REDIS_URL says where Redis is".to_owned());
        }
        if self.operations.data_dir().is_some() && self.redis().is_some() {
            remarks.push("DATA_DIR changes nothing: replicas keep what they keep in Redis".to_owned());
        }
        if let Some(env) = &self.node_env {
            remarks.push(format!("NODE_ENV={env} changes nothing: there is one way to run"));
        }
        let has_published = !self.publishing.published_symbols.0.is_empty();
        remarks.extend(self.feeds.remarks(self.redis().is_some(), has_published));
        remarks.extend(self.access.remarks());
        remarks.extend(self.messaging.remarks());
        remarks
    }

    /// Who makes what.
    pub fn plan(&self) -> Plan {
        // Looked at when the settings were read.
        self.feeds.plan().unwrap_or_default()
    }

    /// The Redis that joins replicas; none for a server that runs alone.
    pub fn redis(&self) -> Option<RedisAddress> {
        if self.redis_enabled == Some(false) {
            return None;
        }
        if let Some(url) = self.redis_url() {
            return Some(RedisAddress::Url(url.to_owned()));
        }
        let host = match self.redis_host() {
            Some(host) => host,
            None if self.redis_enabled == Some(true) => "localhost",
            None => return None,
        };
        let set = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
        Some(RedisAddress::Parts {
            host: host.to_owned(),
            port: self.redis_port,
            username: set(&self.redis_username),
            password: set(&self.redis_password),
        })
    }

    // Files that others wrote have these empty for «none».
    fn redis_url(&self) -> Option<&str> {
        self.redis_url.as_deref().filter(|url| !url.is_empty())
    }

    fn redis_host(&self) -> Option<&str> {
        self.redis_host.as_deref().filter(|host| !host.is_empty())
    }

    /// The path of the Socket.IO endpoint as clients see it, without a slash at the end.
    pub fn full_socket_path(&self) -> String {
        format!("{}{}", self.base_path, self.socket_path)
    }
}

/// The settings as they came out, for people.
#[derive(Debug)]
pub struct Effective(Vec<(String, String, &'static str)>);

impl Effective {
    fn of(matches: &ArgMatches) -> Self {
        let mut rows = Vec::new();
        for arg in Cli::command().get_arguments() {
            let Some(name) = arg.get_env().map(|name| name.to_string_lossy().into_owned()) else {
                continue;
            };
            let id = arg.get_id().as_str();
            let origin = match matches.value_source(id) {
                Some(ValueSource::CommandLine) => "flag",
                Some(ValueSource::EnvVariable) => "environment",
                Some(_) => "default",
                None => "not set",
            };
            let value = matches.get_raw(id).into_iter().flatten().next_back();
            let value = value.map(|value| value.to_string_lossy().into_owned()).unwrap_or_default();
            let value = if is_secret(&name) && !value.is_empty() { "********".to_owned() } else { value };
            rows.push((name, value, origin));
        }
        Self(rows)
    }
}

impl fmt::Display for Effective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.0.iter().map(|(name, value, _)| name.len() + value.len() + 1).max().unwrap_or(0);
        for (name, value, origin) in &self.0 {
            writeln!(f, "{:width$}  # {origin}", format!("{name}={value}"))?;
        }
        Ok(())
    }
}

/// True for settings whose value nobody should read over a shoulder.
fn is_secret(name: &str) -> bool {
    ["REDIS_URL", "REDIS_PASSWORD", "JWT_SECRET", "API_KEY", "BACKEND_URL", "BACKEND_SECRET"].contains(&name)
}

/// Turns clap's error into one that names the variable as well as the flag.
fn explain(error: &clap::Error) -> Stop {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return Stop { message: error.to_string(), asked_for: true };
    }
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    if matches!(error.kind(), ErrorKind::ValueValidation | ErrorKind::InvalidValue)
        && let (Some(arg), Some(value)) = (text(ContextKind::InvalidArg), text(ContextKind::InvalidValue))
    {
        let flag = arg.split_whitespace().next().unwrap_or(arg);
        let name = Cli::command()
            .get_arguments()
            .find(|known| known.get_long().is_some_and(|long| flag == format!("--{long}")))
            .and_then(|known| known.get_env().map(|name| name.to_string_lossy().into_owned()));
        let secret = name.as_deref().is_some_and(is_secret);
        let mut message = name.map_or_else(|| flag.to_owned(), |name| format!("{name} ({flag})"));
        // Writing to a String cannot fail.
        let shown = if secret { "********".to_owned() } else { wire::short(value) };
        let _ = write!(message, ": \"{shown}\" ");
        match std::error::Error::source(error) {
            Some(source) => {
                let _ = write!(message, "{source}");
            }
            None => message.push_str("must not be empty"),
        }
        return Stop { message, asked_for: false };
    }
    Stop { message: error.to_string().trim_end().to_owned(), asked_for: false }
}

#[cfg(test)]
mod tests;
