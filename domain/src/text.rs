//! The text of a document as everything after extraction sees it: one canonical string, pages as spans of it, words with
//! boxes where the format has them, and metadata. All offsets count Unicode scalar values from the start of the canonical
//! text; spans are half-open.

use std::{collections::BTreeMap, ops::Range};

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

/// Everything extraction learned about one document.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Text {
    /// The canonical text: all pages in order, each followed by one `\n` unless it is the last. Never contains `\0`.
    pub text: String,
    /// The pages, ascending and non-overlapping; never empty for a document that has text.
    pub pages: Vec<PageText>,
    /// Headings found in the text, ascending by start; used to cut chunks.
    pub headings: Vec<Heading>,
    /// What the document says about itself.
    pub metadata: Metadata,
    /// What could not be read, if the document is partly readable. Each entry becomes a warning on the document.
    pub warnings: Vec<Warning>,
}

/// One page: a PDF page, a slide, a sheet, an image frame; formats without pages have one page.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct PageText {
    /// Number from 1, as a reader counts.
    pub number: u32,
    /// Where the page's text starts, in scalars of the canonical text.
    pub start: u32,
    /// Where it ends (exclusive).
    pub end: u32,
    /// Where what stands beside the page's text begins (comments, tracked changes, form values, each a line that begins with
    /// what it is in brackets), when there is any; it reaches to the page's end.
    pub asides: Option<u32>,
    /// Where the text came from.
    pub source: PageSource,
    /// Width and height in points (1/72 inch), where the format has a page size.
    pub size: Option<(f32, f32)>,
    /// Sheet name, slide title or printed page label, where there is one.
    pub label: Option<String>,
    /// Words with their boxes, ascending by start; empty where the format has no geometry.
    pub words: Vec<Word>,
}

/// Where a page's text came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PageSource {
    /// The file itself holds the text.
    #[default]
    Native,
    /// Optical character recognition of the page's image.
    Ocr,
    /// The page has no text and none was recognised.
    Empty,
}

/// One word on a page and where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Word {
    /// First scalar, in the canonical text.
    pub start: u32,
    /// One past the last scalar.
    pub end: u32,
    /// Left, top, right, bottom in points from the top left corner of the page.
    pub bbox: [f32; 4],
    /// How sure recognition is of the word, from 0 to 100; `None` where the file itself holds the text.
    pub confidence: Option<u8>,
}

/// A heading: where it stands and how deep (1 is the outermost).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heading {
    /// First scalar of the heading's line.
    pub start: u32,
    /// One past its last scalar.
    pub end: u32,
    /// Depth from 1 to 9.
    pub level: u8,
}

/// Something of a document that could not be read while the rest could.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// The category, as for a whole-document exception.
    pub category: crate::outcome::Category,
    /// The page concerned, from 1.
    pub page: Option<u32>,
    /// What happened, without any of the document's text.
    pub detail: String,
}

/// What a document says about itself. Absent fields were not in the file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Metadata {
    /// Title property of a file.
    pub title: Option<String>,
    /// Author property of a file, or creator.
    pub author: Option<String>,
    /// Subject line of a message, or subject property of a file.
    pub subject: Option<String>,
    /// Sender, as `Name <address>` or whichever part exists.
    pub from: Option<String>,
    /// Primary recipients.
    #[serde(default)]
    pub to: Vec<String>,
    /// Copied recipients.
    #[serde(default)]
    pub cc: Vec<String>,
    /// Blind-copied recipients, when the file has them.
    #[serde(default)]
    pub bcc: Vec<String>,
    /// When a message was sent.
    pub sent_at: Option<Timestamp>,
    /// When a message arrived in the mailbox it was taken from.
    #[serde(default)]
    pub received_at: Option<Timestamp>,
    /// When the file says it was created.
    pub created_at: Option<Timestamp>,
    /// When the file says it was last changed.
    pub modified_at: Option<Timestamp>,
    /// Message-ID of a message, without angle brackets.
    pub message_id: Option<String>,
    /// In-Reply-To, without angle brackets.
    pub in_reply_to: Option<String>,
    /// References, oldest first, without angle brackets.
    #[serde(default)]
    pub references: Vec<String>,
    /// Conversation-Index of a message (MS-OXOMSG 2.2.1.3), in hexadecimal digits: 22 bytes for the first message of a
    /// conversation and 5 more for each reply.
    #[serde(default)]
    pub conversation_index: Option<String>,
    /// EDRM Message Identification Hash of a message: MD5 of its Message-ID, 32 upper-case hexadecimal digits.
    #[serde(default)]
    pub message_hash: Option<String>,
    /// Hash of what a message says (people, time, subject, body, attachments): SHA-256, 64 hexadecimal digits; equal for
    /// copies that lost their Message-ID.
    #[serde(default)]
    pub content_hash: Option<String>,
    /// Anything else worth keeping, by its name in the format.
    #[serde(default)]
    pub extra: BTreeMap<String, String>,
}

impl Metadata {
    /// The date a lawyer would file the document under: sent, else modified, else created.
    pub fn date(&self) -> Option<Timestamp> {
        self.sent_at.or(self.modified_at).or(self.created_at)
    }
}

impl Text {
    /// Page numbers of the first and last page that `span` (scalars) touches; `(1, 1)` when there are no pages.
    pub fn pages_of(&self, span: Range<u32>) -> (u32, u32) {
        let mut touched = self.pages.iter().filter(|p| p.start < span.end.max(span.start + 1) && span.start <= p.end);
        let first = touched.next().map_or(1, |p| p.number);
        (first, touched.rfind(|p| p.start < span.end).map_or(first, |p| p.number))
    }

    /// The text of `span` (scalars), or `None` when it reaches past the end.
    pub fn slice(&self, span: Range<u32>) -> Option<&str> {
        slice(&self.text, span)
    }
}

/// The part of `text` between two scalar offsets, or `None` when the span is reversed or reaches past the end.
pub fn slice(text: &str, span: Range<u32>) -> Option<&str> {
    if span.start > span.end {
        return None;
    }
    let start = byte_offset(text, span.start)?;
    let rest = text.get(start..)?;
    rest.get(..byte_offset(rest, span.end - span.start)?)
}

/// Byte offset of the scalar at `scalar`; the length of `text` for one past the last; `None` beyond.
fn byte_offset(text: &str, scalar: u32) -> Option<usize> {
    let mut left = scalar as usize;
    if text.is_ascii() {
        return (left <= text.len()).then_some(left);
    }
    for (at, _) in text.char_indices() {
        if left == 0 {
            return Some(at);
        }
        left -= 1;
    }
    (left == 0).then_some(text.len())
}

/// Number of Unicode scalar values in `text`, as the offsets here count.
pub fn scalars(text: &str) -> u32 {
    u32::try_from(text.chars().count()).unwrap_or(u32::MAX)
}

/// A passage of a document's text, the unit that is indexed and retrieved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// Position in the document, from 0.
    pub ordinal: u32,
    /// First scalar of the passage in the canonical text.
    pub start: u32,
    /// One past its last scalar.
    pub end: u32,
    /// First page it touches, from 1.
    pub first_page: u32,
    /// Last page it touches.
    pub last_page: u32,
    /// The passage itself, exactly `text[start..end]`.
    pub text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_pages() -> Text {
        let page = |number, start, end| PageText { number, start, end, ..PageText::default() };
        Text { text: "añb\nxyz".into(), pages: vec![page(1, 0, 3), page(2, 4, 7)], ..Text::default() }
    }

    #[test]
    fn spans_are_scalars_not_bytes() {
        let text = two_pages();
        assert_eq!(text.slice(1..3), Some("ñb"));
        assert_eq!(text.slice(4..7), Some("xyz"));
        assert_eq!(text.slice(7..7), Some(""));
        assert_eq!(text.slice(5..8), None);
        assert_eq!(slice("ab", Range { start: 2, end: 1 }), None);
    }

    #[test]
    fn a_span_knows_its_pages() {
        let text = two_pages();
        assert_eq!(text.pages_of(0..2), (1, 1));
        assert_eq!(text.pages_of(2..5), (1, 2));
        assert_eq!(text.pages_of(4..7), (2, 2));
        assert_eq!(Text::default().pages_of(0..0), (1, 1));
    }
}
