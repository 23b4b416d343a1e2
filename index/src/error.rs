//! What can go wrong with an index. No message carries text of a document.

use domain::page::PageError;

/// The result of every operation on an index.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an index could not be written, opened or searched.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The engine, or the storage under it, failed; tampered and missing files end here.
    #[error("the index could not be read or written; retry, and reindex the database if it persists")]
    Engine(#[source] Box<tantivy::TantivyError>),
    /// A record inside the index does not decode.
    #[error("the index holds a record that cannot be read; reindex the database")]
    Record(#[source] serde_json::Error),
    /// The generation was written with other fields than this version of dia uses.
    #[error("the index was made by another version of dia; reindex the database")]
    Version,
    /// The cursor belongs to another list.
    #[error(transparent)]
    Cursor(#[from] PageError),
}

impl From<tantivy::TantivyError> for Error {
    fn from(error: tantivy::TantivyError) -> Self {
        Self::Engine(Box::new(error))
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        tantivy::TantivyError::from(error).into()
    }
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Self::Record(error)
    }
}
