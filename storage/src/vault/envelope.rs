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

use aes_gcm::{
    Aes256Gcm, KeyInit,
    aead::{Aead, Payload},
};
use hkdf::HkdfExtract;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::VaultError;

/// 32 secret bytes, wiped when dropped.
pub(super) type Key = Zeroizing<[u8; 32]>;

const VERSION: u8 = 1;
const SALT: usize = 12;
const NONCE: usize = 12;
const TAG: usize = 16;
const OVERHEAD: usize = 1 + SALT + NONCE + TAG;

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
    let mut salt = [0; SALT];
    let mut nonce = [0; NONCE];
    fill_random(&mut salt)?;
    fill_random(&mut nonce)?;
    let message = Payload { msg: plaintext, aad: associated };
    let ciphertext = message_cipher(key, salt).encrypt(&nonce.into(), message).map_err(|_| VaultError::Limit)?;
    Ok([&[VERSION], salt.as_slice(), &nonce, &ciphertext].concat())
}

/// Opens what [`seal`] sealed under the same key and associated data.
pub(super) fn open(key: &Key, associated: &[u8], sealed: &[u8]) -> Result<Vec<u8>, VaultError> {
    if sealed.len() < OVERHEAD {
        return Err(VaultError::Sealed);
    }
    let Some((&[VERSION], rest)) = sealed.split_first_chunk() else { return Err(VaultError::Sealed) };
    let Some((salt, rest)) = rest.split_first_chunk::<SALT>() else { return Err(VaultError::Sealed) };
    let Some((nonce, ciphertext)) = rest.split_first_chunk::<NONCE>() else { return Err(VaultError::Sealed) };
    let message = Payload { msg: ciphertext, aad: associated };
    message_cipher(key, *salt).decrypt(&(*nonce).into(), message).map_err(|_| VaultError::Sealed)
}

fn message_cipher(key: &Key, salt: [u8; SALT]) -> Aes256Gcm {
    let message_key = derive(key, &[b"dia/1/envelope", &salt]);
    Aes256Gcm::new((&*message_key).into())
}
