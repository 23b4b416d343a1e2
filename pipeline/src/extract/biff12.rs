//! What the parts of a workbook in binary parts (MS-XLSB) are made of: records, strings, and the styles by which numbers are shown.

use std::collections::HashMap;

use super::{biff::utf16, sheet::is_date};

/// Records (2.1.4).
const FORMAT: u16 = 44;
const STYLE: u16 = 47;
const BEGIN_CELL_STYLES: u16 = 617;
const END_CELL_STYLES: u16 = 618;

/// Format codes by their numbers, and the number each style refers to.
#[derive(Default)]
pub(super) struct Styles {
    codes: HashMap<u16, String>,
    formats: Vec<u16>,
}

impl Styles {
    /// Reads what can be read.
    pub(super) fn read(part: &[u8]) -> Self {
        let mut styles = Self::default();
        let mut of_cells = false;
        for (kind, data) in Records(part) {
            match kind {
                FORMAT => {
                    let code = data.get(2..).and_then(string);
                    styles.codes.extend(word(data, 0).zip(code.map(|(code, _)| code)));
                }
                BEGIN_CELL_STYLES => of_cells = true,
                END_CELL_STYLES => of_cells = false,
                STYLE if of_cells => styles.formats.push(word(data, 2).unwrap_or_default()),
                _ => {}
            }
        }
        styles
    }

    /// The number and the code of a style's format, and whether it shows a day or a time.
    pub(super) fn format(&self, style: u16) -> Option<(u32, &str, bool)> {
        let number = *self.formats.get(usize::from(style))?;
        let code = self.codes.get(&number).map_or("", String::as_str);
        // What every Excel has without saying it (ISO 29500-1, 18.8.30).
        let is_date = if code.is_empty() { matches!(number, 14..=22 | 45 | 47) } else { is_date(code) };
        Some((number.into(), code, is_date))
    }
}

/// The records of a part: kind and data, each with lengths of seven bits a byte (2.1.4).
pub(super) struct Records<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Records<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let before = self.0;
        let record = self.record();
        if record.is_none() {
            self.0 = before;
        }
        record
    }
}

impl<'a> Records<'a> {
    fn record(&mut self) -> Option<(u16, &'a [u8])> {
        let kind = u16::try_from(self.number(2)?).ok()?;
        let length = self.number(4)?;
        let (data, rest) = self.0.split_at_checked(length as usize)?;
        self.0 = rest;
        Some((kind, data))
    }

    fn number(&mut self, most: u32) -> Option<u32> {
        let mut number = 0;
        for place in 0..most {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            number |= u32::from(byte & 0x7f) << place.saturating_mul(7);
            if byte & 0x80 == 0 {
                break;
            }
        }
        Some(number)
    }
}

pub(super) fn word(data: &[u8], at: usize) -> Option<u16> {
    data.get(at..)?.first_chunk().map(|bytes| u16::from_le_bytes(*bytes))
}

pub(super) fn long(data: &[u8], at: usize) -> Option<u32> {
    data.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

/// A wide string (2.5.169) and what follows it.
pub(super) fn string(data: &[u8]) -> Option<(String, &[u8])> {
    // No string at all is not an empty one.
    let count = long(data, 0).map(|count| if count == u32::MAX { 0 } else { count as usize })?;
    let (units, rest) = data.get(4..)?.split_at_checked(count.checked_mul(2)?)?;
    Some((utf16(units, count), rest))
}

/// A string that may have runs of its own looks (2.5.125).
pub(super) fn rich_string(data: &[u8]) -> Option<String> {
    string(data.get(1..)?).map(|(text, _)| text)
}
