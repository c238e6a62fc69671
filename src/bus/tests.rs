use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::StreamExt;

use super::*;
use crate::price::Batch;

fn update(symbol: &str) -> Update {
    Update { symbol: symbol.parse().unwrap(), price: Price::ONE, ts_ms: 0, bid: None, ask: None, size: None }
}

async fn local(clock: &Clock) -> (Bus, Reader) {
    let settings = Settings { redis: None, lease_ttl: Duration::ZERO, history: Duration::ZERO, node_id: "app1".into() };
    let (bus, mut reader, _) = Bus::open(&settings, clock, &Arc::default()).await.unwrap();
    let first = reader.next().await.unwrap();
    assert!(matches!(first, BusEvent::Feed(Feed { state: FeedState::Live, .. })));
    (bus, reader)
}

async fn batch(reader: &mut Reader) -> Batch {
    match reader.next().await.unwrap() {
        BusEvent::Ticks(batch) => batch,
        BusEvent::Feed(feed) => panic!("{feed:?}"),
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
