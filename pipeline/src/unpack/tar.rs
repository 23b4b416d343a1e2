//! TAR archives (POSIX.1-1988 ustar, pax, GNU), read as a stream so that compressed ones take no more memory. Names are data.

use std::io::Read;

use domain::{
    clock::Timestamp,
    outcome::{Category, Exception},
};
use tar::{Archive, Entry, EntryType};

use super::{Outlet, limit_hit};
use crate::{decode, extract::corrupt, reader::MemberHead};

/// Bytes of a header; also where the format can be told from.
pub(super) const HEADER: usize = 512;

pub(super) fn members(archive: &mut dyn Read, outlet: &mut Outlet<'_>) -> Result<(), Exception> {
    walk(archive, &mut |head, content| match content {
        Ok(mut entry) => outlet.member(head, &mut entry),
        Err(exception) => outlet.failed(&head, exception),
    })
}

/// Paths of all members, for the archive's own text.
pub(super) fn names(archive: &mut dyn Read) -> Result<Vec<String>, Exception> {
    let mut names = Vec::new();
    walk(archive, &mut |head, _| {
        names.push(head.path);
        Ok(())
    })?;
    Ok(names)
}

type Content<'a, 'r> = Result<Entry<'a, &'r mut dyn Read>, Exception>;

fn walk(
    archive: &mut dyn Read,
    take: &mut dyn FnMut(MemberHead, Content<'_, '_>) -> Result<(), Exception>,
) -> Result<(), Exception> {
    let damaged = |error: std::io::Error| {
        limit_hit(&error)
            .unwrap_or_else(|| corrupt("the archive is damaged or cut short; what stands before was unpacked"))
    };
    let mut archive = Archive::new(archive);
    for entry in archive.entries().map_err(damaged)? {
        let mut entry = entry.map_err(damaged)?;
        let kind = entry.header().entry_type();
        if matches!(kind, EntryType::Directory | EntryType::XGlobalHeader) {
            continue;
        }
        let bytes = entry.path_bytes().into_owned();
        let path = String::from_utf8(bytes).unwrap_or_else(|error| decode::text(error.as_bytes(), None).into_owned());
        let seconds = entry.header().mtime().ok().and_then(|seconds| i64::try_from(seconds).ok());
        let modified = seconds.and_then(|seconds| seconds.checked_mul(1_000_000)).map(Timestamp);
        let head = MemberHead { ordinal: 0, path, modified, inline: false };
        match unreadable(kind, &mut entry) {
            Some(detail) => take(head, Err(Exception::new(Category::Unsupported, detail)))?,
            None => take(head, Ok(entry))?,
        }
    }
    Ok(())
}

/// Why a member has no content of its own. Kinds that nobody knows are files (POSIX.1-2017, pax, "typeflag").
fn unreadable(kind: EntryType, entry: &mut Entry<'_, &mut dyn Read>) -> Option<&'static str> {
    match kind {
        EntryType::Link => Some("a hard link: the content is that of another member"),
        EntryType::Symlink => Some("a symbolic link: it names another file and has no content"),
        EntryType::Char | EntryType::Block | EntryType::Fifo => Some("a device, not a file"),
        _ => {
            let extensions = entry.pax_extensions().ok().flatten();
            let mut keys = extensions.into_iter().flatten().filter_map(|one| one.ok()?.key().ok());
            let sparse = keys.any(|key| key.starts_with("GNU.sparse."));
            sparse.then_some("a sparse file in pax format, which cannot be expanded here")
        }
    }
}
