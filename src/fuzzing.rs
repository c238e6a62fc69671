//! What tries the parsers of clients' bytes: each is given the files of its corpus (`tests/fuzz/<target>/`), and
//! mutations of them, for some time. Not guided by coverage: that needs a nightly compiler, and this runs wherever
//! `cargo test` does.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

/// How long each target is tried where `FUZZ_SECONDS` says nothing else.
const BRIEFLY: Duration = Duration::from_millis(300);

/// The longest input, in bytes.
const MAX_BYTES: usize = 4096;

/// An input has to be taken within this, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the parsers look for.
const WORDS: &[&str] = &[
    "\"",
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    "null",
    "true",
    "-1",
    "1e999",
    "18446744073709551616",
    "\\u0000",
    "\\ud800",
    "*",
    "BTC",
    "symbols",
    "mode",
    "both",
    "maxRate",
    "since",
    "epoch",
    "room",
    "text",
    "chat",
    "token",
    "&",
    "=",
    "sid=",
    "EIO=3",
    "transport=",
    "%",
    "%00",
    "451-",
    "42",
    "40",
    "\r\n",
    "\n\n",
    "\u{81}",
    "127.0.0.1",
    "::1",
    "10.0.0.1",
    ", ",
    "sub",
    "exp",
    "nbf",
    "rooms",
    "roles",
    ".",
    "\u{1f4c8}",
    "price",
    "ts",
    "userId",
    "message",
    "e-7",
    "79228162514264337593543950335",
    "localhost",
    "http://",
];

fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz").join(target)
}

/// Tries a target, which panics where something is wrong. What made it panic is added to the corpus.
pub fn fuzz(target: &str, check: impl Fn(&[u8])) {
    let mut files: Vec<PathBuf> = fs::read_dir(corpus(target)).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    let seeds: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).unwrap()).collect();
    assert!(!seeds.is_empty(), "there is no corpus of {target}");
    for (file, seed) in files.iter().zip(&seeds) {
        assert!(survives(seed, &check), "{} is not taken", file.display());
    }
    let seconds = std::env::var("FUZZ_SECONDS").ok().map(|text| text.parse().unwrap());
    let duration = seconds.map_or(BRIEFLY, Duration::from_secs);
    let seed = std::env::var("FUZZ_SEED").ok().map_or_else(rand::random, |text| text.parse().unwrap());
    let mut random = StdRng::seed_from_u64(seed);
    let (start, mut tried) = (Instant::now(), 0_u64);
    while start.elapsed() < duration {
        let input = mutated(&seeds, &mut random);
        tried += 1;
        if !survives(&input, &check) {
            let name = corpus(target).join(format!("found-{seed:x}-{tried}"));
            fs::write(&name, &input).unwrap();
            panic!("{target} fails: the input is in {}", name.display());
        }
    }
    // To standard error, past the capture of tests only with --nocapture: `make fuzz` shows it.
    eprintln!(
        "{target}: {tried} inputs in {:.1} s, from {} seeds (FUZZ_SEED={seed})",
        duration.as_secs_f64(),
        seeds.len()
    );
}

fn survives(input: &[u8], check: &impl Fn(&[u8])) -> bool {
    let start = Instant::now();
    let survived = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(input))).is_ok();
    survived && start.elapsed() < PATIENCE
}

fn mutated(seeds: &[Vec<u8>], random: &mut StdRng) -> Vec<u8> {
    let mut input = seeds.choose(random).cloned().unwrap_or_default();
    for _ in 0..random.random_range(1..8) {
        let at = random.random_range(0..=input.len());
        let end = random.random_range(at..=input.len().min(at + 32));
        match random.random_range(0..7) {
            0 if at < input.len() => input[at] ^= 1 << random.random_range(0..8),
            1 if at < input.len() => input[at] = random.random(),
            2 => drop(input.drain(at..end)),
            3 => {
                let part = input[at..end].to_vec();
                input.splice(at..at, part.repeat(random.random_range(1..20)));
            }
            4 => drop(input.splice(at..end, WORDS.choose(random).unwrap().bytes())),
            5 => {
                let other = seeds.choose(random).unwrap();
                let from = random.random_range(0..=other.len());
                input.splice(at..end, other[from..].iter().copied());
            }
            _ => input.insert(at, random.random()),
        }
        input.truncate(MAX_BYTES);
    }
    input
}
