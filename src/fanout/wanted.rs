use std::sync::Arc;

use super::cohort::{Want, want_for};
use super::flush::Item;
use crate::price::SymbolId;

/// The updates of a flush, so that those that a cohort wants are found without a look at each: there may be a thousand
/// cohorts.
#[derive(Debug)]
pub struct Wanted<'a> {
    items: &'a [Arc<Item>],
    /// Whose each is, and its place, in order.
    by_symbol: Vec<(SymbolId, usize)>,
}

impl<'a> Wanted<'a> {
    /// Of these updates.
    pub fn new(items: &'a [Arc<Item>]) -> Self {
        let mut by_symbol: Vec<_> = items.iter().enumerate().map(|(place, item)| (item.id, place)).collect();
        by_symbol.sort_unstable();
        Self { items, by_symbol }
    }

    /// Those that are wanted, each with how, in the order in which they came.
    pub fn of(&self, wants: &[Want]) -> Vec<(&'a Arc<Item>, Want)> {
        if wants.len() >= self.items.len() {
            let with = |item: &'a Arc<Item>| want_for(wants, item.id).map(|want| (item, want));
            return self.items.iter().filter_map(with).collect();
        }
        let mut found: Vec<(usize, Want)> = Vec::with_capacity(wants.len());
        for &want in wants {
            let first = self.by_symbol.partition_point(|&(id, _)| id < want.id);
            let places = self.by_symbol[first..].iter().take_while(|&&(id, _)| id == want.id);
            found.extend(places.map(|&(_, place)| (place, want)));
        }
        found.sort_unstable_by_key(|&(place, _)| place);
        found.into_iter().map(|(place, want)| (&self.items[place], want)).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::{btree_set, vec};
    use proptest::prelude::*;

    use super::*;
    use crate::market::Fresh;
    use crate::price::{Epoch, Price, Tick, Update};
    use crate::wire::Mode;

    fn item(id: usize) -> Arc<Item> {
        let update = Update {
            symbol: format!("S{id}").parse().unwrap(),
            price: Price::ONE,
            ts_ms: 0,
            bid: None,
            ask: None,
            size: None,
        };
        let tick = Tick { seq: 1, update };
        let fresh = Fresh { id: SymbolId::new(id), tick, first: false, unknown: false, missed: 0, restated: false };
        Arc::new(Item::new(fresh, &Epoch::new("e"), "tick"))
    }

    proptest! {
        #[test]
        fn all_that_are_wanted_are_found_and_in_order(symbols in vec(0usize..12, 0..30), wanted in btree_set(0usize..12, 0..12)) {
            let items: Vec<_> = symbols.into_iter().map(item).collect();
            let want = |id| Want { id: SymbolId::new(id), mode: Mode::Tick, pace: None, stats: false };
            let wants: Vec<Want> = wanted.into_iter().map(want).collect();
            let found = Wanted::new(&items).of(&wants);
            let plain: Vec<_> = items.iter().filter(|item| wants.iter().any(|want| want.id == item.id)).collect();
            prop_assert_eq!(found.len(), plain.len());
            for ((found, how), item) in found.into_iter().zip(plain) {
                prop_assert!(Arc::ptr_eq(found, item) && how.id == item.id);
            }
        }
    }
}
