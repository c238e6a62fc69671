//! The program as people run it: exit codes, what it writes where, and what it says of mistakes.

#![allow(clippy::unwrap_used, reason = "clippy knows only functions marked as tests, not what they call")]

use std::process::{Command, Output, Stdio};
use std::time::Duration;

use crate::support::{Deeds, Feed, plain};
use serde_json::Value;

fn tester() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tickcast-loadtest"));
    for name in ["SERVER_URL", "NUM_CLIENTS", "TEST_DURATION", "SYMBOLS"] {
        command.env_remove(name);
    }
    command
}

fn output(arguments: &[&str]) -> Output {
    tester().args(arguments).output().unwrap()
}

#[test]
fn the_environment_is_understood_and_the_report_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let (json, html) = (folder.path().join("report.json"), folder.path().join("report.html"));
    let feed = Feed::start(Deeds::default());
    let pid = std::process::id().to_string();
    let output = tester()
        .env("SERVER_URL", feed.url())
        .env("NUM_CLIENTS", "3")
        .env("TEST_DURATION", "1")
        .args(["--settle", "0.5", "--symbols", "BTC", "--label", "<b>", "--interval", "1", "--quiet", "--pid", &pid])
        // A busy machine may be late.
        .args(["--max-latency", "60000"])
        .arg("--json")
        .arg(&json)
        .arg("--html")
        .arg(&html)
        .output()
        .unwrap();
    let summary = String::from_utf8(output.stdout).unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]), "{summary}");
    assert!(summary.contains("3 of 3 connects succeeded") && summary.contains("0 lost"), "{summary}");

    let report: Value = serde_json::from_str(&std::fs::read_to_string(json).unwrap()).unwrap();
    assert_eq!((&report["version"], &report["pass"]), (&1.into(), &true.into()));
    assert_eq!(report["clients"]["connected"], 3);
    assert_eq!(report["measured"]["expected_updates_per_s"], 3000.0);
    for path in ["/latency_ms/p999", "/server/cpu_us_per_update", "/server/kb_per_connection", "/generator/cpu_share"] {
        assert!(report["measured"].pointer(path).is_some_and(Value::is_number), "{path}");
    }
    let phases: Vec<_> = report["phases"].as_array().unwrap().iter().map(|row| row["kind"].as_str().unwrap()).collect();
    assert_eq!(phases, ["ramp", "settle", "hold"]);
    let seconds = report["seconds"].as_array().unwrap();
    assert_eq!(seconds.len(), 1);
    assert!(seconds[0]["updates_per_s"].is_number(), "{}", seconds[0]);

    let page = std::fs::read_to_string(html).unwrap();
    assert!(page.contains("<h1>&lt;b&gt;</h1>") && page.contains("<svg") && !page.contains("NaN"));
    for elsewhere in ["src=", "href=", "url(", "@import"] {
        assert!(!page.contains(elsewhere), "{elsewhere}: it needs a network");
    }
}

#[test]
fn a_second_that_two_phases_share_is_counted_whole() {
    let feed = Feed::start(Deeds::default());
    let updates_of_the_first_second = || {
        let output = output(&[&feed.url(), "-n", "3", "-d", "1", "--settle", "0.5", "--symbols", "BTC", "--json", "-"]);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        report["seconds"][0]["updates_per_s"].as_f64().unwrap()
    };
    // A busy machine may be late with some of it: then once more.
    let most = (0..5).map(|_| updates_of_the_first_second()).find(|updates| (1700.0..3300.0).contains(updates));
    assert!(most.is_some(), "3000 updates came, and half of them would be those of one phase");
}

#[test]
fn json_alone_can_go_to_the_standard_output_and_a_fault_to_the_exit_code() {
    let ticks = |seq, _| if seq % 100 == 0 { vec![] } else { vec![plain(seq)] };
    let feed = Feed::start(Deeds { ticks, ..Deeds::default() });
    let output = output(&[
        &feed.url(),
        "-n",
        "2",
        "-d",
        "1",
        "--settle",
        "0",
        "--symbols",
        "BTC",
        "--json",
        "-",
        "--max-lost",
        "0",
        "--max-latency",
        "60000",
    ]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1));
    let failed: Vec<_> = report["criteria"].as_array().unwrap().iter().filter(|one| one["pass"] == false).collect();
    assert_eq!(failed.iter().map(|one| &one["name"]).collect::<Vec<_>>(), ["clients with errors (%)", "lost updates"]);
}

#[test]
fn an_interrupted_run_still_reports() {
    let feed = Feed::start(Deeds::default());
    let child = tester()
        .args([&feed.url(), "-n", "2", "-d", "600", "--settle", "0", "--symbols", "BTC", "--json", "-", "-q"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // Who has subscribed is in the loop, and catches signals.
    while feed.subscribed() < 2 {
        std::thread::park_timeout(Duration::from_millis(5));
    }
    let kill = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    let output = child.wait_with_output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["interrupted"], &report["clients"]["connected"]), (&true.into(), &2.into()));
}

#[test]
fn mistakes_are_named_with_what_is_allowed() {
    for (arguments, code, said) in [
        (&["-n", "0"][..], 2, "'0' for '--clients <N>': is not allowed: must be a whole number from 1 to 20000"),
        (&["--sets", "3"], 2, "--symbols-per-client, 1 to 5"),
        (&["--sets", "3", "--symbols-per-client", "6"], 2, "must be at most 5"),
        (&["--slow-share", "0.7", "--stalled-share", "0.7"], 2, "at most 1 together"),
        (&["--phases", "ramp:10"], 2, "ramp:CLIENTS:SECONDS"),
        (&["--phases", "ramp:20001:1"], 2, "at most 20000"),
        (&["--phases", "hold:1", "-n", "1"], 2, "cannot be used with"),
        (&["https://localhost"], 2, "TLS"),
        (&["http://localhost/feed"], 2, "the endpoint's path is --path"),
        (&["--auth", "{"], 2, "is not JSON"),
        (&["http://127.0.0.1:1"], 3, "no server at http://127.0.0.1:1"),
        (&["--pid", "4000000000", "http://127.0.0.1:1"], 3, "no such process"),
        (&["--html", "/nowhere/report.html", "http://127.0.0.1:1"], 3, "cannot write /nowhere/report.html"),
    ] {
        let output = output(arguments);
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {message}");
        assert!(message.starts_with("error: ") && message.contains(said), "{arguments:?}: {message}");
    }
}
