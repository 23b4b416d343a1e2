//! What a file is, by its bytes. Magic numbers first, then what is inside a ZIP or a compound file, then the grammar of
//! text. The name decides only where bytes cannot: between kinds of plain text, and for a compound file whose directory
//! lies beyond the bytes given.

mod compound;
mod plain;
mod zip;

use crate::format::Format;

/// What [`identify`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identified {
    /// The format.
    pub format: Format,
    /// The media type; more exact than the format's own for formats without a reader.
    pub media_type: &'static str,
    /// True when the name's extension promises something else than the bytes are.
    pub extension_mismatch: bool,
}

/// Identifies a file from `head` (its first bytes: 1 MiB is plenty, the whole file is best) and its `name`.
pub fn identify(head: &[u8], name: &str) -> Identified {
    let extension = extension(name);
    let format = by_bytes(head, &extension);
    let media_type = match format {
        Format::Unknown => infer::get(head).map_or(format.media_type(), |kind| kind.mime_type()),
        _ => format.media_type(),
    };
    Identified { format, media_type, extension_mismatch: mismatch(format, &extension) }
}

fn by_bytes(head: &[u8], extension: &str) -> Format {
    if head.is_empty() {
        return Format::Empty;
    }
    if let Some(format) = by_magic(head) {
        return match format {
            Format::Zip => zip::identify(head),
            Format::CompoundFile => compound::identify(head, extension),
            other => other,
        };
    }
    plain::identify(head, extension)
}

/// Magic numbers, each with its offset.
const MAGIC: &[(usize, &[u8], Format)] = &[
    (0, b"PK\x03\x04", Format::Zip),
    (0, b"PK\x05\x06", Format::Zip),
    (0, b"PK\x07\x08PK", Format::Zip),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", Format::CompoundFile),
    (0, b"{\\rtf", Format::Rtf),
    (0, b"\x89PNG\r\n\x1a\n", Format::Png),
    (0, b"\xff\xd8\xff", Format::Jpeg),
    (0, b"GIF87a", Format::Gif),
    (0, b"GIF89a", Format::Gif),
    (0, b"II*\0", Format::Tiff),
    (0, b"MM\0*", Format::Tiff),
    (0, b"II+\0", Format::Tiff),
    (0, b"MM\0+", Format::Tiff),
    (8, b"WEBPVP8", Format::Webp),
    (0, b"!BDN", Format::Pst),
    (0, b"7z\xbc\xaf\x27\x1c", Format::SevenZip),
    (0, b"Rar!\x1a\x07", Format::Rar),
    (0, b"\x1f\x8b\x08", Format::Gzip),
    (0, b"BZh", Format::Bzip2),
    (257, b"ustar", Format::Tar),
];

fn by_magic(head: &[u8]) -> Option<Format> {
    for (at, magic, format) in MAGIC {
        if head.get(*at..).is_some_and(|rest| rest.starts_with(magic)) {
            return Some(*format);
        }
    }
    // A bitmap's two letters begin many a word, so its header size must fit too.
    if head.starts_with(b"BM")
        && head.get(14..18).is_some_and(|size| matches!(size, [12 | 40 | 52 | 56 | 64 | 108 | 124, 0, 0, 0]))
    {
        return Some(Format::Bmp);
    }
    // Readers accept a PDF header within the first 1,024 bytes (ISO 32000-1, implementation note 13).
    let start = head.get(..1024).unwrap_or(head);
    find(start, b"%PDF-").map(|_| Format::Pdf)
}

/// Position of `needle` in `haystack`.
pub(crate) fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

/// The extension of `name`, lower case and without the dot; empty when there is none.
pub(crate) fn extension(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or(name);
    last.rsplit_once('.').map(|(_, extension)| extension.to_lowercase()).unwrap_or_default()
}

fn mismatch(format: Format, extension: &str) -> bool {
    if format.extensions().contains(&extension) || matches!(format, Format::Empty | Format::Unknown) {
        return false;
    }
    let promised = Format::ALL.iter().find(|other| other.extensions().contains(&extension));
    promised.is_some_and(|other| !(other.is_plain() && format.is_plain()))
}
