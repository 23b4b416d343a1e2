//! Versions of a document: replace its file, list what it was before, and download that.

use std::collections::BTreeMap;

use axum::{
    extract::DefaultBodyLimit,
    http::{HeaderMap, StatusCode},
    response::Response,
};
use domain::{
    access::Action,
    error::Code,
    ids::{DocumentId, UserId},
    outcome::Category,
};
use serde::Serialize;
use storage::{
    audit::Audit,
    documents::{Document, Reading, Version},
    objects::Stored,
};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    documents::{Original, open, serve},
    uploads::{LONGEST_NAME, forget, store},
};
use crate::{
    Error, Result, State,
    extract::{CurrentUser, Idempotent, Json, Path, created, kept},
    multipart::Parts,
};

pub(super) fn routes() -> OpenApiRouter<State> {
    OpenApiRouter::new()
        .routes(routes!(replace_file))
        .layer(DefaultBodyLimit::disable())
        .routes(routes!(list_versions))
        .routes(routes!(read_version))
}

/// The fields of a replacement: the note first, then one file.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes the form; it is read part by part")]
pub struct ReplacementForm {
    /// Why the file is replaced, in at most 2000 characters.
    note: Option<String>,
    /// The file.
    #[schema(value_type = String, format = Binary)]
    file: Vec<u8>,
}

/// What a document is after its file was replaced.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ReplacedBody {
    /// The document.
    #[schema(value_type = Uuid)]
    pub document_id: DocumentId,
    /// The number of its version now.
    pub version: u32,
    /// Bytes.
    pub size: u64,
    /// SHA-256 of the bytes, in hexadecimal.
    pub sha256: String,
}

/// All versions of a document.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct VersionsBody {
    /// The first one first; the last is current.
    pub items: Vec<VersionBody>,
}

/// Bytes a document has or had, and what was read from them.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct VersionBody {
    /// 1 for the file as received, then 2, 3 …
    pub number: u32,
    /// True for the one the document stands for now.
    pub current: bool,
    /// File name as delivered.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// SHA-256 of the bytes, in hexadecimal.
    pub sha256: String,
    /// Format, if it was identified.
    pub format: Option<String>,
    /// Why it could not be fully processed.
    pub exception: Option<&'static str>,
    /// When it came (RFC 3339).
    pub at: String,
    /// Who brought it.
    #[schema(value_type = Option<Uuid>)]
    pub by: Option<UserId>,
    /// Why it replaced the one before.
    pub note: Option<String>,
    /// Every reading of it, oldest first.
    pub readings: Vec<ReadingBody>,
}

/// One reading of a document: from these bytes, by this reader with these parameters, came this text.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ReadingBody {
    /// SHA-256 of the bytes read, in hexadecimal.
    pub input_sha256: String,
    /// The program that read them.
    pub tool: String,
    /// Its version.
    pub tool_version: String,
    /// What decides the text it gives: engines, languages, resolution, limits.
    pub parameters: BTreeMap<String, String>,
    /// SHA-256 of the stored text, in hexadecimal; absent when the reading gave none.
    pub text_sha256: Option<String>,
    /// Pages of the text.
    pub pages: Option<u32>,
    /// Characters of the text.
    pub characters: Option<u32>,
    /// Why the reading gave no text.
    pub exception: Option<&'static str>,
    /// When it was read (RFC 3339).
    pub at: String,
}

impl From<Reading> for ReadingBody {
    fn from(reading: Reading) -> Self {
        Self {
            input_sha256: hex::encode(reading.input_sha256),
            tool: reading.reader.tool,
            tool_version: reading.reader.version,
            parameters: reading.reader.parameters,
            text_sha256: reading.text_sha256.map(hex::encode),
            pages: reading.pages,
            characters: reading.characters,
            exception: reading.category.map(Category::name),
            at: reading.at.rfc3339(),
        }
    }
}

impl VersionBody {
    pub(super) fn new(version: Version, readings: &[Reading]) -> Self {
        let own = readings.iter().filter(|reading| reading.version == version.number).cloned();
        Self {
            readings: own.map(ReadingBody::from).collect(),
            number: version.number,
            current: version.current,
            name: version.name,
            size: version.size,
            sha256: hex::encode(version.sha256),
            format: version.format,
            exception: version.category.map(Category::name),
            at: version.at.rfc3339(),
            by: version.by,
            note: version.note,
        }
    }
}

/// What makes a repeated request the same.
#[derive(Serialize)]
struct Said {
    name: String,
    note: String,
    sha256: String,
}

/// Replaces the file of a document. The former one is kept as a version, what was unpacked from it is deleted (which needs
/// the right to delete), and the new one is processed like a file just received.
#[utoipa::path(
    post, path = "/documents/{id}/replacement", tag = "documents",
    params(("id" = Uuid, Path), ("Idempotency-Key" = String, Header, description = "1 to 128 visible characters")),
    request_body(content = ReplacementForm, content_type = "multipart/form-data"),
    responses((status = 201, body = ReplacedBody))
)]
async fn replace_file(
    state: State,
    user: CurrentUser,
    key: Result<Idempotent, Error>,
    Path(id): Path<DocumentId>,
    parts: Parts,
) -> Result<Response> {
    let mut tx = state.storage.read(&user.actor).await?;
    let document = Document::find(&mut tx, id, Action::Upload).await?;
    let case_key = tx.case_key(document.case).await?;
    drop(tx);
    let key = key?;
    let (name, note, stored) = receive(&state, &document, &case_key, parts).await?;
    let said = Said { name, note, sha256: hex::encode(stored.sha256) };
    let answer = record(&state, &user, &key, id, &said, &stored).await;
    match answer {
        Ok((response, true)) => Ok(response),
        Ok((response, false)) => {
            forget(&state, vec![stored.blob]).await;
            Ok(response)
        }
        Err(error) => {
            forget(&state, vec![stored.blob]).await;
            Err(error)
        }
    }
}

/// Reads the form: its note, and its one file, which is stored when this returns.
async fn receive(
    state: &State,
    document: &Document,
    key: &storage::vault::CaseKey,
    mut parts: Parts,
) -> Result<(String, String, Stored)> {
    let mut note = String::new();
    let most = state.config.max_upload_bytes;
    let mut taken: Option<(String, Stored)> = None;
    loop {
        let step = match parts.next().await {
            Ok(None) => break,
            Ok(Some(_)) if taken.is_some() => {
                Err(Error::new(Code::Invalid, "send one file, after the note; nothing may follow it"))
            }
            Ok(Some(mut part)) => match part.file_name.take() {
                None if part.name == "note" => part.text().await.map(|text| note = text),
                None => {
                    Err(Error::new(Code::Invalid, "there is a field that replacements do not have; see the reference"))
                }
                Some(path) => {
                    let name = path.rsplit(['/', '\\']).next().unwrap_or_default().to_owned();
                    if name.is_empty() || name.contains('\0') || name.chars().count() > LONGEST_NAME {
                        Err(Error::new(
                            Code::Invalid,
                            format!("a file's name must have 1 to {LONGEST_NAME} characters and no NUL"),
                        ))
                    } else {
                        match store(state, key, document.case, &mut part, most).await {
                            Ok(Some(stored)) => {
                                taken = Some((name, stored));
                                Ok(())
                            }
                            Ok(None) => Err(Code::TooLarge.into()),
                            Err(error) => Err(error),
                        }
                    }
                }
            },
            Err(error) => Err(error),
        };
        if let Err(error) = step {
            forget(state, taken.map(|(_, stored)| stored.blob).into_iter().collect()).await;
            return Err(error);
        }
    }
    let (name, stored) = taken.ok_or_else(|| Error::new(Code::Invalid, "send one file, as a part with a file name"))?;
    Ok((name, note, stored))
}

/// Makes the stored file the document's. False when the answer is one given before, and the file is not wanted.
async fn record(
    state: &State,
    user: &CurrentUser,
    key: &Idempotent,
    id: DocumentId,
    said: &Said,
    stored: &Stored,
) -> Result<(Response, bool)> {
    let request = key.request(&user.actor, said)?;
    let mut tx = state.storage.begin(&user.actor).await?;
    let document = Document::find(&mut tx, id, Action::Upload).await?;
    if let Some(answer) = kept(&mut tx, &request).await? {
        return Ok((answer, false));
    }
    let version = document.replace(&mut tx, &said.name, stored, &said.note).await?;
    let body = ReplacedBody { document_id: id, version, size: stored.size, sha256: said.sha256.clone() };
    Ok((created(tx, &request, StatusCode::CREATED, &body).await?, true))
}

/// What a document was before its file was replaced, and everything that was read from each version.
#[utoipa::path(
    get, path = "/documents/{id}/versions", tag = "documents", params(("id" = Uuid, Path)),
    responses((status = 200, body = VersionsBody))
)]
async fn list_versions(state: State, user: CurrentUser, Path(id): Path<DocumentId>) -> Result<Json<VersionsBody>> {
    let (document, mut tx) = open(&state, &user, id, |case| Audit::DocumentViewed { case, document: id }).await?;
    let versions = document.versions(&mut tx).await?;
    let readings = document.readings(&mut tx).await?;
    tx.commit().await?;
    Ok(Json(VersionsBody { items: versions.into_iter().map(|version| VersionBody::new(version, &readings)).collect() }))
}

/// The bytes of one version exactly as they were received. Ranges are served. An infected file's bytes are not.
#[utoipa::path(
    get, path = "/documents/{id}/versions/{number}/original", tag = "documents",
    params(
        ("id" = Uuid, Path), ("number" = u32, Path),
        ("Range" = Option<String>, Header, description = "one range of bytes"),
    ),
    responses(
        (status = 200, content_type = "application/octet-stream", description = "all of it"),
        (status = 206, content_type = "application/octet-stream", description = "the range asked for"),
    )
)]
async fn read_version(
    state: State,
    user: CurrentUser,
    headers: HeaderMap,
    Path((id, number)): Path<(DocumentId, u32)>,
) -> Result<Response> {
    let trace = |case| Audit::VersionDownloaded { case, document: id, version: number };
    let (document, mut tx) = open(&state, &user, id, trace).await?;
    let versions = document.versions(&mut tx).await?;
    let version = versions.into_iter().find(|version| version.number == number).ok_or_else(Error::not_found)?;
    let original = Original {
        case: document.case,
        blob: version.original,
        size: version.size,
        sha256: version.sha256,
        name: version.name,
        category: version.category,
    };
    serve(&state, tx, &headers, original).await
}
