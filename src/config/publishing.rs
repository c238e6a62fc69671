use std::collections::HashSet;
use std::str::FromStr;

use serde::Serialize;

use super::{Plan, SymbolList, parse};
use crate::price::Symbol;

/// What others publish, and which part of the work this replica has.
#[derive(Clone, Debug, clap::Args)]
pub struct Publishing {
    /// Symbols that others publish (`POST /api/prices`, the stream `tickcast:in`), with commas between; none of them is
    /// in `SYMBOLS`. The same on every replica. Read from the `PUBLISHED_SYMBOLS` environment variable.
    #[arg(long, env = "PUBLISHED_SYMBOLS", global = true, default_value = "", value_parser = parse::symbols)]
    pub published_symbols: SymbolList,

    /// Whether a symbol may be published that nobody knows yet: true or false. Read from the `ALLOW_NEW_SYMBOLS`
    /// environment variable.
    #[arg(long, env = "ALLOW_NEW_SYMBOLS", global = true, default_value = "false", value_parser = parse::boolean,
          value_name = "BOOL", action = clap::ArgAction::Set)]
    pub allow_new_symbols: bool,

    /// How many updates a second one caller may publish through `POST /api/prices` of this replica, 1 to 1000000; a
    /// second's worth of them at once. Read from the `PUBLISH_RATE` environment variable.
    #[arg(long, env = "PUBLISH_RATE", global = true, default_value = "10000",
          value_parser = parse::range(1, 1_000_000), value_name = "UPDATES")]
    pub publish_rate: u64,

    /// Which part this replica has: `front` (clients connect here, and /api changes nothing), `back` (/api, and no
    /// client connects) or `all`. Read from the `ROLE` environment variable.
    #[arg(long, env = "ROLE", global = true, default_value = "all", value_parser = parse::role)]
    pub role: Role,
}

/// Which part of the work a replica has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Clients connect here; `/api` only tells.
    Front,
    /// `/api`; no client connects here.
    Back,
    /// Both.
    #[default]
    All,
}

impl Role {
    /// Whether clients connect here.
    pub fn has_sockets(self) -> bool {
        self != Self::Back
    }

    /// Whether `/api` may change something here.
    pub fn has_changes(self) -> bool {
        self != Self::Front
    }

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Front => "front",
            Self::Back => "back",
            Self::All => "all",
        }
    }
}

impl FromStr for Role {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Front, Self::Back, Self::All].into_iter().find(|role| role.as_str() == text).ok_or(())
    }
}

impl Publishing {
    /// What cannot be seen in one value alone.
    pub(super) fn validate(&self, plan: &Plan, has_redis: bool) -> Result<(), String> {
        let made: HashSet<&Symbol> = plan.made().map(|(symbol, _)| symbol).collect();
        if let Some(both) = self.published_symbols.0.iter().find(|symbol| made.contains(symbol)) {
            return Err(format!(
                "PUBLISHED_SYMBOLS (--published-symbols): \"{}\" has {both} in it, which is in SYMBOLS too: a symbol must be \
                 either made by a source or published",
                crate::wire::short(&self.published_symbols.0.iter().map(Symbol::as_str).collect::<Vec<_>>().join(","))
            ));
        }
        let all = made.len() + self.published_symbols.0.len();
        if all > parse::MAX_SYMBOLS {
            return Err(format!(
                "SYMBOLS and PUBLISHED_SYMBOLS name {all} symbols: at most {} are allowed",
                parse::MAX_SYMBOLS
            ));
        }
        if self.role == Role::Back && !has_redis {
            return Err(
                "ROLE (--role): \"back\" must have a Redis (REDIS_URL) that joins it to the fronts, or nobody hears it"
                    .to_owned(),
            );
        }
        Ok(())
    }
}
