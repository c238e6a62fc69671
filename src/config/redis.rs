use std::fmt;

/// Where Redis is, and how to be let in.
#[derive(Clone, PartialEq, Eq)]
pub enum RedisAddress {
    /// `redis://...`, `redis-cluster://...` or `redis-sentinel://...`, and the same with `rediss`.
    Url(String),
    /// In parts.
    Parts {
        /// Its host.
        host: String,
        /// Its port.
        port: u16,
        /// Who we are there.
        username: Option<String>,
        /// What only we know.
        password: Option<String>,
    },
}

// A derived one would print the password.
impl fmt::Debug for RedisAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Url(_) => "RedisAddress::Url",
            Self::Parts { .. } => "RedisAddress::Parts",
        })
    }
}
