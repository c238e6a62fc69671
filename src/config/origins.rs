/// Which web origins may connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    /// `*`: every one, without credentials.
    Any,
    /// Only these, with credentials.
    Listed(Vec<String>),
}

impl Origins {
    /// Whether a page of this origin may connect, as its browser writes it.
    pub fn allow(&self, origin: &[u8]) -> bool {
        match self {
            Self::Any => true,
            Self::Listed(listed) => listed.iter().any(|listed| listed.as_bytes().eq_ignore_ascii_case(origin)),
        }
    }
}
