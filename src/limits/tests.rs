use axum::http::StatusCode;
use axum::response::IntoResponse;

use super::*;
use crate::config::Config;

fn limits(flags: &[&str]) -> Arc<Limits> {
    let (_, config, _) = Config::load(std::iter::once(&"tickcast").chain(flags).map(Into::into)).unwrap();
    Arc::new(Limits::new(&config.limits, config.cors_origin, Arc::default()))
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn a_place_is_held_by_its_session_and_given_back_with_it() {
    let limits = limits(&["--max-connections=3", "--max-connections-per-ip=2"]);
    let admit = |text| limits.admit(address(text), None);
    let sessions = [admit("192.0.2.1"), admit("192.0.2.1")];
    let refused = admit("192.0.2.1").unwrap_err().into_response();
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.headers()["retry-after"], "5");
    let third = admit("192.0.2.2").unwrap();
    assert_eq!(admit("192.0.2.3").unwrap_err().into_response().status(), StatusCode::SERVICE_UNAVAILABLE);
    drop(third);
    assert!(admit("192.0.2.3").is_ok(), "the refused one holds nothing");
    drop(sessions);
    assert!(admit("192.0.2.1").is_ok());
    assert_eq!(limits.sessions.load(Ordering::Relaxed), 0);
    let counted = (limits.metrics.limited_connections.get(), limits.metrics.limited_addresses.get());
    assert_eq!(counted, (1, 1));
}

#[test]
fn only_listed_origins_are_let_in_and_what_is_no_browser() {
    let limits = limits(&["--cors-origin=https://a.example,http://b.example:8080"]);
    let admit = |origin: Option<&str>| limits.admit(address("::1"), origin.map(str::as_bytes));
    for origin in [None, Some("https://a.example"), Some("HTTPS://A.example"), Some("http://b.example:8080")] {
        assert!(admit(origin).is_ok(), "{origin:?}");
    }
    for origin in ["null", "", "https://a.example.evil", "http://a.example", "https://a.example:8443", "\u{e9}"] {
        assert_eq!(admit(Some(origin)).unwrap_err().into_response().status(), StatusCode::FORBIDDEN, "{origin}");
    }
    assert_eq!(limits.metrics.limited_origins.get(), 6);
}

#[test]
fn nobody_is_let_in_while_draining() {
    let limits = limits(&[]);
    assert!(limits.admit(address("::1"), Some(b"null")).is_ok());
    limits.drain();
    let refused = limits.admit(address("::1"), None).unwrap_err();
    assert_eq!(refused.into_response().status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[test]
fn who_goes_on_after_being_refused_is_ended_once() {
    let limits = limits(&["--max-messages-per-second=1", "--max-messages-at-once=3", "--abuse-factor=4"]);
    let session = limits.admit(address("::1"), None).unwrap();
    let verdicts: Vec<_> = (0..10).map(|_| session.message()).collect();
    assert!(verdicts[..3].iter().all(|verdict| *verdict == Verdict::Pass), "{verdicts:?}");
    assert!(verdicts[3..7].iter().all(|verdict| matches!(verdict, Verdict::Refuse(_))), "{verdicts:?}");
    assert_eq!(verdicts[7..], [Verdict::End, Verdict::Ended, Verdict::Ended]);
    assert_eq!((limits.metrics.limited_messages.get(), limits.metrics.limited_abuse.get()), (5, 1));
}

#[test]
fn nothing_is_limited_where_the_limit_is_nought() {
    let limits = limits(&["--max-messages-per-second=0", "--max-chats-per-second=0"]);
    let session = limits.admit(address("::1"), None).unwrap();
    assert!((0..10_000).all(|_| session.message() == Verdict::Pass && session.chat() == Verdict::Pass));
    assert!((0..10_000).all(|_| limits.request(address("::1")).is_ok()));
}

#[test]
fn one_that_left_is_looked_after_until_it_is_back() {
    let limits = limits(&[]);
    let session = limits.admit(address("::1"), None).unwrap();
    assert!(session.leave() && !session.leave(), "told once");
    assert_eq!(session.remaining(Duration::ZERO), Duration::ZERO);
    assert!(session.remaining(Duration::from_secs(60)) > Duration::from_secs(50));
    assert!(!session.is_back(|| false) && session.is_back(|| true));
    assert!(session.leave());
}
