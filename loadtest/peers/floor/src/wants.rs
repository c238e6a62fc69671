//! Who wants what: sets of subscriptions, each with the buffer that all who have it get.

use std::collections::HashMap;
use std::fmt::Write;

use serde_json::Value;

use crate::frames;

/// Engine.IO's ping.
const PING: &[u8] = b"2";

/// Which symbols (by their place in `SYMBOLS`), and in which shapes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Want {
    symbols: Vec<usize>,
    tick: bool,
    batch: bool,
}

struct Set {
    want: Want,
    clients: usize,
    buffer: Vec<u8>,
}

/// Every set that somebody has had.
pub struct Sets {
    symbols: Vec<String>,
    sets: Vec<Set>,
    places: HashMap<Want, usize>,
}

impl Sets {
    pub fn new(symbols: Vec<String>) -> Self {
        Self { symbols, sets: Vec::new(), places: HashMap::new() }
    }

    /// Takes a client in that sent this with `subscribe`: where its set is. A symbol that does not exist is left out.
    pub fn join(&mut self, payload: &Value) -> usize {
        let mode = payload["mode"].as_str().unwrap_or("tick");
        let list = if payload.is_object() { &payload["symbols"] } else { payload };
        let named = |name: &Value| self.symbols.iter().position(|symbol| name == symbol.as_str());
        let mut symbols: Vec<usize> = match list {
            Value::Array(names) => names.iter().filter_map(named).collect(),
            Value::String(all) if all == "*" => (0..self.symbols.len()).collect(),
            name => named(name).into_iter().collect(),
        };
        symbols.sort_unstable();
        symbols.dedup();
        let want = Want { symbols, tick: mode != "batch", batch: mode != "tick" };
        let place = *self.places.entry(want.clone()).or_insert(self.sets.len());
        if place == self.sets.len() {
            self.sets.push(Set { want, clients: 0, buffer: Vec::new() });
        }
        self.sets[place].clients += 1;
        place
    }

    pub fn leave(&mut self, set: Option<usize>) {
        if let Some(place) = set {
            self.sets[place].clients -= 1;
        }
    }

    pub fn buffer(&self, set: usize) -> &[u8] {
        &self.sets[set].buffer
    }

    /// Makes the buffer of each set that somebody has now: each symbol's tick is written once.
    pub fn encode(&mut self, prices: &[f64], seq: u64, ts_ms: u64, ping: bool) {
        let ticks: Vec<String> = self
            .symbols
            .iter()
            .zip(prices)
            .map(|(symbol, price)| format!(r#"{{"symbol":"{symbol}","price":{price},"ts":{ts_ms},"seq":{seq}}}"#))
            .collect();
        for Set { want, buffer, .. } in self.sets.iter_mut().filter(|set| set.clients > 0) {
            buffer.clear();
            if ping {
                frames::push(buffer, frames::TEXT, PING);
            }
            let mut text = String::new();
            if want.tick {
                for &symbol in &want.symbols {
                    text.clear();
                    // Writing to a String cannot fail.
                    let _ = write!(text, r#"42["tick",{}]"#, ticks[symbol]);
                    frames::push(buffer, frames::TEXT, text.as_bytes());
                }
            }
            if want.batch && !want.symbols.is_empty() {
                text.clear();
                text.push_str(r#"42["ticks",["#);
                for (index, &symbol) in want.symbols.iter().enumerate() {
                    if index > 0 {
                        text.push(',');
                    }
                    text.push_str(&ticks[symbol]);
                }
                text.push_str("]]");
                frames::push(buffer, frames::TEXT, text.as_bytes());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn one_buffer_for_all_who_want_the_same() {
        let mut sets = Sets::new(vec!["A".into(), "B".into()]);
        let both = sets.join(&json!(["B", "A"]));
        assert_eq!(sets.join(&json!({"symbols": ["A", "B", "nothing"], "mode": "tick"})), both);
        assert_eq!(sets.join(&json!("*")), both);
        let batch = sets.join(&json!({"symbols": "*", "mode": "batch"}));
        assert_ne!(batch, both);
        sets.encode(&[1.5, 2.0], 7, 9, false);
        let text = |set| String::from_utf8_lossy(sets.buffer(set)).into_owned();
        assert_eq!(text(both).matches("42[\"tick\",{").count(), 2);
        let array =
            r#"42["ticks",[{"symbol":"A","price":1.5,"ts":9,"seq":7},{"symbol":"B","price":2,"ts":9,"seq":7}]]"#;
        assert!(text(batch).ends_with(array), "{}", text(batch));
    }

    #[test]
    fn nothing_is_made_for_nobody() {
        let mut sets = Sets::new(vec!["A".into()]);
        let set = sets.join(&json!("A"));
        sets.leave(Some(set));
        sets.encode(&[1.0], 1, 1, true);
        assert!(sets.buffer(set).is_empty());
    }
}
