//! Batches: one delivery of files, opened, reconciled, sealed or cancelled.

use axum::{
    body::Body,
    extract::FromRequest,
    http::{Request, StatusCode, header},
    response::Response,
};
use domain::{
    access::Action,
    clock::Timestamp,
    ids::{BatchId, CaseId, DatabaseId, UserId},
};
use serde::{Deserialize, Serialize};
use storage::{
    batches::{Batch, BatchDetails},
    databases::Database,
    documents::reprocess,
    items,
    load_files::LoadFile,
    objects::Stored,
    uploads,
};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    databases::CountsBody,
    load_files::{LoadFileBody, LoadFileBytes, check_name, finish},
};
use crate::{
    Error, Result, State,
    extract::{CurrentUser, Idempotent, Json, PageParams, Path, Query, created, kept},
    openapi::PageBody,
};

pub(super) fn routes() -> OpenApiRouter<State> {
    OpenApiRouter::new()
        .routes(routes!(list_batches, open_batch))
        .routes(routes!(read_batch))
        .routes(routes!(seal_batch))
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
    /// `open`, `sealed` or `cancelled`.
    pub state: String,
    /// Its name.
    pub name: String,
    /// Whose documents these are.
    pub custodian: Option<String>,
    /// Labels of everything in it.
    pub labels: Vec<String>,
    /// When nothing of it was on its way any more, once it is sealed (RFC 3339).
    pub settled_at: Option<String>,
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
            settled_at: batch.settled_at.map(Timestamp::rfc3339),
            created_by: batch.created_by,
            created_at: batch.created_at.rfc3339(),
            updated_at: batch.updated_at.rfc3339(),
        }
    }
}

/// What a delivery opened with a load file is called; without one the body says it.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct BatchParams {
    /// Up to 300 characters.
    #[serde(default)]
    name: String,
    /// Whose documents these are.
    custodian: Option<String>,
}

impl From<BatchParams> for BatchFields {
    fn from(params: BatchParams) -> Self {
        Self { name: params.name, custodian: params.custodian, ..Self::default() }
    }
}

/// What a delivery begins with.
enum Opening {
    Fields(BatchFields),
    LoadFile(LoadFileBytes),
}

impl FromRequest<State> for Opening {
    type Rejection = Error;

    async fn from_request(request: Request<Body>, state: &State) -> Result<Self, Error> {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let essence = kind.unwrap_or("").split(';').next().unwrap_or("").trim();
        if essence.is_empty() || essence.eq_ignore_ascii_case("application/json") {
            return Json::from_request(request, state).await.map(|Json(fields)| Self::Fields(fields));
        }
        LoadFileBytes::from_request(request, state).await.map(Self::LoadFile)
    }
}

/// A delivery as it was opened.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct OpenedBatch {
    /// The delivery.
    #[serde(flatten)]
    pub batch: BatchBody,
    /// Its load file, if it was opened with one. Wait until its state is `read`, then deliver the files.
    pub load_file: Option<LoadFileBody>,
}

/// A delivery and its equation.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct BatchReport {
    /// The delivery.
    #[serde(flatten)]
    pub batch: BatchBody,
    /// Its equation.
    pub counts: CountsBody,
    /// What its load files announce.
    pub items: ItemCountsBody,
    /// Its uploads in pieces that are not documents yet.
    pub uploads: UploadCountsBody,
}

/// How many uploads in pieces are not documents yet.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub struct UploadCountsBody {
    /// More bytes are to come.
    pub coming: u64,
    /// All bytes are there; they are being put together.
    pub complete: u64,
}

/// How many of the announced items stand where.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub struct ItemCountsBody {
    /// Not come yet; in a batch that is sealed or cancelled: missing.
    pub awaited: u64,
    /// Being fetched from where the load file says.
    pub fetching: u64,
    /// Came.
    pub delivered: u64,
    /// Cannot be used, or came otherwise than announced.
    pub failed: u64,
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

/// Opens a delivery that several uploads add to; seal it when all is delivered. The body says what the delivery is, or is a load
/// file (Concordance DAT, CSV, Opticon OPT, EDRM XML, newline-delimited JSON) under any other Content-Type; then the query says
/// what the delivery is.
#[utoipa::path(
    post, path = "/databases/{id}/batches", tag = "batches",
    params(
        ("id" = Uuid, Path), BatchParams,
        ("Idempotency-Key" = String, Header, description = "1 to 128 visible characters"),
    ),
    request_body(content(
        (BatchFields = "application/json"), (String = "text/csv"), (String = "application/x-ndjson"),
        (String = "application/xml"), (String = "text/plain"), (String = "application/octet-stream"),
    )),
    responses((status = 201, body = OpenedBatch))
)]
async fn open_batch(
    state: State,
    user: CurrentUser,
    key: Idempotent,
    Path(id): Path<DatabaseId>,
    Query(params): Query<BatchParams>,
    opening: Opening,
) -> Result<Response> {
    let (fields, load_file) = match opening {
        Opening::Fields(fields) => (fields, None),
        Opening::LoadFile(bytes) => (params.into(), Some(bytes)),
    };
    check_name(&fields.name)?;
    let mut tx = state.storage.read(&user.actor).await?;
    let database = Database::find(&mut tx, id, Action::Upload).await?;
    drop(tx);
    let stored = match load_file {
        Some(bytes) => Some(bytes.store(&state, &user, &database).await?),
        None => None,
    };
    let opened = open(&state, &user, &key, id, fields, stored.as_ref()).await;
    match stored {
        Some(stored) => finish(&state, stored.blob, opened).await,
        None => opened.map(|(answer, _)| answer),
    }
}

/// Opens a batch, with its load file if one is stored; false when the answer had been given before.
async fn open(
    state: &State,
    user: &CurrentUser,
    key: &Idempotent,
    id: DatabaseId,
    fields: BatchFields,
    stored: Option<&Stored>,
) -> Result<(Response, bool)> {
    let request = key.request(&user.actor, &(&fields, stored.map(|stored| hex::encode(stored.sha256))))?;
    let mut tx = state.storage.begin(&user.actor).await?;
    let database = Database::find(&mut tx, id, Action::Upload).await?;
    if let Some(answer) = kept(&mut tx, &request).await? {
        return Ok((answer, false));
    }
    let source = match fields.source {
        Source::Upload => "upload",
        Source::Import => "import",
    };
    let details = BatchDetails { name: fields.name, custodian: fields.custodian, labels: fields.labels };
    let batch = Batch::open(&mut tx, &database, source, &details).await?;
    let load_file = match stored {
        Some(stored) => Some(LoadFile::receive(&mut tx, &database, &batch, &details.name, stored).await?.into()),
        None => None,
    };
    let body = OpenedBatch { batch: batch.into(), load_file };
    Ok((created(tx, &request, StatusCode::CREATED, &body).await?, true))
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
    let items = items::counts(&mut tx, &batch).await?;
    let items = ItemCountsBody {
        awaited: items.awaited,
        fetching: items.fetching,
        delivered: items.delivered,
        failed: items.failed,
    };
    let (coming, complete) = uploads::pending(&mut tx, &batch).await?;
    let uploads = UploadCountsBody { coming, complete };
    Ok(Json(BatchReport { batch: batch.into(), counts, items, uploads }))
}

/// Declares a delivery complete: it takes no more files, and what was announced and has not come is missing.
#[utoipa::path(
    post, path = "/databases/{id}/batches/{batch}/seal", tag = "batches",
    params(("id" = Uuid, Path), ("batch" = Uuid, Path)), responses((status = 204, description = "sealed"))
)]
async fn seal_batch(
    state: State,
    user: CurrentUser,
    Path((id, batch)): Path<(DatabaseId, BatchId)>,
) -> Result<StatusCode> {
    let mut tx = state.storage.begin(&user.actor).await?;
    let database = Database::find(&mut tx, id, Action::Upload).await?;
    let batch = Batch::find(&mut tx, &database, batch).await?;
    batch.seal(&mut tx).await?;
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
