use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, LazyLock};

/// Which names are allowed: whole ones, and patterns in which `*` stands for any characters, or none. Cheap to clone.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Patterns(Arc<Inner>);

#[derive(Default, PartialEq, Eq)]
struct Inner {
    /// `*` is one of them: nothing else matters.
    every: bool,
    whole: HashSet<String>,
    starred: Vec<String>,
}

/// Why names cannot be [`Patterns`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// One is empty, or longer than a name can be.
    #[error("a name or pattern is 1 to {max} bytes", max = Patterns::MAX_BYTES)]
    Length,
    /// There are too many.
    #[error("at most {max} names and patterns are allowed", max = Patterns::MAX)]
    Many,
    /// Each is tried for each name, so there may be fewer of these.
    #[error("at most {max} patterns with * are allowed", max = Patterns::MAX_STARRED)]
    Starred,
}

impl Patterns {
    /// The longest name or pattern, in bytes.
    pub const MAX_BYTES: usize = 128;
    /// The most names and patterns together.
    pub const MAX: usize = 1000;
    /// The most patterns with a `*` beside others.
    pub const MAX_STARRED: usize = 100;

    /// Every name.
    pub fn every() -> Self {
        // One for all: on an open server each connection has it twice.
        static EVERY: LazyLock<Patterns> =
            LazyLock::new(|| Patterns(Arc::new(Inner { every: true, ..Inner::default() })));
        EVERY.clone()
    }

    /// These names and patterns; of none of them, no name.
    ///
    /// # Errors
    /// One is too long or empty, or there are too many.
    pub fn new<T: AsRef<str>>(patterns: impl IntoIterator<Item = T>) -> Result<Self, PatternError> {
        let mut inner = Inner::default();
        for (index, pattern) in patterns.into_iter().enumerate() {
            let pattern = pattern.as_ref();
            if pattern.is_empty() || pattern.len() > Self::MAX_BYTES {
                return Err(PatternError::Length);
            }
            if index == Self::MAX {
                return Err(PatternError::Many);
            }
            match pattern {
                "*" => inner.every = true,
                starred if starred.contains('*') => inner.starred.push(starred.to_owned()),
                whole => {
                    inner.whole.insert(whole.to_owned());
                }
            }
        }
        if inner.starred.len() > Self::MAX_STARRED {
            return Err(PatternError::Starred);
        }
        Ok(if inner.every { Self::every() } else { Self(Arc::new(inner)) })
    }

    /// True where this name is allowed.
    pub fn allows(&self, name: &str) -> bool {
        self.0.every || self.0.whole.contains(name) || self.0.starred.iter().any(|pattern| fits(pattern, name))
    }
}

/// What a token may carry belongs into no log.
impl fmt::Debug for Patterns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { every, whole, starred } = &*self.0;
        write!(f, "Patterns(every: {every}, whole: {}, starred: {})", whole.len(), starred.len())
    }
}

/// True where a name fits a pattern. Never takes more than the product of the two lengths.
fn fits(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    // The first place is as good as any other: what follows has the more left.
    for part in parts {
        let Some(found) = rest.find(part) else { return false };
        rest = &rest[found + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, fitting, other) in [
            ("BTC", &["BTC"][..], &["BTC2", "btc", "", "aBTC"][..]),
            ("BTC*", &["BTC", "BTC-USD"], &["ABTC", "BT"]),
            ("*-USD", &["BTC-USD", "-USD"], &["BTC-USDT", "USD"]),
            ("B*C*D", &["BCD", "BTC-USD", "BCCCD"], &["BD", "BDC", "BCDx"]),
            ("**", &["", "x"], &[]),
            ("a*a", &["aa", "aba"], &["a"]),
        ] {
            let patterns = Patterns::new([pattern]).unwrap();
            assert!(fitting.iter().all(|name| patterns.allows(name)), "{pattern}");
            assert!(!other.iter().any(|name| patterns.allows(name)), "{pattern}");
        }
    }

    #[test]
    fn none_allow_nothing_and_a_star_alone_everything() {
        assert!(!Patterns::default().allows("BTC") && !Patterns::default().allows(""));
        assert!(Patterns::every().allows("BTC"));
        assert_eq!(Patterns::new(["BTC", "*"]).unwrap(), Patterns::every());
        let some = Patterns::new(["BTC", "ETH*"]).unwrap();
        assert!(some.allows("BTC") && some.allows("ETH2") && !some.allows("SOL"));
    }

    #[test]
    fn there_is_a_bound_on_everything() {
        assert_eq!(Patterns::new([""]), Err(PatternError::Length));
        assert_eq!(Patterns::new(["x".repeat(129)]), Err(PatternError::Length));
        let many = |n: usize, end: &str| Patterns::new((0..n).map(|i| format!("{i}{end}")));
        assert!(many(1000, "").is_ok() && many(100, "*").is_ok());
        assert_eq!(many(1001, ""), Err(PatternError::Many));
        assert_eq!(many(101, "*"), Err(PatternError::Starred));
        let hard = Patterns::new([format!("{}b", "*a".repeat(60))]).unwrap();
        assert!(!hard.allows(&"a".repeat(10_000)));
    }
}
