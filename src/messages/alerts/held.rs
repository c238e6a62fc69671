use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::book::Book;
use super::{Alert, AlertId, Owner, Point};
use crate::market::Market;
use crate::price::{Epoch, Symbol, Tick};

/// Ticks that are looked at again for an alert that was heard of late: more than come in any ordinary delay.
const MAX_MISSED: usize = 10_000;

/// All alerts of this replica: by symbol, by name, and by whose they are.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// Of symbols that have alerts, and no others.
    books: HashMap<Symbol, Book>,
    alerts: HashMap<AlertId, Arc<Alert>>,
    /// In the order in which they were set.
    owners: HashMap<Owner, BTreeSet<(u64, AlertId)>>,
    /// Where symbols were when a user's alert on them fired, since that was asked for; none where nobody wants to know.
    noted: Option<HashMap<Symbol, Point>>,
}

impl Held {
    pub(super) fn len(&self) -> usize {
        self.alerts.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.alerts.is_empty()
    }

    pub(super) fn has(&self, id: AlertId) -> bool {
        self.alerts.contains_key(&id)
    }

    /// How many are this owner's.
    pub(super) fn count(&self, owner: &Owner) -> usize {
        self.owners.get(owner).map_or(0, BTreeSet::len)
    }

    /// True where there is an alert of this name, and it is this owner's.
    pub(super) fn is_of(&self, id: AlertId, owner: &Owner) -> bool {
        self.alerts.get(&id).is_some_and(|alert| alert.owner == *owner)
    }

    /// An owner's alerts, in the order in which they were set.
    pub(super) fn list(&self, owner: &Owner) -> Vec<Arc<Alert>> {
        let ids = self.owners.get(owner).into_iter().flatten();
        ids.filter_map(|(_, id)| self.alerts.get(id).cloned()).collect()
    }

    /// Every user's alerts.
    pub(super) fn of_users(&self) -> impl Iterator<Item = &Arc<Alert>> {
        self.alerts.values().filter(|alert| matches!(alert.owner, Owner::User(_)))
    }

    /// How many lengths of windows the alerts of a symbol have, and whether this is one of them.
    pub(super) fn windows(&self, symbol: &Symbol, window_s: u64) -> (usize, bool) {
        self.books.get(symbol).map_or((0, false), |book| book.windows(window_s))
    }

    /// Where a symbol is: what fires an alert that is set now comes after this.
    pub(super) fn last(&self, symbol: &Symbol, market: &Market) -> Option<Point> {
        match self.books.get(symbol) {
            Some(book) => book.last().cloned(),
            None => latest(symbol, market),
        }
    }

    /// Takes an alert that is not here yet.
    pub(super) fn insert(&mut self, alert: Arc<Alert>, market: &Market) {
        let symbol = &alert.symbol;
        let book = self.books.entry(symbol.clone()).or_insert_with(|| Book::at(latest(symbol, market)));
        book.insert(alert.clone(), || market.recent_prices(symbol));
        self.list_new(alert);
    }

    /// Takes the alerts of a process that has ended, before the first tick. Where symbols were says the last of what is known
    /// of that: candles, which may be older than the end by what a kill costs, when alerts were set, and when they `fired`.
    /// So no crossing counts twice, and one that lies between the processes once.
    pub(super) fn restore<'a>(
        &mut self,
        alerts: impl Iterator<Item = &'a Arc<Alert>> + Clone,
        fired: &HashMap<Symbol, Point>,
        market: &Market,
    ) {
        let mut lasts: HashMap<&Symbol, Option<Point>> = HashMap::new();
        for alert in alerts.clone() {
            let symbol = &alert.symbol;
            let last = lasts.entry(symbol).or_insert_with(|| {
                let in_candles = market.last_in_candles(symbol).map(|(epoch, tick)| Point::of(&epoch, &tick));
                later(in_candles, fired.get(symbol))
            });
            *last = later(last.take(), alert.at.as_ref());
        }
        for alert in alerts {
            let symbol = &alert.symbol;
            let last = || lasts.get(symbol).cloned().flatten();
            let book = self.books.entry(symbol.clone()).or_insert_with(|| Book::at(last()));
            book.insert(alert.clone(), || market.prices_in_candles(symbol));
            self.list_new(alert.clone());
        }
    }

    fn list_new(&mut self, alert: Arc<Alert>) {
        self.owners.entry(alert.owner.clone()).or_default().insert((alert.set_ms, alert.id));
        self.alerts.insert(alert.id, alert);
    }

    /// Lets go of an alert, if it is here.
    pub(super) fn remove(&mut self, id: AlertId) {
        let Some(alert) = self.alerts.remove(&id) else { return };
        if let Some(book) = self.books.get_mut(&alert.symbol) {
            book.remove(&alert);
            if book.is_empty() {
                self.books.remove(&alert.symbol);
            }
        }
        if let Entry::Occupied(mut owned) = self.owners.entry(alert.owner.clone()) {
            owned.get_mut().remove(&(alert.set_ms, id));
            if owned.get().is_empty() {
                owned.remove();
            }
        }
    }

    /// Lets go of all alerts of an owner.
    pub(super) fn forget(&mut self, owner: &Owner) {
        for (_, id) in self.owners.remove(owner).into_iter().flatten() {
            self.remove(id);
        }
    }

    /// From now on it is noted where symbols are when users' alerts fire.
    pub(super) fn note_fired(&mut self) {
        self.noted.get_or_insert_default();
    }

    /// Notes where a symbol was when these fired. True where somebody wants to know.
    pub(super) fn note(&mut self, symbol: &Symbol, at: &Point, fired: &[Arc<Alert>]) -> bool {
        let Some(noted) = &mut self.noted else { return false };
        let is_kept = fired.iter().any(|alert| matches!(alert.owner, Owner::User(_)));
        if is_kept {
            noted.insert(symbol.clone(), at.clone());
        }
        is_kept
    }

    /// What was noted since this was asked last.
    pub(super) fn take_noted(&mut self) -> HashMap<Symbol, Point> {
        self.noted.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Notes again what could not be stored, but for symbols of which there is more by now.
    pub(super) fn note_again(&mut self, fired: &HashMap<Symbol, Point>) {
        for (symbol, at) in fired {
            self.noted.get_or_insert_default().entry(symbol.clone()).or_insert_with(|| at.clone());
        }
    }

    /// Looks at the next tick: where it is, and what it fires, if anything.
    pub(super) fn take(&mut self, epoch: &Epoch, tick: &Tick) -> Option<(Point, Vec<Arc<Alert>>)> {
        let book = self.books.get_mut(&tick.update.symbol)?;
        let point = Point::of(epoch, tick);
        let fired = book.take(point.clone());
        (!fired.is_empty()).then_some((point, fired))
    }

    /// Ticks that came after the alert was set and were looked at here without it, and would have fired it. Of an epoch
    /// that has ended, or is not known here yet, there are none.
    pub(super) fn missed(&self, alert: &Alert, market: &Market) -> Vec<Point> {
        let book = self.books.get(&alert.symbol);
        let Some((book, last, at)) = book.and_then(|book| Some((book, book.last()?, alert.at.as_ref()?))) else {
            return Vec::new();
        };
        if at.epoch != last.epoch || at.seq >= last.seq {
            return Vec::new();
        }
        let between = market
            .symbol(alert.symbol.as_str())
            .and_then(|(id, _)| market.since(id, at.seq, last.seq, MAX_MISSED))
            .map(|ticks| ticks.iter().map(|tick| Point::of(&last.epoch, tick)).collect());
        // Where the past does not reach back so far: all of it as one step.
        book.missed(alert, &between.unwrap_or_else(|| vec![last.clone()]))
    }
}

/// The later of two prices of a symbol: by number where both are of one epoch, else by their times.
fn later(one: Option<Point>, other: Option<&Point>) -> Option<Point> {
    let (Some(point), Some(other)) = (&one, other) else { return one.or_else(|| other.cloned()) };
    let is_later = if point.epoch == other.epoch { other.seq > point.seq } else { other.ts_ms > point.ts_ms };
    if is_later { Some(other.clone()) } else { one }
}

fn latest(symbol: &Symbol, market: &Market) -> Option<Point> {
    market.latest_of(symbol.as_str()).map(|(epoch, tick)| Point::of(&epoch, &tick))
}
