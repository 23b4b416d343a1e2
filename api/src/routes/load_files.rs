//! Load files of a delivery and the items they announce.

use axum::{
    body::{Body, BodyDataStream},
    extract::FromRequest,
    http::{Request, StatusCode, header},
    response::Response,
};
use domain::{
    access::Action,
    error::Code,
    ids::{BatchId, BlobId, DatabaseId, DocumentId, ItemId, LoadFileId},
    page::PageQuery,
};
use futures::StreamExt as _;
use serde::{Deserialize, Serialize};
use storage::{
    batches::Batch,
    databases::Database,
    items::{self, Item, ItemError, ItemState},
    load_files::LoadFile,
    objects::{BlobKind, Stored},
};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::uploads::{forget, forget_after};
use crate::{
    Error, Result, State,
    extract::{CurrentUser, Idempotent, Json, PageParams, Path, Query, created, kept},
    openapi::PageBody,
};

pub(super) fn routes() -> OpenApiRouter<State> {
    OpenApiRouter::new()
        .routes(routes!(list_load_files, deliver_load_file))
        .routes(routes!(read_load_file))
        .routes(routes!(list_items))
}

/// A load file.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct LoadFileBody {
    /// Its id.
    #[schema(value_type = Uuid)]
    pub id: LoadFileId,
    /// The delivery it describes.
    #[schema(value_type = Uuid)]
    pub batch_id: BatchId,
    /// Its name, as delivered.
    pub name: String,
    /// `waiting`, `read` or `failed`. While one waits, its batch takes no files.
    pub state: String,
    /// `concordance`, `csv`, `opticon`, `edrm_xml` or `ndjson`, once read.
    pub kind: Option<String>,
    /// Its encoding, once read.
    pub encoding: Option<String>,
    /// Some characters could not be decoded.
    pub damaged: bool,
    /// The columns of a delimited file.
    pub columns: Vec<String>,
    /// Items it announces, those refused included; rising while it is read.
    pub items: u64,
    /// Records that cannot be used; the batch's errors say why.
    pub refused: u64,
    /// Why it could not be read (on), and what to do.
    pub error: Option<String>,
    /// When it was delivered (RFC 3339).
    pub created_at: String,
    /// When it was last read on (RFC 3339).
    pub updated_at: String,
}

impl From<LoadFile> for LoadFileBody {
    fn from(file: LoadFile) -> Self {
        Self {
            id: file.id,
            batch_id: file.batch,
            name: file.details.name,
            state: file.state,
            kind: file.details.kind,
            encoding: file.details.encoding,
            damaged: file.details.damaged,
            columns: file.details.columns,
            items: file.items,
            refused: file.refused,
            error: file.details.error,
            created_at: file.created_at.rfc3339(),
            updated_at: file.updated_at.rfc3339(),
        }
    }
}

/// A file that a load file announces.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ItemBody {
    /// Its id.
    #[schema(value_type = Uuid)]
    pub id: ItemId,
    /// The load file.
    #[schema(value_type = Uuid)]
    pub load_file_id: LoadFileId,
    /// The first line of its record, from 1.
    pub line: u64,
    /// `awaited`, `fetching`, `delivered` or `failed`.
    pub state: &'static str,
    /// Why it failed: `refused`, `hash_mismatch`, `reference_refused`, `reference_missing`, `reference_too_large` or
    /// `reference_failed`; the batch's errors say it in words.
    pub error: Option<&'static str>,
    /// Where it lies in the delivery, as written.
    pub path: String,
    /// Where its file lies, as the load file says; it is fetched from there where the operator allows it.
    pub source: Option<String>,
    /// Its number in the production.
    pub control_number: Option<String>,
    /// The control number of the item it is attached to.
    pub parent_control_number: Option<String>,
    /// The SHA-256 it should have.
    pub sha256: Option<String>,
    /// The document it became.
    #[schema(value_type = Option<Uuid>)]
    pub document_id: Option<DocumentId>,
    /// When it last moved (RFC 3339).
    pub updated_at: String,
}

impl From<Item> for ItemBody {
    fn from(item: Item) -> Self {
        Self {
            id: item.id,
            load_file_id: item.load_file,
            line: item.line,
            state: item.state.name(),
            error: item.error.map(ItemError::name),
            path: item.details.path,
            source: item.details.source,
            control_number: item.details.control_number,
            parent_control_number: item.details.parent,
            sha256: item.details.sha256,
            document_id: item.document,
            updated_at: item.updated_at.rfc3339(),
        }
    }
}

/// What the load file is called.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct LoadFileParams {
    /// Up to 300 characters.
    #[serde(default)]
    pub name: String,
}

/// Delivers a load file for an open batch: Concordance DAT, CSV, Opticon OPT, EDRM XML or newline-delimited JSON, told by its
/// bytes. Wait until its state is `read`, then deliver the files.
#[utoipa::path(
    post, path = "/databases/{id}/batches/{batch}/load-files", tag = "batches",
    params(
        ("id" = Uuid, Path), ("batch" = Uuid, Path), LoadFileParams,
        ("Idempotency-Key" = String, Header, description = "1 to 128 visible characters"),
    ),
    request_body(content(
        (String = "text/csv"), (String = "application/x-ndjson"), (String = "application/xml"), (String = "text/plain"),
        (String = "application/octet-stream"),
    )),
    responses((status = 201, body = LoadFileBody))
)]
async fn deliver_load_file(
    state: State,
    user: CurrentUser,
    key: Idempotent,
    Path((id, batch)): Path<(DatabaseId, BatchId)>,
    Query(params): Query<LoadFileParams>,
    body: LoadFileBytes,
) -> Result<Response> {
    check_name(&params.name)?;
    let mut tx = state.storage.read(&user.actor).await?;
    let database = Database::find(&mut tx, id, Action::Upload).await?;
    Batch::find(&mut tx, &database, batch).await?;
    drop(tx);
    let stored = body.store(&state, &user, &database).await?;
    let delivered = async {
        let request = key.request(&user.actor, &(&params.name, hex::encode(stored.sha256)))?;
        let mut tx = state.storage.begin(&user.actor).await?;
        let database = Database::find(&mut tx, id, Action::Upload).await?;
        if let Some(answer) = kept(&mut tx, &request).await? {
            return Ok((answer, false));
        }
        let batch = Batch::find(&mut tx, &database, batch).await?;
        let file = LoadFile::receive(&mut tx, &database, &batch, &params.name, &stored).await?;
        Ok((created(tx, &request, StatusCode::CREATED, &LoadFileBody::from(file)).await?, true))
    };
    finish(&state, stored.blob, delivered.await).await
}

/// Gives an answer, and forgets what was stored for it when it is not needed.
pub(super) async fn finish(state: &State, stored: BlobId, answer: Result<(Response, bool)>) -> Result<Response> {
    match &answer {
        Ok((_, true)) => {}
        Ok((_, false)) => forget(state, vec![stored]).await,
        Err(error) => forget_after(state, error, vec![stored]).await,
    }
    answer.map(|(answer, _)| answer)
}

pub(super) fn check_name(name: &str) -> Result<()> {
    if name.chars().count() > 300 {
        return Err(Error::new(Code::Invalid, "a name has at most 300 characters"));
    }
    Ok(())
}

/// The load files of a batch, oldest first.
#[utoipa::path(
    get, path = "/databases/{id}/batches/{batch}/load-files", tag = "batches",
    params(("id" = Uuid, Path), ("batch" = Uuid, Path), PageParams), responses((status = 200, body = PageBody<LoadFileBody>))
)]
async fn list_load_files(
    state: State,
    user: CurrentUser,
    Path((id, batch)): Path<(DatabaseId, BatchId)>,
    Query(page): Query<PageParams>,
) -> Result<Json<PageBody<LoadFileBody>>> {
    let mut tx = state.storage.read(&user.actor).await?;
    let database = Database::find(&mut tx, id, Action::ReadDocuments).await?;
    let batch = Batch::find(&mut tx, &database, batch).await?;
    Ok(Json(LoadFile::list(&mut tx, &batch, &page.into()).await?.into()))
}

/// One load file.
#[utoipa::path(
    get, path = "/databases/{id}/batches/{batch}/load-files/{load_file}", tag = "batches",
    params(("id" = Uuid, Path), ("batch" = Uuid, Path), ("load_file" = Uuid, Path)), responses((status = 200, body = LoadFileBody))
)]
async fn read_load_file(
    state: State,
    user: CurrentUser,
    Path((id, batch, load_file)): Path<(DatabaseId, BatchId, LoadFileId)>,
) -> Result<Json<LoadFileBody>> {
    let mut tx = state.storage.read(&user.actor).await?;
    let database = Database::find(&mut tx, id, Action::ReadDocuments).await?;
    let batch = Batch::find(&mut tx, &database, batch).await?;
    Ok(Json(LoadFile::find(&mut tx, &batch, load_file).await?.into()))
}

/// Which items.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ItemParams {
    /// Only in this state: `awaited`, `fetching`, `delivered` or `failed`.
    state: Option<String>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
    /// Rows wanted, 1 to 500; 50 when absent.
    limit: Option<u32>,
}

/// The items that the load files of a batch announce, in their order.
#[utoipa::path(
    get, path = "/databases/{id}/batches/{batch}/items", tag = "batches",
    params(("id" = Uuid, Path), ("batch" = Uuid, Path), ItemParams), responses((status = 200, body = PageBody<ItemBody>))
)]
async fn list_items(
    state: State,
    user: CurrentUser,
    Path((id, batch)): Path<(DatabaseId, BatchId)>,
    Query(params): Query<ItemParams>,
) -> Result<Json<PageBody<ItemBody>>> {
    let wanted = params.state.as_deref().map(|name| {
        let message = "state must be awaited, fetching, delivered or failed";
        ItemState::parse(name).ok_or_else(|| Error::new(Code::BadRequest, message))
    });
    let wanted = wanted.transpose()?;
    let mut tx = state.storage.read(&user.actor).await?;
    let database = Database::find(&mut tx, id, Action::ReadDocuments).await?;
    let batch = Batch::find(&mut tx, &database, batch).await?;
    let page = PageQuery { cursor: params.cursor, limit: params.limit };
    Ok(Json(items::list(&mut tx, &batch, wanted, &page).await?.into()))
}

/// The bytes of a load file, as the body of a request.
pub(super) struct LoadFileBytes(BodyDataStream);

impl FromRequest<State> for LoadFileBytes {
    type Rejection = Error;

    async fn from_request(request: Request<Body>, _: &State) -> Result<Self, Error> {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
        if kind.trim_start().to_ascii_lowercase().starts_with("multipart/") {
            let message =
                "send the load file itself as the body, for example as Content-Type: application/octet-stream";
            return Err(Error::new(Code::UnsupportedMediaType, message));
        }
        Ok(Self(request.into_body().into_data_stream()))
    }
}

impl LoadFileBytes {
    /// Seals and stores it.
    pub(super) async fn store(mut self, state: &State, user: &CurrentUser, database: &Database) -> Result<Stored> {
        let most = state.config.max_load_file_bytes;
        let mut tx = state.storage.read(&user.actor).await?;
        let key = tx.case_key(database.case_id).await?;
        drop(tx);
        let (objects, case) = (&state.storage.objects, database.case_id);
        let mut writer =
            objects.writer(&key, case, BlobId::new(), BlobKind::Original).await.map_err(storage::Error::from)?;
        let mut size = 0;
        while let Some(piece) = self.0.next().await {
            let piece = piece.map_err(|error| Error::body(&error))?;
            size += piece.len() as u64;
            if size > most {
                let message = format!("the load file is larger than the {most} bytes allowed; split it");
                return Err(Error::new(Code::TooLarge, message));
            }
            writer.write(piece).await.map_err(storage::Error::from)?;
        }
        if size == 0 {
            return Err(Error::new(Code::Invalid, "the load file is empty; send it as the body of the request"));
        }
        Ok(writer.finish().await.map_err(storage::Error::from)?)
    }
}
