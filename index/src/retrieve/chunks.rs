//! The chunks with the best BM25 score for a set of weighted words.

use std::{cmp::Ordering, collections::HashSet};

use tantivy::{
    DocAddress, DocId, Score, SegmentOrdinal, SegmentReader, Term,
    collector::{Collector, SegmentCollector},
    query::{BooleanQuery, BoostQuery, Occur, Query as Compiled, TermQuery, TermSetQuery},
    schema::IndexRecordOption,
};

use super::question::Asked;
use crate::{
    Reader, Result,
    reader::{Columns, Statistics, document_id},
    schema::CHUNK,
    search::without_score,
};

/// Up to this many documents are sought by their ids; more are picked out while scoring.
const MAX_SOUGHT_BY_ID: usize = 64;

/// Which chunks are wanted.
pub(super) struct Sought<'a> {
    /// Any of these words.
    pub(super) asked: &'a [Asked],
    /// Of these documents only.
    pub(super) allowed: Option<&'a HashSet<u128>>,
    /// Chunks without any of the words follow after those that have some.
    pub(super) fill: bool,
    /// At most so many.
    pub(super) limit: usize,
}

/// A chunk and its score.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    pub(super) score: Score,
    pub(super) document: u128,
    pub(super) address: DocAddress,
}

/// The best chunks of `reader`, best first, earlier ones first among equals.
pub(super) fn best_chunks(reader: &Reader, statistics: &Statistics<'_>, sought: &Sought<'_>) -> Result<Vec<Found>> {
    let fields = reader.fields();
    let mut any: Vec<Box<dyn Compiled>> = Vec::with_capacity(sought.asked.len());
    for asked in sought.asked {
        let term = Term::from_field_text(fields.stems, &asked.stem);
        let word = TermQuery::new(term, IndexRecordOption::WithFreqs);
        any.push(Box::new(BoostQuery::new(Box::new(word), asked.weight)));
    }
    let words = if sought.fill { Occur::Should } else { Occur::Must };
    let mut clauses: Vec<(Occur, Box<dyn Compiled>)> = vec![(words, Box::new(BooleanQuery::union(any)))];
    let mut required = |query: Box<dyn Compiled>| clauses.push((Occur::Must, without_score(query)));
    // The ids below are in document entries too.
    let chunk = Term::from_field_u64(fields.kind, CHUNK);
    required(Box::new(TermQuery::new(chunk, IndexRecordOption::Basic)));
    if let Some(few) = sought.allowed.filter(|allowed| allowed.len() <= MAX_SOUGHT_BY_ID) {
        let terms = few.iter().map(|id| fields.document_term(document_id(*id).uuid()));
        required(Box::new(TermSetQuery::new(terms)));
    }
    let query = BooleanQuery::new(clauses);
    let collector = Best { reader, allowed: sought.allowed, limit: sought.limit };
    Ok(reader.searcher().search_with_statistics_provider(&query, &collector, statistics)?)
}

struct Best<'a> {
    reader: &'a Reader,
    allowed: Option<&'a HashSet<u128>>,
    limit: usize,
}

struct SegmentBest {
    ordinal: SegmentOrdinal,
    columns: Columns,
    allowed: Option<HashSet<u128>>,
    limit: usize,
    best: Vec<Found>,
}

/// Keeps the `limit` best, in order.
fn shorten(found: &mut Vec<Found>, limit: usize) {
    let best_first =
        |a: &Found, b: &Found| -> Ordering { b.score.total_cmp(&a.score).then_with(|| a.address.cmp(&b.address)) };
    found.sort_unstable_by(best_first);
    found.truncate(limit);
}

impl Collector for Best<'_> {
    type Fruit = Vec<Found>;
    type Child = SegmentBest;

    fn for_segment(&self, ordinal: SegmentOrdinal, _: &SegmentReader) -> tantivy::Result<SegmentBest> {
        let columns = self.reader.columns_of(ordinal)?;
        Ok(SegmentBest { ordinal, columns, allowed: self.allowed.cloned(), limit: self.limit, best: Vec::new() })
    }

    fn requires_scoring(&self) -> bool {
        true
    }

    fn merge_fruits(&self, segments: Vec<Vec<Found>>) -> tantivy::Result<Vec<Found>> {
        let mut all = segments.into_iter().flatten().collect();
        shorten(&mut all, self.limit);
        Ok(all)
    }
}

impl SegmentCollector for SegmentBest {
    type Fruit = Vec<Found>;

    fn collect(&mut self, entry: DocId, score: Score) {
        let document = self.columns.id(entry);
        if self.allowed.as_ref().is_some_and(|allowed| !allowed.contains(&document)) {
            return;
        }
        self.best.push(Found { score, document, address: DocAddress::new(self.ordinal, entry) });
        // Sorting now and then keeps memory bounded at little cost.
        if self.best.len() >= 4 * self.limit.max(256) {
            shorten(&mut self.best, self.limit);
        }
    }

    fn harvest(mut self) -> Vec<Found> {
        shorten(&mut self.best, self.limit);
        self.best
    }
}
