//! `OpenDocument` under a password (ODF 1.2 part 3, 3.4 and 4.8): its parts are deflated and then encrypted, each with a key of its
//! own from the password by PBKDF2. AES, as all programs have written it since 2010, or Blowfish before that.

use std::{
    collections::HashMap,
    io::{Cursor, Read as _, Write as _},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use domain::outcome::{Category, Exception};
use flate2::read::DeflateDecoder;
use sha1::Sha1;
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use super::cipher::{self, BLOCK, Hash};
use crate::{
    extract::{
        corrupt,
        markup::{Markup, Token},
        package::Package,
    },
    limits::Limits,
    passwords::KeyRing,
};

/// The parts that are read.
const PARTS: [&str; 3] = ["content.xml", "styles.xml", "meta.xml"];
/// Most bytes one part may inflate to.
const LARGEST: u64 = 192 << 20;

/// Makes of a protected document one that is not, with what is read of it. What no candidate opens is
/// [`Category::Encrypted`]; what is no package is left to its reader.
pub(super) fn unlock(bytes: &mut Vec<u8>, limits: &Limits, keys: &KeyRing) -> Result<(), Exception> {
    if !bytes.starts_with(b"PK") {
        return Ok(());
    }
    let Ok(mut package) = Package::open(bytes.clone()) else { return Ok(()) };
    let manifest = package.text("META-INF/manifest.xml").filter(|manifest| manifest.contains("encryption-data"));
    let Some(manifest) = manifest else { return Ok(()) };
    let sealed = described(&manifest);
    let first = sealed.get(PARTS[0]).ok_or_else(locked)?;
    if manifest.contains("PGPKeyID") {
        let detail = "the document is encrypted for holders of OpenPGP keys, not by a password; have one of them save it without";
        return Err(Exception::new(Category::Encrypted, detail));
    }
    if sealed.values().any(|one| one.rounds > limits.max_key_rounds) {
        let detail = format!("more than {} rounds to make the key from the password", limits.max_key_rounds);
        return Err(Exception::new(Category::TooLarge, detail));
    }
    if first.cipher.is_none() {
        let detail = "the document is encrypted in a way that cannot be opened here; take the password off it";
        return Err(Exception::new(Category::Unsupported, detail));
    }
    let content = package.part(PARTS[0]).ok_or_else(|| corrupt("the encrypted document is damaged"))?;
    let password = keys.open(|word| first.open(word, &content).map(|_| word.to_owned())).ok_or_else(locked)?;
    let mut target = ZipWriter::new(Cursor::new(Vec::new()));
    for name in PARTS {
        let Some(part) = package.part(name) else { continue };
        let plain = match sealed.get(name) {
            Some(sealed) => sealed.open(&password, &part).map(|deflated| inflated(&deflated)).unwrap_or_default(),
            None => part,
        };
        let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
        let written = target.start_file(name, stored).and_then(|()| Ok(target.write_all(&plain)?));
        written.map_err(|_| corrupt("the encrypted document is damaged"))?;
    }
    *bytes = target.finish().map_err(|_| corrupt("the encrypted document is damaged"))?.into_inner();
    Ok(())
}

fn inflated(deflated: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    // What was inflated before damage is worth having; its reader finds out.
    let _end = DeflateDecoder::new(deflated).take(LARGEST).read_to_end(&mut plain);
    plain
}

fn locked() -> Exception {
    Exception::new(Category::Encrypted, "the document is protected by a password")
}

/// What a part is encrypted with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cipher {
    /// AES in blocks chained one to the other, the last one filled up.
    Aes,
    /// Blowfish, each block fed into the next.
    Blowfish,
}

/// How a part is encrypted.
#[derive(Default)]
struct Sealed {
    cipher: Option<Cipher>,
    vector: Vec<u8>,
    salt: Vec<u8>,
    rounds: u32,
    key: usize,
    /// Hash of the password from which the key is made, and of the beginning of the part.
    start: Option<Hash>,
    check: Option<Hash>,
    checksum: Vec<u8>,
}

impl Sealed {
    /// The deflated part, when `password` fits.
    fn open(&self, password: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        let start = self.start?.of(&[password.as_bytes()]);
        let mut derived = [0; 32];
        let key = derived.get_mut(..self.key)?;
        pbkdf2::pbkdf2_hmac::<Sha1>(&start, &self.salt, self.rounds, key);
        let mut plain = sealed.to_vec();
        match self.cipher? {
            Cipher::Aes => {
                cipher::cbc(key, &self.vector, &mut plain)?;
                // The last byte says how many were added to fill the last block.
                let added = usize::from(*plain.last()?);
                plain.truncate(plain.len().checked_sub(added).filter(|_| (1..=BLOCK).contains(&added))?);
            }
            Cipher::Blowfish => cipher::blowfish(key, &self.vector, &mut plain)?,
        }
        let beginning = plain.get(..1024).unwrap_or(&plain);
        (self.check?.of(&[beginning]) == self.checksum).then_some(plain)
    }
}

/// What the manifest says of each part.
fn described(manifest: &str) -> HashMap<String, Sealed> {
    let mut found = HashMap::new();
    let mut path = String::new();
    let mut markup = Markup::new(manifest);
    while let Some(token) = markup.next() {
        let Token::Open(element) = token else { continue };
        let text = |name: &str| element.attribute(name).unwrap_or_default();
        let bytes = |name: &str| STANDARD.decode(text(name).trim()).unwrap_or_default();
        if element.name() == "file-entry" {
            path = text("full-path");
            continue;
        }
        if element.name() == "encryption-data" && !text("checksum-type").is_empty() {
            let check = hash(text("checksum-type").trim_end_matches("-1k").trim_end_matches("/1K"));
            // Where nothing else is said.
            let start = Some(Hash::Sha1);
            let checksum = bytes("checksum");
            found.insert(path.clone(), Sealed { check, checksum, start, key: 16, ..Sealed::default() });
        }
        let Some(sealed) = found.get_mut(&path) else { continue };
        match element.name() {
            "algorithm" => {
                let name = text("algorithm-name").to_ascii_lowercase();
                sealed.cipher = match name.rsplit(['#', ':']).next() {
                    Some("blowfish cfb" | "blowfish") => Some(Cipher::Blowfish),
                    Some(other) if other.ends_with("-cbc") => Some(Cipher::Aes),
                    _ => None,
                };
                sealed.vector = bytes("initialisation-vector");
            }
            "key-derivation" => {
                let is_known = text("key-derivation-name").to_ascii_uppercase().ends_with("PBKDF2");
                sealed.cipher = sealed.cipher.filter(|_| is_known);
                sealed.salt = bytes("salt");
                sealed.rounds = text("iteration-count").parse().unwrap_or(u32::MAX);
                sealed.key = text("key-size").parse().unwrap_or(sealed.key);
            }
            "start-key-generation" => sealed.start = hash(&text("start-key-generation-name")),
            _ => {}
        }
    }
    found
}

/// A hash by the end of the name that it has in these files.
fn hash(name: &str) -> Option<Hash> {
    let name = name.rsplit(['#', ':']).next().unwrap_or(name);
    Hash::parse(&name.to_ascii_uppercase())
}
