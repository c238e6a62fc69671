//! The market, without a server.

use super::*;
use crate::price::Fill;

fn tick(symbol: &str, seq: u64, price: u32) -> Tick {
    let update = Update {
        symbol: symbol.parse().unwrap(),
        price: Price::from(price),
        ts_ms: seq,
        bid: None,
        ask: None,
        size: None,
    };
    Tick { seq, update }
}

fn market(symbols: &[&str]) -> Market {
    let symbols = symbols.iter().map(|name| name.parse().unwrap());
    Market::new(symbols, Keep { age_ms: 60_000, ticks: 100, candles: Kept::default() }, Arc::default())
}

fn batch(epoch: &str, ticks: Vec<Tick>) -> Batch {
    Batch { epoch: Epoch::new(epoch), ticks }
}

fn apply(market: &Market, batch: Batch) -> Vec<Fresh> {
    market.apply(batch).fresh
}

fn last(market: &Market) -> Vec<u32> {
    let price = |symbol| u32::try_from(market.last_update(symbol).unwrap().price).unwrap();
    market.symbols().iter().map(price).collect()
}

#[test]
fn what_was_missed_is_there_or_it_says_that_it_is_not() {
    let market = market(&["BTC", "ETH"]);
    let (btc, eth) = (market.symbol("BTC").unwrap().0, market.symbol("ETH").unwrap().0);
    market.apply(batch("a", (10..20).map(|seq| tick("BTC", seq, 1)).collect()));
    let seqs = |seq, until, most| -> Option<Vec<u64>> {
        Some(market.since(btc, seq, until, most)?.iter().map(|tick| tick.seq).collect())
    };
    assert_eq!(seqs(17, 19, 9), Some(vec![18, 19]));
    assert_eq!(seqs(16, 18, 9), Some(vec![17, 18]), "no further than asked");
    assert_eq!(seqs(9, 19, 10).unwrap().len(), 10, "all that is held");
    assert_eq!(seqs(8, 19, 99), None, "the first is not held");
    assert_eq!(seqs(16, 19, 2), None, "too many");
    assert_eq!(seqs(19, 19, 9), Some(vec![]));
    assert_eq!(market.since(eth, 1, 2, 9), None);
    let one = Price::ONE;
    assert_eq!(market.range_since(btc, 16, 18), Some((2, Some((one, one)))));
    assert_eq!(market.range_since(btc, 8, 18), None);
    market.apply(batch("b", vec![]));
    assert_eq!(seqs(17, 19, 9), None, "another epoch");
}

fn names(symbols: &[Symbol]) -> Vec<&str> {
    symbols.iter().map(Symbol::as_str).collect()
}

#[test]
fn what_passed_while_this_replica_was_away_is_new_to_everybody_when_it_comes() {
    let market = market(&["BTC"]);
    market.go_alone();
    market.come_back(&[batch("a", vec![tick("NEW", 1, 1)])]);
    assert_eq!(names(&market.symbols()), ["BTC", "NEW"]);
    let fresh = apply(&market, batch("a", vec![tick("BTC", 1, 1), tick("NEW", 2, 1), tick("NEW", 3, 1)]));
    assert_eq!(fresh.iter().map(|fresh| fresh.unknown).collect::<Vec<_>>(), [false, true, false]);
}

#[test]
fn keeps_the_latest_and_drops_repeats() {
    let market = market(&["BTC", "ETH"]);
    let fresh = apply(&market, batch("a", vec![tick("BTC", 10, 1), tick("BTC", 11, 2), tick("ETH", 7, 3)]));
    let said: Vec<_> = fresh.iter().map(|fresh| (fresh.tick.seq, fresh.first, fresh.unknown)).collect();
    assert_eq!(said, [(10, true, false), (11, false, false), (7, true, false)]);

    let fresh = apply(&market, batch("a", vec![tick("BTC", 11, 9), tick("BTC", 10, 9), tick("BTC", 12, 4)]));
    assert_eq!(fresh.len(), 1, "a repeat is harmless");
    assert_eq!(last(&market), [4, 3]);
    assert_eq!(market.history_ticks(), 4);
    assert_eq!((market.metrics.ticks_in.get(), market.metrics.ticks_repeated.get()), (4, 2));
}

#[test]
fn a_new_epoch_starts_over_whatever_its_numbers() {
    let market = market(&["BTC", "ETH"]);
    market.apply(batch("a", vec![tick("BTC", 100, 1), tick("ETH", 100, 1)]));
    let fresh = apply(&market, batch("b", vec![tick("BTC", 5, 2)]));
    assert!(fresh[0].first);
    assert_eq!(market.epoch(), Some(Epoch::new("b")));
    assert_eq!(last(&market), [2, 1], "ETH has no tick in this epoch yet");
    assert_eq!(market.history_ticks(), 1);
}

#[test]
fn what_is_only_said_again_under_a_new_epoch_is_known_as_such() {
    let market = market(&["BTC", "ETH"]);
    let restated = |epoch, seq, price| {
        let Tick { update, .. } = tick("BTC", 7, price);
        apply(&market, batch(epoch, vec![Tick { seq, update }]))[0].restated
    };
    assert!(!restated("a", 1, 5), "the first of all");
    assert!(!restated("a", 2, 5), "the same price once more is another tick");
    assert!(restated("b", 1, 5));
    assert!(!restated("b", 2, 5));
    assert!(!restated("c", 1, 6));
}

#[test]
fn sees_a_hole_in_the_numbers() {
    let market = market(&["BTC"]);
    let missed = |market: &Market, seq| apply(market, batch("a", vec![tick("BTC", seq, 1)]))[0].missed;
    assert_eq!([missed(&market, 10), missed(&market, 11), missed(&market, 15), missed(&market, 16)], [0, 0, 3, 0]);
    assert_eq!((market.metrics.ticks_lost.get(), market.metrics.bus_gaps.get()), (3, 1));
    assert_eq!(apply(&market, batch("b", vec![tick("BTC", 99, 1)]))[0].missed, 0, "another epoch");
}

#[test]
fn says_when_the_epoch_turns() {
    let market = market(&["BTC"]);
    let turned = |epoch| market.apply(batch(epoch, vec![])).turned;
    assert_eq!([turned("a"), turned("a"), turned("b"), turned("b")], [false, false, true, false]);
}

#[test]
fn learns_symbols_from_their_ticks() {
    let market = market(&["ETH"]);
    let fresh = apply(&market, batch("a", vec![tick("BTC", 1, 1), tick("BTC", 2, 1)]));
    assert_eq!(fresh.iter().map(|fresh| fresh.unknown).collect::<Vec<_>>(), [true, false]);
    assert_eq!(names(&market.symbols()), ["ETH", "BTC"]);
    assert!(market.symbol("BTC").is_some() && market.symbol("XRP").is_none());
}

fn saved(closed: usize) -> Saved {
    let mut candles = Candles::new(&Kept::default());
    for second in 0..=closed as u64 {
        candles.fold(&Epoch::new("a"), &tick("X", second * 1000 + 1, 5));
    }
    candles.changes(&Mark::default()).unwrap().0
}

#[test]
fn a_symbol_of_whom_only_candles_are_known_is_none_until_somebody_says_a_price() {
    let market = market(&["BTC"]);
    let eth: Symbol = "ETH".parse().unwrap();
    assert!(market.restore_candles(&eth, saved(3)) && market.restore_candles(&"BTC".parse().unwrap(), saved(3)));
    assert!(!market.restore_candles(&eth, saved(3)), "once");
    assert_eq!((market.symbol_count(), market.symbol("ETH"), market.candles_until_ms(&eth)), (1, None, None));
    assert_eq!((market.candles_aside(), market.saved_aside(&eth).unwrap().closed.len()), (vec![eth.clone()], 3));
    // What followed in the log, and what somebody has of the past, is theirs as well.
    market.fold_since(&batch("a", vec![tick("ETH", 4001, 5), tick("XRP", 1, 1)]));
    let candle = crate::price::Candle::quiet(2000, Price::from(7));
    let (interval, symbol) = (crate::price::Interval::S1, eth.clone());
    market.fill(&Fill { symbol, interval, unseen_ms: (0, 9000), settled_ms: 9000, candles: vec![candle] });
    assert_eq!(market.symbol_count(), 1);

    let fresh = apply(&market, batch("b", vec![tick("ETH", 5001, 6)]));
    assert!(fresh[0].unknown && market.candles_aside().is_empty() && market.saved_aside(&eth).is_none());
    let id = market.symbol("ETH").unwrap().0;
    let seconds = market.candles(id, interval, Range::latest(99), 0);
    let closes: Vec<_> = seconds.iter().map(|candle| u32::try_from(candle.close).unwrap()).collect();
    assert_eq!(closes, [5, 5, 7, 5, 5, 6]);
}

#[test]
fn what_is_kept_aside_is_bounded_and_the_rest_is_counted() {
    let metrics: Arc<Metrics> = Arc::default();
    let keep = Keep { age_ms: 1, ticks: 1, candles: Kept([1; 6]) };
    let market = Market::new(["BTC".parse().unwrap()], keep, metrics.clone());
    let restored = |index: u32| market.restore_candles(&format!("S{index}").parse().unwrap(), saved(2));
    assert_eq!((0..1005).filter(|index| restored(*index)).count(), 1000);
    assert_eq!((market.candles_aside().len(), metrics.candles_passed_over.get()), (1000, 10));
    assert!(market.restore_candles(&"BTC".parse().unwrap(), saved(2)), "who is known is not one of them");
}
