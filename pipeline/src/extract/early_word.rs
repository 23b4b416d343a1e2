//! Letters of Word 1 and 2 for Windows and of Write, which were one stream without a compound file around it: a header that says from where
//! to where the text goes ("Microsoft Word for Windows 2.0 Binary Format", "Windows Write File Format"), one byte a character.

use domain::outcome::{Category, Exception};
use encoding_rs::WINDOWS_1252;

use super::corrupt;
use crate::compose::Composer;

/// In Word's header: was it saved fast, with changes behind the text; is it under a password.
const FAST: u16 = 0x0004;
const LOCKED: u16 = 0x0100;
/// Where Write's text begins, and where its header holds the size of the whole in pages: a file of Word for DOS has nothing there.
const WRITE_TEXT: u32 = 0x80;
const WRITE_PAGES: usize = 0x60;

/// True for such a stream.
pub(crate) fn begins(bytes: &[u8]) -> bool {
    match bytes {
        [0x9b | 0xdb, 0xa5, version, 0, ..] => (0x15..=0x30).contains(version),
        [0x31 | 0x32, 0xbe, 0, 0, 0, 0xab, ..] => half(bytes, WRITE_PAGES).is_some_and(|pages| pages > 0),
        _ => false,
    }
}

pub(super) fn read(bytes: &[u8], composer: &mut Composer) -> Result<(), Exception> {
    let damaged = || corrupt("the letter's header is damaged");
    let is_write = matches!(bytes, [0x31 | 0x32, ..]);
    let (start, end) = if is_write {
        (WRITE_TEXT, word(bytes, 14).ok_or_else(damaged)?)
    } else {
        let flags = half(bytes, 10).ok_or_else(damaged)?;
        if flags & LOCKED != 0 {
            return Err(Exception::new(
                Category::Unsupported,
                "a letter of Word 2 under a password cannot be opened here",
            ));
        }
        if flags & FAST != 0 {
            composer.warn(
                Category::Partial,
                None,
                "the letter was saved fast: its last changes may stand in the wrong place",
            );
        }
        (word(bytes, 24).ok_or_else(damaged)?, word(bytes, 28).ok_or_else(damaged)?)
    };
    let text = bytes.get(start as usize..(end as usize).min(bytes.len())).ok_or_else(damaged)?;
    let (text, ..) = WINDOWS_1252.decode(text);
    write(&text, composer);
    Ok(())
}

/// Fields show their results (code between U+0013 and U+0014, result up to U+0015); pictures and marks of notes are no text.
fn write(text: &str, composer: &mut Composer) {
    let (mut line, mut codes) = (String::new(), 0_u32);
    for scalar in text.chars() {
        match scalar {
            '\u{13}' => codes = codes.saturating_add(1),
            '\u{14}' | '\u{15}' if codes > 0 => codes = codes.saturating_sub(1),
            _ if codes > 0 => {}
            // A hyphen where a line may break, and one where it may not.
            '\u{1f}' => {}
            '\u{1e}' => line.push('-'),
            '\u{7}' => line.push('\t'),
            '\r' | '\n' | '\u{b}' | '\u{c}' => {
                if !line.trim().is_empty() {
                    composer.push(line.trim_matches([' ', '\t']));
                    composer.end_line();
                }
                line.clear();
            }
            other => line.push(other),
        }
    }
    composer.push(line.trim());
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}
