//! Ed25519 (RFC 8032) with keys derived from the root key.

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};

use super::{SystemKey, VaultError};

/// A private key with its public one.
pub(crate) struct SigningKey {
    pair: Ed25519KeyPair,
    public: [u8; 32],
}

impl SigningKey {
    /// The pair whose seed (RFC 8032 §5.1.5) is a key of the system's.
    pub(crate) fn new(seed: &SystemKey) -> Result<Self, VaultError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed.seed()).map_err(|_| VaultError::Sealed)?;
        let public = pair.public_key().as_ref().try_into().map_err(|_| VaultError::Sealed)?;
        Ok(Self { pair, public })
    }

    pub(crate) fn public(&self) -> [u8; 32] {
        self.public
    }

    /// The 64 bytes of a signature.
    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.pair.sign(message).as_ref().to_vec()
    }
}

/// True when the owner of `public` signed `message`.
pub(crate) fn is_signed(public: &[u8; 32], message: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ED25519, public).verify(message, signature).is_ok()
}
