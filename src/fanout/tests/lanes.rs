use futures_util::future;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::net::pair::Pair;
use crate::net::{Refused, text_frame};
use crate::wire::event_packet;

/// A client with a lane.
struct Straight(Lane);

impl Straight {
    fn pass(&self, event: &str, body: &RawValue) -> Sent {
        match self.0.send(text_frame(&event_packet(event, body))) {
            Ok(false) => Sent::Done,
            Ok(true) => Sent::Waits,
            Err(Refused::Full) => Sent::Dropped,
            Err(Refused::Gone) => Sent::Done,
        }
    }
}

impl Link for Straight {
    fn take_dropped(&self) -> Option<(u32, String)> {
        None
    }

    fn lane(&self) -> Option<Lane> {
        Some(self.0.clone())
    }

    fn take_ready(&self) -> bool {
        false
    }

    fn deliver(&self, _: &str, _: &RawValue, _: bool) -> bool {
        unreachable!("it has a lane")
    }

    fn send(&self, event: &str, body: &RawValue) -> Sent {
        self.pass(event, body)
    }

    fn send_on(&self, event: &str, body: &RawValue) -> Sent {
        self.pass(event, body)
    }

    fn close(&self) {}
}

impl Reply for Straight {
    fn by_callback(&self) -> bool {
        true
    }

    fn send(self: Box<Self>, answer: Result<Box<RawValue>, Failure>) -> Sent {
        self.pass("answer", &answer.unwrap())
    }
}

/// What is lost does not come later either: a test that waits for it fails.
async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.unwrap()
}

/// The next event that the peer reads.
async fn read(pair: &mut Pair) -> (String, Value) {
    let text = pair.read_text().await;
    serde_json::from_str(text.strip_prefix("42").unwrap()).unwrap()
}

#[tokio::test]
async fn a_peer_that_reads_late_misses_nothing_and_gets_the_last_although_nothing_else_comes() {
    let mut pair = Pair::open().await;
    let Bench { handle, mut pump, shard, .. } = Bench::new("BTC");
    let stop = CancellationToken::new();
    let client = ClientId(1);
    let story = async {
        handle.place(client).await.unwrap().join(Arc::new(Straight(pair.lane.clone())), Patterns::every());
        let request = Request::Subscribe(Subscribe::to(named("BTC")));
        assert!(handle.request(client, request, Box::new(Straight(pair.lane.clone()))).is_ok());
        assert_eq!(read(&mut pair).await.0, "answer");
        // Far more than the kernel holds.
        let (flushes, of_each) = (500, 10);
        for flush in 0..flushes {
            let ticks = (1..=of_each).map(|seq| tick("BTC", flush * of_each + seq, seq % 7)).collect();
            let mut held = None;
            pump.take(Batch { epoch: Epoch::new("e"), ticks }, &mut held).await;
            pump.release(&mut held).await;
        }
        let mut seen = 0;
        let mut most = 0;
        while seen < flushes * of_each {
            let (event, tick) = read(&mut pair).await;
            assert_eq!(event, "tick");
            let n = tick["n"].as_u64().unwrap_or(1);
            assert_eq!(tick["seq"], seen + n);
            seen += n;
            most = most.max(n);
        }
        assert!(most > of_each, "it was behind");
        // And on from there as it was before.
        let mut held = None;
        pump.take(Batch { epoch: Epoch::new("e"), ticks: vec![tick("BTC", seen + 1, 1)] }, &mut held).await;
        pump.release(&mut held).await;
        let (_, tick) = read(&mut pair).await;
        assert_eq!((&tick["seq"], &tick["n"]), (&json!(seen + 1), &Value::Null));
        handle.leave(client).await;
        stop.cancel();
    };
    within(future::join(shard.run(stop.clone()), story)).await;
}

#[tokio::test]
async fn a_message_that_waits_for_a_client_that_is_about_to_join_is_not_forgotten() {
    let mut pair = Pair::new().await;
    let mut bench = Bench::new("BTC");
    // Told by somebody else, before the packet that says «connected» has gone out.
    assert_eq!(pair.lane.send(text_frame("42[\"hello\",1]")), Ok(true));
    bench.shard.attend_client(ClientId(1), Instant::now());
    bench.join_by(1, Arc::new(Straight(pair.lane.clone())));
    let stop = CancellationToken::new();
    let story = async {
        pair.write(&text_frame("40{}")).await;
        assert_eq!(read(&mut pair).await, ("hello".to_owned(), json!(1)));
        stop.cancel();
    };
    within(future::join(bench.shard.run(stop.clone()), story)).await;
}
