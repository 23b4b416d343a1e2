//! The primitives that MS-OFFCRYPTO and `OpenDocument` name: AES without padding, Blowfish, and the hashes.

use aes::{
    Aes128, Aes192, Aes256,
    cipher::{Block, BlockCipherDecrypt, BlockCipherEncrypt, BlockModeDecrypt, KeyInit, KeyIvInit},
};
use blowfish::Blowfish;
use cbc::Decryptor;
use hmac::{Hmac, Mac};
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha384, Sha512};

/// Size of an AES block, in bytes.
pub(super) const BLOCK: usize = 16;

/// Decrypts whole blocks in place; a rest that is no block stays as it is. `None` for a key or vector of a wrong length.
pub(super) fn cbc(key: &[u8], vector: &[u8], bytes: &mut [u8]) -> Option<()> {
    match key.len() {
        16 => chained(Decryptor::<Aes128>::new_from_slices(key, vector).ok()?, bytes),
        24 => chained(Decryptor::<Aes192>::new_from_slices(key, vector).ok()?, bytes),
        32 => chained(Decryptor::<Aes256>::new_from_slices(key, vector).ok()?, bytes),
        _ => return None,
    }
    Some(())
}

fn chained<C: BlockModeDecrypt>(mut cipher: C, bytes: &mut [u8]) {
    for block in bytes.chunks_exact_mut(BLOCK) {
        if let Ok(block) = <&mut Block<C>>::try_from(block) {
            cipher.decrypt_block(block);
        }
    }
}

/// The same without chaining.
pub(super) fn ecb(key: &[u8], bytes: &mut [u8]) -> Option<()> {
    match key.len() {
        16 => single(&Aes128::new_from_slice(key).ok()?, bytes),
        24 => single(&Aes192::new_from_slice(key).ok()?, bytes),
        32 => single(&Aes256::new_from_slice(key).ok()?, bytes),
        _ => return None,
    }
    Some(())
}

fn single<C: BlockCipherDecrypt>(cipher: &C, bytes: &mut [u8]) {
    for block in bytes.chunks_exact_mut(BLOCK) {
        if let Ok(block) = <&mut Block<C>>::try_from(block) {
            cipher.decrypt_block(block);
        }
    }
}

/// Decrypts Blowfish with feedback of whole blocks (CFB of 64 bits) in place.
pub(super) fn blowfish(key: &[u8], vector: &[u8], bytes: &mut [u8]) -> Option<()> {
    let cipher = <Blowfish as KeyInit>::new_from_slice(key).ok()?;
    let mut register = Block::<Blowfish>::try_from(vector).ok()?;
    for piece in bytes.chunks_mut(register.len()) {
        cipher.encrypt_block(&mut register);
        for (byte, fed) in piece.iter_mut().zip(register.iter_mut()) {
            let sealed = *byte;
            *byte ^= *fed;
            *fed = sealed;
        }
    }
    Some(())
}

/// A hash by its name in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hash {
    Md5,
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    pub(super) fn parse(name: &str) -> Option<Self> {
        match name {
            "MD5" => Some(Self::Md5),
            "SHA1" | "SHA-1" => Some(Self::Sha1),
            "SHA256" | "SHA-256" => Some(Self::Sha256),
            "SHA384" | "SHA-384" => Some(Self::Sha384),
            "SHA512" | "SHA-512" => Some(Self::Sha512),
            _ => None,
        }
    }

    /// The hash of `parts`, one after the other.
    pub(super) fn of(self, parts: &[&[u8]]) -> Vec<u8> {
        match self {
            Self::Md5 => digest::<Md5>(parts),
            Self::Sha1 => digest::<Sha1>(parts),
            Self::Sha256 => digest::<Sha256>(parts),
            Self::Sha384 => digest::<Sha384>(parts),
            Self::Sha512 => digest::<Sha512>(parts),
        }
    }

    /// True when `code` is the HMAC (RFC 2104) of `message`.
    pub(super) fn authenticates(self, key: &[u8], message: &[u8], code: &[u8]) -> bool {
        match self {
            Self::Md5 => Hmac::<Md5>::new_from_slice(key).is_ok_and(|mac| matches(mac, message, code)),
            Self::Sha1 => Hmac::<Sha1>::new_from_slice(key).is_ok_and(|mac| matches(mac, message, code)),
            Self::Sha256 => Hmac::<Sha256>::new_from_slice(key).is_ok_and(|mac| matches(mac, message, code)),
            Self::Sha384 => Hmac::<Sha384>::new_from_slice(key).is_ok_and(|mac| matches(mac, message, code)),
            Self::Sha512 => Hmac::<Sha512>::new_from_slice(key).is_ok_and(|mac| matches(mac, message, code)),
        }
    }

    /// Hash of salt and password, hashed again and again with the number of the round before it (MS-OFFCRYPTO 2.3.4.7).
    pub(super) fn stretch(self, salt: &[u8], password: &[u8], rounds: u32) -> Vec<u8> {
        match self {
            Self::Md5 => stretched::<Md5>(salt, password, rounds),
            Self::Sha1 => stretched::<Sha1>(salt, password, rounds),
            Self::Sha256 => stretched::<Sha256>(salt, password, rounds),
            Self::Sha384 => stretched::<Sha384>(salt, password, rounds),
            Self::Sha512 => stretched::<Sha512>(salt, password, rounds),
        }
    }
}

fn digest<D: Digest>(parts: &[&[u8]]) -> Vec<u8> {
    let hash = parts.iter().fold(D::new(), Digest::chain_update);
    hash.finalize().to_vec()
}

fn stretched<D: Digest>(salt: &[u8], password: &[u8], rounds: u32) -> Vec<u8> {
    let mut hash = D::new().chain_update(salt).chain_update(password).finalize();
    for round in 0..rounds {
        hash = D::new().chain_update(round.to_le_bytes()).chain_update(&hash).finalize();
    }
    hash.to_vec()
}

fn matches<M: Mac>(mac: M, message: &[u8], code: &[u8]) -> bool {
    mac.chain_update(message).verify_slice(code).is_ok()
}

/// `bytes` cut to `length`, or filled up to it (MS-OFFCRYPTO 2.3.4.11).
pub(super) fn fitted(mut bytes: Vec<u8>, length: usize) -> Vec<u8> {
    bytes.resize(length, 0x36);
    bytes
}
