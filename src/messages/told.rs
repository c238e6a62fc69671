use serde::{Deserialize, Serialize};

use super::{Message, Place};

/// The most connections and names that one replica lists in an answer; it counts them all.
pub(super) const MAX_LISTED: usize = 1000;

/// What one replica tells the others, as JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Told {
    /// The process that tells it; another one after each start.
    pub from: String,
    /// What it tells.
    pub what: What,
}

/// What replicas tell each other.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// A message for clients. Where `ask` is there, how many were reached is wanted.
    Say {
        /// The message.
        message: Message,
        /// The number of the question, at who asks.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ask: Option<u64>,
    },
    /// Who is there?
    Look {
        /// Where.
        place: Place,
        /// The number of the question, at who asks.
        ask: u64,
    },
    /// These connections are to be ended. How many there were is wanted.
    End {
        /// Where.
        place: Place,
        /// The number of the question, at who asks.
        ask: u64,
    },
    /// The replica of this id is to drain. Whether there is one is wanted.
    Drain {
        /// Its id.
        id: String,
        /// The number of the question, at who asks.
        ask: u64,
    },
    /// Who is in these rooms at the one who tells it. A room in which nobody is any more is there too, once.
    Here(Vec<(String, Occupants)>),
    /// Everybody is asked for [`What::Here`] with all rooms: somebody has just come, or missed something.
    WhoIsHere,
}

impl What {
    /// The number of the question, where an answer is wanted.
    pub fn ask(&self) -> Option<u64> {
        match self {
            Self::Say { ask, .. } => *ask,
            Self::Look { ask, .. } | Self::End { ask, .. } | Self::Drain { ask, .. } => Some(*ask),
            Self::Here(_) | Self::WhoIsHere => None,
        }
    }
}

/// What one replica answers another that asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Reply {
    /// Who answers: a process, as in [`Told`].
    pub from: String,
    /// The number of the question.
    pub ask: u64,
    /// What it found.
    pub found: Found,
}

/// What there was on one replica.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// How many connections.
    pub count: usize,
    /// Which ones, where that was asked: at most 1000.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub seen: Vec<Seen>,
}

/// A connection, for those who ask about people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Whose it is; none for who has no name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The id of its replica.
    pub server: String,
    /// When it came, in ms since the Unix epoch.
    pub since: u64,
    /// `polling` or `websocket`, now.
    pub transport: String,
}

/// Who is in a room of one replica.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Occupants {
    /// Their names, in order, each once: at most 1000.
    pub users: Vec<String>,
    /// How many connections, those without a name too.
    pub connections: usize,
    /// False where there are more names.
    pub complete: bool,
}

impl Found {
    /// Of these connections.
    pub fn of(connections: impl Iterator<Item = Seen>) -> Self {
        let mut found = Self::default();
        for seen in connections {
            found.count += 1;
            if found.seen.len() < MAX_LISTED {
                found.seen.push(seen);
            }
        }
        found
    }

    /// Only so many.
    pub fn count(count: usize) -> Self {
        Self { count, seen: Vec::new() }
    }
}

impl Occupants {
    /// Connections of these users.
    pub fn of(connections: impl Iterator<Item = Option<String>>) -> Self {
        let mut count = 0;
        let named = connections.inspect(|_| count += 1).flatten();
        let mut users: Vec<String> = named.collect::<std::collections::BTreeSet<_>>().into_iter().collect();
        let complete = users.len() <= MAX_LISTED;
        users.truncate(MAX_LISTED);
        Self { users, connections: count, complete }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_comes_back_as_it_was() {
        let json = |text: &str| serde_json::value::RawValue::from_string(text.into()).unwrap();
        let message = Message::new(Place::User("u".into()), "e", json("1.10000000000000000001"));
        let told = Told { from: "a".into(), what: What::Say { message, ask: Some(7) } };
        let text = serde_json::to_string(&told).unwrap();
        assert_eq!(
            text,
            r#"{"from":"a","what":{"say":{"message":{"to":{"places":[{"user":"u"}]},"event":"e","args":[1.10000000000000000001]},"ask":7}}}"#
        );
        let again: Told = serde_json::from_slice(text.as_bytes()).unwrap();
        assert_eq!(serde_json::to_string(&again).unwrap(), text);
        let told = Told { from: "a".into(), what: What::WhoIsHere };
        let text = serde_json::to_string(&told).unwrap();
        assert!(matches!(serde_json::from_str::<Told>(&text).unwrap().what, What::WhoIsHere));
        let end = What::End { place: Place::User("u".into()), ask: 7 };
        assert_eq!(serde_json::to_string(&end).unwrap(), r#"{"end":{"place":{"user":"u"},"ask":7}}"#);
        let drain = What::Drain { id: "app2".into(), ask: 7 };
        assert_eq!(serde_json::to_string(&drain).unwrap(), r#"{"drain":{"id":"app2","ask":7}}"#);
    }

    #[test]
    fn lists_are_bounded_and_counts_are_not() {
        let many = (0..MAX_LISTED + 5).map(|n| Some(format!("{n:05}")));
        let occupants = Occupants::of(many.chain([None, Some("00000".into())]));
        assert_eq!(
            (occupants.users.len(), occupants.connections, occupants.complete),
            (MAX_LISTED, MAX_LISTED + 7, false)
        );
    }
}
