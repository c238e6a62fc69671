mod record;

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::Value;

use crate::auth::{Auth, NewToken, Scope, new_key};
use crate::bus::{Listing, RedisSettings};
use crate::clock::Clock;
use crate::config::{Config, KeyArgs, TokenArgs};
use crate::journal::Folder;
use crate::pattern::Patterns;
use crate::sources::Replay;
use crate::wire::short;
pub use record::record;

/// How long the server may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);

/// Looks at the files that the settings name.
///
/// # Errors
/// One that cannot be used: the variable, the value and what is allowed.
pub fn check(config: &Config) -> Result<(), String> {
    if let Some(file) = &config.plan().replay {
        Replay::check(file).map_err(|error| error.to_string())?;
    }
    // Whether it is another server's shows when it is taken.
    if let Some(folder) = config.operations.data_dir().filter(|_| config.redis().is_none()) {
        Folder::check(folder).map_err(|error| format!("DATA_DIR (--data-dir): {error}"))?;
    }
    Auth::open(&config.access, Clock::system()).map(drop)
}

/// Makes a token.
///
/// # Errors
/// There is nothing to sign it with, or it would allow more than a token can name.
pub fn token(args: &TokenArgs, config: &Config) -> anyhow::Result<String> {
    for list in [&args.allow_symbols, &args.allow_rooms].into_iter().flatten() {
        Patterns::new(list)?;
    }
    let token = NewToken {
        sub: args.sub.clone(),
        expires_in_s: args.expires_in_s,
        symbols: args.allow_symbols.clone(),
        rooms: args.allow_rooms.clone(),
        roles: args.roles.clone(),
    };
    Ok(token.sign(&config.access, &Clock::system())? + "\n")
}

/// Makes a key for `/api`.
///
/// # Errors
/// A scope is none.
pub fn key(args: &KeyArgs) -> anyhow::Result<String> {
    let scope = |name: &String| -> anyhow::Result<Scope> {
        name.parse().map_err(|error| anyhow::anyhow!("--scopes: \"{}\" {error}", short(name)))
    };
    let scopes = args.scopes.iter().map(scope).collect::<anyhow::Result<Vec<_>>>()?;
    let (key, entry) = new_key(&args.name, &scopes)?;
    Ok(format!("{key}\n{entry}\n"))
}

/// Asks the server that runs here with these settings whether it is well.
///
/// # Errors
/// It is not, or it does not answer.
pub fn healthcheck(config: &Config) -> anyhow::Result<()> {
    // An address that stands for all of them is none that can be connected to.
    let host = match config.host {
        IpAddr::V4(host) if host.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(host) if host.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        host => host,
    };
    let address = SocketAddr::new(host, config.port);
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_WITHIN)
        .with_context(|| format!("nothing listens on {address} (HOST, PORT)"))?;
    stream.set_read_timeout(Some(ANSWER_WITHIN))?;
    stream.set_write_timeout(Some(ANSWER_WITHIN))?;
    let path = format!("{}/health", config.base_path);
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    // A few hundred bytes; the bound is for whoever else listens there.
    stream.take(64 * 1024).read_to_string(&mut answer).with_context(|| format!("no answer from {address}"))?;
    let status = answer.lines().next().unwrap_or_default();
    if status.split(' ').nth(1) != Some("200") {
        bail!("{address}{path} answers: {status}");
    }
    Ok(())
}

/// Lists the live replicas around the Redis of these settings, as a table.
///
/// # Errors
/// There is no Redis in the settings, or it does not answer.
pub async fn nodes(config: &Config) -> anyhow::Result<String> {
    let Some(address) = config.redis() else {
        bail!("a server without Redis is alone: set REDIS_URL (or REDIS_HOST) to that of the replicas");
    };
    let settings = RedisSettings::new(&address)?;
    let listing = Listing::open(&settings).await.with_context(|| format!("cannot reach {settings}"))?;
    let nodes = listing.nodes().await.with_context(|| format!("cannot ask {settings}"))?;
    let nodes: Vec<Value> = nodes.iter().filter_map(|node| serde_json::from_str(node).ok()).collect();
    Ok(table(&nodes))
}

fn table(nodes: &[Value]) -> String {
    let mut rows = vec![["ID", "VERSION", "STATUS", "UPTIME", "CONNECTIONS", "LAG", "SOURCES"].map(str::to_owned)];
    for node in nodes {
        let text = |field: &str| node[field].as_str().unwrap_or("-").to_owned();
        let number = |field: &str| node[field].as_i64();
        let sources = node["sources"].as_object().into_iter().flatten();
        let sources: Vec<String> =
            sources.map(|(source, role)| format!("{source}={}", role.as_str().unwrap_or("-"))).collect();
        rows.push([
            text("id"),
            text("version"),
            text("status"),
            number("uptime_ms").map_or("-".to_owned(), |ms| format!("{} s", ms / 1000)),
            number("connections").map_or("-".to_owned(), |count| count.to_string()),
            number("lag_ms").map_or("-".to_owned(), |ms| format!("{ms} ms")),
            sources.join(" "),
        ]);
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..rows[0].len()).map(width).collect();
    let mut table = String::new();
    for row in &rows {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}")).collect();
        table.push_str(cells.join("  ").trim_end());
        table.push('\n');
    }
    table
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_table_of_replicas() {
        let nodes = [
            json!({"id": "app1", "version": "0.1.0", "status": "ok", "uptime_ms": 65_000, "connections": 12,
                   "lag_ms": 3, "sources": {"simulator": "publisher"}}),
            json!({"id": "another", "status": "degraded"}),
        ];
        assert_eq!(
            table(&nodes),
            "ID       VERSION  STATUS    UPTIME  CONNECTIONS  LAG   SOURCES\n\
             app1     0.1.0    ok        65 s    12           3 ms  simulator=publisher\n\
             another  -        degraded  -       -            -\n"
        );
    }
}
