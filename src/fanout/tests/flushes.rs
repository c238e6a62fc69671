use tokio_util::sync::CancellationToken;

use super::flush::News;
use super::*;
use crate::price::BusEvent;

const INTERVAL: Duration = Duration::from_millis(50);

/// Runs the pump on what `story` says, with the time at which each flush came, in ms, and what was in it.
async fn flushes(story: impl AsyncFnOnce(mpsc::Sender<BusEvent>)) -> Vec<(u128, String)> {
    let Bench { mut pump, mut shard, handle: _handle, .. } = Bench::new("BTC ETH");
    pump.interval = INTERVAL;
    let (events, receiver) = mpsc::channel(16);
    let receiver = futures_util::stream::unfold(receiver, async |mut events| Some((events.recv().await?, events)));
    let stop = CancellationToken::new();
    let begun = Instant::now();
    let hear = async {
        let mut flushes = Vec::new();
        while let Some(news) = shard.news.recv().await {
            let said = match news {
                News::Flush(flush) => flush.items.iter().map(|item| format!("{}", item.tick.seq)).collect::<Vec<_>>(),
                News::Status(_) => vec!["status".into()],
                News::Fresh(turn) => vec![turn.state.into()],
                News::Turned(..) => vec!["turned".into()],
            };
            flushes.push((begun.elapsed().as_millis(), said.join(" ")));
        }
        flushes
    };
    let tell = async {
        story(events).await;
        tokio::time::sleep(INTERVAL * 10).await;
        stop.cancel();
    };
    let receiver = std::pin::pin!(receiver);
    let (flushes, (), ()) = tokio::join!(hear, pump.run(receiver, stop.clone()), tell);
    flushes
}

fn ticks(epoch: &str, seqs: &[u64]) -> BusEvent {
    BusEvent::Ticks(Batch { epoch: Epoch::new(epoch), ticks: seqs.iter().map(|&seq| tick("BTC", seq, 1)).collect() })
}

fn at(came: &[(u128, String)]) -> Vec<(u128, &str)> {
    came.iter().map(|(ms, event)| (*ms, event.as_str())).collect()
}

async fn pass(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

#[tokio::test(start_paused = true)]
async fn ticks_wait_for_each_other_but_none_longer_than_the_interval() {
    let came = flushes(async |events| {
        for (seq, ms) in [(1, 10), (2, 20), (3, 40), (4, 200), (5, 0)] {
            events.send(ticks("e", &[seq])).await.unwrap();
            pass(ms).await;
        }
    })
    .await;
    assert_eq!(at(&came), [(0, "1"), (50, "2 3"), (100, "4"), (270, "5")], "after a silence at once");
}

#[tokio::test(start_paused = true)]
async fn a_change_of_the_feed_comes_after_the_ticks_before_it_and_waits_for_nothing() {
    let came = flushes(async |events| {
        events.send(ticks("e", &[1])).await.unwrap();
        pass(10).await;
        events.send(ticks("e", &[2, 3])).await.unwrap();
        events.send(BusEvent::Feed(feed(FeedState::Degraded))).await.unwrap();
        pass(10).await;
        events.send(ticks("e", &[4])).await.unwrap();
        events.send(ticks("f", &[9, 10])).await.unwrap();
        pass(100).await;
    })
    .await;
    let expected = [(0, "1"), (10, "2 3"), (10, "status"), (20, "4"), (20, "turned"), (50, "9 10")];
    assert_eq!(at(&came), expected);
}

#[tokio::test(start_paused = true)]
async fn what_has_come_already_goes_out_together() {
    let came = flushes(async |events| {
        for seq in 1..=5 {
            events.send(ticks("e", &[seq])).await.unwrap();
        }
        pass(1).await;
    })
    .await;
    assert_eq!(at(&came), [(0, "1 2 3 4 5")]);
}

#[tokio::test(start_paused = true)]
async fn a_backlog_goes_out_in_pieces() {
    let came = flushes(async |events| {
        let all: Vec<u64> = (1..=10_000).collect();
        for part in all.chunks(1000) {
            events.send(ticks("e", part)).await.unwrap();
        }
        pass(1).await;
    })
    .await;
    assert_eq!(came.iter().map(|(ms, said)| (*ms, said.split(' ').count())).collect::<Vec<_>>(), [(0, 5000); 2]);
}

#[tokio::test]
async fn what_has_come_by_the_end_is_taken() {
    // More than a task of tokio may take in one turn.
    const TICKS: usize = 500;
    let mut bench = Bench::new("BTC");
    let (sender, mut receiver) = tokio::sync::mpsc::channel(TICKS);
    for _ in 0..TICKS {
        let batch = Batch { epoch: Epoch::new("e"), ticks: vec![bench.tick("BTC")] };
        sender.try_send(BusEvent::Ticks(batch)).unwrap();
    }
    let Bench { pump, mut shard, handle: _handle, .. } = bench;
    let market = pump.market.clone();
    let stop = CancellationToken::new();
    stop.cancel();
    let events = futures_util::stream::poll_fn(|context| receiver.poll_recv(context));
    tokio::join!(pump.run(events, stop), async { while shard.news.recv().await.is_some() {} });
    assert_eq!(market.latest_of("BTC").map(|(_, tick)| tick.seq), Some(100 + TICKS as u64));
}
