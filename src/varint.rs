//! Whole numbers in as few bytes as they need: what our files are made of.

/// Appends a number: seven bits a byte, the lowest first; the eighth says that more follow.
pub fn put_unsigned(mut value: u128, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a number with the sign in the lowest bit, so that small numbers of both signs are short.
pub fn put_signed(value: i128, out: &mut Vec<u8>) {
    put_unsigned(((value << 1) ^ (value >> 127)).cast_unsigned(), out);
}

/// Takes what [`put_unsigned`] wrote off the beginning; none where it is not there.
pub fn take_unsigned(body: &mut &[u8]) -> Option<u128> {
    let mut value = 0u128;
    for shift in (0..128).step_by(7) {
        let (&byte, rest) = body.split_first()?;
        *body = rest;
        value |= u128::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Takes what [`put_signed`] wrote off the beginning; none where it is not there.
pub fn take_signed(body: &mut &[u8]) -> Option<i128> {
    let value = take_unsigned(body)?;
    Some((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_they_were_written() {
        let mut out = Vec::new();
        let unsigned = [0, 1, 127, 128, 300, u128::from(u64::MAX), u128::MAX];
        let signed = [0, -1, 1, -64, 64, i128::from(i64::MIN), i128::MAX, i128::MIN];
        unsigned.iter().for_each(|value| put_unsigned(*value, &mut out));
        signed.iter().for_each(|value| put_signed(*value, &mut out));
        let mut body = &out[..];
        assert!(unsigned.iter().all(|value| take_unsigned(&mut body) == Some(*value)));
        assert!(signed.iter().all(|value| take_signed(&mut body) == Some(*value)));
        assert!(body.is_empty());
        assert_eq!((take_unsigned(&mut body), take_unsigned(&mut &[0x80; 30][..])), (None, None));
    }
}
