//! JSON (RFC 8259): its text as it stands, with the escapes in its strings read, so that `\u00fc` is found as ü. Lines of
//! JSON and JSON with mistakes read just as well.

use crate::{compose::Composer, decode};

pub(super) fn read(bytes: &[u8], composer: &mut Composer) {
    let text = decode::text(bytes, None);
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars();
    let mut in_string = false;
    let mut high: Option<u16> = None;
    while let Some(scalar) = rest.next() {
        if scalar == '"' {
            in_string = !in_string;
        }
        if scalar != '\\' || !in_string {
            plain.push(scalar);
            continue;
        }
        match rest.next() {
            Some('n' | 'r') => plain.push('\n'),
            Some('t') => plain.push('\t'),
            Some('b' | 'f') => plain.push(' '),
            Some('u') => {
                let digits: String = rest.clone().take(4).collect();
                let Ok(unit) = u16::from_str_radix(&digits, 16) else { continue };
                rest.nth(3);
                match (high.take(), unit) {
                    (_, 0xd800..=0xdbff) => high = Some(unit),
                    (Some(high), 0xdc00..=0xdfff) => plain.push_str(&String::from_utf16_lossy(&[high, unit])),
                    (_, unit) => plain.push_str(&String::from_utf16_lossy(&[unit])),
                }
            }
            Some(escaped) => plain.push(escaped),
            None => {}
        }
    }
    composer.push(&plain);
}
