use super::MAX_RECORD_BYTES;
use super::scan::{MARK, check};

/// Records on their way to a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Records(Vec<u8>);

impl Records {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one of a kind, with what is in it. Returns false, and adds nothing, where that is more than
    /// [`MAX_RECORD_BYTES`]: a reader would take it for damage.
    pub fn push(&mut self, kind: u8, body: &[u8]) -> bool {
        let Some(length) = u32::try_from(body.len() + 1).ok().filter(|length| *length as usize <= MAX_RECORD_BYTES)
        else {
            return false;
        };
        let length = length.to_le_bytes();
        self.0.extend_from_slice(&MARK);
        self.0.extend_from_slice(&length);
        self.0.extend_from_slice(&check(&length, kind, body).to_le_bytes());
        self.0.push(kind);
        self.0.extend_from_slice(body);
        true
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As they are in the file.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}
