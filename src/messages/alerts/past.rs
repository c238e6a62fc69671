use std::collections::VecDeque;

use crate::price::Price;

/// Prices of the last hour, one for each second.
const FINE: (u64, usize) = (1, 3_600);

/// Prices of the last day, one for each minute.
const COARSE: (u64, usize) = (60, 1_440);

/// What one price of the past takes, in bytes, and so about 120 kB for a symbol.
const _: () = assert!(size_of::<(u64, Price)>() <= 24);

/// What a symbol's price was, as far back as anybody may ask.
#[derive(Debug, Default)]
pub(super) struct Past {
    fine: Steps,
    coarse: Steps,
}

/// The last price of each step of time in which there was one, oldest first.
#[derive(Debug, Default)]
struct Steps {
    /// By the number of the step since the Unix epoch.
    last: VecDeque<(u64, Price)>,
    /// The price before all of these; the very first one where none has been let go of.
    before: Option<Price>,
}

impl Past {
    /// Takes the newest price. One of a time that has passed already says nothing.
    pub(super) fn push(&mut self, ts_ms: u64, price: Price) {
        self.fine.push(ts_ms / 1000 / FINE.0, price, FINE.1);
        self.coarse.push(ts_ms / 1000 / COARSE.0, price, COARSE.1);
    }

    /// The price that a price of this time is compared with: the last one of the second (or minute, where the window is
    /// longer than an hour) that lies the window's length before; where less is known, the oldest. None where nothing is.
    pub(super) fn before(&self, ts_ms: u64, window_s: u64) -> Option<Price> {
        let (steps, unit_s) = if window_s <= FINE.1 as u64 { (&self.fine, FINE.0) } else { (&self.coarse, COARSE.0) };
        steps.at((ts_ms / 1000 / unit_s).checked_sub(window_s / unit_s))
    }
}

impl Steps {
    fn push(&mut self, step: u64, price: Price, most: usize) {
        match self.last.back_mut() {
            Some((newest, last)) if *newest == step => *last = price,
            Some((newest, _)) if *newest > step => return,
            _ => self.last.push_back((step, price)),
        }
        self.before.get_or_insert(price);
        // One more than the longest window: its far end is within a step.
        while self.last.front().is_some_and(|(oldest, _)| oldest + most as u64 + 1 < step) {
            self.before = self.last.pop_front().map(|(_, price)| price);
        }
    }

    fn at(&self, step: Option<u64>) -> Option<Price> {
        let until = self.last.partition_point(|(known, _)| Some(*known) <= step);
        until.checked_sub(1).map_or(self.before, |index| self.last.get(index).map(|(_, price)| *price))
    }
}

/// How far a price is from what it was, in percent; none where it was nothing, or less.
pub(super) fn change(price: Price, before: Price) -> Option<Price> {
    if before <= Price::ZERO {
        return None;
    }
    // First the product: what is a whole number of percent comes out as that.
    price.checked_sub(before)?.abs().checked_mul(Price::ONE_HUNDRED)?.checked_div(before)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_price_of_then_is_the_last_of_that_second() {
        let mut past = Past::default();
        assert_eq!(past.before(5000, 1), None);
        for (ts_ms, price) in [(10_000, 1), (10_900, 2), (12_500, 3), (12_400, 4), (12_300, 9)] {
            past.push(ts_ms, price.into());
        }
        let before = |ts_ms, window_s| past.before(ts_ms, window_s).unwrap();
        assert_eq!(before(11_000, 1), 2.into(), "of second 10");
        assert_eq!(before(12_999, 1), 2.into(), "in second 11 there was none");
        assert_eq!(before(13_000, 1), 9.into());
        assert_eq!(before(13_000, 4), 1.into(), "the oldest that is known, as it began");
        assert_eq!(before(13_000, 3600), 1.into());
        past.push(11_000, 7.into());
        assert_eq!(past.before(12_999, 1), Some(2.into()), "too late");
    }

    #[test]
    fn a_day_is_kept_and_no_more() {
        let mut past = Past::default();
        for second in 0..100_000u64 {
            past.push(second * 1000, second.into());
        }
        assert!(past.fine.last.len() <= 3602 && past.coarse.last.len() <= 1442);
        assert_eq!(past.before(99_999_000, 3600), Some(96_399.into()), "to the second");
        // Minute 1666 began at second 99960; a day before, minute 226 ended at 13619.
        assert_eq!(past.before(99_999_000, 86_400), Some(13_619.into()), "to the minute");
        past.push(1_000_000_000, Price::ONE);
        assert_eq!(past.before(1_000_000_000, 86_400), Some(99_999.into()), "nothing since");
    }

    #[test]
    fn whole_percents_are_whole() {
        let of = |price: &str, before: &str| change(price.parse().unwrap(), before.parse().unwrap());
        assert_eq!(of("101", "100"), Some(1.into()));
        assert_eq!(of("3.03", "3"), Some(1.into()));
        assert_eq!(of("0.000000297", "0.0000003"), Some(1.into()));
        assert_eq!([of("1", "0"), of("1", "-1")], [None, None]);
        assert_eq!(of("79228162514264337593543950335", "1"), None, "beyond all numbers");
    }

    proptest! {
        #[test]
        fn is_what_a_list_of_all_prices_says(
            steps in prop::collection::vec((0u64..3000, 1u32..9), 1..60), window_s in 1u64..20,
        ) {
            let (mut past, mut all, mut ts_ms) = (Past::default(), Vec::new(), 50_000);
            for (pause_ms, price) in steps {
                ts_ms += pause_ms;
                let then = ts_ms / 1000 - window_s;
                let known = all.iter().rev().find(|(at, _)| at / 1000 <= then).or(all.first());
                prop_assert_eq!(past.before(ts_ms, window_s), known.map(|(_, price)| Price::from(*price)));
                past.push(ts_ms, price.into());
                all.push((ts_ms, price));
            }
        }
    }
}
