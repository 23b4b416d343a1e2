//! How an API key is written: `dia_` ‖ prefix (16) ‖ `_` ‖ secret (64) ‖ checksum (8), lower-case hexadecimal digits. The prefix
//! (64 random bits) finds the row and is shown in lists; the secret is 256 random bits. The checksum is CRC-32 (IEEE 802.3) of all
//! that stands before it, so that a scanner for leaked secrets can tell a key from what looks like one without asking dia.

use sha2::{Digest, Sha256};

use crate::{Error, Result};

/// What every key begins with.
pub const MARK: &str = "dia_";
const PREFIX: usize = 16;
const SECRET: usize = 64;
const CHECKSUM: usize = 8;
/// Bytes of a whole key.
const LENGTH: usize = MARK.len() + PREFIX + 1 + SECRET + CHECKSUM;

/// A key in its parts, borrowed from its text.
#[derive(Clone, Copy)]
pub(super) struct Parts<'a> {
    pub(super) prefix: &'a str,
    secret: &'a str,
}

impl Parts<'_> {
    /// What the row keeps of the secret.
    pub(super) fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.secret.as_bytes()).into()
    }
}

/// A fresh key.
pub(super) fn fresh() -> Result<String> {
    let mut random = [0; PREFIX / 2 + SECRET / 2];
    getrandom::fill(&mut random).map_err(|e| Error::Io(e.into()))?;
    let (prefix, secret) = random.split_at(PREFIX / 2);
    let text = format!("{MARK}{}_{}", hex::encode(prefix), hex::encode(secret));
    Ok(format!("{text}{}", checksum(&text)))
}

/// The parts of a well-formed key whose checksum is right; `None` for anything else.
pub(super) fn parse(text: &str) -> Option<Parts<'_>> {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if text.len() != LENGTH || !text.is_ascii() {
        return None;
    }
    let (body, sum) = text.split_at(LENGTH - CHECKSUM);
    let (prefix, secret) = body.strip_prefix(MARK)?.split_once('_')?;
    let sound = prefix.len() == PREFIX && prefix.bytes().chain(secret.bytes()).all(is_digit) && checksum(body) == sum;
    sound.then_some(Parts { prefix, secret })
}

/// True when a well-formed key stands anywhere in `text`, whoever made it: in a URL it would end up in logs.
pub fn stands_in(text: &str) -> bool {
    text.match_indices(MARK).any(|(at, _)| text.get(at..at + LENGTH).is_some_and(|key| parse(key).is_some()))
}

fn checksum(body: &str) -> String {
    format!("{:08x}", crc32fast::hash(body.as_bytes()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn keys_differ_and_read_back() {
        let (a, b) = (fresh().unwrap(), fresh().unwrap());
        assert_ne!(a, b);
        assert_eq!(a.len(), LENGTH);
        let (one, two) = (parse(&a).unwrap(), parse(&b).unwrap());
        assert_ne!((one.prefix, one.hash()), (two.prefix, two.hash()));
        assert!(a.starts_with(&format!("dia_{}_", one.prefix)));
    }

    /// What a scanner elsewhere computes: the checksum of a key written down once.
    #[test]
    fn the_checksum_is_the_one_of_the_standard() {
        let body = format!("dia_0123456789abcdef_{}", "0".repeat(SECRET));
        assert_eq!(format!("{:08x}", crc32fast::hash(b"123456789")), "cbf43926");
        assert!(parse(&format!("{body}{:08x}", crc32fast::hash(body.as_bytes()))).is_some());
    }

    #[test]
    fn one_wrong_character_is_no_key() {
        let key = fresh().unwrap();
        for at in 0..key.len() {
            let other = if &key[at..=at] == "0" { "1" } else { "0" };
            let mut wrong = key.clone();
            wrong.replace_range(at..=at, other);
            assert!(parse(&wrong).is_none(), "{at}");
        }
        for wrong in [key[1..].to_owned(), format!("{key}0"), key.to_uppercase(), String::new(), "dia_".to_owned()] {
            assert!(parse(&wrong).is_none(), "{wrong}");
        }
        assert!(parse(&"dia_é".repeat(16)[..LENGTH.min(96)]).is_none());
    }

    #[test]
    fn keys_are_found_in_urls() {
        let key = fresh().unwrap();
        assert!(stands_in(&key) && stands_in(&format!("/api/v1/cases?q=dia_&key={key}&x")));
        assert!(!stands_in("/api/v1/cases?q=dia_") && !stands_in(&key[..LENGTH - 1]) && !stands_in("dia_é"));
    }
}
