//! One generation of an index, open for reading.

use std::sync::Arc;

use domain::{files::SealedFiles, ids::DocumentId};
use serde::de::DeserializeOwned;
use tantivy::{
    DocAddress, Index, ReloadPolicy, Searcher, SegmentOrdinal, SegmentReader, TantivyDocument, TantivyError, Term,
    columnar::{Column, StrColumn},
    query::Bm25StatisticsProvider,
    schema::{Field, Value as _},
};

use crate::{
    Error, Result,
    directory::{Blocks, SealedDirectory},
    schema::{CHUNK, DOCUMENT, Fields, schema},
    words::analyzers,
};

/// A published generation, open. It never changes; clones are cheap and may be used from any thread.
#[derive(Clone)]
pub struct Reader {
    inner: Arc<Inner>,
}

struct Inner {
    searcher: Searcher,
    fields: Fields,
    /// One per segment, in the searcher's order.
    columns: Vec<Columns>,
    /// Entries of each kind, deleted ones included, as BM25 counts.
    documents: u64,
    chunks: u64,
}

/// The columns of one segment that searches look at; opened once, they stay decrypted as long as the reader lives.
#[derive(Clone)]
pub(crate) struct Columns {
    id_high: Option<Column<u64>>,
    id_low: Option<Column<u64>>,
    date: Option<Column<i64>>,
    pub(crate) media_type: Option<StrColumn>,
    pub(crate) custodian: Option<StrColumn>,
    pub(crate) label: Option<StrColumn>,
}

impl Reader {
    /// Opens the generation that `meta` names. Decrypted blocks are kept in `blocks`, its database's part
    /// of the one cache of the process.
    pub fn open(files: Arc<dyn SealedFiles>, meta: &[u8], blocks: &Blocks) -> Result<Self> {
        let (schema, fields) = schema();
        let mut index = Index::open(SealedDirectory::new(files, blocks.clone(), Some(meta)))?;
        if index.schema() != schema {
            return Err(Error::Version);
        }
        index.set_tokenizers(analyzers());
        let searcher = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into()?.searcher();
        let columns = searcher.segment_readers().iter().map(Columns::open).collect::<Result<_>>()?;
        let entries = |kind| searcher.doc_freq(&Term::from_field_u64(fields.kind, kind));
        let (documents, chunks) = (entries(DOCUMENT)?, entries(CHUNK)?);
        Ok(Self { inner: Arc::new(Inner { searcher, fields, columns, documents, chunks }) })
    }

    /// Entries of any kind that live: documents and chunks together.
    pub fn entries(&self) -> u64 {
        self.inner.searcher.num_docs()
    }

    pub(crate) fn searcher(&self) -> &Searcher {
        &self.inner.searcher
    }

    pub(crate) fn fields(&self) -> &Fields {
        &self.inner.fields
    }

    /// The columns of one segment.
    pub(crate) fn columns_of(&self, segment: SegmentOrdinal) -> tantivy::Result<Columns> {
        let columns = self.inner.columns.get(segment as usize).cloned();
        columns.ok_or_else(|| TantivyError::InternalError("a segment has no columns".into()))
    }

    /// The record kept of an entry.
    pub(crate) fn stored<T: DeserializeOwned>(&self, address: DocAddress) -> Result<T> {
        let document: TantivyDocument = self.inner.searcher.doc(address)?;
        let bytes = document.get_first(self.inner.fields.stored).and_then(|value| value.as_bytes()).unwrap_or_default();
        Ok(serde_json::from_slice(bytes)?)
    }
}

impl Columns {
    fn open(segment: &SegmentReader) -> Result<Self> {
        let columns = segment.fast_fields();
        Ok(Self {
            id_high: columns.column_opt("id_high")?,
            id_low: columns.column_opt("id_low")?,
            date: columns.column_opt("date")?,
            media_type: columns.str("exact_type")?,
            custodian: columns.str("exact_custodian")?,
            label: columns.str("exact_label")?,
        })
    }

    /// The document of an entry, as a number that orders as its id does.
    pub(crate) fn id(&self, entry: u32) -> u128 {
        let half = |column: &Option<Column<u64>>| column.as_ref().and_then(|c| c.first(entry)).unwrap_or(0);
        (u128::from(half(&self.id_high)) << 64) | u128::from(half(&self.id_low))
    }

    /// Date of a document entry in microseconds since the epoch.
    pub(crate) fn date(&self, entry: u32) -> Option<i64> {
        self.date.as_ref().and_then(|column| column.first(entry))
    }
}

/// The id that [`Columns::id`] gave as a number.
pub(crate) fn document_id(id: u128) -> DocumentId {
    DocumentId(uuid::Uuid::from_u128(id))
}

/// Word statistics over all readers searched together, counted among entries of one kind, so that scores of several
/// databases compare and chunks do not distort the average length of documents.
pub(crate) struct Statistics<'a> {
    readers: &'a [Reader],
    entries: u64,
}

impl<'a> Statistics<'a> {
    /// Statistics for queries on document entries.
    pub(crate) fn documents(readers: &'a [Reader]) -> Self {
        Self { readers, entries: readers.iter().map(|reader| reader.inner.documents).sum() }
    }

    /// Statistics for queries on chunk entries.
    pub(crate) fn chunks(readers: &'a [Reader]) -> Self {
        Self { readers, entries: readers.iter().map(|reader| reader.inner.chunks).sum() }
    }
}

impl Bm25StatisticsProvider for Statistics<'_> {
    fn total_num_tokens(&self, field: Field) -> tantivy::Result<u64> {
        self.readers.iter().map(|reader| reader.searcher().total_num_tokens(field)).sum()
    }

    fn total_num_docs(&self) -> tantivy::Result<u64> {
        Ok(self.entries)
    }

    /// Never above the number of entries, which BM25 asserts: the id of a document is in entries of both kinds.
    fn doc_freq(&self, term: &Term) -> tantivy::Result<u64> {
        let total: u64 =
            self.readers.iter().map(|reader| reader.searcher().doc_freq(term)).sum::<tantivy::Result<_>>()?;
        Ok(total.min(self.entries))
    }
}
