//! The one envelope for small secrets (columns, wrapped keys) and the derivation of keys from keys.
//!
//! A sealed envelope is
//!
//! ```text
//! 0x01 ‖ salt (12) ‖ nonce (12) ‖ ciphertext ‖ tag (16)        salt and nonce are random
//! message key = HMAC-SHA256(key, "dia/1/envelope" ‖ salt)
//! ciphertext ‖ tag = AES-256-GCM(message key, nonce, associated data, plaintext)
//! ```
//!
//! 24 random bytes instead of the 12 of AES-GCM: one key may seal 2^64 envelopes and more, where random 96-bit nonces
//! alone would end at 2^32 (NIST SP 800-38D §8.3). The shape is that of C2SP XAES-256-GCM.

use hkdf::HkdfExtract;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::{
    VaultError,
    cipher::{Cipher, KEY, NONCE, TAG},
};

/// 32 secret bytes, wiped when dropped.
pub(super) type Key = Zeroizing<[u8; KEY]>;

const VERSION: u8 = 1;
const SALT: usize = 12;
const PREFIX: usize = 1 + SALT + NONCE;

/// `HMAC-SHA256(key, parts joined)`. HKDF-Extract (RFC 5869 §2.2) with the key as its salt is exactly that.
pub(super) fn derive(key: &Key, parts: &[&[u8]]) -> Key {
    let mut extract = HkdfExtract::<Sha256>::new(Some(key.as_slice()));
    for part in parts {
        extract.input_ikm(part);
    }
    Zeroizing::new(extract.finalize().0.into())
}

/// A fresh key of the operating system's randomness.
pub(super) fn random_key() -> Result<Key, VaultError> {
    let mut key = Key::default();
    fill_random(key.as_mut_slice())?;
    Ok(key)
}

/// Fills `bytes` with the operating system's randomness.
pub(super) fn fill_random(bytes: &mut [u8]) -> Result<(), VaultError> {
    getrandom::fill(bytes).map_err(|error| VaultError::Randomness(error.to_string()))
}

/// Seals `plaintext`, bound to `associated` data.
pub(super) fn seal(key: &Key, associated: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, VaultError> {
    let mut prefix = [VERSION; PREFIX];
    fill_random(&mut prefix[1..])?;
    let (cipher, nonce) = message_cipher(key, &prefix)?;
    let mut text = Vec::with_capacity(plaintext.len() + TAG);
    text.extend_from_slice(plaintext);
    cipher.seal(nonce, associated, &mut text)?;
    Ok([prefix.as_slice(), &text].concat())
}

/// Opens what [`seal`] sealed under the same key and associated data.
pub(super) fn open(key: &Key, associated: &[u8], sealed: &[u8]) -> Result<Vec<u8>, VaultError> {
    let (prefix, text) = sealed.split_first_chunk::<PREFIX>().ok_or(VaultError::Sealed)?;
    if prefix[0] != VERSION {
        return Err(VaultError::Sealed);
    }
    let (cipher, nonce) = message_cipher(key, prefix)?;
    let mut text = text.to_vec();
    let length = cipher.open(nonce, associated, &mut text)?.len();
    text.truncate(length);
    Ok(text)
}

/// The cipher and nonce of the envelope that begins with `prefix`.
fn message_cipher(key: &Key, prefix: &[u8; PREFIX]) -> Result<(Cipher, [u8; NONCE]), VaultError> {
    let mut nonce = [0; NONCE];
    nonce.copy_from_slice(&prefix[1 + SALT..]);
    let message_key = derive(key, &[b"dia/1/envelope", &prefix[1..=SALT]]);
    Ok((Cipher::new(&message_key)?, nonce))
}
