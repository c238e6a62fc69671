use std::net::{IpAddr, SocketAddr};

use axum::http::HeaderMap;
use ipnet::IpNet;

/// The headers by which proxies say for whom they ask. Only the first is ever believed.
const FORWARDING: &[&str] = &[
    "x-forwarded-for",
    "forwarded",
    "via",
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-forwarded",
    "x-forwarded-host",
    "x-forwarded-proto",
    "true-client-ip",
    "cf-connecting-ip",
];

/// Where a request comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// The client's address; that of the last proxy that is trusted where it says none that can be read.
    pub address: IpAddr,
    /// True for who is on this machine without any doubt.
    pub local: bool,
}

/// The client of a request that came over a connection with `peer`.
///
/// `X-Forwarded-For` is believed from right to left, as long as who wrote an entry is trusted; anybody can have written
/// what is left of that. No other header is believed. Whoever is not trusted and says that he asks for somebody else is
/// not local, wherever he is.
pub fn client(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> Client {
    let peer = peer.to_canonical();
    let is_trusted = |address: &IpAddr| trusted.iter().any(|network| network.contains(address));
    let forwarded = FORWARDING.iter().any(|name| headers.contains_key(*name));
    if !forwarded || !is_trusted(&peer) {
        return Client { address: peer, local: peer.is_loopback() && !forwarded };
    }
    let mut address = peer;
    let mut said = false;
    let values: Vec<_> = headers.get_all(FORWARDING[0]).iter().collect();
    for value in values.iter().rev() {
        let Ok(text) = value.to_str() else { return Client { address, local: false } };
        for entry in text.rsplit(',') {
            let Some(read) = entry_address(entry.trim()) else { return Client { address, local: false } };
            (address, said) = (read, true);
            if !is_trusted(&address) {
                return Client { address, local: address.is_loopback() };
            }
        }
    }
    Client { address, local: said && address.is_loopback() }
}

/// An address as proxies write it: some add the port.
fn entry_address(entry: &str) -> Option<IpAddr> {
    let bare = entry.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(entry);
    let with_port = || entry.parse::<SocketAddr>().ok().map(|address| address.ip());
    Some(bare.parse::<IpAddr>().ok().or_else(with_port)?.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `address` and whether it is local, for a peer and headers, with 10.0.0.0/8 and 127.0.0.2 trusted.
    fn of(peer: &str, lines: &[(&'static str, &str)]) -> (String, bool) {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        let trusted = ["10.0.0.0/8".parse().unwrap(), "127.0.0.2/32".parse().unwrap(), "fd00::/8".parse().unwrap()];
        let Client { address, local } = client(peer.parse().unwrap(), &headers, &trusted);
        (address.to_string(), local)
    }

    fn is(address: &str, local: bool) -> (String, bool) {
        (address.to_owned(), local)
    }

    #[test]
    fn nobody_is_believed_who_is_not_trusted() {
        assert_eq!(of("192.0.2.1", &[]), is("192.0.2.1", false));
        assert_eq!(of("127.0.0.1", &[]), is("127.0.0.1", true));
        assert_eq!(of("::1", &[]), is("::1", true));
        assert_eq!(of("::ffff:127.0.0.1", &[]), is("127.0.0.1", true));
        for name in ["x-forwarded-for", "x-real-ip", "forwarded", "via"] {
            assert_eq!(of("192.0.2.1", &[(name, "127.0.0.1")]), is("192.0.2.1", false), "{name}");
            assert_eq!(
                of("127.0.0.1", &[(name, "127.0.0.1")]),
                is("127.0.0.1", false),
                "a proxy on this machine: {name}"
            );
        }
    }

    #[test]
    fn a_trusted_proxy_is_believed_as_far_as_it_knows() {
        let by = |values: &[&str]| {
            let lines: Vec<_> = values.iter().map(|value| ("x-forwarded-for", *value)).collect();
            of("10.0.0.1", &lines)
        };
        assert_eq!(by(&["192.0.2.7"]), is("192.0.2.7", false));
        assert_eq!(by(&["127.0.0.1"]), is("127.0.0.1", true));
        assert_eq!(by(&["127.0.0.1, 192.0.2.7"]), is("192.0.2.7", false), "the client wrote the first");
        assert_eq!(by(&["127.0.0.1", "192.0.2.7"]), is("192.0.2.7", false), "in two lines");
        assert_eq!(by(&["192.0.2.7, 10.9.9.9"]), is("192.0.2.7", false), "two proxies");
        assert_eq!(by(&["10.9.9.9, 10.8.8.8"]), is("10.9.9.9", false), "trusted all");
        assert_eq!(by(&["192.0.2.7:5000"]), is("192.0.2.7", false));
        assert_eq!(by(&["[2001:db8::1]:5000"]), is("2001:db8::1", false));
        assert_eq!(by(&["[2001:db8::1]"]), is("2001:db8::1", false));
        assert_eq!(by(&["::ffff:127.0.0.1"]), is("127.0.0.1", true));
        assert_eq!(of("fd00::1", &[("x-forwarded-for", "::1")]), is("::1", true));
    }

    #[test]
    fn what_cannot_be_read_makes_nobody_local() {
        for value in ["unknown", "", "127.0.0.1,", "127.0.0.1, x", "localhost", "[127.0.0.1", "_hidden"] {
            assert!(!of("127.0.0.2", &[("x-forwarded-for", value)]).1, "{value:?}");
        }
        assert_eq!(of("127.0.0.2", &[]), is("127.0.0.2", true), "asks for itself");
        for name in ["x-real-ip", "forwarded"] {
            assert_eq!(of("127.0.0.2", &[(name, "127.0.0.1")]), is("127.0.0.2", false), "{name} is never believed");
        }
        let both = [("x-forwarded-for", "192.0.2.7"), ("x-real-ip", "127.0.0.1")];
        assert_eq!(of("10.0.0.1", &both), is("192.0.2.7", false));
    }
}
