//! Which documents are considered at all: the filters of a search and the scope of a question.

use std::{collections::HashSet, ops::Bound};

use domain::{
    clock::Timestamp,
    ids::{BatchId, DocumentId},
};
use tantivy::{
    DocId, Score, SegmentOrdinal, SegmentReader, Term,
    collector::{Collector, SegmentCollector},
    query::{BooleanQuery, ConstScoreQuery, Occur, Query, RangeQuery, TermSetQuery},
};

use crate::{Reader, Result, reader::Columns, schema::Fields};

/// Filters; a document must satisfy all of them. An empty list filters nothing; of a list, any one value is enough.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scope {
    /// Only these documents.
    pub documents: Vec<DocumentId>,
    /// Only these deliveries.
    pub batches: Vec<BatchId>,
    /// Only these media types, exactly.
    pub media_types: Vec<String>,
    /// Only these custodians, exactly.
    pub custodians: Vec<String>,
    /// Only documents with one of these labels, exactly.
    pub labels: Vec<String>,
    /// Only documents dated at or after this moment.
    pub from: Option<Timestamp>,
    /// Only documents dated before this moment.
    pub until: Option<Timestamp>,
}

impl Scope {
    /// Only these documents, nothing else.
    pub fn of_documents(documents: impl IntoIterator<Item = DocumentId>) -> Self {
        Self { documents: documents.into_iter().collect(), ..Self::default() }
    }

    /// True when nothing is filtered.
    pub fn is_everything(&self) -> bool {
        *self == Self::default()
    }

    /// The filters as clauses that all must hold of a document entry. They do not change its score.
    pub(crate) fn clauses(&self, fields: &Fields) -> Vec<(Occur, Box<dyn Query>)> {
        let mut clauses: Vec<Box<dyn Query>> = Vec::new();
        let mut any_of = |terms: Vec<Term>| {
            if !terms.is_empty() {
                clauses.push(Box::new(TermSetQuery::new(terms)));
            }
        };
        any_of(self.documents.iter().map(|id| fields.document_term(id.uuid())).collect());
        any_of(self.batches.iter().map(|id| Term::from_field_bytes(fields.batch, id.uuid().as_bytes())).collect());
        for (field, values) in [
            (fields.exact_type, &self.media_types),
            (fields.exact_custodian, &self.custodians),
            (fields.exact_label, &self.labels),
        ] {
            any_of(values.iter().map(|value| Term::from_field_text(field, value)).collect());
        }
        if self.from.is_some() || self.until.is_some() {
            clauses.push(dates(fields, self.from.map(Timestamp::micros), self.until.map(Timestamp::micros)));
        }
        clauses.into_iter().map(|clause| (Occur::Must, without_score(clause))).collect()
    }
}

/// Document entries dated in the range, the end excluded.
pub(super) fn dates(fields: &Fields, from: Option<i64>, until: Option<i64>) -> Box<dyn Query> {
    let term = |micros| Term::from_field_i64(fields.date, micros);
    let lower = from.map_or(Bound::Included(term(i64::MIN)), |from| Bound::Included(term(from)));
    let upper = until.map_or(Bound::Included(term(i64::MAX)), |until| Bound::Excluded(term(until)));
    Box::new(RangeQuery::new(lower, upper))
}

/// The same set of entries, adding nothing to their score.
pub(crate) fn without_score(query: Box<dyn Query>) -> Box<dyn Query> {
    Box::new(ConstScoreQuery::new(query, 0.0))
}

/// The documents of `reader` that `scope` allows; `None` when it allows all.
pub(crate) fn allowed(reader: &Reader, scope: &Scope) -> Result<Option<HashSet<u128>>> {
    if scope.is_everything() {
        return Ok(None);
    }
    let mut clauses = scope.clauses(reader.fields());
    clauses.push((Occur::Must, super::compile::every_document(reader.fields())));
    Ok(Some(reader.searcher().search(&BooleanQuery::new(clauses), &Ids { reader })?))
}

/// Collects the ids of matching documents.
struct Ids<'a> {
    reader: &'a Reader,
}

struct SegmentIds {
    columns: Columns,
    ids: HashSet<u128>,
}

impl Collector for Ids<'_> {
    type Fruit = HashSet<u128>;
    type Child = SegmentIds;

    fn for_segment(&self, ordinal: SegmentOrdinal, _: &SegmentReader) -> tantivy::Result<SegmentIds> {
        Ok(SegmentIds { columns: self.reader.columns_of(ordinal)?, ids: HashSet::new() })
    }

    fn requires_scoring(&self) -> bool {
        false
    }

    fn merge_fruits(&self, segments: Vec<HashSet<u128>>) -> tantivy::Result<HashSet<u128>> {
        Ok(segments.into_iter().flatten().collect())
    }
}

impl SegmentCollector for SegmentIds {
    type Fruit = HashSet<u128>;

    fn collect(&mut self, entry: DocId, _: Score) {
        self.ids.insert(self.columns.id(entry));
    }

    fn harvest(self) -> HashSet<u128> {
        self.ids
    }
}
