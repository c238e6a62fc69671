use std::collections::HashSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{Error, Source};
use crate::bus::Term;
use crate::clock::Clock;
use crate::config::{Feeds, Speed};
use crate::metrics::Metrics;
use crate::price::{Symbol, Update};
use crate::recording::{Decoder, Ended, NotARecording};

/// Updates that are read at one go.
const UPDATES_AT_ONCE: usize = 1000;

/// The shortest time that one pass takes, at the speed of the recording: one without a length would be played as often
/// as the machine can.
const SHORTEST_PASS: Duration = Duration::from_secs(1);

/// A recording that is played.
#[derive(Debug)]
pub struct Replay {
    file: PathBuf,
    symbols: Vec<Symbol>,
    speed: Speed,
    repeats: bool,
    keeps_ts: bool,
    clock: Clock,
    metrics: Arc<Metrics>,
    finished: CancellationToken,
    /// The latest time of what it has published, where times are of now: where the clock goes back, they do not.
    last_ms: u64,
}

/// A recording cannot be played.
#[derive(Debug, thiserror::Error)]
#[error("SOURCES (--sources): \"replay:{}\" cannot be played: {why}", .file.display())]
pub struct Unplayable {
    file: PathBuf,
    why: String,
}

impl Replay {
    /// Reads what is in the recording.
    ///
    /// # Errors
    /// It cannot be read, is no recording, or has no ticks.
    pub async fn open(file: &Path, feeds: &Feeds, clock: Clock, metrics: Arc<Metrics>) -> Result<Self, Unplayable> {
        let unplayable = |why: String| Unplayable { file: file.to_owned(), why };
        let path = file.to_owned();
        let read =
            tokio::task::spawn_blocking(move || scan(&path)).await.map_err(|error| unplayable(error.to_string()))?;
        let (symbols, ended) = read.map_err(|error| unplayable(error.to_string()))?;
        if symbols.is_empty() {
            return Err(unplayable("it must have at least one tick".to_owned()));
        }
        if ended.torn {
            tracing::warn!(file = %file.display(), at_bytes = ended.at_bytes, "the recording is cut off or damaged there: what follows is left out");
        }
        Ok(Self {
            file: file.to_owned(),
            symbols,
            speed: feeds.replay_speed,
            repeats: feeds.replay_loop,
            keeps_ts: feeds.replay_keep_ts,
            clock,
            metrics,
            finished: CancellationToken::new(),
            last_ms: 0,
        })
    }

    /// Looks whether a file can be a recording.
    ///
    /// # Errors
    /// It cannot be read, or begins otherwise.
    pub fn check(file: &Path) -> Result<(), Unplayable> {
        let opened = File::open(file).map_err(NotARecording::from).and_then(Decoder::new);
        opened.map(drop).map_err(|error| Unplayable { file: file.to_owned(), why: error.to_string() })
    }

    /// What it makes.
    pub fn made(&self) -> &[Symbol] {
        &self.symbols
    }

    /// Cancelled when everything was played, and does not begin again.
    pub fn finished(&self) -> CancellationToken {
        self.finished.clone()
    }

    fn now_ms(&self) -> u64 {
        self.clock.millis().max(self.last_ms)
    }

    /// Plays it once.
    async fn pass(&mut self, term: &Term<'_>) -> Result<(), Error> {
        let (began, began_ms) = (Instant::now(), self.now_ms());
        let mut decoder = Decoder::new(File::open(&self.file).map_err(NotARecording::from)?)?;
        let mut first_ms = None;
        // Times of several sources need not rise together: what is behind the others goes out at once.
        let mut furthest_ms = 0;
        let mut batch = Vec::new();
        loop {
            let updates;
            (decoder, updates) = tokio::task::spawn_blocking(move || {
                let updates = read(&mut decoder);
                (decoder, updates)
            })
            .await
            .map_err(|error| NotARecording::Io(std::io::Error::other(error)))?;
            let updates = updates?;
            if updates.is_empty() {
                return Ok(());
            }
            for mut update in updates {
                let first_ms = *first_ms.get_or_insert(update.ts_ms);
                let at_ms = update.ts_ms.saturating_sub(first_ms);
                if at_ms > furthest_ms
                    && let Speed::Times(times) = self.speed
                {
                    furthest_ms = at_ms;
                    let due = began + Duration::from_millis(at_ms).div_f64(times);
                    if due > Instant::now() {
                        publish(term, &mut batch).await?;
                        sleep_until(due).await;
                    }
                }
                if !self.keeps_ts {
                    update.ts_ms = match self.speed {
                        Speed::Max => self.now_ms(),
                        Speed::Times(times) => began_ms + (at_ms as f64 / times) as u64,
                    };
                    self.last_ms = self.last_ms.max(update.ts_ms);
                }
                batch.push(update);
            }
            publish(term, &mut batch).await?;
        }
    }
}

impl Source for Replay {
    fn name(&self) -> &'static str {
        "replay"
    }

    fn symbols(&self) -> Vec<Symbol> {
        self.symbols.clone()
    }

    async fn run(&mut self, term: &Term<'_>, stop: &CancellationToken) -> Result<(), Error> {
        let play = async {
            loop {
                let began = Instant::now();
                self.pass(term).await?;
                if !self.repeats {
                    break;
                }
                self.metrics.replay_passes.inc();
                if let Speed::Times(times) = self.speed {
                    sleep_until(began + SHORTEST_PASS.div_f64(times)).await;
                }
            }
            tracing::info!(file = %self.file.display(), "the recording has ended");
            self.finished.cancel();
            // It keeps its term: another replica would play it again.
            stop.cancelled().await;
            Ok(())
        };
        tokio::select! {
            ended = play => ended,
            () = stop.cancelled() => Ok(()),
        }
    }
}

async fn publish(term: &Term<'_>, batch: &mut Vec<Update>) -> Result<(), Error> {
    if !batch.is_empty() {
        term.publish(std::mem::take(batch)).await?;
    }
    Ok(())
}

/// The next updates; none at the end.
fn read(decoder: &mut Decoder<File>) -> Result<Vec<Update>, NotARecording> {
    let mut updates = Vec::with_capacity(UPDATES_AT_ONCE);
    while updates.len() < UPDATES_AT_ONCE
        && let Ok(update) = decoder.next_update()?
    {
        updates.push(update);
    }
    Ok(updates)
}

/// The symbols of a recording, in the order of their first ticks, and how it ends.
fn scan(file: &Path) -> Result<(Vec<Symbol>, Ended), NotARecording> {
    let mut decoder = Decoder::new(File::open(file)?)?;
    let (mut symbols, mut seen) = (Vec::new(), HashSet::new());
    loop {
        match decoder.next_update()? {
            Ok(update) => {
                if seen.insert(update.symbol.clone()) {
                    symbols.push(update.symbol);
                }
            }
            Err(ended) => return Ok((symbols, ended)),
        }
    }
}
