use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::messages::Place;
use crate::price::{Epoch, Price, Symbol, Tick};
use crate::wire::{Rule, digits};

/// Names an alert, on every replica: 16 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AlertId(pub(super) u64);

impl AlertId {
    /// One that nobody has had.
    pub(super) fn new() -> Self {
        Self(rand::random())
    }

    /// As a number.
    pub(super) fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for AlertId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for AlertId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let id = u64::from_str_radix(text, 16).map(Self).map_err(drop)?;
        // One way to write each: no sign, no capitals, no zero left out.
        if id.to_string() == text { Ok(id) } else { Err(()) }
    }
}

/// Whose an alert is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Owner {
    /// A user's, by the `sub` of the token: it stays when connections end.
    User(Arc<str>),
    /// That of the connection of this number on this replica, with which it ends.
    Connection(u64),
}

/// One price of a symbol in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Point {
    /// The numbering.
    #[serde(with = "epoch")]
    pub(super) epoch: Epoch,
    /// Its number.
    pub(super) seq: u64,
    /// The price.
    #[serde(with = "digits")]
    pub(super) price: Price,
    /// Its source's time, in ms since the Unix epoch.
    pub(super) ts_ms: u64,
}

impl Point {
    /// A tick of this epoch.
    pub(super) fn of(epoch: &Epoch, tick: &Tick) -> Self {
        Self { epoch: epoch.clone(), seq: tick.seq, price: tick.update.price, ts_ms: tick.update.ts_ms }
    }
}

mod epoch {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::price::Epoch;

    pub(super) fn serialize<S: Serializer>(epoch: &Epoch, serializer: S) -> Result<S::Ok, S::Error> {
        epoch.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Epoch, D::Error> {
        let name = String::deserialize(deserializer)?;
        if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            return Err(serde::de::Error::custom("no epoch"));
        }
        Ok(Epoch::new(&name))
    }
}

/// Somebody who wants to be told when a price gets somewhere.
#[derive(Clone, Debug)]
pub struct Alert {
    pub(super) id: AlertId,
    pub(super) owner: Owner,
    /// Where the connection is, whose it is.
    pub(super) place: Option<Seat>,
    pub(super) symbol: Symbol,
    pub(super) rule: Rule,
    /// Where the symbol was when it was set; none where it had no price yet. Only what comes after it can fire.
    pub(super) at: Option<Point>,
    /// When it was set, in ms since the Unix epoch.
    pub(super) set_ms: u64,
}

/// A connection, as others know it.
#[derive(Clone, Debug)]
pub struct Seat {
    /// Its Socket.IO id.
    pub session: Arc<str>,
    /// Who it says it is, where nobody asks for tokens.
    pub user: Option<Arc<str>>,
}

impl Alert {
    /// Its name.
    pub fn id(&self) -> AlertId {
        self.id
    }

    /// Of which symbol.
    pub fn symbol(&self) -> &Symbol {
        &self.symbol
    }

    /// When it fires.
    pub fn rule(&self) -> Rule {
        self.rule
    }

    /// Whose it is.
    pub fn owner(&self) -> &Owner {
        &self.owner
    }

    /// Where those are who are told.
    pub fn place(&self) -> Place {
        match (&self.owner, &self.place) {
            (Owner::User(user), _) => Place::User(user.to_string()),
            (Owner::Connection(_), seat) => {
                Place::Session(seat.as_ref().map(|seat| seat.session.to_string()).unwrap_or_default())
            }
        }
    }

    /// Whose it is, by name; none for who has none.
    pub(super) fn user(&self) -> Option<&str> {
        match &self.owner {
            Owner::User(user) => Some(user),
            Owner::Connection(_) => self.place.as_ref()?.user.as_deref(),
        }
    }

    /// True where it had been set when this price came. Of another epoch: it had.
    pub(super) fn is_before(&self, point: &Point) -> bool {
        self.at.as_ref().is_none_or(|at| at.epoch != point.epoch || at.seq < point.seq)
    }
}

/// A user's alert as it is kept, as JSON.
#[derive(Serialize, Deserialize)]
struct Kept {
    user: Arc<str>,
    symbol: String,
    rule: Rule,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    at: Option<Point>,
    set_ms: u64,
}

impl Alert {
    /// As it is kept for others, and for later: what [`Alert::read`] reads. None for a connection's, which nobody keeps.
    pub(super) fn write(&self) -> Option<String> {
        let Owner::User(user) = &self.owner else { return None };
        let (user, symbol) = (user.clone(), self.symbol.to_string());
        let kept = Kept { user, symbol, rule: self.rule, at: self.at.clone(), set_ms: self.set_ms };
        // Texts and numbers: serialising them cannot fail.
        serde_json::to_string(&kept).ok()
    }

    /// Reads what was kept; none where it is nothing of ours.
    pub(super) fn read(id: &str, json: &str) -> Option<Self> {
        let id = id.parse().ok()?;
        let Kept { user, symbol, rule, at, set_ms } = serde_json::from_str(json).ok()?;
        let symbol = symbol.parse().ok()?;
        Some(Self { id, owner: Owner::User(user), place: None, symbol, rule, at, set_ms })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_written_in_one_way() {
        for id in [AlertId(0), AlertId(255), AlertId(u64::MAX)] {
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        for bad in ["", "ff", "+000000000000001", "00000000000000FF", "000000000000000g", "00000000000000001"] {
            assert_eq!(bad.parse::<AlertId>(), Err(()), "{bad}");
        }
    }

    #[test]
    fn a_users_alert_is_kept_digit_by_digit() {
        let price: Price = "0.1000000000000000000000000001".parse().unwrap();
        let at = Point { epoch: Epoch::new("e-1"), seq: 7, price, ts_ms: 8 };
        let alert = Alert {
            id: AlertId(1),
            owner: Owner::User("a \"b\"\n".into()),
            place: None,
            symbol: "BTC".parse().unwrap(),
            rule: Rule::Below(price),
            at: Some(at),
            set_ms: 9,
        };
        let json = alert.write().unwrap();
        let again = Alert::read("0000000000000001", &json).unwrap();
        assert_eq!(format!("{again:?}"), format!("{alert:?}"));
        assert_eq!(again.write().unwrap(), json);
        assert!(Alert { owner: Owner::Connection(1), ..alert }.write().is_none());
        for bad in ["", "{}", r#"{"user":"u","symbol":"B C","rule":{"above":1},"set_ms":1}"#] {
            assert!(Alert::read("0000000000000001", bad).is_none(), "{bad}");
        }
        assert!(Alert::read("1", &json).is_none());
    }
}
