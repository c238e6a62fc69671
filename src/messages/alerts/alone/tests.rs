use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use super::super::tests::{Desk, MANY, amy};
use super::super::{Answering, Ask, Asker, Settings, Stored};
use super::*;
use crate::journal::{Folder, FolderError};
use crate::market::{Mark, Market};
use crate::metrics::Metrics;
use crate::pattern::Patterns;
use crate::price::SymbolId;
use crate::wire::{Rule, SetAlert, Unalert};

/// A server with a folder, until it is killed.
struct Process {
    desk: Desk,
    keeper: BoxFuture<'static, ()>,
    stop: CancellationToken,
}

impl Process {
    /// One that begins at this place, with these candles.
    fn start(place: &tempfile::TempDir, epoch: &'static str, settings: Settings, market: Arc<Market>) -> Self {
        // The one before may still be in the middle of a write.
        let folder = loop {
            match Folder::take(place.path()) {
                Ok(folder) => break Arc::new(folder),
                Err(FolderError::Taken(_)) => std::thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
        };
        let file = AlertFile::open(&folder, &Metrics::default()).unwrap();
        let mut desk = Desk::of(epoch, settings, market, Stored::File(Box::new(file)));
        let stop = CancellationToken::new();
        let keeper = desk.parts.keeper.take().unwrap().run(stop.clone()).boxed();
        Self { desk, keeper, stop }
    }

    /// Its keeper runs while something is waited for.
    async fn until<T>(&mut self, what: impl Future<Output = T>) -> T {
        tokio::select! {
            done = what => done,
            () = &mut self.keeper => panic!("the keeper ended by itself"),
        }
    }

    async fn stop(self) {
        self.stop.cancel();
        self.keeper.await;
    }

    fn ask(&self, owner: Owner, ask: Ask) -> oneshot::Receiver<Reply> {
        match self.desk.parts.alerts.ask(Asker { owner, seat: None, symbols: &Patterns::every() }, ask) {
            Answering::Later(answer) => answer,
            Answering::Now(_) => panic!("it is not stored"),
        }
    }

    async fn change(&mut self, ask: Ask) -> Result<Value, Failure> {
        let waiting = self.ask(amy(), ask);
        self.until(reply(waiting)).await
    }

    async fn set(&mut self, rule: Rule) -> String {
        let answer = self.change(set(rule)).await.unwrap();
        answer["id"].as_str().unwrap().to_owned()
    }

    async fn remove(&mut self, id: &str) -> Result<Value, Failure> {
        self.change(Ask::Remove(Unalert { id: id.to_owned() })).await
    }

    async fn list(&mut self) -> Vec<String> {
        let answer = self.change(Ask::List).await.unwrap();
        answer["alerts"].as_array().unwrap().iter().map(|alert| alert["id"].as_str().unwrap().to_owned()).collect()
    }
}

fn set(rule: Rule) -> Ask {
    Ask::Set(SetAlert { symbol: "BTC".into(), rule })
}

async fn reply(waiting: oneshot::Receiver<Reply>) -> Result<Value, Failure> {
    waiting.await.unwrap().map(|json| serde_json::from_str(json.get()).unwrap())
}

fn above(price: u32) -> Rule {
    Rule::Above(price.into())
}

/// A market that begins with what another one has of candles.
fn with_candles_of(before: &Market) -> Arc<Market> {
    let (saved, _) = before.candle_changes(SymbolId::new(0), &Mark::default()).unwrap();
    let market = Desk::market();
    assert!(market.restore_candles(&"BTC".parse().unwrap(), saved));
    market
}

#[tokio::test]
async fn what_was_answered_is_there_after_a_kill_and_what_was_removed_is_not() {
    let place = tempfile::tempdir().unwrap();
    let mut first = Process::start(&place, "e", MANY, Desk::market());
    first.desk.take(&[5]);
    let ids = [first.set(above(10)).await, first.set(above(20)).await, first.set(Rule::Below(3.into())).await];
    assert_eq!(first.remove(&ids[1]).await, Ok(json!({"ok": true})));
    assert_eq!(first.remove(&ids[1]).await, Err(unknown(&ids[1])));
    let guest = Asker { owner: Owner::Connection(1), seat: None, symbols: &Patterns::every() };
    assert!(matches!(first.desk.parts.alerts.ask(guest, set(above(10))), Answering::Now(Ok(_))));
    drop(first);
    let mut second = Process::start(&place, "f", MANY, Desk::market());
    let mut listed = second.list().await;
    let mut kept = vec![ids[0].clone(), ids[2].clone()];
    listed.sort();
    kept.sort();
    assert_eq!(listed, kept);
    assert_eq!(second.desk.metrics().alerts.get(), 2, "the guest's is gone");
    second.desk.take(&[5, 10, 2, 5]);
    assert_eq!(second.desk.fired(), [(ids[0].clone(), 101), (ids[2].clone(), 102)]);
    assert_eq!(second.remove(&ids[0]).await, Ok(json!({"ok": true})));
    second.stop().await;
    assert_eq!(Process::start(&place, "g", MANY, Desk::market()).list().await, [ids[2].clone()]);
}

#[tokio::test]
async fn a_crossing_between_two_processes_fires_once_and_one_that_fired_does_not_again() {
    let place = tempfile::tempdir().unwrap();
    let mut first = Process::start(&place, "e", MANY, Desk::market());
    first.desk.take(&[9]);
    // What is stored of candles is older than what fired.
    let candles = with_candles_of(&first.desk.market);
    let (fired, not) = (first.set(above(10)).await, first.set(above(13)).await);
    first.desk.take(&[11]);
    assert_eq!(first.desk.fired(), [(fired.clone(), 101)]);
    // That it fired is stored by itself.
    let stored = || std::fs::read(place.path().join("alerts")).unwrap();
    let stored = async {
        while !stored().windows(9).any(|bytes| bytes == b"\"seq\":101") {
            tokio::task::yield_now().await;
        }
    };
    first.until(tokio::time::timeout(Duration::from_secs(20), stored)).await.unwrap();
    drop(first);
    let mut second = Process::start(&place, "f", MANY, candles);
    second.desk.take(&[12]);
    assert_eq!(second.desk.fired(), [], "as high as it was");
    second.desk.take(&[14]);
    assert_eq!(second.desk.fired(), [(not.clone(), 101)]);
    // Again from the candles of a process that ended in order: at 8.
    second.desk.take(&[8]);
    let candles = with_candles_of(&second.desk.market);
    second.stop().await;
    let mut third = Process::start(&place, "g", MANY, candles);
    third.desk.take(&[12]);
    assert_eq!(third.desk.fired(), [(fired, 100)], "it was below");
}

#[tokio::test]
async fn where_it_was_when_an_alert_was_set_is_known_also_where_candles_are_older() {
    let place = tempfile::tempdir().unwrap();
    let mut first = Process::start(&place, "e", MANY, Desk::market());
    first.desk.take(&[9]);
    let candles = with_candles_of(&first.desk.market);
    first.desk.take(&[14]);
    let id = first.set(above(13)).await;
    drop(first);
    let mut second = Process::start(&place, "f", MANY, candles);
    second.desk.take(&[15]);
    assert_eq!(second.desk.fired(), [], "it was there when it was set");
    second.desk.take(&[9, 13]);
    assert_eq!(second.desk.fired(), [(id, 102)]);
}

#[tokio::test]
async fn what_comes_while_an_alert_is_stored_fires_it() {
    let place = tempfile::tempdir().unwrap();
    let mut process = Process::start(&place, "e", MANY, Desk::market());
    process.desk.take(&[9]);
    let waiting = process.ask(amy(), set(above(10)));
    process.desk.take(&[10]);
    let answer = process.until(reply(waiting)).await.unwrap();
    assert_eq!(process.desk.fired(), [(answer["id"].as_str().unwrap().to_owned(), 101)]);
}

#[tokio::test]
async fn the_end_stores_and_answers_what_has_come() {
    let place = tempfile::tempdir().unwrap();
    let mut first = Process::start(&place, "e", MANY, Desk::market());
    first.desk.take(&[9]);
    let id = first.set(above(10)).await;
    first.desk.take(&[12]);
    assert_eq!(first.desk.fired(), [(id.clone(), 101)]);
    first.stop().await;
    // Without candles nobody else knows where it was.
    let mut second = Process::start(&place, "f", MANY, Desk::market());
    second.desk.take(&[12]);
    assert_eq!(second.desk.fired(), []);
    let waiting = second.ask(amy(), set(above(20)));
    second.stop().await;
    let other = reply(waiting).await.unwrap()["id"].as_str().unwrap().to_owned();
    let mut listed = Process::start(&place, "g", MANY, Desk::market()).list().await;
    let mut both = [id, other];
    listed.sort();
    both.sort();
    assert_eq!(listed, both);
}

#[tokio::test]
async fn a_change_is_measured_from_the_candles_of_before() {
    let place = tempfile::tempdir().unwrap();
    let mut first = Process::start(&place, "e", MANY, Desk::market());
    first.desk.take(&[1000]);
    let id = first.set(Rule::Change { percent: 3.into(), window_ms: 60_000 }).await;
    first.desk.take(&[1030]);
    assert_eq!(first.desk.fired(), [(id.clone(), 101)]);
    let candles = with_candles_of(&first.desk.market);
    drop(first);
    let mut second = Process::start(&place, "f", MANY, candles);
    // The same move goes on: against 1000, not against where the process began.
    second.desk.take(&[1032, 1070]);
    assert_eq!(second.desk.fired(), []);
    second.desk.take(&[1020, 1031]);
    assert_eq!(second.desk.fired(), [(id, 103)]);
}

#[tokio::test]
async fn limits_hold_in_the_order_of_what_is_asked() {
    let place = tempfile::tempdir().unwrap();
    let mut process = Process::start(&place, "e", Settings { most: 2, most_in_all: 3 }, Desk::market());
    let first = process.set(above(1)).await;
    // All of these wait at once.
    let remove = |id: &str| Ask::Remove(Unalert { id: id.to_owned() });
    let asks = [set(above(2)), set(above(3)), remove(&first), remove(&first), set(above(4)), set(above(5))];
    let waiting: Vec<_> = asks.into_iter().map(|ask| process.ask(amy(), ask)).collect();
    let others = [1, 2].map(|_| process.ask(Owner::User("zoe".into()), set(above(1))));
    let mut is_done = Vec::new();
    for answer in waiting.into_iter().chain(others) {
        is_done.push(process.until(reply(answer)).await.is_ok());
    }
    assert_eq!(is_done, [true, false, true, false, true, false, true, false]);
    assert_eq!(process.desk.metrics().limited_alerts.get(), 3);
}

#[test]
fn the_file_is_as_large_as_what_is_in_it() {
    let place = tempfile::tempdir().unwrap();
    let metrics = Metrics::default();
    let open = || AlertFile::open(&Arc::new(Folder::take(place.path()).unwrap()), &metrics).unwrap();
    let alert = |id| {
        let (owner, symbol) = (amy(), "BTC".parse().unwrap());
        Arc::new(Alert { id: AlertId(id), owner, place: None, symbol, rule: above(1), at: None, set_ms: id })
    };
    let mut file = open();
    assert!(!file.has_grown());
    let mut grew = 0;
    for round in 0..20 {
        let of_this = round * 1000..(round + 1) * 1000;
        let steps = of_this.clone().map(|id| Step::Put(alert(id)));
        // One of each round stays.
        let steps = steps.chain(of_this.skip(1).map(|id| Step::Remove(AlertId(id)))).collect();
        file.store(&Changes { steps, fired: HashMap::new() }).unwrap();
        if file.has_grown() {
            file.rewrite().unwrap();
            file.measure(&metrics);
            assert!(!file.has_grown() && metrics.alerts_file_bytes.get() < 5_000);
            grew += 1;
        }
    }
    assert!(grew > 0);
    drop(file);
    let mut file = open();
    let mut ids: Vec<u64> = file.alerts().map(|alert| alert.id.0).collect();
    ids.sort_unstable();
    assert_eq!(ids, (0..20).map(|round| round * 1000).collect::<Vec<_>>());
    assert!(file.has_grown(), "what an earlier process left");
    file.rewrite().unwrap();
    assert!(!file.has_grown());
    drop(file);
    assert!(!open().has_grown());
}
