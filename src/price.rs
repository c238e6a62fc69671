use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::Serialize;

/// A price or a size: a decimal number with exactly the digits that its source gave.
pub type Price = rust_decimal::Decimal;

/// A number with exactly the digits that were given, or none where they cannot all be kept.
pub fn exact(text: &str) -> Option<Price> {
    // The parser lets in more than JSON does, such as `1_000` and `+1`.
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || b".-".contains(&byte));
    match text.split_once(['e', 'E']) {
        None if plain(text) && !text.ends_with('.') && !text.contains("-.") && !text.starts_with('.') => {
            Price::from_str_exact(text).ok()
        }
        // What JavaScript writes for 0.0000001 is 1e-7.
        Some((digits, exponent)) if plain(digits) && exponent.len() <= 3 => {
            Price::from_str_exact(digits).ok()?;
            Price::from_scientific(&format!("{digits}e{exponent}")).ok()
        }
        _ => None,
    }
}

/// The name of what is traded, such as `BTC` or `BTC-USD`. Cheap to clone.
///
/// 1 to [`Symbol::MAX_BYTES`] ASCII letters, digits and `. _ : / -`; case matters. Nothing in it needs an escape in
/// JSON, in a room name or in a URL path segment other than `/`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Symbol(Arc<str>);

/// Why a text is not a [`Symbol`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a symbol is 1 to {max} ASCII letters, digits, or . _ : / -", max = Symbol::MAX_BYTES)]
pub struct SymbolError;

impl Symbol {
    /// The longest name, in bytes.
    pub const MAX_BYTES: usize = 32;

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Symbol {
    type Err = SymbolError;

    fn from_str(text: &str) -> Result<Self, SymbolError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._:/-".contains(&byte);
        if text.is_empty() || text.len() > Self::MAX_BYTES || !text.bytes().all(allowed) {
            return Err(SymbolError);
        }
        Ok(Self(text.into()))
    }
}

impl Borrow<str> for Symbol {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// Names a symbol within this process: they are counted from 0 in the order in which they became known, and stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SymbolId(u32);

impl SymbolId {
    /// The name of the symbol at this place in the order.
    pub fn new(index: usize) -> Self {
        // Each symbol takes hundreds of bytes: memory ends long before the numbers do.
        Self(u32::try_from(index).unwrap_or(u32::MAX))
    }

    /// The symbol's place in the order.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A price as a source gives it, not yet numbered: numbering is the bus's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// What is traded.
    pub symbol: Symbol,
    /// The last price.
    pub price: Price,
    /// The source's time, in ms since the Unix epoch.
    pub ts_ms: u64,
    /// The best bid, where the source has it.
    pub bid: Option<Price>,
    /// The best ask, where the source has it.
    pub ask: Option<Price>,
    /// The size of the last trade, where the source has it.
    pub size: Option<Price>,
}

/// A numbered update.
///
/// Within one [`Epoch`] a symbol's ticks are numbered one after the other, and one number has one price everywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tick {
    /// Its number; below 2^53, so that JavaScript keeps it whole.
    pub seq: u64,
    /// What it says.
    pub update: Update,
}

/// Names one unbroken run of the bus's numbering: an opaque text. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct Epoch(Arc<str>);

impl Epoch {
    /// An epoch of this name: letters, digits and `-` only, since it goes into JSON as it is.
    pub fn new(name: &str) -> Self {
        debug_assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'));
        Self(name.into())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// Ticks that the bus hands on together, in order.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The numbering that the ticks belong to.
    pub epoch: Epoch,
    /// The ticks; one symbol may stand in it several times.
    pub ticks: Vec<Tick>,
}

/// How the feed is, as far as this replica knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FeedState {
    /// The bus has not been reached yet, nor given up on.
    Starting,
    /// Ticks pass.
    Live,
    /// This replica is cut off from the bus.
    Degraded,
}

impl FeedState {
    /// Its name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Live => "live",
            Self::Degraded => "degraded",
        }
    }
}

/// How the feed is, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feed {
    /// How it is.
    pub state: FeedState,
    /// Why, for people.
    pub reason: String,
}

/// What the bus hands on, in order.
#[derive(Clone, Debug)]
pub enum BusEvent {
    /// Ticks.
    Ticks(Batch),
    /// Ticks of the past, before all others: history, of which nobody is told.
    Past(Batch),
    /// The feed is otherwise now.
    Feed(Feed),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_are_short_and_plain() {
        for good in ["BTC", "BTC-USD", "BTC/USD", "btc", "BRK.B", "a_b:c", &"X".repeat(32)] {
            assert_eq!(good.parse::<Symbol>().unwrap().as_str(), good);
        }
        for bad in ["", " BTC", "BTC ", "B\"C", "B\\C", "B\0C", "Ƀ", "*", "B,C", "__proto__\n", &"X".repeat(33)] {
            assert_eq!(bad.parse::<Symbol>(), Err(SymbolError), "{bad:?}");
        }
    }
}
