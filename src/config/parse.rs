//! One function for each form of value. The message of an error goes on where the variable and the value have been
//! named, and says what is allowed.

use std::collections::HashSet;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use ipnet::IpNet;

use super::{LogFormat, Names, Networks, Origins, Role, SymbolList};
use crate::pattern::Patterns;
use crate::price::Symbol;
use crate::wire::{self, Mode};

/// The most symbols that a server starts with.
pub(super) const MAX_SYMBOLS: usize = 10_000;

pub(super) fn host(text: &str) -> Result<IpAddr, String> {
    match text {
        "localhost" => Ok(IpAddr::from([127, 0, 0, 1])),
        _ => text.parse().map_err(|_| {
            "is not an address: must be an IPv4 or IPv6 address of this machine such as 127.0.0.1, 0.0.0.0 (every \
             one) or ::, or localhost"
                .into()
        }),
    }
}

pub(super) fn port(text: &str) -> Result<u16, String> {
    text.parse().map_err(|_| "is not a port: must be a whole number from 0 to 65535".into())
}

pub(super) fn range(least: u64, most: u64) -> impl Fn(&str) -> Result<u64, String> + Clone {
    move |text| {
        text.parse()
            .ok()
            .filter(|number| (least..=most).contains(number))
            .ok_or_else(|| format!("is not allowed: must be a whole number from {least} to {most}"))
    }
}

pub(super) fn count(least: u32, most: u32) -> impl Fn(&str) -> Result<u32, String> + Clone {
    let range = range(least.into(), most.into());
    // At most `most`: it fits.
    move |text| range(text).map(|number| u32::try_from(number).unwrap_or(most))
}

pub(super) fn range_or_none(least: u64, most: u64) -> impl Fn(&str) -> Result<u64, String> + Clone {
    let range = range(least, most);
    move |text| match text {
        "0" => Ok(0),
        text => range(text).map_err(|error| format!("{error}, or 0")),
    }
}

pub(super) fn websocket_url(text: &str) -> Result<String, String> {
    let fits = url::Url::parse(text)
        .is_ok_and(|url| ["ws", "wss"].contains(&url.scheme()) && url.has_host() && url.query().is_none());
    if !fits {
        return Err("is not an address: must be ws://host[:port][/path], or wss:// for TLS".into());
    }
    Ok(text.trim_end_matches('/').to_owned())
}

pub(super) fn http_url_or_none(text: &str) -> Result<String, String> {
    let fits = url::Url::parse(text)
        .is_ok_and(|url| ["http", "https"].contains(&url.scheme()) && url.has_host() && url.query().is_none());
    if !fits && !text.is_empty() {
        return Err("is not an address: must be https://host[:port][/path], or http://, or empty for none".into());
    }
    Ok(text.trim_end_matches('/').to_owned())
}

pub(super) fn bytes(least: usize, most: usize) -> impl Fn(&str) -> Result<usize, String> + Clone {
    move |text| {
        text.parse()
            .ok()
            .filter(|number| (least..=most).contains(number))
            .ok_or_else(|| format!("is not allowed: must be a whole number of bytes from {least} to {most}"))
    }
}

pub(super) fn bytes_or_none(least: usize, most: usize) -> impl Fn(&str) -> Result<usize, String> + Clone {
    let bytes = bytes(least, most);
    move |text| match text {
        "0" => Ok(0),
        text => bytes(text).map_err(|error| format!("{error}, or 0")),
    }
}

pub(super) fn redis_url(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Ok(String::new());
    }
    let wrong = || {
        "is not an address of Redis: must be redis://[user[:password]@]host[:port][/database]; \
         redis-cluster://host:port?node=host:port&node=...; or redis-sentinel://host:port?sentinelServiceName=name&node=...; \
         rediss instead of redis for TLS"
            .to_owned()
    };
    let url = url::Url::parse(text).map_err(|_| wrong())?;
    let scheme = url.scheme();
    let form = scheme.strip_prefix("rediss").or_else(|| scheme.strip_prefix("redis")).ok_or_else(wrong)?;
    if url.host_str().is_none_or(str::is_empty) {
        return Err(wrong());
    }
    let database = url.path().trim_start_matches('/');
    if !database.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    for (name, value) in url.query_pairs() {
        let port = value.split_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port.parse::<u16>());
        if name == "node" && !matches!(port, Some(Ok(1..))) {
            return Err("has a node that is none: each must be host:port".into());
        }
    }
    match form {
        "" => Ok(text.to_owned()),
        "-cluster" if !matches!(database, "" | "0") => Err("names a database: a cluster has none but 0".into()),
        "-cluster" => Ok(text.to_owned()),
        "-sentinel" if !url.query_pairs().any(|(name, value)| name == "sentinelServiceName" && !value.is_empty()) => {
            Err("names no service: must have sentinelServiceName=... among what follows the ?".into())
        }
        "-sentinel" => Ok(text.to_owned()),
        _ => Err(wrong()),
    }
}

pub(super) fn redis_host(text: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    if !text.bytes().all(plain) {
        return Err("is not a host: must be a name or an address, without a scheme or a port".into());
    }
    Ok(text.to_owned())
}

pub(super) fn redis_port(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err("is not a port: must be a whole number from 1 to 65535".into()),
    }
}

pub(super) fn seed(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("is not a seed: must be a whole number from 0 to {}", u64::MAX))
}

pub(super) fn workers(text: &str) -> Result<NonZeroUsize, String> {
    text.parse()
        .ok()
        .filter(|number: &NonZeroUsize| number.get() <= 1024)
        .ok_or_else(|| "is not allowed: must be a whole number from 1 to 1024".into())
}

pub(super) fn symbols(text: &str) -> Result<SymbolList, String> {
    let mut seen = HashSet::new();
    let mut symbols = Vec::new();
    for name in list(text) {
        let symbol: Symbol = name
            .parse()
            .map_err(|error| format!("has \"{}\" in it: {error}, with commas between", wire::short(name)))?;
        if !seen.insert(symbol.clone()) {
            return Err(format!("names {symbol} twice"));
        }
        symbols.push(symbol);
    }
    if symbols.len() > MAX_SYMBOLS {
        return Err(format!("names {} symbols: at most {MAX_SYMBOLS} are allowed", symbols.len()));
    }
    Ok(SymbolList(symbols))
}

pub(super) fn origins(text: &str) -> Result<Origins, String> {
    if text.trim() == "*" {
        return Ok(Origins::Any);
    }
    let origin = |text: &str| {
        let authority = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let fits = authority.is_some_and(|authority| {
            !authority.is_empty()
                && authority.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte))
        });
        if fits {
            Ok(text.to_ascii_lowercase())
        } else {
            Err(format!(
                "has \"{}\" in it: must be * or a list of origins such as https://a.example or http://b.example:8080, \
                 without a path, with commas between",
                wire::short(text)
            ))
        }
    };
    text.split(',').map(|text| origin(text.trim())).collect::<Result<_, _>>().map(Origins::Listed)
}

pub(super) fn path(text: &str) -> Result<String, String> {
    let trimmed = text.strip_suffix('/').unwrap_or(text);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._~-".contains(&byte);
    if !trimmed.starts_with('/') || trimmed.contains("//") || !trimmed.bytes().all(plain) {
        return Err(
            "is not a path: must begin with / and have only letters, digits and . _ ~ - between its slashes".into()
        );
    }
    Ok(trimmed.to_owned())
}

pub(super) fn socket_path(text: &str) -> Result<String, String> {
    path(text)
}

pub(super) fn base_path(text: &str) -> Result<String, String> {
    if text.is_empty() || text == "/" { Ok(String::new()) } else { path(text) }
}

pub(super) fn event_name(text: &str) -> Result<String, String> {
    /// Names that socket.io-client keeps to itself, and those of ours that mean something else.
    const TAKEN: &[&str] = &[
        "connect",
        "connect_error",
        "disconnect",
        "disconnecting",
        "newListener",
        "removeListener",
        wire::to_client::SUBSCRIBED,
        wire::to_client::UNSUBSCRIBED,
        wire::to_client::PONG,
        wire::to_client::LATENCY,
        wire::to_client::ERROR,
        wire::from_client::PING,
        wire::to_client::CHAT_MESSAGE,
        wire::to_client::MESSAGE,
        wire::to_client::ROOM_USERS,
        "status",
        "stats",
        "drain",
    ];
    if text.is_empty() || text.chars().count() > 64 || text.chars().any(char::is_control) {
        return Err("is not allowed: must be 1 to 64 characters, none of them a control character".into());
    }
    if TAKEN.contains(&text) {
        return Err(format!("is taken: must not be one of {}", TAKEN.join(", ")));
    }
    Ok(text.to_owned())
}

pub(super) fn mode(text: &str) -> Result<Mode, String> {
    text.parse().map_err(|()| format!("is not a mode: must be {}", Mode::ALLOWED))
}

pub(super) fn role(text: &str) -> Result<Role, String> {
    text.parse().map_err(|()| "is not a role: must be front, back or all".into())
}

pub(super) fn app_id(text: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
    if text.is_empty() || text.len() > 64 || !text.bytes().all(plain) {
        return Err("is not allowed: must be 1 to 64 letters, digits, or . _ : -".into());
    }
    Ok(text.to_owned())
}

pub(super) fn log_level(text: &str) -> Result<tracing::Level, String> {
    // Not the parser of tracing itself, which takes numbers too.
    let known = ["error", "warn", "info", "debug", "trace"].contains(&text);
    text.parse()
        .ok()
        .filter(|_| known)
        .ok_or_else(|| "is not a level: must be error, warn, info, debug or trace".into())
}

pub(super) fn log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("is not a format: must be text or json".into()),
    }
}

/// Texts between commas, without the space around them; none in an empty one.
pub(super) fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(move |_| !text.trim().is_empty())
}

pub(super) fn names(text: &str) -> Result<Names, String> {
    let names: Vec<String> = list(text).map(str::to_owned).collect();
    if names.iter().any(String::is_empty) {
        return Err("has an empty name in it: must be names with commas between".into());
    }
    Ok(Names(names))
}

/// The name of a file; whether there is one is seen when it is read.
pub(super) fn file(text: &str) -> Result<PathBuf, String> {
    Ok(text.into())
}

pub(super) fn present(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > 256 || text.chars().any(char::is_control) {
        return Err("is not allowed: must be 1 to 256 bytes without control characters".into());
    }
    Ok(text.to_owned())
}

pub(super) fn patterns(text: &str) -> Result<Patterns, String> {
    Patterns::new(list(text)).map_err(|error| format!("is not allowed: {error}, with commas between"))
}

pub(super) fn networks(text: &str) -> Result<Networks, String> {
    let network = |text: &str| {
        let address = || text.parse::<IpAddr>().ok().map(IpNet::from);
        text.parse::<IpNet>().ok().or_else(address).ok_or_else(|| {
            format!(
                "has \"{}\" in it: must be addresses and networks such as 10.0.0.0/8, 192.0.2.7 or fd00::/8, with \
                 commas between",
                wire::short(text)
            )
        })
    };
    list(text).map(network).collect::<Result<_, _>>().map(Networks)
}

pub(super) fn size(text: &str) -> Result<u64, String> {
    const LEAST: u64 = 1 << 10;
    const MOST: u64 = 100 << 30;
    let text = text.to_ascii_lowercase();
    let (digits, shift) = match text.strip_suffix(['k', 'm', 'g']) {
        Some(digits) if text.ends_with('k') => (digits, 10),
        Some(digits) if text.ends_with('m') => (digits, 20),
        Some(digits) => (digits, 30),
        None => (text.as_str(), 0),
    };
    let bytes = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift));
    bytes
        .filter(|bytes| (LEAST..=MOST).contains(bytes))
        .ok_or_else(|| "is not a size: must be a whole number of bytes, or of k, m or g, from 1k to 100g".into())
}

pub(super) fn boolean(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err("is not allowed: must be true or false".into()),
    }
}

pub(super) fn default_workers() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// The host's name with a random part: replicas on one host must not share an id.
pub(super) fn default_app_id() -> String {
    let host = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
    let host: String =
        host.trim().chars().filter(|c| c.is_ascii_alphanumeric() || "._-".contains(*c)).take(40).collect();
    let host = if host.is_empty() { "tickcast" } else { &host };
    format!("{host}-{:04x}", rand::random::<u16>())
}
