use std::time::Duration;

use fred::clients::{Client, WithOptions};
use fred::error::Error;
use fred::interfaces::{ClientLike, StreamsInterface};
use fred::types::config::Options;
use fred::types::streams::XReadValue;
use tokio::time::Instant;

use super::keys;

/// How long one answer may take that has much in it: the way may be slow, and that is no failure.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Entries of the log that one read takes at most, and to begin with.
const MOST: u64 = 256;
const FIRST: u64 = 16;

/// A full page that takes less than this is followed by one of twice as many entries, and one that takes longer than the
/// second by one of half as many.
const QUICK: Duration = Duration::from_millis(100);
const SLOW: Duration = Duration::from_millis(400);

/// How many entries of the log pass at a time: where the way to Redis is slow, so few that each answer comes soon.
#[derive(Debug)]
pub(super) struct Pages {
    count: u64,
}

/// Entries of the log.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) entries: Vec<XReadValue<String, String, String>>,
    /// Whether there may be more.
    pub(super) is_full: bool,
}

impl Default for Pages {
    fn default() -> Self {
        Self { count: FIRST }
    }
}

/// For reading what there is much of.
pub(super) fn patient(reads: &Client) -> WithOptions<Client> {
    reads.with_options(&Options { timeout: Some(TIMEOUT), ..Options::default() })
}

impl Pages {
    /// Entries that the next read takes.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// The next entries from this id on, of a [`patient`] client.
    pub(super) async fn next(&mut self, reads: &WithOptions<Client>, from: &str) -> Result<Page, Error> {
        let (asked, count) = (Instant::now(), self.count);
        let entries: Result<Vec<_>, Error> = reads.xrange_values(keys::STREAM, from, "+", Some(count)).await;
        let is_full = entries.as_ref().is_ok_and(|entries| entries.len() as u64 == count);
        self.note(entries.is_ok(), is_full, asked.elapsed());
        Ok(Page { entries: entries?, is_full })
    }

    /// Notes how a read went.
    pub(super) fn note(&mut self, is_answered: bool, is_full: bool, took: Duration) {
        self.count = match (is_answered, is_full) {
            (false, _) => self.count / 4,
            (true, true) if took < QUICK => self.count * 2,
            (true, true) if took > SLOW => self.count / 2,
            _ => self.count,
        }
        .clamp(1, MOST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_grow_where_they_come_soon_and_shrink_where_they_do_not() {
        let mut pages = Pages::default();
        let mut after = |is_answered, is_full, took| {
            pages.note(is_answered, is_full, took);
            pages.count()
        };
        let soon = Duration::from_millis(5);
        assert_eq!(after(true, false, soon), FIRST, "one that is not full says nothing");
        assert_eq!([(); 6].map(|()| after(true, true, soon)), [32, 64, 128, MOST, MOST, MOST]);
        assert_eq!(after(true, true, (QUICK + SLOW) / 2), MOST);
        assert_eq!(after(true, true, SLOW * 2), MOST / 2);
        assert_eq!([(); 5].map(|()| after(false, false, TIMEOUT)), [32, 8, 2, 1, 1]);
    }
}
