//! Writing the next generation of an index. Files already published are never touched: a writer adds new ones to its view
//! and ends by naming those that the new generation needs.

use std::{collections::BTreeSet, path::PathBuf, sync::Arc};

use domain::{
    files::SealedFiles,
    ids::{DatabaseId, DocumentId},
};
use tantivy::{
    Directory as _, Index, IndexSettings, IndexWriter, Opstamp, ReloadPolicy, Term, collector::Count,
    indexer::UserOperation, query::TermQuery, schema::IndexRecordOption,
};

use crate::{
    Entry, Error, Result,
    directory::{BlockCache, SealedDirectory},
    schema::{CHUNK, DOCUMENT, Fields, schema},
    words::analyzers,
};

/// tantivy refuses smaller arenas than 15 MB and panics on none.
const MIN_BYTES_PER_THREAD: usize = 16_000_000;
const MAX_BYTES_PER_THREAD: usize = 2_000_000_000;
/// tantivy's own bound on indexing threads.
const MAX_THREADS: usize = 8;
/// Blocks a writer keeps while it looks up deletes; merges read past the cache anyway.
const CACHE_BYTES: usize = 4 << 20;

/// What must be kept to open a generation again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generation {
    /// Names the living segments; a few hundred bytes per segment. It holds no text of a document.
    pub meta: Vec<u8>,
    /// The files the generation needs, sorted; every other file of the view may be forgotten.
    pub files: Vec<String>,
    /// Living documents.
    pub documents: u64,
    /// Living chunks.
    pub chunks: u64,
}

/// Adds and deletes documents, and ends in a [`Generation`]. Dropped before [`Writer::commit`] it leaves unnamed files only.
pub struct Writer {
    engine: IndexWriter,
    directory: SealedDirectory,
    files: Arc<dyn SealedFiles>,
    fields: Fields,
}

impl Writer {
    /// Continues the generation of `meta`, or begins an empty index. `memory_bytes` bounds what is buffered before a
    /// segment is written (at least 16 MB per thread); `threads` index at the same time, 1 to 8.
    pub fn open(files: Arc<dyn SealedFiles>, meta: Option<&[u8]>, memory_bytes: usize, threads: usize) -> Result<Self> {
        let (schema, fields) = schema();
        // A cache of its own: it reads one index, once.
        let blocks = BlockCache::new(CACHE_BYTES).of(DatabaseId::new());
        let directory = SealedDirectory::new(files.clone(), blocks, meta);
        let mut index = match meta {
            None => Index::create(directory.clone(), schema.clone(), IndexSettings::default())?,
            Some(_) => Index::open(directory.clone())?,
        };
        if index.schema() != schema {
            return Err(Error::Version);
        }
        index.set_tokenizers(analyzers());
        let threads = threads.clamp(1, MAX_THREADS);
        let bytes = (memory_bytes / threads).clamp(MIN_BYTES_PER_THREAD, MAX_BYTES_PER_THREAD) * threads;
        let engine = index.writer_with_num_threads(threads, bytes)?;
        Ok(Self { engine, directory, files, fields })
    }

    /// Adds a document, replacing an earlier version of it.
    pub fn add(&mut self, entry: &Entry<'_>) -> Result<()> {
        let entries = entry.documents(&self.fields)?;
        let mut operations = Vec::with_capacity(entries.len() + 1);
        operations.push(UserOperation::Delete(self.fields.document_term(entry.document.uuid())));
        // One batch goes to one segment, so the chunks of a document stay together.
        operations.extend(entries.into_iter().map(UserOperation::Add));
        self.engine.run(operations)?;
        Ok(())
    }

    /// Deletes a document; one that is not there is no error.
    pub fn delete(&mut self, document: DocumentId) -> Result<()> {
        let _: Opstamp = self.engine.delete_term(self.fields.document_term(document.uuid()));
        Ok(())
    }

    /// Writes what was added, waits for merges, removes from the view what they replaced, and names what remains.
    pub fn commit(mut self) -> Result<Generation> {
        self.engine.commit()?;
        let index = self.engine.index().clone();
        self.engine.wait_merging_threads()?;
        let living = living_files(&index, &self.directory)?;
        for file in index.directory().list_managed_files() {
            let name = file.to_string_lossy();
            if !living.contains(name.as_ref()) && self.files.exists(&name) {
                self.files.remove(&name)?;
            }
        }
        let meta = self.directory.meta().ok_or(Error::Version)?;
        let searcher = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into()?.searcher();
        let count = |kind| -> Result<u64> {
            let query = TermQuery::new(Term::from_field_u64(self.fields.kind, kind), IndexRecordOption::Basic);
            Ok(searcher.search(&query, &Count)? as u64)
        };
        Ok(Generation { meta, files: living.into_iter().collect(), documents: count(DOCUMENT)?, chunks: count(CHUNK)? })
    }
}

/// The files of the living segments that exist. (tantivy lists every file a segment might have.)
fn living_files(index: &Index, directory: &SealedDirectory) -> Result<BTreeSet<String>> {
    let mut living = BTreeSet::new();
    for path in segment_files(index)? {
        if directory.exists(&path).map_err(tantivy::TantivyError::from)? {
            living.insert(path.to_string_lossy().into_owned());
        }
    }
    Ok(living)
}

fn segment_files(index: &Index) -> Result<Vec<PathBuf>> {
    Ok(index.load_metas()?.list_segment_files().into_iter().collect())
}
