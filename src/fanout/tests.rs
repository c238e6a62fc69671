mod basics;
mod charts;
mod conflation;
mod flushes;
mod lanes;
mod pace;
mod quiet;
mod resume;
mod slow;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::FutureExt;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::flush::Flush;
use super::handle::Command;
use super::*;
use crate::market::{Keep, Kept};
use crate::net::Lane;
use crate::pattern::Patterns;
use crate::price::{Batch, Epoch, Feed, FeedState, Price, Tick, Update};
use crate::wire::{Answer, Failure, Subscribe, Symbols, Unsubscribe};

/// What every client received, in order, and how much more it takes.
#[derive(Clone, Default)]
struct World(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    received: HashMap<u64, VecDeque<(String, Value)>>,
    /// How many more events with ticks a client takes; all of them where it says nothing.
    room: HashMap<u64, usize>,
    /// Who can be sent no message.
    full: BTreeSet<u64>,
    closed: BTreeSet<u64>,
}

impl Inner {
    fn give(&mut self, client: u64, event: &str, body: &RawValue) {
        let body = serde_json::from_str(body.get()).unwrap();
        self.received.entry(client).or_default().push_back((event.into(), body));
    }

    fn message(&mut self, client: u64, event: &str, body: &RawValue) -> Sent {
        if self.full.contains(&client) {
            return Sent::Dropped;
        }
        self.give(client, event, body);
        Sent::Done
    }
}

/// A client without a lane.
struct Wire(World, u64);

impl Link for Wire {
    fn take_dropped(&self) -> Option<(u32, String)> {
        None
    }

    fn lane(&self) -> Option<Lane> {
        None
    }

    fn take_ready(&self) -> bool {
        self.0.0.lock().unwrap().room.get(&self.1) != Some(&0)
    }

    fn deliver(&self, event: &str, body: &RawValue, _: bool) -> bool {
        let mut inner = self.0.0.lock().unwrap();
        match inner.room.get_mut(&self.1) {
            Some(0) => return false,
            Some(room) => *room -= 1,
            None => {}
        }
        inner.give(self.1, event, body);
        true
    }

    fn send(&self, event: &str, body: &RawValue) -> Sent {
        self.0.0.lock().unwrap().message(self.1, event, body)
    }

    fn send_on(&self, event: &str, body: &RawValue) -> Sent {
        self.send(event, body)
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

    fn send(self: Box<Self>, answer: Result<Box<RawValue>, Failure>) -> Sent {
        let answer = answer.unwrap_or_else(|failure| Answer::<()>::encode(Err(failure)));
        self.0.0.lock().unwrap().message(self.1, "answer", &answer)
    }
}

/// After how long without a tick a symbol is stale; longer than any test of something else waits.
const STALE_AFTER: Duration = Duration::from_secs(100);

/// How long a client may take nothing.
const SLOW_TIMEOUT: Duration = Duration::from_secs(10);

/// A pump and one shard, whose turns a test takes itself.
struct Bench {
    world: World,
    handle: Handle,
    pump: Pump,
    shard: Shard,
    next: HashMap<String, u64>,
    /// What the shard's clock says.
    now_ms: Arc<AtomicU64>,
}

impl Bench {
    fn new(symbols: &str) -> Self {
        let metrics = Arc::<Metrics>::default();
        let symbols = symbols.split(' ').map(|name| name.parse().unwrap());
        let market =
            Arc::new(Market::new(symbols, Keep { age_ms: 1000, ticks: 10, candles: Kept::default() }, metrics.clone()));
        market.set_feed(feed(FeedState::Live));
        let settings = Settings {
            max_subscriptions: 1000,
            max_charts: 3,
            answer_candles: 5,
            events: Events { tick: "tick".into(), batch: "ticks".into() },
            default_mode: Mode::Tick,
            server_id: "app1".into(),
            flush_interval: Duration::ZERO,
            slow_timeout: SLOW_TIMEOUT,
            stale_after: Some(STALE_AFTER),
            replay_ticks: 8,
        };
        let now_ms = Arc::new(AtomicU64::new(5000));
        let clock = Clock::from_fn({
            let now_ms = now_ms.clone();
            move || now_ms.load(Ordering::Relaxed) * 1000
        });
        let (handle, inboxes) = channel(1, &metrics.queues);
        let fanout = Fanout::new(settings, &market, &metrics, &clock, inboxes);
        let (mut pump, shards) = fanout.split();
        pump.joined = true;
        let shard = shards.into_iter().next().unwrap();
        Self { world: World::default(), handle, pump, shard, next: HashMap::new(), now_ms }
    }

    fn metrics(&self) -> &Metrics {
        &self.pump.metrics
    }

    fn join(&mut self, client: u64) {
        self.join_by(client, Arc::new(Wire(self.world.clone(), client)));
    }

    fn join_by(&mut self, client: u64, link: Arc<dyn Link>) {
        self.shard.obey(Command::Join(ClientId(client), link, Patterns::every()), Instant::now());
    }

    fn leave(&mut self, client: u64) {
        self.shard.obey(Command::Leave(ClientId(client)), Instant::now());
    }

    fn request(&mut self, client: u64, request: Request, callback: bool) {
        let reply = Box::new(Back(self.world.clone(), client, callback));
        self.shard.obey(Command::Request(ClientId(client), request, reply), Instant::now());
    }

    /// Asks with a callback. Returns what came before the answer, and the answer.
    fn ask(&mut self, client: u64, request: Request) -> Value {
        self.request(client, request, true);
        let mut inner = self.world.0.lock().unwrap();
        let (event, body) = inner.received.get_mut(&client).unwrap().pop_back().unwrap();
        assert_eq!(event, "answer");
        body
    }

    fn subscribe(&mut self, client: u64, symbols: &str, mode: Option<Mode>) -> Value {
        self.ask(client, Request::Subscribe(Subscribe { mode, ..Subscribe::to(named(symbols)) }))
    }

    /// As the client would write it.
    fn subscribe_with(&mut self, client: u64, payload: &Value) -> Value {
        self.ask(client, Request::Subscribe(subscribe(payload)))
    }

    fn unsubscribe(&mut self, client: u64, symbols: &str) -> Value {
        self.ask(client, Request::Unsubscribe(Unsubscribe { symbols: named(symbols) }))
    }

    /// One flush with a tick of each of these symbols.
    fn flush(&mut self, symbols: &str) {
        self.flush_in("e", symbols);
    }

    fn flush_in(&mut self, epoch: &str, symbols: &str) {
        let ticks = symbols.split(' ').map(|name| self.tick(name)).collect();
        self.apply(epoch, ticks);
        self.deliver();
    }

    /// The next tick of a symbol, with its number as its price.
    fn tick(&mut self, name: &str) -> Tick {
        let seq = self.next.entry(name.into()).or_insert(100);
        *seq += 1;
        tick(name, *seq, *seq)
    }

    /// Has the market take a batch; the shard does not see it yet.
    fn apply(&mut self, epoch: &str, ticks: Vec<Tick>) {
        let mut held: Option<Flush> = None;
        at_once(self.pump.take(Batch { epoch: Epoch::new(epoch), ticks }, &mut held));
        at_once(self.pump.release(&mut held));
    }

    fn turn(&mut self, state: FeedState) {
        at_once(self.pump.turn(feed(state), &mut None));
        self.deliver();
    }

    /// Has the shard take everything that the pump has said.
    fn deliver(&mut self) {
        while let Ok(news) = self.shard.news.try_recv() {
            at_once(self.shard.hear(news));
        }
    }

    /// A client takes so many events with ticks more from now on; every one if none is said.
    fn take_on(&mut self, client: u64, room: Option<usize>) {
        let mut inner = self.world.0.lock().unwrap();
        match room {
            Some(room) => drop(inner.room.insert(client, room)),
            None => drop(inner.room.remove(&client)),
        }
        drop(inner);
        self.shard.attend_client(ClientId(client), Instant::now());
    }

    fn take(&self, client: u64) -> Vec<(String, Value)> {
        self.world.0.lock().unwrap().received.remove(&client).unwrap_or_default().into()
    }

    /// What came, in short: `tick BTC101`, `ticks BTC101 ETH101`; one that stands for three `BTC103x3`.
    fn came(&self, client: u64) -> Vec<String> {
        self.take(client).iter().map(|(event, body)| format!("{event} {}", in_short(body))).collect()
    }

    fn is_closed(&self, client: u64) -> bool {
        self.world.0.lock().unwrap().closed.contains(&client)
    }

    fn subscribers(&self) -> BTreeMap<String, i64> {
        self.metrics().subscriptions.all().into_iter().filter(|&(_, count)| count != 0).collect()
    }
}

fn in_short(body: &Value) -> String {
    let tick = |tick: &Value| {
        let n = tick["n"].as_u64().map(|n| format!("x{n}")).unwrap_or_default();
        format!("{}{}{n}", tick["symbol"].as_str().unwrap_or_default(), tick["seq"])
    };
    body.as_array().map_or_else(|| tick(body), |ticks| ticks.iter().map(tick).collect::<Vec<_>>().join(" "))
}

/// For what waits only where there is more to do than a test has.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("it does not wait")
}

fn feed(state: FeedState) -> Feed {
    Feed { state, reason: "because".into() }
}

fn tick(name: &str, seq: u64, price: u64) -> Tick {
    let symbol = name.parse().unwrap();
    let update = Update { symbol, price: Price::from(price), ts_ms: 1, bid: None, ask: None, size: None };
    Tick { seq, update }
}

fn named(symbols: &str) -> Symbols {
    match symbols {
        "*" => Symbols::All,
        names => Symbols::Named(names.split(' ').map(str::to_owned).collect()),
    }
}

fn subscribe(payload: &Value) -> Subscribe {
    Subscribe::parse(Some(&serde_json::value::to_raw_value(payload).unwrap())).unwrap()
}
