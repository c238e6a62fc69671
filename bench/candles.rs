//! What candles cost: a tick, a question for the last 24 hours, and memory. `cargo bench --bench candles` prints a row for
//! each.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program for people at a terminal")]

use std::hint::black_box;
use std::time::Instant;

use tickcast::market::{Candles, Kept};
use tickcast::price::{Candle, Epoch, Price, Tick, Update};

/// Symbols whose ticks come one after the other: their candles have left the nearest caches in between.
const SYMBOLS: usize = 1000;
const ROUNDS: u64 = 2000;

/// Prices that go up and down.
fn tick(seq: u64, ts_ms: u64, size: Option<Price>) -> Tick {
    let walk = (seq.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as i64 % 1000;
    let update = Update {
        symbol: "BTC".parse().unwrap(),
        price: Price::new(6_400_000 + walk, 2),
        ts_ms,
        bid: None,
        ask: None,
        size,
    };
    Tick { seq, update }
}

/// How long a tick takes, in ns, where each symbol has one every so many ms.
fn fold(every_ms: u64, size: Option<Price>) -> f64 {
    let epoch = Epoch::new("bench");
    let mut all: Vec<Candles> = (0..SYMBOLS).map(|_| Candles::new(&Kept::default())).collect();
    let ticks: Vec<Tick> =
        (0..ROUNDS).map(|round| tick(round + 1, 1_700_000_000_000 + round * every_ms, size)).collect();
    let began = Instant::now();
    for tick in &ticks {
        for candles in &mut all {
            black_box(candles.fold(&epoch, tick));
        }
    }
    began.elapsed().as_nanos() as f64 / (SYMBOLS as u64 * ROUNDS) as f64
}

/// A symbol that has ticked once a second for so long.
fn grown(seconds: u64) -> (Candles, u64) {
    let epoch = Epoch::new("bench");
    let mut candles = Candles::new(&Kept::default());
    let begin_ms = 1_700_000_000_000;
    for second in 0..seconds {
        candles.fold(&epoch, &tick(second + 1, begin_ms + second * 1000, Some(Price::ONE)));
    }
    (candles, begin_ms + seconds * 1000)
}

fn main() {
    // `cargo test` builds and runs it, too.
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    for (every_ms, size) in
        [(50, None), (50, Some(Price::new(1234, 3))), (1000, None), (1000, Some(Price::new(1234, 3)))]
    {
        let sized = if size.is_some() { "with" } else { "without" };
        println!("a tick each {every_ms:>4} ms, {sized:>7} a size: {:>6.1} ns", fold(every_ms, size));
    }
    let day = grown(86_400);
    let began = Instant::now();
    const ASKED: u32 = 100_000;
    for _ in 0..ASKED {
        black_box(day.0.day(black_box(day.1)));
    }
    println!("the last 24 hours:                 {:>6.1} ns", began.elapsed().as_nanos() as f64 / f64::from(ASKED));
    println!("a candle: {} bytes, a symbol without any: {} bytes", size_of::<Candle>(), size_of::<Candles>());
    for (name, (candles, _)) in [("a day", day), ("a year", grown(366 * 86_400))] {
        let held = candles.held();
        println!("after {name} of a tick a second: {held} candles, {} bytes", held * size_of::<Candle>());
        assert!(held <= Kept::default().0.iter().sum::<usize>());
    }
}
