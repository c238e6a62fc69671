//! What the peers in Rust publish: updates that start as those of tickcast's simulator do and have as many digits, so
//! that an update has as many bytes.

use std::time::{SystemTime, UNIX_EPOCH};

/// Where a walk starts, and its digits after the point.
const KNOWN: &[(&str, f64, i32)] = &[
    ("BTC", 64_000.0, 2),
    ("ETH", 3_100.0, 2),
    ("SOL", 150.0, 3),
    ("ADA", 0.45, 5),
    ("XRP", 0.52, 5),
    ("BNB", 580.0, 2),
    ("DOGE", 0.15, 6),
    ("DOT", 6.5, 4),
    ("AVAX", 30.0, 3),
    ("LINK", 14.0, 4),
    ("LTC", 80.0, 3),
    ("TRX", 0.12, 6),
];

/// The longest step, up or down, as a fraction of where the walk started.
const STEP: f64 = 0.0005;

/// All symbols' walks, and the number that their updates have in common.
pub struct Prices {
    walks: Vec<Walk>,
    seq: u64,
    random: u64,
}

struct Walk {
    start: f64,
    price: f64,
    /// What the price is rounded to: 100 for two digits after the point.
    units: f64,
}

/// The clock in ms since the Unix epoch, as a tick's `ts`.
pub fn now_ms() -> u64 {
    since_epoch().as_millis() as u64
}

fn since_epoch() -> std::time::Duration {
    // Before 1970 there are no prices.
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

impl Prices {
    /// Walks of these symbols. Numbers begin at the clock in microseconds, and have as many digits as tickcast's.
    pub fn new(symbols: &[String]) -> Self {
        let seq = since_epoch().as_micros() as u64;
        Self { walks: symbols.iter().map(|symbol| Walk::new(symbol)).collect(), seq, random: seq | 1 }
    }

    /// The next price of each symbol, in their order, and their number.
    pub fn step(&mut self) -> (Vec<f64>, u64) {
        self.seq += 1;
        let random = &mut self.random;
        let prices = self.walks.iter_mut().map(|walk| walk.step(random)).collect();
        (prices, self.seq)
    }
}

impl Walk {
    fn new(symbol: &str) -> Self {
        let known = KNOWN.iter().find(|(name, ..)| *name == symbol);
        let (start, decimals) = known.map_or_else(|| other(symbol), |&(_, start, decimals)| (start, decimals));
        Self { start, price: start, units: 10f64.powi(decimals) }
    }

    fn step(&mut self, random: &mut u64) -> f64 {
        // Xorshift: the cheapest that is good enough.
        *random ^= *random << 13;
        *random ^= *random >> 7;
        *random ^= *random << 17;
        let shock = (*random >> 11) as f64 / (1u64 << 53) as f64 - 0.5;
        let next = self.price + 2.0 * STEP * shock * self.start;
        // Near the start: as many digits before the point, whatever the length of a run.
        self.price = next.clamp(self.start * 0.9, self.start * 1.1);
        (self.price * self.units).round() / self.units
    }
}

/// Where a symbol starts that nobody knows: from 1 to 1000, by its name (FNV-1a), as tickcast has it.
fn other(symbol: &str) -> (f64, i32) {
    let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let fingerprint = symbol.bytes().fold(0xcbf2_9ce4_8422_2325, mix);
    let start = 10f64.powf((fingerprint % 3000) as f64 / 1000.0);
    (start, if start < 10.0 { 4 } else { 2 })
}
