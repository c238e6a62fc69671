use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::StreamExt;

use super::*;
use crate::price::{Batch, Price, Update};

fn update(symbol: &str) -> Update {
    Update { symbol: symbol.parse().unwrap(), price: Price::ONE, ts_ms: 0, bid: None, ask: None, size: None }
}

async fn local(clock: &Clock) -> (Bus, Reader) {
    let settings = Settings {
        redis: None,
        lease_ttl: Duration::ZERO,
        island_after: Duration::ZERO,
        history: Duration::ZERO,
        node_id: "app1".into(),
    };
    let (bus, mut reader, _) = Bus::open(&settings, clock, &Arc::default()).await.unwrap();
    let first = reader.next().await.unwrap();
    assert!(matches!(first, BusEvent::Feed(Feed { state: FeedState::Live, .. })));
    (bus, reader)
}

async fn batch(reader: &mut Reader) -> Batch {
    match reader.next().await.unwrap() {
        BusEvent::Ticks(batch) => batch,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn numbers_per_symbol_from_the_clock_in_microseconds() {
    let (bus, mut reader) = local(&Clock::from_fn(|| 1_732_252_800_123_000)).await;
    let term = bus.lead("test", &CancellationToken::new()).await.unwrap();
    let seqs = term.publish(vec![update("BTC"), update("ETH"), update("BTC")]).await.unwrap();
    assert_eq!(seqs, [1_732_252_800_123_001, 1_732_252_800_123_001, 1_732_252_800_123_002]);
    term.publish(vec![update("BTC")]).await.unwrap();

    let first = batch(&mut reader).await;
    assert_eq!(first.ticks.iter().map(|tick| tick.seq).collect::<Vec<_>>(), seqs);
    assert_eq!(Some(first.epoch), bus.epoch());
    assert_eq!(batch(&mut reader).await.ticks[0].seq, 1_732_252_800_123_003);
}

#[tokio::test]
async fn never_goes_back_with_the_clock_and_a_restart_is_a_new_epoch() {
    let now = Arc::new(AtomicU64::new(7_200_000_000));
    let clock = Clock::from_fn({
        let now = now.clone();
        move || now.load(Ordering::Relaxed)
    });
    let (bus, _reader) = local(&clock).await;
    let term = bus.lead("test", &CancellationToken::new()).await.unwrap();
    let before = term.publish(vec![update("BTC")]).await.unwrap();
    now.fetch_sub(3_600_000_000, Ordering::Relaxed);
    assert_eq!(term.publish(vec![update("BTC")]).await.unwrap()[0], before[0] + 1);

    let (again, _reader) = local(&clock).await;
    assert_ne!(again.epoch(), bus.epoch());
}

#[tokio::test]
async fn publishers_side_by_side_keep_the_order_of_their_numbers() {
    let (bus, mut reader) = local(&Clock::from_fn(|| 0)).await;
    let bus = &bus;
    let publishers = (0..8).map(|_| async move {
        let term = bus.lead("test", &CancellationToken::new()).await.unwrap();
        for _ in 0..200 {
            term.publish(vec![update("BTC")]).await.unwrap();
        }
    });
    let all = futures_util::future::join_all(publishers);
    let read = async {
        for expected in 1..=1600 {
            assert_eq!(batch(&mut reader).await.ticks[0].seq, expected);
        }
    };
    tokio::join!(all, read);
}

#[tokio::test]
async fn says_that_it_is_closed() {
    let (bus, reader) = local(&Clock::from_fn(|| 0)).await;
    drop(reader);
    let term = bus.lead("test", &CancellationToken::new()).await.unwrap();
    assert!(matches!(term.publish(vec![update("BTC")]).await, Err(PublishError::Closed)));
}

fn priced(symbol: &str, ts_ms: u64) -> Result<Offered, String> {
    Ok(Offered { update: Update { ts_ms, ..update(symbol) }, is_timed: true })
}

#[tokio::test]
async fn what_a_source_claims_nobody_else_publishes_until_it_claims_otherwise() {
    let (bus, mut reader) = local(&Clock::from_fn(|| 0)).await;
    let term = bus.lead("one", &CancellationToken::new()).await.unwrap();
    let names = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect::<Vec<Symbol>>();
    assert!(term.claim(&names(&["A", "B"])).await.unwrap().is_empty());
    let other = bus.lead("two", &CancellationToken::new()).await.unwrap();
    assert_eq!(other.claim(&names(&["B", "C"])).await.unwrap(), names(&["B"]));
    assert_eq!(other.publish(vec![update("B"), update("C")]).await.unwrap(), [0, 1], "only what is its own");
    assert_eq!(batch(&mut reader).await.ticks.len(), 1);

    let offer = Offer { updates: vec![priced("A", 5), priced("C", 5), priced("D", 5)], key: None };
    let answered = bus.offer(&offer).await.unwrap();
    let owned = |owner: &str| Verdict::Owned(owner.into());
    assert_eq!(answered.verdicts, [owned("one"), owned("two"), Verdict::Accepted(1)]);
    assert_eq!(batch(&mut reader).await.ticks[0].update.symbol.as_str(), "D");
    term.claim(&names(&["B"])).await.unwrap();
    assert_eq!(bus.offer(&offer).await.unwrap().verdicts[0], Verdict::Accepted(1), "free again");
}

#[tokio::test]
async fn an_offer_is_judged_update_by_update_and_known_again_by_its_key() {
    let (bus, mut reader) = local(&Clock::from_fn(|| 0)).await;
    let key = |fingerprint: &str| Some(OfferKey { name: "name".into(), fingerprint: fingerprint.into() });
    let updates = vec![priced("A", 5), priced("A", 4), Err("why".into()), priced("A", 5)];
    let offer = Offer { updates, key: key("x") };
    let first = bus.offer(&offer).await.unwrap();
    let stale = Verdict::Stale(5);
    assert_eq!(first.verdicts, [Verdict::Accepted(1), stale, Verdict::Refused("why".into()), Verdict::Accepted(2)]);
    assert_eq!(bus.offer(&offer).await.unwrap(), Answered { again: true, ..first });
    let other = Offer { updates: vec![], key: key("y") };
    assert!(matches!(bus.offer(&other).await, Err(OfferError::OtherOffer)));
    assert_eq!(batch(&mut reader).await.ticks.len(), 2);
    bus.offer(&Offer { updates: vec![priced("A", 6)], key: None }).await.unwrap();
    assert_eq!(batch(&mut reader).await.ticks[0].seq, 3, "nothing between");
    let timeless = Offered { is_timed: false, ..priced("A", 2).unwrap() };
    bus.offer(&Offer { updates: vec![Ok(timeless)], key: None }).await.unwrap();
    assert_eq!(batch(&mut reader).await.ticks[0].update.ts_ms, 6, "never stale, and never back");
}

#[tokio::test]
async fn symbols_are_bounded() {
    let (bus, mut reader) = local(&Clock::from_fn(|| 0)).await;
    for start in (0..MAX_SYMBOLS).step_by(MAX_OFFER_UPDATES) {
        let updates = (start..start + MAX_OFFER_UPDATES).map(|number| priced(&format!("S{number}"), 1)).collect();
        bus.offer(&Offer { updates, key: None }).await.unwrap();
        batch(&mut reader).await;
    }
    let more = Offer { updates: vec![priced("MORE", 1), priced("S1", 1)], key: None };
    assert_eq!(bus.offer(&more).await.unwrap().verdicts, [Verdict::Full, Verdict::Accepted(2)]);
}
