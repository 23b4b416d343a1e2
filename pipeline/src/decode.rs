//! Bytes to text when the encoding is not certain: byte order mark, then a declared label, then UTF-16 without a mark,
//! then valid UTF-8, then a guess.

use std::borrow::Cow;

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};

/// How much is looked at to guess an encoding.
const SAMPLE: usize = 64 << 10;

/// Decodes `bytes`; `label` is an encoding the document or its envelope declares. Malformed sequences become U+FFFD.
pub(crate) fn text<'a>(bytes: &'a [u8], label: Option<&str>) -> Cow<'a, str> {
    if let Some((encoding, mark)) = Encoding::for_bom(bytes) {
        return encoding.decode_without_bom_handling(bytes.get(mark..).unwrap_or_default()).0;
    }
    if let Some(encoding) = utf16_without_mark(bytes) {
        return encoding.decode_without_bom_handling(bytes).0;
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    // A label of UTF-8 on bytes that are not UTF-8 is a lie seen daily in mail.
    let declared =
        label.and_then(|label| Encoding::for_label(label.trim().as_bytes())).filter(|encoding| *encoding != UTF_8);
    declared.unwrap_or_else(|| guess(bytes)).decode_without_bom_handling(bytes).0
}

/// The encoding that `bytes`, which are not UTF-8 as a whole, are most likely in.
pub(crate) fn guess(bytes: &[u8]) -> &'static Encoding {
    let sample = bytes.get(..SAMPLE).unwrap_or(bytes);
    // A sample cut inside a character is still UTF-8.
    if let Err(error) = std::str::from_utf8(sample)
        && error.error_len().is_none()
    {
        return UTF_8;
    }
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Allow);
    detector.feed(sample, sample.len() == bytes.len());
    detector.guess(None, Utf8Detection::Allow)
}

/// The encoding that the beginning of a text shows by a byte order mark, or by the zeros of UTF-16.
pub(crate) fn shown(beginning: &[u8]) -> Option<&'static Encoding> {
    Encoding::for_bom(beginning).map(|(encoding, _)| encoding).or_else(|| utf16_without_mark(beginning))
}

/// UTF-16 shows itself by zero bytes at nearly every other place.
fn utf16_without_mark(bytes: &[u8]) -> Option<&'static Encoding> {
    let sample = bytes.get(..1024).unwrap_or(bytes);
    if sample.len() < 8 || sample.len() % 2 != 0 {
        return None;
    }
    let half = sample.len() / 2;
    let zeros = |offset: usize| sample.iter().skip(offset).step_by(2).filter(|byte| **byte == 0).count();
    let (even, odd) = (zeros(0), zeros(1));
    let most = half.saturating_mul(7) / 10;
    if odd >= most && even <= half / 20 {
        return Some(UTF_16LE);
    }
    (even >= most && odd <= half / 20).then_some(UTF_16BE)
}

/// True when `sample` (the start of a file) reads as text in some encoding.
pub(crate) fn looks_like_text(sample: &[u8]) -> bool {
    if shown(sample).is_some() {
        return true;
    }
    let strange = |byte: &&u8| matches!(**byte, 0..=8 | 14..=26 | 28..=31 | 127);
    let strange = sample.iter().filter(strange).count();
    !sample.contains(&0) && strange.saturating_mul(100) <= sample.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_what_files_really_hold() {
        let utf16: Vec<u8> = "Vertrag über".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let marked: Vec<u8> = [0xff, 0xfe].into_iter().chain(utf16.clone()).collect();
        let cases: [(&[u8], Option<&str>, &str); 7] = [
            (b"plain", None, "plain"),
            (b"\xef\xbb\xbfmarked", None, "marked"),
            (&utf16, None, "Vertrag über"),
            (&marked, None, "Vertrag über"),
            (b"Stra\xdfe und K\xfcste", Some("iso-8859-1"), "Straße und Küste"),
            ("Größe".as_bytes(), Some("iso-8859-1"), "Größe"),
            (b"Stra\xdfe", Some("utf-8"), "Straße"),
        ];
        for (bytes, label, expected) in cases {
            assert_eq!(text(bytes, label), expected);
        }
    }

    #[test]
    fn binary_is_not_text() {
        assert!(!looks_like_text(b"\0\x01\x02\x03binary"));
        assert!(looks_like_text(b"tabs\tand\nlines\x0c"));
    }
}
