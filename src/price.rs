use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;
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

/// The length of a candle. Each is a whole multiple of the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Interval {
    /// A second.
    S1,
    /// A minute.
    M1,
    /// Five minutes.
    M5,
    /// A quarter of an hour.
    M15,
    /// An hour.
    H1,
    /// A day, from midnight UTC.
    D1,
}

impl Interval {
    /// How many there are.
    pub const COUNT: usize = 6;

    /// All of them, shortest first: in the order of [`Interval::index`].
    pub const ALL: [Self; Self::COUNT] = [Self::S1, Self::M1, Self::M5, Self::M15, Self::H1, Self::D1];

    /// What is allowed, for messages.
    pub const ALLOWED: &str = "1s, 1m, 5m, 15m, 1h or 1d";

    /// Its place among all of them.
    pub fn index(self) -> usize {
        self as usize
    }

    /// Its length, in ms.
    pub fn ms(self) -> u64 {
        const SECOND_MS: u64 = 1000;
        match self {
            Self::S1 => SECOND_MS,
            Self::M1 => 60 * SECOND_MS,
            Self::M5 => 5 * 60 * SECOND_MS,
            Self::M15 => 15 * 60 * SECOND_MS,
            Self::H1 => 60 * 60 * SECOND_MS,
            Self::D1 => 24 * 60 * 60 * SECOND_MS,
        }
    }

    /// When the candle begins that `ts_ms` is in: they are aligned to the Unix epoch, and the end is the next one's.
    pub fn start_of(self, ts_ms: u64) -> u64 {
        ts_ms - ts_ms % self.ms()
    }

    /// Its name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::S1 => "1s",
            Self::M1 => "1m",
            Self::M5 => "5m",
            Self::M15 => "15m",
            Self::H1 => "1h",
            Self::D1 => "1d",
        }
    }
}

/// A text is no [`Interval`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("an interval is {}", Interval::ALLOWED)]
pub struct IntervalError;

impl FromStr for Interval {
    type Err = IntervalError;

    fn from_str(text: &str) -> Result<Self, IntervalError> {
        Self::ALL.into_iter().find(|interval| interval.as_str() == text).ok_or(IntervalError)
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What the price of a symbol did in one [`Interval`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candle {
    /// When it begins, in ms since the Unix epoch: a whole multiple of its interval.
    pub ts_ms: u64,
    /// The first price.
    pub open: Price,
    /// The highest price.
    pub high: Price,
    /// The lowest price.
    pub low: Price,
    /// The last price.
    pub close: Price,
    /// The sum of the sizes that the source gave; 0 where it gave none. Exact, as far as 28 digits are.
    pub volume: Price,
    /// How many updates it is made of; 0 where nothing came and the price before holds on.
    pub n: u64,
}

impl Candle {
    /// The candle of an interval in which nothing came: the price before it holds on.
    pub fn quiet(ts_ms: u64, price: Price) -> Self {
        Self { ts_ms, open: price, high: price, low: price, close: price, volume: Price::ZERO, n: 0 }
    }
}

/// Candles of the past that a source has of a time in which nobody listened to it.
///
/// They win where nobody listened, and nowhere else: see `market::Candles::fill`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fill {
    /// Whose they are.
    pub symbol: Symbol,
    /// How long they are.
    pub interval: Interval,
    /// The time in which nobody listened, in ms since the Unix epoch: the last update before it, or 0, and the first after
    /// it.
    pub unseen_ms: (u64, u64),
    /// What ends later than this may still have been running when it was asked for, in ms since the Unix epoch.
    pub settled_ms: u64,
    /// Oldest first.
    pub candles: Vec<Candle>,
}

/// The candles of a symbol as they were stored: records of `market::Saved`, the newest last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Whose they are.
    pub symbol: Symbol,
    /// What was stored of them, in order: what stands in a later one wins.
    pub records: Vec<Bytes>,
}

/// What a symbol did in the last 24 hours, or since its first price that is known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Day {
    /// The price at its beginning.
    pub open: Price,
    /// The highest price.
    pub high: Price,
    /// The lowest price.
    pub low: Price,
    /// The sum of the sizes that the source gave; 0 where it gave none.
    pub volume: Price,
}

impl Day {
    /// The same, where the price is this by now.
    pub fn with(&self, price: Price) -> Self {
        Self { high: self.high.max(price), low: self.low.min(price), ..*self }
    }
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
    /// Candles as they are stored, in the place of those that are here: what came before is forgotten.
    Stored(Stored),
    /// Ticks that followed what was [`BusEvent::Stored`], for candles alone: all else has them, or never will.
    Since(Batch),
    /// Candles of the past.
    Filled(Fill),
    /// The feed is otherwise now.
    Feed(Feed),
    /// What comes from here on this replica makes by itself, and nobody else has it.
    Alone,
    /// What comes from here on is everybody's again. These ticks, in order, passed meanwhile: nobody is told of them, but
    /// what is made of all ticks takes them in place of those since [`BusEvent::Alone`].
    Back(Vec<Batch>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_have_names_and_divide_each_other() {
        for (index, interval) in Interval::ALL.into_iter().enumerate() {
            assert_eq!(interval.index(), index);
            assert_eq!(interval.as_str().parse(), Ok(interval));
            if let Some(longer) = Interval::ALL.get(index + 1) {
                assert_eq!(longer.ms() % interval.ms(), 0);
            }
        }
        for bad in ["", "1M", "60s", "1 m", "m", "2m", "1w"] {
            assert_eq!(bad.parse::<Interval>(), Err(IntervalError), "{bad:?}");
        }
        let day = Interval::D1;
        assert_eq!([day.start_of(0), day.start_of(86_399_999), day.start_of(86_400_000)], [0, 0, 86_400_000]);
    }

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
