//! `WinZip`'s encryption of a member ("AES Encryption Information: Encryption Specification AE-1 and AE-2"): AES in counter
//! mode under a key made from the password, with a code over the ciphertext. The `zip` crate can do it, at the price of
//! features that every other user of the same ciphers would be built again with.

use std::io::{self, Read};

use aes::{
    Aes128, Aes192, Aes256,
    cipher::{Block, BlockCipherEncrypt, KeyInit},
};
use hmac::{Hmac, Mac};
use sha1::Sha1;

/// Number of the extra field that describes the encryption.
pub(super) const FIELD: u16 = 0x9901;
/// How often the password is hashed.
const ROUNDS: u32 = 1000;
/// Bytes of the code at the end.
const CODE: usize = 10;
const BLOCK: usize = 16;

/// What the extra field says.
#[derive(Clone, Copy)]
pub(super) struct Description {
    /// 1 keeps the checksum of the content, 2 does not.
    pub(super) version: u16,
    /// The compression under the encryption.
    pub(super) method: u16,
    /// Bytes of the key.
    key: usize,
}

impl Description {
    pub(super) fn parse(field: &[u8]) -> Option<Self> {
        let [v0, v1, b'A', b'E', strength, m0, m1, ..] = field else { return None };
        let key = match strength {
            1 => 16,
            2 => 24,
            3 => 32,
            _ => return None,
        };
        Some(Self { version: u16::from_le_bytes([*v0, *v1]), method: u16::from_le_bytes([*m0, *m1]), key })
    }

    /// The content of `data`, when `password` fits: salt, two bytes to check it by, ciphertext, code.
    pub(super) fn open<'a>(self, data: &'a [u8], password: &[u8]) -> Option<Opened<'a>> {
        let (salt, rest) = data.split_at_checked(self.key / 2)?;
        let (check, rest) = rest.split_at_checked(2)?;
        let (ciphertext, code) = rest.split_at_checked(rest.len().checked_sub(CODE)?)?;
        let mut derived = [0; 66];
        let derived = derived.get_mut(..self.key.saturating_mul(2).saturating_add(2))?;
        pbkdf2::pbkdf2_hmac::<Sha1>(password, salt, ROUNDS, derived);
        let (key, derived) = derived.split_at_checked(self.key)?;
        let (code_key, stated) = derived.split_at_checked(self.key)?;
        if stated != check {
            return None;
        }
        let mac = Hmac::<Sha1>::new_from_slice(code_key).ok()?;
        mac.chain_update(ciphertext).verify_truncated_left(code).ok()?;
        let cipher = match self.key {
            16 => Cipher::Aes128(Box::new(Aes128::new_from_slice(key).ok()?)),
            24 => Cipher::Aes192(Box::new(Aes192::new_from_slice(key).ok()?)),
            _ => Cipher::Aes256(Box::new(Aes256::new_from_slice(key).ok()?)),
        };
        Some(Opened { cipher, counter: 0, ciphertext, stream: [0; BLOCK], left: 0 })
    }
}

enum Cipher {
    Aes128(Box<Aes128>),
    Aes192(Box<Aes192>),
    Aes256(Box<Aes256>),
}

/// A member's compressed content, decrypted as it is read.
pub(super) struct Opened<'a> {
    cipher: Cipher,
    counter: u128,
    ciphertext: &'a [u8],
    stream: [u8; BLOCK],
    /// Bytes of `stream` that are not used yet.
    left: usize,
}

impl Opened<'_> {
    /// The next byte of the key stream; the counter begins with one and its lowest byte comes first.
    fn key(&mut self) -> u8 {
        if self.left == 0 {
            self.counter = self.counter.wrapping_add(1);
            let mut block = Block::<Aes128>::from(self.counter.to_le_bytes());
            match &self.cipher {
                Cipher::Aes128(cipher) => cipher.encrypt_block(&mut block),
                Cipher::Aes192(cipher) => cipher.encrypt_block(&mut block),
                Cipher::Aes256(cipher) => cipher.encrypt_block(&mut block),
            }
            self.stream = block.into();
            self.left = BLOCK;
        }
        let at = BLOCK.saturating_sub(self.left);
        self.left = self.left.saturating_sub(1);
        self.stream.get(at).copied().unwrap_or_default()
    }
}

impl Read for Opened<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = buffer.len().min(self.ciphertext.len());
        let (now, rest) = self.ciphertext.split_at_checked(length).unwrap_or_default();
        self.ciphertext = rest;
        for (target, sealed) in buffer.iter_mut().zip(now) {
            *target = sealed ^ self.key();
        }
        Ok(length)
    }
}
