use std::str::FromStr;
use std::sync::Arc;

use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderName};
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use subtle::{Choice, ConstantTimeEq};

use super::peer::Client;
use super::watched::{Look, Watched};
use crate::config::Access;

/// The header with the key.
const HEADER: &str = "x-api-key";

/// The most keys of a file: each request is compared with all of them.
const MAX_KEYS: usize = 1000;

/// A SHA-256. Enough for a key, which is long and random: only passwords need a slow one.
pub(super) type Hash = [u8; 32];

/// What a key may be used for. None has another in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Publish prices.
    Publish,
    /// Send messages.
    Message,
    /// Disconnect users.
    Admin,
}

impl Scope {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Message => "message",
            Self::Admin => "admin",
        }
    }
}

impl FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = [Self::Publish, Self::Message, Self::Admin];
        known
            .into_iter()
            .find(|scope| scope.as_str() == text)
            .ok_or_else(|| "is no scope: must be publish, message or admin".into())
    }
}

/// Who sends a request, for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller(pub String);

/// Why somebody may not do what he asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// There is no key.
    Missing,
    /// There is no such key.
    Wrong,
    /// There is one of this name, for something else.
    OutOfScope(String),
    /// There are no keys, and he is not on this machine.
    Remote,
    /// There are no keys, and it is the page of another place that asks, or by the name of one.
    Page,
}

/// An entry of `API_KEYS_FILE`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    pub(super) name: String,
    /// In hexadecimal digits.
    pub(super) sha256: String,
    pub(super) scopes: Vec<Scope>,
}

struct Key {
    name: String,
    hash: Hash,
    scopes: Vec<Scope>,
}

/// Who may use `/api`.
pub(super) struct ApiKeys {
    /// May do everything.
    single: Option<Hash>,
    named: Option<Watched<Vec<Key>>>,
    /// True where everybody may, for want of keys.
    open: bool,
}

impl ApiKeys {
    /// # Errors
    /// The file cannot be used: the variable, the value and what is allowed.
    pub(super) fn open(settings: &Access) -> Result<Self, String> {
        let single = settings.api_key().map(|key| hash(key.reveal().as_bytes()));
        let named = settings.api_keys_file().map(|path| {
            Watched::open(path, read)
                .map_err(|error| format!("API_KEYS_FILE (--api-keys-file): \"{}\" {error}", path.display()))
        });
        Ok(Self { single, named: named.transpose()?, open: settings.api_open })
    }

    pub(super) fn file(&self) -> Option<&dyn Look> {
        self.named.as_ref().map(|file| file as &dyn Look)
    }

    /// True where a request shows a key, good or not.
    pub(super) fn is_shown(headers: &HeaderMap) -> bool {
        headers.contains_key(HEADER)
    }

    pub(super) fn has_keys(&self) -> bool {
        self.single.is_some() || self.named.is_some()
    }

    pub(super) fn who(&self) -> &'static str {
        match (self.has_keys(), self.open) {
            (true, _) => "key",
            (false, true) => "everybody",
            (false, false) => "loopback",
        }
    }

    /// Who this is, if he may do this; without a scope any key will do.
    pub(super) fn admit(&self, client: Client, headers: &HeaderMap, scope: Option<Scope>) -> Result<Caller, Refused> {
        if self.has_keys() {
            let shown = headers.get(HEADER).ok_or(Refused::Missing)?;
            return self.find(&hash(shown.as_bytes()), scope);
        }
        if self.open {
            return Ok(Caller(client.address.to_string()));
        }
        if !client.local {
            return Err(Refused::Remote);
        }
        // A browser on this machine has the pages of everybody in it. It says whose page it is that posts; and of one that
        // reads, by which name it believes to ask its own server. A name that it was lied to about (DNS rebinding) is none of
        // this machine's.
        let is_other = |name: HeaderName, ours: fn(&str) -> bool| {
            let mut values = headers.get_all(name).iter();
            values.any(|value| !value.to_str().is_ok_and(ours))
        };
        if is_other(ORIGIN, is_of_this_machine) || is_other(HOST, is_name_of_this_machine) {
            return Err(Refused::Page);
        }
        Ok(Caller(client.address.to_string()))
    }

    /// Compares with every key, so that the time says nothing about any.
    fn find(&self, shown: &Hash, scope: Option<Scope>) -> Result<Caller, Refused> {
        let is_single = self.single.as_ref().map_or(Choice::from(0), |hash| hash.ct_eq(shown));
        let named = self.named.as_ref().map(Watched::get).unwrap_or_else(|| Arc::new(Vec::new()));
        let mut found = None;
        for key in named.iter() {
            if bool::from(key.hash.ct_eq(shown)) {
                found = Some(key);
            }
        }
        match (bool::from(is_single), found) {
            (true, _) => Ok(Caller("API_KEY".into())),
            (false, Some(key)) if scope.is_none_or(|scope| key.scopes.contains(&scope)) => Ok(Caller(key.name.clone())),
            (false, Some(key)) => Err(Refused::OutOfScope(key.name.clone())),
            (false, None) => Err(Refused::Wrong),
        }
    }
}

impl std::fmt::Debug for ApiKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ApiKeys({})", self.who())
    }
}

pub(super) fn hash(key: &[u8]) -> Hash {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, key).as_ref());
    hash
}

/// True for the origin of a page that this machine serves itself.
pub(super) fn is_of_this_machine(origin: &str) -> bool {
    let Ok(origin) = url::Url::parse(origin) else { return false };
    match origin.host() {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// True for a `Host` that can mean no other machine.
fn is_name_of_this_machine(host: &str) -> bool {
    is_of_this_machine(&format!("http://{host}"))
}

fn read(bytes: &[u8]) -> Result<Vec<Key>, String> {
    const FORM: &str = "must be [{\"name\": \"...\", \"sha256\": \"...\", \"scopes\": [\"publish\"]}]";
    let entries: Vec<Entry> =
        serde_json::from_slice(bytes).map_err(|error| format!("cannot be read: {error}; {FORM}"))?;
    if entries.len() > MAX_KEYS {
        return Err(format!("has {} keys: at most {MAX_KEYS} are allowed", entries.len()));
    }
    entries
        .into_iter()
        .enumerate()
        .map(|(index, Entry { name, sha256, scopes })| {
            let hash = unhex(&sha256).ok_or_else(|| {
                format!("[{index}].sha256 is no SHA-256: must be 64 hexadecimal digits (tickcast key makes them)")
            })?;
            if name.is_empty() || name.chars().any(char::is_control) {
                return Err(format!("[{index}].name is not allowed: must be a name without control characters"));
            }
            Ok(Key { name, hash, scopes })
        })
        .collect()
}

fn unhex(text: &str) -> Option<Hash> {
    let mut hash = Hash::default();
    if text.len() != 2 * hash.len() || !text.is_ascii() {
        return None;
    }
    for (byte, digits) in hash.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        lines.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    fn at(address: &str, local: bool) -> Client {
        Client { address: address.parse::<IpAddr>().unwrap(), local }
    }

    const OPEN: bool = true;

    fn keyless(open: bool) -> ApiKeys {
        ApiKeys { single: None, named: None, open }
    }

    #[test]
    fn a_key_is_looked_for_in_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.json");
        let hex: String = hash(b"other").iter().map(|byte| format!("{byte:02x}")).collect();
        std::fs::write(&path, format!(r#"[{{"name":"feed","sha256":"{hex}","scopes":["publish"]}}]"#)).unwrap();
        let named = Watched::open(&path, read).unwrap();
        let keys = ApiKeys { single: Some(hash(b"one")), named: Some(named), open: true };
        let admit =
            |lines: &[(&'static str, &str)], scope| keys.admit(at("127.0.0.1", true), &headers(lines), Some(scope));
        let any = |key: &str| keys.admit(at("127.0.0.1", true), &headers(&[("x-api-key", key)]), None);
        assert_eq!((any("other"), any("no")), (Ok(Caller("feed".into())), Err(Refused::Wrong)));
        assert_eq!(admit(&[], Scope::Admin), Err(Refused::Missing), "though it is this machine, and open");
        assert_eq!(admit(&[("x-api-key", "no")], Scope::Admin), Err(Refused::Wrong));
        assert_eq!(admit(&[("x-api-key", "")], Scope::Admin), Err(Refused::Wrong));
        assert_eq!(admit(&[("x-api-key", "one")], Scope::Admin), Ok(Caller("API_KEY".into())));
        assert_eq!(admit(&[("x-api-key", "other")], Scope::Publish), Ok(Caller("feed".into())));
        assert_eq!(admit(&[("x-api-key", "other")], Scope::Admin), Err(Refused::OutOfScope("feed".into())));
        assert_eq!(admit(&[("x-api-key", hex.as_str())], Scope::Publish), Err(Refused::Wrong), "its hash is no key");
        assert_eq!(keys.who(), "key");
    }

    #[test]
    fn without_keys_this_machine_may() {
        let of = |client, lines: &[(&'static str, &str)], open| {
            keyless(open).admit(client, &headers(lines), Some(Scope::Admin))
        };
        assert!(of(at("127.0.0.1", true), &[], !OPEN).is_ok());
        assert_eq!(of(at("192.0.2.1", false), &[], !OPEN), Err(Refused::Remote));
        assert_eq!(of(at("127.0.0.1", false), &[], !OPEN), Err(Refused::Remote));
        assert!(of(at("192.0.2.1", false), &[], OPEN).is_ok());
        for (origin, may) in [
            ("http://localhost:3000", true),
            ("http://127.0.0.1:8080", true),
            ("http://[::1]", true),
            ("https://evil.example", false),
            ("http://localhost.evil.example", false),
            ("null", false),
        ] {
            let admitted = of(at("127.0.0.1", true), &[("origin", origin)], !OPEN);
            assert_eq!(admitted.is_ok(), may, "{origin}");
        }
        for (host, may) in [
            ("localhost:3000", true),
            ("127.0.0.1", true),
            ("[::1]:3000", true),
            ("rebound.example:3000", false),
            ("127.0.0.1.evil.example", false),
            ("", false),
        ] {
            let admitted = of(at("127.0.0.1", true), &[("host", host)], !OPEN);
            assert_eq!(admitted.is_ok(), may, "{host}");
        }
        let rebound = [("host", "localhost"), ("host", "rebound.example")];
        assert_eq!(of(at("127.0.0.1", true), &rebound, !OPEN), Err(Refused::Page));
    }

    #[test]
    fn a_file_with_a_mistake_is_refused_by_name() {
        let entry = |sha: &str, scope: &str| format!(r#"[{{"name":"a","sha256":"{sha}","scopes":["{scope}"]}}]"#);
        let good = "0aF".repeat(22)[..64].to_owned();
        assert!(read(entry(&good, "admin").as_bytes()).is_ok());
        for (bad, part) in [
            ("{}".to_owned(), "must be [{"),
            (entry("abc", "admin"), "[0].sha256"),
            (entry(&good, "root"), "unknown variant"),
            (entry(&good, "admin").replace(r#""a""#, r#""""#), "[0].name"),
            (r#"[{"name":"a","key":"plain"}]"#.to_owned(), "unknown field"),
        ] {
            let error = read(bad.as_bytes()).err().unwrap();
            assert!(error.contains(part), "{error}");
        }
    }
}
