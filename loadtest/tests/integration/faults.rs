//! Feeds with a planted fault: each is found, and called by its name, and nothing else is.

#![allow(clippy::unwrap_used, reason = "clippy knows only functions marked as tests, not what they call")]

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::support::{Deeds, Feed, Tick, plain};
use clap::Parser;
use tickcast_loadtest::args::Options;
use tickcast_loadtest::check::Findings;
use tickcast_loadtest::clock::wall_us;
use tickcast_loadtest::report::Report;
use tickcast_loadtest::run::run;

/// Clients of each run.
const CLIENTS: u64 = 4;

/// Loads a feed for a moment.
fn load(deeds: Deeds, seconds: &str) -> Report {
    let feed = Feed::start(deeds);
    let (url, clients) = (feed.url(), CLIENTS.to_string());
    let arguments = ["x", &url, "-n", &clients, "-d", seconds, "--settle", "0", "--symbols", "BTC"];
    // What a busy machine adds is no fault of the feed.
    let options = Options::try_parse_from(arguments.into_iter().chain(["--max-latency", "60000"])).unwrap();
    let outcome = run(&options, &options.plan(), &Arc::new(AtomicBool::new(false)), |_, _| {}).unwrap();
    Report::new(&options, &outcome, wall_us())
}

/// What was found in the whole run; `numbered` is how many ticks it was found in.
fn findings(report: &Report) -> Findings {
    assert_eq!(report.clients.connected, CLIENTS, "{report}");
    report.total.continuity.clone()
}

/// True if a count is one for each `every` numbers and client, give or take the ends.
fn about(count: u64, numbers: u64, every: u64) -> bool {
    count > 0 && count.abs_diff(numbers / every) <= CLIENTS
}

#[test]
fn a_clean_feed_is_clean() {
    let report = load(Deeds::default(), "3");
    let found = findings(&report);
    assert_eq!(found, Findings { numbered: found.numbered, ..Findings::default() });
    assert!(found.numbered > 1000, "{report}");
    // What is late on a busy machine is not all of it.
    assert!(report.measured.latency_ms.percentile_ms(1.0).is_some_and(|ms| ms < 100.0), "{report}");
    assert!(report.pass && report.errors.is_empty() && report.clients.with_errors == 0, "{report}");
}

#[test]
fn a_dropped_update_is_lost() {
    let report = load(
        Deeds { ticks: |seq, _| if seq % 1000 == 0 { vec![] } else { vec![plain(seq)] }, ..Deeds::default() },
        "3",
    );
    let found = findings(&report);
    assert!(about(found.lost, found.numbered + found.lost, 1000), "{report}");
    assert_eq!(Findings { lost: 0, numbered: 0, ..found.clone() }, clean(), "{report}");
    assert_eq!(report.clients.with_errors, CLIENTS);
    assert!(!report.pass);
}

#[test]
fn two_updates_out_of_order_are_reordered_and_not_lost() {
    let swapped = |seq, _| match seq % 1000 {
        0 => vec![plain(seq + 1)],
        1 => vec![plain(seq - 1)],
        _ => vec![plain(seq)],
    };
    let report = load(Deeds { ticks: swapped, ..Deeds::default() }, "3");
    let found = findings(&report);
    assert!(about(found.reordered, found.numbered, 1000), "{report}");
    // The run may end between the two.
    assert!(found.lost <= CLIENTS, "{report}");
    assert_eq!(Findings { reordered: 0, lost: 0, numbered: 0, ..found }, clean(), "{report}");
    assert!(!report.pass);
}

#[test]
fn a_repeated_update_is_a_duplicate() {
    let ticks = |seq, _| if seq % 1000 == 0 { vec![plain(seq), plain(seq)] } else { vec![plain(seq)] };
    let report = load(Deeds { ticks, ..Deeds::default() }, "3");
    let found = findings(&report);
    assert!(about(found.duplicates, found.numbered, 1000), "{report}");
    assert_eq!(Findings { duplicates: 0, numbered: 0, ..found }, clean(), "{report}");
    assert!(!report.pass);
}

#[test]
fn another_price_of_one_client_is_seen() {
    let ticks = |seq, client| {
        let odd = client == 1 && seq % 100 == 0;
        vec![Tick { price: if odd { 1 } else { seq }, ..plain(seq) }]
    };
    let report = load(Deeds { ticks, ..Deeds::default() }, "3");
    let found = findings(&report);
    // Who comes first is right: so it may be the others whose price is the other one.
    assert!(found.two_prices > 0 && found.two_prices <= found.numbered / 100, "{report}");
    assert_eq!(Findings { two_prices: 0, numbered: 0, ..found }, clean(), "{report}");
    assert!(!report.pass);
}

#[test]
fn a_tick_that_says_that_it_stands_for_several_is_conflated_and_no_fault() {
    let ticks = |seq, _| match seq % 5 {
        0 => vec![Tick { n: 5, ..plain(seq) }],
        _ => vec![],
    };
    // There is no tick at each number to start from: the first that comes is where it starts.
    let report = load(Deeds { ticks, answer: r#"430[{"ok":true}]"#, ..Deeds::default() }, "3");
    let found = findings(&report);
    assert_eq!(found.conflated, (found.numbered - CLIENTS) * 4, "{report}");
    assert_eq!(Findings { conflated: 0, numbered: 0, ..found }, clean(), "{report}");
    assert!(report.pass && report.clients.with_errors == 0, "{report}");
}

#[test]
fn a_new_epoch_is_a_new_beginning_and_no_fault() {
    let ticks = |seq: u64, _| vec![Tick { seq: seq + seq / 1000 * 1_000_000, epoch: seq / 1000, ..plain(seq) }];
    let report = load(Deeds { ticks, ..Deeds::default() }, "3");
    let found = findings(&report);
    assert!(about(found.epoch_changes, found.numbered, 1000), "{report}");
    assert_eq!(Findings { epoch_changes: 0, numbered: 0, ..found }, clean(), "{report}");
    assert!(report.pass && report.clients.with_errors == 0, "{report}");
}

#[test]
fn updates_that_a_stalled_feed_sends_late_all_show_it() {
    let report = load(Deeds { stall_ms: (1000, 2000), ..Deeds::default() }, "3");
    let (latency, silence) = (&report.measured.latency_ms, &report.measured.silence_ms);
    // A third of all updates was late, by half a second on average: a tester that waits for one answer before it asks for
    // the next would have seen one late one.
    assert!(latency.percentile_ms(95.0).unwrap() > 500.0 && latency.average_ms().unwrap() > 80.0, "{report}");
    assert!(silence.percentile_ms(50.0).unwrap() >= 990.0, "{report}");
    let found = findings(&report);
    assert_eq!(Findings { numbered: 0, ..found }, clean(), "{report}");
}

#[test]
fn clients_without_ticks_are_silent() {
    let report = load(
        Deeds { ticks: |seq, client| if client == 0 { vec![] } else { vec![plain(seq)] }, ..Deeds::default() },
        "1.5",
    );
    assert_eq!(report.measured.classes.healthy.silent, 1, "{report}");
    assert_eq!(report.clients.with_errors, 1, "{report}");
    assert!(!report.pass);
}

#[test]
fn clients_that_are_cut_off_refused_or_told_off_are_errors() {
    let report = load(Deeds { life_ms: 500, ..Deeds::default() }, "1.5");
    assert_eq!((report.clients.disconnected, report.clients.with_errors), ([CLIENTS, 0, 0], CLIENTS), "{report}");

    let report = load(Deeds { enter: r#"44{"message":"unauthorized"}"#, ..Deeds::default() }, "1");
    assert_eq!((report.clients.failed, report.clients.connected), (CLIENTS, 0));
    assert_eq!(report.errors[0].message, "connecting: refused: unauthorized");
    assert!(!report.pass && report.criteria.iter().all(|criterion| !criterion.pass), "{report}");

    let report =
        load(Deeds { answer: r#"430[{"ok":false,"error":{"code":"x","message":"no"}}]"#, ..Deeds::default() }, "1");
    assert_eq!((report.errors[0].message.as_str(), report.errors[0].count), ("subscribing: no", CLIENTS));

    let report = load(Deeds { answer: "nonsense 42[\"tick\",{}] 42[\"error\",1]", ..Deeds::default() }, "1");
    assert_eq!(report.errors.len(), 3, "{report}");
    assert_eq!(report.clients.with_errors, CLIENTS);
}

fn clean() -> Findings {
    Findings::default()
}
