//! Workbooks of Excel 5 to 2003 (MS-XLS) by calamine. It follows the chains of a compound file without end and without
//! measure, so the house's own reader takes the streams out and hands them over in a file of their own.

use std::io::{self, Cursor, Write as _};

use calamine::{Data, DataRef, Reader as _, Xls};
use cfb::{CompoundFile, Version};
use domain::outcome::Exception;

use super::{
    biff, biff_rows, corrupt,
    sheet::{Rows, Sheets, as_displayed, metadata, reason, unreadable},
};
use crate::{
    compose::Composer,
    compound::{Compound, ROOT},
};

/// Names of the stream of records: from Excel 97 on, and of Excel 5 and 95.
const RECORDS: [&str; 2] = ["Workbook", "Book"];
/// How the records begin, where there is no compound file around them.
const BEGIN: [u8; 2] = [0x09, 0x08];
const PROPERTIES: [&str; 2] = ["\u{5}SummaryInformation", "\u{5}DocumentSummaryInformation"];

/// Reads the sheets; they come as whole rectangles, without the empty rows of those that would be too large.
pub(super) fn read(bytes: Vec<u8>, composer: &mut Composer) -> Result<(), Exception> {
    let Opened { name, mut records, properties } = opened(bytes)?;
    let mut beside = biff::Workbook::read(&records);
    let squeezed = biff_rows::squeeze(&mut records);
    let file = wrapped(name, &records, &properties).map_err(|_| corrupt("the file is not a readable workbook"))?;
    drop(records);
    let mut book = Xls::new(Cursor::new(file)).map_err(|error| reason(&error))?;
    metadata(book.workbook_properties().ok(), composer);
    let mut sheets = Sheets::default();
    for sheet in book.sheets_metadata().to_vec() {
        if !sheets.begin(&sheet, composer) {
            break;
        }
        let Ok(range) = book.worksheet_range(&sheet.name) else {
            unreadable(composer);
            continue;
        };
        let (first_row, first_column) = range.start().unwrap_or_default();
        let place = |at: usize, first: u32| u32::try_from(at).unwrap_or(u32::MAX).saturating_add(first);
        let rows_of_sheet = beside.start(&sheet.name).and_then(|start| squeezed.get(&start));
        let mut rows = Rows::default();
        for (row, column, value) in range.used_cells() {
            let (row, column) = (place(row, first_row), place(column, first_column));
            let row = rows_of_sheet.map_or(row, |rows| rows.get(row as usize).copied().map_or(row, u32::from));
            let text = as_displayed(&borrowed(value), beside.format(&sheet.name, row, column));
            rows.push(row, &text, composer);
        }
        sheets.end_with(&sheet.name, beside.take_beside(&sheet.name), composer);
    }
    sheets.finish(composer);
    Ok(())
}

/// The stream of records with its name, and the properties beside it.
struct Opened {
    name: &'static str,
    records: Vec<u8>,
    properties: Vec<(&'static str, Vec<u8>)>,
}

fn opened(bytes: Vec<u8>) -> Result<Opened, Exception> {
    if bytes.starts_with(&BEGIN) {
        return Ok(Opened { name: RECORDS[0], records: bytes, properties: Vec::new() });
    }
    let file = Compound::open(bytes).ok_or_else(|| corrupt("the file is not a readable workbook"))?;
    let (name, stream) = RECORDS
        .into_iter()
        .find_map(|name| Some((name, file.find_anywhere(name)?)))
        .ok_or_else(|| corrupt("the file holds no workbook"))?;
    if file.goes_round(stream) {
        return Err(corrupt("the file is damaged: its list of sectors leads in a circle"));
    }
    let records = file.read(stream);
    let beside = PROPERTIES.into_iter().filter_map(|name| {
        let stream = file.find(ROOT, name)?;
        (!file.goes_round(stream)).then(|| (name, file.read(stream)))
    });
    Ok(Opened { name, records, properties: beside.collect() })
}

/// A compound file with these streams.
fn wrapped(name: &str, records: &[u8], beside: &[(&str, Vec<u8>)]) -> io::Result<Vec<u8>> {
    let mut file = CompoundFile::create_with_version(Version::V3, Cursor::new(Vec::new()))?;
    let all = beside.iter().map(|(name, bytes)| (*name, bytes.as_slice()));
    for (name, bytes) in all.chain([(name, records)]) {
        file.create_stream(format!("/{name}"))?.write_all(bytes)?;
    }
    file.flush()?;
    Ok(file.into_inner().into_inner())
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
