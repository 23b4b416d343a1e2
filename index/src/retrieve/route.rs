//! Finds the documents a question speaks of.

use std::collections::HashSet;

use tantivy::{
    DocAddress, DocSet as _, Score, TERMINATED, Term,
    collector::TopDocs,
    query::{BooleanQuery, Occur, Query as Compiled, TermQuery},
    schema::IndexRecordOption,
};

use super::question::Question;
use crate::{Reader, Result, Scope, reader::Statistics};

/// Documents whose chunks are asked.
const MAX_ROUTED: usize = 8;

/// A document the question may speak of.
pub(super) struct Routed {
    pub(super) source: usize,
    pub(super) id: u128,
    /// Its document entry.
    pub(super) address: DocAddress,
    /// BM25 of the question on its header.
    pub(super) score: Score,
    /// Stems of the question that its header has.
    pub(super) named: HashSet<String>,
}

/// The documents in `scope` whose header fits the question best, best first.
pub(super) fn route(readers: &[Reader], question: &Question, scope: &Scope) -> Result<Vec<Routed>> {
    let statistics = Statistics::documents(readers);
    let mut routed = Vec::new();
    for (source, reader) in readers.iter().enumerate() {
        let query = by_header(reader, question, scope);
        let top = TopDocs::with_limit(MAX_ROUTED).order_by_score();
        for (score, address) in reader.searcher().search_with_statistics_provider(&query, &top, &statistics)? {
            let Some(columns) = reader.columns().get(address.segment_ord as usize) else { continue };
            let id = columns.id(address.doc_id);
            routed.push(Routed { source, id, address, score, named: HashSet::new() });
        }
    }
    routed.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.id.cmp(&b.id)));
    routed.truncate(MAX_ROUTED);
    for document in &mut routed {
        if let Some(reader) = readers.get(document.source) {
            document.named = named(reader, question, document.address)?;
        }
    }
    Ok(routed)
}

/// Documents in scope, scored by the words of the question that their header has. None is required when the scope names
/// documents: the user has routed already.
fn by_header(reader: &Reader, question: &Question, scope: &Scope) -> BooleanQuery {
    let fields = reader.fields();
    let mut clauses = scope.clauses(fields);
    let mut any: Vec<Box<dyn Compiled>> = Vec::new();
    for asked in question.meaning() {
        let term = Term::from_field_text(fields.header, &asked.stem);
        any.push(Box::new(TermQuery::new(term, IndexRecordOption::WithFreqs)));
    }
    let named = (Occur::Should, Box::new(BooleanQuery::union(any)) as Box<dyn Compiled>);
    clauses.push((Occur::Must, crate::search::every_document(fields)));
    clauses.push(named);
    BooleanQuery::new(clauses)
}

/// The stems of the question that the header of the document at `address` has.
fn named(reader: &Reader, question: &Question, address: DocAddress) -> Result<HashSet<String>> {
    let field = reader.fields().header;
    let segment = reader.searcher().segment_reader(address.segment_ord);
    let index = segment.inverted_index(field)?;
    let mut named = HashSet::new();
    for asked in &question.words {
        if asked.stop || named.contains(&asked.stem) {
            continue;
        }
        let term = Term::from_field_text(field, &asked.stem);
        let Some(mut postings) = index.read_postings(&term, IndexRecordOption::Basic)? else { continue };
        let at = if postings.doc() < address.doc_id { postings.seek(address.doc_id) } else { postings.doc() };
        if at == address.doc_id && at != TERMINATED {
            named.insert(asked.stem.clone());
        }
    }
    Ok(named)
}
