use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Alert, AlertId, Point};
use crate::journal::{Folder, Journal, OpenError, Records};
use crate::metrics::Metrics;
use crate::price::Symbol;

/// Its name in the folder.
const NAME: &str = "alerts";

/// The kinds of its records. One says that an alert was set: its id, and the alert as [`Alert::write`] writes it.
const SET: u8 = 2;
/// It was removed: its id.
const REMOVED: u8 = 3;
/// Alerts on a symbol fired: where it was, as [`Fired`].
const FIRED: u8 = 4;

/// An id as it is written.
const ID_BYTES: usize = 16;

/// The file is rewritten when it is larger than this, in bytes, and has doubled since it was rewritten before.
const REWRITE_BYTES: u64 = 1 << 20;

/// The file of users' alerts of a server that runs alone. It waits for the disk.
#[derive(Debug)]
pub struct AlertFile {
    journal: Journal,
    /// The folder is ours for as long as the file is.
    _folder: Arc<Folder>,
    /// What is in it.
    alerts: HashMap<AlertId, Arc<Alert>>,
    /// Where symbols were when an alert on them fired last.
    fired: HashMap<Symbol, Point>,
    /// There is more in it than that.
    is_foreign: bool,
}

/// What is new, to be stored together.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// In order.
    pub(super) steps: Vec<Step>,
    /// Where symbols were when an alert on them fired.
    pub(super) fired: HashMap<Symbol, Point>,
}

/// A change of a user's alerts.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Put(Arc<Alert>),
    Remove(AlertId),
}

/// What is in a record of alerts that fired, as JSON.
#[derive(Serialize, Deserialize)]
struct Fired {
    symbol: String,
    at: Point,
}

impl AlertFile {
    /// Opens the file of a folder.
    ///
    /// # Errors
    /// It cannot be read or written, or is something else.
    pub fn open(folder: &Arc<Folder>, metrics: &Metrics) -> Result<Self, OpenError> {
        let (mut alerts, mut fired, mut unknown) = (HashMap::new(), HashMap::new(), 0);
        let (journal, opened) = Journal::open(folder, NAME, |kind, body| match read(kind, body) {
            Some(Read::Step(Step::Put(alert))) => drop(alerts.insert(alert.id, alert)),
            Some(Read::Step(Step::Remove(id))) => drop(alerts.remove(&id)),
            Some(Read::Fired(symbol, at)) => drop(fired.insert(symbol, at)),
            None => unknown += 1,
        })?;
        metrics.keep_lost_bytes.add(opened.lost_bytes());
        journal.report(&opened, unknown)?;
        tracing::info!(path = %journal.path().display(), records = opened.records, alerts = alerts.len(), "alerts are here");
        let is_foreign = opened.records > alerts.len() as u64 || opened.damaged_bytes > 0;
        let file = Self { journal, _folder: folder.clone(), alerts, fired, is_foreign };
        file.measure(metrics);
        Ok(file)
    }

    /// The alerts in it.
    pub(super) fn alerts(&self) -> impl Iterator<Item = &Arc<Alert>> + Clone {
        self.alerts.values()
    }

    /// Where symbols were when an alert on them fired last, as far as that is in it.
    pub(super) fn fired(&self) -> &HashMap<Symbol, Point> {
        &self.fired
    }

    /// Stores changes: all of them, or none where that fails.
    pub(super) fn store(&mut self, changes: &Changes) -> io::Result<()> {
        let mut records = Records::new();
        let is_taken = changes.steps.iter().all(|step| match step {
            Step::Put(alert) => push_set(&mut records, alert),
            Step::Remove(id) => records.push(REMOVED, id.to_string().as_bytes()),
        });
        if !is_taken || !changes.fired.iter().all(|(symbol, at)| push_fired(&mut records, symbol, at)) {
            return Err(io::Error::other("an alert is more than a record takes"));
        }
        if !records.is_empty() {
            self.journal.append(&records)?;
        }
        for step in &changes.steps {
            match step {
                Step::Put(alert) => drop(self.alerts.insert(alert.id, alert.clone())),
                Step::Remove(id) => drop(self.alerts.remove(id)),
            }
        }
        self.fired.extend(changes.fired.iter().map(|(symbol, at)| (symbol.clone(), at.clone())));
        Ok(())
    }

    /// Whether what is in it has to be written anew.
    pub(super) fn has_grown(&self) -> bool {
        let doubled = self.journal.rewritten_bytes().saturating_mul(2);
        self.is_foreign || self.journal.bytes() > REWRITE_BYTES.max(doubled)
    }

    /// Writes it anew, without what has passed.
    pub(super) fn rewrite(&mut self) -> io::Result<()> {
        let symbols: HashSet<&Symbol> = self.alerts.values().map(|alert| alert.symbol()).collect();
        self.fired.retain(|symbol, _| symbols.contains(symbol));
        let mut records = Records::new();
        let is_taken = self.alerts.values().all(|alert| push_set(&mut records, alert))
            && self.fired.iter().all(|(symbol, at)| push_fired(&mut records, symbol, at));
        if !is_taken {
            return Err(io::Error::other("an alert is more than a record takes"));
        }
        self.journal.rewrite(&records)?;
        self.is_foreign = false;
        Ok(())
    }

    /// Says how large it is.
    pub(super) fn measure(&self, metrics: &Metrics) {
        metrics.alerts_file_bytes.set(i64::try_from(self.journal.bytes()).unwrap_or(i64::MAX));
    }
}

/// What a record says.
enum Read {
    Step(Step),
    Fired(Symbol, Point),
}

fn read(kind: u8, body: &[u8]) -> Option<Read> {
    let text = std::str::from_utf8(body).ok()?;
    Some(match kind {
        SET => {
            let (id, json) = text.split_at_checked(ID_BYTES)?;
            Read::Step(Step::Put(Arc::new(Alert::read(id, json)?)))
        }
        REMOVED => Read::Step(Step::Remove(text.parse().ok()?)),
        FIRED => {
            let Fired { symbol, at } = serde_json::from_str(text).ok()?;
            Read::Fired(symbol.parse().ok()?, at)
        }
        _ => return None,
    })
}

/// False where it is too large, or nobody's who has a name.
fn push_set(records: &mut Records, alert: &Alert) -> bool {
    alert.write().is_some_and(|json| records.push(SET, format!("{}{json}", alert.id).as_bytes()))
}

fn push_fired(records: &mut Records, symbol: &Symbol, at: &Point) -> bool {
    let fired = Fired { symbol: symbol.to_string(), at: at.clone() };
    // Texts and numbers: serialising them cannot fail.
    serde_json::to_vec(&fired).is_ok_and(|json| records.push(FIRED, &json))
}
