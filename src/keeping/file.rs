use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::Arc;

use crate::journal::{Folder, Journal, OpenError, Records};
use crate::market::{Mark, Market, Saved};
use crate::metrics::Metrics;
use crate::price::{Symbol, SymbolId};

/// Its name in the folder.
const NAME: &str = "candles";

/// The kind of a record that says what changed in a symbol's candles: the length of its name, the name, and
/// [`Saved::encode`].
const CANDLES: u8 = 1;

/// The file is rewritten when it is larger than this, in bytes, and has doubled since it was rewritten before.
const REWRITE_BYTES: u64 = 8 << 20;

/// The file of candles of a server that runs alone.
#[derive(Debug)]
pub struct CandleFile {
    /// None while it is being written.
    journal: Option<Journal>,
    /// The folder is ours for as long as the file is.
    _folder: Arc<Folder>,
    /// Up to where each symbol is in it.
    marks: HashMap<SymbolId, Mark>,
    /// What is in it has to be rewritten: it is damaged, or as an earlier process left it.
    is_foreign: bool,
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct FileError(#[from] OpenError);

impl CandleFile {
    /// Opens the file of a folder, and puts the candles in it into a market that has none yet. Those of symbols that nobody
    /// knows are kept aside there, and stay in the file.
    ///
    /// # Errors
    /// It cannot be read or written, or is something else.
    pub fn open(folder: &Arc<Folder>, market: &Market, metrics: &Metrics) -> Result<Self, FileError> {
        let mut records: BTreeMap<Symbol, Vec<Vec<u8>>> = BTreeMap::new();
        let mut unreadable = 0u64;
        let (journal, opened) = Journal::open(folder, NAME, |kind, body| match record(kind, body) {
            Some((symbol, record)) => records.entry(symbol).or_default().push(record.to_vec()),
            None => unreadable += 1,
        })?;
        let mut symbols = 0;
        for (symbol, records) in records {
            let (saved, of_these) = Saved::assemble(&records);
            unreadable += of_these;
            symbols += u64::from(saved.is_some_and(|saved| market.restore_candles(&symbol, saved)));
        }
        metrics.keep_lost_bytes.add(opened.lost_bytes());
        metrics.keep_file_bytes.set(i64::try_from(journal.bytes()).unwrap_or(i64::MAX));
        journal.report(&opened, unreadable)?;
        let count = opened.records;
        tracing::info!(path = %journal.path().display(), records = count, symbols, "candles are here");
        let folder = folder.clone();
        Ok(Self { journal: Some(journal), _folder: folder, marks: HashMap::new(), is_foreign: count > 0 })
    }

    /// Stores what has changed since the last time.
    pub(super) async fn store(&mut self, market: &Arc<Market>, metrics: &Metrics) -> io::Result<()> {
        let Some(mut journal) = self.journal.take() else {
            return Err(io::Error::other("the last write has not ended"));
        };
        let is_whole =
            self.is_foreign || journal.bytes() > REWRITE_BYTES.max(journal.rewritten_bytes().saturating_mul(2));
        // A disk takes its time, and so do the candles of many symbols: a worker thread must not wait for either.
        let (market, mut marks) = (market.clone(), std::mem::take(&mut self.marks));
        let stored = tokio::task::spawn_blocking(move || {
            if is_whole {
                marks.clear();
            }
            let written = changes(&market, &marks, is_whole).and_then(|(records, changed)| {
                if is_whole {
                    journal.rewrite(&records)?;
                } else if !records.is_empty() {
                    journal.append(&records)?;
                }
                Ok(changed)
            });
            (journal, marks, written)
        });
        let (journal, marks, written) = stored.await.map_err(io::Error::other)?;
        self.marks = marks;
        metrics.keep_file_bytes.set(i64::try_from(journal.bytes()).unwrap_or(i64::MAX));
        self.journal = Some(journal);
        self.marks.extend(written?);
        self.is_foreign = false;
        Ok(())
    }
}

/// What has changed since these marks, and the mark of each; where the file is made anew, also what is kept of symbols that
/// nobody knows.
fn changes(
    market: &Market,
    marks: &HashMap<SymbolId, Mark>,
    is_whole: bool,
) -> io::Result<(Records, Vec<(SymbolId, Mark)>)> {
    let (mut records, mut changed) = (Records::new(), Vec::new());
    // Before the others: one that becomes known meanwhile is among them.
    for symbol in market.candles_aside().iter().filter(|_| is_whole) {
        if let Some(saved) = market.saved_aside(symbol) {
            put(&mut records, symbol, &saved)?;
        }
    }
    for id in (0..market.symbol_count()).map(SymbolId::new) {
        let mark = marks.get(&id).copied().unwrap_or_default();
        let Some((saved, mark)) = market.candle_changes(id, &mark) else { continue };
        for symbol in market.symbols_of(&[id]) {
            put(&mut records, &symbol, &saved)?;
            changed.push((id, mark));
        }
    }
    Ok((records, changed))
}

fn put(records: &mut Records, symbol: &Symbol, saved: &Saved) -> io::Result<()> {
    let name = symbol.as_str().as_bytes();
    // At most 32 bytes.
    let body = [&[name.len() as u8], name, &saved.encode()].concat();
    match records.push(CANDLES, &body) {
        true => Ok(()),
        false => Err(io::Error::other(format!("the candles of {symbol} are more than a record takes"))),
    }
}

/// The symbol of a record of candles, and what is said of them.
fn record(kind: u8, body: &[u8]) -> Option<(Symbol, &[u8])> {
    let (&length, rest) = body.split_first().filter(|_| kind == CANDLES)?;
    let (name, record) = rest.split_at_checked(usize::from(length))?;
    Some((std::str::from_utf8(name).ok()?.parse().ok()?, record))
}
