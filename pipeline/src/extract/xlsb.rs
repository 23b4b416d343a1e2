//! Workbooks of Excel in binary parts (MS-XLSB): cells as displayed, comments, drawings, and which rows and columns are hidden.

use std::collections::HashMap;

use calamine::{DataRef, ExcelDateTime, ExcelDateTimeType};
use domain::{clock::Timestamp, outcome::Exception};

use super::{
    asides::{Aside, Kind},
    biff::columns,
    biff12::{Records, Styles, long, rich_string, string, word},
    corrupt,
    markup::{Markup, Token},
    package::Package,
    sheet::{Rows, Sheets, as_displayed, error_name, squeezed, unreadable},
    workbook::{Beside, drawn, relations},
};
use crate::compose::Composer;

/// Records (2.1.4).
const ROW: u16 = 0;
const RK: u16 = 2;
const ERROR: u16 = 3;
const TRUTH: u16 = 4;
const REAL: u16 = 5;
const TEXT: u16 = 6;
const SHARED: u16 = 7;
const FORMULA_TEXT: u16 = 8;
const FORMULA_REAL: u16 = 9;
const FORMULA_TRUTH: u16 = 10;
const FORMULA_ERROR: u16 = 11;
const STRING: u16 = 19;
const COLUMNS: u16 = 60;
const RICH_TEXT: u16 = 62;
const PROPERTIES: u16 = 153;
const SHEET: u16 = 156;
const AUTHOR: u16 = 632;
const COMMENT: u16 = 635;
const COMMENT_TEXT: u16 = 637;

/// What the sheets of a workbook share.
struct Book {
    styles: Styles,
    strings: Vec<String>,
    since_1904: bool,
}

pub(super) fn read(bytes: Vec<u8>, composer: &mut Composer) -> Result<(), Exception> {
    let mut package = Package::open(bytes)?;
    let part = package.part("xl/workbook.bin").ok_or_else(|| corrupt("the file is not a readable workbook"))?;
    metadata(&package.text("docProps/core.xml").unwrap_or_default(), composer);
    let strings = package.part("xl/sharedStrings.bin").unwrap_or_default();
    let strings = Records(&strings).filter(|(kind, _)| *kind == STRING);
    let mut book = Book {
        strings: strings.map(|(_, data)| rich_string(data).unwrap_or_default()).collect(),
        styles: Styles::read(&package.part("xl/styles.bin").unwrap_or_default()),
        since_1904: false,
    };
    let parts = relations(&mut package, "xl", "workbook.bin");
    let mut sheets = Sheets::default();
    let mut any = false;
    for (kind, data) in Records(&part) {
        if kind == PROPERTIES {
            book.since_1904 = data.first().is_some_and(|flags| flags & 1 != 0);
        }
        if kind != SHEET {
            continue;
        }
        // The programs before the first release wrote a word more.
        let strings = [8, 12].into_iter().filter_map(|at| data.get(at..).and_then(string));
        let Some((relation, rest)) = strings.clone().find(|(id, _)| parts.contains_key(id)).or(strings.clone().next())
        else {
            continue;
        };
        let name = string(rest).map(|(name, _)| name).unwrap_or_default();
        any = true;
        if !sheets.begin_named(&name, long(data, 0) != Some(0), composer) {
            break;
        }
        let Some((path, cells)) = parts.get(&relation).and_then(|(_, path)| Some((path.as_str(), package.part(path)?)))
        else {
            unreadable(composer);
            continue;
        };
        let mut beside = book.sheet(&cells, composer);
        attached(&mut package, path, &mut beside);
        sheets.end_with(&name, beside, composer);
    }
    if !any {
        return Err(corrupt("the file is not a readable workbook"));
    }
    sheets.finish(composer);
    Ok(())
}

impl Book {
    /// Writes a sheet's cells; gives what stands beside them.
    fn sheet(&self, part: &[u8], composer: &mut Composer) -> Beside {
        let mut beside = Beside::default();
        let mut rows = Rows::default();
        let mut row = 0;
        let mut records = Records(part);
        while let Some((kind, data)) = records.next().filter(|_| !composer.is_full()) {
            match kind {
                ROW => {
                    row = long(data, 0).unwrap_or_default();
                    if data.get(11).is_some_and(|flags| flags & 0x10 != 0) {
                        beside.hidden_rows.push(row.saturating_add(1).to_string());
                    }
                }
                COLUMNS if word(data, 16).is_some_and(|flags| flags & 1 != 0) => {
                    let span = long(data, 0).zip(long(data, 4));
                    beside.hidden_columns.extend(span.map(|(first, last)| columns(first, last)));
                }
                _ => {
                    if let Some(text) = self.cell(kind, data) {
                        rows.push(row, &text, composer);
                    }
                }
            }
        }
        if !records.0.is_empty() && !composer.is_full() {
            unreadable(composer);
        }
        beside
    }

    /// What a cell shows: column, style, value (2.5.9).
    fn cell(&self, kind: u16, data: &[u8]) -> Option<String> {
        let value = data.get(8..)?;
        // A style is three bytes; no workbook has as many as need the third.
        let style = word(data, 4)?;
        let real = || value.first_chunk().map(|bytes| f64::from_le_bytes(*bytes));
        match kind {
            RK => Some(self.number(squeezed(long(value, 0)?), style)),
            REAL | FORMULA_REAL => Some(self.number(real()?, style)),
            TRUTH | FORMULA_TRUTH => Some(if *value.first()? == 0 { "FALSE" } else { "TRUE" }.to_owned()),
            ERROR | FORMULA_ERROR => Some(error_name(*value.first()?).to_owned()),
            TEXT | FORMULA_TEXT => string(value).map(|(text, _)| text),
            RICH_TEXT => rich_string(value),
            SHARED => self.strings.get(long(value, 0)? as usize).cloned(),
            _ => None,
        }
    }

    fn number(&self, number: f64, style: u16) -> String {
        let format = self.styles.format(style);
        let value = if format.is_some_and(|(_, _, is_date)| is_date) {
            DataRef::DateTime(ExcelDateTime::new(number, ExcelDateTimeType::DateTime, self.since_1904))
        } else {
            DataRef::Float(number)
        };
        as_displayed(&value, format.map(|(number, code, _)| (number, code)))
    }
}

/// Reads what the relations of a sheet lead to.
fn attached(package: &mut Package, path: &str, beside: &mut Beside) {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let mut targets: Vec<(String, String)> = relations(package, folder, name).into_values().collect();
    targets.sort();
    for (kind, target) in targets {
        if kind.ends_with("/drawing") {
            beside.drawn.extend(package.text(&target).map(|xml| drawn(&xml)));
        } else if kind.ends_with("/comments") {
            beside.asides.extend(comments(&package.part(&target).unwrap_or_default()));
        }
    }
}

/// The comments of a sheet (2.1.7.8): names of authors, then each with the place of its author among them.
fn comments(part: &[u8]) -> Vec<Aside> {
    let (mut authors, mut found) = (Vec::new(), Vec::new());
    let mut by: Option<String> = None;
    for (kind, data) in Records(part) {
        match kind {
            AUTHOR => authors.push(string(data).map(|(name, _)| name).unwrap_or_default()),
            COMMENT => {
                let author = long(data, 0).and_then(|place| authors.get(place as usize));
                by = author.filter(|name| !name.is_empty()).cloned();
            }
            COMMENT_TEXT => {
                let text = rich_string(data).unwrap_or_default();
                found.push(Aside { kind: Kind::Comment, by: by.take(), at: None, text });
            }
            _ => {}
        }
    }
    found
}

/// What the package says about itself (ECMA-376 part 2, 11).
fn metadata(xml: &str, composer: &mut Composer) {
    let mut values: HashMap<String, String> = HashMap::new();
    let mut markup = Markup::new(xml);
    let mut name = String::new();
    while let Some(token) = markup.next() {
        match token {
            Token::Open(element) => element.name().clone_into(&mut name),
            Token::Close(_) => name.clear(),
            Token::Text(text) => values.entry(name.clone()).or_default().push_str(&text),
        }
    }
    let mut take = |name: &str| values.remove(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    let metadata = &mut composer.metadata;
    metadata.title = take("title");
    metadata.author = take("creator");
    metadata.subject = take("subject");
    metadata.created_at = take("created").as_deref().and_then(Timestamp::parse);
    metadata.modified_at = take("modified").as_deref().and_then(Timestamp::parse);
    if let Some(editor) = take("lastModifiedBy") {
        metadata.extra.insert("last_modified_by".to_owned(), editor);
    }
}
