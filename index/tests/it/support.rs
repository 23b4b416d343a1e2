//! Small documents and short ways to index and search them.

use std::sync::Arc;

use domain::{
    ids::{BatchId, DatabaseId, DocumentId},
    text::{Chunk, Metadata, scalars},
};
use index::{BlockCache, Entry, Generation, Reader, SearchRequest, SearchResults, Writer, query};

use crate::files::MemoryFiles;

/// A document of the tests, owned.
#[derive(Debug, Clone)]
pub(crate) struct Paper {
    pub(crate) id: DocumentId,
    pub(crate) batch: BatchId,
    pub(crate) name: String,
    pub(crate) media_type: String,
    pub(crate) custodian: Option<String>,
    pub(crate) copy_custodians: Vec<String>,
    pub(crate) control_number: Option<String>,
    pub(crate) listed: Vec<String>,
    pub(crate) labels: Vec<String>,
    pub(crate) metadata: Metadata,
    pub(crate) text: String,
    /// Scalars per chunk.
    pub(crate) chunk: usize,
}

impl Paper {
    pub(crate) fn new(name: &str, text: &str) -> Self {
        Self {
            id: DocumentId::new(),
            batch: BatchId::new(),
            name: name.to_owned(),
            media_type: "text/plain".to_owned(),
            custodian: None,
            copy_custodians: Vec::new(),
            control_number: None,
            listed: Vec::new(),
            labels: Vec::new(),
            metadata: Metadata::default(),
            text: text.to_owned(),
            chunk: 80,
        }
    }
}

/// Equal chunks, one page each.
pub(crate) fn chunks(text: &str, size: usize) -> Vec<Chunk> {
    let all: Vec<char> = text.chars().collect();
    let mut chunks = Vec::new();
    let mut start = 0;
    for (ordinal, part) in (0u32..).zip(all.chunks(size)) {
        let text: String = part.iter().collect();
        let end = start + scalars(&text);
        chunks.push(Chunk { ordinal, start, end, first_page: ordinal + 1, last_page: ordinal + 1, text });
        start = end;
    }
    chunks
}

pub(crate) fn add(writer: &mut Writer, paper: &Paper) {
    let chunks = chunks(&paper.text, paper.chunk);
    let entry = Entry {
        document: paper.id,
        family: paper.id,
        batch: paper.batch,
        name: &paper.name,
        path: &paper.name,
        media_type: &paper.media_type,
        custodian: paper.custodian.as_deref(),
        copy_custodians: &paper.copy_custodians,
        control_number: paper.control_number.as_deref(),
        listed: &paper.listed,
        labels: &paper.labels,
        metadata: &paper.metadata,
        pages: u32::try_from(chunks.len()).unwrap(),
        chunks: &chunks,
        text: &paper.text,
    };
    writer.add(&entry).unwrap();
}

pub(crate) fn writer(files: &MemoryFiles, before: Option<&Generation>) -> Writer {
    Writer::open(Arc::new(files.clone()), before.map(|before| &before.meta[..]), 16 << 20, 1).unwrap()
}

pub(crate) fn open(files: &MemoryFiles, generation: &Generation) -> Reader {
    Reader::open(Arc::new(files.clone()), &generation.meta, &BlockCache::new(8 << 20).of(DatabaseId::new())).unwrap()
}

/// An index of `papers`, open.
pub(crate) fn indexed(papers: &[Paper]) -> Reader {
    let files = MemoryFiles::default();
    let mut writer = writer(&files, None);
    for paper in papers {
        add(&mut writer, paper);
    }
    open(&files, &writer.commit().unwrap())
}

pub(crate) fn ask(reader: &Reader, text: &str) -> SearchResults {
    let request = SearchRequest::new(query::parse(text).unwrap_or_else(|error| panic!("{text}: {error}")));
    index::search(std::slice::from_ref(reader), &request).unwrap()
}

/// Names of the documents that match, sorted.
pub(crate) fn found(reader: &Reader, text: &str) -> Vec<String> {
    let mut names: Vec<String> = ask(reader, text).hits.into_iter().map(|hit| hit.name).collect();
    names.sort();
    names
}
