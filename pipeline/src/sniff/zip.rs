//! What kind of ZIP: Office packages, `OpenDocument`, iWork's documents, books, or a plain archive, by the names of its entries.

use std::io::{Cursor, Read};

use zip::ZipArchive;

use super::find;
use crate::format::Format;

/// Identifies a ZIP from the local headers (APPNOTE.TXT 4.3.7) in its first bytes. Entries are walked in order, so the
/// names of an archive stored inside this one are not mistaken for its own.
pub(super) fn identify(head: &[u8]) -> Format {
    let mut is_package = false;
    let mut kind = None;
    let mut apple = Apple::default();
    let mut rest = head;
    while let Some(entry) = next_entry(rest) {
        if entry.name == b"mimetype"
            && let Some(format) = by_mimetype(entry.data)
        {
            return format;
        }
        is_package |= entry.name == b"[Content_Types].xml"
            || entry.name.starts_with(b"_rels/")
            || entry.name.starts_with(b"docProps/");
        if apple.sees(entry.name) {
            return Format::Iwork;
        }
        kind = kind.or_else(|| by_part(entry.name));
        if is_package && let Some(format) = kind {
            return format;
        }
        rest = entry.rest;
    }
    by_directory(head).unwrap_or(Format::Zip)
}

/// Some writers compress the `mimetype` entry or leave it out; then the directory at the end of the file, when the bytes
/// reach that far, tells where it is, and a book is known by its container file.
fn by_directory(head: &[u8]) -> Option<Format> {
    let mut archive = ZipArchive::new(Cursor::new(head)).ok()?;
    let mut data = Vec::new();
    if let Ok(entry) = archive.by_name("mimetype") {
        entry.take(100).read_to_end(&mut data).ok()?;
        return by_mimetype(&data);
    }
    if let Ok(entry) = archive.by_name("META-INF/manifest.xml") {
        entry.take(4096).read_to_end(&mut data).ok()?;
        return find(&data, b"application/vnd.").and_then(|at| by_mimetype(data.get(at..)?));
    }
    archive.by_name("META-INF/container.xml").ok()?.take(4096).read_to_end(&mut data).ok()?;
    find(&data, b"oebps-package+xml").map(|_| Format::Epub)
}

fn by_mimetype(data: &[u8]) -> Option<Format> {
    // `sun.xml` is what OpenOffice.org 1 wrote, before it became a standard.
    let kinds: [(&[u8], Format); 9] = [
        (b"application/vnd.oasis.opendocument.text", Format::Odt),
        (b"application/vnd.oasis.opendocument.spreadsheet", Format::Ods),
        (b"application/vnd.oasis.opendocument.presentation", Format::Odp),
        (b"application/vnd.oasis.opendocument.graphics", Format::Odg),
        (b"application/vnd.sun.xml.writer", Format::Odt),
        (b"application/vnd.sun.xml.calc", Format::Ods),
        (b"application/vnd.sun.xml.impress", Format::Odp),
        (b"application/vnd.sun.xml.draw", Format::Odg),
        (b"application/epub+zip", Format::Epub),
    ];
    kinds.into_iter().find(|(media, _)| data.starts_with(media)).map(|(_, format)| format)
}

fn by_part(name: &[u8]) -> Option<Format> {
    let kinds: [(&[u8], Format); 4] = [
        (b"xl/workbook.bin", Format::Xlsb),
        (b"xl/workbook.xml", Format::Xlsx),
        (b"word/", Format::Docx),
        (b"ppt/", Format::Pptx),
    ];
    kinds.into_iter().find(|(part, _)| name.starts_with(part)).map(|(_, format)| format)
}

/// What tells a document of Pages, Numbers or Keynote: an archive of objects since 2013, before that an index beside the
/// history of its versions or its preview.
#[derive(Default)]
struct Apple {
    index: bool,
    beside: bool,
}

impl Apple {
    fn sees(&mut self, name: &[u8]) -> bool {
        let begins = |start: &[u8]| name.starts_with(start);
        if matches!(name, b"index.apxl" | b"index.apxl.gz") || begins(b"Index/") && name.ends_with(b".iwa") {
            return true;
        }
        self.index |= matches!(name, b"index.xml" | b"Index.zip");
        self.beside |=
            name == b"buildVersionHistory.plist" || begins(b"QuickLook/") || begins(b"Metadata/BuildVersionHistory");
        self.index && self.beside
    }
}

struct Entry<'a> {
    name: &'a [u8],
    data: &'a [u8],
    rest: &'a [u8],
}

fn next_entry(bytes: &[u8]) -> Option<Entry<'_>> {
    let header = bytes.get(find(bytes, b"PK\x03\x04")?..)?;
    let flags = u16::from_le_bytes(*header.get(6..8)?.first_chunk()?);
    let stored = u32::from_le_bytes(*header.get(18..22)?.first_chunk()?) as usize;
    let name_len = usize::from(u16::from_le_bytes(*header.get(26..28)?.first_chunk()?));
    let extra_len = usize::from(u16::from_le_bytes(*header.get(28..30)?.first_chunk()?));
    let name = header.get(30..)?.get(..name_len)?;
    let data = header.get(30_usize.saturating_add(name_len).saturating_add(extra_len)..)?;
    // With a data descriptor (bit 3) the size stands behind the data: look for the next header instead of jumping.
    let rest = if flags & 8 == 0 { data.get(stored..).unwrap_or_default() } else { data };
    Some(Entry { name, data, rest })
}
