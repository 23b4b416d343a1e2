//! What stands beside the cells of an Excel workbook's sheets: comments, formulas, and which rows and columns are hidden
//! (ISO 29500-1, 18.3 and 18.7; threaded comments MS-XLSX 2.1.4).

use std::collections::HashMap;

use super::{
    asides::{Aside, Kind},
    markup::{Element, Markup, Token},
    package::{Package, resolve},
};

/// Formulas kept of one sheet; a column filled with one formula is one, as Excel stores it.
pub(super) const MOST_FORMULAS: usize = 1_000;

/// What one sheet has beside its cells.
#[derive(Debug, Default)]
pub(super) struct Beside {
    pub(super) asides: Vec<Aside>,
    /// Rows as a person counts them, and columns by their letters; ranges as `3-5`.
    pub(super) hidden_rows: Vec<String>,
    pub(super) hidden_columns: Vec<String>,
    /// What stands in text boxes and shapes on the sheet.
    pub(super) drawn: Vec<String>,
}

/// Sheets by name. A workbook that cannot be opened has none.
pub(super) fn gather(bytes: Vec<u8>) -> HashMap<String, Beside> {
    let Ok(mut package) = Package::open(bytes) else { return HashMap::new() };
    let relations = relations(&mut package, "xl", "workbook.xml");
    let people = people(&mut package);
    let mut found = HashMap::new();
    let workbook = package.text("xl/workbook.xml").unwrap_or_default();
    let mut markup = Markup::new(&workbook);
    while let Some(token) = markup.next() {
        let Token::Open(element) = token else { continue };
        if element.name() != "sheet" {
            continue;
        }
        // The sheet's own number is `sheetId`; `r:id` is the relation.
        if let (Some(name), Some(id)) = (element.attribute("name"), element.attribute("id"))
            && let Some((_, part)) = relations.get(&id)
        {
            found.insert(name, sheet(&mut package, part, &people));
        }
    }
    found
}

fn sheet(package: &mut Package, part: &str, people: &HashMap<String, String>) -> Beside {
    let mut beside = Beside::default();
    if let Some(xml) = package.text(part)
        && (xml.contains("hidden=") || xml.contains("<f"))
    {
        beside.read(&xml);
    }
    let (folder, name) = part.rsplit_once('/').unwrap_or(("", part));
    let mut targets: Vec<(String, String)> = relations(package, folder, name).into_values().collect();
    targets.sort();
    for (kind, target) in targets {
        if kind.ends_with("/drawing") {
            beside.drawn.extend(package.text(&target).map(|xml| drawn(&xml)));
        }
        let Some(xml) = kind.to_lowercase().contains("comment").then(|| package.text(&target)).flatten() else {
            continue;
        };
        if kind.ends_with("/threadedComment") {
            threads(&xml, people, &mut beside.asides);
        } else {
            notes(&xml, &mut beside.asides);
        }
    }
    beside
}

/// The text of a sheet's drawings, a paragraph a line (20.1.2.2 and 21.1.2.2).
pub(super) fn drawn(xml: &str) -> String {
    let mut text = String::new();
    let mut inside = false;
    let mut fallback = 0_u32;
    let mut markup = Markup::new(xml);
    while let Some(token) = markup.next() {
        match token {
            Token::Open(element) if element.name() == "Fallback" => fallback = fallback.saturating_add(1),
            Token::Close(name) if name == "Fallback" => fallback = fallback.saturating_sub(1),
            Token::Open(element) => inside |= element.name() == "t",
            Token::Text(piece) if inside && fallback == 0 => text.push_str(&piece),
            Token::Text(_) => {}
            Token::Close(name) => match name.as_str() {
                "t" => inside = false,
                "p" if !text.ends_with('\n') => text.push('\n'),
                _ => {}
            },
        }
    }
    text
}

/// Relations of a part: identifier to type and target part.
pub(super) fn relations(package: &mut Package, folder: &str, name: &str) -> HashMap<String, (String, String)> {
    let xml = package.text(&format!("{folder}/_rels/{name}.rels")).unwrap_or_default();
    let mut found = HashMap::new();
    let mut markup = Markup::new(&xml);
    while let Some(token) = markup.next() {
        let Token::Open(element) = token else { continue };
        if let (Some(id), Some(kind), Some(target)) =
            (element.attribute("Id"), element.attribute("Type"), element.attribute("Target"))
        {
            found.insert(id, (kind, resolve(folder, &target)));
        }
    }
    found
}

impl Beside {
    fn read(&mut self, xml: &str) {
        let mut markup = Markup::new(xml);
        let mut cell = String::new();
        let mut formula: Option<String> = None;
        let mut formulas = 0_usize;
        while let Some(token) = markup.next() {
            match token {
                Token::Open(element) => match element.name() {
                    "c" => cell = element.attribute("r").unwrap_or_default(),
                    "f" if formulas < MOST_FORMULAS => formula = Some(String::new()),
                    "row" if element.says("hidden") => self.hidden_rows.extend(element.attribute("r")),
                    "col" if element.says("hidden") => self.hidden_columns.extend(columns(&element)),
                    _ => {}
                },
                Token::Text(text) => {
                    if let Some(formula) = &mut formula {
                        formula.push_str(&text);
                    }
                }
                Token::Close(name) if name == "f" => {
                    if let Some(formula) = formula.take().filter(|formula| !formula.trim().is_empty()) {
                        formulas = formulas.saturating_add(1);
                        self.asides.push(aside(Kind::Formula, None, None, format!("{cell}: ={formula}")));
                    }
                }
                Token::Close(_) => {}
            }
        }
    }
}

fn aside(kind: Kind, by: Option<String>, at: Option<String>, text: String) -> Aside {
    Aside { kind, by, at, text }
}

fn columns(element: &Element<'_>) -> Option<String> {
    let number = |name: &str| element.attribute(name).and_then(|value| value.parse::<u32>().ok());
    let (first, last) = (letters(number("min")?), letters(number("max")?));
    Some(if first == last { first } else { format!("{first}-{last}") })
}

/// A column's letters, from 1: A, B … Z, AA.
pub(super) fn letters(mut column: u32) -> String {
    let mut letters = Vec::new();
    while column > 0 {
        let place = column.saturating_sub(1) % 26;
        letters.push(char::from(b'A'.saturating_add(u8::try_from(place).unwrap_or(0))));
        column = column.saturating_sub(1) / 26;
    }
    letters.iter().rev().collect()
}

/// Comments, which Excel now calls notes. Those that only repeat a thread name it as their author.
fn notes(xml: &str, asides: &mut Vec<Aside>) {
    let mut authors: Vec<String> = Vec::new();
    let mut note: Option<Aside> = None;
    let mut text = String::new();
    let mut markup = Markup::new(xml);
    while let Some(token) = markup.next() {
        match token {
            Token::Open(element) => match element.name() {
                "comment" => {
                    let author = element.attribute("authorId").and_then(|id| id.parse::<usize>().ok());
                    let by = author.and_then(|author| authors.get(author).cloned());
                    let cell = element.attribute("ref").unwrap_or_default();
                    note = Some(aside(Kind::Comment, by, None, format!("{cell}: ")));
                    text.clear();
                }
                "author" | "t" => text.clear(),
                _ => {}
            },
            Token::Text(more) => text.push_str(&more),
            Token::Close(name) => match (name.as_str(), &mut note) {
                ("author", _) => authors.push(std::mem::take(&mut text)),
                ("t", Some(note)) => note.text.push_str(&std::mem::take(&mut text)),
                ("comment", _) => {
                    let repeats = |note: &Aside| note.by.as_deref().is_some_and(|by| by.starts_with("tc="));
                    asides.extend(note.take().filter(|note| !repeats(note)));
                }
                _ => {}
            },
        }
    }
}

fn threads(xml: &str, people: &HashMap<String, String>, asides: &mut Vec<Aside>) {
    let mut markup = Markup::new(xml);
    let mut comment: Option<Aside> = None;
    while let Some(token) = markup.next() {
        match token {
            Token::Open(element) if element.name() == "threadedComment" => {
                let by = element.attribute("personId").and_then(|person| people.get(&person).cloned());
                let cell = element.attribute("ref").unwrap_or_default();
                comment = Some(aside(Kind::Comment, by, element.attribute("dT"), format!("{cell}: ")));
            }
            Token::Text(text) => {
                if let Some(comment) = &mut comment {
                    comment.text.push_str(&text);
                }
            }
            Token::Close(name) if name == "threadedComment" => asides.extend(comment.take()),
            _ => {}
        }
    }
}

/// Who writes threads: identifier to name.
fn people(package: &mut Package) -> HashMap<String, String> {
    let parts: Vec<String> = package.names().iter().filter(|name| name.starts_with("xl/persons/")).cloned().collect();
    let mut people = HashMap::new();
    for xml in parts.into_iter().filter_map(|part| package.text(&part)) {
        let mut markup = Markup::new(&xml);
        while let Some(token) = markup.next() {
            if let Token::Open(element) = token
                && let (Some(id), Some(name)) = (element.attribute("id"), element.attribute("displayName"))
            {
                people.insert(id, name);
            }
        }
    }
    people
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_have_letters() {
        for (column, expected) in [(1, "A"), (26, "Z"), (27, "AA"), (702, "ZZ"), (703, "AAA"), (16_384, "XFD")] {
            assert_eq!(letters(column), expected);
        }
    }
}
