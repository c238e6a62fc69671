use std::collections::HashMap;
use std::fmt::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// How long the same line is counted.
const WINDOW: Duration = Duration::from_secs(10);

/// How many of it are written in this time.
const WRITTEN: u64 = 20;

/// How much of a line stands in its sum, in characters.
const SHOWN_CHARS: usize = 80;

/// Holds back lines that come in floods, and sums them up.
///
/// Lines are the same that come from one place in the code, whatever their fields; what libraries say through the crate
/// `log` has one place for each level. What is less important than `info`
/// is never held back: who asks for it wants it all.
#[derive(Clone, Debug, Default)]
pub(super) struct Floods(Arc<Mutex<HashMap<Identifier, Flood>>>);

#[derive(Debug)]
struct Flood {
    since: Instant,
    written: u64,
    held: u64,
    level: Level,
    /// The message of the first that was held back.
    like: String,
}

impl Floods {
    /// Writes every sum now: this is the end.
    pub(super) fn finish(&self) {
        self.sum_up(Instant::now() + WINDOW);
    }

    /// Writes the sums that are due at this time.
    pub(super) fn sum_up(&self, now: Instant) {
        let mut over = Vec::new();
        self.lock().retain(|_, flood| {
            if now.duration_since(flood.since) < WINDOW {
                return true;
            }
            over.push((flood.held, flood.level, std::mem::take(&mut flood.like)));
            false
        });
        // Not under the lock: these are lines, too.
        for (held, level, like) in over.into_iter().filter(|(held, ..)| *held > 0) {
            let message = format!("... and {} more like this in {} s", grouped(held), WINDOW.as_secs());
            match level {
                Level::ERROR => tracing::error!(like, "{message}"),
                Level::WARN => tracing::warn!(like, "{message}"),
                _ => tracing::info!(like, "{message}"),
            }
        }
    }

    /// True where this line is to be written.
    fn allow(&self, event: &Event<'_>, now: Instant) -> bool {
        let metadata = event.metadata();
        let level = *metadata.level();
        // The sums are ours.
        if level > Level::INFO || metadata.target() == module_path!() {
            return true;
        }
        let mut floods = self.lock();
        let flood = floods.entry(metadata.callsite()).or_insert_with(|| Flood {
            since: now,
            written: 0,
            held: 0,
            level,
            like: String::new(),
        });
        if flood.written < WRITTEN {
            flood.written += 1;
            return true;
        }
        if flood.held == 0 {
            event.record(&mut Message(&mut flood.like));
        }
        flood.held += 1;
        false
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Identifier, Flood>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl<S: Subscriber> Layer<S> for Floods {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        self.allow(event, Instant::now())
    }
}

/// Takes the message of an event, shortened.
struct Message<'a>(&'a mut String);

impl Visit for Message<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            let mut text = String::new();
            // Writing to a String cannot fail.
            let _ = write!(text, "{value:?}");
            self.0.extend(text.chars().take(SHOWN_CHARS));
        }
    }
}

/// A number with a comma before each three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::fmt::MakeWriter;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Lines {
        type Writer = Self;
        fn make_writer(&self) -> Self {
            self.clone()
        }
    }

    #[test]
    fn a_flood_is_summed_up_and_other_lines_are_not_held_back() {
        let (floods, lines) = (Floods::default(), Lines::default());
        let layer = tracing_subscriber::fmt::layer().with_writer(lines.clone()).with_ansi(false).without_time();
        let subscriber = tracing_subscriber::registry().with(floods.clone()).with(layer);
        let written = || {
            let text = String::from_utf8(std::mem::take(&mut *lines.0.lock().unwrap())).unwrap();
            text.lines().map(str::to_owned).collect::<Vec<_>>()
        };
        tracing::subscriber::with_default(subscriber, || {
            for number in 0..1254 {
                tracing::warn!(number, "a flood");
                tracing::debug!("asked for");
            }
            tracing::warn!("another line");
            let all = written();
            let count = |part: &str| all.iter().filter(|line| line.contains(part)).count();
            assert_eq!((count("a flood"), count("asked for"), count("another line")), (20, 1254, 1));

            floods.sum_up(Instant::now());
            assert!(written().is_empty(), "not yet");
            floods.finish();
            let sums = written();
            assert_eq!(sums.len(), 1, "{sums:?}");
            assert!(sums[0].contains("WARN") && sums[0].contains("... and 1,234 more like this in 10 s"), "{sums:?}");
            assert!(sums[0].contains("a flood"), "{sums:?}");
            assert!(floods.lock().is_empty());
        });
    }

    #[test]
    fn numbers_are_grouped() {
        let all = [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")];
        assert!(all.iter().all(|&(number, text)| grouped(number) == text));
    }
}
