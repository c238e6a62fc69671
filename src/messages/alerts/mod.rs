//! Alerts: who wants to be told when a price gets somewhere.
//!
//! Every replica holds the alerts of every user, and those of its own connections, and looks at every tick of the one
//! log. So each tells its own clients, and nothing has to be said between replicas when an alert fires.

mod alert;
mod alone;
mod book;
mod file;
mod held;
mod keeper;
mod past;
mod posts;

use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::value::RawValue;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, mpsc, oneshot};

use crate::bus::Claims;
use crate::clock::Clock;
use crate::market::{Fresh, Market};
use crate::messages::backend::Backend;
use crate::metrics::Metrics;
use crate::pattern::Patterns;
use crate::price::{Epoch, Symbol};
use crate::wire::{self, Answer, ErrorCode, Failure, Rule, SetAlert, Unalert, short};
pub use alert::{Alert, AlertId, Owner, Point, Seat};
pub use file::AlertFile;
use held::Held;
use keeper::{Change, Job};
pub use keeper::{Keeper, Stored};
pub use posts::Posts;

/// Lengths of windows that the alerts of one symbol may measure over. Each is looked at for each tick.
const MAX_WINDOWS: usize = 32;

/// Alerts in one entry of the channels of those that fired.
const ALERTS_PER_FIRING: usize = 64;

/// Entries that may wait to be told to clients, and to the back end: half a million alerts. What is more is dropped and
/// counted, since ticks do not wait.
const FIRINGS_IN_FLIGHT: usize = 8_192;

/// Changes of users' alerts that may wait to be stored; one more is answered with `unavailable`.
const CHANGES_IN_FLIGHT: usize = 1_024;

/// How many alerts there may be.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Of one user, or of one connection of nobody.
    pub most: usize,
    /// In all.
    pub most_in_all: usize,
}

/// The alerts of this replica. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Alerts(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// A std lock: the pump holds it for one batch, a client's request for a few look-ups.
    held: Mutex<Held>,
    settings: Settings,
    market: Arc<Market>,
    clock: Clock,
    metrics: Arc<Metrics>,
    told: mpsc::Sender<Arc<Firing>>,
    /// None where there is no back end.
    posted: Option<mpsc::Sender<Arc<Firing>>>,
    /// Where changes of users' alerts are stored before they take effect; none where they are kept nowhere.
    changes: Option<mpsc::Sender<Job>>,
    /// Whether other replicas have the same alerts.
    is_shared: bool,
    /// Whether there is something to be stored of those that fired.
    has_fired: Notify,
}

/// Alerts that one tick has fired.
#[derive(Debug)]
pub struct Firing {
    /// Of which symbol.
    pub symbol: Symbol,
    point: Point,
    /// Which ones.
    pub alerts: Vec<Arc<Alert>>,
}

impl Firing {
    /// What those are told whose alert this is, as JSON.
    pub fn encode(&self, alert: &Alert) -> Box<RawValue> {
        let (id, Point { epoch, seq, price, ts_ms }) = (alert.id.to_string(), &self.point);
        let (price, ts, seq, rule) = (*price, *ts_ms, *seq, alert.rule);
        wire::Fired { id: &id, symbol: &self.symbol, price, ts, seq, epoch, rule }.encode()
    }
}

/// Those that fired and have not been told to this replica's clients.
#[derive(Debug)]
pub struct Firings(mpsc::Receiver<Arc<Firing>>);

impl Firings {
    /// The next ones; none once there will be no more.
    pub async fn next(&mut self) -> Option<Arc<Firing>> {
        self.0.recv().await
    }
}

/// Who asks.
#[derive(Debug)]
pub struct Asker<'a> {
    /// Whose the alerts are that are meant.
    pub owner: Owner,
    /// The connection, where it is the owner.
    pub seat: Option<Seat>,
    /// Symbols that it may get.
    pub symbols: &'a Patterns,
}

/// What is asked for.
#[derive(Debug)]
pub enum Ask {
    /// One more alert.
    Set(SetAlert),
    /// Which ones there are.
    List,
    /// One less.
    Remove(Unalert),
}

/// The answer, as clients get it.
pub type Reply = Result<Box<RawValue>, Failure>;

/// When the answer is there. What one owner asks for takes effect in that order.
#[derive(Debug)]
pub enum Answering {
    /// It is.
    Now(Reply),
    /// When it is stored. An error: the server ends.
    Later(oneshot::Receiver<Reply>),
}

/// The alerts, and what has to run for them.
pub struct Parts {
    /// The alerts.
    pub alerts: Alerts,
    /// What is to be told to clients.
    pub firings: Firings,
    /// What keeps users' alerts; none where they are kept nowhere.
    pub keeper: Option<Keeper>,
    /// What tells the back end; none where there is none.
    pub posts: Option<Posts>,
}

/// Those alerts that a server which runs alone had when it ended, or none yet. `stored`: where users' alerts are kept.
/// `claims`: how replicas agree on who tells the back end.
pub fn open(
    settings: Settings,
    market: &Arc<Market>,
    (stored, claims): (Stored, Option<Claims>),
    backend: Option<Backend>,
    clock: &Clock,
    metrics: &Arc<Metrics>,
) -> Parts {
    let (told, firings) = mpsc::channel(FIRINGS_IN_FLIGHT);
    metrics.queues.watch("alerts", &told);
    let (posted, posts) = backend
        .map(|backend| {
            let (posted, firings) = mpsc::channel(FIRINGS_IN_FLIGHT);
            metrics.queues.watch("alert_posts", &posted);
            (posted, Posts::new(firings, backend, claims, metrics.clone()))
        })
        .unzip();
    let mut held = Held::default();
    if let Stored::File(file) = &stored {
        held.note_fired();
        held.restore(file.alerts(), file.fired(), market);
        metrics.alerts.set(held.len() as i64);
    }
    let is_kept = !matches!(stored, Stored::Nowhere);
    let (changes, jobs) = mpsc::channel(CHANGES_IN_FLIGHT);
    if is_kept {
        metrics.queues.watch("alert_changes", &changes);
    }
    let alerts = Alerts(Arc::new(Inner {
        held: Mutex::new(held),
        settings,
        market: market.clone(),
        clock: clock.clone(),
        metrics: metrics.clone(),
        told,
        posted,
        changes: is_kept.then_some(changes),
        is_shared: matches!(stored, Stored::Shared(_)),
        has_fired: Notify::new(),
    }));
    let keeper = Keeper::new(alerts.clone(), stored, jobs);
    Parts { alerts, firings: Firings(firings), keeper, posts }
}

impl Alerts {
    /// Does what a client asks for.
    pub fn ask(&self, asker: Asker<'_>, ask: Ask) -> Answering {
        match (&asker.owner, &self.0.changes) {
            (Owner::User(user), Some(changes)) => {
                let change = match self.prepare(&asker, ask) {
                    Ok(change) => change,
                    Err(failure) => return Answering::Now(Err(failure)),
                };
                let (reply, answer) = oneshot::channel();
                let busy = || Failure::new(ErrorCode::Unavailable, "too many alerts are set at once: try again later");
                match changes.try_send(Job { user: user.clone(), change, reply }) {
                    Ok(()) => Answering::Later(answer),
                    Err(_) => Answering::Now(Err(busy())),
                }
            }
            _ => Answering::Now(self.ask_here(&asker, ask)),
        }
    }

    /// A connection has gone, and its alerts with it.
    pub fn forget(&self, connection: u64) {
        let mut held = self.lock();
        held.forget(&Owner::Connection(connection));
        self.0.metrics.alerts.set(held.len() as i64);
    }

    /// Looks at ticks that the market has just taken, in order.
    pub fn take(&self, epoch: &Epoch, fresh: &[Fresh]) {
        let mut held = self.lock();
        if held.is_empty() {
            return;
        }
        for Fresh { tick, .. } in fresh {
            if let Some((point, fired)) = held.take(epoch, tick) {
                self.fire(&mut held, &tick.update.symbol, &point, &fired);
            }
        }
    }

    /// What is to be stored.
    fn prepare(&self, asker: &Asker<'_>, ask: Ask) -> Result<Change, Failure> {
        Ok(match ask {
            Ask::Set(set) => Change::Put(self.new_alert(&self.lock(), asker, set)?),
            Ask::List => Change::List,
            Ask::Remove(Unalert { id }) => Change::Remove(id.parse().map_err(|()| unknown(&id))?),
        })
    }

    fn ask_here(&self, asker: &Asker<'_>, ask: Ask) -> Reply {
        let mut held = self.lock();
        match ask {
            Ask::Set(set) => {
                let (count, most) = (held.count(&asker.owner), self.0.settings.most);
                if count >= most {
                    return Err(self.too_many(count));
                }
                let alert = Arc::new(self.new_alert(&held, asker, set)?);
                let answer = set_answer(&alert);
                held.insert(alert, &self.0.market);
                self.0.metrics.alerts.set(held.len() as i64);
                Ok(answer)
            }
            Ask::List => Ok(list_answer(&held.list(&asker.owner))),
            Ask::Remove(Unalert { id }) => {
                let known = id.parse().ok().filter(|known| held.is_of(*known, &asker.owner));
                held.remove(known.ok_or_else(|| unknown(&id))?);
                self.0.metrics.alerts.set(held.len() as i64);
                Ok(Answer::encode(Ok(wire::Done {})))
            }
        }
    }

    /// An alert that may be set. It is not yet.
    fn new_alert(&self, held: &Held, asker: &Asker<'_>, set: SetAlert) -> Result<Alert, Failure> {
        let SetAlert { symbol: name, rule } = set;
        if !asker.symbols.allows(&name) {
            let message = format!("symbol \"{}\" is not allowed by your token", short(&name));
            return Err(Failure::new(ErrorCode::Forbidden, message));
        }
        let Some((_, symbol)) = self.0.market.symbol(&name) else {
            let message = format!("there is no symbol \"{}\"", short(&name));
            return Err(Failure::new(ErrorCode::UnknownSymbol, message));
        };
        if held.len() >= self.0.settings.most_in_all {
            return Err(self.too_many_in_all());
        }
        if let Rule::Change { window_ms, .. } = rule
            && let (MAX_WINDOWS.., false) = held.windows(&symbol, window_ms / 1000)
        {
            self.0.metrics.limited_alerts.inc();
            let message = format!(
                "windowMs is {window_ms}: alerts on {symbol} are measured over {MAX_WINDOWS} other times already, which \
                 is all that is allowed: choose one that is in use, or try again later"
            );
            return Err(Failure::new(ErrorCode::Unavailable, message));
        }
        let at = held.last(&symbol, &self.0.market);
        let (owner, place, set_ms) = (asker.owner.clone(), asker.seat.clone(), self.0.clock.millis());
        Ok(Alert { id: AlertId::new(), owner, place, symbol, rule, at, set_ms })
    }

    fn too_many(&self, count: usize) -> Failure {
        self.0.metrics.limited_alerts.inc();
        match self.0.settings.most {
            0 => Failure::new(ErrorCode::Unavailable, "this server takes no alerts"),
            most => Failure::invalid(format!("you have {count} alerts: at most {most} are allowed (remove one)")),
        }
    }

    fn too_many_in_all(&self) -> Failure {
        self.0.metrics.limited_alerts.inc();
        full()
    }

    /// Takes an alert that is stored now, whoever set it. `is_news`: ticks may have been taken since then without it, and
    /// these are looked at now.
    fn put(&self, alert: Arc<Alert>, is_news: bool) {
        let mut held = self.lock();
        if held.has(alert.id) {
            return;
        }
        held.insert(alert.clone(), &self.0.market);
        self.0.metrics.alerts.set(held.len() as i64);
        let missed = if is_news { held.missed(&alert, &self.0.market) } else { Vec::new() };
        for point in missed {
            self.fire(&mut held, &alert.symbol, &point, std::slice::from_ref(&alert));
        }
    }

    fn remove(&self, id: AlertId) {
        let mut held = self.lock();
        held.remove(id);
        self.0.metrics.alerts.set(held.len() as i64);
    }

    fn fire(&self, held: &mut Held, symbol: &Symbol, point: &Point, alerts: &[Arc<Alert>]) {
        let metrics = &self.0.metrics;
        if held.note(symbol, point, alerts) {
            self.0.has_fired.notify_one();
        }
        metrics.alerts_fired.add(alerts.len() as u64);
        for alerts in alerts.chunks(ALERTS_PER_FIRING) {
            let firing = Arc::new(Firing { symbol: symbol.clone(), point: point.clone(), alerts: alerts.to_vec() });
            for taker in [Some(&self.0.told), self.0.posted.as_ref()].into_iter().flatten() {
                match taker.try_send(firing.clone()) {
                    Err(TrySendError::Full(_)) => {
                        metrics.alerts_dropped.add(alerts.len() as u64);
                        tracing::warn!(%symbol, alerts = alerts.len(), "too many alerts have fired at once: not told");
                    }
                    // The server ends. Those of users are posted by other replicas.
                    Err(TrySendError::Closed(_)) if !self.0.is_shared => {
                        metrics.alerts_dropped.add(alerts.len() as u64);
                    }
                    Ok(()) | Err(TrySendError::Closed(_)) => {}
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.0.held.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

fn set_answer(alert: &Alert) -> Box<RawValue> {
    Answer::encode(Ok(wire::AlertSet { id: &alert.id.to_string() }))
}

fn list_answer(alerts: &[Arc<Alert>]) -> Box<RawValue> {
    let ids: Vec<String> = alerts.iter().map(|alert| alert.id.to_string()).collect();
    let listed = alerts.iter().zip(&ids);
    let alerts = listed.map(|(alert, id)| wire::Listed { id, symbol: &alert.symbol, rule: alert.rule }).collect();
    Answer::encode(Ok(wire::Alerts { alerts }))
}

fn unknown(id: &str) -> Failure {
    Failure::invalid(format!("id is \"{}\": you have no such alert", short(id)))
}

fn full() -> Failure {
    Failure::new(ErrorCode::Unavailable, "the server has as many alerts as it takes: try again later")
}

#[cfg(test)]
mod tests;
