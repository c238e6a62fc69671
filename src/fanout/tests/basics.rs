use proptest::prelude::*;

use super::*;

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
            "snapshot": [{
                "symbol": "BTC", "price": 101, "ts": 1, "seq": 101, "epoch": "e",
                "open24h": 101, "high24h": 101, "low24h": 101,
            }],
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
    assert_eq!((bench.metrics().deliveries.get(), bench.metrics().deliveries_by_lane.get()), (2, 0));
}

#[test]
fn a_snapshot_is_what_was_sent_last_whatever_the_market_knows_by_now() {
    let mut bench = Bench::new("BTC");
    bench.join(1);
    bench.flush("BTC");
    let next = bench.tick("BTC");
    bench.apply("e", vec![next]);
    assert_eq!(in_short(&bench.subscribe(1, "BTC", None)["snapshot"]), "BTC101");
    bench.deliver();
    assert_eq!(bench.came(1), ["tick BTC102"]);
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
    assert_eq!(bench.metrics().deliveries.get(), 12);

    bench.subscribe(2, "ETH", Some(Mode::Tick));
    bench.subscribe(1, "BTC", Some(Mode::Tick));
    bench.flush("BTC ETH");
    assert_eq!(bench.came(1), ["tick BTC103", "ticks ETH102"]);
    assert_eq!(bench.came(2), ["tick BTC103", "tick ETH102", "ticks BTC103"]);
    assert_eq!(bench.subscribers(), BTreeMap::from([("BTC".into(), 3), ("ETH".into(), 3)]));
}

#[test]
fn those_who_want_the_same_are_one_cohort() {
    let mut bench = Bench::new("BTC ETH");
    for client in 1..=3 {
        bench.join(client);
    }
    bench.subscribe(1, "ETH BTC", None);
    bench.subscribe(2, "*", None);
    bench.subscribe(3, "BTC", None);
    assert_eq!(bench.shard.cohorts.len(), 2);
    bench.subscribe(3, "ETH", None);
    assert_eq!(bench.shard.cohorts.len(), 1);
    bench.leave(1);
    bench.flush("BTC");
    assert_eq!([bench.came(1), bench.came(2), bench.came(3)].map(|came| came.len()), [0, 1, 1]);
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
    assert_eq!(bench.unsubscribe(1, "*")["symbols"], json!(["BTC", "SOL", "NEW"]));
    bench.flush("BTC ETH SOL NEW");
    assert!(bench.came(1).is_empty() && bench.subscribers().is_empty());
}

#[test]
fn a_symbol_that_a_client_hears_of_before_its_first_tick_is_not_sent_twice() {
    let mut bench = Bench::new("BTC");
    for client in 1..=2 {
        bench.join(client);
    }
    bench.subscribe(1, "*", None);
    let first = bench.tick("NEW");
    bench.apply("e", vec![first]);
    assert_eq!(bench.subscribe(2, "NEW", None)["snapshot"], json!([]));
    bench.deliver();
    assert_eq!(bench.came(1), ["tick NEW101"]);
    assert_eq!(bench.came(2), ["tick NEW101"]);
    assert_eq!(bench.subscribers(), BTreeMap::from([("BTC".into(), 1), ("NEW".into(), 2)]));
}

#[test]
fn without_a_callback_the_snapshot_comes_as_events() {
    let mut bench = Bench::new("BTC ETH");
    bench.join(1);
    bench.flush("BTC ETH");
    let request = Subscribe { mode: Some(Mode::Both), ..Subscribe::to(Symbols::All) };
    bench.request(1, Request::Subscribe(request), false);
    let came = bench.take(1);
    let events: Vec<_> = came.iter().map(|(event, _)| event.as_str()).collect();
    assert_eq!(events, ["answer", "tick", "tick", "ticks"]);
    assert_eq!(came[1].1, came[0].1["snapshot"][0]);
    assert_eq!(came[3].1, came[0].1["snapshot"]);
    assert_eq!(bench.metrics().deliveries.get(), 4);
}

#[test]
fn a_lost_answer_ends_the_client() {
    let mut bench = Bench::new("BTC");
    bench.join(1);
    bench.subscribe(1, "BTC", Some(Mode::Both));
    bench.world.0.lock().unwrap().full.insert(1);
    bench.request(1, Request::Unsubscribe(Unsubscribe { symbols: Symbols::All }), true);
    assert!(bench.is_closed(1));
    assert_eq!(bench.metrics().messages_dropped.get(), 1);
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
    bench.turn(FeedState::Degraded);
    bench.turn(FeedState::Degraded);
    bench.turn(FeedState::Live);
    bench.flush_in("f", "BTC");
    let said = bench.take(1);
    assert_eq!(said[0], ("status".into(), json!({"state": "degraded", "reason": "because"})));
    assert_eq!(said[1], ("status".into(), json!({"state": "live", "reason": "because"})));
    let turned = json!({"state": "live", "reason": "a new epoch: the numbers start over", "epoch": "f"});
    assert_eq!(said[2], ("status".into(), turned));
    assert_eq!((said[3].0.as_str(), &said[3].1["epoch"]), ("tick", &json!("f")));
    assert!(bench.take(2).is_empty(), "who gets nothing is told nothing");
    let answer = bench.subscribe(2, "*", None);
    assert_eq!(in_short(&answer["snapshot"]), "BTC102", "ETH has no tick of this epoch yet");
    assert_eq!(answer["epoch"], "f");
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
    assert_eq!(tick, json!({"symbol": "BTC", "price": 106, "ts": 1, "seq": 106, "n": 5}));
}

#[test]
fn nothing_is_left_of_those_who_went() {
    let mut bench = Bench::new("BTC ETH");
    for client in 1..=3 {
        bench.join(client);
        bench.subscribe_with(client, &json!({"symbols": "*", "mode": "both", "maxRate": client}));
        bench.take_on(client, Some(0));
    }
    bench.flush("BTC ETH");
    assert_eq!(bench.shard.waiting.len(), 3);
    for client in 1..=3 {
        bench.leave(client);
        bench.leave(client);
    }
    let shard = &bench.shard;
    assert!(shard.sessions.is_empty() && shard.slots.is_empty() && shard.waiting.is_empty());
    assert_eq!(shard.cohorts.len(), 0);
    assert!(bench.subscribers().is_empty());
    bench.request(1, Request::Unsubscribe(Unsubscribe { symbols: Symbols::All }), true);
    assert!(bench.take(1).is_empty(), "a request of one who went is nobody's");
    at_once(bench.shard.keep_pace(Instant::now() + Duration::from_secs(60)));
    assert!(bench.shard.timers.is_empty());
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

/// What a client wants, as a model of [`Wishes`](session::Wishes): all in one mode, and what it said of single ones.
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
                    let has = |(all, named): &Model| named.get(name).copied().unwrap_or(*all).is_some();
                    ((*name).to_owned(), i64::try_from(wants.values().filter(|wants| has(wants)).count()).unwrap())
                })
                .filter(|&(_, count)| count != 0)
                .collect();
            prop_assert_eq!(bench.subscribers(), expected);
        }
    }
}

#[test]
fn who_may_get_more_from_now_on_begins_with_the_latest_and_its_epoch() {
    let mut bench = Bench::new("BTC ETH SOL");
    let allow = |names: &[&str]| Request::Allow { symbols: Patterns::new(names).unwrap(), expires_in_ms: 1 };
    bench.join(1);
    bench.ask(1, allow(&["BTC"]));
    bench.subscribe_with(1, &json!({"symbols": "*", "mode": "both"}));
    bench.flush("BTC ETH");
    bench.take(1);
    bench.request(1, allow(&["BTC", "ETH", "SOL"]), true);
    let came = bench.take(1);
    let events: Vec<&str> = came.iter().map(|(event, _)| event.as_str()).collect();
    assert_eq!(events, ["answer", "tick", "ticks"], "the answer comes first");
    let first = json!({"symbol": "ETH", "price": 101, "ts": 1, "seq": 101, "epoch": "e"});
    assert_eq!((&came[1].1, &came[2].1), (&first, &json!([first])));
    bench.flush("ETH SOL");
    assert_eq!(bench.came(1), ["tick ETH102", "tick SOL101", "ticks ETH102 SOL101"], "and goes on");

    // Who takes nothing meanwhile gets one that stands for both, and its epoch.
    bench.ask(1, allow(&["BTC"]));
    bench.take_on(1, Some(0));
    bench.request(1, allow(&["BTC", "ETH"]), true);
    bench.flush("ETH");
    bench.take(1);
    bench.take_on(1, None);
    let (event, tick) = bench.take(1).remove(0);
    assert_eq!(
        (event.as_str(), &tick["seq"], &tick["n"], &tick["epoch"]),
        ("tick", &json!(103), &json!(2), &json!("e"))
    );
    assert_eq!((&tick["high"], &tick["low"]), (&json!(103), &json!(102)));
}

#[test]
fn who_may_not_get_a_symbol_is_not_told_whether_it_exists() {
    let mut bench = Bench::new("BTC ETH");
    bench.join(1);
    bench.ask(1, Request::Allow { symbols: Patterns::new(["BTC", "XYZ"]).unwrap(), expires_in_ms: 1 });
    let answer = bench.unsubscribe(1, "BTC ETH NOPE XYZ");
    let codes: Vec<_> =
        answer["rejected"].as_array().unwrap().iter().map(|rejected| rejected["code"].as_str().unwrap()).collect();
    assert_eq!(codes, ["not_subscribed", "not_subscribed", "not_subscribed", "unknown_symbol"]);
    let message = |at: usize| answer["rejected"][at]["message"].as_str().unwrap().replace("NOPE", "ETH");
    assert_eq!(message(1), message(2));
}
