use std::net::IpAddr;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use ring::hmac;

use super::api::is_of_this_machine;
use super::identity::MAX_USER_BYTES;
use super::peer::client;
use super::tests::{NOW_S, SECRET, base64url, show, with_secret};
use crate::config::Origins;
use crate::fuzzing::fuzz;

#[test]
fn tokens() {
    let auth = with_secret(&[]);
    fuzz("tokens", |bytes| {
        // Nobody but us can sign one.
        assert!(show(&auth, &String::from_utf8_lossy(bytes)).is_err());
    });
}

#[test]
fn claims() {
    let auth = with_secret(&[]);
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let header = base64url(br#"{"alg":"HS256"}"#);
    fuzz("claims", |bytes| {
        // Somebody who may sign, whatever he signs.
        let message = format!("{header}.{}", base64url(bytes));
        let token = format!("{message}.{}", base64url(hmac::sign(&key, message.as_bytes()).as_ref()));
        let Ok(identity) = show(&auth, &token) else { return };
        let user = identity.user.unwrap();
        assert!((1..=MAX_USER_BYTES).contains(&user.len()));
        assert!(identity.expires_at_ms.unwrap() > NOW_S * 1000);
        for name in ["BTC", "", "*", "a*b", &"ab".repeat(2000)] {
            let (symbols, rooms) = (&identity.rights.symbols, &identity.rights.rooms);
            assert_eq!((symbols.allows(name), rooms.allows(name)), (symbols.allows(name), rooms.allows(name)));
        }
    });
}

#[test]
fn peers() {
    let trusted = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
    fuzz("peers", |bytes| {
        let mut headers = HeaderMap::new();
        for line in bytes.split(|byte| *byte == b'\n').take(100) {
            let at = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
            let (name, value) = line.split_at(at);
            let value = value.strip_prefix(b": ").unwrap_or(value);
            if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
                headers.append(name, value);
            }
        }
        for peer in ["192.0.2.1", "127.0.0.1", "::1", "10.0.0.1", "fd00::1", "::ffff:10.0.0.1"] {
            let peer: IpAddr = peer.parse().unwrap();
            let found = client(peer, &headers, &trusted);
            let is_trusted = trusted.iter().any(|network: &ipnet::IpNet| network.contains(&peer.to_canonical()));
            assert!(is_trusted || found.address == peer.to_canonical(), "{peer} is believed");
            assert!(!found.local || found.address.is_loopback());
            assert_eq!(found.address, found.address.to_canonical(), "one address has one name");
        }
    });
}

#[test]
fn origins() {
    let (any, listed) = (Origins::Any, Origins::Listed(vec!["https://a.example".into()]));
    fuzz("origins", |bytes| {
        assert!(any.allow(bytes));
        assert_eq!(listed.allow(bytes), bytes.eq_ignore_ascii_case(b"https://a.example"));
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        if is_of_this_machine(text) {
            // As a browser writes it, it names this machine; anything else is none that a browser writes.
            let origin = url::Url::parse(text).unwrap().origin().ascii_serialization();
            let host = origin.split_once("://").map_or("", |(_, rest)| rest);
            let ours = |host: &str| host.starts_with("127.") || host.starts_with("[::1]");
            let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
            let named = [host, name].iter().any(|name| *name == "localhost" || name.ends_with(".localhost"));
            assert!(ours(host) || named || origin == "null", "{text} is taken for {origin}");
        }
    });
}
