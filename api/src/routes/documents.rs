//! Documents: list them, read what is known of one, its text by page, its original bytes; delete it. Reading leaves a
//! trace.

use axum::{
    body::Body,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use domain::{
    access::Action,
    error::Code,
    ids::{BatchId, BlobId, CaseId, DatabaseId, DocumentId},
    outcome::{Category, DocumentState, Exclusion},
    page::PageQuery,
    text::Text,
};
use serde::Deserialize;
use storage::{
    Tx,
    audit::Audit,
    cases::Case,
    databases::Database,
    documents::{Document, DocumentFilter, read_text},
    objects::BlobKind,
};
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::document_bodies::{DocumentBody, DocumentDetail, MessageOfThreadBody, NearDuplicateBody, TextBody};
use crate::{
    Error, Result, State,
    download::{attachment, range},
    extract::{CurrentUser, Json, PageParams, Path, Query},
    openapi::PageBody,
};

/// Children shown with their parent; the list of the family has all.
const CHILDREN: u32 = 200;

pub(super) fn routes() -> OpenApiRouter<State> {
    OpenApiRouter::new()
        .routes(routes!(list_database_files))
        .routes(routes!(list_case_files))
        .routes(routes!(read_document, delete_document))
        .routes(routes!(list_copies))
        .routes(routes!(list_thread))
        .routes(routes!(list_near_duplicates))
        .routes(routes!(read_document_text))
        .routes(routes!(read_original))
}

/// Which documents to list.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct FileParams {
    /// Only in this state: `received`, `ingested`, `extracted`, `indexed`, `duplicate`, `excluded` or `exception`.
    state: Option<String>,
    /// Only exceptions of this category, ignored ones included.
    category: Option<String>,
    /// Only left out for this reason: `cancelled`, `ignored` or `known_file`.
    exclusion: Option<String>,
    /// Only of this batch.
    #[param(value_type = Option<Uuid>)]
    batch: Option<BatchId>,
    /// Only of this family: a container and everything unpacked from it.
    #[param(value_type = Option<Uuid>)]
    family: Option<DocumentId>,
    /// Only messages of this thread, by its `thread_id`.
    #[param(value_type = Option<Uuid>)]
    thread: Option<DocumentId>,
    /// Only of this group of near-duplicates, by its `pivot_id`.
    #[param(value_type = Option<Uuid>)]
    near_duplicate_group: Option<DocumentId>,
    /// Only messages that are inclusive, or, with `false`, only those that are not.
    inclusive: Option<bool>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
    /// Rows wanted, 1 to 500; 50 when absent.
    limit: Option<u32>,
}

impl FileParams {
    fn filter(&self) -> Result<DocumentFilter> {
        let state = match &self.state {
            None => None,
            Some(name) => {
                Some(DocumentState::parse(name).ok_or_else(|| Error::new(Code::BadRequest, "there is no such state"))?)
            }
        };
        let category = self.category.as_deref().map(parse_category).transpose()?;
        let exclusion = match &self.exclusion {
            None => None,
            Some(name) => {
                let known = Exclusion::parse(name);
                Some(known.ok_or_else(|| Error::new(Code::BadRequest, "there is no such reason of exclusion"))?)
            }
        };
        let Self { batch, family, thread, near_duplicate_group: group, inclusive, .. } = *self;
        Ok(DocumentFilter { state, category, exclusion, batch, family, thread, group, inclusive })
    }

    fn page(self) -> PageQuery {
        PageQuery { cursor: self.cursor, limit: self.limit }
    }
}

/// The category of that name.
pub(super) fn parse_category(name: &str) -> Result<Category> {
    Category::parse(name).ok_or_else(|| Error::new(Code::BadRequest, "there is no such category of exception"))
}

/// How to give a document's text.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TextParams {
    /// Only this page, from 1; the whole text when absent.
    page: Option<u32>,
    /// With the words of the page and where they stand.
    #[serde(default)]
    boxes: bool,
}

/// A database's documents, oldest first.
#[utoipa::path(
    get, path = "/databases/{id}/files", tag = "files", params(("id" = Uuid, Path), FileParams),
    responses((status = 200, body = PageBody<DocumentBody>))
)]
async fn list_database_files(
    state: State,
    user: CurrentUser,
    Path(id): Path<DatabaseId>,
    Query(params): Query<FileParams>,
) -> Result<Json<PageBody<DocumentBody>>> {
    let filter = params.filter()?;
    let mut tx = state.storage.read(&user.actor).await?;
    let database = Database::find(&mut tx, id, Action::ReadDocuments).await?;
    Ok(Json(Document::list(&mut tx, &database, &filter, &params.page()).await?.into()))
}

/// The documents of all databases of a case, oldest first.
#[utoipa::path(
    get, path = "/cases/{id}/files", tag = "files", params(("id" = Uuid, Path), FileParams),
    responses((status = 200, body = PageBody<DocumentBody>))
)]
async fn list_case_files(
    state: State,
    user: CurrentUser,
    Path(id): Path<CaseId>,
    Query(params): Query<FileParams>,
) -> Result<Json<PageBody<DocumentBody>>> {
    let filter = params.filter()?;
    let mut tx = state.storage.read(&user.actor).await?;
    let case = Case::find(&mut tx, id, Action::ReadDocuments).await?;
    Ok(Json(Document::list_case(&mut tx, &case, &filter, &params.page()).await?.into()))
}

/// What is known of a document: where it came from, how it ended, what it says about itself, what was unpacked from it.
#[utoipa::path(
    get, path = "/documents/{id}", tag = "documents", params(("id" = Uuid, Path)),
    responses((status = 200, body = DocumentDetail))
)]
async fn read_document(state: State, user: CurrentUser, Path(id): Path<DocumentId>) -> Result<Json<DocumentDetail>> {
    let (document, tx) = open(&state, &user, id, |case| Audit::DocumentViewed { case, document: id }).await?;
    tx.commit().await?;
    let mut tx = state.storage.read(&user.actor).await?;
    let children = document.children(&mut tx, CHILDREN).await?;
    let reading =
        document.readings(&mut tx).await?.into_iter().rev().find(|reading| reading.version == document.version);
    Ok(Json(DocumentDetail::new(document, children, reading)))
}

/// The copies a document stands for, oldest first: every custodian who had it and every path it lay at.
#[utoipa::path(
    get, path = "/documents/{id}/copies", tag = "documents", params(("id" = Uuid, Path), PageParams),
    responses((status = 200, body = PageBody<DocumentBody>))
)]
async fn list_copies(
    state: State,
    user: CurrentUser,
    Path(id): Path<DocumentId>,
    Query(page): Query<PageParams>,
) -> Result<Json<PageBody<DocumentBody>>> {
    let mut tx = state.storage.read(&user.actor).await?;
    let document = Document::find(&mut tx, id, Action::ReadDocuments).await?;
    Ok(Json(document.copies(&mut tx, &page.into()).await?.into()))
}

/// The messages of the thread a message belongs to, in the order of time, across all databases of its case. Empty for a document
/// that is no message, and until the case's threads are found.
#[utoipa::path(
    get, path = "/documents/{id}/thread", tag = "documents", params(("id" = Uuid, Path), PageParams),
    responses((status = 200, body = PageBody<MessageOfThreadBody>))
)]
async fn list_thread(
    state: State,
    user: CurrentUser,
    Path(id): Path<DocumentId>,
    Query(page): Query<PageParams>,
) -> Result<Json<PageBody<MessageOfThreadBody>>> {
    let mut tx = state.storage.read(&user.actor).await?;
    let document = Document::find(&mut tx, id, Action::ReadDocuments).await?;
    Ok(Json(document.conversation(&mut tx, &page.into()).await?.into()))
}

/// The other documents of a document's group of near-duplicates, across all databases of its case, those most like the group's
/// longest document first, each with how alike it is to this one.
#[utoipa::path(
    get, path = "/documents/{id}/near-duplicates", tag = "documents", params(("id" = Uuid, Path), PageParams),
    responses((status = 200, body = PageBody<NearDuplicateBody>))
)]
async fn list_near_duplicates(
    state: State,
    user: CurrentUser,
    Path(id): Path<DocumentId>,
    Query(page): Query<PageParams>,
) -> Result<Json<PageBody<NearDuplicateBody>>> {
    let mut tx = state.storage.read(&user.actor).await?;
    let document = Document::find(&mut tx, id, Action::ReadDocuments).await?;
    Ok(Json(document.near_duplicates(&mut tx, &page.into()).await?.into()))
}

/// Deletes a document with everything unpacked from it, for ever.
#[utoipa::path(
    delete, path = "/documents/{id}", tag = "documents", params(("id" = Uuid, Path)),
    responses((status = 204, description = "deleted"))
)]
async fn delete_document(state: State, user: CurrentUser, Path(id): Path<DocumentId>) -> Result<StatusCode> {
    let mut tx = state.storage.begin(&user.actor).await?;
    let document = Document::find(&mut tx, id, Action::DeleteDocuments).await?;
    document.delete(&mut tx).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The text of a document, whole or one page of it. All offsets count Unicode characters of the whole text.
#[utoipa::path(
    get, path = "/documents/{id}/text", tag = "documents", params(("id" = Uuid, Path), TextParams),
    responses((status = 200, body = TextBody))
)]
async fn read_document_text(
    state: State,
    user: CurrentUser,
    Path(id): Path<DocumentId>,
    Query(params): Query<TextParams>,
) -> Result<Json<TextBody>> {
    if params.boxes && params.page.is_none() {
        return Err(Error::new(Code::BadRequest, "boxes are given page by page; say which page"));
    }
    let (document, mut tx) = open(&state, &user, id, |case| Audit::DocumentViewed { case, document: id }).await?;
    let text = text_of(&mut tx, document).await?;
    tx.commit().await?;
    let text = tokio::task::spawn_blocking(text).await.map_err(Error::internal)??;
    TextBody::new(id, &text, params.page, params.boxes).map(Json).ok_or_else(Error::not_found)
}

/// Finds a document to read and leaves the trace, in one transaction that is not committed yet.
pub(super) async fn open(
    state: &State,
    user: &CurrentUser,
    id: DocumentId,
    trace: impl FnOnce(CaseId) -> Audit,
) -> Result<(Document, Tx)> {
    let mut tx = state.storage.begin(&user.actor).await?;
    let document = Document::find(&mut tx, id, Action::ReadDocuments).await?;
    tx.audit(trace(document.case)).await?;
    Ok((document, tx))
}

/// How to read the text of a document; a copy has that of the document it is a copy of. What is returned blocks.
async fn text_of(tx: &mut Tx, document: Document) -> Result<impl FnOnce() -> Result<Text> + Send + 'static> {
    let document = match document.duplicate_of {
        Some(first) => Document::find(tx, first, Action::ReadDocuments).await?,
        None => document,
    };
    let Some(blob) = document.text else {
        let why = match document.state {
            DocumentState::Exception => "the document could not be read; see its exception",
            DocumentState::Excluded => "the document was excluded before its text was extracted",
            _ => "the text is not extracted yet; wait for the document to be indexed",
        };
        return Err(Error::new(Code::Conflict, why));
    };
    let key = tx.case_key(document.case).await?;
    let objects = tx.storage().objects.clone();
    Ok(move || Ok(read_text(&objects, &key, document.case, blob)?))
}

/// The bytes of a document exactly as they were received. Ranges are served. An infected file's bytes are not.
#[utoipa::path(
    get, path = "/documents/{id}/original", tag = "documents",
    params(("id" = Uuid, Path), ("Range" = Option<String>, Header, description = "one range of bytes")),
    responses(
        (status = 200, content_type = "application/octet-stream", description = "all of it"),
        (status = 206, content_type = "application/octet-stream", description = "the range asked for"),
    )
)]
async fn read_original(
    state: State,
    user: CurrentUser,
    headers: HeaderMap,
    Path(id): Path<DocumentId>,
) -> Result<Response> {
    let (document, tx) = open(&state, &user, id, |case| Audit::DocumentDownloaded { case, document: id }).await?;
    let original = Original {
        case: document.case,
        blob: document.original,
        size: document.size,
        sha256: document.sha256,
        name: document.details.name,
        category: document.category,
    };
    serve(&state, tx, &headers, original).await
}

/// Bytes to be handed out.
pub(super) struct Original {
    pub(super) case: CaseId,
    pub(super) blob: BlobId,
    pub(super) size: u64,
    pub(super) sha256: Vec<u8>,
    pub(super) name: String,
    pub(super) category: Option<Category>,
}

/// Hands out a file, or the part of it asked for; `tx` holds the trace and is committed when there is something to hand out.
pub(super) async fn serve(state: &State, mut tx: Tx, headers: &HeaderMap, original: Original) -> Result<Response> {
    let Original { case, blob, size, .. } = original;
    if original.category == Some(Category::Virus) {
        return Err(Code::Infected.into());
    }
    let Ok(part) = range(headers, size, &etag(&original)) else {
        let refused = Error::from(Code::RangeNotSatisfiable);
        return Ok(([(header::CONTENT_RANGE, format!("bytes */{size}"))], refused).into_response());
    };
    let key = tx.case_key(case).await?;
    tx.commit().await?;
    let bytes = state.storage.objects.stream(&key, case, blob, BlobKind::Original, part.clone()).await;
    let mut response = Response::new(Body::from_stream(bytes.map_err(storage::Error::from)?));
    let served = part.clone().unwrap_or(0..size);
    let mut set = |name: HeaderName, value: String| {
        if let Ok(value) = HeaderValue::try_from(value) {
            response.headers_mut().insert(name, value);
        }
    };
    set(header::CONTENT_TYPE, "application/octet-stream".to_owned());
    set(header::CONTENT_DISPOSITION, attachment(&original.name));
    set(header::CONTENT_LENGTH, (served.end - served.start).to_string());
    set(header::ACCEPT_RANGES, "bytes".to_owned());
    set(header::ETAG, etag(&original));
    if part.is_some() {
        set(header::CONTENT_RANGE, format!("bytes {}-{}/{size}", served.start, served.end - 1));
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    Ok(response)
}

/// Strong: it is the bytes' own hash.
fn etag(original: &Original) -> String {
    format!("\"{}\"", hex::encode(&original.sha256))
}
