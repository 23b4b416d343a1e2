//! A litigator's search over one or several databases: documents that satisfy the query, best or newest first, with
//! highlights, facets and stable pages.

mod collect;
mod compile;
mod facets;
mod highlight;
mod scope;

use domain::{
    clock::Timestamp,
    ids::{BatchId, DocumentId},
    page::{decode, encode},
};
use serde::{Deserialize, Serialize};

pub use facets::{Facet, Facets};
pub use highlight::{Highlight, Match};
pub use scope::Scope;

use crate::{
    Query, Reader, Result,
    entry::Card,
    reader::{Statistics, document_id},
};

use collect::{Found, Key, Ranked};
pub(crate) use compile::every_document;
pub(crate) use scope::{allowed, without_score};

/// Hits on a page when the caller asks for more.
const MAX_HITS: u32 = 500;

/// What to search for.
#[derive(Debug, Clone)]
pub struct SearchRequest {
    /// The query, parsed.
    pub query: Query,
    /// Which documents are considered at all.
    pub scope: Scope,
    /// The order of the hits.
    pub sort: Sort,
    /// Hits wanted, at most 500.
    pub limit: u32,
    /// The `next_cursor` of the page before; absent for the first.
    pub cursor: Option<String>,
    /// Highlights wanted per hit.
    pub highlights: u32,
    /// Whether to count facets; needed once, with the first page.
    pub facets: bool,
}

impl SearchRequest {
    /// The first fifty hits of `query` by relevance, three highlights each, with facets.
    pub fn new(query: Query) -> Self {
        Self {
            query,
            scope: Scope::default(),
            sort: Sort::default(),
            limit: domain::page::DEFAULT_LIMIT,
            cursor: None,
            highlights: 3,
            facets: true,
        }
    }
}

/// The order of hits. Equal ones stand in the order in which the documents arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sort {
    /// Best first, by BM25.
    #[default]
    Relevance,
    /// Latest first; documents without a date last.
    Newest,
    /// Earliest first; documents without a date last.
    Oldest,
}

/// One page of hits.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SearchResults {
    /// Documents that match, on all pages together.
    pub total: u64,
    /// This page.
    pub hits: Vec<Hit>,
    /// Pass as `cursor` for the next page; absent on the last.
    pub next_cursor: Option<String>,
    /// Counts over all matching documents, when asked for.
    pub facets: Option<Facets>,
}

/// A document that matches.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Hit {
    /// Which of the readers searched it came from.
    pub source: usize,
    /// The document.
    pub document: DocumentId,
    /// Its family.
    pub family: DocumentId,
    /// Its delivery.
    pub batch: BatchId,
    /// File name.
    pub name: String,
    /// Where it lay in its delivery.
    pub path: String,
    /// Media type.
    pub media_type: String,
    /// Whose papers these are.
    pub custodian: Option<String>,
    /// Reviewers' labels, as of indexing.
    pub labels: Vec<String>,
    /// Title property.
    pub title: Option<String>,
    /// Subject line.
    pub subject: Option<String>,
    /// Sender.
    pub from: Option<String>,
    /// The date it is filed under.
    pub date: Option<Timestamp>,
    /// Number of pages.
    pub pages: u32,
    /// BM25 score; zero when sorted by date.
    pub score: f32,
    /// The passages that best show the match, best first.
    pub highlights: Vec<Highlight>,
}

/// Where a page ended.
#[derive(Serialize, Deserialize)]
struct Cursor {
    sort: Sort,
    rank: u64,
    document: DocumentId,
}

/// Searches `readers` together, as one collection.
pub fn search(readers: &[Reader], request: &SearchRequest) -> Result<SearchResults> {
    let limit = request.limit.clamp(1, MAX_HITS) as usize;
    let after = match &request.cursor {
        Some(cursor) => Some(resume(cursor, request.sort)?),
        None => None,
    };
    let statistics = Statistics::documents(readers);
    let mut total = 0;
    let mut best = Vec::new();
    let mut counts = facets::Counts::default();
    for (source, reader) in readers.iter().enumerate() {
        let query = compile::documents(&request.query, &request.scope, reader.fields());
        let ranked = Ranked { reader, sort: request.sort, after, limit: limit + 1, facets: request.facets };
        let found = reader.searcher().search_with_statistics_provider(&*query, &ranked, &statistics)?;
        total += found.total;
        best.extend(found.best.into_iter().map(|hit| (hit, source)));
        for segment in found.facets {
            counts.add(segment)?;
        }
    }
    best.sort_unstable();
    let more = best.len() > limit;
    best.truncate(limit);
    let next_cursor = best
        .last()
        .filter(|_| more)
        .map(|(hit, _)| encode(&Cursor { sort: request.sort, rank: hit.key.rank, document: document_id(hit.key.id) }));
    Ok(SearchResults {
        total,
        hits: hits(readers, &best, request)?,
        next_cursor,
        facets: request.facets.then(|| counts.finish()),
    })
}

/// The place a cursor stands for, if this order gave it out.
fn resume(cursor: &str, sort: Sort) -> Result<Key> {
    let cursor: Cursor = decode(cursor)?;
    if cursor.sort != sort {
        return Err(domain::page::PageError::Cursor.into());
    }
    Ok(Key { rank: cursor.rank, id: cursor.document.uuid().as_u128() })
}

fn hits(readers: &[Reader], best: &[(Found, usize)], request: &SearchRequest) -> Result<Vec<Hit>> {
    let mut highlights = highlight::highlights(readers, best, request)?;
    let mut hits = Vec::with_capacity(best.len());
    for (found, source) in best {
        let Some(reader) = readers.get(*source) else { continue };
        let card: Card = reader.stored(found.address)?;
        hits.push(Hit {
            source: *source,
            highlights: highlights.remove(&(*source, found.key.id)).unwrap_or_default(),
            document: card.document,
            family: card.family,
            batch: card.batch,
            name: card.name,
            path: card.path,
            media_type: card.media_type,
            custodian: card.custodian,
            labels: card.labels,
            title: card.title,
            subject: card.subject,
            from: card.from,
            date: card.date,
            pages: card.pages,
            score: found.score,
        });
    }
    Ok(hits)
}
