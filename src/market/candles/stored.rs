//! Candles in bytes: the records of docs/journal.md, which are in files and in Redis.

use std::collections::BTreeMap;

use super::Saved;
use crate::price::{Candle, Epoch, Interval, Price};
use crate::varint::{put_signed, put_unsigned, take_signed, take_unsigned};

/// What a record begins with: the version of its form.
const VERSION: u8 = 1;

/// The numbers of a candle, in their order.
const NUMBERS: usize = 5;

/// Flags of the running day, behind those of its numbers: a tick of it said a size, and one of the day before it. Who does
/// not know them passes over them.
const SIZED: [u8; 2] = [1 << NUMBERS, 1 << (NUMBERS + 1)];

/// A number without its point.
type Number = (i128, u32);

impl Saved {
    /// The record of it. The same always gives the same bytes.
    pub fn encode(&self) -> Vec<u8> {
        let Self { epoch, seq, last_ms, sized, running, closed } = self;
        let mut closed: Vec<&(Interval, Candle)> = closed.iter().collect();
        closed.sort_by_key(|(interval, candle)| (*interval, candle.ts_ms));
        let mut out = Vec::with_capacity(64 + 24 * (closed.len() + running.len()));
        out.push(VERSION);
        put_unsigned(epoch.as_str().len() as u128, &mut out);
        out.extend_from_slice(epoch.as_str().as_bytes());
        put_unsigned(u128::from(*seq), &mut out);
        put_unsigned(u128::from(*last_ms), &mut out);
        let mut from = 0;
        for (interval, running) in Interval::ALL.into_iter().zip(running) {
            let to = from + closed[from..].iter().take_while(|(of, _)| *of == interval).count();
            put_unsigned((to - from) as u128, &mut out);
            let mut before = Before::default();
            for (_, candle) in &closed[from..to] {
                before.encode(interval, candle, 0, &mut out);
            }
            let of_the_day = sized.iter().zip(SIZED).map(|(is, flag)| if *is { flag } else { 0 }).sum();
            before.encode(interval, running, if interval == Interval::D1 { of_the_day } else { 0 }, &mut out);
            from = to;
        }
        out
    }

    /// What is in a record; none where it is none, or one of another version.
    pub fn decode(mut record: &[u8]) -> Option<Self> {
        let body = &mut record;
        if *take_byte(body)? != VERSION {
            return None;
        }
        let length = usize::try_from(take_unsigned(body)?).ok()?;
        let (epoch, rest) = body.split_at_checked(length)?;
        *body = rest;
        let epoch = std::str::from_utf8(epoch).ok().filter(|name| is_epoch(name))?;
        let seq = u64::try_from(take_unsigned(body)?).ok()?;
        let last_ms = u64::try_from(take_unsigned(body)?).ok()?;
        let (mut closed, mut running) = (Vec::new(), Vec::with_capacity(Interval::COUNT));
        let mut of_the_day = 0;
        for interval in Interval::ALL {
            let count = take_unsigned(body)?;
            let mut before = Before::default();
            for _ in 0..count {
                closed.push((interval, before.decode(interval, body)?.0));
            }
            let (candle, flags) = before.decode(interval, body)?;
            running.push(candle);
            of_the_day = flags;
        }
        let running = running.try_into().ok()?;
        let sized = SIZED.map(|flag| of_the_day & flag != 0);
        body.is_empty().then(|| Self { epoch: Epoch::new(epoch), seq, last_ms, sized, running, closed })
    }

    /// What several records say together, in the order in which they were made: what stands in a later one wins. Those that
    /// cannot be read are passed over, and counted.
    pub fn assemble<R: AsRef<[u8]>>(records: impl IntoIterator<Item = R>) -> (Option<Self>, u64) {
        let (mut newest, mut unreadable) = (None, 0);
        let mut closed: BTreeMap<(Interval, u64), Candle> = BTreeMap::new();
        for record in records {
            let Some(mut saved) = Self::decode(record.as_ref()) else {
                unreadable += 1;
                continue;
            };
            closed.extend(saved.closed.drain(..).map(|(interval, candle)| ((interval, candle.ts_ms), candle)));
            newest = Some(saved);
        }
        let closed = closed.into_iter().map(|((interval, _), candle)| (interval, candle)).collect();
        (newest.map(|newest| Self { closed, ..newest }), unreadable)
    }
}

/// What a candle is told from: the one before it, of the same interval.
#[derive(Debug, Default)]
struct Before {
    ts_ms: u64,
    close: Number,
    volume: Number,
}

impl Before {
    fn encode(&mut self, interval: Interval, candle: &Candle, more_flags: u8, out: &mut Vec<u8>) {
        let Candle { ts_ms, open, high, low, close, volume, n } = *candle;
        put_signed((i128::from(ts_ms) - i128::from(self.ts_ms)) / i128::from(interval.ms()), out);
        put_unsigned(u128::from(n), out);
        let numbers: [Number; NUMBERS] = [open, high, low, close, volume].map(number);
        let flags = out.len();
        out.push(more_flags);
        for (place, (mantissa, scale)) in numbers.into_iter().enumerate() {
            let from = self.from(place, &numbers[..place]);
            if scale == from.1 {
                put_signed(mantissa.wrapping_sub(from.0), out);
            } else {
                out[flags] |= 1 << place;
                put_unsigned(u128::from(scale), out);
                put_signed(mantissa, out);
            }
        }
        *self = Self { ts_ms, close: numbers[3], volume: numbers[4] };
    }

    /// The candle, and all of its flags.
    fn decode(&mut self, interval: Interval, body: &mut &[u8]) -> Option<(Candle, u8)> {
        let steps = take_signed(body)?.checked_mul(i128::from(interval.ms()))?;
        let ts_ms = u64::try_from(i128::from(self.ts_ms).checked_add(steps)?).ok()?;
        let n = u64::try_from(take_unsigned(body)?).ok()?;
        let flags = *take_byte(body)?;
        let mut numbers = [(0, 0); NUMBERS];
        for place in 0..NUMBERS {
            let from = self.from(place, &numbers[..place]);
            numbers[place] = if flags & (1 << place) == 0 {
                (from.0.wrapping_add(take_signed(body)?), from.1)
            } else {
                let scale = u32::try_from(take_unsigned(body)?).ok()?;
                (take_signed(body)?, scale)
            };
        }
        let price = |(mantissa, scale): Number| Price::try_from_i128_with_scale(mantissa, scale).ok();
        let [open, high, low, close, volume] = numbers.map(price);
        *self = Self { ts_ms, close: numbers[3], volume: numbers[4] };
        let candle = Candle { ts_ms, open: open?, high: high?, low: low?, close: close?, volume: volume?, n };
        Some((candle, flags))
    }

    /// What the number at this place is told from.
    fn from(&self, place: usize, earlier: &[Number]) -> Number {
        match place {
            0 => self.close,
            4 => self.volume,
            _ => earlier[0],
        }
    }
}

fn number(price: Price) -> Number {
    (price.mantissa(), price.scale())
}

fn take_byte<'a>(body: &mut &'a [u8]) -> Option<&'a u8> {
    let (byte, rest) = body.split_first()?;
    *body = rest;
    Some(byte)
}

fn is_epoch(name: &str) -> bool {
    name.len() <= 64 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn price() -> impl Strategy<Value = Price> {
        // A mantissa of 96 bits, and any scale.
        let most = (1i128 << 96) - 1;
        let mantissa = prop_oneof![-1_000_000i128..1_000_000, -most..=most];
        (mantissa, 0u32..=28).prop_map(|(mantissa, scale)| Price::from_i128_with_scale(mantissa, scale))
    }

    fn candle(interval: Interval) -> impl Strategy<Value = Candle> {
        let numbers = (price(), price(), price(), price(), price());
        (0u64..2_000_000, numbers, any::<u64>()).prop_map(move |(step, (open, high, low, close, volume), n)| Candle {
            ts_ms: step * interval.ms(),
            open,
            high,
            low,
            close,
            volume,
            n,
        })
    }

    fn saved() -> impl Strategy<Value = Saved> {
        let interval = prop::sample::select(&Interval::ALL[..]);
        let one = interval.prop_flat_map(|interval| candle(interval).prop_map(move |candle| (interval, candle)));
        let running: [_; Interval::COUNT] = Interval::ALL.map(candle);
        (any::<u64>(), any::<u64>(), any::<[bool; 2]>(), running, prop::collection::vec(one, 0..30)).prop_map(
            |(seq, last_ms, sized, running, mut closed)| {
                closed.sort_by_key(|(interval, candle)| (*interval, candle.ts_ms));
                Saved { epoch: Epoch::new("a-1"), seq, last_ms, sized, running, closed }
            },
        )
    }

    /// Digit by digit: 1.0 and 1.00 are equal, and not the same.
    fn shown(saved: &Saved) -> String {
        format!("{saved:?}")
    }

    proptest! {
        #[test]
        fn a_record_is_read_as_it_was_written(saved in saved()) {
            let record = saved.encode();
            let read = Saved::decode(&record).unwrap();
            prop_assert_eq!(shown(&read), shown(&saved));
            for end in 0..record.len() {
                prop_assert!(Saved::decode(&record[..end]).is_none(), "cut off after {}", end);
            }
            prop_assert!(Saved::decode(&[&record[..], &[0]].concat()).is_none());
        }

        #[test]
        fn what_is_no_record_is_none(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            // It must not panic, and not take memory for what is not there.
            let _ = Saved::decode(&[&[VERSION][..], &bytes].concat());
        }
    }

    #[test]
    fn what_stands_in_a_later_record_wins() {
        let candle = |ts_ms, price: u32| Candle::quiet(ts_ms, Price::from(price));
        let saved = |seq, closed: &[(u64, u32)]| Saved {
            epoch: Epoch::new("a"),
            seq,
            last_ms: seq,
            sized: [false; 2],
            running: Interval::ALL.map(|_| candle(0, seq as u32)),
            closed: closed.iter().map(|(ts_ms, price)| (Interval::S1, candle(*ts_ms, *price))).collect(),
        };
        let records = [saved(1, &[(0, 1), (1000, 1)]).encode(), vec![9, 9], saved(2, &[(1000, 2), (2000, 2)]).encode()];
        let (together, unreadable) = Saved::assemble(&records);
        assert_eq!((together, unreadable), (Some(saved(2, &[(0, 1), (1000, 2), (2000, 2)])), 1));
        assert_eq!(Saved::assemble::<&[u8]>([]), (None, 0));
    }

    #[test]
    fn a_usual_candle_takes_some_twenty_bytes() {
        let price = |cents: i64| Price::new(cents, 2);
        let closed = (0..1000).map(|n: i64| {
            let open = 6_400_000 + (n * 7919) % 5000;
            let candle = Candle {
                ts_ms: n as u64 * 60_000,
                open: price(open),
                high: price(open + 1234),
                low: price(open - 987),
                close: price(open + 321),
                volume: Price::new(123_456_789 + n * 1_000_003, 8),
                n: 600,
            };
            (Interval::M1, candle)
        });
        let closed: Vec<_> = closed.collect();
        let running = Interval::ALL.map(|_| closed[0].1);
        let saved =
            Saved { epoch: Epoch::new("0123456789abcdef"), seq: 1, last_ms: 1, sized: [true; 2], running, closed };
        let bytes = saved.encode().len();
        assert!((15_000..25_000).contains(&bytes), "{bytes}");
    }
}
