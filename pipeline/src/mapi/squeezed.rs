//! Compressed RTF, the way Outlook keeps formatted bodies (MS-OXRTFCP): runs are copied from a ring of 4,096 bytes that
//! starts filled with words RTF uses often.

const RING: usize = 4096;
const START: &[u8] = b"{\\rtf1\\ansi\\mac\\deff0\\deftab720{\\fonttbl;}{\\f0\\fnil \\froman \\fswiss \\fmodern \\fscript \\fdecor MS Sans SerifSymbolArialTimes New RomanCourier{\\colortbl\\red0\\green0\\blue0\r\n\\par \\pard\\plain\\f0\\fs20\\b\\i\\u\\tab\\tx";

/// The RTF, or `None` when the bytes are no compressed RTF. Damage ends the text early. At most `max` bytes come out.
pub(crate) fn expand(bytes: &[u8], max: usize) -> Option<Vec<u8>> {
    let (header, body) = bytes.split_at_checked(16)?;
    let raw_size = u32::from_le_bytes(*header.get(4..8)?.first_chunk()?) as usize;
    match header.get(8..12)? {
        b"MELA" => Some(body.get(..raw_size.min(max)).unwrap_or(body).to_vec()),
        b"LZFu" => Some(runs(body, raw_size.min(max))),
        _ => None,
    }
}

fn runs(body: &[u8], size: usize) -> Vec<u8> {
    let mut ring = [b' '; RING];
    for (to, from) in ring.iter_mut().zip(START) {
        *to = *from;
    }
    let mut at = START.len();
    let mut output = Vec::new();
    let mut input = body.iter().copied();
    while let Some(control) = input.next() {
        for bit in 0..8_u8 {
            if output.len() >= size {
                return output;
            }
            let Some(first) = input.next() else { return output };
            if control >> bit & 1 == 0 {
                push(&mut ring, &mut at, &mut output, first);
                continue;
            }
            let Some(second) = input.next() else { return output };
            let from = usize::from(first) << 4 | usize::from(second >> 4);
            if from == at {
                return output;
            }
            for step in 0..usize::from(second & 15).saturating_add(2) {
                let byte = ring.get(from.wrapping_add(step) % RING).copied().unwrap_or_default();
                push(&mut ring, &mut at, &mut output, byte);
            }
        }
    }
    output
}

fn push(ring: &mut [u8; RING], at: &mut usize, output: &mut Vec<u8>, byte: u8) {
    if let Some(place) = ring.get_mut(*at) {
        *place = byte;
    }
    *at = at.wrapping_add(1) % RING;
    output.push(byte);
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
mod tests {
    use super::*;

    /// The two examples of MS-OXRTFCP 3.1 and 3.2.
    #[test]
    fn the_examples_of_the_specification() {
        let simple = b"\x2d\0\0\0\x2b\0\0\0LZFu\xf1\xc5\xc7\xa7\x03\0\x0a\0rcpg125\x42\x32\x0a\xf3 hel\x09\0 bw\x05\xb0ld}\x0a\x80\x0f\xa0";
        assert_eq!(expand(simple, 1000).unwrap(), b"{\\rtf1\\ansi\\ansicpg1252\\pard hello world}\r\n");
        let crossing = b"\x1a\0\0\0\x1c\0\0\0LZFu\xe2\xd4\x4b\x51\x41\0\x04\x20WXYZ\x0d\x6e\x7d\x01\x0e\xb0";
        assert_eq!(expand(crossing, 1000).unwrap(), b"{\\rtf1 WXYZWXYZWXYZWXYZWXYZ}");
    }

    #[test]
    fn lies_cost_nothing() {
        assert_eq!(expand(b"short", 10), None);
        assert_eq!(expand(b"\0\0\0\0\xff\xff\xff\xffMELA\0\0\0\0abc", 10).unwrap(), b"abc");
        let endless = [b"\0\0\0\0\xff\xff\xff\xffLZFu\0\0\0\0".as_slice(), &[0xff; 4000]].concat();
        assert!(expand(&endless, 100).unwrap().len() < 120);
    }
}
