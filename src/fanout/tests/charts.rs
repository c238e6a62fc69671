//! Candles and statistics.

use super::*;
use crate::price::{BusEvent, Interval};
use crate::wire::ChartRequest;

fn asked(symbol: &str, interval: Interval) -> ChartRequest {
    ChartRequest { symbol: symbol.into(), interval, limit: 500 }
}

/// `12.3` s: open, high, low, close and how many, with a `!` where it has closed.
fn shown(candle: &Value) -> String {
    let closed = if candle["closed"] == json!(true) { "!" } else { "" };
    let [open, high, low, close, n] = ["open", "high", "low", "close", "n"].map(|field| &candle[field]);
    format!("{}: {open} {high} {low} {close} x{n}{closed}", candle["ts"].as_u64().unwrap() / 1000)
}

impl Bench {
    /// A tick of a price at a time; the clock is there, too.
    fn trade(&mut self, name: &str, ts_ms: u64, price: u64) {
        let mut tick = self.tick(name);
        (tick.update.ts_ms, tick.update.price, tick.update.size) = (ts_ms, Price::from(price), Some(Price::ONE));
        self.apply("e", vec![tick]);
        self.deliver();
        self.at(ts_ms);
    }

    fn at(&self, ms: u64) {
        self.now_ms.store(ms, Ordering::Relaxed);
    }

    async fn show(&mut self) {
        self.shard.show(Instant::now()).await;
    }

    /// Asks for candles. Returns those that come with the answer.
    fn follow(&mut self, client: u64, symbol: &str, interval: Interval) -> Vec<String> {
        let answer = self.ask(client, Request::Follow(asked(symbol, interval)));
        assert_eq!(answer["ok"], json!(true), "{answer}");
        assert_eq!((&answer["symbol"], &answer["interval"]), (&json!(symbol), &json!(interval.as_str())));
        answer["candles"].as_array().unwrap().iter().map(shown).collect()
    }

    /// The candles that came.
    fn candles(&self, client: u64) -> Vec<String> {
        let candle = |(event, body): &(String, Value)| {
            assert_eq!(event, "candle");
            shown(body)
        };
        self.take(client).iter().map(candle).collect()
    }

    fn fails(&mut self, client: u64, request: Request) -> String {
        let answer = self.ask(client, request);
        assert_eq!(answer["ok"], json!(false));
        answer["error"]["code"].as_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn the_running_candle_and_each_close_once_in_order() {
    let mut bench = Bench::new("BTC");
    bench.join(1);
    bench.trade("BTC", 10_200, 5);
    bench.trade("BTC", 12_100, 7);
    assert_eq!(bench.follow(1, "BTC", Interval::S1), ["10: 5 5 5 5 x1", "11: 5 5 5 5 x0", "12: 7 7 7 7 x1"]);
    bench.show().await;
    assert!(bench.candles(1).is_empty(), "nothing has changed since the answer");
    bench.trade("BTC", 12_300, 9);
    bench.trade("BTC", 12_400, 6);
    bench.show().await;
    assert_eq!(bench.candles(1), ["12: 7 9 6 6 x3"], "many ticks are one event");
    bench.show().await;
    assert!(bench.candles(1).is_empty());
    bench.trade("BTC", 14_000, 8);
    bench.show().await;
    assert_eq!(bench.candles(1), ["12: 7 9 6 6 x3!", "13: 6 6 6 6 x0!", "14: 8 8 8 8 x1"]);
    bench.trade("BTC", 13_500, 1);
    bench.show().await;
    assert!(bench.candles(1).is_empty(), "a late tick changes nothing that was closed");
    bench.leave(1);
    assert!(bench.shard.charting.is_empty());
}

#[tokio::test]
async fn a_candle_closes_by_the_clock_too() {
    let mut bench = Bench::new("BTC");
    bench.join(1);
    bench.trade("BTC", 10_200, 5);
    bench.follow(1, "BTC", Interval::S1);
    bench.at(12_999);
    bench.show().await;
    assert!(bench.candles(1).is_empty(), "a tick may be on its way");
    bench.at(13_000);
    bench.show().await;
    assert_eq!(bench.candles(1), ["10: 5 5 5 5 x1!", "11: 5 5 5 5 x0"]);
    bench.at(15_000);
    bench.show().await;
    assert_eq!(bench.candles(1), ["11: 5 5 5 5 x0!", "12: 5 5 5 5 x0!", "13: 5 5 5 5 x0"]);
    // It was on its way for longer than that: it closes nothing again.
    bench.trade("BTC", 10_900, 6);
    bench.at(15_000);
    bench.show().await;
    assert_eq!(bench.candles(1), ["13: 6 6 6 6 x0"]);
}

#[tokio::test]
async fn who_takes_nothing_gets_every_close_later() {
    let mut bench = Bench::new("BTC");
    bench.join(1);
    bench.join(2);
    bench.trade("BTC", 10_200, 5);
    bench.follow(1, "BTC", Interval::S1);
    bench.follow(2, "BTC", Interval::S1);
    bench.take_on(1, Some(0));
    let mut witness = Vec::new();
    for second in 11..=200 {
        bench.trade("BTC", second * 1000, second);
        bench.show().await;
        witness.extend(bench.candles(2).into_iter().filter(|candle| candle.ends_with('!')));
    }
    assert_eq!(witness.len(), 190);
    assert!(bench.candles(1).is_empty());
    bench.take_on(1, Some(3));
    let mut came = bench.candles(1);
    assert_eq!(came.len(), 3);
    bench.take_on(1, None);
    while came.len() < 191 {
        bench.show().await;
        let more = bench.candles(1);
        assert!(!more.is_empty());
        came.extend(more);
    }
    assert_eq!(came.pop().unwrap(), "200: 200 200 200 200 x1");
    assert_eq!(came, witness);
    assert!(!bench.is_closed(1));
}

#[tokio::test]
async fn who_lacks_what_is_not_held_any_more_is_disconnected() {
    let mut bench = Bench::new("BTC");
    bench.join(1);
    bench.trade("BTC", 10_200, 5);
    bench.follow(1, "BTC", Interval::S1);
    bench.take_on(1, Some(0));
    bench.trade("BTC", 20_000, 5);
    bench.show().await;
    bench.trade("BTC", 1_000_000, 6);
    bench.show().await;
    bench.take_on(1, None);
    assert!(bench.is_closed(1) && bench.candles(1).is_empty());
}

#[tokio::test]
async fn before_the_first_tick_there_is_nothing_and_then_everything() {
    let mut bench = Bench::new("BTC");
    bench.join(1);
    assert!(bench.follow(1, "BTC", Interval::S1).is_empty());
    bench.show().await;
    assert!(bench.candles(1).is_empty());
    bench.trade("BTC", 10_200, 5);
    bench.trade("BTC", 11_200, 6);
    bench.show().await;
    assert_eq!(bench.candles(1), ["10: 5 5 5 5 x1!", "11: 6 6 6 6 x1"]);
}

#[tokio::test]
async fn what_an_island_made_comes_again_as_the_others_have_it() {
    let mut bench = Bench::new("BTC");
    bench.join(1);
    bench.trade("BTC", 10_200, 5);
    bench.follow(1, "BTC", Interval::S1);
    bench.pump.market.go_alone();
    bench.trade("BTC", 10_300, 50);
    bench.trade("BTC", 11_300, 60);
    bench.show().await;
    assert_eq!(bench.candles(1), ["10: 5 50 5 50 x2!", "11: 60 60 60 60 x1"]);
    let mut missed = Vec::new();
    for (seq, ts_ms, price) in [(102, 10_400, 6), (103, 12_400, 7)] {
        let mut tick = tick("BTC", seq, price);
        tick.update.ts_ms = ts_ms;
        missed.push(Batch { epoch: Epoch::new("e"), ticks: vec![tick] });
    }
    let events = futures_util::stream::iter([BusEvent::Back(missed)]);
    let stop = tokio_util::sync::CancellationToken::new();
    let Bench { world, handle, pump, shard, next, now_ms } = bench;
    let market = pump.market.clone();
    pump.run(events, stop).await;
    assert_eq!(
        market.candles(market.symbol("BTC").unwrap().0, Interval::M1, crate::market::Range::latest(1), 0)[0].n,
        3
    );
    let mut shard = shard;
    now_ms.store(12_400, Ordering::Relaxed);
    shard.show(Instant::now()).await;
    let came: Vec<_> = world.0.lock().unwrap().received.remove(&1).unwrap().into();
    let came: Vec<_> = came.iter().map(|(_, body)| shown(body)).collect();
    assert_eq!(came, ["10: 5 6 5 6 x2!", "11: 6 6 6 6 x0!", "12: 7 7 7 7 x1"]);
    drop((handle, next));
}

#[tokio::test]
async fn subscriptions_are_bounded_and_end() {
    let mut bench = Bench::new("BTC ETH");
    bench.join(1);
    bench.trade("BTC", 10_200, 5);
    for interval in [Interval::S1, Interval::M1, Interval::D1] {
        bench.follow(1, "BTC", interval);
    }
    bench.follow(1, "BTC", Interval::M1);
    assert_eq!(bench.fails(1, Request::Follow(asked("ETH", Interval::M1))), "too_many_symbols");
    assert_eq!(bench.fails(1, Request::Follow(asked("FOO", Interval::M1))), "unknown_symbol");
    assert_eq!(bench.fails(1, Request::Unfollow(asked("ETH", Interval::M1))), "not_subscribed");
    assert_eq!(bench.ask(1, Request::Unfollow(asked("BTC", Interval::M1))), json!({"ok": true}));
    assert_eq!(bench.fails(1, Request::Unfollow(asked("BTC", Interval::M1))), "not_subscribed");
    bench.trade("BTC", 10_300, 6);
    bench.show().await;
    assert_eq!(bench.candles(1), ["10: 5 6 5 6 x2", "0: 5 6 5 6 x2"], "of the second and of the day");

    let allow = |symbols: &[&str]| Request::Allow { symbols: Patterns::new(symbols).unwrap(), expires_in_ms: 1 };
    assert_eq!(bench.ask(1, allow(&["ETH"]))["ended"], json!(["BTC"]));
    bench.trade("BTC", 10_400, 7);
    bench.show().await;
    assert!(bench.candles(1).is_empty());
    assert_eq!(bench.fails(1, Request::Follow(asked("BTC", Interval::M1))), "forbidden");
    assert_eq!(bench.fails(1, Request::Follow(asked("FOO", Interval::M1))), "forbidden");
    assert!(bench.follow(1, "ETH", Interval::M1).is_empty());
}

#[tokio::test]
async fn an_answer_has_no_more_than_it_may() {
    let mut bench = Bench::new("BTC");
    bench.join(1);
    for second in 1..20 {
        bench.trade("BTC", second * 1000, second);
    }
    let candles = bench.follow(1, "BTC", Interval::S1);
    assert_eq!(candles.len(), 5);
    assert_eq!(candles[4], "19: 19 19 19 19 x1");
    let two = ChartRequest { limit: 2, ..asked("BTC", Interval::S1) };
    assert_eq!(bench.ask(1, Request::Follow(two))["candles"].as_array().unwrap().len(), 2);
}

/// As many looks as there are to a turn of the statistics.
async fn turn(bench: &mut Bench) {
    tokio::time::advance(Duration::from_secs(1)).await;
    for _ in 0..4 {
        bench.show().await;
    }
}

#[tokio::test(start_paused = true)]
async fn statistics_come_to_who_asks_and_only_what_has_changed() {
    let mut bench = Bench::new("BTC ETH SOL");
    bench.join(1);
    bench.join(2);
    bench.trade("BTC", 10_200, 5);
    bench.trade("ETH", 10_200, 50);
    bench.trade("BTC", 10_300, 7);
    let answer = bench.subscribe_with(1, &json!({"symbols": ["BTC", "ETH"], "stats": true, "mode": "batch"}));
    let day = json!({"open24h": 5, "high24h": 7, "low24h": 5, "volume24h": 2});
    for (field, value) in day.as_object().unwrap() {
        assert_eq!(&answer["snapshot"][0][field], value, "{field} of {answer}");
    }
    bench.subscribe_with(2, &json!({"symbols": ["BTC", "ETH"], "mode": "batch"}));
    let stats = |bench: &Bench, client| -> Vec<Value> {
        let took = bench.take(client);
        took.into_iter().filter(|(event, _)| event == "stats").map(|(_, body)| body).collect()
    };
    bench.show().await;
    assert!(stats(&bench, 1).is_empty(), "no more than once a second");
    turn(&mut bench).await;
    let eth = json!({"symbol": "ETH", "open24h": 50, "high24h": 50, "low24h": 50, "volume24h": 1});
    let btc = json!({"symbol": "BTC", "open24h": 5, "high24h": 7, "low24h": 5, "volume24h": 2});
    assert_eq!(stats(&bench, 1), [json!([btc, eth])], "to begin with, all");
    turn(&mut bench).await;
    assert!(stats(&bench, 1).is_empty());

    bench.take_on(1, Some(0));
    bench.trade("SOL", 10_400, 1);
    for price in [9, 4] {
        bench.trade("BTC", 10_400, price);
        turn(&mut bench).await;
    }
    assert!(stats(&bench, 1).is_empty());
    bench.take_on(1, None);
    let btc = json!({"symbol": "BTC", "open24h": 5, "high24h": 9, "low24h": 4, "volume24h": 4});
    assert_eq!(stats(&bench, 1), [json!([btc])], "the latest alone, and of what it gets");
    assert!(stats(&bench, 2).is_empty(), "it has not asked");

    bench.subscribe_with(1, &json!({"symbols": ["BTC"]}));
    bench.trade("BTC", 10_500, 90);
    bench.trade("ETH", 10_500, 90);
    turn(&mut bench).await;
    let eth = json!({"symbol": "ETH", "open24h": 50, "high24h": 90, "low24h": 50, "volume24h": 2});
    assert_eq!(stats(&bench, 1), [json!([eth])], "the new subscription does not ask");
    bench.unsubscribe(1, "*");
    assert!(bench.shard.charting.is_empty());
}
