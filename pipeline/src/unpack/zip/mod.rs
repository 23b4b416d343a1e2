//! ZIP members (APPNOTE.TXT). Names are data: `../` and drive letters pass through untouched and harmless. An archive whose
//! directory is missing, or lists one name twice, is read by the headers that stand before each member.

mod aes;
mod guarded;
mod walk;

use std::{
    io::{self, Cursor, Read},
    ops::RangeInclusive,
};

use bzip2::read::BzDecoder;
use deflate64::Deflate64Decoder;
use domain::{
    clock::Timestamp,
    outcome::{Category, Exception},
};
use encoding_rs::WINDOWS_1252;
use flate2::{CrcReader, read::DeflateDecoder};
use lzma_rust2::LzmaReader;
use time::{Date, Month, PrimitiveDateTime, Time};
use zip::{
    CompressionMethod, ZipArchive,
    read::{ZipFile, ZipReadOptions},
    result::{ZipError, ZipResult},
};

use self::{guarded::Guarded, walk::Walked};
use super::{Outlet, compressed, limit_hit, too_many};
use crate::{limits::Limits, passwords::KeyRing, reader::MemberHead};

type Archive<'a> = ZipArchive<Cursor<&'a [u8]>>;

/// Bits of the general purpose flags (4.4.4): PKWARE's own encryption, and a directory hidden by it.
const STRONG: u16 = 1 << 6 | 1 << 13;

pub(super) fn members(bytes: &[u8], outlet: &mut Outlet<'_>) -> Result<(), Exception> {
    let Ok(mut archive) = ZipArchive::new(Cursor::new(bytes)) else {
        let found = walked(bytes, outlet)?;
        return Err(without_directory(found));
    };
    // The library keeps one member of each name.
    if archive.has_duplicate_names() {
        return walked(bytes, outlet).map(drop);
    }
    if archive.len() > outlet.limits.max_members as usize {
        return Err(too_many(outlet.limits));
    }
    for index in 0..archive.len() {
        let member = match archive.by_index_raw(index) {
            Ok(entry) if entry.is_dir() => continue,
            Ok(entry) => Member::of(&entry, bytes),
            Err(error) => {
                let path = format!("member {}", index.saturating_add(1));
                outlet.failed(&MemberHead { ordinal: 0, path, modified: None, inline: false }, reason(&error))?;
                continue;
            }
        };
        member.send(&mut Source::Listed(&mut archive, index), outlet)?;
    }
    Ok(())
}

/// Names of all members, for the container's own text.
pub(super) fn names(bytes: &[u8]) -> Result<Vec<String>, Exception> {
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(|_| without_directory(0))?;
    if archive.has_duplicate_names() {
        return Ok(walk::all(bytes).filter(|found| !found.is_folder()).map(|found| found.path()).collect());
    }
    Ok((0..archive.len()).filter_map(|index| archive.by_index_raw(index).ok().map(|entry| head(&entry).path)).collect())
}

fn without_directory(found: u32) -> Exception {
    match found {
        0 => Exception::new(Category::Corrupt, "the archive's directory is missing or damaged"),
        found => {
            let detail =
                format!("the archive's directory is missing or damaged; {found} members were found without it");
            Exception::new(Category::Partial, detail)
        }
    }
}

/// Sends what the members' own headers tell of; gives their number.
fn walked(bytes: &[u8], outlet: &mut Outlet<'_>) -> Result<u32, Exception> {
    let before = outlet.done.members;
    for found in walk::all(bytes).filter(|found| !found.is_folder()) {
        found.member().send(&mut Source::Walked(found), outlet)?;
    }
    Ok(outlet.done.members.saturating_sub(before))
}

/// A member, as its header describes it.
struct Member<'a> {
    head: MemberHead,
    /// The compression (4.4.5).
    method: u16,
    encrypted: bool,
    strong: bool,
    crc: Option<u32>,
    /// Bytes of the content, where they are known.
    size: u64,
    /// Encryption by AES.
    aes: Option<aes::Description>,
    /// The bytes it is stored as.
    data: &'a [u8],
}

impl<'a> Member<'a> {
    fn of<R: Read>(entry: &ZipFile<'_, R>, bytes: &'a [u8]) -> Self {
        let start = entry.data_start().and_then(|start| usize::try_from(start).ok());
        let length = usize::try_from(entry.compressed_size()).unwrap_or(usize::MAX);
        let rest = start.and_then(|start| bytes.get(start..)).unwrap_or_default();
        let header = usize::try_from(entry.header_start()).ok().and_then(|start| bytes.get(start..));
        let aes = header.and_then(Walked::at).and_then(|header| header.aes());
        Self {
            head: head(entry),
            method: aes.map_or(number(entry.compression()), |aes| aes.method),
            aes,
            encrypted: entry.encrypted(),
            strong: entry.flags().as_u16() & STRONG != 0,
            crc: Some(entry.crc32()),
            size: entry.size(),
            data: rest.get(..length).unwrap_or(rest),
        }
    }

    fn send(self, source: &mut Source<'_, '_>, outlet: &mut Outlet<'_>) -> Result<(), Exception> {
        if self.strong {
            let detail = "protected in PKWARE's own way, which cannot be opened here";
            return outlet.failed(&self.head, Exception::new(Category::Unsupported, detail));
        }
        if let Some(aes) = self.aes.filter(|_| self.encrypted) {
            return self.send_opened(aes, outlet);
        }
        if self.dictionary().is_some_and(|bytes| bytes > outlet.limits.dictionary_bytes()) {
            return outlet.failed(&self.head, super::too_much_memory());
        }
        if !self.encrypted
            && let Some(decoder) = self.decoder(outlet.limits)
        {
            return outlet.member(self.head, &mut Checked { inner: CrcReader::new(decoder), crc: self.crc });
        }
        if !is_decoded(self.method) {
            return outlet.failed(&self.head, undecoded(self.method));
        }
        let password = if self.encrypted { source.unlock(outlet.limits, outlet.keys) } else { None };
        match source.open(password.as_deref()) {
            Ok(mut content) => outlet.member(self.head, &mut content),
            Err(error) => outlet.failed(&self.head, reason(&error)),
        }
    }

    /// Sends a member that is encrypted by AES.
    fn send_opened(self, aes: aes::Description, outlet: &mut Outlet<'_>) -> Result<(), Exception> {
        let open = |word: &str| encodings(word).iter().find_map(|password| aes.open(self.data, password));
        let Some(opened) = outlet.keys.open(open) else {
            return outlet.failed(&self.head, Exception::new(Category::Encrypted, LOCKED));
        };
        let Some(decoder) = decompressed(self.method, opened, outlet.limits) else {
            return outlet.failed(&self.head, undecoded(self.method));
        };
        // Version 2 has no checksum, and the code over the ciphertext was right.
        let crc = self.crc.filter(|_| aes.version == 1);
        outlet.member(self.head, &mut Checked { inner: CrcReader::new(decoder), crc })
    }

    /// A decoder of ours, for methods that the library is built without or would not hold to a limit.
    fn decoder(&self, limits: &Limits) -> Option<Box<dyn Read + 'a>> {
        match self.method {
            0 | 8 => None,
            ZSTANDARD => Some(compressed::zstandard(self.data, limits)),
            LZMA => lzma(self.data, self.size),
            method => decompressed(method, self.data, limits),
        }
    }

    /// Bytes of the dictionary that LZMA data asks for (5.8.8), or of the content, where the library keeps all of it.
    fn dictionary(&self) -> Option<u64> {
        if OLD.contains(&self.method) {
            return Some(self.size);
        }
        let size = self.data.get(5..).filter(|_| self.method == LZMA && !self.encrypted)?;
        size.first_chunk().map(|bytes| u32::from_le_bytes(*bytes).into())
    }
}

fn undecoded(method: u16) -> Exception {
    let name = CompressionMethod::name_from_u16(method);
    Exception::new(Category::Unsupported, format!("compression method {method} ({name}) is not supported"))
}

/// What a stream of that compression holds, for the methods that programs combine with encryption.
fn decompressed<'a>(method: u16, stream: impl Read + 'a, limits: &Limits) -> Option<Box<dyn Read + 'a>> {
    Some(match method {
        0 => Box::new(stream),
        8 => Box::new(DeflateDecoder::new(stream)),
        9 => Box::new(Deflate64Decoder::new(stream)),
        12 => Box::new(BzDecoder::new(stream)),
        XZ => compressed::xz(stream, limits),
        _ => return None,
    })
}

const LOCKED: &str = "the member is protected by a password";
/// Shrunk, reduced by four degrees, imploded: what PKZIP did before it deflated.
const OLD: RangeInclusive<u16> = 1..=6;
const LZMA: u16 = 14;
const ZSTANDARD: u16 = 93;
const XZ: u16 = 95;

/// Methods that the library decodes as it is built here. Others fail only when read, and then as damage.
fn is_decoded(method: u16) -> bool {
    matches!(method, 0 | 8) || OLD.contains(&method)
}

/// LZMA data (5.8.8): two words of version and length, five bytes of properties, the stream.
fn lzma(data: &[u8], size: u64) -> Option<Box<dyn Read + '_>> {
    let (properties, stream) = data.get(4..)?.split_first_chunk::<5>()?;
    let [properties, dictionary @ ..] = *properties;
    let reader = LzmaReader::new_with_props(stream, size, properties, u32::from_le_bytes(dictionary), None).ok()?;
    Some(Box::new(reader))
}

#[expect(deprecated, reason = "the number is the only name that all methods have")]
fn number(method: CompressionMethod) -> u16 {
    method.to_u16()
}

/// Where a member's content comes from.
enum Source<'s, 'a> {
    Listed(&'s mut Archive<'a>, usize),
    Walked(Walked<'a>),
}

impl Source<'_, '_> {
    fn open<'o>(&'o mut self, password: Option<&'o [u8]>) -> ZipResult<Box<dyn Read + 'o>> {
        match self {
            Self::Listed(archive, index) => {
                let options = ZipReadOptions::new().password(password);
                Ok(Box::new(Guarded::new(archive.by_index_with_options(*index, options)?)))
            }
            Self::Walked(walked) => Ok(Box::new(Guarded::new(walked.open(password)?))),
        }
    }

    /// The password that opens the member. One in 256 wrong ones seems to fit (6.1.6), so the whole content must decode.
    fn unlock(&mut self, limits: &Limits, keys: &KeyRing) -> Option<Vec<u8>> {
        keys.open(|word| encodings(word).into_iter().find(|password| self.opens_with(password, limits)))
    }

    fn opens_with(&mut self, password: &[u8], limits: &Limits) -> bool {
        let Ok(content) = self.open(Some(password)) else { return false };
        // What expands beyond the limits is opened, and stopped when it is sent.
        let most = limits.ratio_floor_bytes.saturating_mul(8).max(limits.max_document_bytes);
        match io::copy(&mut content.take(most), &mut io::sink()) {
            Ok(_) => true,
            Err(error) => limit_hit(&error).is_some(),
        }
    }
}

/// Programs make bytes of a password as UTF-8 or in the code page of their machine.
fn encodings(password: &str) -> Vec<Vec<u8>> {
    let mut encodings = vec![password.as_bytes().to_vec()];
    let (narrow, _, lossy) = WINDOWS_1252.encode(password);
    if !lossy && !password.is_ascii() {
        encodings.push(narrow.into_owned());
    }
    encodings
}

/// Content that must have its checksum at the end.
struct Checked<R> {
    inner: CrcReader<R>,
    crc: Option<u32>,
}

impl<R: Read> Read for Checked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        if read == 0 && !buffer.is_empty() && self.crc.is_some_and(|crc| crc != self.inner.crc().sum()) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(read)
    }
}

fn head<R: Read>(entry: &ZipFile<'_, R>) -> MemberHead {
    let path = entry
        .name()
        .map_or_else(|_| String::from_utf8_lossy(entry.name_raw()).into_owned(), std::borrow::Cow::into_owned);
    MemberHead { ordinal: 0, path, modified: entry.last_modified().and_then(modified), inline: false }
}

/// ZIP times are local times of an unknown zone; taken as UTC.
fn modified(time: zip::DateTime) -> Option<Timestamp> {
    let date = Date::from_calendar_date(time.year().into(), Month::try_from(time.month()).ok()?, time.day()).ok()?;
    let clock = Time::from_hms(time.hour(), time.minute(), time.second()).ok()?;
    Some(Timestamp(PrimitiveDateTime::new(date, clock).assume_utc().unix_timestamp().saturating_mul(1_000_000)))
}

fn reason(error: &ZipError) -> Exception {
    match error {
        ZipError::UnsupportedArchive(ZipError::PASSWORD_REQUIRED) | ZipError::InvalidPassword => {
            Exception::new(Category::Encrypted, LOCKED)
        }
        ZipError::CompressionMethodNotSupported(method) => {
            Exception::new(Category::Unsupported, format!("compression method {method} is not supported"))
        }
        ZipError::UnsupportedArchive(_) => {
            Exception::new(Category::Unsupported, "the member uses a feature that is not supported")
        }
        _ => Exception::new(Category::Corrupt, "the member is damaged"),
    }
}
