//! `OpenDocument` spreadsheets (ISO 26300), zipped or flat: every cell as the program that saved it showed it, which the file
//! says beside the value; comments, formulas, and what is hidden. A sheet is a page with the sheet's name as its label.

use std::collections::HashSet;

use domain::outcome::{Category, Exception};

use super::{
    asides::{Aside, Kind},
    corrupt,
    markup::{Element, Markup, Token},
    odf,
    package::{Package, declared_encoding},
    sheet::{Rows, Sheets},
    workbook::{Beside, MOST_FORMULAS, letters},
};
use crate::{compose::Composer, decode};

/// Most times a cell or a row that stands for many is written; a filled sheet of a million equal rows says no more.
const MOST_REPEATS: u32 = 1_000;
/// Most spaces one `<text:s/>` may stand for.
const MOST_SPACES: usize = 1_000;

pub(super) fn read(bytes: Vec<u8>, composer: &mut Composer) -> Result<(), Exception> {
    let whole = if bytes.starts_with(b"PK") {
        let mut package = Package::open(bytes)?;
        if package.text("META-INF/manifest.xml").is_some_and(|manifest| manifest.contains("encryption-data")) {
            return Err(Exception::new(Category::Encrypted, "the workbook is protected by a password"));
        }
        if let Some(meta) = package.text("meta.xml") {
            odf::metadata(&meta, composer);
        }
        let content = package.text("content.xml").ok_or_else(|| corrupt("the workbook has no readable content"))?;
        Book::new(composer).read(&content)
    } else {
        let text = decode::text(&bytes, declared_encoding(&bytes).as_deref());
        odf::metadata(&text, composer);
        Book::new(composer).read(&text)
    };
    odf::note_damage(whole, composer)
}

/// A cell while it is read.
#[derive(Default)]
struct Cell {
    /// What it shows, and what it is when it shows nothing.
    text: String,
    value: String,
    repeats: u32,
}

struct Book<'a> {
    composer: &'a mut Composer,
    sheets: Sheets,
    /// The style being defined, and those of sheets that are not shown.
    style: Option<String>,
    hidden_styles: HashSet<String>,
    /// The open sheet, with what stands beside its cells.
    sheet: Option<(String, Beside)>,
    /// Where the next cell stands, from 0.
    row: u32,
    column: u32,
    /// How many rows the open row stands for, and its cells.
    row_repeats: u32,
    cells: Vec<(u32, String)>,
    rows: Rows,
    cell: Option<Cell>,
    comment: Option<Aside>,
    /// Which field of a comment comes.
    field: Option<String>,
    /// Text of drawings on the sheet.
    drawn: String,
    paragraphs: u32,
    /// Inside an element whose content is not shown: its name.
    silent: Option<String>,
}

impl<'a> Book<'a> {
    fn new(composer: &'a mut Composer) -> Self {
        Self {
            composer,
            sheets: Sheets::default(),
            style: None,
            hidden_styles: HashSet::new(),
            sheet: None,
            row: 0,
            column: 0,
            row_repeats: 1,
            cells: Vec::new(),
            rows: Rows::default(),
            cell: None,
            comment: None,
            field: None,
            drawn: String::new(),
            paragraphs: 0,
            silent: None,
        }
    }

    /// Reads the content; false when it is damaged.
    fn read(mut self, xml: &str) -> bool {
        let mut markup = Markup::new(xml);
        while let Some(token) = markup.next() {
            match token {
                Token::Close(name) if self.silent.as_ref() == Some(&name) => self.silent = None,
                _ if self.silent.is_some() => {}
                Token::Open(element) => self.open(&element),
                Token::Close(name) => self.close(&name),
                Token::Text(text) => self.text(&text),
            }
            if self.composer.is_full() {
                break;
            }
        }
        self.end_row();
        self.end_sheet();
        self.sheets.finish(self.composer);
        !markup.is_damaged()
    }

    fn open(&mut self, element: &Element<'_>) {
        match element.name() {
            "style" => self.style = element.attribute("name"),
            "table-properties" if element.attribute("display").as_deref() == Some("false") => {
                self.hidden_styles.extend(self.style.clone());
            }
            name @ ("tracked-changes" | "scripts" | "forms" | "binary-data") => self.silent = Some(name.to_owned()),
            // A table inside a cell or a chart's own table is no sheet.
            "table" if self.sheet.is_none() => self.begin_sheet(element),
            "table-column" => self.columns(element),
            "table-row" => {
                self.column = 0;
                self.row_repeats = repeats(element, "number-rows-repeated");
                if is_hidden(element) {
                    let (first, last) = (self.row.saturating_add(1), self.row.saturating_add(self.row_repeats));
                    self.hide(|beside| &mut beside.hidden_rows, &first.to_string(), &last.to_string());
                }
            }
            "table-cell" | "covered-table-cell" if self.sheet.is_some() => self.begin_cell(element),
            "annotation" => {
                self.comment = Some(Aside { kind: Kind::Comment, by: None, at: None, text: String::new() });
            }
            name @ ("creator" | "date") if self.comment.is_some() => self.field = Some(name.to_owned()),
            "p" | "h" => {
                self.paragraphs = self.paragraphs.saturating_add(1);
                self.push_break();
            }
            "s" => {
                let count = element.attribute("c").and_then(|count| count.parse::<usize>().ok()).unwrap_or(1);
                self.push(&" ".repeat(count.min(MOST_SPACES)));
            }
            "tab" | "line-break" => self.push(" "),
            _ => {}
        }
    }

    fn close(&mut self, name: &str) {
        match name {
            "p" | "h" => self.paragraphs = self.paragraphs.saturating_sub(1),
            "creator" | "date" => self.field = None,
            "annotation" => {
                if let (Some(comment), Some((_, beside))) = (self.comment.take(), &mut self.sheet) {
                    beside.asides.push(comment);
                }
            }
            "table-cell" | "covered-table-cell" => self.end_cell(),
            "table-row" => self.end_row(),
            "table" if self.cell.is_none() => self.end_sheet(),
            _ => {}
        }
    }

    fn begin_sheet(&mut self, element: &Element<'_>) {
        let name = element.attribute("name").unwrap_or_default();
        let hidden = element.attribute("style-name").is_some_and(|style| self.hidden_styles.contains(&style));
        if self.sheets.begin_named(&name, hidden, self.composer) {
            self.sheet = Some((name, Beside::default()));
            (self.row, self.column, self.rows) = (0, 0, Rows::default());
        }
    }

    fn end_sheet(&mut self) {
        let Some((name, mut beside)) = self.sheet.take() else { return };
        beside.drawn.push(std::mem::take(&mut self.drawn));
        self.sheets.end_with(&name, beside, self.composer);
    }

    fn columns(&mut self, element: &Element<'_>) {
        let first = self.column.saturating_add(1);
        self.column = self.column.saturating_add(repeats(element, "number-columns-repeated"));
        if is_hidden(element) {
            let (first, last) = (letters(first), letters(self.column));
            self.hide(|beside| &mut beside.hidden_columns, &first, &last);
        }
    }

    fn hide(&mut self, which: impl Fn(&mut Beside) -> &mut Vec<String>, first: &str, last: &str) {
        if let Some((_, beside)) = &mut self.sheet {
            which(beside).push(if first == last { first.to_owned() } else { format!("{first}-{last}") });
        }
    }

    fn begin_cell(&mut self, element: &Element<'_>) {
        let value = ["string-value", "date-value", "time-value", "boolean-value", "value"];
        let value = value.into_iter().find_map(|name| element.attribute(name)).unwrap_or_default();
        let repeats = repeats(element, "number-columns-repeated");
        if let (Some(formula), Some((_, beside))) = (element.attribute("formula"), &mut self.sheet)
            && beside.asides.len() < MOST_FORMULAS
        {
            let place = format!("{}{}", letters(self.column.saturating_add(1)), self.row.saturating_add(1));
            let text = format!("{place}: {}", readable(&formula));
            beside.asides.push(Aside { kind: Kind::Formula, by: None, at: None, text });
        }
        self.cell = Some(Cell { text: String::new(), value, repeats });
    }

    fn end_cell(&mut self) {
        let Some(cell) = self.cell.take() else { return };
        let shown = if cell.text.trim().is_empty() { cell.value } else { cell.text };
        for at in 0..cell.repeats.min(MOST_REPEATS) {
            if shown.trim().is_empty() || self.composer.is_full() {
                break;
            }
            self.cells.push((self.column.saturating_add(at), shown.trim().to_owned()));
        }
        self.column = self.column.saturating_add(cell.repeats);
    }

    fn end_row(&mut self) {
        let cells = std::mem::take(&mut self.cells);
        for at in 0..self.row_repeats.min(MOST_REPEATS) {
            for (_, text) in &cells {
                self.rows.push(self.row.saturating_add(at), text, self.composer);
            }
        }
        self.row = self.row.saturating_add(self.row_repeats);
        self.row_repeats = 1;
    }

    /// Paragraphs of one cell stand on one line, or a row would not.
    fn push_break(&mut self) {
        let into = self.target();
        if !into.is_empty() {
            into.push(' ');
        }
    }

    fn text(&mut self, text: &str) {
        if let (Some(field), Some(comment)) = (&self.field, &mut self.comment) {
            let into = if field == "creator" { &mut comment.by } else { &mut comment.at };
            into.get_or_insert_default().push_str(text);
        } else if self.paragraphs > 0 {
            self.push(text);
        }
    }

    fn push(&mut self, text: &str) {
        if self.paragraphs > 0 {
            let words: Vec<&str> = text.split(['\t', '\r', '\n']).collect();
            self.target().push_str(&words.join(" "));
        }
    }

    fn target(&mut self) -> &mut String {
        if let Some(comment) = &mut self.comment {
            return &mut comment.text;
        }
        self.cell.as_mut().map_or(&mut self.drawn, |cell| &mut cell.text)
    }
}

fn repeats(element: &Element<'_>, name: &str) -> u32 {
    element.attribute(name).and_then(|count| count.parse().ok()).unwrap_or(1)
}

fn is_hidden(element: &Element<'_>) -> bool {
    element.attribute("visibility").is_some_and(|visibility| matches!(visibility.as_str(), "collapse" | "filter"))
}

/// `of:=SUM([.A1:.B2])` as a person writes it (`OpenFormula`, 5.8).
fn readable(formula: &str) -> String {
    let start = formula.find('=').unwrap_or(0);
    formula.get(start..).unwrap_or_default().replace("[.", "").replace(":.", ":").replace(['[', ']'], "")
}
