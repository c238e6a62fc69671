use std::collections::HashMap;

use super::{Last, MAGIC, NUMBERS, Number, check, present, rescaled};
use crate::price::{Symbol, Update};

/// Turns updates into the bytes of a recording. The same updates always give the same bytes.
#[derive(Debug, Default)]
pub struct Encoder {
    symbols: HashMap<Symbol, usize>,
    last: Vec<Last>,
    ts_ms: u64,
    hasher: crc32fast::Hasher,
    body: Vec<u8>,
}

impl Encoder {
    /// What a file begins with, before the first update.
    pub const HEADER: [u8; 8] = MAGIC;

    /// An encoder for the beginning of a file.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends the record of one update.
    pub fn encode(&mut self, update: &Update, out: &mut Vec<u8>) {
        let Self { symbols, last, body, .. } = self;
        body.clear();
        let next = last.len();
        let index = symbols.get(&update.symbol).copied().unwrap_or(next);
        unsigned(index as u128, body);
        if index == next {
            symbols.insert(update.symbol.clone(), next);
            last.push(Last::default());
            let name = update.symbol.as_str().as_bytes();
            unsigned(name.len() as u128, body);
            body.extend_from_slice(name);
        }

        let numbers: [Option<Number>; NUMBERS] =
            [Some(update.price), update.bid, update.ask, update.size].map(|price| price.map(Number::from));
        let mut flags = 0;
        for (place, number) in numbers.iter().enumerate() {
            let Some(number) = number else { continue };
            if place > 0 {
                flags |= present(place);
            }
            if number.scale != last[index][place].scale {
                flags |= rescaled(place);
            }
        }
        body.push(flags);
        signed(i128::from(update.ts_ms) - i128::from(self.ts_ms), body);
        self.ts_ms = update.ts_ms;
        for (place, number) in numbers.into_iter().enumerate() {
            let Some(number) = number else { continue };
            let before = &mut last[index][place];
            if number.scale == before.scale {
                signed(number.mantissa - before.mantissa, body);
            } else {
                unsigned(u128::from(number.scale), body);
                signed(number.mantissa, body);
            }
            *before = number;
        }

        // A name of 32 bytes and four numbers of 15 each: never more than a byte can say.
        let length = body.len() as u8;
        self.hasher.update(&[length]);
        self.hasher.update(body);
        out.push(length);
        out.extend_from_slice(body);
        out.extend_from_slice(&check(&self.hasher));
    }
}

/// Seven bits a byte, the lowest first; the eighth says that more follow.
fn unsigned(mut value: u128, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// The sign in the lowest bit, so that small numbers of both signs are short.
fn signed(value: i128, out: &mut Vec<u8>) {
    unsigned(((value << 1) ^ (value >> 127)).cast_unsigned(), out);
}
