//! WebSocket frames, as much of RFC 6455 as it takes: whole messages, text from here, masked from clients.

use data_encoding::BASE64;
use sha1::{Digest, Sha1};

/// What a client's key is hashed with (RFC 6455, 1.3).
const KEY_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

const FINAL: u8 = 0x80;
const MASKED: u8 = 0x80;
pub const TEXT: u8 = 1;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// The value of `Sec-WebSocket-Accept` for a client's key.
pub fn accept(key: &[u8]) -> String {
    BASE64.encode(&Sha1::new().chain_update(key).chain_update(KEY_SUFFIX).finalize())
}

/// Appends a message to a buffer.
pub fn push(buffer: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    buffer.push(FINAL | opcode);
    match payload.len() {
        short @ 0..126 => buffer.push(short as u8),
        middle @ 126..0x1_0000 => {
            buffer.push(126);
            buffer.extend((middle as u16).to_be_bytes());
        }
        long => {
            buffer.push(127);
            buffer.extend((long as u64).to_be_bytes());
        }
    }
    buffer.extend(payload);
}

/// Takes the first message out of what a client sent: its opcode, its payload, and how many bytes it took. None until
/// all of it is there.
pub fn take(bytes: &[u8]) -> Option<(u8, Vec<u8>, usize)> {
    let (&first, &second) = (bytes.first()?, bytes.get(1)?);
    let (length, head) = match second & 0x7f {
        126 => (u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?) as usize, 4),
        127 => (u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?) as usize, 10),
        short => (short as usize, 2),
    };
    let (mask, head) =
        if second & MASKED == 0 { ([0; 4].as_slice(), head) } else { (bytes.get(head..head + 4)?, head + 4) };
    let end = head.checked_add(length)?;
    let payload = bytes.get(head..end)?.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
    Some((first & 0x0f, payload, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_the_specification() {
        assert_eq!(accept(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn what_is_pushed_is_taken() {
        for length in [0, 125, 126, 65_535, 65_536] {
            let payload = vec![b'x'; length];
            let mut bytes = Vec::new();
            push(&mut bytes, TEXT, &payload);
            assert_eq!(take(&bytes), Some((TEXT, payload, bytes.len())), "{length}");
            assert_eq!(take(&bytes[..bytes.len() - 1]), None, "{length}");
        }
    }

    #[test]
    fn a_masked_message() {
        // «Hello», as in the specification, and the start of another one.
        let bytes = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58, 0x81];
        assert_eq!(take(&bytes), Some((TEXT, b"Hello".to_vec(), 11)));
    }
}
