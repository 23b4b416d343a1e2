//! The fields of the index, once. Changing anything here is a new version: `Error::Version` tells the caller to reindex.

use tantivy::{
    Term,
    schema::{BytesOptions, FAST, Field, INDEXED, IndexRecordOption, STORED, Schema, TextFieldIndexing, TextOptions},
};
use uuid::Uuid;

use crate::words::{PLAIN, STEMMED};

/// Value of [`Fields::kind`] in a document entry.
pub(crate) const DOCUMENT: u64 = 0;
/// Value of [`Fields::kind`] in a chunk entry.
pub(crate) const CHUNK: u64 = 1;

/// Handles of all fields.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fields {
    /// [`DOCUMENT`] or [`CHUNK`].
    pub(crate) kind: Field,
    /// The document's id, in both kinds: deletes and scopes go by it.
    pub(crate) document: Field,
    /// The upper and lower half of the document's id, as columns: ordering and grouping go by them.
    pub(crate) id_high: Field,
    pub(crate) id_low: Field,
    /// What is given back with a hit: a `Card` or a `Place`, as JSON.
    pub(crate) stored: Field,

    /// Document entries: the whole text.
    pub(crate) body: Field,
    /// Everything short that is said about the document; a bare word of a query is sought here and in the body.
    pub(crate) about: Field,
    /// Name and beginning of the text, stemmed: finds the document a question speaks of.
    pub(crate) header: Field,
    pub(crate) name: Field,
    pub(crate) subject: Field,
    pub(crate) from: Field,
    pub(crate) to: Field,
    pub(crate) cc: Field,
    pub(crate) author: Field,
    pub(crate) title: Field,
    pub(crate) custodian: Field,
    pub(crate) label: Field,
    pub(crate) media_type: Field,
    /// Exact values, for filters and facets.
    pub(crate) exact_custodian: Field,
    pub(crate) exact_label: Field,
    pub(crate) exact_type: Field,
    pub(crate) batch: Field,
    /// Microseconds since the epoch.
    pub(crate) date: Field,

    /// Chunk entries: the passage as litigators search it, with positions for phrases.
    pub(crate) passage: Field,
    /// The passage stemmed, for questions.
    pub(crate) stems: Field,
}

impl Fields {
    /// The term that all entries of a document share.
    pub(crate) fn document_term(&self, id: Uuid) -> Term {
        Term::from_field_bytes(self.document, id.as_bytes())
    }
}

/// Builds the schema and the handles into it.
pub(crate) fn schema() -> (Schema, Fields) {
    let mut schema = Schema::builder();
    let text = |analyzer: &str, record| {
        TextOptions::default()
            .set_indexing_options(TextFieldIndexing::default().set_tokenizer(analyzer).set_index_option(record))
    };
    let phrases = text(PLAIN, IndexRecordOption::WithFreqsAndPositions);
    let stems = text(STEMMED, IndexRecordOption::WithFreqs);
    let exact = TextOptions::default()
        .set_indexing_options(
            TextFieldIndexing::default()
                .set_tokenizer("raw")
                .set_fieldnorms(false)
                .set_index_option(IndexRecordOption::Basic),
        )
        .set_fast("raw");
    let fields = Fields {
        kind: schema.add_u64_field("kind", INDEXED),
        document: schema.add_bytes_field("document", BytesOptions::default().set_indexed()),
        id_high: schema.add_u64_field("id_high", FAST),
        id_low: schema.add_u64_field("id_low", FAST),
        stored: schema.add_bytes_field("stored", STORED),
        body: schema.add_text_field("body", phrases.clone()),
        about: schema.add_text_field("about", phrases.clone()),
        header: schema.add_text_field("header", stems.clone()),
        name: schema.add_text_field("name", phrases.clone()),
        subject: schema.add_text_field("subject", phrases.clone()),
        from: schema.add_text_field("from", phrases.clone()),
        to: schema.add_text_field("to", phrases.clone()),
        cc: schema.add_text_field("cc", phrases.clone()),
        author: schema.add_text_field("author", phrases.clone()),
        title: schema.add_text_field("title", phrases.clone()),
        custodian: schema.add_text_field("custodian", phrases.clone()),
        label: schema.add_text_field("label", phrases.clone()),
        media_type: schema.add_text_field("type", phrases.clone()),
        exact_custodian: schema.add_text_field("exact_custodian", exact.clone()),
        exact_label: schema.add_text_field("exact_label", exact.clone()),
        exact_type: schema.add_text_field("exact_type", exact),
        batch: schema.add_bytes_field("batch", BytesOptions::default().set_indexed()),
        date: schema.add_i64_field("date", FAST),
        passage: schema.add_text_field("passage", phrases),
        stems: schema.add_text_field("stems", stems),
    };
    (schema.build(), fields)
}
