//! The XML of Pages, Numbers and Keynote from 2005 to 2009 (Apple's "iWork 2.0 Programming Guide"): texts in storages, of which
//! some are only patterns for new pages.

use domain::outcome::Exception;

use super::Found;
use crate::extract::{
    asides::{Aside, Kind},
    corrupt,
    markup::{Element, Markup, Token},
};

/// What is no text of the document: patterns, what stands where nothing was written yet, marks of changes.
const PATTERNS: [&str; 8] = [
    "section-prototypes",
    "masters-group",
    "stylesheet",
    "theme-list",
    "master-slides",
    "ghost-text",
    "placeholder-master",
    "version-history",
];

pub(super) fn read(xml: &str) -> Result<Found, Exception> {
    let mut reading = Reading::default();
    let mut markup = Markup::new(xml);
    while let Some(token) = markup.next() {
        match token {
            Token::Open(element) => reading.open(&element),
            Token::Close(name) => reading.close(&name),
            Token::Text(text) => reading.text(&text),
        }
    }
    if reading.elements == 0 || markup.is_damaged() && reading.found.body.is_empty() {
        return Err(corrupt("the document's text is damaged"));
    }
    Ok(reading.found)
}

#[derive(Default)]
struct Reading {
    found: Found,
    elements: usize,
    /// How deep we are in a pattern.
    pattern: u32,
    /// Paragraphs we are in, and what the innermost says so far.
    paragraphs: u32,
    paragraph: String,
    /// Kinds of the storages we are in.
    storages: Vec<bool>,
    comment: Option<String>,
    /// The field of the metadata we are in.
    field: Option<&'static str>,
}

impl Reading {
    fn open(&mut self, element: &Element<'_>) {
        self.elements = self.elements.saturating_add(1);
        let name = element.name();
        if self.pattern > 0 || PATTERNS.contains(&name) {
            self.pattern = self.pattern.saturating_add(1);
            return;
        }
        match name {
            "annotation" => self.comment = Some(String::new()),
            "text-storage" => self.storages.push(element.attribute("kind").is_some_and(|kind| kind == "note")),
            "p" => self.paragraphs = self.paragraphs.saturating_add(1),
            "br" | "lnbr" | "crbr" | "pgbr" | "layoutbr" | "contbr" | "sectbr" => self.text("\n"),
            "tab" => self.text("\t"),
            // Cells of a table: words and numbers.
            "ct" => self.cell(element.attribute("s")),
            "n" => self.cell(element.attribute("v")),
            "title" => self.field = Some("title"),
            "authors" => self.field = Some("author"),
            "string" => self.metadata(element.attribute("string")),
            _ => {}
        }
    }

    fn close(&mut self, name: &str) {
        if self.pattern > 0 {
            self.pattern = self.pattern.saturating_sub(1);
            return;
        }
        match name {
            "p" => {
                self.paragraphs = self.paragraphs.saturating_sub(1);
                let text = std::mem::take(&mut self.paragraph);
                self.push(text);
            }
            "text-storage" => {
                self.storages.pop();
            }
            "annotation" => {
                let text = self.comment.take().unwrap_or_default();
                self.found.comments.push(Aside { kind: Kind::Comment, by: None, at: None, text });
            }
            "title" | "authors" => self.field = None,
            _ => {}
        }
    }

    fn text(&mut self, text: &str) {
        if self.pattern == 0 && self.paragraphs > 0 {
            self.paragraph.push_str(text);
        }
    }

    fn push(&mut self, text: String) {
        if text.trim().is_empty() {
            return;
        }
        match &mut self.comment {
            Some(comment) => {
                comment.push_str(&text);
                comment.push('\n');
            }
            None if self.storages.last() == Some(&true) => self.found.notes.push(text),
            None => self.found.body.push(text),
        }
    }

    fn cell(&mut self, value: Option<String>) {
        self.push(value.unwrap_or_default());
    }

    fn metadata(&mut self, value: Option<String>) {
        let value = value.filter(|value| !value.trim().is_empty());
        match self.field {
            Some("title") => self.found.title = self.found.title.take().or(value),
            Some(_) => self.found.author = self.found.author.take().or(value),
            None => {}
        }
    }
}
