//! What an upload sends and what it gets back.

use domain::ids::{BatchId, DatabaseId, DocumentId};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// The fields of an upload. Files are the parts with a file name, which may carry a path; any number of them. What is
/// said of all of them comes first; `modified_at` and `path` come before the file they speak of.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes the form; it is read part by part")]
pub struct UploadForm {
    /// An open batch to add to. Without one, the upload is a batch of its own, closed when it is complete.
    batch_id: Option<Uuid>,
    /// The database of a case that has several.
    database_id: Option<Uuid>,
    /// A name for the batch.
    name: Option<String>,
    /// Whose documents these are.
    custodian: Option<String>,
    /// A label; repeat the field for more.
    labels: Option<String>,
    /// When the next file was last changed (RFC 3339).
    modified_at: Option<String>,
    /// Where the next file lay, if its file name does not say.
    path: Option<String>,
    /// A file.
    #[schema(value_type = String, format = Binary)]
    file: Vec<u8>,
}

/// What became of an upload.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct UploadBody {
    /// The database.
    #[schema(value_type = Uuid)]
    pub database_id: DatabaseId,
    /// The batch.
    #[schema(value_type = Uuid)]
    pub batch_id: BatchId,
    /// Files received, in the order sent. Each is durable.
    pub files: Vec<ReceivedFile>,
    /// Files not received, and why.
    pub rejected: Vec<RejectedFile>,
}

/// A received file.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ReceivedFile {
    /// Its document.
    #[schema(value_type = Uuid)]
    pub document_id: DocumentId,
    /// Its name.
    pub name: String,
    /// Its path as delivered.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// SHA-256 of the bytes, in hexadecimal.
    pub sha256: String,
    /// False when this delivery had brought it before.
    pub fresh: bool,
}

/// A file that was not taken.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct RejectedFile {
    /// Its name.
    pub name: String,
    /// Its path as delivered.
    pub path: String,
    /// A code of the error table.
    pub code: &'static str,
    /// What is wrong and what to do.
    pub message: String,
}
