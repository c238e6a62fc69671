use super::*;

fn resume(since: u64, epoch: &str) -> Value {
    json!({"symbols": "BTC", "since": {"BTC": since}, "epoch": epoch})
}

/// How it went on: the word, what is in the replay, and what is in the snapshot.
fn how(answer: &Value) -> (&str, String, String) {
    (answer["resumed"]["BTC"].as_str().unwrap_or("not"), in_short(&answer["replay"]), in_short(&answer["snapshot"]))
}

fn told(how: &str, replay: &str, snapshot: &str) -> (String, String, String) {
    (how.into(), replay.into(), snapshot.into())
}

/// Asks as a client of its own, then has one more tick come, which has to follow.
fn asked(bench: &mut Bench, client: u64, payload: &Value) -> (String, String, String) {
    bench.join(client);
    let answer = bench.subscribe_with(client, payload);
    assert_eq!(answer["resumed"].as_object().unwrap().len(), payload["since"].as_object().map_or(0, |_| 1));
    let (word, replay, snapshot) = how(&answer);
    (word.to_owned(), replay, snapshot)
}

#[test]
fn who_missed_nothing_is_current_and_who_missed_something_gets_it() {
    let mut bench = Bench::new("BTC");
    for _ in 0..5 {
        bench.flush("BTC");
    }
    assert_eq!(asked(&mut bench, 1, &resume(105, "e")), told("current", "", ""));
    assert_eq!(asked(&mut bench, 2, &resume(102, "e")), told("replayed", "BTC103 BTC104 BTC105", ""));
    assert_eq!(asked(&mut bench, 3, &json!({"symbols": "BTC"})), told("not", "", "BTC105"));
    bench.flush("BTC");
    for client in 1..=3 {
        assert_eq!(bench.came(client), ["tick BTC106"], "{client}");
    }
}

#[test]
fn a_replay_comes_as_one_to_who_has_a_pace() {
    let mut bench = Bench::new("BTC");
    for (seq, price) in [(1, 50), (2, 90), (3, 10), (4, 60)] {
        bench.apply("e", vec![tick("BTC", seq, price)]);
        bench.deliver();
    }
    let paced = |since| json!({"symbols": "BTC", "maxRate": 1, "since": {"BTC": since}, "epoch": "e"});
    bench.join(1);
    let replay = bench.subscribe_with(1, &paced(1))["replay"].clone();
    let expected = json!([{"symbol": "BTC", "price": 60, "ts": 1, "seq": 4, "n": 3, "high": 90, "low": 10}]);
    assert_eq!(replay, expected);
    bench.join(2);
    let replay = bench.subscribe_with(2, &paced(3))["replay"].clone();
    assert_eq!(replay, json!([{"symbol": "BTC", "price": 60, "ts": 1, "seq": 4}]), "one alone is itself");
}

#[test]
fn who_missed_what_is_not_there_any_more_starts_over() {
    let mut bench = Bench::new("BTC");
    // More than is held, and more than one answer replays.
    for _ in 0..15 {
        bench.flush("BTC");
    }
    let over = told("snapshot", "", "BTC115");
    assert_eq!(asked(&mut bench, 1, &resume(104, "e")), over, "trimmed");
    assert_eq!(asked(&mut bench, 2, &resume(106, "e")), over, "too much for one answer");
    assert_eq!(asked(&mut bench, 3, &resume(114, "d")), over, "another epoch");
    let without = json!({"symbols": "BTC", "since": {"BTC": 114}});
    assert_eq!(asked(&mut bench, 4, &without), over, "no epoch");
    assert_eq!(asked(&mut bench, 5, &resume(107, "e")).0, "replayed");
    bench.next.insert("BTC".into(), 117);
    bench.flush("BTC");
    assert_eq!(asked(&mut bench, 6, &resume(115, "e")), told("snapshot", "", "BTC118"), "some never came");
}

#[test]
fn a_replay_ends_where_live_ticks_begin_whatever_the_market_knows_by_now() {
    let mut bench = Bench::new("BTC");
    for _ in 0..3 {
        bench.flush("BTC");
    }
    let next = bench.tick("BTC");
    bench.apply("e", vec![next]);
    assert_eq!(asked(&mut bench, 1, &resume(101, "e")), told("replayed", "BTC102 BTC103", ""));
    bench.deliver();
    assert_eq!(bench.came(1), ["tick BTC104"]);

    let next = bench.tick("BTC");
    bench.apply("f", vec![next]);
    assert_eq!(asked(&mut bench, 2, &resume(102, "e")).0, "snapshot", "the market is in another epoch already");
    bench.deliver();
    let came = bench.take(2);
    assert_eq!((came[0].0.as_str(), &came[1].1["epoch"]), ("status", &json!("f")));
}

#[test]
fn who_is_ahead_of_this_replica_gets_nothing_until_it_is_there() {
    for mode in ["tick", "batch"] {
        let mut bench = Bench::new("BTC ETH");
        bench.flush("BTC");
        bench.join(1);
        let payload = json!({"symbols": "*", "mode": mode, "since": {"BTC": 103}, "epoch": "e"});
        assert_eq!(how(&bench.subscribe_with(1, &payload)), ("current", String::new(), String::new()));
        bench.flush("BTC");
        bench.flush("BTC ETH");
        assert_eq!(bench.take(1).len(), 1, "of ETH alone");
        bench.flush("BTC BTC");
        let came = bench.came(1).join(" ").replace("ticks ", "").replace("tick ", "");
        assert!(came == "BTC104 BTC105" || came == "BTC105x2", "{came}");
        assert!(bench.shard.sessions[0].ahead.is_empty());
        bench.flush("BTC");
        assert_eq!(bench.take(1).len(), 1);
    }
}

#[test]
fn a_new_epoch_has_nobody_ahead_of_it() {
    let mut bench = Bench::new("BTC");
    bench.flush("BTC");
    bench.join(1);
    bench.subscribe_with(1, &resume(1_000, "e"));
    bench.flush("BTC");
    assert!(bench.came(1).is_empty());
    bench.flush_in("f", "BTC");
    assert_eq!(bench.take(1).len(), 2, "a status and a tick");
}

#[test]
fn a_client_that_only_listens_gets_a_replay_as_events() {
    let mut bench = Bench::new("BTC");
    for _ in 0..3 {
        bench.flush("BTC");
    }
    bench.join(1);
    let mut payload = resume(101, "e");
    payload["mode"] = "both".into();
    bench.request(1, Request::Subscribe(super::subscribe(&payload)), false);
    let came = bench.came(1);
    assert_eq!(came[1..], ["tick BTC102", "tick BTC103", "ticks BTC102 BTC103"]);
    // It takes the room of a replay three times over: in the answer and in both shapes.
    bench.flush("BTC");
    bench.request(1, Request::Subscribe(super::subscribe(&payload)), false);
    let (_, answer) = bench.take(1).into_iter().find(|(event, _)| event == "answer").unwrap();
    assert_eq!(how(&answer), ("snapshot", String::new(), "BTC104".into()));
}

#[test]
fn who_says_to_be_further_than_anybody_can_be_starts_over() {
    let mut bench = Bench::new("BTC");
    bench.flush("BTC");
    assert_eq!(asked(&mut bench, 1, &resume(101 + 10_000, "e")), told("current", "", ""));
    assert_eq!(asked(&mut bench, 2, &resume(101 + 10_001, "e")), told("snapshot", "", "BTC101"));
    assert_eq!(asked(&mut bench, 3, &resume(u64::MAX, "e")), told("snapshot", "", "BTC101"));
    bench.flush("BTC");
    assert!(bench.came(1).is_empty(), "it has it, as it says");
    assert_eq!(bench.came(2), ["tick BTC102"]);
}
