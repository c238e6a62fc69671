use serde_json::{Value, json};

use super::*;
use crate::market::{Keep, Kept};
use crate::price::{Batch, Price, Tick, Update};

/// A market and the alerts on it.
pub(super) struct Desk {
    pub(super) market: Arc<Market>,
    pub(super) parts: Parts,
    epoch: &'static str,
    seq: u64,
}

fn batch(epoch: &str, seq: u64, prices: &[u32]) -> Batch {
    let tick = |(price, seq): (&u32, u64)| {
        let (symbol, price) = ("BTC".parse().unwrap(), Price::from(*price));
        let update = Update { symbol, price, ts_ms: seq * 1000, bid: None, ask: None, size: None };
        Tick { seq, update }
    };
    Batch { epoch: Epoch::new(epoch), ticks: prices.iter().zip(seq..).map(tick).collect() }
}

impl Desk {
    fn new(settings: Settings) -> Self {
        Self::of("e", settings, Desk::market(), Stored::Nowhere)
    }

    pub(super) fn market() -> Arc<Market> {
        let keep = Keep { age_ms: 60_000, ticks: 100, candles: Kept::default() };
        Arc::new(Market::new(["BTC".parse().unwrap()], keep, Arc::default()))
    }

    pub(super) fn of(epoch: &'static str, settings: Settings, market: Arc<Market>, stored: Stored) -> Self {
        let clock = Clock::from_fn(|| 5_000_000);
        let parts = open(settings, &market, (stored, None), None, &clock, &Arc::default());
        Self { market, parts, epoch, seq: 100 }
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.parts.alerts.0.metrics
    }

    /// The market takes these, and the alerts look at them.
    pub(super) fn take(&mut self, prices: &[u32]) {
        let batch = batch(self.epoch, self.seq, prices);
        self.seq += prices.len() as u64;
        let epoch = batch.epoch.clone();
        let applied = self.market.apply(batch);
        self.parts.alerts.take(&epoch, &applied.fresh);
    }

    fn ask(&self, owner: &Owner, ask: Ask) -> Result<Value, Failure> {
        let asker = Asker { owner: owner.clone(), seat: None, symbols: &Patterns::every() };
        let Answering::Now(reply) = self.parts.alerts.ask(asker, ask) else { panic!("nobody is asked") };
        reply.map(|json| serde_json::from_str(json.get()).unwrap())
    }

    fn set(&self, owner: &Owner, price: u32) -> Result<String, Failure> {
        let set = SetAlert { symbol: "BTC".into(), rule: Rule::Above(price.into()) };
        self.ask(owner, Ask::Set(set)).map(|answer| answer["id"].as_str().unwrap().to_owned())
    }

    /// What has fired since: by id and price.
    pub(super) fn fired(&mut self) -> Vec<(String, u64)> {
        let mut fired = Vec::new();
        while let Ok(firing) = self.parts.firings.0.try_recv() {
            fired.extend(firing.alerts.iter().map(|alert| {
                let body: Value = serde_json::from_str(firing.encode(alert).get()).unwrap();
                (body["id"].as_str().unwrap().to_owned(), body["seq"].as_u64().unwrap())
            }));
        }
        fired
    }
}

pub(super) const MANY: Settings = Settings { most: 1000, most_in_all: 1000 };

pub(super) fn amy() -> Owner {
    Owner::User("amy".into())
}

#[test]
fn an_owner_has_alerts_until_they_are_removed_or_forgotten() {
    let mut desk = Desk::new(MANY);
    desk.take(&[5]);
    let (connection, other) = (Owner::Connection(1), Owner::Connection(2));
    let ids = [desk.set(&amy(), 10).unwrap(), desk.set(&connection, 10).unwrap(), desk.set(&other, 10).unwrap()];
    desk.take(&[10]);
    let fired = desk.fired();
    assert!(ids.iter().all(|id| fired.contains(&(id.clone(), 101))) && fired.len() == 3);
    let remove = |id: &str| Ask::Remove(Unalert { id: id.to_owned() });
    assert_eq!(desk.ask(&other, remove(&ids[1])).unwrap_err(), unknown(&ids[1]), "another one's");
    assert_eq!(desk.ask(&other, remove("x")).unwrap_err(), unknown("x"));
    assert_eq!(desk.ask(&other, remove(&ids[2])), Ok(json!({"ok": true})));
    desk.parts.alerts.forget(1);
    let listed = json!({"ok": true, "alerts": [{"id": ids[0], "symbol": "BTC", "rule": {"above": 10}}]});
    assert_eq!(desk.ask(&amy(), Ask::List), Ok(listed));
    assert_eq!(desk.ask(&connection, Ask::List), Ok(json!({"ok": true, "alerts": []})));
    assert_eq!(desk.metrics().alerts.get(), 1);
    desk.take(&[5, 10]);
    assert_eq!(desk.fired(), [(ids[0].clone(), 103)]);
}

#[test]
fn there_are_only_so_many() {
    let desk = Desk::new(Settings { most: 2, most_in_all: 3 });
    let other = Owner::Connection(1);
    for owner in [&amy(), &amy(), &other] {
        desk.set(owner, 1).unwrap();
    }
    assert!(desk.set(&amy(), 1).unwrap_err().message.starts_with("you have 2 alerts: at most 2"));
    assert_eq!(desk.set(&other, 1).unwrap_err(), full());
    assert_eq!(desk.metrics().limited_alerts.get(), 2);
    assert_eq!(
        Desk::new(Settings { most: 0, most_in_all: 3 }).set(&other, 1).unwrap_err().code,
        ErrorCode::Unavailable
    );
}

#[test]
fn one_that_is_heard_of_late_fires_for_what_it_missed() {
    let mut desk = Desk::new(MANY);
    // Set elsewhere at 101, when the price was 9.
    desk.take(&[20, 9]);
    let set = |id, epoch: &str, seq, price: u32| {
        let at = Some(Point { epoch: Epoch::new(epoch), seq, price: price.into(), ts_ms: seq * 1000 });
        let rule = Rule::Above(10.into());
        Alert { id: AlertId(id), owner: amy(), place: None, symbol: "BTC".parse().unwrap(), rule, at, set_ms: id }
    };
    desk.take(&[11, 9, 12]);
    desk.parts.alerts.put(Arc::new(set(1, "e", 101, 9)), true);
    let name = |id: u64| AlertId(id).to_string();
    assert_eq!(desk.fired(), [(name(1), 102), (name(1), 104)]);
    desk.parts.alerts.put(Arc::new(set(1, "e", 101, 9)), true);
    desk.parts.alerts.put(Arc::new(set(2, "e", 101, 9)), false);
    desk.parts.alerts.put(Arc::new(set(3, "older", 101, 9)), true);
    assert_eq!(desk.fired(), [], "known; from before this replica's time; of another epoch");
    // What the market has forgotten is one step.
    desk.parts.alerts.put(Arc::new(set(4, "e", 50, 9)), true);
    assert_eq!(desk.fired(), [(name(4), 104)]);
    // Set ahead of what is known here: its time is to come.
    desk.parts.alerts.put(Arc::new(set(5, "e", 106, 9)), true);
    desk.take(&[9, 12, 9, 12]);
    let fired: Vec<u64> = desk.fired().into_iter().filter(|(id, _)| *id == name(5)).map(|(_, seq)| seq).collect();
    assert_eq!(fired, [108]);
}

#[test]
fn what_finds_no_room_is_counted_and_the_pump_does_not_wait() {
    let mut desk = Desk::new(MANY);
    desk.take(&[1]);
    desk.set(&amy(), 10).unwrap();
    for _ in 0..=FIRINGS_IN_FLIGHT {
        desk.take(&[9, 10]);
    }
    assert_eq!(desk.metrics().alerts_fired.get(), FIRINGS_IN_FLIGHT as u64 + 1);
    assert_eq!(desk.metrics().alerts_dropped.get(), 1);
    assert_eq!(desk.fired().len(), FIRINGS_IN_FLIGHT);
}

#[test]
fn many_that_fire_at_once_come_in_handfuls() {
    let mut desk = Desk::new(MANY);
    desk.take(&[1]);
    (0..200).for_each(|_| drop(desk.set(&amy(), 10).unwrap()));
    desk.take(&[10]);
    let firing = desk.parts.firings.0.try_recv().unwrap();
    assert_eq!(firing.alerts.len(), ALERTS_PER_FIRING);
    assert_eq!(desk.fired().len(), 200 - ALERTS_PER_FIRING);
}
