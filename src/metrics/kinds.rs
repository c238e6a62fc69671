use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// A count that only rises.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Counts one.
    pub fn inc(&self) {
        self.add(1);
    }

    /// Counts `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    /// The count so far.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A number that rises and falls.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// Adds `n`, which may be negative.
    pub fn add(&self, n: i64) {
        self.0.fetch_add(n, Relaxed);
    }

    /// Makes it `n`.
    pub fn set(&self, n: i64) {
        self.0.store(n, Relaxed);
    }

    /// The number now.
    pub fn get(&self) -> i64 {
        self.0.load(Relaxed)
    }
}

/// One number per label. The caller bounds the set of labels.
#[derive(Debug)]
pub struct Labelled<T>(Mutex<BTreeMap<String, Arc<T>>>);

/// One [`Gauge`] per label.
pub type LabelledGauge = Labelled<Gauge>;

/// One [`Counter`] per label.
pub type LabelledCounter = Labelled<Counter>;

impl<T: Default> Labelled<T> {
    /// The number of one label, to be kept by who changes it often.
    pub fn of(&self, label: &str) -> Arc<T> {
        self.lock().entry(label.to_owned()).or_default().clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<T>>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl LabelledGauge {
    /// Every label with its number.
    pub fn all(&self) -> BTreeMap<String, i64> {
        self.lock().iter().map(|(label, gauge)| (label.clone(), gauge.get())).collect()
    }
}

impl LabelledCounter {
    /// Every label with its count.
    pub fn all(&self) -> BTreeMap<String, u64> {
        self.lock().iter().map(|(label, counter)| (label.clone(), counter.get())).collect()
    }
}

// A derived one would ask it of what is counted.
impl<T> Default for Labelled<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

/// The upper bounds of the buckets of every [`Histogram`], in microseconds; above them is one more bucket.
pub(super) const BOUNDS_US: [u64; 16] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000,
];

const BUCKETS: usize = BOUNDS_US.len() + 1;

/// How often a time fell between which bounds.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    sum_us: AtomicU64,
}

/// Times that one task has seen and nobody else knows yet: many are told to a [`Histogram`] as one.
#[derive(Debug, Default)]
pub struct Tally {
    buckets: [u64; BUCKETS],
    sum_us: u64,
}

impl Tally {
    /// Notes a time that `weight` things took.
    pub fn add(&mut self, time: Duration, weight: u64) {
        let time_us = micros(time);
        self.buckets[bucket_of(time_us)] += weight;
        self.sum_us = self.sum_us.saturating_add(time_us.saturating_mul(weight));
    }
}

impl Histogram {
    /// Counts a time.
    pub fn observe(&self, time: Duration) {
        let time_us = micros(time);
        self.buckets[bucket_of(time_us)].fetch_add(1, Relaxed);
        self.sum_us.fetch_add(time_us, Relaxed);
    }

    /// Counts what is in a tally, and empties it.
    pub fn take(&self, tally: &mut Tally) {
        let Tally { buckets, sum_us } = std::mem::take(tally);
        for (bucket, count) in self.buckets.iter().zip(buckets).filter(|(_, count)| *count > 0) {
            bucket.fetch_add(count, Relaxed);
        }
        if sum_us > 0 {
            self.sum_us.fetch_add(sum_us, Relaxed);
        }
    }

    /// How many times fell into each bucket, which ends at a bound in microseconds; the last has none.
    pub fn counts(&self) -> impl Iterator<Item = (Option<u64>, u64)> {
        let bounds = BOUNDS_US.into_iter().map(Some).chain([None]);
        bounds.zip(self.get().0)
    }

    /// The count of each bucket, and the sum of all times in seconds.
    pub(super) fn get(&self) -> ([u64; BUCKETS], f64) {
        let counts = std::array::from_fn(|index| self.buckets[index].load(Relaxed));
        (counts, self.sum_us.load(Relaxed) as f64 / 1e6)
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn bucket_of(time_us: u64) -> usize {
    BOUNDS_US.partition_point(|bound| *bound < time_us)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_counted_up_to_the_bound_that_it_reaches() {
        let histogram = Histogram::default();
        for us in [0, 100, 101, 1_000, 10_000_000, 10_000_001] {
            histogram.observe(Duration::from_micros(us));
        }
        let mut tally = Tally::default();
        tally.add(Duration::from_millis(1), 1000);
        tally.add(Duration::from_millis(2), 1);
        histogram.take(&mut tally);
        histogram.take(&mut tally);
        let (counts, sum) = histogram.get();
        assert_eq!((counts[0], counts[1], counts[3], counts[4]), (2, 1, 1001, 1));
        assert_eq!((counts[15], counts[16], counts.iter().sum::<u64>()), (1, 1, 1007));
        assert!((sum - 21.003_202).abs() < 1e-9, "{sum}");
    }
}
