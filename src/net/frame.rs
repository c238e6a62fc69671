use bytes::Bytes;

/// The longest header of a frame that a server sends: two bytes, and eight of length.
const MAX_HEADER_BYTES: usize = 10;

/// A final text frame as a server sends it (RFC 6455, 5.2): not masked, so that it is the same for everybody.
pub fn text_frame(payload: &str) -> Bytes {
    let mut frame = Vec::with_capacity(MAX_HEADER_BYTES + payload.len());
    push_text_frame(&mut frame, payload);
    frame.into()
}

/// Appends a [`text_frame`].
pub fn push_text_frame(frames: &mut Vec<u8>, payload: &str) {
    frames.push(FINAL | TEXT);
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(length), _) if length < LENGTH_16 => frames.push(length),
        (_, Ok(length)) => {
            frames.push(LENGTH_16);
            frames.extend(length.to_be_bytes());
        }
        _ => {
            frames.push(LENGTH_64);
            frames.extend((payload.len() as u64).to_be_bytes());
        }
    }
    frames.extend(payload.as_bytes());
}

/// A close frame with this status (RFC 6455, 7.4).
pub(super) fn close_frame(status: u16) -> Bytes {
    let [high, low] = status.to_be_bytes();
    Bytes::copy_from_slice(&[FINAL | CLOSE, 2, high, low])
}

const FINAL: u8 = 0x80;
const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const LENGTH_16: u8 = 126;
const LENGTH_64: u8 = 127;

/// One frame of a server, whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    /// Header and payload.
    pub(super) bytes: &'a [u8],
    pub(super) payload: &'a [u8],
    opcode: u8,
}

impl<'a> Frame<'a> {
    /// Takes one frame off the front of `bytes`; none where they do not begin with a whole one that a server may send.
    pub(super) fn split(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (&[first, second], rest) = bytes.split_first_chunk()?;
        let (length, rest) = match second {
            // A server's frames are not masked.
            0x80.. => return None,
            LENGTH_16 => {
                let (length, rest) = rest.split_first_chunk()?;
                (usize::from(u16::from_be_bytes(*length)), rest)
            }
            LENGTH_64 => {
                let (length, rest) = rest.split_first_chunk()?;
                (usize::try_from(u64::from_be_bytes(*length)).ok()?, rest)
            }
            short => (usize::from(short), rest),
        };
        let (payload, after) = rest.split_at_checked(length)?;
        let (bytes, _) = bytes.split_at(bytes.len() - after.len());
        Some((Self { bytes, payload, opcode: first & 0x0f }, after))
    }

    /// True for the frame after which nothing may come.
    pub(super) fn is_close(&self) -> bool {
        self.opcode == CLOSE
    }

    /// True for a text that begins so.
    pub(super) fn is_text_with(&self, prefix: &[u8]) -> bool {
        self.opcode == TEXT && self.payload.starts_with(prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_7_16_and_64_bits_are_read_as_they_were_written() {
        for length in [0, 1, 125, 126, 127, 65_535, 65_536, 100_000] {
            let text = "x".repeat(length);
            let frame = text_frame(&text);
            let header = match length {
                ..126 => 2,
                126..65_536 => 4,
                _ => 10,
            };
            assert_eq!(frame.len(), header + length);
            let two = [&frame[..], &frame[..]].concat();
            let (first, rest) = Frame::split(&two).unwrap();
            assert_eq!((first.bytes, first.payload, rest), (&frame[..], text.as_bytes(), &frame[..]));
            assert!(first.is_text_with(&text.as_bytes()[..length.min(3)]) && !first.is_close());
            assert_eq!(Frame::split(&frame[..frame.len() - 1]), None, "not whole");
        }
        assert_eq!(Frame::split(&[]), None);
        assert_eq!(Frame::split(&[0x81, 0x80, 0, 0, 0, 0]), None, "masked");
        assert!(Frame::split(&[0x88, 0]).unwrap().0.is_close());
    }
}
