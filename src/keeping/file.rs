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
    /// Opens the file of a folder, and puts the candles in it into a market that has none yet.
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
            symbols += u64::from(saved.is_some_and(|saved| market.restore_candles(symbol, saved)));
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
    pub(super) async fn store(&mut self, market: &Market, metrics: &Metrics) -> io::Result<()> {
        let Some(mut journal) = self.journal.take() else {
            return Err(io::Error::other("the last write has not ended"));
        };
        let is_whole =
            self.is_foreign || journal.bytes() > REWRITE_BYTES.max(journal.rewritten_bytes().saturating_mul(2));
        let (records, marks) = match self.changes(market, is_whole) {
            Ok(changes) => changes,
            Err(too_large) => {
                self.journal = Some(journal);
                return Err(io::Error::other(format!("the candles of {too_large} are more than a record takes")));
            }
        };
        // A disk takes its time, and a worker thread must not wait for it.
        let written = tokio::task::spawn_blocking(move || {
            let written = if is_whole {
                journal.rewrite(&records)
            } else if records.is_empty() {
                Ok(())
            } else {
                journal.append(&records)
            };
            (journal, written)
        });
        let (journal, written) = written.await.map_err(io::Error::other)?;
        metrics.keep_file_bytes.set(i64::try_from(journal.bytes()).unwrap_or(i64::MAX));
        self.journal = Some(journal);
        written?;
        self.is_foreign = false;
        self.marks.extend(marks);
        Ok(())
    }

    /// What has changed, and the mark of each; or the symbol of which that is too much for a record.
    fn changes(&self, market: &Market, is_whole: bool) -> Result<(Records, Vec<(SymbolId, Mark)>), Symbol> {
        let (mut records, mut marks, mut body) = (Records::new(), Vec::new(), Vec::new());
        for id in (0..market.symbol_count()).map(SymbolId::new) {
            let mark = self.marks.get(&id).copied().filter(|_| !is_whole).unwrap_or_default();
            let Some((saved, mark)) = market.candle_changes(id, &mark) else { continue };
            for symbol in market.symbols_of(&[id]) {
                body.clear();
                let name = symbol.as_str().as_bytes();
                // At most 32 bytes.
                body.push(name.len() as u8);
                body.extend_from_slice(name);
                body.extend_from_slice(&saved.encode());
                if !records.push(CANDLES, &body) {
                    return Err(symbol);
                }
                marks.push((id, mark));
            }
        }
        Ok((records, marks))
    }
}

/// The symbol of a record of candles, and what is said of them.
fn record(kind: u8, body: &[u8]) -> Option<(Symbol, &[u8])> {
    let (&length, rest) = body.split_first().filter(|_| kind == CANDLES)?;
    let (name, record) = rest.split_at_checked(usize::from(length))?;
    Some((std::str::from_utf8(name).ok()?.parse().ok()?, record))
}
