//! What can go wrong with objects. Messages name ids, never contents.

use std::io;

use domain::ids::BlobId;

use crate::vault::VaultError;

/// A failure of the object store.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// The device or the quota is full; nothing was stored and nothing was lost.
    #[error("the object store is full; free space and try again")]
    Full(#[source] io::Error),
    /// There is no object of that name.
    #[error("blob {0} is not in the store")]
    Missing(BlobId),
    /// An object of that name exists; objects are never overwritten.
    #[error("blob {0} is already in the store")]
    Exists(BlobId),
    /// The bytes are not those that were written under that key, case and kind.
    #[error("blob {blob} fails its integrity check; restore it from backup")]
    Damaged {
        /// The object.
        blob: BlobId,
        /// What the check said.
        #[source]
        source: io::Error,
    },
    /// The store refused or failed.
    #[error("cannot {doing}")]
    Io {
        /// What was tried, as a verb and its object.
        doing: &'static str,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The bucket that the configuration names cannot be used; the text says what to do.
    #[error("{0}")]
    Unusable(String),
    /// A key failed.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The work was cut off: the runtime is stopping, or the writer failed before.
    #[error("the work on the object was interrupted; try again")]
    Interrupted,
}

impl ObjectError {
    /// True when space is what is missing.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full(_))
    }

    /// True when the store could not be reached: nothing is wrong with what was asked of it.
    pub fn is_away(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::TimedOut)
    }

    /// Sorts an I/O error by what the caller can do about it.
    pub(super) fn io(doing: &'static str, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full(source),
            _ => Self::Io { doing, source },
        }
    }

    /// Sorts an error of reading `blob`.
    pub(super) fn reading(blob: BlobId, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::NotFound => Self::Missing(blob),
            io::ErrorKind::InvalidData => Self::Damaged { blob, source },
            _ => Self::Io { doing: "read an object", source },
        }
    }
}

impl From<ObjectError> for io::Error {
    fn from(error: ObjectError) -> Self {
        let kind = match &error {
            ObjectError::Full(_) => io::ErrorKind::StorageFull,
            ObjectError::Missing(_) => io::ErrorKind::NotFound,
            ObjectError::Exists(_) => io::ErrorKind::AlreadyExists,
            ObjectError::Damaged { .. } => io::ErrorKind::InvalidData,
            ObjectError::Io { source, .. } => source.kind(),
            ObjectError::Unusable(_) | ObjectError::Vault(_) | ObjectError::Interrupted => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}
