//! 7z archives, block by block: the members of a block are compressed as one, so damage in one takes those behind it along.
//! Passwords protect blocks, or the directory as well. A block's members come in order, then the empty files.

use std::{
    cell::RefCell,
    io::{self, Cursor, Read},
    ops::Range,
};

use domain::{
    clock::Timestamp,
    outcome::{Category, Exception},
};
use sevenz_rust2::{Archive, ArchiveEntry, BlockDecoder, Error, Password};

use super::{Outlet, too_many};
use crate::{extract::corrupt, limits::Limits, passwords::KeyRing, reader::MemberHead};

/// Microseconds from 1601, where Windows counts from, to 1970.
const EPOCH: i64 = 11_644_473_600_000_000;

pub(super) fn members(bytes: &[u8], outlet: &mut Outlet<'_>) -> Result<(), Exception> {
    let (archive, opened) = open(bytes, outlet.limits, outlet.keys)?;
    if archive.files.len() > outlet.limits.max_members as usize {
        return Err(too_many(outlet.limits));
    }
    for number in 0..archive.blocks.len() {
        let decoder = Block { archive: &archive, bytes, number, limits: outlet.limits };
        let files = decoder.files();
        let password = if archive.is_file_encrypted(files.start) {
            // The directory's password is that of its members.
            let known = opened.as_ref().filter(|password| decoder.opens_with(password)).map(|word| Password::new(word));
            known.or_else(|| outlet.keys.open(|word| decoder.opens_with(word).then(|| Password::new(word))))
        } else {
            Some(Password::empty())
        };
        match password {
            Some(password) => decoder.members(&password, outlet)?,
            None => decoder.fail(files.start, || Exception::new(Category::Encrypted, LOCKED), outlet)?,
        }
    }
    let blocks = archive.stream_map.file_block_index.iter();
    for (file, _) in archive.files.iter().zip(blocks).filter(|(file, block)| block.is_none() && is_file(file)) {
        outlet.member(head(file), &mut io::empty())?;
    }
    Ok(())
}

/// Paths of all members, for the archive's own text.
pub(super) fn names(bytes: &[u8], limits: &Limits, keys: &KeyRing) -> Result<Vec<String>, Exception> {
    let (archive, _) = open(bytes, limits, keys)?;
    Ok(archive.files.iter().filter(|file| is_file(file)).map(|file| file.name().to_owned()).collect())
}

const LOCKED: &str = "the member is protected by a password";

/// The archive's directory, with the password that opened it where it has one.
fn open(bytes: &[u8], limits: &Limits, keys: &KeyRing) -> Result<(Archive, Option<String>), Exception> {
    let read = |password: &Password| Archive::read_with_memory_limit(&mut Cursor::new(bytes), password, most(limits));
    match read(&Password::empty()) {
        Ok(archive) => Ok((archive, None)),
        Err(Error::PasswordRequired) => keys
            .open(|word| Some((read(&Password::new(word)).ok()?, Some(word.to_owned()))))
            .ok_or_else(|| Exception::new(Category::Encrypted, "the archive's directory is protected by a password")),
        Err(error) => Err(match reason(&error) {
            Some(exception) => exception,
            None => corrupt("the archive's directory is missing or damaged"),
        }),
    }
}

/// Largest dictionary, in KiB.
fn most(limits: &Limits) -> usize {
    usize::try_from(limits.dictionary_bytes() / 1024).unwrap_or(usize::MAX)
}

fn is_file(file: &ArchiveEntry) -> bool {
    !file.is_directory() && !file.is_anti_item()
}

fn head(file: &ArchiveEntry) -> MemberHead {
    let ticks = file.has_last_modified_date.then(|| u64::from(file.last_modified_date()));
    let modified = ticks.and_then(|ticks| i64::try_from(ticks / 10).ok()?.checked_sub(EPOCH)).map(Timestamp);
    MemberHead { ordinal: 0, path: file.name().to_owned(), modified, inline: false }
}

/// One block of an archive.
struct Block<'a> {
    archive: &'a Archive,
    bytes: &'a [u8],
    number: usize,
    limits: &'a Limits,
}

impl Block<'_> {
    /// Where its files stand among those of the archive.
    fn files(&self) -> Range<usize> {
        let mut source = Cursor::new(self.bytes);
        let count = self.decoder(&Password::empty(), &mut source).entry_count();
        let start = self.archive.stream_map.block_first_file_index.get(self.number).copied().unwrap_or_default();
        start..start.saturating_add(count)
    }

    fn decoder<'b>(
        &'b self,
        password: &'b Password,
        source: &'b mut Cursor<&'b [u8]>,
    ) -> BlockDecoder<'b, Cursor<&'b [u8]>> {
        BlockDecoder::new_with_memory_limit(1, most(self.limits), self.number, self.archive, password, source)
    }

    fn each(
        &self,
        password: &Password,
        take: &mut dyn FnMut(&ArchiveEntry, &mut dyn Read) -> Result<bool, Error>,
    ) -> Result<bool, Error> {
        let mut source = Cursor::new(self.bytes);
        self.decoder(password, &mut source).for_each_entries(&mut |file, content| take(file, content))
    }

    /// True when the first member decodes to what its checksum says: the format has no other way to tell.
    fn opens_with(&self, password: &str) -> bool {
        let good = RefCell::new(false);
        let tried = self.each(&Password::new(password), &mut |file, content| {
            if !file.has_stream() {
                return Ok(true);
            }
            // One more, because the checksum is compared at the end.
            let read = io::copy(&mut content.take(file.size().saturating_add(1)), &mut io::sink());
            *good.borrow_mut() = read.is_ok_and(|read| read == file.size());
            Ok(false)
        });
        tried.is_ok() && good.into_inner()
    }

    /// Sends the members; what lies behind damage fails with a reason.
    fn members(&self, password: &Password, outlet: &mut Outlet<'_>) -> Result<(), Exception> {
        let mut next = self.files().start;
        let mut stopped = None;
        let ended = self.each(password, &mut |file, content| {
            next = next.saturating_add(1);
            if !is_file(file) {
                return Ok(true);
            }
            let failed = outlet.done.failed;
            if let Err(exception) = outlet.member(head(file), content) {
                stopped = Some(exception);
                return Ok(false);
            }
            Ok(outlet.done.failed == failed)
        });
        if let Some(exception) = stopped {
            return Err(exception);
        }
        let why = ended.err().as_ref().and_then(reason);
        self.fail(
            next,
            || why.clone().unwrap_or_else(|| corrupt("the member lies behind damage in the archive")),
            outlet,
        )
    }

    /// Fails the members from `next` on.
    fn fail(&self, next: usize, why: impl Fn() -> Exception, outlet: &mut Outlet<'_>) -> Result<(), Exception> {
        let files = self.archive.files.get(next..self.files().end).unwrap_or_default();
        files.iter().filter(|file| is_file(file)).try_for_each(|file| outlet.failed(&head(file), why()))
    }
}

/// Errors that are not damage.
fn reason(error: &Error) -> Option<Exception> {
    match error {
        Error::MaxMemLimited { .. } => Some(super::too_much_memory()),
        Error::UnsupportedCompressionMethod(_) => {
            Some(Exception::new(Category::Unsupported, "compressed by a method that cannot be decoded here"))
        }
        Error::Unsupported(_) | Error::ExternalUnsupported | Error::UnsupportedVersion { .. } => {
            Some(Exception::new(Category::Unsupported, "the archive uses a feature that is not supported"))
        }
        _ => None,
    }
}
