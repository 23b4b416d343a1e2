//! Keyed hashes of what documents say, so that documents can be compared without their words: of the same words they are
//! equal within a case, and mean nothing without its key. `SipHash` (Aumasson and Bernstein, 2012) is a pseudo-random
//! function: who has only the hashes can neither test a guess nor make two texts collide.

use std::{fmt, hash::Hasher as _};

use siphasher::sip::SipHasher24;

/// The key of a case's fingerprints.
#[derive(Clone)]
pub struct FingerprintKey([u8; 16]);

/// What is hashed; the same words as something else have another hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fact {
    /// An id of a message.
    MessageId,
    /// A Conversation-Index, or the beginning of one.
    Conversation,
    /// The base of a subject line.
    Subject,
    /// A word of a text.
    Word,
    /// Which bytes and texts a thread is made of.
    Thread,
}

impl FingerprintKey {
    /// A key of 16 secret bytes.
    pub fn new(key: [u8; 16]) -> Self {
        Self(key)
    }

    /// The hash of `bytes` as this kind of fact.
    pub fn hash(&self, fact: Fact, bytes: &[u8]) -> u64 {
        let mut hasher = SipHasher24::new_with_key(&self.0);
        hasher.write_u8(fact as u8);
        hasher.write(bytes);
        hasher.finish()
    }
}

impl fmt::Debug for FingerprintKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FingerprintKey")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_key_or_another_fact_is_another_hash() {
        let (ours, theirs) = (FingerprintKey::new([1; 16]), FingerprintKey::new([2; 16]));
        assert_eq!(ours.hash(Fact::Word, b"lease"), FingerprintKey::new([1; 16]).hash(Fact::Word, b"lease"));
        assert_ne!(ours.hash(Fact::Word, b"lease"), theirs.hash(Fact::Word, b"lease"));
        assert_ne!(ours.hash(Fact::Word, b"lease"), ours.hash(Fact::Subject, b"lease"));
        assert_eq!(format!("{ours:?}"), "FingerprintKey");
    }
}
