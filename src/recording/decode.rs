use std::io::{self, Read};

use super::{Last, MAGIC, NUMBERS, Number, check, present, rescaled};
use crate::price::{Price, Symbol, Update};
use crate::varint::{take_signed, take_unsigned};

/// The longest record, in bytes: its length, its body and its check.
const MAX_RECORD_BYTES: usize = 1 + 255 + 2;

/// Bytes that are read at one go.
const READ_BYTES: usize = 64 * 1024;

/// Reads the updates of a recording, up to its end or to what a crash left of it.
#[derive(Debug)]
pub struct Decoder<R> {
    reader: R,
    buffer: Vec<u8>,
    /// Where the next record begins in the buffer.
    at: usize,
    is_read: bool,
    symbols: Vec<Symbol>,
    last: Vec<Last>,
    ts_ms: u64,
    hasher: crc32fast::Hasher,
    /// Where the next record begins in the file.
    offset: u64,
}

/// Why a file cannot be played at all.
#[derive(Debug, thiserror::Error)]
pub enum NotARecording {
    /// It cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It begins otherwise.
    #[error("it is no recording, or one of another version")]
    Magic,
}

/// How a recording ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Up to here all is well, in bytes.
    pub at_bytes: u64,
    /// True where more bytes follow that are no whole record: a write that never came to its end, or damage.
    pub torn: bool,
}

impl<R: Read> Decoder<R> {
    /// Begins to read.
    ///
    /// # Errors
    /// It is no recording.
    pub fn new(mut reader: R) -> Result<Self, NotARecording> {
        let mut magic = [0; MAGIC.len()];
        reader.read_exact(&mut magic).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => NotARecording::Magic,
            _ => error.into(),
        })?;
        if magic != MAGIC {
            return Err(NotARecording::Magic);
        }
        Ok(Self {
            reader,
            buffer: Vec::new(),
            at: 0,
            is_read: false,
            symbols: Vec::new(),
            last: Vec::new(),
            ts_ms: 0,
            hasher: crc32fast::Hasher::new(),
            offset: MAGIC.len() as u64,
        })
    }

    /// The next update, or how the recording ended.
    ///
    /// # Errors
    /// The file cannot be read any more.
    pub fn next_update(&mut self) -> io::Result<Result<Update, Ended>> {
        self.fill()?;
        let rest = &self.buffer[self.at..];
        let record = rest.first().map(|&length| 1 + usize::from(length) + 2).and_then(|length| rest.get(..length));
        let update = record.and_then(|record| {
            let (covered, found) = record.split_at(record.len() - 2);
            let mut hasher = self.hasher.clone();
            // In two steps, as it was written: the sum is the same.
            hasher.update(covered);
            (check(&hasher) == found).then_some((covered[1..].to_vec(), record.len(), hasher))
        });
        let decoded = update.and_then(|(body, length, hasher)| {
            self.hasher = hasher;
            let update = self.decode(&mut &body[..])?;
            Some((update, length))
        });
        let Some((update, length)) = decoded else {
            return Ok(Err(Ended { at_bytes: self.offset, torn: self.at < self.buffer.len() }));
        };
        self.at += length;
        self.offset += length as u64;
        Ok(Ok(update))
    }

    /// Has a whole record in the buffer, unless there is none.
    fn fill(&mut self) -> io::Result<()> {
        if self.is_read || self.buffer.len() - self.at >= MAX_RECORD_BYTES {
            return Ok(());
        }
        self.buffer.drain(..self.at);
        self.at = 0;
        let taken = (&mut self.reader).take(READ_BYTES as u64).read_to_end(&mut self.buffer)?;
        self.is_read = taken < READ_BYTES;
        Ok(())
    }

    /// A body that is as it was written; none where it is not, whatever its check says.
    fn decode(&mut self, body: &mut &[u8]) -> Option<Update> {
        let index = usize::try_from(take_unsigned(body)?).ok()?;
        if index == self.last.len() {
            let length = usize::try_from(take_unsigned(body)?).ok()?;
            let (name, rest) = body.split_at_checked(length)?;
            *body = rest;
            self.symbols.push(std::str::from_utf8(name).ok()?.parse().ok()?);
            self.last.push(Last::default());
        }
        let last = self.last.get_mut(index)?;
        let (&flags, rest) = body.split_first()?;
        *body = rest;
        self.ts_ms = u64::try_from(i128::from(self.ts_ms).checked_add(take_signed(body)?)?).ok()?;
        let mut numbers = [None; NUMBERS];
        for (place, number) in numbers.iter_mut().enumerate() {
            if place > 0 && flags & present(place) == 0 {
                continue;
            }
            let before = &mut last[place];
            *before = if flags & rescaled(place) == 0 {
                Number { mantissa: before.mantissa.checked_add(take_signed(body)?)?, scale: before.scale }
            } else {
                Number { scale: u32::try_from(take_unsigned(body)?).ok()?, mantissa: take_signed(body)? }
            };
            *number = Some(Price::try_from_i128_with_scale(before.mantissa, before.scale).ok()?);
        }
        let [Some(price), bid, ask, size] = numbers else { return None };
        let update = Update { symbol: self.symbols[index].clone(), price, ts_ms: self.ts_ms, bid, ask, size };
        body.is_empty().then_some(update)
    }
}
