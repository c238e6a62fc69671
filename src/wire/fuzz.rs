use serde_json::value::RawValue;

use super::*;
use crate::fuzzing::fuzz;

/// How long a message for people may get, in characters, whatever was sent.
const MESSAGE_CHARS: usize = 500;

#[test]
fn requests() {
    fuzz("requests", |bytes| {
        let Ok(json) = serde_json::from_slice::<Box<RawValue>>(bytes) else { return };
        let number = |symbols: &Symbols| match symbols {
            Symbols::All => 0,
            Symbols::Named(names) => names.len(),
        };
        let subscribe = Subscribe::parse(Some(&json));
        let unsubscribe = Unsubscribe::parse(Some(&json));
        let chat = Chat::parse(Some(&json));
        let refresh = Refresh::parse(Some(&json));
        if let Ok(subscribe) = &subscribe {
            assert!(number(&subscribe.symbols) <= MAX_SYMBOLS_PER_REQUEST);
            assert!(subscribe.since.len() <= MAX_SYMBOLS_PER_REQUEST);
            if let Some(rate) = &subscribe.max_rate {
                assert!((1_000..=10_000_000).contains(&rate.pace.interval().as_micros()));
            }
            assert_eq!(unsubscribe.as_ref().map(|unsubscribe| &unsubscribe.symbols), Ok(&subscribe.symbols));
        }
        if let Ok(chat) = &chat {
            let (room, text) = (chat.room.len(), chat.text.chars().count());
            assert!((1..=MAX_ROOM_BYTES).contains(&room) && (1..=2000).contains(&text));
        }
        let (room, send) = (Room::parse(Some(&json)), SendMessage::parse(Some(&json)));
        if let Ok(Room { room }) = &room {
            assert!((1..=MAX_ROOM_BYTES).contains(&room.len()));
        }
        if let Ok(SendMessage { recipient, content }) = &send {
            assert!((1..=MAX_USER_BYTES).contains(&recipient.len()) && content.get().len() <= bytes.len());
        }
        if let Err(failure) = &refresh {
            assert!(!failure.message.contains("hunter2"), "it repeats a token: {}", failure.message);
        }
        let (set, unalert) = (SetAlert::parse(Some(&json)), Unalert::parse(Some(&json)));
        if let Ok(set) = &set {
            let again = serde_json::to_string(&set.rule).unwrap();
            assert_eq!(serde_json::from_str::<Rule>(&again).unwrap(), set.rule, "every digit");
        }
        if let Ok(Unalert { id }) = &unalert {
            assert!((1..=64).contains(&id.len()));
        }
        let chart = ChartRequest::parse(Some(&json));
        if let Ok(chart) = &chart {
            assert!((1..=MAX_CANDLES).contains(&chart.limit) && chart.symbol.len() <= bytes.len());
        }
        let failures = [set.err(), unalert.err(), chart.err()];
        let others = [subscribe.err(), unsubscribe.err(), chat.err(), refresh.err(), room.err(), send.err()];
        for failure in failures.into_iter().chain(others).flatten() {
            assert!((1..=MESSAGE_CHARS).contains(&failure.message.chars().count()), "{}", failure.message);
            assert!(serde_json::from_str::<serde_json::Value>(failure.encode_event("x").get()).is_ok());
        }
    });
}
