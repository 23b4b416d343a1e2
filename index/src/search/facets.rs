//! Counts of matching documents by type, custodian, label and year.

use std::collections::BTreeMap;

use domain::clock::Timestamp;
use serde::Serialize;
use tantivy::{DocId, columnar::StrColumn};

use crate::{Result, reader::Columns};

/// The most values given for one facet; the rest are rare.
const MAX_VALUES: usize = 100;

/// Counts over all documents that match.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Facets {
    /// By media type.
    pub media_types: Vec<Facet>,
    /// By custodian.
    pub custodians: Vec<Facet>,
    /// By label; a document counts once for each of its labels.
    pub labels: Vec<Facet>,
    /// By year, in UTC, of the date a document is filed under.
    pub years: Vec<Facet>,
}

/// One value and how many matching documents have it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Facet {
    /// The value.
    pub value: String,
    /// Documents.
    pub count: u64,
}

/// Counts of one segment, by the numbers its columns give to values.
pub(super) struct SegmentCounts {
    columns: Columns,
    media_types: Vec<u64>,
    custodians: Vec<u64>,
    labels: Vec<u64>,
    /// By day since the epoch, which is cheap to tell; years are made of days at the end.
    days: BTreeMap<i64, u64>,
}

impl SegmentCounts {
    pub(super) fn new(columns: Columns) -> Self {
        let zeros = |column: Option<&StrColumn>| vec![0; column.map_or(0, |column| column.num_terms())];
        Self {
            media_types: zeros(columns.media_type.as_ref()),
            custodians: zeros(columns.custodian.as_ref()),
            labels: zeros(columns.label.as_ref()),
            days: BTreeMap::new(),
            columns,
        }
    }

    pub(super) fn count(&mut self, entry: DocId) {
        count(self.columns.media_type.as_ref(), &mut self.media_types, entry);
        count(self.columns.custodian.as_ref(), &mut self.custodians, entry);
        count(self.columns.label.as_ref(), &mut self.labels, entry);
        if let Some(date) = self.columns.date(entry) {
            *self.days.entry(date.div_euclid(86_400_000_000)).or_default() += 1;
        }
    }
}

fn count(column: Option<&StrColumn>, counts: &mut [u64], entry: DocId) {
    let Some(column) = column else { return };
    for value in column.term_ords(entry) {
        if let Some(count) = usize::try_from(value).ok().and_then(|value| counts.get_mut(value)) {
            *count += 1;
        }
    }
}

/// Counts over segments and databases, by value.
#[derive(Default)]
pub(super) struct Counts {
    media_types: BTreeMap<String, u64>,
    custodians: BTreeMap<String, u64>,
    labels: BTreeMap<String, u64>,
    years: BTreeMap<String, u64>,
}

impl Counts {
    pub(super) fn add(&mut self, segment: SegmentCounts) -> Result<()> {
        name(segment.columns.media_type.as_ref(), &segment.media_types, &mut self.media_types)?;
        name(segment.columns.custodian.as_ref(), &segment.custodians, &mut self.custodians)?;
        name(segment.columns.label.as_ref(), &segment.labels, &mut self.labels)?;
        for (day, count) in segment.days {
            let date = Timestamp(day.saturating_mul(86_400_000_000)).rfc3339();
            let year = date.split('-').next().unwrap_or_default().to_owned();
            *self.years.entry(year).or_default() += count;
        }
        Ok(())
    }

    /// Most frequent values first; years in order.
    pub(super) fn finish(self) -> Facets {
        let list = |counts: BTreeMap<String, u64>| counts.into_iter().map(|(value, count)| Facet { value, count });
        let frequent = |counts| {
            let mut values: Vec<Facet> = list(counts).collect();
            values.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.value.cmp(&b.value)));
            values.truncate(MAX_VALUES);
            values
        };
        Facets {
            media_types: frequent(self.media_types),
            custodians: frequent(self.custodians),
            labels: frequent(self.labels),
            years: list(self.years).collect(),
        }
    }
}

fn name(column: Option<&StrColumn>, counts: &[u64], into: &mut BTreeMap<String, u64>) -> Result<()> {
    let Some(column) = column else { return Ok(()) };
    for (value, count) in (0u64..).zip(counts).filter(|(_, count)| **count > 0) {
        let mut text = String::new();
        column.ord_to_str(value, &mut text)?;
        *into.entry(text).or_default() += count;
    }
    Ok(())
}
