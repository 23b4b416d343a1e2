//! Collects the best hits in a total order that paging can resume: rank first, then the document's id.

use std::{cmp::Reverse, collections::BinaryHeap};

use tantivy::{
    DocAddress, DocId, Score, SegmentOrdinal, SegmentReader,
    collector::{Collector, SegmentCollector},
};

use super::{Sort, facets::SegmentCounts};
use crate::{Reader, reader::Columns};

/// Where a hit stands in its order. Smaller is earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key {
    /// Higher is better.
    pub(crate) rank: u64,
    /// The document's id, as a number.
    pub(crate) id: u128,
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (Reverse(self.rank), self.id).cmp(&(Reverse(other.rank), other.id))
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// A hit: its place in the order, where it lies, and its score.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found {
    pub(crate) key: Key,
    pub(crate) address: DocAddress,
    pub(crate) score: Score,
}

impl Ord for Found {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.key, self.address).cmp(&(other.key, other.address))
    }
}

impl PartialOrd for Found {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Found {
    fn eq(&self, other: &Self) -> bool {
        (self.key, self.address) == (other.key, other.address)
    }
}

impl Eq for Found {}

/// What one reader found.
#[derive(Default)]
pub(super) struct Collected {
    pub(super) total: u64,
    pub(super) best: Vec<Found>,
    pub(super) facets: Vec<SegmentCounts>,
}

/// The collector of one reader.
pub(super) struct Ranked<'a> {
    pub(super) reader: &'a Reader,
    pub(super) sort: Sort,
    /// Only hits later than this are kept; all are counted.
    pub(super) after: Option<Key>,
    pub(super) limit: usize,
    pub(super) facets: bool,
}

impl Collector for Ranked<'_> {
    type Fruit = Collected;
    type Child = RankedSegment;

    fn for_segment(&self, ordinal: SegmentOrdinal, _: &SegmentReader) -> tantivy::Result<RankedSegment> {
        let columns = self.reader.columns_of(ordinal)?;
        let facets = self.facets.then(|| SegmentCounts::new(columns.clone()));
        let best = BinaryHeap::with_capacity(self.limit + 1);
        let (sort, after, limit) = (self.sort, self.after, self.limit);
        Ok(RankedSegment { ordinal, columns, sort, after, limit, best, total: 0, facets })
    }

    fn requires_scoring(&self) -> bool {
        self.sort == Sort::Relevance
    }

    fn merge_fruits(&self, segments: Vec<Collected>) -> tantivy::Result<Collected> {
        let mut all = Collected::default();
        for segment in segments {
            all.total += segment.total;
            all.best.extend(segment.best);
            all.facets.extend(segment.facets);
        }
        Ok(all)
    }
}

pub(super) struct RankedSegment {
    ordinal: SegmentOrdinal,
    columns: Columns,
    sort: Sort,
    after: Option<Key>,
    limit: usize,
    /// The latest of the hits kept is on top.
    best: BinaryHeap<Found>,
    total: u64,
    facets: Option<SegmentCounts>,
}

impl RankedSegment {
    fn rank(&self, entry: DocId, score: Score) -> u64 {
        // Signed microseconds as unsigned ones in the same order; zero is left for documents without a date.
        let date = || self.columns.date(entry).map(|date| date.cast_unsigned() ^ (1 << 63));
        match self.sort {
            // The bits of floats that are not negative order as the floats do.
            Sort::Relevance => u64::from(score.max(0.0).to_bits()),
            Sort::Newest => date().unwrap_or(0),
            Sort::Oldest => date().map_or(0, |date| u64::MAX - date),
        }
    }
}

impl SegmentCollector for RankedSegment {
    type Fruit = Collected;

    fn collect(&mut self, entry: DocId, score: Score) {
        self.total += 1;
        if let Some(facets) = &mut self.facets {
            facets.count(entry);
        }
        let rank = self.rank(entry, score);
        if self.best.len() >= self.limit && self.best.peek().is_some_and(|last| rank < last.key.rank) {
            return;
        }
        let key = Key { rank, id: self.columns.id(entry) };
        if self.after.is_some_and(|after| key <= after) {
            return;
        }
        self.best.push(Found { key, address: DocAddress::new(self.ordinal, entry), score });
        if self.best.len() > self.limit {
            self.best.pop();
        }
    }

    fn harvest(self) -> Collected {
        Collected { total: self.total, best: self.best.into_vec(), facets: self.facets.into_iter().collect() }
    }
}
