//! Snappy (its "format description" of 2011), as the archives of objects use it: bare blocks, no checksums.

/// The content of a block, at most `most` bytes; what is damaged ends where the damage is.
pub(super) fn block(bytes: &[u8], most: usize, content: &mut Vec<u8>) -> Option<()> {
    let (length, mut rest) = length(bytes)?;
    let start = content.len();
    let end = start.saturating_add(length.min(most));
    while content.len() < end {
        let (tag, after) = rest.split_first()?;
        let six = usize::from(tag >> 2);
        let (count, distance, after) = match tag & 3 {
            0 => {
                let extra = six.saturating_sub(59);
                let (count, after) = if six < 60 { (six, after) } else { number(after, extra)? };
                let (literal, after) = after.split_at_checked(count.saturating_add(1))?;
                content.extend_from_slice(literal);
                rest = after;
                continue;
            }
            1 => {
                let (low, after) = number(after, 1)?;
                ((six & 7).saturating_add(4), usize::from(tag >> 5) << 8 | low, after)
            }
            wide => {
                let (distance, after) = number(after, if wide == 2 { 2 } else { 4 })?;
                (six.saturating_add(1), distance, after)
            }
        };
        rest = after;
        let from = content.len().checked_sub(distance).filter(|from| distance > 0 && *from >= start)?;
        for at in from..from.saturating_add(count) {
            content.push(*content.get(at)?);
        }
    }
    Some(())
}

/// The length of the content, seven bits a byte.
fn length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (mut value, mut rest) = (0_usize, bytes);
    for place in 0..5_u32 {
        let (byte, after) = rest.split_first()?;
        rest = after;
        value |= usize::from(byte & 0x7f) << place.saturating_mul(7);
        if byte & 0x80 == 0 {
            return Some((value, rest));
        }
    }
    None
}

/// A number of `count` bytes, the lowest first.
fn number(bytes: &[u8], count: usize) -> Option<(usize, &[u8])> {
    let (bytes, rest) = bytes.split_at_checked(count)?;
    Some((bytes.iter().rev().fold(0, |value, byte| value << 8 | usize::from(*byte)), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_copies_and_lies() {
        let mut content = Vec::new();
        // "abc", then six bytes from three back, then the far copies.
        assert_eq!(block(b"\x0d\x08abc\x09\x03\x0e\x09\x00", 100, &mut content), Some(()));
        assert_eq!(content, b"abcabcabcabca");
        for lie in [&b"\x05\x09\x01"[..], b"\x05\x08a", b"\xff\xff\xff\xff\xff\x01", b"\x04\x08abc\x05\x00", b""] {
            assert_eq!(block(lie, 100, &mut Vec::new()), None, "{lie:?}");
        }
        let mut content = Vec::new();
        let _ = block(b"\xff\xff\xff\x7f\x00a\xfe\x01\x00\xfe\x01\x00\xfe\x01\x00", 100, &mut content);
        assert!(content.len() <= 164, "{}", content.len());
    }
}
