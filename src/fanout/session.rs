use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Link;
use super::cohort::CohortId;
use crate::pattern::Patterns;
use crate::price::Symbol;
use crate::wire::Mode;

/// What one client asked for: every symbol in some mode, and symbols for which it said something else.
#[derive(Debug, Default)]
pub struct Wants {
    all: Option<Mode>,
    /// None: not this one, although `all` is set.
    named: BTreeMap<Symbol, Option<Mode>>,
    /// What it may get, whatever it wants.
    allowed: Patterns,
}

impl Wants {
    /// Nothing yet, of what is allowed.
    pub fn new(allowed: Patterns) -> Self {
        Self { allowed, ..Self::default() }
    }

    /// True where the client may get this symbol.
    pub fn allows(&self, symbol: &str) -> bool {
        self.allowed.allows(symbol)
    }

    /// From now on only this is allowed. What was asked for by name and is allowed no longer is forgotten; all stays
    /// all, of what is allowed at any time.
    pub fn allow(&mut self, allowed: Patterns) {
        self.named.retain(|symbol, mode| mode.is_none() || allowed.allows(symbol.as_str()));
        self.allowed = allowed;
    }

    /// From now on every symbol, in this mode.
    pub fn add_all(&mut self, mode: Mode) {
        self.all = Some(mode);
        self.named.clear();
    }

    /// From now on this symbol, in this mode.
    pub fn add(&mut self, symbol: Symbol, mode: Mode) {
        self.named.insert(symbol, Some(mode));
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

    /// In which mode the client wants this symbol.
    pub fn mode(&self, symbol: &Symbol) -> Option<Mode> {
        self.named.get(symbol).copied().unwrap_or(self.all).filter(|_| self.allows(symbol.as_str()))
    }

    /// What the client wants out of `every` symbol that there is, with the mode of each.
    pub fn among<'a>(&'a self, every: &'a [Symbol]) -> impl Iterator<Item = (&'a Symbol, Mode)> {
        every.iter().filter_map(|symbol| Some((symbol, self.mode(symbol)?)))
    }
}

/// One connected client, and what it gets.
pub struct Session {
    /// The way to it.
    pub link: Arc<dyn Link>,
    /// What it asked for.
    pub wants: Wants,
    /// The symbols whose `tick` events it gets.
    pub ticks: BTreeSet<Symbol>,
    /// The symbols that it gets, in either shape.
    pub symbols: BTreeSet<Symbol>,
    /// Whose `ticks` events it gets.
    pub cohort: Option<CohortId>,
}

impl Session {
    /// A client that gets nothing yet, and may get what is allowed.
    pub fn new(link: Arc<dyn Link>, allowed: Patterns) -> Self {
        Self { link, wants: Wants::new(allowed), ticks: BTreeSet::new(), symbols: BTreeSet::new(), cohort: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn symbols(names: &str) -> Vec<Symbol> {
        names.split(' ').map(|name| name.parse().unwrap()).collect()
    }

    fn wanted(wants: &Wants) -> Vec<String> {
        let every = symbols("A B C");
        wants.among(&every).map(|(symbol, mode)| format!("{symbol}:{}", mode.as_str())).collect()
    }

    #[test]
    fn one_out_of_all_leaves_the_rest() {
        let mut wants = Wants::new(Patterns::every());
        let [a, b, c] = symbols("A B C").try_into().unwrap();
        wants.add(a.clone(), Mode::Both);
        wants.add_all(Mode::Tick);
        assert_eq!(wanted(&wants), ["A:tick", "B:tick", "C:tick"], "replaces what was said before");
        wants.remove(&b);
        wants.add(c.clone(), Mode::Batch);
        assert_eq!(wanted(&wants), ["A:tick", "C:batch"]);
        wants.add(b, Mode::Tick);
        assert_eq!(wanted(&wants), ["A:tick", "B:tick", "C:batch"]);
        assert_eq!(wants.mode(&"LATER".parse().unwrap()), Some(Mode::Tick));
        wants.remove_all();
        assert!(wanted(&wants).is_empty());
        wants.add(a.clone(), Mode::Tick);
        wants.remove(&a);
        assert!(wanted(&wants).is_empty() && wants.named.is_empty());
    }

    #[test]
    fn nothing_comes_that_is_not_allowed() {
        let allowed = |names: &[&str]| Patterns::new(names).unwrap();
        let mut wants = Wants::new(allowed(&["A", "C"]));
        let [a, b, c] = symbols("A B C").try_into().unwrap();
        wants.add_all(Mode::Tick);
        assert_eq!(wanted(&wants), ["A:tick", "C:tick"]);
        assert!(wants.mode(&b).is_none() && wants.allows("A") && !wants.allows("B"));
        wants.allow(allowed(&["B*"]));
        assert_eq!(wanted(&wants), ["B:tick"], "all of what is allowed now");
        wants.remove_all();
        wants.allow(Patterns::every());
        wants.add(a, Mode::Tick);
        wants.add(c.clone(), Mode::Batch);
        wants.allow(allowed(&["C"]));
        assert_eq!(wanted(&wants), ["C:batch"]);
        wants.allow(Patterns::every());
        assert_eq!(wanted(&wants), ["C:batch"], "what ended does not come back by itself");
        wants.add_all(Mode::Tick);
        wants.remove(&c);
        wants.allow(Patterns::default());
        wants.allow(Patterns::every());
        assert_eq!(wanted(&wants), ["A:tick", "B:tick"], "nor what was left out");
    }
}
