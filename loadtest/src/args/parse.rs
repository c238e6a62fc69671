//! One function for each form of value. The message of an error goes on where the option and the value have been
//! named, and says what is allowed.

use std::collections::HashSet;
use std::net::{SocketAddr, ToSocketAddrs};

use anyhow::{Context, anyhow};

use super::{PhaseList, SymbolList};
use crate::plan::Phase;

/// The most symbols.
const MAX_SYMBOLS: usize = 10_000;
/// The longest phase, in seconds.
const MAX_PHASE_S: f64 = 86_400.0;

pub(super) fn whole(least: u64, most: u64) -> impl Fn(&str) -> Result<u64, String> + Clone {
    move |text| {
        text.parse()
            .ok()
            .filter(|number| (least..=most).contains(number))
            .ok_or_else(|| format!("is not allowed: must be a whole number from {least} to {most}"))
    }
}

pub(super) fn decimal(least: f64, most: f64) -> impl Fn(&str) -> Result<f64, String> + Clone {
    move |text| {
        text.parse()
            .ok()
            .filter(|number| (least..=most).contains(number))
            .ok_or_else(|| format!("is not allowed: must be a number from {least} to {most}"))
    }
}

pub(super) fn symbols(text: &str) -> Result<SymbolList, String> {
    if let Ok(count) = text.parse::<usize>() {
        if !(1..=MAX_SYMBOLS).contains(&count) {
            return Err(format!("is not allowed: must be 1 to {MAX_SYMBOLS} symbols, or their names"));
        }
        return Ok(SymbolList((1..=count).map(|number| format!("SYM{number:03}")).collect()));
    }
    let list: Vec<String> = text.split(',').map(|name| name.trim().to_owned()).collect();
    let mut known = HashSet::new();
    if list.len() > MAX_SYMBOLS {
        return Err(format!("has {} symbols: must be at most {MAX_SYMBOLS}", list.len()));
    }
    for name in &list {
        if name.is_empty() {
            return Err("has an empty symbol: must be names with commas between, such as BTC,ETH".into());
        }
        if name == "*" && list.len() > 1 {
            return Err("has * among others: * alone is every symbol".into());
        }
        if !known.insert(name) {
            return Err(format!("has {name} twice: must be distinct"));
        }
    }
    Ok(SymbolList(list))
}

pub(super) fn phases(text: &str) -> Result<PhaseList, String> {
    text.split(',').map(phase).collect::<Result<_, _>>().map(PhaseList)
}

fn phase(text: &str) -> Result<Phase, String> {
    let allowed = "must be ramp:CLIENTS:SECONDS, hold:SECONDS, spike:CLIENTS:SECONDS or storm:PERCENT:SECONDS, with a \
                   comma between two phases";
    let wrong = || format!("has the phase {text:?}, which is not one: {allowed}");
    let seconds = |text: &str| {
        let seconds: f64 = text.trim_end_matches('s').parse().ok()?;
        (0.1..=MAX_PHASE_S).contains(&seconds).then(|| std::time::Duration::from_secs_f64(seconds))
    };
    let parts: Vec<&str> = text.trim().split(':').collect();
    let found = match *parts.as_slice() {
        ["hold", length] => seconds(length).map(|length| Phase::Hold { length }),
        [kind, number, length] => seconds(length).and_then(|length| {
            Some(match kind {
                "ramp" => Phase::Ramp { to: number.parse().ok()?, length },
                "spike" => Phase::Spike { extra: number.trim_start_matches('+').parse().ok()?, length },
                "storm" => {
                    let percent: f64 = number.trim_end_matches('%').parse().ok()?;
                    let share = (0.0..=100.0).contains(&percent).then_some(percent / 100.0)?;
                    Phase::Storm { share, length }
                }
                _ => return None,
            })
        }),
        _ => None,
    };
    found.ok_or_else(wrong)
}

pub(super) fn name(text: &str) -> Result<String, String> {
    // Names of events are looked for as they stand in JSON.
    if text.is_empty() || text.contains(['"', '\\']) || text.chars().any(char::is_control) {
        return Err("is not the name of an event: must not be empty, or have quotes or backslashes".into());
    }
    Ok(text.to_owned())
}

pub(super) fn path(text: &str) -> Result<String, String> {
    if !text.starts_with('/') || !text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'?' && byte != b'#') {
        return Err("is not a path: must begin with a slash, and have no spaces and no query".into());
    }
    Ok(text.to_owned())
}

pub(super) fn json(text: &str) -> Result<String, String> {
    serde_json::from_str::<serde_json::Value>(text).map_err(|error| format!("is not JSON: {error}"))?;
    Ok(text.to_owned())
}

pub(super) fn payload(text: &str) -> Result<String, String> {
    serde_json::from_str::<serde_json::Value>(&text.replace("$SYMBOLS", "[]"))
        .map_err(|error| format!("is not JSON once $SYMBOLS is an array: {error}"))?;
    Ok(text.to_owned())
}

pub(super) fn pair(text: &str) -> Result<String, String> {
    if !text.contains('=') || !text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
        return Err("is not a pair: must be name=value, percent-encoded".into());
    }
    Ok(text.to_owned())
}

pub(super) fn header(text: &str) -> Result<(String, String), String> {
    let fits = |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    match text.split_once(':') {
        Some((name, value)) if fits(name) && !value.chars().any(char::is_control) => {
            Ok((name.to_owned(), value.trim().to_owned()))
        }
        _ => Err("is not a header: must be `Name: value`".into()),
    }
}

pub(super) fn pid(text: &str) -> Result<u32, String> {
    text.parse().ok().filter(|&pid| pid > 0).ok_or_else(|| "is not a process: must be the number of one".into())
}

/// The parts of a server's address.
pub(super) fn url(text: &str) -> Result<url::Url, String> {
    let allowed = "must be http://host:port, such as http://localhost:3000; the endpoint's path is --path";
    let url = url::Url::parse(text).map_err(|error| format!("URL {text:?} is not an address ({error}): {allowed}"))?;
    match url.scheme() {
        "http" | "ws" => {}
        "https" | "wss" => {
            return Err(format!(
                "URL {text:?} asks for TLS, which is not spoken: load the server behind it: {allowed}"
            ));
        }
        scheme => return Err(format!("URL {text:?} has the scheme {scheme:?}: {allowed}")),
    }
    if url.host_str().is_none_or(str::is_empty) || !matches!(url.path(), "" | "/") || url.query().is_some() {
        return Err(format!("URL {text:?} is more or less than an address: {allowed}"));
    }
    Ok(url)
}

/// Where it is, and what its `Host` is.
pub(super) fn resolve(text: &str) -> anyhow::Result<(SocketAddr, String)> {
    let url = url(text).map_err(|error| anyhow!(error))?;
    let host = url.host_str().unwrap_or_default().to_owned();
    let port = url.port().unwrap_or(80);
    let name = host.trim_start_matches('[').trim_end_matches(']');
    let found: Vec<SocketAddr> =
        (name, port).to_socket_addrs().with_context(|| format!("the host of {text} is not known"))?.collect();
    // Servers that listen on one family only mostly take the older one.
    let address = found.iter().find(|address| address.is_ipv4()).or(found.first()).copied();
    let address = address.with_context(|| format!("the host of {text} has no address"))?;
    Ok((address, format!("{host}:{port}")))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn symbols_are_named_or_counted() {
        assert_eq!(symbols("BTC, ETH").unwrap().0, ["BTC", "ETH"]);
        assert_eq!(symbols("2").unwrap().0, ["SYM001", "SYM002"]);
        assert_eq!(symbols("*").unwrap().0, ["*"]);
        for wrong in ["", "BTC,", "0", "10001", "BTC,BTC", "BTC,*"] {
            assert!(symbols(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn phases_are_read_and_mistakes_are_named() {
        let length = Duration::from_secs(30);
        assert_eq!(
            phases("ramp:100:30,hold:30s, spike:+5:30,storm:50%:30").unwrap().0,
            [
                Phase::Ramp { to: 100, length },
                Phase::Hold { length },
                Phase::Spike { extra: 5, length },
                Phase::Storm { share: 0.5, length },
            ]
        );
        for wrong in ["", "hold", "hold:0", "ramp:30", "ramp:x:1", "storm:101:1", "jump:1:1", "hold:1:2:3"] {
            assert!(phases(wrong).unwrap_err().contains("ramp:CLIENTS:SECONDS"), "{wrong}");
        }
    }

    #[test]
    fn a_url_is_an_address_and_no_more() {
        assert!(url("http://localhost:3000").is_ok() && url("ws://[::1]:3000/").is_ok());
        for wrong in ["", "localhost:3000", "https://x", "ftp://x", "http://x/path", "http://x?y=1"] {
            assert!(url(wrong).is_err(), "{wrong}");
        }
        assert_eq!(resolve("http://127.0.0.1").unwrap(), (([127, 0, 0, 1], 80).into(), "127.0.0.1:80".into()));
    }
}
