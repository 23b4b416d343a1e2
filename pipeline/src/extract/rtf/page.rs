//! The lines that come out: paragraphs, table rows, and what is set aside until the paragraph or the document ends.

use super::group::{Destination, Group, InfoField, Tables};
use crate::{
    compose::Composer,
    extract::asides::{Aside, Asides, Kind},
};

/// The text being written.
pub(super) struct Page<'a> {
    composer: &'a mut Composer,
    /// The paragraph or table cell.
    line: String,
    heading: Option<u8>,
    /// Finished cells of the current row.
    row: Vec<String>,
    /// Text of destinations beside the body that are open, innermost last.
    beside: Vec<(Destination, String)>,
    /// Footnotes of the current paragraph.
    notes: Vec<String>,
    running: Vec<String>,
    comment_author: Option<String>,
    asides: Asides,
}

impl<'a> Page<'a> {
    pub(super) fn new(composer: &'a mut Composer) -> Self {
        Self {
            composer,
            line: String::new(),
            heading: None,
            row: Vec::new(),
            beside: Vec::new(),
            notes: Vec::new(),
            running: Vec::new(),
            comment_author: None,
            asides: Asides::default(),
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.composer.is_full()
    }

    pub(super) fn push(&mut self, text: &str, group: &Group, tables: &Tables) {
        if !group.destination.takes_text() {
            return;
        }
        let change = |kind| Aside { kind, by: tables.reviser(group.reviser), at: None, text: text.to_owned() };
        if group.deleted {
            self.asides.push(change(Kind::Deleted));
            return;
        }
        if group.hidden {
            self.asides.push(Aside { by: None, ..change(Kind::Hidden) });
            return;
        }
        if group.inserted {
            self.asides.push(change(Kind::Inserted));
        }
        if let Some((_, beside)) = self.beside.last_mut() {
            beside.push_str(text);
            return;
        }
        self.line.push_str(text);
        self.heading = group.heading;
    }

    /// Control words that stand for text or end lines.
    pub(super) fn control(&mut self, name: &str, group: &Group, tables: &Tables) {
        let letter = match name {
            "tab" => "\t",
            "line" | "softline" | "lbr" => "\n",
            "emdash" => "—",
            "endash" => "–",
            "bullet" => "•",
            "lquote" => "‘",
            "rquote" => "’",
            "ldblquote" => "“",
            "rdblquote" => "”",
            "emspace" | "enspace" | "qmspace" => " ",
            _ => {
                if group.destination.takes_text() {
                    self.boundary(name, group);
                }
                return;
            }
        };
        self.push(letter, group, tables);
    }

    fn boundary(&mut self, name: &str, group: &Group) {
        if let Some((_, beside)) = self.beside.last_mut() {
            match name {
                "par" | "row" | "nestrow" => beside.push('\n'),
                "cell" | "nestcell" => beside.push('\t'),
                _ => {}
            }
            return;
        }
        match name {
            "par" if group.in_table => self.line.push('\n'),
            "par" | "page" | "sect" | "column" => self.end_paragraph(),
            "cell" | "nestcell" => self.row.push(std::mem::take(&mut self.line)),
            "row" | "nestrow" => {
                // Text of a nested table's row may wait for the cell around it.
                self.end_row();
            }
            _ => {}
        }
    }

    fn end_row(&mut self) {
        let cells: Vec<&str> = self.row.iter().map(|cell| cell.trim()).collect();
        self.composer.end_line();
        self.composer.push(cells.join("\t").trim_end());
        self.composer.end_line();
        self.row.clear();
        self.end_notes();
    }

    fn end_paragraph(&mut self) {
        if !self.row.is_empty() {
            self.end_row();
        }
        let line = std::mem::take(&mut self.line);
        match self.heading.take() {
            Some(level) if !line.trim().is_empty() => self.composer.push_heading(level, &line),
            _ => {
                self.composer.push(line.trim_end());
                self.composer.end_line();
            }
        }
        self.end_notes();
    }

    fn end_notes(&mut self) {
        for note in self.notes.drain(..) {
            self.composer.push(note.trim());
            self.composer.end_line();
        }
    }

    pub(super) fn begin(&mut self, destination: Destination) {
        let beside = matches!(
            destination,
            Destination::Note
                | Destination::Comment
                | Destination::CommentAuthor
                | Destination::Running
                | Destination::Property(_)
        );
        if beside && self.beside.last().is_none_or(|(open, _)| *open != destination) {
            self.beside.push((destination, String::new()));
        }
    }

    pub(super) fn end(&mut self, destination: Destination) {
        let Some((_, text)) = self.beside.pop_if(|(open, _)| *open == destination) else { return };
        let text = text.trim();
        if text.is_empty() {
            return;
        }
        match destination {
            Destination::Note => self.notes.push(text.to_owned()),
            Destination::CommentAuthor => self.comment_author = Some(text.to_owned()),
            Destination::Comment => self.asides.push(Aside {
                kind: Kind::Comment,
                by: self.comment_author.take(),
                at: None,
                text: text.to_owned(),
            }),
            Destination::Running if !self.running.iter().any(|known| known == text) => {
                self.running.push(text.to_owned());
            }
            Destination::Property(field) => self.property(field, text),
            _ => {}
        }
    }

    fn property(&mut self, field: InfoField, text: &str) {
        let metadata = &mut self.composer.metadata;
        let extra = match field {
            InfoField::Title => return metadata.title = Some(text.to_owned()),
            InfoField::Subject => return metadata.subject = Some(text.to_owned()),
            InfoField::Author => return metadata.author = Some(text.to_owned()),
            InfoField::Operator => "last_modified_by",
            InfoField::Company => "company",
            InfoField::Keywords => "keywords",
            InfoField::Description => "description",
        };
        metadata.extra.insert(extra.to_owned(), text.to_owned());
    }

    /// Writes what was set aside and gives the composer back.
    pub(super) fn finish(mut self) -> &'a mut Composer {
        while let Some((destination, _)) = self.beside.last() {
            self.end(*destination);
        }
        self.end_paragraph();
        for text in &self.running {
            self.composer.push(text);
            self.composer.end_line();
        }
        self.asides.write(self.composer);
        self.composer
    }
}
