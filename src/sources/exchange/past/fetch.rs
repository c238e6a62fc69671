use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode};

use super::{Limits, Page, Rest, Unusable, rest};
use crate::clock::Clock;
use crate::config::ExchangeName;
use crate::metrics::Metrics;
use crate::price::{Candle, Interval};
use crate::sources::backoff::Backoff;
use crate::wire::short;

/// How long an answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// The largest answer that is read, in bytes: a thousand candles take a tenth of it.
const MAX_ANSWER_BYTES: usize = 2 << 20;

/// How often one page is asked for.
const ATTEMPTS: u32 = 5;

/// After so many pages in a row that could not be had, the rest is not asked for.
const GIVE_UP_AFTER: u32 = 3;

/// The pause after an exchange said that we ask too often, where it does not say how long.
const AFTER_TOO_MANY: Duration = Duration::from_secs(60);

/// The longest pause that an exchange may ask for.
const LONGEST_ASKED_FOR: Duration = Duration::from_secs(3600);

/// A candle that ended less than this before it was asked for may still change, in ms: clocks differ.
const SETTLED_AFTER_MS: u64 = 5000;

/// The past of one exchange.
pub(in super::super) struct Archive {
    exchange: ExchangeName,
    url: String,
    rest: Box<dyn Rest>,
    client: Client,
    /// How many candles of each length are of use.
    kept: [u64; Interval::COUNT],
    clock: Clock,
    metrics: Arc<Metrics>,
}

/// The time in which nobody listened to a symbol, in ms since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Gap {
    /// The last that was heard before; 0 for nothing ever.
    pub(in super::super) from_ms: u64,
    /// The first that was heard after.
    pub(in super::super) to_ms: u64,
}

/// Candles of the past, as they came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Fetched {
    /// The exchange's name of the symbol.
    pub(in super::super) listed: String,
    pub(in super::super) interval: Interval,
    /// What ends later than this may still have been running, in ms since the Unix epoch.
    pub(in super::super) settled_ms: u64,
    /// Oldest first.
    pub(in super::super) candles: Vec<Candle>,
}

/// Why a page did not come.
#[derive(Debug)]
enum Failure {
    /// It may go better the next time, after this pause at least.
    Again(String, Duration),
    /// It will not.
    Refused(String),
}

/// How it went.
#[derive(Debug, Default)]
struct Tally {
    candles: u64,
    failures: u64,
    pages_missing: u64,
}

impl Archive {
    /// The past at this address; none where none is set.
    pub(in super::super) fn new(
        exchange: ExchangeName,
        url: &str,
        kept: [u64; Interval::COUNT],
        clock: Clock,
        metrics: Arc<Metrics>,
    ) -> Option<Self> {
        let client = Client::builder()
            .user_agent(concat!("tickcast/", env!("CARGO_PKG_VERSION")))
            .timeout(ANSWER_WITHIN)
            .redirect(Policy::none())
            .build()
            .inspect_err(|error| tracing::error!(%error, "cannot ask exchanges for their past"));
        let client = client.ok().filter(|_| !url.is_empty())?;
        Some(Self { exchange, url: url.to_owned(), rest: rest(exchange), client, kept, clock, metrics })
    }

    /// Asks for what these symbols lack, one request after the other, and hands it to `take` as it comes. Ends when there is
    /// nothing more, or nothing more can be had; only `take` can fail it.
    pub(in super::super) async fn fetch<E, F: Future<Output = Result<(), E>>>(
        &self,
        lacking: &[(String, Gap)],
        mut take: impl FnMut(Fetched) -> F,
    ) -> Result<(), E> {
        let source = self.exchange.as_str();
        let mut tally = Tally::default();
        let mut refused: Vec<&str> = Vec::new();
        let mut in_vain = 0;
        for page in self.pages(lacking) {
            if in_vain == GIVE_UP_AFTER {
                tally.pages_missing += 1;
                continue;
            }
            if refused.contains(&page.listed) {
                continue;
            }
            let settled_ms = self.clock.millis().saturating_sub(SETTLED_AFTER_MS);
            match self.page(&page, &mut tally).await {
                Ok(candles) => {
                    in_vain = 0;
                    tally.candles += candles.len() as u64;
                    self.metrics.past_candles.of(source).add(candles.len() as u64);
                    if !candles.is_empty() {
                        let (listed, interval) = (page.listed.to_owned(), page.interval);
                        take(Fetched { listed, interval, settled_ms, candles }).await?;
                    }
                }
                Err(Failure::Refused(why)) => {
                    tracing::warn!(source, symbol = page.listed, why, "the exchange has no past of a symbol");
                    refused.push(page.listed);
                }
                Err(Failure::Again(..)) => {
                    in_vain += 1;
                    tally.pages_missing += 1;
                }
            }
            tokio::time::sleep(self.rest.limits().between_requests).await;
        }
        self.metrics.past_missing.of(source).add(tally.pages_missing);
        let Tally { candles, failures, pages_missing } = tally;
        if pages_missing > 0 {
            tracing::warn!(source, candles, failures, pages_missing, "the exchange's past is here in part");
        } else {
            tracing::info!(source, candles, failures, "the exchange's past is here");
        }
        Ok(())
    }

    /// What is to be asked for, the long candles first, because they are few and show the most; of each symbol the oldest
    /// page first.
    fn pages<'a>(&self, lacking: &'a [(String, Gap)]) -> Vec<Page<'a>> {
        let now_ms = self.clock.millis();
        let Limits { candles, deepest, .. } = self.rest.limits();
        let mut pages = Vec::new();
        for interval in Interval::ALL.into_iter().rev().filter(|interval| self.rest.has(*interval)) {
            let ms = interval.ms();
            let Some(older) = self.kept[interval.index()].min(deepest).checked_sub(1) else { continue };
            let oldest_ms = interval.start_of(now_ms).saturating_sub(older.saturating_mul(ms));
            for (listed, gap) in lacking {
                let last_ms = interval.start_of(gap.to_ms.min(now_ms));
                let mut from_ms = interval.start_of(gap.from_ms).max(oldest_ms);
                while from_ms <= last_ms {
                    let to_ms = last_ms.min(from_ms + (candles - 1) * ms);
                    pages.push(Page { listed, interval, from_ms, to_ms });
                    from_ms = to_ms + ms;
                }
            }
        }
        pages
    }

    /// One page, oldest first, asked for again while that may help.
    async fn page(&self, page: &Page<'_>, tally: &mut Tally) -> Result<Vec<Candle>, Failure> {
        let mut backoff = Backoff::new();
        let mut attempt = 1;
        loop {
            let began = Instant::now();
            let failure = match self.ask(page).await {
                Ok(mut candles) => {
                    // Also older ones may come, and those of another length would do harm.
                    candles.retain(|candle| {
                        (page.from_ms..=page.to_ms).contains(&candle.ts_ms) && candle.ts_ms % page.interval.ms() == 0
                    });
                    candles.sort_unstable_by_key(|candle| candle.ts_ms);
                    candles.dedup_by_key(|candle| candle.ts_ms);
                    return Ok(candles);
                }
                Err(failure) => failure,
            };
            self.metrics.past_failures.of(self.exchange.as_str()).add(1);
            tally.failures += 1;
            let Failure::Again(why, least) = &failure else { return Err(failure) };
            let source = self.exchange.as_str();
            if tally.failures == 1 {
                tracing::warn!(source, symbol = page.listed, why, "cannot read the exchange's past: trying again");
            } else {
                tracing::debug!(source, symbol = page.listed, why, attempt, "cannot read the exchange's past");
            }
            if attempt == ATTEMPTS {
                return Err(failure);
            }
            // At the exchange's pace, too.
            let least = (*least).max(self.rest.limits().between_requests);
            tokio::time::sleep(backoff.after(began, least)).await;
            attempt += 1;
        }
    }

    async fn ask(&self, page: &Page<'_>) -> Result<Vec<Candle>, Failure> {
        let again = |why: String| Failure::Again(why, Duration::ZERO);
        let url = format!("{}{}", self.url, self.rest.path(page));
        // Its text would have the address in it.
        let response = self.client.get(url).send().await.map_err(|error| again(error.without_url().to_string()))?;
        let (status, least) = (response.status(), retry_after(&response));
        let body = read(response).await.map_err(again)?;
        match status {
            StatusCode::OK => self.rest.read(&body).map_err(|unusable| match unusable {
                Unusable::Garbage(why) => again(short(&why)),
                Unusable::Refused(why) => Failure::Refused(short(&why)),
                Unusable::TooMany => Failure::Again("we ask too often".to_owned(), AFTER_TOO_MANY),
            }),
            // We ask too often, or are banned for it.
            StatusCode::TOO_MANY_REQUESTS | StatusCode::IM_A_TEAPOT => {
                Err(Failure::Again(format!("it answers {status}"), least.unwrap_or(AFTER_TOO_MANY)))
            }
            _ if status.is_client_error() && status != StatusCode::REQUEST_TIMEOUT => {
                let why = self.rest.reason(&body).map(|why| format!(": {}", short(&why)));
                Err(Failure::Refused(format!("it answers {status}{}", why.unwrap_or_default())))
            }
            _ => Err(Failure::Again(format!("it answers {status}"), least.unwrap_or_default())),
        }
    }
}

/// For how long it wants to be left alone.
fn retry_after(response: &Response) -> Option<Duration> {
    let header = response.headers().get(reqwest::header::RETRY_AFTER)?;
    let seconds = header.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds).min(LONGEST_ASKED_FOR))
}

/// The body of an answer, if it is not too large.
async fn read(mut response: Response) -> Result<String, String> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| error.without_url().to_string())? {
        if body.len() + chunk.len() > MAX_ANSWER_BYTES {
            return Err(format!("its answer is larger than {MAX_ANSWER_BYTES} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    String::from_utf8(body).map_err(|_| "its answer is no text".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE_MS: u64 = 60_000;

    fn pages(exchange: ExchangeName, kept: u64, from_ms: u64) -> Vec<(u64, u64)> {
        let now_ms = 10_000 * MINUTE_MS + 1234;
        let clock = Clock::from_fn(move || now_ms * 1000);
        let mut intervals = [0; Interval::COUNT];
        intervals[Interval::M1.index()] = kept;
        let archive = Archive::new(exchange, "http://x", intervals, clock, Arc::default()).unwrap();
        let lacking = [("X".to_owned(), Gap { from_ms, to_ms: now_ms })];
        let pages = archive.pages(&lacking).into_iter();
        pages.map(|page| (page.from_ms / MINUTE_MS, page.to_ms / MINUTE_MS)).collect()
    }

    #[test]
    fn what_is_lacking_is_asked_for_in_pages_and_no_more() {
        use ExchangeName::{Binance, Coinbase, Kraken};
        assert_eq!(pages(Binance, 1440, 0), [(8561, 9560), (9561, 10_000)]);
        assert_eq!(pages(Binance, 1, 0), [(10_000, 10_000)]);
        assert_eq!(pages(Binance, 0, 0), []);
        let hole = 9_990 * MINUTE_MS + 1;
        assert_eq!(pages(Coinbase, 1440, hole), [(9990, 10_000)], "from the candle that the hole begins in");
        assert_eq!(pages(Coinbase, 601, 0), [(9400, 9699), (9700, 9999), (10_000, 10_000)]);
        assert_eq!(pages(Kraken, 1440, 0), [(9281, 10_000)], "it has no more");
        assert!(Archive::new(Kraken, "", [1; Interval::COUNT], Clock::system(), Arc::default()).is_none());
    }
}
