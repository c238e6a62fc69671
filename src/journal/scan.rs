use super::MAX_RECORD_BYTES;

/// What a file begins with: the name, and the version of the format.
pub(super) const MAGIC: [u8; 8] = *b"TICKJNL\x01";

/// What a record begins with: behind damage, the next one is looked for by it.
pub(super) const MARK: [u8; 4] = [0xf5, b'R', b'e', b'c'];

/// Mark, length and check.
const HEAD_BYTES: usize = MARK.len() + 4 + 4;

/// What is in a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Whole records.
    pub(super) records: u64,
    /// Up to here, the end of the last whole record, it is to be kept.
    pub(super) whole_bytes: u64,
    /// What follows.
    pub(super) torn_bytes: u64,
    /// What lies between whole records, and is none.
    pub(super) damaged_bytes: u64,
}

/// The check of a record: over its length, its kind and what is in it.
pub(super) fn check(length: &[u8; 4], kind: u8, body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(length);
    hasher.update(&[kind]);
    hasher.update(body);
    hasher.finalize()
}

/// Reads a file, and hands each whole record to `take`. None where it begins otherwise. A file that ends within its own
/// beginning is one that was never begun.
pub(super) fn scan(content: &[u8], mut take: impl FnMut(u8, &[u8])) -> Option<Found> {
    let begins = content.get(..MAGIC.len()).unwrap_or(content);
    if !MAGIC.starts_with(begins) {
        return None;
    }
    let mut found = Found::default();
    if begins.len() < MAGIC.len() {
        found.torn_bytes = begins.len() as u64;
        return Some(found);
    }
    let (mut at, mut whole) = (MAGIC.len(), MAGIC.len());
    while at < content.len() {
        let rest = &content[at..];
        if let Some((kind, body)) = record(rest) {
            found.damaged_bytes += (at - whole) as u64;
            found.records += 1;
            at += HEAD_BYTES + 1 + body.len();
            whole = at;
            take(kind, body);
        } else {
            // Whether it is the end or damage says what follows.
            let next = rest[1..].windows(MARK.len()).position(|bytes| bytes == MARK);
            at = next.map_or(content.len(), |next| at + 1 + next);
        }
    }
    found.whole_bytes = whole as u64;
    found.torn_bytes = (content.len() - whole) as u64;
    Some(found)
}

/// The record that these bytes begin with, if it is whole.
fn record(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let rest = bytes.strip_prefix(&MARK)?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (found, rest) = rest.split_first_chunk::<4>()?;
    let bytes = usize::try_from(u32::from_le_bytes(*length)).ok().filter(|bytes| *bytes <= MAX_RECORD_BYTES)?;
    let (&kind, body) = rest.get(..bytes)?.split_first()?;
    (check(length, kind, body) == u32::from_le_bytes(*found)).then_some((kind, body))
}
