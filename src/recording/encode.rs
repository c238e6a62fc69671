use std::collections::HashMap;

use super::{Last, MAGIC, NUMBERS, Number, check, present, rescaled};
use crate::price::{Symbol, Update};
use crate::varint::{put_signed, put_unsigned};

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
        put_unsigned(index as u128, body);
        if index == next {
            symbols.insert(update.symbol.clone(), next);
            last.push(Last::default());
            let name = update.symbol.as_str().as_bytes();
            put_unsigned(name.len() as u128, body);
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
        put_signed(i128::from(update.ts_ms) - i128::from(self.ts_ms), body);
        self.ts_ms = update.ts_ms;
        for (place, number) in numbers.into_iter().enumerate() {
            let Some(number) = number else { continue };
            let before = &mut last[index][place];
            if number.scale == before.scale {
                put_signed(number.mantissa - before.mantissa, body);
            } else {
                put_unsigned(u128::from(number.scale), body);
                put_signed(number.mantissa, body);
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
