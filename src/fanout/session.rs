use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tokio::time::Instant;

use super::charts::Charts;
use super::cohort::{CohortId, Want, Wants};
use super::handle::{ClientId, Link};
use super::pending::Pending;
use crate::net::Lane;
use crate::pattern::Patterns;
use crate::price::{Symbol, SymbolId};
use crate::wire::{Mode, Pace};

/// How a client wants a symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// In which shape.
    pub mode: Mode,
    /// How often at most; none for every tick.
    pub pace: Option<Pace>,
    /// Whether it wants to know what the symbol did in the last 24 hours, too.
    pub stats: bool,
}

/// What one client asked for: every symbol in some way, and symbols for which it said something else.
#[derive(Debug, Default)]
pub struct Wishes {
    all: Option<Options>,
    /// None: not this one, although `all` is set.
    named: BTreeMap<Symbol, Option<Options>>,
    /// What it may get, whatever it asks for.
    allowed: Patterns,
}

impl Wishes {
    /// Nothing yet, of what is allowed.
    pub fn new(allowed: Patterns) -> Self {
        Self { allowed, ..Self::default() }
    }

    /// True where the client may get this symbol.
    pub fn allows(&self, symbol: &str) -> bool {
        self.allowed.allows(symbol)
    }

    /// What it may get.
    pub fn allowed(&self) -> &Patterns {
        &self.allowed
    }

    /// From now on only this is allowed. What was asked for by name and is allowed no longer is forgotten; all stays
    /// all, of what is allowed at any time.
    pub fn allow(&mut self, allowed: Patterns) {
        self.named.retain(|symbol, options| options.is_none() || allowed.allows(symbol.as_str()));
        self.allowed = allowed;
    }

    /// From now on every symbol, in this way.
    pub fn add_all(&mut self, options: Options) {
        self.all = Some(options);
        self.named.clear();
    }

    /// From now on this symbol, in this way.
    pub fn add(&mut self, symbol: Symbol, options: Options) {
        self.named.insert(symbol, Some(options));
    }

    /// From now on nothing.
    pub fn remove_all(&mut self) {
        self.all = None;
        self.named.clear();
    }

    /// From now on not this symbol; one out of all leaves the rest.
    pub fn remove(&mut self, symbol: &Symbol) {
        if self.all.is_some() {
            self.named.insert(symbol.clone(), None);
        } else {
            self.named.remove(symbol);
        }
    }

    /// In which way the client wants this symbol.
    pub fn options(&self, symbol: &Symbol) -> Option<Options> {
        self.named.get(symbol).copied().unwrap_or(self.all).filter(|_| self.allows(symbol.as_str()))
    }

    /// What the client wants out of `every` symbol that there is, by id.
    pub fn among(&self, every: &[Symbol]) -> Wants {
        let wants = every.iter().enumerate().filter_map(|(index, symbol)| {
            let Options { mode, pace, stats } = self.options(symbol)?;
            Some(Want { id: SymbolId::new(index), mode, pace, stats })
        });
        wants.collect()
    }
}

/// One connected client, and what it gets.
///
/// What a flush looks at for a client that keeps up comes first, in this order: it is close together.
#[repr(C)]
pub struct Session {
    /// Where frames may be written past its queue, once that is known.
    pub lane: Option<Lane>,
    /// What it has not had of what its cohort gets; none for one that has had everything that its cohort has.
    pub pending: Option<Box<Pending>>,
    /// The way to it.
    pub link: Arc<dyn Link>,
    /// True while somebody waits for its lane to clear.
    pub clearing: bool,
    /// True once it counts as slow.
    pub slow: bool,
    /// Who it is.
    pub client: ClientId,
    /// Whose ticks it gets, and its place there.
    pub cohort: Option<(CohortId, usize)>,
    /// When it last took something of what waited for it.
    pub took: Option<Instant>,
    /// What it asked for.
    pub wishes: Wishes,
    /// Up to where it has symbols that this replica does not have so far yet.
    pub ahead: HashMap<SymbolId, u64>,
    /// What it follows beside ticks.
    pub charts: Charts,
}

impl Session {
    /// A client that gets nothing yet, and may get what is allowed.
    pub fn new(client: ClientId, link: Arc<dyn Link>, allowed: Patterns) -> Self {
        Self {
            client,
            lane: link.lane(),
            link,
            wishes: Wishes::new(allowed),
            cohort: None,
            pending: None,
            ahead: HashMap::new(),
            took: None,
            clearing: false,
            slow: false,
            charts: Charts::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn symbols(names: &str) -> Vec<Symbol> {
        names.split(' ').map(|name| name.parse().unwrap()).collect()
    }

    fn wanted(wishes: &Wishes) -> Vec<String> {
        let every = symbols("A B C");
        let shown = |want: &Want| format!("{}:{}", every[want.id.index()], want.mode.as_str());
        wishes.among(&every).iter().map(shown).collect()
    }

    #[test]
    fn one_out_of_all_leaves_the_rest() {
        let mut wants = Wishes::new(Patterns::every());
        let way = |mode| Options { mode, pace: None, stats: false };
        let [a, b, c] = symbols("A B C").try_into().unwrap();
        wants.add(a.clone(), way(Mode::Both));
        wants.add_all(way(Mode::Tick));
        assert_eq!(wanted(&wants), ["A:tick", "B:tick", "C:tick"], "replaces what was said before");
        wants.remove(&b);
        wants.add(c.clone(), way(Mode::Batch));
        assert_eq!(wanted(&wants), ["A:tick", "C:batch"]);
        wants.add(b, way(Mode::Tick));
        assert_eq!(wanted(&wants), ["A:tick", "B:tick", "C:batch"]);
        assert_eq!(wants.options(&"LATER".parse().unwrap()), Some(way(Mode::Tick)));
        wants.remove_all();
        assert!(wanted(&wants).is_empty());
        wants.add(a.clone(), way(Mode::Tick));
        wants.remove(&a);
        assert!(wanted(&wants).is_empty() && wants.named.is_empty());
    }

    #[test]
    fn nothing_comes_that_is_not_allowed() {
        let way = |mode| Options { mode, pace: None, stats: false };
        let allowed = |names: &[&str]| Patterns::new(names).unwrap();
        let mut wants = Wishes::new(allowed(&["A", "C"]));
        let [a, b, c] = symbols("A B C").try_into().unwrap();
        wants.add_all(way(Mode::Tick));
        assert_eq!(wanted(&wants), ["A:tick", "C:tick"]);
        assert!(wants.options(&b).is_none() && wants.allows("A") && !wants.allows("B"));
        wants.allow(allowed(&["B*"]));
        assert_eq!(wanted(&wants), ["B:tick"], "all of what is allowed now");
        wants.remove_all();
        wants.allow(Patterns::every());
        wants.add(a, way(Mode::Tick));
        wants.add(c.clone(), way(Mode::Batch));
        wants.allow(allowed(&["C"]));
        assert_eq!(wanted(&wants), ["C:batch"]);
        wants.allow(Patterns::every());
        assert_eq!(wanted(&wants), ["C:batch"], "what ended does not come back by itself");
        wants.add_all(way(Mode::Tick));
        wants.remove(&c);
        wants.allow(Patterns::default());
        wants.allow(Patterns::every());
        assert_eq!(wanted(&wants), ["A:tick", "B:tick"], "nor what was left out");
    }
}
