//! What can go wrong in storage, sources kept. The door maps these to codes; jobs map them to retry or fail.

use domain::page::PageError;

use crate::{objects::ObjectError, vault::VaultError};

/// A failed storage operation.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such row, or none this actor may know of.
    #[error("not found")]
    NotFound,
    /// The actor may see the thing but not do this to it.
    #[error("not permitted")]
    Forbidden,
    /// The state of the thing does not allow this.
    #[error("{0}")]
    Conflict(&'static str),
    /// A value that rows cannot hold.
    #[error("{0}")]
    Invalid(&'static str),
    /// A page that cannot be read.
    #[error(transparent)]
    Page(#[from] PageError),
    /// The job or lease was taken over by another process: whatever this one did must not count.
    #[error("the lease was lost")]
    LeaseLost,
    /// An Idempotency-Key came back with another request.
    #[error("the idempotency key was used with another request")]
    IdempotencyMismatch,
    /// A transaction that changed rows was committed without an audit event: a defect in dia.
    #[error("a change was committed without an audit event")]
    Unaudited,
    /// Somebody changed rows of the audit log.
    #[error(
        "the rows of the audit log are not those that were signed; run `dia audit check` and keep the published checkpoints"
    )]
    LogDamaged,
    /// The database answered with an error.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
    /// The schema could not be brought up to date.
    #[error("migration: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// Keys are missing or do not open what they should.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The object store failed.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// A row holds JSON that this version cannot read.
    #[error("stored value: {0}")]
    Json(#[from] serde_json::Error),
    /// A stored text cannot be encoded or decoded.
    #[error("stored text: {0}")]
    Text(#[from] postcard::Error),
    /// The operating system refused.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Result of a storage operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// True when the disk is full: the caller may repeat when there is room.
    pub fn is_full(&self) -> bool {
        match self {
            Self::Object(e) => e.is_full(),
            Self::Io(e) => e.kind() == std::io::ErrorKind::StorageFull,
            // SQLITE_FULL is 13 and SQLITE_IOERR_SHMSIZE 4874 (https://www.sqlite.org/rescode.html); 53100 is PostgreSQL's
            // disk_full.
            Self::Database(sqlx::Error::Database(e)) => matches!(e.code().as_deref(), Some("13" | "4874" | "53100")),
            _ => false,
        }
    }

    /// True when the database or the object store could not be reached, or went away in the middle: nothing is wrong with what
    /// was asked of it.
    pub fn is_away(&self) -> bool {
        use sqlx::Error as E;
        match self {
            Self::Database(E::Io(_) | E::Tls(_) | E::Protocol(_) | E::PoolTimedOut | E::PoolClosed) => true,
            // Connection failures, too many connections, and a server that starts or stops (PostgreSQL, appendix A).
            Self::Database(E::Database(error)) => {
                error.code().is_some_and(|code| code.starts_with("08") || code.starts_with("57P") || code == "53300")
            }
            Self::Object(error) => error.is_away(),
            _ => false,
        }
    }

    /// True when a unique index refused the row.
    pub fn is_unique_violation(&self) -> bool {
        matches!(self, Self::Database(sqlx::Error::Database(e)) if e.is_unique_violation())
    }
}
