use super::*;

impl Bench {
    fn look_for_quiet(&mut self) {
        at_once(self.pump.look(&mut None));
        self.deliver();
    }

    /// The statuses that a client was told, in short: `stale BTC ETH`.
    fn told(&self, client: u64) -> Vec<String> {
        let events = self.take(client).into_iter().filter(|(event, _)| event == "status");
        let names = |status: &Value| {
            let names: Vec<_> =
                status["symbols"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
            format!("{} {}", status["state"].as_str().unwrap(), names.join(" "))
        };
        events.map(|(_, status)| names(&status)).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn who_gets_a_symbol_is_told_when_it_goes_quiet_and_when_it_is_back() {
    let mut bench = Bench::new("BTC ETH SOL");
    for (client, symbols) in [(1, "BTC ETH"), (2, "ETH"), (3, "SOL"), (4, "*")] {
        bench.join(client);
        bench.subscribe(client, symbols, None);
    }
    bench.join(5);
    bench.look_for_quiet();
    bench.flush("BTC ETH SOL");
    tokio::time::advance(STALE_AFTER / 2).await;
    bench.look_for_quiet();
    bench.flush("SOL");
    tokio::time::advance(STALE_AFTER / 2).await;
    bench.look_for_quiet();
    (1..=5).for_each(|client| assert!(bench.told(client).is_empty(), "not yet"));
    tokio::time::advance(STALE_AFTER / 2).await;
    bench.look_for_quiet();
    assert_eq!(bench.told(1), ["stale BTC ETH"]);
    assert_eq!(bench.told(2), ["stale ETH"]);
    assert_eq!(bench.told(4), ["stale BTC ETH"]);
    assert!(bench.told(3).is_empty() && bench.take(5).is_empty(), "it is not theirs");
    assert_eq!(bench.metrics().symbols_stale.get(), 2);
    bench.look_for_quiet();
    assert!(bench.told(1).is_empty(), "once");

    bench.join(6);
    let answer = bench.subscribe(6, "BTC SOL", None);
    assert_eq!((&answer["snapshot"][0]["stale"], &answer["snapshot"][1]["stale"]), (&json!(true), &Value::Null));

    bench.flush("ETH ETH");
    assert_eq!(bench.told(1), ["live ETH"], "and the tick follows");
    assert_eq!(bench.came(2), ["status null", "tick ETH102", "tick ETH103"], "in this order");
    assert_eq!(bench.metrics().symbols_stale.get(), 1);
    let answer = bench.subscribe(6, "BTC ETH", None);
    assert_eq!((&answer["snapshot"][0]["stale"], &answer["snapshot"][1]["stale"]), (&json!(true), &Value::Null));
}

#[tokio::test(start_paused = true)]
async fn a_symbol_that_never_ticked_goes_quiet_too_whatever_the_epoch() {
    let mut bench = Bench::new("BTC ETH");
    bench.join(1);
    bench.subscribe(1, "*", None);
    bench.look_for_quiet();
    bench.flush_in("a", "BTC");
    tokio::time::advance(STALE_AFTER / 2).await;
    bench.look_for_quiet();
    bench.flush_in("b", "BTC SOL");
    tokio::time::advance(STALE_AFTER / 2).await;
    bench.take(1);
    bench.look_for_quiet();
    assert_eq!(bench.told(1), ["stale ETH"]);
    assert_eq!(bench.shard.market.stale(), ["ETH".parse().unwrap()]);
}

#[tokio::test(start_paused = true)]
async fn what_is_only_said_again_under_a_new_epoch_is_no_tick() {
    let mut bench = Bench::new("BTC ETH");
    bench.join(1);
    bench.subscribe(1, "*", None);
    bench.look_for_quiet();
    bench.flush_in("a", "BTC ETH");
    bench.look_for_quiet();
    tokio::time::advance(STALE_AFTER / 2).await;
    let last: Vec<Update> =
        ["BTC", "ETH"].map(|name| bench.shard.market.last_update(&name.parse().unwrap()).unwrap()).into();
    let again = |seq| last.iter().map(|update| Tick { seq, update: update.clone() }).collect::<Vec<_>>();
    bench.apply("b", again(1));
    bench.deliver();
    bench.look_for_quiet();
    bench.flush_in("b", "ETH");
    bench.take(1);
    tokio::time::advance(STALE_AFTER / 2).await;
    bench.look_for_quiet();
    assert_eq!(bench.told(1), ["stale BTC"], "since its last tick");
    bench.apply("c", again(1)[..1].to_vec());
    bench.deliver();
    let of_symbols = |(event, body): &(String, Value)| event == "status" && !body["symbols"].is_null();
    assert!(!bench.take(1).iter().any(of_symbols), "nothing of BTC");
    assert_eq!(bench.shard.market.stale(), ["BTC".parse().unwrap()]);
}

#[tokio::test(start_paused = true)]
async fn what_was_there_before_is_as_old_as_it_is() {
    let mut bench = Bench::new("BTC ETH");
    bench.pump.joined = false;
    bench.now_ms.store(1_000_000_000, Ordering::Relaxed);
    let mut ticks = vec![bench.tick("BTC"), bench.tick("ETH")];
    let old = Duration::from_millis(1_000_000_000) - STALE_AFTER - Duration::from_millis(1);
    ticks[0].update.ts_ms = old.as_millis() as u64;
    ticks[1].update.ts_ms = 1_000_000_000;
    bench.apply("a", ticks.clone());
    bench.look_for_quiet();
    assert_eq!(bench.shard.market.stale(), ["BTC".parse().unwrap()]);

    // What comes once the bus is followed is a tick, however late its source is.
    bench.pump.turn(Feed { state: FeedState::Live, reason: String::new() }, &mut None).await;
    for tick in &mut ticks {
        (tick.seq, tick.update.ts_ms) = (tick.seq + 1, 0);
    }
    bench.apply("a", ticks);
    bench.look_for_quiet();
    assert!(bench.shard.market.stale().is_empty());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_stale_where_that_is_off() {
    let mut bench = Bench::new("BTC");
    bench.pump.freshness = super::super::freshness::Freshness::new(None, Clock::from_fn(|| 0));
    assert!(bench.pump.freshness.look_at().is_none());
    tokio::time::advance(STALE_AFTER * 100).await;
    bench.look_for_quiet();
    assert_eq!(bench.metrics().symbols_stale.get(), 0);
}
