//! What calamine leaves out of a workbook of Excel 5 to 2003 (MS-XLS): how each number is displayed, comments, and which rows
//! and columns are hidden.

use std::collections::{BTreeMap, HashMap};

use encoding_rs::{Encoding, WINDOWS_1252};

use super::{
    asides::{Aside, Kind},
    workbook::{Beside, letters},
};

/// The version that the first record names.
const EXCEL_5: u16 = 0x0500;

/// Records (2.3.2).
const FORMULA: u16 = 0x0006;
const NOTE: u16 = 0x001c;
const CONTINUE: u16 = 0x003c;
const OBJECT: u16 = 0x005d;
const COLUMNS: u16 = 0x007d;
const SHEET: u16 = 0x0085;
const MANY_RK: u16 = 0x00bd;
const STYLE: u16 = 0x00e0;
const TEXT_OBJECT: u16 = 0x01b6;
const CODE_PAGE: u16 = 0x0042;
const NUMBER: u16 = 0x0203;
const ROW: u16 = 0x0208;
const RK: u16 = 0x027e;
const FORMAT: u16 = 0x041e;
const BEGIN: u16 = 0x0809;
const END: u16 = 0x000a;

/// What stands beside the values of all sheets.
#[derive(Default)]
pub(super) struct Workbook {
    /// Format codes by their numbers, and the number each style refers to.
    pub(super) codes: HashMap<u16, String>,
    pub(super) styles: Vec<u16>,
    pub(super) sheets: HashMap<String, SheetStyles>,
    /// How texts of Excel 5 and 95 are encoded; later ones say it each by itself.
    encoding: Option<&'static Encoding>,
}

/// A sheet's styles by row and column, and what stands beside its cells.
#[derive(Default)]
pub(super) struct SheetStyles {
    pub(super) cells: HashMap<(u32, u32), u16>,
    /// Where the sheet begins in the stream.
    pub(super) start: usize,
    pub(super) beside: Beside,
}

impl Workbook {
    /// Reads what can be read of the stream of records: a workbook that is damaged, or older than Excel 97, has less.
    pub(super) fn read(stream: &[u8]) -> Self {
        let mut book = Self::default();
        book.globals(stream);
        book
    }

    /// The number and the code of the format in which a cell shows a number.
    pub(super) fn format(&self, sheet: &str, row: u32, column: u32) -> Option<(u32, &str)> {
        let style = *self.sheets.get(sheet)?.cells.get(&(row, column))?;
        let number = *self.styles.get(usize::from(style))?;
        Some((number.into(), self.codes.get(&number).map_or("", String::as_str)))
    }

    /// Where a sheet begins in the stream.
    pub(super) fn start(&self, sheet: &str) -> Option<usize> {
        Some(self.sheets.get(sheet)?.start)
    }

    pub(super) fn take_beside(&mut self, sheet: &str) -> Beside {
        self.sheets.get_mut(sheet).map(|sheet| std::mem::take(&mut sheet.beside)).unwrap_or_default()
    }

    fn globals(&mut self, stream: &[u8]) {
        let mut sheets = Vec::new();
        for (kind, data) in Records(stream) {
            match kind {
                BEGIN if word(data, 0) == Some(EXCEL_5) => self.encoding = Some(WINDOWS_1252),
                CODE_PAGE if self.encoding.is_some() => {
                    self.encoding = word(data, 0).and_then(codepage::to_encoding).or(self.encoding);
                }
                FORMAT => {
                    let code = data.get(2..).and_then(|data| match self.encoding {
                        Some(encoding) => narrow(data, encoding),
                        None => string(data),
                    });
                    self.codes.extend(word(data, 0).zip(code));
                }
                STYLE => self.styles.push(word(data, 2).unwrap_or_default()),
                SHEET => {
                    let start = data.first_chunk().map(|start| u32::from_le_bytes(*start) as usize);
                    // A short string: its length is one byte.
                    let name = data.get(6..).and_then(|data| match self.encoding {
                        Some(encoding) => narrow(data, encoding),
                        None => short_string(data),
                    });
                    sheets.extend(start.zip(name));
                }
                END => break,
                _ => {}
            }
        }
        for (start, name) in sheets {
            let mut sheet = SheetStyles { start, ..SheetStyles::default() };
            sheet.read(stream.get(start..).unwrap_or_default(), self.encoding);
            self.sheets.insert(name, sheet);
        }
    }
}

impl SheetStyles {
    fn read(&mut self, stream: &[u8], encoding: Option<&'static Encoding>) {
        let mut texts: BTreeMap<u16, String> = BTreeMap::new();
        let (mut object, mut awaited) = (None, 0_u16);
        let mut depth = 0_u32;
        for (kind, data) in Records(stream) {
            let two = |at| word(data, at);
            let mut cell = |column: u16, style: u16| {
                if let Some(row) = two(0) {
                    self.cells.insert((row.into(), column.into()), style);
                }
            };
            match kind {
                // Charts lie within sheets.
                BEGIN => depth = depth.saturating_add(1),
                END if depth <= 1 => break,
                END => depth = depth.saturating_sub(1),
                _ if depth > 1 => {}
                FORMULA | NUMBER | RK => {
                    if let (Some(column), Some(style)) = (two(2), two(4)) {
                        cell(column, style);
                    }
                }
                MANY_RK => {
                    let first = two(2).unwrap_or_default();
                    let many = data.get(4..data.len().saturating_sub(2)).unwrap_or_default();
                    for (one, column) in many.chunks_exact(6).zip(first..) {
                        cell(column, word(one, 0).unwrap_or_default());
                    }
                }
                ROW if two(12).is_some_and(|flags| flags & 0x20 != 0) => {
                    self.beside.hidden_rows.extend(two(0).map(|row| u32::from(row).saturating_add(1).to_string()));
                }
                COLUMNS if two(8).is_some_and(|flags| flags & 1 != 0) => {
                    self.beside
                        .hidden_columns
                        .extend(two(0).zip(two(2)).map(|(first, last)| columns(first.into(), last.into())));
                }
                OBJECT => object = two(6),
                TEXT_OBJECT => awaited = two(10).unwrap_or_default(),
                CONTINUE if awaited > 0 => {
                    let text = characters(data, awaited.into());
                    texts.extend(object.take().zip(text));
                    awaited = 0;
                }
                NOTE => match encoding {
                    Some(encoding) => self.old_note(data, encoding),
                    None => self.note(data, &mut texts),
                },
                _ => {}
            }
        }
        // What no comment refers to stands in boxes of its own.
        self.beside.drawn.extend(texts.into_values());
    }

    fn note(&mut self, data: &[u8], texts: &mut BTreeMap<u16, String>) {
        let text = word(data, 6).and_then(|object| texts.remove(&object));
        let Some(text) = text.filter(|text| !text.trim().is_empty()) else { return };
        let by = data.get(8..).and_then(string);
        self.beside.asides.push(Aside { kind: Kind::Comment, by, at: None, text });
    }
}

impl SheetStyles {
    /// A comment up to Excel 95: place, length and text; what is longer than one record goes on in others without a place.
    pub(super) fn old_note(&mut self, data: &[u8], encoding: &'static Encoding) {
        let text = data.get(6..).map(|text| encoding.decode_without_bom_handling(text).0.into_owned());
        let Some(text) = text.filter(|text| !text.trim().is_empty()) else { return };
        match self.beside.asides.last_mut().filter(|_| word(data, 0) == Some(u16::MAX)) {
            Some(last) => last.text.push_str(&text),
            None => self.beside.asides.push(Aside { kind: Kind::Comment, by: None, at: None, text }),
        }
    }
}

/// The letters of a span of columns, counted from 0.
pub(super) fn columns(first: u32, last: u32) -> String {
    let (first, last) = (letters(first.saturating_add(1)), letters(last.saturating_add(1)));
    if first == last { first } else { format!("{first}-{last}") }
}

/// The records of a stream: kind and data.
pub(super) struct Records<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Records<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (kind, length) = (word(self.0, 0)?, usize::from(word(self.0, 2)?));
        let (data, rest) = self.0.get(4..)?.split_at_checked(length)?;
        self.0 = rest;
        Some((kind, data))
    }
}

pub(super) fn word(data: &[u8], at: usize) -> Option<u16> {
    data.get(at..)?.first_chunk().map(|pair| u16::from_le_bytes(*pair))
}

/// A string of one byte of length, as Excel had them until 95.
pub(super) fn narrow(data: &[u8], encoding: &'static Encoding) -> Option<String> {
    let (length, rest) = data.split_first()?;
    let text = rest.get(..usize::from(*length)).unwrap_or(rest);
    Some(encoding.decode_without_bom_handling(text).0.into_owned())
}

/// A string of two bytes of length (2.5.294).
fn string(data: &[u8]) -> Option<String> {
    characters(data.get(2..)?, word(data, 0)?.into())
}

/// A string of one byte of length (2.5.240).
fn short_string(data: &[u8]) -> Option<String> {
    characters(data.get(1..)?, (*data.first()?).into())
}

/// `count` characters behind a byte that says whether each has one byte or two.
fn characters(data: &[u8], count: usize) -> Option<String> {
    let (flags, rest) = data.split_first()?;
    if flags & 1 == 0 {
        return Some(rest.iter().take(count).map(|byte| char::from(*byte)).collect());
    }
    Some(utf16(rest, count))
}

/// `count` characters of two bytes.
pub(super) fn utf16(bytes: &[u8], count: usize) -> String {
    let (pairs, _) = bytes.as_chunks::<2>();
    let units = pairs.iter().take(count).map(|pair| u16::from_le_bytes(*pair));
    char::decode_utf16(units).map(|scalar| scalar.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}
