//! What can go wrong with keys. No message names a key, a plaintext or a ciphertext.

use std::{io, path::PathBuf};

/// A failure of the vault.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The file system refused work on the root key.
    #[error("cannot {doing} the root key {path}")]
    RootFile {
        /// What was tried, as a verb.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// Others than the owner have rights on the root key.
    #[error("the root key {path} has mode {mode:03o}; run chmod 600 on it")]
    RootMode {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The root key is not a regular file of 32 bytes.
    #[error("the root key {path} is not a regular file of 32 bytes; restore it from backup")]
    RootShape {
        /// The file.
        path: PathBuf,
    },
    /// The operating system gave no randomness.
    #[error("the operating system gave no randomness: {0}")]
    Randomness(String),
    /// The wrapped case key does not open.
    #[error("the case key does not open: another root key, case or version, or altered bytes")]
    CaseKey,
    /// Sealed bytes do not open.
    #[error("the sealed bytes do not open: altered, moved from another place, or sealed under another key")]
    Sealed,
    /// A cipher or key derivation was asked for more than its limit.
    #[error("too many bytes to seal at once")]
    Limit,
}
