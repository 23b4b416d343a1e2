//! The content of an `OpenDocument` as lines of text. What stands inside something else (cells, notes, comments, text
//! boxes) is gathered in a frame of its own, in a list in memory, so nesting costs no stack.

use std::collections::HashMap;

use super::styles::Styles;
use crate::{
    compose::Composer,
    extract::{
        asides::{Aside, Asides, Kind},
        markup::{Element, Markup, Token},
    },
};

/// Most spaces one `<text:s/>` may stand for.
const MOST_SPACES: usize = 1000;

/// Text inside something.
enum Frame {
    Cell(String),
    Row(Vec<String>),
    /// A footnote or endnote; a text box or other drawing inside a paragraph.
    Note(String),
    Running(String),
    Comment(Aside),
    Hidden(String),
    /// A tracked change: who and when, and what was deleted.
    Change {
        id: String,
        aside: Aside,
    },
    /// A name or date: which element it is of.
    Detail(&'static str, String),
    /// Nothing in here is text.
    Silent,
}

/// Reads content and writes it.
pub(super) struct Writer<'a> {
    composer: &'a mut Composer,
    styles: Styles,
    frames: Vec<(String, Frame)>,
    /// How many paragraphs are open; text outside them is layout of the XML.
    paragraphs: u32,
    line: String,
    heading: Option<u8>,
    /// Notes and boxes of the current paragraph.
    after: Vec<String>,
    running: Vec<String>,
    changes: HashMap<String, Aside>,
    /// Insertions that are open.
    inserting: Vec<String>,
    asides: Asides,
    hidden_slides: Vec<String>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(composer: &'a mut Composer) -> Self {
        Self {
            composer,
            styles: Styles::default(),
            frames: Vec::new(),
            paragraphs: 0,
            line: String::new(),
            heading: None,
            after: Vec::new(),
            running: Vec::new(),
            changes: HashMap::new(),
            inserting: Vec::new(),
            asides: Asides::default(),
            hidden_slides: Vec::new(),
        }
    }

    /// Reads one part; false when it is damaged.
    pub(super) fn read(&mut self, xml: &str) -> bool {
        let mut markup = Markup::new(xml);
        while let Some(token) = markup.next() {
            match token {
                Token::Open(element) => self.open(&element),
                Token::Close(name) => self.close(&name),
                Token::Text(text) => self.text(&text),
            }
            if self.composer.is_full() {
                break;
            }
        }
        while let Some((name, _)) = self.frames.last() {
            self.close(&name.clone());
        }
        self.end_paragraph();
        self.paragraphs = 0;
        !markup.is_damaged()
    }

    pub(super) fn finish(mut self) {
        let mut left: Vec<(String, Aside)> = self.changes.drain().collect();
        left.sort_by(|one, other| one.0.cmp(&other.0));
        for (_, change) in left {
            self.asides.push(change);
        }
        self.asides.write(self.composer);
        for text in std::mem::take(&mut self.running) {
            self.composer.push(&text);
            self.composer.end_line();
        }
        if !self.hidden_slides.is_empty() {
            self.composer.metadata.extra.insert("hidden_slides".to_owned(), self.hidden_slides.join(", "));
        }
    }

    fn open(&mut self, element: &Element<'_>) {
        self.styles.open(element);
        let name = element.name();
        match name {
            "p" | "h" => {
                self.paragraphs = self.paragraphs.saturating_add(1);
                if self.frames.is_empty() {
                    self.end_paragraph();
                    let level = || element.attribute("outline-level").and_then(|level| level.parse().ok());
                    self.heading = (name == "h").then(|| level().unwrap_or(1));
                }
            }
            "s" => {
                let count = element.attribute("c").and_then(|count| count.parse::<usize>().ok()).unwrap_or(1);
                self.push(&" ".repeat(count.min(MOST_SPACES)));
            }
            "tab" => self.push("\t"),
            "line-break" => self.push("\n"),
            "page" => self.slide(element),
            "change-start" => self.inserting.extend(element.attribute("change-id")),
            "change-end" => {
                let ended = element.attribute("change-id");
                self.inserting.retain(|id| Some(id) != ended.as_ref());
                self.end_change(ended);
            }
            "change" => self.end_change(element.attribute("change-id")),
            _ => {
                if let Some(frame) = self.frame(element) {
                    self.frames.push((name.to_owned(), frame));
                }
            }
        }
    }

    fn frame(&self, element: &Element<'_>) -> Option<Frame> {
        let aside = |kind| Aside { kind, by: None, at: None, text: String::new() };
        Some(match element.name() {
            "table-row" => Frame::Row(Vec::new()),
            "table-cell" | "covered-table-cell" => Frame::Cell(String::new()),
            "note-body" => Frame::Note(String::new()),
            "text-box" if self.paragraphs > 0 => Frame::Note(String::new()),
            "header" | "footer" | "header-left" | "footer-left" | "header-first" | "footer-first" => {
                Frame::Running(String::new())
            }
            "annotation" => Frame::Comment(aside(Kind::Comment)),
            "changed-region" => {
                Frame::Change { id: element.attribute("id").unwrap_or_default(), aside: aside(Kind::Deleted) }
            }
            "footer-decl" | "header-decl" => Frame::Detail("running", String::new()),
            "creator" => Frame::Detail("creator", String::new()),
            "date" if self.wants_details() => Frame::Detail("date", String::new()),
            "span" if self.styles.hides_text(element) => Frame::Hidden(String::new()),
            "hidden-text" => Frame::Hidden(element.attribute("string-value").unwrap_or_default()),
            // What every slide of a master page shows; its other frames say "Click to edit" or number the slides.
            "frame" | "custom-shape" | "rect"
                if self.in_master()
                    && matches!(element.attribute("class").as_deref(), None | Some("header" | "footer")) =>
            {
                Frame::Running(String::new())
            }
            "page-number" if self.frames.first().is_some_and(|(name, _)| name == "master-page") => Frame::Silent,
            "master-page"
            | "handout-master"
            | "note-citation"
            | "binary-data"
            | "forms"
            | "meta"
            | "scripts"
            | "index-title-template" => Frame::Silent,
            _ => return None,
        })
    }

    fn in_master(&self) -> bool {
        self.frames.last().is_some_and(|(name, _)| name == "master-page")
    }

    fn wants_details(&self) -> bool {
        matches!(self.frames.last(), Some((_, Frame::Comment(_) | Frame::Change { .. })))
    }

    fn close(&mut self, name: &str) {
        if matches!(name, "p" | "h") && self.paragraphs > 0 {
            self.paragraphs = self.paragraphs.saturating_sub(1);
            if self.frames.is_empty() {
                self.end_paragraph();
            } else {
                self.push("\n");
            }
            return;
        }
        if let Some((_, frame)) = self.frames.pop_if(|(opened, _)| opened == name) {
            self.end_frame(frame);
        }
        // A change says what it is inside its region.
        if matches!(name, "insertion" | "format-change")
            && let Some((_, Frame::Change { aside, .. })) = self.frames.last_mut()
        {
            aside.kind = Kind::Inserted;
        }
    }

    fn end_frame(&mut self, frame: Frame) {
        match frame {
            Frame::Cell(text) => match self.frames.last_mut() {
                Some((_, Frame::Row(cells))) => cells.push(text.trim().to_owned()),
                _ => self.block(text.trim()),
            },
            Frame::Row(cells) => self.block(cells.join("\t").trim_end()),
            Frame::Note(text) => self.note(text),
            Frame::Running(text) | Frame::Detail("running", text) => {
                let text = text.trim().to_owned();
                if !text.is_empty() && !self.running.contains(&text) {
                    self.running.push(text);
                }
            }
            Frame::Comment(aside) => self.asides.push(aside),
            Frame::Hidden(text) => self.asides.push(Aside { kind: Kind::Hidden, by: None, at: None, text }),
            Frame::Change { id, aside } => {
                self.changes.insert(id, aside);
            }
            Frame::Detail(which, text) => self.detail(which, text),
            Frame::Silent => {}
        }
    }

    fn detail(&mut self, which: &str, text: String) {
        if let Some((_, Frame::Comment(aside) | Frame::Change { aside, .. })) = self.frames.last_mut() {
            let field = if which == "creator" { &mut aside.by } else { &mut aside.at };
            *field = Some(text);
        } else {
            // A field in the text that shows the author's name.
            self.push(&text);
        }
    }

    /// A note stands after the paragraph it belongs to, or after the text of the frame it is in.
    fn note(&mut self, text: String) {
        if self.frames.is_empty() {
            self.after.push(text);
        } else {
            self.push(&format!("\n{}\n", text.trim()));
        }
    }

    /// Lines of their own.
    fn block(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        if self.frames.is_empty() && self.paragraphs == 0 {
            self.composer.end_line();
            self.composer.push(text);
            self.composer.end_line();
        } else {
            self.push(text);
            self.push("\n");
        }
    }

    /// Character data: runs of white space are one space (ODF 1.3, 6.1.2).
    fn text(&mut self, text: &str) {
        let in_detail = matches!(self.frames.last(), Some((_, Frame::Detail(..))));
        if self.paragraphs == 0 && !in_detail {
            return;
        }
        let mut plain = String::with_capacity(text.len());
        for scalar in text.chars() {
            let space = matches!(scalar, ' ' | '\t' | '\r' | '\n');
            if !space {
                plain.push(scalar);
            } else if !plain.ends_with(' ') {
                plain.push(' ');
            }
        }
        self.push(&plain);
        for id in &self.inserting {
            if let Some(change) = self.changes.get_mut(id)
                && change.text.len() < 4096
            {
                change.kind = Kind::Inserted;
                change.text.push_str(&plain);
            }
        }
    }

    fn push(&mut self, text: &str) {
        match self.frames.last_mut().map(|(_, frame)| frame) {
            Some(Frame::Cell(into) | Frame::Note(into) | Frame::Running(into) | Frame::Hidden(into)) => {
                into.push_str(text);
            }
            Some(Frame::Detail(_, into)) => into.push_str(text),
            Some(Frame::Comment(aside) | Frame::Change { aside, .. }) => aside.text.push_str(text),
            Some(Frame::Row(_) | Frame::Silent) => {}
            None => self.line.push_str(text),
        }
    }

    fn end_paragraph(&mut self) {
        let line = std::mem::take(&mut self.line);
        match self.heading.take() {
            Some(level) if !line.trim().is_empty() => self.composer.push_heading(level, &line),
            _ if line.trim().is_empty() => {}
            _ => {
                self.composer.push(line.trim());
                self.composer.end_line();
            }
        }
        for text in std::mem::take(&mut self.after) {
            self.composer.push(text.trim());
            self.composer.end_line();
        }
    }

    fn slide(&mut self, element: &Element<'_>) {
        self.end_paragraph();
        self.asides.write(self.composer);
        self.composer.begin_page(None, element.attribute("name"));
        if self.styles.hides_slide(element) {
            self.hidden_slides.push(self.composer.page_number().to_string());
        }
    }

    fn end_change(&mut self, id: Option<String>) {
        if let Some(change) = id.and_then(|id| self.changes.remove(&id)) {
            self.asides.push(change);
        }
    }
}
