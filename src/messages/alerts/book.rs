use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Included, Unbounded};
use std::sync::Arc;

use super::past::{Past, change};
use super::{Alert, AlertId, Point};
use crate::price::Price;
use crate::wire::Rule;

/// Alerts by what they wait for. Those of one threshold are told apart by their ids.
type Ordered = BTreeMap<(Price, AlertId), Arc<Alert>>;

/// The alerts of one symbol.
///
/// A crossing is a matter of two prices, one after the other: nothing is noted of a single alert, and none is looked at
/// that lies beside their way.
#[derive(Debug, Default)]
pub(super) struct Book {
    above: Ordered,
    below: Ordered,
    /// By the length of the window, in s.
    windows: BTreeMap<u64, Window>,
    /// None while nobody measures a change.
    past: Option<Past>,
    /// What was looked at last.
    last: Option<Point>,
    /// Where the price may go without firing `above` or `below`; none where that has to be looked up.
    quiet: Option<Quiet>,
}

/// A range of prices without a threshold: the nearest ones around it.
#[derive(Clone, Copy, Debug)]
struct Quiet {
    /// Of `above`: the last that was reached, and the next.
    above: (Option<Price>, Option<Price>),
    /// Of `below`: the next, and the last that was reached.
    below: (Option<Price>, Option<Price>),
}

impl Quiet {
    /// Around this price.
    fn around(book: &Book, price: Price) -> Self {
        let split = |alerts: &Ordered, at: (Price, AlertId)| {
            let under = threshold(alerts.range((Unbounded, Included(at))).next_back());
            (under, threshold(alerts.range((Excluded(at), Unbounded)).next()))
        };
        Self { above: split(&book.above, (price, LAST)), below: split(&book.below, (price, FIRST)) }
    }

    fn holds(&self, price: Price) -> bool {
        let (reached, next) = self.above;
        let above = reached.is_none_or(|threshold| threshold <= price) && next.is_none_or(|next| price < next);
        let (next, reached) = self.below;
        above && next.is_none_or(|next| next < price) && reached.is_none_or(|threshold| price <= threshold)
    }
}

fn threshold(entry: Option<(&(Price, AlertId), &Arc<Alert>)>) -> Option<Price> {
    entry.map(|((threshold, _), _)| *threshold)
}

/// Alerts that measure a change over the same time.
#[derive(Debug, Default)]
struct Window {
    alerts: Ordered,
    /// How far the last price was from what it had been.
    last: Price,
}

const FIRST: AlertId = AlertId(u64::MIN);
const LAST: AlertId = AlertId(u64::MAX);

/// Those that a price which has gone from `before` to `now` has reached from below.
fn reached(alerts: &Ordered, before: Price, now: Price) -> impl Iterator<Item = &Arc<Alert>> {
    // Backwards there is no range at all.
    let range = (before < now).then(|| alerts.range((Excluded((before, LAST)), Included((now, LAST)))));
    range.into_iter().flatten().map(|(_, alert)| alert)
}

/// Those that it has reached from above.
fn fallen(alerts: &Ordered, before: Price, now: Price) -> impl Iterator<Item = &Arc<Alert>> {
    let range = (now < before).then(|| alerts.range((Included((now, FIRST)), Excluded((before, FIRST)))));
    range.into_iter().flatten().map(|(_, alert)| alert)
}

impl Book {
    /// Of a symbol that is here now.
    pub(super) fn at(last: Option<Point>) -> Self {
        Self { last, ..Self::default() }
    }

    /// What was looked at last.
    pub(super) fn last(&self) -> Option<&Point> {
        self.last.as_ref()
    }

    /// True where there is no alert.
    pub(super) fn is_empty(&self) -> bool {
        self.above.is_empty() && self.below.is_empty() && self.windows.is_empty()
    }

    /// How many lengths of windows there are, and whether this is one of them.
    pub(super) fn windows(&self, window_s: u64) -> (usize, bool) {
        (self.windows.len(), self.windows.contains_key(&window_s))
    }

    /// Takes an alert. `recent` is what is known of the symbol's prices before, with their times in ms, oldest first.
    pub(super) fn insert(&mut self, alert: Arc<Alert>, recent: impl FnOnce() -> Vec<(u64, Price)>) {
        self.quiet = None;
        match alert.rule {
            Rule::Above(price) => self.above.insert((price, alert.id), alert),
            Rule::Below(price) => self.below.insert((price, alert.id), alert),
            Rule::Change { percent, window_ms } => {
                let window_s = window_ms / 1000;
                let last = &self.last;
                let past = self.past.get_or_insert_with(|| {
                    let mut past = Past::default();
                    let seen = last.iter().map(|last| (last.ts_ms, last.price));
                    recent().into_iter().chain(seen).for_each(|(ts_ms, price)| past.push(ts_ms, price));
                    past
                });
                let window = self.windows.entry(window_s).or_insert_with(|| {
                    let distance = last.as_ref().and_then(|last| distance(past, window_s, last));
                    Window { alerts: Ordered::new(), last: distance.unwrap_or_default() }
                });
                window.alerts.insert((percent, alert.id), alert)
            }
        };
    }

    /// Lets go of an alert.
    pub(super) fn remove(&mut self, alert: &Alert) {
        self.quiet = None;
        match alert.rule {
            Rule::Above(price) => drop(self.above.remove(&(price, alert.id))),
            Rule::Below(price) => drop(self.below.remove(&(price, alert.id))),
            Rule::Change { percent, window_ms } => {
                let window_s = window_ms / 1000;
                if let Some(window) = self.windows.get_mut(&window_s) {
                    window.alerts.remove(&(percent, alert.id));
                    if window.alerts.is_empty() {
                        self.windows.remove(&window_s);
                    }
                }
                if self.windows.is_empty() {
                    self.past = None;
                }
            }
        }
    }

    /// Takes the next tick: the alerts that it fires. A tick that was looked at before fires nothing.
    pub(super) fn take(&mut self, now: Point) -> Vec<Arc<Alert>> {
        if self.last.as_ref().is_some_and(|last| last.epoch == now.epoch && now.seq <= last.seq) {
            return Vec::new();
        }
        let mut fired = Vec::new();
        let mut fire = |alert: &Arc<Alert>| {
            if alert.is_before(&now) {
                fired.push(alert.clone());
            }
        };
        if let Some(before) = &self.last {
            // Most ticks stay between the thresholds around them: two searches saved.
            if !self.quiet.is_some_and(|quiet| quiet.holds(now.price)) {
                reached(&self.above, before.price, now.price).for_each(&mut fire);
                fallen(&self.below, before.price, now.price).for_each(&mut fire);
                self.quiet = Some(Quiet::around(self, now.price));
            }
        }
        if let Some(past) = &mut self.past {
            for (window_s, window) in &mut self.windows {
                let distance = distance(past, *window_s, &now).unwrap_or_default();
                reached(&window.alerts, window.last, distance).for_each(&mut fire);
                window.last = distance;
            }
            past.push(now.ts_ms, now.price);
        }
        self.last = Some(now);
        fired
    }

    /// Which of these, that came after an alert was set, would have fired it.
    pub(super) fn missed(&self, alert: &Alert, between: &[Point]) -> Vec<Point> {
        let Some(set) = &alert.at else { return Vec::new() };
        let measure = |point: &Point| match alert.rule {
            Rule::Above(_) | Rule::Below(_) => Some(point.price),
            Rule::Change { window_ms, .. } => distance(self.past.as_ref()?, window_ms / 1000, point),
        };
        let crosses = |before: Price, now: Price| match alert.rule {
            Rule::Above(price) => before < price && price <= now,
            Rule::Below(price) => now <= price && price < before,
            Rule::Change { percent, .. } => before < percent && percent <= now,
        };
        let mut before = measure(set).unwrap_or_default();
        let mut missed = Vec::new();
        for point in between {
            let now = measure(point).unwrap_or_default();
            if crosses(before, now) {
                missed.push(point.clone());
            }
            before = now;
        }
        missed
    }
}

/// How far a price is from what it was a window before, in percent.
fn distance(past: &Past, window_s: u64, now: &Point) -> Option<Price> {
    change(now.price, past.before(now.ts_ms, window_s)?)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::messages::alerts::Owner;
    use crate::price::Epoch;

    fn point(seq: u64, price: Price) -> Point {
        Point { epoch: Epoch::new("e"), seq, price, ts_ms: 1_000_000 + seq * 400 }
    }

    fn alert(id: u64, rule: Rule, at: Option<Point>) -> Arc<Alert> {
        let symbol = "BTC".parse().unwrap();
        Arc::new(Alert { id: AlertId(id), owner: Owner::User("u".into()), place: None, symbol, rule, at, set_ms: 0 })
    }

    fn ids(fired: &[Arc<Alert>]) -> BTreeSet<u64> {
        fired.iter().map(|alert| alert.id.0).collect()
    }

    /// Fires at each of these prices.
    fn walk(rule: Rule, prices: &[u32]) -> Vec<u32> {
        let mut book = Book::at(Some(point(0, prices[0].into())));
        book.insert(alert(1, rule, None), Vec::new);
        let ticks = prices[1..].iter().zip(1..);
        ticks
            .filter(|(price, seq)| !book.take(point(*seq, (**price).into())).is_empty())
            .map(|(price, _)| *price)
            .collect()
    }

    #[test]
    fn fires_once_for_each_crossing_and_exactly_at_the_threshold() {
        assert_eq!(walk(Rule::Above(10.into()), &[9, 10, 11, 10, 10, 9, 12, 13]), [10, 12]);
        assert_eq!(walk(Rule::Below(10.into()), &[11, 10, 9, 10, 10, 11, 8, 7]), [10, 8]);
        assert_eq!(walk(Rule::Above(10.into()), &[10, 11, 12]), [0u32; 0], "it was there when it was set");
        assert_eq!(walk(Rule::Above("10.00".parse().unwrap()), &[9, 10]), [10]);
        // From 100 within a second: down is as far as up.
        let change = Rule::Change { percent: 2.into(), window_ms: 3_600_000 };
        assert_eq!(walk(change, &[100, 101, 102, 103, 101, 98, 97, 102]), [102, 98], "102 is as far as 97 was");
    }

    #[test]
    fn a_repeat_is_no_crossing_and_a_new_epoch_is_none_by_itself() {
        let mut book = Book::at(None);
        book.insert(alert(1, Rule::Above(10.into()), None), Vec::new);
        assert_eq!(book.take(point(5, 11.into())).len(), 0, "nobody knows where it came from");
        book.take(point(6, 9.into()));
        assert_eq!(book.take(point(7, 11.into())).len(), 1);
        assert_eq!(book.take(point(6, 9.into())).len() + book.take(point(7, 11.into())).len(), 0, "said again");
        let other = |seq, price: u32| Point { epoch: Epoch::new("f"), ..point(seq, price.into()) };
        assert_eq!(book.take(other(1, 11)).len(), 0, "restated");
        book.take(other(2, 9));
        assert_eq!(book.take(Point { epoch: Epoch::new("g"), ..point(1, 11.into()) }).len(), 1, "it did move");
    }

    #[test]
    fn what_was_before_an_alert_does_not_fire_it() {
        let mut book = Book::at(Some(point(1, 9.into())));
        book.insert(alert(1, Rule::Above(10.into()), Some(point(3, 9.into()))), Vec::new);
        let fired: Vec<_> =
            [(2, 11), (3, 9), (4, 11)].map(|(seq, price): (u64, u32)| book.take(point(seq, price.into())).len()).into();
        assert_eq!(fired, [0, 0, 1]);
    }

    #[test]
    fn what_came_before_it_was_heard_of_is_made_up_for() {
        let ticks = [(2, 11u32), (3, 9), (4, 10), (5, 12)].map(|(seq, price)| point(seq, price.into()));
        let book = Book::at(Some(point(5, 12.into())));
        let missed =
            |rule, at| -> Vec<u64> { book.missed(&alert(1, rule, at), &ticks).iter().map(|point| point.seq).collect() };
        assert_eq!(missed(Rule::Above(10.into()), Some(point(1, 9.into()))), [2, 4]);
        assert_eq!(missed(Rule::Below(10.into()), Some(point(1, 9.into()))), [3]);
        assert_eq!(missed(Rule::Above(10.into()), None), [0u64; 0]);
    }

    #[test]
    fn what_nobody_measures_any_more_is_forgotten() {
        let mut book = Book::at(Some(point(0, 1.into())));
        let rules = [1000, 2000].map(|window_ms| Rule::Change { percent: 1.into(), window_ms });
        let alerts: Vec<_> = rules.into_iter().zip(1..).map(|(rule, id)| alert(id, rule, None)).collect();
        alerts.iter().for_each(|alert| book.insert(alert.clone(), Vec::new));
        assert_eq!((book.windows(1), book.windows(3)), ((2, true), (2, false)));
        alerts.iter().for_each(|alert| book.remove(alert));
        assert!(book.is_empty() && book.past.is_none());
    }

    fn rules() -> impl Strategy<Value = Rule> {
        prop_oneof![
            (80u32..120).prop_map(|price| Rule::Above(price.into())),
            (80u32..120).prop_map(|price| Rule::Below(price.into())),
            (1u32..30, 1u64..20)
                .prop_map(|(percent, window_s)| Rule::Change { percent: percent.into(), window_ms: window_s * 1000 }),
        ]
    }

    proptest! {
        #[test]
        fn fires_what_a_scan_of_all_would(
            rules in prop::collection::vec((rules(), 0usize..30), 1..40),
            // Steps, and now and then a jump over many thresholds.
            steps in prop::collection::vec(prop_oneof![8 => -1i64..=1, 2 => -30i64..=30], 1..60),
        ) {
            let (mut book, mut held, mut price) = (Book::at(Some(point(0, 100.into()))), Vec::new(), 100i64);
            let mut all: Vec<(u64, Price)> = vec![(point(0, 100.into()).ts_ms, 100.into())];
            // What an alert measures, by all prices there ever were.
            let naive = |all: &[(u64, Price)], rule: &Rule, (ts_ms, price): (u64, Price)| match rule {
                Rule::Above(_) | Rule::Below(_) => price,
                Rule::Change { window_ms, .. } => {
                    let then = (ts_ms / 1000).saturating_sub(window_ms / 1000);
                    let known = all.iter().rev().find(|(at, _)| at / 1000 <= then).or(all.first());
                    change(price, known.map_or(price, |(_, price)| *price)).unwrap_or_default()
                }
            };
            for (step, seq) in steps.into_iter().zip(1u64..) {
                for (id, (rule, from)) in rules.iter().enumerate() {
                    if *from as u64 == seq - 1 {
                        // Those who measure a change hear of the past from the market.
                        let recent = all.clone();
                        let new = alert(id as u64, *rule, None);
                        book.insert(new.clone(), || recent);
                        let before = naive(&all[..all.len() - 1], rule, all[all.len() - 1]);
                        held.push((new, before));
                    }
                }
                price = (price + step).clamp(70, 130);
                let now = point(seq, Price::from(price));
                let fired = ids(&book.take(now.clone()));
                let mut expected = BTreeSet::new();
                for (alert, before) in &mut held {
                    let after = naive(&all, &alert.rule, (now.ts_ms, now.price));
                    let crossed = match alert.rule {
                        Rule::Above(price) => *before < price && price <= after,
                        Rule::Below(price) => after <= price && price < *before,
                        Rule::Change { percent, .. } => *before < percent && percent <= after,
                    };
                    if crossed {
                        expected.insert(alert.id.0);
                    }
                    *before = after;
                }
                prop_assert_eq!(fired, expected, "at {} by {}", price, seq);
                all.push((now.ts_ms, now.price));
            }
            held.iter().for_each(|(alert, _)| book.remove(alert));
            prop_assert!(book.is_empty());
        }
    }
}
