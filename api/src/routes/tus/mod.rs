//! Uploads in pieces by tus 1.0.0 (<https://tus.io/protocols/resumable-upload>): creation (also with the first bytes, or before the
//! length is known), checksum, expiration, termination, concatenation. An upload belongs to a batch; when all its bytes are there it
//! becomes a document by itself. Creation takes no Idempotency-Key, which tus clients do not send: an upload that was begun twice
//! and goes on once is one document, and the other expires.

mod headers;
mod piece;

use axum::{
    body::Body,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    middleware::map_response,
    response::Response,
};
use domain::{
    access::Action,
    error::Code,
    ids::{BatchId, DatabaseId, UploadId},
};
use storage::{
    Tx,
    batches::Batch,
    databases::Database,
    uploads::{MOST_JOINED, Upload, UploadDetails, UploadKind},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use self::{
    headers::{Concat, OFFSET_TYPE, Tus, concat, length, metadata, number, write_concat},
    piece::{Checksum, Pieces},
};
use super::uploads::forget;
use crate::{
    Error, Result, State,
    extract::{CurrentUser, Path},
};

const VERSION: &str = "1.0.0";
const EXTENSIONS: &str =
    "creation,creation-with-upload,creation-defer-length,checksum,expiration,termination,concatenation";

pub(super) fn routes() -> OpenApiRouter<State> {
    OpenApiRouter::new()
        .routes(routes!(create_upload, describe_uploads))
        .routes(routes!(read_upload, continue_upload, end_upload))
        .layer(map_response(async |mut response: Response| {
            response.headers_mut().insert("tus-resumable", HeaderValue::from_static(VERSION));
            response
        }))
}

/// What the server can do: `Tus-Version`, `Tus-Extension`, `Tus-Checksum-Algorithm` and `Tus-Max-Size`, in bytes.
#[utoipa::path(
    options, path = "/databases/{id}/batches/{batch}/uploads", tag = "uploads",
    params(("id" = Uuid, Path), ("batch" = Uuid, Path)), responses((status = 204, description = "see the headers"))
)]
async fn describe_uploads(state: State, _: CurrentUser) -> Response {
    let mut response = answer(StatusCode::NO_CONTENT);
    let headers = response.headers_mut();
    headers.insert("tus-version", HeaderValue::from_static(VERSION));
    headers.insert("tus-extension", HeaderValue::from_static(EXTENSIONS));
    headers.insert("tus-checksum-algorithm", HeaderValue::from_static(piece::ALGORITHMS));
    headers.insert("tus-max-size", HeaderValue::from(state.config.max_upload_bytes));
    response
}

/// Begins an upload. `Upload-Metadata` holds `filename`, and may hold `path` (where the file lies in the delivery; by it an
/// item of a load file is known) and `modified_at` (RFC 3339), their values in base64.
#[utoipa::path(
    post, path = "/databases/{id}/batches/{batch}/uploads", tag = "uploads",
    params(
        ("id" = Uuid, Path), ("batch" = Uuid, Path),
        ("Tus-Resumable" = String, Header, description = "1.0.0"),
        ("Upload-Length" = Option<u64>, Header, description = "bytes in all"),
        ("Upload-Defer-Length" = Option<u64>, Header, description = "1 when the length is said later"),
        ("Upload-Metadata" = Option<String>, Header, description = "filename, path, modified_at"),
        ("Upload-Concat" = Option<String>, Header, description = "`partial`, or `final;` and the partial uploads"),
    ),
    responses((status = 201, description = "begun; Location says where"))
)]
async fn create_upload(
    state: State,
    user: CurrentUser,
    _: Tus,
    Path((id, batch_id)): Path<(DatabaseId, BatchId)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response> {
    let most = state.config.max_upload_bytes;
    let mut details = metadata(&headers)?;
    let wanted = concat(&headers)?;
    let kind = match &wanted {
        None => UploadKind::Whole,
        Some(Concat::Partial) => UploadKind::Partial,
        Some(Concat::Final(parts)) => {
            check_final(&headers, parts)?;
            details.joined = Some(write_concat(parts));
            UploadKind::Final
        }
    };
    if kind != UploadKind::Partial && details.path.is_empty() {
        return Err(Error::new(Code::Invalid, "Upload-Metadata must hold filename or path"));
    }
    let checksum = Checksum::of(&headers)?;
    let length = if kind == UploadKind::Final { None } else { length(&headers, most)? };
    let mut tx = state.storage.begin(&user.actor).await?;
    let (database, batch) = find_batch(&mut tx, id, batch_id).await?;
    let patience = state.config.upload_patience();
    let mut upload = Upload::create(&mut tx, &database, &batch, kind, length, &details, patience).await?;
    if let Some(Concat::Final(ids)) = &wanted {
        let mut parts = Vec::with_capacity(ids.len());
        for id in ids {
            parts.push(Upload::find(&mut tx, &batch, *id).await?);
        }
        if parts.iter().map(|part| part.received).sum::<u64>() > most {
            return Err(too_large(most));
        }
        upload.join(&mut tx, &parts).await?;
    }
    tx.commit().await?;
    if headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == OFFSET_TYPE) && kind != UploadKind::Final {
        upload = Pieces::new(&state, &user, &database, batch, upload, checksum).take(body).await?;
    }
    let mut response = answer(StatusCode::CREATED);
    let place = format!("/api/v1/databases/{id}/batches/{batch_id}/uploads/{}", upload.id);
    put(&mut response, "location", &place)?;
    describe(&mut response, &upload)?;
    Ok(response)
}

fn check_final(headers: &HeaderMap, parts: &[UploadId]) -> Result<()> {
    if !(1..=MOST_JOINED).contains(&parts.len()) {
        return Err(Error::new(Code::Invalid, format!("put 1 to {MOST_JOINED} partial uploads together")));
    }
    if headers.contains_key("upload-length") || headers.contains_key("upload-defer-length") {
        return Err(Error::new(Code::BadRequest, "a final upload is as long as its parts; send no length"));
    }
    Ok(())
}

/// How far an upload is: `Upload-Offset` and `Upload-Length`, in bytes. `Dia-Document` names the document it became.
#[utoipa::path(
    head, path = "/databases/{id}/batches/{batch}/uploads/{upload}", tag = "uploads",
    params(("id" = Uuid, Path), ("batch" = Uuid, Path), ("upload" = Uuid, Path), ("Tus-Resumable" = String, Header, description = "1.0.0")),
    responses((status = 200, description = "see the headers"))
)]
async fn read_upload(
    state: State,
    user: CurrentUser,
    _: Tus,
    Path((id, batch, upload)): Path<(DatabaseId, BatchId, UploadId)>,
) -> Result<Response> {
    let mut tx = state.storage.read(&user.actor).await?;
    let (_, batch) = find_batch(&mut tx, id, batch).await?;
    let upload = Upload::find(&mut tx, &batch, upload).await?;
    let mut response = answer(StatusCode::OK);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    describe(&mut response, &upload)?;
    if !upload.details.said.is_empty() {
        put(&mut response, "upload-metadata", &upload.details.said)?;
    }
    match (upload.kind, &upload.details.joined) {
        (UploadKind::Partial, _) => put(&mut response, "upload-concat", "partial")?,
        (UploadKind::Final, Some(parts)) => put(&mut response, "upload-concat", parts)?,
        _ => {}
    }
    if let Some(document) = upload.document {
        put(&mut response, "dia-document", &document.to_string())?;
    }
    Ok(response)
}

/// Adds bytes at `Upload-Offset`. What came before a connection broke is kept, unless a checksum was sent for the whole.
#[utoipa::path(
    patch, path = "/databases/{id}/batches/{batch}/uploads/{upload}", tag = "uploads",
    params(
        ("id" = Uuid, Path), ("batch" = Uuid, Path), ("upload" = Uuid, Path),
        ("Tus-Resumable" = String, Header, description = "1.0.0"),
        ("Upload-Offset" = u64, Header, description = "where the bytes begin"),
        ("Upload-Checksum" = Option<String>, Header, description = "algorithm and base64 of the checksum"),
    ),
    request_body(content = Vec<u8>, content_type = "application/offset+octet-stream"),
    responses((status = 204, description = "kept; Upload-Offset says how far the upload is"))
)]
async fn continue_upload(
    state: State,
    user: CurrentUser,
    _: Tus,
    Path((id, batch, upload)): Path<(DatabaseId, BatchId, UploadId)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response> {
    if headers.get(header::CONTENT_TYPE).is_none_or(|kind| kind != OFFSET_TYPE) {
        return Err(Error::new(Code::UnsupportedMediaType, "send the bytes as application/offset+octet-stream"));
    }
    let offset = number(&headers, "upload-offset")?
        .ok_or_else(|| Error::new(Code::BadRequest, "Upload-Offset is missing; ask for it with HEAD"))?;
    let said = number(&headers, "upload-length")?;
    let checksum = Checksum::of(&headers)?;
    let mut tx = state.storage.begin(&user.actor).await?;
    let (database, batch) = find_batch(&mut tx, id, batch).await?;
    let mut upload = Upload::find(&mut tx, &batch, upload).await?;
    if upload.kind == UploadKind::Final {
        return Err(Error::new(Code::Forbidden, "a final upload is made of its parts and takes no bytes"));
    }
    if upload.received != offset {
        return Err(Error::new(Code::Conflict, "the upload is not at this offset; ask for it with HEAD"));
    }
    if let Some(said) = said {
        if said > state.config.max_upload_bytes {
            return Err(too_large(state.config.max_upload_bytes));
        }
        if upload.length.is_none() {
            upload.set_length(&mut tx, said).await?;
            tx.commit().await?;
        } else if upload.length != Some(said) {
            return Err(Error::new(Code::Conflict, "the upload has another length; ask for it with HEAD"));
        } else {
            // Nobody else could write while the bytes come.
            drop(tx);
        }
    } else {
        drop(tx);
    }
    let upload = Pieces::new(&state, &user, &database, batch, upload, checksum).take(body).await?;
    let mut response = answer(StatusCode::NO_CONTENT);
    describe(&mut response, &upload)?;
    Ok(response)
}

/// Ends an upload that did not become a document; what came of it is deleted.
#[utoipa::path(
    delete, path = "/databases/{id}/batches/{batch}/uploads/{upload}", tag = "uploads",
    params(("id" = Uuid, Path), ("batch" = Uuid, Path), ("upload" = Uuid, Path), ("Tus-Resumable" = String, Header, description = "1.0.0")),
    responses((status = 204, description = "ended"))
)]
async fn end_upload(
    state: State,
    user: CurrentUser,
    _: Tus,
    Path((id, batch, upload)): Path<(DatabaseId, BatchId, UploadId)>,
) -> Result<Response> {
    let mut tx = state.storage.begin(&user.actor).await?;
    let (_, batch) = find_batch(&mut tx, id, batch).await?;
    let upload = Upload::find(&mut tx, &batch, upload).await?;
    if upload.is_complete && upload.kind != UploadKind::Partial {
        return Err(Error::new(Code::Conflict, "the upload is complete; delete its document instead"));
    }
    let blobs = upload.end(&mut tx).await?;
    tx.commit().await?;
    forget(&state, blobs).await;
    Ok(answer(StatusCode::NO_CONTENT))
}

async fn find_batch(tx: &mut Tx, database: DatabaseId, batch: BatchId) -> Result<(Database, Batch)> {
    let database = Database::find(tx, database, Action::Upload).await?;
    let batch = Batch::find(tx, &database, batch).await?;
    Ok((database, batch))
}

fn describe(response: &mut Response, upload: &Upload) -> Result<()> {
    let headers = response.headers_mut();
    headers.insert("upload-offset", HeaderValue::from(upload.received));
    match upload.length {
        Some(length) => headers.insert("upload-length", HeaderValue::from(length)),
        None => headers.insert("upload-defer-length", HeaderValue::from_static("1")),
    };
    if !upload.is_complete || upload.kind == UploadKind::Partial {
        put(response, "upload-expires", &upload.expires_at.http_date())?;
    }
    Ok(())
}

fn put(response: &mut Response, name: &'static str, value: &str) -> Result<()> {
    let value = HeaderValue::from_str(value).map_err(Error::internal)?;
    response.headers_mut().insert(HeaderName::from_static(name), value);
    Ok(())
}

fn answer(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

fn too_large(most: u64) -> Error {
    Error::new(Code::TooLarge, format!("the file is larger than the {most} bytes allowed; split it"))
}

/// What is kept of an upload's metadata.
fn details(name: String, path: String) -> UploadDetails {
    UploadDetails { name, path, ..UploadDetails::default() }
}
