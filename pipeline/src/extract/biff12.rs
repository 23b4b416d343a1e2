//! What calamine leaves out of a workbook in binary parts (MS-XLSB): how each number is displayed, and which rows and columns are
//! hidden. The same as [`biff`](super::biff) finds in older workbooks.

use super::{
    biff::{SheetStyles, Workbook, columns, utf16},
    package::Package,
    workbook::relations,
};

/// Records (2.1.4).
const ROW: u16 = 0;
const CELL_RK: u16 = 2;
const CELL_REAL: u16 = 5;
const FORMULA_NUMBER: u16 = 9;
const FORMAT: u16 = 44;
const STYLE: u16 = 47;
const COLUMNS: u16 = 60;
const SHEET: u16 = 156;
const BEGIN_CELL_STYLES: u16 = 617;
const END_CELL_STYLES: u16 = 618;

/// Reads what can be read.
pub(super) fn read(bytes: Vec<u8>) -> Workbook {
    let mut book = Workbook::default();
    let Ok(mut package) = Package::open(bytes) else { return book };
    styles(&package.part("xl/styles.bin").unwrap_or_default(), &mut book);
    let relations = relations(&mut package, "xl", "workbook.bin");
    let sheets = package.part("xl/workbook.bin").unwrap_or_default();
    for (_, data) in Records(&sheets).filter(|(kind, _)| *kind == SHEET) {
        let Some((relation, rest)) = data.get(8..).and_then(string) else { continue };
        let part = relations.get(&relation).and_then(|(_, part)| package.part(part));
        if let (Some((name, _)), Some(part)) = (string(rest), part) {
            book.sheets.insert(name, sheet(&part));
        }
    }
    book
}

fn styles(part: &[u8], book: &mut Workbook) {
    let mut of_cells = false;
    for (kind, data) in Records(part) {
        match kind {
            FORMAT => {
                let code = data.get(2..).and_then(string);
                book.codes.extend(word(data, 0).zip(code.map(|(code, _)| code)));
            }
            BEGIN_CELL_STYLES => of_cells = true,
            END_CELL_STYLES => of_cells = false,
            STYLE if of_cells => book.styles.push(word(data, 2).unwrap_or_default()),
            _ => {}
        }
    }
}

fn sheet(part: &[u8]) -> SheetStyles {
    let mut found = SheetStyles::default();
    let mut row = 0;
    for (kind, data) in Records(part) {
        match kind {
            ROW => {
                row = long(data, 0).unwrap_or_default();
                if data.get(11).is_some_and(|flags| flags & 0x10 != 0) {
                    found.beside.hidden_rows.push(row.saturating_add(1).to_string());
                }
            }
            // A style is three bytes; no workbook has as many as need the third.
            CELL_RK | CELL_REAL | FORMULA_NUMBER => {
                if let (Some(column), Some(style)) = (long(data, 0), word(data, 4)) {
                    found.cells.insert((row, column), style);
                }
            }
            COLUMNS if word(data, 16).is_some_and(|flags| flags & 1 != 0) => {
                found
                    .beside
                    .hidden_columns
                    .extend(long(data, 0).zip(long(data, 4)).map(|(first, last)| columns(first, last)));
            }
            _ => {}
        }
    }
    found
}

/// The records of a part: kind and data, each with lengths of seven bits a byte (2.1.4).
struct Records<'a>(&'a [u8]);

impl<'a> Iterator for Records<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let kind = u16::try_from(self.number(2)?).ok()?;
        let length = self.number(4)?;
        let (data, rest) = self.0.split_at_checked(length as usize)?;
        self.0 = rest;
        Some((kind, data))
    }
}

impl Records<'_> {
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

fn word(data: &[u8], at: usize) -> Option<u16> {
    data.get(at..)?.first_chunk().map(|bytes| u16::from_le_bytes(*bytes))
}

fn long(data: &[u8], at: usize) -> Option<u32> {
    data.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

/// A wide string (2.5.169) and what follows it.
fn string(data: &[u8]) -> Option<(String, &[u8])> {
    let count = long(data, 0)? as usize;
    let (units, rest) = data.get(4..)?.split_at_checked(count.checked_mul(2)?)?;
    Some((utf16(units, count), rest))
}
