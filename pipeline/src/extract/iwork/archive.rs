//! Archives of objects (`.iwa`), as Pages, Numbers and Keynote write them since 2013: blocks of Snappy, in them messages,
//! each with the number of its kind. Apple says nothing about them; the numbers are those found by Sean Patrick O'Brien ("iWork 2013
//! format") and by others since.

use std::collections::{BTreeMap, HashMap};

use domain::outcome::Exception;
use time::{Date, Duration, Month};

use super::{
    Found, is_archive,
    protobuf::{Message, number},
    snappy,
};
use crate::extract::{
    asides::{Aside, Kind},
    corrupt,
    package::Package,
};

/// Kinds of messages: who comments, a text with its attributes, a comment, the values of a table.
const AUTHOR: u64 = 212;
const STORAGE: u64 = 2001;
const COMMENT: u64 = 3056;
const TABLE_VALUES: u64 = 6005;
/// Kinds of texts.
const BODY: u64 = 0;
const BOX: u64 = 3;
const NOTE: u64 = 4;
/// The kind of values that are words.
const WORDS: u64 = 1;
/// Most bytes of one archive's objects.
const LARGEST: usize = 64 << 20;
/// Archives with texts that only stand for others.
const PATTERNS: [&str; 5] = ["MasterSlide", "TemplateSlide", "DocumentStylesheet", "ThemeStylesheet", "Annotation"];

/// Reads all archives: the document's own first, slides in the order of their numbers.
pub(super) fn read(package: &mut Package) -> Result<Found, Exception> {
    let mut names: Vec<String> = package.names().iter().filter(|name| is_archive(name)).cloned().collect();
    names.sort_by_cached_key(|name| place(name));
    let mut gathered = Gathered::default();
    for name in names {
        gathered.found.has_numbers |= name.contains("Tables/Tile");
        let bytes = package.part(&name).unwrap_or_default();
        gathered.archive(&opened(&bytes), PATTERNS.iter().any(|pattern| name.contains(pattern)));
    }
    if gathered.objects == 0 {
        return Err(corrupt("the document's objects are damaged"));
    }
    Ok(gathered.finish())
}

/// Where an archive stands among the others: `Slide-12` after `Slide-9`.
fn place(name: &str) -> (bool, String, u64) {
    let stem = name.rsplit('/').next().unwrap_or(name).trim_end_matches(".iwa");
    let digits = stem.len().saturating_sub(stem.trim_end_matches(|scalar: char| scalar.is_ascii_digit()).len());
    let (word, number) = stem.split_at_checked(stem.len().saturating_sub(digits)).unwrap_or((stem, ""));
    (!name.ends_with("Document.iwa"), word.to_owned(), number.parse().unwrap_or(0))
}

/// The content of an archive: blocks with a byte that is zero and three of length.
fn opened(bytes: &[u8]) -> Vec<u8> {
    let (mut content, mut rest) = (Vec::new(), bytes);
    while let Some(([0, l0, l1, l2], after)) = rest.split_first_chunk::<4>() {
        let length = u32::from_le_bytes([*l0, *l1, *l2, 0]) as usize;
        let (block, after) = after.split_at_checked(length).unwrap_or((after, &[]));
        rest = after;
        if snappy::block(block, LARGEST.saturating_sub(content.len()), &mut content).is_none() {
            break;
        }
    }
    content
}

#[derive(Default)]
struct Gathered {
    found: Found,
    /// What stands around the body: headers, footnotes, boxes, cells.
    around: Vec<String>,
    authors: HashMap<u64, String>,
    comments: Vec<(Aside, Option<u64>)>,
    objects: usize,
}

impl Gathered {
    /// Walks through the objects: a description with the kinds and lengths of the messages, then these.
    fn archive(&mut self, content: &[u8], is_pattern: bool) {
        let mut rest = content;
        while let Some((length, after)) = number(rest) {
            let Some((info, after)) = usize::try_from(length).ok().and_then(|length| after.split_at_checked(length))
            else {
                return;
            };
            rest = after;
            let info = Message(info);
            let id = info.number(1).unwrap_or_default();
            for described in info.all(2).map(Message) {
                let length = usize::try_from(described.number(3).unwrap_or_default()).unwrap_or(usize::MAX);
                let Some((message, after)) = rest.split_at_checked(length) else { return };
                rest = after;
                self.objects = self.objects.saturating_add(1);
                self.message(id, described.number(1).unwrap_or_default(), Message(message), is_pattern);
            }
        }
    }

    fn message(&mut self, id: u64, kind: u64, message: Message<'_>, is_pattern: bool) {
        match kind {
            AUTHOR => self.authors.extend(message.text(1).map(|name| (id, name))),
            COMMENT => {
                let at = message.message(2).and_then(|date| day(date.all(1).next()?));
                let by = message.message(3).and_then(|author| author.number(1));
                let aside = message.text(1).map(|text| Aside { kind: Kind::Comment, by: None, at, text });
                self.comments.extend(aside.map(|aside| (aside, by)));
            }
            STORAGE if !is_pattern => {
                let text: String = message.all(3).map(String::from_utf8_lossy).collect();
                // What stands for a picture, a table or a footnote.
                let text = text.replace('\u{fffc}', "");
                if text.trim().is_empty() {
                    return;
                }
                match message.number(1).unwrap_or(BOX) {
                    BODY => self.found.body.push(text),
                    NOTE => self.found.notes.push(text),
                    _ => self.around.push(text),
                }
            }
            TABLE_VALUES if !is_pattern && message.number(1) == Some(WORDS) => {
                let entries = message.all(3).map(Message);
                let words: BTreeMap<u64, String> =
                    entries.filter_map(|entry| Some((entry.number(1)?, entry.text(3)?))).collect();
                self.around.extend(words.into_values());
            }
            _ => {}
        }
    }

    fn finish(mut self) -> Found {
        self.found.body.append(&mut self.around);
        for (mut comment, by) in self.comments {
            comment.by = by.and_then(|by| self.authors.get(&by).cloned());
            self.found.comments.push(comment);
        }
        self.found
    }
}

/// The day of a time in seconds since 2001.
fn day(seconds: &[u8]) -> Option<String> {
    let seconds = f64::from_le_bytes(*seconds.first_chunk()?);
    let first = Date::from_calendar_date(2001, Month::January, 1).ok()?;
    let day = first.checked_add(Duration::checked_seconds_f64(seconds)?)?;
    Some(day.to_string())
}
