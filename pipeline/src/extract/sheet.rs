//! Workbooks of Excel, the newer by calamine: a sheet is a page with the sheet's name as its label.
//! Only filled cells are visited, so a sheet with two cells a million rows apart costs two cells.

use std::{
    collections::HashMap,
    io::Cursor,
    panic::{self, AssertUnwindSafe},
};

use calamine::{
    DataRef, ExcelDateTime, NumberFormat, Reader, Sheet, SheetVisible, WorkbookProperties, Xlsx, XlsxError,
};
use domain::{
    clock::Timestamp,
    outcome::{Category, Exception},
};

use office_oxide::xlsx::numfmt::apply_format;

use super::{
    asides::Asides,
    corrupt, early,
    workbook::{self, Beside},
    xls, xlsb,
};
use crate::{compose::Composer, format::Format};

type Bytes = Cursor<Vec<u8>>;

pub(super) fn read(bytes: Vec<u8>, format: Format, composer: &mut Composer) -> Result<(), Exception> {
    if format == Format::Xls && early::begins(&bytes) {
        return early::read(&bytes, composer);
    }
    // calamine panics on some damaged workbooks; what was read before that is kept.
    let read = panic::catch_unwind(AssertUnwindSafe(|| read_book(bytes, format, composer)));
    match read {
        Ok(read) => read,
        Err(_) if composer.is_blank() => Err(corrupt("the workbook is damaged")),
        Err(_) => {
            composer.warn(Category::Partial, None, "the workbook is damaged; what follows the damage is left out");
            Ok(())
        }
    }
}

fn read_book(bytes: Vec<u8>, format: Format, composer: &mut Composer) -> Result<(), Exception> {
    match format {
        Format::Xlsx => {
            let beside = workbook::gather(bytes.clone());
            let mut book: Xlsx<Bytes> = Xlsx::new(Cursor::new(bytes)).map_err(|error| reason(&error))?;
            metadata(book.workbook_properties().ok(), composer);
            let mut sheets = Sheets { beside, ..Sheets::default() };
            for sheet in book.sheets_metadata().to_vec() {
                if !sheets.begin(&sheet, composer) {
                    break;
                }
                let Ok(mut cells) = book.worksheet_cells_reader(&sheet.name) else {
                    unreadable(composer);
                    continue;
                };
                let formats: Vec<Option<NumberFormat>> =
                    cells.styles().iter().map(|style| style.number_format.clone()).collect();
                write_rows(composer, || {
                    let found = cells.next_cell_with_style_id()?;
                    Ok::<_, XlsxError>(found.map(|(cell, style)| {
                        let format = formats.get(style).and_then(Option::as_ref);
                        (cell.get_position().0, displayed(cell.get_value(), format))
                    }))
                });
                sheets.end(&sheet.name, composer);
            }
            sheets.finish(composer);
        }
        Format::Xlsb => xlsb::read(bytes, composer)?,
        _ => xls::read(bytes, composer)?,
    }
    Ok(())
}

pub(super) fn reason(error: &impl ToString) -> Exception {
    let said = error.to_string().to_lowercase();
    if said.contains("password") || said.contains("encrypt") {
        return Exception::new(Category::Encrypted, "the workbook is protected by a password");
    }
    corrupt("the file is not a readable workbook")
}

/// Writes cells as they come, a row a line, until there are no more or one cannot be read.
fn write_rows<E>(composer: &mut Composer, mut next: impl FnMut() -> Result<Option<(u32, String)>, E>) {
    let mut rows = Rows::default();
    while !composer.is_full() {
        match next() {
            Ok(Some((row, text))) => rows.push(row, &text, composer),
            Ok(None) => return,
            Err(_) => return unreadable(composer),
        }
    }
}

/// The sheets as they are written: each a page, with what stands beside its cells at the end.
#[derive(Default)]
pub(super) struct Sheets {
    beside: HashMap<String, Beside>,
    asides: Asides,
    hidden: Vec<String>,
    hidden_rows: Vec<String>,
    hidden_columns: Vec<String>,
}

impl Sheets {
    pub(super) fn begin(&mut self, sheet: &Sheet, composer: &mut Composer) -> bool {
        self.begin_named(&sheet.name, sheet.visible != SheetVisible::Visible, composer)
    }

    /// Begins a sheet; false when there is no room for another.
    pub(super) fn begin_named(&mut self, name: &str, hidden: bool, composer: &mut Composer) -> bool {
        let begun = !composer.is_full() && composer.begin_page(None, Some(name.to_owned()));
        if begun {
            composer.push_heading(1, name);
            if hidden {
                self.hidden.push(name.to_owned());
            }
        }
        begun
    }

    fn end(&mut self, name: &str, composer: &mut Composer) {
        if let Some(beside) = self.beside.remove(name) {
            self.end_with(name, beside, composer);
        }
    }

    /// Ends a sheet with what stands beside its cells.
    pub(super) fn end_with(&mut self, name: &str, beside: Beside, composer: &mut Composer) {
        for text in beside.drawn.iter().map(|text| text.trim()).filter(|text| !text.is_empty()) {
            composer.end_line();
            composer.push(text);
            composer.end_line();
        }
        for aside in beside.asides {
            self.asides.push(aside);
        }
        self.asides.write(composer);
        let named = |places: Vec<String>| (!places.is_empty()).then(|| format!("{name}: {}", places.join(", ")));
        self.hidden_rows.extend(named(beside.hidden_rows));
        self.hidden_columns.extend(named(beside.hidden_columns));
    }

    /// Says in the metadata what the workbook hides.
    pub(super) fn finish(self, composer: &mut Composer) {
        let hidden = [
            ("hidden_sheets", self.hidden),
            ("hidden_rows", self.hidden_rows),
            ("hidden_columns", self.hidden_columns),
        ];
        for (name, places) in hidden.into_iter().filter(|(_, places)| !places.is_empty()) {
            composer.metadata.extra.insert(name.to_owned(), places.join("; "));
        }
    }
}

pub(super) fn unreadable(composer: &mut Composer) {
    let page = composer.page_number();
    composer.warn(Category::Partial, Some(page), "the sheet could not be read to its end");
}

/// Parts cells by tabs and rows by line ends.
#[derive(Default)]
pub(super) struct Rows {
    row: Option<u32>,
}

impl Rows {
    pub(super) fn push(&mut self, row: u32, text: &str, composer: &mut Composer) {
        if text.is_empty() || composer.is_full() {
            return;
        }
        if self.row == Some(row) {
            composer.push("\t");
        } else {
            composer.end_line();
        }
        self.row = Some(row);
        composer.push(text.trim_end());
    }
}

/// The value as the sheet shows it: a number in the format of its cell. Dates are written year first, whatever the format,
/// because 1/2/2024 is two days.
fn displayed(value: &DataRef<'_>, format: Option<&NumberFormat>) -> String {
    as_displayed(value, format.map(|format| (format.format_id.unwrap_or(u32::MAX), format.format_code.as_str())))
}

/// The same by the number of a format that every Excel has, or by the code of another.
pub(super) fn as_displayed(value: &DataRef<'_>, format: Option<(u32, &str)>) -> String {
    let Some((format, code)) = format else { return shown(value) };
    let number = match value {
        #[allow(clippy::cast_precision_loss, reason = "Excel has no other numbers")]
        DataRef::Int(number) => *number as f64,
        DataRef::Float(number) => *number,
        _ => return shown(value),
    };
    let text = apply_format(number, format, Some(code).filter(|code| !code.is_empty()));
    // A format such as `;;;` shows nothing, but the number is there.
    if text.trim().is_empty() { shown(value) } else { text.trim().to_owned() }
}

/// The value as a person reads it: dates as dates, not as days since 1900.
fn shown(value: &DataRef<'_>) -> String {
    match value {
        DataRef::DateTime(moment) => shown_time(moment),
        DataRef::Bool(true) => "TRUE".to_owned(),
        DataRef::Bool(false) => "FALSE".to_owned(),
        DataRef::Int(number) => number.to_string(),
        DataRef::Float(number) => number.to_string(),
        DataRef::String(text) | DataRef::DateTimeIso(text) | DataRef::DurationIso(text) => text.clone(),
        DataRef::SharedString(text) => (*text).to_owned(),
        DataRef::Error(error) => error.to_string(),
        DataRef::Empty => String::new(),
    }
}

fn shown_time(moment: &ExcelDateTime) -> String {
    if !moment.is_datetime() {
        return moment.as_f64().to_string();
    }
    let (year, month, day, hour, minute, second, _) = moment.to_ymd_hms_milli();
    let date = format!("{year:04}-{month:02}-{day:02}");
    let time = format!("{hour:02}:{minute:02}:{second:02}");
    if moment.as_f64() < 1.0 {
        time
    } else if moment.as_f64().fract() == 0.0 {
        date
    } else {
        format!("{date} {time}")
    }
}

/// The name of an error by its number.
pub(super) fn error_name(number: u8) -> &'static str {
    match number {
        0x00 => "#NULL!",
        0x07 => "#DIV/0!",
        0x0f => "#VALUE!",
        0x17 => "#REF!",
        0x1d => "#NAME?",
        0x24 => "#NUM!",
        0x2b => "#GETTING_DATA",
        _ => "#N/A",
    }
}

/// A number in four bytes: the upper thirty bits of one, or an integer; perhaps a hundredth.
pub(super) fn squeezed(bits: u32) -> f64 {
    let number = if bits & 2 == 0 {
        f64::from_bits(u64::from(bits & 0xffff_fffc) << 32)
    } else {
        f64::from(i32::from_le_bytes(bits.to_le_bytes()) >> 2)
    };
    if bits & 1 == 0 { number } else { number / 100.0 }
}

/// True when a format shows a day or a time: it has one of their letters outside of quotes and brackets. In brackets stand
/// hours beyond a day, which are a length of time and no moment.
pub(super) fn is_date(code: &str) -> bool {
    let code = code.to_ascii_lowercase();
    if ["[h]", "[hh]", "[m]", "[mm]", "[s]", "[ss]"].iter().any(|unit| code.contains(unit)) {
        return false;
    }
    let (mut quoted, mut bracketed, mut escaped) = (false, false, false);
    let plain = code.chars().filter(|scalar| {
        match scalar {
            _ if std::mem::take(&mut escaped) => return false,
            '\\' | '_' | '*' => escaped = true,
            '"' => quoted = !quoted,
            '[' => bracketed = true,
            ']' => bracketed = false,
            _ => return !quoted && !bracketed,
        }
        false
    });
    let plain: String = plain.collect();
    !matches!(plain.as_str(), "general" | "standard") && plain.contains(['d', 'm', 'y', 'h', 's'])
}

pub(super) fn metadata(properties: Option<WorkbookProperties>, composer: &mut Composer) {
    let Some(properties) = properties else { return };
    let metadata = &mut composer.metadata;
    let text = |value: Option<String>| value.map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
    metadata.title = text(properties.title);
    metadata.author = text(properties.creator);
    metadata.subject = text(properties.subject);
    metadata.created_at = properties.created.as_deref().and_then(Timestamp::parse);
    metadata.modified_at = properties.modified.as_deref().and_then(Timestamp::parse);
    if let Some(editor) = text(properties.last_modified_by) {
        metadata.extra.insert("last_modified_by".to_owned(), editor);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_and_numbers() {
        for code in ["m/d/yy", "h:mm AM/PM", "d-mmm", "[Red]yyyy"] {
            assert!(is_date(code), "{code}");
        }
        for code in ["General", "0.00", "\"days\" 0", "[Red]#,##0", "\\d0", "[h]:mm:ss", ""] {
            assert!(!is_date(code), "{code}");
        }
        let shown = [0x4024_0000, 0x0000_04d2 << 2 | 2, 0xffff_ffff].map(|bits| squeezed(bits).to_string());
        assert_eq!(shown, ["10", "1234", "-0.01"]);
    }
}
