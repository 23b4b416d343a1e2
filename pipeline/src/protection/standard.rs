//! Standard encryption (MS-OFFCRYPTO 2.3.4.5 to 2.3.4.9), Office 2007's: AES without chaining, SHA-1, 50,000 rounds.

use domain::outcome::Exception;

use super::{
    cipher::{self, Hash, fitted},
    unsupported,
};
use crate::extract::corrupt;

/// How often the password is hashed.
const ROUNDS: u32 = 50_000;
/// Bytes of a SHA-1.
const HASH: usize = 20;

/// The description of one encrypted package.
pub(super) struct Descriptor {
    /// Bytes of the cipher's key.
    key: usize,
    salt: Vec<u8>,
    verifier: Vec<u8>,
    verifier_hash: Vec<u8>,
}

impl Descriptor {
    /// From what follows the version: flags, the header's length, the header, the verifier.
    pub(super) fn parse(info: &[u8]) -> Result<Self, Exception> {
        Self::fields(info).ok_or_else(|| corrupt("the description of the encryption is damaged"))?
    }

    fn fields(info: &[u8]) -> Option<Result<Self, Exception>> {
        let word = |bytes: &[u8], at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
        let length = usize::try_from(word(info, 4)?).ok()?;
        let (header, verifier) = info.get(8..)?.split_at_checked(length)?;
        let (algorithm, bits) = (word(header, 8)?, word(header, 16)?);
        let key = match (algorithm, bits) {
            (0x660e, 0 | 128) | (0, 128) => 16,
            (0x660f, 0 | 192) | (0, 192) => 24,
            (0x6610, 0 | 256) | (0, 256) => 32,
            _ => return Some(Err(unsupported())),
        };
        let salt = verifier.get(4..20)?.to_vec();
        let sealed = verifier.get(20..36)?.to_vec();
        Some(Ok(Self { key, salt, verifier: sealed, verifier_hash: verifier.get(40..72)?.to_vec() }))
    }

    /// The package's key, when `password` (UTF-16) fits.
    pub(super) fn key(&self, password: &[u8]) -> Option<Vec<u8>> {
        let stretched = Hash::Sha1.stretch(&self.salt, password, ROUNDS);
        let last = Hash::Sha1.of(&[&stretched, &[0; 4]]);
        let folded = |pad: u8| {
            let mut block = [pad; 64];
            block.iter_mut().zip(&last).for_each(|(byte, hashed)| *byte ^= hashed);
            Hash::Sha1.of(&[&block])
        };
        let key = fitted([folded(0x36), folded(0x5c)].concat(), self.key);
        let (mut verifier, mut stated) = (self.verifier.clone(), self.verifier_hash.clone());
        cipher::ecb(&key, &mut verifier)?;
        cipher::ecb(&key, &mut stated)?;
        (stated.get(..HASH)? == Hash::Sha1.of(&[&verifier])).then_some(key)
    }
}
