use std::path::PathBuf;

use super::feeds::ExchangeName;
use crate::price::Symbol;

/// Who makes what: what `SOURCES` and `SYMBOLS` say together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// What the simulator makes; nothing where there is none.
    pub simulated: Vec<Symbol>,
    /// What exchanges make, in the order of the settings.
    pub exchanges: Vec<(ExchangeName, Vec<Listed>)>,
    /// The recording that is played.
    pub replay: Option<PathBuf>,
    /// Whether `POST /api/prices` is taken.
    pub http: bool,
    /// Whether the stream `tickcast:in` is read.
    pub redis: bool,
}

/// A symbol of an exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// What clients call it.
    pub symbol: Symbol,
    /// What the exchange calls it.
    pub listed: String,
}

impl Plan {
    pub(super) fn add_listed(&mut self, exchange: ExchangeName, listed: Listed) {
        match self.exchanges.iter_mut().find(|(name, _)| *name == exchange) {
            Some((_, all)) => all.push(listed),
            None => self.exchanges.push((exchange, vec![listed])),
        }
    }

    /// What an exchange makes.
    pub fn listed(&self, exchange: ExchangeName) -> &[Listed] {
        self.exchanges.iter().find(|(name, _)| *name == exchange).map_or(&[], |(_, listed)| listed)
    }

    /// Every symbol with the name of its source, but for those of a recording.
    pub fn made(&self) -> impl Iterator<Item = (&Symbol, &'static str)> {
        let exchanges = self
            .exchanges
            .iter()
            .flat_map(|(exchange, listed)| listed.iter().map(move |listed| (&listed.symbol, exchange.as_str())));
        self.simulated.iter().map(|symbol| (symbol, "simulator")).chain(exchanges)
    }
}
