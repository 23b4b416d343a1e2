//! The members of a ZIP by the headers that stand before each (APPNOTE.TXT 4.3.7), for archives without a usable directory.

use std::iter;

use zip::{
    DateTime,
    read::{ZipFile, ZipReadOptions, read_zipfile_from_stream_with_options},
    result::{ZipError, ZipResult},
};

use super::{Member, STRONG, aes, modified};
use crate::{decode, reader::MemberHead, sniff::find};

const HEADER: &[u8] = b"PK\x03\x04";
const DESCRIPTOR: &[u8] = b"PK\x07\x08";
const DIRECTORY: &[u8] = b"PK\x01\x02";
/// Bytes of a header before the name.
const FIXED: usize = 30;

/// A member found by its header.
pub(super) struct Walked<'a> {
    /// The header and all that follows.
    header: &'a [u8],
    name: &'a [u8],
    extra: &'a [u8],
    /// The bytes it is stored as.
    pub(super) data: &'a [u8],
    /// Sizes and checksum that stand behind the data.
    descriptor: Option<Descriptor>,
    /// False when neither header nor descriptor tells where the data ends.
    is_measured: bool,
    /// What the library reads next.
    rest: &'a [u8],
}

/// What stands behind the data when its writer did not know it before (4.3.9).
#[derive(Clone, Copy)]
struct Descriptor {
    crc: u32,
    stored: u64,
    size: u64,
}

/// All members, in the order of the file.
pub(super) fn all(bytes: &[u8]) -> impl Iterator<Item = Walked<'_>> {
    let mut rest = bytes;
    iter::from_fn(move || {
        loop {
            rest = rest.get(find(rest, HEADER)?..)?;
            if let Some(found) = Walked::at(rest) {
                rest = found.behind();
                return Some(found);
            }
            rest = rest.get(HEADER.len()..)?;
        }
    })
}

impl<'a> Walked<'a> {
    pub(super) fn at(header: &'a [u8]) -> Option<Self> {
        let short = |at: usize| Some(u16::from_le_bytes(*header.get(at..)?.first_chunk()?));
        let long = |at: usize| Some(u32::from_le_bytes(*header.get(at..)?.first_chunk()?));
        let (flags, stored) = (short(6)?, long(18)?);
        let (name, extra) = (usize::from(short(26)?), usize::from(short(28)?));
        let rest = header.get(FIXED..)?;
        let (name, rest) = rest.split_at_checked(name)?;
        let (extra, rest) = rest.split_at_checked(extra)?;
        let stored = if stored == u32::MAX { wide(extra)? } else { u64::from(stored) };
        // Bit 3: the sizes stand behind the data.
        let descriptor = if flags & 8 != 0 && stored == 0 { Descriptor::behind(rest) } else { None };
        let is_measured = flags & 8 == 0 || stored != 0 || descriptor.is_some();
        let stored = usize::try_from(descriptor.map_or(stored, |found| found.stored)).unwrap_or(usize::MAX);
        let data = if is_measured { rest.get(..stored).unwrap_or(rest) } else { before_next(rest) };
        Some(Self { header, name, extra, data, descriptor, is_measured, rest: header })
    }

    /// What follows the data.
    fn behind(&self) -> &'a [u8] {
        let end = (self.data.as_ptr() as usize).saturating_sub(self.header.as_ptr() as usize);
        self.header.get(end.saturating_add(self.data.len())..).unwrap_or_default()
    }

    pub(super) fn path(&self) -> String {
        decode::text(self.name, None).into_owned()
    }

    pub(super) fn is_folder(&self) -> bool {
        self.name.ends_with(b"/") && self.data.is_empty()
    }

    pub(super) fn aes(&self) -> Option<aes::Description> {
        field(self.extra, aes::FIELD).and_then(aes::Description::parse)
    }

    /// The member, as its header describes it.
    pub(super) fn member(&self) -> Member<'a> {
        let header = self.header;
        let short =
            |at: usize| header.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |two| u16::from_le_bytes(*two));
        let crc = header.get(14..).and_then(<[u8]>::first_chunk).map(|four| u32::from_le_bytes(*four));
        let crc = if self.is_measured { self.descriptor.map(|found| found.crc).or(crc) } else { None };
        let modified = DateTime::try_from_msdos(short(12), short(10)).ok().and_then(modified);
        let (flags, aes) = (short(6), self.aes());
        let size =
            header.get(22..).and_then(<[u8]>::first_chunk).map_or(u64::MAX, |four| u32::from_le_bytes(*four).into());
        Member {
            head: MemberHead { ordinal: 0, path: self.path(), modified, inline: false },
            method: aes.map_or(short(8), |aes| aes.method),
            aes,
            encrypted: flags & 1 != 0,
            strong: flags & STRONG != 0,
            crc,
            size: self.descriptor.map_or(size, |found| found.size),
            data: self.data,
        }
    }

    /// Opens the member. Streams that carry their own end are read to it.
    pub(super) fn open<'o>(&'o mut self, password: Option<&'o [u8]>) -> ZipResult<ZipFile<'o, &'a [u8]>> {
        self.rest = self.header;
        let mut options = ZipReadOptions::new().password(password);
        if let Some(Descriptor { crc, stored, size }) = self.descriptor {
            options = options.override_compressed_size(stored).override_uncompressed_size(size).override_crc(crc);
        } else if !self.is_measured {
            options = options.override_compressed_size(self.data.len() as u64).ignore_crc32(true);
        }
        read_zipfile_from_stream_with_options(&mut self.rest, options)?.ok_or(ZipError::FileNotFound)
    }
}

/// The extra field of that number (4.5.1).
fn field(mut extra: &[u8], number: u16) -> Option<&[u8]> {
    loop {
        let ([n0, n1, l0, l1], rest) = extra.split_first_chunk::<4>()?;
        let (content, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes([*l0, *l1])))?;
        if u16::from_le_bytes([*n0, *n1]) == number {
            return Some(content);
        }
        extra = rest;
    }
}

/// The stored size of a large member (4.5.3): size, then stored size.
fn wide(extra: &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(*field(extra, 1)?.get(8..)?.first_chunk()?))
}

/// The bytes before the next header of any kind.
fn before_next(data: &[u8]) -> &[u8] {
    let ends = [HEADER, DIRECTORY].into_iter().filter_map(|mark| find(data, mark));
    ends.min().and_then(|end| data.get(..end)).unwrap_or(data)
}

impl Descriptor {
    /// The descriptor that fits the distance it stands at.
    fn behind(data: &[u8]) -> Option<Self> {
        let mut at = 0_usize;
        loop {
            at = at.saturating_add(find(data.get(at..)?, DESCRIPTOR)?);
            let fields = data.get(at.saturating_add(DESCRIPTOR.len())..)?;
            let distance = at as u64;
            let long = |from: usize| Some(u32::from_le_bytes(*fields.get(from..)?.first_chunk()?));
            let wide = |from: usize| Some(u64::from_le_bytes(*fields.get(from..)?.first_chunk()?));
            let crc = long(0)?;
            if let (Some(stored), Some(size)) = (long(4), long(8))
                && u64::from(stored) == distance
            {
                return Some(Self { crc, stored: distance, size: u64::from(size) });
            }
            if let (Some(stored), Some(size)) = (wide(4), wide(12))
                && stored == distance
            {
                return Some(Self { crc, stored, size });
            }
            at = at.saturating_add(DESCRIPTOR.len());
        }
    }
}
