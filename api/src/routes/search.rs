//! Search over one database, or all of a case. The index proposes; rows decide what is shown.

use std::collections::HashMap;

use domain::{
    access::Action,
    clock::Timestamp,
    error::Code,
    ids::{BatchId, CaseId, DatabaseId, DocumentId},
    outcome::DocumentState,
    page::PageQuery,
};
use index::{Facet, Facets, Highlight, Hit, Query as Parsed, Scope, SearchRequest, Sort, query};
use serde::Serialize;
use std::time::Duration;
use storage::{
    Tx,
    audit::Audit,
    cases::Case,
    databases::Database,
    documents::{Document, of_thread},
};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    Error, Result, State,
    extract::{CurrentUser, Json, Path, Query},
    readers::Source,
};

/// Most messages of a thread that is searched by itself.
const MOST_MESSAGES: usize = 10_000;

pub(super) fn routes() -> OpenApiRouter<State> {
    OpenApiRouter::new().routes(routes!(search_database)).routes(routes!(search_case))
}

/// What to search for. `type`, `custodian` and `label` may be repeated; any one value is enough.
#[derive(Debug, Clone, Default, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SearchParams {
    /// Words, "phrases", AND OR NOT, field:value, prefix*; every document when absent.
    q: Option<String>,
    /// Only this media type, such as `application/pdf`.
    r#type: Vec<String>,
    /// Only this custodian.
    custodian: Vec<String>,
    /// Only with this label.
    label: Vec<String>,
    /// Only of this batch.
    #[param(value_type = Vec<Uuid>)]
    batch: Vec<BatchId>,
    /// Only messages of this thread, by its `thread_id`.
    #[param(value_type = Option<Uuid>)]
    thread: Option<DocumentId>,
    /// Only dated on or after this day (`2024-01-31`) or moment (RFC 3339).
    date_from: Option<String>,
    /// Only dated on or before this day, or before this moment.
    date_to: Option<String>,
    /// `relevance` (the default), `newest` or `oldest`.
    sort: Option<String>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
    /// Hits wanted, 1 to 500; 50 when absent.
    limit: Option<u32>,
}

/// One page of hits.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SearchBody {
    /// Documents that match, on all pages together.
    pub total: u64,
    /// This page.
    pub items: Vec<HitBody>,
    /// Pass as `cursor` for the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
    /// Counts over all matching documents; with the first page only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub facets: Option<FacetsBody>,
}

/// A document that matches.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct HitBody {
    /// The document.
    #[schema(value_type = Uuid)]
    pub document_id: DocumentId,
    /// Its database.
    #[schema(value_type = Uuid)]
    pub database_id: DatabaseId,
    /// Its family.
    #[schema(value_type = Uuid)]
    pub family_id: DocumentId,
    /// Its delivery.
    #[schema(value_type = Uuid)]
    pub batch_id: BatchId,
    /// Its name.
    pub name: String,
    /// Its path as delivered.
    pub path: String,
    /// Media type.
    pub media_type: Option<String>,
    /// Whose document it is.
    pub custodian: Option<String>,
    /// Labels.
    pub labels: Vec<String>,
    /// Title property.
    pub title: Option<String>,
    /// Subject line.
    pub subject: Option<String>,
    /// Sender.
    pub from: Option<String>,
    /// The date it is filed under (RFC 3339).
    pub date: Option<String>,
    /// Number of pages.
    pub pages: u32,
    /// BM25 score; zero when sorted by date.
    pub score: f32,
    /// The passages that best show the match, best first.
    pub highlights: Vec<HighlightBody>,
}

/// A passage with its matches. All offsets count Unicode characters of the document's whole text.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct HighlightBody {
    /// First character of the passage.
    pub start: u32,
    /// One past its last.
    pub end: u32,
    /// First page it touches, from 1.
    pub first_page: u32,
    /// Last page it touches.
    pub last_page: u32,
    /// The passage.
    pub text: String,
    /// Where words of the query stand.
    pub matches: Vec<SpanBody>,
}

/// The place of a match.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub struct SpanBody {
    /// First character.
    pub start: u32,
    /// One past the last.
    pub end: u32,
}

/// Counts over all matching documents.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct FacetsBody {
    /// By media type.
    pub types: Vec<FacetBody>,
    /// By custodian.
    pub custodians: Vec<FacetBody>,
    /// By label.
    pub labels: Vec<FacetBody>,
    /// By year of the date a document is filed under.
    pub years: Vec<FacetBody>,
}

/// One value and how many matching documents have it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct FacetBody {
    /// The value.
    pub value: String,
    /// Documents.
    pub count: u64,
}

impl From<Facets> for FacetsBody {
    fn from(facets: Facets) -> Self {
        let list = |values: Vec<Facet>| {
            values.into_iter().map(|Facet { value, count }| FacetBody { value, count }).collect::<Vec<_>>()
        };
        Self {
            types: list(facets.media_types),
            custodians: list(facets.custodians),
            labels: list(facets.labels),
            years: list(facets.years),
        }
    }
}

impl From<Highlight> for HighlightBody {
    fn from(highlight: Highlight) -> Self {
        let Highlight { start, end, first_page, last_page, text, matches, .. } = highlight;
        let matches = matches.into_iter().map(|m| SpanBody { start: m.start, end: m.end }).collect();
        Self { start, end, first_page, last_page, text, matches }
    }
}

impl HitBody {
    /// What the index found, named and placed as the row says.
    fn new(hit: Hit, document: Document) -> Self {
        Self {
            document_id: document.id,
            database_id: document.database,
            family_id: document.family,
            batch_id: document.batch,
            name: document.details.name,
            path: document.details.path,
            media_type: document.media_type,
            custodian: document.details.custodian,
            labels: document.details.labels,
            title: hit.title,
            subject: hit.subject,
            from: hit.from,
            date: hit.date.map(domain::clock::Timestamp::rfc3339),
            pages: hit.pages,
            score: hit.score,
            highlights: hit.highlights.into_iter().map(HighlightBody::from).collect(),
        }
    }
}

/// Searches a database.
#[utoipa::path(
    get, path = "/databases/{id}/search", tag = "search", params(("id" = Uuid, Path), SearchParams),
    responses((status = 200, body = SearchBody))
)]
async fn search_database(
    state: State,
    user: CurrentUser,
    Path(id): Path<DatabaseId>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Json<SearchBody>> {
    let params = SearchParams::read(pairs)?;
    let thread = params.thread;
    let mut request = params.request()?;
    let mut tx = state.storage.read(&user.actor).await?;
    let database = Database::find(&mut tx, id, Action::ReadDocuments).await?;
    request.scope.documents = messages(&mut tx, database.case_id, thread).await?;
    let sources = state.readers.source(&mut tx, &database).await?.into_iter().collect();
    drop(tx);
    let found = answer(&state, &user, database.case_id, sources, request).await?;
    leave_trace(&state, &user, database.case_id, Some(id), found.total).await?;
    Ok(Json(found))
}

/// Searches all databases of a case together.
#[utoipa::path(
    get, path = "/cases/{id}/search", tag = "search", params(("id" = Uuid, Path), SearchParams),
    responses((status = 200, body = SearchBody))
)]
async fn search_case(
    state: State,
    user: CurrentUser,
    Path(id): Path<CaseId>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Json<SearchBody>> {
    let params = SearchParams::read(pairs)?;
    let thread = params.thread;
    let mut request = params.request()?;
    let mut tx = state.storage.read(&user.actor).await?;
    let case = Case::find(&mut tx, id, Action::ReadDocuments).await?;
    request.scope.documents = messages(&mut tx, case.id, thread).await?;
    let mut sources = Vec::new();
    for database in databases(&mut tx, case.id).await? {
        sources.extend(state.readers.source(&mut tx, &database).await?);
    }
    drop(tx);
    let found = answer(&state, &user, case.id, sources, request).await?;
    leave_trace(&state, &user, case.id, None, found.total).await?;
    Ok(Json(found))
}

/// The documents a search within a thread may find; all of them (an empty list) when none is named. The index does not know of
/// threads, which change while it stays: rows do.
async fn messages(tx: &mut Tx, case: CaseId, thread: Option<DocumentId>) -> Result<Vec<DocumentId>> {
    let Some(thread) = thread else { return Ok(Vec::new()) };
    let mut messages = of_thread(tx, case, thread, MOST_MESSAGES).await?;
    if messages.is_empty() {
        // Nobody has this id, so nothing is found.
        messages.push(DocumentId(uuid::Uuid::nil()));
    }
    Ok(messages)
}

async fn databases(tx: &mut Tx, case: CaseId) -> Result<Vec<Database>> {
    let mut all = Vec::new();
    let mut cursor = None;
    loop {
        let page = Database::list(tx, Some(case), &PageQuery { cursor, limit: Some(domain::page::MAX_LIMIT) }).await?;
        all.extend(page.items);
        cursor = page.next_cursor;
        if cursor.is_none() {
            return Ok(all);
        }
    }
}

/// Searches, then asks the rows: what was deleted, excluded or replaced since the generation was published is not shown, and access
/// counts as it is now.
async fn answer(
    state: &State,
    user: &CurrentUser,
    case: CaseId,
    sources: Vec<Source>,
    request: SearchRequest,
) -> Result<SearchBody> {
    let found = state.readers.search(sources, request).await?;
    let mut tx = state.storage.read(&user.actor).await?;
    Case::find(&mut tx, case, Action::ReadDocuments).await?;
    let ids: Vec<DocumentId> = found.hits.iter().map(|hit| hit.document).collect();
    let present = Document::present(&mut tx, case, &ids).await?;
    let mut rows: HashMap<DocumentId, Document> = present
        .into_iter()
        .filter(|document| document.state != DocumentState::Excluded && document.text.is_some())
        .map(|document| (document.id, document))
        .collect();
    let hits = found.hits.len();
    let items: Vec<HitBody> = found
        .hits
        .into_iter()
        .filter_map(|hit| rows.remove(&hit.document).map(|document| HitBody::new(hit, document)))
        .collect();
    let gone = (hits - items.len()) as u64;
    Ok(SearchBody {
        total: found.total.saturating_sub(gone),
        items,
        next_cursor: found.next_cursor,
        facets: found.facets.map(FacetsBody::from),
    })
}

async fn leave_trace(
    state: &State,
    user: &CurrentUser,
    case: CaseId,
    database: Option<DatabaseId>,
    hits: u64,
) -> Result<()> {
    let mut tx = state.storage.begin(&user.actor).await?;
    tx.audit(Audit::Searched { case, database, hits }).await?;
    Ok(tx.commit().await?)
}

impl SearchParams {
    /// Reads the query string; a name that is not there is an error, because a misspelt filter must not find everything.
    fn read(pairs: Vec<(String, String)>) -> Result<Self> {
        let mut params = Self::default();
        for (name, value) in pairs {
            match name.as_str() {
                "q" => params.q = Some(value),
                "type" => params.r#type.push(value),
                "custodian" => params.custodian.push(value),
                "label" => params.label.push(value),
                "batch" => params.batch.push(value.parse().map_err(|_| refused("batch must be a batch's id"))?),
                "thread" => params.thread = Some(value.parse().map_err(|_| refused("thread must be a thread's id"))?),
                "date_from" => params.date_from = Some(value),
                "date_to" => params.date_to = Some(value),
                "sort" => params.sort = Some(value),
                "cursor" => params.cursor = Some(value),
                "limit" => params.limit = Some(value.parse().map_err(|_| refused("limit must be a number"))?),
                _ => return Err(refused("there is no such search parameter; see the reference")),
            }
        }
        Ok(params)
    }

    fn request(self) -> Result<SearchRequest> {
        let limit = PageQuery { cursor: None, limit: self.limit }.limit().map_err(storage::Error::from)?;
        let text = self.q.as_deref().unwrap_or("").trim();
        let parsed = if text.is_empty() { Parsed::all() } else { parse(self.q.as_deref().unwrap_or(""))? };
        let sort = match self.sort.as_deref() {
            None | Some("relevance") => Sort::Relevance,
            Some("newest") => Sort::Newest,
            Some("oldest") => Sort::Oldest,
            Some(_) => return Err(refused("sort must be relevance, newest or oldest")),
        };
        let scope = Scope {
            batches: self.batch,
            media_types: self.r#type,
            custodians: self.custodian,
            labels: self.label,
            from: self.date_from.as_deref().map(|text| moment(text, 0)).transpose()?,
            until: self.date_to.as_deref().map(|text| moment(text, 1)).transpose()?,
            ..Scope::default()
        };
        let facets = self.cursor.is_none();
        Ok(SearchRequest { scope, sort, limit, cursor: self.cursor, facets, ..SearchRequest::new(parsed) })
    }
}

fn parse(text: &str) -> Result<Parsed> {
    query::parse(text).map_err(|error| Error::new(Code::BadQuery, error.message).at(error.at as usize))
}

/// A moment, or the first of a day, `days` later.
fn moment(text: &str, days: u64) -> Result<Timestamp> {
    if let Some(at) = Timestamp::parse(text) {
        return Ok(at);
    }
    let day = Timestamp::parse(&format!("{text}T00:00:00Z"));
    let day = day.ok_or_else(|| refused("dates are written 2024-01-31 or as RFC 3339 times"))?;
    Ok(day.plus(Duration::from_hours(24 * days)))
}

fn refused(message: &'static str) -> Error {
    Error::new(Code::BadRequest, message)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<SearchRequest> {
        SearchParams::read(pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())?.request()
    }

    #[test]
    fn parameters_are_read_strictly() {
        let request =
            read(&[("q", "a"), ("type", "x"), ("type", "y"), ("date_to", "2024-01-31"), ("sort", "newest")]).unwrap();
        assert_eq!(request.scope.media_types, ["x", "y"]);
        assert_eq!(request.scope.until, Timestamp::parse("2024-02-01T00:00:00Z"));
        assert_eq!(request.sort, Sort::Newest);
        assert!(request.facets);
        assert!(!read(&[("cursor", "00")]).unwrap().facets);
        for (name, value, code) in [
            ("kustodian", "x", Code::BadRequest),
            ("limit", "0", Code::BadRequest),
            ("limit", "many", Code::BadRequest),
            ("sort", "best", Code::BadRequest),
            ("date_from", "yesterday", Code::BadRequest),
            ("batch", "1", Code::BadRequest),
            ("thread", "1", Code::BadRequest),
            ("q", "(a", Code::BadQuery),
        ] {
            assert_eq!(read(&[(name, value)]).err().map(|error| error.code()), Some(code), "{name}={value}");
        }
    }
}
