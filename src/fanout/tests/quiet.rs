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
async fn a_symbol_that_never_ticked_goes_quiet_too_and_an_epoch_is_news() {
    let mut bench = Bench::new("BTC ETH");
    bench.join(1);
    bench.subscribe(1, "*", None);
    bench.look_for_quiet();
    bench.flush_in("a", "BTC");
    tokio::time::advance(STALE_AFTER / 2).await;
    bench.look_for_quiet();
    bench.next.clear();
    bench.flush_in("b", "BTC SOL");
    tokio::time::advance(STALE_AFTER / 2).await;
    bench.take(1);
    bench.look_for_quiet();
    assert_eq!(bench.told(1), ["stale ETH"]);
    assert_eq!(bench.shard.market.stale(), ["ETH".parse().unwrap()]);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_stale_where_that_is_off() {
    let mut bench = Bench::new("BTC");
    bench.pump.freshness = super::super::freshness::Freshness::new(None);
    assert!(bench.pump.freshness.look_at().is_none());
    tokio::time::advance(STALE_AFTER * 100).await;
    bench.look_for_quiet();
    assert_eq!(bench.metrics().symbols_stale.get(), 0);
}
