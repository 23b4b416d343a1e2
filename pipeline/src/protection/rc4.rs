//! RC4 encryption of binary Office files (MS-OFFCRYPTO 2.3.5 and 2.3.6): a key for each block of a stream, made from the
//! password once.

use domain::outcome::Exception;

use super::{cipher::Hash, unsupported};
use crate::extract::corrupt;

/// The description of one encrypted file.
pub(super) struct Descriptor {
    /// Bytes of the cipher's key where it is `CryptoAPI`'s; the older way has but one length.
    api: Option<usize>,
    salt: Vec<u8>,
    verifier: Vec<u8>,
    verifier_hash: Vec<u8>,
}

impl Descriptor {
    pub(super) fn parse(info: &[u8]) -> Result<Self, Exception> {
        Self::fields(info).ok_or_else(|| corrupt("the description of the encryption is damaged"))?
    }

    fn fields(info: &[u8]) -> Option<Result<Self, Exception>> {
        let word = |bytes: &[u8], at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
        let part = |bytes: &[u8], from: usize, to: usize| bytes.get(from..to).map(<[u8]>::to_vec);
        match info.get(..4)? {
            [1, 0, 1, 0] => {
                let (salt, verifier) = (part(info, 4, 20)?, part(info, 20, 36)?);
                Some(Ok(Self { api: None, salt, verifier, verifier_hash: part(info, 36, 52)? }))
            }
            [2..=4, 0, 2, 0] => {
                let length = usize::try_from(word(info, 8)?).ok()?;
                let (header, rest) = info.get(12..)?.split_at_checked(length)?;
                let (algorithm, bits) = (word(header, 8)?, word(header, 16)?);
                // No length means 40 bits.
                let bits = if bits == 0 { 40 } else { bits };
                if algorithm != 0x6801 || !matches!(bits, 40..=128) || bits % 8 != 0 {
                    return Some(Err(unsupported()));
                }
                let (salt, verifier) = (part(rest, 4, 20)?, part(rest, 20, 36)?);
                let api = Some(usize::try_from(bits / 8).ok()?);
                Some(Ok(Self { api, salt, verifier, verifier_hash: part(rest, 40, 60)? }))
            }
            _ => Some(Err(unsupported())),
        }
    }

    /// What all keys are made from, when `password` (UTF-16) fits.
    pub(super) fn secret(&self, password: &[u8]) -> Option<Vec<u8>> {
        let (hash, secret) = if self.api.is_some() {
            (Hash::Sha1, Hash::Sha1.of(&[&self.salt, password]))
        } else {
            let first = Hash::Md5.of(&[password]);
            let repeated = [first.get(..5)?, &self.salt].concat().repeat(16);
            (Hash::Md5, Hash::Md5.of(&[&repeated]).get(..5)?.to_vec())
        };
        let mut sealed = [self.verifier.as_slice(), &self.verifier_hash].concat();
        self.apply(&secret, 0, &mut sealed)?;
        let (verifier, stated) = sealed.split_at_checked(self.verifier.len())?;
        (hash.of(&[verifier]) == stated).then_some(secret)
    }

    /// Decrypts a stream in place, block by block.
    pub(super) fn decrypt(&self, secret: &[u8], stream: &mut [u8], block: usize) -> Option<()> {
        stream.chunks_mut(block).zip(0_u32..).try_for_each(|(bytes, number)| self.apply(secret, number, bytes))
    }

    fn apply(&self, secret: &[u8], block: u32, bytes: &mut [u8]) -> Option<()> {
        let number = block.to_le_bytes();
        let key = match self.api {
            None => Hash::Md5.of(&[secret, &number]),
            Some(length) => {
                let mut key = Hash::Sha1.of(&[secret, &number]);
                key.truncate(length);
                // Forty bits stand in a key of the usual length.
                key.resize(if length == 5 { 16 } else { length }, 0);
                key
            }
        };
        stream_cipher(&key, bytes)
    }
}

/// RC4 itself: fifteen lines, where the crate for it would change how all other ciphers are built.
fn stream_cipher(key: &[u8], bytes: &mut [u8]) -> Option<()> {
    let mut state: [u8; 256] = std::array::from_fn(|at| u8::try_from(at).unwrap_or_default());
    let mut j = 0_u8;
    for (i, key) in (0..256_usize).zip(key.iter().cycle()) {
        j = j.wrapping_add(*state.get(i)?).wrapping_add(*key);
        state.swap(i, usize::from(j));
    }
    let (mut i, mut j) = (0_u8, 0_u8);
    for byte in bytes {
        i = i.wrapping_add(1);
        j = j.wrapping_add(*state.get(usize::from(i))?);
        state.swap(usize::from(i), usize::from(j));
        let at = state.get(usize::from(i))?.wrapping_add(*state.get(usize::from(j))?);
        *byte ^= state.get(usize::from(at))?;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_vectors() {
        // RFC 6229 section 2, 40-bit key.
        let mut bytes = [0; 16];
        stream_cipher(&[1, 2, 3, 4, 5], &mut bytes);
        assert_eq!(hex::encode(bytes), "b2396305f03dc027ccc3524a0a1118a8");
    }
}
