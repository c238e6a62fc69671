use proptest::prelude::*;

use super::*;
use crate::price::Update;

fn encoded(updates: &[Update]) -> Vec<u8> {
    let mut bytes = Encoder::HEADER.to_vec();
    let mut encoder = Encoder::new();
    for update in updates {
        encoder.encode(update, &mut bytes);
    }
    bytes
}

fn decoded(bytes: &[u8]) -> (Vec<Update>, Ended) {
    let mut decoder = Decoder::new(bytes).unwrap();
    let mut updates = Vec::new();
    loop {
        match decoder.next_update().unwrap() {
            Ok(update) => updates.push(update),
            Err(ended) => return (updates, ended),
        }
    }
}

fn update(symbol: &str, price: &str, ts_ms: u64) -> Update {
    let number = |text: &str| text.parse().unwrap();
    Update { symbol: symbol.parse().unwrap(), price: number(price), ts_ms, bid: None, ask: None, size: None }
}

fn price() -> impl Strategy<Value = Price> {
    let mantissa = prop_oneof![any::<i64>().prop_map(i128::from), -(1i128 << 96) + 1..1i128 << 96];
    (mantissa, 0u32..=28).prop_map(|(mantissa, scale)| Price::from_i128_with_scale(mantissa, scale))
}

fn any_update() -> impl Strategy<Value = Update> {
    let some = || proptest::option::of(price());
    ("[A-Z]{1,2}|[A-Za-z0-9._:/-]{32}", price(), any::<u64>(), some(), some(), some()).prop_map(
        |(symbol, price, ts_ms, bid, ask, size)| Update {
            symbol: symbol.parse().unwrap(),
            price,
            ts_ms,
            bid,
            ask,
            size,
        },
    )
}

fn exactly(updates: &[Update]) -> Vec<String> {
    // A number's digits count, not only its value.
    updates
        .iter()
        .map(|update| format!("{update:?} {} {:?}", update.price, update.bid.map(|bid| bid.to_string())))
        .collect()
}

proptest! {
    #[test]
    fn what_is_written_is_read_and_written_again_as_the_same_bytes(
        updates in proptest::collection::vec(any_update(), 0..40)
    ) {
        let bytes = encoded(&updates);
        let (read, ended) = decoded(&bytes);
        prop_assert_eq!(exactly(&read), exactly(&updates));
        prop_assert_eq!(ended, Ended { at_bytes: bytes.len() as u64, torn: false });
        prop_assert_eq!(encoded(&read), bytes);
    }

    #[test]
    fn whatever_is_in_a_file_is_no_reason_to_panic(junk in proptest::collection::vec(any::<u8>(), 0..400)) {
        let whole = encoded(&[update("BTC", "1.5", 1)]);
        let (read, ended) = decoded(&[&whole[..], &junk].concat());
        prop_assert!(!read.is_empty() && ended.at_bytes >= whole.len() as u64);
    }
}

#[test]
fn a_write_that_was_cut_off_costs_its_own_record_alone() {
    let updates: Vec<_> =
        (0..50).map(|n| update(if n % 2 == 0 { "BTC" } else { "ETH" }, &format!("{n}.25"), n * 100)).collect();
    let ends: Vec<usize> = (0..=updates.len()).map(|count| encoded(&updates[..count]).len()).collect();
    let bytes = encoded(&updates);
    for cut in ends[0]..=bytes.len() {
        let whole = ends.iter().rposition(|end| *end <= cut).unwrap();
        let (read, ended) = decoded(&bytes[..cut]);
        assert_eq!(read, updates[..whole], "cut at {cut}");
        assert_eq!(ended, Ended { at_bytes: ends[whole] as u64, torn: ends[whole] != cut });
        // What a file system makes of it when the power goes.
        let mut zeros = bytes[..cut].to_vec();
        zeros.resize(bytes.len() + 100, 0);
        assert_eq!(decoded(&zeros).0, updates[..whole], "zeros from {cut}");
    }
}

#[test]
fn damage_is_seen() {
    let updates: Vec<_> = (0..20).map(|n| update("BTC", &format!("{n}.25"), n * 100)).collect();
    let bytes = encoded(&updates);
    for at in Encoder::HEADER.len()..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        let (read, ended) = decoded(&damaged);
        assert!(read.len() < 20 && updates.starts_with(&read) && ended.torn, "at {at}");
    }
    for bad in [&b""[..], b"TICK", b"TICKCAST", b"{\"symbol\":\"BTC\"}"] {
        assert!(matches!(Decoder::new(bad), Err(NotARecording::Magic)));
    }
}

#[test]
fn is_compact() {
    let updates: Vec<_> = (0..10_000u64)
        .map(|n| {
            update(["BTC", "ETH", "SOL"][(n % 3) as usize], &format!("{}.{:02}", 64_000 + n % 7, n % 100), n / 3 * 500)
        })
        .collect();
    let bytes = encoded(&updates).len();
    assert!(bytes < 10_000 * 10, "{bytes} bytes for 10,000 ticks");
}
