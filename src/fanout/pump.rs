use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt, Stream, StreamExt};
use tokio::sync::mpsc;
use tokio::task::unconstrained;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::flush::{Flush, Item, News, Turn};
use super::freshness::Freshness;
use crate::market::{Applied, Fresh, Market};
use crate::metrics::Metrics;
use crate::price::{Batch, BusEvent, Epoch, Feed, FeedState, SymbolId};
use crate::wire::Status;

/// What the pump may be ahead of a shard, in flushes. A shard takes all that there are at once, so one that is behind
/// catches up with fewer and larger writes.
pub(super) const FLUSHES_IN_FLIGHT: usize = 256;

/// Events that are taken once it has to end: more than may wait, and not for ever where others go on.
const EVENTS_AT_THE_END: usize = 2048;

/// Ticks that go out in one flush at most, however many have come.
const TICKS_PER_FLUSH: usize = 4096;

/// Applies what the bus says to the market, encodes it once, and hands it to every shard.
pub struct Pump {
    pub(super) market: Arc<Market>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) tick_event: String,
    /// How long a tick may wait for others to go out with it.
    pub(super) interval: Duration,
    pub(super) freshness: Freshness,
    /// False until the bus is followed: what comes before that was there already.
    pub(super) joined: bool,
    pub(super) shards: Vec<mpsc::Sender<News>>,
    pub(super) observer: Option<Observer>,
}

/// Who looks at each tick that is news, in order, when the market has it. The pump waits for that: it has to be quick.
pub type Observer = Arc<dyn Fn(&Epoch, &[Fresh]) + Send + Sync>;

impl Pump {
    /// Runs until the bus ends or `stop`.
    pub async fn run(mut self, mut events: impl Stream<Item = BusEvent> + Unpin, stop: CancellationToken) {
        let mut held: Option<Flush> = None;
        let mut due = Instant::now();
        loop {
            let look_at = self.freshness.look_at();
            let event = tokio::select! {
                // The end comes before what is there, which `end` takes. What is due is rare, and cannot keep events away;
                // who looks for what has become stale has heard what is there.
                biased;
                () = stop.cancelled() => return self.end(events, held).await,
                () = tokio::time::sleep_until(due), if held.is_some() => {
                    due = Instant::now() + self.interval;
                    self.release(&mut held).await;
                    continue;
                }
                event = events.next() => event,
                () = tokio::time::sleep_until(look_at.unwrap_or(due)), if look_at.is_some() => {
                    self.look(&mut held).await;
                    continue;
                }
            };
            // What has come already goes out together.
            let mut next = event;
            loop {
                let Some(event) = next else { return self.release(&mut held).await };
                self.hear(event, &mut held).await;
                next = match events.next().now_or_never() {
                    Some(next) => next,
                    None => break,
                };
            }
            let now = Instant::now();
            if look_at.is_some_and(|look_at| look_at <= now) {
                self.look(&mut held).await;
            }
            if due <= now {
                due = now + self.interval;
                self.release(&mut held).await;
            }
        }
    }

    async fn hear(&mut self, event: BusEvent, held: &mut Option<Flush>) {
        match event {
            BusEvent::Ticks(batch) => self.take(batch, held).await,
            BusEvent::Past(batch) => self.market.recall(batch),
            BusEvent::Feed(feed) => self.turn(feed, held).await,
            BusEvent::Stored(stored) => self.market.take_stored(&stored),
            BusEvent::Since(batch) => self.market.fold_since(&batch),
            BusEvent::Filled(fill) => self.market.fill(&fill),
            BusEvent::Alone => self.market.go_alone(),
            BusEvent::Back(missed) => self.market.come_back(&missed),
        }
    }

    /// Takes what has come by now: those who keep what is made of it store it after that.
    async fn end(mut self, mut events: impl Stream<Item = BusEvent> + Unpin, mut held: Option<Flush>) {
        for _ in 0..EVENTS_AT_THE_END {
            // To a task that has had its turn nothing is ready, whatever is there.
            let Some(Some(event)) = unconstrained(events.next()).now_or_never() else { break };
            self.hear(event, &mut held).await;
        }
        self.release(&mut held).await;
    }

    pub(super) async fn take(&mut self, batch: Batch, held: &mut Option<Flush>) {
        let epoch = batch.epoch.clone();
        let Applied { fresh, turned } = self.market.apply(batch);
        if let Some(observer) = &self.observer {
            observer(&epoch, &fresh);
        }
        if turned {
            self.metrics.epoch_changes.inc();
            self.release(held).await;
            let feed = self.market.feed();
            self.tell(News::of(&status(&feed, Some(&epoch)))).await;
        }
        let now = Instant::now();
        for Fresh { id, tick, restated, .. } in &fresh {
            if *restated {
                self.freshness.said_again(*id, tick);
            } else if !self.joined {
                self.freshness.found(*id, tick, now);
            }
        }
        let ticked = fresh.iter().filter(|fresh| !fresh.restated).map(|fresh| fresh.id);
        let back = self.freshness.heard(ticked, now);
        if !back.is_empty() {
            self.release(held).await;
            self.turn_fresh(back, false).await;
        }
        let flush = held.get_or_insert_with(|| Flush { epoch, items: Vec::new(), unknown: Vec::new() });
        for fresh in fresh {
            if fresh.unknown {
                flush.unknown.push((fresh.id, fresh.tick.update.symbol.clone()));
            }
            flush.items.push(Arc::new(Item::new(fresh, &flush.epoch, &self.tick_event)));
        }
        if flush.items.len() >= TICKS_PER_FLUSH {
            self.release(held).await;
        }
    }

    /// The feed is otherwise now: those who get ticks are told, after the ticks before it.
    pub(super) async fn turn(&mut self, feed: Feed, held: &mut Option<Flush>) {
        self.joined |= feed.state != FeedState::Starting;
        let before = self.market.feed();
        self.market.set_feed(feed.clone());
        if before.state != feed.state && before.state != FeedState::Starting {
            self.release(held).await;
            self.tell(News::of(&status(&feed, None))).await;
        }
    }

    /// Looks for symbols that have had no tick for too long, and tells those who get them.
    pub(super) async fn look(&mut self, held: &mut Option<Flush>) {
        let gone = self.freshness.look(&self.market.last_seqs(), Instant::now());
        if !gone.is_empty() {
            self.release(held).await;
            self.turn_fresh(gone, true).await;
        }
    }

    async fn turn_fresh(&mut self, ids: Vec<SymbolId>, stale: bool) {
        self.market.set_stale(&ids, stale);
        self.metrics.symbols_stale.set(self.freshness.stale() as i64);
        let after_ms = self.freshness.after.unwrap_or_default().as_millis();
        let (state, reason) = match stale {
            true => ("stale", format!("no tick for {after_ms} ms")),
            // Where this replica is cut off, what it has is no better for a tick that was on its way.
            false => (self.market.feed().state.as_str(), "there are ticks again".to_owned()),
        };
        let names = self.market.symbols_of(&ids);
        if stale {
            tracing::warn!(symbols = ?names, after_ms, "no ticks");
        } else {
            tracing::info!(symbols = ?names, "there are ticks again");
        }
        self.tell(News::Fresh(Arc::new(Turn { stale, state, reason, ids }))).await;
    }

    pub(super) async fn release(&mut self, held: &mut Option<Flush>) {
        if let Some(flush) = held.take()
            && !flush.items.is_empty()
        {
            self.tell(News::Flush(Arc::new(flush))).await;
        }
    }

    async fn tell(&mut self, news: News) {
        for shard in &self.shards {
            // An error means that the shard has ended, and with it the process.
            shard.send(news.clone()).await.ok();
        }
        self.metrics.flushes.inc();
    }
}

fn status<'a>(feed: &'a Feed, epoch: Option<&'a Epoch>) -> Status<'a> {
    let reason = if epoch.is_some() { "a new epoch: the numbers start over" } else { &feed.reason };
    Status { state: feed.state.as_str(), reason, symbols: None, epoch }
}
