//! The secret of a webhook, by which its receiver knows that dia sent a message: Standard Webhooks 1.0, symmetric signatures.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use domain::clock::Timestamp;
use zeroize::Zeroizing;

use crate::{
    Error, Result,
    vault::{CaseKey, Place, hmac},
};

/// What the text of every secret begins with.
const MARK: &str = "whsec_";

/// 32 random bytes; wiped when dropped, and not shown by `Debug`.
#[derive(Clone)]
pub struct Secret(Zeroizing<[u8; 32]>);

impl Secret {
    pub(super) fn fresh() -> Result<Self> {
        let mut bytes = Zeroizing::new([0; 32]);
        getrandom::fill(bytes.as_mut_slice()).map_err(|e| Error::Io(e.into()))?;
        Ok(Self(bytes))
    }

    /// Reads `whsec_` ‖ base64; `None` when it is no secret of 32 bytes.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = Zeroizing::new(STANDARD.decode(text.strip_prefix(MARK)?).ok()?);
        Some(Self(Zeroizing::new(bytes.as_slice().try_into().ok()?)))
    }

    /// `whsec_` ‖ base64 of the bytes, as its receiver is told it.
    pub(super) fn text(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("{MARK}{}", STANDARD.encode(self.0.as_slice())))
    }

    pub(super) fn seal(&self, key: &CaseKey, place: &Place) -> Result<Vec<u8>> {
        Ok(key.seal(place, self.0.as_slice())?)
    }

    pub(super) fn open(key: &CaseKey, place: &Place, sealed: &[u8]) -> Result<Self> {
        let bytes = Zeroizing::new(key.open(place, sealed)?);
        let bytes = bytes.as_slice().try_into().map_err(|_| Error::Invalid("a webhook's secret has 32 bytes"))?;
        Ok(Self(Zeroizing::new(bytes)))
    }

    /// `v1,` ‖ base64 of `HMAC-SHA256(secret, id ‖ "." ‖ seconds ‖ "." ‖ body)`.
    pub fn sign(&self, id: &str, at: Timestamp, body: &str) -> String {
        let head = format!("{id}.{}.", at.seconds());
        format!("v1,{}", STANDARD.encode(hmac(&self.0, &[head.as_bytes(), body.as_bytes()])))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}
