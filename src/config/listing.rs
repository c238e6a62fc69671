//! How sources and symbols are written. The message of an error goes on where the variable and the value have been
//! named.

use std::collections::HashSet;

use super::feeds::{BinanceChannel, ExchangeName, Jumps, Listing, Listings, SourceName, Sources, Speed};
use super::parse::{MAX_SYMBOLS, list};
use crate::price::Symbol;
use crate::wire::short;

pub(super) const DEFAULT_SYMBOLS: &str = "BTC,ETH,SOL,ADA,XRP,BNB,DOGE,DOT,AVAX,LINK,LTC,TRX";

/// The highest bound of a jump, in percent.
const MAX_JUMP: f64 = 1_000_000.0;

pub(super) fn default_symbols() -> Listings {
    symbols(DEFAULT_SYMBOLS).unwrap_or(Listings(Vec::new()))
}

pub(super) fn default_sources() -> Sources {
    Sources(vec![SourceName::Simulator, SourceName::Http, SourceName::Redis])
}

fn source(text: &str) -> Option<SourceName> {
    let exchange = ExchangeName::ALL.into_iter().find(|exchange| exchange.as_str() == text).map(SourceName::Exchange);
    match text {
        "simulator" => Some(SourceName::Simulator),
        "http" => Some(SourceName::Http),
        "redis" => Some(SourceName::Redis),
        _ => {
            let file = text.strip_prefix("replay:").filter(|file| !file.is_empty());
            exchange.or_else(|| file.map(|file| SourceName::Replay(file.into())))
        }
    }
}

pub(super) fn sources(text: &str) -> Result<Sources, String> {
    let mut sources: Vec<SourceName> = Vec::new();
    for name in list(text) {
        let source = source(name).ok_or_else(|| {
            format!(
                "has \"{}\" in it: must be simulator, binance, coinbase, kraken, http, redis or replay:FILE, with commas \
                 between",
                short(name)
            )
        })?;
        if sources.iter().any(|known| known.as_str() == source.as_str()) {
            return Err(format!("names {} twice", source.as_str()));
        }
        sources.push(source);
    }
    Ok(Sources(sources))
}

pub(super) fn symbols(text: &str) -> Result<Listings, String> {
    let mut seen = HashSet::new();
    let mut listings = Vec::new();
    for entry in list(text) {
        let (rest, maker) = match entry.rsplit_once('@') {
            None => (entry, None),
            Some((rest, name)) => {
                let maker =
                    source(name).filter(|maker| matches!(maker, SourceName::Simulator | SourceName::Exchange(_)));
                let maker = maker.ok_or_else(|| {
                    format!(
                        "has \"{}\" in it: after @ there must be simulator, binance, coinbase or kraken",
                        short(entry)
                    )
                })?;
                (rest, Some(maker))
            }
        };
        let (name, listed) = rest.split_once('=').unwrap_or((rest, rest));
        let symbol = |text: &str| {
            text.parse::<Symbol>()
                .map_err(|error| format!("has \"{}\" in it: {error}, with commas between", short(entry)))
        };
        let (name, listed) = (symbol(name)?, symbol(listed)?.as_str().to_owned());
        if !seen.insert(name.clone()) {
            return Err(format!("names {name} twice"));
        }
        listings.push(Listing { name, listed, source: maker });
    }
    if listings.len() > MAX_SYMBOLS {
        return Err(format!("names {} symbols: at most {MAX_SYMBOLS} are allowed", listings.len()));
    }
    Ok(Listings(listings))
}

pub(super) fn channel(text: &str) -> Result<BinanceChannel, String> {
    let found = BinanceChannel::ALL.into_iter().find(|channel| channel.as_str() == text);
    found.ok_or_else(|| "is not a channel: must be ticker, miniTicker or aggTrade".into())
}

pub(super) fn jumps(text: &str) -> Result<Jumps, String> {
    let mut jumps = Jumps { all: 0.0, some: Vec::new() };
    for (index, entry) in list(text).enumerate() {
        let (name, number) = match entry.split_once('=') {
            Some((name, number)) => (Some(name.trim()), number.trim()),
            None if index == 0 => (None, entry),
            None => return Err(format!("has \"{}\" in it: what is not first must be SYMBOL=PERCENT", short(entry))),
        };
        let percent = number.parse::<f64>().ok().filter(|percent| (0.0..=MAX_JUMP).contains(percent));
        let percent = percent.ok_or_else(|| {
            format!("has \"{}\" in it: must be a number of percent from 0 to {MAX_JUMP}", short(number))
        })?;
        match name {
            None => jumps.all = percent,
            Some(name) => {
                let symbol: Symbol = name.parse().map_err(|error| format!("has \"{}\" in it: {error}", short(name)))?;
                if jumps.some.iter().any(|(known, _)| *known == symbol) {
                    return Err(format!("names {symbol} twice"));
                }
                jumps.some.push((symbol, percent));
            }
        }
    }
    Ok(jumps)
}

pub(super) fn speed(text: &str) -> Result<Speed, String> {
    if text == "max" {
        return Ok(Speed::Max);
    }
    let times = text.parse::<f64>().ok().filter(|times| (0.01..=10_000.0).contains(times));
    times.map(Speed::Times).ok_or_else(|| "is not a speed: must be a number from 0.01 to 10000, or max".into())
}
