use super::*;

async fn look_after(bench: &mut Bench, seconds: u64) {
    tokio::time::advance(Duration::from_secs(seconds)).await;
    bench.shard.look(Instant::now());
}

#[tokio::test(start_paused = true)]
async fn who_takes_nothing_is_slow_and_then_gone_and_who_takes_something_stays() {
    let mut bench = Bench::new("BTC ETH");
    for client in 1..=3 {
        bench.join(client);
        bench.subscribe(client, "*", Some(Mode::Both));
        bench.take_on(client, Some(0));
    }
    bench.take_on(3, None);
    bench.flush("BTC");
    look_after(&mut bench, 0).await;
    assert_eq!(bench.metrics().clients_slow.get(), 0, "not yet");
    look_after(&mut bench, 2).await;
    assert_eq!(bench.metrics().clients_slow.get(), 2);
    for _ in 0..12 {
        // It takes everything now and then.
        bench.take_on(2, None);
        assert_eq!(bench.metrics().clients_slow.get(), i64::from(!bench.is_closed(1)));
        bench.take_on(2, Some(0));
        bench.flush("BTC ETH");
        look_after(&mut bench, 1).await;
    }
    assert!(bench.is_closed(1) && !bench.is_closed(2) && !bench.is_closed(3));
    let metrics = bench.metrics();
    assert_eq!((metrics.slow_disconnects.get(), metrics.clients_slow.get()), (1, 1));
    assert_eq!(bench.subscribers()["BTC"], 2, "who is lost gets nothing any more");
    bench.leave(1);
    bench.leave(2);
    assert_eq!(bench.metrics().clients_slow.get(), 0);
    assert!(bench.shard.waiting.is_empty());
    assert_eq!(bench.shard.sessions.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_its_time_makes_nobody_slow() {
    let mut bench = Bench::new("BTC");
    bench.join(1);
    bench.subscribe_with(1, &json!({"symbols": "BTC", "maxRate": 0.1}));
    bench.flush("BTC");
    bench.flush("BTC");
    for _ in 0..9 {
        look_after(&mut bench, 1).await;
    }
    assert_eq!((bench.metrics().clients_slow.get(), bench.is_closed(1)), (0, false));
    assert!(bench.shard.waiting.is_empty());
}

#[tokio::test(start_paused = true)]
async fn who_was_given_up_may_begin_anew() {
    let mut bench = Bench::new("BTC");
    bench.join(1);
    bench.subscribe(1, "BTC", None);
    bench.take_on(1, Some(0));
    bench.flush("BTC");
    look_after(&mut bench, SLOW_TIMEOUT.as_secs()).await;
    assert!(bench.is_closed(1) && bench.subscribers().is_empty());
    assert_eq!(bench.shard.cohorts.len(), 0);
    bench.take_on(1, None);
    assert!(bench.came(1).is_empty(), "what waited is gone");
    assert_eq!(in_short(&bench.subscribe(1, "BTC", None)["snapshot"]), "BTC101");
    bench.flush("BTC");
    assert_eq!(bench.came(1), ["tick BTC102"]);
}

#[tokio::test(start_paused = true)]
async fn who_takes_a_little_at_a_time_stays_however_long_the_rest_waits() {
    let names: Vec<String> = (0..100).map(|n| format!("S{n}")).collect();
    let all = names.join(" ");
    let mut bench = Bench::new(&all);
    bench.join(1);
    bench.subscribe(1, "*", None);
    bench.take_on(1, Some(0));
    bench.flush(&all);
    for _ in 0..40 {
        bench.take_on(1, Some(2));
        bench.take_on(1, Some(0));
        bench.flush(&all);
        look_after(&mut bench, 1).await;
    }
    assert!(!bench.is_closed(1));
    look_after(&mut bench, SLOW_TIMEOUT.as_secs()).await;
    assert!(bench.is_closed(1), "now it takes nothing");
}
