//! Codes that people copy by hand: sign-up codes, recovery codes, codes for a new password. Rows keep their SHA-256: 125 random bits need
//! no slower hash (OWASP ASVS 5.0 6.5.2).

use sha2::{Digest, Sha256};

use crate::{Error, Result};

/// Letters of a code: Crockford's base 32, which leaves out what is misread.
const LETTERS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// 125 random bits in five groups of five letters.
pub(crate) fn fresh() -> Result<String> {
    let mut random = [0; 25];
    getrandom::fill(&mut random).map_err(|e| Error::Io(e.into()))?;
    let mut code = String::with_capacity(29);
    for (i, byte) in random.iter().enumerate() {
        if i > 0 && i % 5 == 0 {
            code.push('-');
        }
        code.push(char::from(LETTERS[usize::from(byte & 31)]));
    }
    Ok(code)
}

/// SHA-256 of a code as typed: case, blanks and dashes do not matter, and what is misread is forgiven (`O` is 0; `I`, `L` are 1).
pub(crate) fn hash(code: &str) -> Vec<u8> {
    let letters: String =
        code.chars().filter(|c| !c.is_whitespace() && *c != '-').map(|c| c.to_ascii_uppercase()).collect();
    Sha256::digest(letters.replace('O', "0").replace(['I', 'L'], "1")).to_vec()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn codes_differ_and_forgive_how_they_are_typed() {
        let (a, b) = (fresh().unwrap(), fresh().unwrap());
        assert_ne!(a, b);
        assert_eq!((a.len(), a.matches('-').count()), (29, 4));
        assert_eq!(hash(&a), hash(&format!(" {} ", a.to_lowercase().replace('-', " "))));
        assert_eq!(hash("O0-IL"), hash("0011"));
        assert_ne!(hash(&a), hash(&b));
    }
}
