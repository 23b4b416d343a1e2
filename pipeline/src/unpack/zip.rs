//! ZIP members (APPNOTE.TXT). Names are data: `../` and drive letters pass through untouched and harmless.

use std::io::{Cursor, Read};

use domain::{
    clock::Timestamp,
    outcome::{Category, Exception},
};
use time::{Date, Month, PrimitiveDateTime, Time};
use zip::{CompressionMethod, ZipArchive, result::ZipError};

use super::{Outlet, too_many};
use crate::reader::MemberHead;

/// Compression methods that can be decoded.
const DECODED: [CompressionMethod; 2] = [CompressionMethod::Stored, CompressionMethod::Deflated];

pub(super) fn members(bytes: Vec<u8>, outlet: &mut Outlet<'_>) -> Result<(), Exception> {
    let mut archive = open(bytes)?;
    if archive.len() > outlet.limits.max_members as usize {
        return Err(too_many(outlet.limits));
    }
    for index in 0..archive.len() {
        let head = match archive.by_index_raw(index) {
            Ok(entry) if entry.is_dir() => continue,
            Ok(entry) => {
                let head = head(&entry);
                // Methods without a decoder fail only when read, and then as damage.
                if !entry.encrypted() && !DECODED.contains(&entry.compression()) {
                    let detail = format!("compression {:?} is not supported", entry.compression());
                    drop(entry);
                    outlet.failed(&head, Exception::new(Category::Unsupported, detail))?;
                    continue;
                }
                head
            }
            Err(error) => {
                let path = format!("member {}", index.saturating_add(1));
                outlet.failed(&MemberHead { ordinal: 0, path, modified: None, inline: false }, reason(&error))?;
                continue;
            }
        };
        match archive.by_index(index) {
            Ok(mut entry) => outlet.member(head, &mut entry)?,
            Err(error) => outlet.failed(&head, reason(&error))?,
        }
    }
    Ok(())
}

/// Names of all members, for the container's own text.
pub(super) fn names(bytes: Vec<u8>) -> Result<Vec<String>, Exception> {
    let mut archive = open(bytes)?;
    Ok((0..archive.len()).filter_map(|index| archive.by_index_raw(index).ok().map(|entry| head(&entry).path)).collect())
}

fn open(bytes: Vec<u8>) -> Result<ZipArchive<Cursor<Vec<u8>>>, Exception> {
    ZipArchive::new(Cursor::new(bytes))
        .map_err(|_| Exception::new(Category::Corrupt, "the archive's directory is missing or damaged"))
}

fn head<R: Read>(entry: &zip::read::ZipFile<'_, R>) -> MemberHead {
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
            Exception::new(Category::Encrypted, "the member is protected by a password")
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
