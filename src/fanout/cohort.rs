use std::collections::HashMap;
use std::sync::Arc;

use crate::price::Symbol;

/// Names a cohort for as long as it has members.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CohortId(u64);

impl CohortId {
    /// The room that its members are in.
    pub fn room(self) -> String {
        format!("batch:{}", self.0)
    }
}

/// The clients that get the same `ticks` arrays: those with the same set of symbols in a batch mode.
#[derive(Debug)]
pub struct Cohort {
    /// Sorted.
    symbols: Arc<[Symbol]>,
    /// How many clients; at least one.
    pub members: usize,
}

impl Cohort {
    /// True where its members get this symbol.
    pub fn has(&self, symbol: &Symbol) -> bool {
        self.symbols.binary_search(symbol).is_ok()
    }
}

/// Every cohort that has members.
#[derive(Debug, Default)]
pub struct Cohorts {
    by_symbols: HashMap<Arc<[Symbol]>, CohortId>,
    by_id: HashMap<CohortId, Cohort>,
    last: u64,
}

impl Cohorts {
    /// Adds a member to the cohort of these symbols (sorted, without repeats, at least one).
    pub fn enter(&mut self, symbols: Arc<[Symbol]>) -> CohortId {
        debug_assert!(!symbols.is_empty() && symbols.is_sorted());
        if let Some(&id) = self.by_symbols.get(&symbols)
            && let Some(cohort) = self.by_id.get_mut(&id)
        {
            cohort.members += 1;
            return id;
        }
        self.last += 1;
        let id = CohortId(self.last);
        self.by_symbols.insert(symbols.clone(), id);
        self.by_id.insert(id, Cohort { symbols, members: 1 });
        id
    }

    /// Takes a member out of a cohort; the last one ends it.
    pub fn exit(&mut self, id: CohortId) {
        let Some(cohort) = self.by_id.get_mut(&id) else {
            return;
        };
        cohort.members -= 1;
        if cohort.members == 0
            && let Some(cohort) = self.by_id.remove(&id)
        {
            self.by_symbols.remove(&cohort.symbols);
        }
    }

    /// Every cohort, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (CohortId, &Cohort)> {
        self.by_id.iter().map(|(&id, cohort)| (id, cohort))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> Arc<[Symbol]> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    #[test]
    fn the_same_symbols_are_one_cohort_until_its_last_member_goes() {
        let mut cohorts = Cohorts::default();
        let a = cohorts.enter(set(&["BTC", "ETH"]));
        assert_eq!(cohorts.enter(set(&["BTC", "ETH"])), a);
        let b = cohorts.enter(set(&["BTC"]));
        assert_ne!(a, b);
        assert_eq!(cohorts.iter().map(|(_, cohort)| cohort.members).sum::<usize>(), 3);

        cohorts.exit(a);
        assert_eq!(cohorts.enter(set(&["BTC", "ETH"])), a, "still there");
        cohorts.exit(a);
        cohorts.exit(a);
        cohorts.exit(b);
        assert!(cohorts.by_id.is_empty() && cohorts.by_symbols.is_empty());
        assert_ne!(cohorts.enter(set(&["BTC"])), b, "a name is not used again");
    }
}
