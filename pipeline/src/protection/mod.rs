//! Office files under a password (MS-OFFCRYPTO), the newer in a wrapper, XLS and DOC in their own streams, and `OpenDocument`:
//! opened in memory, by a password everybody knows or by one of the candidates. A password counts as right only when the file's own verifier says so.

mod agile;
mod binary;
mod cipher;
mod odf;
mod rc4;
mod standard;
mod xor;

use std::io::{Cursor, Read};

use cfb::CompoundFile;
use domain::outcome::{Category, Exception};

use crate::{extract::corrupt, format::Format, limits::Limits, passwords::KeyRing, sniff};

/// Passwords that Excel and PowerPoint use by themselves for files that are only protected against changes.
const KNOWN_TO_ALL: [&str; 2] = ["VelvetSweatshop", "/01Hannes Ruescher/01"];

/// A package taken out of its wrapper.
pub(crate) struct Opened {
    /// The Office file.
    pub(crate) package: Vec<u8>,
    /// False when the file's integrity check fails: somebody changed it after it was encrypted, or its disk did.
    pub(crate) intact: bool,
}

impl Opened {
    /// What the package is; never again a wrapper.
    pub(crate) fn format(&self, name: &str) -> Format {
        match sniff::identify(&self.package, name).format {
            Format::EncryptedOffice => Format::Unknown,
            format => format,
        }
    }
}

/// Decrypts an old Office file or an `OpenDocument` in place, if it is encrypted.
pub(crate) fn unlock(format: Format, bytes: &mut Vec<u8>, limits: &Limits, keys: &KeyRing) -> Result<(), Exception> {
    match format {
        Format::Odt | Format::Ods | Format::Odp | Format::Odg => odf::unlock(bytes, limits, keys),
        Format::Xls | Format::Doc => binary::unlock(format, bytes, keys),
        _ => Ok(()),
    }
}

/// How a file is encrypted (MS-OFFCRYPTO 2.3.4): which key a password gives, and what a key makes of the package.
enum Scheme {
    Agile(agile::Descriptor),
    Standard(standard::Descriptor),
}

/// Takes the Office file out of its wrapper. What no candidate opens is [`Category::Encrypted`].
pub(crate) fn open(bytes: Vec<u8>, limits: &Limits, keys: &KeyRing) -> Result<Opened, Exception> {
    let mut file = CompoundFile::open(Cursor::new(bytes)).map_err(|_| corrupt("the encrypted file is damaged"))?;
    let mut stream = |name: &str| {
        let mut content = Vec::new();
        let read = file.open_stream(name).and_then(|mut stream| stream.read_to_end(&mut content));
        read.map(|_| content).map_err(|_| corrupt("a part of the encrypted file is missing or damaged"))
    };
    let scheme = Scheme::parse(&stream("EncryptionInfo")?, limits)?;
    let encrypted = stream("EncryptedPackage")?;
    drop(file);
    let key =
        KNOWN_TO_ALL.iter().find_map(|password| scheme.key(password)).or_else(|| keys.open(|one| scheme.key(one)));
    let Some(key) = key else {
        return Err(Exception::new(Category::Encrypted, "an Office file protected by a password"));
    };
    scheme.decrypt(&key, &encrypted).ok_or_else(|| corrupt("the encrypted package is damaged"))
}

impl Scheme {
    fn parse(info: &[u8], limits: &Limits) -> Result<Self, Exception> {
        let damaged = || corrupt("the description of the encryption is damaged");
        let (version, rest) = info.split_at_checked(4).ok_or_else(damaged)?;
        match version {
            [4, 0, 4, 0] => {
                let descriptor = agile::Descriptor::parse(rest.get(4..).unwrap_or_default())?;
                if descriptor.rounds > limits.max_key_rounds {
                    let detail =
                        format!("more than {} rounds to make the key from the password", limits.max_key_rounds);
                    return Err(Exception::new(Category::TooLarge, detail));
                }
                Ok(Self::Agile(descriptor))
            }
            [2..=4, 0, 2, 0] => standard::Descriptor::parse(rest).map(Self::Standard),
            _ => Err(unsupported()),
        }
    }

    fn key(&self, password: &str) -> Option<Vec<u8>> {
        let password = utf16(password);
        match self {
            Self::Agile(descriptor) => descriptor.key(&password),
            Self::Standard(descriptor) => descriptor.key(&password),
        }
    }

    /// The package: eight bytes with its length, then the ciphertext.
    fn decrypt(&self, key: &[u8], encrypted: &[u8]) -> Option<Opened> {
        let (length, ciphertext) = encrypted.split_first_chunk()?;
        let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
        let mut package = ciphertext.to_vec();
        let intact = match self {
            Self::Agile(descriptor) => {
                descriptor.decrypt(key, &mut package)?;
                descriptor.is_intact(key, encrypted)
            }
            Self::Standard(_) => cipher::ecb(key, &mut package).map(|()| true)?,
        };
        let whole = length <= package.len();
        package.truncate(length);
        Some(Opened { package, intact: intact && whole })
    }
}

/// A password as all these ways take it.
fn utf16(password: &str) -> Vec<u8> {
    password.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

fn unsupported() -> Exception {
    Exception::new(Category::Unsupported, "the Office file is encrypted in a way that cannot be opened here")
}
