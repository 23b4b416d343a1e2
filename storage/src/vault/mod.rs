//! Keys and sealing. The only place in dia where an AEAD is called.
//!
//! ```text
//! root key (32 bytes, outside the database)
//!  ├─ "wrap"             ──seals──> case key (32 random bytes, stored wrapped in the case's row)
//!  │                                 ├─ "fields"  ──seals──> columns, bound to table, column and row
//!  │                                 ├─ "blobs"   ──seals──> objects, see [`chunked`]
//!  │                                 ├─ "lookups" ─────────> keyed digests, to find equal sealed values by
//!  │                                 └─ "fingerprints" ────> keyed hashes of what documents say, to compare them
//!  └─ "system", purpose  ──────────> [`SystemKey`]: what belongs to no case (token signing, accounts, blind indexes)
//! ```
//!
//! Every arrow without "seals" is `HMAC-SHA256(key, label)` over the ASCII labels of `envelope`. Destroying the wrapped
//! case key destroys everything of the case.

use std::{fmt, io, path::Path};

use domain::ids::CaseId;
use zeroize::Zeroizing;

pub(crate) use self::one_time::{STEP, one_time_code};
pub use self::{
    case::{CaseKey, Place},
    error::VaultError,
};

use self::{envelope::Key, root::RootKey};

mod case;
pub mod chunked;
mod cipher;
mod envelope;
mod error;
mod one_time;
mod root;
pub(crate) mod signing;

/// The version that [`Vault::new_case_key`] wraps; stored beside the wrapped bytes.
pub const FIRST_CASE_KEY_VERSION: u32 = 1;

/// Holds the root key and hands out the keys under it.
pub struct Vault {
    wrap: Key,
    system: Key,
}

impl Vault {
    /// Opens the vault of a data directory: reads `dir/root.key`, or creates it (32 bytes of the operating system's
    /// randomness, mode 0600, durable before this returns) when there is none. A file that others may read, or of any
    /// other length, is refused. `dir` must exist.
    pub fn open(dir: &Path) -> Result<Self, VaultError> {
        let root = RootKey::file(dir)?.key()?;
        Ok(Self {
            wrap: envelope::derive(&root, &[b"dia/1/wrap"]),
            system: envelope::derive(&root, &[b"dia/1/system"]),
        })
    }

    /// Makes a fresh case key and its wrapping as version [`FIRST_CASE_KEY_VERSION`], to be stored in the case's row.
    pub fn new_case_key(&self, case: CaseId) -> Result<(CaseKey, Vec<u8>), VaultError> {
        let secret = envelope::random_key()?;
        let wrapped = envelope::seal(&self.wrap, &wrap_context(case, FIRST_CASE_KEY_VERSION), secret.as_slice())?;
        Ok((CaseKey::derive(&secret), wrapped))
    }

    /// Opens a wrapped case key; [`VaultError::CaseKey`] when root key, case or version are not those it was wrapped with.
    pub fn unwrap_case_key(&self, case: CaseId, version: u32, wrapped: &[u8]) -> Result<CaseKey, VaultError> {
        let secret =
            envelope::open(&self.wrap, &wrap_context(case, version), wrapped).map_err(|_| VaultError::CaseKey)?;
        let secret: [u8; 32] = Zeroizing::new(secret).as_slice().try_into().map_err(|_| VaultError::CaseKey)?;
        Ok(CaseKey::derive(&Zeroizing::new(secret)))
    }

    /// The key for `purpose` outside any case; the same for ever under one root key. Purposes are literals of the code.
    pub fn system_key(&self, purpose: &str) -> SystemKey {
        SystemKey(envelope::derive(&self.system, &[b"dia/1/system/", purpose.as_bytes()]))
    }

    /// A keyed digest to look a sealed value up by, without the value being guessable from the row. Normalise first:
    /// equal digests mean equal bytes.
    pub fn blind_index(&self, purpose: &str, value: &str) -> [u8; 32] {
        let key = envelope::derive(&self.system, &[b"dia/1/blind-index/", purpose.as_bytes()]);
        *envelope::derive(&key, &[value.as_bytes()])
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Vault")
    }
}

/// True when both are the same bytes, found out in a time that does not tell where they differ.
pub fn is_same(one: &[u8], other: &[u8]) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(one, other).is_ok()
}

/// `HMAC-SHA256(key, parts joined)` (RFC 2104), under a secret that is shared with somebody outside.
pub fn hmac(key: &Zeroizing<[u8; 32]>, parts: &[&[u8]]) -> [u8; 32] {
    *envelope::derive(key, parts)
}

/// A key for things that belong to no case.
pub struct SystemKey(Key);

impl SystemKey {
    /// The raw 32 bytes, as a seed for another algorithm (such as Ed25519). A key used as a seed must not also seal.
    pub fn seed(&self) -> &[u8; 32] {
        &self.0
    }

    /// Seals a column's value; it opens only at the same place.
    pub fn seal(&self, place: &Place, plaintext: &[u8]) -> Result<Vec<u8>, VaultError> {
        envelope::seal(&self.0, &place.bytes(), plaintext)
    }

    /// Opens what [`SystemKey::seal`] sealed at `place`.
    pub fn open(&self, place: &Place, sealed: &[u8]) -> Result<Vec<u8>, VaultError> {
        envelope::open(&self.0, &place.bytes(), sealed)
    }
}

impl fmt::Debug for SystemKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SystemKey")
    }
}

/// What a wrapped case key is bound to: `"case-key" ‖ case (16) ‖ version (4, big-endian)`.
fn wrap_context(case: CaseId, version: u32) -> Vec<u8> {
    [b"case-key".as_slice(), case.uuid().as_bytes(), &version.to_be_bytes()].concat()
}

impl From<VaultError> for io::Error {
    fn from(error: VaultError) -> Self {
        let kind = match &error {
            VaultError::Sealed | VaultError::CaseKey => io::ErrorKind::InvalidData,
            VaultError::RootFile { source, .. } => source.kind(),
            _ => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}
