//! What stands beside the text of a Word document: tracked changes with who and when, hidden text, comments (ISO 29500-1,
//! 17.13), descriptions of pictures (20.4.2.5). The text itself comes from `office_oxide`, which leaves deleted and hidden text out and inserted text in.

use std::collections::HashSet;

use super::{
    asides::{Aside, Asides, Kind},
    markup::{Element, Markup, Token},
    package::Package,
};

/// Parts that hold text with changes: the body under any of its names, notes, headers, footers.
const PARTS: [&str; 5] = ["word/document", "word/footnotes", "word/endnotes", "word/header", "word/footer"];

/// Gathers the asides of a document. A package that cannot be opened has none.
pub(super) fn gather(bytes: Vec<u8>, asides: &mut Asides) {
    let Ok(mut package) = Package::open(bytes) else { return };
    let hidden_styles = package.text("word/styles.xml").map(|xml| hidden_styles(&xml)).unwrap_or_default();
    let wanted =
        |name: &&String| name.strip_suffix(".xml").is_some() && PARTS.iter().any(|part| name.starts_with(part));
    let names: Vec<String> = package.names().iter().filter(wanted).cloned().collect();
    for name in names {
        if let Some(xml) = package.text(&name) {
            Story::new(&hidden_styles).read(&xml, asides);
        }
    }
    if let Some(xml) = package.text("word/comments.xml") {
        comments(&xml, asides);
    }
}

/// Styles whose text is hidden.
fn hidden_styles(xml: &str) -> HashSet<String> {
    let mut hidden = HashSet::new();
    let mut current = None;
    let mut markup = Markup::new(xml);
    while let Some(token) = markup.next() {
        let Token::Open(element) = token else { continue };
        match element.name() {
            "style" => current = element.attribute("styleId"),
            "vanish" if is_on(&element) => hidden.extend(current.clone()),
            _ => {}
        }
    }
    hidden
}

/// A property is on unless it says no (17.17.4).
fn is_on(element: &Element<'_>) -> bool {
    element.attribute("val").is_none() || element.says("val")
}

/// One part while it is read.
#[expect(clippy::struct_excessive_bools, reason = "where the reader stands, each on its own")]
struct Story<'a> {
    hidden_styles: &'a HashSet<String>,
    /// Open changes, the innermost last; each with the name of its element.
    changes: Vec<(String, Aside)>,
    /// Inside `mc:Fallback`, which says again what the choice before it says.
    fallback: u32,
    in_run: bool,
    hidden_paragraph: bool,
    hidden: bool,
    in_text: bool,
}

impl<'a> Story<'a> {
    fn new(hidden_styles: &'a HashSet<String>) -> Self {
        Self {
            hidden_styles,
            changes: Vec::new(),
            fallback: 0,
            in_run: false,
            hidden_paragraph: false,
            hidden: false,
            in_text: false,
        }
    }

    fn read(&mut self, xml: &str, asides: &mut Asides) {
        let mut markup = Markup::new(xml);
        while let Some(token) = markup.next() {
            match token {
                Token::Open(element) => {
                    self.open(&element);
                    asides.extend(self.picture(&element));
                }
                Token::Close(name) => self.close(&name, asides),
                Token::Text(text) if self.in_text && self.fallback == 0 => self.push(&text, asides),
                Token::Text(_) => {}
            }
        }
    }

    fn open(&mut self, element: &Element<'_>) {
        let styled = || element.attribute("val").is_some_and(|style| self.hidden_styles.contains(&style));
        match element.name() {
            "Fallback" => self.fallback = self.fallback.saturating_add(1),
            "p" => self.hidden_paragraph = false,
            "pStyle" => self.hidden_paragraph = styled(),
            "r" => (self.in_run, self.hidden) = (true, self.hidden_paragraph),
            "rStyle" if self.in_run => self.hidden |= styled(),
            "vanish" if self.in_run => self.hidden = is_on(element),
            "t" | "delText" => self.in_text = true,
            name @ ("ins" | "moveTo" | "del" | "moveFrom") => {
                let kind = if matches!(name, "ins" | "moveTo") { Kind::Inserted } else { Kind::Deleted };
                let (by, at) = (element.attribute("author"), element.attribute("date"));
                self.changes.push((name.to_owned(), Aside { kind, by, at, text: String::new() }));
            }
            _ => {}
        }
    }

    /// What its author says a picture shows.
    fn picture(&self, element: &Element<'_>) -> Option<Aside> {
        if element.name() != "docPr" || self.fallback > 0 {
            return None;
        }
        let text = element.attribute("descr").filter(|text| !text.trim().is_empty())?;
        Some(Aside { kind: Kind::Picture, by: None, at: None, text })
    }

    fn close(&mut self, name: &str, asides: &mut Asides) {
        match name {
            "Fallback" => self.fallback = self.fallback.saturating_sub(1),
            "r" => self.in_run = false,
            "t" | "delText" => self.in_text = false,
            "p" => self.push("\n", asides),
            _ => {
                self.changes.pop_if(|(opened, _)| opened == name);
            }
        }
    }

    fn push(&self, text: &str, asides: &mut Asides) {
        // Text that was inserted and then deleted is deleted.
        let change = self.changes.iter().rev().find(|(_, change)| change.kind == Kind::Deleted);
        if let Some((_, change)) = change.or(self.changes.last()) {
            asides.push(Aside { text: text.to_owned(), ..change.clone() });
        } else if self.hidden && self.in_text {
            asides.push(Aside { kind: Kind::Hidden, by: None, at: None, text: text.to_owned() });
        }
    }
}

fn comments(xml: &str, asides: &mut Asides) {
    let mut markup = Markup::new(xml);
    let mut comment: Option<Aside> = None;
    let mut in_text = false;
    while let Some(token) = markup.next() {
        match token {
            Token::Open(element) if element.name() == "comment" => {
                let (by, at) = (element.attribute("author"), element.attribute("date"));
                comment = Some(Aside { kind: Kind::Comment, by, at, text: String::new() });
            }
            Token::Open(element) => in_text |= element.name() == "t",
            Token::Text(text) if in_text => {
                if let Some(comment) = &mut comment {
                    comment.text.push_str(&text);
                }
            }
            Token::Text(_) => {}
            Token::Close(name) => match name.as_str() {
                "t" => in_text = false,
                "p" => {
                    if let Some(comment) = &mut comment {
                        comment.text.push('\n');
                    }
                }
                "comment" => {
                    if let Some(comment) = comment.take() {
                        asides.push(comment);
                    }
                }
                _ => {}
            },
        }
    }
}
