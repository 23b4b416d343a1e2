//! Signed checkpoints of the log: a C2SP checkpoint (<https://c2sp.org/tlog-checkpoint>) in a signed note
//! (<https://c2sp.org/signed-note>), Ed25519. A note is text that people can read and any implementation of the standard verifies.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use domain::clock::Timestamp;
use sha2::{Digest as _, Sha256};

use super::merkle::Hash;
use crate::vault::{
    Vault, VaultError,
    signing::{SigningKey, is_signed},
};

/// The kind of key, as the standard numbers it.
const ALGORITHM: u8 = 1;
/// Begins the line that says when a checkpoint was signed.
const TIME: &str = "time ";

/// What a log says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log.
    pub origin: String,
    /// Its leaves.
    pub size: u64,
    /// The root over them.
    pub root: Hash,
    /// When it was signed.
    pub at: Timestamp,
}

/// A public key with the name that its signatures bear. As text (`name+hash+key`) it is what one pins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verifier {
    name: String,
    key: [u8; 32],
}

/// Signs checkpoints.
pub(super) struct Signer {
    key: SigningKey,
    verifier: Verifier,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Signer").field(&self.verifier).finish()
    }
}

impl Signer {
    /// The signer of an installation. Its name, which is the log's origin too, is made of its key.
    pub(super) fn new(vault: &Vault) -> Result<Self, VaultError> {
        let key = SigningKey::new(&vault.system_key("audit-checkpoint"))?;
        let name = format!("dia/{}", hex::encode(&Sha256::digest(key.public())[..8]));
        let verifier = Verifier { name, key: key.public() };
        Ok(Self { key, verifier })
    }

    /// Who verifies what this signs.
    pub(super) fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// A checkpoint of this log, with its signed note.
    pub(super) fn sign(&self, size: u64, root: Hash, at: Timestamp) -> (Checkpoint, String) {
        let Verifier { name, .. } = &self.verifier;
        let note = self.sign_text(&format!("{size}\n{}\n{TIME}{}\n", STANDARD.encode(root.0), at.rfc3339()));
        (Checkpoint { origin: name.clone(), size, root, at }, note)
    }

    /// A signed note of lines, the first of which is the name of this log.
    pub(super) fn sign_text(&self, lines: &str) -> String {
        let name = &self.verifier.name;
        let text = format!("{name}\n{lines}");
        let signature = [&self.verifier.hash()[..], &self.key.sign(text.as_bytes())].concat();
        format!("{text}\n\u{2014} {name} {}\n", STANDARD.encode(signature))
    }
}

impl Verifier {
    fn hash(&self) -> [u8; 4] {
        let digest = Sha256::new().chain_update(&self.name).chain_update([b'\n', ALGORITHM]).chain_update(self.key);
        let [a, b, c, d, ..] = digest.finalize()[..] else { return [0; 4] };
        [a, b, c, d]
    }

    /// Reads `name+hash+key`; `None` when it is no such key.
    pub fn parse(text: &str) -> Option<Self> {
        let (name, rest) = text.trim().split_once('+')?;
        let (hash, key) = rest.split_once('+')?;
        let key = STANDARD.decode(key).ok()?;
        let key = <[u8; 32]>::try_from(key.strip_prefix(&[ALGORITHM])?).ok()?;
        let verifier = Self { name: name.to_owned(), key };
        (!name.is_empty() && hex::encode(verifier.hash()) == hash).then_some(verifier)
    }

    /// The text of a note; `None` unless this key signed it.
    pub(super) fn text(&self, note: &str) -> Option<String> {
        let (text, signatures) = note.rsplit_once("\n\n")?;
        let text = format!("{text}\n");
        let signed = signatures.lines().any(|line| {
            let signature = line.strip_prefix("\u{2014} ").and_then(|line| line.split_once(' '));
            let signature = signature.filter(|(name, _)| *name == self.name).and_then(|(_, s)| STANDARD.decode(s).ok());
            let signature = signature.as_deref().and_then(|s| s.strip_prefix(&self.hash()));
            signature.is_some_and(|s| is_signed(&self.key, text.as_bytes(), s))
        });
        signed.then_some(text)
    }

    /// Reads a note; `None` unless this key signed it as a checkpoint of its own log.
    pub fn open(&self, note: &str) -> Option<Checkpoint> {
        let text = self.text(note)?;
        let mut lines = text.lines();
        let (origin, size, root) = (lines.next()?, lines.next()?, lines.next()?);
        let at = lines.find_map(|line| line.strip_prefix(TIME)).and_then(Timestamp::parse)?;
        let root = Hash(STANDARD.decode(root).ok()?.try_into().ok()?);
        let size: u64 = size.parse().ok()?;
        (origin == self.name).then(|| Checkpoint { origin: origin.to_owned(), size, root, at })
    }
}

impl std::fmt::Display for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let key = STANDARD.encode([&[ALGORITHM][..], &self.key].concat());
        write!(f, "{}+{}+{key}", self.name, hex::encode(self.hash()))
    }
}
