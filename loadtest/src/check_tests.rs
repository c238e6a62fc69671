use proptest::prelude::*;

use super::*;

fn tick(seq: u64, n: u32) -> Tick {
    Tick { seq: Some(seq), n, price: seq, ..Tick::default() }
}

/// What is found about ticks, given as their numbers and how many updates they stand for.
fn found(ticks: &[(u64, u32)]) -> Findings {
    let (mut stream, mut prices, mut found) = (Stream::default(), Prices::default(), Findings::default());
    for &(seq, n) in ticks {
        stream.take(&tick(seq, n), &mut prices, &mut found);
    }
    Findings { numbered: 0, ..found }
}

#[test]
fn each_fault_has_its_name() {
    let clean = Findings::default();
    assert_eq!(found(&[(5, 1), (6, 1), (7, 1)]), clean);
    assert_eq!(found(&[(0, 1), (1, 1), (2, 1)]), clean, "some begin at zero");
    assert_eq!(found(&[(5, 9), (6, 1)]), clean, "what was before the first is not missed");
    assert_eq!(found(&[(5, 1), (8, 3), (9, 1)]), Findings { conflated: 2, ..clean.clone() });
    assert_eq!(found(&[(5, 1), (8, 1), (9, 1)]), Findings { lost: 2, ..clean.clone() });
    assert_eq!(found(&[(5, 1), (9, 2)]), Findings { lost: 2, conflated: 1, ..clean.clone() });
    assert_eq!(found(&[(5, 1), (6, 1), (6, 1), (7, 1)]), Findings { duplicates: 1, ..clean.clone() });
    assert_eq!(found(&[(5, 1), (6, 1), (7, 1), (6, 1)]), Findings { duplicates: 1, ..clean.clone() });
    assert_eq!(found(&[(5, 1), (7, 1), (6, 1), (8, 1)]), Findings { reordered: 1, ..clean.clone() });
    assert_eq!(found(&[(5, 1), (4, 1), (6, 1)]), Findings { reordered: 1, ..clean.clone() }, "older than the first");
    assert_eq!(
        found(&[(5, 1), (9, 1), (7, 1)]),
        Findings { lost: 2, reordered: 1, ..clean.clone() },
        "out of the middle"
    );
    assert_eq!(found(&[(5, 1), (7, 1), (6, 1), (6, 1)]), Findings { reordered: 1, duplicates: 1, ..clean.clone() });
    assert_eq!(found(&[(5, 1), (6, 1), (8, 3)]), Findings { duplicates: 1, conflated: 1, ..clean }, "6 again");
}

#[test]
fn a_snapshot_says_where_to_start() {
    let (mut stream, mut prices, mut found) = (Stream::default(), Prices::default(), Findings::default());
    stream.begin(&tick(5, 1));
    stream.take(&tick(7, 1), &mut prices, &mut found);
    assert_eq!(found.lost, 1);
}

#[test]
fn an_epoch_starts_over_and_may_be_named_late() {
    let (mut stream, mut prices, mut found) = (Stream::default(), Prices::default(), Findings::default());
    stream.take(&tick(5, 1), &mut prices, &mut found);
    stream.take(&Tick { epoch: 1, ..tick(6, 1) }, &mut prices, &mut found);
    assert_eq!(found.epoch_changes, 0, "it got its name");
    stream.take(&Tick { epoch: 2, ..tick(1000, 1) }, &mut prices, &mut found);
    stream.take(&tick(1001, 1), &mut prices, &mut found);
    assert_eq!(found, Findings { epoch_changes: 1, numbered: 4, ..Findings::default() });
    let mut unnamed = Stream::default();
    unnamed.take(&tick(5, 1), &mut prices, &mut found);
    unnamed.take(&Tick { epoch: 1, ..tick(9, 1) }, &mut prices, &mut found);
    assert_eq!((found.epoch_changes, found.lost), (2, 0), "it was another one");
}

#[test]
fn a_number_has_one_price_whoever_gets_it() {
    let (mut prices, mut found) = (Prices::default(), Findings::default());
    let (mut one, mut other) = (Stream::default(), Stream::default());
    one.take(&tick(5, 1), &mut prices, &mut found);
    other.take(&tick(5, 1), &mut prices, &mut found);
    assert_eq!(found.two_prices, 0);
    one.take(&tick(6, 1), &mut prices, &mut found);
    other.take(&Tick { price: 1, ..tick(6, 1) }, &mut prices, &mut found);
    assert_eq!(found.two_prices, 1);
    other.take(&Tick { price: 2, epoch: 9, ..tick(6, 1) }, &mut prices, &mut found);
    assert_eq!(found.two_prices, 1, "another epoch is another number");
}

#[test]
fn ticks_without_a_number_say_nothing() {
    let (mut stream, mut prices, mut found) = (Stream::default(), Prices::default(), Findings::default());
    let bare = Tick { price: 1, ..Tick::default() };
    stream.take(&bare, &mut prices, &mut found);
    stream.take(&Tick { price: 2, ..bare }, &mut prices, &mut found);
    assert_eq!(found, Findings::default());
}

#[test]
fn what_comes_late_is_settled_with_what_was_reported_before() {
    let (mut stream, mut prices) = (Stream::default(), Prices::default());
    let (mut before, mut after) = (Findings::default(), Findings::default());
    stream.take(&tick(5, 1), &mut prices, &mut before);
    stream.take(&tick(7, 1), &mut prices, &mut before);
    assert_eq!(before.lost, 1);
    stream.take(&tick(6, 1), &mut prices, &mut after);
    assert_eq!((after.lost, after.reordered), (0, 1));
    before.add(&after);
    assert_eq!((before.lost, before.reordered), (0, 1));
}

proptest! {
    /// Numbers 1 to some, of which some are dropped, conflated and repeated: each is counted as what it is.
    #[test]
    fn what_was_done_to_a_stream_is_what_is_found(deeds in prop::collection::vec(0..4_u8, 1..200)) {
        let (mut ticks, mut expected, mut seq, mut owed) = (vec![(1, 1)], Findings::default(), 1, 0);
        // Holes that no later tick shows are not seen.
        let mut hidden = 0;
        for deed in deeds {
            seq += 1;
            match deed {
                0 => hidden += 1,
                // A tick that stands for itself and its successor.
                1 => owed += 1,
                _ => {
                    // Which of them went first does not matter: `n` reaches back from here.
                    expected.lost += hidden;
                    expected.conflated += owed;
                    ticks.push((seq, 1 + owed as u32));
                    (hidden, owed) = (0, 0);
                    if deed == 3 {
                        ticks.push((seq, 1));
                        expected.duplicates += 1;
                    }
                }
            }
        }
        prop_assert_eq!(found(&ticks), expected);
    }

    /// However ticks are shuffled, nothing is lost that came, and nothing is called a repeat that was none.
    #[test]
    fn a_shuffled_stream_is_out_of_order_and_nothing_else(order in Just((2..40_u64).collect::<Vec<_>>()).prop_shuffle()) {
        let mut ticks = vec![(1, 1)];
        ticks.extend(order.iter().map(|&seq| (seq, 1)));
        let found = found(&ticks);
        let late = order.iter().scan(0, |highest, &seq| { let late = seq < *highest; *highest = seq.max(*highest); Some(late) });
        prop_assert_eq!(found, Findings { reordered: late.filter(|&late| late).count() as u64, ..Findings::default() });
    }
}
