//! Rich Text Format (RTF 1.9.1): groups, control words and bytes become lines of text. Table cells are parted by tabs,
//! footnotes follow their paragraph, headers and footers follow the text once. Groups are a list in memory, so nesting
//! costs no stack, and beyond a depth no program writes they are counted only.

pub(crate) mod charset;
mod group;
mod lexer;
mod page;

use domain::{
    clock::Timestamp,
    outcome::{Category, Exception},
};

use self::{
    charset::Charset,
    group::{Destination, Group, InfoField, Tables},
    lexer::{Lexer, Token},
    page::Page,
};
use super::corrupt;
use crate::{compose::Composer, sniff::find};

/// Deepest nesting that is followed.
const DEEPEST: usize = 4096;

/// Reads a document: from its header, or from its first group when it is a fragment without one.
pub(crate) fn read(bytes: &[u8], composer: &mut Composer) -> Result<(), Exception> {
    let head = bytes.get(..1024).unwrap_or(bytes);
    let start = find(head, b"{\\rtf").or_else(|| find(head, b"{\\"));
    let bytes = start.and_then(|start| bytes.get(start..)).ok_or_else(|| corrupt("the file is not RTF"))?;
    let mut reader = Reader::new(composer);
    for token in Lexer::new(bytes) {
        if reader.page.is_full() {
            break;
        }
        reader.token(token);
    }
    reader.finish();
    Ok(())
}

struct Reader<'a> {
    page: Page<'a>,
    group: Group,
    outer: Vec<Group>,
    /// Groups open beyond `DEEPEST`.
    deeper: usize,
    too_deep: bool,
    tables: Tables,
    default_charset: Charset,
    default_font: i32,
    /// Bytes of text waiting for the rest of a letter, and how to read them.
    bytes: Vec<u8>,
    high_surrogate: Option<u16>,
    /// Characters that stand in for a `\u` before them and are to be skipped.
    to_skip: i32,
    /// The last token was `\*`.
    ignorable: bool,
    embedded: u32,
}

impl<'a> Reader<'a> {
    fn new(composer: &'a mut Composer) -> Self {
        Self {
            page: Page::new(composer),
            group: Group::default(),
            outer: Vec::new(),
            deeper: 0,
            too_deep: false,
            tables: Tables::default(),
            default_charset: Charset::ANSI,
            default_font: 0,
            bytes: Vec::new(),
            high_surrogate: None,
            to_skip: 0,
            ignorable: false,
            embedded: 0,
        }
    }

    fn token(&mut self, token: Token<'_>) {
        if let Token::Byte(byte) = token {
            if self.to_skip > 0 {
                self.to_skip = self.to_skip.saturating_sub(1);
            } else if self.group.destination.takes_text() {
                self.high_surrogate = None;
                self.bytes.push(byte);
            }
            return;
        }
        self.flush();
        let ignorable = std::mem::replace(&mut self.ignorable, token == Token::Symbol(b'*'));
        match token {
            Token::Open => self.open(),
            Token::Close => self.close(),
            Token::Word("u", Some(value)) => self.unicode(value),
            Token::Word(_, _) | Token::Symbol(_) if self.to_skip > 0 && !ignorable => {
                self.to_skip = self.to_skip.saturating_sub(1);
            }
            Token::Word(name, number) => self.word(name, number, ignorable),
            Token::Symbol(symbol) => self.symbol(symbol),
            Token::Byte(_) => {}
        }
    }

    fn open(&mut self) {
        self.to_skip = 0;
        if self.outer.len() >= DEEPEST {
            self.deeper = self.deeper.saturating_add(1);
            self.too_deep = true;
            return;
        }
        self.outer.push(self.group.clone());
    }

    fn close(&mut self) {
        self.to_skip = 0;
        if self.deeper > 0 {
            self.deeper = self.deeper.saturating_sub(1);
            return;
        }
        let Some(outer) = self.outer.pop() else { return };
        let closed = std::mem::replace(&mut self.group, outer);
        if closed.destination != self.group.destination {
            self.tables.end(closed.destination);
            self.page.end(closed.destination);
        }
    }

    /// One UTF-16 code unit (`\u` counts to 32,767 and goes on with negative numbers).
    fn unicode(&mut self, value: i32) {
        self.to_skip = self.group.fallback;
        let Ok(unit) = u16::try_from(value & 0xffff) else { return };
        let text = match (self.high_surrogate.take(), unit) {
            (_, 0xd800..=0xdbff) => {
                self.high_surrogate = Some(unit);
                return;
            }
            (Some(high), 0xdc00..=0xdfff) => String::from_utf16_lossy(&[high, unit]),
            // Word writes the letters of the Symbol font as U+F020 to U+F0FF.
            (_, 0xf020..=0xf0ff) => Charset::Symbol.decode(&[u8::try_from(unit & 0xff).unwrap_or(b' ')]),
            (_, unit) => String::from_utf16_lossy(&[unit]),
        };
        self.text(&text);
    }

    /// Reads the bytes gathered in the charset of the current font.
    fn flush(&mut self) {
        if self.bytes.is_empty() {
            return;
        }
        let bytes = std::mem::take(&mut self.bytes);
        let charset = self.tables.charset(self.group.font).unwrap_or(self.default_charset);
        self.text(&charset.decode(&bytes));
        self.bytes = bytes;
        self.bytes.clear();
    }

    fn text(&mut self, text: &str) {
        match self.group.destination {
            Destination::FontTable | Destination::StyleSheet | Destination::Revisers | Destination::Time(_) => {
                self.tables.text(self.group.destination, text);
            }
            _ => self.page.push(text, &self.group, &self.tables),
        }
    }

    fn symbol(&mut self, symbol: u8) {
        match symbol {
            b'~' => self.text("\u{a0}"),
            b'_' => self.text("-"),
            b'\r' | b'\n' => self.word("par", None, false),
            b'\t' => self.text("\t"),
            _ => {}
        }
    }

    fn word(&mut self, name: &str, number: Option<i32>, ignorable: bool) {
        if let Some(destination) = Destination::of_word(name, self.group.destination) {
            self.enter(destination);
            return;
        }
        if ignorable {
            self.enter(Destination::Skipped);
            return;
        }
        let on = number != Some(0);
        let number_or = |default: i32| number.unwrap_or(default);
        match name {
            "ansicpg" => self.default_charset = Charset::of_page(number_or(1252)).unwrap_or(Charset::ANSI),
            "mac" => self.default_charset = Charset::MAC,
            "pc" => self.default_charset = Charset::of_page(437).unwrap_or(Charset::ANSI),
            "pca" => self.default_charset = Charset::of_page(850).unwrap_or(Charset::ANSI),
            "deff" => self.default_font = number_or(0),
            "uc" => self.group.fallback = number_or(1).clamp(0, 64),
            "f" if self.group.destination == Destination::FontTable => self.tables.begin_font(number_or(0)),
            "f" => self.group.font = number_or(0),
            "fcharset" => self.tables.set_charset(Charset::of_font(number_or(0))),
            "cpg" => self.tables.set_charset(Charset::of_page(number_or(0))),
            "s" if self.group.destination == Destination::StyleSheet => self.tables.begin_style(number_or(0)),
            "s" => self.group.heading = self.tables.heading(number_or(0)),
            "outlinelevel" => {
                let level = number.and_then(|level| u8::try_from(level.saturating_add(1)).ok());
                self.group.heading = level.filter(|level| *level <= 9);
            }
            "plain" => {
                self.group = Group { font: self.default_font, ..self.group.clone() }.without_marks();
            }
            "pard" => (self.group.heading, self.group.in_table) = (None, false),
            "intbl" => self.group.in_table = on,
            "v" => self.group.hidden = on,
            "deleted" => self.group.deleted = on,
            "revised" => self.group.inserted = on,
            "revauth" | "revauthdel" => self.group.reviser = number,
            "yr" | "mo" | "dy" | "hr" | "min" => self.tables.time_part(name, number_or(0)),
            "objemb" | "objlink" | "objocx" => self.embedded = self.embedded.saturating_add(1),
            _ => self.page.control(name, &self.group, &self.tables),
        }
    }

    fn enter(&mut self, destination: Destination) {
        // A destination's text begins without the marks of the text around it.
        self.group.enter(destination);
        self.page.begin(destination);
    }

    fn finish(mut self) {
        self.flush();
        // A file cut short leaves groups open; what they hold is kept.
        let too_deep = self.too_deep;
        self.deeper = 0;
        while !self.outer.is_empty() {
            self.close();
        }
        let (created, changed) = (self.tables.created, self.tables.changed);
        let composer = self.page.finish();
        let metadata = &mut composer.metadata;
        metadata.created_at = created.and_then(|time| Timestamp::parse(&time));
        metadata.modified_at = changed.and_then(|time| Timestamp::parse(&time));
        if self.embedded > 0 {
            metadata.extra.insert("embedded_objects".to_owned(), self.embedded.to_string());
        }
        if too_deep {
            composer.warn(Category::Partial, None, "groups are nested deeper than any program writes them");
        }
    }
}

impl InfoField {
    /// The field a word of the `\info` group begins.
    fn of_word(name: &str) -> Option<Self> {
        Some(match name {
            "title" => Self::Title,
            "subject" => Self::Subject,
            "author" => Self::Author,
            "operator" => Self::Operator,
            "company" => Self::Company,
            "keywords" => Self::Keywords,
            "doccomm" => Self::Description,
            _ => return None,
        })
    }
}
