//! WebSocket frames (RFC 6455), the client's side. Our own, since hundreds of thousands of them a second have to be
//! read on the core that is left beside the server: a frame is a slice of what was read, and nothing is copied.

/// The longest frame that is taken, in bytes. More is not a price feed.
pub const MAX_FRAME_BYTES: usize = 64 << 20;

/// What a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// The next part of a message.
    Continuation,
    /// A text message, or its first part.
    Text,
    /// A binary message, or its first part.
    Binary,
    /// The server is about to close.
    Close,
    /// The server asks whether we are there.
    Ping,
    /// An answer to what we never ask.
    Pong,
}

/// A whole frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What it is for.
    pub opcode: Opcode,
    /// True in a message's last frame.
    pub last: bool,
    /// What it carries.
    pub payload: &'a [u8],
    /// How many bytes it takes, with its head.
    pub bytes: usize,
}

/// The frame at the beginning of `bytes`; none if it is not all there yet.
///
/// # Errors
/// If a server must not send this.
pub fn decode(bytes: &[u8]) -> Result<Option<Frame<'_>>, &'static str> {
    let [first, second, ..] = *bytes else {
        return Ok(None);
    };
    if first & 0x70 != 0 {
        return Err("a frame with an extension that was not agreed on");
    }
    if second & 0x80 != 0 {
        return Err("a masked frame from the server");
    }
    let (length, head) = match (second, bytes) {
        (126, [_, _, a, b, ..]) => (usize::from(u16::from_be_bytes([*a, *b])), 4),
        (127, [_, _, a, b, c, d, e, f, g, h, ..]) => {
            let length = u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]);
            (usize::try_from(length).unwrap_or(usize::MAX), 10)
        }
        (126 | 127, _) => return Ok(None),
        (length, _) => (usize::from(length), 2),
    };
    if length > MAX_FRAME_BYTES {
        return Err("a frame of more than 64 MB");
    }
    let opcode = match first & 0x0f {
        0 => Opcode::Continuation,
        1 => Opcode::Text,
        2 => Opcode::Binary,
        8 => Opcode::Close,
        9 => Opcode::Ping,
        10 => Opcode::Pong,
        _ => return Err("a frame of an unknown kind"),
    };
    Ok(bytes.get(head..head + length).map(|payload| Frame {
        opcode,
        last: first & 0x80 != 0,
        payload,
        bytes: head + length,
    }))
}

/// Adds a whole, masked frame to `out`.
pub fn encode(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    // Masks keep proxies from mistaking a payload for a request. Any will do, as long as the server has work with it.
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let code = match opcode {
        Opcode::Continuation => 0,
        Opcode::Text => 1,
        Opcode::Binary => 2,
        Opcode::Close => 8,
        Opcode::Ping => 9,
        Opcode::Pong => 10,
    };
    out.push(0x80 | code);
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(length @ 0..=125), _) => out.push(0x80 | length),
        (_, Ok(length)) => {
            out.push(0x80 | 126);
            out.extend(length.to_be_bytes());
        }
        _ => {
            out.push(0x80 | 127);
            out.extend((payload.len() as u64).to_be_bytes());
        }
    }
    out.extend(MASK);
    out.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A frame as a server sends it.
    fn served(opcode: u8, last: bool, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![opcode | if last { 0x80 } else { 0 }];
        match payload.len() {
            length @ 0..=125 => bytes.push(length as u8),
            length @ 126..=65_535 => {
                bytes.push(126);
                bytes.extend((length as u16).to_be_bytes());
            }
            length => {
                bytes.push(127);
                bytes.extend((length as u64).to_be_bytes());
            }
        }
        bytes.extend(payload);
        bytes
    }

    proptest! {
        #[test]
        fn a_frame_is_there_when_its_last_byte_is_and_not_before(
            length in prop_oneof![0..130_usize, 65_530..65_540_usize],
            last: bool,
            cut in any::<prop::sample::Index>(),
        ) {
            let payload: Vec<u8> = (0..length).map(|at| at as u8).collect();
            let bytes = served(1, last, &payload);
            prop_assert_eq!(decode(&bytes[..cut.index(bytes.len())]).unwrap(), None);
            let followed = [&bytes[..], b"\x81"].concat();
            let frame = decode(&followed).unwrap().unwrap();
            prop_assert_eq!(frame, Frame { opcode: Opcode::Text, last, payload: &payload, bytes: bytes.len() });
        }

        #[test]
        fn nothing_that_a_server_sends_is_a_panic(bytes: Vec<u8>) {
            let _ = decode(&bytes);
        }

        #[test]
        fn what_is_sent_is_masked(length in prop_oneof![0..200_usize, 65_530..65_540_usize]) {
            let payload = vec![b'x'; length];
            let mut out = Vec::new();
            encode(&mut out, Opcode::Text, &payload);
            prop_assert_eq!(out[1] & 0x80, 0x80);
            let mask: [u8; 4] = out[out.len() - length - 4..out.len() - length].try_into().unwrap();
            let unmasked: Vec<u8> = out[out.len() - length..].iter().zip(mask.iter().cycle()).map(|(a, b)| a ^ b).collect();
            prop_assert_eq!(unmasked, payload);
        }
    }

    #[test]
    fn what_a_server_must_not_send_is_refused() {
        assert!(decode(b"\xc1\x00").is_err(), "compressed");
        assert!(decode(b"\x81\x80\0\0\0\0").is_err(), "masked");
        assert!(decode(b"\x83\x00").is_err(), "unknown");
        assert!(decode(b"\x81\x7f\0\0\0\x01\0\0\0\0").is_err(), "too long");
    }
}
