use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};

use super::*;
use crate::config::Config;
use crate::pattern::Patterns;

/// Now, in s since the Unix epoch.
pub(super) const NOW_S: u64 = 1_000_000;
pub(super) const SECRET: &str = "a secret of more than thirty-two bytes";

fn auth(flags: &[&str]) -> Result<Auth, String> {
    let args = std::iter::once("tickcast").chain(flags.iter().copied());
    let (_, config, _) = Config::load(args.map(Into::into)).map_err(|stop| stop.message)?;
    Auth::open(&config.access, Clock::from_fn(|| NOW_S * 1_000_000))
}

pub(super) fn with_secret(flags: &[&str]) -> Auth {
    let secret = format!("--jwt-secret={SECRET}");
    auth(&[&[secret.as_str()], flags].concat()).unwrap()
}

/// Claims that are good, but for these.
fn claims(other: Value) -> Value {
    let mut claims = json!({"sub": "alice", "exp": NOW_S + 60});
    for (name, value) in other.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
}

fn signed(header: &Header, claims: &Value, secret: &str) -> String {
    encode(header, claims, &EncodingKey::from_secret(secret.as_bytes())).unwrap()
}

fn hs256(claims: &Value) -> String {
    signed(&Header::new(Algorithm::HS256), claims, SECRET)
}

pub(super) fn show(auth: &Auth, token: &str) -> Result<Identity, Denied> {
    auth.identify(&Credentials::read(&json!({"token": token}), &HeaderMap::new(), None))
}

pub(super) fn base64url(bytes: &[u8]) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0_u32, |bits, &byte| bits << 8 | u32::from(byte)) << (8 * (3 - chunk.len()));
        for index in 0..=chunk.len() {
            text.push(DIGITS[(bits >> (18 - 6 * index)) as usize & 63] as char);
        }
    }
    text
}

fn by_hand(header: Value, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let part = |value: &Value| base64url(value.to_string().as_bytes());
    let message = format!("{}.{}", part(&header), part(claims));
    format!("{message}.{}", base64url(&sign(message.as_bytes())))
}

#[test]
fn a_good_token_says_who_it_is_and_what_he_may() {
    let auth = with_secret(&[]);
    let rights = claims(json!({"symbols": ["BTC", "ETH*"], "rooms": "chat", "roles": ["desk"], "aud": "whoever"}));
    let identity = show(&auth, &hs256(&rights)).unwrap();
    assert_eq!((identity.user.as_deref(), identity.expires_at_ms), (Some("alice"), Some((NOW_S + 60) * 1000)));
    assert!(identity.rights.symbols.allows("ETH2") && !identity.rights.symbols.allows("SOL"));
    assert!(identity.rights.rooms.allows("chat") && !identity.rights.rooms.allows("other"));
    assert_eq!(identity.roles, ["desk"]);
    let plain = show(&auth, &hs256(&claims(json!({"exp": NOW_S as f64 + 0.5})))).unwrap();
    assert_eq!(plain.rights, Rights { symbols: Patterns::every(), rooms: Patterns::every() });
    assert_eq!(plain.expires_at_ms, Some(NOW_S * 1000 + 500));
}

#[test]
fn a_token_that_is_not_good_is_refused() {
    let auth = with_secret(&["--allow-anonymous=true"]);
    let good = hs256(&claims(json!({})));
    assert!(show(&auth, &good).is_ok());
    let [header, _, signature] = good.split('.').collect::<Vec<_>>().try_into().unwrap();
    let other = base64url(claims(json!({"sub": "bob"})).to_string().as_bytes());
    let mac = |message: &[u8]| {
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, SECRET.as_bytes());
        ring::hmac::sign(&key, message).as_ref().to_vec()
    };
    assert!(show(&auth, &by_hand(json!({"alg": "HS256"}), &claims(json!({})), mac)).is_ok(), "signed by hand");
    for bad in [
        String::new(),
        "x".into(),
        "a.b.c".into(),
        format!("{header}.{other}.{signature}"),
        format!("{}.", good.rsplit_once('.').unwrap().0),
        signed(&Header::new(Algorithm::HS256), &claims(json!({})), "another secret"),
        by_hand(json!({"alg": "none"}), &claims(json!({})), |_| Vec::new()),
        by_hand(json!({"alg": "None"}), &claims(json!({})), mac),
        by_hand(json!({"alg": "HS384"}), &claims(json!({})), mac),
        by_hand(json!({"alg": "RS256"}), &claims(json!({})), mac),
        by_hand(json!({"alg": "HS256", "crit": ["b64"]}), &claims(json!({})), mac),
        hs256(&claims(json!({"nbf": NOW_S + 1}))),
        hs256(&json!({"sub": "alice"})),
        hs256(&json!({"exp": NOW_S + 60})),
        hs256(&claims(json!({"sub": ""}))),
        hs256(&claims(json!({"sub": 5}))),
        hs256(&claims(json!({"sub": "x".repeat(257)}))),
        hs256(&claims(json!({"exp": "tomorrow"}))),
        hs256(&claims(json!({"symbols": {"BTC": true}}))),
        hs256(&claims(json!({"symbols": [""]}))),
        hs256(&claims(json!({"rooms": [1]}))),
        hs256(&claims(json!({"pad": "x".repeat(9000)}))),
    ] {
        let denied = show(&auth, &bad).unwrap_err();
        assert_eq!(denied.to_string(), "unauthorized", "{bad}");
    }
    for exp in [json!(NOW_S), json!(NOW_S - 1), json!(0), json!(-5)] {
        assert_eq!(show(&auth, &hs256(&claims(json!({"exp": exp})))), Err(Denied::Expired));
    }
    assert!(show(&auth, &hs256(&claims(json!({"nbf": NOW_S, "exp": 1e300})))).is_ok());
}

#[test]
fn a_clock_may_be_off_by_the_leeway() {
    let auth = with_secret(&["--jwt-leeway=5000"]);
    let ok = |claim: &str, at_s: u64| show(&auth, &hs256(&claims(json!({claim: at_s})))).is_ok();
    assert!(ok("nbf", NOW_S + 5) && !ok("nbf", NOW_S + 6) && ok("exp", NOW_S - 4) && !ok("exp", NOW_S - 5));
}

#[test]
fn a_token_is_for_us_and_by_whom_we_believe() {
    let auth = with_secret(&["--jwt-audience=feed, other", "--jwt-issuer=us"]);
    let ok = |other: Value| show(&auth, &hs256(&claims(other))).is_ok();
    assert!(ok(json!({"aud": "feed", "iss": "us"})) && ok(json!({"aud": ["x", "other"], "iss": "us"})));
    for bad in [
        json!({"iss": "us"}),
        json!({"aud": "feed"}),
        json!({"aud": "x", "iss": "us"}),
        json!({"aud": [], "iss": "us"}),
        json!({"aud": "feed", "iss": "them"}),
    ] {
        assert!(!ok(bad.clone()), "{bad}");
    }
}

#[test]
fn public_keys_are_found_by_id_and_never_a_secret() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jwks.json");
    let random = SystemRandom::new();
    let ed = Ed25519KeyPair::from_pkcs8(Ed25519KeyPair::generate_pkcs8(&random).unwrap().as_ref()).unwrap();
    let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
    let ec = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap();
    let point = ec.public_key().as_ref();
    let (x, y) = (base64url(&point[1..33]), base64url(&point[33..]));
    let okp = json!({"kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": base64url(ed.public_key().as_ref())});
    let p256 = json!({"kty": "EC", "crv": "P-256", "kid": "ec", "x": x, "y": y, "alg": "ES256", "use": "sig"});
    let odd = json!({"kty": "XX", "kid": "odd"});
    let write = |keys: &[&Value]| std::fs::write(&path, json!({"keys": keys}).to_string()).unwrap();
    let flag = format!("--jwt-jwks-file={}", path.display());
    write(&[&okp, &odd, &p256]);
    let auth = self::auth(&[&flag]).unwrap();
    let claims = claims(json!({}));
    let by_ed = |header: Value| by_hand(header, &claims, |message| ed.sign(message).as_ref().to_vec());
    let by_ec =
        |header: Value| by_hand(header, &claims, |message| ec.sign(&random, message).unwrap().as_ref().to_vec());
    assert!(show(&auth, &by_ed(json!({"alg": "EdDSA", "kid": "ed"}))).is_ok());
    assert!(show(&auth, &by_ec(json!({"alg": "ES256", "kid": "ec"}))).is_ok());
    let mac = |message: &[u8]| {
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, ed.public_key().as_ref());
        ring::hmac::sign(&key, message).as_ref().to_vec()
    };
    for bad in [
        by_ed(json!({"alg": "EdDSA", "kid": "ec"})),
        by_ed(json!({"alg": "EdDSA", "kid": "gone"})),
        by_ed(json!({"alg": "EdDSA"})),
        by_ed(json!({"alg": "ES256", "kid": "ed"})),
        by_hand(json!({"alg": "HS256", "kid": "ed"}), &claims, mac),
        by_hand(json!({"alg": "none", "kid": "ed"}), &claims, |_| Vec::new()),
    ] {
        assert_eq!(show(&auth, &bad).unwrap_err().to_string(), "unauthorized", "{bad}");
    }

    // A key goes, and with one alone a token need not name it.
    write(&[&okp]);
    auth.tokens.as_ref().and_then(Tokens::file).unwrap().look();
    assert!(show(&auth, &by_ec(json!({"alg": "ES256", "kid": "ec"}))).is_err());
    assert!(show(&auth, &by_ed(json!({"alg": "EdDSA"}))).is_ok());

    for (text, part) in [
        ("x", "is no JSON"),
        ("{}", "must be {\"keys\""),
        (r#"{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}"#, "keys[0] is secret"),
        (r#"{"keys": [{"kty": "XX"}]}"#, "no key that is supported"),
        (r#"{"keys": [{"kty": "RSA", "n": "AQAB", "e": "AQAB"}]}"#, "2048 bits"),
    ] {
        std::fs::write(&path, text).unwrap();
        let error = self::auth(&[&flag]).unwrap_err();
        assert!(error.starts_with("JWT_JWKS_FILE (--jwt-jwks-file): \"") && error.contains(part), "{error}");
    }
    std::fs::write(&path, "-----BEGIN PRIVATE KEY-----\n").unwrap();
    let error = self::auth(&[&format!("--jwt-public-key-file={}", path.display())]).unwrap_err();
    assert!(error.contains("must be the public one alone"), "{error}");
    let both = self::auth(&[&flag, "--jwt-secret=s"]).unwrap_err();
    assert_eq!(both, "JWT_SECRET and JWT_JWKS_FILE are set: only one of them is allowed");
}

#[test]
fn without_a_token_one_is_a_guest_or_nobody() {
    let nobody = Credentials::default();
    assert_eq!(with_secret(&[]).identify(&nobody).unwrap_err().to_string(), "unauthorized");
    let auth = with_secret(&["--allow-anonymous=true", "--anonymous-symbols=BTC,X*"]);
    let guest = auth.identify(&nobody).unwrap();
    assert_eq!((guest.user.as_deref(), guest.expires_at_ms), (None, None));
    assert!(guest.rights.symbols.allows("BTC") && guest.rights.symbols.allows("XRP"));
    assert!(!guest.rights.symbols.allows("ETH") && !guest.rights.rooms.allows("chat"));
    let claim = Credentials::read(&json!({"user": "alice"}), &HeaderMap::new(), None);
    assert_eq!(auth.identify(&claim).unwrap().user, None, "a claim is nothing where tokens count");
    assert_eq!(self::auth(&[]).unwrap().identify(&claim).unwrap().user.as_deref(), Some("alice"));
    let words = |auth: Auth| (auth.reading(), auth.writing());
    assert_eq!(words(auth), ("token or guest", "loopback"));
    assert_eq!(words(with_secret(&["--api-key=k"])), ("token", "key"));
    assert_eq!(words(self::auth(&["--api-open=true"]).unwrap()), ("everybody", "everybody"));
}

#[test]
fn a_refresh_is_for_the_same_user() {
    let auth = with_secret(&["--allow-anonymous=true"]);
    let alice = show(&auth, &hs256(&claims(json!({})))).unwrap();
    let fresh = auth.refresh(&alice, &hs256(&claims(json!({"exp": NOW_S + 600, "symbols": ["BTC"]})))).unwrap();
    assert_eq!(fresh.expires_at_ms, Some((NOW_S + 600) * 1000));
    let code = |identity: &Identity, token: &str| auth.refresh(identity, token).unwrap_err().code.as_str();
    assert_eq!(code(&alice, &hs256(&claims(json!({"sub": "bob"})))), "forbidden");
    assert_eq!(code(&alice, &hs256(&claims(json!({"exp": 1})))), "token_expired");
    assert_eq!(code(&alice, "x"), "unauthorized");
    let guest = auth.identify(&Credentials::default()).unwrap();
    assert_eq!(code(&guest, &hs256(&claims(json!({})))), "forbidden");
    let open = self::auth(&[]).unwrap();
    assert_eq!(open.refresh(&alice, "x").unwrap_err().code.as_str(), "unavailable");
}

#[test]
fn what_is_made_is_taken() {
    let flags = ["tickcast", &format!("--jwt-secret={SECRET}"), "--jwt-audience=feed", "--jwt-issuer=us"];
    let (_, config, _) = Config::load(flags.map(Into::into)).unwrap();
    let clock = Clock::from_fn(|| NOW_S * 1_000_000);
    let symbols = Some(vec!["BTC".to_owned()]);
    let token = NewToken { sub: "alice".into(), expires_in_s: 60, symbols, rooms: None, roles: vec!["desk".into()] };
    let made = token.sign(&config.access, &clock).unwrap();
    let auth = Auth::open(&config.access, clock.clone()).unwrap();
    let identity = show(&auth, &made).unwrap();
    assert_eq!(identity.expires_at_ms, Some((NOW_S + 60) * 1000));
    assert!(identity.rights.symbols.allows("BTC") && !identity.rights.symbols.allows("ETH"));
    assert!(identity.rights.rooms.allows("chat") && identity.roles == ["desk"]);
    let (_, bare, _) = Config::load(["tickcast".into()]).unwrap();
    assert!(token.sign(&bare.access, &clock).unwrap_err().to_string().starts_with("JWT_SECRET is not set"));

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.json");
    let (key, entry) = new_key("feed", &[Scope::Publish]).unwrap();
    std::fs::write(&path, format!("[{entry}]")).unwrap();
    let auth = self::auth(&[&format!("--api-keys-file={}", path.display())]).unwrap();
    let headers: HeaderMap = [("x-api-key".parse().unwrap(), key.parse().unwrap())].into_iter().collect();
    let local = "127.0.0.1".parse().unwrap();
    assert_eq!(auth.admit(local, &headers, Scope::Publish), Ok(Caller("feed".into())));
    assert_eq!(auth.admit(local, &headers, Scope::Admin), Err(Refused::OutOfScope("feed".into())));
}
