//! Files of ticks: what `tickcast record` writes, and a replay reads. docs/recording.md is the format.

mod decode;
mod encode;

use crate::price::Price;
pub use decode::{Decoder, Ended, NotARecording};
pub use encode::Encoder;

/// What a file begins with: the name, and the version of the format.
const MAGIC: [u8; 8] = *b"TICKCAS\x01";

/// The parts of an update that are numbers, in their order. The price is always there.
const NUMBERS: usize = 4;

/// A number without its point: what the next one of its kind is told from.
#[derive(Clone, Copy, Debug, Default)]
struct Number {
    mantissa: i128,
    scale: u32,
}

impl From<Price> for Number {
    fn from(price: Price) -> Self {
        Self { mantissa: price.mantissa(), scale: price.scale() }
    }
}

/// The last numbers of one symbol: price, bid, ask, size.
type Last = [Number; NUMBERS];

/// A bit of the flags that says that a number is there; the price has none.
fn present(index: usize) -> u8 {
    1 << (index - 1)
}

/// A bit of the flags that says that a number has another scale than the one before.
fn rescaled(index: usize) -> u8 {
    1 << (NUMBERS - 1 + index)
}

/// The check of a record: the last two bytes of the CRC-32 of everything from the first record to this one.
fn check(hasher: &crc32fast::Hasher) -> [u8; 2] {
    let [first, second, ..] = hasher.clone().finalize().to_le_bytes();
    [first, second]
}

#[cfg(test)]
mod tests;
