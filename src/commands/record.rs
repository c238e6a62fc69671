use std::fs::{File, OpenOptions};
use std::future::Future;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use futures_util::{FutureExt, Stream, StreamExt};
use serde_json::json;
use tokio::task::unconstrained;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::bus::{self, Bus, RedisSettings};
use crate::clock::Clock;
use crate::config::{Config, RecordArgs};
use crate::market::{Keep, Kept, Market};
use crate::metrics::Metrics;
use crate::price::{BusEvent, FeedState, Interval};
use crate::recording::Encoder;
use crate::sources::{Recall, Sources};

/// How often what came goes to the file.
const WRITE_EVERY: Duration = Duration::from_millis(200);

/// What goes to the file at once, in bytes, however often that is.
const WRITE_BYTES: usize = 64 * 1024;

/// How long the sources and the bus may take to end, so that what they have is in the file.
const LEAVES_WITHIN: Duration = Duration::from_secs(1);

/// Writes ticks to a file until `stop`, until the time is over, or until nothing more can come: those that the replicas
/// around a Redis publish, or else those of the sources of these settings. Returns what to say of it.
///
/// # Errors
/// The file exists or cannot be written, or the sources cannot run.
pub async fn record(
    args: &RecordArgs,
    config: &Config,
    clock: Clock,
    stop: impl Future<Output = ()>,
) -> anyhow::Result<String> {
    let shown = args.file.display();
    let file = OpenOptions::new().write(true).create_new(true).open(&args.file);
    let file = file.with_context(|| format!("cannot create {shown}: it must be a file that does not exist yet"))?;
    let mut tape = Tape::begin(file).with_context(|| format!("cannot write {shown}"))?;
    // What a feed of replicas has at the beginning may be of any age: a replay would wait for as long as it was silent.
    tape.joined = config.redis().is_none();

    let metrics = Arc::<Metrics>::default();
    let redis = config.redis().map(|address| RedisSettings::new(&address)).transpose()?;
    let settings = bus::Settings {
        redis,
        lease_ttl: Duration::from_millis(config.lease_ttl_ms),
        history: Duration::ZERO,
        // Prices that replicas make for themselves while Redis is away are none to keep.
        island_after: Duration::MAX,
        node_id: config.app_id.clone(),
    };
    let (bus, mut events, background) = Bus::open(&settings, &clock, &metrics).await?;
    // It knows which ticks are repeats.
    let market =
        Arc::new(Market::new([], Keep { age_ms: 0, ticks: 0, candles: Kept([1; Interval::COUNT]) }, metrics.clone()));
    let recall: Recall = Arc::new({
        let market = market.clone();
        move |symbol| market.last_update(symbol)
    });
    let sources = match bus.is_shared() {
        // The replicas run them.
        true => None,
        false => Some(Sources::open(config, &clock, &metrics, &recall, None).await?),
    };
    let finished = sources.as_ref().map_or_else(CancellationToken::new, Sources::finished);
    let running = CancellationToken::new();
    let making = async {
        match sources {
            Some(sources) => sources.run(&bus, &metrics, &running).await,
            None => {
                running.cancelled().await;
                Ok(())
            }
        }
    };
    let describe = || json!({"id": config.app_id, "version": env!("CARGO_PKG_VERSION"), "status": "recording"});
    let background = background.run(describe, running.clone());
    let over = async {
        match args.seconds {
            Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
            None => std::future::pending().await,
        }
    };
    let mut write = tokio::time::interval(WRITE_EVERY);
    write.set_missed_tick_behavior(MissedTickBehavior::Delay);

    tokio::pin!(making, background, over, stop);
    let mut written = Ok(());
    while written.is_ok() {
        tokio::select! {
            event = events.next() => match event {
                Some(event) => tape.take(event, &market),
                None => break,
            },
            _ = write.tick() => written = tape.write(),
            ended = &mut making => return Err(ended.map_or_else(anyhow::Error::from, |()| anyhow!("the sources ended by themselves"))),
            () = &mut background => return Err(anyhow!("the bus ended by itself")),
            () = finished.cancelled() => break,
            () = &mut over => break,
            () = &mut stop => break,
        }
        if written.is_ok() && tape.waiting.len() >= WRITE_BYTES {
            written = tape.write();
        }
    }
    running.cancel();
    // What they have taken already they hand on, and then leave.
    let leaving = async { tokio::join!(making, background) };
    let last = tokio::time::sleep(LEAVES_WITHIN);
    tokio::pin!(leaving, last);
    loop {
        tokio::select! {
            Some(event) = events.next() => tape.take(event, &market),
            _ = &mut leaving => break,
            () = &mut last => break,
        }
    }
    tape.take_rest(&mut events, &market);
    written
        .and_then(|()| tape.write())
        .and_then(|()| tape.file.sync_all())
        .with_context(|| format!("cannot write {shown}"))?;
    Ok(format!("{} ticks in {} bytes: {shown}\n", tape.ticks, tape.bytes))
}

/// The file, and what is not in it yet. Written to directly: what a page cache takes is no wait worth a thread.
struct Tape {
    file: File,
    encoder: Encoder,
    waiting: Vec<u8>,
    ticks: u64,
    bytes: u64,
    /// False while what comes is what was there before.
    joined: bool,
}

impl Tape {
    fn begin(file: File) -> std::io::Result<Self> {
        let mut tape =
            Self { file, encoder: Encoder::new(), waiting: Encoder::HEADER.to_vec(), ticks: 0, bytes: 0, joined: true };
        tape.write()?;
        Ok(tape)
    }

    fn take(&mut self, event: BusEvent, market: &Market) {
        match event {
            BusEvent::Ticks(batch) if !self.joined => market.recall(batch),
            BusEvent::Ticks(batch) => {
                // One that is only said again under a new epoch is in it, or is older.
                for fresh in market.apply(batch).fresh.into_iter().filter(|fresh| !fresh.restated) {
                    self.encoder.encode(&fresh.tick.update, &mut self.waiting);
                    self.ticks += 1;
                }
            }
            BusEvent::Past(batch) => market.recall(batch),
            // It never goes on by itself.
            BusEvent::Alone | BusEvent::Back(_) => {}
            // Ticks are recorded, and what is made of them is not.
            BusEvent::Stored(_) | BusEvent::Since(_) | BusEvent::Filled(_) => {}
            BusEvent::Feed(feed) => {
                tracing::info!(state = feed.state.as_str(), reason = feed.reason, "the feed");
                self.joined |= feed.state == FeedState::Live;
                market.set_feed(feed);
            }
        }
    }

    /// What has come already.
    fn take_rest(&mut self, events: &mut (impl Stream<Item = BusEvent> + Unpin), market: &Market) {
        // To a task that has had its turn nothing is ready, whatever is there.
        while let Some(Some(event)) = unconstrained(events.next()).now_or_never() {
            self.take(event, market);
        }
    }

    fn write(&mut self) -> std::io::Result<()> {
        self.file.write_all(&self.waiting)?;
        self.bytes += self.waiting.len() as u64;
        self.waiting.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use tokio::sync::mpsc;

    use super::*;
    use crate::price::{Batch, Epoch, Price, Tick, Update};

    #[tokio::test]
    async fn all_that_came_before_the_end_is_written() {
        // More than a task of tokio may take in one turn.
        const TICKS: u64 = 500;
        let (sender, mut receiver) = mpsc::channel(500);
        for seq in 1..=TICKS {
            let symbol = "BTC".parse().unwrap();
            let update = Update { symbol, price: Price::from(1), ts_ms: seq, bid: None, ask: None, size: None };
            let batch = Batch { epoch: Epoch::new("a"), ticks: vec![Tick { seq, update }] };
            sender.try_send(BusEvent::Ticks(batch)).unwrap();
        }
        let keep = Keep { age_ms: 0, ticks: 0, candles: Kept([1; Interval::COUNT]) };
        let market = Market::new([], keep, Arc::default());
        let mut tape = Tape::begin(tempfile::tempfile().unwrap()).unwrap();
        tape.take_rest(&mut stream::poll_fn(|context| receiver.poll_recv(context)), &market);
        assert_eq!(tape.ticks, TICKS);
    }
}
