//! Batches: one delivery of files, opened, reconciled, closed or cancelled.

use axum::{http::StatusCode, response::Response};
use domain::{
    access::Action,
    ids::{BatchId, CaseId, DatabaseId, UserId},
};
use serde::{Deserialize, Serialize};
use storage::{
    batches::{Batch, BatchDetails},
    databases::Database,
    documents::reprocess,
};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::databases::CountsBody;
use crate::{
    Result, State,
    extract::{CurrentUser, Idempotent, Json, PageParams, Path, Query, created, kept},
    openapi::PageBody,
};

pub(super) fn routes() -> OpenApiRouter<State> {
    OpenApiRouter::new()
        .routes(routes!(list_batches, open_batch))
        .routes(routes!(read_batch))
        .routes(routes!(close_batch))
        .routes(routes!(cancel_batch))
        .routes(routes!(reprocess_batch))
}

/// What is said about a delivery.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BatchFields {
    /// Up to 300 characters.
    #[serde(default)]
    pub name: String,
    /// Whose documents these are.
    pub custodian: Option<String>,
    /// Labels of everything in it, at most 50.
    #[serde(default)]
    pub labels: Vec<String>,
    /// `import` for a delivery from a folder, else `upload`.
    #[serde(default)]
    pub source: Source,
}

/// How a delivery comes.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Through a request.
    #[default]
    Upload,
    /// From a folder, by the command line.
    Import,
}

/// One delivery.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct BatchBody {
    /// Its id.
    #[schema(value_type = Uuid)]
    pub id: BatchId,
    /// Its case.
    #[schema(value_type = Uuid)]
    pub case_id: CaseId,
    /// Its database.
    #[schema(value_type = Uuid)]
    pub database_id: DatabaseId,
    /// `upload` or `import`.
    pub source: String,
    /// `open`, `closed` or `cancelled`.
    pub state: String,
    /// Its name.
    pub name: String,
    /// Whose documents these are.
    pub custodian: Option<String>,
    /// Labels of everything in it.
    pub labels: Vec<String>,
    /// Who delivered it.
    #[schema(value_type = Option<Uuid>)]
    pub created_by: Option<UserId>,
    /// When it was opened (RFC 3339).
    pub created_at: String,
    /// When it was last changed (RFC 3339).
    pub updated_at: String,
}

impl From<Batch> for BatchBody {
    fn from(batch: Batch) -> Self {
        Self {
            id: batch.id,
            case_id: batch.case_id,
            database_id: batch.database_id,
            source: batch.source,
            state: batch.state,
            name: batch.details.name,
            custodian: batch.details.custodian,
            labels: batch.details.labels,
            created_by: batch.created_by,
            created_at: batch.created_at.rfc3339(),
            updated_at: batch.updated_at.rfc3339(),
        }
    }
}

/// A delivery and its equation.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct BatchReport {
    /// The delivery.
    #[serde(flatten)]
    pub batch: BatchBody,
    /// Its equation.
    pub counts: CountsBody,
}

/// What a cancellation did.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct CancelledBody {
    /// Documents that were not finished and end as excluded.
    pub excluded: u64,
}

/// A database's deliveries, newest first.
#[utoipa::path(
    get, path = "/databases/{id}/batches", tag = "batches", params(("id" = Uuid, Path), PageParams),
    responses((status = 200, body = PageBody<BatchBody>))
)]
async fn list_batches(
    state: State,
    user: CurrentUser,
    Path(id): Path<DatabaseId>,
    Query(page): Query<PageParams>,
) -> Result<Json<PageBody<BatchBody>>> {
    let mut tx = state.storage.read(&user.actor).await?;
    let database = Database::find(&mut tx, id, Action::SeeCase).await?;
    Ok(Json(Batch::list(&mut tx, &database, &page.into()).await?.into()))
}

/// Opens a delivery that several uploads add to; close it when all is delivered.
#[utoipa::path(
    post, path = "/databases/{id}/batches", tag = "batches", request_body = BatchFields,
    params(("id" = Uuid, Path), ("Idempotency-Key" = String, Header, description = "1 to 128 visible characters")),
    responses((status = 201, body = BatchBody))
)]
async fn open_batch(
    state: State,
    user: CurrentUser,
    key: Idempotent,
    Path(id): Path<DatabaseId>,
    Json(fields): Json<BatchFields>,
) -> Result<Response> {
    let request = key.request(&user.actor, &fields)?;
    let mut tx = state.storage.begin(&user.actor).await?;
    let database = Database::find(&mut tx, id, Action::Upload).await?;
    if let Some(answer) = kept(&mut tx, &request).await? {
        return Ok(answer);
    }
    let source = match fields.source {
        Source::Upload => "upload",
        Source::Import => "import",
    };
    let details = BatchDetails { name: fields.name, custodian: fields.custodian, labels: fields.labels };
    let batch = Batch::open(&mut tx, &database, source, &details).await?;
    created(tx, &request, StatusCode::CREATED, &BatchBody::from(batch)).await
}

/// One delivery with its equation.
#[utoipa::path(
    get, path = "/databases/{id}/batches/{batch}", tag = "batches", params(("id" = Uuid, Path), ("batch" = Uuid, Path)),
    responses((status = 200, body = BatchReport))
)]
async fn read_batch(
    state: State,
    user: CurrentUser,
    Path((id, batch)): Path<(DatabaseId, BatchId)>,
) -> Result<Json<BatchReport>> {
    let mut tx = state.storage.read(&user.actor).await?;
    let database = Database::find(&mut tx, id, Action::SeeCase).await?;
    let batch = Batch::find(&mut tx, &database, batch).await?;
    let counts = batch.counts(&mut tx).await?.into();
    Ok(Json(BatchReport { batch: batch.into(), counts }))
}

/// Declares a delivery complete: it takes no more files.
#[utoipa::path(
    post, path = "/databases/{id}/batches/{batch}/close", tag = "batches",
    params(("id" = Uuid, Path), ("batch" = Uuid, Path)), responses((status = 204, description = "closed"))
)]
async fn close_batch(
    state: State,
    user: CurrentUser,
    Path((id, batch)): Path<(DatabaseId, BatchId)>,
) -> Result<StatusCode> {
    let mut tx = state.storage.begin(&user.actor).await?;
    let database = Database::find(&mut tx, id, Action::Upload).await?;
    let batch = Batch::find(&mut tx, &database, batch).await?;
    batch.close(&mut tx).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Stops a delivery: what is not finished ends as excluded, what is indexed stays.
#[utoipa::path(
    post, path = "/databases/{id}/batches/{batch}/cancel", tag = "batches",
    params(("id" = Uuid, Path), ("batch" = Uuid, Path)), responses((status = 200, body = CancelledBody))
)]
async fn cancel_batch(
    state: State,
    user: CurrentUser,
    Path((id, batch)): Path<(DatabaseId, BatchId)>,
) -> Result<Json<CancelledBody>> {
    let mut tx = state.storage.begin(&user.actor).await?;
    let database = Database::find(&mut tx, id, Action::Upload).await?;
    let batch = Batch::find(&mut tx, &database, batch).await?;
    let excluded = batch.cancel(&mut tx).await?;
    tx.commit().await?;
    Ok(Json(CancelledBody { excluded }))
}

/// How much of a batch is read again.
#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReprocessFields {
    /// Also what today's reader with today's settings has read already.
    #[serde(default)]
    pub all: bool,
}

/// Reads a delivery again: documents that an older version or other settings read, and exceptions that they left. What is
/// indexed stays searchable with its earlier text until the new one is published; earlier texts are kept.
#[utoipa::path(
    post, path = "/databases/{id}/batches/{batch}/reprocess", tag = "batches", request_body = ReprocessFields,
    params(("id" = Uuid, Path), ("batch" = Uuid, Path)), responses((status = 202, description = "asked for"))
)]
async fn reprocess_batch(
    state: State,
    user: CurrentUser,
    Path((id, batch)): Path<(DatabaseId, BatchId)>,
    Json(fields): Json<ReprocessFields>,
) -> Result<StatusCode> {
    let mut tx = state.storage.begin(&user.actor).await?;
    let database = Database::find(&mut tx, id, Action::Upload).await?;
    let batch = Batch::find(&mut tx, &database, batch).await?;
    reprocess(&mut tx, &database, &batch, fields.all).await?;
    tx.commit().await?;
    Ok(StatusCode::ACCEPTED)
}
