//! Workbooks of Excel 2 to 4: one stream of records without a compound file around it, mostly one sheet (the layout is that of
//! "OpenOffice.org's Documentation of the Microsoft Excel File Format").

use calamine::{DataRef, ExcelDateTime, ExcelDateTimeType};
use domain::outcome::{Category, Exception};
use encoding_rs::{Encoding, WINDOWS_1252};

use super::{
    biff::{Records, SheetStyles, columns, narrow, word},
    corrupt,
    sheet::{Rows, Sheets, as_displayed, error_name, is_date, squeezed},
};
use crate::compose::Composer;

/// Numbers of records without their version, which stands in the higher byte.
const INTEGER: u16 = 0x02;
const NUMBER: u16 = 0x03;
const LABEL: u16 = 0x04;
const TRUTH: u16 = 0x05;
const FORMULA: u16 = 0x06;
const TEXT: u16 = 0x07;
const ROW: u16 = 0x08;
const BEGIN: u16 = 0x09;
const END: u16 = 0x0a;
const NOTE: u16 = 0x1c;
const FORMAT: u16 = 0x1e;
const NEW_FORMAT: u16 = 0x041e;
const DATES: u16 = 0x22;
const LOCKED: u16 = 0x2f;
const CODE_PAGE: u16 = 0x42;
const STYLE: u16 = 0x43;
const RK: u16 = 0x7e;
const COLUMNS: u16 = 0x7d;
const SHEET_NAME: u16 = 0x8f;

/// True for such a stream.
pub(super) fn begins(bytes: &[u8]) -> bool {
    matches!(bytes, [0x09, 0x00 | 0x02 | 0x04, _, 0, ..])
}

pub(super) fn read(bytes: &[u8], composer: &mut Composer) -> Result<(), Exception> {
    let mut reading = Reading {
        second: bytes.get(1) == Some(&0),
        encoding: WINDOWS_1252,
        since_1904: false,
        codes: Vec::new(),
        styles: Vec::new(),
        sheet: None,
        rows: Rows::default(),
        styled: SheetStyles::default(),
        sheets: Sheets::default(),
        awaited: None,
    };
    let mut records = Records(bytes);
    let mut is_whole = false;
    while let Some((kind, data)) = records.next().filter(|_| !composer.is_full()) {
        is_whole = kind == END;
        reading.record(kind, data, composer)?;
    }
    reading.end(composer);
    if !is_whole && composer.is_blank() {
        return Err(corrupt("the file is not a readable workbook"));
    }
    if !is_whole && !composer.is_full() {
        composer.warn(Category::Partial, None, "the workbook is damaged; what follows the damage is left out");
    }
    reading.sheets.finish(composer);
    Ok(())
}

struct Reading {
    /// True for Excel 2, whose cells describe themselves in three bytes.
    second: bool,
    encoding: &'static Encoding,
    since_1904: bool,
    codes: Vec<String>,
    /// The number of the format of each style.
    styles: Vec<u8>,
    /// The name of the sheet we are in.
    sheet: Option<String>,
    rows: Rows,
    styled: SheetStyles,
    sheets: Sheets,
    /// The row of a formula whose result is a text that follows.
    awaited: Option<u32>,
}

impl Reading {
    fn record(&mut self, kind: u16, data: &[u8], composer: &mut Composer) -> Result<(), Exception> {
        let short = kind & 0xff;
        match kind {
            LOCKED => {
                return Err(Exception::new(Category::Encrypted, "the workbook is protected by a password"));
            }
            CODE_PAGE => {
                self.encoding = word(data, 0).and_then(codepage::to_encoding).unwrap_or(self.encoding);
            }
            DATES => self.since_1904 = word(data, 0) == Some(1),
            FORMAT => self.codes.extend(narrow(data, self.encoding)),
            NEW_FORMAT => self.codes.extend(data.get(2..).and_then(|data| narrow(data, self.encoding))),
            NOTE => self.styled.old_note(data, self.encoding),
            SHEET_NAME => {
                self.end(composer);
                let name = data.get(4..).and_then(|data| narrow(data, self.encoding)).unwrap_or_default();
                self.sheets.begin_named(&name, false, composer);
                self.sheet = Some(name);
            }
            COLUMNS if word(data, 8).is_some_and(|flags| flags & 1 != 0) => {
                let span = word(data, 0).zip(word(data, 2));
                let span = span.map(|(first, last)| columns(first.into(), last.into()));
                self.styled.beside.hidden_columns.extend(span);
            }
            _ if kind >> 8 > 4 => {}
            _ if short == STYLE => {
                let number = if self.second { data.get(2).map(|one| one & 0x3f) } else { data.get(1).copied() };
                self.styles.push(number.unwrap_or_default());
            }
            0x0208 if word(data, 12).is_some_and(|flags| flags & 0x20 != 0) => {
                let row = word(data, 0).map(|row| u32::from(row).saturating_add(1).to_string());
                self.styled.beside.hidden_rows.extend(row);
            }
            _ if matches!(short, ROW | BEGIN | END) => {}
            _ if short == TEXT => {
                if let (Some(row), Some(text)) = (self.awaited.take(), self.text(data)) {
                    self.rows.push(row, &text, composer);
                }
            }
            _ if matches!(short, INTEGER | NUMBER | LABEL | TRUTH | FORMULA) || kind == 0x0200 | RK => {
                self.cell(short, data, composer);
            }
            _ => {}
        }
        Ok(())
    }

    fn cell(&mut self, kind: u16, data: &[u8], composer: &mut Composer) {
        let (Some(row), Some(value)) = (word(data, 0), data.get(if self.second { 7 } else { 6 }..)) else { return };
        let row = u32::from(row);
        let style = if self.second { data.get(4).map(|one| u16::from(one & 0x3f)) } else { word(data, 4) };
        let format = if self.second {
            data.get(5).map(|one| one & 0x3f)
        } else {
            style.and_then(|style| self.styles.get(usize::from(style))).copied()
        };
        let real = |bytes: &[u8]| bytes.first_chunk().map(|bytes| f64::from_le_bytes(*bytes));
        let text = match kind {
            INTEGER => word(value, 0).map(|number| self.number(number.into(), format)),
            NUMBER => real(value).map(|number| self.number(number, format)),
            RK => value.first_chunk().map(|bytes| self.number(squeezed(u32::from_le_bytes(*bytes)), format)),
            LABEL => self.text(value),
            TRUTH => truth(value),
            // The result; without the two bytes at its end it is no number.
            FORMULA if value.get(6..8) == Some(&[0xff, 0xff]) => match value.first() {
                Some(0) => {
                    self.awaited = Some(row);
                    None
                }
                Some(1) => truth(&[value.get(2).copied().unwrap_or_default(), 0]),
                Some(2) => truth(&[value.get(2).copied().unwrap_or_default(), 1]),
                _ => None,
            },
            FORMULA => real(value).map(|number| self.number(number, format)),
            _ => None,
        };
        if let Some(text) = text {
            self.rows.push(row, &text, composer);
        }
    }

    /// A text of one byte of length in Excel 2, of two later.
    fn text(&self, data: &[u8]) -> Option<String> {
        if self.second {
            return narrow(data, self.encoding);
        }
        let length = usize::from(word(data, 0)?);
        let text = data.get(2..)?;
        let text = text.get(..length).unwrap_or(text);
        Some(self.encoding.decode_without_bom_handling(text).0.into_owned())
    }

    fn number(&self, number: f64, format: Option<u8>) -> String {
        let code = format.and_then(|format| self.codes.get(usize::from(format))).map_or("", String::as_str);
        let value = if is_date(code) {
            DataRef::DateTime(ExcelDateTime::new(number, ExcelDateTimeType::DateTime, self.since_1904))
        } else {
            DataRef::Float(number)
        };
        as_displayed(&value, (!code.is_empty()).then_some((u32::MAX, code)))
    }

    fn end(&mut self, composer: &mut Composer) {
        let beside = std::mem::take(&mut self.styled.beside);
        let name = self.sheet.take().unwrap_or_else(|| "Sheet1".to_owned());
        self.sheets.end_with(&name, beside, composer);
        self.rows = Rows::default();
    }
}

/// True or false, or an error's name.
fn truth(value: &[u8]) -> Option<String> {
    let (value, is_error) = (*value.first()?, *value.get(1)? != 0);
    let name = match (is_error, value) {
        (false, 0) => "FALSE",
        (false, _) => "TRUE",
        (true, number) => error_name(number),
    };
    Some(name.to_owned())
}
