//! Workbooks (Excel new, binary and old, `OpenDocument`) by calamine: a sheet is a page with the sheet's name as its label.
//! Only filled cells are visited, so a sheet with two cells a million rows apart costs two cells.

use std::{
    io::Cursor,
    panic::{self, AssertUnwindSafe},
};

use calamine::{Data, DataRef, ExcelDateTime, Ods, Reader, WorkbookProperties, Xls, Xlsb, Xlsx};
use domain::{
    clock::Timestamp,
    outcome::{Category, Exception},
};

use super::corrupt;
use crate::{compose::Composer, format::Format};

type Bytes = Cursor<Vec<u8>>;

pub(super) fn read(bytes: Vec<u8>, format: Format, composer: &mut Composer) -> Result<(), Exception> {
    let input = Cursor::new(bytes);
    match format {
        Format::Xlsx => read_xlsx(input, composer),
        Format::Xlsb => {
            // calamine panics on some binary workbooks; what was read before that is kept.
            let read = panic::catch_unwind(AssertUnwindSafe(|| read_xlsb(input, composer)));
            read.unwrap_or_else(|_| {
                composer.warn(Category::Crashed, None, "the reader failed within the workbook");
                Ok(())
            })
        }
        Format::Ods => {
            read_dense(Ods::new(input).map_err(|error| reason(&error))?, composer);
            Ok(())
        }
        _ => {
            let mut book = Xls::new(input).map_err(|error| reason(&error))?;
            metadata(book.workbook_properties().ok(), composer);
            read_dense(book, composer);
            Ok(())
        }
    }
}

fn reason(error: &impl ToString) -> Exception {
    let said = error.to_string().to_lowercase();
    if said.contains("password") || said.contains("encrypt") {
        return Exception::new(Category::Encrypted, "the workbook is protected by a password");
    }
    corrupt("the file is not a readable workbook")
}

fn read_xlsx(input: Bytes, composer: &mut Composer) -> Result<(), Exception> {
    let mut book: Xlsx<Bytes> = Xlsx::new(input).map_err(|error| reason(&error))?;
    metadata(book.workbook_properties().ok(), composer);
    for name in book.sheet_names() {
        if !begin(&name, composer) {
            break;
        }
        let Ok(mut cells) = book.worksheet_cells_reader(&name) else {
            unreadable(composer);
            continue;
        };
        let mut rows = Rows::default();
        loop {
            match cells.next_cell() {
                Ok(Some(cell)) => rows.push(cell.get_position().0, &shown(cell.get_value()), composer),
                Ok(None) => break,
                Err(_) => {
                    unreadable(composer);
                    break;
                }
            }
        }
    }
    Ok(())
}

fn read_xlsb(input: Bytes, composer: &mut Composer) -> Result<(), Exception> {
    let mut book: Xlsb<Bytes> = Xlsb::new(input).map_err(|error| reason(&error))?;
    metadata(book.workbook_properties().ok(), composer);
    for name in book.sheet_names() {
        if !begin(&name, composer) {
            break;
        }
        let Ok(mut cells) = book.worksheet_cells_reader(&name) else {
            unreadable(composer);
            continue;
        };
        let mut rows = Rows::default();
        loop {
            match cells.next_cell() {
                Ok(Some(cell)) => rows.push(cell.get_position().0, &shown(cell.get_value()), composer),
                Ok(None) => break,
                Err(_) => {
                    unreadable(composer);
                    break;
                }
            }
        }
    }
    Ok(())
}

/// Formats whose sheets come as whole rectangles; the memory limit bounds them.
fn read_dense<R: Reader<Bytes>>(mut book: R, composer: &mut Composer) {
    for name in book.sheet_names() {
        if !begin(&name, composer) {
            break;
        }
        let Ok(range) = book.worksheet_range(&name) else {
            unreadable(composer);
            continue;
        };
        let mut rows = Rows::default();
        for (row, _, value) in range.used_cells() {
            rows.push(u32::try_from(row).unwrap_or(u32::MAX), &shown(&borrowed(value)), composer);
        }
    }
}

fn begin(name: &str, composer: &mut Composer) -> bool {
    let begun = !composer.is_full() && composer.begin_page(None, Some(name.to_owned()));
    if begun {
        composer.push_heading(1, name);
    }
    begun
}

fn unreadable(composer: &mut Composer) {
    let page = composer.page_number();
    composer.warn(Category::Partial, Some(page), "the sheet could not be read to its end");
}

/// Parts cells by tabs and rows by line ends.
#[derive(Default)]
struct Rows {
    row: Option<u32>,
}

impl Rows {
    fn push(&mut self, row: u32, text: &str, composer: &mut Composer) {
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

fn borrowed(value: &Data) -> DataRef<'_> {
    match value {
        Data::Int(value) => DataRef::Int(*value),
        Data::Float(value) => DataRef::Float(*value),
        Data::String(value) => DataRef::SharedString(value),
        Data::Bool(value) => DataRef::Bool(*value),
        Data::DateTime(value) => DataRef::DateTime(*value),
        Data::DateTimeIso(value) => DataRef::DateTimeIso(value.clone()),
        Data::DurationIso(value) => DataRef::DurationIso(value.clone()),
        Data::Error(value) => DataRef::Error(value.clone()),
        Data::Empty => DataRef::Empty,
    }
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

fn metadata(properties: Option<WorkbookProperties>, composer: &mut Composer) {
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
