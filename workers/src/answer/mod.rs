//! How a question becomes an answer: [`gather`] finds passages the asker may read now, [`extractive`] picks sentences of
//! theirs, [`cited`] checks what a model made of them, [`voice`] says it while it is written.

pub(crate) mod cited;
pub(crate) mod extractive;
pub(crate) mod gather;
pub(crate) mod voice;

use std::{ops::Range, sync::Arc};

use domain::{
    cite::{self, Retrieved},
    events::{Citation, Sentence},
    ids::{DatabaseId, DocumentId},
    text::{Text, slice},
};
use index::SoughtWord;

/// A retrieved passage with the document it stands in.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) document: DocumentId,
    pub(crate) database: DatabaseId,
    pub(crate) name: Arc<str>,
    /// Scalars of the document's text; never past its end.
    pub(crate) span: Range<u32>,
    pub(crate) text: Arc<Text>,
    /// The words the passage was sought by.
    pub(crate) sought: Arc<[SoughtWord]>,
}

impl Source {
    /// The passage.
    pub(crate) fn passage(&self) -> &str {
        self.text.slice(self.span.clone()).unwrap_or("")
    }

    /// First page of the passage.
    pub(crate) fn page(&self) -> u32 {
        self.text.pages_of(self.span.clone()).0
    }

    /// A citation of `part`, scalars of the passage.
    fn cite(&self, part: Range<u32>) -> Option<Citation> {
        let quote = slice(self.passage(), part.clone())?.to_owned();
        let (start, end) = (self.span.start + part.start, self.span.start + part.end);
        let page = self.text.pages_of(start..end).0;
        Some(Citation {
            document: self.document,
            database: self.database,
            name: self.name.to_string(),
            page,
            start,
            end,
            quote,
        })
    }
}

/// True when the citations stand where they say, inside what was retrieved, and support the sentence.
fn is_supported(sentence: &str, citations: &[Citation], sources: &[Source]) -> bool {
    let text_of =
        |document| sources.iter().find(|source| source.document == document).map(|source| source.text.text.as_str());
    let retrieved: Vec<Retrieved> =
        sources.iter().map(|source| Retrieved { document: source.document, span: source.span.clone() }).collect();
    cite::verify(sentence, citations, text_of, &retrieved).is_ok()
}

/// The sentences as one text.
pub(crate) fn joined(sentences: &[Sentence]) -> String {
    sentences.iter().map(|sentence| sentence.text.as_str()).collect::<Vec<_>>().join(" ")
}
