//! Uploads: files stream in, are hashed and sealed on the way, and become documents in groups. A file that was counted in
//! an answer is durable; of one that broke off nothing remains.

use std::fmt::Write as _;

use axum::{
    extract::DefaultBodyLimit,
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use domain::{
    access::Action,
    actor::Actor,
    clock::Timestamp,
    error::Code,
    ids::{BatchId, BlobId, CaseId, DatabaseId},
    page::PageQuery,
};
use serde::Serialize;
use storage::{
    Tx,
    batches::{Batch, BatchDetails},
    cases::Case,
    databases::{Database, Deduplication},
    documents::{self, Details, Receipt},
    idempotency, load_files,
    objects::{BlobKind, Stored},
    vault::CaseKey,
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::upload_bodies::{ReceivedFile, RejectedFile, UploadBody, UploadForm};
use crate::{
    Error, Result, State,
    extract::{CurrentUser, Idempotent, Json, Path},
    multipart::{Part, Parts},
};

/// Files committed together.
const GROUP_FILES: usize = 100;
/// Bytes after which a group is committed.
const GROUP_BYTES: u64 = 64 << 20;
/// Longest name or path, in characters.
pub(super) const LONGEST_NAME: usize = 4_096;
/// The database an upload to a case makes when there is none.
const DEFAULT_DATABASE: &str = "Documents";

pub(super) fn routes() -> OpenApiRouter<State> {
    OpenApiRouter::new()
        .routes(routes!(upload_to_database))
        .routes(routes!(upload_to_case))
        .layer(DefaultBodyLimit::disable())
}

/// Uploads files to a database.
#[utoipa::path(
    post, path = "/databases/{id}/files", tag = "files",
    params(
        ("id" = Uuid, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 128 visible characters; needed without batch_id"),
    ),
    request_body(content = UploadForm, content_type = "multipart/form-data"),
    responses((status = 201, body = UploadBody), (status = 200, description = "nothing of it was taken into the named batch", body = UploadBody))
)]
async fn upload_to_database(
    state: State,
    user: CurrentUser,
    key: Result<Idempotent, Error>,
    Path(id): Path<DatabaseId>,
    parts: Parts,
) -> Result<Response> {
    let mut tx = state.storage.read(&user.actor).await?;
    let database = Database::find(&mut tx, id, Action::Upload).await?;
    let (case, case_key) = (database.case_id, tx.case_key(database.case_id).await?);
    drop(tx);
    Intake::new(state, user.actor, key, case, case_key, Some(id)).take(parts).await
}

/// Uploads files to a case: to its only database, to the one named by `database_id`, or to a first one made for them.
#[utoipa::path(
    post, path = "/cases/{id}/files", tag = "files",
    params(
        ("id" = Uuid, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 128 visible characters; needed without batch_id"),
    ),
    request_body(content = UploadForm, content_type = "multipart/form-data"),
    responses((status = 201, body = UploadBody), (status = 200, description = "nothing of it was taken into the named batch", body = UploadBody))
)]
async fn upload_to_case(
    state: State,
    user: CurrentUser,
    key: Result<Idempotent, Error>,
    Path(id): Path<CaseId>,
    parts: Parts,
) -> Result<Response> {
    let mut tx = state.storage.read(&user.actor).await?;
    let case = Case::find(&mut tx, id, Action::Upload).await?;
    let case_key = tx.case_key(case.id).await?;
    drop(tx);
    Intake::new(state, user.actor, key, case.id, case_key, None).take(parts).await
}

/// What is said of the whole delivery; part of what makes a repeated request the same.
#[derive(Debug, Clone, Default, Serialize)]
struct Said {
    batch_id: Option<BatchId>,
    database_id: Option<DatabaseId>,
    name: String,
    custodian: Option<String>,
    labels: Vec<String>,
}

/// A file that is stored and not yet a document.
struct Pending {
    key: String,
    details: Details,
    stored: Stored,
}

/// One upload on its way.
struct Intake {
    state: State,
    actor: Actor,
    key: Result<Idempotent, Error>,
    case: CaseId,
    case_key: CaseKey,
    /// `None` until the first file, when the case has none yet.
    database: Option<DatabaseId>,
    batch: Option<BatchId>,
    /// Custodian and labels of the files.
    inherited: Option<(Option<String>, Vec<String>)>,
    said: Said,
    modified_at: Option<Timestamp>,
    path: Option<String>,
    seen: usize,
    pending: Vec<Pending>,
    pending_bytes: u64,
    files: Vec<ReceivedFile>,
    rejected: Vec<RejectedFile>,
}

impl Intake {
    fn new(
        state: State,
        actor: Actor,
        key: Result<Idempotent, Error>,
        case: CaseId,
        case_key: CaseKey,
        database: Option<DatabaseId>,
    ) -> Self {
        Self {
            state,
            actor,
            key,
            case,
            case_key,
            database,
            batch: None,
            inherited: None,
            said: Said::default(),
            modified_at: None,
            path: None,
            seen: 0,
            pending: Vec::new(),
            pending_bytes: 0,
            files: Vec::new(),
            rejected: Vec::new(),
        }
    }

    async fn take(mut self, mut parts: Parts) -> Result<Response> {
        let taken = self.read(&mut parts).await;
        if let Err(error) = taken {
            let blobs: Vec<BlobId> = self.pending.drain(..).map(|pending| pending.stored.blob).collect();
            forget_after(&self.state, &error, blobs).await;
            return Err(error);
        }
        let (Some(database_id), Some(batch_id)) = (self.database, self.batch) else { return Err(self.nothing_taken()) };
        let status = if self.files.is_empty() { StatusCode::OK } else { StatusCode::CREATED };
        let body = UploadBody { database_id, batch_id, files: self.files, rejected: self.rejected };
        Ok((status, Json(body)).into_response())
    }

    /// Reads all parts, and commits what they bring.
    async fn read(&mut self, parts: &mut Parts) -> Result<()> {
        while let Some(mut part) = parts.next().await? {
            match part.file_name.take() {
                Some(name) => self.file(name, part).await?,
                None => self.field(part).await?,
            }
            if self.pending.len() >= GROUP_FILES || self.pending_bytes >= GROUP_BYTES {
                self.commit(false).await?;
            }
        }
        if self.seen == 0 {
            return Err(Error::new(Code::Invalid, "send at least one file, as a part with a file name"));
        }
        self.commit(true).await
    }

    async fn field(&mut self, part: Part<'_>) -> Result<()> {
        let name = part.name.clone();
        let value = part.text().await?;
        let early = self.seen == 0;
        match name.as_str() {
            "modified_at" => {
                self.modified_at = Some(Timestamp::parse(&value).ok_or_else(|| wrong(&name, "an RFC 3339 time"))?);
            }
            "path" => self.path = Some(value),
            "batch_id" if early => self.said.batch_id = Some(value.parse().map_err(|_| wrong(&name, "a batch's id"))?),
            "database_id" if early => {
                self.said.database_id = Some(value.parse().map_err(|_| wrong(&name, "a database's id"))?);
            }
            "name" if early => self.said.name = value,
            "custodian" if early => self.said.custodian = Some(value).filter(|value| !value.is_empty()),
            "labels" if early => self.said.labels.push(value),
            "batch_id" | "database_id" | "name" | "custodian" | "labels" => {
                return Err(Error::new(Code::Invalid, format!("the field {name} must come before the files")));
            }
            _ => return Err(Error::new(Code::Invalid, "there is a field that uploads do not have; see the reference")),
        }
        Ok(())
    }

    async fn file(&mut self, name: String, mut part: Part<'_>) -> Result<()> {
        if self.seen == 0 {
            self.prepare().await?;
        }
        let number = self.seen;
        self.seen += 1;
        let most = self.state.config.max_upload_bytes;
        let path = self.path.take().unwrap_or(name);
        let modified_at = self.modified_at.take();
        let name = path.rsplit(['/', '\\']).next().filter(|last| !last.is_empty()).unwrap_or(&path).to_owned();
        if path.is_empty() || path.contains('\0') || path.chars().count() > LONGEST_NAME {
            part.skip(most).await?;
            let message = format!("a file's name must have 1 to {LONGEST_NAME} characters and no NUL");
            self.reject(name, path, Code::Invalid, message);
            return Ok(());
        }
        let Some(stored) = store(&self.state, &self.case_key, self.case, &mut part, most).await? else {
            part.skip(most).await?;
            self.reject(
                name,
                path,
                Code::TooLarge,
                format!("the file is larger than the {most} bytes allowed; split it"),
            );
            return Ok(());
        };
        // In a batch of its own, the place in the request tells copies of one file apart.
        let key = match self.said.batch_id {
            Some(_) => documents::key_of(&stored, &path),
            None => format!("{number} {}", documents::key_of(&stored, &path)),
        };
        let (custodian, labels) = self.inherited.clone().unwrap_or_default();
        let details = Details { name, path, custodian, labels, file_modified_at: modified_at, ..Details::default() };
        self.pending_bytes += stored.size;
        self.pending.push(Pending { key, details, stored });
        Ok(())
    }

    fn reject(&mut self, name: String, path: String, code: Code, message: String) {
        let short = |text: String| text.chars().take(LONGEST_NAME).collect();
        self.rejected.push(RejectedFile { name: short(name), path: short(path), code: code.name(), message });
    }

    /// Before the first file: refuses what could not be committed later.
    async fn prepare(&mut self) -> Result<()> {
        if self.said.batch_id.is_none() {
            self.key.as_ref().map_err(Clone::clone)?;
        }
        let mut tx = self.state.storage.read(&self.actor).await?;
        self.choose_database(&mut tx).await?;
        self.inherited = Some((self.said.custodian.clone(), self.said.labels.clone()));
        if let Some(id) = self.said.batch_id {
            let database = self.database.ok_or_else(Error::not_found)?;
            let database = Database::find(&mut tx, database, Action::Upload).await?;
            let batch = Batch::find(&mut tx, &database, id).await?;
            if load_files::waits(&mut tx, &batch).await? {
                return Err(Error::new(Code::Conflict, load_files::STILL_READ));
            }
            let details = batch.details;
            let custodian = self.said.custodian.clone().or(details.custodian);
            let labels = if self.said.labels.is_empty() { details.labels } else { self.said.labels.clone() };
            (self.batch, self.inherited) = (Some(id), Some((custodian, labels)));
        }
        Ok(())
    }

    async fn choose_database(&mut self, tx: &mut Tx) -> Result<()> {
        match (self.database, self.said.database_id) {
            (Some(own), Some(said)) if own != said => {
                return Err(Error::new(Code::Invalid, "database_id is not the database in the path; leave it out"));
            }
            (Some(_), _) => return Ok(()),
            (None, Some(said)) => {
                let database = Database::find(tx, said, Action::Upload).await?;
                if database.case_id != self.case {
                    return Err(Error::not_found());
                }
                self.database = Some(said);
                return Ok(());
            }
            (None, None) => {}
        }
        let two = PageQuery { cursor: None, limit: Some(2) };
        let databases = Database::list(tx, Some(self.case), &two).await?.items;
        if databases.len() > 1 {
            return Err(Error::new(
                Code::Invalid,
                "the case has several databases; say which in the field database_id",
            ));
        }
        self.database = databases.first().map(|database| database.id);
        Ok(())
    }

    /// Makes documents of what is pending: rows, audit event and jobs in one transaction.
    async fn commit(&mut self, last: bool) -> Result<()> {
        let seal = last && self.said.batch_id.is_none() && (self.batch.is_some() || !self.pending.is_empty());
        if self.pending.is_empty() && !seal {
            return Ok(());
        }
        let mut tx = self.state.storage.begin(&self.actor).await?;
        let database = self.open_database(&mut tx).await?;
        let batch = self.open_batch(&mut tx, &database).await?;
        let mut receipts = Vec::new();
        if !self.pending.is_empty() {
            let items: Vec<(&str, Details, Stored)> =
                self.pending.iter().map(|p| (p.key.as_str(), p.details.clone(), p.stored)).collect();
            receipts = documents::receive(&mut tx, &batch, &items).await.map_err(|error| match error {
                // A complete upload came back with other files.
                storage::Error::Conflict(_) if self.said.batch_id.is_none() => Code::IdempotencyMismatch.into(),
                error => Error::from(error),
            })?;
        }
        if seal && batch.state == "open" {
            batch.seal(&mut tx).await?;
        }
        tx.commit().await?;
        (self.database, self.batch) = (Some(database.id), Some(batch.id));
        self.settle(receipts).await;
        Ok(())
    }

    async fn settle(&mut self, receipts: Vec<Receipt>) {
        let mut unwanted = Vec::new();
        for (pending, receipt) in self.pending.drain(..).zip(receipts) {
            if !receipt.fresh {
                unwanted.push(pending.stored.blob);
            }
            self.files.push(ReceivedFile {
                document_id: receipt.document,
                name: pending.details.name,
                path: pending.details.path,
                size: pending.stored.size,
                sha256: hex::encode(pending.stored.sha256),
                fresh: receipt.fresh,
            });
        }
        self.pending_bytes = 0;
        forget(&self.state, unwanted).await;
    }

    /// The database, with access as it is now; made once for a case that has none.
    async fn open_database(&self, tx: &mut Tx) -> Result<Database> {
        if let Some(id) = self.database {
            return Ok(Database::find(tx, id, Action::Upload).await?);
        }
        let case = Case::find(tx, self.case, Action::Upload).await?;
        let once = idempotency::Request::new(format!("case {}", case.id), DEFAULT_DATABASE, b"");
        if let Some(kept) = tx.kept_answer(&once).await? {
            let id: DatabaseId = serde_json::from_slice(&kept.body).map_err(Error::internal)?;
            return Ok(Database::find(tx, id, Action::Upload).await?);
        }
        let database = Database::create(tx, &case, DEFAULT_DATABASE, "", Deduplication::default()).await?;
        tx.keep_answer(&once, 201, &serde_json::to_vec(&database.id).map_err(Error::internal)?).await?;
        Ok(database)
    }

    /// The batch: the one named, the one this key opened before, or a new one.
    async fn open_batch(&self, tx: &mut Tx, database: &Database) -> Result<Batch> {
        if let Some(id) = self.batch {
            return Ok(Batch::find(tx, database, id).await?);
        }
        let key = self.key.as_ref().map_err(Clone::clone)?;
        let request = key.request(&self.actor, &self.said)?;
        if let Some(kept) = tx.kept_answer(&request).await? {
            let id: BatchId = serde_json::from_slice(&kept.body).map_err(Error::internal)?;
            return Ok(Batch::find(tx, database, id).await?);
        }
        let Said { name, custodian, labels, .. } = self.said.clone();
        let batch = Batch::open(tx, database, "upload", &BatchDetails { name, custodian, labels }).await?;
        tx.keep_answer(&request, 201, &serde_json::to_vec(&batch.id).map_err(Error::internal)?).await?;
        Ok(batch)
    }

    /// Why an upload of its own brought nothing: its first file's reason.
    fn nothing_taken(&self) -> Error {
        let Some(first) = self.rejected.first() else { return Code::Internal.into() };
        let code = if first.code == Code::TooLarge.name() { Code::TooLarge } else { Code::Invalid };
        let mut message = first.message.clone();
        if self.rejected.len() > 1 {
            let _ = write!(message, " (and {} more files were not taken)", self.rejected.len() - 1);
        }
        Error::new(code, message)
    }
}

fn wrong(field: &str, want: &str) -> Error {
    Error::new(Code::Invalid, format!("the field {field} must hold {want}"))
}

/// Seals and stores a file; `None` when it is larger than `most` bytes.
pub(super) async fn store(
    state: &State,
    key: &CaseKey,
    case: CaseId,
    part: &mut Part<'_>,
    most: u64,
) -> Result<Option<Stored>> {
    let objects = &state.storage.objects;
    let mut writer =
        objects.writer(key, case, BlobId::new(), BlobKind::Original).await.map_err(storage::Error::from)?;
    let mut size = 0;
    while let Some(bytes) = part.chunk().await? {
        size += bytes.len() as u64;
        if size > most {
            return Ok(None);
        }
        writer.write(bytes).await.map_err(storage::Error::from)?;
    }
    Ok(Some(writer.finish().await.map_err(storage::Error::from)?))
}

/// Removes what a request stored in vain. After a commit that failed with its connection the rows may stand nevertheless: then the
/// garbage collection decides.
pub(super) async fn forget_after(state: &State, error: &Error, blobs: Vec<BlobId>) {
    if !matches!(error.code(), Code::Internal | Code::Unavailable) {
        forget(state, blobs).await;
    }
}

/// Removes objects that no row refers to. What fails here is collected later.
pub(super) async fn forget(state: &State, blobs: Vec<BlobId>) {
    storage::blobs::discard(&state.storage, blobs).await;
}
