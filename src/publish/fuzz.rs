use std::collections::HashMap;

use serde_json::Value;
use serde_json::value::RawValue;

use super::candidate::Candidate;
use crate::fuzzing::fuzz;
use crate::price::{Tick, exact};
use crate::wire::encode_snapshot;

/// How long a message for people may get, in characters, whatever was sent.
const MESSAGE_CHARS: usize = 500;

/// What becomes of a price of a back end goes to every client as it stands: it must be what was said, and nothing more.
fn check(candidate: Candidate) {
    assert!(candidate.symbol.chars().count() <= MESSAGE_CHARS);
    match candidate.update {
        Ok(parts) => {
            let update = parts.at(7).update;
            assert_eq!(candidate.symbol, update.symbol.as_str());
            let said = encode_snapshot(&Tick { seq: 1, update: update.clone() }, None, false, None);
            let said: HashMap<String, Box<RawValue>> = serde_json::from_str(said.get()).unwrap();
            assert_eq!(serde_json::from_str::<String>(said["symbol"].get()).unwrap(), update.symbol.as_str());
            for (name, value) in [("bid", update.bid), ("ask", update.ask), ("size", update.size)] {
                assert_eq!(said.get(name).map(|digits| exact(digits.get()).unwrap()), value, "{name}");
            }
            assert_eq!(exact(said["price"].get()), Some(update.price));
            assert!(serde_json::from_str::<u64>(said["ts"].get()).unwrap() < 1 << 53);
        }
        Err(why) => {
            assert!((1..=MESSAGE_CHARS).contains(&why.message.chars().count()), "{}", why.message);
            let told: Value = serde_json::from_str(&serde_json::to_string(&why).unwrap()).unwrap();
            assert_eq!(told["code"], "invalid_payload");
        }
    }
}

#[test]
fn prices() {
    fuzz("prices", |bytes| {
        if let Ok(json) = serde_json::from_slice::<Box<RawValue>>(bytes) {
            check(Candidate::from_json(&json));
        }
        // The same as an entry of the input stream: a field a line.
        let text = String::from_utf8_lossy(bytes);
        let field = |line: &str| line.split_once(' ').map(|(name, value)| (name.to_owned(), value.to_owned()));
        check(Candidate::from_fields(&text.lines().filter_map(field).collect()));
    });
}
