use super::*;

/// Lets time pass, and what is due go out. What came is said with the time, in ms since `begun`.
async fn pass(bench: &mut Bench, client: u64, ms: u64, begun: Instant) -> Vec<(u128, String)> {
    let until = Instant::now() + Duration::from_millis(ms);
    let mut came = Vec::new();
    let mut hear = |bench: &Bench| {
        let now = begun.elapsed().as_millis();
        came.extend(bench.came(client).into_iter().map(|event| (now, event)));
    };
    hear(bench);
    while let Some(due) = bench.shard.next_due().filter(|due| *due <= until) {
        tokio::time::advance(due.saturating_duration_since(Instant::now())).await;
        at_once(bench.shard.keep_pace(Instant::now()));
        hear(bench);
    }
    tokio::time::advance(until.saturating_duration_since(Instant::now())).await;
    came
}

fn at(came: &[(u128, String)]) -> Vec<(u128, &str)> {
    came.iter().map(|(ms, event)| (*ms, event.as_str())).collect()
}

#[tokio::test(start_paused = true)]
async fn deliveries_of_a_symbol_keep_their_distance_and_the_last_one_is_not_kept_back() {
    let mut bench = Bench::new("BTC");
    bench.join(1);
    let answer = bench.subscribe_with(1, &json!({"symbols": "BTC", "maxRate": 4}));
    assert_eq!(answer["maxRate"], 4);
    let begun = Instant::now();
    let mut came = Vec::new();
    for _ in 0..7 {
        bench.flush("BTC");
        came.extend(pass(&mut bench, 1, 100, begun).await);
    }
    came.extend(pass(&mut bench, 1, 10_000, begun).await);
    let expected = [(0, "tick BTC101"), (250, "tick BTC103x2"), (500, "tick BTC105x2"), (750, "tick BTC107x2")];
    assert_eq!(at(&came), expected, "the market has fallen silent, and the last one came all the same");
    assert_eq!(bench.metrics().conflated_paced.get(), 3);
    assert!(bench.shard.timers.is_empty());
    let begun = Instant::now();
    bench.flush("BTC");
    assert_eq!(at(&pass(&mut bench, 1, 0, begun).await), [(0, "tick BTC108")], "after a while at once");
}

#[tokio::test(start_paused = true)]
async fn how_far_the_price_went_between_two_deliveries_is_told() {
    let mut bench = Bench::new("BTC");
    bench.join(1);
    bench.subscribe_with(1, &json!({"symbols": "BTC", "mode": "batch", "maxRate": 1}));
    for (seq, price) in [(1, 50), (2, 90), (3, 10), (4, 60)] {
        bench.apply("e", vec![tick("BTC", seq, price)]);
        bench.deliver();
    }
    assert_eq!(bench.came(1), ["ticks BTC1"]);
    tokio::time::advance(Duration::from_secs(1)).await;
    at_once(bench.shard.keep_pace(Instant::now()));
    let conflated = json!([{"symbol": "BTC", "price": 60, "ts": 1, "seq": 4, "n": 3, "high": 90, "low": 10}]);
    assert_eq!(bench.take(1), [("ticks".to_owned(), conflated)]);
}

#[tokio::test(start_paused = true)]
async fn who_comes_in_the_middle_gets_what_came_since() {
    let mut bench = Bench::new("BTC");
    for client in 1..=3 {
        bench.join(client);
    }
    let wish = json!({"symbols": "BTC", "maxRate": 1});
    bench.subscribe_with(1, &wish);
    bench.flush("BTC");
    bench.flush("BTC");
    let begun = Instant::now();
    assert_eq!(in_short(&bench.subscribe_with(2, &wish)["snapshot"]), "BTC102", "as far as the others will be");
    bench.flush("BTC");
    assert_eq!(in_short(&bench.subscribe_with(3, &wish)["snapshot"]), "BTC103");
    assert_eq!(bench.shard.cohorts.len(), 1);
    assert_eq!(at(&pass(&mut bench, 1, 1000, begun).await), [(0, "tick BTC101"), (1000, "tick BTC103x2")]);
    assert_eq!(bench.came(2), ["tick BTC103"]);
    assert!(bench.came(3).is_empty());
    bench.flush("BTC");
    pass(&mut bench, 1, 1000, begun).await;
    assert_eq!([bench.came(2), bench.came(3)], [["tick BTC104"], ["tick BTC104"]]);
}

#[tokio::test(start_paused = true)]
async fn each_symbol_has_its_own_pace() {
    let mut bench = Bench::new("BTC ETH SOL");
    bench.join(1);
    bench.subscribe_with(1, &json!({"symbols": "BTC", "maxRate": 10}));
    bench.subscribe_with(1, &json!({"symbols": "ETH", "maxRate": 4}));
    bench.subscribe_with(1, &json!({"symbols": "SOL"}));
    let begun = Instant::now();
    bench.flush("BTC ETH SOL");
    bench.flush("BTC ETH SOL");
    let came = pass(&mut bench, 1, 1000, begun).await;
    let [first, second, rest @ ..] = &came[..] else { panic!("{came:?}") };
    assert_eq!(at(&[first.clone(), second.clone()])[0], (0, "tick SOL101"));
    assert_eq!(rest.len(), 4, "{rest:?}");
    assert!(came.contains(&(100, "tick BTC102".to_owned())) && came.contains(&(250, "tick ETH102".to_owned())));
}

#[tokio::test(start_paused = true)]
async fn who_cannot_take_what_is_due_loses_nothing_that_is_not_due_yet() {
    let mut bench = Bench::new("BTC ETH");
    bench.join(1);
    bench.subscribe_with(1, &json!({"symbols": "BTC", "maxRate": 1}));
    bench.subscribe(1, "ETH", None);
    bench.flush("BTC");
    bench.flush("BTC");
    bench.take_on(1, Some(0));
    bench.flush("ETH");
    assert_eq!(bench.came(1), ["tick BTC101"]);
    bench.take_on(1, None);
    let begun = Instant::now();
    let came = pass(&mut bench, 1, 1000, begun).await;
    assert_eq!(at(&came), [(0, "tick ETH101"), (1000, "tick BTC102")]);
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_its_time_keeps_it_when_the_client_wants_something_else_beside() {
    let mut bench = Bench::new("BTC ETH SOL");
    bench.join(1);
    bench.subscribe_with(1, &json!({"symbols": "BTC", "maxRate": 4}));
    bench.subscribe_with(1, &json!({"symbols": "ETH", "maxRate": 1}));
    bench.flush("BTC ETH");
    bench.flush("BTC ETH");
    let begun = Instant::now();
    bench.take(1);
    bench.subscribe(1, "SOL", None);
    let came = pass(&mut bench, 1, 5000, begun).await;
    assert_eq!(at(&came), [(250, "tick BTC102"), (1000, "tick ETH102")], "although nothing else comes");
    assert!(bench.shard.sessions[0].pending.is_none());
}
