//! Agile encryption (MS-OFFCRYPTO 2.3.4.10 to 2.3.4.15): described in XML, with a hash and a number of rounds of its choice.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use domain::outcome::Exception;
use quick_xml::{
    Reader,
    events::{BytesStart, Event},
};

use super::{
    cipher::{self, BLOCK, Hash, fitted},
    unsupported,
};
use crate::extract::corrupt;

/// Bytes of a segment; each has an initialisation vector of its own.
const SEGMENT: usize = 4096;

// What each derived key is for (2.3.4.13 and 2.3.4.14).
const VERIFIER_INPUT: &[u8] = &[0xfe, 0xa7, 0xd2, 0x76, 0x3b, 0x4b, 0x9e, 0x79];
const VERIFIER_HASH: &[u8] = &[0xd7, 0xaa, 0x0f, 0x6d, 0x30, 0x61, 0x34, 0x4e];
const KEY_VALUE: &[u8] = &[0x14, 0x6e, 0x0b, 0xe7, 0xab, 0xac, 0xd0, 0xd6];
const INTEGRITY_KEY: &[u8] = &[0x5f, 0xb2, 0xad, 0x01, 0x0c, 0xb9, 0xe1, 0xf6];
const INTEGRITY_CODE: &[u8] = &[0xa0, 0x67, 0x7f, 0x02, 0xb2, 0x2c, 0x84, 0x33];

/// The description of one encrypted package.
pub(super) struct Descriptor {
    /// How often the password is hashed; an attacker's to choose, so checked by the caller.
    pub(super) rounds: u32,
    package: Suite,
    /// Encrypted key and value of the integrity check, where there is one.
    integrity: Option<(Vec<u8>, Vec<u8>)>,
    password: Suite,
    verifier_input: Vec<u8>,
    verifier_hash: Vec<u8>,
    key_value: Vec<u8>,
}

/// Cipher, hash and salt of a step.
#[derive(Default)]
struct Suite {
    hash: Option<Hash>,
    /// Bytes of the cipher's key.
    key: usize,
    salt: Vec<u8>,
}

impl Descriptor {
    pub(super) fn parse(xml: &[u8]) -> Result<Self, Exception> {
        let damaged = || corrupt("the description of the encryption is damaged");
        let mut reader = Reader::from_reader(xml);
        let (mut package, mut integrity, mut password) = (None, None, None);
        loop {
            let element = match reader.read_event().map_err(|_| damaged())? {
                Event::Start(element) | Event::Empty(element) => element,
                Event::Eof => break,
                _ => continue,
            };
            match element.local_name().as_ref() {
                "keyData" => package = Some(Suite::parse(&element)?),
                "dataIntegrity" => {
                    integrity = bytes(&element, "encryptedHmacKey").zip(bytes(&element, "encryptedHmacValue"));
                }
                "encryptedKey" if password.is_none() => password = Some(Self::password(&element)?),
                _ => {}
            }
        }
        // Without a password there are only certificates, whose keys nobody has here.
        let password: Self = password.ok_or_else(unsupported)?;
        Ok(Self { package: package.ok_or_else(damaged)?, integrity, ..password })
    }

    /// The part about the password; the rest is filled in later.
    fn password(element: &BytesStart<'_>) -> Result<Self, Exception> {
        let damaged = || corrupt("the description of the encryption is damaged");
        let need = |name: &str| bytes(element, name).ok_or_else(damaged);
        Ok(Self {
            rounds: number(element, "spinCount").ok_or_else(damaged)?,
            package: Suite::default(),
            integrity: None,
            password: Suite::parse(element)?,
            verifier_input: need("encryptedVerifierHashInput")?,
            verifier_hash: need("encryptedVerifierHashValue")?,
            key_value: need("encryptedKeyValue")?,
        })
    }

    /// The package's key, when `password` (UTF-16) fits.
    pub(super) fn key(&self, password: &[u8]) -> Option<Vec<u8>> {
        let suite = &self.password;
        let hash = suite.hash?;
        let stretched = hash.stretch(&suite.salt, password, self.rounds);
        let vector = fitted(suite.salt.clone(), BLOCK);
        let unwrap = |purpose: &[u8], encrypted: &[u8]| {
            let key = fitted(hash.of(&[&stretched, purpose]), suite.key);
            let mut bytes = encrypted.to_vec();
            cipher::cbc(&key, &vector, &mut bytes).map(|()| bytes)
        };
        let input = unwrap(VERIFIER_INPUT, &self.verifier_input)?;
        let expected = hash.of(&[input.get(..suite.salt.len()).unwrap_or(&input)]);
        let stated = unwrap(VERIFIER_HASH, &self.verifier_hash)?;
        if stated.get(..expected.len())? != expected {
            return None;
        }
        let mut key = unwrap(KEY_VALUE, &self.key_value)?;
        key.truncate(self.package.key);
        Some(key)
    }

    /// Decrypts the package in place, segment by segment.
    pub(super) fn decrypt(&self, key: &[u8], package: &mut [u8]) -> Option<()> {
        for (segment, number) in package.chunks_mut(SEGMENT).zip(0_u32..) {
            cipher::cbc(key, &self.vector(&number.to_le_bytes())?, segment)?;
        }
        Some(())
    }

    /// True when the whole encrypted package is as it was written; files without such a check are taken at their word.
    pub(super) fn is_intact(&self, key: &[u8], encrypted: &[u8]) -> bool {
        let Some((hmac_key, code)) = &self.integrity else { return true };
        let unwrap = |purpose: &[u8], bytes: &[u8]| {
            let mut bytes = bytes.to_vec();
            cipher::cbc(key, &self.vector(purpose)?, &mut bytes)?;
            bytes.truncate(self.package.hash?.of(&[]).len());
            Some(bytes)
        };
        let keys = unwrap(INTEGRITY_KEY, hmac_key).zip(unwrap(INTEGRITY_CODE, code)).zip(self.package.hash);
        keys.is_some_and(|((hmac_key, code), hash)| hash.authenticates(&hmac_key, encrypted, &code))
    }

    fn vector(&self, purpose: &[u8]) -> Option<Vec<u8>> {
        Some(fitted(self.package.hash?.of(&[&self.package.salt, purpose]), BLOCK))
    }
}

impl Suite {
    fn parse(element: &BytesStart<'_>) -> Result<Self, Exception> {
        let cipher = text(element, "cipherAlgorithm").unwrap_or_default();
        let chaining = text(element, "cipherChaining").unwrap_or_default();
        let hash = text(element, "hashAlgorithm").and_then(|name| Hash::parse(&name));
        let key = number(element, "keyBits").filter(|bits| matches!(bits, 128 | 192 | 256));
        let (Some(hash), Some(key), "AES", "ChainingModeCBC") = (hash, key, cipher.as_str(), chaining.as_str()) else {
            return Err(unsupported());
        };
        let salt = bytes(element, "saltValue").unwrap_or_default();
        Ok(Self { hash: Some(hash), key: key as usize / 8, salt })
    }
}

fn text(element: &BytesStart<'_>, name: &str) -> Option<String> {
    let attribute = element.try_get_attribute(name).ok()??;
    Some(attribute.value.into_owned())
}

fn number(element: &BytesStart<'_>, name: &str) -> Option<u32> {
    text(element, name)?.trim().parse().ok()
}

fn bytes(element: &BytesStart<'_>, name: &str) -> Option<Vec<u8>> {
    BASE64_STANDARD.decode(text(element, name)?.split_whitespace().collect::<String>()).ok()
}
