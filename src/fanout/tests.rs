use std::collections::VecDeque;
use std::sync::Mutex;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::market::Keep;
use crate::pattern::Patterns;
use crate::price::{Epoch, Price, Tick, Update};
use crate::wire::Failure;

/// What every client received, in order, as a Socket.IO server with rooms would have sent it.
#[derive(Clone, Default)]
struct World(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    rooms: HashMap<String, BTreeSet<u64>>,
    received: HashMap<u64, VecDeque<(String, Value)>>,
    full: BTreeSet<u64>,
    closed: BTreeSet<u64>,
}

impl Inner {
    fn give(&mut self, client: u64, event: &str, body: &RawValue) -> bool {
        if self.full.contains(&client) {
            return false;
        }
        let body = serde_json::from_str(body.get()).unwrap();
        self.received.entry(client).or_default().push_back((event.into(), body));
        true
    }
}

impl Outlet for World {
    fn emit(&self, room: &str, event: &str, body: &RawValue) -> usize {
        let mut inner = self.0.lock().unwrap();
        let members = inner.rooms.get(room).cloned().unwrap_or_default();
        members.into_iter().filter(|&client| !inner.give(client, event, body)).count()
    }
}

struct Wire(World, u64);

impl Link for Wire {
    fn join(&self, rooms: Vec<String>) {
        for room in rooms {
            assert!(self.0.0.lock().unwrap().rooms.entry(room).or_default().insert(self.1), "joined twice");
        }
    }
    fn leave(&self, rooms: Vec<String>) {
        for room in rooms {
            assert!(self.0.0.lock().unwrap().rooms.entry(room).or_default().remove(&self.1), "left twice");
        }
    }
    fn leave_all(&self) {
        self.0.0.lock().unwrap().rooms.values_mut().for_each(|members| {
            members.remove(&self.1);
        });
    }
    fn emit(&self, event: &str, body: &RawValue) -> bool {
        self.0.0.lock().unwrap().give(self.1, event, body)
    }
    fn close(&self) {
        self.0.0.lock().unwrap().closed.insert(self.1);
    }
}

struct Back(World, u64, bool);

impl Reply for Back {
    fn by_callback(&self) -> bool {
        self.2
    }
    fn send(self: Box<Self>, answer: Result<Box<RawValue>, Failure>) -> bool {
        let body = answer.unwrap();
        self.0.0.lock().unwrap().give(self.1, "answer", &body)
    }
}

struct Bench {
    world: World,
    fanout: Fanout<World>,
    next: HashMap<String, u64>,
}

impl Bench {
    fn new(symbols: &str) -> Self {
        let metrics = Arc::<Metrics>::default();
        let symbols = symbols.split(' ').map(|name| name.parse().unwrap());
        let market = Arc::new(Market::new(symbols, Keep { age_ms: 1000, ticks: 10 }, metrics.clone()));
        let world = World::default();
        let settings = Settings {
            tick_event: "tick".into(),
            batch_event: "ticks".into(),
            default_mode: Mode::Tick,
            server_id: "app1".into(),
        };
        market.set_feed(Feed { state: FeedState::Live, reason: "test".into() });
        let fanout = Fanout::new(settings, market, metrics, Clock::from_fn(|| 5_000_000), world.clone());
        Self { world, fanout, next: HashMap::new() }
    }

    fn join(&mut self, client: u64) {
        self.join_with(client, Patterns::every());
    }

    fn join_with(&mut self, client: u64, allowed: Patterns) {
        let link = Arc::new(Wire(self.world.clone(), client));
        self.fanout.obey(Command::Join(ClientId(client), link, allowed));
    }

    fn leave(&mut self, client: u64) {
        self.fanout.obey(Command::Leave(ClientId(client)));
    }

    fn request(&mut self, client: u64, request: Request, callback: bool) {
        let reply = Box::new(Back(self.world.clone(), client, callback));
        self.fanout.obey(Command::Request(ClientId(client), request, reply));
    }

    fn subscribe(&mut self, client: u64, symbols: &str, mode: Option<Mode>) -> Value {
        self.request(client, Request::Subscribe(Subscribe { symbols: named(symbols), mode }), true);
        self.take(client).pop().unwrap().1
    }

    fn unsubscribe(&mut self, client: u64, symbols: &str) -> Value {
        self.request(client, Request::Unsubscribe(Unsubscribe { symbols: named(symbols) }), true);
        self.take(client).pop().unwrap().1
    }

    /// One flush with a tick of each of these symbols.
    fn flush(&mut self, symbols: &str) {
        self.flush_in("e", symbols);
    }

    fn flush_in(&mut self, epoch: &str, symbols: &str) {
        let ticks = symbols
            .split(' ')
            .map(|name| {
                let seq = self.next.entry(name.into()).or_insert(100);
                *seq += 1;
                let symbol = name.parse().unwrap();
                let update = Update { symbol, price: Price::from(*seq), ts_ms: 1, bid: None, ask: None, size: None };
                Tick { seq: *seq, update }
            })
            .collect();
        self.fanout.flush(Batch { epoch: Epoch::new(epoch), ticks });
    }

    fn take(&self, client: u64) -> Vec<(String, Value)> {
        self.world.0.lock().unwrap().received.remove(&client).unwrap_or_default().into()
    }

    /// What came, in short: `tick BTC101`, `ticks BTC101 ETH101`.
    fn came(&self, client: u64) -> Vec<String> {
        let tick = |tick: &Value| format!("{}{}", tick["symbol"].as_str().unwrap(), tick["seq"]);
        self.take(client)
            .into_iter()
            .map(|(event, body)| match body.as_array() {
                Some(ticks) => format!("{event} {}", ticks.iter().map(tick).collect::<Vec<_>>().join(" ")),
                None => format!("{event} {}", tick(&body)),
            })
            .collect()
    }

    fn subscribers(&self) -> BTreeMap<String, i64> {
        self.fanout.metrics.subscriptions.all().into_iter().filter(|&(_, count)| count != 0).collect()
    }
}

fn named(symbols: &str) -> Symbols {
    match symbols {
        "*" => Symbols::All,
        names => Symbols::Named(names.split(' ').map(str::to_owned).collect()),
    }
}

#[test]
fn a_snapshot_then_every_tick() {
    let mut bench = Bench::new("BTC ETH");
    bench.join(1);
    bench.flush("BTC");
    let answer = bench.subscribe(1, "BTC ETH FOO", None);
    assert_eq!(
        answer,
        json!({
            "ok": true, "symbols": ["BTC", "ETH"], "mode": "tick", "epoch": "e", "state": "live",
            "rejected": [{
                "symbol": "FOO", "code": "unknown_symbol",
                "message": "there is no symbol \"FOO\" (subscribe to \"*\" for all, or see /stats)",
            }],
            "snapshot": [{"symbol": "BTC", "price": 101, "ts": 1, "seq": 101, "epoch": "e"}],
            "replay": [], "resumed": {}, "server": {"id": "app1", "time": 5000},
        })
    );
    bench.flush("BTC ETH");
    let came = bench.take(1);
    assert_eq!(came[0], ("tick".into(), json!({"symbol": "BTC", "price": 102, "ts": 1, "seq": 102})));
    assert_eq!(
        came[1],
        ("tick".into(), json!({"symbol": "ETH", "price": 101, "ts": 1, "seq": 101, "epoch": "e"})),
        "the first of its symbol names the epoch"
    );
    assert_eq!(bench.fanout.metrics.deliveries.get(), 2);
}

#[test]
fn modes_decide_the_shape_and_a_second_subscribe_replaces_them() {
    let mut bench = Bench::new("BTC ETH");
    for client in 1..=3 {
        bench.join(client);
    }
    bench.subscribe(1, "BTC ETH", Some(Mode::Batch));
    bench.subscribe(2, "BTC ETH", Some(Mode::Both));
    bench.subscribe(3, "*", Some(Mode::Tick));
    bench.flush("BTC ETH BTC");
    assert_eq!(bench.came(1), ["ticks BTC101 ETH101 BTC102"], "two of one symbol in a flush are both sent");
    assert_eq!(bench.came(2), ["tick BTC101", "tick ETH101", "tick BTC102", "ticks BTC101 ETH101 BTC102"]);
    assert_eq!(bench.came(3), ["tick BTC101", "tick ETH101", "tick BTC102"]);
    assert_eq!(bench.fanout.metrics.deliveries.get(), 12);
    assert_eq!(bench.fanout.cohorts.iter().count(), 1, "the same set is one cohort");

    bench.subscribe(2, "ETH", Some(Mode::Tick));
    bench.subscribe(1, "BTC", Some(Mode::Tick));
    bench.flush("BTC ETH");
    assert_eq!(bench.came(1), ["tick BTC103", "ticks ETH102"]);
    assert_eq!(bench.came(2), ["tick BTC103", "tick ETH102", "ticks BTC103"]);
    assert_eq!(bench.subscribers(), BTreeMap::from([("BTC".into(), 3), ("ETH".into(), 3)]));
}

#[test]
fn unsubscribing_ends_what_was_there_and_says_what_was_not() {
    let mut bench = Bench::new("BTC ETH SOL");
    bench.join(1);
    bench.subscribe(1, "*", None);
    let answer = bench.unsubscribe(1, "ETH");
    assert_eq!(answer, json!({"ok": true, "symbols": ["ETH"], "rejected": []}));
    let answer = bench.unsubscribe(1, "ETH FOO");
    assert_eq!(answer["symbols"], json!([]));
    assert_eq!(answer["rejected"][0]["code"], "not_subscribed");
    assert_eq!(answer["rejected"][1]["code"], "unknown_symbol");

    bench.flush("BTC ETH SOL NEW");
    assert_eq!(bench.came(1), ["tick BTC101", "tick SOL101", "tick NEW101"], "later symbols too");
    assert_eq!(bench.unsubscribe(1, "*")["symbols"], json!(["BTC", "NEW", "SOL"]));
    bench.flush("BTC ETH SOL NEW");
    assert!(bench.came(1).is_empty() && bench.subscribers().is_empty());
}

#[test]
fn without_a_callback_the_snapshot_comes_as_events() {
    let mut bench = Bench::new("BTC ETH");
    bench.join(1);
    bench.flush("BTC ETH");
    let request = Subscribe { symbols: Symbols::All, mode: Some(Mode::Both) };
    bench.request(1, Request::Subscribe(request), false);
    let came = bench.take(1);
    let events: Vec<_> = came.iter().map(|(event, _)| event.as_str()).collect();
    assert_eq!(events, ["answer", "tick", "tick", "ticks"]);
    assert_eq!(came[1].1, came[0].1["snapshot"][0]);
    assert_eq!(came[3].1, came[0].1["snapshot"]);
}

#[test]
fn what_nobody_could_take_is_counted_and_a_lost_answer_ends_the_client() {
    let mut bench = Bench::new("BTC");
    for client in 1..=2 {
        bench.join(client);
        bench.subscribe(client, "BTC", Some(Mode::Both));
    }
    bench.world.0.lock().unwrap().full.insert(1);
    bench.flush("BTC");
    assert_eq!(bench.came(2), ["tick BTC101", "ticks BTC101"]);
    let metrics = &bench.fanout.metrics;
    assert_eq!((metrics.deliveries.get(), metrics.drops_queue_full.get()), (2, 2));

    bench.request(1, Request::Unsubscribe(Unsubscribe { symbols: Symbols::All }), true);
    assert!(bench.world.0.lock().unwrap().closed.contains(&1));
    assert_eq!(bench.fanout.metrics.messages_dropped.get(), 1);
}

#[test]
fn those_who_get_ticks_are_told_of_a_change_and_of_a_new_epoch() {
    let mut bench = Bench::new("BTC ETH");
    for client in 1..=2 {
        bench.join(client);
        bench.subscribe(client, "*", Some(Mode::Tick));
    }
    bench.unsubscribe(2, "*");
    bench.flush("BTC");
    bench.take(1);
    let feed = |state| Feed { state, reason: "because".into() };
    bench.fanout.turn(feed(FeedState::Degraded));
    bench.fanout.turn(feed(FeedState::Degraded));
    bench.fanout.turn(feed(FeedState::Live));
    bench.flush_in("f", "BTC");
    let came = bench.take(1);
    let said: Vec<_> = came.iter().map(|(event, body)| (event.as_str(), body.clone())).collect();
    assert_eq!(said[0], ("status", json!({"state": "degraded", "reason": "because"})));
    assert_eq!(said[1], ("status", json!({"state": "live", "reason": "because"})));
    let turned = json!({"state": "live", "reason": "a new epoch: the numbers start over", "epoch": "f"});
    assert_eq!(said[2], ("status", turned));
    assert_eq!((said[3].0, &said[3].1["epoch"]), ("tick", &json!("f")));
    assert!(bench.take(2).is_empty(), "who gets nothing is told nothing");
}

#[test]
fn a_tick_stands_for_those_that_were_lost_on_the_way() {
    let mut bench = Bench::new("BTC");
    bench.join(1);
    bench.flush("BTC");
    bench.subscribe(1, "BTC", None);
    bench.next.insert("BTC".into(), 105);
    bench.flush("BTC");
    let (_, tick) = bench.take(1).pop().unwrap();
    assert_eq!((&tick["seq"], &tick["n"]), (&json!(106), &json!(5)));
}

#[test]
fn nothing_is_left_of_those_who_went() {
    let mut bench = Bench::new("BTC ETH");
    for client in 1..=3 {
        bench.join(client);
        bench.subscribe(client, "*", Some(Mode::Both));
    }
    for client in 1..=3 {
        bench.leave(client);
        bench.leave(client);
    }
    assert!(bench.fanout.sessions.is_empty() && bench.subscribers().is_empty());
    assert_eq!(bench.fanout.cohorts.iter().count(), 0);
    assert!(bench.world.0.lock().unwrap().rooms.values().all(BTreeSet::is_empty));
    bench.request(1, Request::Unsubscribe(Unsubscribe { symbols: Symbols::All }), true);
    assert!(bench.take(1).is_empty(), "a request of one who went is nobody's");
}

#[derive(Clone, Debug)]
enum Step {
    Subscribe(u64, Vec<&'static str>, Mode),
    SubscribeAll(u64, Mode),
    Unsubscribe(u64, Vec<&'static str>),
    UnsubscribeAll(u64),
    Flush(Vec<&'static str>),
    Reconnect(u64),
}

/// What a client wants, as a model of [`Wants`](session::Wants): all in one mode, and what it said of single ones.
type Model = (Option<Mode>, BTreeMap<&'static str, Option<Mode>>);

fn step() -> impl Strategy<Value = Step> {
    let client = 0..3u64;
    let names = || prop::collection::vec(prop::sample::select(vec!["A", "B", "C", "D"]), 1..4);
    let mode = || prop::sample::select(vec![Mode::Tick, Mode::Batch, Mode::Both]);
    prop_oneof![
        3 => (client.clone(), names(), mode()).prop_map(|(c, n, m)| Step::Subscribe(c, n, m)),
        1 => (client.clone(), mode()).prop_map(|(c, m)| Step::SubscribeAll(c, m)),
        2 => (client.clone(), names()).prop_map(|(c, n)| Step::Unsubscribe(c, n)),
        1 => client.clone().prop_map(Step::UnsubscribeAll),
        5 => names().prop_map(Step::Flush),
        1 => client.prop_map(Step::Reconnect),
    ]
}

proptest! {
    /// Whatever clients ask for in whatever order, each gets exactly the ticks of what it wants at that moment, in its
    /// shape, and the counts by symbol are right.
    #[test]
    fn everybody_gets_what_they_want(steps in prop::collection::vec(step(), 1..60)) {
        let mut bench = Bench::new("A B C");
        let mut wants: HashMap<u64, Model> = HashMap::new();
        let mut known = vec!["A", "B", "C"];
        for client in 0..3 {
            bench.join(client);
        }
        for step in steps {
            match step {
                Step::Subscribe(client, names, mode) => {
                    bench.subscribe(client, &names.join(" "), Some(mode));
                    let named = &mut wants.entry(client).or_default().1;
                    named.extend(names.iter().filter(|name| known.contains(name)).map(|&name| (name, Some(mode))));
                }
                Step::SubscribeAll(client, mode) => {
                    bench.subscribe(client, "*", Some(mode));
                    wants.insert(client, (Some(mode), BTreeMap::new()));
                }
                Step::Unsubscribe(client, names) => {
                    bench.unsubscribe(client, &names.join(" "));
                    let named = &mut wants.entry(client).or_default().1;
                    named.extend(names.iter().filter(|name| known.contains(name)).map(|&name| (name, None)));
                }
                Step::UnsubscribeAll(client) => {
                    bench.unsubscribe(client, "*");
                    wants.remove(&client);
                }
                Step::Reconnect(client) => {
                    bench.leave(client);
                    bench.join(client);
                    wants.remove(&client);
                }
                Step::Flush(names) => {
                    bench.flush(&names.join(" "));
                    if names.contains(&"D") && !known.contains(&"D") {
                        known.push("D");
                    }
                    for client in 0..3 {
                        let (all, named) = wants.get(&client).cloned().unwrap_or_default();
                        let mode = |name: &str| named.get(name).copied().unwrap_or(all);
                        let count = |shape: fn(Mode) -> bool| {
                            names.iter().filter(|name| mode(name).is_some_and(shape)).count()
                        };
                        let came = bench.take(client);
                        let ticks = came.iter().filter(|(event, _)| event == "tick").count();
                        let in_batches: usize =
                            came.iter().filter_map(|(_, body)| Some(body.as_array()?.len())).sum();
                        prop_assert_eq!(ticks, count(Mode::has_tick));
                        prop_assert_eq!(in_batches, count(Mode::has_batch));
                        prop_assert!(came.iter().filter(|(event, _)| event == "ticks").count() <= 1);
                    }
                }
            }
            let expected: BTreeMap<String, i64> = known
                .iter()
                .map(|name| {
                    let has = |(all, named): &Model| {
                        named.get(name).copied().unwrap_or(*all).is_some()
                    };
                    ((*name).to_owned(), i64::try_from(wants.values().filter(|wants| has(wants)).count()).unwrap())
                })
                .filter(|&(_, count)| count != 0)
                .collect();
            prop_assert_eq!(bench.subscribers(), expected);
        }
    }
}
