//! What the index is given, and what it gives back with a hit.

use domain::{
    clock::Timestamp,
    ids::{BatchId, DocumentId},
    text::{Chunk, Metadata},
};
use serde::{Deserialize, Serialize};
use tantivy::TantivyDocument;

use crate::{
    Result,
    schema::{CHUNK, DOCUMENT, Fields},
};

/// Scalars of the text that stand for the document when a question is routed (the title, the parties, the date).
const HEADER_SCALARS: usize = 900;

/// One document as the index wants it.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// The document.
    pub document: DocumentId,
    /// The outermost container of its family; the document itself when it stands alone.
    pub family: DocumentId,
    /// The delivery it came with.
    pub batch: BatchId,
    /// File name, or the name given to an unpacked item.
    pub name: &'a str,
    /// Where it lay in its delivery, for display.
    pub path: &'a str,
    /// Media type, as `application/pdf`.
    pub media_type: &'a str,
    /// Whose papers these are.
    pub custodian: Option<&'a str>,
    /// Who else had a copy that is not indexed by itself: it is found by their names too.
    pub copy_custodians: &'a [String],
    /// Labels put on it by reviewers.
    pub labels: &'a [String],
    /// Its number in a production (Bates number, control number).
    pub control_number: Option<&'a str>,
    /// What else a load file says of it, values only.
    pub listed: &'a [String],
    /// What the document says about itself.
    pub metadata: &'a Metadata,
    /// Number of pages.
    pub pages: u32,
    /// Its passages, ascending; `text` of each is exactly the span of the canonical text.
    pub chunks: &'a [Chunk],
    /// The canonical text.
    pub text: &'a str,
}

/// What is kept of a document for display.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Card {
    pub(crate) document: DocumentId,
    pub(crate) family: DocumentId,
    pub(crate) batch: BatchId,
    pub(crate) name: String,
    pub(crate) path: String,
    pub(crate) media_type: String,
    pub(crate) custodian: Option<String>,
    pub(crate) labels: Vec<String>,
    pub(crate) title: Option<String>,
    pub(crate) subject: Option<String>,
    pub(crate) from: Option<String>,
    pub(crate) date: Option<Timestamp>,
    pub(crate) pages: u32,
    pub(crate) chunks: u32,
}

/// What is kept of a chunk: its place in the document and its text.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) chunk: Chunk,
}

impl Entry<'_> {
    /// The entries to add: the document first, then its chunks.
    pub(crate) fn documents(&self, fields: &Fields) -> Result<Vec<TantivyDocument>> {
        let mut documents = Vec::with_capacity(self.chunks.len() + 1);
        documents.push(self.document_entry(fields)?);
        for chunk in self.chunks {
            let mut entry = self.blank(fields, CHUNK);
            entry.add_text(fields.passage, &chunk.text);
            entry.add_text(fields.stems, &chunk.text);
            entry.add_bytes(fields.stored, &serde_json::to_vec(&Place { chunk: chunk.clone() })?);
            documents.push(entry);
        }
        Ok(documents)
    }

    fn document_entry(&self, fields: &Fields) -> Result<TantivyDocument> {
        let mut entry = self.blank(fields, DOCUMENT);
        entry.add_bytes(fields.stored, &serde_json::to_vec(&self.card())?);
        entry.add_bytes(fields.batch, self.batch.uuid().as_bytes());
        entry.add_text(fields.body, self.text);
        entry.add_text(fields.name, self.name);
        entry.add_text(fields.about, self.name);
        entry.add_text(fields.header, spaced(stem_of(self.name)));
        entry.add_text(fields.header, beginning(self.text));
        for (field, value) in [
            (fields.title, &self.metadata.title),
            (fields.subject, &self.metadata.subject),
            (fields.author, &self.metadata.author),
            (fields.from, &self.metadata.from),
        ] {
            let Some(value) = value else { continue };
            entry.add_text(field, value);
            entry.add_text(fields.about, value);
            entry.add_text(fields.header, value);
        }
        for (field, values) in [(fields.to, &self.metadata.to), (fields.cc, &self.metadata.cc)] {
            for value in values {
                entry.add_text(field, value);
                entry.add_text(fields.about, value);
            }
        }
        let others = self.copy_custodians.iter().map(String::as_str).filter(|other| Some(*other) != self.custodian);
        for custodian in self.custodian.into_iter().chain(others) {
            entry.add_text(fields.custodian, custodian);
            entry.add_text(fields.exact_custodian, custodian);
        }
        for label in self.labels {
            entry.add_text(fields.label, label);
            entry.add_text(fields.exact_label, label);
        }
        if let Some(number) = self.control_number {
            entry.add_text(fields.name, number);
            entry.add_text(fields.about, number);
        }
        for value in self.listed {
            entry.add_text(fields.about, value);
        }
        entry.add_text(fields.media_type, self.media_type);
        entry.add_text(fields.exact_type, self.media_type);
        if let Some((_, extension)) = self.name.rsplit_once('.') {
            entry.add_text(fields.media_type, extension);
        }
        if let Some(date) = self.metadata.date() {
            entry.add_i64(fields.date, date.micros());
        }
        Ok(entry)
    }

    fn blank(&self, fields: &Fields, kind: u64) -> TantivyDocument {
        let (high, low) = self.document.uuid().as_u64_pair();
        let mut entry = TantivyDocument::default();
        entry.add_u64(fields.kind, kind);
        entry.add_bytes(fields.document, self.document.uuid().as_bytes());
        entry.add_u64(fields.id_high, high);
        entry.add_u64(fields.id_low, low);
        entry
    }

    fn card(&self) -> Card {
        Card {
            document: self.document,
            family: self.family,
            batch: self.batch,
            name: self.name.to_owned(),
            path: self.path.to_owned(),
            media_type: self.media_type.to_owned(),
            custodian: self.custodian.map(str::to_owned),
            labels: self.labels.to_vec(),
            title: self.metadata.title.clone(),
            subject: self.metadata.subject.clone(),
            from: self.metadata.from.clone(),
            date: self.metadata.date(),
            pages: self.pages,
            chunks: u32::try_from(self.chunks.len()).unwrap_or(u32::MAX),
        }
    }
}

/// The beginning of a text, as far as it names the document.
fn beginning(text: &str) -> &str {
    let end = text.char_indices().nth(HEADER_SCALARS).map_or(text.len(), |(at, _)| at);
    &text[..end]
}

/// A file name without its extension.
fn stem_of(name: &str) -> &str {
    match name.rsplit_once('.') {
        Some((stem, extension)) if !stem.is_empty() && extension.len() <= 5 => stem,
        _ => name,
    }
}

/// `GarrettMotionInc2018` as `Garrett Motion Inc 2018`: file names run words together, questions do not.
fn spaced(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 8);
    let mut before = ' ';
    for c in name.chars() {
        let turn = (before.is_lowercase() && c.is_uppercase()) || (before.is_alphabetic() && c.is_numeric());
        if turn {
            out.push(' ');
        }
        out.push(c);
        before = c;
    }
    out
}
