//! Which client subscribes to which symbols, and which clients read slowly or not at all. The same options make the
//! same choice.

use std::collections::HashSet;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::{SliceRandom, index};
use serde::Serialize;

use crate::args::{ClientOptions, FeedOptions};

/// Distinct sets of symbols.
#[derive(Debug, PartialEq, Eq)]
pub struct Sets {
    /// Indices into the list of symbols, sorted.
    pub sets: Vec<Vec<u32>>,
    /// How many sets were asked for and cannot be had.
    pub missing: u64,
}

/// As many distinct sets as are asked for, or as there are.
pub fn draw(feed: &FeedOptions) -> Sets {
    let symbols = feed.symbols.0.len();
    let size = feed.symbols_per_client.and_then(|size| usize::try_from(size).ok()).unwrap_or(symbols);
    let possible = choices(symbols as u64, size as u64, feed.sets.saturating_mul(2));
    let wanted = feed.sets.min(possible);
    let mut rng = StdRng::seed_from_u64(feed.seed);
    let sets = if possible < feed.sets.saturating_mul(2) {
        // So few that drawing would mostly meet what it has: all of them, shuffled.
        let mut all = every(symbols, size);
        all.shuffle(&mut rng);
        all.truncate(usize::try_from(wanted).unwrap_or(usize::MAX));
        all
    } else {
        let (mut known, mut sets) = (HashSet::new(), Vec::new());
        while (sets.len() as u64) < wanted {
            let mut set: Vec<u32> =
                index::sample(&mut rng, symbols, size).iter().filter_map(|at| u32::try_from(at).ok()).collect();
            set.sort_unstable();
            if known.insert(set.clone()) {
                sets.push(set);
            }
        }
        sets
    };
    Sets { sets, missing: feed.sets - wanted }
}

/// How many sets of `size` out of `symbols` there are; `most` if there are more.
fn choices(symbols: u64, size: u64, most: u64) -> u64 {
    let size = size.min(symbols - size);
    let mut choices: u128 = 1;
    for taken in 0..size {
        // Exact at each step: a product of so many neighbours is divisible.
        choices = choices * u128::from(symbols - taken) / u128::from(taken + 1);
        if choices >= u128::from(most) {
            return most;
        }
    }
    u64::try_from(choices).unwrap_or(most)
}

/// Every set of `size` out of `symbols`.
fn every(symbols: usize, size: usize) -> Vec<Vec<u32>> {
    let (mut all, mut set) = (Vec::new(), (0..size).collect::<Vec<usize>>());
    loop {
        all.push(set.iter().filter_map(|&at| u32::try_from(at).ok()).collect());
        // The last place that can still move up; all after it start over behind it.
        let Some(place) = (0..size).rev().find(|&place| set[place] < symbols - size + place) else {
            return all;
        };
        set[place] += 1;
        for later in place + 1..size {
            set[later] = set[later - 1] + 1;
        }
    }
}

/// How a client reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// As fast as it can.
    Healthy,
    /// A few bytes a second.
    Slow,
    /// Not at all, once it has subscribed.
    Stalled,
}

/// Every class.
pub const CLASSES: [Class; 3] = [Class::Healthy, Class::Slow, Class::Stalled];

/// Deals classes and sets to clients as they come: both in turn, so that every stretch of clients has its share.
#[derive(Debug)]
pub struct Dealer {
    shares: [f64; 3],
    dealt: [u64; 3],
    sets: usize,
}

impl Dealer {
    /// For so many sets.
    pub fn new(options: &ClientOptions, sets: usize) -> Self {
        let (slow, stalled) = (options.slow_share, options.stalled_share);
        Self { shares: [1.0 - slow - stalled, slow, stalled], dealt: [0; 3], sets }
    }

    /// The next client's class, and the index of its set. Sets go round within each class, or a class might have only
    /// some of them.
    pub fn deal(&mut self) -> (Class, usize) {
        let owed = |class: Class| {
            let next = self.dealt.iter().sum::<u64>() as f64 + 1.0;
            self.shares[class as usize] * next - self.dealt[class as usize] as f64
        };
        let class = CLASSES.into_iter().max_by(|a, b| owed(*a).total_cmp(&owed(*b))).unwrap_or(Class::Healthy);
        let number = self.dealt[class as usize];
        self.dealt[class as usize] += 1;
        (class, usize::try_from(number % self.sets.max(1) as u64).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use proptest::prelude::*;

    use super::*;
    use crate::args::Options;

    fn options(arguments: &[&str]) -> Options {
        Options::try_parse_from([&["x"], arguments].concat()).unwrap()
    }

    #[test]
    fn without_a_word_everybody_gets_everything() {
        assert_eq!(draw(&options(&[]).feed), Sets { sets: vec![vec![0, 1, 2, 3, 4]], missing: 0 });
    }

    proptest! {
        #[test]
        fn sets_are_distinct_and_as_many_as_there_are(symbols in 1..12_u64, size in 1..12_u64, sets in 1..300_u64, seed: u64) {
            let size = size.min(symbols);
            let text = [symbols, size, sets, seed].map(|number| number.to_string());
            let arguments =
                ["--symbols", &text[0], "--symbols-per-client", &text[1], "--sets", &text[2], "--seed", &text[3]];
            let drawn = draw(&options(&arguments).feed);
            let possible = (0..size).fold(1, |product, at| product * (symbols - at) / (at + 1));
            prop_assert_eq!(drawn.sets.len() as u64, sets.min(possible));
            prop_assert_eq!(drawn.missing, sets.saturating_sub(possible));
            prop_assert_eq!(drawn.sets.iter().collect::<HashSet<_>>().len(), drawn.sets.len());
            for set in &drawn.sets {
                prop_assert_eq!(set.len() as u64, size);
                prop_assert!(set.is_sorted() && set.iter().all(|&at| u64::from(at) < symbols));
            }
            prop_assert_eq!(draw(&options(&arguments).feed), drawn, "again");
        }

        #[test]
        fn classes_have_their_shares(slow in 0..=10_u32, stalled in 0..=10_u32, clients in 1..400_u64) {
            let (slow, stalled) = (f64::from(slow) / 20.0, f64::from(stalled) / 20.0);
            let text = [slow, stalled].map(|share| share.to_string());
            let options = options(&["--slow-share", &text[0], "--stalled-share", &text[1]]);
            let mut dealer = Dealer::new(&options.clients, 1);
            for _ in 0..clients {
                dealer.deal();
            }
            for (share, dealt) in dealer.shares.iter().zip(dealer.dealt) {
                prop_assert!((share * clients as f64 - dealt as f64).abs() <= 1.0 + 1e-9, "{share} of {clients}: {dealt}");
            }
        }
    }

    #[test]
    fn each_class_gets_every_set() {
        let options = options(&["--stalled-share", "0.5"]);
        let mut dealer = Dealer::new(&options.clients, 2);
        let dealt: Vec<_> = (0..40).map(|_| dealer.deal()).collect();
        for class in [Class::Healthy, Class::Stalled] {
            for set in [0, 1] {
                assert_eq!(dealt.iter().filter(|&&one| one == (class, set)).count(), 10);
            }
        }
    }
}
