//! Recordings: an hour of the simulator, recorded, played and recorded again.

use std::path::Path;
use std::time::Duration;

use tickcast::clock::Clock;
use tickcast::commands;
use tickcast::config::{Config, RecordArgs};
use tokio::time::Instant;

/// A clock that goes with the paused time of tokio.
fn clock() -> Clock {
    let began = Instant::now();
    Clock::from_fn(move || 1_732_252_800_000_000 + u64::try_from(began.elapsed().as_micros()).unwrap())
}

async fn record(file: &Path, seconds: Option<u64>, flags: &[&str]) -> anyhow::Result<String> {
    let (_, config, _) = Config::load([&["tickcast"], flags].concat().into_iter().map(Into::into)).unwrap();
    let args = RecordArgs { file: file.to_owned(), seconds };
    commands::record(&args, &config, clock(), std::future::pending()).await
}

#[tokio::test(start_paused = true)]
async fn an_hour_played_with_its_times_and_recorded_again_is_the_same_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let said = record(&file("first"), Some(3600), &["--simulator-seed=1"]).await.unwrap();
    // Twelve symbols, twice a second; one more or less at the ends.
    let ticks: u64 = said.split(' ').next().unwrap().parse().unwrap();
    assert!((86_400..=86_424).contains(&ticks), "{said}");
    let first = std::fs::read(file("first")).unwrap();
    assert!(first.len() < ticks as usize * 10, "{said}");

    let source = format!("--sources=replay:{}", file("first").display());
    let again = record(&file("max"), None, &[&source, "--replay-keep-ts=true", "--replay-speed=max"]).await.unwrap();
    assert!(again.starts_with(&format!("{ticks} ticks in {} bytes", first.len())), "{again}");
    assert!(std::fs::read(file("max")).unwrap() == first, "at full speed");

    // At its own pace: that takes an hour, too.
    let began = Instant::now();
    record(&file("paced"), None, &[&source, "--replay-keep-ts=true"]).await.unwrap();
    let took = began.elapsed();
    assert!(took > Duration::from_secs(3599) && took < Duration::from_secs(3601), "{took:?}");
    assert!(std::fs::read(file("paced")).unwrap() == first, "as it was");
    let began = Instant::now();
    record(&file("ten"), None, &[&source, "--replay-keep-ts=true", "--replay-speed=10"]).await.unwrap();
    let took = began.elapsed();
    assert!(took > Duration::from_secs(359) && took < Duration::from_secs(361), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn each_loop_is_of_now_and_a_file_that_was_cut_off_is_played_as_far_as_it_goes() {
    let folder = tempfile::tempdir().unwrap();
    let [whole, torn, looped] = ["whole", "torn", "looped"].map(|name| folder.path().join(name));
    record(&whole, Some(10), &["--simulator-seed=1", "--symbols=A,B"]).await.unwrap();
    let bytes = std::fs::read(&whole).unwrap();
    std::fs::write(&torn, &bytes[..bytes.len() - 1]).unwrap();

    let source = format!("--sources=replay:{}", torn.display());
    record(&looped, Some(35), &[&source, "--replay-loop=true"]).await.unwrap();
    let passes = times(&looped);
    // Three passes of 10 s and half of one, less the tick that was cut off in each.
    let (first, last) = (passes[0], *passes.last().unwrap());
    assert!(passes.is_sorted() && last - first >= 34_000 && last - first <= 35_000, "{first} to {last}");
    assert!(passes.len() > 120 && passes.len() < 160, "{}", passes.len());
}

#[tokio::test(start_paused = true)]
async fn what_is_played_faster_is_of_now_and_closer_together() {
    let folder = tempfile::tempdir().unwrap();
    let [whole, fast, max] = ["whole", "fast", "max"].map(|name| folder.path().join(name));
    record(&whole, Some(10), &["--simulator-seed=1", "--symbols=A,B"]).await.unwrap();
    let recorded = times(&whole);
    let source = format!("--sources=replay:{}", whole.display());

    let now_ms = clock().millis();
    record(&fast, None, &[&source, "--replay-speed=5"]).await.unwrap();
    let played = times(&fast);
    assert_eq!(played.len(), recorded.len());
    assert!(played[0].abs_diff(now_ms) < 1000, "{} at {now_ms}", played[0]);
    for (at, was) in played.iter().zip(&recorded) {
        assert!((at - played[0]).abs_diff((was - recorded[0]) / 5) <= 1, "{at}, and it was {was}");
    }

    let now_ms = clock().millis();
    record(&max, None, &[&source, "--replay-speed=max"]).await.unwrap();
    let played = times(&max);
    assert_eq!(played.len(), recorded.len());
    assert!(played.iter().all(|at| at.abs_diff(now_ms) < 1000), "{played:?} at {now_ms}");
}

/// The times in a recording, in ms.
fn times(file: &Path) -> Vec<u64> {
    let mut decoder = tickcast::recording::Decoder::new(std::fs::File::open(file).unwrap()).unwrap();
    let mut times = Vec::new();
    while let Ok(update) = decoder.next_update().unwrap() {
        times.push(update.ts_ms);
    }
    times
}

#[tokio::test]
async fn what_cannot_be_recorded_or_played_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    std::fs::write(file("there"), "precious").unwrap();
    let error = record(&file("there"), None, &[]).await.unwrap_err();
    assert!(error.to_string().contains("it must be a file that does not exist yet"), "{error:#}");
    assert_eq!(std::fs::read(file("there")).unwrap(), b"precious");

    std::fs::write(file("empty"), tickcast::recording::Encoder::HEADER).unwrap();
    for (name, why) in [
        ("there", "it is no recording, or one of another version"),
        ("missing", "No such file"),
        ("empty", "it must have at least one tick"),
    ] {
        let source = format!("--sources=replay:{}", file(name).display());
        let error = record(&file(&format!("of-{name}")), None, &[&source]).await.unwrap_err().to_string();
        assert!(error.starts_with("SOURCES (--sources): \"replay:") && error.contains(why), "{error}");
    }
}
