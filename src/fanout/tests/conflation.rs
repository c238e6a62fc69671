use std::ops::RangeInclusive;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

#[test]
fn what_a_client_did_not_take_comes_as_one() {
    let mut bench = Bench::new("BTC ETH");
    bench.join(1);
    bench.subscribe(1, "*", Some(Mode::Both));
    bench.flush("BTC ETH");
    assert_eq!(bench.came(1), ["tick BTC101", "tick ETH101", "ticks BTC101 ETH101"]);

    bench.take_on(1, Some(1));
    bench.flush("BTC ETH BTC");
    assert_eq!(bench.came(1), ["tick BTC102"], "the rest of a flush waits, of each stream its own");
    bench.flush("ETH");
    bench.take_on(1, None);
    assert_eq!(bench.came(1), ["tick ETH103x2", "tick BTC103", "ticks BTC103x2 ETH103x2"]);
    assert_eq!(bench.metrics().conflated_behind.get(), 3);
    assert_eq!(bench.metrics().deliveries.get(), 4 + 1 + 4);
    assert!(bench.shard.waiting.is_empty() && bench.shard.sessions[0].pending.is_none());
    bench.flush("BTC");
    assert_eq!(bench.came(1), ["tick BTC104", "ticks BTC104"]);
}

#[test]
fn high_and_low_are_those_of_the_updates_that_are_left_out_and_of_the_last() {
    let mut bench = Bench::new("BTC");
    bench.join(1);
    bench.subscribe(1, "BTC", None);
    bench.take_on(1, Some(0));
    for (seq, price) in [(1, 50), (2, 90), (3, 10), (4, 60)] {
        bench.apply("e", vec![tick("BTC", seq, price)]);
        bench.deliver();
    }
    bench.take_on(1, None);
    let expected = json!({
        "symbol": "BTC", "price": 60, "ts": 1, "seq": 4, "n": 4, "high": 90, "low": 10, "epoch": "e",
    });
    assert_eq!(bench.take(1), [("tick".to_owned(), expected)], "the symbol's first tick is in it");
}

#[test]
fn nobody_knows_how_far_the_price_went_in_updates_that_never_came() {
    let mut bench = Bench::new("BTC");
    bench.join(1);
    bench.subscribe(1, "BTC", None);
    bench.flush("BTC");
    bench.take(1);
    bench.take_on(1, Some(0));
    for seq in [102, 105, 106] {
        bench.apply("e", vec![tick("BTC", seq, seq)]);
        bench.deliver();
    }
    bench.take_on(1, None);
    let expected = json!({"symbol": "BTC", "price": 106, "ts": 1, "seq": 106, "n": 5});
    assert_eq!(bench.take(1), [("tick".to_owned(), expected)]);
}

#[test]
fn a_new_epoch_ends_what_waits_of_the_old_one() {
    let mut bench = Bench::new("BTC ETH");
    bench.join(1);
    bench.subscribe(1, "*", None);
    bench.take_on(1, Some(0));
    bench.flush("BTC ETH");
    bench.flush_in("f", "BTC BTC");
    assert_eq!(bench.take(1).len(), 1, "a status");
    bench.take_on(1, None);
    let came = bench.take(1);
    assert_eq!(came.len(), 1);
    assert_eq!((&came[0].1["epoch"], &came[0].1["n"]), (&json!("f"), &json!(2)));
    assert!(bench.shard.waiting.is_empty());
}

const NAMES: [&str; 4] = ["A", "B", "C", "D"];

#[derive(Clone, Debug)]
enum Step {
    /// One flush; of each symbol the price, and whether updates before it were lost.
    Flush(Vec<(usize, u64, bool)>),
    /// What the market takes before the shard sees it.
    Ahead(usize, u64),
    /// How many events more a client takes.
    Take(usize, Option<usize>),
    Subscribe(usize, Vec<usize>, Mode, Option<u32>),
    SubscribeAll(usize, Mode, Option<u32>),
    Unsubscribe(usize, Vec<usize>),
    Resume(usize, Vec<usize>, Mode, Option<u32>),
    Pass(u64),
    Epoch,
}

fn step() -> impl Strategy<Value = Step> {
    let client = || 0..CLIENTS;
    let names = || vec(0..NAMES.len(), 1..4);
    let mode = || select(vec![Mode::Tick, Mode::Batch, Mode::Both]);
    let rate = || prop_oneof![2 => Just(None), 1 => select(vec![Some(1), Some(4), Some(10)])];
    let lost = prop_oneof![9 => Just(false), 1 => Just(true)];
    let room = prop_oneof![2 => Just(None), 2 => Just(Some(0)), 3 => (1..5_usize).prop_map(Some)];
    prop_oneof![
        12 => vec((0..NAMES.len(), 1..1000_u64, lost), 1..6).prop_map(Step::Flush),
        2 => (0..NAMES.len(), 1..1000_u64).prop_map(|(name, price)| Step::Ahead(name, price)),
        6 => (client(), room).prop_map(|(client, room)| Step::Take(client, room)),
        3 => (client(), names(), mode(), rate()).prop_map(|(c, n, m, r)| Step::Subscribe(c, n, m, r)),
        1 => (client(), mode(), rate()).prop_map(|(c, m, r)| Step::SubscribeAll(c, m, r)),
        1 => (client(), names()).prop_map(|(c, n)| Step::Unsubscribe(c, n)),
        2 => (client(), names(), mode(), rate()).prop_map(|(c, n, m, r)| Step::Resume(c, n, m, r)),
        6 => prop_oneof![1..50_u64, 50..1200_u64].prop_map(Step::Pass),
        1 => Just(Step::Epoch),
    ]
}

const CLIENTS: usize = 3;

/// One stream of one symbol, as its client sees it.
#[derive(Clone, Debug, Default)]
struct Seen {
    /// Up to where it has it; none before the first tick of the epoch.
    last: Option<u64>,
}

#[derive(Debug, Default)]
struct Client {
    streams: BTreeMap<(&'static str, &'static str), Seen>,
    /// Up to where it had each symbol when it last looked, with the epoch.
    had: BTreeMap<&'static str, u64>,
    epoch: String,
}

/// Every update that there was in the epoch, by symbol: its number, its price, and whether one before it was lost.
#[derive(Debug, Default)]
struct Log(BTreeMap<&'static str, Vec<(u64, u64, bool)>>);

impl Log {
    fn between(&self, name: &str, seqs: RangeInclusive<u64>) -> impl Iterator<Item = &(u64, u64, bool)> {
        self.0.get(name).into_iter().flatten().filter(move |(seq, ..)| seqs.contains(seq))
    }

    /// A tick of a stream has come: it has to stand for just what came since the one before.
    fn check(&self, seen: &mut Seen, name: &str, tick: &Value, epoch: &str) {
        let seq = tick["seq"].as_u64().unwrap();
        let n = tick["n"].as_u64().unwrap_or(1);
        let first = self.0[name][0].0;
        match seen.last {
            Some(last) => assert_eq!(seq - last, n, "{name}"),
            None => {
                assert_eq!(seq - first + 1, n, "{name}");
                assert_eq!(tick["epoch"], epoch);
            }
        }
        let of: Vec<_> = self.between(name, seq - n + 1..=seq).collect();
        assert_eq!(of.last().unwrap().1, tick["price"].as_u64().unwrap());
        let range = (of.len() > 1 && of.iter().all(|(.., lost)| !lost)).then(|| {
            let prices = || of.iter().map(|(_, price, _)| *price);
            (prices().max().unwrap(), prices().min().unwrap())
        });
        let said = tick["high"].as_u64().zip(tick["low"].as_u64());
        assert_eq!(said, range, "{name} {tick}");
        seen.last = Some(seq);
    }
}

struct Play {
    bench: Bench,
    log: Log,
    clients: Vec<Client>,
    next: [u64; NAMES.len()],
    epoch: String,
}

impl Play {
    fn new() -> Self {
        let mut bench = Bench::new("A B C D");
        (0..CLIENTS as u64).for_each(|client| bench.join(client));
        let clients = (0..CLIENTS).map(|_| Client::default()).collect();
        Self { bench, log: Log::default(), clients, next: [100; NAMES.len()], epoch: "e".to_owned() }
    }

    fn update(&mut self, symbol: usize, price: u64, lost: bool) -> Tick {
        let known = self.log.0.entry(NAMES[symbol]).or_default();
        // The first of an epoch follows on nothing that could be lost.
        let lost = lost && !known.is_empty();
        self.next[symbol] += if lost { 3 } else { 1 };
        known.push((self.next[symbol], price, lost));
        tick(NAMES[symbol], self.next[symbol], price)
    }

    fn subscribe(&mut self, client: usize, symbols: Value, mode: Mode, rate: Option<u32>, resume: bool) {
        self.hear(client);
        let mut payload = json!({"symbols": symbols, "mode": mode});
        if let Some(rate) = rate {
            payload["maxRate"] = rate.into();
        }
        if resume {
            payload["since"] = json!(self.clients[client].had);
            payload["epoch"] = json!(self.clients[client].epoch);
        }
        let answer = self.bench.subscribe_with(client as u64, &payload);
        self.hear(client);
        let model = &mut self.clients[client];
        for name in answer["symbols"].as_array().unwrap() {
            let name = *NAMES.iter().find(|known| *name == **known).unwrap();
            let of = |list: &str| {
                let all = answer[list].as_array().unwrap().iter();
                all.filter(|tick| tick["symbol"] == name).cloned().collect::<Vec<_>>()
            };
            let mut seen = Seen::default();
            match answer["resumed"][name].as_str() {
                Some("current") => seen.last = Some(model.had[name]),
                Some("replayed") => {
                    seen.last = Some(model.had[name]);
                    let replay = of("replay");
                    assert!(!replay.is_empty() && (rate.is_none() || replay.len() == 1));
                    replay.iter().for_each(|tick| self.log.check(&mut seen, name, tick, &self.epoch));
                }
                how => {
                    assert_eq!(how.is_some(), resume && model.had.contains_key(name));
                    let snapshot = of("snapshot");
                    seen.last = snapshot.first().and_then(|tick| tick["seq"].as_u64());
                    assert!(snapshot.len() <= 1 && snapshot.iter().all(|tick| tick["epoch"] == self.epoch));
                }
            }
            for (event, wanted) in [("tick", mode.has_tick()), ("ticks", mode.has_batch())] {
                model.streams.remove(&(name, event));
                if wanted {
                    model.streams.insert((name, event), seen.clone());
                }
            }
        }
        self.note(client);
    }

    /// Looks at what has come for a client.
    fn hear(&mut self, client: usize) {
        let model = &mut self.clients[client];
        for (event, body) in self.bench.take(client as u64) {
            let ticks = match event.as_str() {
                "tick" => vec![body],
                "ticks" => body.as_array().unwrap().clone(),
                _ => continue,
            };
            for tick in ticks {
                let key = model.streams.keys().find(|(name, of)| tick["symbol"] == *name && *of == event).copied();
                let key = key.unwrap_or_else(|| panic!("not subscribed: {event} {tick}"));
                self.log.check(model.streams.get_mut(&key).unwrap(), key.0, &tick, &self.epoch);
            }
        }
        self.note(client);
    }

    fn note(&mut self, client: usize) {
        let model = &mut self.clients[client];
        model.epoch = self.epoch.clone();
        for name in NAMES {
            let of: Vec<_> = model.streams.iter().filter(|((of, _), _)| *of == name).collect();
            if let Some(last) = of.iter().map(|(_, seen)| seen.last).min().flatten() {
                model.had.insert(name, last);
            }
        }
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Flush(updates) => {
                let ticks = updates.into_iter().map(|(symbol, price, lost)| self.update(symbol, price, lost)).collect();
                let epoch = self.epoch.clone();
                self.bench.apply(&epoch, ticks);
                self.bench.deliver();
            }
            Step::Ahead(symbol, price) => {
                let update = self.update(symbol, price, false);
                let epoch = self.epoch.clone();
                self.bench.apply(&epoch, vec![update]);
            }
            Step::Take(client, room) => self.bench.take_on(client as u64, room),
            Step::Subscribe(client, names, mode, rate) => self.subscribe(client, named(&names), mode, rate, false),
            Step::SubscribeAll(client, mode, rate) => self.subscribe(client, json!("*"), mode, rate, false),
            Step::Resume(client, names, mode, rate) => {
                self.hear(client);
                self.bench.leave(client as u64);
                self.bench.join(client as u64);
                self.clients[client].streams.clear();
                self.subscribe(client, named(&names), mode, rate, true);
            }
            Step::Unsubscribe(client, names) => {
                self.bench
                    .unsubscribe(client as u64, &names.iter().map(|&name| NAMES[name]).collect::<Vec<_>>().join(" "));
                self.hear(client);
                self.clients[client].streams.retain(|(name, _), _| !names.iter().any(|&index| NAMES[index] == *name));
            }
            Step::Pass(ms) => self.pass(ms).await,
            Step::Epoch => {
                self.bench.deliver();
                (0..CLIENTS).for_each(|client| self.hear(client));
                self.epoch.push('e');
                self.log.0.clear();
                self.next = [self.next.into_iter().max().unwrap_or_default() + 1000; NAMES.len()];
                let epoch = self.epoch.clone();
                self.bench.apply(&epoch, Vec::new());
                self.bench.deliver();
                for client in &mut self.clients {
                    client.streams.values_mut().for_each(|seen| seen.last = None);
                }
            }
        }
        (0..CLIENTS).for_each(|client| self.hear(client));
    }

    /// Time passes, and what is due goes out.
    async fn pass(&mut self, ms: u64) {
        let until = Instant::now() + Duration::from_millis(ms);
        while let Some(due) = self.bench.shard.next_due().filter(|due| *due <= until) {
            tokio::time::advance(due.saturating_duration_since(Instant::now())).await;
            at_once(self.bench.shard.keep_pace(Instant::now()));
        }
        tokio::time::advance(until.saturating_duration_since(Instant::now())).await;
        self.bench.shard.look(Instant::now());
    }
}

fn named(names: &[usize]) -> Value {
    let mut names: Vec<&str> = names.iter().map(|&name| NAMES[name]).collect();
    names.sort_unstable();
    names.dedup();
    json!(names)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// However ticks, full buffers, subscriptions, paces and new beginnings follow each other: in each stream a tick
    /// stands for just what came since the one before it, and in the end everybody has the latest.
    #[test]
    fn nobody_ever_sees_a_hole(steps in vec(step(), 1..80)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut play = Play::new();
            for step in steps {
                play.step(step).await;
            }
            play.bench.deliver();
            for client in 0..CLIENTS {
                play.bench.take_on(client as u64, None);
            }
            // Nothing comes any more: what waits goes out by itself.
            play.pass(1000).await;
            (0..CLIENTS).for_each(|client| play.hear(client));
            for (client, model) in play.clients.iter().enumerate() {
                for ((name, event), seen) in &model.streams {
                    let latest = play.log.0.get(name).and_then(|all| all.last()).map(|(seq, ..)| *seq);
                    let closed = play.bench.is_closed(client as u64);
                    assert!(closed || seen.last == latest, "{client} {name} {event}: {seen:?}, {latest:?}");
                }
            }
            assert!(play.bench.shard.waiting.is_empty());
        });
    }
}
