//! RAR archives from 1.3 to 7, by the `rars` crate. Members of a solid archive hang together, so they come in order and all behind
//! damage are lost; of others only the damaged one is. One password opens all of an archive.

mod decoding;

use std::{
    io::{self, Cursor},
    sync::Arc,
};

use domain::{
    clock::Timestamp,
    outcome::{Category, Exception},
};
use rars::{
    Archive, ArchiveFamily, ArchiveMember, ArchiveMemberDetail, ArchiveReadOptions, ArchiveReader, AttrSource, Error,
    ErrorKind, ExtractionDecision, StoredTimestamp,
};
use time::{Date, Month, PrimitiveDateTime, Time};

use super::{Outlet, too_many};
use crate::{decode, extract::corrupt, limits::Limits, passwords::KeyRing, reader::MemberHead};

pub(super) fn members(bytes: Vec<u8>, outlet: &mut Outlet<'_>) -> Result<(), Exception> {
    let mut rar = Rar::open(bytes, outlet.limits, outlet.keys)?;
    let files = rar.archive.members().filter(|member| !member.meta.is_directory);
    if files.count() > outlet.limits.max_members as usize {
        return Err(too_many(outlet.limits));
    }
    rar.unlock(outlet.limits, outlet.keys);
    let entries = rar.entries(outlet.limits);
    let options = options(outlet.limits, rar.password.as_deref());
    decoding::send(&rar.archive, options, rar.solid, &entries, outlet)
}

/// Paths of all members, for the archive's own text.
pub(super) fn names(bytes: Vec<u8>, limits: &Limits, keys: &KeyRing) -> Result<Vec<String>, Exception> {
    let rar = Rar::open(bytes, limits, keys)?;
    Ok(rar.archive.members().filter(|member| !member.meta.is_directory).map(|member| head(&member).path).collect())
}

/// An open archive.
struct Rar {
    archive: Archive,
    /// What opens its headers, and then its members.
    password: Option<String>,
    /// True when members are decoded with what was decoded before them.
    solid: bool,
}

/// A member and what becomes of it.
struct Entry {
    head: MemberHead,
    fate: Fate,
}

enum Fate {
    /// A folder is no member.
    Folder,
    /// It is decoded.
    Content,
    /// It has no content of its own.
    Nothing(Exception),
    /// It has some that nobody wants, but takes its place in the stream of a solid archive.
    Passed(Exception),
    /// It cannot be decoded.
    Lost(Exception),
}

/// The bytes of the archive, shared between attempts to open it.
#[derive(Clone)]
struct Shared(Arc<Vec<u8>>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

const LOCKED: &str = "the member is protected by a password";
const IN_PARTS: &str = "a part of it lies in another volume of the archive; unpack the volumes together and upload what \
    is in them";
const LINK: &str = "a link: it names another file and has no content";
/// Bits of a Unix mode that say what a file is, and those of a symbolic link.
const KIND: u64 = 0o170_000;
const SYMBOLIC: u64 = 0o120_000;

impl Rar {
    fn open(bytes: Vec<u8>, limits: &Limits, keys: &KeyRing) -> Result<Self, Exception> {
        let source = Shared(Arc::new(bytes));
        let read = |password: Option<&str>| {
            ArchiveReader::read_reader_with_options(Cursor::new(source.clone()), options(limits, password))
        };
        let (archive, password) = match read(None) {
            Ok(archive) => (archive, None),
            Err(error) if is_locked(&error) => {
                keys.open(|word| Some((read(Some(word)).ok()?, Some(word.to_owned())))).ok_or_else(|| {
                    Exception::new(Category::Encrypted, "the archive's directory is protected by a password")
                })?
            }
            Err(Error::HeaderCountLimitExceeded { .. }) => return Err(too_many(limits)),
            Err(error) => {
                let damaged = corrupt("the archive's headers are missing or damaged");
                return Err(reason(&error).filter(|reason| reason.category != Category::Corrupt).unwrap_or(damaged));
            }
        };
        let whole = match &archive {
            Archive::Rar13(archive) => archive.main.is_solid(),
            Archive::Rar15To40(archive) => archive.main.is_solid(),
            Archive::Rar50Plus(archive) => archive.main.is_solid(),
            _ => true,
        };
        let solid = whole || archive.members().any(|member| member.is_solid());
        Ok(Self { archive, password, solid })
    }

    /// Finds the password of the members by the one that is quickest to decode to its checksum. The older formats have no
    /// other way to tell, and the newer leave it out at will.
    fn unlock(&mut self, limits: &Limits, keys: &KeyRing) {
        let locked = self.archive.members().zip(0_usize..).filter(|(member, _)| {
            let meta = &member.meta;
            meta.is_encrypted && !meta.is_directory && !meta.is_split_before && !meta.is_split_after
        });
        // In a solid archive the first is the quickest to come to.
        let cost = |member: &ArchiveMember| if self.solid { 0 } else { member.meta.unpacked_size.max(1) };
        let Some((_, probe)) = locked.min_by_key(|(member, place)| (cost(member), *place)) else { return };
        let opens = |word: &str| self.opens(probe, options(limits, Some(word)));
        // The password of the headers is that of the members.
        if self.password.as_deref().is_some_and(opens) {
            return;
        }
        self.password = keys.open(|word| opens(word).then(|| word.to_owned()));
    }

    /// True when the member at `place` decodes to its checksum.
    fn opens(&self, place: usize, options: ArchiveReadOptions<'_>) -> bool {
        let mut next = 0_usize;
        let mut reached = false;
        let ran = self.archive.extract_with_control(options, |member| {
            let here = next;
            next = next.saturating_add(1);
            if here > place {
                return Ok(ExtractionDecision::Stop);
            }
            reached |= here == place;
            let is_file = !member.meta.is_directory && !member.meta.is_redirection;
            Ok(if here == place || self.solid && is_file {
                ExtractionDecision::Extract(Box::new(io::sink()))
            } else {
                ExtractionDecision::Skip
            })
        });
        reached && ran.is_ok()
    }

    /// What becomes of each member, in order.
    fn entries(&self, limits: &Limits) -> Vec<Entry> {
        let mut behind = None;
        let members = self.archive.members().map(|member| {
            let mut fate = self.fate(&member, limits);
            match (&fate, behind) {
                (Fate::Lost(why), None) if self.solid => behind = Some(why.category),
                (Fate::Content, Some(category)) => {
                    let detail = "it hangs together with a member before it that cannot be decoded";
                    fate = Fate::Lost(Exception::new(category, detail));
                }
                _ => {}
            }
            Entry { head: head(&member), fate }
        });
        members.collect()
    }

    fn fate(&self, member: &ArchiveMember, limits: &Limits) -> Fate {
        let meta = &member.meta;
        let lost = |category, detail| Fate::Lost(Exception::new(category, detail));
        if meta.is_directory {
            return Fate::Folder;
        }
        if meta.is_redirection {
            return Fate::Nothing(Exception::new(Category::Unsupported, LINK));
        }
        if meta.is_split_before || meta.is_split_after {
            return lost(Category::Unsupported, IN_PARTS);
        }
        if meta.is_encrypted && self.password.is_none() {
            return lost(Category::Encrypted, LOCKED);
        }
        if dictionary(member) > limits.dictionary_bytes() {
            return Fate::Lost(super::too_much_memory());
        }
        if meta.family != ArchiveFamily::Rar50Plus
            && meta.attr_source() == AttrSource::Unix
            && meta.file_attr & KIND == SYMBOLIC
        {
            return Fate::Passed(Exception::new(Category::Unsupported, LINK));
        }
        Fate::Content
    }
}

fn options<'a>(limits: &Limits, password: Option<&'a str>) -> ArchiveReadOptions<'a> {
    // Each file may have headers of its own for what its system knows about it.
    let headers = u64::from(limits.max_members).saturating_mul(4).saturating_add(1_000);
    ArchiveReadOptions::with_optional_password(password.map(str::as_bytes))
        .with_max_header_count(headers)
        .with_rar50_dictionary_size_limit(limits.dictionary_bytes())
        .with_max_reader_workspace_bytes(limits.dictionary_bytes().saturating_add(WORKSPACE))
}

/// Bytes that a decoder needs beside its dictionary.
const WORKSPACE: u64 = 64 << 20;

/// Bytes of the dictionary that a member asks for; those before RAR 5 have at most 4 MiB.
fn dictionary(member: &ArchiveMember) -> u64 {
    let ArchiveMemberDetail::Rar50Plus { compression_info, .. } = &member.detail else { return 0 };
    if member.meta.is_stored {
        return 0;
    }
    // "RAR 5.0 archive format", file header: a power of two, and since RAR 7 parts of the next in steps of 1/32.
    let power = u32::try_from(compression_info >> 10 & 0x1f).unwrap_or_default();
    let version = compression_info & 0x3f;
    let parts = if version == 0 { 0 } else { compression_info >> 15 & 0x1f };
    parts.saturating_add(32).checked_shl(power.saturating_add(12)).unwrap_or(u64::MAX)
}

fn head(member: &ArchiveMember) -> MemberHead {
    let name = &member.meta.name;
    let mut path = match std::str::from_utf8(name) {
        Ok(name) => name.to_owned(),
        Err(_) if member.name_is_unicode() => String::from_utf8_lossy(name).into_owned(),
        Err(_) => decode::text(name, None).into_owned(),
    };
    if member.meta.family != ArchiveFamily::Rar50Plus {
        // What these formats have between folders.
        path = path.replace('\\', "/");
    }
    MemberHead { ordinal: 0, path, modified: modified(member), inline: false }
}

/// Older times are local times of an unknown zone; taken as UTC.
fn modified(member: &ArchiveMember) -> Option<Timestamp> {
    let stored = member.meta.stored_modification_time()?;
    let seconds = match stored {
        StoredTimestamp::UnixSeconds(seconds) => i64::from(seconds),
        StoredTimestamp::DosLocal(_) => {
            let (year, month, day, hour, minute, second) = stored.calendar_fields()?;
            let date = Date::from_calendar_date(year.into(), Month::try_from(month).ok()?, day).ok()?;
            PrimitiveDateTime::new(date, Time::from_hms(hour, minute, second).ok()?).assume_utc().unix_timestamp()
        }
        _ => return None,
    };
    let refined = member.meta.mtime_refinement.unwrap_or_default();
    let seconds = seconds.saturating_add(refined.add_second.into());
    let micros = i64::from(refined.nanoseconds / 1_000);
    Some(Timestamp(seconds.saturating_mul(1_000_000).saturating_add(micros)))
}

fn is_locked(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::PasswordRequired | ErrorKind::BadPassword)
}

/// What an error says about a member; nothing when it is ours.
fn reason(error: &Error) -> Option<Exception> {
    Some(match error.kind() {
        ErrorKind::PasswordRequired | ErrorKind::BadPassword => Exception::new(Category::Encrypted, LOCKED),
        ErrorKind::ResourceLimit => super::too_much_memory(),
        ErrorKind::UnsupportedFeature | ErrorKind::UnsupportedFormat => {
            Exception::new(Category::Unsupported, "the archive uses a feature that is not supported")
        }
        ErrorKind::Cancelled | ErrorKind::WriterFailure => return None,
        _ => corrupt("the member is damaged"),
    })
}
