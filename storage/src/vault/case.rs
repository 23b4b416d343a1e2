//! The key of one case, and the places its sealed columns are bound to.

use std::{fmt, sync::Arc};

use domain::fingerprint::FingerprintKey;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{
    VaultError,
    envelope::{self, Key},
};

/// The key under which everything of one case is sealed. Cloning shares it; the last drop wipes it.
#[derive(Clone)]
pub struct CaseKey(Arc<Secrets>);

struct Secrets {
    fields: Key,
    blobs: Key,
    lookups: Key,
    fingerprints: Key,
}

impl CaseKey {
    pub(super) fn derive(secret: &Key) -> Self {
        Self(Arc::new(Secrets {
            fields: envelope::derive(secret, &[b"dia/1/fields"]),
            blobs: envelope::derive(secret, &[b"dia/1/blobs"]),
            lookups: envelope::derive(secret, &[b"dia/1/lookups"]),
            fingerprints: envelope::derive(secret, &[b"dia/1/fingerprints"]),
        }))
    }

    /// The input key of [`super::chunked`].
    pub(super) fn blobs(&self) -> &Key {
        &self.0.blobs
    }

    /// A keyed digest to find a sealed value by, for `purpose` (a literal of the code): equal values of one case have equal
    /// digests, and nobody without the key can guess a value from its digest or compare two cases.
    pub fn lookup(&self, purpose: &str, value: &[u8]) -> [u8; 32] {
        let key = envelope::derive(&self.0.lookups, &[purpose.as_bytes()]);
        *envelope::derive(&key, &[value])
    }

    /// The key under which the case's documents are compared: the first half of the derived one.
    pub fn fingerprints(&self) -> FingerprintKey {
        let mut key = Zeroizing::new([0; 16]);
        key.copy_from_slice(&self.0.fingerprints[..16]);
        FingerprintKey::new(*key)
    }

    /// Seals a column's value (41 bytes longer than the plaintext); it opens only at the same place.
    pub fn seal(&self, place: &Place, plaintext: &[u8]) -> Result<Vec<u8>, VaultError> {
        envelope::seal(&self.0.fields, &place.bytes(), plaintext)
    }

    /// Opens what [`CaseKey::seal`] sealed at `place`; [`VaultError::Sealed`] for anything else.
    pub fn open(&self, place: &Place, sealed: &[u8]) -> Result<Vec<u8>, VaultError> {
        envelope::open(&self.0.fields, &place.bytes(), sealed)
    }
}

impl fmt::Debug for CaseKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CaseKey")
    }
}

/// Where a sealed value stands. A value copied to another table, column or row does not open there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Table name.
    pub table: &'static str,
    /// Column name.
    pub column: &'static str,
    /// The row's primary key.
    pub row: Uuid,
}

impl Place {
    /// Names a place.
    pub fn new(table: &'static str, column: &'static str, row: impl Into<Uuid>) -> Self {
        Self { table, column, row: row.into() }
    }

    /// The associated data: `table ‖ 0x00 ‖ column ‖ 0x00 ‖ row (16)`; SQL names hold no zero byte.
    pub(super) fn bytes(&self) -> Vec<u8> {
        [self.table.as_bytes(), &[0], self.column.as_bytes(), &[0], self.row.as_bytes()].concat()
    }
}
