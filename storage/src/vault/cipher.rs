//! AES-256-GCM (NIST SP 800-38D), the one AEAD of dia, and the one file that names its library. AWS-LC: assembly at every
//! optimisation level, in the build already for TLS and tokens, and available as a FIPS 140-3 module. Pure Rust `aes-gcm`
//! was measured beside it: correct, and over 100 times slower in a development build (6 against 1,000 MB/s), where its
//! generic code is compiled with this crate.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use super::VaultError;

/// Bytes of a key.
pub(super) const KEY: usize = 32;
/// Bytes of a nonce.
pub(super) const NONCE: usize = 12;
/// Bytes a sealed message is longer than its plaintext.
pub(super) const TAG: usize = 16;

/// A key ready for use; the library wipes it when dropped. Callers see to it that no nonce is used twice.
pub(super) struct Cipher(LessSafeKey);

impl Cipher {
    pub(super) fn new(key: &[u8; KEY]) -> Result<Self, VaultError> {
        UnboundKey::new(&AES_256_GCM, key).map(|key| Self(LessSafeKey::new(key))).map_err(|_| VaultError::Limit)
    }

    /// Turns the plaintext in `buffer` into ciphertext and appends the tag.
    pub(super) fn seal(&self, nonce: [u8; NONCE], associated: &[u8], buffer: &mut Vec<u8>) -> Result<(), VaultError> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.0.seal_in_place_append_tag(nonce, Aad::from(associated), buffer).map_err(|_| VaultError::Limit)
    }

    /// Decrypts `sealed` (ciphertext and tag) in place and returns the plaintext, or nothing at all of it.
    pub(super) fn open<'a>(
        &self,
        nonce: [u8; NONCE],
        associated: &[u8],
        sealed: &'a mut [u8],
    ) -> Result<&'a mut [u8], VaultError> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.0.open_in_place(nonce, Aad::from(associated), sealed).map_err(|_| VaultError::Sealed)
    }
}
