//! What is counted and timed, in slices that are added up to phases.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::{Serialize, Serializer};

use crate::check::Findings;

/// Three digits of every value.
const DIGITS: u8 = 3;

/// Times, in microseconds.
#[derive(Clone, Debug)]
pub struct Times {
    histogram: Histogram<u64>,
    /// For an exact average.
    sum_us: u64,
}

impl Default for Times {
    fn default() -> Self {
        #[expect(clippy::expect_used, reason = "three digits are allowed")]
        let histogram = Histogram::new(DIGITS).expect("a histogram of three digits");
        Self { histogram, sum_us: 0 }
    }
}

impl Times {
    /// Adds one.
    pub fn record(&mut self, us: u64) {
        // It resizes itself to what it meets; nothing else can fail.
        let _ = self.histogram.record(us);
        self.sum_us = self.sum_us.saturating_add(us);
    }

    /// Adds all of another.
    pub fn add(&mut self, other: &Self) {
        let _ = self.histogram.add(&other.histogram);
        self.sum_us = self.sum_us.saturating_add(other.sum_us);
    }

    fn clear(&mut self) {
        self.histogram.reset();
        self.sum_us = 0;
    }

    /// How many.
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// The value that so many percent do not exceed, in ms; none without values.
    pub fn percentile_ms(&self, percent: f64) -> Option<f64> {
        (self.count() > 0).then(|| ms(self.histogram.value_at_percentile(percent).min(self.histogram.max())))
    }

    /// The exact average, in ms.
    pub fn average_ms(&self) -> Option<f64> {
        (self.count() > 0).then(|| rounded(self.sum_us as f64 / self.count() as f64 / 1000.0))
    }

    /// The largest, in ms.
    pub fn max_ms(&self) -> Option<f64> {
        (self.count() > 0).then(|| ms(self.histogram.max()))
    }

    /// From and to in ms, and how many, for each bucket of a logarithmic scale that has any.
    pub fn buckets(&self) -> Vec<(f64, f64, u64)> {
        let mut from = 0;
        self.histogram
            .iter_log(50, 1.3)
            .map(|step| {
                let bucket = (ms(from), ms(step.value_iterated_to()), step.count_since_last_iteration());
                from = step.value_iterated_to();
                bucket
            })
            .collect()
    }
}

impl Serialize for Times {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        /// In ms, but for the count.
        #[derive(Serialize)]
        struct Summary {
            count: u64,
            avg: Option<f64>,
            p50: Option<f64>,
            p95: Option<f64>,
            p99: Option<f64>,
            p999: Option<f64>,
            max: Option<f64>,
        }
        Summary {
            count: self.count(),
            avg: self.average_ms(),
            p50: self.percentile_ms(50.0),
            p95: self.percentile_ms(95.0),
            p99: self.percentile_ms(99.0),
            p999: self.percentile_ms(99.9),
            max: self.max_ms(),
        }
        .serialize(serializer)
    }
}

fn ms(us: u64) -> f64 {
    us as f64 / 1000.0
}

/// To three digits after the point.
pub fn rounded(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}

/// What the clients of one class got.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Received {
    /// Updates; a tick that stands for several is one.
    pub updates: u64,
    /// Events that they came in.
    pub events: u64,
    /// How old updates were when they were read, by the wall's clock and their `ts`.
    pub latency_ms: Times,
    /// Updates whose `ts` lay in the future: the clocks do not agree. Their latency counts as 0.
    pub ts_ahead: u64,
    /// Updates without a `ts` that can be read.
    pub ts_missing: u64,
    /// Updates of symbols that were not subscribed to.
    pub unasked: u64,
    /// Whether they hang together.
    pub continuity: Findings,
    /// For each client, the longest time in which a symbol of its had no tick.
    pub silence_ms: Times,
    /// Clients that got no tick at all for too long.
    pub silent: u64,
    /// Connections that the server ended.
    pub disconnected: u64,
}

impl Received {
    fn add(&mut self, later: &Self) {
        self.updates += later.updates;
        self.events += later.events;
        self.latency_ms.add(&later.latency_ms);
        self.ts_ahead += later.ts_ahead;
        self.ts_missing += later.ts_missing;
        self.unasked += later.unasked;
        self.continuity.add(&later.continuity);
        self.silence_ms.add(&later.silence_ms);
        self.silent += later.silent;
        self.disconnected += later.disconnected;
    }

    fn clear(&mut self) {
        let (mut latency_ms, mut silence_ms) =
            (std::mem::take(&mut self.latency_ms), std::mem::take(&mut self.silence_ms));
        latency_ms.clear();
        silence_ms.clear();
        *self = Self { latency_ms, silence_ms, ..Self::default() };
    }
}

/// Connects: what was tried, and what came of it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Connects {
    /// Begun.
    pub attempts: u64,
    /// Let in to the namespace.
    pub connected: u64,
    /// Not let in, or not in time.
    pub failed: u64,
    /// From when the plan wanted the client until it was let in.
    pub connect_ms: Times,
}

/// Everything that is measured in some span of time.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// By class: healthy, slow, stalled.
    pub classes: [Received; 3],
    /// Connects of every class.
    pub connects: Connects,
    /// Bytes that were read.
    pub bytes: u64,
    /// How often something was read.
    pub reads: u64,
    /// How long a round of the loop took, while which nothing new is read.
    pub rounds: Times,
}

impl Figures {
    /// Adds what was measured later.
    pub fn add(&mut self, later: &Self) {
        for (class, later) in self.classes.iter_mut().zip(&later.classes) {
            class.add(later);
        }
        self.connects.attempts += later.connects.attempts;
        self.connects.connected += later.connects.connected;
        self.connects.failed += later.connects.failed;
        self.connects.connect_ms.add(&later.connects.connect_ms);
        self.bytes += later.bytes;
        self.reads += later.reads;
        self.rounds.add(&later.rounds);
    }

    /// Forgets everything, and keeps the memory.
    pub fn clear(&mut self) {
        self.classes.iter_mut().for_each(Received::clear);
        let mut connect_ms = std::mem::take(&mut self.connects.connect_ms);
        connect_ms.clear();
        self.connects = Connects { connect_ms, ..Connects::default() };
        self.bytes = 0;
        self.reads = 0;
        self.rounds.clear();
    }

    /// Updates of all classes.
    pub fn updates(&self) -> u64 {
        self.classes.iter().map(|class| class.updates).sum()
    }
}

/// What can go wrong with a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// It was not let in, or not in time.
    ConnectFailed,
    /// The server ended its connection.
    Disconnected,
    /// Its subscription was refused, or a symbol of it.
    Refused,
    /// It got an `error` event.
    ErrorEvent,
    /// It got something that cannot be read.
    Unreadable,
    /// It got no tick for too long.
    Silent,
    /// It got symbols that it had not asked for.
    Unasked,
    /// It lost an update.
    Lost,
    /// An update came twice or out of order, or had two prices.
    Contradiction,
}

/// Every fault.
pub const FAULTS: [Fault; 9] = [
    Fault::ConnectFailed,
    Fault::Disconnected,
    Fault::Refused,
    Fault::ErrorEvent,
    Fault::Unreadable,
    Fault::Silent,
    Fault::Unasked,
    Fault::Lost,
    Fault::Contradiction,
];

/// The faults of one client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults(u16);

impl Faults {
    /// Adds one.
    pub fn add(&mut self, fault: Fault) {
        self.0 |= 1 << fault as u8;
    }

    /// True if it is among them.
    pub fn has(self, fault: Fault) -> bool {
        self.0 & (1 << fault as u8) != 0
    }

    /// True if there are none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// What was said about what went wrong: distinct messages, and how often each.
#[derive(Clone, Debug, Default)]
pub struct Notes {
    messages: BTreeMap<String, u64>,
    /// Messages beyond those.
    more: u64,
}

/// The most distinct messages.
const MAX_NOTES: usize = 20;

impl Notes {
    /// Adds one.
    pub fn add(&mut self, message: &str) {
        if let Some(count) = self.messages.get_mut(message) {
            *count += 1;
        } else if self.messages.len() < MAX_NOTES {
            self.messages.insert(message.to_owned(), 1);
        } else {
            self.more += 1;
        }
    }

    /// Messages with their counts, the most frequent first.
    pub fn list(&self) -> Vec<(String, u64)> {
        let mut list: Vec<_> = self.messages.iter().map(|(message, count)| (message.clone(), *count)).collect();
        if self.more > 0 {
            list.push(("others".into(), self.more));
        }
        list.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_summed_up() {
        let mut times = Times::default();
        assert_eq!((times.percentile_ms(50.0), times.average_ms(), times.max_ms()), (None, None, None));
        (1..=1000).for_each(|ms| times.record(ms * 1000));
        let near = |found: Option<f64>, wanted: f64| (found.unwrap() - wanted).abs() < wanted / 500.0;
        assert!(near(times.percentile_ms(50.0), 500.0) && near(times.percentile_ms(99.9), 999.0));
        assert_eq!(times.average_ms(), Some(500.5));
        assert!(near(times.max_ms(), 1000.0));
        let mut both = Times::default();
        both.add(&times);
        both.add(&times);
        assert_eq!((both.count(), both.average_ms()), (2000, Some(500.5)));
        assert_eq!(times.buckets().iter().map(|(_, _, count)| count).sum::<u64>(), 1000);
    }
}
