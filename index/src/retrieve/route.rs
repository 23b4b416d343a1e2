//! Finds the documents a question speaks of.

use std::collections::{HashMap, HashSet};

use tantivy::{
    DocAddress, DocSet as _, Score, TERMINATED, Term,
    collector::TopDocs,
    query::{BooleanQuery, Occur, Query as Compiled, TermQuery},
    schema::IndexRecordOption,
};

use super::question::Question;
use crate::{
    Reader, Result, Scope,
    entry::Card,
    reader::{Statistics, document_id},
    search::every_document,
};

/// Documents whose chunks are asked the residual.
const MAX_ROUTED: usize = 8;

/// A document the question may speak of.
pub(super) struct Routed {
    pub(super) source: usize,
    pub(super) id: u128,
    /// BM25 of the question on its header.
    pub(super) score: Score,
    /// Stems of the question that its header has.
    pub(super) named: HashSet<String>,
    /// How many chunks it has.
    pub(super) chunks: u32,
}

/// The documents in `scope` whose header fits the question best, best first.
pub(super) fn route(readers: &[Reader], question: &Question, scope: &Scope) -> Result<Vec<Routed>> {
    let statistics = Statistics::documents(readers);
    let mut best: Vec<(Score, u128, usize, DocAddress)> = Vec::new();
    for (source, reader) in readers.iter().enumerate() {
        let query = by_header(reader, question, scope);
        let top = TopDocs::with_limit(MAX_ROUTED).order_by_score();
        for (score, entry) in reader.searcher().search_with_statistics_provider(&query, &top, &statistics)? {
            let id = reader.columns_of(entry.segment_ord)?.id(entry.doc_id);
            best.push((score, id, source, entry));
        }
    }
    best.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    best.truncate(MAX_ROUTED);
    let mut routed = Vec::with_capacity(best.len());
    for (score, id, source, entry) in best {
        let Some(reader) = readers.get(source) else { continue };
        let chunks = reader.stored::<Card>(entry)?.chunks;
        routed.push(Routed { source, id, score, named: named(reader, question, entry)?, chunks });
    }
    Ok(routed)
}

/// The router's scores of the documents `ids` of one of the readers.
pub(super) fn router_scores(
    readers: &[Reader],
    reader: &Reader,
    question: &Question,
    ids: &HashSet<u128>,
) -> Result<HashMap<u128, Score>> {
    let mut scores = HashMap::with_capacity(ids.len());
    if ids.is_empty() {
        return Ok(scores);
    }
    let scope = Scope::of_documents(ids.iter().map(|id| document_id(*id)));
    let query = by_header(reader, question, &scope);
    let top = TopDocs::with_limit(ids.len()).order_by_score();
    let statistics = Statistics::documents(readers);
    for (score, entry) in reader.searcher().search_with_statistics_provider(&query, &top, &statistics)? {
        scores.insert(reader.columns_of(entry.segment_ord)?.id(entry.doc_id), score);
    }
    Ok(scores)
}

/// Documents in scope, scored by the words of the question that their header has. None is required: a scope of one
/// document has routed already.
fn by_header(reader: &Reader, question: &Question, scope: &Scope) -> BooleanQuery {
    let fields = reader.fields();
    let mut any: Vec<Box<dyn Compiled>> = Vec::new();
    for asked in question.meaning() {
        let term = Term::from_field_text(fields.header, &asked.stem);
        any.push(Box::new(TermQuery::new(term, IndexRecordOption::WithFreqs)));
    }
    let mut clauses = scope.clauses(fields);
    clauses.push((Occur::Must, every_document(fields)));
    clauses.push((Occur::Should, Box::new(BooleanQuery::union(any))));
    BooleanQuery::new(clauses)
}

/// The stems of the question that the header of a document entry has.
fn named(reader: &Reader, question: &Question, entry: DocAddress) -> Result<HashSet<String>> {
    let field = reader.fields().header;
    let index = reader.searcher().segment_reader(entry.segment_ord).inverted_index(field)?;
    let mut named = HashSet::new();
    for asked in question.meaning() {
        let term = Term::from_field_text(field, &asked.stem);
        let Some(mut postings) = index.read_postings(&term, IndexRecordOption::Basic)? else { continue };
        let at = if postings.doc() < entry.doc_id { postings.seek(entry.doc_id) } else { postings.doc() };
        if at == entry.doc_id {
            named.insert(asked.stem);
        }
    }
    Ok(named)
}

/// The document entry of a document: the first living entry that has its id, as documents are added before their chunks.
pub(super) fn entry_of(reader: &Reader, id: u128) -> Result<Option<DocAddress>> {
    let field = reader.fields().document;
    let term = reader.fields().document_term(document_id(id).uuid());
    for (ordinal, segment) in (0u32..).zip(reader.searcher().segment_readers()) {
        let index = segment.inverted_index(field)?;
        let Some(mut postings) = index.read_postings(&term, IndexRecordOption::Basic)? else { continue };
        while postings.doc() != TERMINATED {
            if !segment.is_deleted(postings.doc()) {
                return Ok(Some(DocAddress::new(ordinal, postings.doc())));
            }
            postings.advance();
        }
    }
    Ok(None)
}
